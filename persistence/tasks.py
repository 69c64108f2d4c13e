"""Manual tasks as people see them: what is open, and who holds what until when.

A task's row is the plan's, written in its tick. A claim is the queue's own row, changed by conditional update only,
so a second queue actor is harmless.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import asyncpg
import orjson

from domain.errors import NotFound, TaskTaken

_OPEN = (
    "select t.task_id, t.order_id, t.item, t.queue, t.name, t.priority, t.opened_at, t.due_at, t.closed_at, t.body, "
    "c.worker, c.claim_ends_at from manual_task as t left join task_claim as c on c.task_id = t.task_id "
    "and c.claim_ends_at > $2 "
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
    pool: asyncpg.Pool[Any], tenant: str, now: datetime, *, queue: str | None = None, is_free: bool = False, limit: int
) -> list[dict[str, Any]]:
    """Open tasks by priority, then age."""
    rows = await pool.fetch(
        _OPEN + "where t.tenant = $1 and t.closed_at is null and ($3::text is null or t.queue = $3) "
        "and (not $4 or c.worker is null) order by t.priority, t.opened_at, t.task_id limit $5",
        tenant,
        now,
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
        TaskTaken: somebody else holds it until a later moment than `now`.
    """
    ends_at = now + timedelta(seconds=lease_s)
    done = await pool.fetchrow(
        "insert into task_claim (task_id, tenant, worker, claim_ends_at) "
        "select task_id, tenant, $3, $4 from manual_task where tenant = $1 and task_id = $2 and closed_at is null "
        "on conflict (task_id) do update set worker = excluded.worker, claim_ends_at = excluded.claim_ends_at "
        "where task_claim.worker = excluded.worker or task_claim.claim_ends_at <= $5 returning claim_ends_at",
        tenant,
        task_id,
        worker,
        ends_at,
        now,
    )
    if done is not None:
        return ends_at
    holder = await pool.fetchrow("select worker, claim_ends_at from task_claim where task_id = $1", task_id)
    task = await read_task(pool, tenant, task_id, now)
    if task["closedAt"] is not None or holder is None:
        raise NotFound(f"task {task_id!r} is closed")
    raise TaskTaken(
        f"{holder['worker']} holds the task until {holder['claim_ends_at'].isoformat()}",
        worker=holder["worker"],
        claimEndsAt=holder["claim_ends_at"].isoformat(),
    )


async def release_task(pool: asyncpg.Pool[Any], task_id: str, worker: str) -> bool:
    """Give a claim back; False when `worker` does not hold it."""
    done = await pool.execute("delete from task_claim where task_id = $1 and worker = $2", task_id, worker)
    return bool(done == "DELETE 1")
