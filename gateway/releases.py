"""The line of releases: what stands in it, retiring and taking back, and what differs between two."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from domain.errors import BadDocument
from domain.lineup import lineup_of, standing_of
from domain.release_diff import diff_releases
from domain.release_file import read_release
from gateway.context import context_of, tenant_of, user_of
from gateway.documents import read_instant
from gateway.orders import native_json, read_object, reason_of
from persistence import catalogue

CHANGES_SHOWN: Final = 100


async def list_releases(request: web.Request) -> web.Response:
    """GET /v1/releases: all of them, the last to begin first, with state, the current one, and open orders on each."""
    context, tenant, now = context_of(request), tenant_of(request), context_of(request).now()
    standings, open_orders = await asyncio.gather(
        catalogue.list_standings(context.pool, tenant), catalogue.count_open_orders(context.pool, tenant)
    )
    current = lineup_of(standings, now).current
    return native_json(
        [
            {
                "id": each.release_id,
                "state": each.state(now).value,
                "isCurrent": each.release_id == current,
                "publishedAt": each.published_at.isoformat(),
                "effectiveFrom": each.effective_at.isoformat(),
                "retiredAt": each.retired_at.isoformat() if each.retired_at is not None else None,
                "openOrders": open_orders.get(each.release_id, 0),
            }
            for each in reversed(standings)
        ]
    )


async def get_release(request: web.Request) -> web.Response:
    """GET /v1/releases/{id}: a release in its file form."""
    found = await catalogue.read_release(
        context_of(request).pool, tenant_of(request), request.match_info["release_id"]
    )
    return native_json(found)


async def steer_release(request: web.Request) -> web.Response:
    """POST /v1/releases/{id}:retire|:unretire with `{"reason": "..."}`: take it out of the line, or back into it.

    No new order takes a retired release, orders that run on it go on. One that is scheduled is withdrawn that way. The
    current one is retired only with a `replacement`, a published release that new orders take from then on.
    """
    context, tenant = context_of(request), tenant_of(request)
    release_id, action = request.match_info["release_id"], request.match_info["action"]
    body = await read_object(request)
    reason, replacement = reason_of(body), body.get("replacement")
    if replacement is not None and (action != "retire" or not isinstance(replacement, str)):
        raise BadDocument("names the release that replaces a retired one", path="replacement", mend="leave it out")
    who: dict[str, Any] = {"reason": reason, "actor": user_of(request), "now": context.now()}
    if action == "retire":
        is_changed = await catalogue.retire_release(context.pool, tenant, release_id, replacement=replacement, **who)
    else:
        is_changed = await catalogue.unretire_release(context.pool, tenant, release_id, **who)
    await context.broadcast("releases")
    standings = await catalogue.list_standings(context.pool, tenant)
    now = context.now()
    return native_json(
        {
            "id": release_id,
            "action": action,
            "changed": is_changed,
            "state": standing_of(standings, release_id).state(now).value,
            "current": lineup_of(standings, now).current,
        }
    )


async def list_release_changes(request: web.Request) -> web.Response:
    """GET /v1/releases/{id}/changes: who published, scheduled, retired it and took it back, newest first."""
    context, tenant, release_id = context_of(request), tenant_of(request), request.match_info["release_id"]
    found = await catalogue.list_release_changes(context.pool, tenant, release_id, CHANGES_SHOWN)
    if not found:
        # Without any it may be older than this audit trail, or a slip of the pen.
        standing_of(await catalogue.list_standings(context.pool, tenant), release_id)
    return native_json(
        [
            {"at": each["at"].isoformat(), "by": each["actor"], "kind": each["kind"], "change": each["body"]}
            for each in found
        ]
    )


async def diff_two_releases(request: web.Request) -> web.Response:
    """GET /v1/releases/{id}:diff?to={other}: what differs, element by element, and which items it touches."""
    context, tenant = context_of(request), tenant_of(request)
    before_id, after_id = request.match_info["release_id"], request.query.get("to", "")
    if not after_id:
        raise BadDocument("must name the other release", path="to", mend="add ?to=CODE@VERSION")
    before, after, open_orders = await asyncio.gather(
        catalogue.read_release(context.pool, tenant, before_id),
        catalogue.read_release(context.pool, tenant, after_id),
        catalogue.count_open_orders(context.pool, tenant, before_id),
    )

    def compared() -> dict[str, Any]:
        return diff_releases(read_release(before), read_release(after)).to_dict()

    async with context.compiling:
        document = await asyncio.to_thread(compared)
    return native_json(document | {"openOrders": open_orders.get(before_id, 0)})


def moment_of(request: web.Request) -> datetime | None:
    """`?effectiveFrom=`: from when what is published counts; None: at once.

    Raises:
        BadDocument: it is no instant with a time zone.
    """
    given = request.query.get("effectiveFrom")
    if given is None:
        return None
    instant = read_instant(given)
    if instant is None:
        raise BadDocument(
            "must be an instant with a time zone", path="effectiveFrom", mend="write it as 2027-01-31T00:00:00Z"
        )
    return instant.astimezone(UTC)
