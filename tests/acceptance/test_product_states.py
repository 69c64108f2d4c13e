"""The states of products on a running cluster, and orders that another system has begun."""

from __future__ import annotations

import json
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orderplan.cli.main import app
from orderplan.client import Client
from tests.support.build import callout, depends, manual, plan_of, release_document, scenario
from tests.support.running import Running, until

TMF637 = "/tmf-api/productInventory/v4/product"
VERSIONS = count(1)
ACCOUNTS = count(1)


@pytest.fixture
def boxes(running: Running) -> Running:
    """A cluster with one product: a call for each box, and a visit where it is wanted."""
    document = release_document(
        code="boxes",
        version=str(next(VERSIONS)),
        products=[{"code": "box", "attributes": [{"name": "visit"}, {"name": "size"}]}],
        plans=[
            plan_of("p", callout("send", system="store"), manual("visit", condition="attributes.visit == true")),
        ],
        dependencies=[depends("p/visit", "p/send")],
        scenarios=[scenario("box", "p", "add", "modify", "suspend", "resume")],
    )
    running.ok("POST", "/v1/releases:publish", document)
    stand_in = {"adapter": "http", "config": {"url": f"{running.standins}/billing"}, "concurrency": 100}
    running.ok("PUT", "/v1/systems/store", stand_in)
    return running


def item(number: int, action: str = "add", product: str | None = None, **values: Any) -> dict[str, Any]:
    characteristics = [{"name": name, "value": value} for name, value in values.items()]
    named = {"id": product} if product is not None else {"productSpecification": {"id": "box"}}
    return {"id": str(number), "action": action, "product": named | {"productCharacteristic": characteristics}}


def order(account: str, *items: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"billingAccount": {"id": account}, "productOrderItem": list(items)} | members


def products(running: Running, account: str) -> dict[str, str]:
    return {each["id"]: each["status"] for each in running.ok("GET", f"{TMF637}?billingAccount.id={account}")}


def visit(running: Running, client: Client, order_id: str) -> None:
    def own() -> list[str]:
        return [each["id"] for each in client.list_tasks(queue="desk") if each["orderId"] == order_id]

    [task] = until(own, bool)
    client.claim_task(task, "vera")
    client.complete_task(task, "vera", {})


def test_of_two_bundles_the_first_is_active_before_the_order_ends_and_stays_when_the_second_is_cancelled(
    boxes: Running,
) -> None:
    both, one = (f"states-{next(ACCOUNTS)}" for _ in range(2))
    with Client(boxes.url) as client:
        wanted = [boxes.submit(order(each, item(1), item(2, visit=True))) for each in (both, one)]
        for each in (both, one):
            assert list(until(partial(products, boxes, each), bool).values()) == ["active"]
        assert [client.order(each)["state"] for each in wanted] == ["inProgress", "inProgress"]
        visit(boxes, client, wanted[0])
        client.cancel_order(wanted[1], "the customer wants one", items=["2"])

        assert [boxes.ended(each)["state"] for each in wanted] == ["completed", "partial"]
        assert [list(products(boxes, each).values()) for each in (both, one)] == [["active"] * 2, ["active"]]


def test_a_suspended_product_takes_no_change_until_it_is_resumed(boxes: Running) -> None:
    account = f"states-{next(ACCOUNTS)}"
    boxes.ended(boxes.submit(order(account, item(1))))
    [product] = products(boxes, account)
    # What waits before it counts: both are sent at once.
    suspended = boxes.submit(order(account, item(1, "suspend", product)))
    status, refused = boxes.call(
        "POST", "/tmf-api/productOrderingManagement/v4/productOrder", order(account, item(1, "modify", product, size=2))
    )
    assert (status, "resume it first" in json.dumps(refused)) == (409, True)
    assert boxes.ended(suspended)["state"] == "completed"
    assert products(boxes, account) == {product: "suspended"}
    resumed = boxes.submit(order(account, item(1, "resume", product)))
    changed = boxes.submit(order(account, item(1, "modify", product, size=2)))
    assert [boxes.ended(each)["state"] for each in (resumed, changed)] == ["completed", "completed"]
    assert products(boxes, account) == {product: "active"}


def test_orders_that_another_system_has_begun_are_gone_on_with_and_sent_twice_they_are_the_same(
    boxes: Running, tmp_path: Path
) -> None:
    account = f"states-{next(ACCOUNTS)}"
    file, errors = tmp_path / "running.ndjson", tmp_path / "errors.ndjson"
    lines = [
        order(account, item(1, visit=True), externalId=f"{account}-a", done=["p/send"]),
        order(account, item(1), item(2), externalId=f"{account}-b", done=["p/send@2"]),
        order(account, item(1, visit=True), externalId=f"{account}-c", done=["p/visit"]),
        order(account, item(1), done=[]),
        order(account, item(1), externalId=f"{account}-d"),
        order(account, item(1), externalId=f"{account}-e", done=["p/send"]),
    ]
    file.write_text("\n".join(json.dumps(each) for each in lines), encoding="utf-8")
    command = ["order", "cutover", str(file), "--url", boxes.url, "--errors", str(errors), "--user", "mia"]

    told = CliRunner().invoke(app, command)
    assert told.exit_code == 2
    assert "3 of 6 lines are refused" in told.stderr
    refused = {each["line"]: each["error"]["path"] for each in map(json.loads, errors.read_text().splitlines())}
    assert refused == {3: "done[0]", 4: "externalId", 5: "done"}
    with Client(boxes.url) as client:
        found = {name: client.list_orders(externalId=f"{account}-{name}", fields="id").items for name in "abce"}
        [first], [second], [third] = ([each["id"] for each in found[name]] for name in "abe")
        assert found["c"] == []
        visit(boxes, client, first)
        assert [boxes.ended(each)["state"] for each in (first, second, third)] == ["completed"] * 3
        assert [len(boxes.calls(each)) for each in (first, second, third)] == [0, 1, 0]
        assert len(products(boxes, account)) == 4
        completed = [each for each in client.facts(first) if each["kind"] == "item.completed"]
        [fact] = [each for each in completed if each["item"] == "p/send@1"]
        assert (fact["actor"], fact["payload"]["by"]) == ("person:mia", "cutover")
        again = {each["line"]: each for each in client.cut_over_orders(json.dumps(each).encode() for each in lines[:2])}
    assert {number: (each["id"], each["isRepeat"]) for number, each in again.items()} == {
        1: (first, True),
        2: (second, True),
    }
