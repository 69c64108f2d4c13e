"""Encrypted values, shown one by one to whoever may see them, and who has asked for them."""

from __future__ import annotations

from aiohttp import web

from gateway.context import Role, context_of, has_role, tenant_of, user_of
from gateway.keys import ask_keys
from gateway.orders import native_json, read_object, reason_of
from gateway.queries import limit_of, text_of
from persistence.value_access import list_access

LIMIT_MAX = 1000


async def reveal_value(request: web.Request) -> web.Response:
    """POST /v1/products/{id}/attributes/{name}:reveal with `{"reason": ...}`: the value that stands there encrypted.

    The caller needs the role privacy. That somebody asked is kept, also of who was refused.
    """
    reason = reason_of(await read_object(request))
    asset_id, name = request.match_info["asset_id"], request.match_info["name"]
    value = await ask_keys(
        request,
        "reveal",
        tenant_of(request),
        user_of(request),
        reason,
        asset_id,
        name,
        is_allowed=has_role(request, Role.PRIVACY),
    )
    return native_json({"productId": asset_id, "name": name, "value": value})


async def list_value_access(request: web.Request) -> web.Response:
    """GET /v1/value-access?productId=&limit=: who has asked to see an encrypted value, newest first."""
    limit = limit_of(request.query.get("limit", "100"), LIMIT_MAX)
    asset_id = text_of(request.query.get("productId"), "productId")
    found = await list_access(context_of(request).pool, tenant_of(request), asset_id=asset_id, limit=limit)
    return native_json(
        {
            "accesses": [
                {
                    "at": each.at.isoformat(),
                    "by": each.actor,
                    "reason": each.reason,
                    "productId": each.asset_id,
                    "name": each.name,
                    "outcome": each.outcome,
                }
                for each in found
            ]
        }
    )
