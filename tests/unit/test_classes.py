"""What is urgent overtakes, and nothing is overtaken for ever."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.classes import PASSED_MAX, Classes
from actors.envelopes import ImportAssets, Submission, ToPlan
from actors.inbox import Inbox
from actors.pace import ALWAYS_ADMITTED
from actors.routing import _class_of
from domain.errors import Busy
from domain.messages import AnnotateItem
from domain.priorities import HIGH, LOW, NORMAL, class_of

entries = st.lists(st.tuples(st.integers(), st.sampled_from([HIGH, NORMAL, LOW])), max_size=60)


def filled(*classes: int) -> Classes[int]:
    queue: Classes[int] = Classes()
    for number, class_ in enumerate(classes):
        queue.append(number, class_)
    return queue


def submission(name: str, priority: str | None = None, *, is_bulk: bool = False) -> Submission:
    order: dict[str, Any] = {"id": name} | ({} if priority is None else {"priority": priority})
    return Submission(0, order, None, is_bulk=is_bulk)


def names(envelopes: list[Any]) -> list[str]:
    return [each.order["id"] for each in envelopes]


def test_the_most_urgent_goes_first_and_a_class_keeps_its_order() -> None:
    queue = filled(NORMAL, LOW, HIGH, NORMAL, HIGH)
    assert [queue.popleft() for _ in range(len(queue))] == [2, 4, 0, 3, 1]


def test_what_says_nothing_of_its_priority_is_in_the_middle() -> None:
    assert [class_of(each) for each in ("high", "normal", "low", "unheard of")] == [HIGH, NORMAL, LOW, NORMAL]


def test_a_stream_of_urgent_entries_stops_no_other() -> None:
    queue = filled(LOW, NORMAL)
    taken = []
    for number in range(100, 140):
        queue.append(number, HIGH)
        taken.append(queue.popleft())
    assert taken.index(0) == PASSED_MAX
    assert taken.index(1) < 2 * (PASSED_MAX + 1)


@given(entries)
def test_whatever_comes_is_taken_once_and_each_class_in_its_order(given_entries: list[tuple[int, int]]) -> None:
    queue: Classes[tuple[int, int, int]] = Classes()
    for number, (value, class_) in enumerate(given_entries):
        queue.append((class_, number, value), class_)
    assert len(queue) == len(given_entries)
    taken = []
    while queue:
        expected = queue.first()
        taken.append(queue.popleft())
        assert taken[-1] == expected
    assert sorted(taken) == sorted((class_, number, value) for number, (value, class_) in enumerate(given_entries))
    for class_ in (HIGH, NORMAL, LOW):
        of_class = [number for each, number, _ in taken if each == class_]
        assert all(one < other for one, other in pairwise(of_class))


def test_a_handful_has_one_of_each_class_first_and_then_the_most_urgent() -> None:
    queue = filled(NORMAL, LOW, HIGH, NORMAL, HIGH, LOW, HIGH)
    assert queue.take(5) == [1, 0, 2, 4, 6]
    assert queue.take(5) == [5, 3]


def test_a_handful_that_is_too_small_for_that_is_urgent() -> None:
    assert filled(NORMAL, LOW, HIGH).take(2) == [2, 0]


@given(entries, st.lists(st.integers(0, 9), max_size=30))
def test_every_class_goes_on_however_little_of_a_handful_is_used(
    given_entries: list[tuple[int, int]], used: list[int]
) -> None:
    queue: Classes[tuple[int, int]] = Classes()
    for number, (_, class_) in enumerate(given_entries):
        queue.append((number, class_), class_)
    for count in used:
        before = list(queue)
        taken = queue.take(20)
        assert len(taken) == min(20, len(before))
        assert {class_ for _, class_ in taken[:3]} == {class_ for _, class_ in before}
        queue.appendleft((each, each[1]) for each in taken[count:])
        assert sorted(queue) == sorted(set(before) - set(taken[:count]))


@given(entries, st.integers(0, 60))
def test_what_is_put_back_is_as_if_it_had_not_been_taken(given_entries: list[tuple[int, int]], count: int) -> None:
    queue: Classes[tuple[int, int]] = Classes()
    for number, (_, class_) in enumerate(given_entries):
        queue.append((number, class_), class_)
    before = list(queue)
    taken = queue.take(count)
    queue.appendleft((each, each[1]) for each in taken)
    assert list(queue) == before


def test_an_empty_queue_has_nobody_to_give() -> None:
    with pytest.raises(IndexError):
        Classes().popleft()
    with pytest.raises(IndexError):
        Classes().first()
    assert Classes().take(3) == []


# Where they are used.


def test_an_inbox_gives_urgent_orders_to_a_tick_first() -> None:
    inbox = Inbox(lambda: 0.0)
    for each in (submission("a"), submission("b", "low"), submission("c", "high"), submission("d", is_bulk=True)):
        inbox.put(each)
    _first, orders = inbox.take(100)
    assert names(orders) == ["d", "b", "a", "c"]


def test_what_a_full_tick_has_left_comes_before_newer_ones_of_its_class() -> None:
    inbox = Inbox(lambda: 0.0)
    for each in (submission("a"), submission("b"), submission("c", "low")):
        inbox.put(each)
    left = inbox.take(100)[1][2:]
    inbox.put(submission("d"))
    inbox.put_back(left)
    assert names(left) == ["b"]
    assert names(inbox.take(100)[1]) == ["b", "d"]


def test_an_urgent_order_is_judged_by_those_that_it_does_not_overtake() -> None:
    now = 0.0
    inbox = Inbox(lambda: now)
    for number in range(ALWAYS_ADMITTED):
        inbox.put(submission(f"n{number}"))
    now = 100.0
    with pytest.raises(Busy):
        inbox.put(submission("late"))
    inbox.put(submission("urgent", "high"))
    assert names(inbox.take(100)[1])[:3] == ["n0", "urgent", "n1"]


def test_at_a_sender_people_and_urgent_orders_overtake_other_orders() -> None:
    assert _class_of(ToPlan("o1", AnnotateItem("i", "text", "m-1"))) == HIGH
    assert [_class_of(submission("a", each)) for each in ("high", None, "low")] == [HIGH, NORMAL, LOW]


def test_products_that_come_in_bulk_go_behind_orders_and_are_left_in_their_order() -> None:
    """A parent comes before its children however often a full tick leaves them."""
    inbox = Inbox(lambda: 0.0)
    loaded = [ImportAssets(0, "main", "acc", "r@1", [], "person:ann", f"c{at}", is_bulk=True) for at in range(3)]
    for each in loaded:
        inbox.put(each)
    inbox.put(submission("a"))
    first, batch = inbox.take(100)
    inbox.put_back(batch)
    again = inbox.take(100)[1]

    assert first == []
    assert [each for each in again if isinstance(each, ImportAssets)] == loaded
    assert _class_of(loaded[0]) == LOW
