"""Published releases and the line they stand in, and the environment's systems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Final

import asyncpg
import orjson

from domain.errors import NotFound, NotPossibleNow
from domain.lineup import Standing, check_moment, check_retire, check_unretire, standing_of, takes_up_again
from persistence.servers import certain

_MOMENT: Final = (
    "coalesce($4, greatest($3, (select max(r.effective_at) from release as r "
    "where r.tenant = $1 and (not r.is_scheduled or r.effective_at <= $3))))"
)
"""From when a release counts that is given a moment ($4) or none, at $3: not before any that counts already, so that
the last one to be published is current whatever the clocks of two gateways say.
"""


async def publish_release(
    pool: asyncpg.Pool[Any],
    tenant: str,
    release_id: str,
    body: Mapping[str, Any],
    now: datetime,
    *,
    effective_from: datetime | None = None,
    actor: str = "system",
) -> bool:
    """Store a checked release, and let new orders take it from now or from `effective_from` on.

    False when this very release is published already. One that was withdrawn before is taken up again.

    Raises:
        NotPossibleNow: the version is published with other contents (a release never changes), is retired, or is to
            begin at another moment.
        BadDocument: `effective_from` is past.
    """
    text = orjson.dumps(body).decode()
    async with certain(pool) as connection, connection.transaction():
        found = await _standings(connection, tenant, release_id, is_changing=True)
        if found:
            is_same = await connection.fetchval(
                "select body = $3::jsonb from release where tenant = $1 and release_id = $2", tenant, release_id, text
            )
            if not is_same:
                raise NotPossibleNow(
                    f"release {release_id} is published with other contents",
                    mend="give the changed release a new version",
                )
            if not takes_up_again(found[0], effective_from, now):
                return False
            check_moment(effective_from, now)
            await connection.execute(
                f"update release set sequence = default, published_at = $3, effective_at = {_MOMENT}, "
                "is_scheduled = $4::timestamptz is not null, retired_at = null where tenant = $1 and release_id = $2",
                tenant,
                release_id,
                now,
                effective_from,
            )
        else:
            check_moment(effective_from, now)
            await connection.execute(
                "insert into release (tenant, release_id, body, published_at, effective_at, is_scheduled) "
                f"values ($1, $2, $5::jsonb, $3, {_MOMENT}, $4::timestamptz is not null)",
                tenant,
                release_id,
                now,
                effective_from,
                text,
            )
        kind = "published" if effective_from is None else "scheduled"
        moment = {} if effective_from is None else {"effectiveFrom": effective_from.isoformat()}
        await _note_release(connection, tenant, release_id, kind, actor, now, moment)
    return True


async def retire_release(
    pool: asyncpg.Pool[Any],
    tenant: str,
    release_id: str,
    *,
    replacement: str | None,
    reason: str,
    actor: str,
    now: datetime,
) -> bool:
    """Take a release out of the line; orders on it go on. False: it is retired already.

    `replacement` is a published release that new orders take instead, where it is the current one.

    Raises:
        NotFound, NotPossibleNow: see `check_retire`.
    """
    async with certain(pool) as connection, connection.transaction():
        standings = await _standings(connection, tenant, is_changing=True)
        if not check_retire(standings, release_id, replacement, now):
            return False
        is_withdrawn = not standing_of(standings, release_id).has_begun(now)
        await connection.execute(
            "update release set retired_at = $3 where tenant = $1 and release_id = $2", tenant, release_id, now
        )
        why: dict[str, Any] = {"reason": reason}
        if replacement is not None:
            why["replacement"] = replacement
            await connection.execute(
                f"update release set sequence = default, effective_at = {_MOMENT}, is_scheduled = false "
                "where tenant = $1 and release_id = $2",
                tenant,
                replacement,
                now,
                None,
            )
            beside = {"reason": reason, "replaces": release_id}
            await _note_release(connection, tenant, replacement, "madeCurrent", actor, now, beside)
        kind = "withdrawn" if is_withdrawn else "retired"
        await _note_release(connection, tenant, release_id, kind, actor, now, why)
    return True


async def unretire_release(
    pool: asyncpg.Pool[Any], tenant: str, release_id: str, *, reason: str, actor: str, now: datetime
) -> bool:
    """Take a release back into the line, which changes nothing for new orders. False: it is not retired.

    Raises:
        NotFound, NotPossibleNow: see `check_unretire`.
    """
    async with certain(pool) as connection, connection.transaction():
        if not check_unretire(await _standings(connection, tenant, is_changing=True), release_id, now):
            return False
        await connection.execute(
            "update release set retired_at = null where tenant = $1 and release_id = $2", tenant, release_id
        )
        await _note_release(connection, tenant, release_id, "unretired", actor, now, {"reason": reason})
    return True


async def list_standings(pool: asyncpg.Pool[Any], tenant: str) -> list[Standing]:
    """All releases of a tenant in their order: by when they begin, then as they were published."""
    return await _standings(pool, tenant)


async def _standings(
    connection: Any, tenant: str, release_id: str | None = None, *, is_changing: bool = False
) -> list[Standing]:
    """`is_changing`: nobody else changes the line until the transaction ends."""
    if is_changing:
        # Of the table, and short: the line is as wide as what is about to be published, which has no row to lock yet.
        await connection.execute("lock table release in share row exclusive mode")
    rows = await connection.fetch(
        "select release_id, published_at, effective_at, is_scheduled, retired_at from release "
        "where tenant = $1 and ($2::text is null or release_id = $2) order by effective_at, sequence",
        tenant,
        release_id,
    )
    return [Standing(**row) for row in rows]


async def count_open_orders(
    pool: asyncpg.Pool[Any], tenant: str, release_id: str | None = None
) -> dict[str, int]:
    """How many orders that have not ended run on each release that has any; only of one, if it is named.

    From `product_order_open_account_idx` alone, which holds open orders and nothing else: however many have ended
    costs nothing.
    """
    rows = await pool.fetch(
        "select release_id, count(*) as n from product_order where tenant = $1 and ended_at is null "
        "and ($2::text is null or release_id = $2) group by release_id",
        tenant,
        release_id,
    )
    return {row["release_id"]: row["n"] for row in rows if row["release_id"] is not None}


async def list_release_changes(
    pool: asyncpg.Pool[Any], tenant: str, release_id: str, limit: int
) -> list[dict[str, Any]]:
    """What was done to a release: at, actor, kind, body; newest first."""
    rows = await pool.fetch(
        "select at, actor, kind, body from release_change where tenant = $1 and release_id = $2 "
        "order by change_id desc limit $3",
        tenant,
        release_id,
        limit,
    )
    return [{**row, "body": orjson.loads(row["body"])} for row in rows]


async def _note_release(
    connection: Any, tenant: str, release_id: str, kind: str, actor: str, now: datetime, body: Mapping[str, Any]
) -> None:
    """Keep who did what to a release, in the transaction that does it."""
    await connection.execute(
        "insert into release_change (tenant, release_id, at, actor, kind, body) values ($1, $2, $3, $4, $5, $6::jsonb)",
        tenant,
        release_id,
        now,
        actor,
        kind,
        orjson.dumps(body).decode(),
    )


async def read_release(pool: asyncpg.Pool[Any], tenant: str, release_id: str) -> dict[str, Any]:
    """The body of a release.

    Raises:
        NotFound: it is not published.
    """
    body = await pool.fetchval(
        "select body from release where tenant = $1 and release_id = $2", tenant, release_id
    )
    if body is None:
        raise NotFound(f"there is no release {release_id!r}", mend="GET /v1/releases lists them")
    found: dict[str, Any] = orjson.loads(body)
    return found


@dataclass(frozen=True, slots=True)
class Limits:
    """How many calls a system takes; None: no limit, no circuit breaker.

    `rate_per_s` calls may begin in a second, `breaker_failures` in a row open its circuit breaker for
    `breaker_pause_s`, and `drain_per_s` held items go on in a second when it takes calls again.
    """

    concurrency: int = 50
    rate_per_s: float | None = None
    breaker_failures: int | None = 20
    breaker_pause_s: float = 10.0
    drain_per_s: float = 200.0

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Limits:
        """From a row of `list_systems`; what it leaves out is as by default."""
        return cls(**{field.name: row[field.name] for field in fields(cls) if field.name in row})


async def put_system(
    pool: asyncpg.Pool[Any],
    tenant: str,
    code: str,
    *,
    adapter: str,
    config: Mapping[str, Any],
    limits: Limits,
    now: datetime,
    actor: str,
) -> None:
    """Say how a system of this environment is reached. Its configuration may hold credentials: only its names are kept
    with the change.
    """
    values = [getattr(limits, field.name) for field in fields(limits)]
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "insert into system (tenant, code, adapter, config, updated_at, concurrency, rate_per_s, breaker_failures, "
            "breaker_pause_s, drain_per_s) values ($1, $2, $3, $4::jsonb, $5, $6, $7, $8, $9, $10) "
            "on conflict (tenant, code) do update set adapter = excluded.adapter, config = excluded.config, "
            "updated_at = excluded.updated_at, concurrency = excluded.concurrency, rate_per_s = excluded.rate_per_s, "
            "breaker_failures = excluded.breaker_failures, breaker_pause_s = excluded.breaker_pause_s, "
            "drain_per_s = excluded.drain_per_s",
            tenant,
            code,
            adapter,
            orjson.dumps(config).decode(),
            now,
            *values,
        )
        body = {"adapter": adapter, "config": sorted(config)} | asdict(limits)
        await note_change(connection, tenant, code, "set", actor, now, body)


async def note_change(
    connection: Any, tenant: str, code: str, kind: str, actor: str, now: datetime, body: Mapping[str, Any]
) -> None:
    """Keep who changed a system, in the transaction that changes it."""
    await connection.execute(
        "insert into system_change (tenant, code, at, actor, kind, body) values ($1, $2, $3, $4, $5, $6::jsonb)",
        tenant,
        code,
        now,
        actor,
        kind,
        orjson.dumps(body).decode(),
    )


async def list_systems(pool: asyncpg.Pool[Any], tenant: str | None) -> list[dict[str, Any]]:
    """The environment's systems, of one tenant or of all, each with its `Limits`."""
    rows = await pool.fetch(
        "select tenant, code, adapter, config, updated_at, concurrency, rate_per_s, breaker_failures, breaker_pause_s, "
        "drain_per_s from system where $1::text is null or tenant = $1 order by tenant, code",
        tenant,
    )
    return [
        {
            "tenant": row["tenant"],
            "code": row["code"],
            "adapter": row["adapter"],
            "config": orjson.loads(row["config"]),
            "updatedAt": row["updated_at"].isoformat(),
        }
        | asdict(Limits.from_row(row))
        for row in rows
    ]


async def callback_secret(pool: asyncpg.Pool[Any]) -> bytes:
    """The secret that signs callback tokens."""
    return bytes.fromhex(await pool.fetchval("select value #>> '{}' from setting where key = 'callbackSecret'"))
