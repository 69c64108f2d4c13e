"""Whatever is wrong with a document: an answer that says what and where, and nothing is stored."""

import copy
import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.faults.harness import publish_own_mobile
from tests.support import own_mobile
from tests.support.build import chain_of, depends, plan_of, release_document, scenario
from tests.support.running import TMF622, Running, request

pytestmark = pytest.mark.faults

ORANGE = Path(__file__).parents[1] / "data" / "orders"
TABLES = (
    "product_order", "fact", "asset", "plan_template", "release", "sealed_value", "manual_task", "task_claim", "system",
    "queue_member", "worker", "worker_skill", "people_change",
)  # fmt: skip
INSTALLED: list[dict[str, Any]] = [
    {"id": f"installed-{number}", "billingAccount": {"id": "twins"}} for number in range(2)
]


@pytest.fixture(scope="module")
def running(shared: Running) -> Running:
    shared.behave(system="*", delayMs=0)
    publish_own_mobile(shared, version="bad input")
    specification = _specification("SIM CARD")
    products = [each | {"productSpecification": specification} for each in INSTALLED]
    shared.ok("POST", "/v1/inventory:import", {"products": products})
    return shared


def _specification(name: str) -> dict[str, Any]:
    """The specification of that name as the sample order names it."""
    for item in own_mobile.add_order()["productOrderItem"]:
        found: dict[str, Any] = item.get("product", {}).get("productSpecification", {})
        if found.get("name") == name:
            return found
    raise AssertionError(name)


async def stored(running: Running) -> dict[str, int]:
    """How many rows each table has, keys of orders included."""
    found: dict[str, int] = {}
    for dsn, tables in ((running.dsn, TABLES), (running.key_dsn, ("order_key",))):
        connection = await asyncpg.connect(dsn)
        try:
            found |= {table: await connection.fetchval(f"select count(*) from {table}") for table in tables}
        finally:
            await connection.close()
    return found


def sample(**changes: Any) -> dict[str, Any]:
    return own_mobile.add_order() | changes


def with_item(position: int, **changes: Any) -> dict[str, Any]:
    order = copy.deepcopy(own_mobile.add_order())
    order["productOrderItem"][position] |= changes
    return order


def one(action: str, account: str = "nobody", /, **product: Any) -> dict[str, Any]:
    """An order of one SIM CARD."""
    item = {"id": "1", "action": action, "product": {"productSpecification": _specification("SIM CARD")} | product}
    return {"billingAccount": {"id": account}, "productOrderItem": [item]}


UNKNOWN: dict[str, Any] = {"productSpecification": {"id": "no-such-specification"}}
ORDERS: dict[str, tuple[Any, set[int], str]] = {
    "no json": (b"{not json", {400}, ""),
    "empty body": (b"", {400}, ""),
    "cut off": (json.dumps(own_mobile.add_order()).encode()[:-20], {400}, ""),
    "not utf-8": (b'{"externalId": "\xff\xfe"}', {400}, ""),
    "a list": ([own_mobile.add_order()], {400}, ""),
    "items are no list": (sample(productOrderItem="all"), {400}, "productOrderItem"),
    "no items": (sample(productOrderItem=[]), {400}, "productOrderItem"),
    "item is no object": (sample(productOrderItem=[7]), {400}, "productOrderItem[0]"),
    "action is a number": (with_item(2, action=7), {400}, "productOrderItem[2].action"),
    "action is unknown": (with_item(2, action="explode"), {400}, "productOrderItem[2].action"),
    "quantity is a text": (with_item(2, quantity="many"), {400}, "productOrderItem[2].quantity"),
    "quantity is negative": (with_item(2, quantity=-1), {400}, "productOrderItem[2].quantity"),
    "external id is a list": (sample(externalId=["x"]), {400}, "externalId"),
    "date is none": (sample(requestedCompletionDate="tomorrow"), {400}, "requestedCompletionDate"),
    "duplicate item ids": (with_item(3, id="1"), {400}, "productOrderItem"),
    "dangling relation": (
        with_item(0, productOrderItemRelationship=[{"id": "77", "relationshipType": "bundles"}]),
        {400},
        "productOrderItem[0].productOrderItemRelationship",
    ),
    "unknown product": (one("add", **UNKNOWN), {400}, "productOrderItem[0]"),
    "delete what nobody has": (one("delete", id="no-such-product"), {400, 409}, "productOrderItem[0]"),
    "delete without naming what": (one("delete"), {400, 409}, "productOrderItem[0]"),
    "ambiguous assets": (one("delete", "twins"), {400, 409}, "productOrderItem[0]"),
    "add what is there": (one("add", "twins", id="installed-0"), {400, 409}, "productOrderItem[0]"),
    "another account's product": (one("delete", "nobody", id="installed-0"), {400, 409}, "productOrderItem[0]"),
    "NUL in a text": (sample(description="a\u0000b"), {400}, "description"),
    "NUL in a name": (sample(**{"a\u0000b": 1}), {400}, ""),
    "lone surrogate": (b'{"externalId": "\\ud800", "productOrderItem": []}', {400}, ""),
    "too deep": (b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}", {400}, ""),
    "a number too large": (b'{"externalId": "x", "a": 123456789012345678901234567890}', {400}, ""),
}


@pytest.mark.parametrize("case", ORDERS)
async def test_a_wrong_order_is_refused_with_its_path_and_nothing_is_stored(running, case):
    document, statuses, path = ORDERS[case]
    before = await stored(running)

    status, answer = running.call("POST", TMF622, document)

    assert status in statuses, answer
    assert path in json.dumps(answer), answer
    assert answer["code"], answer
    assert answer["reason"] or answer["message"], answer
    assert await stored(running) == before


async def test_an_order_of_fifty_megabytes_is_refused(running):
    before = await stored(running)
    body = json.dumps(sample(description="x" * 50_000_000)).encode()

    try:
        status, answer = running.call("POST", TMF622, body)
    except OSError:
        # The gateway may close the connection before all of it is sent; whoever asks again hears why.
        status, answer = 413, {}

    assert status == 413, answer
    assert await stored(running) == before
    assert running.call("GET", "/healthz")[0] == 200


@pytest.mark.parametrize("name", ["full-order", "full-order-delete", "add-sms-and-modify-rbt"])
async def test_the_original_orange_orders_are_refused_by_name(running, name):
    before = await stored(running)

    status, answer = running.call("POST", TMF622, (ORANGE / f"orange-disco-{name}.json").read_bytes())

    assert status == 400, answer
    said = json.dumps(answer)
    if name == "full-order":
        assert "productOrderItem[9].id" in said
        assert "productOrderItemRelationship" in said
    assert await stored(running) == before


CYCLE = [depends("p/a", "p/b"), depends("p/b", "p/c"), depends("p/c", "p/a")]
RELEASES: dict[str, tuple[Any, set[int], str]] = {
    "no json": (b"{", {400}, ""),
    "a list": ([], {400}, ""),
    "nothing in it": ({}, {422}, "products"),
    "unknown member": (release_document(products=["a"], colour="red"), {422}, "colour"),
    "cycle of items": (
        release_document(
            products=["x"], plans=[plan_of("p", "a", "b", "c")], dependencies=CYCLE, scenarios=[scenario("x", "p")]
        ),
        {422},
        "p/a",
    ),
    "item that waits for itself": (
        release_document(
            products=["x"], plans=[plan_of("p", "a")], dependencies=[depends("p/a", "p/a")],
            scenarios=[scenario("x", "p")],
        ),
        {422},
        "p/a",
    ),
    "cycle of products": (
        release_document(products=["x", "y"], decompositions=chain_of(["x", "y", "x"])), {422}, "x"
    ),
    "unknown plan": (release_document(products=["x"], scenarios=[scenario("x", "nowhere")]), {422}, "nowhere"),
    "bad expression": (
        release_document(products=["x", "y"], decompositions=[{**chain_of(["x", "y"])[0], "when": "1 +"}]),
        {422},
        "",
    ),
    "NUL": (release_document(products=["x\u0000"]), {400, 422}, ""),
}  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/releases:validate", "/v1/releases:publish"])
@pytest.mark.parametrize("case", RELEASES)
async def test_a_wrong_catalogue_is_refused_by_name_and_nothing_is_stored(running, case, path):
    document, statuses, names = RELEASES[case]
    before = await stored(running)

    status, answer = running.call("POST", path, document)

    assert status in statuses, answer
    assert names in json.dumps(answer), answer
    assert answer["type"], answer
    assert answer["detail"], answer
    assert await stored(running) == before


OTHERS: dict[str, tuple[str, str, Any, set[int]]] = {
    "import without products": ("POST", "/v1/inventory:import", {}, {400}),
    "import of nothing known": ("POST", "/v1/inventory:import", {"products": [{"id": "p", **UNKNOWN}]}, {400, 422}),
    "import of a text": ("POST", "/v1/inventory:import", {"products": ["p"]}, {400}),
    "system without adapter": ("PUT", "/v1/systems/x", {}, {400}),
    "system with unknown adapter": ("PUT", "/v1/systems/x", {"adapter": "pigeon"}, {400, 404, 422}),
    "system with a wrong member": ("PUT", "/v1/systems/x", {"adapter": "http", "config": {"uri": "x"}}, {400, 422}),
    "concurrency true": ("PUT", "/v1/systems/x", {"adapter": "simulated", "concurrency": True}, {400}),
    "unknown order": ("GET", "/v1/orders/o1-00000000000-0000000000", None, {404}),
    "no order id": ("GET", "/v1/orders/nonsense", None, {404}),
    "order id with NUL": ("GET", "/v1/orders/o1-%00", None, {400, 404}),
    "shard that is none": ("POST", "/v1/orders/offff-1/items/x:retry", {"reason": "r"}, {404}),
    "unknown callback": ("POST", "/v1/callbacks/nonsense", {"outcome": "completed"}, {404}),
    "unknown task": ("POST", "/v1/tasks/nonsense:claim", {"worker": "ann"}, {404}),
    "task with NUL": ("POST", "/v1/tasks/%00:claim", {"worker": "ann"}, {400, 404}),
    "lease of ever": ("POST", "/v1/tasks/x:claim", {"worker": "ann", "leaseS": 1e308}, {400, 404}),
    "limit of nothing": ("GET", "/v1/tasks?limit=0", None, {400}),
    "tasks of NUL": ("GET", "/v1/tasks?worker=%00", None, {400}),
    "next for nobody": ("POST", "/v1/tasks:next", {}, {400}),
    "next of no list": ("POST", "/v1/tasks:next", {"worker": "ann", "queues": "desk"}, {400}),
    "too many tasks": ("POST", "/v1/tasks:claim", {"worker": "ann", "ids": [str(n) for n in range(201)]}, {400}),
    "a task twice": ("POST", "/v1/tasks:claim", {"worker": "ann", "ids": ["x", "x"]}, {400}),
    "hand-over to nobody": ("POST", "/v1/tasks/x:handOver", {"worker": "ann"}, {400}),
    "note of no task": ("POST", "/v1/tasks/x/notes", {"worker": "ann", "text": "t"}, {404}),
    "note without end": ("POST", "/v1/tasks/x/notes", {"worker": "ann", "text": "t" * 2001}, {400}),
    "member of no queue": ("PUT", "/v1/queues/nowhere/members/ann", None, {404}),
    "member that is none": ("DELETE", "/v1/queues/nowhere/members/ann", None, {404}),
    "skill without name": ("PUT", "/v1/workers/ann", {"skills": [{"level": 2}]}, {400}),
    "skill without bound": ("PUT", "/v1/workers/ann", {"skills": [{"skill": "fibre", "level": 101}]}, {400}),
    "skill of no time": ("PUT", "/v1/workers/ann", {"skills": [{"skill": "f", "expiresAt": "2027-01-31"}]}, {400}),
    "worker with a wrong member": ("PUT", "/v1/workers/ann", {"onshift": True}, {400}),
    "list with a wrong date": ("GET", f"{TMF622}?orderDate.gt=yesterday", None, {400}),
    "list with NUL": ("GET", f"{TMF622}?externalId=%00", None, {200, 400}),
    "list far away": ("GET", f"{TMF622}?offset=99999999999999999999", None, {400}),
    "inventory far away": ("GET", "/tmf-api/productInventory/v4/product?offset=99999999999999999999", None, {400}),
    "inventory with NUL": ("GET", "/tmf-api/productInventory/v4/product?billingAccount.id=%00", None, {200, 400}),
    "bulk job of nothing": ("POST", "/v1/fallout:retry", {"reason": "r", "filter": {}}, {409}),
    "bulk job without a reason": ("POST", "/v1/fallout:skip", {"filter": {}}, {400}),
    "bulk job of an order of nobody": ("POST", "/v1/fallout:skip", {"reason": "r", "items": [["o0-1", "x"]]}, {404}),
    "unknown job": ("POST", "/v1/jobs/nonsense:stop", {}, {404}),
    "nowhere": ("GET", "/v1/nowhere", None, {404}),
    "wrong method": ("DELETE", TMF622, None, {405}),
}


@pytest.mark.parametrize("case", OTHERS)
async def test_other_wrong_requests_are_refused_and_nothing_is_stored(running, case):
    method, path, document, statuses = OTHERS[case]
    before = await stored(running)

    status, answer = request(method, running.url + path, document)

    assert status in statuses, answer
    assert await stored(running) == before


async def test_a_key_that_is_used_again_for_another_body_is_409(running):
    key = {"Idempotency_Key": "bad-input-1"}
    made = running.ok("POST", TMF622, sample(externalId="first"), **key)
    running.ended(made["id"])
    before = await stored(running)

    status, answer = running.call("POST", TMF622, sample(externalId="second"), **key)

    assert status == 409, answer
    assert made["id"] in json.dumps(answer)
    assert await stored(running) == before


async def test_an_order_that_is_right_still_goes_through(running):
    made = running.ok("POST", TMF622, sample(externalId="after all that"))

    assert running.ended(made["id"])["state"] == "completed"
