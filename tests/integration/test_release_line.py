"""The line of releases on a real database, and plan hosts that change over at the moment of a schedule."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

import persistence.tables
from domain.errors import BadDocument, NotFound, NotPossibleNow
from domain.ids import shard_for
from domain.lineup import Lineup, lineup_of
from domain.release_file import read_release, release_document
from persistence import catalogue, people
from persistence.database import Pool
from persistence.readstore import ReadStore
from tests.support.build import callout, plan_of
from tests.support.deliveries import RELEASE, sim
from tests.support.hosts import SHARDS, Clock, Host
from tests.support.journals import AT
from tests.support.until import until

OLGA: dict[str, Any] = {"reason": "because", "actor": "olga"}
MOMENT = AT + timedelta(minutes=10)


def after(minutes: float) -> datetime:
    return AT + timedelta(minutes=minutes)


async def publish(
    pool: Pool, version: str, effective_from: datetime | None = None, now: datetime = AT, tenant: str = "main"
) -> bool:
    """Publish a version of the catalogue, whose calls carry it in their names."""
    plans = [
        plan_of("deliver", callout("reserve", name=f"reserve {version}"), callout("activate", timeoutS=10)),
        RELEASE["plans"][1],
    ]
    body = release_document(read_release(RELEASE | {"version": version, "plans": plans}))
    return await catalogue.publish_release(
        pool, tenant, f"test@{version}", body, now, effective_from=effective_from, actor="olga"
    )


async def line(pool: Pool, now: datetime = AT, tenant: str = "main") -> Lineup:
    return await ReadStore(pool).lineup(tenant, now)


async def states(pool: Pool, now: datetime) -> dict[str, str]:
    return {
        each.release_id.partition("@")[2]: each.state(now).value
        for each in await catalogue.list_standings(pool, "main")
    }


# The line.


async def test_a_release_is_scheduled_and_current_from_its_moment_on(pool: Pool) -> None:
    assert await publish(pool, "1")
    assert await publish(pool, "2", MOMENT)

    assert await line(pool) == Lineup("test@1", ((MOMENT, "test@2"),))
    assert await line(pool, MOMENT) == Lineup("test@2")
    assert await states(pool, AT) == {"1": "published", "2": "scheduled"}
    assert await states(pool, MOMENT) == {"1": "published", "2": "published"}
    assert await line(pool, tenant="other") == Lineup()


async def test_one_that_is_published_later_at_once_counts_until_the_moment_and_after_it_for_good(pool: Pool) -> None:
    await publish(pool, "1")
    await publish(pool, "2", MOMENT)
    await publish(pool, "3", now=after(5))

    assert await line(pool, after(5)) == Lineup("test@3", ((MOMENT, "test@2"),))
    await publish(pool, "4", now=after(11))
    assert await line(pool, after(11)) == Lineup("test@4")


async def test_a_gateway_whose_clock_is_behind_publishes_after_all_that_count_already(pool: Pool) -> None:
    await publish(pool, "1", now=after(1))
    await publish(pool, "2", now=AT)

    assert (await line(pool)).current == (await line(pool, after(2))).current == "test@2"


async def test_a_repeat_of_a_schedule_changes_nothing_and_another_moment_is_refused(pool: Pool) -> None:
    await publish(pool, "1", MOMENT)

    assert await publish(pool, "1", MOMENT) is False
    assert await publish(pool, "1", MOMENT, now=after(11)) is False
    for effective_from in (None, after(20)):
        with pytest.raises(NotPossibleNow, match="scheduled"):
            await publish(pool, "1", effective_from)
    with pytest.raises(BadDocument, match="has passed"):
        await publish(pool, "2", AT)
    with pytest.raises(NotPossibleNow, match="other contents"):
        await catalogue.publish_release(pool, "main", "test@1", {"code": "other"}, AT)
    assert await states(pool, AT) == {"1": "scheduled"}


async def test_a_withdrawn_schedule_never_counts_and_can_be_given_another_moment(pool: Pool) -> None:
    await publish(pool, "1")
    await publish(pool, "2", MOMENT)

    assert await catalogue.retire_release(pool, "main", "test@2", replacement=None, now=after(5), **OLGA)

    assert await line(pool, after(5)) == await line(pool, after(15)) == Lineup("test@1")
    with pytest.raises(NotPossibleNow, match="has passed"):
        await catalogue.unretire_release(pool, "main", "test@2", now=after(15), **OLGA)
    assert await publish(pool, "2", after(20), now=after(15))
    assert await line(pool, after(15)) == Lineup("test@1", ((after(20), "test@2"),))


async def test_the_current_release_gives_its_place_to_a_published_one_and_what_was_done_is_kept(pool: Pool) -> None:
    await publish(pool, "1")
    await publish(pool, "2", now=after(1))
    with pytest.raises(NotPossibleNow, match="new orders take release test@2"):
        await catalogue.retire_release(pool, "main", "test@2", replacement=None, now=after(2), **OLGA)
    assert (await line(pool, after(2))).current == "test@2"

    options: dict[str, Any] = {"replacement": "test@1", "now": after(2)}
    assert await catalogue.retire_release(pool, "main", "test@2", **options, **OLGA)
    assert not await catalogue.retire_release(pool, "main", "test@2", **options, **OLGA)

    assert await line(pool, after(2)) == Lineup("test@1")
    assert await states(pool, after(2)) == {"1": "published", "2": "retired"}
    with pytest.raises(NotPossibleNow, match="is retired"):
        await publish(pool, "2", now=after(3))
    assert await catalogue.unretire_release(pool, "main", "test@2", now=after(3), **OLGA)
    assert await line(pool, after(3)) == Lineup("test@1"), "who takes one back does not ask for it to be current"

    kept = await catalogue.list_release_changes(pool, "main", "test@2", 10)
    assert [(each["kind"], each["actor"], each["at"], each["body"]) for each in kept] == [
        ("unretired", "olga", after(3), {"reason": "because"}),
        ("retired", "olga", after(2), {"reason": "because", "replacement": "test@1"}),
        ("published", "olga", after(1), {}),
    ]
    [made, *_] = await catalogue.list_release_changes(pool, "main", "test@1", 10)
    assert (made["kind"], made["body"]) == ("madeCurrent", {"reason": "because", "replaces": "test@2"})


@pytest.mark.parametrize("_round", range(5))
async def test_of_two_that_retire_the_current_release_and_its_replacement_at_once_one_is_refused(
    pool: Pool, _round: int
) -> None:
    await publish(pool, "1")
    await publish(pool, "2", now=after(1))
    async with pool.acquire(), pool.acquire():
        # Both are there then: neither is made while the other one is at work already.
        pass

    done = await asyncio.gather(
        catalogue.retire_release(pool, "main", "test@2", replacement="test@1", now=after(2), **OLGA),
        catalogue.retire_release(pool, "main", "test@1", replacement=None, now=after(2), **OLGA),
        return_exceptions=True,
    )

    assert sorted(type(each).__name__ for each in done) == ["NotPossibleNow", "bool"], done
    assert (await line(pool, after(2))).current is not None


async def test_releases_of_another_tenant_are_another_line(pool: Pool) -> None:
    await publish(pool, "1")
    await publish(pool, "2", tenant="other")

    assert (await line(pool)).current == "test@1"
    assert (await line(pool, tenant="other")).current == "test@2"
    with pytest.raises(NotFound):
        await catalogue.retire_release(pool, "other", "test@1", replacement=None, now=AT, **OLGA)
    assert await catalogue.list_release_changes(pool, "other", "test@1", 10) == []


@pytest.mark.parametrize("seed", range(20))
async def test_what_hosts_read_of_the_line_is_what_the_rule_says_of_all_of_it(pool: Pool, seed: int) -> None:
    draw = random.Random(seed)
    for number in range(12):
        minutes = draw.randrange(10)
        await pool.execute(
            "insert into release (tenant, release_id, body, published_at, effective_at, is_scheduled, retired_at) "
            "values ('main', $1, '{}', $2, $3, $4, $5)",
            f"r@{number}",
            AT,
            after(minutes),
            # At once means at a moment that is past, give or take what clocks differ.
            draw.random() < 0.6 if minutes > 5 else draw.random() < 0.5,
            AT if draw.random() < 0.3 else None,
        )
    standings = await catalogue.list_standings(pool, "main")

    for minutes in range(11):
        assert await line(pool, after(minutes)) == lineup_of(standings, after(minutes))


async def test_queues_are_those_of_the_release_that_new_orders_take(pool: Pool) -> None:
    for version, moment in (("1", None), ("2", MOMENT)):
        body = {"queues": [{"code": f"desk {version}"}]}
        await catalogue.publish_release(pool, "main", f"r@{version}", body, AT, effective_from=moment)

    assert [each["code"] for each in await people.list_queues(pool, "main", AT)] == ["desk 1"]
    assert [each["code"] for each in await people.list_queues(pool, "main", MOMENT)] == ["desk 2"]


async def test_open_orders_are_counted_from_an_index_that_holds_nothing_else(pool: Pool) -> None:
    await pool.execute(
        """
        insert into product_order (order_id, tenant, shard, account, channel, release_id, priority, state, created_at,
                                   ended_at, active, fallout, sealed, items)
        select 'o0-' || n, case when n % 100 = 7 then 'other' else 'main' end, 0, 'acc-' || n, 'web',
               case when n % 2 = 0 then 'r@1' else 'r@2' end, 'normal', 'completed', $1,
               case when n % 100 < 10 then null else $1::timestamptz end, false, 0, false, 1
          from generate_series(1, 20000) as n
        """,
        AT,
    )
    async with pool.acquire() as connection:
        await connection.execute("vacuum analyze product_order")

    assert await catalogue.count_open_orders(pool, "main") == {"r@1": 1000, "r@2": 800}
    assert await catalogue.count_open_orders(pool, "main", "r@2") == {"r@2": 800}
    assert await catalogue.count_open_orders(pool, "other") == {"r@2": 200}
    plan = await explained(pool)
    assert "Index Only Scan using product_order_open_account_idx" in plan, plan


async def explained(pool: Pool) -> str:
    """How the database counts them."""
    asked: list[str] = []

    def note(record: Any) -> None:
        asked.append(record.query)

    async with pool.acquire() as connection:
        connection.add_query_logger(note)
        try:
            await catalogue.count_open_orders(connection, "main")  # type: ignore[arg-type]
            await until(lambda: asked)
        finally:
            connection.remove_query_logger(note)
        rows: list[asyncpg.Record] = await connection.fetch(f"explain {asked[-1]}", "main", None)
    return "\n".join(row[0] for row in rows)


# The schema.


async def there_and_back(databases: Any, between: Sequence[str], then: str) -> list[Any]:
    """Go back to the release before, say what it says, come forth again; what `then` gives. Nothing of it is kept."""
    seen: list[Any] = []

    def go(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(persistence.tables.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.downgrade(config, "0010")
        for statement in between:
            connection.exec_driver_sql(statement)
        command.upgrade(config, "0011")
        seen.extend(connection.exec_driver_sql(then).scalars())

    engine = create_async_engine(databases.dsn.replace("postgresql://", "postgresql+asyncpg://", 1))
    try:
        async with engine.connect() as connection:
            transaction = await connection.begin()
            await connection.run_sync(go)
            await transaction.rollback()
    finally:
        await engine.dispose()
    return seen


async def test_releases_of_before_keep_their_order_whatever_their_gateways_clocks_said(databases: Any) -> None:
    published_at = {"r@1": "2030-01-31", "r@2": "2029-12-31", "r@3": "2030-01-30"}
    between = [
        "insert into release (tenant, release_id, body, published_at) "
        f"values ('main', '{release_id}', '{{}}', '{at}')"
        for release_id, at in published_at.items()
    ]

    found = await there_and_back(
        databases, between, "select release_id from release where not is_scheduled order by effective_at, sequence"
    )

    assert found == ["r@1", "r@2", "r@3"]


async def test_nobody_goes_back_while_a_release_is_scheduled_or_retired(databases: Any, pool: Pool) -> None:
    await publish(pool, "1")
    await publish(pool, "2", now=after(1))
    await catalogue.retire_release(pool, "main", "test@1", replacement=None, now=after(2), **OLGA)

    with pytest.raises(DBAPIError, match="a release is scheduled or retired"):
        await there_and_back(databases, [], "select 1")


# Plan hosts.


@pytest.fixture
async def two_hosts(databases: Any, pool: Pool) -> AsyncIterator[list[Host]]:
    """Two of them, each with half the shards and a clock of its own."""
    await publish(pool, "1")
    await publish(pool, "2", MOMENT)
    half = SHARDS // 2
    made = [
        await Host.start(databases, pool, "host-a", shards=range(half), clock=Clock()),
        await Host.start(databases, pool, "host-b", shards=range(half, SHARDS), clock=Clock()),
    ]
    yield made
    for host in made:
        await host.end()


def accounts_of(host: Host, count: int = 3) -> list[str]:
    """Accounts whose orders the host decides."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        if shard_for(f"main/acc-{number}", SHARDS) in host.loop.heads:
            found.append(f"acc-{number}")
        number += 1
    return found


async def releases_of(pool: Pool, *order_ids: str) -> set[str]:
    """The releases in all facts of the orders."""
    rows = await pool.fetch("select distinct release_id from fact where order_id = any($1)", list(order_ids))
    return {row["release_id"] for row in rows}


async def test_all_hosts_take_a_scheduled_release_at_its_moment_without_a_word_to_them(
    two_hosts: list[Host], pool: Pool
) -> None:
    for host in two_hosts:
        first, second, third = accounts_of(host)
        [before] = await host.submit(sim(first))
        host.advance(10 * 60 - 1)
        [last] = await host.submit(sim(second))
        assert await releases_of(pool, before.order_id, last.order_id) == {"test@1"}

        host.advance(1)
        [new] = await host.submit(sim(third))

        assert await releases_of(pool, new.order_id) == {"test@2"}
        assert [call.name for call in host.dispatch.calls(new.order_id)] == ["reserve 2"]
        made = await host.finish()
        assert {call.name for call in made if call.order_id == last.order_id} == {"reserve 1", "activate"}
        assert await releases_of(pool, before.order_id, last.order_id) == {"test@1"}, "they finish on theirs"


async def test_whoever_reads_an_order_after_the_moment_finds_it_on_the_release_it_took_before(
    two_hosts: list[Host], databases: Any, pool: Pool
) -> None:
    host = two_hosts[0]
    [account, *_] = accounts_of(host)
    host.advance(10 * 60 - 1)
    [submitted] = await host.submit(sim(account))
    await host.end()
    clock = Clock()
    clock.now = MOMENT + timedelta(seconds=1)
    await pool.execute("update incarnation set state = 'fenced' where incarnation_id = 'host-a'")
    await pool.execute("update shard set incarnation_id = null where incarnation_id = 'host-a'")

    later = await Host.start(databases, pool, "host-c", shards=range(SHARDS // 2), clock=clock)
    try:
        plan = later.loop.memory.plans[submitted.order_id]
        assert plan.release.release_id == "test@1"
        assert [call.name for call in later.dispatch.calls(submitted.order_id)] == ["reserve 1"]
        await later.finish()
        assert await releases_of(pool, submitted.order_id) == {"test@1"}
    finally:
        await later.end()


async def test_a_host_that_has_heard_of_a_withdrawal_lets_the_moment_pass(two_hosts: list[Host], pool: Pool) -> None:
    host = two_hosts[0]
    first, second, _ = accounts_of(host)
    await catalogue.retire_release(pool, "main", "test@2", replacement=None, now=AT, **OLGA)
    await host.loop.refresh_releases()
    host.advance(11 * 60)

    [submitted] = await host.submit(sim(first))
    assert await releases_of(pool, submitted.order_id) == {"test@1"}

    # A host with a fast clock may have taken it a moment before: what it has accepted can be read all the same.
    host.loop.memory.folder._lineups["main"] = Lineup("test@2")
    await host.loop.memory.folder.release("main", "test@2")
    [early] = await host.submit(sim(second))
    host.loop.memory.forget([early.order_id], [])
    await host.finish()
    assert await releases_of(pool, early.order_id) == {"test@2"}


async def test_new_orders_take_the_replacement_of_a_retired_release_and_running_ones_finish_on_it(
    two_hosts: list[Host], pool: Pool
) -> None:
    host = two_hosts[0]
    first, second, _ = accounts_of(host)
    host.advance(11 * 60)
    [running] = await host.submit(sim(first))

    await catalogue.retire_release(pool, "main", "test@2", replacement="test@1", now=after(11), **OLGA)
    await host.loop.refresh_releases()
    [new] = await host.submit(sim(second))

    assert await releases_of(pool, new.order_id) == {"test@1"}
    assert await catalogue.count_open_orders(pool, "main") == {"test@1": 1, "test@2": 1}
    await host.finish()
    assert await releases_of(pool, running.order_id) == {"test@2"}
    assert await catalogue.count_open_orders(pool, "main") == {}
    shown = await pool.fetch("select state from product_order")
    assert {row["state"] for row in shown} == {"completed"}


async def test_without_a_release_whose_moment_has_come_orders_are_refused(databases: Any, pool: Pool) -> None:
    await publish(pool, "1", MOMENT)
    host = await Host.start(databases, pool, clock=Clock())
    try:
        [refused] = await host.submit(sim())
        assert isinstance(refused, NotPossibleNow)
        assert "no catalogue release" in refused.reason
        host.advance(10 * 60)
        [taken] = await host.submit(sim())
        assert await releases_of(pool, taken.order_id) == {"test@1"}
    finally:
        await host.end()
