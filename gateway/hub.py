"""Listeners of the channel's events: the hub of TMF622, and how each of them does."""

from __future__ import annotations

import uuid
from typing import Any, Final

from aiohttp import web
from yarl import URL

from domain.errors import BadDocument
from domain.subscriptions import QUERY_LENGTH_MAX, read_subscription
from gateway.context import context_of, tenant_of
from gateway.orders import native_json, read_object, tmf_json
from persistence import hub

HUB_PATH: Final = "/tmf-api/productOrderingManagement/v4/hub"
CALLBACK_LENGTH_MAX: Final = 2_000


async def register_listener(request: web.Request) -> web.Response:
    """POST hub with `{"callback": URL, "query": ...}`: events from now on; a repeat gives the listener of before."""
    context = context_of(request)
    body = await read_object(request)
    for name in body:
        if name not in ("callback", "query") and not name.startswith("@"):
            raise BadDocument("is unknown", path=name[:100], mend="give callback and query")
    callback = read_callback(body.get("callback"))
    query = body.get("query") or ""
    if not isinstance(query, str) or not query.isprintable():
        raise BadDocument("must be a text without control characters", path="query")
    if len(query) <= QUERY_LENGTH_MAX:
        query = query.strip().removeprefix("?")
    read_subscription(query)
    listener_id = f"h{uuid.uuid4().hex[:20]}"
    listener = await hub.register(context.pool, tenant_of(request), listener_id, callback, query, context.now())
    return tmf_json(_registered(listener), 201, {"Location": f"{HUB_PATH}/{listener['id']}"})


async def unregister_listener(request: web.Request) -> web.Response:
    """DELETE hub/{id}: nothing more is sent to the listener; what still waits for it is dropped."""
    await hub.unregister(context_of(request).pool, tenant_of(request), request.match_info["listener_id"])
    return web.Response(status=204)


async def get_registration(request: web.Request) -> web.Response:
    """GET hub/{id}: a listener as it was registered."""
    listener = await hub.read_listener(context_of(request).pool, tenant_of(request), request.match_info["listener_id"])
    return tmf_json(_registered(listener))


async def list_registrations(request: web.Request) -> web.Response:
    """GET hub: all listeners as they were registered."""
    found = await hub.list_listeners(context_of(request).pool, tenant_of(request))
    return tmf_json([_registered(each) for each in found])


async def list_listeners(request: web.Request) -> web.Response:
    """GET /v1/hub-listeners: all listeners, what waits for each, and how their last attempts went."""
    return native_json(await hub.list_listeners(context_of(request).pool, tenant_of(request)))


async def resume_listener(request: web.Request) -> web.Response:
    """POST /v1/hub-listeners/{id}:resume: send to it again at once, with what has waited."""
    context = context_of(request)
    listener = await hub.resume(
        context.pool, tenant_of(request), request.match_info["listener_id"], context.now()
    )
    return native_json(listener)


def read_callback(given: Any) -> str:
    """The address that events are posted to, as it was given.

    Raises:
        BadDocument: it is no address that a listener can have.
    """
    mend = "give an address such as https://channel.example/listener"
    if not isinstance(given, str) or not given:
        raise BadDocument("is needed", path="callback", mend=mend)
    if len(given) > CALLBACK_LENGTH_MAX:
        raise BadDocument(f"is longer than {CALLBACK_LENGTH_MAX} characters", path="callback", mend=mend)
    try:
        url = URL(given)
        is_complete = url.scheme in {"http", "https"} and bool(url.host) and url.port != 0
    except ValueError:
        is_complete = False
    if not is_complete or not given.isprintable() or " " in given:
        raise BadDocument("is no http or https address", path="callback", mend=mend)
    if url.user is not None or url.password is not None:
        raise BadDocument(
            "holds a user or password, which would stand in lists and logs", path="callback", mend="leave them out"
        )
    if "#" in given:
        raise BadDocument("holds a fragment, which is never sent", path="callback", mend="leave it out")
    return given


def _registered(listener: dict[str, Any]) -> dict[str, Any]:
    """A listener as TMF622 shows it."""
    shown = {"id": listener["id"], "callback": listener["callback"]}
    if listener["query"]:
        shown["query"] = listener["query"]
    return shown
