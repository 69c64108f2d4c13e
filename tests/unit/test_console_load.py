"""What is said of a run of the console under load: each bar can be broken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.console_load import MadeFeed, Sample, facts_of_an_order, verdict

STEADY = [
    Sample(at_s=30.0 * step, heap=5_000_000 + step % 3 * 40_000, nodes=3_000 + step % 5, listeners=300, lag_s=0.6,
           paint_ms=5.0, busy=0.1, orders=30_000 * step)
    for step in range(1, 21)
]  # fmt: skip


def test_a_page_that_goes_up_and_down_around_one_size_is_steady() -> None:
    assert verdict(STEADY).complaints == []


@pytest.mark.parametrize(
    ("member", "per_step", "told"),
    [("heap", 100_000, "the heap grows by 2"), ("nodes", 5, "the document grows by 1")],
)
def test_slow_growth_is_told(member: str, per_step: int, told: str) -> None:
    growing = [
        replace(each, **{member: getattr(each, member) + per_step * at}) for at, each in enumerate(STEADY)
    ]

    [complaint] = verdict(growing).complaints
    assert complaint.startswith(told)


def test_what_the_first_minute_takes_is_no_growth() -> None:
    assert verdict([replace(STEADY[0], heap=1_000_000), *STEADY[1:]]).complaints == []


def test_a_screen_that_is_often_behind_is_told_and_one_stall_is_not() -> None:
    stalled = [replace(STEADY[4], lag_s=20.0), *STEADY[5:]]
    behind = [replace(each, lag_s=3.0) if at % 4 == 0 else each for at, each in enumerate(STEADY)]

    assert verdict(stalled).complaints == []
    assert verdict(behind).complaints == ["the screen is 3.0 s behind"]


async def test_the_made_feed_gives_each_fact_once_and_counts_orders_as_they_are_accepted() -> None:
    pattern = facts_of_an_order()
    seconds = iter([0.0, *range(1, 100)])
    feed = MadeFeed(pattern, orders_per_s=1_000, clock=lambda: next(seconds))
    at, seen = {3: 0, 5: 10}, []
    for _ in range(10):
        for fact in await feed.facts_after(at, 7):
            at[fact.shard] = fact.offset
            seen.append(fact)

    assert [each.offset for each in seen if each.shard == 5] == list(range(11, 81))
    in_shard = [each for each in seen if each.shard == 3]
    assert [each.kind for each in in_shard] == [pattern[place % len(pattern)].kind for place in range(70)]
    assert feed.accepted({3: 70}) == sum(each.kind == "order.accepted" for each in in_shard)
