"""A call may be sent again, but not done again: what the simulator's seeds 410 and 1348 taught, on a virtual clock."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from actors.adapter import AdapterRuntime
from actors.dispatcher import CHECK_S, GRACE_S, Dispatcher
from adapters.interface import Outcome, Task
from domain.turn import Call
from tests.simulation.loop import run

START = datetime(2030, 1, 1, tzinfo=UTC)
CALL = Call("main", "o1-1", "p/i@1", 1, "sys", "", "i", START + timedelta(seconds=10), {})
SEALED: dict[str, Any] = {"pin": {"$sealed": "1/pin"}}


class Lives:
    """An adapter actor that dies and comes back."""

    def __init__(self) -> None:
        self.name = "life 1"
        self.taken: list[tuple[str, str]] = []
        self.perform = SimpleNamespace(remote=self._perform)
        self.boot = SimpleNamespace(remote=self._boot)

    async def _perform(self, calls: list[Call]) -> str:
        self.taken += [(self.name, call.item) for call in calls]
        return self.name

    async def _boot(self) -> str:
        return self.name


def test_what_a_dead_life_had_taken_is_sent_again_unless_its_answer_arrives() -> None:
    async def work() -> None:
        lives = Lives()
        dispatcher = Dispatcher(lambda: lives)
        dispatcher.start()
        dispatcher.send([CALL, replace(CALL, item="p/j@1")])
        await asyncio.sleep(0.1)
        lives.name = "life 2"
        await asyncio.sleep(CHECK_S + GRACE_S / 2)
        dispatcher.settled(CALL.order_id, CALL.item, CALL.attempt)
        before = list(lives.taken)
        await asyncio.sleep(CHECK_S + GRACE_S)
        dispatcher.stop()

        assert before == [("life 1", "p/i@1"), ("life 1", "p/j@1")]
        assert lives.taken[2:] == [("life 2", "p/j@1")]

    run(work())


class Hosts:
    """Takes every result."""

    def __init__(self) -> None:
        self.reports: list[Any] = []

    def post(self, lane: str, shard: int, envelope: Any, answered: Any) -> None:
        self.reports.append(envelope.message)
        asyncio.get_running_loop().call_soon(answered, {})


class System:
    """Notes what it is asked to do."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    async def perform(self, task: Task) -> Outcome:
        self.tasks.append(task)
        return Outcome.completed()

    async def close(self) -> None:
        return


class Vault:
    """Cannot open anything for a while."""

    def __init__(self, away_s: float) -> None:
        self._away_s = away_s

    async def open_all(self, tenant: str, order_id: str, document: Any) -> Any:
        if asyncio.get_running_loop().time() < self._away_s:
            raise ConnectionRefusedError("the database is away")
        return {"pin": "4711"}


async def adapters(hosts: Hosts, system: System, vault: Vault) -> AdapterRuntime:
    async def read() -> list[dict[str, Any]]:
        return [{"tenant": "main", "code": "sys", "adapter": "it", "config": {}, "concurrency": 5, "updatedAt": "1"}]

    loop = asyncio.get_running_loop()
    made = AdapterRuntime(
        read,
        vault,
        hosts,  # type: ignore[arg-type]  # the one method that it needs
        callback_base="",
        secret=b"secret",
        boot_id="life 1",
        build=lambda _kind, _config: system,
        clock=lambda: START + timedelta(seconds=loop.time()),
    )
    await made.refresh()
    return made


def test_a_copy_that_comes_after_the_result_was_committed_is_not_performed_but_the_next_sending_is() -> None:
    async def work() -> None:
        hosts, system = Hosts(), System()
        runtime = await adapters(hosts, system, Vault(0.0))
        for call in (CALL, CALL, replace(CALL, deadline_at=CALL.deadline_at + timedelta(seconds=5))):
            runtime.perform([call])
            await asyncio.sleep(1.0)

        assert [task.deadline_at - CALL.deadline_at for task in system.tasks] == [timedelta(0), timedelta(seconds=5)]
        assert len(hosts.reports) == 2

    run(work())


def test_a_call_waits_while_the_own_database_cannot_open_its_values() -> None:
    async def work() -> None:
        hosts, system = Hosts(), System()
        runtime = await adapters(hosts, system, Vault(away_s=3.0))
        runtime.perform([replace(CALL, payload=SEALED)])
        await asyncio.sleep(2.0)
        early = len(hosts.reports)
        await asyncio.sleep(2.0)

        assert early == 0
        assert [task.payload for task in system.tasks] == [{"pin": "4711"}]
        assert [report.kind for report in hosts.reports] == ["completed"]

    run(work())


def test_a_call_whose_values_cannot_be_opened_before_its_deadline_comes_back_unmade() -> None:
    async def work() -> None:
        hosts, system = Hosts(), System()
        runtime = await adapters(hosts, system, Vault(away_s=60.0))
        runtime.perform([replace(CALL, payload=SEALED)])
        await asyncio.sleep(30.0)

        [report] = hosts.reports
        assert (report.kind, report.unheard) == ("held", True)
        assert system.tasks == []

    run(work())
