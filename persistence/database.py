"""Opening the databases: migrations, first settings, pools."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import asyncpg
import structlog
from sqlalchemy.exc import SQLAlchemyError

from domain.errors import OrderplanError
from persistence.durability import Weakness, require_durability
from persistence.journal import NOBODYS_FAULT, CommitUnknown
from persistence.servers import Pool, connect, open_pool, servers_of
from persistence.tables import key_metadata

# What only who migrates needs is imported then: every process of a cluster imports this module, to open its pool.
if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

__all__ = ["DatabaseTooOld", "DatabaseUnreachable", "Pool", "is_unavailable", "migrate", "open_pool"]

log = structlog.get_logger(__name__)

SHARDS_DEFAULT: Final = 64
DEDICATED_DEFAULT: Final = 4
"""Each plan of its own costs a process of some 80 MB."""
_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_KEY_STORE_ADDITIONS: Final = (
    "alter table order_key add column if not exists destroyed_at timestamptz",
    "create index if not exists ix_order_key_destroyed_at on order_key (destroyed_at)",
)
_MIGRATION_LOCK: Final = 7_205_411_003
"""Advisory lock that lets one starter migrate while others wait. Releases before schema 0014 have another one, and wait
for it inside a transaction, which an index that is made concurrently would wait for in turn.
"""
_MIGRATION_POLL_S: Final = 0.2
_MIGRATION_WAIT_S: Final = 3600
"""How long another starter may take: indexes of large tables are made in minutes."""


class DatabaseUnreachable(OrderplanError):
    """A database cannot be reached, entered or prepared; its URL, which holds a password, is in no message."""

    status = 503
    code = "databaseUnreachable"


class DatabaseTooOld(OrderplanError):
    """The server is older than the SQL used here."""

    code = "databaseTooOld"


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def migrate(
    dsn: str, key_dsn: str, *, shards: int = SHARDS_DEFAULT, dedicated: int = DEDICATED_DEFAULT
) -> None:
    """Bring both databases to the current schema.

    Args:
        dsn: the order database.
        key_dsn: the key store.
        shards: fixed the first time.
        dedicated: how many orders at once may have a shard of their own; may grow later, but never shrinks.
    Raises:
        DatabaseUnreachable: one of them cannot be reached, does not let us in or refuses the schema.
        DatabaseTooOld: the server is older than PostgreSQL 14.
    """
    with _translated():
        await _migrate(dsn, key_dsn, shards, dedicated)


async def check_durability(
    dsn: str, key_dsn: str, *, accepts_loss: bool = False, needs_standby: bool = False
) -> dict[str, list[Weakness]]:
    """What is weak at the order database and at the key store, of what is let pass.

    Args:
        dsn: the order database.
        key_dsn: the key store.
        accepts_loss: the user said that a crash of the server may lose orders.
        needs_standby: the user said that losing the server must lose none.
    Raises:
        DatabaseUnreachable: one of them cannot be reached or does not let us in.
        DurabilityOff: it would lose orders, and that is not let pass.
    """
    found = {}
    for name, each in {"orders": dsn, "keys": key_dsn}.items():
        _check_url(each)
        with _translated():
            found[name] = await require_durability(each, accepts_loss=accepts_loss, needs_standby=needs_standby)
    return found


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError, SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = str(getattr(error, "orig", None) or error) or type(error).__name__
        raise DatabaseUnreachable(
            f"the database cannot be used: {' '.join(reason.split())[:300]}",
            mend="check --database-url (postgresql://user:password@host:port/name) and that its server runs",
        ) from error


async def _migrate(dsn: str, key_dsn: str, shards: int, dedicated: int) -> None:
    engine = _engine(dsn)
    try:
        # Each migration is a transaction of its own; the lock is the session's, and goes with it.
        async with engine.connect() as connection:
            await _take_turn(connection)
            await connection.run_sync(_upgrade)
            await connection.commit()
    finally:
        await engine.dispose()
    key_engine = _engine(key_dsn)
    try:
        async with key_engine.begin() as connection:
            await connection.run_sync(key_metadata.create_all)
            # The key store has no migrations of its own: what came later is added here.
            for statement in _KEY_STORE_ADDITIONS:
                await connection.exec_driver_sql(statement)
    finally:
        await key_engine.dispose()
    connection_ = await connect(dsn)
    try:
        if connection_.get_server_version().major < 14:
            raise DatabaseTooOld("PostgreSQL 14 or newer is needed", mend="point --database-url at a newer server")
        await connection_.execute(
            "insert into setting (key, value) values ('shards', to_jsonb($1::int)) on conflict do nothing", shards
        )
        await connection_.execute(
            "insert into setting (key, value) values ('callbackSecret', to_jsonb(encode(sha256((random()::text || "
            "clock_timestamp()::text || gen_random_uuid()::text)::bytea), 'hex'))) on conflict do nothing"
        )
        await connection_.execute(
            "insert into shard (shard) select generate_series(0, (select (value #>> '{}')::int from setting "
            "where key = 'shards') - 1) on conflict do nothing"
        )
        await connection_.execute(
            "insert into shard (shard, is_dedicated) "
            "select s.first + n, true from generate_series(0, $1::int - 1) as n, "
            "(select (value #>> '{}')::int as first from setting where key = 'shards') as s on conflict do nothing",
            dedicated,
        )
    finally:
        await connection_.close()


async def _take_turn(connection: AsyncConnection) -> None:
    """Wait until no other starter migrates, without a transaction: an index made concurrently waits for all of them.

    Raises:
        DatabaseUnreachable: another one has not ended in an hour.
    """
    for tries in range(int(_MIGRATION_WAIT_S / _MIGRATION_POLL_S)):
        taken = await connection.exec_driver_sql(f"select pg_try_advisory_lock({_MIGRATION_LOCK})")
        is_taken = taken.scalar()
        await connection.commit()
        if is_taken:
            return
        if tries == 0:
            log.info("another start prepares the order database; waiting for it")
        await asyncio.sleep(_MIGRATION_POLL_S)
    raise DatabaseUnreachable(
        "another start has been preparing the order database for an hour",
        mend="look at what it waits for (pg_stat_activity), end it, and start again",
    )


def _engine(dsn: str) -> AsyncEngine:
    """An engine whose connections asyncpg opens itself: one reading of the URL, `sslmode` and the like included."""
    from sqlalchemy.ext.asyncio import create_async_engine

    _check_url(dsn)
    return create_async_engine("postgresql+asyncpg://", async_creator=partial(connect, dsn))


def _check_url(dsn: str) -> None:
    """Find out whether it is a URL of PostgreSQL.

    Raises:
        DatabaseUnreachable: it is none. Its text, which may hold a password anywhere, is not shown.
    """
    try:
        parts = [urlsplit(each) for each in servers_of(dsn)]
        is_url = all(each.scheme in ("postgresql", "postgres") and each.port != 0 for each in parts)
    except ValueError:
        is_url = False
    if not is_url:
        raise DatabaseUnreachable(
            "the database URL is not one of PostgreSQL", mend="write it as postgresql://user:password@host:port/name"
        )


_UNAVAILABLE_CLASSES: Final = ("08", "25", "40", "55", "57", *NOBODYS_FAULT)
"""SQLSTATEs that begin so say: not now. Connection, transaction state, rollback, lock, an operator, and what blames no
data anyway.
"""


def is_unavailable(error: BaseException) -> bool:
    """Whether the database could not be reached or has no time, as opposed to having refused something."""
    if isinstance(error, CommitUnknown | OSError | TimeoutError | asyncpg.InternalClientError):
        return True
    if isinstance(error, asyncpg.InterfaceError):
        return not isinstance(error, asyncpg.DataError)
    return isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "").startswith(_UNAVAILABLE_CLASSES)
