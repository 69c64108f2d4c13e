"""`python -m tests.console_load`: the console's overview while a cluster does a thousand orders a second.

The bundle as it ships, in chromium. The stream is the gateway's own code over a feed that is made up as fast as it is
read: the facts are those that a real order of ten items leaves. The other answers are as long as those of a busy
cluster, and others each time. Every half minute the page's memory is measured after a collection of garbage, and held
against what the server has sent. Fails when memory grows or the page falls behind.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
from aiohttp import web

from bench.scenarios import bench_release, scenarios
from domain.facts import Fact
from domain.ids import order_id_of
from gateway import console_pages, status_page
from gateway.app import errors
from gateway.context import CONTEXT
from gateway.metrics import Metrics
from gateway.orders import order_of
from gateway.stream import FANOUT, Fanout, get_stream
from persistence.readstore import StoredFact
from tests.support.browser import ARGUMENTS
from tests.support.build import release_of
from tests.support.engine import Engine

SHARDS: Final = 64
WARM_S: Final = 60.0
"""Code that is used for the first time is compiled, caches are filled."""
HEAP_GROWTH_MAX: Final = 1_000_000
"""Bytes that the heap may grow by in ten minutes, by the line through the samples: what one and the same page differs
by from one collection to the next is half of that.
"""
NODES_GROWTH_MAX: Final = 50
LAG_S_MAX: Final = 2.5
"""What nine of ten samples stay within: the screen is drawn every second and told four times a second. One in ten may
be that of a machine that had something else to do.
"""
STALL_S: Final = 1.0
ACCEPTED: Final = "order.accepted"


def facts_of_an_order() -> list[Fact]:
    """What one order of ten items leaves in the journal when all goes well."""
    engine = Engine(release_of(**bench_release()))
    order, _ = order_of(scenarios()["ten"].order(1, "load"), "main")
    plan = engine.accept(order)
    engine.finish(plan)
    assert plan.ended_at is not None
    return engine.facts[plan.order_id]


class MadeFeed:
    """Facts of orders that come at a steady rate, spread over the shards; nothing is kept of them."""

    def __init__(
        self, pattern: Sequence[Fact], orders_per_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pattern = pattern
        self._per_shard_per_s = orders_per_s * len(pattern) / SHARDS
        self._clock = clock
        self._looked_at = clock()
        self._passed_s = 0.0

    def _head(self) -> int:
        # A machine that stood still for a while has made no orders meanwhile.
        now = self._clock()
        self._passed_s += min(now - self._looked_at, STALL_S)
        self._looked_at = now
        return int(self._passed_s * self._per_shard_per_s)

    async def heads(self) -> dict[int, int]:
        return dict.fromkeys(range(SHARDS), self._head())

    async def facts_after(self, offsets: Mapping[int, int], per_shard: int) -> list[StoredFact]:
        head, now = self._head(), datetime.now(UTC)
        return [
            self._fact(shard, offset, now)
            for shard, after in offsets.items()
            for offset in range(after + 1, min(head, after + per_shard) + 1)
        ]

    def _fact(self, shard: int, offset: int, now: datetime) -> StoredFact:
        order, place = divmod(offset - 1, len(self._pattern))
        fact = self._pattern[place]
        return StoredFact(
            shard, offset, order_id_of(shard, order, 0), fact.item, fact.kind, 1, now, "bench@1", fact.actor,
            fact.cause, fact.payload or {},
        )  # fmt: skip

    async def archived_to(self) -> dict[int, int]:
        return {}

    def accepted(self, offsets: Mapping[int, int]) -> int:
        """Orders that were accepted up to these offsets."""
        first = next(at for at, fact in enumerate(self._pattern) if fact.kind == ACCEPTED)
        return sum((offset + len(self._pattern) - 1 - first) // len(self._pattern) for offset in offsets.values())


class Accounts:
    """The pool that the stream asks for the accounts of orders."""

    async def fetch(self, _statement: str, order_ids: Sequence[str]) -> list[dict[str, str]]:
        return [{"order_id": each, "account": f"acc-{each[-4:]}"} for each in order_ids]


class WatchedFanout(Fanout):
    """Remembers how many orders had been accepted when the page began to listen, and how many it was sent since."""

    def __init__(self, context: Any, feed: MadeFeed) -> None:
        super().__init__(context)
        self._feed: Any = feed
        self._made = feed
        self._accepted_before = 0
        self._listener: Any = None

    async def join_frames(self) -> Any:
        self._listener = await super().join_frames()
        self._accepted_before = self._made.accepted(self._at)
        return self._listener

    def accepted_sent(self) -> int:
        """Orders accepted of which the page was told."""
        waiting = self._listener.counts[ACCEPTED] if self._listener is not None else 0
        return self._made.accepted(self._at) - self._accepted_before - waiting


def answers(draw: random.Random, rate: float) -> dict[str, Any]:
    """What the other requests of the screen are answered, as of a busy cluster; other numbers each time."""
    now = datetime.now(UTC)

    def ago(hours_max: float) -> str:
        return (now - timedelta(hours=draw.uniform(0, hours_max))).isoformat()

    def failing(**named: Any) -> dict[str, Any]:
        failed = draw.randrange(400)
        return named | {
            "completed": draw.randrange(90_000), "failedForGood": failed, "failedAttempts": draw.randrange(900),
            "falloutRate": failed / 90_000, "failedNow": draw.randrange(50),
        }  # fmt: skip

    times = {
        "completed": draw.randrange(1_000, 90_000), "firstTimeRight": 900, "firstTimeRightShare": draw.random(),
        "cycleP50S": draw.uniform(1, 900), "cycleP90S": draw.uniform(900, 90_000),
    }  # fmt: skip
    since = (now - timedelta(hours=24)).replace(minute=0, second=0, microsecond=0)
    numbers = {
        "at": now.isoformat(), "since": since.isoformat(), "zone": "UTC", "dayStartsAt": since.isoformat(),
        "dayEndsAt": now.isoformat(), "countedTo": now.isoformat(),
        "orders": [times | {name: draw.randrange(90_000) for name in (
            "open", "dueToday", "overdue", "accepted", "ended", "failedForGood", "lookedAt")}],
        "offers": [times | {"offer": f"offer-{at}", "ended": 1} for at in range(20)],
        "items": [failing(item=f"plan/item-{at}", name=f"Item {at}", system=f"system-{at % 12}") for at in range(40)],
        "systems": [failing(system=f"system-{at}") for at in range(12)],
        "queues": [
            {"queue": f"queue-{at}", "oldestAt": ago(50), "waitP50S": 60.0, "waitP90S": 600.0, "closedPerHour": 12.5,
             "hoursToClear": draw.uniform(0, 50), "isGrowing": draw.random() < 0.5}
            | {name: draw.randrange(900) for name in (
                "open", "held", "overdue", "upTo1H", "upTo4H", "upTo1D", "upTo3D", "older", "opened", "closed",
                "members")}
            for at in range(15)
        ],
        "hours": [
            {"hour": (since + timedelta(hours=at)).isoformat(), "accepted": draw.randrange(round(rate * 3_600)),
             "ended": draw.randrange(round(rate * 3_600)), "failedForGood": draw.randrange(90)}
            for at in range(25)
        ],
    }  # fmt: skip
    return {
        "/v1/numbers": numbers,
        "/v1/fallout/groups": [
            {"system": f"system-{at}", "errorCode": "503", "count": draw.randrange(900), "retrying": 3,
             "oldest": ago(9), "newest": ago(1), "sample": "unavailable"} for at in range(20)
        ],
        "/v1/queues": [
            {"code": f"queue-{at}", "name": f"Queue {at}", "open": draw.randrange(900), "held": 3, "free": 5,
             "oldestAt": ago(50), "dueNextAt": ago(1), "members": 4, "isOpenToAll": False} for at in range(15)
        ],
        "/v1/systems": [
            {"code": f"system-{at}", "state": "online", "holds": [], "heldItems": draw.randrange(99),
             "heldItemsAreMore": False} for at in range(12)
        ],
        "/v1/systems:calls": [
            {"code": f"system-{at}", "running": draw.randrange(99), "waiting": draw.randrange(999),
             "breaker": draw.choice(["closed", "closed", "open"]), "held": False} for at in range(12)
        ],
        "/v1/risk": {
            "orders": [
                {"orderId": order_id_of(at, draw.randrange(10**9), at), "externalId": None, "account": f"acc-{at}",
                 "risk": draw.uniform(0.5, 1), "dueAt": ago(1),
                 "reasons": [{"reason": f"waits {draw.randrange(90)} h in queue-{at % 15}"}]} for at in range(100)
            ],
            "next": "more",
        },
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """The page at one moment; `lag_s` is how long ago the server had sent what the screen says."""

    at_s: float
    heap: int
    nodes: int
    listeners: int
    lag_s: float
    paint_ms: float
    busy: float
    """Share of the time since the sample before in which the page's main thread was at work."""
    orders: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the samples say; growths in ten minutes."""

    heap_growth: float
    nodes_growth: float
    lag_s_p90: float
    complaints: list[str]


def verdict(samples: Sequence[Sample]) -> Verdict:
    """Whether memory grows and the page keeps up; needs three samples at least after the first minute."""
    counted = [each for each in samples if each.at_s >= WARM_S]
    assert len(counted) >= 3, "measure for longer"
    at_s = np.array([each.at_s for each in counted])
    heap, nodes = (
        float(np.polyfit(at_s, np.array(values, dtype=float), 1)[0]) * 600
        for values in ([each.heap for each in counted], [each.nodes for each in counted])
    )
    lag_s = float(np.percentile([each.lag_s for each in counted], 90))
    complaints = []
    if heap > HEAP_GROWTH_MAX:
        complaints.append(f"the heap grows by {heap / 1e6:.2f} MB in ten minutes")
    if nodes > NODES_GROWTH_MAX:
        complaints.append(f"the document grows by {nodes:.0f} nodes in ten minutes")
    if lag_s > LAG_S_MAX:
        complaints.append(f"the screen is {lag_s:.1f} s behind")
    return Verdict(heap, nodes, lag_s, complaints)


async def _serve(rate: float) -> tuple[web.AppRunner, WatchedFanout, str]:
    pattern = facts_of_an_order()
    context: Any = SimpleNamespace(
        pool=Accounts(), config=SimpleNamespace(tenant="main"), metrics=Metrics(), is_draining=False
    )
    app = web.Application(middlewares=[errors])
    app[CONTEXT] = context
    fanout = app[FANOUT] = WatchedFanout(context, MadeFeed(pattern, rate))
    draw = random.Random(1)

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(answers(draw, rate)[request.path])

    for path in answers(draw, rate):
        app.router.add_get(path, answer)
    app.router.add_get("/v1/stream", get_stream)
    app.router.add_get("/page/{name}", status_page.get_status_page_file)
    app.router.add_get("/console/assets/{name}", console_pages.get_console_file)
    app.router.add_get("/console/{tail:.*}", console_pages.get_console_page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    _say(f"{len(pattern)} facts an order of ten items: {', '.join(_counted(pattern))}")
    return runner, fanout, f"http://127.0.0.1:{port}"


def _counted(pattern: Sequence[Fact]) -> list[str]:
    kinds = [fact.kind for fact in pattern]
    return [f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)]


async def measure(rate: float, minutes: float, every_s: float) -> list[Sample]:
    """The samples of one run."""
    from playwright.async_api import async_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is missing (apt-get install chromium)")
    runner, fanout, url = await _serve(rate)
    try:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=chromium, chromium_sandbox=os.geteuid() != 0, args=[*ARGUMENTS]
            )
            page = await browser.new_page(viewport={"width": 1440, "height": 860})
            told: list[str] = []
            page.on("pageerror", lambda error: told.append(str(error)))
            page.on("response", lambda answer: told.append(answer.url) if answer.status >= 400 else None)
            devtools = await page.context.new_cdp_session(page)
            await devtools.send("Performance.enable")
            await page.goto(f"{url}/console/overview")
            await page.get_by_role("region", name="Queues").wait_for()
            samples = await _sample(page, devtools, fanout, rate, minutes, every_s)
            await browser.close()
            if told:
                raise SystemExit(f"the page complains: {told[:3]}")
    finally:
        await runner.cleanup()
    return samples


async def _sample(
    page: Any, devtools: Any, fanout: WatchedFanout, rate: float, minutes: float, every_s: float
) -> list[Sample]:
    samples: list[Sample] = []
    began, busy_before, at_before = time.monotonic(), 0.0, 0.0
    _say("  at s  heap MB   nodes listeners  lag s paint ms  busy   orders")
    while (now := time.monotonic() - began) < minutes * 60:
        await asyncio.sleep(min(every_s, minutes * 60 - now))
        # What is on the screen first: collecting garbage stops the page.
        sent = fanout.accepted_sent()
        shown = int(re.sub(r"\D", "", (await page.locator("p.flowing").inner_text()).split(" order")[0]))
        asked = time.monotonic()
        await page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        paint_ms = (time.monotonic() - asked) * 1_000
        at_s = time.monotonic() - began
        metrics = {each["name"]: each["value"] for each in (await devtools.send("Performance.getMetrics"))["metrics"]}
        busy = (metrics["TaskDuration"] - busy_before) / (at_s - at_before)
        busy_before, at_before = metrics["TaskDuration"], at_s
        for _ in range(2):
            await devtools.send("HeapProfiler.collectGarbage")
        counters = await devtools.send("Memory.getDOMCounters")
        heap = (await devtools.send("Runtime.getHeapUsage"))["usedSize"]
        sample = Sample(
            round(at_s, 1), int(heap), counters["nodes"], counters["jsEventListeners"],
            round(max(0.0, (sent - shown) / rate), 2), round(paint_ms, 1), round(busy, 3), shown,
        )  # fmt: skip
        samples.append(sample)
        _say(
            f"{sample.at_s:6.0f} {sample.heap / 1e6:8.2f} {sample.nodes:7d} {sample.listeners:9d} {sample.lag_s:6.2f} "
            f"{sample.paint_ms:8.0f} {sample.busy:5.2f} {sample.orders:8d}"
        )
    return samples


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure, print, and fail above the bars."""
    parser = argparse.ArgumentParser(prog="python -m tests.console_load", description=__doc__)
    parser.add_argument("--rate", type=float, default=1_000.0, help="orders a second (1,000)")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (10)")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two samples (30)")
    args = parser.parse_args()
    samples = asyncio.run(measure(args.rate, args.minutes, args.every))
    found = verdict(samples)
    _say(
        f"in ten minutes the heap grows by {found.heap_growth / 1e6:+.2f} MB (bar {HEAP_GROWTH_MAX / 1e6:.0f}), the "
        f"document by {found.nodes_growth:+.0f} nodes (bar {NODES_GROWTH_MAX}); nine of ten samples are at most "
        f"{found.lag_s_p90:.1f} s behind (bar {LAG_S_MAX})"
    )
    sys.stderr.write(json.dumps({"samples": [asdict(each) for each in samples], "verdict": asdict(found)}) + "\n")
    if found.complaints:
        raise SystemExit("; ".join(found.complaints))


if __name__ == "__main__":
    main()
