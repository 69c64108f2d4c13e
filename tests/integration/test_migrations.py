"""Migrations that go on beside the release before: interrupted, begun anew, by several starters at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

import persistence.tables
from persistence.database import migrate

INDEXES = (
    "product_order_account_idx",
    "product_order_account_end_idx",
    "manual_task_account_idx",
    "manual_task_account_end_idx",
    "fallout_item_account_idx",
    "asset_account_time_idx",
    "asset_attributes_idx",
)
DEFINED = (
    "select c.relname, pg_get_indexdef(c.oid) as made, i.indisvalid as is_valid from pg_index as i "
    "join pg_class as c on c.oid = i.indexrelid where c.relname = any($1) order by c.relname"
)


@pytest.fixture
async def before(databases) -> AsyncIterator[asyncpg.Connection]:
    """The schema as the release before left it, the indexes of the next one not begun."""
    engine = create_async_engine(databases.dsn.replace("postgresql://", "postgresql+asyncpg://", 1))
    async with engine.begin() as going:
        await going.run_sync(_back)
    await engine.dispose()
    connection = await asyncpg.connect(databases.dsn)
    try:
        yield connection
    finally:
        # Whatever came of it, the other tests need their schema.
        await migrate(databases.dsn, databases.key_dsn, shards=8)
        await connection.close()


def _back(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(persistence.tables.__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.downgrade(config, "0013")


async def found(connection: asyncpg.Connection) -> dict[str, bool]:
    return {row["relname"]: row["is_valid"] for row in await connection.fetch(DEFINED, [*INDEXES, "asset_account_idx"])}


async def test_several_starters_may_migrate_at_once(before, databases) -> None:
    await asyncio.gather(*(migrate(databases.dsn, databases.key_dsn, shards=8) for _ in range(3)))

    assert await found(before) == dict.fromkeys(INDEXES, True)


@pytest.mark.parametrize("name", ["manual_task_account_idx", "asset_attributes_idx"])
async def test_an_index_whose_making_was_interrupted_is_made_anew(before, databases, name: str) -> None:
    made = {
        "manual_task_account_idx": "manual_task (tenant, (body ->> 'account'), opened_at, task_id)",
        "asset_attributes_idx": "asset using gin ((body -> 'attributes') jsonb_path_ops)",
    }[name]
    table = made.split()[0]
    # A writer that does not end lets the making time out, and leaves what an interruption does.
    writer = await asyncpg.connect(databases.dsn)
    transaction = writer.transaction()
    await transaction.start()
    await writer.execute(f"lock table {table} in row exclusive mode")
    await before.execute("set lock_timeout = '100ms'")
    with pytest.raises(asyncpg.LockNotAvailableError):
        await before.execute(f"create index concurrently {name} on {made}")
    await transaction.rollback()
    await writer.close()
    assert (await found(before))[name] is False

    await migrate(databases.dsn, databases.key_dsn, shards=8)
    assert await found(before) == dict.fromkeys(INDEXES, True)
