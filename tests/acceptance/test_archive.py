"""The archive of a running cluster: the command moves what the notifier has read, and nobody notices but the stream."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from orderplan.cli.main import app
from tests.acceptance.test_ingest import order, release
from tests.support.running import TMF622, Running, until

ORDERS = 20


@pytest.fixture
def depot(running: Running) -> Running:
    running.ok("PUT", "/v1/systems/depot", {"adapter": "simulated", "config": {"seed": 1}, "concurrency": 1_000})
    running.ok("POST", "/v1/releases:publish", release() | {"version": "archive"})
    return running


async def rows(running: Running, sql: str, *values: Any) -> list[Any]:
    connection = await asyncpg.connect(running.dsn)
    try:
        found: list[Any] = await connection.fetch(sql, *values)
        return found
    finally:
        await connection.close()


def shown(running: Running, order_id: str) -> list[Any]:
    """What is told of an order; its risk is not, because it may be scored once more after its end."""
    native = running.ok("GET", f"/v1/orders/{order_id}")
    del native["risk"]
    paths = (f"{TMF622}/{order_id}", f"/v1/orders/{order_id}/plan", f"/v1/orders/{order_id}/facts")
    return [native, *(running.ok("GET", path) for path in paths)]


def command(running: Running, *arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["archive", *arguments, "--url", running.url, "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


async def test_the_command_moves_finished_orders_and_they_are_shown_as_before(depot: Running) -> None:
    first = [depot.submit(order(f"archive-{number}")) for number in range(ORDERS)]
    for each in first:
        depot.ended(each)
    # Of the same accounts, and so of the same shards, whose newest facts stay.
    for number in range(ORDERS):
        newer = {"billingAccount": {"id": f"archive-{number}"}}
        depot.ended(depot.submit(order(f"archive-newer-{number}", **newer)))
    # As if all of it had been two days ago.
    for table, column in (("product_order", "ended_at"), ("fact", "at")):
        sql = f"update {table} set {column} = {column} - interval '2 days' where order_id = any($1)"
        await rows(depot, sql, first)
    before = [shown(depot, each) for each in first]

    # The notifier's place follows within seconds; nothing above it is moved.
    moved: list[int] = []

    def archived() -> int:
        moved.append(command(depot, "--older-than", "1", "--orders", "7")["orders"])
        return sum(moved)

    until(archived, lambda count: count == ORDERS)

    left = await rows(depot, "select 1 from fact where order_id = any($1)", first)
    assert left == []
    assert [shown(depot, each) for each in first] == before
    assert [depot.submit(order(f"archive-{number}")) for number in range(ORDERS)] == first
    status, refused = depot.call("GET", "/v1/stream", Last_Event_ID="0.0")
    assert (status, refused["type"]) == (410, "urn:orderplan:streamGone")
    # Other tests of this cluster read the stream from its beginning.
    await rows(depot, "delete from archive_mark")
    found = command(depot, "--show")
    assert all(each["bytes"] > 0 for each in found["months"])
    assert found["months"]
    assert found["finishedHot"] >= 1
