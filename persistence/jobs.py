"""Bulk jobs: a frozen selection of items, and what became of each.

A job is worked on by one runner at a time: whoever takes it raises its epoch and holds a lease; what an outlived runner
writes changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import asyncpg
import orjson

from domain.errors import NotFound, NotPossibleNow
from persistence.fallout import FalloutFilter, select_items

ITEMS_MAX: Final = 100_000


class Taken(NamedTuple):
    """A job in the hands of a runner."""

    job_id: str
    tenant: str
    action: str
    operator: str
    reason: str
    argument: Any
    rate: float
    epoch: int


class Settled(NamedTuple):
    """What became of one item."""

    number: int
    outcome: str
    code: str | None
    reason: str | None


async def create_job(
    pool: asyncpg.Pool[Any],
    tenant: str,
    job_id: str,
    *,
    action: str,
    operator: str,
    reason: str,
    selection: Mapping[str, Any],
    wanted: FalloutFilter | None,
    items: Sequence[tuple[str, str]],
    argument: Any,
    rate: float,
    now: datetime,
) -> int:
    """Freeze the selection and let the job begin; returns how many items it has.

    Raises:
        NotPossibleNow: nothing fits, or too much.
    """
    async with pool.acquire() as connection, connection.transaction():
        found = list(items)
        if wanted is not None:
            found = await select_items(connection, tenant, wanted, ITEMS_MAX + 1)
        if not found:
            raise NotPossibleNow("no failed item fits the selection", mend="look at GET /v1/fallout")
        if len(found) > ITEMS_MAX:
            raise NotPossibleNow(f"more than {ITEMS_MAX} items fit the selection", mend="choose fewer, job by job")
        await connection.execute(
            "insert into job (job_id, tenant, action, operator, reason, selection, argument, rate, state, total, "
            "created_at) values ($1, $2, $3, $4, $5, $6::jsonb, $7::jsonb, $8, 'running', $9, $10)",
            job_id,
            tenant,
            action,
            operator,
            reason,
            orjson.dumps(selection).decode(),
            orjson.dumps(argument).decode() if argument is not None else None,
            rate,
            len(found),
            now,
        )
        await connection.copy_records_to_table(
            "job_item",
            records=[(job_id, number, tenant, *each) for number, each in enumerate(found, 1)],
            columns=("job_id", "number", "tenant", "order_id", "item"),
        )
    return len(found)


async def take_job(pool: asyncpg.Pool[Any], now: datetime, lease_s: float) -> Taken | None:
    """The oldest job that nobody works on, now in the caller's hands; None when there is none."""
    row = await pool.fetchrow(
        "update job set epoch = epoch + 1, lease_ends_at = $2 where job_id = (select job_id from job "
        "where state = 'running' and (lease_ends_at is null or lease_ends_at < $1) order by created_at limit 1 "
        "for update skip locked) returning job_id, tenant, action, operator, reason, argument, rate, epoch",
        now,
        now + timedelta(seconds=lease_s),
    )
    if row is None:
        return None
    argument = orjson.loads(row["argument"]) if row["argument"] is not None else None
    return Taken(
        row["job_id"],
        row["tenant"],
        row["action"],
        row["operator"],
        row["reason"],
        argument,
        row["rate"],
        row["epoch"],
    )


async def open_items(pool: asyncpg.Pool[Any], job_id: str, limit: int) -> list[tuple[int, str, str]]:
    """(number, order, item) of the next items without an outcome."""
    rows = await pool.fetch(
        "select number, order_id, item from job_item where job_id = $1 and outcome is null order by number limit $2",
        job_id,
        limit,
    )
    return [(row["number"], row["order_id"], row["item"]) for row in rows]


async def caused(pool: asyncpg.Pool[Any], causes: Mapping[str, str]) -> set[str]:
    """Which of the message ids (message id -> order) have made facts: their work is done, whoever heard of it."""
    rows = await pool.fetch(
        "select distinct cause from fact where order_id = any($1) and cause = any($2)",
        list(set(causes.values())),
        list(causes),
    )
    return {row["cause"] for row in rows}


async def settle(
    pool: asyncpg.Pool[Any], taken: Taken, settled: Sequence[Settled], now: datetime, lease_s: float
) -> bool:
    """Write outcomes and keep the job; False when it is not the runner's any more, or not to go on."""
    async with pool.acquire() as connection, connection.transaction():
        state = await connection.fetchval(
            "update job set lease_ends_at = $3 where job_id = $1 and epoch = $2 returning state",
            taken.job_id,
            taken.epoch,
            now + timedelta(seconds=lease_s),
        )
        if state is None:
            return False
        await connection.execute(
            "update job_item as i set outcome = n.outcome, code = n.code, reason = n.reason, settled_at = $2 "
            "from unnest($3::int[], $4::text[], $5::text[], $6::text[]) as n(number, outcome, code, reason) "
            "where i.job_id = $1 and i.number = n.number and i.outcome is null",
            taken.job_id,
            now,
            [each.number for each in settled],
            [each.outcome for each in settled],
            [each.code for each in settled],
            [each.reason for each in settled],
        )
    return bool(state == "running")


async def finish(pool: asyncpg.Pool[Any], taken: Taken, now: datetime) -> None:
    """The job has no open items: it is done, and what it was given is forgotten."""
    await pool.execute(
        "update job set state = 'done', ended_at = $3, argument = null, lease_ends_at = null "
        "where job_id = $1 and epoch = $2 and state = 'running'",
        taken.job_id,
        taken.epoch,
        now,
    )


_MOVES: Final = {
    "pause": ("running", "paused"),
    "resume": ("paused", "running"),
}


async def steer(pool: asyncpg.Pool[Any], tenant: str, job_id: str, action: str, now: datetime) -> None:
    """Pause, resume or stop a job. What is under way is finished first.

    Raises:
        NotFound: there is no such job.
        NotPossibleNow: its state does not allow it.
    """
    if action == "stop":
        done = await pool.execute(
            "update job set state = 'stopped', ended_at = $3, argument = null, lease_ends_at = null "
            "where job_id = $1 and tenant = $2 and state in ('running', 'paused')",
            job_id,
            tenant,
            now,
        )
    else:
        done = await pool.execute(
            "update job set state = $4, lease_ends_at = null where job_id = $1 and tenant = $2 and state = $3",
            job_id,
            tenant,
            *_MOVES[action],
        )
    if done != "UPDATE 1":
        job = await read_job(pool, tenant, job_id)
        raise NotPossibleNow(f"job {job_id} is {job['state']}", state=job["state"])


_JOB: Final = (
    "select j.job_id, j.action, j.operator, j.reason, j.selection, j.rate, j.state, j.total, j.created_at, j.ended_at, "
    "count(i.outcome) filter (where i.outcome = 'done') as done, "
    "count(i.outcome) filter (where i.outcome = 'refused') as refused, "
    "count(i.outcome) filter (where i.outcome = 'failed') as failed "
    "from job as j left join job_item as i on i.job_id = j.job_id where j.tenant = $1 "
)


async def read_job(pool: asyncpg.Pool[Any], tenant: str, job_id: str) -> dict[str, Any]:
    """A job with its counts.

    Raises:
        NotFound: the tenant has no such job.
    """
    row = await pool.fetchrow(_JOB + "and j.job_id = $2 group by j.job_id", tenant, job_id)
    if row is None:
        raise NotFound(f"there is no job {job_id!r}")
    return _shown(row)


async def list_jobs(pool: asyncpg.Pool[Any], tenant: str, limit: int) -> list[dict[str, Any]]:
    """Jobs, newest first."""
    rows = await pool.fetch(_JOB + "group by j.job_id order by j.created_at desc, j.job_id limit $2", tenant, limit)
    return [_shown(row) for row in rows]


def _shown(row: asyncpg.Record) -> dict[str, Any]:
    return dict(row) | {"selection": orjson.loads(row["selection"])}


async def job_items(
    pool: asyncpg.Pool[Any], tenant: str, job_id: str, *, outcome: str | None, after: int, limit: int
) -> list[dict[str, Any]]:
    """Items of a job in order, after a number; `open` asks for those without an outcome."""
    rows = await pool.fetch(
        "select number, order_id, item, outcome, code, reason, settled_at from job_item "
        "where tenant = $1 and job_id = $2 and number > $3 "
        "and ($4::text is null or outcome = $4 or ($4 = 'open' and outcome is null)) order by number limit $5",
        tenant,
        job_id,
        after,
        outcome,
        limit,
    )
    return [dict(row) for row in rows]
