"""How far each consumer of the feed has read, and which of its incarnations may say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import asyncpg

from persistence.heads import HEAD

TAKE_OVER_ATTEMPTS: Final = 10
"""Each one fails only because somebody else has taken over in between."""


class ConsumerFenced(Exception):
    """Another incarnation of the consumer has started: this one has to stop."""


Connection = Any
"""A connection of the pool, inside a transaction where something is written."""


async def ensure_consumer(connection: Connection, tenant: str, consumer: str) -> None:
    """Make the consumer's rows, if there are none: it begins where the shards are now.

    A shard that is added later is read from its beginning.
    """
    is_new = await connection.fetchval(
        "insert into consumer (tenant, consumer, epoch) values ($1, $2, 0) on conflict do nothing returning true",
        tenant,
        consumer,
    )
    await connection.execute(
        'insert into consumer_cursor (tenant, consumer, shard, "offset") select $1, $2, s.shard, '
        f"case when $3 then {HEAD} else 0 end "
        "from shard as s on conflict do nothing",
        tenant,
        consumer,
        bool(is_new),
    )


async def hold(connection: Connection, tenant: str, consumer: str, epoch: int) -> None:
    """Make sure, until the end of the transaction, that this incarnation is still the one.

    Raises:
        ConsumerFenced: it is not.
    """
    found = await connection.fetchval(
        "select epoch from consumer where tenant = $1 and consumer = $2 for no key update", tenant, consumer
    )
    if found != epoch:
        raise ConsumerFenced(consumer)


async def move_cursors(connection: Connection, tenant: str, consumer: str, offsets: Mapping[int, int]) -> None:
    """Note how far the consumer has read."""
    await connection.execute(
        'update consumer_cursor as c set "offset" = n."offset" from unnest($3::int[], $4::bigint[]) '
        'as n(shard, "offset") where c.tenant = $1 and c.consumer = $2 and c.shard = n.shard',
        tenant,
        consumer,
        list(offsets),
        list(offsets.values()),
    )


class Consumer:
    """One consumer of a tenant's feed, over one pool."""

    def __init__(self, pool: asyncpg.Pool[Any], tenant: str, name: str) -> None:
        self._pool = pool
        self._tenant = tenant
        self._name = name

    async def take_over(self) -> tuple[int, dict[int, int]]:
        """Become the only incarnation of the consumer: its epoch, and the offset of each shard.

        The epoch that was read is named in the statement that raises it: one that nobody heard of, and that is carried
        out after its repeat, would else fence whoever has sent both.

        Raises:
            ConsumerFenced: others keep taking over.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await ensure_consumer(connection, self._tenant, self._name)
            for _ in range(TAKE_OVER_ATTEMPTS):
                epoch = await connection.fetchval(
                    "update consumer set epoch = epoch + 1 where tenant = $1 and consumer = $2 and epoch = $3 "
                    "returning epoch",
                    self._tenant,
                    self._name,
                    await self._epoch(connection),
                )
                if epoch is not None:
                    # After the update, which waited for the commit of the one before.
                    return epoch, await self._read(connection)
        raise ConsumerFenced(self._name)

    async def _epoch(self, connection: Connection) -> int:
        return int(
            await connection.fetchval(
                "select epoch from consumer where tenant = $1 and consumer = $2", self._tenant, self._name
            )
        )

    async def cursors(self, epoch: int) -> dict[int, int]:
        """How far the consumer has read, by shard. A write of its own that nobody heard of may still be under way; the
        answer waits for it.

        Raises:
            ConsumerFenced: another incarnation has started.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await hold(connection, self._tenant, self._name, epoch)
            return await self._read(connection)

    async def _read(self, connection: Connection) -> dict[int, int]:
        rows = await connection.fetch(
            'select shard, "offset" from consumer_cursor where tenant = $1 and consumer = $2', self._tenant, self._name
        )
        return {row["shard"]: row["offset"] for row in rows}

    async def pass_over(self, epoch: int, offsets: Mapping[int, int]) -> None:
        """Move on without having looked at what is there.

        Raises:
            ConsumerFenced: another incarnation has started.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await hold(connection, self._tenant, self._name, epoch)
            await move_cursors(connection, self._tenant, self._name, offsets)
