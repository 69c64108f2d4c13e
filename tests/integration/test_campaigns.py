"""Campaigns on real tables: loaded once, submitted at their rate, each order once, whoever dies on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from actors.jobs import LEASE_S, Asks, Jobs, Lines
from domain.errors import Busy, NotFound, NotPossibleNow
from persistence import jobs
from persistence.database import Pool
from persistence.vault import Vault, unwrapped
from tests.support.clocks import PacedClock
from tests.support.journals import count
from tests.support.until import until

LINES = 120
Made = Callable[[], Jobs]


class Orders:
    """Takes lines as the gateway does; knows an order by campaign and number."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, int], bytes] = {}
        self.windows: list[list[int]] = []
        self.busy = 0
        """So many windows are refused for a crowd."""
        self.dies_after: int | None = None
        self.refuses: dict[int, dict[str, Any]] = {}
        self.states: dict[int, str] = {}

    async def submit(self, campaign: str, lines: Lines) -> dict[int, dict[str, Any]]:
        self.windows.append([number for number, _ in lines])
        if self.busy:
            self.busy -= 1
            raise Busy("there is no gateway")
        answers = {}
        for number, raw in lines:
            if number in self.refuses:
                answers[number] = {"line": number, "error": self.refuses[number]}
                continue
            self.known[campaign, number] = raw
            state = self.states.get(number, "acknowledged")
            answers[number] = {"line": number, "id": f"o0-{number}", "state": state}
        if self.dies_after is not None and len(self.windows) >= self.dies_after:
            raise asyncio.CancelledError
        return answers


@pytest.fixture
def clock() -> PacedClock:
    return PacedClock()


@pytest.fixture
def orders() -> Orders:
    return Orders()


@pytest.fixture
async def runner(pool: Pool, keys: Pool, clock: PacedClock, orders: Orders) -> Made:
    def make() -> Jobs:
        nobody = cast("Asks", None)
        return Jobs(
            pool, Vault(keys, pool), nobody, "main", clock=clock, sleep=clock.sleep, submit=orders.submit
        )

    return make


def line(number: int) -> bytes:
    return json.dumps({"externalId": str(number), "pin": "4711-secret"}).encode()


async def loaded(runner: Made, *, lines: int = LINES, rate: float = 50) -> str:
    campaign = await runner().create_campaign("all on 5G", "olga", "because", rate, "k")
    if lines:
        await runner().load(campaign["job_id"], 0, [line(number) for number in range(lines)])
    return str(campaign["job_id"])


async def started(runner: Made, pool: Pool, clock: PacedClock, **options: Any) -> str:
    job_id = await loaded(runner, **options)
    await jobs.steer(pool, "main", job_id, "start", clock())
    return job_id


async def counts(pool: Pool, job_id: str) -> tuple[str, int, int, int]:
    job = await jobs.read_job(pool, "main", job_id)
    return job["state"], job["done"], job["refused"], job["failed"]


async def test_every_order_is_submitted_once_at_the_rate_and_as_it_was_loaded(pool, runner, clock, orders):
    job_id = await started(runner, pool, clock, rate=50)

    assert await runner().work()

    assert await counts(pool, job_id) == ("done", LINES, 0, 0)
    assert [number for window in orders.windows for number in window] == list(range(1, LINES + 1))
    assert clock.slept_s == pytest.approx(LINES / 50)
    assert orders.known[job_id, 7] == line(6)
    [item] = await jobs.job_items(pool, "main", job_id, outcome="done", after=6, limit=1)
    assert (item["number"], item["order_id"], item["code"]) == (7, "o0-7", "acknowledged")


async def test_nothing_is_submitted_before_the_campaign_is_started(pool, runner, clock, orders):
    job_id = await loaded(runner)

    assert not await runner().work()
    assert await counts(pool, job_id) == ("loading", 0, 0, 0)
    with pytest.raises(NotPossibleNow, match="loading"):
        await jobs.steer(pool, "main", job_id, "pause", clock())


async def test_an_order_that_is_refused_is_listed_with_its_reason_and_holds_nobody_up(pool, runner, clock, orders):
    orders.refuses[3] = {"status": 400, "code": "badDocument", "reason": "is missing", "path": "productOrderItem"}
    job_id = await started(runner, pool, clock, lines=5)

    await runner().work()

    [refused] = await jobs.job_items(pool, "main", job_id, outcome="refused", after=0, limit=10)
    assert (refused["number"], refused["code"], refused["reason"]) == (3, "badDocument", "productOrderItem: is missing")
    assert await counts(pool, job_id) == ("done", 4, 1, 0)


async def test_a_crowd_before_the_hosts_makes_a_campaign_wait_and_fails_none_of_its_orders(pool, runner, clock, orders):
    orders.busy = 20
    orders.refuses[2] = {"status": 503, "code": "busy", "reason": "enough"}
    job_id = await started(runner, pool, clock, lines=3)
    working = asyncio.create_task(runner().work())
    await until(lambda: len(orders.windows) >= 22)
    orders.refuses.clear()

    assert await working
    assert await counts(pool, job_id) == ("done", 3, 0, 0)
    assert orders.windows[21:23] == [[2], [2]], "what was answered is not sent again"


async def test_a_runner_that_dies_is_followed_by_one_that_submits_the_same_again(pool, runner, clock, orders):
    job_id = await started(runner, pool, clock, rate=50)
    orders.dies_after = 2
    with pytest.raises(asyncio.CancelledError):
        await runner().work()
    orders.dies_after = None
    assert not await runner().work(), "the lease is not over"
    clock.now += timedelta(seconds=LEASE_S + 1)

    assert await runner().work()

    assert await counts(pool, job_id) == ("done", LINES, 0, 0)
    assert orders.windows[1] == orders.windows[2] == list(range(51, 101))


async def test_a_paused_campaign_rests_and_a_stopped_one_submits_nothing_more(pool, runner, clock, orders):
    job_id = await started(runner, pool, clock, rate=50)
    slept = clock.sleep

    async def pause(seconds: float) -> None:
        await slept(seconds)
        await jobs.steer(pool, "main", job_id, "pause", clock())

    clock.sleep = pause
    assert await runner().work()
    clock.sleep = slept
    assert await counts(pool, job_id) == ("paused", 50, 0, 0)
    assert not await runner().work()

    await jobs.steer(pool, "main", job_id, "stop", clock())

    assert not await runner().work()
    assert await counts(pool, job_id) == ("stopped", 50, 0, 0)
    assert await count(pool, "job_line") == 0


@pytest.mark.parametrize("is_stopped", [False, True])
async def test_lines_wait_encrypted_and_nothing_can_open_copies_of_them_when_their_campaign_has_ended(
    pool, runner, clock, orders, keys, is_stopped
):
    job_id = await started(runner, pool, clock, lines=3)
    copies = [row["body"] for row in await pool.fetch("select body from job_line where job_id = $1", job_id)]
    assert len(copies) == 3
    assert not any(b"4711" in copy for copy in copies)
    vault = Vault(keys, pool)
    assert unwrapped(await vault.key_of(f"job {job_id}"), f"job {job_id}", copies[0]) == line(0)

    if is_stopped:
        await jobs.steer(pool, "main", job_id, "stop", clock())
    else:
        await runner().work()
    working = runner()
    await working.shred()

    assert await count(pool, "job_line") == 0
    assert await keys.fetchval("select key from order_key where key_id = $1", f"job {job_id}") == b""
    with pytest.raises(NotFound):
        await vault.key_of(f"job {job_id}")
    assert await jobs.ended_campaigns(pool, "main") == []


async def test_what_comes_after_the_end_of_a_campaign_is_told_of_its_end_and_makes_no_key(pool, runner, clock, keys):
    job_id = await loaded(runner)
    await jobs.steer(pool, "main", job_id, "stop", clock())
    working = runner()
    await working.shred()

    with pytest.raises(NotPossibleNow, match="stopped; it takes no more orders"):
        await working.load(job_id, LINES, [line(1)])
    await keys.execute("delete from order_key")
    again = await working.create_campaign("all on 5G", "olga", "because", 50, "k")
    assert (again["job_id"], again["state"]) == (job_id, "stopped")
    assert await count(keys, "order_key") == 0


async def test_a_campaign_that_has_not_ended_keeps_its_key(pool, runner, clock):
    await started(runner, pool, clock)

    await runner().shred()

    assert await jobs.ended_campaigns(pool, "main") == []


async def test_a_rejected_order_is_among_the_refused_with_its_id(pool, runner, clock, orders):
    orders.states[2] = "rejected"
    job_id = await started(runner, pool, clock, lines=3)

    await runner().work()

    [refused] = await jobs.job_items(pool, "main", job_id, outcome="refused", after=0, limit=10)
    assert (refused["number"], refused["order_id"], refused["code"]) == (2, "o0-2", "rejected")


async def test_an_order_of_an_account_that_cannot_be_read_holds_no_campaign_up(pool, runner, clock, orders):
    orders.refuses[2] = {"status": 503, "code": "busy", "reason": "cannot be read", "openOrders": ["o1-1"]}
    job_id = await started(runner, pool, clock, lines=3)

    await runner().work()

    assert await counts(pool, job_id) == ("done", 2, 1, 0)


async def test_campaigns_leave_room_for_repairs(pool, runner, clock):
    for name in "abc":
        campaign = await runner().create_campaign(name, "olga", "because", 1, name)
        await runner().load(campaign["job_id"], 0, [line(1), line(2)])
        await jobs.steer(pool, "main", campaign["job_id"], "start", clock())

    taken = [await jobs.take_job(pool, "main", clock(), LEASE_S, campaigns=allowed) for allowed in (True, True, False)]

    assert [job is not None for job in taken] == [True, True, False]
    busy = runner()
    is_over = asyncio.Event()

    async def rest(_job: Any) -> None:
        await is_over.wait()

    clock.now += timedelta(seconds=LEASE_S + 1)
    busy._work = rest
    busy._sleep = asyncio.sleep
    running = asyncio.create_task(busy.run())
    await until(lambda: len(busy._working) == 2)
    await asyncio.sleep(0)
    assert len(busy._working) == 2
    is_over.set()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_request_that_is_repeated_loads_nothing_twice(pool, runner):
    job_id = await loaded(runner, lines=2)

    assert await runner().load(job_id, 2, [line(2)]) == 3
    with pytest.raises(NotPossibleNow, match="has 3 orders, not 2") as raised:
        await runner().load(job_id, 2, [line(2)])
    assert raised.value.facts["lines"] == 3
    assert await count(pool, "job_line") == 3
    again = await runner().create_campaign("all on 5G", "olga", "because", 50, "k")
    assert (again["job_id"], again["total"]) == (job_id, 3)


async def test_what_cannot_be_loaded_or_started_is_refused(pool, runner, clock):
    empty = await loaded(runner, lines=0)
    with pytest.raises(NotPossibleNow, match="has no orders"):
        await jobs.steer(pool, "main", empty, "start", clock())
    with pytest.raises(NotFound):
        await runner().load("nothing", 0, [line(1)])
    await runner().load(empty, 0, [line(1)])
    await jobs.steer(pool, "main", empty, "start", clock())
    with pytest.raises(NotPossibleNow, match="takes no more orders"):
        await runner().load(empty, 1, [line(1)])
