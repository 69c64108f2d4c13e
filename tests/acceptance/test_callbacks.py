"""Systems that answer later: by callback, once, before a deadline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from actors.tokens import token_of
from tests.support.build import callout, plan_of, release_document, scenario
from tests.support.running import Running, until

ITEM = "p/visit@1"
LONG_MS = 600_000


@pytest.fixture
def workforce(running: Running) -> Iterator[Running]:
    """The workforce system takes work at once, and calls back long after every test."""
    config = {"url": f"{running.standins}/workforce"}
    running.ok("PUT", "/v1/systems/workforce", {"adapter": "http", "config": config})
    running.behave(system="workforce", delayMs=LONG_MS)
    yield running
    running.behave(system="workforce", delayMs=0)


def accepted(running: Running, name: str, **members: Any) -> str:
    """An order whose only item was taken by the workforce system."""
    item = callout("visit", system="workforce", operation="async-visit", retry="once", **members)
    body = release_document(
        code="callbacks",
        version=name,
        products=[{"code": "offer", "attributes": [{"name": "technician"}]}],
        retries=[{"code": "once", "attemptsMax": 1}],
        plans=[plan_of("p", item)],
        scenarios=[scenario("offer", "p")],
    )
    running.ok("POST", "/v1/releases:publish", body)
    line = {"id": "1", "action": "add", "product": {"productSpecification": {"id": "offer"}}}
    order_id = running.submit({"billingAccount": {"id": f"callbacks-{name}"}, "productOrderItem": [line]})
    until(
        lambda: [fact["kind"] for fact in running.ok("GET", f"/v1/orders/{order_id}/facts")],
        lambda kinds: "item.accepted" in kinds,
    )
    return order_id


async def token(running: Running, order_id: str) -> str:
    connection = await asyncpg.connect(running.dsn)
    try:
        secret = await connection.fetchval("select value #>> '{}' from setting where key = 'callbackSecret'")
    finally:
        await connection.close()
    return token_of(bytes.fromhex(secret), f"{order_id}/{ITEM}/1")


async def test_a_token_answers_its_attempt_once_and_a_wrong_one_nothing(workforce: Running) -> None:
    order_id = accepted(workforce, "answered")
    right = await token(workforce, order_id)
    wrong = right[:-1] + ("A" if right[-1] != "A" else "B")
    answer = {"attributes": {"technician": "T-7"}}

    assert workforce.call("POST", f"/v1/callbacks/{wrong}", answer)[0] == 404
    assert workforce.call("POST", f"/v1/callbacks/{right}", {"outcome": "perhaps"})[0] == 400
    assert workforce.ok("GET", f"/v1/orders/{order_id}")["state"] == "inProgress"
    assert workforce.call("POST", f"/v1/callbacks/{right}", answer)[0] == 204
    assert workforce.ended(order_id)["state"] == "completed"
    status, refused = workforce.call("POST", f"/v1/callbacks/{right}", {"attributes": {"technician": "T-8"}})
    assert status == 409
    assert "settled already" in str(refused)

    [line] = workforce.ok("GET", f"/v1/orders/{order_id}/plan")["lines"]
    assert line["attributes"]["technician"] == "T-7"


async def test_work_that_is_never_answered_fails_at_its_deadline(workforce: Running) -> None:
    order_id = accepted(workforce, "silent", timeoutS=1)
    item = until(
        lambda: workforce.ok("GET", f"/v1/orders/{order_id}/items/{ITEM}"),
        lambda item: item["state"] == "Fatally Failed",
    )

    assert item["error"] == "no answer came back in time"
    assert item["errorCode"] == "timeout"


async def test_a_callback_that_says_it_failed_goes_to_a_person(workforce: Running) -> None:
    order_id = accepted(workforce, "refused")
    path = f"/v1/callbacks/{await token(workforce, order_id)}"
    assert workforce.call("POST", path, {"outcome": "failed", "error": "nobody at home"})[0] == 204

    order = until(lambda: workforce.ok("GET", f"/v1/orders/{order_id}"), lambda order: order["state"] == "held")
    assert order["items"] == {"Fatally Failed": 1}
