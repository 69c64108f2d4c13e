"""Retention: the facts of orders that ended long ago leave the hot table for the archive, a batch a request.

Orders are found, shown and answered as before; what changes is where their facts lie.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from aiohttp import web

from domain.errors import BadDocument
from gateway.context import context_of, tenant_of, user_of
from gateway.documents import read_instant
from gateway.orders import native_json, read_object
from persistence import archive

log = structlog.get_logger(__name__)

AGE_MIN: Final = timedelta(hours=1)
"""Since an order's end. Streams and the delay predictor, whose places are in memory, are never so far behind."""
DAYS_MAX: Final = 36_500.0
ORDERS_DEFAULT: Final = 500
ORDERS_MAX: Final = 2_000
_MEMBERS: Final = ("endedBefore", "olderThanDays", "orders")


async def archive_orders(request: web.Request) -> web.Response:
    """POST /v1/archive: move the facts of some orders that ended before then; `{"orders", "facts", "isMore"}`.

    `{"endedBefore": instant}` or `{"olderThanDays": number}`, at least an hour back, and `orders`: at most so many, 500
    without it. Those that ended first go first. With `isMore` another request would find something right away.
    """
    context = context_of(request)
    body = await read_object(request)
    ended_before = ended_before_of(body, context.now())
    moved = await archive.archive_batch(context.pool, tenant_of(request), ended_before, _orders_of(body))
    context.metrics.archived_orders.inc(moved.orders)
    context.metrics.archived_facts.inc(moved.facts)
    if moved.orders:
        log.info(
            "orders archived",
            orders=moved.orders,
            facts=moved.facts,
            ended_before=ended_before.isoformat(),
            user=user_of(request),
        )
    return native_json({"orders": moved.orders, "facts": moved.facts, "isMore": moved.is_more})


async def get_archive(request: web.Request) -> web.Response:
    """GET /v1/archive: the archive by month, with estimates, and how many finished orders are not in it."""
    return native_json(await archive.read_archive(context_of(request).pool, tenant_of(request)))


def ended_before_of(body: Mapping[str, Any], now: datetime) -> datetime:
    """The instant before which orders must have ended.

    Raises:
        BadDocument: it is not said, or said twice, or less than an hour ago.
    """
    for member in body:
        if member not in _MEMBERS:
            raise BadDocument("has no meaning for the archive", path=member[:100], mend=f"give {', '.join(_MEMBERS)}")
    if ("endedBefore" in body) == ("olderThanDays" in body):
        raise BadDocument("give either endedBefore or olderThanDays", path="endedBefore")
    if "endedBefore" in body:
        name, given = "endedBefore", body["endedBefore"]
        ended_before = read_instant(given) if isinstance(given, str) else None
        if ended_before is None:
            raise BadDocument("must be an instant with a time zone (RFC 3339)", path=name)
    else:
        name, days = "olderThanDays", body["olderThanDays"]
        is_number = isinstance(days, int | float) and not isinstance(days, bool) and math.isfinite(days)
        if not is_number or not 0 <= days <= DAYS_MAX:
            raise BadDocument(f"must be a number of days, at most {DAYS_MAX:g}", path=name)
        ended_before = now - timedelta(days=days)
    if ended_before > now - AGE_MIN:
        raise BadDocument(
            "must be at least an hour ago: what has just ended is still being read",
            path=name,
            mend="name an earlier end; usual are weeks",
        )
    return ended_before


def _orders_of(body: Mapping[str, Any]) -> int:
    orders = body.get("orders", ORDERS_DEFAULT)
    if not isinstance(orders, int) or isinstance(orders, bool) or not 1 <= orders <= ORDERS_MAX:
        raise BadDocument(f"must be a whole number from 1 to {ORDERS_MAX}", path="orders")
    return orders
