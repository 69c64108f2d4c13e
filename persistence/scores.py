"""Scores of the delay predictor: the newest of each order, its thinned history, and who reads them.

Only the predictor writes here, in batches. A second predictor would do no harm: the newer score stays.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg
import orjson

POINTS_MAX: Final = 200
MONTH: Final = "month"
POINTS_STEP: Final = 50
"""How many points of an order's history may follow before it is looked at whether it has to be thinned."""
_OPEN_CHUNK: Final = 1_000


class ScoreRow(NamedTuple):
    """One score; `factors` and `value` (`OrderPrices.total`) are JSON text. `plans`: definitions that the order's plan
    is made of; `steps` and `systems` are those of the items in progress.
    """

    order_id: str
    scored_at: datetime
    p_late: float
    expected_at: datetime
    low_at: datetime
    high_at: datetime
    due_at: datetime
    due_basis: str
    model: str
    version: str
    factors: str
    plans: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    value: str = "[]"
    current_due_at: datetime | None = None
    """What has become of the promise, where that is not `due_at` any more."""


async def open_orders(pool: asyncpg.Pool[Any], tenant: str) -> AsyncIterator[list[str]]:
    """The ids of the tenant's open orders, in bounded chunks."""
    async with pool.acquire() as connection, connection.transaction():
        cursor = await connection.cursor(
            "select order_id from product_order where tenant = $1 and ended_at is null", tenant
        )
        while rows := await cursor.fetch(_OPEN_CHUNK):
            yield [row["order_id"] for row in rows]


async def recently_completed(pool: asyncpg.Pool[Any], tenant: str, limit: int) -> list[str]:
    """The ids of the completed orders with a plan that ended last, the newest first; archived ones only while there are
    too few others.

    By their end and not by when they came: of the orders that came last only the quick ones have ended.
    """
    found: list[str] = []
    # Of the archived ones there may be millions, and no index knows their ends: those that came last have to do.
    for is_archived, moment in ((False, "ended_at"), (True, "created_at")):
        rows = await pool.fetch(
            "select order_id from product_order where tenant = $1 and state = 'completed' and items > 0 "
            f"and ended_at is not null and {'' if is_archived else 'not '}archived "
            f"order by {moment} desc, order_id desc limit $2",
            tenant,
            limit - len(found),
        )
        found += [row["order_id"] for row in rows]
        if len(found) >= limit:
            break
    return found


async def put_scores(pool: asyncpg.Pool[Any], tenant: str, rows: Sequence[ScoreRow]) -> None:
    """Store the newest score of each of the orders."""
    columns = list(zip(*rows, strict=True))
    await pool.execute(
        "insert into delay_score (tenant, order_id, scored_at, p_late, expected_at, low_at, high_at, due_at, "
        "due_basis, model, version, factors, plans, steps, systems, value, current_due_at) "
        "select $1, s.a, s.b, s.c, s.d, s.e, s.f, s.g, s.h, "
        "s.i, s.j, s.k, array(select jsonb_array_elements_text(s.l)), array(select jsonb_array_elements_text(s.m)), "
        "array(select jsonb_array_elements_text(s.n)), s.o, s.p from "
        "unnest($2::text[], $3::timestamptz[], $4::float8[], "
        "$5::timestamptz[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[], $9::text[], $10::text[], "
        "$11::text[], $12::jsonb[], $13::jsonb[], $14::jsonb[], $15::jsonb[], "
        "$16::jsonb[], $17::timestamptz[]) as s(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) "
        "on conflict (order_id) do update set scored_at = excluded.scored_at, plans = excluded.plans, "
        "steps = excluded.steps, systems = excluded.systems, "
        "p_late = excluded.p_late, expected_at = excluded.expected_at, low_at = excluded.low_at, "
        "high_at = excluded.high_at, due_at = excluded.due_at, due_basis = excluded.due_basis, "
        "model = excluded.model, version = excluded.version, factors = excluded.factors, value = excluded.value, "
        "current_due_at = excluded.current_due_at "
        "where delay_score.ended_at is null and delay_score.scored_at <= excluded.scored_at",
        tenant,
        *(list(column) for column in columns[:-5]),
        # A list of lists is no array of PostgreSQL's, which would have to be as wide everywhere.
        *([orjson.dumps(each).decode() for each in column] for column in columns[-5:-2]),
        *(list(column) for column in columns[-2:]),
    )


async def add_points(pool: asyncpg.Pool[Any], tenant: str, rows: Sequence[ScoreRow]) -> None:
    """Add a point to the history of each of the orders."""
    await pool.execute(
        "insert into delay_history (tenant, order_id, scored_at, p_late, expected_at) select $1, h.* from "
        "unnest($2::text[], $3::timestamptz[], $4::float8[], $5::timestamptz[]) as h on conflict do nothing",
        tenant,
        *(list(column) for column in list(zip(*rows, strict=True))[:4]),
    )


async def thin_history(pool: asyncpg.Pool[Any], tenant: str, order_ids: Sequence[str]) -> None:
    """Take every second point out of histories that would else grow beyond `POINTS_MAX` before they are looked at
    again; their first points stay. The newest are added after it.
    """
    await pool.execute(
        "delete from delay_history as h using (select order_id, scored_at, "
        "row_number() over (partition by order_id order by scored_at) as n, "
        "count(*) over (partition by order_id) as points from delay_history "
        "where tenant = $3 and order_id = any($1)) as c "
        "where c.order_id = h.order_id and c.scored_at = h.scored_at and c.points > $2 and c.n % 2 = 0",
        list(order_ids),
        POINTS_MAX - POINTS_STEP,
        tenant,
    )


async def end_scores(pool: asyncpg.Pool[Any], tenant: str, ended: Sequence[tuple[str, datetime]]) -> None:
    """These orders have ended: their last scores stay, and are no risk any more."""
    await pool.execute(
        "update delay_score set ended_at = e.ended_at from unnest($1::text[], $2::timestamptz[]) "
        "as e(order_id, ended_at) where delay_score.order_id = e.order_id and delay_score.tenant = $3",
        [order_id for order_id, _ in ended],
        [at for _, at in ended],
        tenant,
    )


async def end_missed_scores(pool: asyncpg.Pool[Any], tenant: str) -> None:
    """The same for orders that ended while no predictor was there to hear of it."""
    await pool.execute(
        "update delay_score set ended_at = o.ended_at from product_order as o where delay_score.tenant = $1 "
        "and delay_score.ended_at is null and o.order_id = delay_score.order_id and o.ended_at is not null",
        tenant,
    )


async def drop_old_histories(pool: asyncpg.Pool[Any], tenant: str, before: datetime, limit: int) -> None:
    """Delete the histories of at most so many orders that ended before then; their last scores stay."""
    await pool.execute(
        "delete from delay_history where order_id in (select s.order_id from delay_score as s where s.tenant = $1 "
        "and s.ended_at < $2 and exists (select from delay_history as h where h.order_id = s.order_id) limit $3)",
        tenant,
        before,
        limit,
    )


class Place(NamedTuple):
    """Where a page of the list of risks ended: what it is sorted by, as a number, and the order."""

    value: float
    order_id: str


class Filter(NamedTuple):
    """Which orders the list of risks shows; None and 0 leave none out. `currency` and `period` say of which charges the
    bounds are, and what is sorted by: charges of several are never added.
    """

    p_late_min: float = 0.0
    account: str | None = None
    plan: str | None = None
    step: str | None = None
    system: str | None = None
    currency: str | None = None
    period: str = MONTH
    recurring_min: float | None = None
    one_time_min: float | None = None


def _worth(kind: str) -> str:
    """SQL for what an order's charges of a kind come to, net, in the currency that was asked for."""
    is_of_period = " and c ->> 'period' = $11" if kind == "recurring" else ""
    return (
        "coalesce((select sum((c ->> 'net')::numeric) from jsonb_array_elements(s.value) as c "
        f"where c ->> 'kind' = '{kind}' and c ->> 'currency' = $10{is_of_period}), 0)::float8"
    )


EVERYTHING: Final = Filter()
SORTS: Final = {
    "risk": ("s.p_late", "desc"),
    "due": ("extract(epoch from s.due_at)::float8", "asc"),
    "delay": ("extract(epoch from s.expected_at - s.due_at)::float8", "desc"),
    "recurring": (_worth("recurring"), "desc"),
    "oneTime": (_worth("oneTime"), "desc"),
}
"""Falling risk, rising due date, falling expected delay, falling value at stake of a kind."""
WORTH_SORTS: Final = ("recurring", "oneTime")


async def list_risks(
    pool: asyncpg.Pool[Any],
    tenant: str,
    chosen: Filter = EVERYTHING,
    *,
    sort: str = "risk",
    after: Place | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Open orders in one of the orders of `SORTS`; `sortedBy` is the number to go on from."""
    key, direction = SORTS[sort]
    beyond = "<" if direction == "desc" else ">"
    rows = await pool.fetch(
        f"select s.*, {key} as sorted_by, o.account, o.external_id, o.state, o.priority, o.created_at, o.fallout "
        "from delay_score as s "
        "join product_order as o on o.order_id = s.order_id where s.tenant = $1 and s.ended_at is null "
        "and o.ended_at is null and s.p_late >= $2 and ($3::text is null or o.account = $3) "
        "and ($4::text is null or $4 = any(s.plans)) and ($5::text is null or $5 = any(s.steps)) "
        "and ($6::text is null or $6 = any(s.systems)) "
        f"and ($7::float8 is null or ({key}, s.order_id) {beyond} ($7, $8)) "
        f"and ($12::float8 is null or {_worth('recurring')} >= $12) "
        f"and ($13::float8 is null or {_worth('oneTime')} >= $13) "
        f"order by {key} {direction}, s.order_id {direction} limit $9",
        tenant,
        *chosen[:5],
        after.value if after else None,
        after.order_id if after else "",
        limit,
        *chosen[5:],
    )
    return [
        _shown(row)
        | {
            "account": row["account"],
            "externalId": row["external_id"],
            "state": row["state"],
            "priority": row["priority"],
            "createdAt": row["created_at"].isoformat(),
            "fallout": row["fallout"],
            "sortedBy": row["sorted_by"],
        }
        for row in rows
    ]


async def read_risk(pool: asyncpg.Pool[Any], tenant: str, order_id: str) -> dict[str, Any] | None:
    """The newest score of an order, the last one before its end when it has ended; None when it was never scored."""
    row = await pool.fetchrow("select * from delay_score where tenant = $1 and order_id = $2", tenant, order_id)
    return _shown(row) if row is not None else None


async def read_history(pool: asyncpg.Pool[Any], tenant: str, order_id: str) -> list[dict[str, Any]]:
    """The history of an order's risk, oldest first."""
    rows = await pool.fetch(
        "select scored_at, p_late, expected_at from delay_history where tenant = $1 and order_id = $2 "
        "order by scored_at limit $3",
        tenant,
        order_id,
        2 * POINTS_MAX,
    )
    return [
        {
            "scoredAt": row["scored_at"].isoformat(),
            "risk": round(row["p_late"], 4),
            "expectedAt": row["expected_at"].isoformat(),
        }
        for row in rows
    ]


def _shown(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "orderId": row["order_id"],
        "risk": row["p_late"],
        "expectedAt": row["expected_at"].isoformat(),
        "lowAt": row["low_at"].isoformat(),
        "highAt": row["high_at"].isoformat(),
        "dueAt": row["due_at"].isoformat(),
        "dueBasis": row["due_basis"],
        "currentDueAt": (row["current_due_at"] or row["due_at"]).isoformat(),
        "scoredAt": row["scored_at"].isoformat(),
        "model": row["model"],
        "version": row["version"],
        "endedAt": row["ended_at"].isoformat() if row["ended_at"] else None,
        "plans": row["plans"],
        "steps": row["steps"],
        "systems": row["systems"],
        "value": orjson.loads(row["value"]),
        "reasons": orjson.loads(row["factors"]),
    }
