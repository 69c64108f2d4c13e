"""A bulkhead: how many calls at once and a second, and when none at all. Time is what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from actors.bulkhead import Bulkhead
from actors.limits import Breaker, BreakerState, TokenBucket
from domain.holds import HeldBack, HoldCause
from domain.priorities import HIGH, LOW, NORMAL
from persistence.catalogue import Limits


class Time:
    """A clock that stands until it is moved, and calls what is due then."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def __call__(self) -> float:
        return self.now

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Any:
        timer = (self.now + delay_s, call)
        self._timers.append(timer)
        time = self

        class Handle:
            def cancel(self) -> None:
                time._timers.remove(timer)

        return Handle()

    async def pass_s(self, seconds: float) -> None:
        """Let time pass, timer by timer, and whoever is woken go on."""
        end = self.now + seconds
        while True:
            await settle()
            due = sorted((each for each in self._timers if each[0] <= end + 1e-9), key=lambda each: each[0])
            if not due:
                break
            self._timers.remove(due[0])
            self.now = max(self.now, due[0][0])
            due[0][1]()
        self.now = end
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Calls:
    """Calls that wait at a bulkhead, by number."""

    def __init__(self, **limits: Any) -> None:
        self.time = Time()
        self.changes = 0
        self.bulkhead = Bulkhead(
            Limits(**limits), changed=self._changed, clock=self.time, call_later=self.time.call_later
        )
        self.begun: list[float] = []
        self.priorities: list[int] = []
        self.tickets: list[int] = []
        self.held: list[HoldCause] = []
        self._tasks: list[asyncio.Task[None]] = []

    def _changed(self) -> None:
        self.changes += 1

    async def arrive(self, count: int = 1, timeout_s: float = 30.0, priority: int = NORMAL) -> None:
        self._tasks.extend(asyncio.create_task(self._one(timeout_s, priority)) for _ in range(count))
        await settle()

    async def _one(self, timeout_s: float, priority: int) -> None:
        try:
            ticket = await self.bulkhead.enter(timeout_s, priority)
        except HeldBack as held:
            self.held.append(held.cause)
            return
        self.begun.append(self.time.now)
        self.priorities.append(priority)
        self.tickets.append(ticket)

    async def end(self, *, has_worked: bool | None = True) -> bool:
        was_try = self.bulkhead.leave(self.tickets.pop(0), has_worked=has_worked, error="it is away")
        await settle()
        return was_try

    async def fail(self, count: int) -> None:
        for _ in range(count):
            await self.arrive()
            await self.end(has_worked=False)


async def test_calls_of_urgent_orders_have_their_turn_first():
    calls = Calls(concurrency=1)
    await calls.arrive()
    for priority in (LOW, NORMAL, HIGH):
        await calls.arrive(priority=priority)
    for _ in range(3):
        await calls.end()

    assert calls.priorities == [NORMAL, HIGH, NORMAL, LOW]


async def test_a_call_that_is_overtaken_until_its_time_is_over_comes_back_unmade():
    calls = Calls(concurrency=1)
    await calls.arrive()
    await calls.arrive(priority=LOW, timeout_s=5.0)
    await calls.arrive(2, priority=HIGH)
    await calls.time.pass_s(6.0)
    await calls.end()

    assert calls.held == [HoldCause.BUSY]
    assert calls.priorities == [NORMAL, HIGH]


# Buckets.


def test_a_bucket_gives_so_many_a_second_however_often_it_is_asked():
    bucket = TokenBucket(10.0, 0.0)
    taken = sum(bucket.take(step / 1000) for step in range(10_000))

    assert taken == 100


def test_a_bucket_says_how_long_until_the_next():
    bucket = TokenBucket(4.0, 0.0)

    assert bucket.take(0.0)
    assert bucket.wait_s(0.0) == pytest.approx(0.25)
    assert not bucket.take(0.2)
    assert bucket.take(0.25)


def test_a_quiet_hour_is_not_made_up_for_by_a_burst():
    bucket = TokenBucket(100.0, 0.0)

    assert bucket.available(3600.0) == 10


# Breakers.


def ended(breaker: Breaker, now: float, *, has_worked: bool | None) -> bool:
    return breaker.ended(breaker.began(now), now, has_worked=has_worked)


def test_a_breaker_opens_after_so_many_failures_in_a_row():
    breaker = Breaker(3, 10.0)
    for has_worked in (False, False, True, False, False, None):
        ended(breaker, 0.0, has_worked=has_worked)
    before = breaker.state(0.0)
    ended(breaker, 0.0, has_worked=False)

    assert (before, breaker.state(0.0)) == (BreakerState.CLOSED, BreakerState.OPEN)
    assert not breaker.may_begin(9.9)


def test_after_its_pause_one_call_tries_and_decides():
    breaker = Breaker(1, 10.0)
    ended(breaker, 0.0, has_worked=False)
    ticket = breaker.began(10.0)
    while_trying = breaker.may_begin(10.0)
    was_try = breaker.ended(ticket, 11.0, has_worked=False)

    assert (while_trying, was_try, breaker.has_failed_again, breaker.state(20.9)) == (
        False,
        True,
        True,
        BreakerState.OPEN,
    )
    assert ended(breaker, 21.0, has_worked=True)
    assert (breaker.state(21.0), breaker.has_failed_again) == (BreakerState.CLOSED, False)


def test_a_try_that_says_nothing_leaves_it_to_the_next_one():
    breaker = Breaker(1, 10.0)
    ended(breaker, 0.0, has_worked=False)
    ended(breaker, 10.0, has_worked=None)

    assert breaker.state(10.0) is BreakerState.HALF_OPEN
    assert breaker.may_begin(10.0)


@pytest.mark.parametrize("has_worked", [True, False])
def test_calls_that_began_before_it_opened_decide_nothing_about_it(has_worked):
    breaker = Breaker(1, 10.0)
    early = breaker.began(0.0)
    ended(breaker, 0.0, has_worked=False)
    breaker.ended(early, 5.0, has_worked=has_worked)

    assert breaker.state(9.9) is BreakerState.OPEN
    assert breaker.state(10.0) is BreakerState.HALF_OPEN


def test_without_a_bound_it_never_opens():
    breaker = Breaker(None, 10.0)
    for _ in range(1000):
        ended(breaker, 0.0, has_worked=False)

    assert breaker.state(0.0) is BreakerState.CLOSED


# Bulkheads.


async def test_so_many_calls_are_made_at_once_and_the_next_when_one_is_over():
    calls = Calls(concurrency=2)
    await calls.arrive(3)
    at_once = len(calls.tickets)
    await calls.end()

    assert (at_once, len(calls.begun)) == (2, 3)


async def test_calls_begin_at_the_systems_rate_evenly():
    calls = Calls(concurrency=100, rate_per_s=4.0)
    await calls.arrive(9)
    await calls.time.pass_s(2.0)

    assert calls.begun == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0])


async def test_a_call_for_which_there_is_no_room_in_time_comes_back_unmade():
    calls = Calls(concurrency=1)
    await calls.arrive()
    await calls.arrive(2, timeout_s=5.0)
    await calls.time.pass_s(4.9)
    before = list(calls.held)
    await calls.time.pass_s(1.2)

    assert (before, calls.held) == ([], [HoldCause.BUSY, HoldCause.BUSY])


async def test_a_line_that_is_full_sends_back_at_once(monkeypatch):
    monkeypatch.setattr("actors.bulkhead.WAITING_MAX", 3)
    calls = Calls(concurrency=1)
    await calls.arrive(1 + 3 + 1)

    assert calls.held == [HoldCause.BUSY]
    assert calls.bulkhead.stats()["waiting"] == 3


async def test_while_the_breaker_is_open_no_call_leaves_and_none_fails():
    calls = Calls(breaker_failures=3, breaker_pause_s=10.0)
    await calls.fail(3)
    await calls.arrive(5)
    await calls.time.pass_s(9.9)

    assert len(calls.begun) == 3
    assert calls.held == []
    assert calls.bulkhead.stats() == {"running": 0, "waiting": 5, "breaker": "open"}


async def test_a_blip_is_over_with_the_first_try_and_those_who_waited_go_on_at_the_set_rate():
    calls = Calls(breaker_failures=1, breaker_pause_s=10.0, drain_per_s=2.0)
    await calls.fail(1)
    await calls.arrive(4)
    await calls.time.pass_s(10.0)
    tried = list(calls.begun[1:])
    was_try = await calls.end()
    await calls.time.pass_s(5.0)

    assert (tried, was_try) == ([10.0], True)
    assert calls.begun[2:] == pytest.approx([10.0, 10.5, 11.0])
    assert calls.changes == 2


async def test_a_try_that_fails_sends_back_everybody_who_waits_and_who_comes_after():
    calls = Calls(breaker_failures=1, breaker_pause_s=10.0)
    await calls.fail(1)
    await calls.arrive(3)
    await calls.time.pass_s(10.0)
    await calls.end(has_worked=False)
    opened = calls.bulkhead.open_breaker()
    waited = list(calls.held)
    await calls.arrive(2)

    assert waited == [HoldCause.BREAKER] * 2
    assert calls.held == [HoldCause.BREAKER] * 4
    assert opened is not None
    assert (opened.is_held, opened.reason, opened.try_in_s) == (True, "it is away", 10.0)


async def test_during_an_outage_one_call_a_pause_leaves():
    calls = Calls(breaker_failures=1, breaker_pause_s=10.0)
    await calls.fail(1)
    for _ in range(6):
        await calls.time.pass_s(10.0)
        await calls.arrive(20)
        await calls.end(has_worked=False)

    assert len(calls.begun) == 1 + 6
    assert len(calls.held) == 6 * 19


async def test_a_call_that_waits_for_the_end_of_an_outage_comes_back_before_its_time_is_over():
    calls = Calls(breaker_failures=1, breaker_pause_s=600.0)
    await calls.fail(1)
    await calls.arrive(1, timeout_s=30.0)
    await calls.time.pass_s(31.1)

    assert calls.held == [HoldCause.BREAKER]


async def test_somebody_who_says_that_the_system_works_closes_the_breaker():
    calls = Calls(breaker_failures=1, breaker_pause_s=600.0)
    await calls.fail(1)
    await calls.arrive(2)
    calls.bulkhead.close_breaker()
    await calls.time.pass_s(1.0)

    assert len(calls.begun) == 3
    assert calls.bulkhead.open_breaker() is None


async def test_a_breaker_that_an_earlier_life_left_open_stays_open():
    calls = Calls(breaker_failures=5, breaker_pause_s=10.0)
    calls.bulkhead.resume_open("the last call failed with 503", is_held=True)
    await calls.arrive(1)
    await calls.time.pass_s(10.0)
    await calls.arrive(1)

    assert calls.held == [HoldCause.BREAKER]
    assert calls.begun == [10.0]


async def test_other_limits_count_at_once_for_those_who_wait():
    calls = Calls(concurrency=1)
    await calls.arrive(5)
    calls.bulkhead.configure(Limits(concurrency=3))
    await settle()

    assert len(calls.begun) == 3


async def test_a_bulkhead_without_a_breaker_closes_the_one_it_had():
    calls = Calls(breaker_failures=1, breaker_pause_s=600.0)
    await calls.fail(1)
    calls.bulkhead.configure(Limits(breaker_failures=None))
    await calls.arrive(1)

    assert len(calls.begun) == 2


async def test_a_caller_who_gives_up_in_the_moment_of_its_turn_leaves_its_place():
    calls = Calls(concurrency=1)
    await calls.arrive(1)
    waiting = asyncio.create_task(calls.bulkhead.enter(30.0))
    await settle()
    calls.bulkhead.leave(calls.tickets.pop(), has_worked=True)
    waiting.cancel()
    await settle()

    assert calls.bulkhead.running == 0
