"""Who owns which shard, and how a dead or hung owner is replaced.

All decisions are compare-and-set rows, so two directors at once are harmless. The order of a takeover matters: end
the old backend (no timeout frees a client that stopped inside COPY), raise the epoch, point the shards elsewhere;
only then may the new owner read the heads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg

from persistence.servers import certain

LOCK_ATTEMPTS_MAX: Final = 5
SILENT_MAX_S: Final = 10.0
"""A host whose heartbeat is older than this hangs, whatever Ray says of it (Ray does not see SIGSTOP)."""


class Incarnation(NamedTuple):
    """A host process as the database knows it; `silent_s` is the age of its heartbeat in seconds.

    `dedicated_shard` is the shard that it was started for; None: an ordinary host.
    """

    incarnation_id: str
    epoch: int
    state: str
    started_at: datetime
    silent_s: float
    dedicated_shard: int | None = None


class Assignment(NamedTuple):
    """The owner of a shard; `version` grows with each change.

    `order_id` is the open order that has a dedicated shard for itself, `has_own_host` says whether its owner is a
    living host that was started for it.
    """

    shard: int
    incarnation_id: str | None
    version: int
    order_id: str | None = None
    has_own_host: bool = False


class Ownership:
    """The table of owners and the incarnations in it, over one pool."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def living(self) -> list[Incarnation]:
        """Incarnations that nobody fenced, oldest first."""
        rows = await self._pool.fetch(
            "select incarnation_id, epoch, state, started_at, "
            "extract(epoch from clock_timestamp() - heartbeat_at)::float8 as silent_s, dedicated_shard "
            "from incarnation where state = 'living' order by started_at, incarnation_id"
        )
        return [Incarnation(*row) for row in rows]

    async def assignments(self) -> list[Assignment]:
        """The owner of every shard."""
        rows = await self._pool.fetch(
            "select s.shard, s.incarnation_id, s.version, s.order_id, coalesce(i.dedicated_shard = s.shard, false) "
            "from shard as s left join incarnation as i on i.incarnation_id = s.incarnation_id and i.state = 'living' "
            "order by s.shard"
        )
        return [Assignment(*row) for row in rows]

    async def shard_count(self) -> int:
        """How many shards the database has; set when it was made, never changed."""
        return int(await self._pool.fetchval("select (value #>> '{}')::int from setting where key = 'shards'"))

    async def fence(self, incarnation_id: str) -> bool:
        """End an incarnation for good; False when it was not living any more.

        Raises:
            asyncpg.LockNotAvailableError: its row stayed locked through every attempt.
        """
        for attempt in range(LOCK_ATTEMPTS_MAX):
            await self._pool.execute(
                "select pg_terminate_backend(a.pid, 5000) from pg_stat_activity as a join incarnation as i "
                "on a.pid = i.backend_pid and a.backend_start = i.backend_start where i.incarnation_id = $1",
                incarnation_id,
            )
            try:
                async with certain(self._pool) as connection, connection.transaction():
                    await connection.execute("set local lock_timeout = '2s'")
                    done = await connection.execute(
                        "update incarnation set epoch = epoch + 1, state = 'fenced' "
                        "where incarnation_id = $1 and state = 'living'",
                        incarnation_id,
                    )
            except asyncpg.LockNotAvailableError:
                if attempt == LOCK_ATTEMPTS_MAX - 1:
                    raise
                continue
            return bool(done == "UPDATE 1")
        return False

    async def reassign(self, wanted: Mapping[int, tuple[str | None, str]]) -> int:
        """Point shards from their current owner to another: shard -> (owner that must still be in place, new owner).

        The current owner must be fenced, stopped or none; a living owner gives its shards away by its own commit only.
        Returns the number of shards that moved.
        """
        if not wanted:
            return 0
        done = await self._pool.execute(
            "update shard as s set incarnation_id = n.new, version = s.version + 1 "
            "from unnest($1::int[], $2::text[], $3::text[]) as n(shard, old, new) "
            "where s.shard = n.shard and s.incarnation_id is not distinct from n.old "
            "and not exists (select from incarnation as i where i.incarnation_id = n.old and i.state = 'living')",
            list(wanted),
            [old for old, _ in wanted.values()],
            [new for _, new in wanted.values()],
        )
        return int(done.rpartition(" ")[2])


def balance(shards: Sequence[Assignment], hosts: Sequence[str]) -> dict[int, str]:
    """The owner each shard should have: every host gets its share, and as few shards as possible move."""
    if not hosts:
        return {}
    share, extra = divmod(len(shards), len(hosts))
    held = Counter(each.incarnation_id for each in shards)
    # What does not divide goes to those that hold most already.
    room = dict.fromkeys(hosts, share) | dict.fromkeys(sorted(hosts, key=lambda host: -held[host])[:extra], share + 1)
    target: dict[int, str] = {}
    homeless = []
    for each in shards:
        if each.incarnation_id is not None and room.get(each.incarnation_id, 0) > 0:
            target[each.shard] = each.incarnation_id
            room[each.incarnation_id] -= 1
        else:
            homeless.append(each.shard)
    free = [host for host in hosts for _ in range(room[host])]
    target.update(zip(homeless, free, strict=True))
    return target
