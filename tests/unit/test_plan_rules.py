"""Rules of docs/RULES.md that no test elsewhere shows by itself: small plans, one rule at a time."""

from __future__ import annotations

from typing import Any

import pytest

from domain.messages import TimerFired
from domain.orders import OrderLine
from domain.plan import Plan
from gateway.warnings import warnings_of
from tests.support.build import callout, depends, line, manual, milestone, order_of, plan_of, release_of, scenario
from tests.support.engine import Engine
from tests.support.fingerprint import fingerprint

RETRIES = [{"code": "once", "attemptsMax": 1}, {"code": "patient", "attemptsMax": 3, "delaysS": [60]}]


def engine_of(*items: Any, after: dict[str, str] | None = None, **parts: Any) -> Engine:
    """Orders of product `x`, whose plan `p` has these items; `after` says which item waits for which."""
    return Engine(
        release_of(
            **{
                "products": ["x", "idle"],
                "plans": [plan_of("p", *items)],
                "dependencies": [
                    depends(f"p/{item}", f"p/{other}")
                    for item, others in (after or {}).items()
                    for other in others.split()
                ],
                "scenarios": [scenario("x", "p")],
                "retries": RETRIES,
            }
            | parts
        )
    )


def accepted(engine: Engine, *lines: OrderLine) -> Plan:
    return engine.accept(order_of(*(lines or [line("1", "x")])))


def key(item: str) -> str:
    return f"p/{item}@1"


def state(plan: Plan, item: str) -> str:
    return plan.by_key[key(item)].state.value


# From Pending to the end.


@pytest.mark.rule("B2.1")
def test_an_item_begins_with_the_last_of_those_that_it_waits_for_and_not_before() -> None:
    engine = engine_of("left", "right", "join", after={"join": "left right"})
    plan = accepted(engine)
    seen = [state(plan, "join")]
    for each in ("left", "right"):
        engine.answer(plan, engine.call(plan, f"p/{each}"))
        seen.append(state(plan, "join"))

    assert seen == ["Pending", "Pending", "Running"]


@pytest.mark.rule("B2.1")
def test_one_that_has_failed_for_good_satisfies_nobody() -> None:
    engine = engine_of("call", "behind", after={"behind": "call"})
    plan = accepted(engine)
    engine.fail(plan, engine.call(plan, "p/call"), fatal=True)

    assert state(plan, "behind") == "Pending"


@pytest.mark.rule("B2.11")
def test_an_item_without_retries_goes_to_a_person_with_its_first_failure() -> None:
    engine = engine_of(callout("call", retry="once"))
    plan = accepted(engine)
    engine.fail(plan, engine.call(plan, "p/call"))

    assert (state(plan, "call"), plan.by_key[key("call")].timer_at) == ("Fatally Failed", None)


@pytest.mark.rule("B3.9")
def test_an_order_that_waits_for_a_date_is_in_progress_because_its_plan_runs() -> None:
    engine = engine_of(callout("call", processAfter="'2026-03-05T00:00:00Z'"))
    plan = accepted(engine)

    assert (state(plan, "call"), plan.order_state) == ("Scheduled", "inProgress")


# Lines without work, and relations in an order's text.


@pytest.mark.rule("F.2")
def test_a_line_without_work_is_a_warning_of_the_order() -> None:
    plan = accepted(engine_of("call"), line("1", "x"), line("2", "idle"))

    assert warnings_of(plan) == ["line 2 (idle, add) matches no scenario and is delivered without work"]


@pytest.mark.parametrize("kind", ["reliesOn", "dependsOn", "requires"])
@pytest.mark.rule("F.18")
def test_a_relation_in_the_text_makes_nobody_wait(kind: str) -> None:
    related = line("2", "x", relations=((kind, "1"),))
    plan = accepted(engine_of("call"), line("1", "x"), related)

    assert [item.state.value for item in plan.items] == ["Running", "Running"]
    assert {line.root for line in plan.lines} == {"1", "2"}


# Standing still.


def in_every_state() -> tuple[Engine, Plan]:
    """A plan with one item in each state in which nothing is at work, named after it."""
    engine = engine_of(
        "Failed",
        "Fatally Failed",
        callout("On Hold", system="away"),
        callout("Scheduled", processAfter="'2026-03-05T00:00:00Z'"),
        manual("Ready"),
        "Pending",
        callout("Skipped", condition="false"),
        milestone("Completed"),
        after={"Pending": "Ready"},
    )
    engine.hold("away")
    plan = accepted(engine)
    engine.fail(plan, engine.call(plan, "p/Failed"))
    engine.fail(plan, engine.call(plan, "p/Fatally Failed"), fatal=True)
    assert states(plan) == {name: name for name in states(plan)}
    return engine, plan


def states(plan: Plan) -> dict[str, str]:
    return {item.key.removeprefix("p/").replace("@1", ""): item.state.value for item in plan.items}


@pytest.mark.rule("B1.2", "B2.16", "B2.18", "C2.1")
def test_a_freeze_while_nothing_is_at_work_freezes_at_once_each_item_by_its_state() -> None:
    engine, plan = in_every_state()
    engine.steer(plan, "freeze")

    assert plan.state == "Frozen"
    assert states(plan) == {
        "Failed": "Frozen - Failed",
        "Fatally Failed": "Frozen - Fatally Failed",
        "On Hold": "Frozen",
        "Scheduled": "Frozen",
        "Ready": "Frozen",
        "Pending": "Frozen",
        "Skipped": "Skipped",
        "Completed": "Completed",
    }
    assert fingerprint(engine.replayed(plan)) == fingerprint(plan)


@pytest.mark.rule("B1.5", "B2.19")
def test_a_thaw_leads_each_item_back_to_where_it_was_with_its_timer() -> None:
    engine, plan = in_every_state()
    before = {item.key: (item.state, item.timer_at) for item in plan.items}
    engine.steer(plan, "freeze")
    engine.steer(plan, "thaw")

    assert plan.state == "In Progress"
    assert {item.key: (item.state, item.timer_at) for item in plan.items} == before
    assert fingerprint(engine.replayed(plan)) == fingerprint(plan)


@pytest.mark.parametrize(("is_fatal", "state_then"), [(False, "Failed"), (True, "Fatally Failed")])
@pytest.mark.rule("B1.3", "B1.4", "B2.17", "C2.2")
def test_a_failure_while_freezing_is_recorded_and_ends_the_wait(is_fatal: bool, state_then: str) -> None:
    engine = engine_of("call")
    plan = accepted(engine)
    engine.steer(plan, "freeze")
    before = (plan.state, state(plan, "call"))
    engine.fail(plan, engine.call(plan, "p/call"), fatal=is_fatal)

    assert before == ("Freezing", "Frozen - Running")
    assert (plan.state, state(plan, "call")) == ("Frozen", f"Frozen - {state_then}")
    engine.steer(plan, "thaw")
    assert (state(plan, "call"), plan.by_key[key("call")].error) == (state_then, "it broke")


@pytest.mark.rule("B1.4")
def test_an_operator_ends_a_freeze_by_completing_what_it_waits_for() -> None:
    engine = engine_of("call", "behind", after={"behind": "call"})
    plan = accepted(engine)
    engine.steer(plan, "freeze")
    engine.operate(plan, key("call"), "complete")

    assert (plan.state, state(plan, "call"), state(plan, "behind")) == ("Frozen", "Completed", "Frozen")


@pytest.mark.rule("B1.7")
def test_of_a_held_plan_nothing_begins_while_work_under_way_goes_on() -> None:
    engine = engine_of("call", callout("retried", retry="patient"), "behind", after={"behind": "call"})
    plan = accepted(engine)
    engine.fail(plan, engine.call(plan, "p/retried"))
    engine.steer(plan, "hold")
    engine.answer(plan, engine.call(plan, "p/call"))
    engine.wait(3600)
    for item in plan.items:
        engine.tell(plan, TimerFired(item.key))

    assert (plan.state, plan.order_state, plan.next_timer()) == ("Held", "held", None)
    assert states(plan) == {"call": "Completed", "retried": "Failed", "behind": "Pending"}
    assert engine.calls[plan.order_id] == []


@pytest.mark.rule("B1.8")
def test_a_resumed_plan_begins_what_became_ready_and_fires_what_is_due() -> None:
    engine = engine_of("call", callout("retried", retry="patient"), "behind", after={"behind": "call"})
    plan = accepted(engine)
    engine.fail(plan, engine.call(plan, "p/retried"))
    engine.steer(plan, "hold")
    engine.answer(plan, engine.call(plan, "p/call"))
    engine.wait(3600)
    engine.steer(plan, "resume")
    due = plan.next_timer()
    assert due is not None
    assert due[0] < engine.now
    engine.tell(plan, TimerFired(due[1].key))

    assert (plan.state, plan.order_state) == ("In Progress", "inProgress")
    assert states(plan) == {"call": "Completed", "retried": "Running", "behind": "Running"}


# What a change makes of items.


def other(plan: Plan, engine: Engine, *lines: OrderLine, **members: Any) -> None:
    """The order is amended to these lines."""
    engine.change(plan, "amend", order=order_of(*(lines or [line("1", "x", speed=2)])), **members)


@pytest.mark.rule("B1.6")
def test_a_plan_that_was_changed_is_in_progress_and_the_same_order_in_a_later_version() -> None:
    engine = engine_of(manual("task"))
    plan = accepted(engine)
    before = (plan.order_id, plan.version)
    other(plan, engine)

    assert (plan.state, plan.order_state) == ("In Progress", "inProgress")
    assert (plan.order_id, plan.version) == (before[0], before[1] + 1)


@pytest.mark.parametrize("name", ["On Hold", "Scheduled", "Ready", "Pending", "Skipped"])
@pytest.mark.rule("B2.24")
def test_what_has_not_run_is_discarded_with_its_line(name: str) -> None:
    engine, plan = in_every_state()
    engine.change(plan, "cancel")

    assert states(plan)[name] == "Discarded"
    assert not [task for task in engine.tasks[plan.order_id] if not task.startswith("resolve/")]


@pytest.mark.rule("B2.25")
def test_what_had_failed_is_resolved_by_a_person_each_on_its_own() -> None:
    engine, plan = in_every_state()
    engine.change(plan, "cancel")
    found = states(plan)
    tasks = sorted(engine.tasks[plan.order_id])
    still_open = plan.order_state
    for task in tasks:
        engine.complete_task(plan, task, {"resolution": "it had done nothing"})

    assert (found["Failed"], found["Fatally Failed"]) == ("Failed Discarded", "Failed Discarded")
    assert [task.split("@")[0] for task in tasks] == ["resolve/fallout", "resolve/fallout"]
    assert (still_open, plan.order_state) == ("pendingCancellation", "cancelled")


@pytest.mark.parametrize(("day", "state_then"), [("2026-03-07", "Scheduled"), ("2026-03-01", "Running")])
@pytest.mark.rule("B2.27")
def test_the_date_of_a_scheduled_item_is_evaluated_again(day: str, state_then: str) -> None:
    engine = engine_of(callout("call", processAfter="attributes.day + 'T00:00:00Z'"))
    plan = accepted(engine, line("1", "x", day="2026-03-05"))
    assert state(plan, "call") == "Scheduled"
    other(plan, engine, line("1", "x", day=day))
    timer_at = plan.by_key[key("call")].timer_at

    assert state(plan, "call") == state_then
    assert timer_at is not None
    assert state_then == "Running" or timer_at.isoformat().startswith(day)


@pytest.mark.parametrize("is_fatal", [False, True])
@pytest.mark.rule("B2.29")
def test_what_has_failed_stays_so_and_is_retried_with_the_new_data(is_fatal: bool) -> None:
    engine = engine_of(callout("call", retry="patient"))
    plan = accepted(engine, line("1", "x", speed=1))
    engine.fail(plan, engine.call(plan, "p/call"), fatal=is_fatal)
    before = state(plan, "call")
    other(plan, engine)
    after = state(plan, "call")
    if is_fatal:
        engine.operate(plan, key("call"), "retry")
    else:
        engine.fire(plan, key("call"))

    assert before == after == ("Fatally Failed" if is_fatal else "Failed")
    assert engine.call(plan, "p/call").payload["lines"][0]["attributes"] == {"speed": 2}


@pytest.mark.rule("B2.30")
def test_what_a_change_leaves_alone_stands_as_before() -> None:
    engine, plan = in_every_state()
    before = {item.key: (item.state, item.timer_at) for item in plan.items}
    other(plan, engine, line("1", "x"), line("2", "x"))

    assert {item.key: (item.state, item.timer_at) for item in plan.items if item.key in before} == before
    assert state(plan, "Ready") == "Ready"
    assert len(plan.items) == 2 * len(before)


@pytest.mark.rule("B2.31")
def test_what_undoes_is_left_alone_by_the_next_change() -> None:
    engine = engine_of(callout("call", rollbackPlan="undo"), manual("task"), plans=undoing("call"))
    plan = accepted(engine, line("1", "x"), line("2", "x"))
    for call in list(engine.calls[plan.order_id]):
        engine.answer(plan, call)
    engine.change(plan, "cancel", lines=("2",))
    under_way = engine.call(plan, "undo/back@2")
    engine.change(plan, "cancel")
    assert plan.by_key["undo/back@2"].state == "Frozen - Running"
    engine.answer(plan, under_way)

    assert plan.by_key["undo/back@2"].state == "Completed"
    assert [call.item for call in engine.finish(plan)] == ["undo/back@1"]
    assert plan.order_state == "cancelled"


@pytest.mark.rule("B2.31")
def test_what_is_open_of_an_amend_plan_follows_the_next_change() -> None:
    engine = engine_of(
        plans=[plan_of("p", callout("call", amendPlan="mend"), manual("task")), plan_of("mend", "set", "check")],
        dependencies=[depends("mend/check", "mend/set")],
    )
    plan = accepted(engine, line("1", "x", speed=1))
    engine.answer(plan, engine.call(plan, "p/call"))
    other(plan, engine)
    set_first = engine.call(plan, "mend/set")
    other(plan, engine, line("1", "x", speed=3))
    engine.answer(plan, set_first)
    under_way = [call.item for call in engine.calls[plan.order_id]]
    followed = engine.call(plan, "mend/check").payload["lines"][0]["attributes"]
    engine.change(plan, "cancel")
    engine.finish(plan)

    assert set_first.payload["lines"][0]["attributes"] == {"speed": 2}
    # What brings the work in line a second time waits for the rest of the first.
    assert under_way == ["mend/check@1"]
    assert followed == {"speed": 3}
    assert plan.order_state == "cancelled"


def undoing(*undone: str, **members: Any) -> list[dict[str, Any]]:
    """Plan `p` of these callouts and a last task, and the plan that undoes each of them."""
    items = [callout(code, rollbackPlan="undo") for code in undone]
    return [plan_of("p", *items, manual("task")), plan_of("undo", callout("back", **members))]
