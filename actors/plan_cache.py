"""Folded plans in memory, kept up to date by the facts that come, for whoever looks at many plans again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from actors.folding import PlanFolder, StorePort
from domain.errors import PlanUnreadable
from domain.plan import Plan
from persistence.readstore import StoredFact

PLANS_MAX: Final = 10_000
ITEMS_MAX: Final = 300_000
"""Together some hundred megabytes; the plan that was asked for longest ago goes first."""
_READ_TOGETHER: Final = 100


@dataclass(slots=True)
class _Entry:
    plan: Plan
    offset: int
    """Of the last fact in it: what the feed brings may be in it already."""


class PlanCache:
    """Plans by order, bounded."""

    def __init__(self, folder: PlanFolder, store: StorePort) -> None:
        self._folder = folder
        self._store = store
        self._entries: dict[str, _Entry] = {}
        self._items = 0
        self._one_at_a_time = asyncio.Lock()
        """Who reads a plan from the database and who applies a fact: one that comes in between would be missed."""
        self.unreadable = 0
        """How often facts made no plan."""

    def __len__(self) -> int:
        return len(self._entries)

    async def take(self, fact: StoredFact) -> None:
        """A fact of the feed; without effect where the plan is not in memory."""
        async with self._one_at_a_time:
            await self._take(fact)

    async def _take(self, fact: StoredFact) -> None:
        entry = self._entries.get(fact.order_id)
        if entry is None or fact.offset <= entry.offset:
            return
        before = len(entry.plan.items)
        try:
            await self._folder.advance(entry.plan, fact)
        except PlanUnreadable:
            # Read anew when it is asked for; if its facts do not fit one another it is counted then.
            self._items -= before
            del self._entries[fact.order_id]
            return
        entry.offset = fact.offset
        self._items += len(entry.plan.items) - before

    async def get(self, order_ids: Sequence[str]) -> dict[str, Plan]:
        """The plans of these orders; those whose facts make none are missing."""
        async with self._one_at_a_time:
            return await self._get(order_ids)

    async def _get(self, order_ids: Sequence[str]) -> dict[str, Plan]:
        missing = [order_id for order_id in order_ids if order_id not in self._entries]
        found: dict[str, Plan] = {}
        for start in range(0, len(missing), _READ_TOGETHER):
            stored = await self._store.facts_of(missing[start : start + _READ_TOGETHER])
            for order_id, facts in stored.items():
                try:
                    plan = await self._folder.fold(facts) if facts else None
                except PlanUnreadable:
                    self.unreadable += 1
                    continue
                if plan is not None:
                    found[order_id] = plan
                    self._entries[order_id] = _Entry(plan, facts[-1].offset)
                    self._items += len(plan.items)
        for order_id in order_ids:
            entry = self._entries.pop(order_id, None)
            if entry is not None:
                # Put last: it was asked for just now.
                self._entries[order_id] = entry
                found[order_id] = entry.plan
        while len(self._entries) > PLANS_MAX or (self._items > ITEMS_MAX and len(self._entries) > 1):
            self.drop(next(iter(self._entries)))
        return found

    def drop(self, order_id: str) -> None:
        """The order has ended, or its plan has to make room."""
        entry = self._entries.pop(order_id, None)
        if entry is not None:
            self._items -= len(entry.plan.items)
