"""Manual tasks: what is open, and claim, release, complete."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from actors.remote import is_remote_failure
from domain.errors import BadDocument, Busy, OrderplanError
from gateway.context import Context, context_of, tenant_of, user_of
from gateway.orders import native_json, read_object
from persistence import tasks

LIMIT_MAX = 500
PEOPLE_TIMEOUT_S = 30.0


async def list_tasks(request: web.Request) -> web.Response:
    """GET /v1/tasks?queue=&free=true&limit=: open tasks, most urgent first."""
    context = context_of(request)
    try:
        limit = int(request.query.get("limit", "100"))
    except ValueError:
        raise BadDocument("must be a number", path="limit") from None
    if not 1 <= limit <= LIMIT_MAX:
        raise BadDocument(f"must be between 1 and {LIMIT_MAX}", path="limit")
    found = await tasks.list_tasks(
        context.pool,
        tenant_of(request),
        context.now(),
        queue=request.query.get("queue"),
        is_free=request.query.get("free") == "true",
        limit=limit,
    )
    return native_json(found)


async def get_task(request: web.Request) -> web.Response:
    """GET /v1/tasks/{id}."""
    context = context_of(request)
    task = await tasks.read_task(context.pool, tenant_of(request), request.match_info["task_id"], context.now())
    return native_json(task)


async def claim_task(request: web.Request) -> web.Response:
    """POST /v1/tasks/{id}:claim with `{"leaseS": seconds}`; the worker is the caller."""
    body = await read_object(request)
    lease_s = body.get("leaseS")
    if lease_s is not None and (not isinstance(lease_s, int | float) or isinstance(lease_s, bool) or lease_s <= 0):
        raise BadDocument("must be a positive number of seconds", path="leaseS")
    return await _people(request, "claim", _worker(request, body), lease_s)


async def release_task(request: web.Request) -> web.Response:
    """POST /v1/tasks/{id}:release."""
    body = await read_object(request)
    return await _people(request, "release", _worker(request, body))


async def complete_task(request: web.Request) -> web.Response:
    """POST /v1/tasks/{id}:complete with `{"data": {...}}`, the values of the form."""
    body = await read_object(request)
    data = body.get("data", {})
    if not isinstance(data, dict):
        raise BadDocument("must be an object", path="data")
    return await _people(request, "complete", _worker(request, body), data)


def _worker(request: web.Request, body: dict[str, Any]) -> str:
    worker = body.get("worker") or user_of(request, "")
    if not isinstance(worker, str) or not worker:
        raise BadDocument("must name who works on it", path="worker", mend="send worker, or the header X-User")
    return worker[:100]


async def _people(request: web.Request, method: str, *args: Any) -> web.Response:
    context: Context = context_of(request)
    handle = context.people()
    if handle is None:
        raise Busy("the manual queues are starting", retryAfterS=1)
    try:
        async with asyncio.timeout(PEOPLE_TIMEOUT_S):
            answer = await getattr(handle, method).remote(request.match_info["task_id"], *args)
    except Exception as error:
        if not (is_remote_failure(error) or isinstance(error, TimeoutError)):
            raise
        raise Busy("the manual queues do not answer; whether it was done is unknown", retryAfterS=1) from error
    if isinstance(answer, OrderplanError):
        raise answer
    return native_json(answer)
