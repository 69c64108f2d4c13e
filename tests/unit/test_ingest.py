"""One connection of a bulk: it reads no more than it can answer, and asks a host that has enough again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

import gateway.ingest
import gateway.line_service
from actors.envelopes import Submission, Submitted
from domain.errors import Busy, NotPossibleNow, OrderplanError
from gateway.ingest import Ingest, submit_lines
from gateway.line_service import OPEN_MAX, STILL_S
from gateway.metrics import Metrics
from tests.simulation.loop import run


class Hosts:
    """Answers a submission at once: with what is next in `refusals`, else with an order."""

    shards = 8

    def __init__(self, *refusals: OrderplanError) -> None:
        self.refusals = list(refusals)
        self.asked: list[Submission] = []

    def post(self, lane: str, _shard: int, envelope: Submission, answered: Callable[[Any], None]) -> None:
        assert lane == "receive_bulk"
        assert envelope.is_bulk
        self.asked.append(envelope)
        answer = self.refusals.pop(0) if self.refusals else Submitted(f"o{len(self.asked)}", "acknowledged")
        asyncio.get_running_loop().call_soon(answered, answer)


class Body:
    """So many orders, a line each in a piece of its own; counts what was read."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.read = 0

    async def iter_any(self) -> AsyncIterator[bytes]:
        for number in range(self.count):
            self.read += 1
            item = {"id": "1", "action": "add", "product": {"productSpecification": {"id": "parcel"}}}
            yield json.dumps({"externalId": str(number), "productOrderItem": [item]}).encode() + b"\n"


def context_of(hosts: Hosts, *, is_draining: bool = False) -> Any:
    config = SimpleNamespace(body_bytes_max=1_000_000, tenant="main")
    return cast("Any", SimpleNamespace(config=config, hosts=hosts, metrics=Metrics(), is_draining=is_draining))


def ingest_to(hosts: Hosts, *, is_draining: bool = False) -> Ingest:
    return Ingest(context_of(hosts, is_draining=is_draining), "main")


class Silent:
    """So many orders, and then nothing, without an end."""

    def __init__(self, count: int) -> None:
        self.body = Body(count)

    async def iter_any(self) -> AsyncIterator[bytes]:
        async for each in self.body.iter_any():
            yield each
        await asyncio.get_running_loop().create_future()


class DeafHosts(Hosts):
    """Takes submissions and never answers."""

    def post(self, lane: str, _shard: int, envelope: Submission, answered: Callable[[Any], None]) -> None:
        self.asked.append(envelope)


class Wire:
    """Takes what is written, unless it is shut."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.told: list[dict[str, Any]] = []

    async def write(self, data: bytes) -> None:
        await self.is_open.wait()
        self.told += [json.loads(each) for each in data.splitlines()]


async def test_whoever_does_not_read_the_answers_is_not_read_either() -> None:
    body, wire = Body(3 * OPEN_MAX), Wire()
    wire.is_open.clear()
    serving = asyncio.create_task(ingest_to(Hosts()).serve(body, wire.write))
    before = -1
    while body.read != before:
        before = body.read
        for _ in range(100):
            await asyncio.sleep(0)

    assert OPEN_MAX <= body.read <= 2 * OPEN_MAX + 2

    wire.is_open.set()
    await serving
    assert sorted(each["line"] for each in wire.told) == list(range(1, 3 * OPEN_MAX + 1))


async def test_a_host_that_has_enough_is_asked_again_until_it_takes_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.ingest, "RETRY_S", 0.0)
    hosts, wire = Hosts(Busy("enough"), Busy("still enough")), Wire()

    await ingest_to(hosts).serve(Body(1), wire.write)

    assert wire.told == [{"line": 1, "id": "o3", "state": "acknowledged"}]
    assert len({id(each) for each in hosts.asked}) == 1


async def test_a_refusal_is_the_answer_of_its_line_alone() -> None:
    hosts, wire = Hosts(NotPossibleNow("no catalogue release is published", mend="publish one")), Wire()

    await ingest_to(hosts).serve(Body(2), wire.write)

    refused, stored = sorted(wire.told, key=lambda each: int(each["line"]))
    assert refused["error"]["code"] == "notPossibleNow"
    assert refused["error"]["mend"] == "publish one"
    assert stored["state"] == "acknowledged"


async def test_a_server_that_stops_takes_no_line_more_and_says_so_of_each() -> None:
    hosts, wire = Hosts(), Wire()

    await ingest_to(hosts, is_draining=True).serve(Body(2), wire.write)

    assert hosts.asked == []
    assert [each["error"]["status"] for each in wire.told] == [503, 503]


async def test_a_client_that_has_gone_ends_the_reading() -> None:
    async def gone(_data: bytes) -> None:
        raise ConnectionResetError

    body = Body(3 * OPEN_MAX)
    with pytest.raises(ConnectionResetError):
        await ingest_to(Hosts()).serve(body, gone)
    read = body.read
    for _ in range(100):
        await asyncio.sleep(0)
    assert body.read <= read + 1


@pytest.mark.parametrize("is_reading", [True, False])
def test_a_client_that_stands_still_is_cut_off_in_whichever_direction(is_reading: bool) -> None:
    async def serve() -> float:
        wire = Wire()
        if not is_reading:
            wire.is_open.clear()
        with pytest.raises(TimeoutError):
            await ingest_to(Hosts()).serve(Silent(3), wire.write)
        return asyncio.get_running_loop().time()

    assert run(serve()) < 3 * STILL_S


def test_a_client_whose_lines_are_not_answered_is_not_cut_off_however_long_it_takes() -> None:
    async def serve() -> bool:
        serving = asyncio.create_task(ingest_to(DeafHosts()).serve(Silent(3), Wire().write))
        await asyncio.sleep(10 * STILL_S)
        is_open = not serving.done()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        return is_open

    assert run(serve())


def test_a_server_that_stops_answers_what_no_host_answers_any_more() -> None:
    async def serve() -> list[dict[str, Any]]:
        wire, hosts = Wire(), DeafHosts()
        ingest = ingest_to(hosts)
        serving = asyncio.create_task(ingest.serve(Body(3), wire.write))
        await asyncio.sleep(1)
        ingest._context.is_draining = True
        await serving
        return wire.told

    assert [(each["line"], each["error"]["status"]) for each in run(serve())] == [(1, 503), (2, 503), (3, 503)]


async def test_large_lines_are_read_no_further_than_their_bytes_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.line_service, "OPEN_BYTES_MAX", 1_000)
    body, hosts = Body(100), DeafHosts()
    serving = asyncio.create_task(ingest_to(hosts).serve(body, Wire().write))
    for _ in range(500):
        await asyncio.sleep(0)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)

    sizes = [len(line) async for line in Body(100).iter_any()]
    assert sum(sizes[: len(hosts.asked) - 1]) < 1_000 + len(hosts.asked)
    assert 1 < len(hosts.asked) < 20


async def test_lines_of_a_campaign_are_answered_by_their_numbers_and_named_by_them() -> None:
    item = {"id": "1", "action": "add", "product": {"productSpecification": {"id": "parcel"}}}
    nameless = json.dumps({"productOrderItem": [item]}, indent=1).encode()
    named = json.dumps({"externalId": "mine", "productOrderItem": [item]}).encode()
    hosts = Hosts()

    found = await submit_lines(context_of(hosts), "main", "c1", [(7, nameless), (9, b"[]"), (12, named)])
    again = await submit_lines(context_of(hosts), "main", "c1", [(7, nameless)])

    assert {number: sorted(answer) for number, answer in (found | again).items()} == {
        7: ["id", "line", "state"], 9: ["error", "line"], 12: ["id", "line", "state"],
    }  # fmt: skip
    assert [each.order["clientKey"] for each in hosts.asked] == ["campaign c1 7", "ext default/mine", "campaign c1 7"]
    assert len({each.shard for each in hosts.asked if each.order["clientKey"] == "campaign c1 7"}) == 1


async def test_a_line_whose_account_cannot_be_read_is_answered_so_and_not_sent_for_ever() -> None:
    hosts, wire = Hosts(Busy("an order of the account cannot be read", openOrders=["o1-1"])), Wire()

    await ingest_to(hosts).serve(Body(1), wire.write)

    assert [(each["error"]["status"], each["error"]["openOrders"]) for each in wire.told] == [(503, ["o1-1"])]


def test_lines_of_a_campaign_that_a_crowd_keeps_waiting_are_left_to_their_sender() -> None:
    async def submit() -> dict[int, dict[str, Any]]:
        [line] = [line async for line in Body(1).iter_any()]
        return await submit_lines(context_of(DeafHosts()), "main", "c1", [(1, line), (2, b"[]")])

    assert run(submit()).keys() == {2}
