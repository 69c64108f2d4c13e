"""Who has asked to see an encrypted value, and why; the refused ones as well."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg


@dataclass(frozen=True, slots=True)
class Access:
    """One try. `outcome`: `shown` or `refused`, as it was decided before anybody looked for the value."""

    at: datetime
    actor: str
    reason: str
    asset_id: str
    name: str
    outcome: str


async def note_access(pool: asyncpg.Pool[Any], tenant: str, access: Access) -> None:
    """Keep a try."""
    await pool.execute(
        "insert into value_access (tenant, at, actor, reason, asset_id, name, outcome) "
        "values ($1, $2, $3, $4, $5, $6, $7)",
        tenant,
        access.at,
        access.actor,
        access.reason,
        access.asset_id,
        access.name,
        access.outcome,
    )


async def list_access(
    pool: asyncpg.Pool[Any], tenant: str, *, asset_id: str | None = None, limit: int = 100
) -> list[Access]:
    """The tries of a tenant, newest first."""
    rows = await pool.fetch(
        "select at, actor, reason, asset_id, name, outcome from value_access "
        "where tenant = $1 and ($2::text is null or asset_id = $2) order by access_id desc limit $3",
        tenant,
        asset_id,
        limit,
    )
    return [Access(**dict(row)) for row in rows]
