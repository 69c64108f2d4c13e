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


def cache_of(store: Any) -> PlanCache:
    folder: Any = Folder()
    return PlanCache(folder, store)


async def test_a_fact_that_comes_while_its_plan_is_being_read_is_not_missed():
    store = SlowStore()
    cache = cache_of(store)
    reading = asyncio.create_task(cache.get(["o1-1"]))
    await asyncio.sleep(0)
    store.stored.append(fact(2))
    taking = asyncio.create_task(cache.take(fact(2)))
    await asyncio.sleep(0)
    store.goes_on.set()
    await asyncio.gather(reading, taking)
    plan: Any = (await cache.get(["o1-1"]))["o1-1"]

    assert plan.offsets == [1, 2]


async def test_two_who_ask_for_the_same_plan_get_the_same_one_and_it_counts_once():
    store = SlowStore()
    cache = cache_of(store)
    asking = [asyncio.create_task(cache.get(["o1-1"])) for _ in range(2)]
    await asyncio.sleep(0)
    store.goes_on.set()
    (one,), (other,) = [found.values() for found in await asyncio.gather(*asking)]

    assert one is other
    assert cache._items == 3
