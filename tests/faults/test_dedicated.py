"""A dedicated plan on a running cluster: it gets a process of its own, survives its death, and gives it back."""

import asyncio
import json
import os
import signal
from typing import Any

import pytest

from tests.faults.harness import Range, is_ours
from tests.faults.test_accounts import RELEASE, broadband
from tests.support.replay_check import replay_differences
from tests.support.running import TMF622, Running
from tests.support.until import until

pytestmark = pytest.mark.faults

OWN_HOST: dict[str, Any] = RELEASE | {"version": "own-host", "dedicated": 'order.description == "a host of its own"'}


@pytest.fixture(scope="module")
def running(shared: Running) -> Running:
    shared.ok("POST", "/v1/releases:publish", OWN_HOST)
    for system in ("inventory", "activation"):
        body = {"adapter": "http", "config": {"url": f"{shared.standins}/{system}"}}
        shared.ok("PUT", f"/v1/systems/{system}", body)
    return shared


def own_hosts(running: Running) -> list[dict[str, Any]]:
    """What the hosts of dedicated plans tell of themselves."""
    actors = running.ok("GET", "/v1/cluster")["actors"]
    return [stats for name, stats in actors.items() if name.startswith("host-") and stats.get("isDedicated")]


async def with_its_plan(running: Running, besides: int = 0) -> int:
    """The process of the own host, once it has the plan; another one than `besides`."""

    async def look() -> int | None:
        found = await asyncio.to_thread(own_hosts, running)
        pids = [each["pid"] for each in found if each.get("plans") == 1 and each["pid"] != besides]
        return pids[0] if pids else None

    pid: int = await until(look, 60)
    return pid


async def test_a_dedicated_plan_has_its_own_process_and_survives_its_death(running):
    target = Range(running, seed=1)
    running.behave(system="*", delayMs=4_000)
    document = broadband("large", "large-1") | {"description": "a host of its own"}

    made = running.ok("POST", TMF622, document)
    order = running.ok("GET", f"/v1/orders/{made['id']}")
    second = running.ok("POST", TMF622, broadband("large", "large-2"))
    pid = await with_its_plan(running)
    assert is_ours(pid, "host")
    os.kill(pid, signal.SIGKILL)
    await with_its_plan(running, besides=pid)
    ended = [await asyncio.to_thread(running.ended, each["id"]) for each in (made, second)]

    assert order["placement"] == "dedicated"
    assert [each["state"] for each in ended] == ["completed"] * 2
    assert ended[1]["placement"] is None
    kept = await target.rows("select product, body from asset where account = 'large' order by product")
    assert [row["product"] for row in kept] == ["access", "access", "broadband", "broadband", "mailbox"]
    assert len(json.loads(kept[-1]["body"])["uses"]) == 2
    for each in (made, second):
        performed = [call["key"] for call in running.calls(each["id"]) if not call["repeat"]]
        assert len(performed) == len(set(performed))

    async def is_over() -> bool:
        held = await target.rows("select shard from shard where order_id is not null")
        return not held and not await asyncio.to_thread(own_hosts, running)

    await until(is_over, 60)
    owners = await target.rows("select count(distinct incarnation_id) as owners, count(*) as shards from shard")
    assert owners == [{"owners": 2, "shards": 68}]
    assert await replay_differences(running.dsn) == []
