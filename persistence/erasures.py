"""Erasing an account: what is taken from which table, and the certificate.

An account is noted (`begin`), then erased by the host of its shard between two ticks (`carry_out`): nobody else takes
in orders, imports or bookings of the account, so nothing comes in between. The secrets of its encrypted values are
destroyed first, in the key store; copies of the ciphertexts, in backups, are of no use from then on. Then one
transaction deletes its rows and finishes the certificate. Whoever dies on the way leaves a note that has begun, and to
ask for the erasure again finishes it.

Alternative dropped: to delete from outside of the host. It has the account in memory, would decide the next order with
products that are gone, and write them again.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg
import orjson

from domain.errors import Busy, NotFound
from domain.facts import ASSETS_BOOKED, ASSETS_IMPORTED
from domain.ids import OWN_ACCOUNT
from persistence.consumers import Connection

_BY_ORDER: Final = (
    "fact_archive", "related_wait", "sealed_value", "held_item", "fallout_item", "delay_score", "delay_history",
    "delay_tick", "manual_task", "ended_order", "product_order",
)  # fmt: skip
"""Rows of these name their order; it is the last that goes."""
ERASED: Final = frozenset({
    *_BY_ORDER, "fact", "asset", "task_claim", "hub_delivery", "job", "job_item", "saved_view", "value_key",
})  # fmt: skip
"""Tables that lose what is about the account: rows, or of jobs the names in them."""
KEPT: Final = {
    "erasure": "the account's name, and the ids of its orders and secrets: so that it can be shown what was erased",
    "value_access": "who has seen an encrypted value of a product, by the product's id: so that it can be shown",
    "plan_template": "structures of plans, which orders share; where an attribute is the key of a scope, its values",
    "job_line": "orders of campaigns that have not been submitted: encrypted, and no longer than the campaign runs",
}
"""Tables that may name the customer and stay, and why."""
OF_NO_CUSTOMER: Final = frozenset({
    "setting", "incarnation", "shard", "release", "release_change", "design", "key_change", "archive_mark",
    "queue_member", "worker", "worker_skill", "people_change", "system", "system_hold", "system_change", "delay_model",
    "delay_model_change", "consumer", "consumer_cursor", "fact_count", "hub_listener", "order_key", "tenant_key",
    "master_key",
})  # fmt: skip
"""Tables that know nothing of customers; of an order's keys there is an empty row at most, for an hour."""
ALSO_KEPT: Final = {
    "backups of the order database": "what was not encrypted, until their retention ends",
    "backups of the key store": "the destroyed secrets, until their retention ends: with them, encrypted values of "
    "backups of the order database are read",
    "logs": "ids of orders, until their retention ends",
}

MINE: Final = "o.tenant = $1 and (o.account = $2 or (o.account is null and o.order_id = $3))"
"""The orders `o` of an account: tenant, account, `own_order`."""
_NAMES: Final = (
    "select distinct order_id from fact where shard = $1 and tenant = $2 and kind = any($3) "
    "and payload ->> 'account' = $4 order by order_id"
)
_CERTIFICATE: Final = (
    "select erasure_id, account, state, actor, reason, asked_at, finished_at, with_products, order_ids, secret_ids, "
    "body from erasure where tenant = $1"
)


class ErasureOutdated(Busy):
    """The account has something that was not there when its erasure was noted; it has to be noted again."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """What is to be erased."""

    erasure_id: str
    tenant: str
    account: str
    shard: int
    order_ids: list[str]
    names: list[str]
    """What stands in the place of an order in the facts of its imports and bookings."""
    secret_ids: list[str]
    job_items: list[tuple[str, int]]


# The note, and the certificate that it becomes.


async def begin(
    pool: asyncpg.Pool[Any],
    erasure: Erasure,
    *,
    actor: str,
    reason: str,
    with_products: bool,
    body: Mapping[str, Any],
    now: datetime,
) -> Erasure:
    """Note what is to be erased, before anything is; of one that has begun already the note grows.

    Returns: the erasure under the id of its note, with the secrets that the note has from before.
    """
    row = await pool.fetchrow(
        "insert into erasure as e (erasure_id, tenant, account, state, actor, reason, asked_at, with_products, "
        "order_ids, secret_ids, body) values ($1, $2, $3, 'begun', $4, $5, $6, $7, $8, $9, $10) "
        "on conflict (tenant, account) where state = 'begun' do update set with_products = excluded.with_products, "
        "order_ids = excluded.order_ids, body = excluded.body, "
        "secret_ids = array(select distinct unnest(e.secret_ids || excluded.secret_ids) order by 1) "
        "returning erasure_id, secret_ids",
        erasure.erasure_id,
        erasure.tenant,
        erasure.account,
        actor,
        reason,
        now,
        with_products,
        erasure.order_ids,
        erasure.secret_ids,
        orjson.dumps(body).decode(),
    )
    assert row is not None
    return Erasure(
        row["erasure_id"],
        erasure.tenant,
        erasure.account,
        erasure.shard,
        erasure.order_ids,
        erasure.names,
        row["secret_ids"],
        erasure.job_items,
    )


async def note_refused(
    pool: asyncpg.Pool[Any], erasure_id: str, tenant: str, account: str, actor: str, reason: str, now: datetime
) -> None:
    """Keep that somebody asked who may not."""
    await pool.execute(
        "insert into erasure (erasure_id, tenant, account, state, actor, reason, asked_at, with_products, order_ids, "
        "secret_ids, body) values ($1, $2, $3, 'refused', $4, $5, $6, false, '{}', '{}', '{}')",
        erasure_id,
        tenant,
        account,
        actor,
        reason,
        now,
    )


async def list_erasures(
    pool: asyncpg.Pool[Any], tenant: str, *, account: str | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """Erasures and refused tries, newest first."""
    rows = await pool.fetch(
        f"{_CERTIFICATE} and ($2::text is null or account = $2) order by asked_at desc, erasure_id desc limit $3",
        tenant,
        account,
        limit,
    )
    return [_shown(row) for row in rows]


async def read_erasure(pool: asyncpg.Pool[Any], tenant: str, erasure_id: str) -> dict[str, Any]:
    """One of them.

    Raises:
        NotFound: there is none of this id.
    """
    row = await pool.fetchrow(f"{_CERTIFICATE} and erasure_id = $2", tenant, erasure_id)
    if row is None:
        raise NotFound(f"there is no erasure {erasure_id!r}")
    return _shown(row)


def _shown(row: asyncpg.Record) -> dict[str, Any]:
    return dict(row) | {"body": orjson.loads(row["body"])}


# For the host.


async def carry_out(
    connection: Connection, erasure: Erasure, destroy: Callable[[Iterable[str]], Awaitable[None]], now: datetime
) -> dict[str, int]:
    """Destroy the secrets and delete the rows, inside of a transaction of the account's host; how many by table.

    Raises:
        ErasureOutdated: the account has something else by now; nothing was destroyed.
    """
    noted = await connection.fetchrow(
        "select state, body from erasure where erasure_id = $1 for update", erasure.erasure_id
    )
    if noted is None or noted["state"] != "begun":
        return orjson.loads(noted["body"])["rows"] if noted is not None else {}
    await _require_same(connection, erasure)
    # An order that is just being archived is waited for: its facts would be seen in neither place.
    await connection.fetch(
        "select 1 from product_order where order_id = any($1) order by order_id for update", erasure.order_ids
    )
    await connection.fetch(
        "select 1 from hub_listener where tenant = $1 order by listener_id for no key update", erasure.tenant
    )
    await destroy(erasure.secret_ids)
    rows = await _delete(connection, erasure)
    await connection.execute(
        "update erasure set state = 'done', finished_at = $2, body = body || jsonb_build_object('rows', $3::jsonb) "
        "where erasure_id = $1",
        erasure.erasure_id,
        now,
        orjson.dumps(rows).decode(),
    )
    return rows


async def _require_same(connection: Connection, erasure: Erasure) -> None:
    other = await connection.fetchval(
        f"select o.order_id from product_order as o where {MINE} and not (o.order_id = any($4) "
        "and o.ended_at is not null) limit 1",
        erasure.tenant,
        erasure.account,
        own_order(erasure.account),
        erasure.order_ids,
    )
    names = await names_of(connection, erasure.tenant, erasure.account, erasure.shard)
    if other is not None or not set(names) <= set(erasure.names):
        raise ErasureOutdated("the account has another order or import by now", mend="ask again", retryAfterS=1)


async def _delete(connection: Connection, erasure: Erasure) -> dict[str, int]:
    order_ids = erasure.order_ids
    rows = {
        "fact": await connection.fetchval(
            'with gone as (delete from fact where order_id = any($1) returning shard, "offset"), '
            'marked as (insert into archive_mark (shard, "offset") '
            'select shard, max("offset") from gone group by shard order by shard on conflict (shard) '
            'do update set "offset" = greatest(archive_mark."offset", excluded."offset")) select count(*) from gone',
            [*order_ids, *erasure.names],
        ),
        "asset": await connection.fetchval(
            _counted("delete from asset where tenant = $1 and account = $2"), erasure.tenant, erasure.account
        ),
        "task_claim": await connection.fetchval(
            _counted("delete from task_claim as c using manual_task as t "
                     "where t.task_id = c.task_id and t.order_id = any($1)"),
            order_ids,
        ),
        "hub_delivery": await connection.fetchval(
            "with gone as (delete from hub_delivery as d using hub_listener as l "
            "where l.tenant = $1 and d.listener_id = l.listener_id and d.order_id = any($2) returning d.listener_id), "
            "counted as (select listener_id, count(*) as n from gone group by listener_id), "
            "less as (update hub_listener as l set backlog = l.backlog - c.n from counted as c "
            "where l.listener_id = c.listener_id) select count(*) from gone",
            erasure.tenant,
            order_ids,
        ),
        # Their outcomes stay, so that the counts of a job hold.
        "job_item": await connection.fetchval(
            _counted("update job_item as i set order_id = '', item = '', reason = null "
                     "from unnest($1::text[], $2::int[]) as n(job_id, number) "
                     "where i.job_id = n.job_id and i.number = n.number"),
            [job_id for job_id, _ in erasure.job_items],
            [number for _, number in erasure.job_items],
        ),
        "job": await connection.fetchval(
            _counted("update job set selection = "
                     "selection #- '{filter,account}' #- '{filter,order}' #- '{search}' #- '{from}' where tenant = $1 "
                     "and (selection #>> '{filter,account}' = $2 or selection #>> '{filter,order}' = any($3) "
                     "or selection ->> 'from' = any($3) or selection ->> 'search' ~ $4 "
                     "or string_to_array(selection ->> 'search', ' ') && $3)"),
            erasure.tenant,
            erasure.account,
            order_ids,
            _naming(erasure.account),
        ),
        # Nobody looks for it again.
        "saved_view": await connection.fetchval(
            _counted("delete from saved_view where tenant = $1 "
                     "and (query ->> 'search' ~ $2 or string_to_array(query ->> 'search', ' ') && $3)"),
            erasure.tenant,
            _naming(erasure.account),
            order_ids,
        ),
    }  # fmt: skip
    for table in _BY_ORDER:
        rows[table] = await connection.fetchval(
            _counted(f"delete from {table} where order_id = any($1)"), order_ids
        )
    return {table: count for table, count in sorted(rows.items()) if count}


def _naming(account: str) -> str:
    """A regular expression for searches of orders that name the account: as a word, or behind a name of the search."""
    return f'(^|[\\s:="]){re.escape(account)}\\*?($|[\\s"])'


def _counted(statement: str) -> str:
    return f"with done as ({statement} returning 1) select count(*) from done"


async def names_of(reads: Any, tenant: str, account: str, shard: int) -> list[str]:
    """What stands in the place of an order in the facts of an account's imports and bookings."""
    rows = await reads.fetch(_NAMES, shard, tenant, [ASSETS_BOOKED, ASSETS_IMPORTED], account)
    return [row["order_id"] for row in rows]


def own_order(account: str) -> str | None:
    """The order that has an account of this name for itself."""
    return account.removeprefix(OWN_ACCOUNT) if account.startswith(OWN_ACCOUNT) else None
