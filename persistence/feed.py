"""Facts in the order of their shards: what every consumer (notifier, stream, predictor) reads.

A shard has one writer and serial commits, so a reader that has seen an offset has seen all before it. One query asks
for all shards.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from persistence.heads import HEAD
from persistence.readstore import StoredFact, stored_fact


class News(NamedTuple):
    """That something happened to an order, without what exactly: a fact but for its payload and its origin."""

    shard: int
    offset: int
    order_id: str
    item: str | None
    kind: str
    at: datetime


class Feed:
    """A tenant's facts, over one pool."""

    def __init__(self, pool: asyncpg.Pool[Any], tenant: str) -> None:
        self._pool = pool
        self._tenant = tenant

    async def heads(self) -> dict[int, int]:
        """The last offset of every shard, 0 for an empty one."""
        rows = await self._pool.fetch(
            f"select s.shard, {HEAD} as head from shard as s"
        )
        return {row["shard"]: row["head"] for row in rows}

    async def archived_to(self) -> dict[int, int]:
        """The highest offset of each shard that was moved to the archive: who stands below it cannot read on.

        Read after the facts: those that were gone by then count here.
        """
        rows = await self._pool.fetch('select shard, "offset" from archive_mark')
        return {row["shard"]: row["offset"] for row in rows}

    async def facts_after(self, offsets: Mapping[int, int], per_shard: int) -> list[StoredFact]:
        """The next facts of each shard after its offset, at most `per_shard` each, in order inside a shard."""
        rows = await self._pool.fetch(
            'select f.shard, f."offset", f.order_id, f.item, f.kind, f.v, f.at, f.release_id, f.actor, f.cause, '
            'f.payload from unnest($1::int[], $2::bigint[]) as c(shard, "offset") '
            'cross join lateral (select * from fact where fact.shard = c.shard and fact."offset" > c."offset" '
            'and fact.tenant = $4 order by fact."offset" limit $3) as f order by f.shard, f."offset"',
            list(offsets),
            list(offsets.values()),
            per_shard,
            self._tenant,
        )
        return [stored_fact(row) for row in rows]

    async def news_after(self, offsets: Mapping[int, int], per_shard: int) -> list[News]:
        """The same as news, for who needs few facts whole: a third of the cost."""
        rows = await self._pool.fetch(
            'select f.shard, f."offset", f.order_id, f.item, f.kind, f.at '
            'from unnest($1::int[], $2::bigint[]) as c(shard, "offset") cross join lateral ('
            'select shard, "offset", order_id, item, kind, at from fact where fact.shard = c.shard '
            'and fact."offset" > c."offset" and fact.tenant = $4 order by fact."offset" limit $3) as f '
            'order by f.shard, f."offset"',
            list(offsets),
            list(offsets.values()),
            per_shard,
            self._tenant,
        )
        return list(map(News._make, rows))
