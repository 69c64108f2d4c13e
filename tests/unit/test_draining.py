"""How fast held items go on, at systems that keep up and at systems that do not. Time is what the test says."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from actors.draining import FLOOR_PER_S, GONE_S, Draining
from persistence.holds import HeldItem

LOOK_S = 0.25
ALL = [HeldItem(f"o1-{number:06}", "p/i@1") for number in range(20_000)]


class System:
    """A system of so many calls a second, whose line sends back who has waited for `wait_s`."""

    def __init__(self, items: int, does_per_s: float, wait_s: float, rate_per_s: float = 200.0) -> None:
        self.does_per_s, self.wait_s = does_per_s, wait_s
        self.now = 0.0
        self.draining = Draining(rate_per_s, 0.0, 2 * LOOK_S)
        self.held = ALL[:items]
        """Sorted, so a heap too."""
        self.line: deque[tuple[float, HeldItem]] = deque()
        self.let_go = 0
        self.done = 0
        self._done_until = 0.0

    def run(self, seconds: float) -> int:
        """How many were let go in the time."""
        before = self.let_go
        end = self.now + seconds
        while self.now < end:
            self.now += LOOK_S
            self._serve()
            count = max(1, self.draining.available(self.now))
            first = [heappop(self.held) for _ in range(min(count, len(self.held)))]
            may_go = self.draining.found(first, self.now)
            found = first[:may_go]
            self.draining.let_go(found, self.now)
            for item in first[may_go:]:
                heappush(self.held, item)
            self.line.extend((self.now, item) for item in found)
            self.let_go += len(found)
        return self.let_go - before

    def _serve(self) -> None:
        self._done_until += LOOK_S * self.does_per_s
        while self.line:
            since, item = self.line[0]
            if since + self.wait_s < self.now:
                self.line.popleft()
                heappush(self.held, item)
            elif self._done_until >= 1.0:
                self.line.popleft()
                self._done_until -= 1.0
                self.done += 1
            else:
                return
        self._done_until = min(self._done_until, 1.0)


def test_a_system_that_keeps_up_gets_the_set_rate_to_the_end():
    system = System(2_000, does_per_s=1_000.0, wait_s=15.0)
    system.run(11.0)

    assert system.done == 2_000


def test_a_system_that_does_one_a_second_gets_about_so_many():
    system = System(10_000, does_per_s=1.0, wait_s=15.0)
    flood = system.run(120.0)
    later = system.run(1800.0)

    assert flood < 2 * 200 * 15
    assert 1800 * 0.8 < later < 1800 * 3
    assert system.done > 0.8 * 1920


def test_a_system_a_little_slower_than_the_rate_is_kept_at_work():
    system = System(20_000, does_per_s=150.0, wait_s=15.0)
    system.run(120.0)

    assert system.done > 0.7 * 150 * 120


def test_the_pace_goes_up_again_when_nothing_comes_back():
    system = System(20_000, does_per_s=0.0, wait_s=LOOK_S)
    system.run(60.0)
    slow = system.draining.per_s
    system.does_per_s = 1_000.0
    system.run(60.0)

    assert slow == FLOOR_PER_S
    assert system.draining.per_s == 200.0


def test_what_was_learnt_stays_while_items_are_under_way():
    draining = Draining(200.0, 0.0, 0.5)
    draining.let_go(ALL[:50], 0.0)
    early = draining.is_over(1.0)
    draining.found(ALL[:1], 15.0)

    assert not early
    assert draining.per_s == 50.0
    assert draining.is_over(GONE_S + 1.0)


def test_an_item_whose_plan_did_not_answer_has_not_come_back():
    draining = Draining(200.0, 0.0, 0.5)
    draining.let_go(ALL[:50], 0.0)
    draining.forget(ALL[0])
    may_go = draining.found(ALL[:1], 5.0)

    assert (may_go, draining.per_s) == (1, 200.0)


def test_another_set_rate_keeps_what_was_learnt():
    draining = Draining(200.0, 0.0, 0.5)
    draining.let_go(ALL[:50], 0.0)
    draining.found(ALL[:1], 1.0)
    draining.configure(100.0, 1.0)

    assert draining.per_s == 25.0


def test_a_clock_that_is_set_back_does_not_keep_it_slow():
    system = System(2_000, does_per_s=0.0, wait_s=LOOK_S)
    system.now = 1e6
    system.run(60.0)
    system.now = 0.0
    system.does_per_s, system.line = 1_000.0, deque()
    system.run(60.0)

    assert system.draining.per_s == 200.0
