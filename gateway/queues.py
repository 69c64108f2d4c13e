"""Manual queues and the people who work in them, administered at run time."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from aiohttp import web

from domain.errors import BadDocument
from gateway.context import context_of, tenant_of, user_of
from gateway.documents import read_instant
from gateway.orders import native_json, read_object
from gateway.people import LIMIT_MAX, filter_of, name_of
from gateway.queries import limit_of
from persistence import people
from persistence.people import Skill

SKILLS_MAX: Final = 200
LEVEL_MAX: Final = 100


async def list_queues(request: web.Request) -> web.Response:
    """GET /v1/queues: what is open, held, oldest and due next in each queue, and how many members it has."""
    context = context_of(request)
    return native_json(await people.list_queues(context.pool, tenant_of(request), context.now()))


async def get_queue(request: web.Request) -> web.Response:
    """GET /v1/queues/{code}: one queue with its members, and who changed them when."""
    return native_json(await _queue(request))


async def put_member(request: web.Request) -> web.Response:
    """PUT /v1/queues/{code}/members/{worker}: make somebody a member; the first one closes the queue to all others."""
    context, tenant = context_of(request), tenant_of(request)
    code, worker = request.match_info["code"], name_of(request.match_info["worker"], "worker")
    await people.read_queue(context.pool, tenant, code, context.now())
    await people.add_member(context.pool, tenant, code, worker, actor=user_of(request), now=context.now())
    return native_json(await _queue(request))


async def delete_member(request: web.Request) -> web.Response:
    """DELETE /v1/queues/{code}/members/{worker}: end a membership; without members a queue is open to everybody."""
    context = context_of(request)
    code, worker = request.match_info["code"], request.match_info["worker"]
    await people.remove_member(
        context.pool, tenant_of(request), code, worker, actor=user_of(request), now=context.now()
    )
    return web.Response(status=204)


async def _queue(request: web.Request) -> dict[str, Any]:
    context, tenant, code = context_of(request), tenant_of(request), request.match_info["code"]
    queue = await people.read_queue(context.pool, tenant, code, context.now())
    workers = await people.list_workers(context.pool, tenant, context.now(), queue=code, limit=LIMIT_MAX)
    return queue | {"workers": workers, "changes": await people.changes(context.pool, tenant, queue=code)}


async def list_workers(request: web.Request) -> web.Response:
    """GET /v1/workers?queue=&limit=: who there is, with shift, skills and queues."""
    context = context_of(request)
    limit = limit_of(request.query.get("limit", "100"), LIMIT_MAX)
    found = await people.list_workers(
        context.pool, tenant_of(request), context.now(), queue=filter_of(request, "queue"), limit=limit
    )
    return native_json(found)


async def get_worker(request: web.Request) -> web.Response:
    """GET /v1/workers/{name}: one worker, and who changed what about them."""
    return native_json(await _worker(request))


async def put_worker(request: web.Request) -> web.Response:
    """PUT /v1/workers/{name} with `{"onShift": true, "skills": [{"skill": ..., "level": 2, "expiresAt": ...}]}`."""
    context, tenant = context_of(request), tenant_of(request)
    name = name_of(request.match_info["name"], "name")
    body = await read_object(request)
    _refuse_unknown(body, {"onShift", "onShiftUntil", "skills"}, "")
    on_shift, until = body.get("onShift"), _instant(body.get("onShiftUntil"), "onShiftUntil")
    if on_shift is not None and not isinstance(on_shift, bool):
        raise BadDocument("must be true or false", path="onShift")
    if until is not None and on_shift is not True:
        raise BadDocument("has a meaning only with onShift true", path="onShiftUntil")
    await people.put_worker(
        context.pool,
        tenant,
        name,
        on_shift=on_shift,
        on_shift_until=until,
        skills=_skills(body["skills"]) if body.get("skills") is not None else None,
        actor=user_of(request),
        now=context.now(),
    )
    return native_json(await _worker(request))


async def _worker(request: web.Request) -> dict[str, Any]:
    context, tenant, name = context_of(request), tenant_of(request), request.match_info["name"]
    worker = await people.read_worker(context.pool, tenant, name, context.now())
    return worker | {"changes": await people.changes(context.pool, tenant, worker=name)}


def _skills(given: Any) -> list[Skill]:
    if not isinstance(given, list) or len(given) > SKILLS_MAX:
        raise BadDocument(f"must be a list of at most {SKILLS_MAX} skills", path="skills")
    skills: dict[str, Skill] = {}
    for index, each in enumerate(given):
        path = f"skills[{index}]"
        if not isinstance(each, dict):
            raise BadDocument("must be an object", path=path, mend='write {"skill": "fibre", "level": 2}')
        _refuse_unknown(each, {"skill", "level", "expiresAt"}, f"{path}.")
        name, level = name_of(each.get("skill"), f"{path}.skill"), each.get("level", 1)
        if not isinstance(level, int) or isinstance(level, bool) or not 1 <= level <= LEVEL_MAX:
            raise BadDocument(f"must be a whole number between 1 and {LEVEL_MAX}", path=f"{path}.level")
        if name in skills:
            raise BadDocument(f"skill {name!r} is given twice", path=f"{path}.skill")
        skills[name] = Skill(name, level, _instant(each.get("expiresAt"), f"{path}.expiresAt"))
    return list(skills.values())


def _instant(given: Any, path: str) -> datetime | None:
    if given is None:
        return None
    instant = read_instant(given) if isinstance(given, str) else None
    if instant is None:
        raise BadDocument("must be an instant with a time zone", path=path, mend="write it as 2027-01-31T00:00:00Z")
    return instant


def _refuse_unknown(body: dict[str, Any], known: set[str], at: str) -> None:
    for name in body:
        if name not in known:
            raise BadDocument("is unknown", path=f"{at}{name}"[:100], mend=f"give {', '.join(sorted(known))}")
