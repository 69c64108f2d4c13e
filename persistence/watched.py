"""What the watchdog reads: orders that should be on their way, by the partial indexes of `product_order`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg

RECENT_FACTS_MAX: Final = 2_000
"""Facts of a shard, the newest, of which it is asked whose they are."""


class Watched(NamedTuple):
    """A page of orders: `active` in the order of their ids, `overdue` the earliest timers first."""

    active: list[str]
    overdue: list[str]


async def read_watched(
    pool: asyncpg.Pool[Any], shards: Sequence[int], before: datetime, after: str, limit: int
) -> Watched:
    """Orders of the shards that call somebody, those after `after`; and those with a timer before `before`."""
    active = await pool.fetch(
        "select order_id from product_order where shard = any($1) and active and order_id > $2 "
        "order by order_id limit $3",
        shards,
        after,
        limit,
    )
    overdue = await pool.fetch(
        "select order_id from product_order where shard = any($1) and timer_at < $2 order by timer_at limit $3",
        shards,
        before,
        limit,
    )
    return Watched([row["order_id"] for row in active], [row["order_id"] for row in overdue])


async def read_recent(pool: asyncpg.Pool[Any], shards: Sequence[int]) -> list[str]:
    """Open orders that the newest facts of the shards are about."""
    rows = await pool.fetch(
        "select distinct o.order_id from unnest($1::int[]) as s(shard) "
        "cross join lateral (select f.order_id from fact as f where f.shard = s.shard "
        '                    order by f."offset" desc limit $2) as newest '
        "join product_order as o on o.order_id = newest.order_id where o.ended_at is null",
        shards,
        RECENT_FACTS_MAX,
    )
    return [row["order_id"] for row in rows]
