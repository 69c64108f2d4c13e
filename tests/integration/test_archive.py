"""The archive: facts of finished orders move whole, none that somebody still needs, and are read as before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

import persistence.archive
import persistence.tables
from actors.folding import PlanFolder
from domain.messages import ClaimTask, CompleteTask
from gateway.views import order_summary, order_view, plan_view
from persistence import jobs, tasks
from persistence.archive import FACTS_MAX, Archived, archive_batch, read_archive
from persistence.consumers import Consumer
from persistence.database import Pool, is_unavailable
from persistence.feed import Feed
from persistence.incarnations import Ownership
from persistence.journal import Journal
from persistence.readstore import ReadStore
from persistence.rows import FactRow, OrderRow
from tests.support.deliveries import imported, kinds, sim, visit
from tests.support.journals import AT, commit_of, count, fact, open_journal, order_row
from tests.support.replay_check import replay_differences
from tests.support.until import until

LATER = AT + timedelta(days=1)
SHARDS = (0, 1, 2)


@pytest.fixture
async def journal(databases: Any, pool: Pool) -> AsyncIterator[Journal]:
    made = await open_journal(databases.dsn, "host-a", SHARDS, pool=pool)
    yield made
    made.abandon()


def ended(order_id: str = "o0-1", **changes: Any) -> OrderRow:
    """The row of an order of shard 0 that has ended and is over for everybody."""
    return order_row(order_id, **{"state": "completed", "active": False, "ended_at": AT, "client_key": None} | changes)


def facts_of(order_id: str, *offsets: int, shard: int = 0, **changes: Any) -> list[FactRow]:
    """Facts of an order, the first of which is its acceptance."""
    first, *others = offsets
    return [
        fact(first, shard, order_id=order_id, kind="order.accepted", **changes),
        *(fact(offset, shard, order_id=order_id, **changes) for offset in others),
    ]


async def write(journal: Journal, *rows: OrderRow, facts: list[FactRow]) -> None:
    await journal.commit(commit_of(*facts, orders_new={row.order_id: row for row in rows}))


def archived(pool: Any, before: datetime = LATER, limit: int = 100) -> Awaitable[Archived]:
    return archive_batch(pool, "main", before, limit)


async def offsets(pool: Pool, table: str) -> list[tuple[str, int]]:
    rows = await pool.fetch(f'select order_id, "offset" from {table} order by shard, "offset"')
    return [(row["order_id"], row["offset"]) for row in rows]


# What goes, and what stays.


async def test_the_facts_of_a_finished_order_move_whole_and_are_read_as_before(journal, pool):
    await write(journal, ended(), order_row("o0-2"), facts=[*facts_of("o0-1", 1, 2, 4), *facts_of("o0-2", 3, 5)])
    before = await ReadStore(pool).facts_of(["o0-1", "o0-2", "o0-3"])

    assert await archived(pool) == Archived(orders=1, facts=3, is_more=False)

    assert await offsets(pool, "fact_archive") == [("o0-1", 1), ("o0-1", 2), ("o0-1", 4)]
    assert await offsets(pool, "fact") == [("o0-2", 3), ("o0-2", 5)]
    assert await ReadStore(pool).facts_of(["o0-1", "o0-2", "o0-3"]) == before
    assert await journal.facts_of(["o0-1"]) == {"o0-1": before["o0-1"]}
    assert await Feed(pool, "main").archived_to() == {0: 4}
    assert await archived(pool) == Archived(0, 0, is_more=False)


async def test_the_newest_fact_of_a_shard_stays_so_that_its_next_owner_goes_on_behind_it(journal, pool):
    await write(journal, ended(), facts=facts_of("o0-1", 1, 2))
    assert (await archived(pool)).orders == 0
    assert await journal.heads([0]) == {0: 2}

    await journal.commit(commit_of(*facts_of("o0-2", 3)))

    assert (await archived(pool)).orders == 1
    assert await journal.heads([0]) == {0: 3}


async def test_what_a_consumer_has_not_read_stays(journal, pool):
    slow, fast = (Consumer(pool, "main", name) for name in ("slow", "fast"))
    epochs = [(await each.take_over())[0] for each in (slow, fast)]
    await write(journal, ended(), facts=[*facts_of("o0-1", 1, 2, 3), *facts_of("o0-2", 4)])
    await fast.pass_over(epochs[1], {0: 4})
    assert (await archived(pool)).orders == 0

    await slow.pass_over(epochs[0], {0: 2})
    assert (await archived(pool)).orders == 0

    await slow.pass_over(epochs[0], {0: 3})
    assert (await archived(pool)).orders == 1
    assert await Feed(pool, "main").facts_after({0: 3}, 10)


async def test_a_shard_that_a_consumer_has_not_begun_with_is_not_read(journal, pool):
    await Consumer(pool, "main", "notifier").take_over()
    await pool.execute("delete from consumer_cursor where shard = 0")
    await write(journal, ended(), facts=[*facts_of("o0-1", 1), *facts_of("o0-2", 2)])

    assert (await archived(pool)).orders == 0


async def test_consumers_of_another_tenant_hold_nothing_up(journal, pool):
    await Consumer(pool, "other", "notifier").take_over()
    await write(journal, ended(), facts=[*facts_of("o0-1", 1), *facts_of("o0-2", 2)])

    assert (await archived(pool)).orders == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"ended_at": None},
        {"ended_at": LATER},
        {"sealed": True},
        {"active": True},
        {"timer_at": LATER},
        {"tenant": "other"},
    ],
    ids=["open", "ended too late", "keys not destroyed", "calls somebody", "waits for a time", "of another tenant"],
)
async def test_an_order_that_is_not_over_stays(journal, pool, changes):
    await write(journal, ended(**changes), facts=[*facts_of("o0-1", 1, 2), *facts_of("o0-2", 3)])

    assert await archived(pool) == Archived(0, 0, is_more=False)
    assert await count(pool, "fact") == 3


async def test_facts_of_no_order_stay(journal, pool):
    booked = fact(1, order_id="booking o0-1/1", kind="assets.booked")
    loaded = fact(2, order_id="import c1", kind="assets.imported")
    await write(journal, ended(), facts=[booked, loaded, *facts_of("o0-1", 3), *facts_of("o0-2", 4)])

    assert await archived(pool) == Archived(1, 1, is_more=False)
    assert [name for name, _ in await offsets(pool, "fact")] == ["booking o0-1/1", "import c1", "o0-2"]


# Batches.


async def test_those_that_ended_first_go_first_and_a_batch_says_whether_there_are_more(journal, pool):
    minutes = {"o0-1": 2, "o0-2": 0, "o0-3": 1}
    rows = [ended(name, ended_at=AT + timedelta(minutes=each)) for name, each in minutes.items()]
    facts = [row for number, name in enumerate(minutes, 1) for row in facts_of(name, number)]
    await write(journal, *rows, facts=[*facts, *facts_of("o0-9", 9)])

    assert await archived(pool, limit=2) == Archived(2, 2, is_more=True)
    assert {name for name, _ in await offsets(pool, "fact_archive")} == {"o0-2", "o0-3"}
    assert await archived(pool, limit=2) == Archived(1, 1, is_more=False)


async def test_a_shard_is_marked_with_the_highest_offset_that_was_ever_moved(journal, pool):
    first_fact = {"o0-1": 4, "o0-2": 1, "o0-3": 6}
    rows = [ended(name, ended_at=AT + timedelta(seconds=number)) for number, name in enumerate(first_fact)]
    facts = [row for name, offset in first_fact.items() for row in facts_of(name, offset, offset + 1)]
    await write(journal, *rows, facts=[*facts, *facts_of("o0-9", 9)])
    marks = []
    while (await archived(pool, limit=1)).orders:
        marks.append(await Feed(pool, "main").archived_to())

    assert marks == [{0: 5}, {0: 5}, {0: 7}]


async def test_a_very_large_order_goes_alone(journal, pool):
    small = [ended(f"o0-{number}", ended_at=AT + timedelta(seconds=number)) for number in (2, 3)]
    large = ended(items=FACTS_MAX)
    facts = [row for number in (1, 2, 3) for row in facts_of(f"o0-{number}", number)]
    await write(journal, large, *small, facts=[*facts, *facts_of("o0-9", 9)])

    assert await archived(pool) == Archived(1, 1, is_more=True)
    assert await offsets(pool, "fact_archive") == [("o0-1", 1)]
    assert await archived(pool) == Archived(2, 2, is_more=False)


async def test_an_order_belongs_to_the_month_in_which_it_ended_in_utc(journal, pool):
    east = datetime(2030, 2, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    ends = {"o0-1": east, "o0-2": datetime(2030, 2, 1, tzinfo=UTC), "o0-3": datetime(2030, 12, 31, 23, tzinfo=UTC)}
    rows = [ended(name, ended_at=at) for name, at in ends.items()]
    facts = [row for number, name in enumerate(ends, 1) for row in facts_of(name, number)]
    await write(journal, *rows, facts=[*facts, *facts_of("o0-9", 9)])

    assert (await archived(pool, datetime(2031, 2, 1, tzinfo=UTC))).facts == 3

    found = await pool.fetch("select tableoid::regclass::text as name, order_id from fact_archive order by order_id")
    assert [(row["order_id"], row["name"]) for row in found] == [
        ("o0-1", "fact_archive_y2030m01"),
        ("o0-2", "fact_archive_y2030m02"),
        ("o0-3", "fact_archive_y2030m12"),
    ]


# More than one at a time.


async def test_archivers_at_once_move_every_order_once(journal, pool):
    names = [f"o0-{number:02}" for number in range(60)]
    months = [AT + timedelta(days=30 * (number % 4)) for number in range(60)]
    rows = [ended(name, ended_at=at) for name, at in zip(names, months, strict=True)]
    facts = [row for number, name in enumerate(names) for row in facts_of(name, 3 * number + 1, 3 * number + 3)]
    await write(journal, *rows, facts=[*facts, *facts_of("o0-99", 999)])
    before = await ReadStore(pool).facts_of(names)

    async def archiver() -> int:
        moved = 0
        while (batch := await archived(pool, AT + timedelta(days=365), limit=7)).orders:
            moved += batch.orders
        return moved

    assert sum(await asyncio.gather(*(archiver() for _ in range(4)))) == 60
    assert await count(pool, "fact") == 1
    assert await ReadStore(pool).facts_of(names) == before


async def test_an_order_that_another_archiver_moves_is_passed_over(journal, pool):
    rows = [ended(name, ended_at=AT + timedelta(seconds=number)) for number, name in enumerate(("o0-1", "o0-2"))]
    await write(journal, *rows, facts=[*facts_of("o0-1", 1), *facts_of("o0-2", 2), *facts_of("o0-9", 3)])
    async with pool.acquire() as other, other.transaction():
        await other.execute("select from product_order where order_id = 'o0-1' for no key update")
        async with asyncio.timeout(10):
            assert await archived(pool) == Archived(1, 1, is_more=False)

    assert await offsets(pool, "fact_archive") == [("o0-2", 2)]


class Interrupted:
    """A pool: after so many statements something happens, once."""

    def __init__(self, pool: Pool, happens: Callable[[], Awaitable[Any]], after: int = 1) -> None:
        self._pool = pool
        self._happens = happens
        self._after = after
        self.asked: list[str] = []

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        rows: list[Any] = await self._pool.fetch(sql, *values)
        self.asked.append(sql)
        if len(self.asked) == self._after:
            await self._happens()
        return rows


async def test_an_order_that_moves_while_it_is_read_is_neither_empty_nor_doubled(journal, pool):
    """The first order is in the archive, so that it is read as well; the second one gets there in between."""
    rows = [ended(name, ended_at=AT + timedelta(seconds=number)) for number, name in enumerate(("o0-1", "o0-2"))]
    await write(journal, *rows, facts=[*facts_of("o0-1", 1, 2), *facts_of("o0-2", 3, 4), *facts_of("o0-9", 5)])
    before = await ReadStore(pool).facts_of(["o0-1", "o0-2"])
    await archived(pool, limit=1)
    between: Any = Interrupted(pool, partial(archived, pool))

    assert await ReadStore(between).facts_of(["o0-1", "o0-2"]) == before
    assert len(between.asked) == 2
    assert await count(pool, "fact") == 1


async def test_readers_never_see_half_of_an_order_while_all_are_moved(journal, pool):
    names = [f"o0-{number:02}" for number in range(30)]
    facts = [row for number, name in enumerate(names) for row in facts_of(name, 2 * number + 1, 2 * number + 2)]
    await write(journal, *(ended(name) for name in names), facts=[*facts, *facts_of("o0-99", 999)])
    store = ReadStore(pool)
    before = await store.facts_of(names)

    async def archive_all() -> None:
        while (await archived(pool, limit=1)).is_more:
            pass

    archiving = asyncio.create_task(archive_all())
    reads = 0
    while not archiving.done():
        assert await store.facts_of(names) == before
        reads += 1
    await archiving

    assert reads
    assert await store.facts_of(names) == before


async def test_reading_open_orders_bookings_and_imports_costs_no_look_into_the_archive(journal, pool):
    await write(journal, order_row("o0-1"), facts=facts_of("o0-1", 1, 2))
    asked: Any = Interrupted(pool, lambda: asyncio.sleep(0))

    await ReadStore(asked).facts_of(["o0-1", "booking o0-2/1", "import c1"])

    assert len(asked.asked) == 1


# Facts that come late.


async def test_a_fact_that_comes_for_an_archived_order_is_read_behind_the_archived_ones(journal, pool):
    await write(journal, ended(), facts=[*facts_of("o0-1", 1, 2), *facts_of("o0-2", 3)])
    before = (await ReadStore(pool).facts_of(["o0-1"]))["o0-1"]
    await archived(pool)
    await journal.commit(commit_of(fact(4, order_id="o0-1", kind="item.noted"), fact(5, order_id="o0-2")))

    found = (await ReadStore(pool).facts_of(["o0-1"]))["o0-1"]

    assert found[:2] == before
    assert [(each.offset, each.kind) for each in found[2:]] == [(4, "item.noted")]
    assert await archived(pool) == Archived(0, 0, is_more=False)


WAITING = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


async def test_a_fact_that_comes_while_its_order_is_moved_stays_and_so_does_the_head(journal, pool):
    """Between picking and moving a host notes a late result: it is the shard's newest fact."""
    await write(journal, ended(), facts=[*facts_of("o0-1", 1, 2), *facts_of("o0-2", 3)])
    async with pool.acquire() as connection, connection.transaction():
        # Holds the archiver up before its move, which marks the shard.
        await connection.execute("lock table archive_mark in access exclusive mode")
        moving = asyncio.create_task(archive_batch(pool, "main", LATER, 10))
        await until(partial(pool.fetchval, WAITING))
        await journal.commit(commit_of(fact(4, order_id="o0-1", kind="item.noted")))
    async with asyncio.timeout(20):
        assert await moving == Archived(1, 2, is_more=False)

    assert [each.offset for each in (await ReadStore(pool).facts_of(["o0-1"]))["o0-1"]] == [1, 2, 4]
    assert await journal.heads([0]) == {0: 4}
    assert await Feed(pool, "main").archived_to() == {0: 2}


async def test_what_the_messages_of_a_job_have_done_is_found_in_the_archive_too(journal, pool):
    done = fact(2, order_id="o0-1", kind="item.retried", cause="job j/1")
    await write(journal, ended(), facts=[*facts_of("o0-1", 1), done, *facts_of("o0-2", 3)])
    await archived(pool)
    late = fact(4, order_id="o0-1", kind="item.noted", cause="job j/1")
    await journal.commit(commit_of(late, fact(5, order_id="o0-2")))

    found = await jobs.facts_by_cause(pool, ["o0-1", "o0-2"], ["job j/1", "job j/2"])

    assert found == {"job j/1": ["item.retried", "item.noted"]}


# Whole orders, by a host.


async def test_archived_plans_fold_as_before_and_every_row_is_what_the_facts_say(host, pool, databases):
    [done] = await host.submit(sim("acc-1", PIN="4711"))
    await host.finish()
    await host.ask(imported("acc-1", "p9", cause="c1"))
    [surveyed] = await host.submit(visit("acc-1"))
    item = host.loop.memory.plans[surveyed.order_id].items[0].key
    await host.tell(surveyed.order_id, ClaimTask(item, "ann", "m1"), "person:ann", "m1")
    await host.tell(surveyed.order_id, CompleteTask(item, "ann", {}, "m2"), "person:ann", "m2")
    await host.finish()
    await host.submit(sim("acc-1"))
    await pool.execute("update product_order set sealed = false")  # as when their keys are destroyed
    before = await shown(pool, done.order_id, surveyed.order_id)

    moved = await archived(pool, host.clock.now + timedelta(seconds=1))

    assert moved.orders == 2
    assert await shown(pool, done.order_id, surveyed.order_id) == before
    assert await replay_differences(databases.dsn) == []
    # Closed tasks stay: GET /v1/tasks/{id} and the notes of a task name its order and item.
    [task_id] = [row["task_id"] for row in await pool.fetch("select task_id from manual_task")]
    assert (await tasks.read_task(pool, "main", task_id, host.clock.now))["orderId"] == surveyed.order_id


async def shown(pool: Pool, *order_ids: str) -> list[Any]:
    store = ReadStore(pool)
    plans = [await PlanFolder(store).fold(facts) for facts in (await store.facts_of(order_ids)).values()]
    return [(order_summary(plan), plan_view(plan), order_view(plan)) for plan in plans]


async def test_a_repeat_of_an_archived_orders_client_key_gives_that_order(host, pool):
    [first] = await host.submit(sim(key="k"))
    await host.finish()
    await host.submit(sim())
    assert (await archived(pool, host.clock.now + timedelta(seconds=1))).orders == 1

    [again] = await host.submit(sim(key="k"))

    assert (again.order_id, again.state, again.is_repeat) == (first.order_id, "completed", True)


async def test_a_late_fact_keeps_its_order_as_long_as_if_it_had_ended_with_it(journal, pool):
    late = fact(3, at=LATER, order_id="o0-1", kind="item.noted", item="i")
    await write(journal, ended("o0-1"), facts=[*facts_of("o0-1", 1, 2), late, *facts_of("o0-2", 4)])

    assert (await archived(pool)).orders == 0
    assert (await archived(pool, LATER + timedelta(seconds=1))).orders == 1


async def test_who_stands_still_in_the_middle_of_a_batch_is_let_go(journal, pool, monkeypatch):
    """He has locked orders, and whoever writes one of them waits for him."""
    monkeypatch.setattr(persistence.archive, "_BOUNDS", ("set local idle_in_transaction_session_timeout = '50ms'",))
    await write(journal, ended("o0-1"), facts=[*facts_of("o0-1", 1, 2), *facts_of("o0-2", 3)])
    stands, goes_on = asyncio.Event(), asyncio.Event()

    async def stand_still(*_: Any) -> list[datetime]:
        stands.set()
        await goes_on.wait()
        return []

    monkeypatch.setattr(persistence.archive, "_missing_partitions", stand_still)
    standing = asyncio.ensure_future(archived(pool))
    await stands.wait()

    free = "select count(*) = 1 from (select 1 from product_order for update skip locked) as free"
    await until(lambda: pool.fetchval(free))

    goes_on.set()
    # The client library has many words for a connection that has gone; all of them mean that nothing was moved.
    with pytest.raises(Exception) as lost:
        await standing
    assert is_unavailable(lost.value)
    assert await count(pool, "fact_archive") == 0


async def test_a_late_result_for_an_archived_order_is_noted_and_changes_nothing(host, pool, databases):
    [order] = await host.submit(sim())
    call = host.dispatch.calls()[0]
    await host.finish()
    await host.submit(sim())
    before = await kinds(pool, order.order_id)
    [(summary, plan, _)] = await shown(pool, order.order_id)
    assert (await archived(pool, host.clock.now + timedelta(seconds=1))).orders == 1

    assert await host.report(call) is None

    found = (await ReadStore(pool).facts_of([order.order_id]))[order.order_id]
    assert [each.kind for each in found] == [each.partition(" ")[0] for each in before] + ["item.noted"]
    [(summary_now, plan_now, _)] = await shown(pool, order.order_id)
    assert (summary_now, plan_now | {"facts": plan["facts"]}) == (summary, plan)
    assert plan_now["facts"] == plan["facts"] + 1, "the note"
    assert await replay_differences(databases.dsn) == []


async def test_a_host_that_takes_over_goes_on_behind_what_was_archived(hosts, pool):
    first = await hosts("host-a")
    await first.submit(sim())
    await first.finish()
    [running] = await first.submit(sim())
    assert (await archived(pool, first.clock.now + timedelta(seconds=1))).orders == 1
    heads = dict(first.loop.heads)
    first.kill()
    await Ownership(pool).fence("host-a")

    second = await hosts("host-b")

    assert second.loop.heads == heads
    await second.finish()
    assert (await kinds(pool, running.order_id))[-1] == "order.ended"


# What people see.


async def test_the_archive_tells_its_months_and_what_is_left_to_move(journal, pool):
    assert await read_archive(pool, "main") == {
        "months": [],
        "finishedHot": 0,
        "finishedHotAreMore": False,
        "oldestHotEndedAt": None,
    }
    rows = [ended("o0-1"), ended("o0-2", ended_at=AT + timedelta(days=40)), order_row("o0-3")]
    facts = [*facts_of("o0-1", 1, 2), *facts_of("o0-2", 3), *facts_of("o0-3", 4)]
    await write(journal, *rows, facts=facts)
    await archived(pool)
    await pool.execute("analyze fact_archive_y2030m01")

    found = await read_archive(pool, "main")

    [month] = found.pop("months")
    assert (month["month"], month["facts"]) == ("2030-01", 2)
    assert month["bytes"] > 0
    assert found == {
        "finishedHot": 1,
        "finishedHotAreMore": False,
        "oldestHotEndedAt": (AT + timedelta(days=40)).isoformat(),
    }


# The schema.


FACTS = 'select * from fact order by "offset"'
LEFT = (
    "select relname from pg_class where relname ~ '^fact_archive|^archive_|unarchived' "
    "or reloptions::text ~ 'autovacuum'"
)


async def test_going_back_moves_everything_back_and_going_forth_again_loses_nothing(journal, pool, databases):
    await write(journal, ended(), facts=[*facts_of("o0-1", 1, 2, item="i", cause="c"), *facts_of("o0-2", 3)])
    before = [dict(row) for row in await pool.fetch(FACTS)]
    await archived(pool)
    seen: list[Any] = []

    def back_and_forth(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(persistence.tables.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.downgrade(config, "0009")
        seen.append([dict(row) for row in connection.exec_driver_sql(FACTS).mappings()])
        seen.append(list(connection.exec_driver_sql(LEFT).scalars()))
        # The next ones make indexes outside of transactions.
        command.upgrade(config, "0013")
        seen.append([dict(row) for row in connection.exec_driver_sql(FACTS).mappings()])
        seen.append(connection.exec_driver_sql("select count(*) from product_order where archived").scalar())

    engine = create_async_engine(databases.dsn.replace("postgresql://", "postgresql+asyncpg://", 1))
    try:
        async with engine.connect() as connection:
            # Nothing of it is kept: the other tests need their schema.
            transaction = await connection.begin()
            await connection.run_sync(back_and_forth)
            await transaction.rollback()
    finally:
        await engine.dispose()

    facts, left, facts_again, marked = seen
    assert facts == facts_again == before
    assert (left, marked) == ([], 0)
    assert await count(pool, "fact_archive") == 2
