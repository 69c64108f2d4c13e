"""Scenarios: which plan definitions a line composes, by its action, its product and the classes above it."""

from __future__ import annotations

import pytest

from domain.catalogue import Action
from domain.plan import Plan
from tests.support.build import line, order_of, plan_of, release_of, scenario
from tests.support.engine import Engine

ACTIONS = [each.value for each in Action]
CLASSES = [{"code": "access"}, {"code": "fibre", "parent": "access"}, {"code": "other"}]


def engine_of(*scenarios: dict[str, object]) -> Engine:
    """A product of class fibre (below access), a plan for every action, and some more."""
    codes = [*ACTIONS, "always", "also"]
    return Engine(
        release_of(
            products=[{"code": "line", "class": "fibre"}],
            classes=CLASSES,
            plans=[plan_of(code, "do") for code in codes],
            scenarios=list(scenarios),
        )
    )


def by_class(name: str, plan: str, *actions: str, **members: object) -> dict[str, object]:
    return {"class": name, "plan": plan, "actions": list(actions)} | members


def composed(engine: Engine, action: str) -> set[str]:
    """The plans that a line with this action composes, on one that is installed, or suspended, where it has to be."""
    product_id = None
    if action != "add":
        made = engine.accept(order_of(line("1", "line")))
        engine.finish(made)
        product_id = made.lines[0].asset_id
    if action == "resume":
        engine.finish(engine.accept(order_of(line("1", "line", "suspend", product_id=product_id))))
    plan = engine.accept(order_of(line("1", "line", action, product_id=product_id)))
    return plans_of(plan)


def plans_of(plan: Plan) -> set[str]:
    return {item.definition.plan for item in plan.items if item.definition is not None}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("where", ["product", "class", "class above"])
def test_each_action_picks_its_definition(action: str, where: str) -> None:
    names = {"class": "fibre", "class above": "access"}
    scenarios = [
        scenario("line", each, each) if where == "product" else by_class(names[where], each, each) for each in ACTIONS
    ]

    assert composed(engine_of(*scenarios), action) == {action}


@pytest.mark.parametrize("action", ACTIONS)
def test_one_scenario_may_be_about_several_actions(action: str) -> None:
    assert composed(engine_of(scenario("line", "always", *ACTIONS)), action) == {"always"}


def test_scenarios_that_both_match_both_compose() -> None:
    engine = engine_of(
        scenario("line", "add", "add"),
        by_class("fibre", "also", "add", when='line.product == "line"'),
        by_class("access", "always", "add", "modify"),
        by_class("other", "move", "add"),
        scenario("line", "modify", "add", when="false"),
    )

    assert composed(engine, "add") == {"add", "also", "always"}


def test_a_plan_that_two_scenarios_choose_composes_once() -> None:
    engine = engine_of(scenario("line", "always", "add"), by_class("access", "always", "add"))
    plan = engine.accept(order_of(line("1", "line")))

    assert [item.key for item in plan.items] == ["always/do@1"]
