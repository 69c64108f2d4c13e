"""A draft of a release, tried on real orders: what each of the newest would have become. Nothing is carried out."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any, Final

from aiohttp import web

from domain.errors import BadDocument, Busy, OrderplanError
from domain.facts import PLAN_COMPOSED
from domain.plan import Plan
from domain.publish import compile_release
from domain.release import CompiledRelease
from domain.release_file import read_release
from domain.simulate import simulate
from gateway.context import Context, context_of, tenant_of
from gateway.orders import native_json, read_object
from persistence import reads
from persistence.readstore import StoredFact

ORDERS_DEFAULT: Final = 50
ORDERS_MAX: Final = 500
TIME_MAX_S: Final = 10.0
"""What is not looked at by then is left out, and counted."""
RETRY_S: Final = 5
_AT_ONCE: Final = 20
"""Orders whose facts are read together."""
_LOOKED_AT_MAX: Final = 5_000
"""Among so many of the newest orders those of the draft's catalogue are looked for."""


async def simulate_release(request: web.Request) -> web.Response:
    """POST /v1/releases:simulate with `{"release": {...}, "orders": 50}`: what the newest orders would become under it.

    Compared with the plan that each was given; nothing is stored, sent or started. Of the newest 5,000 orders those are
    taken whose releases have the code of this one. At most 500, and 10 seconds: `left` counts those not looked at.
    """
    context, tenant = context_of(request), tenant_of(request)
    body = await read_object(request)
    document, wanted = body.get("release"), body.get("orders", ORDERS_DEFAULT)
    if not isinstance(document, dict):
        raise BadDocument("must be the release to try, an object", path="release")
    if isinstance(wanted, bool) or not isinstance(wanted, int) or not 1 <= wanted <= ORDERS_MAX:
        raise BadDocument(f"must be a whole number between 1 and {ORDERS_MAX}", path="orders")

    if context.simulating.locked():
        raise Busy("another simulation is under way", mend="send it again in a moment", retryAfterS=RETRY_S)
    async with context.simulating:
        async with context.compiling:
            draft = await asyncio.to_thread(lambda: compile_release(read_release(document)))
        order_ids = await reads.newest_orders_on(context.pool, tenant, draft.source.code, wanted, among=_LOOKED_AT_MAX)
        told = await _all_told(context, order_ids, draft)
    outcomes = Counter(each["outcome"] for each in told)
    return native_json(
        {
            "releaseId": draft.release_id,
            "outcomes": outcomes,
            "left": len(order_ids) - len(told),
            "orders": told,
            "findings": draft.findings,
        }
    )


async def _all_told(context: Context, order_ids: list[str], draft: CompiledRelease) -> list[dict[str, Any]]:
    """The orders of the answer, as many as there is time for."""
    until = time.monotonic() + TIME_MAX_S
    told: list[dict[str, Any]] = []
    for start in range(0, len(order_ids), _AT_ONCE):
        found = await context.store.facts_of(order_ids[start : start + _AT_ONCE])
        for order_id, facts in found.items():
            if time.monotonic() > until:
                return told
            # One by one: a large order takes as long as many small ones, and other requests are answered in between.
            told.append(await _told(context, order_id, facts, draft))
    return told


async def _told(context: Context, order_id: str, facts: list[StoredFact], draft: CompiledRelease) -> dict[str, Any]:
    """One order of the answer; one that cannot be read says so."""
    if not facts:
        # Erased since it was listed.
        return {"orderId": order_id, "outcome": "notSimulated", "error": {"code": "gone", "reason": "it is gone"}}
    first = next((at for at, each in enumerate(facts) if each.kind == PLAN_COMPOSED), len(facts) - 1)
    shown: dict[str, Any] = {"orderId": order_id, "releaseId": facts[0].release_id}
    try:
        plan = await context.folder.fold(facts[: first + 1])
    except OrderplanError as error:
        return shown | {"outcome": "notSimulated", "error": error.as_dict()}
    shown |= {"createdAt": plan.created_at.isoformat(), "externalId": plan.order.external_id}
    found = await asyncio.to_thread(_simulated, plan, draft)
    return shown | found


def _simulated(plan: Plan, draft: CompiledRelease) -> dict[str, Any]:
    found = simulate(plan, draft)
    if found is None:
        reason = "it was given no plan, so there is nothing to compare with"
        return {"outcome": "notSimulated", "error": {"code": "noPlan", "reason": reason}}
    return found
