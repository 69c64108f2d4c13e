"""Rows for journals under test, and a journal that owns shards."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import orjson

from persistence.journal import Journal, Probe, no_probe
from persistence.rows import AssetRow, Commit, FactRow, OrderRow

AT: Final = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
TABLES: Final = (
    "incarnation, release, release_change, design, key_change, value_access, erasure, plan_template, "
    "fact, fact_archive, archive_mark, product_order, asset, manual_task, task_claim, related_wait, sealed_value, "
    "system, system_hold, system_change, held_item, queue_member, worker, worker_skill, people_change, fallout_item, "
    "job, job_item, job_line, saved_view, "
    "delay_score, delay_history, delay_model, delay_model_change, delay_tick, "
    "consumer, consumer_cursor, fact_count, ended_order, hub_listener, hub_delivery"
)
_DROP_PARTITIONS: Final = """
do $$ declare part text; begin
    for part in select inhrelid::regclass from pg_inherits where inhparent = 'fact_archive'::regclass loop
        execute 'drop table ' || part;
    end loop;
end $$"""


KEY_TABLES: Final = "order_key, value_key, tenant_key, master_key"
_USED: Final = """
select string_agg(oid::regclass::text, ', ') from pg_class
where oid = any(string_to_array($1, ', ')::regclass[])
and (relkind = 'p' or reltuples >= 0 or pg_relation_size(oid) > 0)"""
"""To truncate a table makes all its files anew: only those that have held a row, or have statistics, are."""


async def empty(dsn: str, key_dsn: str) -> None:
    """Forget everything but the settings."""
    shards = "update shard set incarnation_id = null, version = 0, order_id = null"
    for address, tables, others in ((dsn, TABLES, [shards, _DROP_PARTITIONS]), (key_dsn, KEY_TABLES, [])):
        connection = await asyncpg.connect(address)
        try:
            # A host that the last test has killed may still have a transaction under way: its server hears of it late.
            await connection.execute(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
                "where datname = current_database() and usename = current_user and pid <> pg_backend_pid()"
            )
            if used := await connection.fetchval(_USED, tables):
                await connection.execute(f"truncate {used} cascade")
            for statement in others:
                await connection.execute(statement)
        finally:
            await connection.close()


async def count(pool: asyncpg.Pool[Any], table: str) -> int:
    """How many rows a table has."""
    return int(await pool.fetchval(f"select count(*) from {table}"))


async def open_journal(
    dsn: str, name: str, shards: tuple[int, ...] = (), *, probe: Probe = no_probe, pool: asyncpg.Pool[Any] | None = None
) -> Journal:
    """A living incarnation; with shards, the table gives it those that nobody living has."""
    journal = Journal(dsn, name, probe=probe)
    await journal.open()
    if shards:
        assert pool is not None
        await pool.execute("update shard set incarnation_id = $1 where shard = any($2)", name, list(shards))
    return journal


def fact(offset: int, shard: int = 0, payload: str | None = None, **changes: Any) -> FactRow:
    """A fact row of an order of the shard."""
    row = FactRow(shard, offset, "main", f"o{shard:x}-1", None, "order.moved", 1, AT, None, "system", None, payload)
    return row._replace(**changes)


def order_row(order_id: str = "o0-1", **changes: Any) -> OrderRow:
    """The row of an order of shard 0."""
    row = OrderRow(
        order_id, "main", 0, "acc-1", "web", None, None, b"hash", None, "normal", "inProgress", AT, None, None, True,
        None, 0, False, 1,
    )  # fmt: skip
    return row._replace(**changes)


def asset_row(asset_id: str = "p1", body: str = "{}", **changes: Any) -> AssetRow:
    """The row of an asset of account acc-1."""
    return AssetRow("main", asset_id, 0, "acc-1", "sim", "active", body, AT)._replace(**changes)


def commit_of(*facts: FactRow, **parts: Any) -> Commit:
    """A commit of these facts."""
    return Commit(facts=list(facts), **parts)


async def explained(pool: Any, statement: str, *values: Any) -> list[tuple[str, int]]:
    """What a statement does: each node of its plan by what it reads, and how many rows it gave."""
    [[text]] = await pool.fetch(f"explain (analyze, format json) {statement}", *values)
    nodes, told = [orjson.loads(text)[0]["Plan"]], []
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", ())
        told.append((f"{node['Node Type']} {node.get('Index Name', '')}".strip(), node["Actual Rows"]))
    return told
