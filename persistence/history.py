"""Whole orders for learning: which of them, a page at a time, by when they came."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import asyncpg


class OrderPlace(NamedTuple):
    """Where a page ended."""

    created_at: datetime
    order_id: str


async def orders_from(
    pool: asyncpg.Pool[Any], tenant: str, since: datetime, after: OrderPlace | None, limit: int
) -> list[OrderPlace]:
    """The next orders that came at `since` or later, the oldest first; also those that are open."""
    place = after or OrderPlace(since, "")
    rows = await pool.fetch(
        "select order_id, created_at from product_order where tenant = $1 and created_at >= $2 "
        "and (created_at, order_id) > ($3, $4) order by created_at, order_id limit $5",
        tenant,
        since,
        place.created_at,
        place.order_id,
        limit,
    )
    return [OrderPlace(row["created_at"], row["order_id"]) for row in rows]
