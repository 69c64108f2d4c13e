"""Orders: TMF622 productOrder for channels, and the native resources of order, plan, facts and items."""

from __future__ import annotations

import hashlib
import random
import uuid
from typing import Any, Final, Literal, cast

import orjson
from aiohttp import web

from actors.envelopes import Submission, Submitted, ToPlan
from actors.routing import ORDERS_LANE
from actors.tokens import key_of
from domain.errors import BadDocument, NotFound, NotPossibleNow
from domain.ids import account_shard, parse_effect_key, shard_for, shard_of
from domain.messages import ChangeLine, OperateItem, Report
from domain.orders import Order
from domain.priorities import class_of
from gateway.attempts import plan_with_attempts
from gateway.context import Context, context_of, tenant_of, user_of
from gateway.documents import decode_body
from gateway.tmf622 import parse_order
from gateway.tmf622_alerts import alerts_of
from gateway.tmf622_render import PRODUCT_ORDER_PATH, render_order
from gateway.tmf630 import parse_list_query, select_fields
from gateway.views import fact_view, item_view, next_payload_view, order_summary, order_view, plan_view, risk_summary
from persistence import reads, scores

SUBMIT_TIMEOUT_S: Final = 30.0
ANSWER_TIMEOUT_S: Final = 20.0
TMF_JSON: Final = "application/json;charset=utf-8"
KEY_LENGTH_MAX: Final = 200
REASON_LENGTH_MAX: Final = 500


def tmf_json(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A TMF answer."""
    return web.Response(
        body=orjson.dumps(document), status=status, headers={"Content-Type": TMF_JSON, **(headers or {})}
    )


def native_json(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A native answer."""
    return web.Response(
        body=orjson.dumps(document), status=status, content_type="application/json", headers=headers
    )


async def create_product_order(request: web.Request) -> web.Response:
    """POST productOrder: 201 with the order as `acknowledged`, `pending` or `rejected`, after it is stored.

    With dryRun=true 200 with what would become of it: its lines and its plan; nothing is stored.
    """
    context = context_of(request)
    # Before anything is worked on: under a flood most of what comes is refused, which has to cost next to nothing.
    context.hosts.admit()
    tenant = tenant_of(request)
    order, digest = read_order(await request.read(), tenant)
    order.client_key = _client_key(request, order)
    if is_dry_run(request):
        rehearsal = submission_of(context, order, digest)
        rehearsal.is_dry_run = True
        told = await context.hosts.ask(ORDERS_LANE, rehearsal.shard, rehearsal, timeout_s=SUBMIT_TIMEOUT_S)
        return tmf_json(told)
    submitted = await submit(context, order, digest)
    context.metrics.submitted.labels(submitted.state).inc()
    for line in order.lines:
        if line.line_id in submitted.reclassified:
            line.attributes = dict(submitted.reclassified[line.line_id])
    stored = order.to_dict()
    stored["id"] = submitted.order_id
    view = {
        "state": submitted.state,
        "orderDate": context.now().isoformat(),
        "stateReasons": list(submitted.reasons),
        "lines": {line.line_id: {"state": submitted.state} for line in order.lines},
    }
    if submitted.is_repeat:
        plan = await context.plan(tenant, submitted.order_id)
        stored, view = plan.order.to_dict(), order_view(plan)
    if not view.get("stateReasons"):
        view.pop("stateReasons", None)
    document = render_order(stored, view)
    return tmf_json(document, 201, {"Location": document["href"]})


def is_dry_run(request: web.Request) -> bool:
    """Whether the request asks what would come of it.

    Raises:
        BadDocument: the query says something that is neither yes nor no.
    """
    given = request.query.get("dryRun", "false")
    if given not in ("true", "false"):
        raise BadDocument("must be true or false", path="query dryRun")
    return given == "true"


def read_order(raw: bytes, tenant: str) -> tuple[Order, bytes]:
    """An order as a channel sent it, and the hash by which a repeat of its document is known.

    Raises:
        BadDocument: see `decode_body` and `parse_order`.
    """
    return order_of(decode_body(raw), tenant)


def order_of(body: Any, tenant: str) -> tuple[Order, bytes]:
    """An order from its document, and the hash by which a repeat of that is known.

    Raises:
        BadDocument: see `parse_order`.
    """
    order = parse_order(body, order_id="", tenant=tenant, client_key=None)
    return order, hashlib.blake2b(orjson.dumps(body, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


def own_key(order: Order) -> str | None:
    """The client key that the document itself gives: a repeat of its external id is the same order."""
    return None if order.external_id is None else f"ext {order.channel}/{order.external_id}"


def _client_key(request: web.Request, order: Order) -> str:
    """The key that makes a repeat of this request the same order; without one of the client's, one of this request."""
    given = request.headers.get("Idempotency-Key")
    if given is not None:
        if not given or len(given) > KEY_LENGTH_MAX:
            raise BadDocument(
                f"must have 1 to {KEY_LENGTH_MAX} characters", path="header Idempotency-Key", mend="shorten it"
            )
        return f"key {given}"
    # Lets this gateway repeat the submission when a host dies under it; the client cannot name it.
    return own_key(order) or f"once {uuid.uuid4().hex}"


async def submit(context: Context, order: Order, digest: bytes) -> Submitted:
    """Send an order to the host that owns its account's shard; returns after the commit."""
    submission = submission_of(context, order, digest)
    context.hosts.admit(submission.shard, class_of(order.priority))
    answer: Submitted = await context.hosts.ask(
        ORDERS_LANE, submission.shard, submission, timeout_s=SUBMIT_TIMEOUT_S
    )
    return answer


def submission_of(context: Context, order: Order, digest: bytes, *, is_bulk: bool = False) -> Submission:
    """An order for the shard of its account; without one for that of its key, or for any.

    Raises:
        BadDocument: the release that it names is none.
    """
    shards = context.hosts.shards
    if order.account is not None:
        shard = account_shard(order.tenant, order.account, shards)
    elif order.client_key is not None and not order.client_key.startswith("once "):
        shard = shard_for(f"{order.tenant}/{order.client_key}", shards)
    else:
        shard = random.randrange(shards)
    return Submission(shard, order.to_dict(), digest, release_id=_named_release(order), is_bulk=is_bulk)


def _named_release(order: Order) -> str | None:
    """The release that the order says it was made for: member `releaseId` of the document, which is ours."""
    named = order.rest.get("releaseId")
    if named is not None and not isinstance(named, str):
        raise BadDocument("must be a text, as GET /v1/releases gives it", path="releaseId")
    return named


async def get_product_order(request: web.Request) -> web.Response:
    """GET productOrder/{id}."""
    context = context_of(request)
    tenant = tenant_of(request)
    plan = await context.plan(tenant, request.match_info["order_id"])
    score = await scores.read_risk(context.pool, tenant, plan.order_id)
    document = render_order(plan.order.to_dict(), order_view(plan)) | alerts_of(plan, score)
    return tmf_json(select_fields(document, request.query.get("fields")), headers={"ETag": f'"{plan.version}"'})


async def list_product_orders(request: web.Request) -> web.Response:
    """GET productOrder: a page, newest first, with X-Total-Count and X-Result-Count."""
    context = context_of(request)
    query = parse_list_query(request.query)
    order_ids, total = await reads.list_orders(
        context.pool,
        tenant_of(request),
        states=query.states,
        external_id=query.external_id,
        account=query.billing_account or query.related_party,
        created_after=query.ordered_after,
        created_before=query.ordered_before,
        due_after=query.due_after,
        due_before=query.due_before,
        offset=query.offset,
        limit=query.limit,
    )
    found = await context.store.facts_of(order_ids)
    documents = []
    for order_id in order_ids:
        plan = await context.folder.fold(found[order_id])
        documents.append(select_fields(render_order(plan.order.to_dict(), order_view(plan)), query.fields))
    return tmf_json(documents, 200, {"X-Total-Count": str(total), "X-Result-Count": str(len(documents))})


async def get_order(request: web.Request) -> web.Response:
    """GET /v1/orders/{id}: where the order stands."""
    context, tenant = context_of(request), tenant_of(request)
    plan = await context.plan(tenant, request.match_info["order_id"])
    risk = risk_summary(await scores.read_risk(context.pool, tenant, plan.order_id))
    summary = order_summary(plan) | {"href": f"{PRODUCT_ORDER_PATH}/{plan.order_id}", "risk": risk}
    return native_json(summary, headers={"ETag": f'"{plan.version}"'})


async def get_plan(request: web.Request) -> web.Response:
    """GET /v1/orders/{id}/plan: lines, items, what waits for what."""
    plan = await context_of(request).plan(tenant_of(request), request.match_info["order_id"])
    return native_json(plan_view(plan))


async def get_facts(request: web.Request) -> web.Response:
    """GET /v1/orders/{id}/facts: everything that happened to the order, oldest first."""
    facts = await context_of(request).facts(tenant_of(request), request.match_info["order_id"])
    return native_json([fact_view(fact) for fact in facts])


async def get_item(request: web.Request) -> web.Response:
    """GET /v1/orders/{id}/items/{item}: the item, and of a callout its attempts and what the next one would say."""
    context, key = context_of(request), request.match_info["item"]
    stored = await context.facts(tenant_of(request), request.match_info["order_id"])
    plan, attempts = await plan_with_attempts(context.folder, stored, key)
    item = plan.by_key.get(key)
    if item is None:
        raise NotFound(f"order {plan.order_id} has no item {key!r}")
    view = item_view(plan, item) | next_payload_view(plan, item)
    return native_json(view | {"attempts": attempts} if item.is_callout else view)


async def operate_item(request: web.Request) -> web.Response:
    """POST /v1/orders/{id}/items/{item}:retry|:skip|:complete|:edit: repair one item.

    `{"reason": ...}`, for complete with `answer`, for edit with `payload` (whole) or `patch` (RFC 7396).
    """
    context = context_of(request)
    order_id, item, action = (request.match_info[name] for name in ("order_id", "item", "action"))
    await reads.require_order(context.pool, tenant_of(request), order_id)
    body = await read_object(request)
    reason = reason_of(body)
    answer = body.get("answer", {})
    if not isinstance(answer, dict):
        raise BadDocument("must be an object", path="answer")
    payload, is_patch = _edit_of(body) if action == "edit" else ({}, False)
    user = user_of(request)
    message_id = request.headers.get("Idempotency-Key") or uuid.uuid4().hex
    message = OperateItem(
        item=item,
        action=cast("Literal['retry', 'complete', 'skip', 'edit']", action),  # the route admits these only
        operator=user,
        reason=reason,
        message_id=message_id,
        answer=answer,
        payload=payload,
        is_patch=is_patch,
    )
    envelope = ToPlan(order_id, message, actor=f"person:{user}", cause=message_id)
    result = await context.hosts.ask("receive_orders", shard_of(order_id), envelope, timeout_s=ANSWER_TIMEOUT_S)
    # Who retries the wait for another order may have made a change that waits for work under way.
    return native_json(result, 202 if result.get("pending") else 200)


def _edit_of(body: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """(payload or patch, whether it is a patch)."""
    if ("payload" in body) == ("patch" in body):
        raise BadDocument("give either payload or patch", path="payload")
    name = "patch" if "patch" in body else "payload"
    if not isinstance(body[name], dict):
        raise BadDocument("must be an object", path=name)
    return body[name], name == "patch"


async def change_line(request: web.Request) -> web.Response:
    """PATCH /v1/orders/{id}/lines/{line} with `{"attributes": {...}, "reason": ...}`: what somebody knows by now."""
    context = context_of(request)
    order_id, line = request.match_info["order_id"], request.match_info["line"]
    await reads.require_order(context.pool, tenant_of(request), order_id)
    body = await read_object(request)
    attributes = body.get("attributes")
    if not isinstance(attributes, dict) or not attributes:
        raise BadDocument("must be an object with at least one attribute", path="attributes")
    message_id = request.headers.get("Idempotency-Key") or uuid.uuid4().hex
    message = ChangeLine(line, attributes, reason_of(body), message_id)
    envelope = ToPlan(order_id, message, actor=f"person:{user_of(request)}", cause=message_id)
    result = await context.hosts.ask("receive_orders", shard_of(order_id), envelope, timeout_s=ANSWER_TIMEOUT_S)
    return native_json(result)


def reason_of(body: dict[str, Any]) -> str:
    """Why somebody does what he asks for.

    Raises:
        BadDocument: the body does not say.
    """
    reason = body.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise BadDocument("must say why, for the audit trail", path="reason", mend='send {"reason": "..."}')
    return reason[:REASON_LENGTH_MAX]


async def receive_callback(request: web.Request) -> web.Response:
    """POST /v1/callbacks/{token}: a system's later answer: `{"outcome": "completed"|"failed", "attributes": {...}}`."""
    context = context_of(request)
    key = key_of(context.secret, request.match_info["token"])
    order_id, item, attempt = parse_effect_key(key)
    body = await read_object(request)
    outcome = body.get("outcome", "completed")
    if outcome not in ("completed", "failed"):
        raise BadDocument("must be completed or failed", path="outcome")
    plan = await context.plan(tenant_of(request), order_id)
    waiting = plan.by_key.get(item)
    if waiting is None or waiting.attempt != attempt or waiting.ended_at is not None:
        raise NotPossibleNow("the work that this token stands for is settled already")
    message = Report(
        item=item,
        attempt=attempt,
        kind=outcome,
        answer=body,
        error=str(body.get("error", ""))[:500],
        error_code=str(body.get("errorCode", ""))[:100],
        via="callback",
    )
    system = waiting.definition.source.system if waiting.definition else ""
    envelope = ToPlan(order_id, message, actor=f"adapter:{system}", cause=key)
    await context.hosts.ask("receive_reports", shard_of(order_id), envelope, timeout_s=ANSWER_TIMEOUT_S)
    return web.Response(status=204)


async def read_object(request: web.Request) -> dict[str, Any]:
    """The request's JSON object; an empty body counts as an empty object.

    Raises:
        BadDocument: it is no JSON, or no object.
    """
    raw = await request.read()
    if not raw.strip():
        return {}
    body = decode_body(raw)
    if not isinstance(body, dict):
        raise BadDocument("must be a JSON object", path="body")
    return body
