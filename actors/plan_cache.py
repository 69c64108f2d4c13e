"""Folded plans in memory, brought up to date when they are asked for: for who looks at many plans again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from actors.folding import PlanFolder, StorePort
from domain.errors import PlanUnreadable
from domain.plan import Plan
from persistence.readstore import StoredFact

PLANS_MAX: Final = 10_000
ITEMS_MAX: Final = 300_000
"""Together some hundred megabytes; the plan that was asked for longest ago goes first."""
_READ_TOGETHER: Final = 100


class PlanStore(StorePort, Protocol):
    """Where the cache reads (persistence/readstore.py)."""

    async def facts_since(self, offsets: Mapping[str, int]) -> dict[str, list[StoredFact]]: ...


@dataclass(slots=True)
class _Entry:
    plan: Plan
    offset: int
    """Of the last fact in it."""
    news: int
    """The last offset that there is, as far as was heard: beyond `offset` its plan is old."""
    items: int
    """Of its plan, as they count."""


class PlanCache:
    """Plans by order, bounded. What is heard of an order only marks its plan as old; it is brought up to date when it
    is asked for, with whatever has come by then.
    """

    def __init__(self, folder: PlanFolder, store: PlanStore) -> None:
        self._folder = folder
        self._store = store
        self._entries: dict[str, _Entry] = {}
        self._items = 0
        self._one_at_a_time = asyncio.Lock()
        """Two who ask at once must not both apply the same facts."""
        self._heard: dict[str, int] | None = None
        """News of orders that come while plans are being read: they may be too late for what is read."""
        self.unreadable = 0
        """How often facts made no plan."""

    def __len__(self) -> int:
        return len(self._entries)

    def note(self, order_id: str, offset: int) -> None:
        """The order has a fact of this offset."""
        entry = self._entries.get(order_id)
        if entry is not None:
            entry.news = offset
        if self._heard is not None:
            self._heard[order_id] = offset

    async def get(self, order_ids: Sequence[str]) -> dict[str, Plan]:
        """The plans of these orders; those whose facts make none are missing."""
        async with self._one_at_a_time:
            self._heard = {}
            try:
                await self._bring_up_to_date(order_ids)
                return await self._get(order_ids)
            finally:
                self._heard = None

    async def _bring_up_to_date(self, order_ids: Sequence[str]) -> None:
        known = ((order_id, self._entries.get(order_id)) for order_id in order_ids)
        old = {order_id: entry for order_id, entry in known if entry is not None and entry.news > entry.offset}
        wanted = list(old)
        for start in range(0, len(wanted), _READ_TOGETHER):
            part = wanted[start : start + _READ_TOGETHER]
            stored = await self._store.facts_since({order_id: old[order_id].offset for order_id in part})
            for order_id, facts in stored.items():
                if self._entries.get(order_id) is old[order_id]:
                    await self._advance(order_id, old[order_id], facts)

    async def _advance(self, order_id: str, entry: _Entry, facts: Sequence[StoredFact]) -> None:
        try:
            for fact in facts:
                await self._folder.advance(entry.plan, fact)
                entry.offset = fact.offset
        except PlanUnreadable:
            # Read anew, as is one whose facts are not there any more; if they do not fit one another it is counted.
            facts = ()
        if self._entries.get(order_id) is not entry:
            return
        if not facts:
            self.drop(order_id)
            return
        self._items += len(entry.plan.items) - entry.items
        entry.items = len(entry.plan.items)

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
                    offset = facts[-1].offset
                    heard = self._heard.get(order_id, offset) if self._heard is not None else offset
                    self._entries[order_id] = _Entry(plan, offset, heard, len(plan.items))
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
            self._items -= entry.items
