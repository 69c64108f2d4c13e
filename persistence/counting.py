"""Counts facts for the numbers that managers look at: `fact_count` by the hour, `ended_order` for each order that ends.

A consumer of the feed that reads and counts inside the database, in one statement and one transaction with its cursors:
no fact travels, none is counted twice, and no plan waits for it. Alternative dropped: to count in the hosts' ticks,
which would cost every order what only managers look at.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import asyncpg

from domain import facts as f
from persistence.consumers import Consumer, hold

CONSUMER: Final = "counting"
PER_SHARD: Final = 500
"""Facts of one shard in one step."""
KEPT: Final = timedelta(days=93)
"""What is counted is kept a little longer than the longest window that can be asked for."""
DROPPED_MAX: Final = 5_000
"""Rows of each table that one step deletes."""
_SETTINGS: Final = (
    "set local statement_timeout = '60s'",
    # In the order of the index a shard is read as far as it is wanted. The planner of a table that has grown since it
    # was looked at last would collect all that is left of the shard, each time.
    "set local enable_bitmapscan = off",
)

COUNTED: Final = (
    f.ORDER_ACCEPTED,
    f.ORDER_ENDED,
    f.ITEM_COMPLETED,
    f.ITEM_FAILED,
    f.ITEM_FATALLY_FAILED,
)
"""Kinds that `fact_count` has."""
REPAIRS: Final = (f.ITEM_FATALLY_FAILED, f.ITEM_RETRIED, f.ITEM_EDITED)
"""An order with a fact of these was not right the first time, nor one of which an operator skipped an item."""

# What is looked up for each order that has ended is looked up by itself (`limit`, `offset 0`): asked for all of them
# together, the planner might read every fact there is.
_STEP: Final = """
with seen as materialized (
    select c.shard, f."offset", f.order_id, f.item, f.kind, f.at, f.release_id, f.state
      from consumer_cursor as c
     cross join lateral (select *, case when kind = any($6) then coalesce(payload ->> 'state', 'rejected') end as state
                           from fact where fact.shard = c.shard and fact."offset" > c."offset" and fact.tenant = $1
                          order by fact."offset" limit $3) as f
     where c.tenant = $1 and c.consumer = $2),
counted as (
    insert into fact_count as k (tenant, hour, kind, release_id, item, n)
    select $1, date_trunc('hour', at, 'UTC'), kind, coalesce(release_id, ''), coalesce(split_part(item, '@', 1), ''),
           count(*)
      from seen where kind = any($4) group by 2, 3, 4, 5 order by 2, 3, 4, 5
    on conflict (tenant, hour, kind, release_id, item) do update set n = k.n + excluded.n),
ended as (
    insert into ended_order (order_id, tenant, state, created_at, ended_at, offers, is_right)
    select e.order_id, $1, e.state, first.at, e.at,
           array(select distinct coalesce(line ->> 'offering', line ->> 'specification') as offer
                   from jsonb_array_elements(first.payload -> 'order' -> 'lines') as line
                  where coalesce(line ->> 'offering', line ->> 'specification') is not null order by offer),
           repair.kind is null
      from seen as e
     cross join lateral (select from product_order as p where p.order_id = e.order_id offset 0) as known
     cross join lateral (select f.at, f.payload from fact as f where f.order_id = e.order_id
                          order by f."offset" limit 1) as first
      left join lateral (select r.kind from fact as r where r.order_id = e.order_id
                            and (r.kind = any($5) or (r.kind = $7 and r.payload ->> 'reason' = 'operator'))
                          limit 1) as repair on true
     where e.state is not null
    on conflict (order_id) do nothing),
moved as (
    update consumer_cursor as c set "offset" = n.newest
      from (select shard, max("offset") as newest from seen group by shard) as n
     where c.tenant = $1 and c.consumer = $2 and c.shard = n.shard)
select coalesce(sum(n), 0)::bigint as facts, coalesce(max(n), 0)::bigint as most
  from (select count(*) as n from seen group by shard) as s"""
_DROP_COUNTS: Final = """
delete from fact_count where ctid = any(array(
    select ctid from fact_count where tenant = $1 and hour < $2 limit $3))"""
_DROP_ORDERS: Final = """
delete from ended_order where order_id = any(array(
    select order_id from ended_order where tenant = $1 and ended_at < $2 limit $3))"""
_COUNTED_TO: Final = """
select coalesce(min(next.at), $3) from consumer_cursor as c
  left join lateral (select f.at from fact as f where f.shard = c.shard and f."offset" > c."offset" and f.tenant = $1
                      order by f."offset" limit 1) as next on true
 where c.tenant = $1 and c.consumer = $2 having count(*) > 0"""


class Step(NamedTuple):
    """What one step has done: facts looked at, and whether some shard has more."""

    facts: int
    is_more: bool


class Counting:
    """The counting consumer of a tenant, over one pool."""

    def __init__(self, pool: asyncpg.Pool[Any], tenant: str, per_shard: int = PER_SHARD) -> None:
        self._pool = pool
        self._tenant = tenant
        self._per_shard = per_shard
        self._consumer = Consumer(pool, tenant, CONSUMER)

    async def take_over(self) -> int:
        """Become the only one that counts; its epoch."""
        epoch, _ = await self._consumer.take_over()
        return epoch

    async def step(self, epoch: int) -> Step:
        """Count the next facts of every shard, all or none of them.

        Raises:
            ConsumerFenced: another incarnation has started.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            for setting in _SETTINGS:
                await connection.execute(setting)
            await hold(connection, self._tenant, CONSUMER, epoch)
            row = await connection.fetchrow(
                _STEP,
                self._tenant,
                CONSUMER,
                self._per_shard,
                list(COUNTED),
                list(REPAIRS),
                [f.ORDER_ENDED, f.ORDER_REJECTED],
                f.ITEM_SKIPPED,
            )
        assert row is not None, "an aggregate gives a row"
        return Step(row["facts"], row["most"] >= self._per_shard)

    async def drop_old(self, now: datetime) -> None:
        """Delete what no window reaches any more, a bounded number of rows."""
        for statement in (_DROP_COUNTS, _DROP_ORDERS):
            await self._pool.execute(statement, self._tenant, now - KEPT, DROPPED_MAX)


async def counted_to(connection: Any, tenant: str, now: datetime) -> datetime | None:
    """Until when everything is counted: the first fact that is not, else `now`; None: nobody has begun to count."""
    found: datetime | None = await connection.fetchval(_COUNTED_TO, tenant, CONSUMER, now)
    return found
