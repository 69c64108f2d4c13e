"""The channel hears of every change, in order per order, whatever happens to the notifier and to the listener."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import threading
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.faults.harness import Range, add_orders, is_ours, publish_own_mobile
from tests.support.running import TMF622, Running
from tests.support.until import until

pytestmark = pytest.mark.faults

ORDERS = 200
AFTERWARDS = 20
HUB = "/tmf-api/productOrderingManagement/v4/hub"
STATE_CHANGED = "ProductOrderStateChangeEvent"


class Channel:
    """A listener that can be away; keeps what came, in order of its first coming."""

    def __init__(self) -> None:
        self.is_away = threading.Event()
        self.refused = 0
        self.seen: dict[str, dict[str, Any]] = {}
        self.repeats = 0
        self.arrivals: dict[str, datetime] = {}
        self._lock = threading.Lock()
        channel = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(channel.hear(body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def hear(self, event: dict[str, Any]) -> int:
        with self._lock:
            if self.is_away.is_set():
                self.refused += 1
                return 503
            if event["eventId"] in self.seen:
                assert self.seen[event["eventId"]] == event, "an event came again with another content"
                self.repeats += 1
            self.seen.setdefault(event["eventId"], event)
            self.arrivals.setdefault(event["eventId"], datetime.now(UTC))
            return 204

    def by_order(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        with self._lock:
            for event in self.seen.values():
                found[event["event"]["productOrder"]["id"]].append(event)
        return found

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def running(shared: Running) -> Running:
    shared.behave(system="*", delayMs=100)
    publish_own_mobile(shared, version="events")
    return shared


@pytest.fixture
def channel(running: Running) -> Iterator[Channel]:
    made = Channel()
    callback = f"http://127.0.0.1:{made.server.server_port}/events"
    listener = running.ok("POST", HUB, {"callback": callback})
    yield made
    running.ok("DELETE", f"{HUB}/{listener['id']}")
    made.close()


async def shoot_notifier(target: Range) -> None:
    pid = await target.find("notifier")
    assert is_ours(pid, "notifier")
    os.kill(pid, signal.SIGKILL)


async def states_of(target: Range) -> dict[str, list[str]]:
    """What each order went through after its acceptance, by its facts alone."""
    found: dict[str, list[str]] = defaultdict(list)
    rows = await target.rows(
        "select order_id, kind, payload ->> 'state' as state from fact join product_order using (order_id) "
        "where kind in ('plan.composed', 'order.moved', 'order.ended', 'order.waiting') and external_id like $1 "
        'order by fact.shard, "offset"',
        target.orders,
    )
    names = {"plan.composed": "inProgress", "order.waiting": "pending"}
    for row in rows:
        found[row["order_id"]].append(row["state"] or names[row["kind"]])
    return found


async def test_no_change_is_lost_or_out_of_order_whoever_dies_or_is_away(running: Running, channel: Channel) -> None:
    target = Range(running, seed=1, orders="events-%")
    sending = asyncio.create_task(target.client.send_all(add_orders(ORDERS, "events")))
    await until(lambda: len(target.client.acknowledged) >= ORDERS // 4, 60)
    await shoot_notifier(target)
    await until(lambda: len(channel.seen) >= ORDERS // 2, 60)
    channel.is_away.set()
    await until(lambda: channel.refused >= 5, 60)
    await shoot_notifier(target)
    await sending
    await until(lambda: _all_ended(target, ORDERS), 120)
    heard_before = len(channel.seen)
    channel.is_away.clear()
    expected = await states_of(target)
    assert len(expected) == ORDERS

    await until(lambda: _is_heard(running, channel, ORDERS), 120)
    for order_id, events in channel.by_order().items():
        heard = [each["event"]["productOrder"]["state"] for each in events if each["eventType"] == STATE_CHANGED]
        assert heard == expected[order_id], order_id
        assert events[0]["eventType"] == "ProductOrderCreateEvent"
        places = [tuple(int(part) for part in each["eventId"].split("-")) for each in events]
        assert places == sorted(places), "out of order"
        moved = [each for each in events if each["eventType"] == "ProductOrderAttributeValueChangeEvent"]
        assert moved, "no line was told"
        states = {item["state"] for item in moved[-1]["event"]["productOrder"]["productOrderItem"]}
        assert states == {"completed"}
    assert len(channel.seen) > heard_before
    await _hears_at_once(running, target, channel)


async def _hears_at_once(running: Running, target: Range, channel: Channel) -> None:
    """With everybody there, a change arrives within a second of its commit."""
    known = set(channel.seen)
    for document in add_orders(ORDERS + AFTERWARDS, "events")[ORDERS:]:
        running.ok("POST", TMF622, document)
    await until(lambda: _all_ended(target, ORDERS + AFTERWARDS), 60)
    await until(lambda: _is_heard(running, channel, ORDERS + AFTERWARDS), 60)
    delays = [
        (channel.arrivals[name] - datetime.fromisoformat(event["eventTime"])).total_seconds()
        for name, event in channel.seen.items()
        if name not in known
    ]
    assert statistics.median(delays) < 1.0, sorted(delays)[-10:]


async def _is_heard(running: Running, channel: Channel, orders: int) -> bool:
    """Whether the channel has heard of the end of so many orders, and nothing waits for it."""
    last = [str(events[-1]["event"]["productOrder"]["state"]) for events in channel.by_order().values()]
    if last.count("completed") != orders:
        return False
    listeners = await asyncio.to_thread(running.ok, "GET", "/v1/hub-listeners")
    return bool(all(each["backlog"] == 0 for each in listeners))


async def _all_ended(target: Range, count: int) -> bool:
    return await target.ended() == count
