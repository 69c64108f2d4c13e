"""A tick of few rows as one statement: fence, facts and rows go to the server together, and its answer is the commit.

A transaction of several statements is a way to the server for each of them. For hundreds of facts that is next to
nothing, and COPY is the quickest way to write them; for the few of a host that has little to do it is most of the time
that an order waits between two of its items, and most of what a commit costs.

All parts take their rows together with the row that the fence gives, so a host that was fenced writes nothing: its
fence gives none. A statement alone is a transaction, so either all parts are stored or none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import count
from typing import Any, Final

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from persistence.rows import Commit, OrderRow
from persistence.tables import FACT_COLUMNS, ORDER_COLUMNS, asset, fact, product_order

FENCE: Final = (
    "update incarnation set commits = commits + 1, heartbeat_at = clock_timestamp() "
    "where incarnation_id = $1 and epoch = $2 and state = 'living'"
)
"""Changes the row of a living host that is at its epoch, and of no other."""
FACTS_MAX: Final = 120
"""With more facts COPY is cheaper: a fact costs it two thirds of what it costs here."""
BYTES_MAX: Final = 4_000_000
"""Of payloads in one message; a larger tick is copied row by row."""
_CHANGING: Final = (
    "order_id", "state", "release_id", "ended_at", "active", "timer_at", "fallout", "sealed", "items", "priority",
    "requested_due_at",
)  # fmt: skip
"""Of an order's row what its host changes after it was made."""
_CHANGING_AT: Final = tuple(OrderRow._fields.index(name) for name in _CHANGING)
_ASSET_COLUMNS: Final = tuple(column.name for column in asset.columns)


def is_quick(commit: Commit) -> bool:
    """Whether a tick may go as one statement: few facts, and of the other rows only those that most ticks have."""
    if len(commit.facts) > FACTS_MAX or sum(len(fact.payload or "") for fact in commit.facts) > BYTES_MAX:
        return False
    return not (
        commit.templates
        or commit.tasks_new
        or commit.tasks_closed
        or commit.fallout
        or commit.held
        or commit.waits
        or commit.sealed
        or commit.released_shards
        or commit.holders
    )


async def commit_quickly(connection: asyncpg.Connection[Any], commit: Commit, incarnation_id: str, epoch: int) -> bool:
    """Commit a tick; False: the incarnation is fenced, and nothing was written.

    Raises:
        PostgresError: the server refuses it; nothing was written.
    """
    parts = (commit.facts, commit.orders_new, commit.orders_changed, commit.assets)
    statement = _statement(*map(bool, parts))
    changed = ([row[at] for at in _CHANGING_AT] for row in commit.orders_changed.values())
    arrays = (
        *_columns(commit.facts),
        *_columns(commit.orders_new.values()),
        *_columns(changed),
        *_columns(commit.assets.values()),
    )
    return bool(await connection.fetchval(statement, incarnation_id, epoch, *arrays))


def _columns(rows: Iterable[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    return zip(*rows, strict=True)


@cache
def _statement(has_facts: bool, has_new: bool, has_changed: bool, has_assets: bool) -> str:
    place = count(3)

    def unnested(table: sa.Table, names: Sequence[str]) -> str:
        arrays = ", ".join(f"${next(place)}::{_type_of(table, name)}[]" for name in names)
        return f"unnest({arrays}) as n ({_named(names)})"

    parts = [f"fence as ({FENCE} returning 1)"]
    answer = "(select count(*) from fence)"
    if has_facts:
        rows = unnested(fact, FACT_COLUMNS)
        parts.append(f"facts as (insert into fact ({_named(FACT_COLUMNS)}) select n.* from fence, {rows})")
    if has_new:
        rows = unnested(product_order, ORDER_COLUMNS)
        parts.append(f"made as (insert into product_order ({_named(ORDER_COLUMNS)}) select n.* from fence, {rows})")
    if has_changed:
        set_ = ", ".join(f"{name} = n.{name}" for name in _CHANGING[1:])
        rows = unnested(product_order, _CHANGING)
        parts.append(
            f"changed as (update product_order as o set {set_} from fence, {rows} where o.order_id = n.order_id)"
        )
    if has_assets:
        rows = unnested(asset, _ASSET_COLUMNS)
        set_ = ", ".join(f"{name} = excluded.{name}" for name in ("product", "status", "body", "updated_at"))
        parts.append(
            f"assets as (insert into asset ({_named(_ASSET_COLUMNS)}) select n.* from fence, {rows} "
            f"on conflict (tenant, asset_id) do update set {set_} "
            "where asset.account is not distinct from excluded.account returning 1)"
        )
        # One that belongs to another account is not written: then nothing must be. Dividing by zero refuses it all.
        wanted = f"(select count(*) from fence) * cardinality(${next(place) - 1}::timestamptz[])"
        answer += f" / (case when (select count(*) from assets) = {wanted} then 1 else 0 end)"
    return f"with {', '.join(parts)} select {answer}"


def _named(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _type_of(table: sa.Table, name: str) -> str:
    return str(table.columns[name].type.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
