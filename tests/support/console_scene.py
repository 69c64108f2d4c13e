"""Large plans for the console: composed and driven by the domain, shown by the gateway's own views, without a cluster.

What is measured or counted in a browser then depends on the browser's part alone, and on answers as they really are.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import orjson
from aiohttp import web

from actors.schedule_desk import schedule_view
from delay.critical_path import CriticalPath
from delay.snapshot import snapshot_of
from domain.explanation import World
from domain.plan import Plan
from gateway.console_pages import get_console_file, get_console_page
from gateway.explain import explained_view
from gateway.orders import native_json
from gateway.status_page import get_status_page_file
from gateway.views import order_summary, plan_view
from tests.support.build import callout, depends, line, manual, order_of, plan_of, release_of, scenario
from tests.support.engine import Engine

SIDE_BY_SIDE = 40
"""Items of the wide plan that are under way at once."""


def wide(items: int, seed: int = 1, ids_from: int = 2) -> tuple[Engine, Plan]:
    """An order with one plan of so many items, no two of one definition: layers of `SIDE_BY_SIDE`, each item waiting
    for one to three of the layer before. The first layer is under way.
    """
    rng = random.Random(seed)
    codes = [f"step-{at}" for at in range(items)]
    dependencies = [
        depends(f"p/{code}", f"p/{codes[(at // SIDE_BY_SIDE - 1) * SIDE_BY_SIDE + other]}")
        for at, code in enumerate(codes)
        if at >= SIDE_BY_SIDE
        for other in rng.sample(range(SIDE_BY_SIDE), rng.randint(1, 3))
    ]
    steps = [callout(code, system=f"sys-{at % 5}", durationS=60 + at % 7 * 30) for at, code in enumerate(codes)]
    release = release_of(
        products=["offer"],
        plans=[plan_of("p", *steps)],
        dependencies=dependencies,
        scenarios=[scenario("offer", "p")],
    )
    engine = Engine(release, ids_from=ids_from)
    return engine, engine.accept(order_of(line("1", "offer")))


def fleet(lines: int) -> tuple[Engine, Plan]:
    """An order with a plan of eight items for each of so many lines; one of them has failed, most are under way."""
    codes = ("check", "reserve", "visit", "load", "activate", "test", "report", "bill")
    steps = [
        callout(code, system=f"sys-{code}", durationS=60) if code != "visit" else manual(code, queue="visits")
        for code in codes
    ]
    release = release_of(
        products=["sim"],
        plans=[plan_of("sim", *steps)],
        dependencies=[depends(f"sim/{code}", f"sim/{before}") for before, code in pairwise(codes)],
        scenarios=[scenario("sim", "sim")],
    )
    engine = Engine(release, ids_from=3)
    plan = engine.accept(order_of(*(line(str(at), "sim") for at in range(lines))))
    calls = list(engine.calls[plan.order_id])
    engine.fail(plan, calls[0], fatal=True)
    for call in calls[1 : lines // 2]:
        engine.answer(plan, call)
    return engine, plan


@dataclass
class Scene:
    """Serves the console and the orders of engines, and lets them change."""

    orders: dict[str, tuple[Engine, Plan]]
    url: str = ""
    _streams: set[asyncio.Queue[str]] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop | None = None
    _facts: int = 0

    def change(self, order_id: str, moves: int) -> list[str]:
        """Complete so many calls of the order; returns the keys of all items whose state is another one then. The
        stream tells of it.
        """

        async def changed() -> list[str]:
            return self._change(order_id, moves)

        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(changed(), self._loop).result(60)

    def _change(self, order_id: str, moves: int) -> list[str]:
        engine, plan = self.orders[order_id]
        before = {item.key: item.state for item in plan.items}
        for call in engine.calls[order_id][:moves]:
            engine.answer(plan, call)
        self._tell(plan)
        return [item.key for item in plan.items if item.state is not before[item.key]]

    def _tell(self, plan: Plan) -> None:
        self._facts += 1
        kind = "item.completed"
        fact = {"id": f"1-{self._facts}", "kind": kind, "orderId": plan.order_id, "account": None, "item": None}
        frame = {"counts": {kind: 1}, "facts": [fact | {"actor": "system:x"}], "more": 0}
        for stream in self._streams:
            stream.put_nowait(f"event: frame\ndata: {orjson.dumps(frame).decode()}\n\n")

    def app(self) -> web.Application:
        """The routes of the console that these orders need."""

        def answers(view: Callable[[Engine, Plan], dict[str, Any]]) -> Callable[[web.Request], Any]:
            async def handler(request: web.Request) -> web.Response:
                return native_json(view(*self.orders[request.match_info["order_id"]]))

            return handler

        app = web.Application()
        app.add_routes(
            [
                web.get("/console/assets/{name}", get_console_file),
                web.get("/console/{tail:.*}", get_console_page),
                web.get("/page/{name}", get_status_page_file),
                web.get("/v1/orders/{order_id}", answers(lambda _, plan: order_summary(plan) | {"risk": None})),
                web.get("/v1/orders/{order_id}/plan", answers(lambda _, plan: plan_view(plan))),
                web.get(
                    "/v1/orders/{order_id}/explain",
                    answers(lambda engine, plan: explained_view(plan, World(), engine.now)),
                ),
                web.get("/v1/orders/{order_id}/schedule", answers(_schedule)),
                web.get("/v1/stream", self._stream),
            ]
        )
        return app

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        await response.write(b": scene\n\n")
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._streams.add(queue)
        try:
            while True:
                await response.write((await queue.get()).encode())
        finally:
            self._streams.discard(queue)


def _schedule(engine: Engine, plan: Plan) -> dict[str, Any]:
    snapshot = snapshot_of(plan, engine.now)
    assert snapshot is not None
    return schedule_view(snapshot, CriticalPath())


@contextmanager
def served(*orders: tuple[Engine, Plan]) -> Iterator[Scene]:
    """Serve the orders in a thread, on a free port."""
    scene = Scene({plan.order_id: (engine, plan) for engine, plan in orders})
    assert len(scene.orders) == len(orders)
    is_ready, is_over = threading.Event(), asyncio.Event()

    async def serve() -> None:
        scene._loop = asyncio.get_running_loop()
        runner = web.AppRunner(scene.app(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        scene.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        is_ready.set()
        await is_over.wait()
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert is_ready.wait(30)
    try:
        yield scene
    finally:
        assert scene._loop is not None
        scene._loop.call_soon_threadsafe(is_over.set)
        thread.join(30)

