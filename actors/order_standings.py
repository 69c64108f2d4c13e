"""Plans as they were at the fact at hand, for whoever follows the feed fact by fact; a bounded number in memory.

Unlike `actors/plan_cache.py`, whose plans are as new as can be, a plan here is never ahead of its reader: what a fact
changed can only be told by the plan before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog

from actors.folding import PlanFolder, StorePort
from domain.errors import PlanUnreadable
from domain.events import ChannelEvent, Standing, first_events
from domain.facts import ORDER_ACCEPTED, ORDER_ENDED, ORDER_REJECTED
from domain.plan import Plan
from persistence.readstore import StoredFact

log = structlog.get_logger(__name__)

PLANS_MAX: Final = 10_000
ITEMS_MAX: Final = 200_000
"""The plan that had no fact for longest goes first, and is folded again when it has one."""
_READ_TOGETHER: Final = 100
_FIRST: Final = frozenset({ORDER_ACCEPTED, ORDER_REJECTED})


class _Entry(NamedTuple):
    plan: Plan
    standing: Standing


class OrderStandings:
    """Follows orders; facts have to come in the order of the feed."""

    def __init__(self, folder: PlanFolder, store: StorePort) -> None:
        self._folder = folder
        self._store = store
        self._entries: dict[str, _Entry] = {}
        self._items = 0
        self.unreadable = 0
        """How many facts made no plan, so that nobody knows which events they cause."""

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget all plans: the reader goes back."""
        self._entries.clear()
        self._items = 0

    async def prepare(self, facts: Sequence[StoredFact]) -> None:
        """Fold the orders of these facts that are not in memory, up to the first of the facts, in bounded reads."""
        missing: dict[str, int] = {}
        for fact in facts:
            if fact.order_id not in self._entries and fact.order_id not in missing:
                missing[fact.order_id] = 0 if fact.kind in _FIRST else fact.offset
        wanted = [order_id for order_id, offset in missing.items() if offset]
        for start in range(0, len(wanted), _READ_TOGETHER):
            stored = await self._store.facts_of(wanted[start : start + _READ_TOGETHER])
            for order_id, found in stored.items():
                before = [each for each in found if each.offset < missing[order_id]]
                if before:
                    await self._fold(before)

    async def after(self, fact: StoredFact) -> tuple[Plan, tuple[ChannelEvent, ...]] | None:
        """The plan after the fact and the events that it causes; None if nobody can read the plan.

        The plan changes with the next fact of its order.
        """
        if fact.kind in _FIRST:
            entry = await self._fold([fact])
            return (entry.plan, first_events(entry.plan)) if entry else None
        entry = self._entries.pop(fact.order_id, None)
        if entry is None:
            self._unreadable(fact, "its beginning is missing")
            return None
        before = len(entry.plan.items)
        try:
            await self._folder.advance(entry.plan, fact)
        except PlanUnreadable as error:
            self._items -= before
            self._unreadable(fact, error.reason)
            return None
        self._items += len(entry.plan.items) - before
        if fact.kind == ORDER_ENDED:
            self._items -= len(entry.plan.items)
        else:
            # At the end of the dictionary: it had news last.
            self._entries[fact.order_id] = entry
        return entry.plan, entry.standing.after(entry.plan, fact.item)

    async def _fold(self, facts: list[StoredFact]) -> _Entry | None:
        try:
            plan = await self._folder.fold(facts)
        except PlanUnreadable as error:
            self._unreadable(facts[-1], error.reason)
            return None
        entry = _Entry(plan, Standing(plan))
        self._entries[plan.order_id] = entry
        self._items += len(plan.items)
        return entry

    def _unreadable(self, fact: StoredFact, reason: str) -> None:
        self.unreadable += 1
        log.error(
            "nobody can tell which events a fact causes", order_id=fact.order_id, fact=f"{fact.shard}-{fact.offset}",
            reason=reason,
        )  # fmt: skip

    def trim(self) -> None:
        """Forget plans beyond the bounds."""
        while self._entries and (len(self._entries) > PLANS_MAX or self._items > ITEMS_MAX):
            entry = self._entries.pop(next(iter(self._entries)))
            self._items -= len(entry.plan.items)
