"""Bulk jobs on a real journal and a real host's loop: frozen, paced, and done once, whoever dies on the way."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from actors.envelopes import Envelope
from actors.jobs import LEASE_S, Jobs
from domain.errors import NotPossibleNow, OrderplanError
from persistence import catalogue, jobs
from persistence.fallout import FalloutFilter
from persistence.vault import Vault
from tests.support.build import callout, line, order_of, plan_of, release_document, release_of, scenario
from tests.support.clocks import PacedClock
from tests.support.hosts import Host, reported
from tests.support.journals import AT

ITEMS = 120
RELEASE: dict[str, Any] = release_document(
    products=["offer"],
    plans=[plan_of("p", *(callout(f"item-{number}") for number in range(ITEMS)))],
    scenarios=[scenario("offer", "p")],
)


class Ways:
    """The way to one host; may die."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.asked: list[str | None] = []
        self.dies_after: int | None = None

    async def ask(self, lane: str, shard: int, envelope: Envelope, *, timeout_s: float) -> Any:
        self.asked.append(getattr(envelope, "cause", None))
        [answer] = await self.host.ask(envelope)
        if self.dies_after is not None and len(self.asked) >= self.dies_after:
            raise asyncio.CancelledError
        if isinstance(answer, OrderplanError):
            raise answer
        return answer


@pytest.fixture
async def ways(databases, pool):
    await catalogue.publish_release(pool, "main", release_of(**RELEASE).release_id, RELEASE, AT)
    host = await Host.start(databases, pool)
    yield Ways(host)
    host.kill()
    await asyncio.gather(host.running, return_exceptions=True)


@pytest.fixture
def clock():
    return PacedClock()


@pytest.fixture
def runner(ways, pool, keys, clock):
    def make() -> Jobs:
        return Jobs(pool, Vault(keys, pool), ways, "main", clock=clock, sleep=clock.sleep)

    return make


async def failed_order(ways: Ways) -> str:
    """One order all of whose items have failed for good."""
    [submitted] = await ways.host.submit(order_of(line("1", "offer")))
    calls = ways.host.dispatch.calls(submitted.order_id)
    assert len(calls) == ITEMS
    await ways.host.ask(*(reported(call, "failed", error="no", error_code="E1") for call in calls))
    return str(submitted.order_id)


async def started(runner: Jobs, action: str = "retry", rate: float = 50, **argument: Any) -> str:
    job = await runner.start_job(action, "olga", "because", {"filter": {}}, FalloutFilter(), [], argument, rate, "k")
    return str(job["job_id"])


async def causes(pool) -> list[str]:
    return [row["cause"] for row in await pool.fetch("select cause from fact where kind = 'item.retried'")]


async def test_every_item_of_the_selection_gets_an_outcome_at_the_rate(ways, pool, runner, clock):
    await failed_order(ways)
    job_id = await started(runner(), rate=50)
    assert await runner().work()

    job = await jobs.read_job(pool, "main", job_id)
    assert (job["state"], job["total"], job["done"]) == ("done", ITEMS, ITEMS)
    assert clock.slept_s == pytest.approx(ITEMS / 50)
    assert len(await causes(pool)) == len(set(await causes(pool))) == ITEMS
    assert not await runner().work()


async def test_the_selection_is_frozen_when_the_job_is_made(ways, pool, runner):
    await failed_order(ways)
    job_id = await started(runner())
    await failed_order(ways)
    await runner().work()

    assert (await jobs.read_job(pool, "main", job_id))["total"] == ITEMS
    assert await pool.fetchval("select count(*) from fallout_item") == ITEMS


async def test_a_runner_that_dies_is_followed_by_one_that_does_nothing_twice(ways, pool, runner, clock):
    """More items of one plan than the plan remembers messages: what was done is known by its facts."""
    await failed_order(ways)
    job_id = await started(runner(), rate=100)
    ways.dies_after = 70
    with pytest.raises(asyncio.CancelledError):
        await runner().work()
    before = len(await causes(pool))
    assert before >= 70
    ways.dies_after = None
    assert not await runner().work()
    clock.now += timedelta(seconds=LEASE_S + 1)
    assert await runner().work()

    job = await jobs.read_job(pool, "main", job_id)
    assert (job["state"], job["done"], job["refused"], job["failed"]) == ("done", ITEMS, 0, 0)
    assert len(await causes(pool)) == len(set(await causes(pool))) == ITEMS


async def test_what_a_plan_refuses_is_said_with_its_reason(ways, pool, runner):
    order_id = await failed_order(ways)
    items = [(order_id, "p/item-0@1"), (order_id, "p/nothing@1")]
    job = await runner().start_job("skip", "olga", "r", {}, None, items, {}, 10, "k")
    await runner().work()

    [refused] = await jobs.job_items(pool, "main", job["job_id"], outcome="refused", after=0, limit=10)
    assert (refused["item"], refused["code"]) == ("p/nothing@1", "notFound")
    assert "has no item" in refused["reason"]


async def test_a_paused_job_rests_and_a_stopped_one_is_over(ways, pool, runner, clock):
    await failed_order(ways)
    job_id = await started(runner())
    await jobs.steer(pool, "main", job_id, "pause", clock())
    assert not await runner().work()
    with pytest.raises(NotPossibleNow, match="paused"):
        await jobs.steer(pool, "main", job_id, "pause", clock())
    await jobs.steer(pool, "main", job_id, "resume", clock())
    assert await runner().work()
    with pytest.raises(NotPossibleNow, match="done"):
        await jobs.steer(pool, "main", job_id, "stop", clock())


async def test_an_answer_is_kept_encrypted_and_only_while_the_job_runs(ways, pool, runner, clock):
    await failed_order(ways)
    job_id = await started(runner(), "complete", attributes={"pin": "4711-secret"})
    stored = await pool.fetchval("select argument::text from job where job_id = $1", job_id)
    assert "4711-secret" not in stored
    await runner().work()

    assert await pool.fetchval("select argument from job where job_id = $1", job_id) is None
    assert await pool.fetchval("select state from product_order") == "completed"


async def test_a_selection_that_nothing_fits_makes_no_job(ways, pool, runner):
    with pytest.raises(NotPossibleNow, match="no failed item"):
        await started(runner())
    assert await pool.fetchval("select count(*) from job") == 0
