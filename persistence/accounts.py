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


_KINDS: Final[tuple[tuple[str, str], ...]] = (
    (
        "order.accepted",
        "select o.created_at as at, o.order_id as id, o.order_id, null::text as item, o.external_id as name, "
        "'acknowledged' as state from product_order as o where o.tenant = $1 and o.account = $2",
    ),
    (
        "order.ended",
        "select o.ended_at, o.order_id, o.order_id, null::text, o.external_id, o.state "
        "from product_order as o where o.tenant = $1 and o.account = $2 and o.ended_at is not null",
    ),
    (
        "task.opened",
        "select t.opened_at, t.task_id, t.order_id, t.item, t.name, 'Ready' from product_order as o "
        "join manual_task as t on t.order_id = o.order_id where o.tenant = $1 and o.account = $2",
    ),
    (
        "task.closed",
        "select t.closed_at, t.task_id, t.order_id, t.item, t.name, 'closed' from product_order as o "
        "join manual_task as t on t.order_id = o.order_id "
        "where o.tenant = $1 and o.account = $2 and t.closed_at is not null",
    ),
    (
        "item.failed",
        "select i.failed_at, i.order_id || '/' || i.item, i.order_id, i.item, i.name, i.error_code "
        "from product_order as o join fallout_item as i on i.order_id = o.order_id "
        "where o.tenant = $1 and o.account = $2",
    ),
    (
        "product.changed",
        "select a.updated_at, a.asset_id, a.body ->> 'orderId', null::text, a.product, a.status "
        "from asset as a where a.tenant = $1 and a.account = $2",
    ),
)
"""What stands in the timeline, by kind; each select gives (at, id, order, item, name, state)."""


def _statement() -> str:
    """Each kind gives a page at most, so an account with very many entries costs no more than a few pages."""
    parts = [
        f"(select *, '{kind}' as kind from ({select}) as e (at, id, order_id, item, name, state) "
        f"where $3::timestamptz is null or (e.at, '{kind}', e.id) < ($3, $4::text, $5::text) "
        f"order by at desc, id desc limit $6)"
        for kind, select in _KINDS
    ]
    return f"{' union all '.join(parts)} order by at desc, kind desc, id desc limit $6"


_TIMELINE: Final = _statement()


async def timeline(
    pool: asyncpg.Pool[Any], tenant: str, account: str, *, after: Place | None = None, limit: int = 50
) -> list[dict[str, Any]]:
    """A page of what happened to an account, newest first.

    Of what was told twice the newest counts: a task that was handed on, a failure that came again.
    """
    rows = await pool.fetch(_TIMELINE, tenant, account, *(after or (None, None, None)), limit)
    return [dict(row) for row in rows]


async def summary(pool: asyncpg.Pool[Any], tenant: str, account: str) -> dict[str, Any]:
    """How much of what an account has.

    Raises:
        NotFound: no order and no product names the account.
    """
    row = await pool.fetchrow(
        """
        select
            (select count(*) from product_order where tenant = $1 and account = $2) as orders,
            (select count(*) from product_order where tenant = $1 and account = $2 and ended_at is null) as open_orders,
            (select count(*) from asset where tenant = $1 and account = $2 and status <> 'terminated') as products,
            (select count(*) from asset where tenant = $1 and account = $2) as products_ever,
            (select count(*) from product_order as o join manual_task as t on t.order_id = o.order_id
                where o.tenant = $1 and o.account = $2 and o.ended_at is null and t.closed_at is null) as open_tasks,
            (select coalesce(sum(fallout), 0) from product_order
                where tenant = $1 and account = $2 and ended_at is null) as failed_items
        """,
        tenant,
        account,
    )
    assert row is not None
    if not row["orders"] and not row["products_ever"]:
        raise NotFound(f"nobody has ordered or has anything under account {account!r}")
    return {
        "account": account,
        "orders": row["orders"],
        "openOrders": row["open_orders"],
        "products": row["products"],
        "openTasks": row["open_tasks"],
        "failedItems": int(row["failed_items"]),
    }
