"""Memory twins of what the notifier reads and writes: the feed, its cursors, the outbox (persistence/feed.py, hub.py).

A transaction is two statements here: one that checks the epoch and keeps its row locked, one that writes everything in
one instant. Between them its process may die, stand still or be cut off, and then nothing was written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, Final

from domain.deliveries import Health, health_after, next_attempt_at
from persistence.consumers import TAKE_OVER_ATTEMPTS, ConsumerFenced
from persistence.hub import NOTIFIER, Delivery, Listener, Outcome
from persistence.journal import DataRefused
from persistence.readstore import StoredFact
from tests.simulation.database import OUTSIDE, MemoryDatabase, Session
from tests.simulation.loop import current_process
from tests.simulation.twins import stored

LOCK_S: Final = 0.1
"""How often the server looks whether a row is free that somebody waits for."""
GIVEN_UP_S: Final = 3.0
"""After which the server knows of a connection that somebody has given up; it has read by then what was sent on it."""


@dataclass(slots=True)
class ListenerRow:
    """A row of the table of listeners."""

    callback: str
    query: str
    starts_after: dict[int, int]
    backlog: int = 0
    missed: int = 0
    delivered: int = 0
    health: Health = field(default_factory=Health)


@dataclass(slots=True)
class DeliveryRow:
    """A row of the outbox; without a `next_at` it waits for the one before it."""

    delivery: Delivery
    next_at: datetime | None = None


class HubTables:
    """The tables of the hub and of its consumer, on the server of the facts."""

    def __init__(self, database: MemoryDatabase) -> None:
        self.database = database
        self.epoch = 0
        self.cursors: dict[int, int] | None = None
        """None until there is a consumer."""
        self.listeners: dict[str, ListenerRow] = {}
        self.waiting: dict[tuple[str, str], list[DeliveryRow]] = {}
        """By listener and order, in the order of the events."""
        self.locked_by: Session | None = None
        self.on_take_over: list[Callable[[int], None]] = []
        self.on_write: list[Callable[[int], None]] = []
        """Called with the epoch of whoever takes over, or writes."""

    def _ensure(self) -> dict[int, int]:
        if self.cursors is None:
            self.cursors = self.heads()
        return self.cursors

    def heads(self) -> dict[int, int]:
        """The last offset of every shard."""
        return {shard: len(self.database.facts[shard]) for shard in self.database.shards}

    # For the gateway.

    def register(self, listener_id: str, callback: str, query: str) -> str:
        """The listener's id; that of the one that asks for the same, if there is one."""
        self._ensure()
        for name, row in self.listeners.items():
            if (row.callback, row.query) == (callback, query):
                return name
        self.listeners[listener_id] = ListenerRow(callback, query, self.heads())
        return listener_id

    def unregister(self, listener_id: str) -> None:
        """Forget a listener and what waits for it."""
        del self.listeners[listener_id]
        for place in [place for place in self.waiting if place[0] == listener_id]:
            del self.waiting[place]

    def resume(self, listener_id: str, now: datetime) -> None:
        """Send to a listener again, at once."""
        row = self.listeners[listener_id]
        row.health = Health(error=row.health.error, error_at=row.health.error_at)
        self._hurry(listener_id, now)

    # Transactions of the notifier.

    def try_take_over(self, known: int) -> tuple[int | None, dict[int, int]] | None:
        """Raise the epoch, if it is the one that was read; None while the last notifier's transaction keeps the row."""
        if self.locked_by is not None and self.locked_by.is_open:
            return None
        cursors = self._ensure()
        if known != self.epoch:
            return None, {}
        self.epoch += 1
        for watch in self.on_take_over:
            watch(self.epoch)
        return self.epoch, dict(cursors)

    def hold(self, session: Session, epoch: int) -> bool:
        """Check the epoch and lock its row; False while another transaction has it."""
        if self.locked_by is not None and self.locked_by.is_open:
            return False
        self.check(epoch)
        self.locked_by = session
        return True

    def check(self, epoch: int) -> None:
        """Refuse whoever was replaced."""
        if epoch != self.epoch:
            raise ConsumerFenced(NOTIFIER)

    def write(self, session: Session, epoch: int, work: Callable[[], Any]) -> Any:
        """The rest of a transaction, and its commit."""
        assert self.locked_by is session, "the row is not locked"
        self.locked_by = None
        session.is_open = False
        result = work()
        for watch in self.on_write:
            watch(epoch)
        return result

    def move(self, offsets: Mapping[int, int]) -> None:
        """Note how far the notifier has read."""
        self._ensure().update(offsets)

    def insert(self, deliveries: Sequence[Delivery], now: datetime, backlog_max: int) -> dict[str, int]:
        """Put events into the outbox; how many found no room, by listener."""
        missed: dict[str, int] = {}
        kept: list[Delivery] = []
        for each in deliveries:
            row = self.listeners.get(each.listener_id)
            if row is None:
                continue
            waits = sum(other.listener_id == each.listener_id for other in kept)
            if row.backlog + waits < backlog_max:
                kept.append(each)
            else:
                missed[each.listener_id] = missed.get(each.listener_id, 0) + 1
        for each in kept:
            rows = self.waiting.get((each.listener_id, each.order_id), ())
            if any(_place(row.delivery) == _place(each) for row in rows):
                raise DataRefused("the event is in the outbox already", "23505", "hub_delivery_pkey")
        for each in kept:
            rows = self.waiting.setdefault((each.listener_id, each.order_id), [])
            rows.append(DeliveryRow(each))
            rows.sort(key=lambda row: _place(row.delivery))
            self.listeners[each.listener_id].backlog += 1
        for listener_id, count in missed.items():
            self.listeners[listener_id].missed += count
        self.promote(kept, now)
        return missed

    def promote(self, deliveries: Iterable[Delivery], now: datetime) -> None:
        """Make the first event that waits of each of these orders due, unless it has its time already."""
        for each in deliveries:
            rows = self.waiting.get((each.listener_id, each.order_id))
            if rows and rows[0].next_at is None:
                rows[0].next_at = now

    def due(self, listener_id: str, now: datetime, busy: Sequence[str], limit: int) -> list[Delivery]:
        """What is to be sent to a listener now."""
        found = [
            row
            for (name, order_id), rows in self.waiting.items()
            if name == listener_id and order_id not in busy
            for row in rows
            if row.next_at is not None and row.next_at <= now
        ]
        found.sort(key=lambda row: (row.next_at, row.delivery.order_id))
        return [row.delivery for row in found[:limit]]

    def settle(self, outcomes: Sequence[Outcome], now: datetime, failing_s: float) -> list[str]:
        """Note what became of attempts; the listeners that are suspended by it."""
        suspended = []
        for name in sorted({each.delivery.listener_id for each in outcomes} & self.listeners.keys()):
            mine = [each for each in outcomes if each.delivery.listener_id == name]
            row = self.listeners[name]
            before = row.health
            row.health = health_after(
                before,
                taken=sum(not each.error for each in mine),
                complaints=[each.error for each in mine if each.error and each.is_complaint],
                failures=[each.error for each in mine if each.error and not each.is_complaint],
                now=now,
                failing_s=failing_s,
            )
            if row.health.state != before.state:
                suspended.append(name)
            for each in mine:
                self._settle_one(row, each, now)
            if before.pauses and not row.health.pauses:
                self._hurry(name, now)
        return suspended

    def _settle_one(self, listener: ListenerRow, outcome: Outcome, now: datetime) -> None:
        each = outcome.delivery
        rows = self.waiting.get((each.listener_id, each.order_id), [])
        for row in [row for row in rows if _place(row.delivery) == _place(each)]:
            if outcome.error:
                attempts = each.attempts + 1
                row.delivery = row.delivery._replace(attempts=attempts)
                row.next_at = next_attempt_at(attempts, now)
            else:
                rows.remove(row)
                listener.backlog -= 1
                listener.delivered += 1
        if not outcome.error:
            self.promote([each], now)
            if not rows:
                self.waiting.pop((each.listener_id, each.order_id), None)

    def _hurry(self, listener_id: str, now: datetime) -> None:
        for place, rows in self.waiting.items():
            for row in rows:
                if place[0] == listener_id and row.next_at is not None and row.next_at > now:
                    row.next_at = now


def _place(delivery: Delivery) -> tuple[int, int]:
    return delivery.offset, delivery.number


class Link:
    """The connections of one process: they end with it, and can be cut."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._sessions: list[Session] = []
        self.is_cut = False
        process = current_process()
        if process is not None:
            process.deaths.append(self._died)

    def cut(self) -> None:
        """Nothing comes through any more, and the server ends what was under way."""
        self.is_cut = True
        for session in self._sessions:
            self._database.terminate(session)

    def mend(self) -> None:
        """The way is open again."""
        self.is_cut = False

    def _died(self) -> None:
        # The server hears of it a moment later; what had been sent by then is carried out.
        asyncio.get_running_loop().call_later(self._database.weather.delay_s(), self.cut, context=OUTSIDE.copy())

    def give_up(self, session: Session) -> None:
        """Something went wrong on a connection; nobody uses it again."""
        asyncio.get_running_loop().call_later(GIVEN_UP_S, self._database.terminate, session, context=OUTSIDE.copy())

    def session(self) -> Session:
        """A connection for a transaction."""
        self._sessions = [each for each in self._sessions if each.is_open]
        self._sessions.append(self._database.open_session())
        return self._sessions[-1]

    async def ask(self, work: Callable[[], Any], session: Session | None = None) -> Any:
        """See `MemoryDatabase.ask`."""
        if self.is_cut:
            await asyncio.sleep(self._database.weather.delay_s())
            raise ConnectionResetError("the server cannot be reached")
        answer = await self._database.ask(work, session)
        if self.is_cut:
            raise ConnectionResetError("the answer was lost")
        return answer


class MemoryFeed:
    """Twin of `persistence.feed.Feed`."""

    def __init__(self, tables: HubTables, tenant: str, link: Link) -> None:
        self._tables = tables
        self._tenant = tenant
        self._link = link

    async def heads(self) -> dict[int, int]:
        return dict(await self._link.ask(self._tables.heads))

    async def facts_after(self, offsets: Mapping[int, int], per_shard: int) -> list[StoredFact]:
        wanted = sorted(offsets.items())
        facts = self._tables.database.facts

        def read() -> list[StoredFact]:
            found = []
            for shard, offset in wanted:
                rows = (row for row in islice(facts[shard], offset, None) if row.tenant == self._tenant)
                found += [stored(row) for row in islice(rows, per_shard)]
            return found

        return list(await self._link.ask(read))


class MemoryOutbox:
    """Twin of `persistence.hub.Outbox`."""

    def __init__(self, tables: HubTables, link: Link) -> None:
        self._tables = tables
        self._link = link

    async def take_over(self) -> tuple[int, dict[int, int]]:
        for _ in range(TAKE_OVER_ATTEMPTS):
            epoch, offsets = await self._until(partial(self._tables.try_take_over, await self._epoch()))
            if epoch is not None:
                return epoch, offsets
        raise ConsumerFenced(NOTIFIER)

    async def _epoch(self) -> int:
        return int(await self._link.ask(lambda: self._tables.epoch))

    async def cursors(self, epoch: int) -> dict[int, int]:
        return dict(await self._transaction(epoch, lambda: dict(self._tables.cursors or {})))

    async def listeners(self) -> list[Listener]:
        def read() -> list[Listener]:
            return [
                Listener(name, row.callback, row.query, dict(row.starts_after), row.backlog, row.health)
                for name, row in sorted(self._tables.listeners.items())
            ]

        return list(await self._link.ask(read))

    async def due(self, listener_id: str, now: datetime, busy: Sequence[str], limit: int) -> list[Delivery]:
        without = list(busy)
        return list(await self._link.ask(lambda: self._tables.due(listener_id, now, without, limit)))

    async def pass_over(self, epoch: int, offsets: Mapping[int, int]) -> None:
        await self._transaction(epoch, lambda: self._tables.move(offsets))

    async def record(
        self,
        epoch: int,
        offsets: Mapping[int, int],
        deliveries: Sequence[Delivery],
        now: datetime,
        backlog_max: int,
    ) -> dict[str, int]:
        def write() -> dict[str, int]:
            # What is refused for its data leaves nothing.
            missed = self._tables.insert(deliveries, now, backlog_max)
            self._tables.move(offsets)
            return missed

        return dict(await self._transaction(epoch, write))

    async def settle(self, epoch: int, outcomes: Sequence[Outcome], now: datetime, failing_s: float) -> list[str]:
        return list(await self._transaction(epoch, lambda: self._tables.settle(outcomes, now, failing_s)))

    async def _until(self, work: Callable[[], Any], session: Session | None = None) -> Any:
        """Ask until a row is free: as a statement that waits for its lock."""
        while True:
            if found := await self._link.ask(work, session):
                return found
            await asyncio.sleep(LOCK_S)

    async def _transaction(self, epoch: int, work: Callable[[], Any]) -> Any:
        tables, session = self._tables, self._link.session()
        try:
            await self._until(lambda: tables.hold(session, epoch), session)
            return await self._link.ask(lambda: tables.write(session, epoch, work), session)
        except (Exception, asyncio.CancelledError):
            self._link.give_up(session)
            raise
