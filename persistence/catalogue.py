"""Published releases, and the environment's systems."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import asyncpg
import orjson

from domain.errors import NotFound, NotPossibleNow


async def publish_release(
    pool: asyncpg.Pool[Any], tenant: str, release_id: str, body: Mapping[str, Any], now: datetime
) -> bool:
    """Store a checked release as the newest; False when this very release is published already.

    Raises:
        NotPossibleNow: the version is published with other contents; a release never changes.
    """
    text = orjson.dumps(body).decode()
    done = await pool.fetchval(
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


async def put_system(
    pool: asyncpg.Pool[Any],
    tenant: str,
    code: str,
    *,
    adapter: str,
    config: Mapping[str, Any],
    concurrency: int,
    now: datetime,
) -> None:
    """Say how a system of this environment is reached."""
    await pool.execute(
        "insert into system (tenant, code, adapter, config, concurrency, updated_at) "
        "values ($1, $2, $3, $4::jsonb, $5, $6) on conflict (tenant, code) do update set adapter = excluded.adapter, "
        "config = excluded.config, concurrency = excluded.concurrency, updated_at = excluded.updated_at",
        tenant,
        code,
        adapter,
        orjson.dumps(config).decode(),
        concurrency,
        now,
    )


async def list_systems(pool: asyncpg.Pool[Any], tenant: str | None) -> list[dict[str, Any]]:
    """The environment's systems, of one tenant or of all."""
    rows = await pool.fetch(
        "select tenant, code, adapter, config, concurrency, updated_at from system "
        "where $1::text is null or tenant = $1 order by tenant, code",
        tenant,
    )
    return [
        {
            "tenant": row["tenant"],
            "code": row["code"],
            "adapter": row["adapter"],
            "config": orjson.loads(row["config"]),
            "concurrency": row["concurrency"],
            "updatedAt": row["updated_at"].isoformat(),
        }
        for row in rows
    ]


async def callback_secret(pool: asyncpg.Pool[Any]) -> bytes:
    """The secret that signs callback tokens."""
    return bytes.fromhex(await pool.fetchval("select value #>> '{}' from setting where key = 'callbackSecret'"))
