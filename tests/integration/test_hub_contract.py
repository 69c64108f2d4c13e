"""One contract for feed and outbox and for their memory twins: what holds in the simulator holds on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any, Protocol

import asyncpg
import pytest

from actors.ports import FeedPort, JournalPort, OutboxPort
from domain.deliveries import DOWN_AFTER
from persistence import hub
from persistence.consumers import ConsumerFenced
from persistence.feed import Feed
from persistence.hub import Delivery, Listener, Outbox, Outcome
from persistence.journal import DataRefused
from tests.simulation.database import MemoryDatabase
from tests.simulation.hub import HubTables, Link, MemoryFeed, MemoryOutbox
from tests.simulation.twins import MemoryJournal
from tests.support.journals import AT, commit_of, fact, open_journal

FAILING_S = 3600.0
ROOM = 100


class Place(Protocol):
    """Somewhere with facts, listeners and an outbox."""

    feed: FeedPort
    outbox: OutboxPort

    async def journal(self, *shards: int) -> JournalPort: ...
    async def register(self, name: str, query: str = "") -> str: ...
    async def unregister(self, name: str) -> None: ...
    async def resume(self, name: str) -> None: ...


class RealPlace:
    def __init__(self, dsn: str, pool: Any) -> None:
        self._dsn, self._pool = dsn, pool
        self.feed: FeedPort = Feed(pool, "main")
        self.outbox: OutboxPort = Outbox(pool, "main")
        self.opened: list[Any] = []

    async def journal(self, *shards: int) -> JournalPort:
        self.opened.append(await open_journal(self._dsn, "host-a", shards, pool=self._pool))
        return self.opened[-1]  # type: ignore[no-any-return]

    async def register(self, name: str, query: str = "") -> str:
        return str((await hub.register(self._pool, "main", name, f"http://{name}/", query, AT))["id"])

    async def unregister(self, name: str) -> None:
        await hub.unregister(self._pool, "main", name)

    async def resume(self, name: str) -> None:
        await hub.resume(self._pool, "main", name, AT)


class TwinPlace:
    def __init__(self) -> None:
        self._database = MemoryDatabase(8, lambda: AT)
        self._tables = HubTables(self._database)
        link = Link(self._database)
        self.feed: FeedPort = MemoryFeed(self._tables, "main", link)
        self.outbox: OutboxPort = MemoryOutbox(self._tables, link)

    async def journal(self, *shards: int) -> JournalPort:
        journal = MemoryJournal(self._database, "host-a")
        await journal.open()
        for shard in shards:
            self._database.shards[shard].incarnation_id = "host-a"
        return journal

    async def register(self, name: str, query: str = "") -> str:
        return self._tables.register(name, f"http://{name}/", query)

    async def unregister(self, name: str) -> None:
        self._tables.unregister(name)

    async def resume(self, name: str) -> None:
        self._tables.resume(name, AT)


@pytest.fixture(params=["real", "twin"])
async def place(request: pytest.FixtureRequest, databases: Any, pool: Any) -> AsyncIterator[Place]:
    if request.param == "twin":
        yield TwinPlace()
        return
    real = RealPlace(databases.dsn, pool)
    yield real
    for journal in real.opened:
        journal.abandon()


def event(offset: int, number: int = 0, listener: str = "a", order: str = "o0-1") -> Delivery:
    """An event for a listener."""
    return Delivery(listener, order, offset, number, f"0-{offset}-{number}", f"{order} {offset} {number}".encode())


async def put(place: Place, epoch: int, *events: Delivery, room: int = ROOM) -> dict[str, int]:
    """Write events and move the cursor of shard 0 to the last of them."""
    last = max((each.offset for each in events), default=0)
    return await place.outbox.record(epoch, {0: last}, events, AT, room)


async def due(place: Place, listener: str = "a", *, after_s: float = 0.0, busy: Sequence[str] = ()) -> list[str]:
    """Ids of the events that are due."""
    found = await place.outbox.due(listener, AT + timedelta(seconds=after_s), busy, 50)
    return [each.event_id for each in found]


async def listener(place: Place, name: str = "a") -> Listener:
    """A listener as the notifier sees it."""
    [found] = [each for each in await place.outbox.listeners() if each.listener_id == name]
    return found


async def test_a_consumer_begins_at_the_heads_and_reads_what_comes_after(place: Place) -> None:
    journal = await place.journal(0, 1)
    await journal.commit(commit_of(fact(1), fact(1, 1)))
    epoch, offsets = await place.outbox.take_over()
    await journal.commit(commit_of(fact(2, item="i"), fact(3, tenant="other"), fact(4), fact(2, 1)))
    heads = await place.feed.heads()

    found = await place.feed.facts_after({1: 1, 0: 1}, 50)
    few = await place.feed.facts_after({0: 0, 1: 2}, 2)

    assert (offsets[0], offsets[1], offsets[2]) == (1, 1, 0)
    assert (heads[0], heads[1], heads[2]) == (4, 2, 0)
    assert [(each.shard, each.offset, each.item) for each in found] == [(0, 2, "i"), (0, 4, None), (1, 2, None)]
    assert [(each.shard, each.offset) for each in few] == [(0, 1), (0, 2)]
    await place.outbox.pass_over(epoch, heads)
    assert await place.outbox.cursors(epoch) == heads
    assert await place.outbox.take_over() == (epoch + 1, heads)


async def test_who_registers_hears_from_the_heads_on_and_is_one_however_often(place: Place) -> None:
    journal = await place.journal(0)
    await journal.commit(commit_of(fact(1)))
    first = await place.register("a")
    await journal.commit(commit_of(fact(2)))

    assert await place.register("a") == first == "a"
    assert await place.register("b", "state=held") == "b"
    begins = {each.listener_id: each.starts_after for each in await place.outbox.listeners()}
    assert (begins["a"][0], begins["b"][0], begins["a"][1]) == (1, 2, 0)
    seen = await listener(place, "b")
    assert (seen.callback, seen.query, seen.backlog, seen.health.state) == ("http://b/", "state=held", 0, "active")


async def test_a_takeover_on_old_news_changes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the statement of one that nobody heard of, when it is carried out after its repeat (simulation, seed 965)."""
    old, _ = await place.outbox.take_over()
    current, offsets = await place.outbox.take_over()

    async def stale(*_: Any) -> int:
        return old

    with monkeypatch.context() as patch:
        patch.setattr(type(place.outbox), "_epoch", stale)
        with pytest.raises(ConsumerFenced):
            await place.outbox.take_over()

    assert await place.outbox.cursors(current) == offsets


async def test_events_and_cursor_are_written_together_and_only_under_the_epoch(place: Place) -> None:
    await place.register("a")
    epoch, _ = await place.outbox.take_over()
    await put(place, epoch, event(1))
    newer, offsets = await place.outbox.take_over()
    sent = Outcome(event(1))
    with pytest.raises(ConsumerFenced):
        await put(place, epoch, event(2))
    with pytest.raises(ConsumerFenced):
        await place.outbox.settle(epoch, [sent], AT, FAILING_S)
    with pytest.raises(ConsumerFenced):
        await place.outbox.pass_over(epoch, {0: 9})

    with pytest.raises(ConsumerFenced):
        await place.outbox.cursors(epoch)

    assert (newer, offsets[0]) == (epoch + 1, 1)
    assert (await place.outbox.cursors(newer))[0] == 1
    assert await due(place) == ["0-1-0"]
    assert await place.outbox.settle(newer, [sent], AT, FAILING_S) == []
    assert await due(place) == []


async def test_an_event_that_is_there_already_is_refused_with_its_cursor(place: Place) -> None:
    await place.register("a")
    epoch, _ = await place.outbox.take_over()
    await put(place, epoch, event(1))
    with pytest.raises((DataRefused, asyncpg.UniqueViolationError)):
        await place.outbox.record(epoch, {0: 7}, [event(2), event(1)], AT, ROOM)

    assert (await place.outbox.cursors(epoch))[0] == 1
    assert (await listener(place)).backlog == 1


async def test_only_the_first_event_of_an_order_is_due_until_it_was_taken(place: Place) -> None:
    await place.register("a")
    await place.register("b", "x=1")
    epoch, _ = await place.outbox.take_over()
    other = event(2, order="o0-2")
    await put(place, epoch, event(1), event(1, 1), other, event(1, listener="b"))
    await put(place, epoch, event(3))

    assert sorted(await due(place)) == ["0-1-0", "0-2-0"]
    assert await due(place, "b") == ["0-1-0"]
    assert await due(place, busy=["o0-1"]) == ["0-2-0"]
    assert len(await place.outbox.due("a", AT, [], 1)) == 1
    assert await due(place, after_s=-1) == []
    [first] = await place.outbox.due("a", AT, ["o0-2"], 5)
    assert (first.order_id, first.body, first.attempts) == ("o0-1", b"o0-1 1 0", 0)
    for name in ("0-1-0", "0-1-1", "0-3-0"):
        [first] = await place.outbox.due("a", AT, ["o0-2"], 5)
        assert first.event_id == name
        await place.outbox.settle(epoch, [Outcome(first)], AT, FAILING_S)
    assert await due(place) == ["0-2-0"]
    assert ((await listener(place)).backlog, (await listener(place, "b")).backlog) == (1, 1)


async def test_what_was_noted_is_noted_again_without_harm(place: Place) -> None:
    await place.register("a")
    epoch, _ = await place.outbox.take_over()
    await put(place, epoch, event(1), event(2))
    for _ in range(2):
        await place.outbox.settle(epoch, [Outcome(event(1))], AT, FAILING_S)

    assert await due(place) == ["0-2-0"]
    assert (await listener(place)).backlog == 1


async def test_an_event_that_is_complained_of_keeps_its_order_waiting_longer_each_time(place: Place) -> None:
    await place.register("a")
    epoch, _ = await place.outbox.take_over()
    await put(place, epoch, event(1), event(2), event(3, order="o0-2"))
    await place.outbox.settle(epoch, [Outcome(event(1), "answered 422", True)], AT, FAILING_S)

    assert await due(place) == ["0-3-0"]
    assert sorted(await due(place, after_s=1)) == ["0-1-0", "0-3-0"]
    [again] = await place.outbox.due("a", AT + timedelta(seconds=1), ["o0-2"], 5)
    assert again.attempts == 1
    await place.outbox.settle(epoch, [Outcome(again, "answered 422", True)], AT, FAILING_S)
    assert await due(place, after_s=1, busy=["o0-2"]) == []
    assert await due(place, after_s=2, busy=["o0-2"]) == ["0-1-0"]
    health = (await listener(place)).health
    assert (health.failures, health.error) == (0, "answered 422")


async def test_a_listener_that_is_well_again_gets_at_once_what_waits_for_it(place: Place) -> None:
    await place.register("a")
    epoch, _ = await place.outbox.take_over()
    events = [event(1, order=f"o0-{number}") for number in range(DOWN_AFTER + 1)]
    await put(place, epoch, *events)
    down = [Outcome(each, "no connection") for each in events[:DOWN_AFTER]]
    await place.outbox.settle(epoch, down, AT, FAILING_S)
    paused = (await listener(place)).health
    soon = await due(place)
    await place.outbox.settle(epoch, [Outcome(events[-1])], AT, FAILING_S)

    assert (paused.failures, paused.pauses, paused.paused_until) == (DOWN_AFTER, 1, AT + timedelta(seconds=1))
    assert soon == ["0-1-0"]
    assert len(await due(place)) == DOWN_AFTER
    well = (await listener(place)).health
    assert (well.failures, well.pauses, well.paused_until, well.failing_since) == (0, 0, None, None)


async def test_who_fails_for_too_long_is_suspended_until_it_is_resumed(place: Place) -> None:
    await place.register("a")
    epoch, _ = await place.outbox.take_over()
    await put(place, epoch, event(1))
    later = AT + timedelta(seconds=FAILING_S)
    first = await place.outbox.settle(epoch, [Outcome(event(1), "answered 500")], AT, FAILING_S)
    second = await place.outbox.settle(epoch, [Outcome(event(1), "answered 500")], later, FAILING_S)
    third = await place.outbox.settle(epoch, [Outcome(event(1), "answered 500")], later, FAILING_S)
    suspended = (await listener(place)).health
    await place.resume("a")

    assert (first, second, third) == ([], ["a"], [])
    assert (suspended.state, suspended.suspended_at, suspended.error) == ("suspended", later, "answered 500")
    resumed = (await listener(place)).health
    assert (resumed.state, resumed.failures, resumed.failing_since, resumed.error) == (
        "active", 0, None, "answered 500",
    )  # fmt: skip
    assert await due(place) == ["0-1-0"]


async def test_what_finds_no_room_is_counted_and_not_kept(place: Place) -> None:
    await place.register("a")
    await place.register("b", "x=1")
    epoch, _ = await place.outbox.take_over()
    await put(place, epoch, event(1), room=2)
    missed = await put(place, epoch, *(event(offset) for offset in (2, 3, 4)), event(2, listener="b"), room=2)

    assert missed == {"a": 2}
    assert ((await listener(place)).backlog, (await listener(place, "b")).backlog) == (2, 1)
    assert (await place.outbox.cursors(epoch))[0] == 4


async def test_a_listener_that_goes_takes_what_waits_along_and_gets_nothing_more(place: Place) -> None:
    await place.register("a")
    epoch, _ = await place.outbox.take_over()
    await put(place, epoch, event(1))
    await place.unregister("a")
    missed = await put(place, epoch, event(2))
    await place.outbox.settle(epoch, [Outcome(event(1)), Outcome(event(1), "late")], AT, FAILING_S)

    assert missed == {}
    assert await place.outbox.listeners() == []
    assert await due(place) == []
    assert (await place.outbox.cursors(epoch))[0] == 2
