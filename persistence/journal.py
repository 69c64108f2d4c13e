"""The journal: one transaction per tick, fenced by the host's incarnation.

A commit checks and raises the commit counter of its own incarnation row first. A takeover raises that row's epoch, so
whatever a fenced host still tries to write changes nothing: its check finds no row. The second fence is the primary key
of `fact`: (shard, offset) can be written once.

Plain asyncpg, not SQLAlchemy, on this path: COPY as the first statement under a lazily begun transaction would commit
by itself. The alternative of one INSERT per fact costs about ten times as much.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import orjson

from domain.errors import OrderplanError
from domain.related import RelatedWaits
from persistence.erasures import Erasure, carry_out
from persistence.heads import HEAD
from persistence.quick_commit import FENCE, commit_quickly, is_quick
from persistence.readstore import ReadStore
from persistence.rows import Commit, FactRow, FalloutRow, HeldRow, KnownKey, OwnedShard, Unfinished, WaitRow
from persistence.servers import COMMAND_TIMEOUT_S, CONNECT_TIMEOUT_S, connect, open_pool
from persistence.tables import FACT_COLUMNS, ORDER_COLUMNS
from persistence.waits import awaited_orders, waits_leading_from
from persistence.watched import Watched, read_recent, read_watched

READS_MAX: Final = 3
_ONE_PLAN: Final = {"plan_cache_mode": "force_generic_plan"}
"""What a tick asks and writes is looked up by keys whatever their number: to plan it anew for each tick, as the server
would, takes longer than to carry it out.
"""
_CLIENT_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_DATA_CLASSES: Final = ("22", "23", "54")
"""SQLSTATE classes that blame the data: data exception, integrity constraint violation, program limit
exceeded (a value too large for an index)."""
NOBODYS_FAULT: Final = ("53", "57P", "58")
"""SQLSTATEs that blame no data: no room on the disk or for connections, an operator's shutdown, the server's system.
What fails so is tried again for as long as it takes.
"""


class Fenced(OrderplanError):
    """Another incarnation has taken over: this one must stop at once."""

    code = "fenced"


class CommitUnknown(OrderplanError):
    """The outcome of a commit was not heard; it may or may not be stored. `sqlstate` is the server's, if it spoke."""

    code = "commitUnknown"

    def __init__(self, reason: str, sqlstate: str | None = None) -> None:
        super().__init__(reason)
        self.sqlstate = sqlstate


class DataRefused(OrderplanError):
    """The database refuses a value of the commit; nothing of it was stored."""

    status = 422
    code = "dataRefused"

    def __init__(self, reason: str, sqlstate: str, constraint: str | None = None) -> None:
        super().__init__(reason, sqlstate=sqlstate)
        self.sqlstate = sqlstate
        self.constraint = constraint


Probe = Callable[[str], Awaitable[None]]
"""Awaited at named points of a commit (`checked`, `copying`, `committing`); tests stop or cut the process there."""


async def no_probe(_point: str) -> None:
    return None


_UPDATE_ORDERS: Final = """
update product_order as o
   set state = n.state, release_id = n.release_id, ended_at = n.ended_at, active = n.active, timer_at = n.timer_at,
       fallout = n.fallout, sealed = n.sealed, items = n.items, priority = n.priority,
       requested_due_at = n.requested_due_at
  from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::bool[], $6::timestamptz[], $7::int[],
              $8::bool[], $9::int[], $10::text[], $11::timestamptz[])
       as n(order_id, state, release_id, ended_at, active, timer_at, fallout, sealed, items, priority,
            requested_due_at)
 where o.order_id = n.order_id"""
_PUT_ASSETS: Final = """
insert into asset (tenant, asset_id, shard, account, product, status, body, updated_at)
select * from unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[], $6::text[], $7::jsonb[],
                     $8::timestamptz[])
on conflict (tenant, asset_id) do update
   set product = excluded.product, status = excluded.status, body = excluded.body, updated_at = excluded.updated_at
 where asset.account is not distinct from excluded.account"""
_PUT_TEMPLATES: Final = """
insert into plan_template (tenant, template_id, release_id, body)
select * from unnest($1::text[], $2::text[], $3::text[], $4::jsonb[])
on conflict (tenant, template_id) do nothing"""
_PUT_TASKS: Final = """
insert into manual_task (task_id, tenant, order_id, item, queue, name, priority, opened_at, due_at, closed_at, body)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::smallint[],
                     $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::jsonb[])
on conflict (task_id) do update
   set closed_at = excluded.closed_at, opened_at = excluded.opened_at, priority = excluded.priority,
       due_at = excluded.due_at, body = excluded.body"""
_CLOSE_TASKS: Final = """
update manual_task as t set closed_at = n.closed_at
  from unnest($1::text[], $2::timestamptz[]) as n(task_id, closed_at) where t.task_id = n.task_id"""
_DROP_FALLOUT: Final = """
delete from fallout_item as f using unnest($1::text[], $2::text[]) as n(order_id, item)
 where f.order_id = n.order_id and f.item = n.item"""
_PUT_FALLOUT: Final = """
insert into fallout_item (tenant, order_id, item, shard, name, plan, system, queue, error_code, error, attempt,
                          failed_at, account, priority, retry_at)
select * from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::text[], $6::text[], $7::text[], $8::text[],
                     $9::text[], $10::text[], $11::int[], $12::timestamptz[], $13::text[], $14::text[],
                     $15::timestamptz[])
on conflict (order_id, item) do update
   set error_code = excluded.error_code, error = excluded.error, attempt = excluded.attempt,
       failed_at = excluded.failed_at, retry_at = excluded.retry_at, priority = excluded.priority"""
_DROP_HELD: Final = """
delete from held_item as h using unnest($1::text[], $2::text[]) as n(order_id, item)
 where h.order_id = n.order_id and h.item = n.item"""
_PUT_HELD: Final = """
insert into held_item (tenant, system, order_id, item, shard, cause, priority, ready_at, held_at)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::text[], $7::smallint[],
                     $8::timestamptz[], $9::timestamptz[])
on conflict (order_id, item) do update
   set system = excluded.system, cause = excluded.cause, held_at = excluded.held_at, priority = excluded.priority"""
_DROP_WAITS: Final = """
delete from related_wait as w using unnest($1::text[], $2::text[]) as n(order_id, item)
 where w.order_id = n.order_id and w.item = n.item"""
_PUT_WAIT: Final = """
insert into related_wait (tenant, order_id, item, channel, name, ref, blocks, opened_at)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (order_id, item) do update set blocks = excluded.blocks"""
# Each name is looked up by itself (`offset 0`). Asked for all names in one condition, the planner of a table that it
# has no statistics of, which a new table is for a minute of full load, may read every row of the tenant.
KNOWN_KEYS: Final = """
select o.client_key, o.order_id, o.body_hash, o.state
  from unnest($2::text[]) as wanted (client_key)
 cross join lateral (select * from product_order as p
                      where p.tenant = $1 and p.client_key = wanted.client_key offset 0) as o"""
ASSETS_OF_ACCOUNTS: Final = """
select a.account, a.body
  from unnest($2::text[]) as wanted (account)
 cross join lateral (select * from asset as p
                      where p.tenant = $1 and p.account = wanted.account and p.status <> 'terminated' offset 0) as a
 order by a.updated_at, a.asset_id"""
OPEN_ORDERS_OF_ACCOUNTS: Final = """
select o.account, o.order_id
  from unnest($2::text[]) as wanted (account)
 cross join lateral (select * from product_order as p
                      where p.tenant = $1 and p.account = wanted.account and p.ended_at is null offset 0) as o
 order by o.created_at, o.order_id"""
_RELEASE_SHARDS: Final = """
update shard as s set incarnation_id = n.incarnation_id, version = s.version + 1
  from unnest($1::int[], $2::text[]) as n(shard, incarnation_id)
 where s.shard = n.shard and s.incarnation_id = $3"""

_HOLD_SHARDS: Final = """
update shard as s set order_id = n.order_id
  from unnest($1::int[], $2::text[]) as n(shard, order_id) where s.shard = n.shard"""


class Journal(ReadStore):
    """One host's way to the order database: a connection of its own for commits, a small pool for reads."""

    def __init__(
        self,
        dsn: str,
        incarnation_id: str,
        *,
        probe: Probe = no_probe,
        is_probed: Callable[[], bool] = lambda: True,
        dedicated_shard: int | None = None,
    ) -> None:
        self._dsn = dsn
        self._dedicated_shard = dedicated_shard
        self.incarnation_id = incarnation_id
        self.epoch = 0
        self._probe = probe
        # A statement alone has no points to stop at: while somebody waits at one, commits go the long way.
        self._is_probed = is_probed if probe is not no_probe else lambda: False
        self._connection: asyncpg.Connection[Any] | None = None
        self._backend: tuple[int, datetime] | None = None
        self._reads: asyncpg.Pool[Any] | None = None
        self._is_warned = False

    async def open(self) -> None:
        """Connect and register the incarnation as living, with epoch 1."""
        connection = await self._connect()
        row = await connection.fetchrow(
            "insert into incarnation "
            "(incarnation_id, epoch, state, backend_pid, backend_start, started_at, heartbeat_at, dedicated_shard) "
            "select $1, 1, 'living', pid, backend_start, clock_timestamp(), clock_timestamp(), $2 "
            "from pg_stat_activity where pid = pg_backend_pid() returning epoch, backend_pid, backend_start",
            self.incarnation_id,
            self._dedicated_shard,
        )
        assert row is not None
        self.epoch, self._backend = row["epoch"], (row["backend_pid"], row["backend_start"])
        self._connection = connection
        # What a tick reads at a time; none of it should wait for a connection to be made.
        self._reads = await open_pool(self._dsn, size_min=READS_MAX, size_max=READS_MAX, settings=_ONE_PLAN)

    async def close(self) -> None:
        """Mark the incarnation stopped, if it still is ours, and let go of the connections."""
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.execute(
                "update incarnation set state = 'stopped' where incarnation_id = $1 and epoch = $2",
                self.incarnation_id,
                self.epoch,
            )
            await self._connection.close(timeout=CONNECT_TIMEOUT_S)
        if self._reads is not None:
            await asyncio.wait_for(self._reads.close(), CONNECT_TIMEOUT_S)

    def abandon(self) -> None:
        """Drop the connections without a word: what a fenced host does."""
        if self._connection is not None:
            self._connection.terminate()
        if self._reads is not None:
            self._reads.terminate()

    async def _connect(self) -> asyncpg.Connection[Any]:
        connection = await connect(
            self._dsn,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings={
                "application_name": f"orderplan {self.incarnation_id}",
                "idle_in_transaction_session_timeout": "20000",
                "tcp_keepalives_idle": "5",
                "tcp_keepalives_interval": "2",
                "tcp_keepalives_count": "3",
                **_ONE_PLAN,
            },
        )
        connection.add_log_listener(self._note_warning)
        return connection

    def _note_warning(self, _connection: object, message: asyncpg.PostgresLogMessage) -> None:
        self._is_warned |= message.severity_en == "WARNING"

    def _check_heard(self) -> None:
        """Believe a COMMIT only if the server had nothing to add.

        When its wait for the synchronous standby is cut short (somebody cancels it), PostgreSQL answers that it is
        done, with a warning that the standby may not have it.
        """
        if self._is_warned:
            raise CommitUnknown("the commit may not be on the standby: the wait for it was cut short")

    async def commit(self, commit: Commit) -> None:
        """Write one tick, or nothing.

        Raises:
            Fenced: the incarnation's epoch was raised by somebody else.
            DataRefused: the database refuses a value; nothing was stored.
            CommitUnknown: it failed otherwise, or its outcome was not heard; call `raise_epoch` before anything else.
        """
        if is_quick(commit) and not self._is_probed() and await self._commit_quickly(commit):
            return

        async def write(connection: asyncpg.Connection[Any]) -> None:
            if not commit.is_empty():
                await self._write(connection, commit)

        await self._fenced(write)

    async def _commit_quickly(self, commit: Commit) -> bool:
        """Write a tick of few rows as one statement. False: the server refuses its data and nothing was stored; the
        long way tells what of it.
        """
        connection = self._connection
        if connection is None or connection.is_closed():
            raise CommitUnknown("there is no connection")
        self._is_warned = False
        try:
            is_ours = await commit_quickly(connection, commit, self.incarnation_id, self.epoch)
        except asyncpg.PostgresError as error:
            # Among them what the client raises while it encodes a value, before anything is sent.
            if (error.sqlstate or "")[:2] in _DATA_CLASSES:
                return False
            raise CommitUnknown(f"the server refused the commit with {error.sqlstate}", error.sqlstate) from error
        except Exception as error:
            raise CommitUnknown(f"the commit was not heard: {type(error).__name__}") from error
        self._check_heard()
        if not is_ours:
            raise Fenced(f"incarnation {self.incarnation_id} is not the owner any more")
        return True

    async def erase(
        self, erasure: Erasure, destroy: Callable[[Iterable[str]], Awaitable[None]], now: datetime
    ) -> dict[str, int]:
        """Erase an account, in one transaction; how many rows it took from each table.

        Args:
            erasure: what was noted of it. Repeated after it was carried out, it changes nothing.
            destroy: destroys secrets; called in the middle of it, when nothing can come in between any more.
            now: the time.
        Raises:
            ErasureOutdated: the account has something else by now.
            Fenced, DataRefused, CommitUnknown: as `commit`.
        """
        counts: dict[str, int] = {}

        async def write(connection: asyncpg.Connection[Any]) -> None:
            counts.update(await carry_out(connection, erasure, destroy, now))

        await self._fenced(write)
        return counts

    async def _fenced(self, write: Callable[[asyncpg.Connection[Any]], Awaitable[None]]) -> None:
        """A transaction of this incarnation, as long as it is the owner; raises as `commit` does."""
        connection = self._connection
        if connection is None or connection.is_closed():
            raise CommitUnknown("there is no connection")
        is_written = False
        try:
            async with connection.transaction():
                if await connection.execute(FENCE, self.incarnation_id, self.epoch) != "UPDATE 1":
                    raise Fenced(f"incarnation {self.incarnation_id} is not the owner any more")
                await self._probe("checked")
                await write(connection)
                await self._probe("committing")
                is_written, self._is_warned = True, False
            self._check_heard()
        except OrderplanError:
            raise
        except asyncpg.PostgresError as error:
            if (error.sqlstate or "")[:2] in _DATA_CLASSES:
                raise DataRefused(str(error), error.sqlstate or "", getattr(error, "constraint_name", None)) from error
            raise CommitUnknown(f"the server refused the commit with {error.sqlstate}", error.sqlstate) from error
        except Exception as error:
            is_lost = isinstance(error, (OSError, TimeoutError, *_CLIENT_ERRORS))
            if is_written or (is_lost and not isinstance(error, asyncpg.DataError)):
                raise CommitUnknown(f"the commit was not heard: {type(error).__name__}") from error
            # Raised while encoding a value, so before COMMIT was sent; the transaction was rolled back.
            raise DataRefused(str(error), "22000") from error

    async def _write(self, connection: asyncpg.Connection[Any], commit: Commit) -> None:
        if commit.templates:
            await connection.execute(_PUT_TEMPLATES, *_columns(commit.templates.values(), 4))
        if commit.orders_new:
            await connection.copy_records_to_table(
                "product_order", records=list(commit.orders_new.values()), columns=ORDER_COLUMNS
            )
        if commit.facts:
            await connection.copy_records_to_table("fact", records=self._records(commit.facts), columns=FACT_COLUMNS)
        if commit.orders_changed:
            rows = commit.orders_changed.values()
            await connection.execute(
                _UPDATE_ORDERS,
                [row.order_id for row in rows],
                [row.state for row in rows],
                [row.release_id for row in rows],
                [row.ended_at for row in rows],
                [row.active for row in rows],
                [row.timer_at for row in rows],
                [row.fallout for row in rows],
                [row.sealed for row in rows],
                [row.items for row in rows],
                [row.priority for row in rows],
                [row.requested_due_at for row in rows],
            )
        if commit.assets:
            done = await connection.execute(_PUT_ASSETS, *_columns(commit.assets.values(), 8))
            if int(done.rpartition(" ")[2]) != len(commit.assets):
                raise DataRefused("a product id belongs to another account", "23505", "asset_owner")
        if commit.tasks_new:
            await connection.execute(_PUT_TASKS, *_columns(commit.tasks_new.values(), 11))
        if commit.tasks_closed:
            await connection.execute(_CLOSE_TASKS, list(commit.tasks_closed), list(commit.tasks_closed.values()))
        if commit.fallout:
            await _write_fallout(connection, commit.fallout)
        if commit.held:
            await _write_held(connection, commit.held)
        if commit.waits:
            await _write_waits(connection, commit.waits)
        if commit.sealed:
            await connection.executemany(
                "insert into sealed_value (order_id, name, tenant, key_id, ciphertext) values ($1, $2, $3, $4, $5) "
                "on conflict (order_id, name) do update set key_id = excluded.key_id, ciphertext = excluded.ciphertext",
                commit.sealed,
            )
        if commit.holders:
            await connection.execute(_HOLD_SHARDS, list(commit.holders), list(commit.holders.values()))
        if commit.released_shards:
            await connection.execute(
                _RELEASE_SHARDS,
                [shard for shard, _ in commit.released_shards],
                [to for _, to in commit.released_shards],
                self.incarnation_id,
            )

    def _records(self, facts: list[FactRow]) -> Sequence[FactRow] | AsyncIterator[FactRow]:
        if self._probe is no_probe:
            return facts
        return self._probed(facts)

    async def _probed(self, facts: list[FactRow]) -> AsyncIterator[FactRow]:
        for row in facts:
            yield row
            await self._probe("copying")

    async def raise_epoch(self) -> None:
        """Make sure that the last commit is settled: end the old backend, raise the own epoch, use a new connection.

        Whatever the epoch is, as long as the incarnation lives: nobody else raises it without fencing, so a higher one
        than remembered is the trace of a raise that was not heard.

        Raises:
            Fenced: somebody else has raised the epoch.
            CommitUnknown: the database cannot be reached; call again.
        """
        try:
            connection = await self._connect()
        except (OSError, TimeoutError, *_CLIENT_ERRORS) as error:
            raise CommitUnknown(f"the database cannot be reached: {error!r}") from error
        try:
            if self._backend is not None:
                await connection.execute(
                    "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
                    "where pid = $1 and backend_start = $2",
                    *self._backend,
                )
            async with connection.transaction():
                await connection.execute("set local lock_timeout = '5s'")
                row = await connection.fetchrow(
                    "update incarnation as i set epoch = i.epoch + 1, backend_pid = a.pid, "
                    "backend_start = a.backend_start, heartbeat_at = clock_timestamp() "
                    "from pg_stat_activity as a where a.pid = pg_backend_pid() and i.incarnation_id = $1 "
                    "and i.state = 'living' returning i.epoch, i.backend_pid, i.backend_start",
                    self.incarnation_id,
                )
                self._is_warned = False
            self._check_heard()
        except (OSError, TimeoutError, *_CLIENT_ERRORS) as error:
            connection.terminate()
            raise CommitUnknown(f"the own epoch could not be raised: {error!r}") from error
        except BaseException:
            # Cancelled, too: nobody else knows of the connection.
            connection.terminate()
            raise
        if row is None:
            connection.terminate()
            raise Fenced(f"incarnation {self.incarnation_id} is not the owner any more")
        self.epoch, self._backend = row["epoch"], (row["backend_pid"], row["backend_start"])
        if self._connection is not None:
            self._connection.terminate()
        self._connection = connection

    # Reads, on the pool: what this incarnation committed is there.

    def _pool(self) -> asyncpg.Pool[Any]:
        assert self._reads is not None, "open the journal first"
        return self._reads

    async def heads(self, shards: Iterable[int]) -> dict[int, int]:
        """The last offset of each shard, 0 for an empty one. Read only after the epoch of the last owner was raised."""
        wanted = list(shards)
        rows = await self._pool().fetch(
            f"select s.shard, {HEAD} as head from unnest($1::int[]) as s(shard)",
            wanted,
        )
        return {row["shard"]: row["head"] for row in rows}

    async def owned_shards(self) -> dict[int, OwnedShard]:
        """The shards that the assignment gives this incarnation."""
        rows = await self._pool().fetch(
            "select shard, version, is_dedicated, order_id from shard where incarnation_id = $1", self.incarnation_id
        )
        return {row["shard"]: OwnedShard(*row) for row in rows}

    async def unfinished(self, shards: Iterable[int]) -> Unfinished:
        """Orders of the shards that have something running, and those that only wait for their time."""
        wanted = list(shards)
        active = await self._pool().fetch(
            "select order_id from product_order where shard = any($1) and active order by order_id", wanted
        )
        timers = await self._pool().fetch(
            "select order_id, timer_at from product_order where shard = any($1) and timer_at is not null", wanted
        )
        return Unfinished([row["order_id"] for row in active], [(row["order_id"], row["timer_at"]) for row in timers])

    async def unshredded(self, shards: Iterable[int]) -> list[str]:
        """Ended orders whose keys are not destroyed yet."""
        rows = await self._pool().fetch(
            "select order_id from product_order where shard = any($1) and sealed and ended_at is not null limit 1000",
            list(shards),
        )
        return [row["order_id"] for row in rows]

    async def watched(self, shards: Sequence[int], before: datetime, after: str, limit: int) -> Watched:
        """A page of what the watchdog asks for; see `persistence.watched`."""
        return await read_watched(self._pool(), shards, before, after, limit)

    async def recent(self, shards: Sequence[int]) -> list[str]:
        """Open orders that the newest facts of the shards are about."""
        return await read_recent(self._pool(), shards)

    async def known_keys(self, tenant: str, client_keys: Sequence[str]) -> dict[str, KnownKey]:
        """Orders that the client keys already name."""
        rows = await self._pool().fetch(KNOWN_KEYS, tenant, client_keys)
        return {row["client_key"]: KnownKey(*row) for row in rows}

    async def awaited_orders(self, tenant: str, names: Sequence[str]) -> set[tuple[str, str]]:
        """(channel, name) of those names that somebody waits for; see `persistence.waits`."""
        return await awaited_orders(self._pool(), tenant, names)

    async def related_waits(self, tenant: str, channel: str, names: Sequence[str]) -> RelatedWaits:
        """Who waits for whom, from the orders of these names on; see `persistence.waits`."""
        return await waits_leading_from(self._pool(), tenant, channel, names)

    async def account_state(
        self, tenant: str, accounts: Sequence[str]
    ) -> tuple[dict[str, list[dict[str, Any]]], dict[str, list[str]]]:
        """(asset bodies, open order ids in order of admission), each by account."""
        pool = self._pool()
        bodies, opened = await asyncio.gather(
            pool.fetch(ASSETS_OF_ACCOUNTS, tenant, accounts), pool.fetch(OPEN_ORDERS_OF_ACCOUNTS, tenant, accounts)
        )
        assets: dict[str, list[dict[str, Any]]] = {}
        for row in bodies:
            assets.setdefault(row["account"], []).append(orjson.loads(row["body"]))
        orders: dict[str, list[str]] = {}
        for row in opened:
            orders.setdefault(row["account"], []).append(row["order_id"])
        return assets, orders


async def _write_fallout(
    connection: asyncpg.Connection[Any], fallout: Mapping[tuple[str, str], FalloutRow | None]
) -> None:
    gone = [key for key, row in fallout.items() if row is None]
    if gone:
        await connection.execute(_DROP_FALLOUT, *_columns(gone, 2))
    rows = [row for row in fallout.values() if row is not None]
    if rows:
        await connection.execute(_PUT_FALLOUT, *_columns(rows, 15))


async def _write_held(
    connection: asyncpg.Connection[Any], held: Mapping[tuple[str, str], HeldRow | None]
) -> None:
    gone = [key for key, row in held.items() if row is None]
    if gone:
        await connection.execute(_DROP_HELD, *_columns(gone, 2))
    rows = [row for row in held.values() if row is not None]
    if rows:
        await connection.execute(_PUT_HELD, *_columns(rows, 9))


async def _write_waits(
    connection: asyncpg.Connection[Any], waits: Mapping[tuple[str, str], WaitRow | None]
) -> None:
    gone = [key for key, row in waits.items() if row is None]
    if gone:
        await connection.execute(_DROP_WAITS, *_columns(gone, 2))
    rows = [row for row in waits.values() if row is not None]
    if rows:
        # Not by columns: arrays of different lengths make none of two dimensions.
        await connection.executemany(_PUT_WAIT, rows)


def _columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    listed = list(rows)
    return [[row[index] for row in listed] for index in range(width)]
