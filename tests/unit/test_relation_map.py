"""Relations between the items of an order that say who goes first, where the release's relation map says so."""

from __future__ import annotations

from typing import Any

import pytest

from domain.compose import circle_in
from domain.errors import BadDocument
from domain.orders import OrderLine
from domain.plan import Plan
from tests.support.build import callout, depends, line, manual, order_of, plan_of, release_of, scenario
from tests.support.engine import Engine

ACTIONS = ("add", "modify", "delete")


def engine_of(**parts: Any) -> Engine:
    """`access` and `voice` have two calls each, one after the other."""
    return Engine(
        release_of(
            **{
                "products": ["access", "voice"],
                "relations": {"reliesOn": "after", "precedes": "before"},
                "plans": [plan_of("a", "build", "test"), plan_of("v", "port", "ring")],
                "dependencies": [depends("a/test", "a/build"), depends("v/ring", "v/port")],
                "scenarios": [scenario("access", "a", *ACTIONS), scenario("voice", "v", *ACTIONS)],
            }
            | parts
        )
    )


def related(each: OrderLine, *relations: tuple[str, str]) -> OrderLine:
    each.relations = relations
    return each


def waits(plan: Plan) -> dict[str, list[str]]:
    """Whom each item waits for."""
    assert plan.template is not None
    return {item.key: [plan.items[node].key for node in plan.template.waits[item.node]] for item in plan.items}


DELIVERED = {"a/build@1": [], "a/test@1": ["a/build@1"], "v/port@2": ["a/test@1"], "v/ring@2": ["v/port@2"]}


@pytest.mark.rule("F.19")
@pytest.mark.parametrize(
    "lines",
    [
        (line("1", "access"), related(line("2", "voice"), ("reliesOn", "1"))),
        (related(line("1", "access"), ("precedes", "2")), line("2", "voice")),
    ],
)
def test_a_relation_orders_deliveries_where_the_release_says_so(lines: tuple[OrderLine, ...]) -> None:
    engine = engine_of()
    plan = engine.accept(order_of(*lines))
    assert waits(plan) == DELIVERED
    engine.finish(plan)
    assert plan.order_state == "completed"


@pytest.mark.rule("F.19")
@pytest.mark.parametrize("relations", [{}, {"requires": "after"}])
def test_a_relation_of_another_type_orders_nothing(relations: dict[str, str]) -> None:
    engine = engine_of(relations=relations)
    plan = engine.accept(order_of(line("1", "access"), related(line("2", "voice"), ("reliesOn", "1"))))
    assert waits(plan)["v/port@2"] == []


@pytest.mark.rule("F.19")
def test_removals_go_the_other_way_about_and_opposite_directions_do_not_wait() -> None:
    engine = engine_of()
    engine.finish(engine.accept(order_of(line("1", "access"), line("2", "voice"))))
    access, voice = (
        next(each.asset_id for each in engine.account.assets.values() if each.product == product)
        for product in ("access", "voice")
    )

    def removed(number: str, asset_id: str, action: str = "delete") -> OrderLine:
        return line(number, None, action, product_id=asset_id, quantity=3 if action == "modify" else None)

    mixed = engine.accept(
        order_of(removed("1", access, "modify"), related(removed("2", voice), ("reliesOn", "1")))
    )
    assert (waits(mixed)["a/build@1"], waits(mixed)["v/port@2"]) == ([], [])
    engine.change(mixed, "cancel")
    engine.finish(mixed)
    plan = engine.accept(order_of(removed("1", access), related(removed("2", voice), ("reliesOn", "1"))))
    assert (waits(plan)["a/build@1"], waits(plan)["v/port@2"]) == (["v/ring@2"], [])


def test_work_for_both_together_waits_for_neither() -> None:
    engine = engine_of(
        plans=[plan_of("a", "build", callout("tell", scope="order")), plan_of("v", "port")],
        dependencies=[],
        scenarios=[scenario("access", "a", "add"), scenario("voice", "v", "add"), scenario("voice", "a", "add")],
    )
    plan = engine.accept(order_of(line("1", "access"), related(line("2", "voice"), ("reliesOn", "1"))))
    found = waits(plan)
    assert found["a/tell@order"] == []
    assert (found["v/port@2"], found["a/build@2"]) == (["a/build@1"], ["a/build@1"])


def test_a_circle_of_relations_is_refused_by_name() -> None:
    engine = engine_of()
    with pytest.raises(BadDocument, match=r"circle: .*a/build@1"):
        engine.accept(
            order_of(related(line("1", "access"), ("reliesOn", "2")), related(line("2", "voice"), ("reliesOn", "1")))
        )


def test_orders_that_differ_in_their_relations_have_templates_of_their_own() -> None:
    engine = engine_of()
    loose = engine.accept(order_of(line("1", "access"), line("2", "voice")))
    tied = engine.accept(order_of(line("1", "access"), related(line("2", "voice"), ("reliesOn", "1"))))
    assert (waits(loose)["v/port@2"], waits(tied)["v/port@2"]) == ([], ["a/test@1"])


def test_an_amendment_that_ties_two_items_has_the_second_wait() -> None:
    engine = engine_of(plans=[plan_of("a", manual("build")), plan_of("v", manual("port"))], dependencies=[])
    plan = engine.accept(order_of(line("1", "access"), line("2", "voice")))
    assert plan.by_key["v/port@2"].state == "Ready"
    engine.change(plan, "amend", order=order_of(line("1", "access"), related(line("2", "voice"), ("reliesOn", "1"))))
    assert (plan.by_key["a/build@1"].state, plan.by_key["v/port@2"].state) == ("Ready", "Pending")
    engine.finish(plan)
    assert plan.order_state == "completed"


def test_a_circle_that_closes_through_a_sub_plan_is_refused_too() -> None:
    engine = engine_of(
        products=["access"],
        plans=[
            plan_of(
                "p",
                callout("head", scope="item"),
                {"code": "Sub", "type": "subPlan", "subPlan": "inner", "scope": "order"},
                callout("tail", scope="item"),
            ),
            plan_of("inner", callout("work", scope="order")),
        ],
        dependencies=[depends("p/tail", "p/Sub"), depends("inner/work", "p/head", "order")],
        scenarios=[scenario("access", "p")],
    )
    with pytest.raises(BadDocument, match="circle"):
        engine.accept(order_of(related(line("1", "access"), ("reliesOn", "2")), line("2", "access")))


def test_a_circle_through_sub_plans_inside_one_another_is_found() -> None:
    # 0 waits for 3, which waits for 2; 2 begins with 1, and 1 with 0.
    waits, parents = [{3}, set(), set(), {2}], {1: 0, 2: 1}
    assert set(circle_in(waits, parents)) == {2, 3}
    assert circle_in([set(), set(), set(), {0}], parents) == []


def test_relations_that_make_very_many_items_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domain.compose.RELATION_WAITS_MAX", 3)
    engine = engine_of(plans=[plan_of("a", "build", "test"), plan_of("v", "port", "ring")], dependencies=[])
    with pytest.raises(BadDocument, match="more than 3 pairs of items"):
        engine.accept(order_of(line("1", "access"), related(line("2", "voice"), ("reliesOn", "1"))))
