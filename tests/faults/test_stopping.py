"""Stopping and restarting under load: clients hear nothing worse than when to come again, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from orderplan.client import Client
from tests.faults.harness import Range, add_orders, expected_edges, publish_own_mobile
from tests.support.build import depends, plan_of, release_document, scenario
from tests.support.folders import IN_MEMORY
from tests.support.replay_check import replay_differences
from tests.support.running import TMF622, Running, request
from tests.support.running import until as until_sync
from tests.support.until import until

pytestmark = pytest.mark.faults

STOP_S = 60
ORDERS = 100
"""In one batch; one follows the other until the restart is over."""
ORDERS_MAX = 4_000
ORDERS_S = 30
SENDERS = 10
RELEASE: dict[str, Any] = release_document(
    code="stopping",
    products=["plain"],
    plans=[plan_of("p", "one", "two")],
    dependencies=[depends("p/two", "p/one")],
    scenarios=[scenario("plain", "p")],
)


async def test_hosts_are_replaced_one_after_another_and_nobody_notices(
    shared: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    shared.behave(system="*", delayMs=300)
    publish_own_mobile(shared, version="stopping")
    with capsys.disabled():
        target = Range(shared, seed=1, orders="restart-%")
        before = {name: pid for name, pid in (await target.pids()).items() if name.startswith("host-")}
        is_over = asyncio.Event()
        sending = asyncio.create_task(_send_until(is_over, target))
        with Client(shared.url) as client:
            replaced = await asyncio.to_thread(client.restart_hosts)
            await asyncio.to_thread(client.wait_for_restart, replaced, timeout_s=120)
        is_over.set()
        sent = await sending
        await until(_all_ended(target, sent), 60, 0.2)
        found = await target.findings(expected_edges())
        after = {name: pid for name, pid in (await target.pids()).items() if name.startswith("host-")}
        differences = await replay_differences(shared.dsn)

    assert {f"host-{each}" for each in replaced} == set(before)
    assert len(after) == len(before)
    assert not set(before.values()) & set(after.values())
    assert set(target.client.retries) <= {"503"}
    assert target.client.refused == []
    assert found.wrong == []
    assert differences == []
    assert found.counts["orders completed"] == sent


async def _send_until(is_over: asyncio.Event, target: Range) -> int:
    """Send batch after batch, however long it takes; how many orders that made."""
    orders = add_orders(ORDERS_MAX, "restart")
    sent = 0
    while not is_over.is_set():
        assert sent < ORDERS_MAX, "the restart does not end"
        await target.client.send_all(orders[sent : sent + ORDERS], ORDERS_S)
        sent += ORDERS
    return sent


def _all_ended(target: Range, orders: int) -> Callable[[], Awaitable[bool]]:
    async def all_ended() -> bool:
        return await target.ended() >= orders

    return all_ended


class Server:
    """`orderplan up` on a folder, as a user starts it."""

    def __init__(self, folder: Path) -> None:
        self.errors = folder / "up.err"
        command = [str(Path(sys.executable).parent / "orderplan"), "up", "--port", "0", "--json"]
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [*command, "--data", str(folder / "data")], stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        assert ready, self.errors.read_text()
        self.url: str = json.loads(ready)["url"]

    def end(self) -> int:
        """Send SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)

    def close(self) -> None:
        """Whatever state it is in: gone afterwards."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def folder() -> Any:
    made = Path(tempfile.mkdtemp(prefix="op-", dir=IN_MEMORY))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def order(key: str) -> dict[str, Any]:
    item = {"id": "1", "action": "add", "product": {"productSpecification": {"id": "plain"}}}
    return {"externalId": key, "billingAccount": {"id": key}, "productOrderItem": [item]}


async def _send(url: str, told: Counter[str], acknowledged: dict[str, str], has_ended: threading.Event) -> None:
    """Orders, one after another on ten connections, until the server has ended.

    Whoever has lost the server is at the very end, when nobody listens any more: it tries again all the same, and
    notes whatever answers.
    """

    async def one(session: aiohttp.ClientSession, sender: int) -> None:
        number = 0
        is_gone = False
        while not has_ended.is_set():
            key = f"stop-{sender}-{number}"
            try:
                async with session.post(url + TMF622, json=order(key), headers={"Idempotency-Key": key}) as answer:
                    document = await answer.json(content_type=None)
            except (aiohttp.ClientError, OSError):
                told["gone"] += not is_gone
                is_gone = True
                await asyncio.sleep(0.01)
                continue
            if is_gone:
                told[f"{answer.status} after it was gone"] += 1
            if answer.status == 201:
                acknowledged[key] = document["id"]
                told["201"] += 1
                number += 1
            elif answer.status == 503 and "Retry-After" in answer.headers:
                told["503"] += 1
                await asyncio.sleep(0.05)
            else:
                told[f"{answer.status}: {document}"] += 1

    async def alone(sender: int) -> None:
        # A session each: who has lost its connection must not come by that of another one.
        async with aiohttp.ClientSession() as session:
            await one(session, sender)

    async with asyncio.TaskGroup() as group:
        for sender in range(SENDERS):
            group.create_task(alone(sender))


def test_a_server_that_is_told_to_stop_finishes_and_loses_nothing(folder: Path) -> None:
    told: Counter[str] = Counter()
    acknowledged: dict[str, str] = {}
    has_ended = threading.Event()
    sending: threading.Thread | None = None
    server = Server(folder)
    try:
        with Client(server.url) as client:
            client.publish_release(RELEASE)
            client.put_system("sys", "simulated", {"delayS": 0.2})
        sending = threading.Thread(target=lambda: asyncio.run(_send(server.url, told, acknowledged, has_ended)))
        sending.start()
        until_sync(lambda: len(acknowledged), lambda count: count >= 100)
        assert server.end() == 0, server.errors.read_text()
    finally:
        server.close()
        has_ended.set()
        if sending is not None:
            sending.join(STOP_S)
    assert set(told) <= {"201", "503", "gone"}, f"nobody who has lost the server is answered again: {told}"
    assert told["503"] > 0

    stopped: list[int] = []
    successor = Server(folder)
    try:
        with Client(successor.url) as client:
            counts = until_sync(
                lambda: client.cluster()["orders"], lambda orders: orders.get("completed", 0) >= len(acknowledged)
            )
            assert sum(counts.values()) == len(acknowledged)
            # A host that hangs keeps the server from finishing: a second signal is needed, or half a minute.
            actors = client.cluster()["actors"]
            stopped.extend(each["pid"] for name, each in actors.items() if name.startswith("host-"))
            for each in stopped:
                os.kill(each, signal.SIGSTOP)
            successor.process.send_signal(signal.SIGTERM)
            until_sync(lambda: request("POST", successor.url + "/v1/callbacks/none", {})[0], lambda code: code == 503)
        assert successor.end() == 1
        assert "ending at once" in successor.errors.read_text()
        assert "Traceback" not in successor.errors.read_text()
    finally:
        successor.close()
    until_sync(lambda: any(_lives(each) for each in stopped), lambda is_left: not is_left)


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
