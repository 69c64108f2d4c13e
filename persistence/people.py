"""Who works where: members of queues, workers with their shifts and skills, and who changed that when.

A queue without any member is open to everybody; with the first member it belongs to its members alone. A skill counts
until it expires. Every change leaves a row in `people_change`, written with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg
import orjson

from domain.errors import NotFound

CHANGES_SHOWN_MAX: Final = 50


class Skill(NamedTuple):
    """A skill that somebody has; `expires_at` None: for good."""

    skill: str
    level: int
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Staffing:
    """Who could do a kind of task: members of the queue, those with the skills, and of these those on shift.

    Of a queue that is open to everybody the latter two count all workers that are known.
    """

    members: int
    skilled: int
    on_shift: int

    @property
    def is_open(self) -> bool:
        """Whether the queue has no members, so that everybody may work in it."""
        return self.members == 0


_IS_ON_SHIFT: Final = "w.on_shift and (w.on_shift_until is null or w.on_shift_until > $2)"
_STAFFING: Final = f"""
with needed as (select * from unnest($4::text[], $5::int[]) as n(skill, level)),
skilled as (
    select {_IS_ON_SHIFT} as is_here from worker as w
     where w.tenant = $1
       and (exists (select 1 from queue_member as m where m.tenant = $1 and m.queue = $3 and m.worker = w.worker)
            or not exists (select 1 from queue_member as m where m.tenant = $1 and m.queue = $3))
       and not exists (
           select 1 from needed as n where not exists (
               select 1 from worker_skill as s
                where s.tenant = $1 and s.worker = w.worker and s.skill = n.skill and s.level >= n.level
                  and (s.expires_at is null or s.expires_at > $2))))
select (select count(*) from queue_member where tenant = $1 and queue = $3) as members,
       count(*) as skilled, count(*) filter (where is_here) as on_shift from skilled"""

_QUEUES: Final = """
with named as (
    select q ->> 'code' as code, coalesce(q ->> 'name', '') as name
      from (select body from release
             where tenant = $1 and retired_at is null and (not is_scheduled or effective_at <= $2)
             order by effective_at desc, sequence desc limit 1) as r,
           jsonb_array_elements(coalesce(r.body -> 'queues', '[]')) as q),
work as (
    select t.queue, count(*) as open, count(c.task_id) as held, min(t.opened_at) as oldest, min(t.due_at) as due_next
      from manual_task as t left join task_claim as c on c.task_id = t.task_id and c.claim_ends_at > $2
     where t.tenant = $1 and t.closed_at is null group by t.queue),
staff as (select queue, count(*) as members from queue_member where tenant = $1 group by queue),
known as (select code from named union select queue from work union select queue from staff)
select k.code, coalesce(n.name, '') as name, coalesce(w.open, 0) as open, coalesce(w.held, 0) as held, w.oldest,
       w.due_next, coalesce(s.members, 0) as members
  from known as k left join named as n using (code) left join work as w on w.queue = k.code
  left join staff as s on s.queue = k.code
 where $3::text is null or k.code = $3 order by k.code"""

_WORKERS: Final = f"""
select w.worker, {_IS_ON_SHIFT} as is_here, w.on_shift_until, w.changed_at, w.changed_by,
       (select coalesce(jsonb_agg(m.queue order by m.queue), '[]') from queue_member as m
         where m.tenant = w.tenant and m.worker = w.worker) as queues,
       (select coalesce(jsonb_agg(jsonb_build_object('skill', s.skill, 'level', s.level, 'expiresAt', s.expires_at,
                                                     'isExpired', coalesce(s.expires_at <= $2, false))
                                  order by s.skill), '[]')
          from worker_skill as s where s.tenant = w.tenant and s.worker = w.worker) as skills
  from worker as w
 where w.tenant = $1 and ($3::text is null or w.worker = $3)
   and ($4::text is null or exists (select 1 from queue_member as m
                                     where m.tenant = w.tenant and m.queue = $4 and m.worker = w.worker))
 order by w.worker limit $5"""


async def staffing(
    pool: asyncpg.Pool[Any], tenant: str, queue: str, skills: Sequence[tuple[str, int]], now: datetime
) -> Staffing:
    """How many people could do a task of the queue that needs these skills (name, level)."""
    row = await pool.fetchrow(_STAFFING, tenant, now, queue, [each[0] for each in skills], [each[1] for each in skills])
    assert row is not None, "an aggregate gives a row"
    return Staffing(row["members"], row["skilled"], row["on_shift"])


# Queues.


async def list_queues(
    pool: asyncpg.Pool[Any], tenant: str, now: datetime, code: str | None = None
) -> list[dict[str, Any]]:
    """Queues of the current release, and others that have tasks or members, with what is going on in each."""
    return [
        {
            "code": row["code"],
            "name": row["name"] or row["code"],
            "open": row["open"],
            "held": row["held"],
            "free": row["open"] - row["held"],
            "oldestAt": _text(row["oldest"]),
            "dueNextAt": _text(row["due_next"]),
            "members": row["members"],
            "isOpenToAll": row["members"] == 0,
        }
        for row in await pool.fetch(_QUEUES, tenant, now, code)
    ]


async def read_queue(pool: asyncpg.Pool[Any], tenant: str, code: str, now: datetime) -> dict[str, Any]:
    """One queue as in the list.

    Raises:
        NotFound: the newest release has no such queue, and it has neither tasks nor members.
    """
    found = await list_queues(pool, tenant, now, code)
    if not found:
        raise NotFound(
            f"there is no queue {code!r}", mend="see GET /v1/queues; publish the release that names the queue first"
        )
    return found[0]


async def add_member(
    pool: asyncpg.Pool[Any], tenant: str, queue: str, worker: str, *, actor: str, now: datetime
) -> bool:
    """Make somebody a member; a worker that was not known is on shift. False: was a member already."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "insert into worker (tenant, worker, on_shift, changed_at, changed_by) values ($1, $2, true, $3, $4) "
            "on conflict do nothing",
            tenant,
            worker,
            now,
            actor,
        )
        done = await connection.fetchval(
            "insert into queue_member (tenant, queue, worker, added_at, added_by) values ($1, $2, $3, $4, $5) "
            "on conflict do nothing returning true",
            tenant,
            queue,
            worker,
            now,
            actor,
        )
        if done:
            await _keep_change(connection, tenant, now, actor, "memberAdded", worker, queue)
    return bool(done)


async def remove_member(
    pool: asyncpg.Pool[Any], tenant: str, queue: str, worker: str, *, actor: str, now: datetime
) -> None:
    """End a membership.

    Raises:
        NotFound: there was none.
    """
    async with pool.acquire() as connection, connection.transaction():
        done = await connection.fetchval(
            "delete from queue_member where tenant = $1 and queue = $2 and worker = $3 returning true",
            tenant,
            queue,
            worker,
        )
        if not done:
            raise NotFound(f"{worker} is no member of queue {queue!r}")
        await _keep_change(connection, tenant, now, actor, "memberRemoved", worker, queue)


# Workers.


async def put_worker(
    pool: asyncpg.Pool[Any],
    tenant: str,
    worker: str,
    *,
    on_shift: bool | None,
    on_shift_until: datetime | None,
    skills: Sequence[Skill] | None,
    actor: str,
    now: datetime,
) -> None:
    """Say whether somebody is on shift, and what skills they have; None leaves it as it is (new: on shift)."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "insert into worker (tenant, worker, on_shift, on_shift_until, changed_at, changed_by) "
            "values ($1, $2, coalesce($3, true), $4, $5, $6) on conflict (tenant, worker) do update "
            "set on_shift = coalesce($3, worker.on_shift), "
            "on_shift_until = case when $3 is null then worker.on_shift_until else $4 end, "
            "changed_at = excluded.changed_at, changed_by = excluded.changed_by",
            tenant,
            worker,
            on_shift,
            on_shift_until,
            now,
            actor,
        )
        if skills is not None:
            await connection.execute("delete from worker_skill where tenant = $1 and worker = $2", tenant, worker)
            await connection.executemany(
                "insert into worker_skill (tenant, worker, skill, level, expires_at) values ($1, $2, $3, $4, $5)",
                [(tenant, worker, *each) for each in skills],
            )
        body: dict[str, Any] = {}
        if on_shift is not None:
            body |= {"onShift": on_shift, "onShiftUntil": _text(on_shift_until)}
        if skills is not None:
            body["skills"] = [{"skill": s.skill, "level": s.level, "expiresAt": _text(s.expires_at)} for s in skills]
        await _keep_change(connection, tenant, now, actor, "workerSet", worker, None, body)


async def list_workers(
    pool: asyncpg.Pool[Any], tenant: str, now: datetime, *, queue: str | None = None, limit: int
) -> list[dict[str, Any]]:
    """Workers with shift, skills and queues, by name; with a queue its members alone."""
    return [_worker(row) for row in await pool.fetch(_WORKERS, tenant, now, None, queue, limit)]


async def read_worker(pool: asyncpg.Pool[Any], tenant: str, worker: str, now: datetime) -> dict[str, Any]:
    """One worker as in the list.

    Raises:
        NotFound: nobody of that name is known.
    """
    row = await pool.fetchrow(_WORKERS, tenant, now, worker, None, 1)
    if row is None:
        raise NotFound(f"there is no worker {worker!r}", mend="make one: PUT /v1/workers/{name}")
    return _worker(row)


def _worker(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "name": row["worker"],
        "onShift": row["is_here"],
        "onShiftUntil": _text(row["on_shift_until"]),
        "skills": orjson.loads(row["skills"]),
        "queues": orjson.loads(row["queues"]),
        "changedAt": row["changed_at"].isoformat(),
        "changedBy": row["changed_by"],
    }


# Who changed what.


async def changes(
    pool: asyncpg.Pool[Any], tenant: str, *, queue: str | None = None, worker: str | None = None
) -> list[dict[str, Any]]:
    """The last 50 changes of a queue's members or of a worker, newest first."""
    column, value = ("queue", queue) if queue is not None else ("worker", worker)
    rows = await pool.fetch(
        f"select at, actor, kind, worker, queue, body from people_change where tenant = $1 and {column} = $2 "
        "order by change_id desc limit $3",
        tenant,
        value,
        CHANGES_SHOWN_MAX,
    )
    return [
        {
            "at": row["at"].isoformat(),
            "by": row["actor"],
            "kind": row["kind"],
            "worker": row["worker"],
            "queue": row["queue"],
            **(orjson.loads(row["body"]) if row["body"] else {}),
        }
        for row in rows
    ]


async def _keep_change(
    connection: Any,
    tenant: str,
    now: datetime,
    actor: str,
    kind: str,
    worker: str,
    queue: str | None,
    body: dict[str, Any] | None = None,
) -> None:
    await connection.execute(
        "insert into people_change (tenant, at, actor, kind, worker, queue, body) "
        "values ($1, $2, $3, $4, $5, $6, $7::jsonb)",
        tenant,
        now,
        actor,
        kind,
        worker,
        queue,
        orjson.dumps(body).decode() if body is not None else None,
    )


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None
