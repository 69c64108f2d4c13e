"""The error queue on a real journal: what has failed stands there, for good or until it is tried again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from persistence import catalogue, fallout
from persistence.fallout import FalloutFilter
from tests.support.build import callout, line, order_of, plan_of, release_document, release_of, scenario
from tests.support.hosts import Host
from tests.support.journals import AT
from tests.support.until import until

RELEASE: dict[str, Any] = release_document(
    products=["offer"],
    retries=[{"code": "twice", "attemptsMax": 2, "delaysS": [60]}],
    plans=[plan_of("p", callout("send", retry="twice"))],
    scenarios=[scenario("offer", "p")],
)


@pytest.fixture
async def host(databases, pool):
    await catalogue.publish_release(pool, "main", release_of(**RELEASE).release_id, RELEASE, AT)
    made = await Host.start(databases, pool)
    yield made
    made.kill()
    await asyncio.gather(made.running, return_exceptions=True)


async def listed(pool, state: str) -> list[tuple[str, bool]]:
    """(error code, whether it is tried again) of each item in the state."""
    rows = await fallout.list_items(pool, "main", FalloutFilter(state=state), after=None, limit=10)
    return [(row["error_code"], row["retry_at"] is not None) for row in rows]


@pytest.mark.rule("B2.11")
async def test_an_item_is_listed_from_its_first_failure_until_it_works(host, pool):
    await host.submit(order_of(line("1", "offer")))
    await host.report(host.dispatch.calls()[0], "retryable", error="busy", error_code="503")
    assert (await listed(pool, "failed"), await listed(pool, "retrying")) == ([], [("503", True)])
    [group] = await fallout.groups(pool, "main", FalloutFilter(state="all"))
    assert (group["count"], group["retrying"], group["sample"]) == (0, 1, "busy")

    host.advance(61)
    await until(host.dispatch.calls)
    assert await listed(pool, "all") == []

    await host.report(host.dispatch.calls()[0], "retryable", error="gone", error_code="502")
    assert (await listed(pool, "failed"), await listed(pool, "retrying")) == ([("502", False)], [])
    async with pool.acquire() as connection:
        assert len(await fallout.select_items(connection, "main", FalloutFilter(system="sys"), 10)) == 1
        assert await fallout.select_items(connection, "main", FalloutFilter(state="retrying"), 10) == []
