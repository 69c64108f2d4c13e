"""What models said at ticks of an order's allowed time, and what became true: the ground that models are judged on.

A row for each order, tick and model; only moments before the due date. The outcome is joined when the order has ended,
or when its due date is over, whichever is first. Orders that were cancelled or rejected leave no rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg


class TickRow(NamedTuple):
    """What one model said; `tick` in per cent of the allowed time."""

    order_id: str
    tick: int
    model: str
    scored_at: datetime
    p_late: float
    due_at: datetime


class Judged(NamedTuple):
    """Rows with known outcomes, as columns: orders, whether late, what was said, seconds until it was known, ticks, and
    when it was known, the last first.
    """

    order_ids: list[str]
    late: list[bool]
    p_late: list[float]
    lag_s: list[float]
    ticks: list[int]
    known_at: list[datetime]


class Pairs(NamedTuple):
    """What two models said at the same ticks, as columns."""

    order_ids: list[str]
    late: list[bool]
    champion: list[float]
    challenger: list[float]


async def put_ticks(pool: asyncpg.Pool[Any], tenant: str, rows: Sequence[TickRow]) -> None:
    """Keep them; what a model has said at a tick before stays."""
    await pool.execute(
        "insert into delay_tick (tenant, order_id, tick, model, scored_at, p_late, due_at) select $1, t.* from "
        "unnest($2::text[], $3::smallint[], $4::text[], $5::timestamptz[], $6::float8[], $7::timestamptz[]) as t "
        "on conflict do nothing",
        tenant,
        *(list(column) for column in zip(*rows, strict=True)),
    )


async def join_ended(pool: asyncpg.Pool[Any], tenant: str, order_ids: Sequence[str]) -> None:
    """Join the outcomes of orders that have ended, by their rows; those that did not complete are left out."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "delete from delay_tick as t using product_order as o where t.tenant = $1 and t.order_id = any($2) "
            "and o.order_id = t.order_id and o.ended_at is not null and o.state <> 'completed'",
            tenant,
            list(order_ids),
        )
        await connection.execute(
            "update delay_tick as t set late = o.ended_at > t.due_at, known_at = least(o.ended_at, t.due_at) "
            "from product_order as o where t.tenant = $1 and t.order_id = any($2) and t.late is null "
            "and o.order_id = t.order_id and o.ended_at is not null",
            tenant,
            list(order_ids),
        )


async def join_missed(pool: asyncpg.Pool[Any], tenant: str, now: datetime, limit: int) -> int:
    """Join outcomes that nobody was told of: due dates that are over, ends while no predictor was there.

    Returns how many orders were looked at; with `limit` of them there may be more.
    """
    rows = await pool.fetch(
        "select distinct t.order_id from delay_tick as t join product_order as o on o.order_id = t.order_id "
        "where t.tenant = $1 and t.late is null and o.ended_at is not null limit $2",
        tenant,
        limit,
    )
    found = [row["order_id"] for row in rows]
    if found:
        await join_ended(pool, tenant, found)
    # Not of orders that have ended: those beyond the limit are joined by how they ended, the next time.
    await pool.execute(
        "update delay_tick as t set late = true, known_at = t.due_at from product_order as o where t.tenant = $1 "
        "and t.late is null and t.due_at < $2 and o.order_id = t.order_id and o.ended_at is null",
        tenant,
        now,
    )
    return len(found)


async def drop_void_ticks(pool: asyncpg.Pool[Any], tenant: str) -> None:
    """Delete the rows of orders that were cancelled or rejected while no predictor was there to hear of it, also those
    whose due date was over before.
    """
    await pool.execute(
        "delete from delay_tick as t using product_order as o where t.tenant = $1 and o.order_id = t.order_id "
        "and o.ended_at is not null and o.state <> 'completed'",
        tenant,
    )


async def drop_old_ticks(pool: asyncpg.Pool[Any], tenant: str, before: datetime, limit: int) -> None:
    """Delete at most so many rows whose outcome was known before then."""
    await pool.execute(
        "delete from delay_tick where (order_id, tick, model) in (select order_id, tick, model from delay_tick "
        "where tenant = $1 and late is not null and known_at < $2 limit $3)",
        tenant,
        before,
        limit,
    )


async def judged(pool: asyncpg.Pool[Any], tenant: str, model: str, limit: int) -> Judged:
    """The rows of a model whose outcomes were known last, at most so many."""
    rows = await pool.fetch(
        "select order_id, late, p_late, extract(epoch from known_at - scored_at)::float8 as lag_s, tick, known_at "
        "from delay_tick where tenant = $1 and model = $2 and late is not null "
        "order by known_at desc, order_id, tick limit $3",
        tenant,
        model,
        limit,
    )
    return Judged(
        [row["order_id"] for row in rows],
        [row["late"] for row in rows],
        [row["p_late"] for row in rows],
        [row["lag_s"] for row in rows],
        [row["tick"] for row in rows],
        [row["known_at"] for row in rows],
    )


async def pairs(pool: asyncpg.Pool[Any], tenant: str, champion: str, challenger: str, limit: int) -> Pairs:
    """What both have said at the same ticks of the same orders, the outcomes known last first, at most so many."""
    rows = await pool.fetch(
        "select c.order_id, c.late, c.p_late as challenger, k.p_late as champion from delay_tick as c "
        "join delay_tick as k on k.order_id = c.order_id and k.tick = c.tick and k.model = $2 "
        "where c.tenant = $1 and c.model = $3 and c.late is not null and k.late is not null "
        "order by c.known_at desc, c.order_id, c.tick limit $4",
        tenant,
        champion,
        challenger,
        limit,
    )
    return Pairs(
        [row["order_id"] for row in rows],
        [row["late"] for row in rows],
        [row["champion"] for row in rows],
        [row["challenger"] for row in rows],
    )


async def waiting(pool: asyncpg.Pool[Any], tenant: str) -> dict[str, int]:
    """How many rows of each model wait for their outcome."""
    rows = await pool.fetch(
        "select model, count(*) as n from delay_tick where tenant = $1 and late is null group by model", tenant
    )
    return {row["model"]: row["n"] for row in rows}
