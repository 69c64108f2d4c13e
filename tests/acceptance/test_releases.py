"""Two releases at once: running orders finish on theirs, new ones take the newest, and none is on a mix."""

from __future__ import annotations

from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import pytest

from tests.support.build import callout, depends, plan_of, release_document, scenario
from tests.support.running import TMF622, Running

ORDERS = 500
AFTERWARDS = 100
SENDERS = 8


def release(version: str) -> dict[str, Any]:
    """Two calls in sequence, whose names say which release made them."""
    first = callout("first", name=f"First of {version}", system="activation", operation="first")
    last = callout("last", name=f"Last of {version}", system="activation", operation="last")

    return release_document(
        code="two-releases",
        version=version,
        products=["line"],
        plans=[plan_of("deliver", first, last, *([callout("more", system="activation")] if version == "2" else []))],
        dependencies=[depends("deliver/last", "deliver/first")],
        scenarios=[scenario("line", "deliver")],
    )


def order(number: int, **members: Any) -> dict[str, Any]:
    item = {"id": "1", "action": "add", "product": {"productSpecification": {"id": "line"}}}
    return {
        "externalId": f"two-releases-{number}",
        "billingAccount": {"id": f"two-releases-{number}"},
        "productOrderItem": [item],
    } | members


@pytest.fixture
def activation(running: Running) -> Running:
    body = {"adapter": "http", "config": {"url": f"{running.standins}/activation"}, "concurrency": 1_000}
    running.ok("PUT", "/v1/systems/activation", body)
    return running


async def rows(running: Running, sql: str, *values: Any) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(running.dsn)
    try:
        found: list[asyncpg.Record] = await connection.fetch(sql, *values)
        return found
    finally:
        await connection.close()


async def test_five_hundred_orders_finish_on_the_release_they_started_on(activation: Running) -> None:
    running = activation
    running.ok("POST", "/v1/releases:publish", release("1"))
    running.behave(system="activation", delayMs=4_000)
    try:
        with ThreadPoolExecutor(SENDERS) as pool:
            sent = [pool.submit(running.submit, order(number)) for number in range(ORDERS + AFTERWARDS)]
            # Amid the submits: the next one in line is on its way while this is published.
            ids = [each.result() for each in sent[:ORDERS]]
            [open_ones] = await rows(
                running, "select count(*) as n from product_order where order_id = any($1) and ended_at is null", ids
            )
            running.ok("POST", "/v1/releases:publish", release("2"))
            ids += [each.result() for each in sent[ORDERS:]]
    finally:
        running.behave(system="activation", delayMs=0)
    assert open_ones["n"] == ORDERS
    late = [running.submit(order(number)) for number in range(ORDERS + AFTERWARDS, ORDERS + AFTERWARDS + 5)]
    for each in (*ids, *late):
        assert running.ended(each)["state"] == "completed"

    facts = await rows(running, "select order_id, release_id, item from fact where order_id = any($1)", [*ids, *late])
    releases: dict[str, set[str]] = defaultdict(set)
    items: dict[str, set[str]] = defaultdict(set)
    for fact in facts:
        releases[fact["order_id"]].add(fact["release_id"])
        if fact["item"] is not None:
            items[fact["order_id"]].add(fact["item"].partition("@")[0])
    assert all(len(each) == 1 for each in releases.values()), "an order is on a mix"
    by_release = Counter(each for (each,) in releases.values())
    assert by_release["two-releases@1"] >= ORDERS
    assert {each for (each,) in (releases[name] for name in late)} == {"two-releases@2"}
    for name, (on,) in releases.items():
        assert ("deliver/more" in items[name]) is (on == "two-releases@2"), name
    for name in (ids[0], late[0]):
        version = next(iter(releases[name])).partition("@")[2]
        assert {call["item"] for call in running.calls(name)} >= {f"First of {version}", f"Last of {version}"}


def test_an_order_that_names_an_old_release_is_refused(activation: Running) -> None:
    activation.ok("POST", "/v1/releases:publish", release("3"))
    activation.ok("POST", "/v1/releases:publish", release("4"))

    status, answer = activation.call("POST", TMF622, order(10_001, releaseId="two-releases@3"))
    assert status == 409, answer
    assert "two-releases@4" in str(answer)
    status, answer = activation.call("POST", TMF622, order(10_002, releaseId=4))
    assert status == 400, answer
    assert activation.submit(order(10_003, releaseId="two-releases@4"))
    listed = activation.ok("GET", f"{TMF622}?externalId=two-releases-10001")
    assert listed == []


def test_a_push_event_is_fired_by_a_change_of_the_line(activation: Running) -> None:
    event = {"code": "ready", "type": "pushEvent", "event": 'attributes.number == "079"'}
    activation.ok(
        "POST",
        "/v1/releases:publish",
        release_document(
            code="push",
            products=[{"code": "line", "attributes": [{"name": "number"}]}],
            plans=[plan_of("deliver", event)],
            scenarios=[scenario("line", "deliver")],
        ),
    )
    order_id = activation.submit(order(10_010))
    path = f"/v1/orders/{order_id}/lines/1"

    status, answer = activation.call("PATCH", path, {"attributes": {"number": "079"}})
    assert (status, "reason" in str(answer)) == (400, True)
    assert activation.call("PATCH", f"/v1/orders/{order_id}/lines/9", {"attributes": {"a": 1}, "reason": "r"})[0] == 404
    activation.ok("PATCH", path, {"attributes": {"number": "079"}, "reason": "the port is done"}, X_User="olga")

    assert activation.ended(order_id)["state"] == "completed"
    facts = activation.ok("GET", f"/v1/orders/{order_id}/facts")
    [changed] = [fact for fact in facts if fact["kind"] == "line.changed"]
    assert changed["actor"] == "person:olga"
    assert changed["payload"]["reason"] == "the port is done"


def test_functions_of_ones_own_run_as_auto_tasks(activation: Running) -> None:
    task = {"code": "greet", "type": "autoTask", "task": "tests.unit.test_auto_tasks:greet"}
    activation.ok(
        "POST",
        "/v1/releases:publish",
        release_document(
            code="auto",
            products=[{"code": "line", "attributes": [{"name": "greeting"}]}],
            plans=[plan_of("deliver", task)],
            scenarios=[scenario("line", "deliver")],
        ),
    )
    order_id = activation.submit(order(10_020))
    assert activation.ended(order_id)["state"] == "completed"

    [line] = activation.ok("GET", f"/v1/orders/{order_id}/plan")["lines"]
    assert line["attributes"]["greeting"] == "hello from deliver/greet@1"
    assert "line" in activation.products("two-releases-10020")
