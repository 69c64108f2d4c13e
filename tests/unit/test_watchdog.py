"""The watchdog: each way in which a plan can stand still although it could go on is found, named and mended."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain import facts as f
from domain.explain import explain_order
from domain.explanation import World
from domain.inventory import Asset
from domain.orders import OrderLine
from domain.plan import Plan
from domain.states import ItemState
from domain.watchdog import (
    AWAITED_ENDED,
    EVENT_HAPPENED,
    LATE_S,
    NO_TIMER,
    NOT_BEGUN,
    NOT_ENDED,
    PREDECESSORS_ENDED,
    READY_NOT_BEGUN,
    SUB_PLAN_DONE,
    TIMER_PASSED,
    Stuck,
    next_time,
    stuck_items,
)
from tests.support.build import callout, depends, line, manual, order_of, plan_of, release_of, rule, scenario
from tests.support.engine import Engine
from tests.support.fingerprint import fingerprint
from tests.support.histories import History, Step, lines, releases, steps

SHARED: dict[str, Any] = {
    "products": [{"code": "offer"}, {"code": "access", "scope": "account"}],
    "decompositions": [rule("offer", "access")],
    "plans": [plan_of("p", "wire"), plan_of("q", "sell")],
    "dependencies": [depends("q/sell", "p/wire", "order")],
    "scenarios": [scenario("access", "p"), scenario("offer", "q")],
}


def started(*items: Any, **parts: Any) -> tuple[Engine, Plan]:
    """An order of one line on plan `p` of these items."""
    made = {"products": [{"code": "offer", "attributes": [{"name": "n"}]}], "scenarios": [scenario("offer", "p")]}
    engine = Engine(release_of(**made | {"plans": [plan_of("p", *items)]} | parts))
    return engine, engine.accept(order_of(line("1", "offer")))


def item(plan: Plan, name: str) -> Any:
    return next(each for each in plan.items if each.key.partition("@")[0] == name)


def found(engine: Engine, plan: Plan) -> list[Stuck]:
    account = engine.account_of(plan)
    return stuck_items(plan, engine.now, account.open_orders if account is not None else None)


def mended(engine: Engine, plan: Plan, *why: str) -> None:
    """What is stuck is what the test has damaged; redriven, nothing is, and the fact says what was."""
    assert [each.why for each in found(engine, plan)] == list(why)
    facts = len(engine.facts[plan.order_id])

    engine.redrive(plan)

    told = engine.facts[plan.order_id][facts]
    assert told.kind == f.PLAN_REDRIVEN
    assert [each["why"] for each in (told.payload or {})["stuck"]] == list(why)
    assert found(engine, plan) == []


def ends(engine: Engine, plan: Plan) -> None:
    engine.finish(plan)
    assert plan.ended_at is not None
    assert fingerprint(engine.replayed(plan)) == fingerprint(plan)


def test_an_item_whose_counter_is_wrong_begins() -> None:
    engine, plan = started("one", "two", dependencies=[depends("p/two", "p/one")])
    item(plan, "p/two").waits += 1
    engine.answer(plan, engine.call(plan, "p/one"))

    mended(engine, plan, NOT_BEGUN)

    assert item(plan, "p/two").state is ItemState.RUNNING
    ends(engine, plan)


def test_a_ready_item_that_nobody_has_begun_begins() -> None:
    engine, plan = started("one", "two")
    call = engine.call(plan, "p/one")
    engine.fail(plan, call, fatal=True)
    engine.operate(plan, item(plan, "p/one").key, "retry")
    engine.calls[plan.order_id].remove(engine.call(plan, "p/one"))
    item(plan, "p/one").state = ItemState.READY
    item(plan, "p/one").timer_at = None

    mended(engine, plan, READY_NOT_BEGUN)

    assert item(plan, "p/one").state is ItemState.RUNNING
    engine.finish(plan)
    assert plan.ended_at is not None


@pytest.mark.parametrize("is_failed", [False, True])
def test_an_item_without_its_timer_goes_on(is_failed: bool) -> None:
    engine, plan = started("one", "two", retries=[])
    if is_failed:
        engine.fail(plan, engine.call(plan, "p/one"), unheard=True)
    one = item(plan, "p/one")
    one.timer_at = None

    mended(engine, plan, NO_TIMER)

    assert one.timer_at is not None
    assert one.attempt == 1, "an attempt that nobody heard of keeps its key"


@pytest.mark.parametrize("is_failed", [False, True])
def test_a_timer_that_nobody_has_fired_is_found_when_it_is_late_and_fires(is_failed: bool) -> None:
    engine, plan = started("one", "two")
    if is_failed:
        engine.fail(plan, engine.call(plan, "p/one"))
        engine.answer(plan, engine.call(plan, "p/two"))
    one = item(plan, "p/one")
    engine.now = one.timer_at + timedelta(seconds=LATE_S)
    assert found(engine, plan) == []
    engine.wait(1)

    mended(engine, plan, *[TIMER_PASSED] * (1 if is_failed else 2))

    assert one.state is (ItemState.RUNNING if is_failed else ItemState.FAILED)


def test_a_scheduled_item_whose_day_has_passed_begins() -> None:
    engine, plan = started(callout("one", processAfter="'2026-03-05T08:00:00Z'"))
    engine.wait(7 * 86_400)

    mended(engine, plan, TIMER_PASSED)

    assert item(plan, "p/one").state is ItemState.RUNNING
    ends(engine, plan)


def test_a_sub_plan_whose_items_are_done_is_done() -> None:
    engine, plan = started(
        {"code": "visit", "type": "subPlan", "subPlan": "visit"},
        plans=[plan_of("p", {"code": "visit", "type": "subPlan", "subPlan": "visit"}), plan_of("visit", "travel")],
    )
    plan.open_children[item(plan, "p/visit").node] += 1
    engine.answer(plan, engine.call(plan, "visit/travel"))

    mended(engine, plan, SUB_PLAN_DONE)

    ends(engine, plan)


def test_an_event_that_has_happened_is_over() -> None:
    event = {"code": "ported", "type": "pushEvent", "event": "attributes.n == 1"}
    engine, plan = started(event, "one", "two", dependencies=[depends("p/two", "p/ported")])
    plan.awaiting.clear()
    engine.answer(plan, engine.call(plan, "p/one"), {"attributes": {"n": 1}})

    mended(engine, plan, EVENT_HAPPENED)

    ends(engine, plan)


def test_a_plan_with_nothing_open_ends_and_delivers() -> None:
    engine, plan = started("one")
    plan.open_items += 1
    plan.open_in_root = {root: count + 1 for root, count in plan.open_in_root.items()}
    engine.answer(plan, engine.call(plan, "p/one"))
    assert engine.account.assets == {}

    mended(engine, plan, NOT_ENDED)

    ends(engine, plan)
    assert len(engine.account.assets) == 1


def test_an_order_whose_predecessor_has_ended_is_taken_up() -> None:
    actions = ["add", "modify", "delete"]
    engine, first = started("one", scenarios=[{"product": "offer", "plan": "p", "actions": actions}])
    engine.finish(first)
    change = engine.accept(order_of(line("1", None, "modify", product_id=first.lines[0].asset_id, n=1)))
    waiting = engine.accept(order_of(line("1", None, "delete", product_id=first.lines[0].asset_id)))
    assert found(engine, waiting) == []
    # What an order that ends tells those that wait is lost.
    _ended_silently(engine, change)

    mended(engine, waiting, PREDECESSORS_ENDED)

    assert waiting.template is not None
    engine.finish(waiting)
    assert waiting.ended_at is not None


def test_an_account_with_very_many_open_orders_is_asked_and_not_gone_through() -> None:
    class Asked(dict[str, Any]):
        def __iter__(self) -> Any:
            raise AssertionError("gone through")

        keys = items = values = __iter__

    actions = ["add", "modify", "delete"]
    engine, first = started("one", scenarios=[{"product": "offer", "plan": "p", "actions": actions}])
    engine.finish(first)
    change = engine.accept(order_of(line("1", None, "modify", product_id=first.lines[0].asset_id, n=1)))
    waiting = engine.accept(order_of(line("1", None, "delete", product_id=first.lines[0].asset_id)))

    assert stuck_items(waiting, engine.now, Asked({change.order_id: None})) == []
    assert [each.why for each in stuck_items(waiting, engine.now, Asked({"another": None}))] == [PREDECESSORS_ENDED]


def _ended_silently(engine: Engine, plan: Plan) -> None:
    engine.account.open_orders.pop(plan.order_id)


@pytest.mark.parametrize("is_delivered", [False, True])
def test_who_awaits_an_order_that_has_ended_hears_of_it(is_delivered: bool) -> None:
    engine = Engine(release_of(**SHARED))
    first = engine.accept(order_of(line("1", "offer")))
    second = engine.accept(order_of(line("1", "offer")))
    wait = next(each for each in second.items if each.definition is None)
    assert found(engine, second) == []
    _ended_silently(engine, first)
    if is_delivered:
        shared = second.lines_of(wait)[0].asset_id
        engine.account.assets[shared] = Asset(shared, "access", shared, order_id=first.order_id)

    mended(engine, second, AWAITED_ENDED)

    assert wait.state is (ItemState.COMPLETED if is_delivered else ItemState.FATALLY_FAILED)


def test_a_task_and_a_failed_item_are_left_to_people() -> None:
    engine, plan = started("one", manual("visit"))
    engine.fail(plan, engine.call(plan, "p/one"), fatal=True)
    engine.wait(86_400)

    assert found(engine, plan) == []
    assert engine.redrive(plan).facts == []


def test_an_explanation_says_what_is_stuck_and_what_was() -> None:
    engine, plan = started("one", "two", dependencies=[depends("p/two", "p/one")])
    item(plan, "p/two").waits += 1
    engine.answer(plan, engine.call(plan, "p/one"))

    told = explain_order(plan, World(), engine.now)
    assert told.summary.startswith("The order stands still although it could go on: item p/two@1:")
    assert told.reasons[0].code == "stuck"
    assert told.reasons[0].facts["stuck"] == [{"item": "p/two@1", "why": NOT_BEGUN}]

    engine.redrive(plan)
    told = explain_order(plan, World(), engine.now)
    assert [each.code for each in told.reasons] == ["redriven"]
    assert told.reasons[0].facts["stuck"] == [{"item": "p/two@1", "why": NOT_BEGUN}]


DAMAGES: dict[str, Callable[[Plan, int], None]] = {
    "waits": lambda plan, at: setattr(plan.items[at % len(plan.items)], "waits", 3),
    "open": lambda plan, at: setattr(plan, "open_items", plan.open_items + 1 + at),
    "roots": lambda plan, at: plan.open_in_root.update({root: 9 for root in plan.open_in_root}),
    "timers": lambda plan, at: plan.timers.clear(),
    "moving": lambda plan, at: setattr(plan, "moving", 0),
    "calling": lambda plan, at: setattr(plan, "calling", at),
}


@settings(
    max_examples=100,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    deadline=None,
)
@given(
    releases(), st.lists(lines(), min_size=2, max_size=3), steps, st.sampled_from(sorted(DAMAGES)), st.integers(0, 9)
)
def test_whatever_counter_is_wrong_a_redriven_plan_is_what_its_facts_say_and_ends(
    release: dict[str, Any], orders: list[list[OrderLine]], happening: list[Step], damage: str, at: int
) -> None:
    engine = Engine(release_of(**release))
    history = History(engine, list(orders))
    history.begin()
    for step in happening:
        history.do(step)
    for plan in engine.plans.values():
        if plan.ended_at is None and plan.items:
            DAMAGES[damage](plan, at)
            engine.now = min(engine.now, next_time(plan) or engine.now)
            engine.redrive(plan, [Stuck(None, NOT_BEGUN)])
            assert fingerprint(engine.replayed(plan)) == fingerprint(plan)

    history.finish()
