"""Two orders of one account at once: what is shared is made once, and what builds on another order waits for it."""

import asyncio
import json
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.faults.harness import Range
from tests.support.replay_check import replay_differences
from tests.support.running import TMF622, Running
from tests.support.until import until

pytestmark = pytest.mark.faults

RELEASE: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[1] / "data" / "releases" / "shared-account.yaml").read_text()
)
PAIRS = 200


@pytest.fixture(scope="module")
def running(shared: Running) -> Running:
    shared.behave(system="*", delayMs=300)
    shared.ok("POST", "/v1/releases:publish", RELEASE)
    for system in ("inventory", "activation"):
        config = {"url": f"{shared.standins}/{system}", "connections": 1_000}
        shared.ok("PUT", f"/v1/systems/{system}", {"adapter": "http", "config": config, "concurrency": 1_000})
    return shared


def broadband(account: str, external_id: str, action: str = "add", speed: int = 100, **product: Any) -> dict[str, Any]:
    characteristics = [{"name": "speed", "value": speed}]
    item = {
        "id": "1",
        "action": action,
        "productOffering": {"id": "broadband"},
        "product": {"productCharacteristic": characteristics, **product},
    }
    return {"externalId": external_id, "billingAccount": {"id": account}, "productOrderItem": [item]}


def calls_by_account(running: Running) -> dict[str | None, list[dict[str, Any]]]:
    """What the systems were asked, by account (None: it names none), in order of their beginning."""
    found: dict[str | None, list[dict[str, Any]]] = defaultdict(list)
    for call in map(json.loads, running.calls_log.read_text().splitlines()):
        found[call["payload"].get("accountId")].append(call)
    return {account: sorted(calls, key=lambda each: each["startedAt"]) for account, calls in found.items()}


async def test_two_hundred_pairs_on_one_account_each_share_one_mailbox(running):
    target = Range(running, seed=1, orders="pair-%")
    documents = [broadband(f"pair-{pair}", f"pair-{pair}-{which}") for pair in range(PAIRS) for which in ("a", "b")]
    hosts = await target.rows("select count(distinct incarnation_id) as hosts from shard")
    assert hosts[0]["hosts"] == 2

    await target.client.send_all(documents, orders_s=10_000)

    assert target.client.refused == []
    await until(lambda: _ended(target, 2 * PAIRS), 90)
    states = await target.rows(
        "select state, count(*) as orders from product_order where external_id like 'pair-%' group by 1"
    )
    assert {row["state"]: row["orders"] for row in states} == {"completed": 2 * PAIRS}
    kept = await target.rows(
        "select account, count(*) filter (where product = 'mailbox') as mailboxes, "
        "count(*) filter (where product = 'broadband') as lines from asset where account like 'pair-%' group by 1"
    )
    assert Counter((row["mailboxes"], row["lines"]) for row in kept) == {(1, 2): PAIRS}
    users = await target.rows("select body from asset where product = 'mailbox' and account like 'pair-%'")
    assert {len(json.loads(row["body"])["uses"]) for row in users} == {2}
    by_account = calls_by_account(running)
    for account in {each["billingAccount"]["id"] for each in documents}:
        calls = by_account[account]
        names = [(call["item"], call["payload"]["lines"][0]["action"]) for call in calls]
        assert names == [("Open mailbox", "add"), ("Provision access", "add"), ("Provision access", "add")], account
        assert all(call["startedAt"] >= calls[0]["endedAt"] for call in calls[1:]), account
    joined = await target.rows(
        "select count(*) as orders from fact join product_order using (order_id) "
        "where kind = 'plan.composed' and payload::text like '%\"joins\": \"o%' and external_id like 'pair-%'"
    )
    assert joined[0]["orders"] == PAIRS
    assert await replay_differences(running.dsn) == []


async def test_a_modify_waits_for_the_add_and_a_disconnect_for_the_modify(running):
    target = Range(running, seed=1)
    made = running.ok("POST", TMF622, broadband("chain", "chain-add"))
    plan = running.ok("GET", f"/v1/orders/{made['id']}/plan")
    product = next(line for line in plan["lines"] if line["product"] == "broadband")
    product_id = product["productId"]

    modify = running.ok("POST", TMF622, broadband("chain", "chain-modify", "modify", 500, id=product_id))
    delete = running.ok("POST", TMF622, broadband("chain", "chain-delete", "delete", 500, id=product_id))

    assert (made["state"], modify["state"], delete["state"]) == ("acknowledged", "pending", "pending")
    ended = [await asyncio.to_thread(running.ended, each["id"]) for each in (made, modify, delete)]
    assert [each["state"] for each in ended] == ["completed"] * 3
    calls = calls_by_account(running)["chain"]
    named = [(call["item"], call["payload"]["lines"][0]["action"]) for call in calls]
    access = [(item, action) for item, action in named if item == "Provision access"]
    assert access == [("Provision access", action) for action in ("add", "modify", "delete")]
    changes = [(before, after) for before, after in pairwise(calls) if before["order"] != after["order"]]
    assert len(changes) == 2
    assert all(after["startedAt"] >= before["endedAt"] for before, after in changes)
    left = await target.rows("select product from asset where account = 'chain' and status <> 'terminated'")
    assert left == []
    assert await replay_differences(running.dsn) == []


async def test_a_release_that_refuses_a_second_order_answers_409(running):
    running.ok("POST", "/v1/releases:publish", RELEASE | {"version": "2", "openOrder": "refuse"})
    made = running.ok("POST", TMF622, broadband("refuse", "refuse-add"))
    plan = running.ok("GET", f"/v1/orders/{made['id']}/plan")
    product = next(line for line in plan["lines"] if line["product"] == "broadband")
    product_id = product["productId"]

    status, answer = running.call("POST", TMF622, broadband("refuse", "refuse-modify", "modify", 500, id=product_id))

    assert status == 409, answer
    assert made["id"] in json.dumps(answer)
    ended = await asyncio.to_thread(running.ended, made["id"])
    assert ended["state"] == "completed"
    again = running.ok("POST", TMF622, broadband("refuse", "refuse-modify", "modify", 500, id=product_id))
    assert again["state"] == "acknowledged"
    await asyncio.to_thread(running.ended, again["id"])


async def _ended(target: Range, count: int) -> bool:
    return await target.ended() >= count
