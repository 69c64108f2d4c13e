"""Manual tasks: what is open, and claim, take next, release, hand over, complete, notes; one at a time or many."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, TypeGuard

from aiohttp import web

from actors.remote import is_remote_failure
from domain import facts as f
from domain.errors import BadDocument, Busy, OrderplanError
from gateway.context import Context, context_of, tenant_of, user_of
from gateway.orders import native_json, read_object
from gateway.queries import limit_of
from persistence import tasks

LIMIT_MAX: Final = 500
BULK_MAX: Final = 200
NOTE_LENGTH_MAX: Final = 2000
NAME_LENGTH_MAX: Final = 100
PEOPLE_TIMEOUT_S: Final = 30.0
BULK_TIMEOUT_S: Final = 60.0


async def list_tasks(request: web.Request) -> web.Response:
    """GET /v1/tasks?queue=&worker=&free=true&limit=: open tasks, most urgent first; only what the worker may do."""
    context = context_of(request)
    limit = limit_of(request.query.get("limit", "100"), LIMIT_MAX)
    found = await tasks.list_tasks(
        context.pool,
        tenant_of(request),
        context.now(),
        worker=filter_of(request, "worker"),
        queue=filter_of(request, "queue"),
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
    answer = await _people(request, "claim", request.match_info["task_id"], _worker(request, body), _lease_s(body))
    return native_json(answer)


async def take_next_task(request: web.Request) -> web.Response:
    """POST /v1/tasks:next with `{"queues": [...], "leaseS": seconds}`: claim the most urgent free task; 204 without."""
    body = await read_object(request)
    queues = body.get("queues")
    if queues is not None and not _is_texts(queues):
        raise BadDocument("must be a list of queue codes", path="queues")
    task = await _people(request, "take_next", _worker(request, body), queues, _lease_s(body))
    return native_json(task) if task is not None else web.Response(status=204)


async def release_task(request: web.Request) -> web.Response:
    """POST /v1/tasks/{id}:release."""
    body = await read_object(request)
    return native_json(await _people(request, "release", request.match_info["task_id"], _worker(request, body)))


async def hand_over_task(request: web.Request) -> web.Response:
    """POST /v1/tasks/{id}:handOver with `{"to": worker}` by its holder; `"asOperator": true`: whoever holds it."""
    body = await read_object(request)
    as_operator = body.get("asOperator", False)
    if not isinstance(as_operator, bool):
        raise BadDocument("must be true or false", path="asOperator")
    by, to = _worker(request, body), name_of(body.get("to"), "to")
    answer = await _people(request, "hand_over", request.match_info["task_id"], by, to, _lease_s(body), as_operator)
    return native_json(answer)


async def complete_task(request: web.Request) -> web.Response:
    """POST /v1/tasks/{id}:complete with `{"data": {...}}`, the values of the form."""
    body = await read_object(request)
    worker, data = _worker(request, body), _data(body)
    return native_json(await _people(request, "complete", request.match_info["task_id"], worker, data))


async def add_note(request: web.Request) -> web.Response:
    """POST /v1/tasks/{id}/notes with `{"text": ...}`: a note, kept with the order's facts."""
    body = await read_object(request)
    text = body.get("text")
    if not isinstance(text, str) or not text.strip() or len(text) > NOTE_LENGTH_MAX:
        raise BadDocument(f"must be a text of 1 to {NOTE_LENGTH_MAX} characters", path="text")
    answer = await _people(request, "annotate", request.match_info["task_id"], _worker(request, body), text)
    return native_json(answer, 201)


async def list_notes(request: web.Request) -> web.Response:
    """GET /v1/tasks/{id}/notes: the notes of the task, oldest first."""
    context, tenant = context_of(request), tenant_of(request)
    task = await tasks.read_task(context.pool, tenant, request.match_info["task_id"], context.now())
    facts = await context.facts(tenant, task["orderId"])
    notes = [
        {"at": fact.at.isoformat(), "by": fact.actor.removeprefix("person:"), "text": fact.payload["text"]}
        for fact in facts
        if fact.kind == f.ITEM_ANNOTATED and fact.item == task["item"]
    ]
    return native_json(notes)


async def bulk_tasks(request: web.Request) -> web.Response:
    """POST /v1/tasks:claim|:release|:complete with `{"ids": [...]}`, up to 200: an outcome for each, in order."""
    action = request.match_info["action"]
    body = await read_object(request)
    task_ids, argument = _task_ids(body), _BULK_ARGUMENT[action](body)
    return await _bulk(request, action, task_ids, _worker(request, body), argument)


async def assign_tasks(request: web.Request) -> web.Response:
    """POST /v1/tasks:assign with `{"ids": [...], "to": worker}`, up to 200: somebody holds them from now on, whoever
    held them before; an outcome for each, in order.
    """
    body = await read_object(request)
    task_ids, to = _task_ids(body), name_of(body.get("to"), "to")
    return await _bulk(request, "assign", task_ids, _worker(request, body), (to, _lease_s(body)))


def _task_ids(body: dict[str, Any]) -> list[str]:
    task_ids = body.get("ids")
    if not _is_texts(task_ids) or not 1 <= len(task_ids) <= BULK_MAX:
        raise BadDocument(f"must be a list of 1 to {BULK_MAX} task ids", path="ids")
    if twice := [task_id for task_id, count in Counter(task_ids).items() if count > 1]:
        raise BadDocument(f"names {twice[0][:100]!r} twice", path="ids")
    return task_ids


async def _bulk(request: web.Request, action: str, task_ids: list[str], worker: str, argument: Any) -> web.Response:
    found = await _people(request, "bulk", action, task_ids, worker, argument, timeout_s=BULK_TIMEOUT_S)
    outcomes = [
        {"id": task_id, "done": False, "error": {"status": each.status, **each.as_dict()}}
        if isinstance(each, OrderplanError)
        else {"id": task_id, "done": True, "task": each}
        for task_id, each in zip(task_ids, found, strict=True)
    ]
    done = sum(bool(each["done"]) for each in outcomes)
    return native_json({"done": done, "refused": len(outcomes) - done, "outcomes": outcomes})


def filter_of(request: web.Request, name: str) -> str | None:
    """A name to filter a list by, if the request has one.

    Raises:
        BadDocument: it cannot be the name of anything.
    """
    given = request.query.get(name)
    if given is not None and not given.isprintable():
        raise BadDocument("must be printable text", path=name)
    return given


def name_of(given: Any, path: str) -> str:
    """The name of a person or skill.

    Raises:
        BadDocument: no printable text of at most 100 characters.
    """
    if not isinstance(given, str) or not given.strip() or len(given) > NAME_LENGTH_MAX or not given.isprintable():
        raise BadDocument(f"must be a name of 1 to {NAME_LENGTH_MAX} printable characters", path=path)
    return given


def _is_texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _lease_s(body: dict[str, Any]) -> float | None:
    lease_s = body.get("leaseS")
    if lease_s is not None and (not isinstance(lease_s, int | float) or isinstance(lease_s, bool) or lease_s <= 0):
        raise BadDocument("must be a positive number of seconds", path="leaseS")
    return lease_s


def _data(body: dict[str, Any]) -> dict[str, Any]:
    data = body.get("data", {})
    if not isinstance(data, dict):
        raise BadDocument("must be an object", path="data")
    return data


_BULK_ARGUMENT: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
    "claim": _lease_s,
    "complete": _data,
    "release": lambda _: None,
}
"""What a bulk action takes besides the tasks, from the body."""


def _worker(request: web.Request, body: dict[str, Any]) -> str:
    worker = body.get("worker") or user_of(request, "")
    if not worker:
        raise BadDocument("must name who works on it", path="worker", mend="send worker, or the header X-User")
    return name_of(worker, "worker")


async def _people(request: web.Request, method: str, *args: Any, timeout_s: float = PEOPLE_TIMEOUT_S) -> Any:
    context: Context = context_of(request)
    handle = context.people()
    if handle is None:
        raise Busy("the manual queues are starting", retryAfterS=1)
    try:
        async with asyncio.timeout(timeout_s):
            answer = await handle.ask.remote(method, *args)
    except Exception as error:
        if not (is_remote_failure(error) or isinstance(error, TimeoutError)):
            raise
        raise Busy("the manual queues do not answer; whether it was done is unknown", retryAfterS=1) from error
    if isinstance(answer, OrderplanError):
        raise answer
    return answer
