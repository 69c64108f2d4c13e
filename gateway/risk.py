"""Which orders will be late: the list by risk, and one order's risk with its history and its items in jeopardy."""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from aiohttp import web

from actors.remote import is_remote_failure
from delay.snapshot import jeopardy_of, snapshot_of
from delay.what_if import read_changes
from domain.errors import BadDocument, Busy, OrderplanError
from domain.plan import Plan
from gateway.context import Context, context_of, tenant_of
from gateway.orders import native_json, read_object
from gateway.queries import text_of
from gateway.views import risk_view
from persistence import reads, scores

LIMIT_MAX = 500
PREDICTOR_TIMEOUT_S = 30.0
WORTH_MAX = 1e12


async def list_risks(request: web.Request) -> web.Response:
    """GET /v1/risk?sort=&minRisk=&account=&plan=&step=&system=&limit=&cursor=: open orders by risk, with reasons.

    Also `currency`, `period` (month), `minRecurring`, `minOneTime`: bounds of value at stake.
    `sort`: `risk` (falling), `due` (rising), `delay` (expected end minus due date, falling), `recurring` or `oneTime`
    (value at stake, falling; needs `currency`, and takes the recurring charges of one `period`). `plan` is a plan
    definition of the order, `step` (`plan/item`) and `system` are what it is at. `next` is the cursor of the next page.
    """
    context = context_of(request)
    query = request.query
    sort = query.get("sort", "risk")
    if sort not in scores.SORTS:
        raise BadDocument(f"must be one of {', '.join(scores.SORTS)}", path="sort")
    limit = int(_number(query.get("limit", "100"), "limit", 1, LIMIT_MAX))
    account, plan, step, system, currency, period = (
        text_of(query.get(name), name) for name in ("account", "plan", "step", "system", "currency", "period")
    )
    chosen = scores.Filter(
        p_late_min=_number(query.get("minRisk", "0"), "minRisk", 0, 1),
        account=account,
        plan=plan,
        step=step,
        system=system,
        currency=currency,
        period=period or scores.MONTH,
        recurring_min=_bound(query, "minRecurring"),
        one_time_min=_bound(query, "minOneTime"),
    )
    is_bounded = chosen.recurring_min is not None or chosen.one_time_min is not None
    if chosen.currency is None and (is_bounded or sort in scores.WORTH_SORTS):
        mend = "say in which currency, such as EUR: different ones are never added"
        raise BadDocument("is needed for value at stake", path="currency", mend=mend)
    found = await scores.list_risks(
        context.pool,
        tenant_of(request),
        chosen,
        sort=sort,
        after=_place(query["cursor"], sort) if "cursor" in query else None,
        limit=limit + 1,
    )
    page = found[:limit]
    cursor = _cursor(sort, page[-1]) if len(found) > limit else None
    shown = [{name: value for name, value in each.items() if name != "sortedBy"} for each in page]
    return native_json({"orders": [risk_view(each) for each in shown], "next": cursor})


def _bound(query: Mapping[str, str], name: str) -> float | None:
    return _number(query[name], name, 0, WORTH_MAX) if name in query else None


async def get_risk(request: web.Request) -> web.Response:
    """GET /v1/orders/{id}/risk: the newest score (of an order that has ended: the last before its end), how it came to
    it, and the items that are about to be late. `score` is null until the order is scored.
    """
    context = context_of(request)
    tenant, order_id = tenant_of(request), request.match_info["order_id"]
    plan = await context.plan(tenant, order_id)
    score = await scores.read_risk(context.pool, tenant, order_id)
    return native_json(
        {
            "orderId": order_id,
            "score": risk_view(score) if score is not None else None,
            "history": await scores.read_history(context.pool, tenant, order_id),
            "jeopardy": _jeopardy(plan, context.now()),
        }
    )


async def what_if(request: web.Request) -> web.Response:
    """POST /v1/orders/{id}/risk:whatIf with `{"changes": [{"variable", "item", "to"}]}`: what the model would say then.

    `variable`: priority, expedite, queue or system, as far as they are declared actionable. Without changes: which of
    all that may be done would help. Estimates of the model: nothing is done to the order.
    """
    context = context_of(request)
    tenant, order_id = tenant_of(request), request.match_info["order_id"]
    body = await read_object(request)
    if unknown := sorted(body.keys() - {"changes"}):
        raise BadDocument("has no meaning here", path=unknown[0][:100], mend="give changes")
    changes = read_changes(body.get("changes", []))
    await reads.require_order(context.pool, tenant, order_id)
    return native_json(await _asked(context, "what_if", order_id, changes))


async def get_schedule(request: web.Request) -> web.Response:
    """GET /v1/orders/{id}/schedule: when items are expected to begin and end, the critical path, slack, why it is late.

    Estimates of the built-in delay model (`model`, `version`) at the moment `at`, when the order had `facts` facts. An
    open item has `expectedStartAt`, `expectedEndAt`, `slackS` (how much later it may end without the order ending
    later), `share` (of the cases in which the end of the order waits for it), `risk` (its part in the risk) and, of
    those that matter most, a `reason`. Of items that have ended those are listed that the critical path goes through.
    `why`: how late the order is, and the item that is the cause. Answers are up to some seconds old.
    """
    context = context_of(request)
    order_id = request.match_info["order_id"]
    await reads.require_order(context.pool, tenant_of(request), order_id)
    return native_json(await _asked(context, "schedule", order_id))


async def _asked(context: Context, method: str, *arguments: Any) -> Any:
    """What the delay predictor answers; what it refuses is raised here."""
    predictor = context.predictor()
    if predictor is None:
        raise Busy("the delay predictor is not there", retryAfterS=1)
    try:
        async with asyncio.timeout(PREDICTOR_TIMEOUT_S):
            answer = await getattr(predictor, method).remote(*arguments)
    except TimeoutError:
        raise Busy("the delay predictor does not answer", retryAfterS=1) from None
    except Exception as error:
        if not is_remote_failure(error):
            raise
        raise Busy("the delay predictor is not there", retryAfterS=1) from error
    if isinstance(answer, OrderplanError):
        raise answer
    return answer


def _jeopardy(plan: Plan, now: datetime) -> list[dict[str, Any]]:
    snapshot = snapshot_of(plan, now)
    items = snapshot.items if snapshot is not None and plan.ended_at is None else ()
    return [
        {
            "item": item.key,
            "name": item.name,
            "status": found.status,
            "warnsAt": found.warns_at.isoformat(),
            "lateAt": found.late_at.isoformat(),
        }
        for item in items
        if (found := jeopardy_of(item, now)) is not None
    ]


def _number(text: str, path: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # Not a number is no bound's neighbour.
    if not least <= value <= most:
        raise BadDocument(f"must be a number between {least} and {most}", path=path)
    return value


def _cursor(sort: str, last: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([sort, last["sortedBy"], last["orderId"]])).decode().rstrip("=")


def _place(cursor: str, sort: str) -> scores.Place:
    try:
        match orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))):
            case [str(sorted_by), float() | int() as value, str(order_id)] if (
                sorted_by == sort and "\0" not in order_id
            ):
                return scores.Place(float(value), order_id)
    except (ValueError, binascii.Error):
        pass
    mend = "take `next` of the page before as it is, with the same sort"
    raise BadDocument("is no cursor of this list", path="cursor", mend=mend)
