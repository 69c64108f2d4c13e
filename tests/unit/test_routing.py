"""Senders and hosts: every envelope is answered once, and a slow host is not given the same work twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray.exceptions import ActorDiedError

import actors.pace
import actors.routing
from actors.envelopes import Envelope, Later, NotOwner, ToPlan
from actors.pace import ALWAYS_ADMITTED
from actors.routing import BATCH_MAX, CALLS_OPEN_MAX, ORDERS_LANE, HostClient
from domain.errors import Busy
from domain.messages import TimerFired
from persistence.incarnations import Assignment
from tests.support.until import until

LANE = "receive_reports"


class Table:
    """The routing table: owner by shard."""

    def __init__(self, *owners: str | None) -> None:
        self.owners = list(owners)
        self.reads = 0

    async def assignments(self) -> list[Assignment]:
        self.reads += 1
        return [Assignment(shard, owner, 0) for shard, owner in enumerate(self.owners)]

    async def shard_count(self) -> int:
        return len(self.owners)


class SlowHost:
    """A host that answers its calls when the test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], asyncio.Future[list[Any]]]] = []
        self.late: dict[str, asyncio.Future[list[Any]]] = {}

    async def late_answer(self, token: str) -> list[Any]:
        return await self.late.setdefault(token, asyncio.get_running_loop().create_future())

    async def receive(self, envelopes: list[Envelope]) -> list[Any]:
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self.calls.append(([cast("ToPlan", each).order_id for each in envelopes], answer))
        return await answer

    def answer_all(self) -> None:
        for orders, answer in self.calls:
            if not answer.done():
                answer.set_result(orders)


class Senders:
    """A client over some hosts, and what its posts were answered."""

    def __init__(self, table: Table, **hosts: SlowHost) -> None:
        self.table = table
        self.answers: list[Any] = []
        handles = {
            f"host-{name}": SimpleNamespace(
                receive_reports=SimpleNamespace(remote=host.receive),
                receive_orders=SimpleNamespace(remote=host.receive),
                late_answer=SimpleNamespace(remote=host.late_answer),
            )
            for name, host in hosts.items()
        }
        self.client = HostClient(table, handles=handles.get)

    def post(self, shard: int, order_id: str, lane: str = LANE) -> None:
        self.client.post(lane, shard, ToPlan(order_id, TimerFired("item")), self.answers.append)

    async def looks(self, count: int) -> None:
        """Until the table was read so many times more."""
        wanted = self.table.reads + count
        await until(lambda: self.table.reads >= wanted)


@pytest.fixture(autouse=True)
async def _impatient(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr(actors.routing, "LOOK_S", 0.005)
    monkeypatch.setattr(actors.routing, "RETRY_S", 0.005)
    yield
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


async def opened(table: Table, **hosts: SlowHost) -> Senders:
    senders = Senders(table, **hosts)
    await senders.client.open()
    return senders


async def test_a_host_that_is_slow_but_owns_the_shard_is_asked_once() -> None:
    host = SlowHost()
    senders = await opened(Table("a"), a=host)
    senders.post(0, "o0-1")

    await senders.looks(5)
    assert [orders for orders, _ in host.calls] == [["o0-1"]]
    host.answer_all()
    await until(lambda: senders.answers)

    assert senders.answers == ["o0-1"]


async def test_a_late_answer_holds_up_neither_its_neighbours_nor_the_lane() -> None:
    host = SlowHost()
    senders = await opened(Table("a"), a=host)
    senders.post(0, "slow")
    senders.post(0, "quick")
    await until(lambda: host.calls)
    host.calls[0][1].set_result([Later("7"), "quick is done"])
    await until(lambda: senders.answers == ["quick is done"])
    for number in range(2 * CALLS_OPEN_MAX):
        senders.post(0, f"next-{number}")
        await until(lambda: len(host.calls) == len(senders.answers) + 1)
        host.answer_all()
        await until(lambda: len(senders.answers) == len(host.calls))
    await until(lambda: "7" in host.late)
    host.late["7"].set_result(["slow is done"])
    await until(lambda: senders.answers[-1] == "slow is done")

    assert [orders for orders, _ in host.calls].count(["slow", "quick"]) == 1


@pytest.mark.parametrize("end", [[NotOwner("stopped")], ActorDiedError()])
async def test_what_waits_for_a_late_answer_is_sent_again_when_its_host_has_gone(end: Any) -> None:
    one, other = SlowHost(), SlowHost()
    senders = await opened(Table("a"), a=one, b=other)
    senders.post(0, "o0-1")
    await until(lambda: one.calls)
    one.calls[0][1].set_result([Later("7")])
    await until(lambda: one.late)
    senders.table.owners[0] = "b"
    if isinstance(end, Exception):
        one.late["7"].set_exception(end)
    else:
        one.late["7"].set_result(end)
    await until(lambda: other.calls)
    other.answer_all()
    await until(lambda: senders.answers)

    assert senders.answers == ["o0-1"]


async def test_what_has_another_owner_meanwhile_is_sent_there_and_the_rest_waits() -> None:
    one, other = SlowHost(), SlowHost()
    senders = await opened(Table("a", "a"), a=one, b=other)
    senders.post(0, "o0-1")
    senders.post(1, "o1-1")
    await senders.looks(2)

    senders.table.owners[1] = "b"
    await until(lambda: other.calls)
    other.answer_all()
    await until(lambda: senders.answers == ["o1-1"])
    await senders.looks(3)
    one.answer_all()
    await until(lambda: len(senders.answers) == 2)

    assert [orders for orders, _ in one.calls] == [["o0-1", "o1-1"]]
    assert [orders for orders, _ in other.calls] == [["o1-1"]]
    assert senders.answers == ["o1-1", "o0-1"]


async def test_a_host_that_owns_nothing_any_more_is_not_waited_for() -> None:
    hung, other = SlowHost(), SlowHost()
    senders = await opened(Table("a"), a=hung, b=other)
    senders.post(0, "o0-1")
    await until(lambda: hung.calls)

    senders.table.owners[0] = "b"
    await until(lambda: other.calls)
    other.answer_all()
    await until(lambda: senders.answers)

    assert hung.calls[0][1].cancelled()
    assert senders.answers == ["o0-1"]


@pytest.mark.parametrize("ending", [ActorDiedError(), [NotOwner("gone")]], ids=["dies", "refuses"])
async def test_a_host_that_ends_or_refuses_leaves_its_envelopes_to_the_next_owner(ending: Any) -> None:
    host, other = SlowHost(), SlowHost()
    senders = await opened(Table("a"), a=host, b=other)
    senders.post(0, "o0-1")
    await until(lambda: host.calls)
    senders.table.owners[0] = "b"
    if isinstance(ending, Exception):
        host.calls[0][1].set_exception(ending)
    else:
        host.calls[0][1].set_result(ending)

    await until(lambda: other.calls)
    other.answer_all()
    await until(lambda: senders.answers)

    assert senders.answers == ["o0-1"]


async def test_a_slow_host_holds_a_bounded_number_of_envelopes_of_one_sender() -> None:
    host = SlowHost()
    senders = await opened(Table("a"), a=host)
    posted = [f"o0-{number}" for number in range(3 * CALLS_OPEN_MAX * BATCH_MAX)]
    for order_id in posted:
        senders.post(0, order_id)

    await senders.looks(3 * CALLS_OPEN_MAX)
    assert sum(len(orders) for orders, _ in host.calls) == CALLS_OPEN_MAX * BATCH_MAX
    while len(senders.answers) < len(posted):
        host.answer_all()
        before = len(senders.answers)
        await until(lambda: len(senders.answers) > before)  # noqa: B023  # awaited in this very round

    assert Counter(senders.answers) == Counter(posted)


async def test_who_would_wait_for_too_long_is_refused_unless_another_host_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actors.pace, "WAIT_MAX_S", 0.02)
    slow, free = SlowHost(), SlowHost()
    senders = await opened(Table("a", "b"), a=slow, b=free)
    senders.client.admit(0)
    for number in range(ALWAYS_ADMITTED):
        senders.post(0, f"o0-{number}", ORDERS_LANE)

    def is_refused() -> bool:
        try:
            senders.client.admit(0)
        except Busy as error:
            return bool(error.facts["retryAfterS"] >= 1)
        return False

    await until(is_refused)
    senders.client.admit(1)
    senders.client.admit()

    await until(lambda: slow.calls)
    slow.answer_all()
    await until(lambda: len(senders.answers) == ALWAYS_ADMITTED)
    senders.client.admit(0)


async def test_waiting_ends_when_everybody_is_answered() -> None:
    host = SlowHost()
    senders = await opened(Table("a"), a=host)
    asked = asyncio.create_task(senders.client.ask(LANE, 0, ToPlan("o0-1", TimerFired("item")), timeout_s=5))
    await until(lambda: host.calls)
    idle = asyncio.create_task(senders.client.answered())
    await senders.looks(2)
    assert not idle.done()

    host.answer_all()

    assert await asked == "o0-1"
    await asyncio.wait_for(idle, 5)
