"""Accounts that are erased on request, and the certificates of what was erased."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from domain.errors import BadDocument
from gateway.context import Role, context_of, has_role, tenant_of, user_of
from gateway.keys import ask_desk
from gateway.orders import native_json, read_object, reason_of
from gateway.queries import limit_of, text_of
from persistence import erasures

LIMIT_MAX = 1000


async def erase_account(request: web.Request) -> web.Response:
    """POST /v1/accounts/{account}:erase with `{"reason": ..., "products": bool}`: erase all of it; the certificate.

    The caller needs the role privacy; that somebody asked is kept, also of who was refused. Its orders have to be over,
    and its products terminated, unless `products` says that they go as well. Asked again after an interruption it goes
    on where it was.
    """
    body = await read_object(request)
    with_products = body.get("products", False)
    if not isinstance(with_products, bool):
        raise BadDocument("must be true or false", path="products")
    done = await ask_desk(
        request,
        "ask_erasures",
        "erase",
        tenant_of(request),
        user_of(request),
        reason_of(body),
        request.match_info["account"],
        mend="ask again: it goes on, or tells that it is done",
        with_products=with_products,
        is_allowed=has_role(request, Role.PRIVACY),
    )
    return native_json(certificate(done))


async def list_erasures(request: web.Request) -> web.Response:
    """GET /v1/erasures?account=&limit=: erasures, and who was refused one, newest first."""
    limit = limit_of(request.query.get("limit", "100"), LIMIT_MAX)
    account = text_of(request.query.get("account"), "account")
    found = await erasures.list_erasures(context_of(request).pool, tenant_of(request), account=account, limit=limit)
    return native_json({"erasures": [summary(each) for each in found]})


async def get_erasure(request: web.Request) -> web.Response:
    """GET /v1/erasures/{id}: the certificate: what was erased, what is kept, and where the data went."""
    pool, erasure_id = context_of(request).pool, request.match_info["erasure_id"]
    return native_json(certificate(await erasures.read_erasure(pool, tenant_of(request), erasure_id)))


def summary(row: dict[str, Any]) -> dict[str, Any]:
    """An erasure in a list. `state`: `refused`, `begun` (ask again), or `done`."""
    return {
        "id": row["erasure_id"],
        "account": row["account"],
        "state": row["state"],
        "by": row["actor"],
        "reason": row["reason"],
        "askedAt": row["asked_at"].isoformat(),
        "finishedAt": row["finished_at"].isoformat() if row["finished_at"] is not None else None,
        "orders": len(row["order_ids"]),
        "products": row["body"].get("products", 0),
    }


def certificate(row: dict[str, Any]) -> dict[str, Any]:
    """All that is told of an erasure; `rows` by table, once it is done."""
    body = row["body"]
    shown = summary(row)
    if row["state"] == "refused":
        return shown
    return shown | {
        "withProducts": row["with_products"],
        "orderIds": row["order_ids"],
        "rows": body.get("rows", {}),
        "secretsDestroyed": row["secret_ids"] if row["state"] == "done" else [],
        "secretsKept": [{"secretId": each, "productIds": ids} for each, ids in body["sharedSecrets"].items()],
        "wentTo": body["wentTo"],
        "kept": {**erasures.KEPT, **erasures.ALSO_KEPT},
    }
