"""Held items go on: those of systems that take calls again, one after another at the system's own rate.

Lives in the people actor. `held_item` says who waits; a message to the plan lets one go, and the plan's tick strikes
the row. So whoever dies in between leaves everything as it was, a message that comes twice finds the item gone, and a
second resumer does no harm but to the rate. An item that a plan has held on old news, after the system was released, is
found like any other: what counts here is only whether its system is held now.

A system held by its circuit breaker alone needs a call to be tried with: one item, each time another one. An item whose
plan does not answer stands back for the others, here as there: it may be the only one that never will.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import structlog

from actors.draining import Draining
from actors.envelopes import Envelope, ToPlan
from actors.ports import HeldItemsPort
from domain.errors import OrderplanError
from domain.holds import HeldSystems, HoldCause
from domain.ids import shard_of
from domain.messages import ResumeItem
from persistence.catalogue import Limits
from persistence.database import is_unavailable
from persistence.holds import HeldItem, HoldRow

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.25
ANSWER_TIMEOUT_S: Final = 20.0
AGAIN_S: Final = 5.0
"""After an item whose plan did not answer (twice as long each time), or a try that nobody heard of."""
AGAIN_S_MAX: Final = 300.0
UNANSWERED_MAX: Final = 1_000
"""Items of one system that may be without an answer; beyond it no more of them go on just now."""
BATCH_MAX: Final = 1_000


class Asks(Protocol):
    """The way to the plans."""

    async def ask(self, lane: str, shard: int, envelope: Envelope, *, timeout_s: float) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Unanswered:
    """How often nobody answered, and when to ask again."""

    times: int
    again_at: datetime


class _UnansweredItems:
    """Items whose plan did not answer."""

    def __init__(self) -> None:
        self._items: dict[HeldItem, _Unanswered] = {}

    def at(self, now: datetime) -> list[HeldItem]:
        """Those who are not to be asked now. Who was not asked for long after its time is gone, or begins anew."""
        long_ago = now - timedelta(seconds=AGAIN_S_MAX)
        self._items = {item: each for item, each in self._items.items() if each.again_at > long_ago}
        return [item for item, each in self._items.items() if each.again_at > now]

    def note(self, item: HeldItem, now: datetime, again_s: float, *, is_answered: bool) -> None:
        """Keep how it went; `again_s` to wait the first time, twice as long each time."""
        before = self._items.pop(item, None)
        if not is_answered:
            times = before.times + 1 if before is not None else 1
            pause_s = min(max(AGAIN_S_MAX, again_s), again_s * 2 ** min(times - 1, 20))
            self._items[item] = _Unanswered(times, now + timedelta(seconds=pause_s))


@dataclass(slots=True)
class _Drain:
    """One system whose held items go on."""

    draining: Draining
    unanswered: _UnansweredItems = field(default_factory=_UnansweredItems)
    working: asyncio.Task[None] | None = None


@dataclass(slots=True)
class _Tries:
    """One system whose circuit breaker is tried, now and then."""

    tried_at: datetime | None = None
    unanswered: _UnansweredItems = field(default_factory=_UnansweredItems)
    working: asyncio.Task[None] | None = None


class Resumer:
    """Lets held items go; plain asyncio. `clock` is the time of rows."""

    def __init__(self, items: HeldItemsPort, hosts: Asks, *, clock: Callable[[], datetime]) -> None:
        self._items = items
        self._hosts = hosts
        self._clock = clock
        self._drains: dict[str, _Drain] = {}
        self._tries: dict[str, _Tries] = {}
        self.resumed = 0

    async def run(self, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        """Look again and again, for ever."""
        while True:
            try:
                await self.look()
            except Exception as error:
                # The rows stand until somebody has let them go.
                if not is_unavailable(error):
                    log.exception("held items could not go on")
            await sleep(LOOK_S)

    async def look(self) -> None:
        """Begin to let go of what may go on by now. A system with slow plans does not keep the others waiting."""
        waited_for = await self._items.systems()
        now_s = self._clock().timestamp()
        for system in self._drains.keys() - set(waited_for):
            # Nobody waits; those under way may come back, and what was learnt of the system counts for them.
            if self._drains[system].draining.is_over(now_s):
                del self._drains[system]
        if not waited_for:
            return
        limits, rows = await self._items.limits(), await self._items.holds()
        held = HeldSystems.of(row.hold for row in rows)
        for system in waited_for:
            hold = held.of_system(system)
            if hold is None:
                self._go_on(system, limits.get(system, Limits()))
                continue
            self._drains.pop(system, None)
            if hold.cause is HoldCause.BREAKER:
                self._try(system, rows, limits.get(system, Limits()))

    async def settled(self) -> None:
        """Wait until what was begun is answered."""
        begun: list[_Drain | _Tries] = [*self._drains.values(), *self._tries.values()]
        await asyncio.gather(*(each.working for each in begun if each.working is not None))

    def _go_on(self, system: str, limits: Limits) -> None:
        now_s = self._clock().timestamp()
        rate = min(limits.drain_per_s, limits.rate_per_s or limits.drain_per_s)
        drain = self._drains.get(system)
        if drain is None:
            drain = self._drains[system] = _Drain(Draining(rate, now_s, 2 * LOOK_S))
        drain.draining.configure(rate, now_s)
        if drain.working is None or drain.working.done():
            drain.working = asyncio.get_running_loop().create_task(self._batch(system, drain))

    async def _batch(self, system: str, drain: _Drain) -> None:
        now = self._clock()
        without = drain.unanswered.at(now)
        if len(without) >= UNANSWERED_MAX:
            return
        # One at least is looked at: whether items come back is seen even when none may go on.
        count = min(max(1, drain.draining.available(now.timestamp())), BATCH_MAX)
        try:
            found = await self._items.next_held(system, count, without)
        except Exception as error:
            if not is_unavailable(error):
                log.exception("held items could not be read", system=system)
            return
        found = found[: drain.draining.found(found, now.timestamp())]
        drain.draining.let_go(found, now.timestamp())
        answers = await asyncio.gather(*(self._resume(item) for item in found))
        now = self._clock()
        for item, is_answered in zip(found, answers, strict=True):
            drain.unanswered.note(item, now, AGAIN_S, is_answered=is_answered)
            if not is_answered:
                drain.draining.forget(item)

    async def _resume(self, item: HeldItem) -> bool:
        envelope = ToPlan(item.order_id, ResumeItem(item.item))
        try:
            await self._hosts.ask("receive_orders", shard_of(item.order_id), envelope, timeout_s=ANSWER_TIMEOUT_S)
        except OrderplanError as error:
            log.warning("a held item could not go on yet", order_id=item.order_id, code=error.code)
            return False
        self.resumed += 1
        return True

    def _try(self, system: str, rows: list[HoldRow], limits: Limits) -> None:
        """Let one item go to a system whose circuit breaker wants to try, unless the last one is still on its way."""
        now = self._clock()
        breaker = next(
            row for row in rows if row.hold.system == system and row.hold.cause is HoldCause.BREAKER
        )
        if breaker.probe_at is None or breaker.probe_at > now:
            return
        tries = self._tries.setdefault(system, _Tries())
        pause_s = max(AGAIN_S, limits.breaker_pause_s)
        tried_at = tries.tried_at
        if tried_at is not None and breaker.probe_at <= tried_at and now < tried_at + timedelta(seconds=pause_s):
            return
        if tries.working is None or tries.working.done():
            tries.working = asyncio.get_running_loop().create_task(self._try_one(system, tries, pause_s))

    async def _try_one(self, system: str, tries: _Tries, pause_s: float) -> None:
        now = self._clock()
        try:
            item = await self._items.next_try(system, tries.unanswered.at(now))
            if item is None:
                # Nobody else is there: a plan that did not answer is better than no try at all.
                item = await self._items.next_try(system, ())
        except Exception as error:
            if not is_unavailable(error):
                log.exception("an item to try a system with could not be read", system=system)
            return
        if item is None:
            return
        tries.tried_at = now
        is_answered = await self._resume(item)
        # Longer than a pause, or the next try would be its again.
        tries.unanswered.note(item, self._clock(), 2 * pause_s, is_answered=is_answered)
