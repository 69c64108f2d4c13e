"""The aiohttp application: routes, and one middleware that turns refusals into answers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
import structlog
from aiohttp import web

from domain.errors import BadDocument, Busy, NotFound, OrderplanError, TooLarge
from gateway.context import CONTEXT, Context
from gateway.line_service import open_services
from gateway.openapi import DOCUMENT, openapi_document
from gateway.routes import ROUTES
from gateway.stream import open_fanout
from gateway.tmf630 import tmf_error
from persistence.database import is_unavailable

log = structlog.get_logger(__name__)

VERSION: Final = "0.1.0"
_NAMING_HEADERS: Final = ("X-User", "X-Roles", "Idempotency-Key")
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
DRAINING_RETRY_S: Final = 5
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def problem(error: OrderplanError) -> dict[str, Any]:
    """RFC 9457 problem details of a refusal."""
    shown = error.as_dict()
    return {
        "type": f"urn:orderplan:{shown.pop('code')}",
        "title": type(error).__name__,
        "status": error.status,
        "detail": shown.pop("reason"),
        **shown,
    }


def answer_of(request: web.Request, error: OrderplanError) -> web.Response:
    """The answer to a refused request, in the form of its API."""
    headers = {}
    if isinstance(error, Busy):
        headers["Retry-After"] = str(error.facts.get("retryAfterS", 1))
    if request.path.startswith("/tmf-api/"):
        body, content_type = tmf_error(error), "application/json;charset=utf-8"
    else:
        body, content_type = problem(error), "application/problem+json"
    return web.Response(
        body=orjson.dumps(body, default=str), status=error.status, headers={"Content-Type": content_type, **headers}
    )


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refusals become answers; a database that is away becomes 503; a bug becomes 500 and a log line."""
    context = request.app[CONTEXT]
    started = time.perf_counter()
    response = await _answered(request, handler, context)
    route = request.match_info.route.resource
    name = route.canonical if route is not None else "unknown"
    context.metrics.requests.labels(name, str(response.status)).inc()
    context.metrics.seconds.labels(name).observe(time.perf_counter() - started)
    return response


async def _answered(request: web.Request, handler: Handler, context: Context) -> web.StreamResponse:
    try:
        _refuse_unstorable(request)
        if context.is_draining and request.method not in _READING:
            raise Busy("the server is stopping", retryAfterS=DRAINING_RETRY_S, mend="send it again to its successor")
        return await handler(request)
    except OrderplanError as error:
        return answer_of(request, error)
    except web.HTTPRequestEntityTooLarge:
        limit = context.config.body_bytes_max
        return answer_of(
            request, TooLarge(f"the body is larger than {limit} bytes", mend="split the order, or raise the limit")
        )
    except web.HTTPNotFound:
        return answer_of(request, NotFound(f"there is no {request.path}"))
    except web.HTTPException:
        raise
    except Exception as error:
        if is_unavailable(error):
            log.warning("the database is away", path=request.path, error=str(error))
            return answer_of(request, Busy("the database cannot be reached just now", retryAfterS=2))
        log.exception("a request failed", path=request.path)
        return answer_of(request, OrderplanError("something is wrong inside; it is logged"))


def _refuse_unstorable(request: web.Request) -> None:
    """Names in path and headers end up in rows: refuse what cannot be stored before it gets anywhere.

    Raises:
        BadDocument: a control character or a broken encoding.
    """
    named = [("path", request.path), *((f"header {name}", request.headers.get(name, "")) for name in _NAMING_HEADERS)]
    for where, text in named:
        if not text.isprintable():
            raise BadDocument("has characters that cannot be stored", path=where, mend="use printable text")


def make_app(context: Context) -> web.Application:
    """The application on its context."""
    app = web.Application(middlewares=[errors], client_max_size=context.config.body_bytes_max)
    app[CONTEXT] = context
    open_fanout(app, context)
    open_services(app)
    app[DOCUMENT] = openapi_document(ROUTES, VERSION)
    app.add_routes([web.route(route.method, route.path, route.handler) for route in ROUTES])
    return app
