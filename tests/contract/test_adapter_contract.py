"""What every adapter promises, asked of the stock ones and of the fake that other tests use."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.http import HttpAdapter
from adapters.interface import Adapter, Outcome, Task
from adapters.simulated import SimulatedAdapter
from adapters.storable import storable
from tests.support.fake_adapter import LOST, FakeAdapter
from tests.support.tasks import NOW, task_of

ANSWER: Final[Mapping[str, Any]] = {"attributes": {"IMSI": "001010000000001"}, "reference": "inventory-1"}


class World(Protocol):
    """One adapter with the outside that it talks to."""

    effects_per_key: int
    """How many effects a completed key has outside: none where there is no outside."""

    def adapter(self, behaviour: str) -> Adapter:
        """An adapter whose system `completes`, `cannot now`, `refuses`, or is `too slow` for the task's deadline."""
        ...

    def task(self, key: str, behaviour: str = "completes") -> Task:
        """A task that can be done in time by a system that is not too slow."""
        ...

    def effects(self) -> Counter[str]:
        """What was done outside, by key."""
        ...

    async def stop(self) -> None:
        """End the outside."""
        ...


class HttpWorld:
    """A server that honours keys, on loopback."""

    effects_per_key = 1

    def __init__(self) -> None:
        self._behaviour = ""
        self._done: Counter[str] = Counter()
        self._answers: dict[str, str] = {}
        self._is_over = asyncio.Event()
        self._server: TestServer | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/{operation}", self._serve)
        self._server = TestServer(app)
        await self._server.start_server()

    def adapter(self, behaviour: str) -> Adapter:
        assert self._server is not None
        self._behaviour = behaviour
        return HttpAdapter({"url": str(self._server.make_url(""))})

    def task(self, key: str, behaviour: str = "completes") -> Task:
        # Too slow is a server that never answers, so the shortest wait will do.
        wait_s = 0.05 if behaviour == "too slow" else 60
        return task_of(key, deadline_at=datetime.now(UTC) + timedelta(seconds=wait_s))

    def effects(self) -> Counter[str]:
        return self._done

    async def stop(self) -> None:
        self._is_over.set()
        assert self._server is not None
        await self._server.close()

    async def _serve(self, request: web.Request) -> web.Response:
        key = request.headers["Idempotency-Key"]
        match self._behaviour:
            case "cannot now":
                return web.json_response({"reason": "no stock"}, status=503)
            case "refuses":
                return web.json_response({"reason": "no such card"}, status=422)
            case "too slow":
                await self._is_over.wait()
        if key not in self._answers:
            self._done[key] += 1
            self._answers[key] = json.dumps({**ANSWER, "key": key})
        return web.Response(text=self._answers[key])


class SimulatedWorld:
    """Nothing outside; waiting moves the clock."""

    effects_per_key = 0

    def __init__(self) -> None:
        self._now = NOW

    def adapter(self, behaviour: str) -> Adapter:
        config: dict[str, dict[str, Any]] = {
            "completes": {"answer": dict(ANSWER)},
            "cannot now": {"failureRate": 1},
            "refuses": {"permanentRate": 1},
            "too slow": {"delayS": 3600},
        }
        return SimulatedAdapter(config[behaviour], sleep=self._sleep, clock=lambda: self._now)

    def task(self, key: str, behaviour: str = "completes") -> Task:
        return task_of(key)

    def effects(self) -> Counter[str]:
        return Counter()

    async def stop(self) -> None:
        pass

    async def _sleep(self, delay_s: float) -> None:
        self._now += timedelta(seconds=delay_s)


class FakeWorld:
    """The fake, scripted."""

    effects_per_key = 1

    def __init__(self) -> None:
        self._fake = FakeAdapter()

    def adapter(self, behaviour: str) -> Adapter:
        outcomes = {
            "completes": Outcome.completed(ANSWER),
            "cannot now": Outcome.retryable("no stock", "503"),
            "refuses": Outcome.failed("no such card", "422"),
            "too slow": LOST,
        }
        self._fake = FakeAdapter(outcomes[behaviour])
        return self._fake

    def task(self, key: str, behaviour: str = "completes") -> Task:
        return task_of(key)

    def effects(self) -> Counter[str]:
        return Counter(self._fake.effects.keys())

    async def stop(self) -> None:
        pass


@pytest.fixture(params=["http", "simulated", "fake"])
async def world(request) -> AsyncIterator[World]:
    match request.param:
        case "http":
            http = HttpWorld()
            await http.start()
            made: World = http
        case "simulated":
            made = SimulatedWorld()
        case _:
            made = FakeWorld()
    yield made
    await made.stop()


class TestEveryAdapter:
    async def test_has_the_two_methods_of_the_interface(self, world):
        adapter = world.adapter("completes")

        assert isinstance(adapter, Adapter)
        await adapter.close()

    async def test_completes_a_task_with_what_the_system_answered(self, world):
        adapter = world.adapter("completes")
        outcome = await adapter.perform(world.task("k-1"))
        await adapter.close()

        assert outcome.kind == "completed"
        assert outcome.answer["attributes"] == ANSWER["attributes"]
        assert world.effects() == Counter({"k-1": 1} if world.effects_per_key else {})

    async def test_has_one_effect_outside_for_a_key_that_comes_twice(self, world):
        adapter = world.adapter("completes")
        first = await adapter.perform(world.task("k-1"))
        second = await adapter.perform(world.task("k-1"))
        await adapter.close()

        assert second == first
        assert world.effects()["k-1"] == world.effects_per_key

    async def test_has_one_effect_outside_for_a_key_that_comes_many_times_at_once(self, world):
        adapter = world.adapter("completes")
        outcomes = await asyncio.gather(*(adapter.perform(world.task("k-1")) for _ in range(20)))
        await adapter.close()

        assert {outcome.kind for outcome in outcomes} == {"completed"}
        assert world.effects()["k-1"] == world.effects_per_key

    async def test_has_an_effect_for_each_of_many_keys_at_once(self, world):
        adapter = world.adapter("completes")
        keys = [f"k-{number}" for number in range(50)]
        outcomes = await asyncio.gather(*(adapter.perform(world.task(key)) for key in keys))
        await adapter.close()

        assert [outcome.kind for outcome in outcomes] == ["completed"] * 50
        assert world.effects() == Counter(keys if world.effects_per_key else [])

    @pytest.mark.parametrize(("behaviour", "kind"), [("cannot now", "retryable"), ("refuses", "failed")])
    async def test_tells_a_failure_for_now_from_one_for_good_and_says_why(self, world, behaviour, kind):
        adapter = world.adapter(behaviour)
        outcome = await adapter.perform(world.task("k-1"))
        await adapter.close()

        assert outcome.kind == kind
        assert outcome.error
        assert outcome.error_code
        assert outcome.answer == {}
        assert world.effects() == Counter()

    async def test_comes_back_by_the_deadline_without_an_answer(self, world):
        adapter = world.adapter("too slow")
        outcome = await adapter.perform(world.task("k-1", "too slow"))
        await adapter.close()

        assert (outcome.kind, outcome.error_code) == ("retryable", "timeout")

    async def test_answers_with_an_object_that_can_be_stored_as_it_is(self, world):
        adapter = world.adapter("completes")
        answer = dict((await adapter.perform(world.task("k-1"))).answer)
        await adapter.close()

        assert storable(answer) is answer
        assert json.loads(json.dumps(answer)) == answer

    @pytest.mark.parametrize("behaviour", ["completes", "cannot now", "refuses"])
    async def test_says_of_every_outcome_whether_it_was_simulated(self, world, behaviour):
        adapter = world.adapter(behaviour)
        outcome = await adapter.perform(world.task("k-1"))
        await adapter.close()

        assert outcome.simulated is isinstance(world, SimulatedWorld)

    async def test_may_be_closed_without_having_worked_and_more_than_once(self, world):
        adapter = world.adapter("completes")
        await adapter.close()

        await adapter.close()
