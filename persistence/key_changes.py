"""Who has given a tenant another key to encrypt with, and why; the keys themselves stand in the key store."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import asyncpg


async def note_rotation(
    pool: asyncpg.Pool[Any], tenant: str, key_id: str, actor: str, reason: str, now: datetime
) -> None:
    """Keep a rotation."""
    await pool.execute(
        "insert into key_change (tenant, key_id, at, actor, reason) values ($1, $2, $3, $4, $5)",
        tenant,
        key_id,
        now,
        actor,
        reason,
    )


async def list_rotations(pool: asyncpg.Pool[Any], tenant: str, limit: int = 100) -> list[dict[str, Any]]:
    """The rotations of a tenant, newest first: key, at, actor, reason."""
    rows = await pool.fetch(
        "select key_id, at, actor, reason from key_change where tenant = $1 order by change_id desc limit $2",
        tenant,
        limit,
    )
    return [dict(row) for row in rows]
