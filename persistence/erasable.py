"""What an account has that is to be erased, and what stands in the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg

from domain.errors import NotFound, NotPossibleNow
from persistence.erasures import MINE, names_of, own_order

READ_AFTER: Final = timedelta(seconds=3)
"""A fact of this age was read by whoever has its place in memory alone (streams, the delay predictor)."""
SCORED_AFTER: Final = timedelta(minutes=1)
"""So long the delay predictor has to note the end of an order that it has scored."""
NAMED_MAX: Final = 10
"""Orders that a refusal names."""
SCAN_TIMEOUT_S: Final = 120.0
"""For looking through all products of a tenant."""


@dataclass(frozen=True, slots=True)
class Found:
    """What an account has: see `Erasure`. `ended_at`: when its last order did."""

    order_ids: list[str]
    names: list[str]
    products: int
    channels: list[str]
    ended_at: datetime | None


async def find_account(pool: asyncpg.Pool[Any], tenant: str, account: str, shard: int) -> Found:
    """What an account has.

    Raises:
        NotFound: no order and no product names it.
    """
    orders = await pool.fetch(
        f"select o.order_id, o.channel, o.ended_at from product_order as o where {MINE} order by o.order_id",
        tenant,
        account,
        own_order(account),
    )
    products = await pool.fetchval("select count(*) from asset where tenant = $1 and account = $2", tenant, account)
    if not (orders or products):
        done = await pool.fetchval(
            "select erasure_id from erasure where tenant = $1 and account = $2 and state = 'done' "
            "order by asked_at desc limit 1",
            tenant,
            account,
        )
        mend = f"it was erased: see /v1/erasures/{done}" if done else None
        raise NotFound(f"nobody has ordered or has anything under account {account!r}", mend=mend)
    return Found(
        [row["order_id"] for row in orders],
        await names_of(pool, tenant, account, shard),
        products,
        sorted({row["channel"] for row in orders}),
        max((row["ended_at"] for row in orders if row["ended_at"] is not None), default=None),
    )


async def require_over(
    pool: asyncpg.Pool[Any], tenant: str, account: str, found: Found, now: datetime, *, with_products: bool
) -> None:
    """Pass if nothing of the account goes on, and nobody is still to read of it.

    Raises:
        NotPossibleNow: what stands in the way, and what to do.
    """
    await _require_ended(pool, found.order_ids)
    if not with_products:
        await _require_terminated(pool, tenant, account)
    await _require_free(pool, tenant, found.order_ids)
    await _require_read(pool, tenant, [*found.order_ids, *found.names], now)


async def _require_ended(pool: asyncpg.Pool[Any], order_ids: Sequence[str]) -> None:
    rows = await pool.fetch(
        "select order_id, ended_at from product_order where order_id = any($1) "
        "and (ended_at is null or sealed or active or timer_at is not null) order by ended_at nulls first, order_id",
        order_ids,
    )
    opened = [row["order_id"] for row in rows if row["ended_at"] is None]
    if opened:
        raise NotPossibleNow(
            f"{len(opened)} orders of the account are open, the first is {opened[0]}",
            mend="wait until they have ended, or cancel them",
            openOrders=opened[:NAMED_MAX],
        )
    if rows:
        raise NotPossibleNow(
            f"order {rows[0]['order_id']} has ended and is not settled: its keys are not destroyed yet, or it waits",
            mend="ask again",
            retryAfterS=1,
        )


async def _require_terminated(pool: asyncpg.Pool[Any], tenant: str, account: str) -> None:
    rows = await pool.fetch(
        "select asset_id from asset where tenant = $1 and account = $2 and status <> 'terminated' order by asset_id",
        tenant,
        account,
    )
    if rows:
        raise NotPossibleNow(
            f"the account has {len(rows)} products that are not terminated, the first is {rows[0]['asset_id']}",
            path="products",
            mend="end them by an order; or, if somebody else has ended them, ask with products: true (--products)",
            products=[row["asset_id"] for row in rows[:NAMED_MAX]],
        )


async def _require_free(pool: asyncpg.Pool[Any], tenant: str, order_ids: Sequence[str]) -> None:
    """Nobody else works on its orders, or waits for them."""
    jobs = await pool.fetch(
        "select distinct i.job_id from job as j join job_item as i on i.job_id = j.job_id "
        "where j.tenant = $1 and j.state not in ('stopped', 'done') and i.order_id = any($2) order by i.job_id",
        tenant,
        order_ids,
    )
    if jobs:
        raise NotPossibleNow(
            f"job {jobs[0]['job_id']} names orders of the account and runs",
            mend="wait until it has ended, or stop it",
            jobs=[row["job_id"] for row in jobs[:NAMED_MAX]],
        )
    waiting = await pool.fetch(
        "select distinct w.order_id from product_order as o join related_wait as w on w.tenant = o.tenant "
        "and (w.name = o.order_id or (w.name = o.external_id and w.channel = o.channel)) "
        "where o.order_id = any($1) and not w.order_id = any($1) order by w.order_id",
        order_ids,
    )
    if waiting:
        raise NotPossibleNow(
            f"order {waiting[0]['order_id']} waits for an order of the account",
            mend="ask again when it has heard that this one has ended",
            retryAfterS=1,
        )


async def _require_read(pool: asyncpg.Pool[Any], tenant: str, names: Sequence[str], now: datetime) -> None:
    rows = await pool.fetch(
        'select shard, max("offset") as newest, max(at) as at from fact where order_id = any($1) group by shard', names
    )
    unread = await pool.fetchval(
        "select n.consumer from unnest($2::int[], $3::bigint[]) as f(shard, newest) cross join consumer as n "
        "left join consumer_cursor as c on c.tenant = n.tenant and c.consumer = n.consumer and c.shard = f.shard "
        'where n.tenant = $1 and coalesce(c."offset", 0) < f.newest limit 1',
        tenant,
        [row["shard"] for row in rows],
        [row["newest"] for row in rows],
    )
    if unread is None and await pool.fetchval(
        "select exists (select from delay_score as s join product_order as o on o.order_id = s.order_id "
        "where s.order_id = any($1) and s.ended_at is null and o.ended_at > $2)",
        names,
        now - SCORED_AFTER,
    ):
        unread = "predictor"
    if unread is not None or any(row["at"] > now - READ_AFTER for row in rows):
        raise NotPossibleNow(
            f"the {unread or 'stream'} may not have read yet what happened to the account last",
            mend="ask again",
            retryAfterS=2,
        )


async def shared_secrets(
    pool: asyncpg.Pool[Any], tenant: str, account: str, secret_ids: Sequence[str]
) -> dict[str, list[str]]:
    """Those of the secrets that products of other accounts need, with these products."""
    if not secret_ids:
        return {}
    rows = await pool.fetch(
        "select distinct s.secret_id, a.asset_id from asset as a "
        "cross join lateral jsonb_each(a.body -> 'attributes') as v(name, value) "
        # What stands before the ciphertext: `persistence.vault.named_keys`.
        "cross join lateral "
        "(select split_part(split_part(v.value ->> '$encrypted', '.', 1), ':', 2) as secret_id) as s "
        "where a.tenant = $1 and a.account is distinct from $2 and v.value ? '$encrypted' and s.secret_id = any($3) "
        "order by s.secret_id, a.asset_id",
        tenant,
        account,
        secret_ids,
        timeout=SCAN_TIMEOUT_S,
    )
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["secret_id"], []).append(row["asset_id"])
    return found


async def listeners_of(pool: asyncpg.Pool[Any], tenant: str, ended_at: datetime | None) -> list[dict[str, str]]:
    """The listeners that are registered and were before the last order ended: they may have been told of orders."""
    rows = await pool.fetch(
        "select listener_id, callback from hub_listener where tenant = $1 and created_at <= $2 order by listener_id",
        tenant,
        ended_at,
    )
    return [{"id": row["listener_id"], "callback": row["callback"]} for row in rows]


async def jobs_of(pool: asyncpg.Pool[Any], tenant: str, order_ids: Sequence[str]) -> list[tuple[str, int]]:
    """Items of bulk jobs that name these orders."""
    rows = await pool.fetch(
        "select job_id, number from job_item where tenant = $1 and order_id = any($2)", tenant, order_ids
    )
    return [(row["job_id"], row["number"]) for row in rows]
