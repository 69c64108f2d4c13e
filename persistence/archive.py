"""Retention: the facts of finished orders leave `fact` for `fact_archive`, which has a partition for each month.

What a host, a gateway and every consumer read at work is `fact`; it stays as large as the orders that are open or ended
a short while ago. An order goes whole, in one transaction, and is read from where it is (`persistence.readstore`). It
stays as long as somebody may still need its facts in their place:

- A shard's newest fact says where its next owner goes on writing. It stays, and its order with it.
- A consumer reads `fact` in the order of the offsets. What it has not read stays.
- An order whose keys are not destroyed, or whose row says that it calls, books or waits for a time, is not over for its
  host. The next owner takes it up.

Whoever reads without a cursor that is stored (streams of facts, the delay predictor) is covered by age: the gateway
lets nobody ask for orders that ended less than an hour ago, and a late fact, such as a result that comes twice, keeps
its order for as long as if it had ended with it. A stream that is resumed further back learns it from `archive_mark`.

Alternatives dropped: `fact` itself partitioned by time, because orders end when they end, and a partition would be full
of holes or wait for its last order for ever; and deleting after an export, because the audit trail has to be readable
where the order is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import asyncpg

from persistence.consumers import Connection
from persistence.tables import FACT_COLUMNS

FACTS_MAX: Final = 50_000
"""Facts that one transaction moves, about: a single order may have more."""
ORDER_FACTS: Final = 5
ITEM_FACTS: Final = 3
"""What an order, and each of its items, leaves behind when all goes well."""
MOVE_TIMEOUT_S: Final = 120.0
"""For a single order of very many facts: given up half-way, it would be the first again the next time."""
_BOUNDS: Final = (
    # Orders are locked meanwhile, and a late result waits with its host's whole tick: who stands still is let go.
    "set local idle_in_transaction_session_timeout = '5s'",
    f"set local statement_timeout = '{MOVE_TIMEOUT_S:.0f}s'",
)
COUNTED_MAX: Final = 100_000
"""Finished orders that are counted for people."""

_COLUMNS: Final = ", ".join(f'"{name}"' for name in FACT_COLUMNS)
_EDGES: Final = """
select s.shard, least(
    (select max(f."offset") - 1 from fact as f where f.shard = s.shard),
    (select min(coalesce(c."offset", 0)) from consumer as n left join consumer_cursor as c
         on c.tenant = n.tenant and c.consumer = n.consumer and c.shard = s.shard
      where n.tenant = $1)) as edge
  from shard as s"""
_PICK: Final = """
select o.order_id, o.ended_at, o.items, newest."offset" as newest
  from product_order as o join unnest($4::int[], $5::bigint[]) as e(shard, edge) on e.shard = o.shard
 cross join lateral (select f."offset", f.at from fact as f where f.order_id = o.order_id
                      order by f."offset" desc limit 1) as newest
 where o.tenant = $1 and o.ended_at < $2 and not o.archived and not o.sealed and not o.active and o.timer_at is null
   and newest."offset" <= e.edge and newest.at < $2
 order by o.ended_at limit $3 for no key update of o skip locked"""
_MOVE: Final = f"""
with gone as (
    delete from fact as f using unnest($1::text[], $2::timestamptz[], $3::bigint[]) as o(order_id, ended_at, newest)
     where f.order_id = o.order_id and f."offset" <= o.newest
    returning o.ended_at, {", ".join(f'f."{name}"' for name in FACT_COLUMNS)}),
kept as (insert into fact_archive (ended_at, {_COLUMNS}) select * from gone returning shard, "offset"),
marked as (
    insert into archive_mark (shard, "offset") select shard, max("offset") from kept group by shard order by shard
    on conflict (shard) do update set "offset" = greatest(archive_mark."offset", excluded."offset"))
select count(*) from kept"""
_PARTITIONS: Final = """
select c.relname as name, greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)::bigint as facts,
       pg_total_relation_size(c.oid) as bytes
  from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
 where i.inhparent = 'fact_archive'::regclass order by c.relname"""


class Archived(NamedTuple):
    """What one batch has moved; `is_more`: another one would find something right away."""

    orders: int
    facts: int
    is_more: bool


class _Candidate(NamedTuple):
    order_id: str
    ended_at: datetime
    items: int
    newest: int


async def archive_batch(pool: asyncpg.Pool[Any], tenant: str, ended_before: datetime, limit: int) -> Archived:
    """Move the facts of some finished orders to the archive, those that ended first, in one transaction.

    Several at once pass over each other's orders.

    Args:
        pool: connections.
        tenant: whose orders.
        ended_before: only orders that ended earlier.
        limit: at most so many orders; fewer if they have very many facts.
    """
    async with pool.acquire() as connection:
        # Each round but the last makes a month that the round before had missed, and a batch has few.
        while True:
            async with connection.transaction():
                for bound in _BOUNDS:
                    await connection.execute(bound)
                found = await _pick(connection, tenant, ended_before, limit + 1)
                taken = _first(found[:limit])
                missing = await _missing_partitions(connection, {_month_of(each.ended_at) for each in taken})
                if not missing:
                    facts = await _move(connection, taken)
                    return Archived(len(taken), facts, len(taken) < len(found))
            for month in missing:
                await _make_partition(connection, month)


async def _pick(connection: Connection, tenant: str, ended_before: datetime, limit: int) -> list[_Candidate]:
    """Orders that may go, locked, those that ended first at the beginning."""
    # A statement of its own: heads and cursors only grow, so what lies below them now still does in the next one.
    edges = await connection.fetch(_EDGES, tenant)
    rows = await connection.fetch(
        _PICK, tenant, ended_before, limit, [row["shard"] for row in edges], [row["edge"] for row in edges]
    )
    return [_Candidate(*row) for row in rows]


def _first(found: Sequence[_Candidate]) -> list[_Candidate]:
    """As many of these as one transaction should move, at least one."""
    facts = 0
    for count, each in enumerate(found):
        facts += ORDER_FACTS + ITEM_FACTS * each.items
        if count and facts > FACTS_MAX:
            return list(found[:count])
    return list(found)


async def _move(connection: Connection, taken: Sequence[_Candidate]) -> int:
    """Move the facts of these orders; returns how many. What was appended since the orders were picked stays."""
    if not taken:
        return 0
    order_ids = [each.order_id for each in taken]
    facts = await connection.fetchval(
        _MOVE,
        order_ids,
        [each.ended_at for each in taken],
        [each.newest for each in taken],
        timeout=MOVE_TIMEOUT_S,
    )
    await connection.execute("update product_order set archived = true where order_id = any($1)", order_ids)
    return int(facts)


# Partitions.


def _month_of(at: datetime) -> datetime:
    """The beginning of the month, in UTC."""
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _partition_of(month: datetime) -> str:
    return f"fact_archive_y{month.year:04d}m{month.month:02d}"


async def _missing_partitions(connection: Connection, months: Iterable[datetime]) -> list[datetime]:
    named = {_partition_of(month): month for month in sorted(months)}
    rows = await connection.fetch("select n from unnest($1::text[]) as n where to_regclass(n) is null", list(named))
    return [named[row["n"]] for row in rows]


async def _make_partition(connection: Connection, month: datetime) -> None:
    """Make the partition of a month, unless somebody else has.

    In a transaction of its own, and attached instead of created in its place: that takes a lock that neither readers
    nor backups wait for or hold up, and who reads after the move is sure to have heard of the partition.
    """
    name, following = _partition_of(month), _month_of(month.replace(day=28) + timedelta(days=4))
    async with connection.transaction():
        # The lock that attaching takes anyway. Not an advisory one: only with the lock of a table does this session
        # hear of what others have made while it waited.
        await connection.execute("lock table fact_archive in share update exclusive mode")
        if await connection.fetchval("select to_regclass($1)", name) is not None:
            return
        await connection.execute(f"create table {name} (like fact_archive)")
        await connection.execute(
            f"alter table fact_archive attach partition {name} "
            f"for values from ('{month.isoformat()}') to ('{following.isoformat()}')"
        )


# For people.


async def read_archive(pool: asyncpg.Pool[Any], tenant: str) -> dict[str, Any]:
    """What is in the archive, by month, and how many finished orders are not.

    `facts` are the server's estimates; months hold the facts of all tenants. Counting ends at `COUNTED_MAX`.
    """
    partitions = await pool.fetch(_PARTITIONS)
    hot = await pool.fetchrow(
        "select count(*) as orders, min(ended_at) as oldest_at from (select ended_at from product_order "
        "where tenant = $1 and ended_at is not null and not archived order by ended_at limit $2) as o",
        tenant,
        COUNTED_MAX,
    )
    assert hot is not None, "a count has a row"
    return {
        "months": [
            {
                "month": row["name"].removeprefix("fact_archive_y").replace("m", "-"),
                "facts": row["facts"],
                "bytes": row["bytes"],
            }
            for row in partitions
        ],
        "finishedHot": hot["orders"],
        "finishedHotAreMore": hot["orders"] == COUNTED_MAX,
        "oldestHotEndedAt": hot["oldest_at"].isoformat() if hot["oldest_at"] else None,
    }
