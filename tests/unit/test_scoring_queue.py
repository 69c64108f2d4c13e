"""Which orders are scored next: changes at most once a second, the rest as their time runs out."""

from __future__ import annotations

import pytest

from actors.scoring_queue import ScoringQueue

MANY = 10**9


def taken(queue: ScoringQueue, now: float, limit: int = 10, items_max: int = MANY) -> list[str]:
    return [order.order_id for order in queue.take(now, limit, items_max)]


def scored(queue: ScoringQueue, now: float, due_at: float) -> list[str]:
    orders = queue.take(now, 10, MANY)
    for order in orders:
        queue.scored(order, now, due_at)
    return [order.order_id for order in orders]


def test_many_changes_within_a_second_are_one_score():
    queue = ScoringQueue()
    queue.track("a", 0.0)
    for at in range(10):
        queue.changed("a", at / 10)

    assert taken(queue, 0.99) == []
    assert scored(queue, 1.0, due_at=1000.0) == ["a"]
    for _ in range(10):
        queue.changed("a", 1.1)
    assert scored(queue, 1.9, due_at=1000.0) == []
    assert scored(queue, 2.0, due_at=1000.0) == ["a"]


def test_an_order_that_ends_within_its_first_second_is_never_scored():
    queue = ScoringQueue()
    queue.track("a", 0.0)
    queue.forget("a")

    assert taken(queue, 100.0) == []


@pytest.mark.parametrize(("due_at", "interval_s"), [(100.0, 5.0), (100_001.0, 1000.0), (-99_999.0, 1000.0)])
def test_without_news_an_order_comes_again_after_a_hundredth_of_its_time(due_at, interval_s):
    queue = ScoringQueue()
    queue.track("a", 0.0)
    assert scored(queue, 1.0, due_at) == ["a"]

    assert taken(queue, 1.0 + interval_s - 0.1) == []
    assert taken(queue, 1.0 + interval_s) == ["a"]


def test_the_order_with_the_least_time_goes_first_and_nobody_starves():
    queue = ScoringQueue()
    for name, due_at in (("far", 100_000.0), ("near", 1_000.0)):
        queue.track(name, 0.0)
        scored(queue, 1.0, due_at)

    assert taken(queue, 1_001.0, limit=1) == ["near"]
    assert taken(queue, 1_001.0, limit=1) == ["far"]
    assert queue.waiting == 0


def test_a_batch_is_bounded_by_its_items_but_never_empty():
    queue = ScoringQueue()
    for name in ("a", "b", "c"):
        queue.track(name, 0.0)
        queue.orders[name].items = 40

    assert len(taken(queue, 2.0, items_max=100)) == 2
    assert len(taken(queue, 2.0, items_max=10)) == 1


def test_entries_that_no_longer_hold_do_not_pile_up():
    queue = ScoringQueue()
    queue.track("a", 0.0)
    for second in range(1, 1000):
        assert scored(queue, float(second), due_at=10**9) == ["a"]
        queue.changed("a", second + 0.5)

    assert len(queue._heap) < 20


def test_beyond_its_bound_orders_are_counted_instead_of_kept():
    queue = ScoringQueue(open_max=1)
    queue.track("a", 0.0)
    queue.track("b", 0.0)
    queue.changed("b", 0.0)

    assert (list(queue.orders), queue.untracked) == (["a"], 1)
    assert taken(queue, 5.0) == ["a"]
