"""Manual tasks as people see them: what is open, who may do it, and who holds what until when.

A task's row is the plan's, written in its tick. A claim is the queue's own row, changed by conditional statements only,
so a second queue actor is harmless. Who may do a task is part of those statements: a skill that has expired, or a
membership that has ended, counts at that very moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import asyncpg
import orjson

from domain.errors import Busy, NotFound, NotQualified, OrderplanError, TaskTaken

NEXT_ATTEMPTS_MAX: Final = 50
"""How often take-next looks again after somebody else was faster."""

_OPEN: Final = (
    "select t.task_id, t.order_id, t.item, t.queue, t.name, t.priority, t.opened_at, t.due_at, t.closed_at, t.body, "
    "c.worker, c.claim_ends_at from manual_task as t left join task_claim as c on c.task_id = t.task_id "
    "and c.claim_ends_at > $2 "
)
# In all statements below $1 is the tenant, $2 the present, $3 the worker.
_IS_MEMBER: Final = (
    "(exists (select 1 from queue_member as m where m.tenant = t.tenant and m.queue = t.queue and m.worker = $3) "
    "or not exists (select 1 from queue_member as m where m.tenant = t.tenant and m.queue = t.queue))"
)
_MISSING: Final = (
    "select need.skill, need.level from jsonb_to_recordset(coalesce(t.body -> 'skills', '[]')) "
    "as need(skill text, level int) where not exists (select 1 from worker_skill as s where s.tenant = t.tenant "
    "and s.worker = $3 and s.skill = need.skill and s.level >= need.level "
    "and (s.expires_at is null or s.expires_at > $2))"
)
_MAY_DO: Final = f"{_IS_MEMBER} and not exists ({_MISSING})"
_ORDER: Final = "order by t.priority, t.due_at, t.opened_at, t.task_id"
"""Priority, then due date (those without one last), then age."""
_NEXT: Final = f"""
with best as (
    select t.task_id, t.tenant from manual_task as t
     where t.tenant = $1 and t.closed_at is null and ($4::text[] is null or t.queue = any($4))
       and t.task_id <> all($5::text[]) and {_MAY_DO}
       and not exists (select 1 from task_claim as c where c.task_id = t.task_id and c.claim_ends_at > $2)
     {_ORDER} limit 1 for no key update of t skip locked),
taken as (
    insert into task_claim (task_id, tenant, worker, claim_ends_at) select task_id, tenant, $3, $6 from best
    on conflict (task_id) do update set worker = excluded.worker, claim_ends_at = excluded.claim_ends_at
     where task_claim.claim_ends_at <= $2 returning task_id)
select (select task_id from best) as seen, (select task_id from taken) as taken"""
_CLAIM: Final = (
    "insert into task_claim (task_id, tenant, worker, claim_ends_at) "
    "select t.task_id, t.tenant, $3, $5 from manual_task as t "
    f"where t.tenant = $1 and t.task_id = $4 and t.closed_at is null and {_MAY_DO} "
    "on conflict (task_id) do update set worker = excluded.worker, claim_ends_at = excluded.claim_ends_at "
)
_HAND_OVER: Final = (
    "update task_claim as c set worker = $3, claim_ends_at = $5 from manual_task as t "
    "where t.task_id = c.task_id and t.tenant = $1 and t.task_id = $4 and t.closed_at is null "
    f"and c.worker = $6 and c.claim_ends_at > $2 and {_MAY_DO} returning true"
)


def _shown(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "id": row["task_id"],
        "orderId": row["order_id"],
        "item": row["item"],
        "queue": row["queue"],
        "name": row["name"],
        "priority": row["priority"],
        "openedAt": row["opened_at"].isoformat(),
        "dueAt": row["due_at"].isoformat() if row["due_at"] else None,
        "closedAt": row["closed_at"].isoformat() if row["closed_at"] else None,
        "worker": row["worker"],
        "claimEndsAt": row["claim_ends_at"].isoformat() if row["claim_ends_at"] else None,
        **orjson.loads(row["body"]),
    }


async def list_tasks(
    pool: asyncpg.Pool[Any],
    tenant: str,
    now: datetime,
    *,
    worker: str | None = None,
    queue: str | None = None,
    is_free: bool = False,
    limit: int,
) -> list[dict[str, Any]]:
    """Open tasks in the order of take-next; with a worker only those that the worker may do."""
    rows = await pool.fetch(
        _OPEN + f"where t.tenant = $1 and t.closed_at is null and ($3::text is null or ({_MAY_DO})) "
        f"and ($4::text is null or t.queue = $4) and (not $5 or c.worker is null) {_ORDER} limit $6",
        tenant,
        now,
        worker,
        queue,
        is_free,
        limit,
    )
    return [_shown(row) for row in rows]


async def read_task(pool: asyncpg.Pool[Any], tenant: str, task_id: str, now: datetime) -> dict[str, Any]:
    """One task, open or closed.

    Raises:
        NotFound: the tenant has no such task.
    """
    row = await pool.fetchrow(_OPEN + "where t.tenant = $1 and t.task_id = $3", tenant, now, task_id)
    if row is None:
        raise NotFound(f"there is no task {task_id!r}")
    return _shown(row)


async def claim_task(
    pool: asyncpg.Pool[Any], tenant: str, task_id: str, worker: str, now: datetime, lease_s: float
) -> datetime:
    """Give a free or lapsed task to `worker` (again), or change nothing; returns when the claim ends.

    Raises:
        NotFound: there is no such open task.
        NotQualified: the worker is no member of the queue, or lacks a skill.
        TaskTaken: somebody else holds it until a later moment than `now`.
    """
    ends_at = now + timedelta(seconds=lease_s)
    done = await pool.fetchval(
        _CLAIM + "where task_claim.worker = excluded.worker or task_claim.claim_ends_at <= $2 returning true",
        tenant,
        now,
        worker,
        task_id,
        ends_at,
    )
    if not done:
        raise await _refusal(pool, tenant, task_id, worker, now)
    return ends_at


async def claim_next(
    pool: asyncpg.Pool[Any],
    tenant: str,
    worker: str,
    now: datetime,
    lease_s: float,
    *,
    queues: Sequence[str] | None = None,
    without: Sequence[str] = (),
) -> str | None:
    """Give the first free task that the worker may do to the worker; None when there is none.

    However many workers ask at once, each task is given once: a row that somebody else is taking is passed over, and
    who looked at it a moment too early finds the claim and looks again.

    Args:
        pool: connections.
        tenant: whose tasks.
        worker: who asks.
        now: the present.
        lease_s: how long the claim holds.
        queues: only tasks of these; None: of all.
        without: tasks that are not wanted.
    Raises:
        Busy: others were faster too often.
    """
    for _ in range(NEXT_ATTEMPTS_MAX):
        row = await pool.fetchrow(
            _NEXT,
            tenant,
            now,
            worker,
            list(queues) if queues is not None else None,
            list(without),
            now + timedelta(seconds=lease_s),
        )
        if row is None or row["seen"] is None:
            return None
        if row["taken"] is not None:
            return str(row["taken"])
    raise Busy("too many people take tasks at this moment", retryAfterS=1)


async def hand_over_task(
    pool: asyncpg.Pool[Any],
    tenant: str,
    task_id: str,
    to: str,
    now: datetime,
    lease_s: float,
    *,
    holder: str | None,
) -> None:
    """Give the claim of `holder` to somebody else; holder None: whoever holds it, or nobody.

    Raises:
        NotFound: there is no such open task.
        NotQualified: `to` is no member of the queue, or lacks a skill.
        TaskTaken: `holder` does not hold it.
    """
    given = (tenant, now, to, task_id, now + timedelta(seconds=lease_s))
    if holder is None:
        done = await pool.fetchval(_CLAIM + "returning true", *given)
    else:
        done = await pool.fetchval(_HAND_OVER, *given, holder)
    if not done:
        raise await _refusal(pool, tenant, task_id, to, now, holder=holder)


async def _refusal(
    pool: asyncpg.Pool[Any], tenant: str, task_id: str, worker: str, now: datetime, *, holder: str | None = None
) -> OrderplanError:
    """Why the worker does not get the task; `holder` is who wanted to hand it over.

    Raises:
        NotFound: the tenant has no such task.
    """
    task = await read_task(pool, tenant, task_id, now)
    if task["closedAt"] is not None:
        return NotFound(f"task {task_id!r} is closed")
    row = await pool.fetchrow(
        f"select {_IS_MEMBER} as is_member, array(select n.skill || ' (level ' || n.level || ')' from ({_MISSING}) "
        "as n) as missing from manual_task as t where t.tenant = $1 and t.task_id = $4",
        tenant,
        now,
        worker,
        task_id,
    )
    assert row is not None, "the task was just read"
    if not row["is_member"]:
        return NotQualified(
            f"{worker} is no member of queue {task['queue']!r}",
            mend=f"orderplan queue add-member {task['queue']} {worker}",
            queue=task["queue"],
        )
    if row["missing"]:
        return NotQualified(
            f"{worker} lacks {', '.join(row['missing'])}",
            mend="the skill may have expired; give it with: orderplan worker set",
            missing=list(row["missing"]),
        )
    return not_held(task, holder) if holder is not None else taken(task)


def taken(task: dict[str, Any]) -> TaskTaken:
    """The refusal of what somebody else holds."""
    if task["worker"] is None:
        return TaskTaken("the task has just changed hands", mend="try again")
    return TaskTaken(
        f"{task['worker']} holds the task until {task['claimEndsAt']}",
        worker=task["worker"],
        claimEndsAt=task["claimEndsAt"],
    )


def not_held(task: dict[str, Any], worker: str) -> TaskTaken:
    """The refusal of what only the holder may do."""
    holder = f"{task['worker']} holds it" if task["worker"] else "nobody holds it (a lease may have lapsed)"
    return TaskTaken(f"{worker} does not hold the task: {holder}", mend="claim it again")


async def release_task(pool: asyncpg.Pool[Any], task_id: str, worker: str) -> bool:
    """Give a claim back; False when `worker` does not hold it."""
    done = await pool.execute("delete from task_claim where task_id = $1 and worker = $2", task_id, worker)
    return bool(done == "DELETE 1")


# Claims whose lease is over.


class Lapsed(NamedTuple):
    """A claim whose lease is over; `order_id` None: its task is closed, so no plan has to hear of it."""

    task_id: str
    worker: str
    ended_at: datetime
    order_id: str | None
    item: str | None


async def lapsed_claims(pool: asyncpg.Pool[Any], tenant: str, now: datetime, limit: int) -> list[Lapsed]:
    """Claims whose lease is over, the oldest first."""
    rows = await pool.fetch(
        "select c.task_id, c.worker, c.claim_ends_at, t.order_id, t.item from task_claim as c left join manual_task "
        "as t on t.task_id = c.task_id and t.closed_at is null where c.tenant = $1 and c.claim_ends_at <= $2 "
        "order by c.claim_ends_at limit $3",
        tenant,
        now,
        limit,
    )
    return [Lapsed(*row.values()) for row in rows]


async def drop_lapsed(pool: asyncpg.Pool[Any], claim: Lapsed) -> bool:
    """Forget a lapsed claim; False when the task has been claimed again meanwhile."""
    done = await pool.execute(
        "delete from task_claim where task_id = $1 and worker = $2 and claim_ends_at = $3",
        claim.task_id,
        claim.worker,
        claim.ended_at,
    )
    return bool(done == "DELETE 1")


async def claims_of(
    pool: asyncpg.Pool[Any], tenant: str, order_id: str, now: datetime
) -> dict[str, tuple[str, datetime]]:
    """Who holds which open task of an order, until when, by item key."""
    rows = await pool.fetch(
        "select t.item, c.worker, c.claim_ends_at from manual_task as t join task_claim as c on c.task_id = t.task_id "
        "where t.tenant = $1 and t.order_id = $2 and t.closed_at is null and c.claim_ends_at > $3",
        tenant,
        order_id,
        now,
    )
    return {row["item"]: (row["worker"], row["claim_ends_at"]) for row in rows}
