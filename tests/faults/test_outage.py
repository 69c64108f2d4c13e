"""A system goes away under two thousand orders: only its items fail, and one bulk job mends five hundred of them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from orderplan.client import Client
from tests.faults.harness import Range
from tests.support.build import callout, depends, plan_of, release_document, scenario
from tests.support.replay_check import replay_differences
from tests.support.running import Running
from tests.support.until import until

pytestmark = pytest.mark.faults

ORDERS = 2_000
AWAY = 500
"""Orders that need the system which goes away."""
RELEASE: dict[str, Any] = release_document(
    code="outage",
    products=["plain", "billed"],
    retries=[{"code": "quick", "attemptsMax": 2, "delaysS": [0.1]}],
    plans=[
        plan_of("activate", callout("activate", system="activation")),
        plan_of("bill", callout("bill", system="billing", retry="quick")),
    ],
    dependencies=[depends("bill/bill", "activate/activate")],
    scenarios=[scenario("plain", "activate"), scenario("billed", "activate"), scenario("billed", "bill")],
)


@pytest.fixture(scope="module")
def running(shared: Running) -> Running:
    shared.behave(system="*", delayMs=0)
    shared.ok("POST", "/v1/releases:publish", RELEASE)
    for system in ("activation", "billing"):
        config = {"url": f"{shared.standins}/{system}", "connections": 500}
        # Its circuit breaker would hold these items; here they are to fail.
        limits = {"concurrency": 500, "breaker": None}
        shared.ok("PUT", f"/v1/systems/{system}", {"adapter": "http", "config": config} | limits)
    return shared


def order(number: int) -> dict[str, Any]:
    product = "billed" if number % (ORDERS // AWAY) == 0 else "plain"
    item = {"id": "1", "action": "add", "product": {"productSpecification": {"id": product}}}
    return {
        "externalId": f"outage-{number:05}",
        "billingAccount": {"id": f"outage-{number:05}"},
        "productOrderItem": [item],
    }


async def test_only_the_items_of_the_system_fail_and_one_job_mends_them(running: Running) -> None:
    target = Range(running, seed=1, orders="outage-%")
    running.behave(system="billing", status=503, failNext=10 * ORDERS)
    await target.client.send_all([order(number) for number in range(ORDERS)], orders_s=10_000)
    assert target.client.refused == []

    async def is_settled() -> bool:
        rows = await target.rows(
            "select count(*) filter (where ended_at is not null) as ended, sum(fallout) as fallout from product_order "
            "where external_id like $1",
            target.orders,
        )
        return (rows[0]["ended"], rows[0]["fallout"]) == (ORDERS - AWAY, AWAY)

    await until(is_settled, 120)
    failed = await target.rows("select order_id, item, system, error_code from fallout_item")
    assert Counter((row["system"], row["item"].partition("@")[0]) for row in failed) == {("billing", "bill/bill"): AWAY}
    with Client(running.url, user="olga") as client:
        await asyncio.to_thread(_mend, running, client)
    await until(lambda: _all_ended(target), 120)

    assert await target.rows("select * from fallout_item") == []
    causes = await target.rows(
        "select count(*) as facts, count(distinct cause) as messages from fact join product_order using (order_id) "
        "where kind = 'item.retried' and external_id like $1",
        target.orders,
    )
    assert causes == [{"facts": AWAY, "messages": AWAY}]
    ours = set(target.client.acknowledged.values())
    performed: Counter[str] = Counter()
    with running.calls_log.open() as log:
        for call in map(json.loads, log):
            if call["order"] in ours and call["status"] == 200 and not call["repeat"]:
                performed[f"{call['system']} {call['order']}"] += 1
    assert set(performed.values()) == {1}
    assert len(performed) == ORDERS + AWAY
    assert await replay_differences(running.dsn) == []


def _mend(running: Running, client: Client) -> None:
    [group] = client.fallout_groups()
    assert (group["system"], group["count"]) == ("billing", AWAY)
    page = client.list_fallout(limit=300, system="billing")
    rest = client.list_fallout(limit=300, after=page["next"])
    assert (len(page["items"]), len(rest["items"]), rest["next"]) == (300, 200, None)
    # One of them is mended by hand meanwhile: the job has to say so.
    first = page["items"][0]
    frozen = [(each["orderId"], each["item"]) for each in (*page["items"], *rest["items"])]
    running.behave(system="billing", status=503, failNext=0)
    client.operate(first["orderId"], first["item"], "retry", "looked at by hand")
    client.wait_for_order(first["orderId"], timeout_s=30)
    job = client.wait_for_job(client.start_job("retry", "billing is back", items=frozen, rate=500)["id"], timeout_s=60)

    assert job["state"] == "done"
    assert (job["total"], job["done"], job["refused"], job["failed"], job["open"]) == (AWAY, AWAY - 1, 1, 0, 0)
    [refused] = client.job_items(job["id"], outcome="refused")
    assert (refused["orderId"], refused["code"]) == (first["orderId"], "notPossibleNow")
    assert refused["stateNow"] == "Completed"
    outcomes = [each for after in range(0, AWAY, 200) for each in client.job_items(job["id"], after=after, limit=200)]
    assert [each["number"] for each in outcomes] == list(range(1, AWAY + 1))


async def _all_ended(target: Range) -> bool:
    return await target.ended() == ORDERS
