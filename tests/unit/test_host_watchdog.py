"""The host's side of the watchdog: what is looked at when, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from actors.watchdog import LISTED_MAX, LOOK_S, PLANS_A_LOOK, READ_A_LOOK, WAITS_S, HostWatchdog
from domain.ids import order_id_of
from domain.plan import Plan
from domain.watchdog import TIMER_LOST, Stuck
from tests.support.build import line, order_of, plan_of, release_of, scenario
from tests.support.engine import Engine

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Looking:
    """A watchdog in a host that remembers these plans."""

    def __init__(self, *plans: Plan, timers: Mapping[str, datetime] | None = None) -> None:
        self.memory = SimpleNamespace(plans={plan.order_id: plan for plan in plans}, accounts={})
        self.gone: set[int] = set()
        self._now = NOW
        timer_of = (timers or {}).get
        self.watchdog = HostWatchdog(cast("Any", self.memory), (), lambda *_call: True, timer_of)

    def look(self) -> list[tuple[str, tuple[Stuck, ...]]]:
        self._now += timedelta(seconds=LOOK_S)
        found = self.watchdog.look(self._now, timedelta(0), lambda _shard: True, {}, lambda *_call: False)
        return [(each.order_id, each.found) for each in found]


def idle(count: int) -> list[str]:
    """Orders that are not in memory."""
    return [order_id_of(1, 0, number) for number in range(count)]


@pytest.fixture
def plan() -> Plan:
    """One that waits for a call, and so has a timer."""
    release = release_of(
        products=[{"code": "offer"}], plans=[plan_of("p", "one")], scenarios=[scenario("offer", "p")]
    )
    return Engine(release).accept(order_of(line("1", "offer")))


@pytest.mark.parametrize("is_touched", [True, False])
def test_what_has_to_be_read_keeps_nothing_in_memory_from_being_looked_at(plan: Plan, is_touched: bool) -> None:
    looking = Looking(plan)
    looking.watchdog.note(idle(PLANS_A_LOOK))
    if is_touched:
        looking.watchdog.note([plan.order_id])

    found = dict([*looking.look(), *looking.look()])

    assert found[plan.order_id] == (Stuck(None, TIMER_LOST),)


def test_all_that_has_to_be_read_is_read_a_few_a_look() -> None:
    looking = Looking()
    orders = idle(3 * READ_A_LOOK - 1)
    looking.watchdog.note(orders)

    looks = [looking.look() for _ in range(4)]

    assert [len(each) for each in looks] == [READ_A_LOOK, READ_A_LOOK, READ_A_LOOK - 1, 0]
    assert [order_id for each in looks for order_id, _ in each] == orders


def test_a_touched_plan_that_has_left_memory_is_read(plan: Plan) -> None:
    looking = Looking(plan)
    looking.watchdog.note([plan.order_id])
    looking.memory.plans.clear()

    assert looking.look() == [(plan.order_id, ())]


def test_a_plan_that_stands_still_although_it_left_memory_is_read_when_it_is_to_be_tried_again(plan: Plan) -> None:
    looking = Looking(plan)
    assert looking.look() == [(plan.order_id, (Stuck(None, TIMER_LOST),))]
    looking.memory.plans.clear()

    looks = [looking.look() for _ in range(int(sum(WAITS_S[:2])) + 2)]

    assert [number for number, each in enumerate(looks, start=1) if each] == [WAITS_S[0], sum(WAITS_S[:2])]
    assert [each for each in looks if each] == [[(plan.order_id, ())]] * 2


def test_one_that_has_come_into_memory_before_it_was_read_is_looked_at_as_it_is(plan: Plan) -> None:
    looking = Looking()
    looking.watchdog.note([plan.order_id])
    looking.memory.plans[plan.order_id] = plan

    found = [*looking.look(), *looking.look()]

    assert found == [(plan.order_id, (Stuck(None, TIMER_LOST),))]


@pytest.mark.parametrize("is_in_memory", [True, False])
def test_what_has_ended_or_is_another_hosts_is_not_read(plan: Plan, is_in_memory: bool) -> None:
    looking = Looking(*([plan] if is_in_memory else []))
    [other] = idle(1)
    looking.watchdog.note([plan.order_id, other])
    looking.watchdog.ended(plan.order_id)
    looking.watchdog.forget(lambda order_id: order_id == other)
    looking.memory.plans.clear()

    assert looking.look() == []


def test_of_what_is_listed_the_oldest_go_first_when_there_is_no_room() -> None:
    looking = Looking()
    orders = idle(LISTED_MAX + 1)
    looking.watchdog.note(orders)

    assert looking.look()[0][0] == orders[1]
