"""The fallout desk: what has failed for good, by cause, and its repair in bulk."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, cast

import orjson
from aiohttp import web

from actors.remote import is_remote_failure
from domain.errors import BadDocument, Busy, OrderplanError, PlanUnreadable
from domain.messages import OperateItem
from domain.plan import Plan
from domain.preview import preview_operation
from gateway.context import Context, context_of, tenant_of, user_of
from gateway.documents import read_instant
from gateway.orders import is_dry_run, native_json, read_object, reason_of
from gateway.queries import limit_of
from persistence import fallout, jobs, reads
from persistence.fallout import FalloutFilter, Place

LIMIT_MAX: Final = 1_000
RATE_DEFAULT: Final = 200.0
RATE_MAX: Final = 5_000.0
_TEXTS: Final = {
    "system": "system",
    "errorCode": "error_code",
    "queue": "queue",
    "plan": "plan",
    "name": "name",
    "account": "account",
    "order": "order_id",
}
STATES: Final = ("failed", "retrying", "all")
"""Failed for good, failed and tried again later, both."""
OUTCOMES: Final = ("done", "refused", "failed", "open", "failedAgain")
_INSTANTS: Final = {"failedAfter": "failed_after", "failedBefore": "failed_before"}
_ARGUMENT: Final = {"retry": None, "skip": None, "complete": "answer", "edit": "payload"}
_MEMBERS: Final = frozenset({"filter", "items", "reason", "rate"})
JOB_TIMEOUT_S: Final = 30.0
_PAGING: Final = frozenset({"limit", "after"})


def read_filter(given: Mapping[str, Any], at: str) -> FalloutFilter:
    """A filter from query parameters or a JSON object; `at` begins the paths of complaints.

    Raises:
        BadDocument: a member is not known, or of a wrong type.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        path = f"{at}{name}"
        if name in _TEXTS:
            if not isinstance(value, str) or "\0" in value:
                raise BadDocument("must be a text", path=path)
            found[_TEXTS[name]] = value
        elif name in _INSTANTS:
            instant = read_instant(value) if isinstance(value, str) else None
            if instant is None:
                raise BadDocument("must be an instant with a time zone (RFC 3339)", path=path)
            found[_INSTANTS[name]] = instant
        elif name == "state":
            if value not in STATES:
                raise BadDocument(f"must be one of {', '.join(STATES)}", path=path)
            found["state"] = value
        else:
            names = ", ".join([*_TEXTS, *_INSTANTS, "state"])
            raise BadDocument("is no filter of fallout", path=path, mend=f"use {names}")
    return FalloutFilter(**found)


async def list_fallout(request: web.Request) -> web.Response:
    """GET /v1/fallout: items that failed for good (`state`: `retrying`, `all`), longest ago first.

    `after` is the `next` of the page before.
    """
    wanted = read_filter({name: value for name, value in request.query.items() if name not in _PAGING}, "")
    limit = limit_of(request.query.get("limit", "100"), LIMIT_MAX)
    after = _read_place(request.query["after"]) if "after" in request.query else None
    rows = await fallout.list_items(context_of(request).pool, tenant_of(request), wanted, after=after, limit=limit)
    shown = [
        {
            "orderId": row["order_id"],
            "item": row["item"],
            "name": row["name"],
            "plan": row["plan"],
            "system": row["system"],
            "queue": row["queue"],
            "errorCode": row["error_code"],
            "error": row["error"],
            "attempt": row["attempt"],
            "failedAt": row["failed_at"].isoformat(),
            "account": row["account"],
            "priority": row["priority"],
            "retryAt": row["retry_at"].isoformat() if row["retry_at"] else None,
        }
        for row in rows
    ]
    last = rows[-1] if len(rows) == limit else None
    following = _place_text(Place(last["failed_at"], last["order_id"], last["item"])) if last else None
    return native_json({"items": shown, "next": following})


async def list_groups(request: web.Request) -> web.Response:
    """GET /v1/fallout/groups: how many items failed at which system with which error, the most first.

    `count` are those that failed for good, `retrying` those that are tried again.
    """
    wanted = read_filter({"state": "all"} | dict(request.query), "")
    rows = await fallout.groups(context_of(request).pool, tenant_of(request), wanted)
    return native_json(
        [
            {
                "system": row["system"],
                "errorCode": row["error_code"],
                "count": row["count"],
                "retrying": row["retrying"],
                "oldest": row["oldest"].isoformat(),
                "newest": row["newest"].isoformat(),
                "sample": row["sample"],
            }
            for row in rows
        ]
    )


async def start_job(request: web.Request) -> web.Response:
    """POST /v1/fallout:retry|:skip|:complete|:edit: repair a frozen selection in the background; 202 with the job.

    `{"filter": {...}}` or `{"items": [[order, item], ...]}`, with `reason`, and `rate` (items a second); `answer` for
    complete, `payload` (members that change, RFC 7396) for edit. With a header `Idempotency-Key` a repeat of the same
    request gives the first one's job. With dryRun=true nothing is done: of at most 1,000 items, those that failed
    longest ago, it says the state that each would have or why it would be refused.
    """
    context = context_of(request)
    action = request.match_info["action"]
    body = await read_object(request)
    reason = reason_of(body)
    argument = _argument(action, body)
    rate = rate_of(body, RATE_DEFAULT)
    wanted, items, selection = _selection(body)
    if is_dry_run(request):
        return native_json(await _rehearsed(context, tenant_of(request), action, argument, wanted, items))
    key = request.headers.get("Idempotency-Key") or uuid.uuid4().hex
    made = await ask_jobs(
        context, "start_job", action, user_of(request), reason, selection, wanted, items, argument, rate, key
    )
    return native_json(job_view(made), 202)


async def _rehearsed(
    context: Context,
    tenant: str,
    action: str,
    argument: dict[str, Any],
    wanted: FalloutFilter | None,
    items: list[tuple[str, str]],
) -> dict[str, Any]:
    """What a job would do, item by item."""
    chosen = items
    if wanted is not None:
        rows = await fallout.list_items(context.pool, tenant, wanted, after=None, limit=LIMIT_MAX + 1)
        chosen = [(row["order_id"], row["item"]) for row in rows]
    plans: dict[str, Plan | OrderplanError] = {}
    shown: list[dict[str, Any]] = []
    for order_id, item in chosen[:LIMIT_MAX]:
        if order_id not in plans:
            try:
                plans[order_id] = await context.plan(tenant, order_id)
            except OrderplanError as error:
                plans[order_id] = error
        found = plans[order_id]
        entry: dict[str, Any] = {"orderId": order_id, "item": item}
        message = OperateItem(
            item=item,
            action=cast("Literal['retry', 'complete', 'skip', 'edit']", action),  # the route admits these only
            operator="",
            reason="",
            message_id="",
            answer=argument if action == "complete" else {},
            payload=argument if action == "edit" else {},
            is_patch=action == "edit",
            is_fallout_only=True,
        )
        try:
            if isinstance(found, OrderplanError):
                raise found
            entry["stateAfter"] = preview_operation(found, message, context.now()).state.value
        except OrderplanError as error:
            entry["refused"] = error.as_dict()
        shown.append(entry)
    refused = sum("refused" in entry for entry in shown)
    return {
        "dryRun": True,
        "total": len(shown),
        "refused": refused,
        "done": len(shown) - refused,
        "more": len(chosen) > LIMIT_MAX,
        "items": shown,
    }


def _argument(action: str, body: Mapping[str, Any]) -> dict[str, Any]:
    name = _ARGUMENT[action]
    for member in body:
        if member not in _MEMBERS and member != name:
            known = ", ".join(sorted(_MEMBERS | ({name} if name else set())))
            raise BadDocument(f"has no meaning for {action}", path=member[:100], mend=f"give {known}")
    argument = body.get(name, {}) if name is not None else {}
    if not isinstance(argument, dict) or (action == "edit" and not argument):
        raise BadDocument("must be an object" + (" that says what changes" if action == "edit" else ""), path=name)
    return argument


def _selection(body: Mapping[str, Any]) -> tuple[FalloutFilter | None, list[tuple[str, str]], dict[str, Any]]:
    if ("filter" in body) == ("items" in body):
        raise BadDocument("give either filter or items", path="filter", mend='{"filter": {}} means everything')
    if "filter" in body:
        if not isinstance(body["filter"], dict):
            raise BadDocument("must be an object", path="filter")
        return read_filter(body["filter"], "filter."), [], {"filter": body["filter"]}
    items = body["items"]
    if not isinstance(items, list):
        raise BadDocument("must be a list of [order, item]", path="items")
    for index, each in enumerate(items):
        if not (isinstance(each, list) and len(each) == 2 and all(isinstance(part, str) for part in each)):
            raise BadDocument("must be [order, item]", path=f"items[{index}]")
    chosen = list(dict.fromkeys((order, item) for order, item in items))
    return None, chosen, {"items": len(chosen)}


async def list_jobs(request: web.Request) -> web.Response:
    """GET /v1/jobs: bulk jobs, newest first."""
    limit = limit_of(request.query.get("limit", "50"), LIMIT_MAX)
    found = await jobs.list_jobs(context_of(request).pool, tenant_of(request), limit)
    return native_json([job_view(each) for each in found])


async def get_job(request: web.Request) -> web.Response:
    """GET /v1/jobs/{id}: how far it is."""
    found = await jobs.read_job(context_of(request).pool, tenant_of(request), request.match_info["job_id"])
    return native_json(job_view(found))


async def list_job_items(request: web.Request) -> web.Response:
    """GET /v1/jobs/{id}/items?outcome=&after=: what became of each item, and the state it is in now.

    `outcome`: done, refused, failed, open, or failedAgain for those done that are Fatally Failed now. Items of a job
    over orders are the orders: their `item` is empty.
    """
    context, tenant, job_id = context_of(request), tenant_of(request), request.match_info["job_id"]
    outcome = request.query.get("outcome")
    if outcome is not None and outcome not in OUTCOMES:
        raise BadDocument(f"must be one of {', '.join(OUTCOMES)}", path="outcome")
    await jobs.read_job(context.pool, tenant, job_id)
    limit = limit_of(request.query.get("limit", "100"), LIMIT_MAX)
    after = request.query.get("after", "0")
    if not after.isdecimal() or len(after) > 9:
        raise BadDocument("must be the number of an item", path="after")
    rows = await jobs.job_items(context.pool, tenant, job_id, outcome=outcome, after=int(after), limit=limit)
    states = await _states_now(context, tenant, {row["order_id"] for row in rows if row["item"]})
    of_orders = await reads.states_of(context.pool, tenant, {row["order_id"] for row in rows if not row["item"]})
    states |= {(order_id, ""): state for order_id, state in of_orders.items()}
    return native_json(
        [
            {
                "number": row["number"],
                "orderId": row["order_id"],
                "item": row["item"],
                "outcome": row["outcome"],
                "code": row["code"],
                "reason": row["reason"],
                "settledAt": row["settled_at"].isoformat() if row["settled_at"] else None,
                "stateNow": states.get((row["order_id"], row["item"])),
            }
            for row in rows
        ]
    )


async def _states_now(context: Context, tenant: str, order_ids: set[str]) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for order_id, stored in (await context.store.facts_of(order_ids)).items():
        if not stored:
            continue
        try:
            plan = await context.folder.fold(stored)
        except PlanUnreadable:
            # Its items have no state that anybody could tell; the others of the page do.
            continue
        if plan.order.tenant == tenant:
            found.update({(order_id, item.key): item.state.value for item in plan.items})
    return found


async def steer_job(request: web.Request) -> web.Response:
    """POST /v1/jobs/{id}:pause|:resume|:stop: what is under way is finished first."""
    context, tenant, job_id = context_of(request), tenant_of(request), request.match_info["job_id"]
    await jobs.steer(context.pool, tenant, job_id, request.match_info["action"], context.now())
    return native_json(job_view(await jobs.read_job(context.pool, tenant, job_id)))


def job_view(job: Mapping[str, Any]) -> dict[str, Any]:
    """A job as the API shows it. `done` says that the plan has carried the action out, not that the work is done;
    `failedAgain` are those of them that are Fatally Failed now.
    """
    settled = job["done"] + job["refused"] + job["failed"]
    return {
        "id": job["job_id"],
        "action": job["action"],
        "operator": job["operator"],
        "reason": job["reason"],
        "selection": job["selection"],
        "rate": job["rate"],
        "state": job["state"],
        "total": job["total"],
        "done": job["done"],
        "refused": job["refused"],
        "failed": job["failed"],
        "open": job["total"] - settled,
        "failedAgain": job["failed_again"],
        "progress": round(settled / job["total"], 4) if job["total"] else 0.0,
        "createdAt": job["created_at"].isoformat(),
        "endedAt": job["ended_at"].isoformat() if job["ended_at"] else None,
    }


def rate_of(body: Mapping[str, Any], default: float) -> float:
    """Items a second, of a job.

    Raises:
        BadDocument: it is no number in bounds.
    """
    rate = body.get("rate", default)
    if not isinstance(rate, int | float) or isinstance(rate, bool) or not 1 <= rate <= RATE_MAX:
        raise BadDocument(f"must be a number between 1 and {RATE_MAX:.0f}", path="rate")
    return float(rate)


async def ask_jobs(context: Context, method: str, *args: Any) -> Any:
    """What the method of `actors.jobs.Jobs` gives.

    Raises:
        OrderplanError: its refusal.
        Busy: nobody answered; whether it was done is unknown.
    """
    handle = context.people()
    if handle is None:
        raise Busy("what runs bulk jobs is starting", retryAfterS=1)
    try:
        async with asyncio.timeout(JOB_TIMEOUT_S):
            answer = await handle.ask_jobs.remote(method, *args)
    except Exception as error:
        if not (is_remote_failure(error) or isinstance(error, TimeoutError)):
            raise
        raise Busy(
            "whether it was done is unknown", mend="send it again with the same Idempotency-Key or after", retryAfterS=1
        ) from error
    if isinstance(answer, OrderplanError):
        raise answer
    return answer


def _place_text(place: Place) -> str:
    plain = orjson.dumps([place.failed_at.isoformat(), place.order_id, place.item])
    return base64.urlsafe_b64encode(plain).decode().rstrip("=")


def _read_place(text: str) -> Place:
    try:
        at, order_id, item = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return Place(datetime.fromisoformat(at), str(order_id), str(item))
    except (ValueError, TypeError):
        raise BadDocument("is no place in the list", path="after", mend="send the next of the page before") from None
