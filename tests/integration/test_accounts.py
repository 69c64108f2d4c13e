"""The timeline of an account, and what it has, from the tables as hosts write them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from actors.folding import PlanFolder
from domain.errors import BadDocument, NotFound
from gateway.accounts import _cursor, _place
from gateway.context import CONTEXT
from gateway.design import list_products
from persistence import accounts, catalogue, reads
from persistence.accounts import Place
from persistence.database import Pool
from persistence.readstore import ReadStore
from tests.support.build import release_document, release_of
from tests.support.journals import AT, explained

ORDER = (
    "insert into product_order (order_id, tenant, shard, account, channel, external_id, priority, state, created_at, "
    "ended_at, active, fallout, sealed, items) "
    "values ($1, $2, 1, $3, 'web', $4, 'normal', $5, $6, $7, false, $8, false, 1)"
)
ASSET = (
    "insert into asset (tenant, asset_id, shard, account, product, status, body, updated_at) "
    "values ($1, $2, 1, $3, 'sim', $4, $5, $6)"
)
TASK = (
    "insert into manual_task (task_id, tenant, order_id, item, queue, name, priority, opened_at, closed_at, body) "
    "values ($1, 'main', $2, 'p/visit@1', 'field', 'Visit', 1, $3, $4, '{\"account\": \"acc-1\"}')"
)


def at(minutes: float) -> Any:
    return AT + timedelta(minutes=minutes)


@pytest.fixture
async def filled(pool: Pool) -> Pool:
    """acc-1 has two orders, a task, two products; acc-2 and another tenant have one order each."""
    await pool.execute(ORDER, "o1-1", "main", "acc-1", "web-1", "completed", at(0), at(10), 0)
    await pool.execute(ORDER, "o1-2", "main", "acc-1", None, "inProgress", at(20), None, 1)
    await pool.execute(ORDER, "o1-3", "main", "acc-2", None, "inProgress", at(1), None, 0)
    await pool.execute(ORDER, "o1-4", "other", "acc-1", None, "inProgress", at(1), None, 0)
    await pool.execute(TASK, "t-1", "o1-1", at(2), at(5))
    await pool.execute(TASK, "t-2", "o1-2", at(21), None)
    await pool.execute(
        "insert into fallout_item (tenant, order_id, item, shard, name, plan, system, error_code, error, attempt, "
        "failed_at, account, priority) values ('main', 'o1-2', 'p/call@1', 1, 'Call', 'p', 'net', 'E-7', 'no', 1, $1, "
        "'acc-1', 'normal')",
        at(22),
    )
    await pool.execute(ASSET, "main", "p1", "acc-1", "active", '{"orderId": "o1-1"}', at(10))
    await pool.execute(ASSET, "main", "p2", "acc-1", "terminated", "{}", at(10))
    return pool


def told(entries: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(each["kind"], each["id"], each["state"]) for each in entries]


EVERYTHING = [
    ("item.failed", "o1-2/p/call@1", "E-7"),
    ("task.opened", "t-2", "Ready"),
    ("order.accepted", "o1-2", "acknowledged"),
    ("product.changed", "p2", "terminated"),
    ("product.changed", "p1", "active"),
    ("order.ended", "o1-1", "completed"),
    ("task.closed", "t-1", "closed"),
    ("task.opened", "t-1", "Ready"),
    ("order.accepted", "o1-1", "acknowledged"),
]


async def test_everything_that_happened_to_an_account_stands_in_one_line_newest_first(filled: Pool) -> None:
    found = await accounts.timeline(filled, "main", "acc-1")

    assert told(found) == EVERYTHING
    assert [(each["order_id"], each["item"], each["name"]) for each in found[:4]] == [
        ("o1-2", "p/call@1", "Call"),
        ("o1-2", "p/visit@1", "Visit"),
        ("o1-2", None, None),
        (None, None, "sim"),
    ]


@pytest.mark.parametrize("size", [1, 2, 4])
async def test_pages_of_any_size_give_every_entry_once(filled: Pool, size: int) -> None:
    found: list[dict[str, Any]] = []
    place = None
    while page := await accounts.timeline(filled, "main", "acc-1", after=place, limit=size):
        found += page
        place = Place(page[-1]["at"], page[-1]["kind"], page[-1]["id"])

    assert told(found) == EVERYTHING


async def test_what_an_account_has_is_counted_without_what_is_another_tenants(filled: Pool) -> None:
    assert await accounts.summary(filled, "main", "acc-1") == {
        "account": "acc-1",
        "orders": 2,
        "openOrders": 1,
        "products": 1,
        "openTasks": 1,
        "failedItems": 1,
    }
    with pytest.raises(NotFound, match="acc-9"):
        await accounts.summary(filled, "main", "acc-9")


_AT = "$1::timestamptz + n * '1 s'::interval"
_ACCOUNT = "'acc-' || 9 + n % 10"
FILL = (
    "insert into product_order (order_id, tenant, shard, account, channel, priority, state, created_at, ended_at, "
    f"active, fallout, sealed, items) select 'o9-' || n, 'main', 1, {_ACCOUNT}, 'web', 'normal', 'completed', "
    f"{_AT}, {_AT}, false, 0, false, 1 from generate_series(1, $2) as n",
    "insert into manual_task (task_id, tenant, order_id, item, queue, name, priority, opened_at, closed_at, body) "
    f"select 't9-' || n, 'main', 'o9-' || n, 'p/visit@1', 'field', 'Visit', 1, {_AT}, {_AT}, "
    f"jsonb_build_object('account', {_ACCOUNT}) from generate_series(1, $2) as n",
    "insert into fallout_item (tenant, order_id, item, shard, name, plan, system, error_code, error, attempt, "
    "failed_at, account, priority) select 'main', 'o9-' || n, 'p/call@1', 1, 'Call', 'p', 'net', 'E-7', 'no', 1, "
    f"{_AT}, {_ACCOUNT}, 'normal' from generate_series(1, $2) as n",
    "insert into asset (tenant, asset_id, shard, account, product, status, body, updated_at) "
    f"select 'main', 'a9-' || n, 1, {_ACCOUNT}, 'sim', 'active', '{{}}', {_AT} from generate_series(1, $2) as n",
)
TIMELINE_INDEXES = {
    "product_order_account_idx",
    "product_order_account_end_idx",
    "manual_task_account_idx",
    "manual_task_account_end_idx",
    "fallout_item_account_idx",
    "asset_account_time_idx",
}


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_a_page_of_the_timeline_of_a_very_large_account_reads_a_page_of_each_kind(pool: Pool, mode: str) -> None:
    for statement in FILL:
        await pool.execute(statement, AT, 20_000)
    for table in ("product_order", "manual_task", "fallout_item", "asset"):
        await pool.execute(f"analyze {table}")
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(f"set local plan_cache_mode = {mode}")
        for place in ((None, None, None), (at(100), "order.ended", "o9-6000")):
            plan = await explained(connection, accounts._TIMELINE, "main", "acc-9", *place, 50)

            assert {node.split()[-1] for node, _ in plan if "Index" in node} == TIMELINE_INDEXES
            assert all(rows <= 60 for node, rows in plan if "Append" not in node)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "10000-01-01T00:00:00Z"])
def test_a_cursor_of_a_moment_that_there_is_not_is_no_cursor(moment: str) -> None:
    cursor = base64.urlsafe_b64encode(orjson.dumps([moment, "order.ended", "o1-1"])).decode()
    with pytest.raises(BadDocument) as refused:
        _place(cursor)
    assert refused.value.path == "cursor"


@pytest.mark.parametrize("moment", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)])
async def test_a_cursor_of_any_other_moment_gives_a_page(filled: Pool, moment: datetime) -> None:
    place = _place(_cursor({"at": moment, "kind": "order.ended", "id": "o1-1"}))
    assert place == (moment, "order.ended", "o1-1")
    assert len(await accounts.timeline(filled, "main", "acc-1", after=place)) == (0 if moment.year == 1 else 9)


# Products by a value.

PRODUCTS: dict[str, Any] = {
    "products": [
        {
            "code": "sim",
            "attributes": [
                {"name": "phone", "searchable": True},
                {"name": "size", "searchable": True},
                {"name": "pin", "searchable": True, "encrypted": True},
                {"name": "note"},
            ],
        },
        {"code": "router", "attributes": [{"name": "size"}]},
    ]
}
BODY = (
    '{"id": "%s", "product": "sim", "name": "SIM", "quantity": 1, "root": "%s", '
    '"attributes": {"phone": "%s", "size": 5}}'
)


@pytest.fixture
async def shop(pool: Pool) -> Any:
    """A gateway's context with one release, and three products: two have one number, one of them is gone."""
    await catalogue.publish_release(pool, "main", release_of(**PRODUCTS).release_id, release_document(**PRODUCTS), AT)
    products = (("p1", "+41 1", "active"), ("p2", "+41 1", "terminated"), ("p3", "+41 2", "active"))
    for asset_id, phone, status in products:
        await pool.execute(ASSET, "main", asset_id, "acc-1", status, BODY % (asset_id, asset_id, phone), at(0))
    store = ReadStore(pool)
    return SimpleNamespace(
        pool=pool, store=store, folder=PlanFolder(store), now=lambda: AT, config=SimpleNamespace(tenant="main")
    )


async def found(context: Any, **query: str) -> list[str]:
    asked = {f"productCharacteristic.{name}" if name in ("name", "value") else name: query[name] for name in query}
    if "account" in asked:
        asked["billingAccount.id"] = asked.pop("account")
    request = SimpleNamespace(query=asked, app={CONTEXT: context}, headers={}, match_info={})
    answer = await list_products(cast("Any", request))
    return [each["id"] for each in orjson.loads(cast("bytes", answer.body))]


async def test_products_are_found_by_a_value_that_the_release_declares_searchable(shop: Any) -> None:
    assert await found(shop, name="phone", value="+41 1") == ["p1"]
    assert await found(shop, name="size", value="5") == ["p1", "p3"]
    assert await found(shop, name="size", value="5", limit="1") == ["p1"]
    assert await found(shop, name="phone", value="+41") == []


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ({"name": "note", "value": "x"}, "productCharacteristic.name"),
        ({"name": "phone"}, "productCharacteristic.value"),
        ({"name": "phone", "value": "x", "limit": "0"}, "offset, limit"),
        ({"name": "phone", "value": "x", "offset": "-1"}, "offset, limit"),
        ({"name": "phone", "value": "x", "account": "\0"}, "billingAccount.id"),
    ],
)
async def test_what_products_cannot_be_found_by_is_refused_by_name(shop: Any, query: dict[str, str], path: str) -> None:
    with pytest.raises(BadDocument) as refused:
        await found(shop, **query)
    assert refused.value.path == path


async def test_products_are_found_page_by_page_and_of_one_account(shop: Any) -> None:
    await shop.pool.execute(ASSET, "main", "p0", "acc-2", "active", BODY % ("p0", "p0", "+41 1"), at(0))
    assert await found(shop, name="size", value="5") == ["p0", "p1", "p3"]
    assert await found(shop, name="size", value="5", offset="1", limit="1") == ["p1"]
    assert await found(shop, name="size", value="5", offset="3") == []
    assert await found(shop, name="size", value="5", account="acc-1") == ["p1", "p3"]


async def test_products_that_do_not_declare_the_attribute_searchable_are_not_found_by_it(shop: Any) -> None:
    body = (BODY % ("p0", "p0", "+41 1")).replace('"sim"', '"router"')
    await shop.pool.execute(ASSET.replace("'sim'", "'router'"), "main", "p0", "acc-1", "active", body, at(0))
    assert await found(shop, name="size", value="5") == ["p1", "p3"]


MANY = (
    "insert into asset (tenant, asset_id, shard, account, product, status, body, updated_at) "
    "select 'main', 'q' || lpad(n::text, 6, '0'), 1, 'acc-2', 'sim', 'active', jsonb_build_object('id', n::text, "
    "'product', 'sim', 'attributes', jsonb_build_object('phone', n::text, 'size', 7)), $1 "
    "from generate_series(1, $2) as n"
)


async def test_a_rare_value_is_found_by_the_index_of_attributes_and_a_common_one_costs_a_page(shop: Any) -> None:
    await shop.pool.execute(MANY, AT, 20_000)
    await shop.pool.execute("analyze asset")
    given = ("main", None, ["sim"])

    rare = await explained(shop.pool, reads.assets_with_statement(1), *given, 1001, 0, '{"phone": "5"}')
    assert ("Bitmap Index Scan asset_attributes_idx", 1) in rare
    some = await explained(shop.pool, reads.assets_with_statement(1), *given, 1001, 0, '{"size": 7}')
    assert all(rows <= 1001 for node, rows in some if "Index Scan" not in node)
    common = reads.assets_with_statement(1, is_common=True)
    page = await explained(shop.pool, common, *given, 50, 20, '{"size": 7}')
    assert all(rows <= 70 for _, rows in page)
    # Whatever was asked before: a plan for all of them may be kept for the connection.
    mine = reads.assets_with_statement(1, of_account=True)
    async with shop.pool.acquire() as connection:
        await connection.execute("set plan_cache_mode = force_generic_plan")
        one = await explained(connection, mine, "main", "acc-1", ["sim"], 50, 0, '{"size": 7}')
        await connection.execute("reset plan_cache_mode")
    assert all(rows <= 20 for _, rows in one), one
    ids = await found(shop, name="size", value="7", offset="15000", limit="2")
    assert ids == ["15001", "15002"]


async def test_another_tenants_products_are_not_found(shop: Any) -> None:
    assert await reads.assets_with(shop.pool, "other", "phone", ["+41 1"], products=["sim"]) == []
