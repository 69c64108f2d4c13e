"""The watchdog in a host, on a real journal: what memory, timers or the dispatcher have lost goes on and is counted."""

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors.watchdog import LOOK_S
from domain.watchdog import LATE_S
from persistence import catalogue
from persistence.incarnations import Ownership
from tests.support.build import callout, depends, line, manual, order_of, plan_of, release_document, release_of
from tests.support.build import scenario as scenario_of
from tests.support.hosts import Host, reported
from tests.support.journals import AT
from tests.support.until import until

RELEASE: dict[str, Any] = release_document(
    products=["sim", "visit"],
    retries=[{"code": "twice", "attemptsMax": 2, "delaysS": [5]}],
    plans=[
        plan_of("deliver", callout("reserve", timeoutS=10, retry="twice"), "activate"),
        plan_of("visit", manual("survey"), "close"),
    ],
    dependencies=[depends("deliver/activate", "deliver/reserve"), depends("visit/close", "visit/survey")],
    scenarios=[scenario_of("sim", "deliver"), scenario_of("visit", "visit")],
)


@pytest.fixture
async def hosts(databases, pool):
    """Starts hosts, and ends them."""
    await catalogue.publish_release(pool, "main", release_of(**RELEASE).release_id, RELEASE, AT)
    made: list[Host] = []

    async def start(name: str = "host-a", **options: Any) -> Host:
        made.append(await Host.start(databases, pool, name, **options))
        return made[-1]

    yield start
    # Not killed only: a cancellation that meets a commit of the watchdog does not end the loop.
    await asyncio.gather(*(host.end() for host in made))
    await asyncio.gather(*(host.running for host in made), return_exceptions=True)


async def ordered(host: Host, product: str = "sim", account: str = "acc-1") -> str:
    [submitted] = await host.submit(order_of(line("1", product), account=account))
    return str(submitted.order_id)


async def stuck_of(pool, order_id: str) -> list[list[str]]:
    """What each fact of the watchdog says of the order."""
    rows = await pool.fetch(
        "select payload from fact where order_id = $1 and kind = 'plan.redriven' order by \"offset\"", order_id
    )
    return [[each["why"] for each in json.loads(row["payload"])["stuck"]] for row in rows]


async def looked_at(host: Host, seconds: float = LOOK_S) -> None:
    """Time passes, and the host has looked at all of its plans."""
    rounds = host.loop.watchdog.rounds + 2
    host.advance(seconds)

    def is_over() -> bool:
        host.advance(LOOK_S)
        return host.loop.watchdog.rounds >= rounds

    await until(is_over)


async def ends(host: Host, pool, order_id: str) -> None:
    await host.finish()
    assert await pool.fetchval("select state from product_order where order_id = $1", order_id) == "completed"


async def test_a_call_that_the_dispatcher_has_lost_is_sent_again_under_its_key(hosts, pool):
    host = await hosts()
    order_id = await ordered(host)
    [key] = host.dispatch.sent
    host.dispatch.open.clear()

    await looked_at(host)

    assert await stuck_of(pool, order_id) == [["callLost"]]
    assert host.dispatch.sent == [key, key]
    assert (host.loop.watchdog.redriven, host.loop.watchdog.stuck()) == (1, 0)
    await ends(host, pool, order_id)


async def test_a_timer_that_the_host_has_lost_is_set_again(hosts, pool):
    host = await hosts()
    order_id = await ordered(host)
    await host.report(host.dispatch.calls()[0], "retryable", error="busy")
    host.loop._timers.set(order_id, None)

    await looked_at(host)

    assert await stuck_of(pool, order_id) == [["timerLost"]]
    host.advance(6)
    await until(host.dispatch.calls)
    await ends(host, pool, order_id)


async def test_a_call_without_a_time_for_its_answer_goes_on(hosts, pool, monkeypatch):
    """Whatever read it so: the journal itself gives the plan without the time."""
    host = await hosts()
    order_id = await ordered(host)
    [key] = host.dispatch.sent
    host.dispatch.open.clear()
    fold = host.loop.memory.folder.fold

    async def without_time(stored: Any) -> Any:
        plan = await fold(stored)
        plan.items[0].timer_at = None
        return plan

    monkeypatch.setattr(host.loop.memory.folder, "fold", without_time)
    host.loop.memory.forget([order_id], [("main", "acc-1")])
    with capture_logs() as logs:
        await looked_at(host)
    monkeypatch.undo()

    assert [each["event"] for each in logs if each["log_level"] == "error"] == []
    assert await stuck_of(pool, order_id) == [["noTimer"]]
    host.advance(6)
    await until(host.dispatch.calls)
    assert host.dispatch.sent == [key, key]
    await ends(host, pool, order_id)


async def test_memory_that_is_wrong_is_read_again_from_the_journal(hosts, pool):
    host = await hosts()
    order_id = await ordered(host)
    plan = host.loop.memory.plans[order_id]
    plan.items[1].waits += 1
    await host.report(host.dispatch.calls()[0])
    assert host.dispatch.calls() == []

    await looked_at(host)

    assert await stuck_of(pool, order_id) == [["notBegun"]]
    assert host.loop.memory.plans[order_id] is not plan
    await ends(host, pool, order_id)


async def test_an_idle_plan_that_has_left_memory_unseen_is_read_to_be_looked_at(hosts, pool):
    host = await hosts()
    order_id = await ordered(host, "visit")
    host.loop.memory.forget([order_id], [("main", "acc-1")])

    await looked_at(host)

    assert order_id in host.loop.memory.plans
    assert await stuck_of(pool, order_id) == []


async def test_an_overdue_order_that_the_host_does_not_have_is_found_in_the_database(hosts, pool):
    host = await hosts()
    order_id = await ordered(host)
    await host.report(host.dispatch.calls()[0], "retryable", error="busy")
    await looked_at(host)
    host.loop.memory.forget([order_id], [("main", "acc-1")])
    host.loop._timers.set(order_id, None)
    host.advance(5 + LATE_S + 1)

    await host.loop.sweep()
    await looked_at(host)

    assert await stuck_of(pool, order_id) == [["timerPassed"]]
    await ends(host, pool, order_id)


async def test_an_active_order_that_the_host_does_not_have_is_found_in_the_database(hosts, pool):
    host = await hosts()
    order_id = await ordered(host)
    await looked_at(host)
    host.loop.memory.forget([order_id], [("main", "acc-1")])
    host.dispatch.open.clear()

    await host.loop.sweep()
    await looked_at(host)

    assert await stuck_of(pool, order_id) == [["callLost"]]
    await ends(host, pool, order_id)


async def test_the_next_owner_looks_at_what_was_written_last(hosts, pool):
    old = await hosts()
    order_id = await ordered(old, "visit")
    old.kill()
    await Ownership(pool).fence("host-a")

    new = await hosts("host-b")
    assert order_id not in new.loop.memory.plans
    await looked_at(new)

    assert order_id in new.loop.memory.plans


async def test_a_plan_that_cannot_be_mended_is_not_redriven_every_second(hosts, pool, monkeypatch):
    host = await hosts()
    order_id = await ordered(host)
    monkeypatch.setattr("domain.redrive.start", lambda turn: None)
    plan = host.loop.memory.plans[order_id]
    plan.items[1].waits += 1
    await host.report(host.dispatch.calls()[0])

    await looked_at(host)
    await looked_at(host)

    assert await stuck_of(pool, order_id) == [["notBegun"]]
    assert host.loop.watchdog.stuck() == 1
    monkeypatch.undo()
    await looked_at(host, 60)
    assert host.loop.watchdog.stuck() == 0
    await ends(host, pool, order_id)


async def test_plans_that_are_well_are_left_alone(hosts, pool):
    host = await hosts()
    for number in range(20):
        await ordered(host, ("sim", "visit")[number % 2], f"acc-{number % 3}")
    await host.report(host.dispatch.calls()[0], "retryable", error="busy")
    await host.report(host.dispatch.calls()[-1], "accepted")

    await looked_at(host)
    await host.loop.sweep()
    await looked_at(host, 20)

    assert await pool.fetchval("select count(*) from fact where kind = 'plan.redriven'") == 0
    assert host.loop.watchdog.looked >= 20


async def test_a_call_whose_result_waits_for_its_turn_is_not_lost(hosts, pool):
    host = await hosts()
    order_id = await ordered(host)
    [call] = host.dispatch.calls()
    host.loop.watchdog._looked_at = None
    looked = host.loop.watchdog.looked

    await host.report(call)

    assert host.loop.watchdog.looked > looked
    assert await stuck_of(pool, order_id) == []
    assert len(host.dispatch.sent) == 2


async def test_orders_of_an_account_are_noted_once_however_many_others_end_with_one_tick(hosts, monkeypatch):
    host = await hosts()
    ended = [await ordered(host) for _ in range(3)]
    left = await ordered(host)
    for _ in range(2):
        calls = [call for order_id in ended for call in host.dispatch.calls(order_id)]
        noted: list[str] = []
        monkeypatch.setattr(host.loop.watchdog, "note", noted.extend)
        await host.ask(*(reported(call) for call in calls))

    assert noted == [left]
