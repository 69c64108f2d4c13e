"""Rules of amending and cancelling (docs/RULES.md, C1 and C2) that no test elsewhere shows by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from domain import facts as f
from domain.change import planned_change
from domain.errors import NotPossibleNow, PastNoReturn
from domain.line_changes import LineOutcome
from domain.messages import ChangeOrder
from domain.plan import Plan
from gateway.changes import _cancellation
from gateway.views import plan_view
from tests.support.build import callout, depends, line, manual, order_of, plan_of, scenario
from tests.support.engine import Engine, OpenProtector
from tests.support.fingerprint import fingerprint
from tests.unit.test_plan_rules import accepted, engine_of, other, state, states, undoing


def answer_all(engine: Engine, plan: Plan) -> None:
    for call in list(engine.calls[plan.order_id]):
        engine.answer(plan, call)


# The point of no return.


def ended(engine: Engine, plan: Plan) -> None:
    engine.answer(plan, engine.call(plan, "p/gone"))


REACHED: dict[str, Callable[[Engine, Plan], object]] = {
    "Running": lambda engine, plan: None,
    "Failed": lambda engine, plan: engine.fail(plan, engine.call(plan, "p/gone")),
    "Fatally Failed": lambda engine, plan: engine.fail(plan, engine.call(plan, "p/gone"), fatal=True),
    "On Hold": lambda engine, plan: engine.turn_back(plan, engine.call(plan, "p/gone")),
    "Completed": ended,
}


@pytest.mark.parametrize("name", REACHED)
@pytest.mark.rule("C1.1", "C2.6")
def test_a_point_of_no_return_is_reached_once_its_item_has_begun(name: str) -> None:
    engine = engine_of(callout("gone", pointOfNoReturn=True, retry="patient"), manual("task"))
    plan = accepted(engine)
    REACHED[name](engine, plan)
    assert state(plan, "gone") == name
    before = fingerprint(plan)

    for kind, wanted in (("cancel", None), ("amend", order_of(line("1", "x", speed=2)))):
        with pytest.raises(PastNoReturn):
            engine.change(plan, kind, order=wanted)
    assert fingerprint(plan) == before


@pytest.mark.rule("C1.1")
def test_before_its_item_has_begun_a_point_of_no_return_is_not_reached() -> None:
    engine = engine_of(manual("task"), callout("gone", pointOfNoReturn=True), after={"gone": "task"})
    plan = accepted(engine)
    engine.change(plan, "cancel")

    assert plan.order_state == "cancelled"


@pytest.mark.rule("C1.2")
def test_a_point_of_no_return_of_one_line_is_that_of_its_whole_bundle() -> None:
    engine = engine_of(
        manual("task"),
        products=["x", "y"],
        plans=[plan_of("p", manual("task")), plan_of("q", callout("gone", pointOfNoReturn=True))],
        scenarios=[scenario("x", "p"), scenario("y", "q")],
    )
    below, beside = line("2", "y", below="1"), line("3", "x")
    plan = accepted(engine, line("1", "x"), below, beside)

    with pytest.raises(PastNoReturn) as refused:
        other(plan, engine, line("1", "x", speed=2), below, beside)
    assert refused.value.facts["bundles"] == ["1"]
    other(plan, engine, line("1", "x"), below, line("3", "x", speed=2))
    answer_all(engine, plan)
    assert plan.order.lines[2].attributes == {"speed": 2}


@pytest.mark.rule("C1.3")
def test_a_change_that_was_forced_is_recorded_as_such_with_who_did_it_and_why() -> None:
    engine = engine_of(callout("gone", pointOfNoReturn=True), manual("task"))
    plan = accepted(engine)
    ended(engine, plan)
    other(plan, engine, is_forced=True)
    (asked,) = (fact for fact in engine.facts[plan.order_id] if fact.kind == f.CHANGE_ASKED)

    assert asked.payload is not None
    assert (asked.payload["forced"], asked.payload["reason"], asked.actor) == (True, "because", "person:olga")


# What is said, and how it is matched.


@pytest.mark.rule("C1.5", "C2.5")
def test_an_amendment_is_the_whole_order_so_what_it_leaves_out_is_cancelled() -> None:
    engine = engine_of(manual("task"))
    plan = accepted(engine, line("1", "x"), line("2", "x"), line("3", "x"))
    message = ChangeOrder(
        "amend",
        "because",
        "m-1",
        order=order_of(line("4", "x"), line("3", "x", speed=2), line("1", "x")).to_dict(),
    )
    change = planned_change(plan, message, engine.account, engine.release, OpenProtector())

    assert change.revision is not None
    assert change.revision.lines.outcomes == {
        "4": LineOutcome.CREATE,
        "3": LineOutcome.AMEND,
        "1": LineOutcome.NO_CHANGE,
        "2": LineOutcome.CANCEL,
    }


@pytest.mark.rule("C1.5")
def test_a_patch_names_only_what_changes() -> None:
    engine = engine_of(manual("task"))
    plan = accepted(engine, line("1", "x", speed=1, colour="red"), line("2", "x"))
    engine.change(plan, "patch", patch={"lines": {"1": {"attributes": {"speed": 2}}}})

    assert [each.attributes for each in plan.order.lines] == [{"speed": 2, "colour": "red"}, {}]
    assert states(plan) == {"task": "Ready", "task@2": "Ready"}


@pytest.mark.rule("C1.6", "C2.7", "C2.10")
def test_a_line_that_picks_another_plan_by_now_loses_nothing_and_stands_still_nowhere() -> None:
    engine = engine_of(
        plans=[
            plan_of("p", callout("common"), callout("slow", rollbackPlan="undo"), manual("task")),
            plan_of("q", "fast"),
            plan_of("undo", "back"),
        ],
        dependencies=[depends("p/task", "p/common")],
        scenarios=[
            scenario("x", "p", when="attributes.speed == 1"),
            scenario("x", "q", when="attributes.speed == 2"),
        ],
    )
    plan = accepted(engine, line("1", "x", speed=1))
    answer_all(engine, plan)
    other(plan, engine)

    assert states(plan) == {
        "common": "Cancelled",
        "slow": "Cancelled",
        "task": "Discarded",
        "undo/back": "Running",
        "q/fast": "Running",
    }
    engine.finish(plan)
    assert plan.order_state == "completed"


@pytest.mark.rule("C2.9")
def test_an_item_of_several_lines_is_amended_with_any_of_them_and_cancelled_with_all() -> None:
    engine = engine_of(plans=[plan_of("p", callout("all", scope="global"), manual("task"))])
    plan = accepted(engine, line("1", "x"), line("2", "x"))

    def shared() -> list[str]:
        return [item.state.value for item in plan.items if item.key.startswith("p/all")]

    answer_all(engine, plan)
    other(plan, engine, line("1", "x"), line("2", "x", speed=2))
    seen = [shared()]
    answer_all(engine, plan)
    engine.change(plan, "cancel", lines=("1",))
    seen.append(shared())
    answer_all(engine, plan)
    engine.change(plan, "cancel")
    seen.append(shared())

    assert seen == [
        ["Amended", "Running"],
        # It has one line less to work for, which is another input.
        ["Amended", "Amended", "Running"],
        ["Amended", "Amended", "Cancelled"],
    ]


@pytest.mark.rule("C1.14", "C2.3")
def test_amendments_follow_one_another_and_are_never_two_at_once() -> None:
    engine = engine_of("call", manual("task"))
    plan = accepted(engine)
    for speed in (2, 3):
        call = engine.calls[plan.order_id][0]
        other(plan, engine, line("1", "x", speed=speed))
        with pytest.raises(NotPossibleNow, match="another change"):
            other(plan, engine, line("1", "x", speed=9))
        engine.answer(plan, call)

    assert [item.key for item in plan.items if "call" in item.key] == ["p/call@1", "p/call@1~1", "p/call@1~2"]
    assert states(plan)["call~1"] == "Amended"
    (call,) = engine.finish(plan)
    assert call.payload["lines"][0]["attributes"] == {"speed": 3}


# What compensates.


@pytest.mark.parametrize("scope", ["global", "order", "bundle", "item"])
@pytest.mark.rule("C1.8")
def test_the_scope_of_a_rollback_item_counts_for_nothing(scope: str) -> None:
    engine = engine_of(plans=undoing("call", scope=scope))
    plan = accepted(engine, line("1", "x"), line("2", "x"))
    answer_all(engine, plan)
    engine.change(plan, "cancel")

    assert [call.item for call in engine.finish(plan)] == ["undo/back@1", "undo/back@2"]


@pytest.mark.rule("C1.12")
def test_what_compensates_names_what_it_compensates() -> None:
    engine = engine_of(plans=undoing("call"))
    plan = accepted(engine)
    answer_all(engine, plan)
    engine.change(plan, "cancel")
    (undo,) = (item for item in plan_view(plan)["items"] if item["key"] == "undo/back@1")

    assert (undo["role"], undo["of"]) == ("undo", "p/call@1")


@pytest.mark.rule("C2.11")
def test_what_undoes_running_work_begins_when_that_has_ended() -> None:
    engine = engine_of(plans=undoing("call"))
    plan = accepted(engine)
    engine.change(plan, "cancel")
    waiting = (plan.state, [item.key for item in plan.items])
    answer_all(engine, plan)

    assert waiting == ("Freezing", ["p/call@1", "p/task@1"])
    assert plan.by_key["undo/back@1"].state == "Running"


@pytest.mark.rule("C2.14")
def test_a_change_after_which_items_would_wait_in_a_circle_is_refused_with_the_reason() -> None:
    # The work goes first, then second: so second is undone first. The rollback plans say the opposite.
    engine = engine_of(
        plans=[
            plan_of(
                "p",
                callout("first", rollbackPlan="undo-first"),
                callout("second", rollbackPlan="undo-second"),
                manual("task"),
            ),
            plan_of("undo-first", "back"),
            plan_of("undo-second", "back"),
        ],
        dependencies=[depends("p/second", "p/first"), depends("undo-second/back", "undo-first/back")],
    )
    plan = accepted(engine)
    for _ in range(2):
        answer_all(engine, plan)
    before = fingerprint(plan)

    with pytest.raises(NotPossibleNow, match=r"in a circle: .*undo-\w+/back"):
        engine.change(plan, "cancel")
    assert fingerprint(plan) == before


@pytest.mark.rule("C2.15")
def test_all_that_a_change_does_is_one_fact_of_one_turn() -> None:
    engine = engine_of(plans=undoing("call"))
    plan = accepted(engine)
    answer_all(engine, plan)
    told = len(engine.facts[plan.order_id])
    turn = engine.change(plan, "cancel")

    assert engine.facts[plan.order_id][told:] == turn.facts
    assert [fact.kind for fact in turn.facts] == [
        f.CHANGE_ASKED,
        f.PLAN_FROZEN,
        f.ORDER_MOVED,
        f.PLAN_CHANGED,
        f.ORDER_MOVED,
        f.ITEM_STARTED,
    ]


# How the channel sees it.


def task_state(engine: Engine, plan: Plan, message_id: str) -> str:
    """The state of a cancellation as TMF622 tells it."""
    facts: Any = engine.facts[plan.order_id]
    return str(_cancellation(facts, plan, message_id)["state"])


@pytest.mark.rule("B3.6")
def test_a_cancel_task_is_in_progress_until_the_order_has_ended_and_then_done() -> None:
    engine = engine_of(plans=undoing("call"))
    plan = accepted(engine)
    message_id = str(engine.change(plan, "cancel").cause)
    seen = [task_state(engine, plan, message_id)]
    answer_all(engine, plan)
    seen.append(task_state(engine, plan, message_id))
    engine.finish(plan)

    assert plan.order_state == "cancelled"
    assert [*seen, task_state(engine, plan, message_id)] == ["inProgress", "inProgress", "done"]


@pytest.mark.rule("B3.6")
def test_a_cancel_task_that_was_given_up_ends_with_an_error_whatever_comes_later() -> None:
    engine = engine_of(plans=undoing("call"))
    plan = accepted(engine)
    given_up = str(engine.change(plan, "cancel").cause)
    engine.steer(plan, "thaw")
    seen = [task_state(engine, plan, given_up)]
    later = str(engine.change(plan, "cancel").cause)
    seen.append(task_state(engine, plan, given_up))
    engine.finish(plan)

    assert plan.order_state == "cancelled"
    assert [*seen, task_state(engine, plan, given_up)] == ["terminatedWithError"] * 3
    assert task_state(engine, plan, later) == "done"
