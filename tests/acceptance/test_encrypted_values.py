"""What is encrypted on a running cluster: found, shown to who may see it, and nowhere in the clear."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from orderplan.client import ApiError, Client
from tests.acceptance.test_payloads_and_secrets import dump, logs
from tests.support.build import callout, plan_of, release_document, scenario
from tests.support.running import TMF637, Running, until

VERSIONS = count(1)
ORDERS = 1_000


@pytest.fixture
def lines(running: Running) -> Running:
    """A cluster with one product: a phone line, whose number is encrypted and whose system is told it."""
    document = release_document(
        code="lines",
        version=str(next(VERSIONS)),
        products=[{"code": "line", "attributes": [{"name": "number", "encrypted": True, "searchable": True}]}],
        plans=[plan_of("p", callout("activate", system="switch"))],
        scenarios=[scenario("line", "p")],
    )
    stand_in = {"adapter": "http", "config": {"url": f"{running.standins}/billing"}, "concurrency": 200}
    running.ok("PUT", "/v1/systems/switch", stand_in)
    running.ok("POST", "/v1/releases:publish", document)
    return running


def order(account: str, number: str) -> dict[str, Any]:
    characteristic = {"name": "number", "value": number}
    product = {"productSpecification": {"id": "line"}, "productCharacteristic": [characteristic]}
    item = {"id": "1", "action": "add", "product": product}
    return {"externalId": account, "billingAccount": {"id": account}, "productOrderItem": [item]}


def told(running: Running, accounts: set[str]) -> Iterator[tuple[str, str]]:
    """Which number the switch was told for which account."""
    with running.calls_log.open() as log:
        for call in map(json.loads, log):
            payload = call["payload"]
            if call["status"] == 200 and not call["repeat"] and payload.get("accountId") in accounts:
                yield payload["accountId"], payload["lines"][0]["attributes"]["number"]


def test_an_encrypted_value_is_found_and_shown_to_who_may_see_it_and_every_try_is_kept(lines: Running) -> None:
    number = "079-555-00-17"
    lines.ended(lines.submit(order("numbered", number)))
    with Client(lines.url, user="paula") as client:
        [found] = client.find_products("number", number)
        assert client.find_products("number", "079-555-00-18") == []
        assert number not in json.dumps(found)
        with pytest.raises(ApiError) as refused:
            client.reveal_value(found["id"], "number", "curious", roles="agent")
        assert (refused.value.status, refused.value.code) == (403, "forbidden")
        assert client.reveal_value(found["id"], "number", "court order 7", roles="agent, privacy")["value"] == number
        tries = client.value_accesses(product_id=found["id"])
        with pytest.raises(ApiError) as unknown:
            client.reveal_value(found["id"], "colour", "court order 7", roles="privacy")
        assert unknown.value.status == 404

    assert [(each["by"], each["outcome"], each["reason"], each["name"]) for each in tries] == [
        ("person:paula", "shown", "court order 7", "number"),
        ("person:paula", "refused", "curious", "number"),
    ]


def test_rotations_among_a_thousand_running_orders_lose_no_value_and_show_none(lines: Running) -> None:
    numbers = {f"rotated-{at}": f"canary-{at:04}-{at * 7919 % 10_007:05}" for at in range(ORDERS)}
    documents = [order(account, number) for account, number in numbers.items()]
    with Client(lines.url, user="kim") as client:
        client.hold_system("switch", "so that all of them run at once")
        keys = []
        for part in range(4):
            sent = documents[part * 250 : (part + 1) * 250]
            answers = list(client.ingest_orders(json.dumps(each).encode() for each in sent))
            assert {each["state"] for each in answers} == {"acknowledged"}
            keys.append(client.rotate_key(f"round {part}")["keyId"])
        client.release_system("switch")
        assert [each["keyId"] for each in client.list_keys()][:4] == keys[::-1]
    until(lambda: dict(told(lines, set(numbers))), lambda heard: heard == numbers)
    found = until(
        lambda: lines.ok("GET", f"{TMF637}?billingAccount.id=rotated-{ORDERS - 1}"), lambda products: products
    )
    with Client(lines.url, user="kim") as client:
        assert client.find_products("number", numbers["rotated-0"]), "what was written under the first key is found"
        shown = client.reveal_value(found[0]["id"], "number", "to see", roles="privacy")
    assert shown["value"] == numbers[f"rotated-{ORDERS - 1}"]

    places = {
        "order database": asyncio.run(dump(lines.dsn)),
        "key store": asyncio.run(dump(lines.key_dsn)),
        "metrics": str(lines.call("GET", "/metrics")[1]),
        "logs": logs(lines),
    }
    assert [name for name, text in places.items() if "canary-0" in text] == []
