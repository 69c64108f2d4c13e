"""One account as people who talk to its owner want to see it: what it has, and what happened to it."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from aiohttp import web

from domain.errors import BadDocument
from gateway.context import context_of, tenant_of
from gateway.orders import native_json
from gateway.queries import limit_of
from persistence import accounts
from persistence.accounts import Place

LIMIT_MAX: Final = 500


async def get_account(request: web.Request) -> web.Response:
    """GET /v1/accounts/{account}: how many orders, products, open tasks and failed items it has."""
    found = await accounts.summary(context_of(request).pool, tenant_of(request), request.match_info["account"])
    return native_json(found)


async def get_timeline(request: web.Request) -> web.Response:
    """GET /v1/accounts/{account}/timeline?limit=&cursor=: what happened to it, newest first.

    Kinds: `order.accepted`, `order.ended` (with the state), `task.opened`, `task.closed`, `item.failed` (with the
    error's code, as long as it is not repaired), `product.changed` (its newest change, with the status). `next` is the
    cursor of the next page.
    """
    context, tenant, account = context_of(request), tenant_of(request), request.match_info["account"]
    limit, after = limit_of(request.query.get("limit", "50"), LIMIT_MAX), _place(request.query.get("cursor"))
    if after is None:
        # An account that is misspelt has no empty timeline.
        await accounts.require_account(context.pool, tenant, account)
    found = await accounts.timeline(context.pool, tenant, account, after=after, limit=limit + 1)
    page = found[:limit]
    return native_json(
        {"entries": [_entry(each) for each in page], "next": _cursor(page[-1]) if len(found) > limit else None}
    )


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    entry = {"at": row["at"].isoformat(), "kind": row["kind"], "id": row["id"], "state": row["state"]}
    for name, key in (("orderId", "order_id"), ("item", "item"), ("name", "name")):
        if row[key]:
            entry[name] = row[key]
    return entry


def _cursor(row: dict[str, Any]) -> str:
    place = orjson.dumps([row["at"].isoformat(), row["kind"], row["id"]])
    return base64.urlsafe_b64encode(place).decode().rstrip("=")


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    try:
        match orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))):
            case [str(at), str(kind), str(entry_id)] if "\0" not in entry_id and "\0" not in kind:
                instant = datetime.fromisoformat(at)
                if instant.tzinfo is not None:
                    return Place(instant.astimezone(UTC), kind, entry_id)
    except (ValueError, OverflowError, binascii.Error):
        pass
    raise BadDocument("is no cursor of this list", path="cursor", mend="take `next` of the page before as it is")
