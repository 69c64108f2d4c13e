"""Bulk jobs: one repair over a frozen selection of items, one step with a frozen selection of orders, or a campaign of
orders to submit, with an outcome for each.

A job is worked on under a lease and an epoch. Whoever takes it raises the epoch, and every write of a runner is
conditional on the epoch that it was given: one that has lost its lease changes nothing any more. `sent_to` moves before
anything is sent, so whoever takes the job over knows which items may have been done without anybody having written it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import asyncpg
import orjson

from domain.errors import NotFound, NotPossibleNow, OrderplanError
from persistence.fallout import FalloutFilter, select_items
from persistence.search import OrderSelection, select_orders

ITEMS_MAX: Final = 100_000
SUBMIT: Final = "submit"
"""The action of a campaign: each of its items is a line, an order to submit."""
ORDER_ACTIONS: Final = frozenset({"cancel", "hold", "resume", "prioritize"})
"""Of jobs whose items are orders as a whole: their `item` is empty."""
LINES_MAX: Final = 1_000_000
"""Of a campaign."""


class JobLost(OrderplanError):
    """Somebody else works on the job now, or its lease is over; nothing was changed."""

    status = 409
    code = "jobLost"


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a job is to do; `argument` is the answer or payload as it may be stored: encrypted."""

    job_id: str
    tenant: str
    action: str
    operator: str
    reason: str
    selection: Mapping[str, Any]
    rate: float
    argument: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A job under a runner's lease."""

    job_id: str
    tenant: str
    action: str
    operator: str
    reason: str
    rate: float
    state: str
    argument: dict[str, Any] | None
    sent_to: int
    epoch: int


class JobItem(NamedTuple):
    """One item of a job."""

    number: int
    order_id: str
    item: str


class Outcome(NamedTuple):
    """How one item went: `code` is what was done, or why not. A line that was submitted has an order since."""

    number: int
    outcome: str
    code: str
    reason: str
    order_id: str = ""


_TAKE: Final = """
update job set epoch = epoch + 1, lease_ends_at = $3
 where job_id = (
    select j.job_id from job as j
     where j.tenant = $1 and (j.lease_ends_at is null or j.lease_ends_at <= $2) and ($4 or j.action <> 'submit')
       and (j.state = 'running'
            or (j.state = 'stopped' and exists (
                select 1 from job_item as i where i.job_id = j.job_id and i.outcome is null and i.number <= j.sent_to)))
     order by j.created_at, j.job_id limit 1 for update skip locked)
returning job_id, tenant, action, operator, reason, rate, state, argument, sent_to, epoch"""

_RECORD: Final = """
update job_item as i set outcome = o.outcome, code = o.code, reason = o.reason, settled_at = $2,
       order_id = case when o.order_id = '' then i.order_id else o.order_id end
  from unnest($3::int[], $4::text[], $5::text[], $6::text[], $7::text[]) as o(number, outcome, code, reason, order_id)
 where i.job_id = $1 and i.number = o.number and i.outcome is null"""

_JOBS: Final = """
select j.job_id, j.action, j.operator, j.reason, j.selection, j.rate, j.state, j.total, j.created_at, j.ended_at,
       c.done, c.refused, c.failed, c.failed_again
  from job as j cross join lateral (
    select count(*) filter (where outcome = 'done') as done, count(*) filter (where outcome = 'refused') as refused,
           count(*) filter (where outcome = 'failed') as failed, count(f.item) as failed_again
      from job_item as i
      left join fallout_item as f
        on i.outcome = 'done' and f.order_id = i.order_id and f.item = i.item and f.retry_at is null
     where i.job_id = j.job_id) as c
 where j.tenant = $1 and ($2::text is null or j.job_id = $2)
 order by j.created_at desc, j.job_id desc limit $3"""

_BY_CAUSE: Final = """
select cause, kind from (
    select order_id, "offset", cause, kind from fact where order_id = any($1) and cause = any($2)
    union all
    select order_id, "offset", cause, kind from fact_archive where order_id = any($1) and cause = any($2)) as f
 order by f.order_id, f."offset"
"""

_MOVES: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "start": (("loading",), "running"),
    "pause": (("running",), "paused"),
    "resume": (("paused",), "running"),
    "stop": (("loading", "running", "paused"), "stopped"),
}
"""What an operator may do with a job: in which states, and what becomes of it."""


# Making and steering.


async def create_job(
    pool: asyncpg.Pool[Any],
    job: NewJob,
    *,
    wanted: FalloutFilter | OrderSelection | None,
    items: Sequence[tuple[str, str]],
    now: datetime,
) -> bool:
    """Freeze the selection and let the job begin, all or nothing; False: there is one of that id already.

    Args:
        pool: of the order database.
        job: what to do.
        wanted: takes every failed item, or every order, that fits just now.
        items: (order, item), each once; counts where `wanted` is None.
        now: the time.
    Raises:
        NotPossibleNow: nothing fits, or too much.
        NotFound: an item's order is none of the tenant.
    """
    async with pool.acquire() as connection, connection.transaction():
        if await connection.fetchval("select true from job where job_id = $1", job.job_id):
            return False
        found = list(items)
        if isinstance(wanted, OrderSelection):
            found = [(each, "") for each in await select_orders(connection, job.tenant, wanted, ITEMS_MAX + 1)]
        elif wanted is not None:
            found = await select_items(connection, job.tenant, wanted, ITEMS_MAX + 1)
        is_of_orders = job.action in ORDER_ACTIONS
        what, look_at = ("order", "GET /v1/orders") if is_of_orders else ("failed item", "GET /v1/fallout")
        if not found:
            raise NotPossibleNow(f"no {what} fits the selection", mend=f"look at {look_at}")
        if len(found) > ITEMS_MAX:
            raise NotPossibleNow(f"more than {ITEMS_MAX} fit the selection", mend="choose fewer, job by job")
        if wanted is None:
            await _require_orders(connection, job.tenant, found, "orders" if is_of_orders else "items", look_at)
        is_new = await _insert(connection, job, "running", len(found), now)
        if is_new:
            await connection.copy_records_to_table(
                "job_item",
                records=[(job.job_id, number, job.tenant, *each) for number, each in enumerate(found, 1)],
                columns=("job_id", "number", "tenant", "order_id", "item"),
            )
    return is_new


async def _insert(connection: Any, job: NewJob, state: str, total: int, now: datetime) -> bool:
    """Write a job's row; False: there is one of that id already."""
    is_new = await connection.fetchval(
        "insert into job (job_id, tenant, action, operator, reason, selection, argument, rate, state, total, "
        "created_at) values ($1, $2, $3, $4, $5, $6::jsonb, $7::jsonb, $8, $9, $10, $11) "
        "on conflict do nothing returning true",
        job.job_id,
        job.tenant,
        job.action,
        job.operator,
        job.reason,
        orjson.dumps(job.selection).decode(),
        orjson.dumps(job.argument).decode() if job.argument is not None else None,
        job.rate,
        state,
        total,
        now,
    )
    return bool(is_new)


async def create_campaign(pool: asyncpg.Pool[Any], job: NewJob, now: datetime) -> None:
    """Make a campaign without lines, to be loaded; one of that id stays as it is."""
    async with pool.acquire() as connection:
        # The argument says that there is a key: until it is destroyed.
        await _insert(connection, replace(job, argument={}), "loading", 0, now)


async def check_loading(connection: Any, tenant: str, job_id: str, after: int, *, lock: str = "") -> None:
    """Pass if a campaign takes lines and has so many; `connection` may be a pool.

    Raises:
        NotFound, NotPossibleNow: see `add_lines`.
    """
    row = await connection.fetchrow(
        f"select state, total, action from job where tenant = $1 and job_id = $2 {lock}", tenant, job_id
    )
    if row is None or row["action"] != SUBMIT:
        raise NotFound(f"there is no campaign {job_id!r}", mend="look at GET /v1/jobs")
    if row["state"] != "loading":
        raise NotPossibleNow(f"campaign {job_id} is {row['state']}; it takes no more orders", state=row["state"])
    if row["total"] != after:
        raise NotPossibleNow(
            f"campaign {job_id} has {row['total']} orders, not {after}",
            lines=row["total"],
            mend=f"go on with the line after the first {row['total']}, and say after={row['total']}",
        )


async def add_lines(
    pool: asyncpg.Pool[Any], tenant: str, job_id: str, after: int, bodies: Sequence[bytes]
) -> int:
    """Append lines to a campaign that has so many, all or none; returns how many it has then.

    Args:
        pool: of the order database.
        tenant: whose campaign it is.
        job_id: the campaign.
        after: lines that it has by the sender's count: so a repeat adds nothing twice.
        bodies: the lines, encrypted.
    Raises:
        NotFound: there is no such job.
        NotPossibleNow: it is not being loaded, has another number of lines, or would have too many.
    """
    async with pool.acquire() as connection, connection.transaction():
        await check_loading(connection, tenant, job_id, after, lock="for update")
        total = after + len(bodies)
        if total > LINES_MAX:
            raise NotPossibleNow(f"a campaign has at most {LINES_MAX} orders", mend="make a second one")
        numbers = range(after + 1, total + 1)
        await connection.copy_records_to_table(
            "job_item",
            records=[(job_id, number, tenant, "", "") for number in numbers],
            columns=("job_id", "number", "tenant", "order_id", "item"),
        )
        await connection.copy_records_to_table(
            "job_line",
            records=[(job_id, after + at, body) for at, body in enumerate(bodies, 1)],
            columns=("job_id", "number", "body"),
        )
        await connection.execute("update job set total = $2 where job_id = $1", job_id, total)
        return total


async def read_lines(pool: asyncpg.Pool[Any], job: Taken, numbers: Iterable[int]) -> dict[int, bytes]:
    """These lines of a campaign, encrypted, by number; those of a campaign that was stopped are gone."""
    rows = await pool.fetch(
        "select number, body from job_line where job_id = $1 and number = any($2)", job.job_id, list(numbers)
    )
    return {row["number"]: row["body"] for row in rows}


async def ended_campaigns(pool: asyncpg.Pool[Any], tenant: str) -> list[str]:
    """Campaigns that have ended and whose keys are still to be destroyed."""
    rows = await pool.fetch(
        "select job_id from job where tenant = $1 and action = $2 and state in ('stopped', 'done') "
        "and argument is not null",
        tenant,
        SUBMIT,
    )
    return [row["job_id"] for row in rows]


async def key_is_gone(pool: asyncpg.Pool[Any], job_ids: Sequence[str]) -> None:
    """Note that the keys of these campaigns are destroyed."""
    await pool.execute("update job set argument = null where job_id = any($1)", list(job_ids))


async def _require_orders(
    connection: Any, tenant: str, items: Sequence[tuple[str, str]], member: str, look_at: str
) -> None:
    rows = await connection.fetch(
        "select order_id from product_order where tenant = $1 and order_id = any($2)",
        tenant,
        list({order_id for order_id, _ in items}),
    )
    known = {row["order_id"] for row in rows}
    for index, (order_id, _) in enumerate(items):
        if order_id not in known:
            named = f"{member}[{index}]"
            raise NotFound(f"there is no order {order_id[:100]!r}", path=named, mend=f"look at {look_at}")


async def steer(pool: asyncpg.Pool[Any], tenant: str, job_id: str, action: str, now: datetime) -> None:
    """Pause, resume or stop a job. What is under way at that moment is still finished and written.

    Raises:
        NotFound: there is no such job.
        NotPossibleNow: it is in a state that does not allow that.
    """
    before, after = _MOVES[action]
    if action == "start" and not (await read_job(pool, tenant, job_id))["total"]:
        raise NotPossibleNow(f"campaign {job_id} has no orders", mend="POST them to /v1/campaigns/{id}/orders first")
    async with pool.acquire() as connection, connection.transaction():
        done = await connection.fetchval(
            "update job set state = $3::text, ended_at = case when $3::text = 'stopped' then $5::timestamptz end, "
            "argument = case when $3::text = 'stopped' and action <> $6 then null else argument end "
            "where tenant = $1 and job_id = $2 and state = any($4) returning true",
            tenant,
            job_id,
            after,
            list(before),
            now,
            SUBMIT,
        )
        if done and after == "stopped":
            # Nobody submits these any more, but the window under way, which has been read. A statement of its own: what
            # a loader has committed while this one waited for the job's row is seen by the next one only.
            await connection.execute("delete from job_line where job_id = $1", job_id)
    if not done:
        state = (await read_job(pool, tenant, job_id))["state"]
        raise NotPossibleNow(
            f"job {job_id} is {state}; {action} is possible when it is {' or '.join(before)}", state=state
        )


# A runner's.


async def take_job(
    pool: asyncpg.Pool[Any], tenant: str, now: datetime, lease_s: float, *, campaigns: bool = True
) -> Taken | None:
    """The oldest job that nobody works on, for this runner until the lease ends; None without one. Not of campaigns, if
    it has enough of them.

    A stopped job is taken only if items were sent whose outcome nobody has written.
    """
    row = await pool.fetchrow(_TAKE, tenant, now, now + timedelta(seconds=lease_s), campaigns)
    if row is None:
        return None
    argument = row["argument"]
    return Taken(**{**row, "argument": orjson.loads(argument) if argument is not None else None})


async def keep_job(pool: asyncpg.Pool[Any], job: Taken, now: datetime, lease_s: float) -> str:
    """The job's state; it stays with this runner for another lease.

    Raises:
        JobLost: it is somebody else's by now.
    """
    async with pool.acquire() as connection:
        return await _keep(connection, job, now, lease_s)


async def mark_sent(
    pool: asyncpg.Pool[Any], job: Taken, number: int, now: datetime, lease_s: float
) -> bool:
    """Say that everything up to this item is about to be sent; False: the job does not run any more.

    Raises:
        JobLost: it is somebody else's by now.
    """
    done = await pool.fetchval(
        "update job set sent_to = $3, lease_ends_at = $4 where job_id = $1 and epoch = $2 and state = 'running' "
        "returning true",
        job.job_id,
        job.epoch,
        number,
        now + timedelta(seconds=lease_s),
    )
    if not done:
        await keep_job(pool, job, now, lease_s)
    return bool(done)


async def settle(
    pool: asyncpg.Pool[Any], job: Taken, outcomes: Iterable[Outcome], now: datetime, lease_s: float
) -> None:
    """Write outcomes, whatever the job's state; one that stands stays as it is.

    Raises:
        JobLost: the job is somebody else's by now; nothing was written.
    """
    settled = list(outcomes)
    async with pool.acquire() as connection, connection.transaction():
        # Locks the job's row: nobody takes it before this is committed.
        await _keep(connection, job, now, lease_s)
        await connection.execute(
            _RECORD, job.job_id, now, *([each[index] for each in settled] for index in range(len(Outcome._fields)))
        )
        if job.action == SUBMIT:
            await connection.execute(
                "delete from job_line where job_id = $1 and number = any($2)",
                job.job_id,
                [each.number for each in settled],
            )


async def finish(pool: asyncpg.Pool[Any], job: Taken, now: datetime) -> bool:
    """End a running job all of whose items are settled; False: it is not so, or not this runner's."""
    return bool(
        await pool.fetchval(
            "update job set state = 'done', ended_at = $3, lease_ends_at = null, "
            "argument = case when action <> $4 then null else argument end "
            "where job_id = $1 and epoch = $2 and state = 'running' "
            "and not exists (select 1 from job_item as i where i.job_id = $1 and i.outcome is null) returning true",
            job.job_id,
            job.epoch,
            now,
            SUBMIT,
        )
    )


async def leave_job(pool: asyncpg.Pool[Any], job: Taken) -> None:
    """Give the lease back, so that whoever comes next need not wait for its end."""
    await pool.execute(
        "update job set lease_ends_at = null where job_id = $1 and epoch = $2", job.job_id, job.epoch
    )


async def sent_items(pool: asyncpg.Pool[Any], job: Taken) -> list[JobItem]:
    """Items that an earlier runner may have sent and whose outcome is not written, in order."""
    rows = await pool.fetch(
        "select number, order_id, item from job_item where job_id = $1 and outcome is null and number <= $2 "
        "order by number",
        job.job_id,
        job.sent_to,
    )
    return [JobItem(*row) for row in rows]


async def next_items(pool: asyncpg.Pool[Any], job: Taken, after: int, limit: int) -> list[JobItem]:
    """The items that follow, in order."""
    rows = await pool.fetch(
        "select number, order_id, item from job_item where job_id = $1 and number > $2 order by number limit $3",
        job.job_id,
        after,
        limit,
    )
    return [JobItem(*row) for row in rows]


async def facts_by_cause(
    pool: asyncpg.Pool[Any], order_ids: Iterable[str], causes: Iterable[str]
) -> dict[str, list[str]]:
    """Kinds of the facts that these messages have made in these orders, by message, oldest first.

    In one statement, which sees an order in one of the two tables: a job may be taken up long after its orders ended.
    """
    found: dict[str, list[str]] = {}
    for row in await pool.fetch(_BY_CAUSE, list(dict.fromkeys(order_ids)), list(causes)):
        found.setdefault(row["cause"], []).append(row["kind"])
    return found


async def _keep(connection: Any, job: Taken, now: datetime, lease_s: float) -> str:
    state: str | None = await connection.fetchval(
        "update job set lease_ends_at = $3 where job_id = $1 and epoch = $2 returning state",
        job.job_id,
        job.epoch,
        now + timedelta(seconds=lease_s),
    )
    if state is None:
        raise JobLost(f"job {job.job_id} is worked on by somebody else")
    return state


# For readers.


async def list_jobs(pool: asyncpg.Pool[Any], tenant: str, limit: int) -> list[dict[str, Any]]:
    """Jobs with their counts, newest first."""
    return [_shown(row) for row in await pool.fetch(_JOBS, tenant, None, limit)]


async def read_job(pool: asyncpg.Pool[Any], tenant: str, job_id: str) -> dict[str, Any]:
    """A job with its counts.

    Raises:
        NotFound: the tenant has no such job.
    """
    row = await pool.fetchrow(_JOBS, tenant, job_id, 1)
    if row is None:
        raise NotFound(f"there is no job {job_id!r}", mend="look at GET /v1/jobs")
    return _shown(row)


def _shown(row: asyncpg.Record) -> dict[str, Any]:
    return dict(row) | {"selection": orjson.loads(row["selection"])}


async def job_items(
    pool: asyncpg.Pool[Any], tenant: str, job_id: str, *, outcome: str | None, after: int, limit: int
) -> list[dict[str, Any]]:
    """Items of a job in order, after a number; `open` asks for those without an outcome, `failedAgain` for those done
    that are Fatally Failed now.
    """
    rows = await pool.fetch(
        "select i.number, i.order_id, i.item, i.outcome, i.code, i.reason, i.settled_at from job_item as i "
        "where i.tenant = $1 and i.job_id = $2 and i.number > $3 "
        "and ($4::text is null or i.outcome = $4 or ($4 = 'open' and i.outcome is null) "
        "or ($4 = 'failedAgain' and i.outcome = 'done' and exists (select from fallout_item as f "
        "where f.order_id = i.order_id and f.item = i.item and f.retry_at is null))) order by i.number limit $5",
        tenant,
        job_id,
        after,
        outcome,
        limit,
    )
    return [dict(row) for row in rows]
