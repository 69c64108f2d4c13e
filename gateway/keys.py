"""The keys that encrypt attributes: who may rotate them, and when it was done."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from actors.remote import is_remote_failure
from domain.errors import Busy, OrderplanError
from gateway.context import context_of, tenant_of, user_of
from gateway.orders import ANSWER_TIMEOUT_S, native_json, read_object, reason_of


async def rotate_key(request: web.Request) -> web.Response:
    """POST /v1/keys:rotate with `{"reason": ...}`: encrypt with a new key from now on; older values stay readable."""
    reason = reason_of(await read_object(request))
    key_id = await ask_keys(request, "rotate", tenant_of(request), user_of(request), reason)
    return native_json({"keyId": key_id})


async def list_keys(request: web.Request) -> web.Response:
    """GET /v1/keys: the keys, newest first: id, whether it was made, when, who, why."""
    found = await ask_keys(request, "keys", tenant_of(request))
    return native_json(
        {
            "keys": [
                {
                    "keyId": each["key_id"],
                    "isMade": each["is_made"],
                    "at": each["at"].isoformat() if each["at"] is not None else None,
                    "by": each["actor"],
                    "reason": each["reason"],
                }
                for each in found
            ]
        }
    )


async def ask_keys(request: web.Request, method: str, *args: Any, **options: Any) -> Any:
    """What a method of `KeyDesk` gives; raises as `ask_desk`."""
    mend = "see orderplan key list whether it was done" if method == "rotate" else "ask again"
    return await ask_desk(request, "ask_keys", method, *args, mend=mend, **options)


async def ask_desk(request: web.Request, desk: str, method: str, *args: Any, mend: str, **options: Any) -> Any:
    """What a method of a desk gives that stands where the keys are: `ask_keys` or `ask_erasures`.

    Raises:
        Busy: it does not answer; `mend` says what to do.
        OrderplanError: as the method raises.
    """
    handle = context_of(request).people()
    if handle is None:
        raise Busy("what keeps the keys is starting", retryAfterS=1)
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            answer: Any = await getattr(handle, desk).remote(method, *args, **options)
    except Exception as error:
        if not (is_remote_failure(error) or isinstance(error, TimeoutError)):
            raise
        raise Busy("what keeps the keys has not answered in time", mend=mend, retryAfterS=1) from error
    if isinstance(answer, OrderplanError):
        raise answer
    return answer
