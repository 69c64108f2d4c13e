"""Who has given a tenant another key to encrypt with, and why; the keys themselves stand in the key store.

A rotation is noted before its key is made, and the note numbers the key: so no key is without its note, and two at once
give two keys. A note without a key is left by a rotation that came to nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import asyncpg

from domain.errors import Busy

_TRIES_MAX: Final = 20


async def begin_rotation(
    pool: asyncpg.Pool[Any], tenant: str, newest: str, actor: str, reason: str, now: datetime
) -> str:
    """Note a rotation; returns the number of its key.

    Args:
        pool: of the order database.
        tenant: whose keys.
        newest: the newest key that the key store has: it may know more than these notes, which came from a backup.
        actor: who rotates.
        reason: why.
        now: when.
    Raises:
        Busy: others rotate all the time.
    """
    for _ in range(_TRIES_MAX):
        key_id: str | None = await pool.fetchval(
            "insert into key_change (tenant, key_id, at, actor, reason) "
            "select $1, (greatest(max(key_id::integer), $2) + 1)::text, $3, $4, $5 from key_change where tenant = $1 "
            "on conflict (tenant, key_id) do nothing returning key_id",
            tenant,
            int(newest),
            now,
            actor,
            reason,
        )
        if key_id is not None:
            return key_id
    raise Busy("others rotate this tenant's keys just now", retryAfterS=1)


async def list_rotations(pool: asyncpg.Pool[Any], tenant: str, limit: int = 100) -> list[dict[str, Any]]:
    """The notes of a tenant, newest first: key, at, actor, reason."""
    rows = await pool.fetch(
        "select key_id, at, actor, reason from key_change where tenant = $1 order by key_id::integer desc limit $2",
        tenant,
        limit,
    )
    return [dict(row) for row in rows]
