"""Searches and filters that people keep under a name: each one's own, and those that they share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import asyncpg
import orjson

from domain.errors import Forbidden, NotFound, NotPossibleNow

VIEWS_MAX: Final = 200
"""Of one owner at one desk."""
_SHOWN: Final = "view_id, owner, name, is_shared, query, changed_at"


async def list_views(pool: asyncpg.Pool[Any], tenant: str, desk: str, user: str) -> list[dict[str, Any]]:
    """The views of a desk that the user has or others share, by name."""
    rows = await pool.fetch(
        f"select {_SHOWN} from saved_view where tenant = $1 and desk = $2 and (owner = $3 or is_shared) "
        "order by lower(name), name, owner limit 1000",
        tenant,
        desk,
        user,
    )
    return [_view(row) for row in rows]


async def put_view(
    pool: asyncpg.Pool[Any],
    tenant: str,
    desk: str,
    owner: str,
    name: str,
    *,
    view_id: str,
    query: Mapping[str, str],
    is_shared: bool,
    now: datetime,
) -> dict[str, Any]:
    """Make the owner's view of that name, or change it; `view_id` is that of a new one.

    Raises:
        NotPossibleNow: the owner has too many already.
    """
    row = await pool.fetchrow(
        "insert into saved_view (view_id, tenant, desk, owner, name, is_shared, query, changed_at) "
        "select $1, $2, $3, $4, $5, $6, $7::jsonb, $8 where exists (select from saved_view where tenant = $2 "
        "and desk = $3 and owner = $4 and name = $5) or (select count(*) from saved_view where tenant = $2 "
        "and desk = $3 and owner = $4) < $9 "
        "on conflict (tenant, desk, owner, name) do update set is_shared = excluded.is_shared, "
        f"query = excluded.query, changed_at = excluded.changed_at returning {_SHOWN}",
        view_id,
        tenant,
        desk,
        owner,
        name,
        is_shared,
        orjson.dumps(dict(query)).decode(),
        now,
        VIEWS_MAX,
    )
    if row is None:
        raise NotPossibleNow(f"{owner} has {VIEWS_MAX} views here already", mend="delete one first")
    return _view(row)


async def delete_view(
    pool: asyncpg.Pool[Any], tenant: str, desk: str, view_id: str, user: str, *, is_manager: bool
) -> None:
    """Delete a view: one's own, or as a manager one that is shared.

    Raises:
        NotFound: there is none of that id that the user may see.
        Forbidden: it is somebody else's.
    """
    row = await pool.fetchrow(
        "delete from saved_view where tenant = $1 and desk = $2 and view_id = $3 "
        "and (owner = $4 or (is_shared and $5)) returning view_id",
        tenant,
        desk,
        view_id,
        user,
        is_manager,
    )
    if row is not None:
        return
    owner = await pool.fetchval(
        "select owner from saved_view where tenant = $1 and desk = $2 and view_id = $3 and is_shared",
        tenant,
        desk,
        view_id,
    )
    if owner is None:
        raise NotFound(f"there is no view {view_id[:100]!r}")
    raise Forbidden(f"the view is {owner}'s", mend="its owner deletes it, or a manager")


def _view(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "id": row["view_id"],
        "owner": row["owner"],
        "name": row["name"],
        "shared": row["is_shared"],
        "query": orjson.loads(row["query"]),
        "changedAt": row["changed_at"].isoformat(),
    }
