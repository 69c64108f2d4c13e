"""What is wrong with an order or a catalogue is said with its place, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support import own_mobile
from tests.support.running import TMF622, TMF637, Running

ORDERS = Path(__file__).parents[1] / "data" / "orders"
TABLES = ("fact", "product_order", "asset", "manual_task", "sealed_value", "plan_template")


async def rows(dsn: str) -> dict[str, int]:
    connection = await asyncpg.connect(dsn)
    try:
        return {table: await connection.fetchval(f"select count(*) from {table}") for table in TABLES}
    finally:
        await connection.close()


def refused(running: Running, body: Any, path: str = TMF622) -> tuple[int, Any]:
    """The refusal of a body; nothing may be stored by it."""
    before = asyncio.run(rows(running.dsn))
    status, answer = running.call("POST", path, body)
    assert asyncio.run(rows(running.dsn)) == before
    assert status >= 400, answer
    return status, answer


def changed(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The add order, for an account of its own, with one thing wrong."""
    document: dict[str, Any] = own_mobile.add_order()
    document["relatedParty"][0]["id"] = "careless"
    document["externalId"] = "careless"
    change(document)
    return document


def item(document: dict[str, Any], item_id: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in document["productOrderItem"] if each["id"] == item_id)
    return found


WRONG: dict[str, tuple[dict[str, Any], int, str]] = {
    "an unknown action": (changed(lambda d: item(d, "4").update(action="buy")), 400, "productOrderItem[3].action"),
    "a quantity that is no number": (
        changed(lambda d: item(d, "4").update(quantity="two")),
        400,
        "productOrderItem[3].quantity",
    ),
    "a duplicate item id": (changed(lambda d: item(d, "4").update(id="6")), 400, "productOrderItem[5].id"),
    "a dangling relation": (
        changed(
            lambda d: item(d, "4")["productOrderItemRelationship"].append({"id": "99", "relationshipType": "sells"})
        ),
        400,
        "productOrderItem[3].productOrderItemRelationship[1].id",
    ),
    "an unknown specification": (
        changed(lambda d: item(d, "4")["product"]["productSpecification"].update(id="nobody")),
        400,
        "productOrderItem[3].product.productSpecification.id",
    ),
    "a NUL in a value": (
        changed(lambda d: item(d, "4")["product"]["productCharacteristic"][0].update(value="a\x00b")),
        400,
        "productOrderItem[3].product.productCharacteristic[0].value",
    ),
    "a modify of what is not installed": (
        changed(lambda d: item(d, "4").update(action="modify")),
        409,
        "productOrderItem[3].product",
    ),
    "a delete of a product that the account does not have": (
        changed(lambda d: item(d, "4").update(action="delete", product=item(d, "4")["product"] | {"id": "p-nobody"})),
        409,
        "productOrderItem[3].product.id",
    ),
    "no items": (changed(lambda d: d.update(productOrderItem=[])), 400, "productOrderItem"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_order_is_refused_with_the_path_and_leaves_nothing(mobile: Running, name: str) -> None:
    document, expected, path = WRONG[name]
    status, answer = refused(mobile, document)

    assert status == expected
    assert path in json.dumps(answer)


def test_malformed_json_is_refused(mobile: Running) -> None:
    status, answer = refused(mobile, b'{"productOrderItem": [')

    assert status == 400
    assert answer["reason"]


def test_an_order_of_50_mb_is_refused_as_too_large(mobile: Running) -> None:
    status, answer = refused(mobile, b'{"description": "' + b"x" * 50_000_000 + b'"}')

    assert status == 413
    assert answer["code"] == "tooLarge"


@pytest.mark.parametrize("name", ["orange-disco-full-order", "orange-disco-full-order-delete"])
def test_the_original_sample_orders_name_the_duplicate_item_and_the_dangling_relations(
    mobile: Running, name: str
) -> None:
    status, answer = refused(mobile, json.loads((ORDERS / f"{name}.json").read_text()))

    text = json.dumps(answer)
    assert status == 400
    assert "productOrderItem[9].id" in text
    assert "productOrderItemRelationship" in text


def test_ambiguous_assets_are_named(mobile: Running) -> None:
    for number in (1, 2):
        order = own_mobile.add_order()
        order["relatedParty"][0]["id"], order["externalId"] = "twice", f"twice-{number}"
        assert mobile.ended(mobile.submit(order))["state"] == "completed"
    modify = changed(lambda d: item(d, "4").update(action="modify"))
    modify["relatedParty"][0]["id"], modify["externalId"] = "twice", "twice-3"
    status, answer = refused(mobile, modify)

    assert status == 409
    assert len(set(mobile_lines(mobile, "twice")) & set(candidates(answer))) == 2


def mobile_lines(running: Running, account: str) -> list[str]:
    """The ids of the account's mobile lines."""
    listed = running.ok("GET", f"{TMF637}?billingAccount.id={account}")
    return [each["id"] for each in listed if each["productSpecification"]["name"] == "Mobile line"]


def candidates(answer: Any) -> list[str]:
    """Everything in a refusal that looks like a product id."""
    return re.findall(r"p[0-9a-f]{20}", json.dumps(answer))


def test_a_catalogue_with_a_cycle_is_refused_by_name(running: Running) -> None:
    catalogue = own_mobile.read("own-mobile-catalogue.json")
    sim = next(each for each in catalogue["productSpecification"] if each["name"] == "SIM CARD")
    line = next(each for each in catalogue["productSpecification"] if each["name"] == "Mobile line")
    sim["productSpecificationRelationship"].append({"id": line["id"], "relationshipType": "reliesOn"})
    status, answer = refused(running, {"catalogue": catalogue, "version": "cycle"}, "/v1/releases:import-tmf620")

    assert status == 422
    assert "circle" in json.dumps(answer)
    assert "SIM CARD" in json.dumps(answer)


def test_what_cannot_be_delivered_is_rejected_with_reasons_in_the_201_itself(mobile: Running) -> None:
    order = own_mobile.add_order()
    order["relatedParty"][0]["id"], order["externalId"] = "idle", "idle"
    order["productOrderItem"] = [item(order, "1")]
    order["productOrderItem"][0].pop("productOrderItemRelationship")
    status, answer = mobile.call("POST", TMF622, order)

    assert status == 201
    assert answer["state"] == "rejected"
    assert "nothing to fulfil" in json.dumps(answer["stateReasons"])
