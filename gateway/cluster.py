"""Operating the cluster's processes."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from actors.remote import is_remote_failure
from domain.errors import Busy, OrderplanError
from gateway.context import context_of
from gateway.orders import native_json

RESTART_TIMEOUT_S: Final = 10.0


async def restart_hosts(request: web.Request) -> web.Response:
    """POST /v1/cluster/hosts:restart: 202 with the hosts that are replaced one after another; see /v1/cluster."""
    return await _restart(request, None)


async def restart_host(request: web.Request) -> web.Response:
    """POST /v1/cluster/hosts/{host}:restart: 202; its successor takes over its shards, then it ends."""
    return await _restart(request, request.match_info["host"].removeprefix("host-"))


async def _restart(request: web.Request, host: str | None) -> web.Response:
    handle = context_of(request).director()
    if handle is None:
        raise Busy("the director is being started again", retryAfterS=1)
    try:
        async with asyncio.timeout(RESTART_TIMEOUT_S):
            answer = await handle.restart.remote(host)
    except Exception as error:
        if not (is_remote_failure(error) or isinstance(error, TimeoutError)):
            raise
        raise Busy("the director does not answer just now", retryAfterS=1) from error
    if isinstance(answer, OrderplanError):
        raise answer
    return native_json({"hosts": answer}, 202)
