"""The keys that encrypt attributes: who may rotate them, and when it was done."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from actors.remote import is_remote_failure
from domain.errors import Busy, OrderplanError
from gateway.context import context_of, tenant_of, user_of
from gateway.orders import ANSWER_TIMEOUT_S, native_json, read_object, reason_of
from persistence import key_changes


async def rotate_key(request: web.Request) -> web.Response:
    """POST /v1/keys:rotate with `{"reason": ...}`: encrypt with a new key from now on; older values stay readable."""
    context = context_of(request)
    reason = reason_of(await read_object(request))
    handle = context.people()
    if handle is None:
        raise Busy("what rotates keys is starting", retryAfterS=1)
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            answer: Any = await handle.rotate_key.remote(tenant_of(request), user_of(request), reason)
    except Exception as error:
        if not (is_remote_failure(error) or isinstance(error, TimeoutError)):
            raise
        raise Busy("whether it was rotated is unknown", mend="see orderplan key list", retryAfterS=1) from error
    if isinstance(answer, OrderplanError):
        raise answer
    return native_json({"keyId": answer})


async def list_keys(request: web.Request) -> web.Response:
    """GET /v1/keys: the rotations, newest first: key id, when, who, why."""
    found = await key_changes.list_rotations(context_of(request).pool, tenant_of(request))
    return native_json(
        {
            "rotations": [
                {"keyId": each["key_id"], "at": each["at"].isoformat(), "by": each["actor"], "reason": each["reason"]}
                for each in found
            ]
        }
    )
