"""The stream of facts: a client that comes and goes sees what the database has, in order, wherever it was cut off."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import gateway.stream
from gateway.app import errors
from gateway.context import CONTEXT
from gateway.metrics import Metrics
from gateway.stream import FANOUT, get_stream, open_fanout
from persistence.archive import archive_batch
from persistence.database import Pool
from persistence.journal import Journal
from tests.support.journals import AT, commit_of, fact, open_journal, order_row
from tests.support.until import until

SHARDS = (0, 1, 2)


@pytest.fixture
async def journal(databases: Any, pool: Pool) -> AsyncIterator[Journal]:
    made = await open_journal(databases.dsn, "host-a", SHARDS, pool=pool)
    yield made
    await made.close()


@pytest.fixture
async def client(pool: Pool, journal: Journal) -> AsyncIterator[TestClient[Any, Any]]:
    app = web.Application(middlewares=[errors])
    config = SimpleNamespace(tenant="main")
    context: Any = SimpleNamespace(pool=pool, config=config, metrics=Metrics(), is_draining=False)
    app[CONTEXT] = context
    open_fanout(app, context)
    app.router.add_get("/v1/stream", get_stream)
    made = TestClient(TestServer(app))
    await made.start_server()
    yield made
    await made.close()


class Listener:
    """Reads the stream; `place` is where to resume."""

    def __init__(self, client: TestClient[Any, Any], **query: str) -> None:
        self.client = client
        self.query = query
        self.place: str | None = None
        self.seen: list[dict[str, Any]] = []

    async def listen(self, facts: int) -> None:
        """Hear at least so many more facts, then hang up."""
        headers = {"Last-Event-ID": self.place} if self.place else {}
        wanted = len(self.seen) + facts
        async with self.client.get("/v1/stream", headers=headers, params=self.query) as answer:
            assert answer.status == 200
            async for raw in answer.content:
                name, _, value = raw.decode().rstrip("\n").partition(": ")
                if name == "id":
                    self.place = value
                    if len(self.seen) >= wanted:
                        return
                elif name == "data":
                    self.seen.append(json.loads(value))

    def by_shard(self) -> dict[int, list[int]]:
        """The offsets that were heard, each shard's in the order of their first coming."""
        found: dict[int, list[int]] = {shard: [] for shard in SHARDS}
        for each in self.seen:
            shard, offset = (int(part) for part in each["id"].split("-"))
            if offset not in found[shard]:
                found[shard].append(offset)
        return found


async def write(journal: Journal, heads: dict[int, int], draw: random.Random) -> None:
    rows = []
    for _ in range(draw.randint(1, 9)):
        shard = draw.choice(SHARDS)
        heads[shard] += 1
        rows.append(fact(heads[shard], shard))
    await journal.commit(commit_of(*rows))


async def test_a_client_that_reconnects_anywhere_misses_nothing(client, journal):
    draw = random.Random(7)
    heads = dict.fromkeys(SHARDS, 0)
    listener = Listener(client)
    listener.place = "0.0"
    for _ in range(12):
        for _ in range(draw.randint(1, 4)):
            await write(journal, heads, draw)
        heard = sum(len(each) for each in listener.by_shard().values())
        listening = asyncio.create_task(listener.listen(draw.randint(1, sum(heads.values()) - heard)))
        await write(journal, heads, draw)
        async with asyncio.timeout(20):
            await listening
    missing = sum(heads.values()) - sum(len(each) for each in listener.by_shard().values())
    if missing:
        async with asyncio.timeout(20):
            await listener.listen(missing)

    assert listener.by_shard() == {shard: list(range(1, head + 1)) for shard, head in heads.items()}


async def test_without_a_place_the_stream_begins_now(client, journal):
    await journal.commit(commit_of(fact(1), fact(2)))
    listener = Listener(client)
    listening = asyncio.create_task(listener.listen(1))
    await until(lambda: len(client.app[FANOUT]) == 1)
    await journal.commit(commit_of(fact(3)))
    async with asyncio.timeout(20):
        await listening

    assert [each["id"] for each in listener.seen] == ["0-3"]


async def test_a_filter_chooses_and_the_place_moves_on_all_the_same(client, journal):
    row = order_row("o0-1", account="acc-7")
    facts = [fact(1, kind="order.accepted"), fact(2), fact(3, order_id="o0-2"), fact(4, kind="order.ended")]
    orders = {"o0-1": row, "o0-2": order_row("o0-2", account="acc-8")}
    await journal.commit(commit_of(*facts, orders_new=orders))
    by_account = Listener(client, account="acc-7")
    by_account.place = "0.0"
    await by_account.listen(3)
    by_kind = Listener(client, kinds="order.ended")
    by_kind.place = "0.0"
    await by_kind.listen(1)

    assert [each["id"] for each in by_account.seen] == ["0-1", "0-2", "0-4"]
    assert {each["account"] for each in by_account.seen} == {"acc-7"}
    assert [each["id"] for each in by_kind.seen] == ["0-4"]
    assert by_kind.place == "0.4"


async def test_a_client_that_is_too_slow_is_cut_off_and_resumes(client, journal, monkeypatch):
    monkeypatch.setattr(gateway.stream, "WAITING_MAX", 2)
    listener = Listener(client)
    listening = asyncio.create_task(listener.listen(4))
    await until(lambda: len(client.app[FANOUT]) == 1)
    await journal.commit(commit_of(*(fact(offset) for offset in range(1, 5))))
    async with asyncio.timeout(20):
        await listening
    assert listener.seen == []
    await listener.listen(4)

    assert [each["id"] for each in listener.seen] == ["0-1", "0-2", "0-3", "0-4"]


async def over(journal: Journal, facts: int) -> None:
    """An order that is over, with so many facts of shard 0, and a fact of another one behind them."""
    row = order_row("o0-1", state="completed", active=False, ended_at=AT)
    rows = [fact(offset) for offset in range(1, facts + 1)]
    await journal.commit(commit_of(*rows, fact(facts + 1, order_id="o0-2"), orders_new={"o0-1": row}))


async def archive_all(pool: Pool) -> int:
    return (await archive_batch(pool, "main", AT + timedelta(days=1), 10)).facts


async def test_a_place_after_which_facts_were_archived_is_gone_and_later_ones_are_not(client, journal, pool):
    await over(journal, 3)
    assert await archive_all(pool) == 3
    answer = await client.get("/v1/stream", headers={"Last-Event-ID": "0.2"})
    listener = Listener(client)
    listener.place = "0.3"
    await listener.listen(1)

    problem = await answer.json(content_type=None)
    assert (answer.status, problem["type"], problem["path"]) == (410, "urn:orderplan:streamGone", "Last-Event-ID")
    assert "begin anew" in problem["mend"]
    assert [each["id"] for each in listener.seen] == ["0-4"]
    assert (await client.get("/v1/stream", headers={"Last-Event-ID": "0.0"})).status == 410


async def test_a_client_that_catches_up_while_facts_are_archived_is_cut_off_before_it_misses_any(
    client, journal, pool, monkeypatch
):
    monkeypatch.setattr(gateway.stream, "PAGE", 2)
    await over(journal, 5)
    fanout = client.app[FANOUT]
    read, pages = fanout.events_after, 0

    async def archived_before_the_second_page(offsets: dict[int, int]) -> Any:
        nonlocal pages
        pages += 1
        if pages == 2:
            assert await archive_all(pool) == 5
        return await read(offsets)

    async def nothing_new() -> None:
        """Leaves the pages to the client."""

    monkeypatch.setattr(fanout, "events_after", archived_before_the_second_page)
    monkeypatch.setattr(fanout, "_read", nothing_new)
    answer = await client.get("/v1/stream", headers={"Last-Event-ID": "0.0"})
    async with asyncio.timeout(10):
        text = await answer.text()

    assert re.findall(r'"id":"(.*?)"', text) == ["0-1", "0-2"]
    assert re.findall(r"^id: (.*)$", text, re.MULTILINE)[-1] == "0.2"
    assert text.endswith("resume with Last-Event-ID\n\n")
    assert (await client.get("/v1/stream", headers={"Last-Event-ID": "0.2"})).status == 410


async def test_what_must_not_be_seen_is_masked(client, journal):
    payload = json.dumps({"set": {"1": {"pin": {"$encrypted": "abc", "mac": "def"}}}})
    await journal.commit(commit_of(fact(1, kind="line.changed", payload=payload)))
    listener = Listener(client)
    listener.place = "0.0"
    await listener.listen(1)

    assert listener.seen[0]["payload"]["set"]["1"]["pin"] == "********"


@pytest.mark.parametrize(
    ("query", "headers", "path"),
    [
        ({"lastEventId": "nonsense"}, {}, "Last-Event-ID"),
        ({}, {"Last-Event-ID": "0.99"}, "Last-Event-ID"),
        ({"kinds": "nonsense"}, {}, "kinds"),
        ({"color": "red"}, {}, "color"),
    ],
)
async def test_a_wrong_request_is_refused_with_its_place(client, query, headers, path):
    answer = await client.get("/v1/stream", params=query, headers=headers)

    assert answer.status == 400
    assert path in await answer.text()
    assert len(cast("web.Application", client.app)[FANOUT]) == 0


async def test_more_clients_than_there_is_room_for_are_told_to_come_back(client, monkeypatch):
    monkeypatch.setattr(gateway.stream, "CLIENTS_MAX", 0)
    answer = await client.get("/v1/stream")

    assert answer.status == 503


async def test_streams_end_with_the_gateway(client):
    answer = await client.get("/v1/stream")
    client.app[FANOUT].close()
    async with asyncio.timeout(10):
        text = await answer.text()

    assert text.endswith("resume with Last-Event-ID\n\n")
    assert isinstance(answer, aiohttp.ClientResponse)


async def test_frames_count_what_comes_and_name_it_with_its_account(client, journal):
    await journal.commit(commit_of(fact(1), orders_new={"o0-1": order_row()}))
    async with client.get("/v1/stream", params={"frames": "true"}) as answer:
        assert await answer.content.readuntil(b"\n\n") == b": orderplan\n\n"
        await journal.commit(commit_of(fact(2), fact(1, 1, kind="order.ended", payload='{"state": "completed"}')))
        frame = await answer.content.readuntil(b"\n\n")
    told = json.loads(frame.decode().partition("data: ")[2])

    assert frame.startswith(b"event: frame\n")
    assert (told["counts"], told["more"]) == ({"order.moved": 1, "order.ended": 1}, 0)
    assert [(each["id"], each["account"], each.get("state")) for each in told["facts"]] == [
        ("0-2", "acc-1", None),
        ("1-1", None, "completed"),
    ]


async def test_somebody_who_wants_all_of_each_event_gets_it_beside_frames(client, journal, monkeypatch):
    monkeypatch.setattr(gateway.stream, "NAMED_MAX", 0)
    await journal.commit(commit_of(fact(1), orders_new={"o0-1": order_row()}))
    async with client.get("/v1/stream", params={"frames": "true"}) as answer:
        assert answer.status == 200
        listener = Listener(client, account="acc-1")
        listening = asyncio.create_task(listener.listen(1))
        await until(lambda: len(client.app[FANOUT]) == 2)
        await journal.commit(commit_of(fact(2)))
        async with asyncio.timeout(20):
            await listening

    assert [each["id"] for each in listener.seen] == ["0-2"]


async def test_frames_take_no_other_parameter(client):
    for query in ({"frames": "false"}, {"frames": "true", "order": "o0-1"}):
        async with client.get("/v1/stream", params=query) as answer:
            assert (answer.status, (await answer.json())["path"]) == (400, "frames")
