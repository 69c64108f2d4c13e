"""Orders under way: held, frozen, amended, cancelled, moved to another release; natively and as TMF622 has it.

What would come of a change is told by the same address with `?dryRun=true`, which writes nothing. A change that has to
wait for work under way answers 202; it is carried out when the last of it has ended.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from typing import Any, Final, Literal, cast

import orjson
from aiohttp import web

from actors.envelopes import ToPlan
from domain import facts as f
from domain.edits import merged
from domain.errors import BadDocument, NotFound
from domain.ids import shard_of
from domain.lineup import check_move
from domain.messages import ChangeOrder, SteerOrder
from domain.plan import Plan
from gateway.context import context_of, tenant_of, user_of
from gateway.documents import decode_body
from gateway.orders import (
    ANSWER_TIMEOUT_S,
    REASON_LENGTH_MAX,
    is_dry_run,
    native_json,
    read_object,
    reason_of,
    tmf_json,
)
from gateway.tmf622 import parse_order
from gateway.tmf622_render import PRODUCT_ORDER_PATH, render_order
from gateway.tmf630 import select_fields
from gateway.views import order_view
from persistence import catalogue, reads
from persistence.readstore import StoredFact

CANCEL_PATH: Final = "/tmf-api/productOrderingManagement/v4/cancelProductOrder"
VERSIONS_MAX: Final = 1_000_000_000
_TAG: Final = re.compile(r'(?:W/)?"?(\d{1,9})"?')
_CHANGES: Final = frozenset({"amend", "cancel", "move"})


async def act_on_order(request: web.Request) -> web.Response:
    """POST /v1/orders/{id}:hold|:resume|:freeze|:thaw|:prioritize|:amend|:cancel|:move: steer or change an order.

    Always `reason`. prioritize: `priority` (high, normal, low). amend: `order`, the whole new TMF622 order. cancel:
    `items`, ids of order items whose bundles are taken back; all of the order without it. move: `release`. The last
    three take `version` or If-Match, the version they were made for, and dryRun=true, which only says what would be.
    """
    action = request.match_info["action"]
    if action in _CHANGES:
        return await _change(request, action, is_forced=False)
    body = await read_object(request)
    priority = body.get("priority", "")
    if action == "prioritize" and not isinstance(priority, str):
        raise BadDocument("must be high, normal or low", path="priority")
    message = SteerOrder(
        action=cast("Literal['hold', 'resume', 'freeze', 'thaw', 'prioritize']", action),  # the route admits these only
        reason=reason_of(body),
        message_id=_message_id(request),
        priority=priority,
    )
    return native_json(await _tell(request, message))


async def force_order(request: web.Request) -> web.Response:
    """POST /v1/orders/{id}:forceAmend|:forceCancel|:forceMove: as without force, past the point of no return too."""
    return await _change(request, request.match_info["action"].lower(), is_forced=True)


async def _change(request: web.Request, kind: str, *, is_forced: bool) -> web.Response:
    body = await read_object(request)
    members: dict[str, Any] = {}
    if kind == "amend":
        if not isinstance(body.get("order"), dict):
            raise BadDocument("must be the whole order as it is to be, a TMF622 productOrder", path="order")
        order = parse_order(
            body["order"], order_id=request.match_info["order_id"], tenant=tenant_of(request), client_key=None
        )
        members["order"] = order.to_dict()
    elif kind == "cancel":
        items = body.get("items", [])
        if not isinstance(items, list) or not all(isinstance(each, str) for each in items):
            raise BadDocument("must be a list of ids of order items", path="items", mend="leave it out to cancel all")
        members["lines"] = tuple(items)
    else:
        release = body.get("release")
        if not isinstance(release, str) or not release:
            raise BadDocument("must name a release, as GET /v1/releases gives it", path="release")
        context = context_of(request)
        check_move(await catalogue.list_standings(context.pool, tenant_of(request)), release, context.now())
        members["release"] = release
    message = _message(request, kind, reason_of(body), is_forced=is_forced, version=body.get("version"), **members)
    return _answer(await _tell(request, message))


async def patch_order(request: web.Request) -> web.Response:
    """PATCH /v1/orders/{id}: what is known better by now, `{"lines": {"1": {"attributes": {...}}}, "reason": ...}`.

    With If-Match the version that the patch was made for; dryRun=true only says what would come of it.
    """
    body = await read_object(request)
    patch = {name: value for name, value in body.items() if name not in ("reason", "version")}
    message = _message(request, "patch", reason_of(body), version=body.get("version"), patch=patch)
    return _answer(await _tell(request, message))


def _message(request: web.Request, kind: str, reason: str, *, version: Any = None, **members: Any) -> ChangeOrder:
    return ChangeOrder(
        kind=cast("Literal['amend', 'patch', 'cancel', 'move']", kind),
        reason=reason,
        message_id=_message_id(request),
        version=version_of(request, version),
        is_dry_run=is_dry_run(request),
        **members,
    )


def version_of(request: web.Request, given: Any) -> int | None:
    """The version that a request was made for: of If-Match, else `given` by its body; None: of any.

    Raises:
        BadDocument: it is no version.
    """
    header = request.headers.get("If-Match")
    if header is not None and header != "*":
        match = _TAG.fullmatch(header.strip())
        if match is None:
            raise BadDocument("must be the ETag that reading it gave", path="header If-Match")
        return int(match.group(1))
    if given is not None and (isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < VERSIONS_MAX):
        raise BadDocument("must be the number that reading it gave", path="version")
    return given


def _message_id(request: web.Request) -> str:
    return request.headers.get("Idempotency-Key") or uuid.uuid4().hex


async def _tell(request: web.Request, message: ChangeOrder | SteerOrder) -> dict[str, Any]:
    context, order_id = context_of(request), request.match_info["order_id"]
    await reads.require_order(context.pool, tenant_of(request), order_id)
    envelope = ToPlan(order_id, message, actor=f"person:{user_of(request)}", cause=message.message_id)
    told: dict[str, Any] = await context.hosts.ask(
        "receive_orders", shard_of(order_id), envelope, timeout_s=ANSWER_TIMEOUT_S
    )
    return told


def _answer(result: dict[str, Any]) -> web.Response:
    return native_json(result, 202 if result.get("pending") else 200)


# TMF622.


async def patch_product_order(request: web.Request) -> web.Response:
    """PATCH productOrder/{id}: a JSON merge patch (RFC 7396) of the order, carried out as an amendment.

    Lists are replaced whole, so `productOrderItem` names every item that is wanted. The reason is the order's newest
    note, else that it came from the channel.
    """
    context, order_id = context_of(request), request.match_info["order_id"]
    patch = decode_body(await request.read())
    if not isinstance(patch, dict):
        raise BadDocument("must be a JSON object", path="$")
    plan = await context.plan(tenant_of(request), order_id)
    document = merged(render_order(plan.order.to_dict(), {}), patch)
    document.pop("state", None)
    order = parse_order(document, order_id=order_id, tenant=tenant_of(request), client_key=None)
    message = _message(request, "amend", _note_of(patch), order=order.to_dict())
    if message.version is None and "productOrderItem" not in patch:
        # Made for what was just read: what somebody else changes meanwhile must not be undone by it.
        message = replace(message, version=plan.version)
    result = await _tell(request, message)
    if message.is_dry_run:
        return tmf_json(result)
    plan = await context.plan(tenant_of(request), order_id)
    shown = render_order(plan.order.to_dict(), order_view(plan))
    return tmf_json(shown, 202 if result.get("pending") else 200, {"ETag": f'"{plan.version}"'})


def _note_of(patch: dict[str, Any]) -> str:
    notes = patch.get("note")
    texts = [each.get("text") for each in notes if isinstance(each, dict)] if isinstance(notes, list) else []
    said = [text for text in texts if isinstance(text, str) and text.strip()]
    return said[-1][:REASON_LENGTH_MAX] if said else "the channel has changed the order"


async def cancel_product_order(request: web.Request) -> web.Response:
    """POST cancelProductOrder: take a whole order back: `{"productOrder": {"id": ...}, "cancellationReason": ...}`."""
    context = context_of(request)
    body = decode_body(await request.read())
    if not isinstance(body, dict):
        raise BadDocument("must be a JSON object", path="$")
    named = body.get("productOrder")
    order_id = named.get("id") if isinstance(named, dict) else None
    if not isinstance(order_id, str):
        raise BadDocument("must be the order's id", path="productOrder.id", mend="name the order to cancel")
    reason = body.get("cancellationReason")
    if reason is not None and (not isinstance(reason, str) or not reason.strip()):
        raise BadDocument("must be a text that is not empty", path="cancellationReason")
    await reads.require_order(context.pool, tenant_of(request), order_id)
    message_id = _message_id(request)
    message = ChangeOrder(
        "cancel", (reason or "the channel has cancelled the order")[:REASON_LENGTH_MAX], message_id,
        is_dry_run=is_dry_run(request),
    )  # fmt: skip
    envelope = ToPlan(order_id, message, actor=f"person:{user_of(request)}", cause=message_id)
    result = await context.hosts.ask("receive_orders", shard_of(order_id), envelope, timeout_s=ANSWER_TIMEOUT_S)
    if message.is_dry_run:
        return tmf_json(result)
    facts = await context.facts(tenant_of(request), order_id)
    task = _cancellation(facts, await context.folder.fold(facts), message_id)
    return tmf_json(task, 201, {"Location": task["href"]})


async def get_cancellation(request: web.Request) -> web.Response:
    """GET cancelProductOrder/{id}: how a cancellation goes."""
    context = context_of(request)
    order_id, _, message_id = request.match_info["task_id"].partition(".")
    facts = await context.facts(tenant_of(request), order_id)
    task = _cancellation(facts, await context.folder.fold(facts), message_id)
    return tmf_json(select_fields(task, request.query.get("fields")))


async def list_cancellations(request: web.Request) -> web.Response:
    """GET cancelProductOrder?productOrder.id=...: the cancellations of one order."""
    context = context_of(request)
    order_id = request.query.get("productOrder.id")
    if not order_id:
        raise BadDocument("must name an order", path="query productOrder.id", mend="ask for those of one order")
    facts = await context.facts(tenant_of(request), order_id)
    plan = await context.folder.fold(facts)
    asked = dict.fromkeys(message_id for each in facts if (message_id := _cancel_of(each)) is not None)
    tasks = [_cancellation(facts, plan, message_id) for message_id in asked]
    return tmf_json(tasks, 200, {"X-Total-Count": str(len(tasks)), "X-Result-Count": str(len(tasks))})


def _cancel_of(fact: StoredFact) -> str | None:
    """The id of the cancellation of the whole order that a fact asks for, or carries out at once."""
    payload = fact.payload or {}
    if fact.kind == f.CHANGE_ASKED and payload.get("kind") == "cancel" and not payload.get("lines"):
        asked: str = payload["id"]
        return asked
    reasons = payload.get("reasons", ()) if fact.kind == f.ORDER_ENDED else ()
    is_end = any(each.get("code") == "cancelled" for each in reasons)
    return fact.cause if is_end else None


def _cancellation(facts: list[StoredFact], plan: Plan, message_id: str) -> dict[str, Any]:
    """A cancellation as TMF622 has it: its state is told by the order's facts, nobody keeps it apart.

    `inProgress` while work under way is waited for or what was done is undone, `done` when the order has ended,
    `terminatedWithError` when it was refused or given up after it had been taken in, whatever became of the order.
    """
    first = next((each for each in facts if _cancel_of(each) == message_id), None)
    if first is None:
        raise NotFound(f"order {plan.order_id} has no cancellation {message_id!r}")
    refused = next(
        (each for each in facts if each.kind == f.CHANGE_REFUSED and (each.payload or {}).get("id") == message_id), None
    )
    # An order that waited has no plan to change: it ends at once.
    is_carried_out = first.kind == f.ORDER_ENDED or any(
        each.kind == f.PLAN_CHANGED and (each.payload or {}).get("id") == message_id for each in facts
    )
    is_waiting = plan.change is not None and plan.change["id"] == message_id
    payload = first.payload or {}
    state = "terminatedWithError"
    if is_carried_out and plan.ended_at is not None:
        state = "done"
    elif is_carried_out or is_waiting:
        state = "inProgress"
    task = {
        "id": f"{plan.order_id}.{message_id}",
        "href": f"{CANCEL_PATH}/{plan.order_id}.{message_id}",
        "@type": "CancelProductOrder",
        "state": state,
        "cancellationReason": payload.get("reason") or next(iter(payload.get("reasons", ({},)))).get("reason"),
        "requestedCancellationDate": first.at.isoformat(),
        "productOrder": {"id": plan.order_id, "href": f"{PRODUCT_ORDER_PATH}/{plan.order_id}"},
    }
    if state == "done" and plan.ended_at is not None:
        task["effectiveCancellationDate"] = plan.ended_at.isoformat()
    if refused is not None:
        task["errorMessage"] = orjson.dumps((refused.payload or {}).get("reasons", [])).decode()
    return task
