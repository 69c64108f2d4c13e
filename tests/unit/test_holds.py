"""Held systems: which holds count, and what a hold means for a plan."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from domain import facts as f
from domain.decide import pending_effects
from domain.explain import explain_item
from domain.explanation import SystemHold, World
from domain.holds import EVERYTHING, HeldSystems, Hold, HoldCause
from domain.messages import Report, TimerFired
from domain.plan import Plan
from domain.release import TASKS_SYSTEM
from domain.states import ItemState, OrderState
from domain.turn import Call
from tests.support.build import callout, depends, line, order_of, plan_of, release_of, scenario
from tests.support.engine import Engine
from tests.support.fingerprint import fingerprint

ENGINES: list[Engine] = []
ONCE = [{"code": "steps", "attemptsMax": 3, "delaysS": [30, 30]}]
PAUSED = Hold(EVERYTHING, HoldCause.PAUSE)


@pytest.fixture(autouse=True)
def _every_plan_can_be_replayed() -> Iterator[None]:
    """Whatever a test does to a plan, its facts alone give the same plan."""
    ENGINES.clear()
    yield
    for engine in ENGINES:
        for plan in engine.plans.values():
            assert fingerprint(engine.replayed(plan)) == fingerprint(plan)


def engine_of(*items: dict[str, Any], **parts: Any) -> Engine:
    """An engine whose orders of product `offer` get these items, each after the one before if it says so."""
    engine = Engine(
        release_of(
            products=[{"code": "offer"}],
            plans=[plan_of("p", *items)],
            scenarios=[scenario("offer", "p")],
            **parts,
        )
    )
    ENGINES.append(engine)
    return engine


def accepted(engine: Engine) -> Plan:
    return engine.accept(order_of(line("1", "offer")))


def kinds(engine: Engine, plan: Plan) -> list[str]:
    return [fact.kind for fact in engine.facts[plan.order_id]]


# Which holds count.


@pytest.mark.rule("B2.6")
@pytest.mark.parametrize(
    ("holds", "system", "cause"),
    [
        ([], "a", None),
        ([Hold("a", HoldCause.OFFLINE)], "a", HoldCause.OFFLINE),
        ([Hold("a", HoldCause.OFFLINE)], "b", None),
        ([Hold("a", HoldCause.BREAKER)], "a", HoldCause.BREAKER),
        ([Hold("a", HoldCause.BREAKER, is_held=False)], "a", None),
        ([Hold("a", HoldCause.BREAKER), Hold("a", HoldCause.OFFLINE)], "a", HoldCause.OFFLINE),
        ([PAUSED], "a", HoldCause.PAUSE),
        ([PAUSED], TASKS_SYSTEM, HoldCause.PAUSE),
        ([PAUSED, Hold("a", HoldCause.PAUSE, is_held=False)], "a", None),
        ([PAUSED, Hold("a", HoldCause.PAUSE, is_held=False)], "b", HoldCause.PAUSE),
        ([PAUSED, Hold("a", HoldCause.PAUSE, is_held=False), Hold("a", HoldCause.OFFLINE)], "a", HoldCause.OFFLINE),
        ([PAUSED, Hold("a", HoldCause.PAUSE, is_held=False), Hold("a", HoldCause.BREAKER)], "a", HoldCause.BREAKER),
    ],
)
def test_a_system_is_held_while_any_hold_of_it_stands(holds, system, cause):
    found = HeldSystems.of(holds).of_system(system)

    assert (found.cause if found else None) == cause


# What a hold means for a plan.


@pytest.mark.rule("B2.6", "B3.10")
def test_an_item_that_is_due_while_its_system_is_held_rests_on_hold_with_a_fact_that_names_it():
    engine = engine_of(callout("call"))
    engine.hold("sys", reason="maintenance until six")
    plan = accepted(engine)
    item = plan.by_key["p/call@1"]

    assert item.state is ItemState.ON_HOLD
    assert engine.calls[plan.order_id] == []
    held = engine.facts[plan.order_id][-2]
    assert (held.kind, held.payload) == (
        f.ITEM_HELD,
        {"system": "sys", "cause": "offline", "reason": "maintenance until six"},
    )
    assert plan.order_state is OrderState.HELD


def test_only_calls_to_the_held_system_wait():
    engine = engine_of(callout("one"), callout("two", system="other"))
    engine.hold("sys")
    plan = accepted(engine)

    assert [call.system for call in engine.calls[plan.order_id]] == ["other"]
    assert plan.by_key["p/one@1"].state is ItemState.ON_HOLD
    assert plan.order_state is OrderState.IN_PROGRESS


@pytest.mark.rule("B2.7")
def test_a_held_item_goes_on_when_its_turn_comes_whatever_the_plan_has_heard():
    engine = engine_of(callout("call"))
    engine.hold("sys")
    plan = accepted(engine)
    engine.resume(plan, "p/call@1")

    assert plan.by_key["p/call@1"].state is ItemState.RUNNING
    assert plan.order_state is OrderState.IN_PROGRESS
    assert engine.call(plan, "p/call").attempt == 1


def test_a_turn_that_comes_twice_sends_one_call():
    engine = engine_of(callout("call"))
    engine.hold("sys")
    plan = accepted(engine)
    engine.resume(plan, "p/call@1")
    again = engine.resume(plan, "p/call@1")

    assert again.facts == []
    assert len(engine.calls[plan.order_id]) == 1


@pytest.mark.rule("B2.6")
def test_a_retry_that_comes_due_meanwhile_is_held_and_costs_no_attempt():
    engine = engine_of(callout("call", retry="steps"), retries=ONCE)
    plan = accepted(engine)
    engine.fail(plan, engine.call(plan, "p/call"), unheard=True)
    engine.hold("sys")
    engine.fire(plan, "p/call@1")
    item = plan.by_key["p/call@1"]
    held = (item.state, item.tries, item.attempt, item.timer_at)
    engine.resume(plan, "p/call@1")

    assert held == (ItemState.ON_HOLD, 1, 1, None)
    assert engine.call(plan, "p/call").attempt == 1, "nobody heard of it: the key stays"


TIME_S = 30.0


def after_a_stop(away_s: float, *, is_accepted: bool = False) -> tuple[Engine, Plan, Call]:
    """A call of half a minute that was under way when everything stopped for so long; the plan has a new owner now."""
    engine = engine_of(callout("call", timeoutS=TIME_S))
    plan = accepted(engine)
    first = engine.call(plan, "p/call")
    if is_accepted:
        engine.tell(plan, Report("p/call@1", 1, "accepted"))
    engine.wait(away_s)
    engine.owned_since = engine.now
    return engine, plan, first


@pytest.mark.parametrize(
    "away_s, is_accepted", [(TIME_S / 2, False), (TIME_S - 1, False), (3600, False), (TIME_S, True), (3600, True)]
)
def test_a_call_that_was_left_behind_is_made_again_at_no_attempt(away_s, is_accepted):
    engine, plan, first = after_a_stop(away_s, is_accepted=is_accepted)
    engine.wait(1)

    turn = engine.tell(plan, TimerFired("p/call@1"))

    item = plan.by_key["p/call@1"]
    assert [fact.kind for fact in turn.facts] == ["item.held", "item.started"]
    [again] = turn.calls
    assert (again.attempt, again.payload, item.tries) == (first.attempt, first.payload, 1)
    assert item.timer_at is not None
    assert again.deadline_at == engine.now + timedelta(seconds=TIME_S) < item.timer_at
    assert engine.tell(plan, TimerFired("p/call@1")).facts == [], "once"


@pytest.mark.parametrize("away_s, is_accepted", [(TIME_S / 2 - 1, False), (TIME_S - 1, True)])
def test_a_call_that_has_time_left_is_not_left_behind_and_a_timeout_of_it_is_an_attempt(away_s, is_accepted):
    engine, plan, _ = after_a_stop(away_s, is_accepted=is_accepted)
    early = engine.tell(plan, TimerFired("p/call@1"))
    engine.wait(TIME_S)

    late = engine.tell(plan, TimerFired("p/call@1"))

    assert (early.facts, [fact.kind for fact in late.facts]) == ([], ["item.failed"])


def test_a_call_that_was_left_behind_waits_if_its_system_is_held():
    engine, plan, _ = after_a_stop(3600)
    engine.hold("sys")

    turn = engine.tell(plan, TimerFired("p/call@1"))

    item = plan.by_key["p/call@1"]
    assert (turn.calls, item.state) == ([], ItemState.ON_HOLD)
    assert item.hold is not None
    assert item.hold["cause"] == "offline"


def test_a_result_that_comes_before_a_call_that_was_left_behind_is_made_again_ends_it():
    engine, plan, first = after_a_stop(3600)
    engine.answer(plan, first)

    assert engine.tell(plan, TimerFired("p/call@1")).facts == []
    assert plan.by_key["p/call@1"].state is ItemState.COMPLETED


@pytest.mark.rule("B2.4")
def test_a_scheduled_item_whose_time_has_come_is_held():
    engine = engine_of(callout("call", processAfter="line.requestedStartAt"))
    plan = engine.accept(order_of(line("1", "offer", requested_start_at="2026-03-02T10:00:00Z")))
    engine.hold("sys")
    engine.fire(plan, "p/call@1")

    assert plan.by_key["p/call@1"].state is ItemState.ON_HOLD


def test_an_operators_retry_of_a_held_systems_item_is_held():
    engine = engine_of(callout("call"))
    plan = accepted(engine)
    engine.fail(plan, engine.call(plan, "p/call"), fatal=True)
    engine.hold("sys")
    engine.operate(plan, "p/call@1", "retry")

    assert plan.by_key["p/call@1"].state is ItemState.ON_HOLD
    assert plan.fatally_failed == 0


def test_a_call_that_comes_back_unmade_costs_no_attempt_and_keeps_its_key():
    engine = engine_of(callout("call"))
    plan = accepted(engine)
    call = engine.call(plan, "p/call")
    engine.turn_back(plan, call, reason="the last call failed with 503")
    item = plan.by_key["p/call@1"]
    held = (item.state, item.tries, plan.calling, pending_effects(plan, engine.now))
    engine.resume(plan, "p/call@1")

    assert held == (ItemState.ON_HOLD, 0, 0, [])
    assert engine.call(plan, "p/call").attempt == call.attempt
    assert item.tries == 1


def test_an_outage_of_any_length_spends_no_attempt():
    engine = engine_of(callout("call", retry="steps"), retries=ONCE)
    plan = accepted(engine)
    for _ in range(20):
        engine.turn_back(plan, engine.call(plan, "p/call"))
        engine.resume(plan, "p/call@1")
    engine.fail(plan, engine.call(plan, "p/call"))

    assert plan.by_key["p/call@1"].state is ItemState.FAILED, "it is tried again, as after any first failure"


def test_a_call_that_was_taken_for_a_callback_is_not_held_by_a_repeat_of_it_that_came_back():
    engine = engine_of(callout("call"))
    plan = accepted(engine)
    call = engine.call(plan, "p/call")
    engine.tell(plan, Report(call.item, call.attempt, "accepted"))
    engine.turn_back(plan, call)

    assert plan.by_key["p/call@1"].state is ItemState.RUNNING
    assert kinds(engine, plan)[-1] == f.ITEM_NOTED


def test_a_success_that_comes_late_completes_an_item_on_hold():
    engine = engine_of(callout("call"))
    plan = accepted(engine)
    call = engine.call(plan, "p/call")
    engine.turn_back(plan, call)
    engine.calls[plan.order_id].append(call)
    engine.answer(plan, call)

    assert plan.order_state is OrderState.COMPLETED


@pytest.mark.rule("B2.14")
def test_an_operator_may_skip_an_item_on_hold():
    engine = engine_of(callout("call"))
    engine.hold("sys")
    plan = accepted(engine)
    engine.operate(plan, "p/call@1", "skip")

    assert plan.by_key["p/call@1"].state is ItemState.SKIPPED
    assert plan.held_items == 0
    assert plan.order_state is OrderState.COMPLETED


@pytest.mark.rule("B2.6", "B3.10")
def test_want_of_room_leaves_an_order_in_progress_because_it_goes_on_by_itself():
    engine = engine_of(callout("call"))
    plan = accepted(engine)
    engine.turn_back(plan, engine.call(plan, "p/call"), HoldCause.BUSY)
    rested = (plan.by_key["p/call@1"].state, plan.order_state, plan.moving)
    engine.resume(plan, "p/call@1")
    engine.finish(plan)

    assert rested == (ItemState.ON_HOLD, OrderState.IN_PROGRESS, 1)
    assert plan.moving == 0


def test_a_timer_that_fires_late_means_nothing_to_an_item_on_hold():
    engine = engine_of(callout("call"))
    plan = accepted(engine)
    engine.turn_back(plan, engine.call(plan, "p/call"))

    assert engine.tell(plan, TimerFired("p/call@1")).facts == []


def test_an_item_behind_one_on_hold_waits_and_goes_on_with_it():
    engine = engine_of(callout("one"), callout("two"), dependencies=[depends("p/two", "p/one")])
    engine.hold("sys")
    plan = accepted(engine)
    engine.hold()
    engine.resume(plan, "p/one@1")
    engine.finish(plan)

    assert kinds(engine, plan).count(f.ITEM_HELD) == 1
    assert plan.order_state is OrderState.COMPLETED


# Explained.


def explained(engine: Engine, plan: Plan, stands: SystemHold | None) -> Any:
    world = World(holds={"sys": stands} if stands is not None else None)
    return explain_item(plan, plan.by_key["p/call@1"], world, engine.now)[0]


def test_an_explanation_names_the_hold_who_made_it_and_what_ends_it():
    engine = engine_of(callout("call", name="Call"))
    engine.hold("sys")
    plan = accepted(engine)
    hold = Hold("sys", HoldCause.OFFLINE, reason="maintenance")
    reason = explained(engine, plan, SystemHold(hold, "olga", engine.now, None, 7, 50.0))

    assert reason.code == "systemHeld"
    assert "System sys is offline" in reason.text
    assert "by olga (maintenance)" in reason.text
    assert "orderplan system release sys" in reason.text
    assert (reason.facts["cause"], reason.facts["by"], reason.facts["heldItems"]) == ("offline", "olga", 7)


def test_an_explanation_tells_the_hold_of_now_and_not_that_of_then():
    engine = engine_of(callout("call", name="Call"))
    engine.hold("sys")
    plan = accepted(engine)
    hold = Hold("sys", HoldCause.BREAKER, reason="the last call failed with 503")
    reason = explained(engine, plan, SystemHold(hold, "system", engine.now, engine.now, 1, 50.0))

    assert "circuit breaker is open" in reason.text
    assert reason.facts["cause"] == "breaker"


def test_an_explanation_says_that_held_items_go_on_once_the_system_is_released():
    engine = engine_of(callout("call", name="Call"))
    engine.hold("sys")
    plan = accepted(engine)
    reason = explained(engine, plan, SystemHold(None, "", None, None, 120, 10.0))

    assert reason.code == "heldItemsGoOn"
    assert "10 a second" in reason.text


def test_an_explanation_without_knowledge_of_systems_tells_what_the_fact_says():
    engine = engine_of(callout("call", name="Call"))
    engine.hold(EVERYTHING, cause=HoldCause.PAUSE)
    plan = accepted(engine)

    assert "paused with all others" in explained(engine, plan, None).text
