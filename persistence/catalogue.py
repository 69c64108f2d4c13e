"""Published releases, and the environment's systems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

import asyncpg
import orjson

from domain.errors import NotFound, NotPossibleNow
from persistence.servers import certain


async def publish_release(
    pool: asyncpg.Pool[Any], tenant: str, release_id: str, body: Mapping[str, Any], now: datetime
) -> bool:
    """Store a checked release as the newest; False when this very release is published already.

    Raises:
        NotPossibleNow: the version is published with other contents; a release never changes.
    """
    text = orjson.dumps(body).decode()
    async with certain(pool) as connection:
        done = await connection.fetchval(
            "insert into release (tenant, release_id, body, published_at) values ($1, $2, $3::jsonb, $4) "
            "on conflict do nothing returning true",
            tenant,
            release_id,
            text,
            now,
        )
    if done:
        return True
    is_same = await pool.fetchval(
        "select body = $3::jsonb from release where tenant = $1 and release_id = $2", tenant, release_id, text
    )
    if not is_same:
        raise NotPossibleNow(
            f"release {release_id} is published with other contents", mend="give the changed release a new version"
        )
    return False


async def list_releases(pool: asyncpg.Pool[Any], tenant: str) -> list[dict[str, Any]]:
    """Published releases, newest first."""
    rows = await pool.fetch(
        "select release_id, published_at from release where tenant = $1 order by sequence desc", tenant
    )
    return [{"id": row["release_id"], "publishedAt": row["published_at"].isoformat()} for row in rows]


async def read_release(pool: asyncpg.Pool[Any], tenant: str, release_id: str) -> dict[str, Any]:
    """The body of a release.

    Raises:
        NotFound: it is not published.
    """
    body = await pool.fetchval(
        "select body from release where tenant = $1 and release_id = $2", tenant, release_id
    )
    if body is None:
        raise NotFound(f"there is no release {release_id!r}")
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
