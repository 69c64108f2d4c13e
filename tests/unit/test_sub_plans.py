"""Sub-plans: an item that stands for the items of another plan definition."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import BadRelease, NotPossibleNow
from domain.plan import Plan
from tests.support.build import depends, line, manual, order_of, plan_of, release_of, scenario
from tests.support.engine import Engine
from tests.support.fingerprint import fingerprint

VISIT: dict[str, Any] = {"code": "visit", "type": "subPlan", "subPlan": "visit"}
PARTS: dict[str, Any] = {
    "products": ["offer"],
    "plans": [plan_of("p", "before", VISIT, "after"), plan_of("visit", "travel", manual("work"), "report")],
    "dependencies": [
        depends("p/visit", "p/before"),
        depends("p/after", "p/visit"),
        depends("visit/work", "visit/travel"),
        depends("visit/report", "visit/work"),
    ],
    "scenarios": [scenario("offer", "p")],
}


def engine_of(**parts: Any) -> Engine:
    return Engine(release_of(**(PARTS | parts)))


def accepted(engine: Engine) -> Plan:
    return engine.accept(order_of(line("1", "offer")))


def states(plan: Plan) -> dict[str, str]:
    return {item.key.partition("@")[0]: item.state.value for item in plan.items}


def test_its_items_begin_when_what_the_sub_plan_waits_for_is_done() -> None:
    engine = engine_of()
    plan = accepted(engine)
    assert states(plan)["visit/travel"] == "Pending"

    engine.answer(plan, engine.call(plan, "p/before"))

    assert states(plan)["p/visit"] == "Running"
    assert engine.call(plan, "visit/travel").attempt == 1


def test_it_is_done_when_all_its_items_are_and_not_before() -> None:
    engine = engine_of()
    plan = accepted(engine)
    engine.answer(plan, engine.call(plan, "p/before"))
    engine.answer(plan, engine.call(plan, "visit/travel"))
    engine.complete_task(plan, "visit/work@1")
    assert states(plan)["p/visit"] == "Running"
    assert states(plan)["p/after"] == "Pending"

    engine.answer(plan, engine.call(plan, "visit/report"))

    assert states(plan)["p/visit"] == "Completed"
    assert engine.call(plan, "p/after").attempt == 1


def test_a_sub_plan_whose_condition_is_false_is_skipped_with_all_its_items() -> None:
    plans = [plan_of("p", VISIT | {"condition": "false"}, "after"), PARTS["plans"][1]]
    engine = engine_of(plans=plans, dependencies=PARTS["dependencies"][1:])
    plan = accepted(engine)

    assert states(plan) == {
        "p/visit": "Skipped",
        "p/after": "Running",
        "visit/travel": "Skipped",
        "visit/work": "Skipped",
        "visit/report": "Skipped",
    }


def test_a_sub_plan_in_a_sub_plan_runs_inside_it() -> None:
    inner = {"code": "inner", "type": "subPlan", "subPlan": "inner"}
    engine = engine_of(
        plans=[plan_of("p", VISIT), plan_of("visit", inner), plan_of("inner", "deep")], dependencies=[]
    )
    plan = accepted(engine)
    assert states(plan) == {"p/visit": "Running", "visit/inner": "Running", "inner/deep": "Running"}

    engine.finish(plan)

    assert set(states(plan).values()) == {"Completed"}
    assert plan.ended_at is not None


def test_a_sub_plan_with_nothing_in_it_is_done_at_once() -> None:
    engine = engine_of(plans=[plan_of("p", VISIT), plan_of("visit")], dependencies=[])
    plan = accepted(engine)

    assert states(plan) == {"p/visit": "Completed"}


def test_every_instance_has_items_of_its_own() -> None:
    engine = engine_of()
    plan = engine.accept(order_of(line("1", "offer"), line("2", "offer")))
    engine.finish(plan)

    assert {key for key in plan.by_key if key.startswith("visit/")} == {
        f"visit/{item}@{number}" for item in ("travel", "work", "report") for number in (1, 2)
    }
    assert plan.ended_at is not None


def test_an_operator_completes_its_items_and_not_the_running_sub_plan() -> None:
    engine = engine_of()
    plan = accepted(engine)
    engine.answer(plan, engine.call(plan, "p/before"))

    with pytest.raises(NotPossibleNow, match="done when its own items are"):
        engine.operate(plan, "p/visit@1", "complete")


def test_a_failed_sub_plan_is_not_completed_over_its_items_but_skipped_with_them() -> None:
    asked = VISIT | {"condition": "attributes.n > 3"}
    plans = [plan_of("p", "before", asked, "after"), *PARTS["plans"][1:]]
    engine = engine_of(plans=plans, products=[{"code": "offer", "attributes": [{"name": "n"}]}])
    plan = engine.accept(order_of(line("1", "offer", n="many")))
    engine.answer(plan, engine.call(plan, "p/before"))
    assert states(plan)["p/visit"] == "Fatally Failed"

    with pytest.raises(NotPossibleNow, match="done when its own items are") as refused:
        engine.operate(plan, "p/visit@1", "complete")
    engine.operate(plan, "p/visit@1", "skip")
    engine.answer(plan, engine.call(plan, "p/after"))

    assert refused.value.mend == "retry it, or skip it with all its items"
    assert plan.ended_at is not None


def test_an_operator_who_skips_a_sub_plan_skips_its_items() -> None:
    engine = engine_of()
    plan = accepted(engine)
    engine.operate(plan, "p/visit@1", "skip")

    assert {states(plan)[f"visit/{item}"] for item in ("travel", "work", "report")} == {"Skipped"}


def test_a_sub_plan_whose_items_were_all_skipped_before_is_done_at_once() -> None:
    engine = engine_of()
    plan = accepted(engine)
    for item in ("travel", "work", "report"):
        engine.operate(plan, f"visit/{item}@1", "skip")
    assert states(plan)["p/visit"] == "Pending"

    engine.answer(plan, engine.call(plan, "p/before"))

    assert states(plan)["p/visit"] == "Completed"
    assert engine.call(plan, "p/after").attempt == 1
    assert fingerprint(engine.replayed(plan)) == fingerprint(plan)


def test_a_plan_in_the_middle_of_a_sub_plan_replays_to_what_it_is() -> None:
    engine = engine_of()
    plan = accepted(engine)
    engine.answer(plan, engine.call(plan, "p/before"))
    engine.answer(plan, engine.call(plan, "visit/travel"))

    assert fingerprint(engine.replayed(plan)) == fingerprint(plan)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"plans": [plan_of("p", VISIT)], "dependencies": []}, "subPlan 'visit' is not a plan"),
        ({"scenarios": [*PARTS["scenarios"], scenario("offer", "visit")]}, "a scenario chooses plan 'visit'"),
        (
            {"plans": [plan_of("p", VISIT, VISIT | {"code": "again"}), plan_of("visit")], "dependencies": []},
            "name the same sub-plan",
        ),
        (
            {
                "plans": [
                    plan_of("p", "alone"),
                    plan_of("visit", {"code": "a", "type": "subPlan", "subPlan": "more"}),
                    plan_of("more", {"code": "b", "type": "subPlan", "subPlan": "visit"}),
                ],
                "dependencies": [],
            },
            "in a circle",
        ),
        (
            # An item of the sub-plan waits for what waits for the sub-plan.
            {"dependencies": [*PARTS["dependencies"], depends("visit/travel", "p/after")]},
            "wait for one another in a circle",
        ),
        (
            # What the sub-plan waits for waits for an item of it.
            {"dependencies": [*PARTS["dependencies"], depends("p/before", "visit/report")]},
            "wait for one another in a circle",
        ),
    ],
)
def test_what_could_never_run_is_refused_by_name(parts: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRelease, match=reason):
        engine_of(**parts)
