"""What holds systems, and the items that wait for them.

A hold is a row of its own (tenant, system, cause), written by an administrator, by the adapters (circuit breakers) or
by a start that is paused. `held_item` is a read model, written by the ticks of the plans; here it is only read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg
import orjson

from domain.holds import EVERYTHING, HeldSystems, Hold, HoldCause
from persistence.catalogue import Limits, list_systems, note_change
from persistence.servers import certain, open_pool

PAUSER = "orderplan up --paused"


class HoldRow(NamedTuple):
    """One hold as it is stored; `probe_at` is when an open circuit breaker lets a call through to try."""

    tenant: str
    hold: Hold
    actor: str
    since: datetime
    probe_at: datetime | None


class HeldItem(NamedTuple):
    """An item that waits for its system."""

    order_id: str
    item: str


class Holds:
    """The holds of all tenants, over one pool."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def list_holds(self) -> list[HoldRow]:
        """See the function of this name."""
        return await list_holds(self._pool, None)

    async def note_breaker(
        self, tenant: str, code: str, *, is_held: bool, reason: str, probe_at: datetime, now: datetime
    ) -> None:
        """Keep that a circuit breaker is open; `is_held` once a try has failed, so that plans hold their items."""
        async with self._pool.acquire() as connection, connection.transaction():
            known = await connection.fetchval(
                "select true from system_hold where tenant = $1 and code = $2 and cause = 'breaker'", tenant, code
            )
            hold = Hold(code, HoldCause.BREAKER, is_held, reason)
            await _put(connection, tenant, hold, "system", now, probe_at)
            if not known:
                await note_change(connection, tenant, code, "breakerOpened", "system", now, {"reason": reason})

    async def drop_breaker(self, tenant: str, code: str, now: datetime) -> None:
        """Keep that a circuit breaker is closed again."""
        async with self._pool.acquire() as connection, connection.transaction():
            done = await connection.fetchval(
                "delete from system_hold where tenant = $1 and code = $2 and cause = 'breaker' returning true",
                tenant,
                code,
            )
            if done:
                await note_change(connection, tenant, code, "breakerClosed", "system", now, {})


async def list_holds(pool: asyncpg.Pool[Any], tenant: str | None) -> list[HoldRow]:
    """The holds of one tenant, or of all."""
    rows = await pool.fetch(
        "select tenant, code, cause, is_held, reason, actor, since, probe_at from system_hold "
        "where $1::text is null or tenant = $1 order by tenant, code, cause",
        tenant,
    )
    return [
        HoldRow(
            row["tenant"],
            Hold(row["code"], HoldCause(row["cause"]), row["is_held"], row["reason"]),
            row["actor"],
            row["since"],
            row["probe_at"],
        )
        for row in rows
    ]


def held_by_tenant(rows: Iterable[HoldRow]) -> dict[str, HeldSystems]:
    """What the rows hold, by tenant."""
    holds: dict[str, list[Hold]] = {}
    for row in rows:
        holds.setdefault(row.tenant, []).append(row.hold)
    return {tenant: HeldSystems.of(found) for tenant, found in holds.items()}


async def hold(
    pool: asyncpg.Pool[Any],
    tenant: str,
    code: str,
    cause: HoldCause,
    *,
    reason: str,
    actor: str,
    now: datetime,
) -> None:
    """Hold a system (`EVERYTHING`: all of them) for a cause; one that is held for it already gets the new reason."""
    async with certain(pool) as connection, connection.transaction():
        if code == EVERYTHING:
            # Who was taken out of an earlier pause is in the new one.
            await connection.execute(
                "delete from system_hold where tenant = $1 and cause = $2 and not is_held", tenant, cause.value
            )
        await _put(connection, tenant, Hold(code, cause, reason=reason), actor, now, None)
        await note_change(connection, tenant, code, "held", actor, now, {"cause": cause.value, "reason": reason})


async def release(pool: asyncpg.Pool[Any], tenant: str, code: str, *, reason: str, actor: str, now: datetime) -> bool:
    """Let a system take calls again, whatever holds it; False when nothing did.

    Of a pause it is taken out alone; `EVERYTHING` ends the pause and every other hold.
    """
    async with certain(pool) as connection, connection.transaction():
        paused = await connection.fetchval(
            "select true from system_hold where tenant = $1 and code = $2 and cause = 'pause' for update",
            tenant,
            EVERYTHING,
        )
        done = await connection.fetchval(
            "with gone as (delete from system_hold where tenant = $1 and ($2 = '*' or code = $2) and is_held "
            "returning 1) select count(*) from gone",
            tenant,
            code,
        )
        if code == EVERYTHING:
            await connection.execute("delete from system_hold where tenant = $1", tenant)
        elif paused:
            out = await connection.fetchval(
                "select true from system_hold where tenant = $1 and code = $2 and cause = 'pause'", tenant, code
            )
            done += not out
            await _put(connection, tenant, Hold(code, HoldCause.PAUSE, False, reason), actor, now, None)
        if done:
            await note_change(connection, tenant, code, "released", actor, now, {"reason": reason})
    return bool(done)


async def pause_everything(dsn: str, tenant: str, now: datetime) -> None:
    """Hold every system of the tenant before anything is started."""
    async with await open_pool(dsn, size_max=1) as pool:
        reason = "started paused"
        await hold(pool, tenant, EVERYTHING, HoldCause.PAUSE, reason=reason, actor=PAUSER, now=now)


async def _put(
    connection: Any, tenant: str, hold: Hold, actor: str, now: datetime, probe_at: datetime | None
) -> None:
    await connection.execute(
        "insert into system_hold (tenant, code, cause, is_held, reason, actor, since, probe_at) "
        "values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (tenant, code, cause) do update "
        "set is_held = excluded.is_held, reason = excluded.reason, actor = excluded.actor, "
        "probe_at = excluded.probe_at",
        tenant,
        hold.system,
        hold.cause.value,
        hold.is_held,
        hold.reason,
        actor,
        now,
        probe_at,
    )


# Items that wait.

_HELD_WITHOUT: Final = (
    "select order_id, item from held_item where tenant = $1 and system = $2 and not exists ("
    "select 1 from unnest($3::text[], $4::text[]) as n(order_id, item) "
    "where n.order_id = held_item.order_id and n.item = held_item.item)"
)


class HeldItems:
    """What a resumer reads: held items of one tenant, what holds their systems, and at which rate they go on."""

    def __init__(self, pool: asyncpg.Pool[Any], tenant: str) -> None:
        self._pool = pool
        self._tenant = tenant

    async def holds(self) -> list[HoldRow]:
        """What holds systems."""
        return await list_holds(self._pool, self._tenant)

    async def limits(self) -> dict[str, Limits]:
        """The limits of each system that is set up."""
        return {row["code"]: Limits.from_row(row) for row in await list_systems(self._pool, self._tenant)}

    async def systems(self) -> list[str]:
        """Systems that items wait for; the cost grows with the systems and not with the items."""
        rows = await self._pool.fetch(
            "with recursive found as ("
            "(select system from held_item where tenant = $1 order by system limit 1) union all "
            "select (select h.system from held_item as h where h.tenant = $1 and h.system > f.system "
            "order by h.system limit 1) from found as f where f.system is not null) "
            "select system from found where system is not null",
            self._tenant,
        )
        return [row["system"] for row in rows]

    async def next_held(self, system: str, limit: int, without: Collection[HeldItem]) -> list[HeldItem]:
        """The items of a system whose turn is next: by priority, then those that could start first."""
        rows = await self._pool.fetch(
            f"{_HELD_WITHOUT} order by priority, ready_at, order_id, item limit $5",
            self._tenant,
            system,
            [each.order_id for each in without],
            [each.item for each in without],
            limit,
        )
        return [HeldItem(*row) for row in rows]

    async def next_try(self, system: str, without: Collection[HeldItem]) -> HeldItem | None:
        """The item that was put On Hold longest ago: tries go round, so that no item has to make all of them."""
        row = await self._pool.fetchrow(
            f"{_HELD_WITHOUT} order by held_at limit 1",
            self._tenant,
            system,
            [each.order_id for each in without],
            [each.item for each in without],
        )
        return HeldItem(*row) if row is not None else None


async def count_held(pool: asyncpg.Pool[Any], tenant: str, system: str, most: int) -> int:
    """How many items wait for a system; counting ends at `most`."""
    return int(
        await pool.fetchval(
            "select count(*) from (select 1 from held_item where tenant = $1 and system = $2 limit $3) as h",
            tenant,
            system,
            most,
        )
    )


async def list_changes(pool: asyncpg.Pool[Any], tenant: str, code: str, limit: int) -> list[Mapping[str, Any]]:
    """Who changed, held and released a system, newest first; what was done to all of them too."""
    rows = await pool.fetch(
        "select at, code, actor, kind, body from system_change where tenant = $1 and code = any($2) "
        "order by change_id desc limit $3",
        tenant,
        [code, EVERYTHING],
        limit,
    )
    return [dict(row) | {"body": orjson.loads(row["body"]) if row["body"] else {}} for row in rows]
