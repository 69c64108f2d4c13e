"""A line at a system that is longer than its calls have time: who waits too long comes back unmade. In virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from actors.adapter import AdapterRuntime
from adapters.interface import Outcome, Task
from domain.turn import Call
from tests.simulation.loop import run

START = datetime(2030, 1, 1, tzinfo=UTC)


class Hosts:
    """Takes every result, and notes when."""

    def __init__(self) -> None:
        self.reports: list[tuple[float, str, str]] = []

    def post(self, lane: str, shard: int, envelope: Any, answered: Any) -> None:
        loop = asyncio.get_running_loop()
        self.reports.append((loop.time(), envelope.message.kind, envelope.message.error_code))
        loop.call_soon(answered, {})


class Slow:
    """Takes so long for every call."""

    def __init__(self, call_s: float) -> None:
        self._call_s = call_s

    async def perform(self, task: Task) -> Outcome:
        await asyncio.sleep(self._call_s)
        return Outcome.completed()

    async def close(self) -> None:
        return


class World:
    """One system that takes one call at a time."""

    def __init__(self, call_s: float) -> None:
        self.hosts = Hosts()
        self._now = asyncio.get_running_loop().time
        self._adapter = Slow(call_s)
        nothing_sealed: Any = None
        hosts: Any = self.hosts
        self.runtime = AdapterRuntime(
            self._systems,
            nothing_sealed,
            hosts,
            callback_base="",
            secret=b"secret",
            boot_id="life",
            build=lambda _kind, _config: self._adapter,
            clock=lambda: START + timedelta(seconds=self._now()),
        )

    async def _systems(self) -> list[dict[str, Any]]:
        system = {"tenant": "main", "code": "sys", "adapter": "it", "config": {}, "updatedAt": "1"}
        return [system | {"concurrency": 1, "breaker_failures": 20}]

    def perform(self, count: int, timeout_s: float) -> list[Call]:
        deadline_at = START + timedelta(seconds=self._now() + timeout_s)
        calls = [Call("main", f"o1-{n}", "p/i@1", 1, "sys", "", "i", deadline_at, {}) for n in range(count)]
        self.runtime.perform(calls)
        return calls

    def outcomes(self) -> Counter[tuple[str, str]]:
        return Counter((kind, code) for _, kind, code in self.hosts.reports)


def test_a_line_longer_than_its_calls_have_time_spends_no_attempt_and_opens_no_breaker() -> None:
    async def work() -> None:
        world = World(call_s=2.0)
        await world.runtime.refresh()
        world.perform(30, timeout_s=10.0)
        await asyncio.sleep(12.0)
        [system] = world.runtime.stats()["systems"]

        assert world.outcomes() == {("completed", ""): 3, ("held", "busy"): 27}
        assert max(at for at, kind, _ in world.hosts.reports if kind == "held") <= 6.0, "half of the time is the call's"
        assert system["breaker"] == "closed"

    run(work())


def test_overload_without_end_leaves_every_call_that_begins_the_time_that_it_needs() -> None:
    async def work() -> None:
        world = World(call_s=2.0)
        await world.runtime.refresh()
        for round_ in range(60):
            deadline_at = START + timedelta(seconds=asyncio.get_running_loop().time() + 10.0)
            world.runtime.perform(
                [Call("main", f"o1-{round_}-{n}", "p/i@1", 1, "sys", "", "i", deadline_at, {}) for n in range(3)]
            )
            await asyncio.sleep(1.0)
        await asyncio.sleep(12.0)

        assert set(world.outcomes()) == {("completed", ""), ("held", "busy")}
        assert world.outcomes()["completed", ""] >= 30, "no slot stands empty"

    run(work())


def test_a_copy_of_a_sending_does_not_wait_any_longer() -> None:
    async def work() -> None:
        world = World(call_s=100.0)
        await world.runtime.refresh()
        calls = world.perform(2, timeout_s=200.0)
        await asyncio.sleep(90.0)
        world.runtime.perform(calls)
        await asyncio.sleep(15.0)

        # The first ends at 100 s, in the moment in which half of the second's time is over.
        assert world.outcomes()["held", "busy"] == 1

    run(work())
