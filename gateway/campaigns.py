"""Campaigns: named batches of orders that are submitted at a rate, behind the orders that somebody waits for.

A campaign is a job: made, loaded with orders, started; from then on `/v1/jobs/{id}` tells how far it is, pauses it,
lets it go on and stops it, and `/v1/jobs/{id}/items?outcome=refused` lists what was not taken, and why.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from aiohttp import web

from domain.errors import BadDocument
from gateway.context import context_of, tenant_of, user_of
from gateway.fallout import ask_jobs, job_view, rate_of
from gateway.orders import native_json, read_object, reason_of
from persistence import jobs

NAME_LENGTH_MAX: Final = 200
RATE_DEFAULT: Final = 50.0
_MEMBERS: Final = ("name", "rate", "reason")


async def create_campaign(request: web.Request) -> web.Response:
    """POST /v1/campaigns: make a campaign of `{"name", "rate" (orders a second), "reason"}`, to be loaded; 201.

    With a header `Idempotency-Key` a repeat of the same request gives the first one's campaign.
    """
    body = await read_object(request)
    for member in body:
        if member not in _MEMBERS:
            raise BadDocument("has no meaning for a campaign", path=member[:100], mend=f"give {', '.join(_MEMBERS)}")
    name = body.get("name")
    if not isinstance(name, str) or not name.strip() or len(name) > NAME_LENGTH_MAX or "\0" in name:
        raise BadDocument(f"must be a text of 1 to {NAME_LENGTH_MAX} characters", path="name")
    rate = rate_of(body, RATE_DEFAULT)
    key = request.headers.get("Idempotency-Key") or uuid.uuid4().hex
    made = await ask_jobs(
        context_of(request), "create_campaign", name, user_of(request), reason_of(body), rate, key
    )
    return native_json(job_view(made), 201)


async def load_campaign(request: web.Request) -> web.Response:
    """POST /v1/campaigns/{id}/orders?after=: append TMF622 orders, one a line; answers how many it has, `{"lines"}`.

    `after` is how many it has by the sender's count. If that is wrong nothing is appended, and the refusal says how
    many there are: so whoever does not know what became of a request sends it again. What stands in the lines is looked
    at when they are submitted.
    """
    after = request.query.get("after", "0")
    if not after.isdecimal() or len(after) > 9:
        raise BadDocument("must be the number of orders that the campaign has", path="after")
    lines = [line for line in (await request.read()).splitlines() if line.strip()]
    if not lines:
        raise BadDocument("has no line", path="body", mend="send orders as JSON, one a line")
    total = await ask_jobs(context_of(request), "load", request.match_info["job_id"], int(after), lines)
    return native_json({"lines": total})


async def start_campaign(request: web.Request) -> web.Response:
    """POST /v1/campaigns/{id}:start: submit its orders from now on; it takes no more."""
    context, tenant, job_id = context_of(request), tenant_of(request), request.match_info["job_id"]
    await jobs.steer(context.pool, tenant, job_id, "start", context.now())
    found: dict[str, Any] = await jobs.read_job(context.pool, tenant, job_id)
    return native_json(job_view(found))
