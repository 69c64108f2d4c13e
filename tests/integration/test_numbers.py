"""The numbers that managers look at: what the queries say of a journal is what its facts say."""

from __future__ import annotations

import asyncio
import csv
import io
import random
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from actors.counting import Counter
from actors.envelopes import ToPlan
from domain.errors import OrderplanError
from domain.messages import ChangeOrder, ClaimTask, CompleteTask, OperateItem
from domain.stock_items import RESOLVE_QUEUE
from gateway.app import errors
from gateway.context import CONTEXT
from gateway.metrics import Metrics
from gateway.numbers import get_number_table, get_numbers, list_ended_orders, span_of
from persistence import catalogue, fallout, numbers, tasks
from persistence.consumers import ConsumerFenced
from persistence.counting import Counting, counted_to
from persistence.database import Pool
from persistence.fallout import FalloutFilter
from persistence.numbers import COLUMNS, Span, TooMuchToCount, read_numbers
from persistence.reads import OPEN_STATES, list_orders
from persistence.readstore import StoredFact, stored_fact
from tests.support.build import (
    callout,
    depends,
    line,
    manual,
    milestone,
    order_of,
    plan_of,
    release_document,
    release_of,
    scenario,
)
from tests.support.hosts import Host
from tests.support.journals import AT, explained
from tests.support.number_facts import numbers_from
from tests.support.until import until

RELEASE: dict[str, Any] = release_document(
    products=["fibre", "phone", "empty"],
    retries=[{"code": "twice", "attemptsMax": 2, "delaysS": [7_200]}],
    plans=[
        plan_of(
            "install",
            callout("reserve", retry="twice", name="Reserve a port"),
            manual("visit", durationS=3_600),
            callout("activate", system="network"),
            milestone("done"),
        ),
        plan_of("number", manual("check", queue="numbers"), callout("port", system="network", retry="twice")),
    ],
    dependencies=[
        depends("install/visit", "install/reserve"),
        depends("install/activate", "install/visit"),
        depends("install/done", "install/activate"),
        depends("number/port", "number/check"),
    ],
    scenarios=[scenario("fibre", "install"), scenario("phone", "number")],
)
DEFINITIONS: dict[str, dict[str, Any]] = {
    f"{plan['code']}/{item['code']}": item for plan in RELEASE["plans"] for item in plan["items"]
} | {"resolve/fallout": {"queue": RESOLVE_QUEUE}}


@pytest.fixture
async def host(databases: Any, pool: Pool) -> AsyncIterator[Host]:
    await catalogue.publish_release(pool, "main", release_of(**RELEASE).release_id, RELEASE, AT)
    made = await Host.start(databases, pool)
    yield made
    made.kill()
    await asyncio.gather(made.running, return_exceptions=True)


async def live(host: Host, pool: Pool, draw: random.Random, steps: int) -> None:
    """Have orders come, and things happen to them, over some days."""
    counting = Counting(pool, "main", per_shard=7)
    epoch = await counting.take_over()
    for step in range(steps):
        host.advance(draw.expovariate(1 / 600))
        await asyncio.sleep(0)
        choice = draw.random()
        if choice < 0.3:
            await come(host, draw)
        elif choice < 0.6:
            await answer(host, draw)
        elif choice < 0.8:
            await work(host, pool, draw, step)
        elif choice < 0.95:
            await repair(host, pool, draw, step)
        else:
            await change(host, pool, draw, step)
        if draw.random() < 0.1:
            await counting.step(epoch)
    # The rest is counted by whoever takes over.
    epoch = await counting.take_over()
    while (await counting.step(epoch)).is_more:
        pass


async def come(host: Host, draw: random.Random) -> None:
    lines = [line("1", draw.choice(["fibre", "fibre", "phone", "empty"]))]
    if draw.random() < 0.2:
        lines.append(line("2", "phone"))
    due_at = host.clock.now + timedelta(hours=draw.uniform(1, 60)) if draw.random() < 0.8 else None
    await host.submit(
        order_of(*lines, account=f"acc-{draw.randrange(50)}", due_at=due_at.isoformat() if due_at else None)
    )


async def answer(host: Host, draw: random.Random) -> None:
    if calls := host.dispatch.calls():
        kind = draw.choices(["completed", "retryable", "fatal"], [8, 2, 1])[0]
        await host.report(draw.choice(calls), kind)


async def work(host: Host, pool: Pool, draw: random.Random, step: int) -> None:
    rows = await pool.fetch(
        "select task_id, order_id, item, queue from manual_task where closed_at is null order by task_id"
    )
    if not rows:
        return
    task_id, order_id, item, queue = draw.choice(rows)
    if draw.random() < 0.3:
        await tasks.claim_task(pool, "main", task_id, "paul", host.clock.now, 1e6)
        await host.tell(order_id, ClaimTask(item, "paul", f"claim-{step}"), "person:paul")
    else:
        await tasks.release_task(pool, task_id, "paul")
        form = {"resolution": "looked at"} if queue == RESOLVE_QUEUE else {}
        await host.tell(order_id, CompleteTask(item, "paul", form, f"done-{step}"), "person:paul")


async def repair(host: Host, pool: Pool, draw: random.Random, step: int) -> None:
    # Also what is tried again by itself: to skip that is a repair without a failure for good.
    state = draw.choice(["failed", "failed", "retrying"])
    rows = await fallout.list_items(pool, "main", FalloutFilter(state=state), after=None, limit=100)
    if rows:
        row, action = draw.choice(rows), draw.choice(["retry", "retry", "skip", "complete"])
        message = OperateItem(row["item"], action, "olga", "because", f"repair-{step}")  # type: ignore[arg-type]
        await host.tell(row["order_id"], message, "person:olga")


async def change(host: Host, pool: Pool, draw: random.Random, step: int) -> None:
    rows = await pool.fetch("select order_id from product_order where ended_at is null order by order_id")
    if not rows:
        return
    order_id = draw.choice(rows)["order_id"]
    asked = ChangeOrder("cancel", "because", f"change-{step}")
    if draw.random() < 0.5:
        due_at = (host.clock.now + timedelta(hours=draw.uniform(-5, 40))).isoformat()
        asked = ChangeOrder("patch", "because", f"change-{step}", patch={"dueAt": due_at})
    [answered] = await host.ask(ToPlan(order_id, asked, "person:olga"))
    assert not isinstance(answered, OrderplanError) or answered.status == 409, answered


async def all_facts(pool: Pool) -> list[StoredFact]:
    return [stored_fact(row) for row in await pool.fetch('select * from fact order by shard, "offset"')]


def alike(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    """Rows of the same table in any order, as far as the facts know the columns; shares and seconds are rounded."""

    def name_of(row: Mapping[str, Any]) -> str:
        return str(next(iter(row.values())))

    known = set(wanted[0]) if wanted else set()
    shown = [{name: value for name, value in row.items() if name in known} for row in found]
    assert [name_of(row) for row in sorted(shown, key=name_of)] == [name_of(row) for row in sorted(wanted, key=name_of)]
    for row, right in zip(sorted(shown, key=name_of), sorted(wanted, key=name_of), strict=True):
        assert row == {
            name: pytest.approx(value, abs=0.006) if isinstance(value, float) else value
            for name, value in right.items()
        }


@pytest.mark.parametrize("seed", range(3))
async def test_every_number_is_what_the_facts_say(host: Host, pool: Pool, seed: int) -> None:
    await live(host, pool, random.Random(seed), 250)
    facts = await all_facts(pool)
    now = host.clock.now
    for hours, zone in ((1, "UTC"), (24, "Pacific/Kiritimati"), (92 * 24, "America/Los_Angeles")):
        span = span_of(now, timedelta(hours=hours), ZoneInfo(zone))
        told = await read_numbers(pool, "main", span)
        day = now.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)
        wanted = numbers_from(facts, DEFINITIONS, span.since, now, (day, day + timedelta(days=1)))

        assert told["countedTo"] == now
        for table in COLUMNS:
            alike(told[table], wanted[table])
    # It was no idle history: each number had something to tell.
    [orders] = told["orders"]
    assert min(orders[name] for name in ("dueToday", "overdue", "completed", "failedForGood", "firstTimeRight")) > 0
    assert orders["firstTimeRight"] < orders["completed"] < orders["ended"] < orders["lookedAt"]
    assert {each["system"] for each in told["systems"]} == {"sys", "network"}
    assert {"desk", "numbers"} <= {each["queue"] for each in told["queues"]}
    claimed = await pool.fetchval(
        "select count(*) from manual_task join task_claim using (task_id) where closed_at is null"
    )
    assert sum(each["held"] for each in told["queues"]) == claimed > 0


async def test_who_takes_over_fences_the_one_before_and_counts_nothing_twice(host: Host, pool: Pool) -> None:
    counting = Counting(pool, "main")
    first = await counting.take_over()
    await host.submit(order_of(line("1", "fibre")))
    assert (await counting.step(first)).facts > 0
    second = await Counting(pool, "main").take_over()

    with pytest.raises(ConsumerFenced):
        await counting.step(first)
    assert (await Counting(pool, "main").step(second)).facts == 0
    assert await pool.fetchval("select n from fact_count where kind = 'order.accepted'") == 1


async def test_what_is_not_counted_yet_is_told_by_the_time_that_numbers_go_to(host: Host, pool: Pool) -> None:
    counting = Counting(pool, "main")
    later = host.clock.now + timedelta(hours=1)
    assert await counted_to(pool, "main", later) is None
    epoch = await counting.take_over()
    assert await counted_to(pool, "main", later) == later
    await host.submit(order_of(line("1", "fibre")))

    assert await counted_to(pool, "main", later) == host.clock.now
    await counting.step(epoch)
    assert await counted_to(pool, "main", later) == later


async def test_what_no_window_reaches_is_dropped_and_the_rest_stays(host: Host, pool: Pool) -> None:
    counting = Counting(pool, "main")
    epoch = await counting.take_over()
    await host.submit(order_of(line("1", "empty")))
    await counting.step(epoch)
    await counting.drop_old(host.clock.now + timedelta(days=92))
    assert await pool.fetchval("select count(*) from ended_order") == 1

    await counting.drop_old(host.clock.now + timedelta(days=94))
    assert await pool.fetchval("select count(*) from ended_order") == 0
    assert await pool.fetchval("select count(*) from fact_count") == 0


async def test_a_counter_goes_on_after_an_error_and_ends_when_it_is_fenced(host: Host, pool: Pool) -> None:
    counting = Counting(pool, "main")
    pauses: list[float] = []
    counter = Counter(counting, clock=host.clock, sleep=lambda seconds: _noted(pauses, seconds))
    await pool.execute("alter table fact_count rename to away")
    running = asyncio.create_task(counter.run())
    try:
        await until(lambda: len(pauses) > 1)
        assert counter.counted == 0
    finally:
        await pool.execute("alter table away rename to fact_count")
    await host.submit(order_of(line("1", "fibre")))
    await until(lambda: counter.counted > 0)

    await counting.take_over()
    async with asyncio.timeout(10):
        await running


async def _noted(pauses: list[float], seconds: float) -> None:
    pauses.append(seconds)
    await asyncio.sleep(0)


async def test_numbers_that_take_too_long_are_given_up_with_what_to_do(
    host: Host, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = "select pg_sleep(30), $1::text, $2::timestamptz, $3::timestamptz, $4::timestamptz"
    monkeypatch.setattr(numbers, "_OPEN", slow)
    monkeypatch.setattr(numbers, "TIMEOUT_S", 1.0)
    now = datetime(2030, 1, 31, 12, tzinfo=UTC)

    with pytest.raises(TooMuchToCount) as refused:
        await read_numbers(pool, "main", Span(now - timedelta(hours=1), now, now, now))
    assert (refused.value.status, refused.value.path) == (503, "window")


async def test_the_time_of_the_numbers_is_that_of_all_statements_together(
    host: Host, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    fetch = asyncpg.Connection.fetch

    async def slowly(self: Any, query: str, *values: Any, **options: Any) -> Any:
        asked.append(query)
        await self.execute("select pg_sleep(0.4)")
        return await fetch(self, query, *values, **options)

    monkeypatch.setattr(asyncpg.Connection, "fetch", slowly)
    monkeypatch.setattr(numbers, "TIMEOUT_S", 1.0)
    now = datetime(2030, 1, 31, 12, tzinfo=UTC)

    with pytest.raises(TooMuchToCount):
        await read_numbers(pool, "main", Span(now - timedelta(hours=1), now, now, now))
    assert 1 < len(asked) <= 3


async def test_the_list_of_orders_by_promised_date_has_as_many_as_the_numbers_say(host: Host, pool: Pool) -> None:
    await live(host, pool, random.Random(0), 60)
    span = span_of(host.clock.now, timedelta(hours=1), ZoneInfo("UTC"))
    [orders] = (await read_numbers(pool, "main", span))["orders"]
    states = tuple(OPEN_STATES)
    day = (span.day_starts_at, span.day_ends_at)

    _, due_today = await list_orders(pool, "main", states=states, due_after=day[0], due_before=day[1])
    assert due_today == orders["dueToday"] > 0
    assert (await list_orders(pool, "main", states=states, due_before=span.now))[1] == orders["overdue"] > 0
    assert (await list_orders(pool, "main", states=states))[1] == orders["open"]


async def test_what_is_due_is_found_by_its_index(host: Host, pool: Pool) -> None:
    told = await explained(
        pool,
        "select count(*) from product_order where tenant = $1 and ended_at is null and requested_due_at < $2",
        "main",
        host.clock.now,
    )

    assert any("product_order_due_idx" in name for name, _ in told)


async def test_each_table_is_the_same_as_json_and_as_csv(host: Host, pool: Pool) -> None:
    app = web.Application(middlewares=[errors])
    app[CONTEXT] = cast(
        Any,
        SimpleNamespace(
            pool=pool,
            config=SimpleNamespace(tenant="main"),
            metrics=Metrics(),
            is_draining=False,
            now=host.clock,
        ),
    )
    app.router.add_get("/v1/numbers", get_numbers)
    app.router.add_get("/v1/numbers/{table}", get_number_table)
    app.router.add_get("/v1/ended-orders", list_ended_orders)
    await live(host, pool, random.Random(1), 100)
    async with TestClient(TestServer(app)) as client:
        whole = await (await client.get("/v1/numbers?window=7d")).json()
        for table, columns in COLUMNS.items():
            one = await (await client.get(f"/v1/numbers/{table}?window=7d")).json()
            answer = await client.get(f"/v1/numbers/{table}?window=7d", headers={"Accept": "text/csv"})
            rows = list(csv.DictReader(io.StringIO(await answer.text(), newline="")))

            assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
            assert one[table] == whole[table]
            assert [tuple(row) for row in rows] == [columns] * len(rows)
            assert [list(row.values()) for row in rows] == [
                [_written(row[name]) for name in columns] for row in one[table]
            ]
        asked = await client.get(f"/v1/numbers/{table}?window=7d&format=csv")
        assert await asked.text() == await answer.text()
        ended = await (await client.get("/v1/ended-orders", params={"since": whole["since"], "limit": "5"})).json()
        again = {"since": whole["since"], "after": ended["next"]}
        ended["orders"] += (await (await client.get("/v1/ended-orders", params=again)).json())["orders"]
        assert len({each["orderId"] for each in ended["orders"]}) == whole["orders"][0]["lookedAt"] > 5
        for offer in whole["offers"]:
            wanted = {"since": whole["since"], "offer": offer["offer"], "state": "completed"}
            right = await (await client.get("/v1/ended-orders", params=wanted | {"right": "true"})).json()
            completed = await (await client.get("/v1/ended-orders", params=wanted)).json()
            assert (len(right["orders"]), len(completed["orders"])) == (offer["firstTimeRight"], offer["completed"])
        for query, path in (("", "since"), ("since=2030-01-01T00:00:00Z&right=1", "right"), ("since=x", "since")):
            refused = await client.get(f"/v1/ended-orders?{query}")
            assert (refused.status, (await refused.json())["path"]) == (400, path)
        for query, path in (("window=9w", "window"), ("zone=Nowhere", "zone"), ("format=xml", "format"), ("x=1", "x")):
            refused = await client.get(f"/v1/numbers/orders?{query}")
            assert (refused.status, (await refused.json())["path"]) == (400, path)
        assert (await client.get("/v1/numbers/nothing")).status == 404


def _written(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
