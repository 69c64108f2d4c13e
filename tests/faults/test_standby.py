"""A primary that is lost with orders in flight, its synchronous standby promoted: nothing acknowledged is lost.

Two real servers; the cluster knows both by one URL and is told nothing. The short form runs with all tests; the long
one, ten times the orders, with `make faults`. ORDERPLAN_SEED repeats a run.
"""

import asyncio
import json
import os

import pytest

from tests.faults.harness import END_S, Range, add_orders, expected_edges, publish_own_mobile, say
from tests.support.pair import running_pair
from tests.support.replay_check import replay_differences
from tests.support.running import Running, running_cluster
from tests.support.until import until

pytestmark = pytest.mark.faults

SEED = int(os.environ.get("ORDERPLAN_SEED", "20260302"))
ORDERS = 1_000 if os.environ.get("ORDERPLAN_FAULTS") == "long" else 100


def weaknesses_of(running: Running) -> set[tuple[str, str]]:
    """(database, code) of what the running cluster says could lose orders."""
    _, answer = running.call("GET", "/readyz")
    return {(each["database"], each["code"]) for each in answer["durability"]}


async def test_losing_the_primary_loses_no_acknowledged_order_when_its_standby_is_synchronous(capsys):
    async with running_pair() as pair:
        await pair.replicate_synchronously()
        databases = (pair.dsn(), pair.dsn("orderplan_keys"))
        with running_cluster(2, delay_ms=1_000, databases=databases) as running, capsys.disabled():
            publish_own_mobile(running)
            assert weaknesses_of(running) == set()
            target = Range(running, SEED)
            sending = asyncio.create_task(target.client.send_all(add_orders(ORDERS)))
            # Between a quarter and half of the orders: some are acknowledged, some on their way, all have calls open.
            wanted = target.random.randint(ORDERS // 4, ORDERS // 2)
            await until(lambda: len(target.client.acknowledged) >= wanted, 60)
            open_calls = await target.open_calls()
            pair.kill_primary()
            acknowledged = set(target.client.acknowledged.values())
            say(f"\nseed {SEED}: primary lost, {len(acknowledged)} orders acknowledged, {open_calls} calls open")
            await pair.promote()
            began = asyncio.get_running_loop().time()
            rows = await target.rows("select order_id from product_order")
            assert acknowledged <= {row["order_id"] for row in rows}
            await until(lambda: len(target.client.acknowledged) > len(acknowledged), 90)
            say(f"  acknowledges again {asyncio.get_running_loop().time() - began:.1f} s after the promotion")
            await sending
            assert target.client.refused == []
            # The new primary has no standby, and everybody who looks is told what that means.
            await until(lambda: weaknesses_of(running) == {(name, "failoverLoses") for name in ("orders", "keys")}, 30)
            assert 'code="failoverLoses",database="orders"' in running.ok("GET", "/metrics")

            async def all_ended() -> bool:
                return await target.ended() >= ORDERS

            await until(all_ended, END_S, 0.2)
            found = await target.findings(expected_edges())
            differences = await replay_differences(running.dsn)
            status, answer = running.call("GET", "/readyz")

    assert found.wrong == []
    assert differences == []
    assert found.counts["orders completed"] == ORDERS
    assert open_calls > 0
    assert (status, answer["status"]) == (200, "ready"), json.dumps(answer)
