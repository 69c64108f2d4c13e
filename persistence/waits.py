"""Reading who waits for which related order: for the host that takes in an order, and for those who tell who waits.

The rows are written by the ticks of the plans that wait (persistence/journal.py). A name is an order's id, or the
external id of an order of the same channel; of several that have one external id the first one counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg

from domain.related import RelatedWaits, Wait

WAITS_MAX: Final = 5_000
"""Waits of which a search for circles is told."""

_NAMED: Final = """lateral (
    select named.order_id, named.state, named.ended_at from (
        select 0 as rank, o.order_id, o.state, o.ended_at, o.created_at from product_order as o
         where o.order_id = {name} and o.tenant = $1
        union all
        select 1 as rank, o.order_id, o.state, o.ended_at, o.created_at from product_order as o
         where o.tenant = $1 and o.external_id = {name} and o.channel = {channel}
    ) as named order by named.rank, named.created_at, named.order_id limit 1)"""
"""The order that has come under a name."""
_COLUMNS: Final = "w.order_id, w.item, w.channel, w.name, w.ref, w.blocks, w.opened_at"
_OF_WAIT: Final = _NAMED.format(name="w.name", channel="w.channel")
_PAGE: Final = f"""
select {_COLUMNS}, t.order_id as target, t.state, t.ended_at, h.head
  from (select * from related_wait
         where tenant = $1 and (order_id, item) > ($2, $3) order by order_id, item limit $4) as w
  left join {_OF_WAIT} as t on true
  left join lateral (select max(f."offset") as head from fact as f where f.order_id = t.order_id) as h on true
 order by w.order_id, w.item"""
_TARGETS: Final = f"""
select n.name, t.order_id from unnest($3::text[]) as n(name)
 cross join {_NAMED.format(name="n.name", channel="$2")} as t"""
_LEADING: Final = f"""
with recursive reached(order_id) as (
    select unnest($2::text[])
    union
    select t.order_id from reached as r
      join related_wait as w on w.order_id = r.order_id and w.tenant = $1
     cross join {_OF_WAIT} as t)
select {_COLUMNS}, t.order_id as target
  from reached as r join related_wait as w on w.order_id = r.order_id and w.tenant = $1
  left join {_OF_WAIT} as t on true
 limit {WAITS_MAX}"""


class OpenWait(NamedTuple):
    """A wait, and how far the order has come that it is about: its state, end and newest fact."""

    wait: Wait
    state: str | None
    ended_at: datetime | None
    head: int | None

    @property
    def progress(self) -> tuple[Any, ...]:
        """Another one when there is something new to see."""
        return self.wait.target, self.wait.blocks, self.state, self.ended_at, self.head


async def awaited_orders(pool: asyncpg.Pool[Any], tenant: str, names: Sequence[str]) -> set[tuple[str, str]]:
    """(channel, name) of those names that somebody waits for."""
    rows = await pool.fetch(
        "select distinct channel, name from related_wait where tenant = $1 and name = any($2)", tenant, list(names)
    )
    return {(row["channel"], row["name"]) for row in rows}


async def waits_leading_from(
    pool: asyncpg.Pool[Any], tenant: str, channel: str, names: Sequence[str]
) -> RelatedWaits:
    """The open waits of the orders of these names, of those that these wait for, and so on; at most `WAITS_MAX`."""
    found = await pool.fetch(_TARGETS, tenant, channel, list(dict.fromkeys(names)))
    targets = {row["name"]: row["order_id"] for row in found}
    rows = await pool.fetch(_LEADING, tenant, list(targets.values())) if targets else []
    return RelatedWaits(targets, [_wait(row) for row in rows])


async def named_orders(
    pool: asyncpg.Pool[Any], tenant: str, channel: str, names: Sequence[str]
) -> dict[str, tuple[str, str]]:
    """(order id, state) of the orders that have come under these names."""
    sql = _TARGETS.replace("t.order_id", "t.order_id, t.state", 1)
    rows = await pool.fetch(sql, tenant, channel, list(dict.fromkeys(names)))
    return {row["name"]: (row["order_id"], row["state"]) for row in rows}


class RelatedWaitRows:
    """The open waits of one tenant."""

    def __init__(self, pool: asyncpg.Pool[Any], tenant: str) -> None:
        self._pool = pool
        self._tenant = tenant

    async def page(self, after: tuple[str, str], limit: int) -> list[OpenWait]:
        """The waits behind that of an order and item, in their order."""
        rows = await self._pool.fetch(_PAGE, self._tenant, *after, limit)
        return [OpenWait(_wait(row), row["state"], row["ended_at"], row["head"]) for row in rows]

    async def leading_from(self, channel: str, names: Sequence[str]) -> RelatedWaits:
        """See `waits_leading_from`."""
        return await waits_leading_from(self._pool, self._tenant, channel, names)


def _wait(row: Mapping[str, Any]) -> Wait:
    return Wait(
        row["order_id"],
        row["item"],
        row["channel"],
        row["name"],
        row["ref"],
        frozenset(row["blocks"]),
        row["opened_at"],
        row["target"],
    )
