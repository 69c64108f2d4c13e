"""What the gateway reads: lists and single resources, straight from the tables, so that what was acknowledged is
there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import orjson

from domain.errors import NotFound

FIND_ORDER: Final = (
    "name it by its id; that of an external id: "
    "GET /tmf-api/productOrderingManagement/v4/productOrder?externalId=...&fields=id"
)
"""Several channels may have used the same external id, so no route takes one for an order's."""
OPEN_STATES: Final = frozenset(
    {"acknowledged", "pending", "held", "inProgress", "assessingCancellation", "pendingCancellation"}
)
"""Of an order that has not ended."""


async def list_orders(
    pool: asyncpg.Pool[Any],
    tenant: str,
    *,
    states: tuple[str, ...] = (),
    external_id: str | None = None,
    account: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    due_after: datetime | None = None,
    due_before: datetime | None = None,
    offset: int = 0,
    limit: int = 50,
) -> tuple[list[str], int]:
    """(ids of one page, newest first; number of all matches). `created_after` counts, `created_before` does not; so it
    is with the promised date.
    """
    is_open = bool(states) and OPEN_STATES.issuperset(each.partition(".")[0] for each in states)
    where = (
        "where tenant = $1 and (cardinality($2::text[]) = 0 or state = any($2)) "
        "and ($3::text is null or external_id = $3) "
        "and ($4::text is null or account = $4) and ($5::timestamptz is null or created_at >= $5) "
        "and ($6::timestamptz is null or created_at < $6) "
        "and ($7::timestamptz is null or requested_due_at >= $7) "
        "and ($8::timestamptz is null or requested_due_at < $8)"
        # What the states say already, in the words of the indexes of open orders.
        + (" and ended_at is null" if is_open else "")
        + (" and requested_due_at is not null" if due_after or due_before else "")
    )
    values = (tenant, list(states), external_id, account, created_after, created_before, due_after, due_before)
    rows = await pool.fetch(
        f"select order_id from product_order {where} order by created_at desc, order_id desc limit $9 offset $10",
        *values,
        limit,
        offset,
    )
    total = await pool.fetchval(f"select count(*) from product_order {where}", *values)
    return [row["order_id"] for row in rows], int(total)


async def newest_orders_on(pool: asyncpg.Pool[Any], tenant: str, code: str, limit: int, *, among: int) -> list[str]:
    """Ids of the newest orders whose releases are called `code`, of whatever version; looked for `among` the newest."""
    rows = await pool.fetch(
        "with newest as (select order_id, release_id, created_at from product_order where tenant = $1 "
        "order by created_at desc, order_id desc limit $4) "
        "select order_id from newest where starts_with(release_id, $2 || '@') "
        "order by created_at desc, order_id desc limit $3",
        tenant,
        code,
        limit,
        among,
    )
    return [row["order_id"] for row in rows]


async def state_counts(pool: asyncpg.Pool[Any], tenant: str) -> dict[str, int]:
    """Orders per state."""
    rows = await pool.fetch("select state, count(*) as n from product_order where tenant = $1 group by state", tenant)
    return {row["state"]: row["n"] for row in rows}


async def assets_of(
    pool: asyncpg.Pool[Any], tenant: str, *, account: str | None = None, offset: int = 0, limit: int = 50
) -> tuple[list[dict[str, Any]], int]:
    """(bodies of one page of assets, number of all matches); `account` is added to each body."""
    where = "where tenant = $1 and ($2::text is null or account = $2) and status <> 'terminated'"
    rows = await pool.fetch(
        f"select account, body from asset {where} order by asset_id limit $3 offset $4", tenant, account, limit, offset
    )
    total = await pool.fetchval(f"select count(*) from asset {where}", tenant, account)
    return [orjson.loads(row["body"]) | {"account": row["account"]} for row in rows], int(total)


FOUND_MAX: Final = 1000
"""Products with a value that are put in order; where there are more, they are read in order instead."""


def assets_with_statement(values: int, *, is_common: bool = False, of_account: bool = False) -> str:
    """Products that have one of the values: all of them in order, or, of a common value or an account, one page.

    Each value is a condition of its own: a GIN index answers no list of them. It is planned as if all rows were wanted,
    and read as far as they are. Of a common value any thousand rows of the table hold some, so a page is read by id;
    what an account has is read by the account. `#>` instead of `->` keeps the index of attributes, which would collect
    everybody's first, out of both.
    """
    attributes = "body #> '{attributes}'" if is_common or of_account else "body -> 'attributes'"
    any_of = " or ".join(f"({attributes}) @> ${place}::jsonb" for place in range(6, 6 + values))
    mine = "account = $2" if of_account else "$2::text is null"
    where = f"where tenant = $1 and {mine} and product = any($3) and status <> 'terminated' and ({any_of})"
    if is_common or of_account:
        return f"select account, body from asset {where} order by asset_id limit $4 offset $5"
    return (
        f"with found as materialized (select account, asset_id, body from asset {where}) "
        "select account, body from (select * from found limit $4) as first_ones order by asset_id offset $5"
    )


async def assets_with(
    pool: asyncpg.Pool[Any],
    tenant: str,
    name: str,
    values: Sequence[Any],
    *,
    products: Sequence[str],
    account: str | None = None,
    offset: int = 0,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """Bodies of assets that are installed and have one of the values under this attribute, with `account`, by id.

    A rare value is found by the index of all attributes, a common one by reading on; of an account all that it has is
    looked at. The index knows no tenants: what another one has often is no rare value here.

    Args:
        pool: to read with.
        tenant: whose they are.
        name: of the attribute.
        values: each of them counts.
        products: codes of those that declare the attribute: what others have under its name is another thing.
        account: whose they are; None: anybody's.
        offset: how many of them are passed over.
        limit: how many are wanted, at most.
    """
    wanted = [orjson.dumps({name: value}).decode() for value in values]
    given = (tenant, account, list(products))
    if account is not None:
        rows = await pool.fetch(assets_with_statement(len(wanted), of_account=True), *given, limit, offset, *wanted)
        return [orjson.loads(row["body"]) | {"account": row["account"]} for row in rows]
    rows = await pool.fetch(assets_with_statement(len(wanted)), *given, FOUND_MAX + 1, 0, *wanted)
    if len(rows) > FOUND_MAX:
        rows = await pool.fetch(assets_with_statement(len(wanted), is_common=True), *given, limit, offset, *wanted)
    else:
        rows = rows[offset : offset + limit]
    return [orjson.loads(row["body"]) | {"account": row["account"]} for row in rows]


async def asset(pool: asyncpg.Pool[Any], tenant: str, asset_id: str) -> dict[str, Any]:
    """One asset's body with `account` and `status`.

    Raises:
        NotFound: the tenant has no such asset.
    """
    row = await pool.fetchrow(
        "select account, status, body from asset where tenant = $1 and asset_id = $2", tenant, asset_id
    )
    if row is None:
        raise NotFound(f"there is no product {asset_id!r}")
    return {**orjson.loads(row["body"]), "account": row["account"], "status": row["status"]}


async def assets_named(pool: asyncpg.Pool[Any], tenant: str, asset_ids: list[str]) -> dict[str, dict[str, Any]]:
    """Bodies of assets that are installed, with `account` and `status`, by id; those that there are."""
    rows = await pool.fetch(
        "select asset_id, account, status, body from asset "
        "where tenant = $1 and asset_id = any($2) and status <> 'terminated'",
        tenant,
        asset_ids,
    )
    return {
        row["asset_id"]: {**orjson.loads(row["body"]), "account": row["account"], "status": row["status"]}
        for row in rows
    }


async def assets_after(pool: asyncpg.Pool[Any], tenant: str, after: str, limit: int) -> list[dict[str, Any]]:
    """The next assets by id that are installed: `id`, `account` and `product`; an empty list after the last one."""
    rows = await pool.fetch(
        "select asset_id, account, product from asset "
        "where tenant = $1 and asset_id > $2 and status <> 'terminated' order by asset_id limit $3",
        tenant,
        after,
        limit,
    )
    return [{"id": row["asset_id"], "account": row["account"], "product": row["product"]} for row in rows]


async def ended_since(pool: asyncpg.Pool[Any], order_ids: list[str]) -> dict[str, datetime]:
    """When each of the orders ended, those that have."""
    rows = await pool.fetch(
        "select order_id, ended_at from product_order where order_id = any($1) and ended_at is not null", order_ids
    )
    return {row["order_id"]: row["ended_at"] for row in rows}


async def accounts_of(pool: asyncpg.Pool[Any], order_ids: Iterable[str]) -> dict[str, str | None]:
    """The account of each of the orders that exist."""
    rows = await pool.fetch("select order_id, account from product_order where order_id = any($1)", list(order_ids))
    return {row["order_id"]: row["account"] for row in rows}


async def require_order(pool: asyncpg.Pool[Any], tenant: str, order_id: str) -> None:
    """Pass if the tenant has the order.

    Raises:
        NotFound: it has not.
    """
    found = await pool.fetchval("select true from product_order where order_id = $1 and tenant = $2", order_id, tenant)
    if not found:
        raise NotFound(f"there is no order {order_id!r}", mend=FIND_ORDER)


async def states_of(pool: asyncpg.Pool[Any], tenant: str, order_ids: Iterable[str]) -> dict[str, str]:
    """The state of each of the tenant's orders that exist."""
    rows = await pool.fetch(
        "select order_id, state from product_order where tenant = $1 and order_id = any($2)", tenant, list(order_ids)
    )
    return {row["order_id"]: row["state"] for row in rows}
