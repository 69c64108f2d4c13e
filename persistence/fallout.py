"""The error queue: items that have failed, for good or until they are tried again.

The plans' own ticks write the rows and take them away.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg


@dataclass(frozen=True, slots=True)
class FalloutFilter:
    """Which items; what is None does not matter. `failed_before` is excluded, `failed_after` counts.

    `state` is `failed` (for good), `retrying` (to be tried again) or `all`.
    """

    system: str | None = None
    error_code: str | None = None
    queue: str | None = None
    plan: str | None = None
    name: str | None = None
    account: str | None = None
    order_id: str | None = None
    failed_after: datetime | None = None
    failed_before: datetime | None = None
    state: str = "failed"

    def values(self) -> tuple[Any, ...]:
        """In the order of `_WHERE`."""
        return (
            self.system,
            self.error_code,
            self.queue,
            self.plan,
            self.name,
            self.account,
            self.order_id,
            self.failed_after,
            self.failed_before,
            self.state,
        )


class Place(NamedTuple):
    """Where a page ended."""

    failed_at: datetime
    order_id: str
    item: str


_WHERE = (
    "where tenant = $1 and ($2::text is null or system = $2) and ($3::text is null or error_code = $3) "
    "and ($4::text is null or queue = $4) and ($5::text is null or plan = $5) and ($6::text is null or name = $6) "
    "and ($7::text is null or account = $7) and ($8::text is null or order_id = $8) "
    "and ($9::timestamptz is null or failed_at >= $9) and ($10::timestamptz is null or failed_at < $10) "
    "and ($11::text = 'all' or ($11 = 'retrying') = (retry_at is not null)) "
)


async def list_items(
    pool: asyncpg.Pool[Any], tenant: str, wanted: FalloutFilter, *, after: Place | None, limit: int
) -> list[dict[str, Any]]:
    """Items, longest failed first, after a place."""
    rows = await pool.fetch(
        "select order_id, item, name, plan, system, queue, error_code, error, attempt, failed_at, account, priority, "
        f"retry_at from fallout_item {_WHERE} "
        "and ($12::timestamptz is null or (failed_at, order_id, item) > ($12, $13, $14)) "
        "order by failed_at, order_id, item limit $15",
        tenant,
        *wanted.values(),
        *(after or (None, None, None)),
        limit,
    )
    return [dict(row) for row in rows]


async def groups(pool: asyncpg.Pool[Any], tenant: str, wanted: FalloutFilter) -> list[dict[str, Any]]:
    """Items by system and error code, the largest group first: count (for good), those tried again, first and last
    failure, the newest message.
    """
    rows = await pool.fetch(
        "select system, error_code, count(*) filter (where retry_at is null) as count, count(retry_at) as retrying, "
        "min(failed_at) as oldest, max(failed_at) as newest, "
        "(array_agg(error order by failed_at desc))[1] as sample "
        f"from fallout_item {_WHERE} group by system, error_code order by count(*) desc, system, error_code limit 1000",
        tenant,
        *wanted.values(),
    )
    return [dict(row) for row in rows]


async def select_items(
    connection: asyncpg.pool.PoolConnectionProxy[Any], tenant: str, wanted: FalloutFilter, limit: int
) -> list[tuple[str, str]]:
    """(order, item) of everything that fits, longest failed first, at most `limit`."""
    rows = await connection.fetch(
        f"select order_id, item from fallout_item {_WHERE} order by failed_at, order_id, item limit $12",
        tenant,
        *wanted.values(),
        limit,
    )
    return [(row["order_id"], row["item"]) for row in rows]
