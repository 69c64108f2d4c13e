"""How long a queue makes wait is told from how fast it is served, and who would wait for too long is refused."""

from __future__ import annotations

import pytest

from actors.envelopes import Due, Submission
from actors.inbox import BULK_MAX, Inbox
from actors.pace import ALWAYS_ADMITTED, FIRST_GUESS_PER_S, RETRY_MAX_S, WAIT_MAX_S, Pace
from domain.errors import Busy


def served(pace: Pace, per_s: float, seconds: float = 10.0) -> float:
    """A queue that was never empty and served so fast; returns the time afterwards."""
    pace.joined(0.0, ALWAYS_ADMITTED)
    for number in range(1, int(per_s * seconds) + 1):
        pace.joined(number / per_s)
        pace.left(number / per_s)
    return seconds


def filled(pace: Pace, now: float) -> int:
    """How many wait when the first one is refused."""
    try:
        while True:
            pace.admit(now, "orders")
            pace.joined(now)
    except Busy:
        return pace.waiting


def test_a_burst_on_a_queue_that_was_never_used_is_bounded() -> None:
    assert filled(Pace(), 0.0) == pytest.approx(FIRST_GUESS_PER_S * WAIT_MAX_S, rel=0.01)


@pytest.mark.parametrize("per_s", [20, 100, 1_000])
def test_the_wait_is_what_waits_by_the_pace(per_s: int) -> None:
    pace = Pace()
    now = served(pace, per_s)

    assert pace.expected_s(now) == pytest.approx(ALWAYS_ADMITTED / per_s, rel=0.1)


def test_a_fast_queue_admits_more_than_a_slow_one() -> None:
    admitted = []
    for per_s in (50, 500):
        pace = Pace()
        now = served(pace, per_s)
        admitted.append(filled(pace, now))

    assert admitted == [pytest.approx(50 * WAIT_MAX_S, rel=0.1), pytest.approx(500 * WAIT_MAX_S, rel=0.1)]


def test_a_trickle_is_no_measure_of_slowness() -> None:
    pace = Pace()
    for second in range(60):
        pace.joined(float(second))
        pace.left(second + 0.01)
    pace.joined(60.0, 150)

    assert pace.expected_s(60.0) == pytest.approx(1.4, rel=0.1)


def test_a_queue_that_stands_still_refuses_and_says_when_to_come_again() -> None:
    pace = Pace()
    pace.joined(0.0, ALWAYS_ADMITTED)
    pace.admit(1.0, "orders")

    with pytest.raises(Busy) as refused:
        pace.admit(100.0, "orders")

    assert refused.value.facts["retryAfterS"] == RETRY_MAX_S


def test_few_are_admitted_however_slow_it_is() -> None:
    pace = Pace()
    for _ in range(ALWAYS_ADMITTED):
        pace.admit(100.0, "orders")
        pace.joined(0.0)

    with pytest.raises(Busy):
        pace.admit(100.0, "orders")


@pytest.mark.parametrize(("results", "taken"), [(0, 500), (200, 300), (495, 10), (2_500, 10)])
def test_results_go_before_orders_and_orders_fill_up_the_tick(results: int, taken: int) -> None:
    inbox = Inbox(lambda: 0.0)
    for number in range(600):
        inbox.put(Submission(0, {"number": number}, None))
    for number in range(results):
        inbox.put(Due(f"o1-{number}"))

    first, orders = inbox.take(2_000)

    assert first == [Due(f"o1-{number}") for number in range(min(results, 2_000))]
    assert [each.order["number"] for each in orders if isinstance(each, Submission)] == list(range(taken))


def test_what_a_tick_leaves_goes_to_the_head_of_its_queue() -> None:
    inbox = Inbox(lambda: 0.0)
    for number in range(3):
        inbox.put(Submission(0, {"number": number}, None))
    inbox.put(Due("o1-1"))
    first, orders = inbox.take(2_000)
    inbox.put(Submission(0, {"number": 3}, None))
    inbox.put(Due("o1-2"))

    inbox.put_back([*first, *orders[1:]])

    first, orders = inbox.take(2_000)
    assert first == [Due("o1-1"), Due("o1-2")]
    assert [each.order["number"] for each in orders if isinstance(each, Submission)] == [1, 2, 3]


@pytest.mark.parametrize(("awaited", "taken"), [(0, 500), (400, 100), (500, 2), (900, 2)])
def test_orders_sent_in_bulk_take_what_the_awaited_ones_leave_of_a_tick(awaited: int, taken: int) -> None:
    inbox = Inbox(lambda: 0.0)
    for number in range(600):
        inbox.put(Submission(0, {"number": number}, None, is_bulk=True))
    for number in range(awaited):
        inbox.put(Submission(0, {"number": number}, None))

    _, orders = inbox.take(2_000)

    bulk = [each.order["number"] for each in orders if isinstance(each, Submission) and each.is_bulk]
    assert (len(orders) - len(bulk), bulk) == (min(awaited, 500), list(range(taken)))


def test_a_bulk_makes_no_awaited_order_wait_for_longer_and_is_bounded_by_itself() -> None:
    inbox = Inbox(lambda: 0.0)
    for number in range(BULK_MAX):
        inbox.put(Submission(0, {"number": number}, None, is_bulk=True))
    with pytest.raises(Busy):
        inbox.put(Submission(0, {}, None, is_bulk=True))

    for number in range(ALWAYS_ADMITTED + 1):
        inbox.put(Submission(0, {"number": number}, None))


def test_what_a_tick_leaves_of_a_bulk_goes_back_to_the_bulk() -> None:
    inbox = Inbox(lambda: 0.0)
    for number in range(3):
        inbox.put(Submission(0, {"number": number}, None, is_bulk=True))
    _, orders = inbox.take(2_000)

    inbox.put_back(orders[1:])
    inbox.put(Submission(0, {"number": 9}, None))

    _, orders = inbox.take(2_000)
    assert [each.order["number"] for each in orders if isinstance(each, Submission)] == [1, 2, 9]


def test_the_least_that_a_bulk_gets_comes_first_in_a_tick_that_may_have_work_enough_before_its_end() -> None:
    inbox = Inbox(lambda: 0.0)
    for number in range(3):
        inbox.put(Submission(0, {"number": number}, None, is_bulk=True))
        inbox.put(Submission(0, {"number": 10 + number}, None))

    _, orders = inbox.take(2_000)

    assert [each.order["number"] for each in orders if isinstance(each, Submission)] == [0, 1, 10, 11, 12, 2]
