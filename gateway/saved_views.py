"""Saved views: what people look for again at a desk, under a name; private, or shared with everybody there."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

from aiohttp import web

from domain.errors import BadDocument
from gateway.context import Role, context_of, has_role, tenant_of, user_of
from gateway.orders import native_json, read_object
from gateway.people import name_of
from gateway.search_text import read_search
from persistence import saved_views

VALUE_LENGTH_MAX: Final = 1_000
MEMBERS: Final = {"orders": ("search",), "queues": ("queue", "show")}
"""What a view of each desk may say."""


async def list_order_views(request: web.Request) -> web.Response:
    """GET /v1/order-views: searches of orders that the caller has saved, and those that others share."""
    return await _list(request, "orders")


async def put_order_view(request: web.Request) -> web.Response:
    """PUT /v1/order-views/{name} with `{"query": {"search": ...}, "shared": false}`: save a search under a name."""
    return await _put(request, "orders")


async def delete_order_view(request: web.Request) -> web.Response:
    """DELETE /v1/order-views/{view_id}: one's own; a manager also those that others share."""
    return await _delete(request, "orders")


async def list_queue_views(request: web.Request) -> web.Response:
    """GET /v1/queue-views: filters of manual queues that the caller has saved, and those that others share."""
    return await _list(request, "queues")


async def put_queue_view(request: web.Request) -> web.Response:
    """PUT /v1/queue-views/{name} with `{"query": {"queue": ..., "show": ...}, "shared": false}`: save a filter."""
    return await _put(request, "queues")


async def delete_queue_view(request: web.Request) -> web.Response:
    """DELETE /v1/queue-views/{view_id}: one's own; a manager also those that others share."""
    return await _delete(request, "queues")


async def _list(request: web.Request, desk: str) -> web.Response:
    found = await saved_views.list_views(context_of(request).pool, tenant_of(request), desk, user_of(request))
    return native_json(found)


async def _put(request: web.Request, desk: str) -> web.Response:
    context = context_of(request)
    name = name_of(request.match_info["name"], "name")
    body = await read_object(request)
    for member in body:
        if member not in ("query", "shared"):
            raise BadDocument("has no meaning for a view", path=member[:100], mend="give query and shared")
    is_shared = body.get("shared", False)
    if not isinstance(is_shared, bool):
        raise BadDocument("must be true or false", path="shared")
    query = read_query(desk, body.get("query"))
    if "search" in query:
        # Refused now, not when somebody opens it.
        read_search(query["search"], ZoneInfo("UTC"), context.now(), at="query.search")
    saved = await saved_views.put_view(
        context.pool,
        tenant_of(request),
        desk,
        user_of(request),
        name,
        view_id=uuid.uuid4().hex[:12],
        query=query,
        is_shared=is_shared,
        now=context.now(),
    )
    return native_json(saved)


def read_query(desk: str, given: Any) -> Mapping[str, str]:
    """What a view says, for the filters of its desk.

    Raises:
        BadDocument: it says something that the desk does not know, or no text.
    """
    if not isinstance(given, dict):
        raise BadDocument("must be an object", path="query", mend=f"give {', '.join(MEMBERS[desk])}")
    for member, value in given.items():
        if member not in MEMBERS[desk]:
            known = ", ".join(MEMBERS[desk])
            raise BadDocument(f"has no meaning for {desk}", path=f"query.{member}"[:100], mend=f"give {known}")
        if not isinstance(value, str) or not value.isprintable() or len(value) > VALUE_LENGTH_MAX:
            raise BadDocument(
                f"must be printable text of at most {VALUE_LENGTH_MAX} characters", path=f"query.{member}"
            )
    return given


async def _delete(request: web.Request, desk: str) -> web.Response:
    await saved_views.delete_view(
        context_of(request).pool,
        tenant_of(request),
        desk,
        request.match_info["view_id"],
        user_of(request),
        is_manager=has_role(request, Role.MANAGER),
    )
    return web.Response(status=204)
