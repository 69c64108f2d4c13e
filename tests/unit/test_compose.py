"""Lines to a plan: which items there are, what waits for what, and which dependencies are void."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import compose as compose_module
from domain.compose import TEMPLATES_MAX, Template, compose
from domain.decompose import decompose
from domain.inventory import Account
from domain.lines import order_context
from domain.orders import OrderLine
from domain.plan import Plan
from domain.release import CompiledRelease
from domain.resolve import resolve_lines
from tests.support.build import (
    assetize,
    callout,
    depends,
    line,
    milestone,
    order_of,
    plan_of,
    release_of,
    rule,
    scenario,
)
from tests.support.engine import Engine, OpenProtector


def composed(release: CompiledRelease, *lines: OrderLine, **members: Any) -> Plan:
    return Engine(release).accept(order_of(*lines, **members))


def items(plan: Plan) -> list[str]:
    return sorted(plan.by_key)


def waits(plan: Plan) -> dict[str, list[str]]:
    """What each item waits for; items that wait for nothing are left out."""
    assert plan.template is not None
    found = {}
    for item in plan.items:
        if targets := plan.template.waits[item.node]:
            found[item.key] = sorted(plan.items[target].key for target in targets)
    return found


def voids(plan: Plan) -> list[tuple[str, str]]:
    assert plan.template is not None
    return [(plan.items[node].key, ref) for node, ref in plan.template.voids]


def template(plan: Plan) -> Template:
    assert plan.template is not None
    return plan.template


# Which items there are.


def test_a_scenario_composes_its_plan_for_the_line() -> None:
    release = release_of(products=["x"], plans=[plan_of("p", "reserve", "activate")], scenarios=[scenario("x", "p")])

    assert items(composed(release, line("1", "x"))) == ["p/activate@1", "p/reserve@1"]


def test_several_scenarios_that_match_compose_each_plan_once() -> None:
    release = release_of(
        products=[{"code": "x", "class": "any"}],
        classes=[{"code": "any"}],
        plans=[plan_of("p", "a"), plan_of("q", "b")],
        scenarios=[
            scenario("x", "p"),
            scenario("x", "p", when="attributes.a == 1"),
            {"class": "any", "plan": "q", "actions": ["add", "modify"]},
            {"class": "any", "plan": "p", "actions": ["add"]},
        ],
    )

    assert items(composed(release, line("1", "x", a=1))) == ["p/a@1", "q/b@1"]


def test_a_scenario_composes_only_for_its_actions_and_under_its_condition() -> None:
    release = release_of(
        products=["x", "y"],
        plans=[plan_of("p", "a"), plan_of("q", "b"), plan_of("r", "c")],
        scenarios=[
            scenario("x", "p", when="attributes.size == 'big'"),
            scenario("x", "q", "modify"),
            scenario("y", "r"),
        ],
    )

    assert items(composed(release, line("1", "x", size="big"), line("2", "y"))) == ["p/a@1", "r/c@2"]
    assert items(composed(release, line("1", "x", size="small"), line("2", "y"))) == ["r/c@2"]
    assert items(composed(release, line("1", "x"), line("2", "y"))) == ["r/c@2"]


def test_a_line_that_matches_no_scenario_is_named_as_idle() -> None:
    release = release_of(products=["offer", "x"], plans=[plan_of("p", "a")], scenarios=[scenario("x", "p")])
    plan = composed(release, line("1", "offer"), line("2", "x"), line("3", "offer"))

    assert [plan.lines[index].key for index in template(plan).idle_lines] == ["1", "3"]


def two_bundles() -> list[OrderLine]:
    return [
        line("a", "offer"),
        line("x1", "x", below="a", zone="north"),
        line("x2", "x", below="a", zone="south"),
        line("b", "offer"),
        line("x3", "x", below="b", zone="north"),
        line("x4", "x", below="b"),
    ]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("global", {"p/a@plan": ["x1", "x2", "x3", "x4"]}),
        ("account", {"p/a@order": ["x1", "x2", "x3", "x4"]}),
        ("order", {"p/a@order": ["x1", "x2", "x3", "x4"]}),
        ("bundle", {"p/a@a": ["x1", "x2"], "p/a@b": ["x3", "x4"]}),
        ("mainItem", {"p/a@a": ["x1", "x2"], "p/a@b": ["x3", "x4"]}),
        ("item", {"p/a@x1": ["x1"], "p/a@x2": ["x2"], "p/a@x3": ["x3"], "p/a@x4": ["x4"]}),
        ("key", {"p/a@key:north": ["x1", "x3"], "p/a@key:south": ["x2"], "p/a@x4": ["x4"]}),
    ],
)
def test_an_item_is_instantiated_once_per_instance_of_its_scope(scope: str, expected: dict[str, list[str]]) -> None:
    release = release_of(
        products=["offer", "x"],
        plans=[plan_of("p", callout("a", scope=scope, scopeKey="zone"))],
        scenarios=[scenario("x", "p")],
    )
    plan = composed(release, *two_bundles())

    assert {item.key: [each.key for each in plan.lines_of(item)] for item in plan.items} == expected


def test_an_item_without_a_scope_has_its_plans() -> None:
    release = release_of(
        products=["offer", "x"],
        plans=[plan_of("p", "a", callout("b", scope="item"), scope="order")],
        scenarios=[scenario("x", "p")],
    )

    assert items(composed(release, line("1", "x"), line("2", "x"))) == ["p/a@order", "p/b@1", "p/b@2"]


def test_a_main_item_below_a_technical_line_is_that_of_the_first_level() -> None:
    release = release_of(
        products=["x", "cfs", "rfs"],
        decompositions=[rule("x", "cfs"), rule("cfs", "rfs")],
        plans=[plan_of("p", "a", scope="mainItem")],
        scenarios=[scenario("cfs", "p"), scenario("rfs", "p")],
    )

    assert items(composed(release, line("1", "x"), line("2", "x"))) == ["p/a@cfs@1", "p/a@cfs@2"]


# What waits for what.


def two_plans(scope: str | None, *lines: OrderLine, own: str = "item", other: str = "item", **members: Any) -> Plan:
    """Item `q/b` of y lines depends on item `p/a` of x lines."""
    release = release_of(
        products=["offer", "x", "y"],
        plans=[
            plan_of("p", callout("a", scope=other, **({"scopeKey": "zone"} if other == "key" else {}))),
            plan_of("q", callout("b", scope=own, **({"scopeKey": "zone"} if own == "key" else {}))),
        ],
        dependencies=[depends("q/b", "p/a", scope, **members)],
        scenarios=[scenario("x", "p"), scenario("y", "q"), scenario("offer", "p", when="attributes.a == 1")],
    )
    return composed(release, *lines)


def x_and_y_in_two_bundles() -> list[OrderLine]:
    return [
        line("a", "offer"),
        line("xa", "x", below="a", zone="n"),
        line("ya", "y", below="a", zone="n"),
        line("b", "offer"),
        line("xb", "x", below="b", zone="s"),
        line("yb", "y", below="b", zone="s"),
        line("yc", "y", below="b", zone="n"),
    ]


EVERYTHING = {f"q/b@{y}": ["p/a@xa", "p/a@xb"] for y in ("ya", "yb", "yc")}
PER_BUNDLE = {"q/b@ya": ["p/a@xa"], "q/b@yb": ["p/a@xb"], "q/b@yc": ["p/a@xb"]}


@pytest.mark.rule("F.23")
@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("global", EVERYTHING),
        ("account", EVERYTHING),
        ("order", EVERYTHING),
        ("bundle", PER_BUNDLE),
        ("mainItem", PER_BUNDLE),
        # The lines are not the same.
        ("item", {}),
        # None: the narrowest scope that both share.
        (None, PER_BUNDLE),
    ],
)
def test_a_dependency_holds_inside_its_scope(scope: str | None, expected: dict[str, list[str]]) -> None:
    plan = two_plans(scope, *x_and_y_in_two_bundles())

    assert waits(plan) == expected
    assert voids(plan) == ([] if expected else [(f"q/b@{y}", "p/a") for y in ("ya", "yb", "yc")])


def test_a_dependency_by_key_holds_between_equal_keys() -> None:
    plan = two_plans("key", *x_and_y_in_two_bundles(), line("yd", "y"), own="key")

    assert waits(plan) == {"q/b@key:n": ["p/a@xa"], "q/b@key:s": ["p/a@xb"]}
    assert voids(plan) == [("q/b@yd", "p/a")]


@pytest.mark.rule("F.23")
def test_without_a_scope_items_shared_by_a_key_wait_for_those_of_the_same_key() -> None:
    # By bundles, q/b@key:n (of ya and yc) would wait for both.
    plan = two_plans(None, *x_and_y_in_two_bundles(), own="key", other="key")

    assert waits(plan) == {"q/b@key:n": ["p/a@key:n"], "q/b@key:s": ["p/a@key:s"]}


def test_items_of_one_line_wait_for_one_another_within_the_line() -> None:
    release = release_of(
        products=["x"],
        plans=[plan_of("p", "a", "b")],
        dependencies=[depends("p/b", "p/a")],
        scenarios=[scenario("x", "p")],
    )

    assert waits(composed(release, line("1", "x"), line("2", "x"))) == {"p/b@1": ["p/a@1"], "p/b@2": ["p/a@2"]}


def test_without_a_scope_a_dependency_reaches_past_the_bundle_when_the_bundle_has_no_partner() -> None:
    plan = two_plans(
        None, line("a", "offer"), line("xa", "x", below="a"), line("b", "offer"), line("yb", "y", below="b")
    )

    assert waits(plan) == {"q/b@yb": ["p/a@xa"]}


@pytest.mark.rule("F.23")
def test_what_there_is_once_for_an_order_waits_for_all_of_the_order() -> None:
    # q/b shares line xa with one p/a; it still is an item of the order, not of that line.
    release = release_of(
        products=["x", "y"],
        plans=[plan_of("p", "a"), plan_of("q", callout("b", scope="order"))],
        dependencies=[depends("q/b", "p/a")],
        scenarios=[scenario("x", "p"), scenario("y", "p"), scenario("x", "q")],
    )
    plan = composed(release, line("1", "x"), line("2", "y"))

    assert waits(plan) == {"q/b@order": ["p/a@1", "p/a@2"]}


def test_a_bundle_item_waits_for_all_of_its_bundle_and_no_other() -> None:
    plan = two_plans(None, *x_and_y_in_two_bundles(), line("xd", "x", below="a"), own="bundle")

    assert waits(plan) == {"q/b@a": ["p/a@xa", "p/a@xd"], "q/b@b": ["p/a@xb"]}


def test_every_item_of_an_order_waits_for_one_that_is_there_once() -> None:
    plan = two_plans(None, *x_and_y_in_two_bundles(), other="global")

    assert waits(plan) == {f"q/b@{y}": ["p/a@plan"] for y in ("ya", "yb", "yc")}


def test_a_line_without_a_bundle_waits_for_the_whole_order() -> None:
    plan = two_plans("bundle", line("a", "offer"), line("xa", "x", below="a"), line("y", "y"), line("x", "x"))

    assert waits(plan) == {"q/b@y": ["p/a@x", "p/a@xa"]}


def test_processed_before_makes_the_other_wait_and_is_void_for_its_owner() -> None:
    before = two_plans("order", line("x", "x"), line("y", "y"), type="processedBefore")
    without = two_plans("order", line("y", "y"), type="processedBefore")
    other_alone = two_plans("order", line("x", "x"), type="processedBefore")

    assert waits(before) == {"p/a@x": ["q/b@y"]}
    assert (waits(without), voids(without)) == ({}, [("q/b@y", "p/a")])
    # The dependency belongs to q/b: where that is absent, nobody has a void dependency.
    assert (waits(other_alone), voids(other_alone)) == ({}, [])


@pytest.mark.rule("B3.2")
def test_a_dependency_on_what_the_order_does_not_have_is_void_and_does_not_block() -> None:
    engine_plan = two_plans(None, line("y", "y"))

    assert voids(engine_plan) == [("q/b@y", "p/a")]
    assert engine_plan.by_key["q/b@y"].state == "Running"


def test_a_merged_line_stands_in_the_bundle_of_each_of_its_sources() -> None:
    release = release_of(
        products=["offer", "x", {"code": "t", "scope": "order"}],
        decompositions=[rule("x", "t")],
        plans=[plan_of("p", "a"), plan_of("q", "b")],
        dependencies=[depends("q/b", "p/a", "bundle")],
        scenarios=[scenario("t", "p"), scenario("x", "q")],
    )
    plan = composed(
        release, line("a", "offer"), line("xa", "x", below="a"), line("b", "offer"), line("xb", "x", below="b")
    )

    assert waits(plan) == {"q/b@xa": ["p/a@t@order"], "q/b@xb": ["p/a@t@order"]}


def test_cross_plan_chains_join_and_branch() -> None:
    release = release_of(
        products=["x"],
        plans=[plan_of("p", milestone("start"), "left", "right"), plan_of("q", "join")],
        dependencies=[
            depends("p/left", "p/start"),
            depends("p/right", "p/start"),
            depends("q/join", "p/left"),
            depends("q/join", "p/right"),
        ],
        scenarios=[scenario("x", "p"), scenario("x", "q")],
    )

    assert waits(composed(release, line("1", "x"))) == {
        "p/left@1": ["p/start@1"],
        "p/right@1": ["p/start@1"],
        "q/join@1": ["p/left@1", "p/right@1"],
    }


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("item", ["x1", "t@x1"]),
        ("mainItem", ["x1", "x2", "a", "t@x1", "t@x2"]),
        ("bundle", ["x1", "x2", "a", "t@x1", "t@x2"]),
        ("order", ["x1", "x2", "a", "b", "t@x1", "t@x2"]),
    ],
)
def test_an_assetize_item_covers_its_scope_instance(scope: str, expected: list[str]) -> None:
    release = release_of(
        products=["offer", "x", "t"],
        decompositions=[rule("x", "t")],
        plans=[plan_of("p", callout("wait"), assetize(scope=scope))],
        dependencies=[depends("p/assetize", "p/wait", "order")],
        scenarios=[scenario("x", "p", when="line.id == 'x1'")],
    )
    plan = composed(
        release, line("a", "offer"), line("x1", "x", below="a"), line("x2", "x", below="a"), line("b", "offer")
    )
    (covered,) = template(plan).covers.values()

    assert sorted(plan.lines[index].key for index in covered) == sorted(expected)


# Templates.


def rich() -> CompiledRelease:
    return release_of(
        products=["offer", "x", {"code": "t", "scope": "key", "scopeKey": "zone"}],
        decompositions=[rule("x", "t", {"to": "zone", "copy": "zone"})],
        plans=[
            plan_of("p", "a", assetize(scope="bundle")),
            plan_of("q", callout("b", scope="key", scopeKey="zone"), callout("c", scope="order")),
        ],
        dependencies=[depends("q/b", "p/a"), depends("p/assetize", "q/c"), depends("q/c", "q/b", "order")],
        scenarios=[scenario("x", "p"), scenario("t", "q"), scenario("offer", "p", "modify")],
    )


def test_orders_of_one_shape_share_one_template() -> None:
    release = rich()
    engine = Engine(release)
    first = engine.accept(order_of(*two_bundles()))
    second = engine.accept(order_of(*(each for each in two_bundles()), channel="shop"))

    assert first.template is second.template
    assert len(release.templates) == 1


def test_line_ids_and_values_are_no_part_of_the_shape() -> None:
    engine = Engine(rich())
    first = engine.accept(order_of(line("1", "offer"), line("2", "x", below="1", size=3)))
    second = engine.accept(order_of(line("7", "offer"), line("9", "x", below="7", size=4)))

    assert first.template is second.template
    assert items(second) == ["p/a@9", "p/assetize@7", "q/b@t@9", "q/c@order"]


@pytest.mark.parametrize(
    "other",
    [
        [line("a", "offer"), line("x", "x", below="a"), line("z", "x", below="a")],
        [line("a", "offer"), line("x", "x")],
        [line("a", "offer"), line("x", "x", below="a", zone="n")],
        [line("x", "x", below="a"), line("a", "offer")],
        [line("a", "x"), line("x", "x", below="a")],
    ],
    ids=["one line more", "no bundle", "a key", "another sequence", "another product"],
)
def test_another_shape_has_another_template(other: Sequence[OrderLine]) -> None:
    engine = Engine(rich())
    first = engine.accept(order_of(line("a", "offer"), line("x", "x", below="a")))
    second = engine.accept(order_of(*other))

    assert template(first).template_id != template(second).template_id


def test_lines_that_came_from_other_sources_have_another_template() -> None:
    # Same products, actions and roots; only who feeds t differs.
    release = release_of(
        products=["offer", "x", {"code": "t", "scope": "order"}],
        decompositions=[rule("x", "t", when="attributes.feeds == true")],
        plans=[plan_of("p", "a"), plan_of("q", "b")],
        dependencies=[depends("q/b", "p/a", "bundle")],
        scenarios=[scenario("t", "p"), scenario("x", "q")],
    )
    bundles = [line("a", "offer"), line("b", "offer")]
    one = composed(release, *bundles, line("xa", "x", below="a", feeds=True), line("xb", "x", below="b", feeds=False))
    both = composed(release, *bundles, line("xa", "x", below="a", feeds=True), line("xb", "x", below="b", feeds=True))

    assert waits(one) == {"q/b@xa": ["p/a@t@order"]}
    assert waits(both) == {"q/b@xa": ["p/a@t@order"], "q/b@xb": ["p/a@t@order"]}


def test_a_template_survives_being_stored() -> None:
    release = rich()
    original = template(Engine(release).accept(order_of(*two_bundles())))
    stored = json.loads(json.dumps(original.to_dict()))
    restored = Template.from_dict(stored, release)

    assert restored == original
    assert restored.template_id == original.template_id
    assert [each and each.ref for each in restored.definitions] == [node.ref for node in original.nodes]


def test_the_same_shape_under_another_release_is_another_template() -> None:
    parts: dict[str, Any] = {"products": ["x"], "plans": [plan_of("p", "a")], "scenarios": [scenario("x", "p")]}
    ids = {
        template(composed(release_of(**parts, version=version), line("1", "x"))).template_id for version in ("1", "2")
    }

    assert len(ids) == 2


def test_a_release_remembers_a_bounded_number_of_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TEMPLATES_MAX <= 10_000
    monkeypatch.setattr(compose_module, "TEMPLATES_MAX", 3)
    release = release_of(products=["x"], plans=[plan_of("p", "a")], scenarios=[scenario("x", "p")])
    engine = Engine(release)
    for size in range(1, 8):
        engine.accept(order_of(*(line(str(at), "x") for at in range(size))))

    assert len(release.templates) == 3
    assert {len(shape) for shape in release.templates} == {5, 6, 7}


# Keys and size.


@settings(derandomize=True, deadline=None)
@given(st.permutations(range(7)), st.lists(st.sampled_from(["n", "s", None]), min_size=7, max_size=7))
def test_the_same_order_gives_the_same_plan_whatever_the_sequence_of_its_lines(
    sequence: Sequence[int], zones: Sequence[str | None]
) -> None:
    release = rich()
    lines = [*two_bundles()[:4], *(line(str(at), "x", below="a" if at % 2 else "b") for at in range(3))]
    for each, zone in zip(lines, zones, strict=True):
        each.attributes["zone"] = zone
    plan = composed(release, *lines)
    shuffled = composed(release, *(lines[at] for at in sequence))

    assert items(shuffled) == items(plan)
    assert waits(shuffled) == waits(plan)
    assert sorted(voids(shuffled)) == sorted(voids(plan))


def work_of(lines: int, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Operations to take in an order of so many lines: scopes looked at, places found, contexts built."""
    counted: Counter[str] = Counter()

    def counting(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def wrapper(*args: Any, **options: Any) -> Any:
            counted[name] += 1
            return original(*args, **options)

        monkeypatch.setattr(owner, name, wrapper)

    release = rich()
    ordered = [line("0", "offer")]
    for at in range(1, lines):
        is_offer = at % 4 == 0
        ordered.append(
            line(str(at), "offer") if is_offer else line(str(at), "x", below=str(at - at % 4), zone=str(at % 50))
        )
    order = order_of(*ordered)
    order.order_id = "o1-1"
    projection = Account("acc-1").projected()
    with monkeypatch.context():
        counting(compose_module._Places, "at_scope")
        counting(compose_module._Places, "of_item")
        counting(compose_module, "line_context")
        counting(compose_module, "_key_value")
        made = decompose(order, release, resolve_lines(order, release, projection), projection, OpenProtector())
        made_template = compose(release, made, order_context(order))
    counted["nodes"] = len(made_template.nodes)
    counted["edges"] = sum(len(each) for each in made_template.waits)
    monkeypatch.undo()
    return counted


def test_the_work_to_compose_a_large_order_grows_with_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = work_of(200, monkeypatch), work_of(2_000, monkeypatch)

    assert large["nodes"] > 2_000
    assert large["at_scope"] > 1_000
    # Ten times the lines: ten times the work, and a little for what fits unevenly.
    assert {name: count for name, count in large.items() if count > 12 * max(1, small[name])} == {}
