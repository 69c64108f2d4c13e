"""The numbers that managers look at, as queries on read models. docs/NUMBERS.md defines each of them.

All of them are read in one transaction, of one moment, which ends by itself when it takes too long. What has happened
is counted by the counting consumer (`persistence/counting.py`), what is open now stands in the hosts' own rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import asyncpg

from domain import facts as f
from domain.errors import Busy
from persistence.counting import counted_to
from persistence.servers import bounded_read

TIMEOUT_S: Final = 10.0
ORDERS_MAX: Final = 200_000
"""Orders that ended last in the window, of which times and shares are told."""
TASKS_MAX: Final = 200_000
"""Tasks that were closed last in the window, of which the same is told."""
ROWS_MAX: Final = 500
"""Of each table; those with most to tell come first."""

_OPEN: Final = """
select (select count(*) from product_order where tenant = $1 and ended_at is null) as open,
       (select count(*) from product_order where tenant = $1 and ended_at is null
           and requested_due_at >= $3 and requested_due_at < $4) as due_today,
       (select count(*) from product_order where tenant = $1 and ended_at is null
           and requested_due_at < $2) as overdue"""
_RECENT: Final = f"""
recent as materialized (
    select state, extract(epoch from ended_at - created_at)::float8 as took_s, offers, is_right
      from ended_order where tenant = $1 and ended_at >= $2 order by ended_at desc limit {ORDERS_MAX})"""
_FIGURES: Final = """
       count(*) filter (where state = 'completed') as completed,
       count(*) filter (where state = 'completed' and is_right) as "right",
       percentile_cont(0.5) within group (order by took_s) filter (where state = 'completed') as p50,
       percentile_cont(0.9) within group (order by took_s) filter (where state = 'completed') as p90"""
_ENDED: Final = f"with {_RECENT} select count(*) as ended, {_FIGURES} from recent"
_OFFERS: Final = f"""
with {_RECENT}
select offer, count(*) as ended, {_FIGURES}
  from recent cross join lateral unnest(offers) as offer
 group by offer order by count(*) desc, offer limit {ROWS_MAX}"""
_HOURS: Final = """
select hour, sum(n) filter (where kind = $3)::bigint as accepted, sum(n) filter (where kind = $4)::bigint as ended,
       sum(n) filter (where kind = $5)::bigint as failed
  from fact_count where tenant = $1 and hour >= $2 and kind = any(array[$3, $4, $5]) group by hour order by hour"""
_ITEMS: Final = """
with counted as (
    select release_id, item, coalesce(sum(n) filter (where kind = $3), 0)::bigint as completed,
           coalesce(sum(n) filter (where kind = $4), 0)::bigint as attempts,
           coalesce(sum(n) filter (where kind = $5), 0)::bigint as failed, 0::bigint as now
      from fact_count where tenant = $1 and hour >= $2 and kind = any(array[$3, $4, $5]) group by release_id, item),
defined as (
    select r.release_id, (p ->> 'code') || '/' || (i ->> 'code') as item,
           coalesce(nullif(i ->> 'name', ''), i ->> 'code') as name, i ->> 'system' as system
      from release as r cross join lateral jsonb_array_elements(r.body -> 'plans') as p
     cross join lateral jsonb_array_elements(p -> 'items') as i
     where r.tenant = $1 and r.release_id = any(array(select release_id from counted))),
came_out as (
    select c.item, d.system, d.name, c.completed, c.attempts, c.failed, c.now
      from counted as c left join defined as d on d.release_id = c.release_id and d.item = c.item
     union all
    select split_part(item, '@', 1), nullif(system, ''), name, 0, 0, 0, count(*)
      from fallout_item where tenant = $1 and retry_at is null group by 1, 2, 3)
select item, system, max(name) as name, sum(completed)::bigint as completed, sum(attempts)::bigint as attempts,
       sum(failed)::bigint as failed, sum(now)::bigint as now
  from came_out group by item, system order by failed desc, now desc, completed desc, item, system"""
_QUEUES: Final = f"""
with waiting as (
    select t.queue, count(*) as open, count(c.task_id) as held, min(t.opened_at) as oldest,
           count(*) filter (where t.due_at < $2) as overdue,
           count(*) filter (where t.opened_at > $2 - interval '1 hour') as h1,
           count(*) filter (where t.opened_at > $2 - interval '4 hours') as h4,
           count(*) filter (where t.opened_at > $2 - interval '1 day') as d1,
           count(*) filter (where t.opened_at > $2 - interval '3 days') as d3,
           count(*) filter (where t.opened_at >= $3) as opened
      from manual_task as t left join task_claim as c on c.task_id = t.task_id and c.claim_ends_at > $2
     where t.tenant = $1 and t.closed_at is null group by t.queue),
recent as (
    select queue, opened_at, closed_at from manual_task
     where tenant = $1 and closed_at >= $3 order by closed_at desc limit {TASKS_MAX}),
worked as (
    select queue, count(*) as closed, count(*) filter (where opened_at >= $3) as opened,
           percentile_cont(0.5) within group (order by extract(epoch from closed_at - opened_at)::float8) as p50,
           percentile_cont(0.9) within group (order by extract(epoch from closed_at - opened_at)::float8) as p90
      from recent group by queue),
staff as (select queue, count(*) as members from queue_member where tenant = $1 group by queue)
select queue, coalesce(w.open, 0) as open, coalesce(w.held, 0) as held, coalesce(w.overdue, 0) as overdue, w.oldest,
       coalesce(w.h1, 0) as h1, coalesce(w.h4, 0) as h4, coalesce(w.d1, 0) as d1, coalesce(w.d3, 0) as d3,
       coalesce(w.opened, 0) + coalesce(d.opened, 0) as opened,
       coalesce(d.closed, 0) as closed, d.p50, d.p90, coalesce(s.members, 0) as members
  from waiting as w full join worked as d using (queue) left join staff as s using (queue)
 order by open desc, queue limit {ROWS_MAX}"""

_LIST_ENDED: Final = """
select e.order_id, o.external_id, o.account, e.state, e.offers, e.created_at, e.ended_at, e.is_right,
       extract(epoch from e.ended_at - e.created_at)::float8 as took_s
  from ended_order as e join product_order as o on o.order_id = e.order_id
 where e.tenant = $1 and e.ended_at >= $2 and ($3::timestamptz is null or e.ended_at < $3)
   and ($4::text is null or $4 = any(e.offers)) and ($5::text is null or e.state = $5)
   and ($6::bool is null or e.is_right = $6) and ($7::timestamptz is null or (e.ended_at, e.order_id) < ($7, $8))
 order by e.ended_at desc, e.order_id desc limit $9"""

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "orders": (
        "open", "dueToday", "overdue", "accepted", "ended", "failedForGood", "completed", "firstTimeRight",
        "firstTimeRightShare", "cycleP50S", "cycleP90S", "lookedAt",
    ),
    "offers": ("offer", "ended", "completed", "firstTimeRight", "firstTimeRightShare", "cycleP50S", "cycleP90S"),
    "items": ("item", "name", "system", "completed", "failedForGood", "failedAttempts", "falloutRate", "failedNow"),
    "systems": ("system", "completed", "failedForGood", "failedAttempts", "falloutRate", "failedNow"),
    "queues": (
        "queue", "open", "held", "overdue", "oldestAt", "upTo1H", "upTo4H", "upTo1D", "upTo3D", "older", "opened",
        "closed", "waitP50S", "waitP90S", "closedPerHour", "hoursToClear", "isGrowing", "members",
    ),
    "hours": ("hour", "accepted", "ended", "failedForGood"),
}  # fmt: skip
"""The tables with their columns in order: what JSON and CSV show."""


@dataclass(frozen=True, slots=True)
class Span:
    """What is asked for: the beginning of an hour until now, and the day that is today where the manager is."""

    since: datetime
    now: datetime
    day_starts_at: datetime
    day_ends_at: datetime

    @property
    def hours(self) -> float:
        """Its length."""
        return (self.now - self.since) / timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class EndedFilter:
    """Which orders that have ended; what is None does not matter. `since` counts, `before` does not."""

    since: datetime
    before: datetime | None = None
    offer: str | None = None
    state: str | None = None
    is_right: bool | None = None


class EndedPlace(NamedTuple):
    """Where a page ended."""

    ended_at: datetime
    order_id: str


class TooMuchToCount(Busy):
    """The database has given up after the time that numbers may take."""

    code = "tooMuchToCount"


async def read_numbers(pool: asyncpg.Pool[Any], tenant: str, span: Span) -> dict[str, Any]:
    """Every table by its name as a list of rows (`COLUMNS`), and `countedTo`.

    Raises:
        TooMuchToCount: it takes too long.
    """
    try:
        async with bounded_read(pool, TIMEOUT_S, isolation="repeatable_read") as connection:
            found = await _read(connection, tenant, span)
            return found | {"countedTo": await counted_to(connection, tenant, span.now)}
    except (asyncpg.QueryCanceledError, TimeoutError) as error:
        raise _too_much() from error


def _too_much() -> TooMuchToCount:
    told = f"the numbers cannot be told within {TIMEOUT_S:.0f} s"
    return TooMuchToCount(told, path="window", mend="ask for a shorter window", retryAfterS=10)


async def list_ended(
    pool: asyncpg.Pool[Any], tenant: str, wanted: EndedFilter, *, after: EndedPlace | None, limit: int
) -> list[dict[str, Any]]:
    """Orders that have ended, the last first, after a place: what times and shares are told of.

    Raises:
        TooMuchToCount: it takes too long.
    """
    asked = (wanted.since, wanted.before, wanted.offer, wanted.state, wanted.is_right, *(after or (None, None)))
    try:
        async with bounded_read(pool, TIMEOUT_S) as connection:
            return [dict(row) for row in await connection.fetch(_LIST_ENDED, tenant, *asked, limit)]
    except (asyncpg.QueryCanceledError, TimeoutError) as error:
        raise _too_much() from error


async def _read(connection: Any, tenant: str, span: Span) -> dict[str, Any]:
    [standing] = await connection.fetch(_OPEN, tenant, span.now, span.day_starts_at, span.day_ends_at)
    [ended] = await connection.fetch(_ENDED, tenant, span.since)
    offers = await connection.fetch(_OFFERS, tenant, span.since)
    hours = await connection.fetch(
        _HOURS, tenant, span.since, f.ORDER_ACCEPTED, f.ORDER_ENDED, f.ITEM_FATALLY_FAILED
    )
    items = [
        {
            "item": row["item"],
            "name": row["name"],
            "system": row["system"],
            "completed": row["completed"],
            "failedForGood": row["failed"],
            "failedAttempts": row["attempts"],
            "falloutRate": _share(row["failed"], row["completed"] + row["failed"]),
            "failedNow": row["now"],
        }
        for row in await connection.fetch(
            _ITEMS, tenant, span.since, f.ITEM_COMPLETED, f.ITEM_FAILED, f.ITEM_FATALLY_FAILED
        )
    ]
    by_hour = [
        {
            "hour": row["hour"],
            "accepted": row["accepted"] or 0,
            "ended": row["ended"] or 0,
            "failedForGood": row["failed"] or 0,
        }
        for row in hours
    ]
    orders = {"open": standing["open"], "dueToday": standing["due_today"], "overdue": standing["overdue"]}
    orders |= {name: sum(row[name] for row in by_hour) for name in ("accepted", "ended", "failedForGood")}
    return {
        "orders": [orders | _figures(ended) | {"lookedAt": ended["ended"]}],
        "offers": [{"offer": row["offer"], "ended": row["ended"]} | _figures(row) for row in offers],
        "items": items[:ROWS_MAX],
        "systems": _systems(items),
        "queues": [_queue(row, span) for row in await connection.fetch(_QUEUES, tenant, span.now, span.since)],
        "hours": by_hour,
    }


def _figures(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "completed": row["completed"],
        "firstTimeRight": row["right"],
        "firstTimeRightShare": _share(row["right"], row["completed"]),
        "cycleP50S": _seconds(row["p50"]),
        "cycleP90S": _seconds(row["p90"]),
    }


_SUMMED: Final = ("completed", "failedForGood", "failedAttempts", "failedNow")


def _systems(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of items that call a system, added up; what fails most comes first."""
    found: dict[str, dict[str, Any]] = {}
    for item in items:
        if item["system"] is None:
            continue
        mine = found.setdefault(item["system"], dict.fromkeys(_SUMMED, 0))
        for name in mine:
            mine[name] += item[name]
    rows = [
        {
            "system": system,
            **sums,
            "falloutRate": _share(sums["failedForGood"], sums["completed"] + sums["failedForGood"]),
        }
        for system, sums in found.items()
    ]
    return sorted(rows, key=lambda row: (-row["failedForGood"], -row["completed"], row["system"]))


def _queue(row: Mapping[str, Any], span: Span) -> dict[str, Any]:
    per_hour = row["closed"] / span.hours
    return {
        "queue": row["queue"],
        "open": row["open"],
        "held": row["held"],
        "overdue": row["overdue"],
        "oldestAt": row["oldest"],
        "upTo1H": row["h1"],
        "upTo4H": row["h4"] - row["h1"],
        "upTo1D": row["d1"] - row["h4"],
        "upTo3D": row["d3"] - row["d1"],
        "older": row["open"] - row["d3"],
        "opened": row["opened"],
        "closed": row["closed"],
        "waitP50S": _seconds(row["p50"]),
        "waitP90S": _seconds(row["p90"]),
        "closedPerHour": round(per_hour, 3),
        "hoursToClear": 0.0 if not row["open"] else round(row["open"] / per_hour, 2) if per_hour else None,
        "isGrowing": row["opened"] > row["closed"],
        "members": row["members"],
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _seconds(value: float | None) -> float | None:
    return round(value, 3) if value is not None else None
