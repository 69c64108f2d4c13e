"""The notifier: reads every fact, works out what it means to the channels, writes that for each listener that asked.

It reads what is committed and writes, in one transaction, its cursor and the events that follow from the facts behind
it (`persistence/hub.py`). What is written is sent by `actors/deliveries.py`. So a notifier that dies anywhere leaves
either both or neither, and events come at least once. A second notifier raises the epoch, and the first one stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson
import structlog

from actors.folding import PlanFolder, StorePort
from actors.order_standings import OrderStandings
from actors.ports import FeedPort, OutboxPort
from domain.errors import BadDocument
from domain.events import ChannelEvent, event_id
from domain.plan import Plan
from domain.subscriptions import Subscription, read_subscription
from persistence.consumers import ConsumerFenced
from persistence.database import is_unavailable
from persistence.hub import LISTENERS_MAX, Delivery, Listener
from persistence.readstore import StoredFact

log = structlog.get_logger(__name__)

POLL_S: Final = 0.2
IDLE_S: Final = 5.0
"""Without a listener nothing is read; the cursor follows in such steps, so that nobody's archive waits for it."""
FACTS_PER_SHARD: Final = 50
BATCH_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of events written in one transaction; the facts behind them are read again."""

Render = Callable[[Plan, ChannelEvent, str, datetime, str], dict[str, Any]]
"""(plan after the fact, event, its id, its time, fields) -> the document that a listener gets."""


class Notifier:
    """Plain asyncio, wrapped by a Ray actor (gateway/notifier_actor.py). One task owns all of its state."""

    def __init__(
        self,
        feed: FeedPort,
        outbox: OutboxPort,
        store: StorePort,
        render: Render,
        *,
        clock: Callable[[], datetime],
        backlog_max: int = 100_000,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._feed = feed
        self._outbox = outbox
        self._render = render
        self._clock = clock
        self._backlog_max = backlog_max
        self._wake = wake
        self._standings = OrderStandings(PlanFolder(store), store)
        self._subscriptions: dict[str, Subscription] = {}
        self._offsets: dict[int, int] = {}
        self._is_behind = True
        """Whether the offsets have to be read from the database: after a transaction that was not heard of."""
        self._idle_at: datetime | None = None
        self._is_listened_to = False
        self.epoch = 0
        self.facts = 0
        self.events = 0
        self.missed = 0

    async def start(self) -> int:
        """Become the only notifier; returns its epoch."""
        self.epoch, self._offsets = await self._outbox.take_over()
        self._is_behind = False
        return self.epoch

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            ConsumerFenced: another notifier has started.
        """
        while True:
            is_busy = False
            try:
                is_busy = await self.step()
            except ConsumerFenced:
                raise
            except Exception as error:
                # Nothing is lost: the next round begins where the cursor stands.
                if is_unavailable(error):
                    log.warning("the database is away, no event is worked out", error=type(error).__name__)
                else:
                    log.exception("a round of the notifier failed; the next one goes on")
            if not is_busy:
                await asyncio.sleep(POLL_S)

    async def step(self) -> bool:
        """One round. Returns whether more is waiting.

        Raises:
            ConsumerFenced: another notifier has started; nothing was written.
        """
        listeners = await self._outbox.listeners()
        self._is_listened_to = bool(listeners)
        if not listeners:
            await self._rest()
            return False
        if self._is_behind:
            self._offsets = await self._outbox.cursors(self.epoch)
            self._is_behind = False
        self._skip(listeners)
        facts = await self._feed.facts_after(self._offsets, FACTS_PER_SHARD)
        if not facts:
            return False
        try:
            # Again, and only now: whoever registered before one of these facts was committed is among them.
            listeners = await self._outbox.listeners()
            read, deliveries = await self._look(facts, listeners)
            missed = await self._outbox.record(self.epoch, read, deliveries, self._clock(), self._backlog_max)
        except BaseException:
            # The plans in memory are ahead of the cursor, or of what may have become of it.
            self._standings.clear()
            self._is_behind = True
            raise
        self._offsets |= read
        self.facts += sum(fact.offset <= read.get(fact.shard, 0) for fact in facts)
        self.events += len(deliveries)
        self._standings.trim()
        for listener_id, count in missed.items():
            self.missed += count
            log.error("a listener's backlog is full: events are not kept", listener_id=listener_id, events=count)
        if deliveries:
            self._wake()
        counts: dict[int, int] = {}
        for fact in facts:
            counts[fact.shard] = counts.get(fact.shard, 0) + 1
        return max(counts.values()) >= FACTS_PER_SHARD or any(fact.offset > read.get(fact.shard, 0) for fact in facts)

    async def _rest(self) -> None:
        """Nobody listens: let the cursor follow now and then."""
        now = self._clock()
        if self._idle_at is not None and (now - self._idle_at).total_seconds() < IDLE_S:
            return
        offsets = await self._feed.heads()
        # Whoever has registered since begins at the heads of that moment, or is seen now.
        if await self._outbox.listeners():
            return
        self._standings.clear()
        self._is_behind = True
        await self._outbox.pass_over(self.epoch, offsets)
        self._idle_at = now

    def _skip(self, listeners: Sequence[Listener]) -> None:
        """Pass over what no listener is to hear of: all of them came later."""
        for shard, offset in self._offsets.items():
            begin = min(each.starts_after.get(shard, 0) for each in listeners)
            if begin > offset:
                self._offsets[shard] = begin

    async def _look(
        self, facts: Sequence[StoredFact], listeners: Sequence[Listener]
    ) -> tuple[dict[int, int], list[Delivery]]:
        """How far the facts were read, and what they mean to the listeners."""
        wanting = [(each, self._subscription(each)) for each in listeners]
        # What is no order's: stock that was loaded, bookings of plans elsewhere.
        await self._standings.prepare([fact for fact in facts if fact.order_id.startswith("o")])
        read: dict[int, int] = {}
        deliveries: list[Delivery] = []
        size = 0
        for fact in facts:
            if size >= BATCH_BYTES_MAX:
                break
            if fact.order_id.startswith("o"):
                found = await self._standings.after(fact)
                if found is not None:
                    made = self._deliveries(fact, *found, wanting)
                    size += sum(len(each.body) for each in made)
                    deliveries += made
            read[fact.shard] = fact.offset
        return read, deliveries

    def _deliveries(
        self,
        fact: StoredFact,
        plan: Plan,
        events: Sequence[ChannelEvent],
        wanting: Sequence[tuple[Listener, Subscription]],
    ) -> list[Delivery]:
        made: list[Delivery] = []
        for number, event in enumerate(events):
            name = event_id(fact.shard, fact.offset, number)
            bodies: dict[str, bytes] = {}
            for listener, subscription in wanting:
                if fact.offset <= listener.starts_after.get(fact.shard, 0):
                    continue
                if not subscription.wants(event.event_type, event.state.value, plan.order):
                    continue
                fields = subscription.fields
                if fields not in bodies:
                    bodies[fields] = orjson.dumps(self._render(plan, event, name, fact.at, fields))
                made.append(Delivery(listener.listener_id, fact.order_id, fact.offset, number, name, bodies[fields]))
        return made

    def _subscription(self, listener: Listener) -> Subscription:
        known = self._subscriptions.get(listener.query)
        if known is None:
            try:
                known = read_subscription(listener.query)
            except BadDocument as error:
                # Registered under a newer version: to say too much is better than to say nothing.
                log.warning("a query cannot be read, all is sent", listener_id=listener.listener_id, error=str(error))
                known = Subscription({})
            if len(self._subscriptions) >= LISTENERS_MAX:
                self._subscriptions.clear()
            self._subscriptions[listener.query] = known
        return known

    async def lag(self) -> int:
        """How many facts are committed and not looked at; 0 while nobody listens."""
        if not self._is_listened_to:
            return 0
        heads = await self._feed.heads()
        return sum(max(0, head - self._offsets.get(shard, 0)) for shard, head in heads.items())

    def stats(self) -> Mapping[str, Any]:
        """Counters for metrics."""
        return {
            "epoch": self.epoch,
            "facts": self.facts,
            "events": self.events,
            "missed": self.missed,
            "cached": len(self._standings),
            "unreadable": self._standings.unreadable,
        }
