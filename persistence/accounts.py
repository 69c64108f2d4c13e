"""What one account has, and everything that happened to it in one line of time: orders, tasks, failures, products."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg

from domain.errors import NotFound


class Place(NamedTuple):
    """Where a page of the timeline begins: behind this entry."""

    at: datetime
    kind: str
    id: str


class _Kind(NamedTuple):
    """One kind of entry: its time and id, in SQL, by which an index gives an account's entries in order."""

    name: str
    at: str
    id: str
    told: str
    """Order, item, name, state."""
    rows: str


_KINDS: Final = (
    _Kind(
        "order.accepted",
        "created_at",
        "order_id",
        "order_id, null::text, external_id, 'acknowledged'",
        "product_order where tenant = $1 and account = $2",
    ),
    _Kind(
        "order.ended",
        "ended_at",
        "order_id",
        "order_id, null::text, external_id, state",
        "product_order where tenant = $1 and account = $2 and ended_at is not null",
    ),
    _Kind(
        "task.opened",
        "opened_at",
        "task_id",
        "order_id, item, name, 'Ready'",
        "manual_task where tenant = $1 and body ->> 'account' = $2",
    ),
    _Kind(
        "task.closed",
        "closed_at",
        "task_id",
        "order_id, item, name, 'closed'",
        "manual_task where tenant = $1 and body ->> 'account' = $2 and closed_at is not null",
    ),
    _Kind(
        "item.failed",
        "failed_at",
        "order_id || '/' || item",
        "order_id, item, name, error_code",
        "fallout_item where tenant = $1 and account = $2",
    ),
    _Kind(
        "product.changed",
        "updated_at",
        "asset_id",
        "body ->> 'orderId', null::text, product, status",
        "asset where tenant = $1 and account = $2",
    ),
)
"""What stands in the timeline."""


def _statement() -> str:
    """Each kind reads a page of its index at most, so an account with very many entries costs a few pages."""
    parts = [
        # The first comparison is what an index understands.
        f"(select {kind.at}, {kind.id}, {kind.told}, '{kind.name}' from {kind.rows} "
        f"and {kind.at} <= coalesce($3::timestamptz, 'infinity') "
        f"and ({kind.at}, '{kind.name}', {kind.id}) < "
        f"(coalesce($3, 'infinity'), coalesce($4::text, ''), coalesce($5::text, '')) "
        f"order by {kind.at} desc, {kind.id} desc limit $6)"
        for kind in _KINDS
    ]
    return (
        f"select * from ({' union all '.join(parts)}) as e (at, id, order_id, item, name, state, kind) "
        "order by at desc, kind desc, id desc limit $6"
    )


_TIMELINE: Final = _statement()


async def timeline(
    pool: asyncpg.Pool[Any], tenant: str, account: str, *, after: Place | None = None, limit: int = 50
) -> list[dict[str, Any]]:
    """A page of what happened to an account, newest first.

    Of what was told twice the newest counts: a task that was handed on, a failure that came again.
    """
    rows = await pool.fetch(_TIMELINE, tenant, account, *(after or (None, None, None)), limit)
    return [dict(row) for row in rows]


async def require_account(pool: asyncpg.Pool[Any], tenant: str, account: str) -> None:
    """Pass if an order or a product names the account.

    Raises:
        NotFound: none does.
    """
    is_known = await pool.fetchval(
        "select exists (select from product_order where tenant = $1 and account = $2) "
        "or exists (select from asset where tenant = $1 and account = $2)",
        tenant,
        account,
    )
    if not is_known:
        raise NotFound(f"nobody has ordered or has anything under account {account!r}")


async def summary(pool: asyncpg.Pool[Any], tenant: str, account: str) -> dict[str, Any]:
    """How much of what an account has.

    Raises:
        NotFound: no order and no product names the account.
    """
    await require_account(pool, tenant, account)
    row = await pool.fetchrow(
        """
        select
            (select count(*) from product_order where tenant = $1 and account = $2) as orders,
            (select count(*) from product_order where tenant = $1 and account = $2 and ended_at is null) as open_orders,
            (select count(*) from asset where tenant = $1 and account = $2 and status <> 'terminated') as products,
            (select count(*) from product_order as o join manual_task as t on t.order_id = o.order_id
                where o.tenant = $1 and o.account = $2 and o.ended_at is null and t.closed_at is null) as open_tasks,
            (select coalesce(sum(fallout), 0) from product_order
                where tenant = $1 and account = $2 and ended_at is null) as failed_items
        """,
        tenant,
        account,
    )
    assert row is not None
    return {
        "account": account,
        "orders": row["orders"],
        "openOrders": row["open_orders"],
        "products": row["products"],
        "openTasks": row["open_tasks"],
        "failedItems": int(row["failed_items"]),
    }
