"""Listeners of the channel's events (the TMF622 hub), and the outbox of what is on its way to them.

An event is written for a listener in the transaction that moves the notifier's cursor, and deleted when the listener
has taken it. Of the events of one order that wait for one listener, only the first has a `next_at`: so what comes after
it cannot be sent before, and looking for what is due costs the same however much waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg
import orjson

from domain.deliveries import Health, health_after, next_attempt_at
from domain.errors import NotFound, NotPossibleNow
from persistence.consumers import Connection, Consumer, ensure_consumer, hold, move_cursors
from persistence.heads import HEAD

NOTIFIER: Final = "notifier"
"""The consumer's name."""
LISTENERS_MAX: Final = 200
_HEALTH: Final = "state, failures, pauses, paused_until, failing_since, suspended_at, error, error_at"


@dataclass(frozen=True, slots=True)
class Listener:
    """What the notifier has to know of one."""

    listener_id: str
    callback: str
    query: str
    starts_after: Mapping[int, int]
    backlog: int
    health: Health


class Delivery(NamedTuple):
    """One event for one listener. `offset` and `number` order the events of one order."""

    listener_id: str
    order_id: str
    offset: int
    number: int
    event_id: str
    body: bytes
    attempts: int = 0


class Outcome(NamedTuple):
    """What became of one attempt; `error` is empty if the listener took the event."""

    delivery: Delivery
    error: str = ""
    is_complaint: bool = False


# For the gateway.


async def register(
    pool: asyncpg.Pool[Any], tenant: str, listener_id: str, callback: str, query: str, now: datetime
) -> dict[str, Any]:
    """A listener of all that is committed from now on; the one that is there already, if it asks for the same.

    Raises:
        NotPossibleNow: there are too many.
    """
    async with pool.acquire() as connection, connection.transaction():
        await ensure_consumer(connection, tenant, NOTIFIER)
        is_new = await connection.fetchval(
            "insert into hub_listener (listener_id, tenant, callback, query, created_at, starts_after) "
            "select $1, $2, $3, $4, $5, coalesce(jsonb_object_agg(s.shard, h.head), '{}') from shard as s "
            f"cross join lateral (select {HEAD} as head) "
            "as h on conflict (tenant, callback, query) do nothing returning true",
            listener_id,
            tenant,
            callback,
            query,
            now,
        )
        count = await connection.fetchval("select count(*) from hub_listener where tenant = $1", tenant)
        if is_new and count > LISTENERS_MAX:
            raise NotPossibleNow(
                f"there are {LISTENERS_MAX} listeners already", mend="delete those that nobody needs any more"
            )
        found = await connection.fetchval(
            "select listener_id from hub_listener where tenant = $1 and callback = $2 and query = $3",
            tenant,
            callback,
            query,
        )
    return await read_listener(pool, tenant, found)


async def unregister(pool: asyncpg.Pool[Any], tenant: str, listener_id: str) -> None:
    """Forget a listener and what waits for it.

    Raises:
        NotFound: there is none of this id.
    """
    found = await pool.fetchval(
        "delete from hub_listener where tenant = $1 and listener_id = $2 returning true", tenant, listener_id
    )
    if not found:
        raise NotFound(f"there is no listener {listener_id!r}")


async def list_listeners(pool: asyncpg.Pool[Any], tenant: str, listener_id: str | None = None) -> list[dict[str, Any]]:
    """The tenant's listeners with how they do, oldest first; at most as many as there may be."""
    rows = await pool.fetch(
        "select l.listener_id, l.callback, l.query, l.created_at, l.backlog, l.delivered, l.delivered_at, l.missed, "
        f"l.missed_since, {_HEALTH}, w.oldest_at, w.orders, w.complaining from hub_listener as l "
        "cross join lateral (select min(d.created_at) as oldest_at, count(*) as orders, "
        "count(*) filter (where d.attempts > 0) as complaining from hub_delivery as d "
        "where d.listener_id = l.listener_id and d.next_at is not null) as w "
        "where l.tenant = $1 and ($2::text is null or l.listener_id = $2) order by l.created_at, l.listener_id",
        tenant,
        listener_id,
    )
    return [
        {
            "id": row["listener_id"],
            "callback": row["callback"],
            "query": row["query"],
            "createdAt": row["created_at"].isoformat(),
            "state": row["state"],
            "backlog": row["backlog"],
            "ordersWaiting": row["orders"],
            "ordersFailing": row["complaining"],
            "oldestAt": _shown(row["oldest_at"]),
            "delivered": row["delivered"],
            "deliveredAt": _shown(row["delivered_at"]),
            "failures": row["failures"],
            "failingSince": _shown(row["failing_since"]),
            "pausedUntil": _shown(row["paused_until"]),
            "suspendedAt": _shown(row["suspended_at"]),
            "lastError": row["error"],
            "lastErrorAt": _shown(row["error_at"]),
            "missed": row["missed"],
            "missedSince": _shown(row["missed_since"]),
        }
        for row in rows
    ]


async def read_listener(pool: asyncpg.Pool[Any], tenant: str, listener_id: str) -> dict[str, Any]:
    """One listener with how it does.

    Raises:
        NotFound: there is none of this id.
    """
    found = await list_listeners(pool, tenant, listener_id)
    if not found:
        raise NotFound(f"there is no listener {listener_id!r}")
    return found[0]


async def resume(pool: asyncpg.Pool[Any], tenant: str, listener_id: str, now: datetime) -> dict[str, Any]:
    """Send to a listener again, at once: to one that was suspended, or that is left alone for a while.

    What it missed because its backlog was full does not come back, and stays counted.

    Raises:
        NotFound: there is none of this id.
    """
    async with pool.acquire() as connection, connection.transaction():
        found = await connection.fetchval(
            "update hub_listener set state = 'active', failures = 0, pauses = 0, paused_until = null, "
            "failing_since = null, suspended_at = null where tenant = $1 and listener_id = $2 returning true",
            tenant,
            listener_id,
        )
        if found:
            await _hurry(connection, listener_id, now)
    return await read_listener(pool, tenant, listener_id)


# For the notifier.


class Outbox(Consumer):
    """How far a tenant's notifier has read, and what waits for listeners, over one pool."""

    def __init__(self, pool: asyncpg.Pool[Any], tenant: str) -> None:
        super().__init__(pool, tenant, NOTIFIER)

    async def listeners(self) -> list[Listener]:
        """All listeners."""
        rows = await self._pool.fetch(
            f"select listener_id, callback, query, starts_after, backlog, {_HEALTH} from hub_listener "
            "where tenant = $1 order by listener_id",
            self._tenant,
        )
        return [
            Listener(
                row["listener_id"],
                row["callback"],
                row["query"],
                {int(shard): offset for shard, offset in orjson.loads(row["starts_after"]).items()},
                row["backlog"],
                _health(row),
            )
            for row in rows
        ]

    async def record(
        self,
        epoch: int,
        offsets: Mapping[int, int],
        deliveries: Sequence[Delivery],
        now: datetime,
        backlog_max: int,
    ) -> dict[str, int]:
        """Move the notifier's cursor and write what it causes, in one transaction.

        Args:
            epoch: of the notifier.
            offsets: how far it has read.
            deliveries: events for listeners, those of one order in order. Whoever was deleted meanwhile gets none.
            now: when they are due.
            backlog_max: what a listener lets wait beyond this is counted as missed and not kept.
        Returns:
            How many events each listener missed, where there were any.
        Raises:
            ConsumerFenced: another notifier has started; nothing was written.
        """
        missed: dict[str, int] = {}
        async with self._pool.acquire() as connection, connection.transaction():
            await hold(connection, self._tenant, NOTIFIER, epoch)
            await move_cursors(connection, self._tenant, NOTIFIER, offsets)
            if not deliveries:
                return missed
            rows = await connection.fetch(
                "select listener_id, backlog from hub_listener where listener_id = any($1) order by listener_id "
                "for no key update",
                list({each.listener_id for each in deliveries}),
            )
            room = {row["listener_id"]: max(0, backlog_max - row["backlog"]) for row in rows}
            kept: list[Delivery] = []
            for each in deliveries:
                if room.get(each.listener_id, 0) > 0:
                    room[each.listener_id] -= 1
                    kept.append(each)
                elif each.listener_id in room:
                    missed[each.listener_id] = missed.get(each.listener_id, 0) + 1
            if kept:
                await _insert(connection, self._tenant, kept, now)
            if missed:
                await connection.execute(
                    "update hub_listener as l set missed = l.missed + m.n, missed_since = coalesce(l.missed_since, $3) "
                    "from unnest($1::text[], $2::int[]) as m(listener_id, n) where l.listener_id = m.listener_id",
                    list(missed),
                    list(missed.values()),
                    now,
                )
        return missed

    async def due(self, listener_id: str, now: datetime, busy: Sequence[str], limit: int) -> list[Delivery]:
        """What is to be sent to a listener now, at most one event of an order; none of the orders in `busy`."""
        rows = await self._pool.fetch(
            'select listener_id, order_id, "offset", number, event_id, body, attempts from hub_delivery '
            "where listener_id = $1 and next_at <= $2 and order_id <> all($3) order by next_at limit $4",
            listener_id,
            now,
            list(busy),
            limit,
        )
        return [Delivery(*row) for row in rows]

    async def settle(self, epoch: int, outcomes: Sequence[Outcome], now: datetime, failing_s: float) -> list[str]:
        """Note what became of attempts: what was taken goes, what was not gets its next time.

        Args:
            epoch: of the notifier.
            outcomes: at most one of an order and listener.
            now: the time.
            failing_s: after so many seconds of nothing but failures a listener is suspended.
        Returns:
            The listeners that were suspended.
        Raises:
            ConsumerFenced: another notifier has started; nothing was written.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await hold(connection, self._tenant, NOTIFIER, epoch)
            rows = await connection.fetch(
                f"select listener_id, {_HEALTH} from hub_listener where listener_id = any($1) order by listener_id "
                "for no key update",
                list({each.delivery.listener_id for each in outcomes}),
            )
            suspended = []
            for row in rows:
                name = row["listener_id"]
                mine = [each for each in outcomes if each.delivery.listener_id == name]
                before = _health(row)
                after = health_after(
                    before,
                    taken=sum(not each.error for each in mine),
                    complaints=[each.error for each in mine if each.error and each.is_complaint],
                    failures=[each.error for each in mine if each.error and not each.is_complaint],
                    now=now,
                    failing_s=failing_s,
                )
                if after.state != before.state:
                    suspended.append(name)
                await _settle_one(connection, name, mine, after, now)
                if before.pauses and not after.pauses:
                    await _hurry(connection, name, now)
        return suspended


async def _insert(connection: Connection, tenant: str, kept: Sequence[Delivery], now: datetime) -> None:
    await connection.execute(
        'insert into hub_delivery (tenant, created_at, listener_id, order_id, "offset", number, event_id, body) '
        "select $1, $2, d.* from unnest($3::text[], $4::text[], $5::bigint[], $6::int[], $7::text[], $8::bytea[]) as d",
        tenant,
        now,
        *(list(column) for column in list(zip(*kept, strict=True))[:6]),
    )
    counts: dict[str, int] = {}
    for each in kept:
        counts[each.listener_id] = counts.get(each.listener_id, 0) + 1
    await _count(connection, counts)
    await _promote(connection, kept, now)


async def _count(connection: Connection, changes: Mapping[str, int]) -> None:
    await connection.execute(
        "update hub_listener as l set backlog = l.backlog + c.n from unnest($1::text[], $2::int[]) "
        "as c(listener_id, n) where l.listener_id = c.listener_id",
        list(changes),
        list(changes.values()),
    )


async def _promote(connection: Connection, deliveries: Sequence[Delivery], now: datetime) -> None:
    """Make the first event that waits of each of these orders due, unless it has its time already."""
    pairs = list({(each.listener_id, each.order_id) for each in deliveries})
    await connection.execute(
        'update hub_delivery as d set next_at = $3 from (select p.listener_id, p.order_id, f."offset", f.number '
        "from unnest($1::text[], $2::text[]) as p(listener_id, order_id) cross join lateral ("
        'select w."offset", w.number, w.next_at from hub_delivery as w where w.listener_id = p.listener_id '
        'and w.order_id = p.order_id order by w."offset", w.number limit 1) as f where f.next_at is null) as n '
        "where d.listener_id = n.listener_id and d.order_id = n.order_id "
        'and d."offset" = n."offset" and d.number = n.number',
        [listener_id for listener_id, _ in pairs],
        [order_id for _, order_id in pairs],
        now,
    )


async def _settle_one(
    connection: Connection, listener_id: str, outcomes: Sequence[Outcome], health: Health, now: datetime
) -> None:
    taken = [each.delivery for each in outcomes if not each.error]
    gone = 0
    if taken:
        gone = await connection.fetchval(
            "with gone as (delete from hub_delivery as d using unnest($2::text[], $3::bigint[], $4::int[]) as t("
            'order_id, "offset", number) where d.listener_id = $1 and d.order_id = t.order_id '
            'and d."offset" = t."offset" and d.number = t.number returning 1) select count(*) from gone',
            listener_id,
            [each.order_id for each in taken],
            [each.offset for each in taken],
            [each.number for each in taken],
        )
        await _promote(connection, taken, now)
    failed = [each.delivery for each in outcomes if each.error]
    if failed:
        await connection.execute(
            "update hub_delivery as d set attempts = f.attempts, next_at = f.next_at from unnest($2::text[], "
            '$3::bigint[], $4::int[], $5::int[], $6::timestamptz[]) as f(order_id, "offset", number, attempts, '
            "next_at) where d.listener_id = $1 and d.order_id = f.order_id "
            'and d."offset" = f."offset" and d.number = f.number',
            listener_id,
            [each.order_id for each in failed],
            [each.offset for each in failed],
            [each.number for each in failed],
            [each.attempts + 1 for each in failed],
            [next_attempt_at(each.attempts + 1, now) for each in failed],
        )
    await connection.execute(
        "update hub_listener set backlog = backlog - $2, delivered = delivered + $2, delivered_at = case when $2 > 0 "
        "then $3 else delivered_at end, state = $4, failures = $5, pauses = $6, paused_until = $7, failing_since = $8, "
        "suspended_at = $9, error = $10, error_at = $11 where listener_id = $1",
        listener_id,
        gone,
        now,
        health.state,
        health.failures,
        health.pauses,
        health.paused_until,
        health.failing_since,
        health.suspended_at,
        health.error,
        health.error_at,
    )


async def _hurry(connection: Connection, listener_id: str, now: datetime) -> None:
    """Send what waits for a later attempt now: the listener is well again."""
    await connection.execute(
        "update hub_delivery set next_at = $2 where listener_id = $1 and next_at > $2", listener_id, now
    )


def _health(row: Any) -> Health:
    return Health(*(row[name] for name in _HEALTH.split(", ")))


def _shown(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant is not None else None
