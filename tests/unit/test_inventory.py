"""Assets and their differences; what an account has, will have, and who is before whom."""

from __future__ import annotations

import json
from typing import Any

import pytest

from domain.inventory import Account, Asset, AssetDelta, OpenOrder, apply_delta, quantity_of


def asset(asset_id: str = "p", **members: Any) -> Asset:
    return Asset(asset_id, "x", "root", **members)


def delta(op: str, asset_id: str = "p", **members: Any) -> AssetDelta:
    return AssetDelta(op, asset_id, "x", "root", **members)


FULL: dict[str, Any] = {
    "name": "X",
    "offering": "o",
    "quantity": 3,
    "instance": "bundle",
    "place": {"city": "Bern"},
    "status": "suspended",
}


def test_an_asset_survives_being_stored() -> None:
    for each in (
        asset(),
        asset(**FULL, attributes={"a": 1}, uses={"s": 2}, relations=[["reliesOn", "q"]], order_id="o1-1"),
    ):
        assert Asset.from_dict(json.loads(json.dumps(each.to_dict()))) == each


def test_a_difference_survives_being_stored() -> None:
    for each in (
        delta("remove"),
        delta(
            "change",
            **FULL,
            set={"a": None},
            quantity_rule="max",
            add_uses={"s": 2},
            drop_uses=("t",),
            relations=(("reliesOn", "q"),),
        ),
    ):
        assert AssetDelta.from_dict(json.loads(json.dumps(each.to_dict()))) == each


@pytest.mark.parametrize(
    ("rule", "uses", "quantity"),
    [("sum", {"a": 2, "b": 3}, 5), ("max", {"a": 2, "b": 3}, 3), ("one", {"a": 2, "b": 3}, 1), ("sum", {}, 1)],
)
def test_the_quantity_of_a_merged_instance(rule: str, uses: dict[str, int], quantity: int) -> None:
    assert quantity_of(uses, rule) == quantity


def test_a_difference_never_changes_the_asset_that_it_is_applied_to() -> None:
    before = asset(attributes={"a": 1}, uses={"s": 1}, relations=[["r", "q"]])
    after = apply_delta(before, delta("change", set={"a": 2}, add_uses={"t": 4}, drop_uses=("s",)), "o1-1")

    assert before == asset(attributes={"a": 1}, uses={"s": 1}, relations=[["r", "q"]])
    assert after == asset(attributes={"a": 2}, uses={"t": 4}, relations=[["r", "q"]], quantity=4, order_id="o1-1")


def test_removing_takes_the_last_use_and_nothing_before_it() -> None:
    two = asset(uses={"s": 1, "t": 1}, quantity=2)
    one = apply_delta(two, delta("remove", drop_uses=("s",)), "o1-1")

    assert one == asset(uses={"t": 1}, quantity=1, order_id="o1-1")
    assert apply_delta(one, delta("remove", drop_uses=("t",)), "o1-2") is None
    assert apply_delta(asset(), delta("remove"), "o1-3") is None
    assert apply_delta(None, delta("remove"), "o1-4") is None


def test_values_that_come_late_do_not_bring_back_what_another_order_has_removed() -> None:
    assert apply_delta(None, delta("late", set={"a": 2}), "o1-1") is None
    assert apply_delta(asset(uses={"s": 1}), delta("late", set={"a": 2}), "o1-1") == asset(
        uses={"s": 1}, attributes={"a": 2}, order_id="o1-1"
    )


def test_what_is_not_said_stays() -> None:
    before = asset(**FULL, attributes={"a": 1})

    assert apply_delta(before, delta("change"), "o1-1") == asset(**FULL, attributes={"a": 1}, order_id="o1-1")


def open_order(order_id: str, *roots: str, **members: Any) -> OpenOrder:
    return OpenOrder(order_id, frozenset(roots), **members)


def account_of(*orders: OpenOrder, assets: tuple[Asset, ...] = ()) -> Account:
    account = Account("acc-1", {each.asset_id: each for each in assets})
    for each in orders:
        account.open(each)
    return account


def test_an_order_waits_for_all_at_work_and_for_those_that_wait_longer() -> None:
    account = account_of(
        open_order("first", "a", is_waiting=True),
        open_order("second", "a", "b", is_waiting=True),
        open_order("third", "a", is_waiting=True),
        open_order("late", "b"),
        open_order("other", "c"),
    )

    assert account.holders(frozenset("a")) == ["first", "second", "third"]
    assert account.holders(frozenset("a"), before="first") == []
    assert account.holders(frozenset("a"), before="third") == ["first", "second"]
    # At work, so it has to end, though it came later.
    assert account.holders(frozenset("ab"), before="second") == ["first", "late"]
    assert account.holders(frozenset("d")) == []


def test_an_order_that_is_taken_up_stands_behind_those_at_work() -> None:
    account = account_of(open_order("waited", "a", is_waiting=True), open_order("other", "b", sequence=0))
    sequence = account.next_sequence()
    account.open(open_order("waited", "a", sequence=sequence))

    assert (list(account.open_orders), sequence) == (["other", "waited"], 1)
    assert Account("empty").next_sequence() == 0


def test_the_projected_state_is_what_open_orders_leave_in_their_sequence() -> None:
    account = account_of(
        open_order("one", deltas={"p": delta("change", set={"a": 2}), "q": delta("create", "q")}),
        open_order("two", deltas={"p": delta("change", set={"a": 3}), "r": delta("remove", "r")}),
        assets=(asset(attributes={"a": 1}), asset("r")),
    )
    projection = account.projected()

    assert projection.assets["p"].attributes == {"a": 3}
    assert (sorted(projection.assets), sorted(account.assets)) == (["p", "q"], ["p", "r"])
    assert [projection.pending_on(each) for each in ("p", "q", "r", "s")] == ["two", "one", "two", None]
    assert account.assets["p"].attributes == {"a": 1}


def test_what_is_delivered_is_awaited_no_more() -> None:
    account = account_of(open_order("one", deltas={"p": delta("create", set={"a": 2})}))
    change = account.deliver("one", account.open_orders["one"].deltas["p"])

    assert change == (None, asset(attributes={"a": 2}, order_id="one"))
    assert account.projected().pending_on("p") is None


def test_assets_are_found_by_product_by_user_and_by_bundle() -> None:
    account = account_of(
        assets=(
            asset("b", uses={"s": 1}),
            asset("a", uses={"s": 1, "t": 1}, instance="bundle"),
            Asset("c", "y", "root", instance="account"),
        )
    )
    projection = account.projected()

    assert [each.asset_id for each in projection.of_product("x")] == ["a", "b"]
    assert [each.asset_id for each in projection.using("s")] == ["a", "b"]
    assert [each.asset_id for each in projection.using("t")] == ["a"]
    assert (projection.of_product("z"), projection.using("z"), projection.of_bundle("y", "root")) == ((), (), None)
    found = projection.of_bundle("x", "root")
    assert found is not None
    assert (found.asset_id, projection.shared_id("y"), projection.shared_id("x")) == ("a", "c", None)
