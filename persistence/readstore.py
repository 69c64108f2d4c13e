"""Reading what makes plans: facts, plan templates, releases. Shared by the journal of a host and by whoever only
reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg
import orjson

from domain.facts import ORDER_ACCEPTED, ORDER_REJECTED
from domain.lineup import Lineup, Standing, lineup_of

_FACTS_OF: Final = (
    'select shard, "offset", order_id, item, kind, v, at, release_id, actor, cause, payload from {} '
    'where order_id = any($1) order by order_id, "offset"'
)
_FACTS_SINCE: Final = """
select f.shard, f."offset", f.order_id, f.item, f.kind, f.v, f.at, f.release_id, f.actor, f.cause, f.payload
  from unnest($1::text[], $2::bigint[]) as c(order_id, "offset")
 cross join lateral (select * from fact where fact.order_id = c.order_id and fact."offset" > c."offset"
                      order by fact."offset") as f"""
_FIRST: Final = (ORDER_ACCEPTED, ORDER_REJECTED)
"""What every order's facts begin with."""
_STANDING: Final = "select release_id, published_at, effective_at, is_scheduled, retired_at, sequence from release"
_LINE: Final = f"""
select release_id, published_at, effective_at, is_scheduled, retired_at from (
    ({_STANDING} where tenant = $1 and retired_at is null and (not is_scheduled or effective_at <= $2)
      order by effective_at desc, sequence desc limit 1)
    union all
    {_STANDING} where tenant = $1 and retired_at is null and is_scheduled and effective_at > $2) as line
 order by effective_at, sequence"""
"""The current release and those to come: read by every host every few seconds, however many there were before."""


class StoredFact(NamedTuple):
    """A fact as read back: payload decoded."""

    shard: int
    offset: int
    order_id: str
    item: str | None
    kind: str
    v: int
    at: datetime
    release_id: str | None
    actor: str
    cause: str | None
    payload: dict[str, Any]


class ReadStore:
    """Reads on a pool."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._reads: asyncpg.Pool[Any] | None = pool

    def _pool(self) -> asyncpg.Pool[Any]:
        assert self._reads is not None, "open it first"
        return self._reads

    async def facts_of(self, order_ids: Iterable[str]) -> dict[str, list[StoredFact]]:
        """The facts of each order, in order; an unknown order has none."""
        wanted = list(order_ids)
        found: dict[str, list[StoredFact]] = {order_id: [] for order_id in wanted}
        for row in await self._pool().fetch(_FACTS_OF.format("fact"), wanted):
            found[row["order_id"]].append(stored_fact(row))
        # Facts go from here to the archive, an order's all at once, and never back. So what is not here any more is
        # there by now, and what goes after this statement was seen by it. Were the archive read first, an order that
        # goes in between would be seen nowhere. Bookings and imports, which have no order's id, are never moved.
        away = [
            order_id
            for order_id, facts in found.items()
            if order_id.startswith("o") and not (facts and facts[0].kind in _FIRST)
        ]
        if away:
            archived: dict[str, list[StoredFact]] = {}
            for row in await self._pool().fetch(_FACTS_OF.format("fact_archive"), away):
                archived.setdefault(row["order_id"], []).append(stored_fact(row))
            # What an archived order still has here came later than what was moved: a late result that was noted.
            found.update({order_id: facts + found[order_id] for order_id, facts in archived.items()})
        return found

    async def facts_since(self, offsets: Mapping[str, int]) -> dict[str, list[StoredFact]]:
        """The facts of each order after its offset, in order; of one that was archived there are none."""
        found: dict[str, list[StoredFact]] = {order_id: [] for order_id in offsets}
        for row in await self._pool().fetch(_FACTS_SINCE, list(offsets), list(offsets.values())):
            found[row["order_id"]].append(stored_fact(row))
        return found

    async def template(self, tenant: str, template_id: str) -> dict[str, Any] | None:
        """The body of a plan template."""
        body = await self._pool().fetchval(
            "select body from plan_template where tenant = $1 and template_id = $2", tenant, template_id
        )
        return orjson.loads(body) if body is not None else None

    async def release_body(self, tenant: str, release_id: str) -> dict[str, Any] | None:
        """The body of a release."""
        body = await self._pool().fetchval(
            "select body from release where tenant = $1 and release_id = $2", tenant, release_id
        )
        return orjson.loads(body) if body is not None else None

    async def lineup(self, tenant: str, now: datetime) -> Lineup:
        """Which release new orders take at `now`, and which follow when."""
        rows = await self._pool().fetch(_LINE, tenant, now)
        return lineup_of([Standing(**row) for row in rows], now)


def stored_fact(row: Mapping[str, Any]) -> StoredFact:
    """A row of `fact` with its payload decoded."""
    payload = row["payload"]
    return StoredFact(
        row["shard"],
        row["offset"],
        row["order_id"],
        row["item"],
        row["kind"],
        row["v"],
        row["at"],
        row["release_id"],
        row["actor"],
        row["cause"],
        orjson.loads(payload) if payload is not None else {},
    )
