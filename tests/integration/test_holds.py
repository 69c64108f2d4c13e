"""Held systems on a real journal and a real host's loop: items rest, and go on in turn at the set rate."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from actors.envelopes import Envelope, NotOwner
from actors.resumer import AGAIN_S, LOOK_S, Resumer
from domain.errors import OrderplanError
from domain.holds import EVERYTHING, HeldSystems, HoldCause
from domain.ids import effect_key
from domain.messages import OperateItem
from persistence import catalogue, holds
from persistence.catalogue import Limits
from persistence.holds import HeldItems, held_by_tenant, list_holds
from tests.support.build import callout, line, order_of, plan_of, release_document, release_of, scenario
from tests.support.hosts import Host
from tests.support.journals import AT, count
from tests.support.until import until

RELEASE: dict[str, Any] = release_document(
    products=["offer"],
    plans=[plan_of("p", callout("bill", system="billing"), callout("ship", system="warehouse"))],
    scenarios=[scenario("offer", "p")],
)


class Way:
    """The way to one host, which may be away for some orders."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.away: set[str] = set()
        self.silent: set[str] = set()
        """Items whose messages are not answered until `silence_ends`."""
        self.silence_ends = asyncio.Event()
        self.unheard = 0
        self.asked: list[str] = []

    async def ask(self, lane: str, shard: int, envelope: Envelope, *, timeout_s: float) -> Any:
        order_id: str = envelope.order_id  # type: ignore[attr-defined]  # a message for a plan
        if order_id in self.away:
            raise NotOwner("nobody has the shard")
        if envelope.message.item in self.silent:  # type: ignore[attr-defined]  # that an item goes on
            self.unheard += 1
            await self.silence_ends.wait()
        self.asked.append(order_id)
        [answer] = await self.host.ask(envelope)
        if isinstance(answer, OrderplanError):
            raise answer
        return answer


@pytest.fixture
async def host(databases, pool):
    await catalogue.publish_release(pool, "main", release_of(**RELEASE).release_id, RELEASE, AT)
    await put(pool, "billing", Limits(drain_per_s=4.0, breaker_pause_s=10.0))
    await put(pool, "warehouse", Limits())
    made = await Host.start(databases, pool)
    yield made
    await made.end()


async def put(pool, code: str, limits: Limits) -> None:
    await catalogue.put_system(
        pool, "main", code, adapter="simulated", config={}, limits=limits, now=AT, actor="olga"
    )


async def hold(pool, host: Host, code: str = "billing", cause: HoldCause = HoldCause.OFFLINE) -> None:
    """Hold a system, and let the host hear of it."""
    await holds.hold(pool, "main", code, cause, reason="maintenance", actor="olga", now=host.clock.now)
    await hear(pool, host)


async def release(pool, host: Host, code: str = "billing") -> bool:
    """Release a system; the host hears of it only when the test says so."""
    return await holds.release(pool, "main", code, reason="", actor="olga", now=host.clock.now)


async def hear(pool, host: Host) -> None:
    host.loop.held = held_by_tenant(await list_holds(pool, "main"))


async def held(pool) -> HeldSystems:
    return held_by_tenant(await list_holds(pool, "main")).get("main", HeldSystems())


def resumer_of(pool, host: Host) -> tuple[Resumer, Way]:
    way = Way(host)
    return Resumer(HeldItems(pool, "main"), way, clock=host.clock), way


async def look(resumer: Resumer, host: Host, seconds: float = LOOK_S) -> None:
    """Let time pass, look, and hear every answer."""
    host.advance(seconds)
    await resumer.look()
    await resumer.settled()


async def submit(host: Host, orders: int, **members: Any) -> list[str]:
    answers = await host.submit(*(order_of(line("1", "offer"), account=f"a-{n}", **members) for n in range(orders)))
    return [each.order_id for each in answers]


async def states(pool) -> dict[str, int]:
    rows = await pool.fetch("select state, count(*) as n from product_order group by state")
    return {row["state"]: row["n"] for row in rows}


async def test_a_held_system_keeps_its_own_items_and_nobody_elses_and_all_complete_after_the_release(host, pool):
    await hold(pool, host)
    await submit(host, 10)
    shipped = await host.finish()
    resting = (await count(pool, "held_item"), await states(pool))
    resumer, _ = resumer_of(pool, host)
    await look(resumer, host)
    while_held = host.dispatch.calls()
    await release(pool, host)
    await hear(pool, host)
    for _ in range(30):
        await look(resumer, host)
        await host.finish()

    assert [call.system for call in shipped] == ["warehouse"] * 10
    assert resting == (10, {"held": 10})
    assert while_held == []
    assert (await count(pool, "held_item"), await states(pool)) == (0, {"completed": 10})
    assert len(host.dispatch.sent) == len(set(host.dispatch.sent)) == 20


@pytest.mark.rule("B2.7")
async def test_held_items_go_on_at_the_systems_rate(host, pool):
    await hold(pool, host)
    await submit(host, 30)
    await host.finish()
    await release(pool, host)
    await hear(pool, host)
    resumer, way = resumer_of(pool, host)
    gone = []
    for _ in range(16):
        await look(resumer, host)
        gone.append(len(way.asked))

    # Four a second, in looks of a quarter; half a second's worth to begin with.
    assert gone[0] <= 2
    assert gone[-1] == pytest.approx(4 * 4, abs=2)
    assert max(after - before for before, after in pairwise(gone)) <= 2


@pytest.mark.rule("B2.7")
async def test_urgent_items_go_first_and_then_those_that_could_start_first(host, pool):
    await hold(pool, host)
    [old] = await submit(host, 1)
    host.advance(1)
    [new] = [(await host.submit(order_of(line("1", "offer"), account="b")))[0].order_id]
    host.advance(1)
    [urgent] = [(await host.submit(order_of(line("1", "offer"), account="c", priority="high")))[0].order_id]
    await release(pool, host)
    resumer, way = resumer_of(pool, host)
    for _ in range(6):
        await look(resumer, host)

    assert way.asked == [urgent, old, new]


async def test_an_item_that_was_held_on_old_news_goes_on_all_the_same(host, pool):
    await hold(pool, host)
    await release(pool, host)
    await submit(host, 1)
    rested = await count(pool, "held_item")
    resumer, _ = resumer_of(pool, host)
    await look(resumer, host)

    assert rested == 1
    assert [call.system for call in host.dispatch.calls(name="bill")] == ["billing"]
    assert await count(pool, "held_item") == 0


async def test_whoever_dies_in_the_middle_loses_nothing(host, databases, pool):
    await hold(pool, host)
    await submit(host, 8)
    await host.finish()
    await release(pool, host)
    resumer, _ = resumer_of(pool, host)
    for _ in range(4):
        await look(resumer, host)
    running = [effect_key(call.order_id, call.item, call.attempt) for call in host.dispatch.calls()]
    await host.end()
    await fence(databases)
    successor = await Host.start(databases, pool, "host-b", clock=host.clock)
    try:
        again, _ = resumer_of(pool, successor)
        recovered = set(successor.dispatch.sent)
        for _ in range(30):
            await look(again, successor)
            await successor.finish()

        assert 0 < len(running) < 8
        assert recovered == set(running), "what ran is sent again with its key"
        assert await states(pool) == {"completed": 8}
        assert len(successor.dispatch.sent) == len(set(successor.dispatch.sent)) == 8
    finally:
        await successor.end()


async def fence(databases) -> None:
    connection = await asyncpg.connect(databases.dsn)
    try:
        await connection.execute("update incarnation set epoch = epoch + 1, state = 'fenced'")
    finally:
        await connection.close()


async def test_an_order_whose_host_is_away_does_not_keep_the_others_from_going_on(host, pool):
    await hold(pool, host)
    first, *others = await submit(host, 5)
    await release(pool, host)
    resumer, way = resumer_of(pool, host)
    way.away.add(first)
    for _ in range(8):
        await look(resumer, host)
    without = list(way.asked)
    way.away.clear()
    await look(resumer, host, AGAIN_S)

    assert sorted(without) == sorted(others)
    assert way.asked[-1] == first


async def test_a_call_that_came_back_unmade_is_listed_until_it_goes_on(host, pool):
    await submit(host, 1)
    [call] = host.dispatch.calls(name="bill")
    await host.report(call, "held", error="it had no room for the call in time", error_code="busy")
    row = await pool.fetchrow("select system, cause from held_item")
    still_open = host.dispatch.calls(name="bill")
    resumer, _ = resumer_of(pool, host)
    await look(resumer, host)

    assert tuple(row) == ("billing", "busy")
    assert still_open == []
    assert [each.attempt for each in host.dispatch.calls(name="bill")] == [1]
    assert host.dispatch.sent.count(effect_key(call.order_id, call.item, 1)) == 2


async def test_items_that_come_back_for_want_of_room_go_on_more_and_more_slowly(host, pool):
    await put(pool, "billing", Limits(drain_per_s=200.0))
    await hold(pool, host)
    await submit(host, 40)
    await host.finish()
    await release(pool, host)
    await hear(pool, host)
    resumer, way = resumer_of(pool, host)
    before = await count(pool, "fact")
    gone = []
    for _ in range(100):
        await look(resumer, host)
        gone.append(len(way.asked))
        for call in host.dispatch.calls(name="bill"):
            await host.report(call, "held", error="it had no room for the call in time", error_code="busy")

    assert gone[0] == 40
    assert gone[-1] < 40 + 60
    assert gone[-1] - gone[-41] <= 1, "one in ten seconds in the end"
    assert await count(pool, "fact") - before < 2 * (40 + 60) + 20
    assert await count(pool, "held_item") == 40


async def test_a_held_item_that_is_skipped_leaves_the_list(host, pool):
    await hold(pool, host)
    [order_id] = await submit(host, 1)
    item = OperateItem("p/bill@1", "skip", "olga", "not needed", "m-1")
    await host.tell(order_id, item, actor="person:olga", cause="m-1")

    assert await count(pool, "held_item") == 0


# Circuit breakers.


async def open_breaker(pool, host: Host, *, try_in_s: float, is_held: bool = True) -> None:
    """What the adapters write."""
    await holds.Holds(pool).note_breaker(
        "main",
        "billing",
        is_held=is_held,
        reason="the last call failed with 503",
        probe_at=host.clock.now + timedelta(seconds=try_in_s),
        now=host.clock.now,
    )
    await hear(pool, host)


async def test_an_open_breaker_gets_one_item_a_pause_each_time_another_one(host, pool):
    await open_breaker(pool, host, try_in_s=10)
    await submit(host, 3)
    resumer, way = resumer_of(pool, host)
    await look(resumer, host, 5)
    early = list(way.asked)
    for _ in range(3):
        await look(resumer, host, 10)
        await look(resumer, host)
        [call] = host.dispatch.calls(name="bill")
        await host.report(call, "held", error="the last call failed with 503", error_code="breaker")
        await open_breaker(pool, host, try_in_s=10)

    assert early == []
    assert len(way.asked) == len(set(way.asked)) == 3


async def test_a_breaker_whose_row_comes_when_its_pause_is_over_is_tried_at_once(host, pool):
    """Found by the simulator (seed 41): the adapters could not write the row while the database was away."""
    await open_breaker(pool, host, try_in_s=0)
    await submit(host, 1)
    resumer, way = resumer_of(pool, host)

    await look(resumer, host)

    assert len(way.asked) == 1


async def test_an_item_whose_plan_does_not_answer_leaves_the_next_try_to_another(host, pool):
    await open_breaker(pool, host, try_in_s=0)
    first, *others = await submit(host, 3)
    resumer, way = resumer_of(pool, host)
    way.away.add(first)
    await look(resumer, host)
    unanswered = list(way.asked)
    await look(resumer, host, 10)

    assert unanswered == []
    assert len(way.asked) == 1
    assert way.asked[0] in others


async def test_an_item_whose_plan_did_not_answer_is_tried_again_when_there_is_no_other(host, pool):
    await open_breaker(pool, host, try_in_s=0)
    [only] = await submit(host, 1)
    resumer, way = resumer_of(pool, host)
    way.away.add(only)
    await look(resumer, host)
    way.away.clear()
    await look(resumer, host, 10)

    assert way.asked == [only]


async def test_a_try_that_nobody_answers_does_not_keep_other_systems_waiting(host, pool):
    await open_breaker(pool, host, try_in_s=0)
    await hold(pool, host, "warehouse")
    await submit(host, 2)
    await release(pool, host, "warehouse")
    resumer, way = resumer_of(pool, host)
    way.silent.add("p/bill@1")
    for _ in range(2):
        host.advance(LOOK_S)
        # The answer to the try does not come at all.
        await asyncio.wait_for(resumer.look(), 10.0)
        await until(lambda: way.unheard and len(way.asked) == 2)
    unheard = way.unheard
    way.silence_ends.set()
    await resumer.settled()

    assert [call.system for call in host.dispatch.calls(name="ship")] == ["warehouse"] * 2
    assert unheard == 1, "one try at a time"


async def test_a_breaker_that_is_open_for_the_first_time_holds_nothing_yet(host, pool):
    await open_breaker(pool, host, try_in_s=10, is_held=False)
    await submit(host, 1)

    assert len(host.dispatch.calls(name="bill")) == 1


async def test_a_closed_breaker_lets_held_items_go_on(host, pool):
    await open_breaker(pool, host, try_in_s=600)
    await submit(host, 2)
    await holds.Holds(pool).drop_breaker("main", "billing", host.clock.now)
    resumer, _ = resumer_of(pool, host)
    for _ in range(3):
        await look(resumer, host)

    assert len(host.dispatch.calls(name="bill")) == 2


# Holds as rows.


async def test_everything_is_paused_and_systems_are_taken_out_one_after_another(host, pool):
    await hold(pool, host, EVERYTHING, HoldCause.PAUSE)
    await submit(host, 2)
    paused = host.dispatch.calls()
    await release(pool, host, "warehouse")
    resumer, _ = resumer_of(pool, host)
    for _ in range(3):
        await look(resumer, host)
    shipped = sorted(call.system for call in host.dispatch.calls())
    await release(pool, host, EVERYTHING)
    for _ in range(3):
        await look(resumer, host)

    assert paused == []
    assert shipped == ["warehouse", "warehouse"]
    assert len(host.dispatch.calls()) == 4
    assert await count(pool, "system_hold") == 0


async def test_a_second_pause_takes_in_who_was_out_of_the_first(host, pool):
    await hold(pool, host, EVERYTHING, HoldCause.PAUSE)
    await release(pool, host, "warehouse")
    between = (await held(pool)).of_system("warehouse")
    await hold(pool, host, EVERYTHING, HoldCause.PAUSE)

    assert between is None
    assert (await held(pool)).of_system("warehouse") is not None


async def test_releasing_what_nothing_holds_changes_nothing(host, pool):
    before = await count(pool, "system_change")

    assert not await release(pool, host)
    assert await count(pool, "system_change") == before


async def test_who_changed_held_and_released_a_system_is_kept(host, pool):
    await hold(pool, host)
    await release(pool, host)
    changes = await holds.list_changes(pool, "main", "billing", 10)

    assert [(each["kind"], each["actor"]) for each in changes] == [
        ("released", "olga"),
        ("held", "olga"),
        ("set", "olga"),
    ]
    assert changes[1]["body"] == {"cause": "offline", "reason": "maintenance"}
    assert changes[2]["body"]["drain_per_s"] == 4.0


async def test_the_systems_that_are_waited_for_are_found_whatever_the_items(host, pool):
    await hold(pool, host, EVERYTHING, HoldCause.PAUSE)
    await submit(host, 5)

    assert await HeldItems(pool, "main").systems() == ["billing", "warehouse"]
    assert await HeldItems(pool, "other").systems() == []
    assert await holds.count_held(pool, "main", "billing", 3) == 3
