"""Order lines to fulfilment lines: which lines there are, what they carry, and what their action comes out as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.decompose import decompose
from domain.errors import InventoryConflict
from domain.inventory import Account, Asset
from domain.lines import Line, delta_of
from domain.orders import Order, OrderLine
from domain.release import CompiledRelease
from domain.resolve import resolve_lines
from tests.support.build import chain_of, line, order_of, release_of, rule
from tests.support.engine import Engine, OpenProtector


def decomposed(release: CompiledRelease, order: Order, account: Account | None = None) -> dict[str, Line]:
    """The lines of an order by key, compared with an account that is empty unless given."""
    order.order_id = "o1-1"
    projection = (account or Account(order.account)).projected()
    resolved = resolve_lines(order, release, projection)
    return {each.key: each for each in decompose(order, release, resolved, projection, OpenProtector())}


def sources(lines: dict[str, Line], product: str) -> dict[str, tuple[str, ...]]:
    """Technical lines of a product and what they came from."""
    return {key: each.sources for key, each in lines.items() if each.product == product}


def delivering(**parts: Any) -> CompiledRelease:
    """A release without work: what is ordered is an asset at once."""
    return release_of(emptyPlan="complete", **parts)


def accepted(engine: Engine, *lines: OrderLine, **members: Any) -> dict[str, Line]:
    """An order that is delivered at once; its lines by key."""
    plan = engine.accept(order_of(*lines, **members))
    assert plan.order_state == "completed"
    return {each.key: each for each in plan.lines}


def installed(engine: Engine, product: str) -> list[Asset]:
    return [asset for asset in engine.account.assets.values() if asset.product == product]


def only(engine: Engine, product: str) -> Asset:
    (asset,) = installed(engine, product)
    return asset


# Which lines there are.


def test_a_product_without_a_rule_stays_the_line_it_is() -> None:
    lines = decomposed(release_of(products=["offer"]), order_of(line("1", "offer", speed="30")))

    assert list(lines) == ["1"]
    assert lines["1"].attributes == {"speed": "30"}
    assert lines["1"].is_alone


def test_a_rule_adds_a_technical_line_that_knows_where_it_came_from() -> None:
    release = release_of(products=["offer", "access"], decompositions=[rule("offer", "access")])
    derived = decomposed(release, order_of(line("1", "offer", place={"city": "Bern"})))["access@1"]

    assert (derived.action, derived.sources, derived.order_lines, derived.rules) == (
        "add",
        ("1",),
        ("1",),
        ("offer>access",),
    )
    assert (derived.root, derived.main, derived.place) == ("1", "access@1", {"city": "Bern"})


def test_one_product_becomes_several() -> None:
    release = release_of(
        products=["offer", "access", "router"], decompositions=[rule("offer", "access"), rule("offer", "router")]
    )

    assert list(decomposed(release, order_of(line("1", "offer")))) == ["1", "access@1", "router@1"]


def test_a_line_with_technical_lines_is_not_alone() -> None:
    release = release_of(products=["offer", "access"], decompositions=[rule("offer", "access")])

    assert not decomposed(release, order_of(line("1", "offer")))["1"].is_alone


def test_a_chain_is_followed_to_its_end_and_its_keys_hold_the_way() -> None:
    release = release_of(products=["offer", "cfs", "rfs"], decompositions=chain_of(["offer", "cfs", "rfs"]))
    lines = decomposed(release, order_of(line("4", "offer")))

    assert list(lines) == ["4", "cfs@4", "rfs@cfs@4"]
    assert lines["rfs@cfs@4"].order_lines == ("4",)
    assert lines["rfs@cfs@4"].main == "cfs@4"


def test_several_sources_feed_one_line() -> None:
    release = release_of(
        products=["mail", "voice", {"code": "profile", "scope": "order"}],
        decompositions=[rule("mail", "profile"), rule("voice", "profile")],
    )
    derived = decomposed(release, order_of(line("2", "voice"), line("1", "mail")))["profile@order"]

    assert derived.sources == ("1", "2")
    assert derived.order_lines == ("1", "2")
    assert derived.rules == ("mail>profile", "voice>profile")
    assert derived.asset_id


def test_sources_of_two_levels_feed_one_line() -> None:
    release = release_of(
        products=["offer", "cfs", {"code": "rfs", "scope": "order"}],
        decompositions=[rule("offer", "cfs"), rule("cfs", "rfs"), rule("offer", "rfs")],
    )

    for line_id in ("1", "z"):
        merged = decomposed(release, order_of(line(line_id, "offer")))["rfs@order"]

        assert merged.sources == tuple(sorted((line_id, f"cfs@{line_id}")))
        # It is of the first level as soon as one of its sources is an order line, whichever sorts first.
        assert merged.main == "rfs@order"


def two_bundles(*, account: str | None = "acc-1") -> Order:
    """Bundle `a` with x1 and x2, bundle `b` with x3, each x in a zone but the last."""
    return order_of(
        line("a", "offer"),
        line("x1", "x", below="a", zone="north"),
        line("x2", "x", below="a", zone="south"),
        line("b", "offer"),
        line("x3", "x", below="b", zone="north"),
        line("x4", "x", below="b"),
        account=account,
    )


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("account", {"t@account": ("x1", "x2", "x3", "x4")}),
        ("order", {"t@order": ("x1", "x2", "x3", "x4")}),
        ("global", {"t@order": ("x1", "x2", "x3", "x4")}),
        ("bundle", {"t@a": ("x1", "x2"), "t@b": ("x3", "x4")}),
        ("mainItem", {"t@a": ("x1", "x2"), "t@b": ("x3", "x4")}),
        ("item", {"t@x1": ("x1",), "t@x2": ("x2",), "t@x3": ("x3",), "t@x4": ("x4",)}),
        # A line without the key has an instance of its own.
        ("key", {"t@key:north": ("x1", "x3"), "t@key:south": ("x2",), "t@x4": ("x4",)}),
    ],
)
def test_sources_merge_inside_one_instance_of_the_targets_scope(
    scope: str, expected: dict[str, tuple[str, ...]]
) -> None:
    target = {"code": "t", "scope": scope} | ({"scopeKey": "zone"} if scope == "key" else {})
    release = release_of(products=["offer", "x", target], decompositions=[rule("x", "t")])

    assert sources(decomposed(release, two_bundles()), "t") == expected


def test_below_a_technical_line_the_main_item_is_the_technical_line_of_the_first_level() -> None:
    release = release_of(
        products=["offer", "x", "cfs", {"code": "left"}, {"code": "right"}, {"code": "t", "scope": "mainItem"}],
        decompositions=[
            rule("x", "cfs"),
            rule("cfs", "left"),
            rule("cfs", "right"),
            rule("left", "t"),
            rule("right", "t"),
        ],
    )

    assert sources(decomposed(release, two_bundles()), "t") == {
        f"t@cfs@{x}": (f"left@cfs@{x}", f"right@cfs@{x}") for x in ("x1", "x2", "x3", "x4")
    }


@pytest.mark.rule("F.10")
def test_without_an_account_the_account_scope_is_the_order() -> None:
    release = release_of(products=["offer", "x", {"code": "t", "scope": "account"}], decompositions=[rule("x", "t")])
    lines = decomposed(release, two_bundles(account=None))

    assert sources(lines, "t") == {"t@order": ("x1", "x2", "x3", "x4")}
    assert lines["t@order"].instance == ""


@pytest.mark.parametrize(
    ("left", "right", "is_same"),
    [
        ("north", "north", True),
        ("north", "North", False),
        (1, 1, True),
        (1, True, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"$encrypted": "x", "mac": "m"}, {"$encrypted": "y", "mac": "m"}, True),
        ({"$encrypted": "x", "mac": "m"}, {"$encrypted": "y", "mac": "n"}, False),
        # What was taken out of sight is no key: each line has an instance of its own.
        ({"$sealed": "x"}, {"$sealed": "x"}, False),
        ("a@b", "a@b", True),
        ("x" * 500, "x" * 500, True),
        (None, None, False),
    ],
)
def test_equal_keys_name_one_instance(left: Any, right: Any, is_same: bool) -> None:
    release = release_of(
        products=["x", {"code": "t", "scope": "key", "scopeKey": "zone"}], decompositions=[rule("x", "t")]
    )
    lines = sources(decomposed(release, order_of(line("1", "x", zone=left), line("2", "x", zone=right))), "t")

    assert len(lines) == (1 if is_same else 2)
    assert all(len(key) < 80 and key.count("@") == 1 and "~" not in key for key in lines)


def test_a_rule_whose_condition_does_not_hold_gives_no_line() -> None:
    release = release_of(
        products=["offer", "fibre", "copper"],
        decompositions=[
            rule("offer", "fibre", when="place.technology == 'fibre'"),
            rule("offer", "copper", when="attributes.technology != 'fibre'"),
        ],
    )

    assert list(decomposed(release, order_of(line("1", "offer", place={"technology": "fibre"})))) == ["1", "fibre@1"]
    # A comparison with an absent attribute is false, `!=` too.
    assert list(decomposed(release, order_of(line("1", "offer")))) == ["1"]
    assert list(decomposed(release, order_of(line("1", "offer", technology="copper")))) == ["1", "copper@1"]


def test_conditions_read_the_channel_and_the_account() -> None:
    release = release_of(
        products=["offer", "survey"],
        decompositions=[
            rule(
                "offer",
                "survey",
                when="account.segment == 'business' && order.channel == 'partner' && line.quantity > 1",
            )
        ],
    )
    business: dict[str, Any] = {"account_facts": {"segment": "business"}, "channel": "partner"}

    assert "survey@1" in decomposed(release, order_of(line("1", "offer", quantity=2), **business))
    assert "survey@1" not in decomposed(release, order_of(line("1", "offer", quantity=1), **business))
    assert "survey@1" not in decomposed(release, order_of(line("1", "offer", quantity=2)))


# What they carry.


def mapped(source: dict[str, Any], *mappings: dict[str, Any], **members: Any) -> dict[str, Any]:
    """The attributes of a technical line of one mapped source."""
    target = {"code": "t", "attributes": [{"name": "preset", "default": "d"}]}
    release = release_of(products=["x", target], decompositions=[rule("x", "t", *mappings, **members)])
    return decomposed(release, order_of(line("1", "x", **source)))["t@1"].attributes


@pytest.mark.parametrize(
    ("source", "mapping", "expected"),
    [
        ({"speed": 30}, {"copy": "speed"}, 30),
        ({"speed": {"unit": "Mbps", "value": 30}}, {"copy": "speed"}, {"unit": "Mbps", "value": 30}),
        ({"speed": None}, {"copy": "speed"}, None),
        ({}, {"static": "gold"}, "gold"),
        ({}, {"static": None}, None),
        ({"speed": "30Mbps"}, {"list": "speed", "table": {"30Mbps": 30, "60Mbps": 60}}, 30),
        ({"speed": 30}, {"list": "speed", "table": {"30": "slow"}}, "slow"),
        ({"wifi": True}, {"list": "wifi", "table": {"true": "on", "false": "off"}}, "on"),
        ({"speed": 30}, {"expression": "attributes.speed * 2"}, 60),
    ],
)
def test_a_mapping_sets_the_target(source: dict[str, Any], mapping: dict[str, Any], expected: Any) -> None:
    assert mapped(source, {"to": "preset"} | mapping)["preset"] == expected


@pytest.mark.parametrize(
    ("source", "mapping"),
    [
        ({}, {"copy": "speed"}),
        ({"speed": "1Mbps"}, {"list": "speed", "table": {"30Mbps": 30}}),
        ({}, {"list": "speed", "table": {"None": 30, "null": 40}}),
        ({}, {"expression": "attributes.speed * 2"}),
    ],
)
def test_a_mapping_without_a_value_leaves_the_default(source: dict[str, Any], mapping: dict[str, Any]) -> None:
    assert mapped(source, {"to": "preset"} | mapping) == {"preset": "d"}


def test_of_two_rules_for_one_attribute_the_lower_priority_number_wins() -> None:
    release = release_of(
        products=["x", "t"],
        decompositions=[
            rule("x", "t", {"to": "a", "static": "late"}, {"to": "b", "static": "only late"}, name="late", priority=2),
            rule("x", "t", {"to": "a", "static": "early"}, name="zzz", priority=1),
        ],
    )

    assert decomposed(release, order_of(line("1", "x")))["t@1"].attributes == {"a": "early", "b": "only late"}


def test_of_two_rules_of_one_priority_the_lower_name_wins() -> None:
    release = release_of(
        products=["x", "t"],
        decompositions=[
            rule("x", "t", {"to": "a", "static": "second"}, name="b"),
            rule("x", "t", {"to": "a", "static": "first"}, name="a"),
        ],
    )

    assert decomposed(release, order_of(line("1", "x")))["t@1"].attributes == {"a": "first"}


def test_of_two_sources_of_one_rule_the_lower_line_wins() -> None:
    release = release_of(
        products=["x", {"code": "t", "scope": "order"}], decompositions=[rule("x", "t", {"to": "a", "copy": "a"})]
    )
    order = order_of(line("2", "x", a="of 2"), line("1", "x", a="of 1"))

    assert decomposed(release, order)["t@order"].attributes == {"a": "of 1"}


def test_a_rule_without_a_value_leaves_the_attribute_to_the_next() -> None:
    release = release_of(
        products=["x", "t"],
        decompositions=[
            rule("x", "t", {"to": "a", "copy": "absent"}, name="a", priority=1),
            rule("x", "t", {"to": "a", "static": "second"}, name="b", priority=2),
        ],
    )

    assert decomposed(release, order_of(line("1", "x")))["t@1"].attributes == {"a": "second"}


@pytest.mark.parametrize(("quantity", "expected"), [("one", 1), ("sum", 5), ("max", 3)])
def test_the_quantity_of_a_merged_line_follows_its_rule(quantity: str, expected: int) -> None:
    release = release_of(
        products=["x", {"code": "t", "scope": "order", "quantity": quantity}], decompositions=[rule("x", "t")]
    )
    order = order_of(line("1", "x", quantity=2), line("2", "x", quantity=3))

    assert decomposed(release, order)["t@order"].quantity == expected


def test_two_rules_from_one_source_count_its_quantity_once() -> None:
    release = release_of(products=["x", "t"], decompositions=[rule("x", "t", name="a"), rule("x", "t", name="b")])

    assert decomposed(release, order_of(line("1", "x", quantity=2)))["t@1"].quantity == 2


# What may not stay.


def test_a_mapped_value_that_may_not_stay_is_sealed_and_one_that_is_encrypted_is_ciphertext() -> None:
    attributes = [{"name": "pin", "assetizable": False}, {"name": "iban", "encrypted": True}]
    release = delivering(
        products=["x", {"code": "t", "attributes": attributes}],
        decompositions=[rule("x", "t", {"to": "pin", "copy": "p"}, {"to": "iban", "copy": "i"})],
    )
    engine = Engine(release)
    derived = accepted(engine, line("1", "x", p="1234", i="CH93"))["t@1"]

    assert derived.attributes["pin"] == {"$sealed": "t@1/pin"}
    assert derived.attributes["iban"].keys() == {"$encrypted", "mac"}
    assert engine.protector.sealed == {(next(iter(engine.plans)), "t@1/pin"): "1234"}
    assert only(engine, "t").attributes.keys() == {"iban"}


def test_an_order_whose_technical_line_has_a_sealed_value_has_secrets() -> None:
    release = delivering(
        products=["x", {"code": "t", "attributes": [{"name": "pin", "assetizable": False}]}],
        decompositions=[rule("x", "t", {"to": "pin", "static": "0000"})],
    )
    plan = Engine(release).accept(order_of(line("1", "x")))

    assert plan.has_secrets


# What their action comes out as.


def compared(attribute: dict[str, Any], before: Any, after: Any) -> tuple[Line, Asset]:
    """A technical line, and its asset, after an order that changes the attribute it is mapped from."""
    target = {"code": "t", "attributes": [{"name": "a"} | attribute]}
    release = delivering(products=["x", target], decompositions=[rule("x", "t", {"to": "a", "copy": "a"})])
    engine = Engine(release)
    accepted(engine, line("1", "x", a=before))
    derived = accepted(engine, line("7", "x", "modify", a=after))["t@7"]
    return derived, only(engine, "t")


@pytest.mark.parametrize(
    ("attribute", "before", "after", "action"),
    [
        ({}, "slow", "fast", "modify"),
        ({}, "slow", "slow", "noChange"),
        ({}, 1, None, "modify"),
        ({"significant": False}, "slow", "fast", "noChange"),
        ({"assetizable": False}, "1234", "5678", "noChange"),
        ({"encrypted": True}, "slow", "slow", "noChange"),
        ({"encrypted": True}, "slow", "fast", "modify"),
    ],
)
def test_the_action_of_a_technical_line_is_the_difference_to_what_is_there(
    attribute: dict[str, Any], before: Any, after: Any, action: str
) -> None:
    derived, _ = compared(attribute, before, after)

    assert derived.action == action


def test_an_attribute_without_significance_is_kept_up_to_date_all_the_same() -> None:
    _, asset = compared({"significant": False}, "slow", "fast")

    assert asset.attributes == {"a": "fast"}


def test_an_attribute_that_nothing_maps_any_more_stays_what_it_was() -> None:
    release = delivering(
        products=["x", "t"],
        decompositions=[
            rule("x", "t", {"to": "a", "copy": "a"}, {"to": "b", "copy": "b"}),
        ],
    )
    engine = Engine(release)
    accepted(engine, line("1", "x", a=1, b=2))
    x = only(engine, "x")
    x.attributes.pop("b")
    derived = accepted(engine, line("1", "x", "modify", a=3))["t@1"]

    assert derived.attributes == {"a": 3, "b": 2}
    assert derived.previous == {"a": 1, "b": 2}


def test_an_undeclared_value_that_was_sealed_drives_no_modify() -> None:
    release = delivering(
        products=["x", "t"], decompositions=[rule("x", "t", {"to": "a", "copy": "a"})], undeclared="seal"
    )
    engine = Engine(release)
    accepted(engine, line("1", "x", a="secret"))

    assert accepted(engine, line("1", "x", "modify", a="other"))["t@1"].action == "noChange"


def test_another_quantity_of_a_source_is_a_modify() -> None:
    engine = Engine(delivering(products=["x", "t"], decompositions=[rule("x", "t")]))
    accepted(engine, line("1", "x", quantity=2))
    derived = accepted(engine, line("1", "x", "modify", quantity=5))["t@1"]

    assert (derived.action, derived.previous_quantity, derived.quantity) == ("modify", 2, 5)
    assert only(engine, "t").quantity == 5


@pytest.mark.rule("B3.3")
def test_deleting_the_source_deletes_what_it_became_down_the_chain() -> None:
    engine = Engine(delivering(products=["offer", "cfs", "rfs"], decompositions=chain_of(["offer", "cfs", "rfs"])))
    accepted(engine, line("1", "offer"))
    lines = accepted(engine, line("9", "offer", "delete"))

    assert {key: each.action for key, each in lines.items()} == {
        "9": "delete",
        "cfs@9": "delete",
        "rfs@cfs@9": "delete",
    }
    assert engine.account.assets == {}


def test_a_rule_that_stops_firing_removes_what_it_made() -> None:
    release = delivering(
        products=["offer", "wifi", "app"],
        decompositions=[rule("offer", "wifi", when="attributes.wifi == true"), rule("wifi", "app")],
    )
    engine = Engine(release)
    accepted(engine, line("1", "offer", wifi=True))
    lines = accepted(engine, line("2", "offer", "modify", wifi=False))

    assert {key: each.action for key, each in lines.items()} == {
        "2": "modify",
        "wifi@2": "delete",
        "app@wifi@2": "delete",
    }
    assert [asset.product for asset in engine.account.assets.values()] == ["offer"]


def test_a_rule_that_starts_firing_adds_what_was_not_there() -> None:
    engine = Engine(
        delivering(products=["offer", "wifi"], decompositions=[rule("offer", "wifi", when="attributes.wifi == true")])
    )
    accepted(engine, line("1", "offer", wifi=False))

    assert accepted(engine, line("2", "offer", "modify", wifi=True))["wifi@2"].action == "add"


def test_a_rule_that_the_release_lost_leaves_what_it_made_until_its_source_goes() -> None:
    engine = Engine(delivering(products=["offer", "old"], decompositions=[rule("offer", "old")]))
    accepted(engine, line("1", "offer"))
    engine.release = delivering(products=["offer", "old"])

    assert list(accepted(engine, line("2", "offer", "modify", a=1))) == ["2"]
    assert accepted(engine, line("3", "offer", "delete"))["old@3"].action == "delete"
    assert engine.account.assets == {}


def test_a_nochange_line_with_other_values_changes_nothing() -> None:
    engine = Engine(delivering(products=["offer", "t"], decompositions=[rule("offer", "t", {"to": "a", "copy": "a"})]))
    accepted(engine, line("1", "offer", a=1))
    lines = accepted(engine, line("2", "offer", "noChange", a=2, remark="read me", quantity=9))

    assert (lines["t@2"].action, lines["2"].quantity) == ("noChange", 1)
    assert lines["2"].attributes == {"a": 1, "remark": "read me"}
    assert [asset.attributes for asset in engine.account.assets.values()] == [{"a": 1}, {"a": 1}]


def test_a_modify_that_says_no_quantity_keeps_it() -> None:
    engine = Engine(delivering(products=["offer"]))
    accepted(engine, line("1", "offer", quantity=4))
    accepted(engine, line("2", "offer", "modify", a=1))

    assert only(engine, "offer").quantity == 4


def test_another_place_reaches_the_asset() -> None:
    engine = Engine(delivering(products=["offer", "t"], decompositions=[rule("offer", "t")]))
    accepted(engine, line("1", "offer", place={"city": "Bern"}))
    lines = accepted(engine, line("2", "offer", "move", place={"city": "Basel"}))

    assert lines["t@2"].action == "move"
    assert [asset.place for asset in engine.account.assets.values()] == [{"city": "Basel"}, {"city": "Basel"}]


def test_new_relations_reach_the_asset_once() -> None:
    engine = Engine(delivering(products=["offer"]))
    accepted(engine, line("1", "offer"))
    for order in ("2", "3"):
        accepted(engine, line(order, "offer", "modify", product_relations=(("reliesOn", "p-9"),)))

    assert only(engine, "offer").relations == [["reliesOn", "p-9"]]


# Instances that are shared.


def shared_by_two(**target: Any) -> Engine:
    """Two x of one order that share one t."""
    engine = Engine(
        delivering(products=["x", {"code": "t", "scope": "order"} | target], decompositions=[rule("x", "t")])
    )
    accepted(engine, line("1", "x"), line("2", "x"))
    return engine


def test_a_shared_instance_dies_with_the_last_that_uses_it() -> None:
    engine = shared_by_two()
    first, second = (asset.asset_id for asset in installed(engine, "x"))
    one_less = accepted(engine, line("1", "x", "delete", product_id=first))

    assert one_less["t@order"].action == "modify"  # the sum of its sources is smaller
    assert only(engine, "t").uses == {second: 1}
    assert accepted(engine, line("1", "x", "delete", product_id=second))["t@order"].action == "delete"
    assert engine.account.assets == {}


def test_a_shared_instance_of_quantity_one_does_not_change_while_somebody_uses_it() -> None:
    engine = shared_by_two(quantity="one")
    first, _ = (asset.asset_id for asset in installed(engine, "x"))
    line_of_t = accepted(engine, line("1", "x", "delete", product_id=first))["t@order"]

    assert line_of_t.action == "noChange"
    assert line_of_t.drop_uses == (first,)
    assert first not in only(engine, "t").uses


def test_two_instances_of_one_product_are_never_merged() -> None:
    engine = Engine(
        delivering(
            products=["x", {"code": "t", "scope": "order"}], decompositions=[rule("x", "t", {"to": "a", "copy": "a"})]
        )
    )
    accepted(engine, line("1", "x", a=1))
    accepted(engine, line("1", "x", a=1))
    first, second = (asset.asset_id for asset in installed(engine, "x"))
    before = {asset.asset_id: asset.uses for asset in installed(engine, "t")}
    lines = accepted(
        engine, line("1", "x", "modify", product_id=first, a=5), line("2", "x", "modify", product_id=second, a=6)
    )

    assert {asset.asset_id: asset.uses for asset in installed(engine, "t")} == before
    assert sorted(each.action for each in lines.values() if each.product == "t") == ["modify", "modify"]
    accepted(engine, line("1", "x", "delete", product_id=first), line("2", "x", "delete", product_id=second))
    assert engine.account.assets == {}


def test_a_key_that_changes_leaves_the_old_instance_and_gets_a_new_one() -> None:
    release = delivering(
        products=["x", {"code": "t", "scope": "key", "scopeKey": "zone", "quantity": "one"}],
        decompositions=[rule("x", "t", {"to": "zone", "copy": "zone"})],
    )
    engine = Engine(release)
    accepted(engine, line("1", "x", zone="north"), line("2", "x", zone="north"))
    first, second = (asset.asset_id for asset in installed(engine, "x"))
    lines = accepted(engine, line("1", "x", "modify", product_id=first, zone="south"))

    assert {key: each.action for key, each in lines.items() if each.product == "t"} == {
        "t@key:north": "noChange",
        "t@key:south": "add",
    }
    assert {asset.instance: set(asset.uses) for asset in installed(engine, "t")} == {
        "key:north": {second},
        "key:south": {first},
    }
    lines = accepted(engine, line("1", "x", "modify", product_id=second, zone="south"))
    assert lines["t@key:north"].action == "delete"


def test_two_lines_that_swap_their_keys_keep_both_instances() -> None:
    release = delivering(
        products=["x", {"code": "t", "scope": "key", "scopeKey": "zone"}],
        decompositions=[rule("x", "t")],
    )
    engine = Engine(release)
    accepted(engine, line("1", "x", zone="north"), line("2", "x", zone="south"))
    ids = [asset.asset_id for asset in installed(engine, "x")]
    accepted(
        engine,
        line("1", "x", "modify", product_id=ids[0], zone="south"),
        line("2", "x", "modify", product_id=ids[1], zone="north"),
    )
    uses = sorted(source for asset in installed(engine, "t") for source in asset.uses)

    assert uses == sorted(ids)


def test_what_is_added_to_a_bundle_later_joins_the_bundles_instance() -> None:
    release = delivering(
        products=["offer", "mail", "voice", {"code": "profile", "scope": "bundle"}],
        decompositions=[rule("mail", "profile"), rule("voice", "profile")],
    )
    engine = Engine(release)
    accepted(engine, line("1", "offer"), line("2", "mail", below="1"))
    accepted(engine, line("1", "offer"), line("2", "mail", below="1"))
    offer, other = installed(engine, "offer")
    lines = accepted(engine, line("7", "offer", "noChange", product_id=offer.asset_id), line("8", "voice", below="7"))

    assert lines["profile@7"].action == "modify"
    assert {asset.root_id: len(asset.uses) for asset in installed(engine, "profile")} == {
        offer.asset_id: 2,
        other.asset_id: 1,
    }


def test_a_product_that_becomes_shared_over_the_account_leaves_its_own_instances() -> None:
    products = ["x", {"code": "t", "scope": "item"}]
    engine = Engine(delivering(products=products, decompositions=[rule("x", "t")]))
    accepted(engine, line("1", "x"))
    engine.release = delivering(products=["x", {"code": "t", "scope": "account"}], decompositions=[rule("x", "t")])
    lines = accepted(engine, line("1", "x", "modify", a=1))

    assert sorted(each.action for each in lines.values() if each.product == "t") == ["add", "delete"]
    assert only(engine, "t").instance == "account"


@pytest.mark.rule("B3.3")
def test_a_shared_instance_is_suspended_only_with_all_that_use_it_and_resumed_with_the_first() -> None:
    engine = shared_by_two(quantity="one")
    ids = [asset.asset_id for asset in installed(engine, "x")]

    def each_with(action: str, *products: str) -> str:
        order = [line(str(at), "x", action, product_id=product) for at, product in enumerate(products)]
        return accepted(engine, *order)["t@order"].action

    assert each_with("suspend", ids[0]) == "noChange"
    assert only(engine, "t").status == "active"
    assert each_with("resume", ids[0]) == "noChange"
    assert each_with("suspend", *ids) == "suspend"
    assert {asset.status for asset in engine.account.assets.values()} == {"suspended"}
    assert each_with("resume", ids[1]) == "resume"
    assert only(engine, "t").status == "active"
    assert each_with("move", ids[1]) == "noChange"


def test_an_order_does_not_decide_twice_about_one_instance() -> None:
    engine = Engine(delivering(products=["x", "t"], decompositions=[rule("x", "t")]))
    accepted(engine, line("1", "x"))

    with pytest.raises(InventoryConflict, match=r"item .2. is about product .* of which other items .* decide"):
        engine.accept(order_of(line("1", "x", "modify", a=1), line("2", "t", "delete")))


# Where a line finds its asset.


def test_a_new_line_below_an_installed_one_belongs_to_its_root() -> None:
    engine = Engine(delivering(products=["offer", "option"]))
    accepted(engine, line("1", "offer"))
    root = only(engine, "offer").asset_id
    accepted(engine, line("1", "offer", "noChange"), line("2", "option", below="1"), line("3", "option", below="2"))

    assert {asset.root_id for asset in engine.account.assets.values()} == {root}


def test_what_only_sells_gives_its_offering_to_what_it_sells_and_is_no_root() -> None:
    release = delivering(
        products=[{"code": "package", "kind": "commercial", "asset": False}, "line", "option"],
    )
    engine = Engine(release)
    accepted(
        engine,
        OrderLine("1", "add", offering="package", path="1"),
        line("2", "line", below="1"),
        line("3", "option", below="2"),
    )
    (sold,), (option,) = installed(engine, "line"), installed(engine, "option")

    assert (sold.offering, sold.root_id) == ("package", sold.asset_id)
    assert (option.offering, option.root_id) == (None, sold.asset_id)


def test_a_tree_of_ten_thousand_levels_is_placed() -> None:
    lines = [line("0", "x"), *(line(str(at), "x", below=str(at - 1)) for at in range(1, 10_000))]
    resolved = resolve_lines(order_of(*reversed(lines)), release_of(products=["x"]), Account("a").projected())

    assert {each.root_asset_id for each in resolved.lines} == {resolved.lines[-1].asset_id}


def test_nothing_is_delivered_for_a_product_that_is_no_asset() -> None:
    release = release_of(products=[{"code": "x", "asset": False}])
    lines = decomposed(release, order_of(line("1", "x", a=1)))

    assert delta_of(lines["1"], release) is None


# Keys.

SCOPES = ["account", "order", "bundle", "mainItem", "item", "key"]


@st.composite
def permuted_orders(draw: st.DrawFn) -> tuple[list[str], Sequence[OrderLine], Sequence[OrderLine]]:
    """Scopes of three technical products, and the lines of an order in two sequences."""
    scopes = draw(st.lists(st.sampled_from(SCOPES), min_size=3, max_size=3))
    count = draw(st.integers(1, 7))
    lines = []
    for at in range(count):
        below = draw(st.none() | st.integers(0, at - 1)) if at else None
        lines.append(
            line(
                str(at),
                draw(st.sampled_from(["offer", "x"])),
                below=None if below is None else str(below),
                zone=draw(st.sampled_from(["n", "s", None])),
                quantity=draw(st.integers(1, 3)),
            )
        )
    return scopes, lines, draw(st.permutations(lines))


@settings(derandomize=True, deadline=None)
@given(permuted_orders())
def test_the_same_order_gives_the_same_lines_whatever_the_sequence_of_its_lines(
    case: tuple[list[str], Sequence[OrderLine], Sequence[OrderLine]],
) -> None:
    scopes, lines, shuffled = case
    names = [f"t{at}" for at in range(3)]
    zone = {"to": "zone", "copy": "zone"}
    release = release_of(
        products=[
            "offer",
            "x",
            *({"code": n, "scope": s, "scopeKey": "zone"} for n, s in zip(names, scopes, strict=True)),
        ],
        decompositions=[
            rule("offer", "t0", zone),
            rule("x", "t0", zone),
            rule("x", "t1", zone, when="attributes.zone == 'n'"),
            rule("t0", "t1", zone),
            rule("t1", "t2", zone),
        ],
    )

    assert decomposed(release, order_of(*lines)) == decomposed(release, order_of(*shuffled))
