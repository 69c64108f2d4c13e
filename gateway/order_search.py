"""The list of orders behind the search box, and jobs over all that it finds."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from domain.errors import BadDocument, NotFound
from domain.priorities import CLASSES
from gateway.context import Context, context_of, tenant_of, user_of
from gateway.csv_text import csv_text
from gateway.fallout import ask_jobs, job_view, rate_of
from gateway.orders import is_dry_run, native_json, read_object, reason_of
from gateway.queries import limit_of, read_zone
from gateway.search_text import read_search
from persistence import search
from persistence.database import is_unavailable
from persistence.search import COUNT_MAX, OrderSelection, Place

LIMIT_MAX: Final = 1_000
RATE_DEFAULT: Final = 50.0
"""Orders a second: a cancellation is more work than a repair."""
_QUERY: Final = frozenset({"search", "zone", "from", "offset", "limit", "format"})
CSV_PAGE: Final = 1_000
COLUMNS: Final = (
    "orderId", "externalId", "state", "account", "channel", "priority", "releaseId", "items", "failedItems", "risk",
    "dueAt", "orderedAt", "endedAt",
)  # fmt: skip
"""Of an order in the list, in the order of its CSV."""
_MEMBERS: Final = frozenset({"search", "zone", "from", "orders", "reason", "rate"})


async def list_orders(request: web.Request) -> web.StreamResponse:
    """GET /v1/orders?search=&zone=&from=&offset=&limit=&format=: orders that a search text finds, newest first.

    `search` is as in the search box: words (order, external id or account; `acme*` by its beginning), `state:`,
    `customer:`, `external:`, `channel:`, `priority:`, `release:`, `system:` and `error:` of failed items, `queue:` of
    open tasks, `ordered`, `ended` and `due` with `<`, `<=`, `>`, `>=` or `:` and a time, `risk>=60`. Days are those of
    `zone` (UTC). `from`, the id of an order, leaves out what is newer than it: so pages by `offset` stay as they are
    while new orders come. `total` counts to 100,000; `more` says that there are more. With `format=csv` all of them up
    to there, as CSV.
    """
    context, tenant = context_of(request), tenant_of(request)
    for name in request.query:
        if name not in _QUERY:
            raise BadDocument("is no parameter of the list", path=name[:100], mend=f"use {', '.join(sorted(_QUERY))}")
    wanted = request.query.get("format", "json")
    if wanted not in ("json", "csv"):
        raise BadDocument("must be json or csv", path="format")
    if wanted == "csv":
        return await _send_csv(request, await _chosen(context, tenant, request.query))
    limit = limit_of(request.query.get("limit", "100"), LIMIT_MAX)
    offset = _offset(request.query.get("offset", "0"))
    chosen = await _chosen(context, tenant, request.query)
    rows = await search.list_orders(context.pool, tenant, chosen, offset=offset, limit=limit)
    total = await search.count_orders(context.pool, tenant, chosen)
    return native_json(
        {"items": [_view(row) for row in rows], "total": min(total, COUNT_MAX), "more": total > COUNT_MAX}
    )


async def _send_csv(request: web.Request, chosen: OrderSelection) -> web.StreamResponse:
    """All that was found up to the bound, page by page: each goes on where the one before ended."""
    context, tenant = context_of(request), tenant_of(request)
    name = f"orders-{context.now():%Y%m%dT%H%M%SZ}.csv"
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/csv; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        }
    )
    rows = await search.list_orders(context.pool, tenant, chosen, offset=0, limit=CSV_PAGE)
    await response.prepare(request)
    await response.write(csv_text([COLUMNS, *map(_cells, rows)]).encode())
    try:
        sent = len(rows)
        while len(rows) == CSV_PAGE and sent < COUNT_MAX:
            rest = OrderSelection(chosen.wanted, Place(rows[-1]["created_at"], rows[-1]["order_id"]), is_begun=True)
            rows = await search.list_orders(context.pool, tenant, rest, offset=0, limit=CSV_PAGE)
            await response.write(csv_text(map(_cells, rows)).encode())
            sent += len(rows)
    except Exception as error:
        if not (isinstance(error, ConnectionError) or is_unavailable(error)):
            raise
        # Half of it must not look like all of it: the connection breaks, which whoever reads is told.
        if request.transport is not None:
            request.transport.abort()
    return response


def _cells(row: Mapping[str, Any]) -> list[Any]:
    view = _view(row)
    return [view[name] for name in COLUMNS]


async def start_order_job(request: web.Request) -> web.Response:
    """POST /v1/orders:cancel|:hold|:resume|:prioritize: do it with each of a frozen selection, in a job; 202 with it.

    `{"search": ..., "zone": ..., "from": ...}` as in the list (`from` leaves out what came later), or `{"orders":
    [...]}`; with `reason`, `rate` (orders a second), and `priority` for prioritize. With a header `Idempotency-Key` a
    repeat gives the first one's job. With dryRun=true nothing is done: it says how many in which state it would take.
    """
    context, tenant = context_of(request), tenant_of(request)
    action = request.match_info["action"]
    body = await read_object(request)
    argument = _argument(action, body)
    chosen, orders = await _selection(context, tenant, body)
    if is_dry_run(request):
        return native_json(await _rehearsed(context, tenant, chosen, orders))
    reason, rate = reason_of(body), rate_of(body, RATE_DEFAULT)
    shown: dict[str, Any] = {name: body[name] for name in ("search", "zone", "from") if name in body}
    shown = shown or {"orders": len(orders)}
    key = request.headers.get("Idempotency-Key") or uuid.uuid4().hex
    made = await ask_jobs(
        context,
        "start_job",
        action,
        user_of(request),
        reason,
        shown,
        chosen,
        [(each, "") for each in orders],
        argument,
        rate,
        key,
    )
    return native_json(job_view(made), 202)


async def _chosen(context: Context, tenant: str, given: Mapping[str, Any]) -> OrderSelection:
    for name in ("search", "zone", "from"):
        if not isinstance(given.get(name, ""), str):
            raise BadDocument("must be a text", path=name)
    wanted = read_search(given.get("search", ""), read_zone(given.get("zone", "UTC")), context.now())
    if "from" not in given:
        return OrderSelection(wanted)
    place = await search.place_of(context.pool, tenant, given["from"]) if "\0" not in given["from"] else None
    if place is None:
        raise NotFound(f"there is no order {given['from'][:100]!r}", path="from", mend="name an order of the list")
    return OrderSelection(wanted, place)


def _offset(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) < COUNT_MAX):
        raise BadDocument(
            f"must be a whole number below {COUNT_MAX}", path="offset", mend="look for fewer orders, or go on by from"
        )
    return int(text)


def _argument(action: str, body: Mapping[str, Any]) -> dict[str, Any]:
    for member in body:
        if member not in _MEMBERS and not (member == "priority" and action == "prioritize"):
            raise BadDocument(f"has no meaning for {action}", path=member[:100])
    if action != "prioritize":
        return {}
    if body.get("priority") not in CLASSES:
        raise BadDocument(f"must be one of {', '.join(CLASSES)}", path="priority", mend="name one of these")
    return {"priority": body["priority"]}


async def _selection(context: Context, tenant: str, body: Mapping[str, Any]) -> tuple[OrderSelection | None, list[str]]:
    if ("search" in body) == ("orders" in body):
        raise BadDocument("give either search or orders", path="search", mend='{"search": ""} means all orders')
    if "search" in body:
        return await _chosen(context, tenant, body), []
    orders = body["orders"]
    if not isinstance(orders, list) or not all(isinstance(each, str) and "\0" not in each for each in orders):
        raise BadDocument("must be a list of ids of orders", path="orders")
    return None, list(dict.fromkeys(orders))


async def _rehearsed(context: Context, tenant: str, chosen: OrderSelection | None, orders: list[str]) -> dict[str, Any]:
    if chosen is not None:
        states = await search.count_by_state(context.pool, tenant, chosen)
    else:
        states = await search.count_named(context.pool, tenant, orders)
    return {"dryRun": True, "total": sum(states.values()), "states": states}


def _view(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "orderId": row["order_id"],
        "externalId": row["external_id"],
        "state": row["state"],
        "account": row["account"],
        "channel": row["channel"],
        "priority": row["priority"],
        "releaseId": row["release_id"],
        "items": row["items"],
        "failedItems": row["fallout"],
        "risk": round(row["risk"], 4) if row["risk"] is not None and row["ended_at"] is None else None,
        "dueAt": row["due_at"].isoformat() if row["due_at"] else None,
        "orderedAt": row["created_at"].isoformat(),
        "endedAt": row["ended_at"].isoformat() if row["ended_at"] else None,
    }
