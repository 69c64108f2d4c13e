"""The notifier on a real journal: what listeners hear, through outages, restarts and second notifiers."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest

import actors.order_standings
from actors.deliveries import AT_ONCE, Deliveries
from actors.folding import PlanFolder
from actors.notifier import Notifier
from adapters.webhook import Answer
from domain.deliveries import DOWN_AFTER
from domain.errors import NotFound
from domain.order_states import line_states
from gateway.tmf622_events import render_event
from persistence import catalogue, hub
from persistence.consumers import ConsumerFenced
from persistence.database import Pool
from persistence.feed import Feed
from persistence.hub import Outbox
from persistence.readstore import ReadStore
from tests.support.build import callout, depends, line, order_of, plan_of, release_document, release_of, scenario
from tests.support.hosts import Host
from tests.support.journals import AT, count
from tests.support.until import until

RELEASE: dict[str, Any] = release_document(
    products=[{"code": "sim", "attributes": [{"name": "pin", "assetizable": False}]}, "phone"],
    plans=[plan_of("deliver", callout("reserve"), callout("activate")), plan_of("ship", callout("pack"))],
    dependencies=[depends("deliver/activate", "deliver/reserve")],
    scenarios=[scenario("sim", "deliver"), scenario("phone", "ship")],
)
FAILING_S = 86_400.0


class Listeners:
    """Everybody who listens: takes what it gets and answers as the test says."""

    def __init__(self) -> None:
        self.heard: dict[str, list[dict[str, Any]]] = defaultdict(list)
        """What was taken, by address."""
        self.calls = 0
        self.answer: Callable[[str, dict[str, Any]], Answer] = lambda _url, _event: Answer(204)

    async def post(self, url: str, body: bytes) -> Answer:
        self.calls += 1
        event = orjson.loads(body)
        answer = self.answer(url, event)
        if not answer.error:
            self.heard[url].append(event)
        return answer

    def ids(self, url: str = "http://a.example/") -> dict[str, list[str]]:
        """The ids of the events that were taken, by order, each where it came first."""
        found: dict[str, list[str]] = defaultdict(list)
        for event in self.heard[url]:
            ids = found[event["event"]["productOrder"]["id"]]
            if event["eventId"] not in ids:
                ids.append(event["eventId"])
        return dict(found)


class World:
    """A host, listeners, and the notifier of the moment."""

    def __init__(self, host: Host, pool: Pool) -> None:
        self.host = host
        self.pool = pool
        self.store = ReadStore(pool)
        self.feed = Feed(pool, "main")
        self.outbox = Outbox(pool, "main")
        self.listeners = Listeners()
        self.numbers = iter(range(1, 10_000))

    async def notifier(self, **members: Any) -> tuple[Notifier, Deliveries]:
        """A notifier that starts now."""
        deliveries = Deliveries(self.outbox, self.listeners, clock=self.host.clock, failing_s=FAILING_S)
        self.notifying = Notifier(
            self.feed, self.outbox, self.store, render_event, clock=self.host.clock, wake=deliveries.wake, **members
        )
        self.sending = deliveries
        deliveries.epoch = await self.notifying.start()
        return self.notifying, deliveries

    async def listen(self, url: str = "http://a.example/", query: str = "") -> str:
        name = f"h{next(self.numbers)}"
        found = await hub.register(self.pool, "main", name, url, query, self.host.clock())
        listener_id: str = found["id"]
        return listener_id

    async def submit(self, account: int | None = None) -> str:
        number = account if account is not None else next(self.numbers)
        lines = [line("1", "sim", pin="secret-1234"), line("2", "phone", below="1")]
        (answer,) = await self.host.submit(order_of(*lines, account=f"acc-{number}", channel="web"))
        assert answer.state == "acknowledged"
        order_id: str = answer.order_id
        return order_id

    async def read(self) -> None:
        """Let the notifier read all that is there."""
        while await self.notifying.step():
            pass

    async def send(self) -> None:
        """Let what is due be sent, until nothing is."""
        while True:
            before = self.listeners.calls
            await self.sending.step()
            await self.sending.answered()
            if self.listeners.calls == before and not self.sending._outcomes:
                return

    async def notify(self) -> None:
        await self.read()
        await self.send()

    async def pass_time(self, seconds: float) -> None:
        self.host.clock.now += timedelta(seconds=seconds)

    async def expected(self, order_id: str) -> list[tuple[str, str, dict[str, str]]]:
        """(event id, state of the order, states of its lines) by folding the order's facts anew for every fact."""
        facts = (await self.store.facts_of([order_id]))[order_id]
        folder = PlanFolder(self.store)
        wanted: list[tuple[str, str, dict[str, str]]] = []
        before: tuple[str, dict[str, str]] | None = None
        for at in range(len(facts)):
            plan = await folder.fold(facts[: at + 1])
            now = (plan.order_state.value, {name: state.value for name, state in line_states(plan).items()})
            changes = 1 if before is None else (now[0] != before[0]) + (now[1] != before[1])
            name = f"{facts[at].shard}-{facts[at].offset}"
            wanted += [(name if number == 0 else f"{name}-{number}", *now) for number in range(changes)]
            before = now
        return wanted

    async def row(self, listener_id: str) -> dict[str, Any]:
        return await hub.read_listener(self.pool, "main", listener_id)


@pytest.fixture
async def world(databases: Any, pool: Pool) -> AsyncIterator[World]:
    await catalogue.publish_release(pool, "main", release_of(**RELEASE).release_id, RELEASE, AT)
    host = await Host.start(databases, pool)
    yield World(host, pool)
    host.kill()
    await asyncio.gather(host.running, return_exceptions=True)


def states(event: dict[str, Any]) -> tuple[str, str, dict[str, str]]:
    order = event["event"]["productOrder"]
    items = {each["id"]: each["state"] for each in order["productOrderItem"]}
    return event["eventId"], order["state"], items


async def test_a_listener_hears_every_change_of_order_and_lines_in_order(world):
    await world.notifier()
    await world.listen()
    ids = [await world.submit() for _ in range(5)]
    await world.notify()
    await world.host.finish()
    await world.notify()

    by_order = defaultdict(list)
    for event in world.listeners.heard["http://a.example/"]:
        by_order[event["id"]].append(states(event))
    for order_id in ids:
        assert by_order[order_id] == await world.expected(order_id)
        assert by_order[order_id][-1][1] == "completed"
    assert await count(world.pool, "hub_delivery") == 0


async def test_an_event_has_the_order_as_it_was_then_in_the_form_of_tmf622_and_nothing_sealed(world):
    await world.notifier()
    await world.listen()
    order_id = await world.submit()
    await world.host.finish()
    await world.notify()
    heard = world.listeners.heard["http://a.example/"]
    first, begun = heard[0], heard[1]

    assert (first["eventType"], first["event"]["productOrder"]["state"]) == ("ProductOrderCreateEvent", "acknowledged")
    assert begun["eventType"] == "ProductOrderStateChangeEvent"
    assert begun["event"]["productOrder"]["href"].endswith(f"/productOrder/{order_id}")
    assert begun["eventTime"] == begun["timeOcurred"] == world.host.clock.now.isoformat()
    moved = [each for each in heard if each["eventType"] == "ProductOrderAttributeValueChangeEvent"]
    assert {each["fieldPath"] for each in moved} == {"productOrderItem.state"}
    assert "2: completed" in moved[-1]["description"] or "1: completed" in moved[-1]["description"]
    assert "secret-1234" not in str(heard)
    assert "********" in str(first)


async def test_each_listener_hears_what_it_asked_for(world):
    await world.notifier()
    await world.listen("http://ends.example/", "eventType=ProductOrderStateChangeEvent&state=completed&fields=state")
    await world.listen("http://other.example/", "billingAccount.id=acc-77")
    await world.listen("http://shop.example/", "channel=shop")
    ids = [await world.submit(), await world.submit(77)]
    await world.host.finish()
    await world.notify()
    heard = world.listeners.heard

    assert sorted(each["id"] for each in heard["http://ends.example/"]) == sorted(ids)
    assert set(heard["http://ends.example/"][0]["event"]["productOrder"]) == {"id", "href", "@type", "state"}
    assert {each["id"] for each in heard["http://other.example/"]} == {ids[1]}
    assert heard["http://shop.example/"] == []


async def test_a_listener_hears_from_its_registration_on_also_of_orders_that_run(world):
    await world.notifier()
    before = await world.submit()
    await world.host.finish()
    running = await world.submit()
    await world.listen()
    await world.host.finish()
    await world.notify()
    wanted = [each[0] for each in await world.expected(running)]
    ids = world.listeners.ids()

    assert before not in ids
    assert ids[running] == wanted[-len(ids[running]) :]
    assert 0 < len(ids[running]) < len(wanted)


async def test_who_registers_before_there_ever_was_a_notifier_misses_nothing(world):
    await world.listen()
    order_id = await world.submit()
    await world.notifier()
    await world.notify()

    assert world.listeners.ids()[order_id] == [each[0] for each in await world.expected(order_id)]


async def test_registering_again_gives_the_same_listener(world):
    first = await world.listen(query="state=held")

    assert await world.listen(query="state=held") == first
    assert await world.listen(query="state=completed") != first


async def test_an_order_whose_event_is_not_liked_waits_and_the_others_go_on(world):
    await world.notifier()
    listener_id = await world.listen()
    ids = [await world.submit() for _ in range(DOWN_AFTER + 3)]
    world.listeners.answer = lambda _url, event: Answer(422, "answered 422") if event["id"] == ids[0] else Answer(204)
    await world.host.finish()
    await world.notify()
    stuck = await world.row(listener_id)
    for _ in range(20):
        await world.pass_time(300)
        await world.notify()

    assert ids[0] not in world.listeners.ids()
    for order_id in ids[1:]:
        assert world.listeners.ids()[order_id] == [each[0] for each in await world.expected(order_id)]
    assert (stuck["ordersFailing"], stuck["state"], stuck["lastError"]) == (1, "active", "answered 422")
    world.listeners.answer = lambda _url, _event: Answer(204)
    await world.pass_time(300)
    await world.send()
    assert world.listeners.ids()[ids[0]] == [each[0] for each in await world.expected(ids[0])]
    assert (await world.row(listener_id))["backlog"] == 0


async def test_ten_minutes_of_outage_lose_nothing_and_cost_few_calls(world):
    await world.notifier()
    listener_id = await world.listen()
    await world.listen("http://b.example/")
    ids = [await world.submit() for _ in range(10)]
    world.listeners.answer = lambda url, _event: (
        Answer(None, "no connection") if url == "http://a.example/" else Answer(204)
    )
    calls_of_b = 0
    for _ in range(120):
        ids.append(await world.submit())
        await world.host.finish()
        await world.notify()
        await world.pass_time(5)
    calls_of_b = len(world.listeners.heard["http://b.example/"])
    down = await world.row(listener_id)
    calls = world.listeners.calls - calls_of_b
    world.listeners.answer = lambda _url, _event: Answer(204)
    await world.pass_time(300)
    await world.notify()
    wanted = {order_id: [each[0] for each in await world.expected(order_id)] for order_id in ids}

    assert (down["state"], down["backlog"]) == ("active", sum(len(each) for each in wanted.values()))
    assert down["failingSince"] is not None
    assert calls <= AT_ONCE + 12, "whoever is down is left alone, whatever waits"
    assert world.listeners.ids() == wanted
    assert world.listeners.ids("http://b.example/") == wanted
    assert sum(len(each) for each in wanted.values()) == len(world.listeners.heard["http://a.example/"])
    assert (await world.row(listener_id))["failingSince"] is None


async def test_who_fails_for_a_day_is_suspended_and_gets_all_of_it_after_a_resume(world):
    await world.notifier()
    listener_id = await world.listen()
    order_id = await world.submit()
    world.listeners.answer = lambda _url, _event: Answer(500, "answered 500")
    for _ in range(300):
        await world.notify()
        await world.pass_time(300)
    suspended = await world.row(listener_id)
    world.listeners.answer = lambda _url, _event: Answer(204)
    await world.host.finish()
    await world.notify()
    quiet = len(world.listeners.heard["http://a.example/"])
    resumed = await hub.resume(world.pool, "main", listener_id, world.host.clock())
    await world.send()

    assert (suspended["state"], suspended["lastError"]) == ("suspended", "answered 500")
    assert world.sending.stats()["suspended"] == 1
    assert quiet == 0
    assert (resumed["state"], resumed["failures"], resumed["suspendedAt"]) == ("active", 0, None)
    assert world.listeners.ids()[order_id] == [each[0] for each in await world.expected(order_id)]


async def test_what_finds_the_backlog_full_is_counted_and_said(world):
    await world.notifier(backlog_max=3)
    listener_id = await world.listen()
    order_id = await world.submit()
    await world.host.finish()
    await world.read()
    full = await world.row(listener_id)
    await world.send()
    wanted = [each[0] for each in await world.expected(order_id)]

    assert (full["backlog"], full["missed"]) == (3, len(wanted) - 3)
    assert full["missedSince"] is not None
    assert world.notifying.stats()["missed"] == len(wanted) - 3
    assert world.listeners.ids()[order_id] == wanted[:3]


async def test_a_second_notifier_fences_the_first(world):
    first, first_sending = await world.notifier()
    await world.listen()
    order_id = await world.submit()
    await first.step()
    await first_sending.step()
    await first_sending.answered()
    second, _ = await world.notifier()
    cursors = await world.outbox.cursors(second.epoch)
    await world.host.finish()
    with pytest.raises(ConsumerFenced):
        await first.step()
    with pytest.raises(ConsumerFenced):
        await first_sending.step()

    assert await world.outbox.cursors(second.epoch) == cursors
    await world.notify()
    assert second.epoch == first.epoch + 1
    assert world.listeners.ids()[order_id] == [each[0] for each in await world.expected(order_id)]
    heard = [each["eventId"] for each in world.listeners.heard["http://a.example/"]]
    assert heard[:2] == [heard[0]] * 2, "what the first had sent and not noted comes again, with the same id"


async def test_a_notifier_that_dies_anywhere_loses_nothing_and_keeps_the_order(world):
    draw = random.Random(11)
    await world.listen()
    await world.notifier()
    ids = []
    world.listeners.answer = lambda _url, _event: Answer(503, "answered 503") if draw.random() < 0.1 else Answer(204)
    for _ in range(40):
        ids.append(await world.submit())
        for call in world.host.dispatch.calls()[: draw.randint(0, 4)]:
            await world.host.report(call)
        working = asyncio.create_task(world.notify())
        for _ in range(draw.randint(0, 400)):
            await asyncio.sleep(0)
        if draw.random() < 0.7:
            working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await world.pass_time(draw.randint(0, 3))
        if draw.random() < 0.5:
            await world.notifier()
    world.listeners.answer = lambda _url, _event: Answer(204)
    await world.host.finish()
    await world.notifier()
    for _ in range(3):
        await world.pass_time(300)
        await world.notify()

    heard = world.listeners.ids()
    for order_id in ids:
        assert heard[order_id] == [each[0] for each in await world.expected(order_id)]
    assert await count(world.pool, "hub_delivery") == 0


async def test_plans_that_do_not_fit_into_memory_are_folded_again_and_tell_the_same(world, monkeypatch):
    monkeypatch.setattr(actors.order_standings, "PLANS_MAX", 1)
    await world.notifier()
    await world.listen()
    ids = [await world.submit() for _ in range(4)]
    while calls := world.host.dispatch.calls():
        await world.read()
        assert world.notifying.stats()["cached"] <= 1
        await world.host.report(calls[0])
    await world.notify()

    for order_id in ids:
        assert world.listeners.ids()[order_id] == [each[0] for each in await world.expected(order_id)]


async def test_a_round_that_fails_is_done_again_from_the_cursor(world, monkeypatch):
    await world.notifier()
    await world.listen()
    order_id = await world.submit()
    await world.read()
    for call in world.host.dispatch.calls():
        await world.host.report(call)
    record = world.outbox.record

    async def unheard(*args: Any) -> Any:
        await record(*args)
        raise ConnectionResetError("the answer was lost")

    with monkeypatch.context() as patched:
        patched.setattr(world.outbox, "record", unheard)
        with pytest.raises(ConnectionResetError):
            await world.notifying.step()
    later = await world.submit()
    await world.notify()

    for each in (order_id, later):
        assert world.listeners.ids()[each] == [name for name, _, _ in await world.expected(each)]
    assert len(world.listeners.heard["http://a.example/"]) == sum(len(each) for each in world.listeners.ids().values())


async def test_after_a_write_that_nobody_heard_of_the_notifier_waits_until_it_is_known_what_became_of_it(world):
    await world.notifier()
    listener_id = await world.listen()
    order_id = await world.submit()
    record = world.outbox.record
    writing: list[asyncio.Task[Any]] = []

    async def unheard(*args: Any) -> Any:
        writing.append(asyncio.create_task(record(*args)))
        await waiting(world.pool, 1)
        raise ConnectionResetError("the connection broke, the server goes on")

    async with world.pool.acquire() as other, other.transaction():
        await other.execute("select from hub_listener where listener_id = $1 for update", listener_id)
        world.outbox.record = unheard
        with pytest.raises(ConnectionResetError):
            await world.notifying.step()
        world.outbox.record = record
        again = asyncio.create_task(world.notifying.step())
        await waiting(world.pool, 2)
    await asyncio.gather(*writing)
    await again
    await world.notify()

    assert world.listeners.ids()[order_id] == [name for name, _, _ in await world.expected(order_id)]
    assert len(world.listeners.heard["http://a.example/"]) == len(world.listeners.ids()[order_id])


async def waiting(pool: Pool, count: int) -> None:
    """Until so many statements wait for a lock."""
    sql = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"

    async def are_waiting() -> bool:
        return bool(await pool.fetchval(sql) >= count)

    await until(are_waiting)


async def test_an_order_that_nobody_can_read_stops_no_other(world):
    await world.notifier()
    await world.listen()
    damaged, sound = await world.submit(), await world.submit()
    await world.pool.execute("update fact set payload = '{}' where order_id = $1 and kind = 'plan.composed'", damaged)
    await world.host.finish()
    await world.notify()

    assert world.listeners.ids()[sound] == [each[0] for each in await world.expected(sound)]
    assert world.notifying.stats()["unreadable"] > 0


async def test_without_listeners_nothing_is_read_and_the_cursor_follows(world):
    await world.notifier()
    await world.submit()
    await world.host.finish()
    await world.pass_time(5)
    await world.read()

    assert await world.outbox.cursors(world.notifying.epoch) == await world.feed.heads()
    assert (world.notifying.stats()["facts"], await world.notifying.lag()) == (0, 0)


async def test_lag_counts_what_is_committed_and_not_looked_at(world):
    await world.notifier()
    await world.listen()
    await world.read()
    await world.submit()
    await world.notifying.step()
    await world.host.finish()
    behind = await world.notifying.lag()
    await world.read()

    assert behind > 0
    assert await world.notifying.lag() == 0


async def test_a_listener_that_goes_takes_what_waits_with_it(world):
    await world.notifier()
    listener_id = await world.listen()
    await world.submit()
    await world.read()
    assert await count(world.pool, "hub_delivery") > 0
    await hub.unregister(world.pool, "main", listener_id)
    await world.host.finish()
    await world.notify()

    assert await count(world.pool, "hub_delivery") == 0
    assert world.listeners.calls == 0
    with pytest.raises(NotFound):
        await hub.unregister(world.pool, "main", listener_id)
