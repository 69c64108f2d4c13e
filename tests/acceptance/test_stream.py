"""The stream of a running cluster: a client that is cut off again and again misses nothing, and hears at once."""

from __future__ import annotations

import statistics
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.request import urlopen

from orderplan.stream import StreamEvent, follow
from tests.acceptance.test_releases import order, release
from tests.support.running import Running, until

ORDERS = 100
BEFORE_HANGING_UP = 60


def test_a_client_that_reconnects_misses_none_and_hears_within_a_second(running: Running) -> None:
    running.ok("PUT", "/v1/systems/activation", {"adapter": "simulated", "config": {"delayS": 0.05}})
    running.ok("POST", "/v1/releases:publish", release("stream"))
    heard: dict[str, dict[str, Any]] = {}
    delays: list[float] = []
    listening, over = threading.Event(), threading.Event()
    begins_at = place_now(running)

    def listen() -> None:
        place: str | None = begins_at
        while not over.is_set():
            stream = follow(running.url, last_event_id=place, attempts_max=5)
            for count, event in enumerate(stream):
                place = _take(event, heard, delays, is_live=listening.is_set()) or place
                listening.set()
                if over.is_set() or count >= BEFORE_HANGING_UP:
                    stream.close()
                    break

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    first = running.submit(order(20_999))
    assert listening.wait(30)
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda number: running.submit(order(20_000 + number)), range(ORDERS)))
    ids.append(first)
    for each in ids:
        running.ended(each)
    wanted = {fact["id"]: (each, fact) for each in ids for fact in running.ok("GET", f"/v1/orders/{each}/facts")}
    until(lambda: wanted.keys() - heard.keys(), lambda missing: not missing)
    over.set()
    # One more event ends it: a listener that outlives the server would fail where nobody sees it.
    running.submit(order(29_999))
    thread.join(30)
    assert not thread.is_alive()

    for name, (order_id, fact) in wanted.items():
        assert heard[name]["orderId"] == order_id
        assert {key: heard[name][key] for key in fact} == fact
    assert statistics.median(delays) < 1.0, sorted(delays)[-10:]


def place_now(running: Running) -> str:
    """Where the stream is: what other tests have left in it is not read again at every break."""
    with urlopen(running.url + "/v1/stream", timeout=20) as answer:
        for raw in answer:
            name, _, value = raw.decode().rstrip("\n").partition(": ")
            if name == "id":
                return str(value)
    raise AssertionError("the stream says not where it is")


def _take(event: StreamEvent, heard: dict[str, dict[str, Any]], delays: list[float], *, is_live: bool) -> str | None:
    name = event.data["id"]
    if name not in heard:
        heard[name] = dict(event.data)
        is_mine = str(event.data["account"]).startswith("two-releases-2")
        if is_live and is_mine and event.data["kind"] == "order.accepted":
            delays.append((datetime.now(UTC) - datetime.fromisoformat(event.data["at"])).total_seconds())
    return event.place
