"""Plans kept in memory while several ask for them at once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from actors.plan_cache import PlanCache


def fact(offset: int) -> Any:
    return SimpleNamespace(order_id="o1-1", offset=offset)


class Folder:
    """A plan is the list of the offsets in it."""

    async def fold(self, facts: list[Any]) -> Any:
        return SimpleNamespace(items=[1, 2, 3], offsets=[each.offset for each in facts])

    async def advance(self, plan: Any, one: Any) -> None:
        plan.offsets.append(one.offset)


class SlowStore:
    """Reads at once, answers when it is told to."""

    def __init__(self) -> None:
        self.stored = [fact(1)]
        self.goes_on = asyncio.Event()

    async def facts_of(self, order_ids: list[str]) -> dict[str, list[Any]]:
        found = list(self.stored)
        await self.goes_on.wait()
        return dict.fromkeys(order_ids, found)

    async def facts_since(self, offsets: dict[str, int]) -> dict[str, list[Any]]:
        return {
            order_id: [each for each in self.stored if each.offset > offset] for order_id, offset in offsets.items()
        }


def cache_of(store: Any) -> PlanCache:
    folder: Any = Folder()
    return PlanCache(folder, store)


async def test_a_fact_that_comes_while_its_plan_is_being_read_is_not_missed():
    store = SlowStore()
    cache = cache_of(store)
    reading = asyncio.create_task(cache.get(["o1-1"]))
    await asyncio.sleep(0)
    store.stored.append(fact(2))
    cache.note("o1-1", 2)
    store.goes_on.set()
    await reading
    plan: Any = (await cache.get(["o1-1"]))["o1-1"]

    assert plan.offsets == [1, 2]


async def test_a_plan_that_nobody_asks_for_costs_nothing_and_has_all_its_facts_when_somebody_does():
    store = SlowStore()
    store.goes_on.set()
    cache = cache_of(store)
    plan: Any = (await cache.get(["o1-1"]))["o1-1"]
    for offset in (2, 3):
        store.stored.append(fact(offset))
        cache.note("o1-1", offset)
    before = list(plan.offsets)
    await cache.get(["o1-1"])
    await cache.get(["o1-1"])

    assert (before, plan.offsets) == ([1], [1, 2, 3])


async def test_a_plan_whose_new_facts_are_not_there_any_more_is_read_anew():
    store = SlowStore()
    store.goes_on.set()
    cache = cache_of(store)
    old = (await cache.get(["o1-1"]))["o1-1"]
    cache.note("o1-1", 2)
    new = (await cache.get(["o1-1"]))["o1-1"]

    assert new is not old
    assert cache._items == 3


async def test_two_who_ask_for_the_same_plan_get_the_same_one_and_it_counts_once():
    store = SlowStore()
    cache = cache_of(store)
    asking = [asyncio.create_task(cache.get(["o1-1"])) for _ in range(2)]
    await asyncio.sleep(0)
    store.goes_on.set()
    (one,), (other,) = [found.values() for found in await asyncio.gather(*asking)]

    assert one is other
    assert cache._items == 3
