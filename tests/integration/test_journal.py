"""The journal on a real PostgreSQL: all or nothing, fenced, and honest about what was not heard."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from persistence.incarnations import Assignment, Ownership, balance
from persistence.journal import (
    ASSETS_OF_ACCOUNTS,
    KNOWN_KEYS,
    OPEN_ORDERS_OF_ACCOUNTS,
    CommitUnknown,
    DataRefused,
    Fenced,
)
from persistence.rows import Commit, SealedRow, TaskRow, TemplateRow
from persistence.tables import key_metadata, metadata
from tests.support.journals import AT, asset_row, commit_of, count, explained, fact, open_journal, order_row
from tests.support.proxy import Proxy
from tests.support.until import until

WRITTEN = ("fact", "product_order", "asset", "manual_task", "plan_template", "sealed_value")


def quick_commit(**changes: object) -> Commit:
    """A commit of what most ticks write, which goes as one statement."""
    parts = {
        "facts": [fact(1), fact(2, payload='{"a": 1}')],
        "orders_new": {"o0-1": order_row()},
        "orders_changed": {"o0-2": order_row("o0-2")},
        "assets": {"p1": asset_row()},
    }
    return Commit(**parts | changes)  # type: ignore[arg-type]  # parts of a Commit, by name


def full_commit(**changes: object) -> Commit:
    """A commit that writes to every table."""
    task = TaskRow("o0-1.t", "main", "o0-1", "survey", "desk", "Survey", 2, AT, None, None, "{}")
    parts = {
        "facts": [fact(1), fact(2)],
        "orders_new": {"o0-1": order_row()},
        "assets": {"p1": asset_row()},
        "tasks_new": {"o0-1.t": task},
        "templates": {"t1": TemplateRow("main", "t1", "r1", "{}")},
        "sealed": [SealedRow("o0-1", "1/PUK", "main", "k1", b"secret")],
    }
    return Commit(**parts | changes)  # type: ignore[arg-type]  # parts of a Commit, by name


@pytest.fixture
async def journal(databases, pool):
    made = await open_journal(databases.dsn, "host-a", (0, 1), pool=pool)
    yield made
    made.abandon()


# All or nothing.


async def test_a_commit_writes_everything(journal, pool):
    await journal.commit(full_commit())

    assert {table: await count(pool, table) for table in WRITTEN} == dict.fromkeys(WRITTEN, 1) | {"fact": 2}
    assert await journal.heads([0, 1]) == {0: 2, 1: 0}


async def test_a_commit_of_few_rows_is_one_statement_that_writes_all_of_them(journal, pool):
    await pool.execute(
        "insert into product_order (order_id, tenant, shard, channel, priority, state, created_at, active, fallout, "
        "sealed, items) values ('o0-2', 'main', 0, 'web', 'normal', 'acknowledged', $1, true, 0, false, 1)",
        AT,
    )
    await journal.commit(quick_commit(orders_changed={"o0-2": order_row("o0-2", state="completed", ended_at=AT)}))
    await journal.commit(Commit(facts=[fact(3)], assets={"p1": asset_row(status="suspended")}))
    transactions = "select count(distinct xmin::text) from fact"

    assert await pool.fetchval("select count(*) from incarnation where commits = 2") == 1
    assert await pool.fetchval(transactions) == 2
    assert [dict(row) for row in await pool.fetch('select "offset", payload from fact order by 1')] == [
        {"offset": 1, "payload": None},
        {"offset": 2, "payload": '{"a": 1}'},
        {"offset": 3, "payload": None},
    ]
    assert await pool.fetch("select order_id, state, ended_at from product_order order by 1") == [
        ("o0-1", "inProgress", None),
        ("o0-2", "completed", AT),
    ]
    assert await pool.fetch("select asset_id, status from asset") == [("p1", "suspended")]


async def test_a_fenced_incarnation_writes_nothing_by_one_statement_either(journal, pool):
    journal.epoch += 1
    with pytest.raises(Fenced):
        await journal.commit(quick_commit())

    assert {table: await count(pool, table) for table in WRITTEN} == dict.fromkeys(WRITTEN, 0)


async def test_a_product_of_another_account_is_refused_by_name_and_with_it_all_else(journal, pool):
    await journal.commit(quick_commit())
    with pytest.raises(DataRefused) as refused:
        await journal.commit(Commit(facts=[fact(3)], assets={"p1": asset_row(account="acc-2")}))

    assert refused.value.constraint == "asset_owner"
    assert await count(pool, "fact") == 2


@pytest.mark.parametrize("commit_of_rows", ["full", "quick"])
@pytest.mark.parametrize(
    "changes",
    [
        {"assets": {"p1": asset_row(body="no json")}},
        {"assets": {"p1": asset_row(body='"\\u0000"')}},
        {"assets": {"p1": asset_row(account="\0")}},
        {"facts": [fact(1), fact(2, payload='{"a": "\\u0000"}')]},
        {"facts": [fact(1), fact(2, actor="\0")]},
        {"facts": [fact(1), fact(1)]},
        {"facts": [fact(1), fact(2, v=1 << 40)]},
        {"facts": [fact(1), fact(2, cause="\ud800")]},
        {"facts": [fact(1), fact(2, at="yesterday")]},
        {"sealed": [SealedRow("o0-1", "1/\0", "main", "k1", b"secret")]},
    ],
    ids=["no json", "nul in json", "nul in text", "nul in a fact's json", "nul in a fact's text", "offset twice",
         "number too large", "lone surrogate", "wrong type", "nul in a name"],
)  # fmt: skip
async def test_a_refused_value_leaves_no_row_and_the_next_commit_goes_through(journal, pool, changes, commit_of_rows):
    with pytest.raises(DataRefused):
        await journal.commit((full_commit if commit_of_rows == "full" else quick_commit)(**changes))

    assert {table: await count(pool, table) for table in WRITTEN} == dict.fromkeys(WRITTEN, 0)
    await journal.commit(full_commit())
    assert await count(pool, "fact") == 2


async def test_an_offset_that_is_written_cannot_be_written_again(journal, pool):
    await journal.commit(commit_of(fact(1)))

    with pytest.raises(DataRefused) as refused:
        await journal.commit(commit_of(fact(1, kind="order.ended"), fact(2)))

    assert refused.value.constraint == "fact_pkey"
    assert [row["kind"] for row in await pool.fetch("select kind from fact")] == ["order.moved"]


async def test_copy_then_raise_leaves_no_row(databases, pool):
    async def fail(point: str) -> None:
        if point == "committing":
            raise RuntimeError("a bug after COPY")

    journal = await open_journal(databases.dsn, "host-a", (0,), probe=fail, pool=pool)

    with pytest.raises(DataRefused):
        await journal.commit(full_commit())

    assert {table: await count(pool, table) for table in WRITTEN} == dict.fromkeys(WRITTEN, 0)
    journal.abandon()


async def test_an_empty_commit_is_a_heartbeat(journal, pool):
    before = await pool.fetchval("select heartbeat_at from incarnation")

    await journal.commit(Commit())

    assert await pool.fetchval("select heartbeat_at from incarnation") > before


# Fencing.


async def test_a_fenced_incarnation_writes_nothing(journal, pool):
    assert await Ownership(pool).fence("host-a")

    with pytest.raises(CommitUnknown):
        await journal.commit(full_commit())
    with pytest.raises(Fenced):
        await journal.raise_epoch()

    assert {table: await count(pool, table) for table in WRITTEN} == dict.fromkeys(WRITTEN, 0)


async def test_a_fence_without_the_end_of_the_connection_is_enough(journal, pool):
    """What a takeover rests on is the row, not that the old backend could be ended."""
    await pool.execute("update incarnation set epoch = epoch + 1, state = 'fenced'")

    with pytest.raises(Fenced):
        await journal.commit(full_commit())

    assert {table: await count(pool, table) for table in WRITTEN} == dict.fromkeys(WRITTEN, 0)


async def test_an_incarnation_is_fenced_once(journal, pool):
    assert await Ownership(pool).fence("host-a")
    assert not await Ownership(pool).fence("host-a")


@pytest.mark.parametrize("point", ["checked", "copying", "committing"])
async def test_a_takeover_ends_a_commit_that_stands_still(databases, pool, point):
    reached, forever = asyncio.Event(), asyncio.Event()

    async def stand_still(at: str) -> None:
        if at == point:
            reached.set()
            await forever.wait()

    old = await open_journal(databases.dsn, "host-a", (0,), probe=stand_still, pool=pool)
    committing = asyncio.create_task(old.commit(full_commit()))
    await reached.wait()

    assert await Ownership(pool).fence("host-a")
    assert await Ownership(pool).reassign({0: ("host-a", "host-b")}) == 1
    new = await open_journal(databases.dsn, "host-b")

    assert await new.owned_shards() == {0: (0, 1, False, None)}
    assert await new.heads([0]) == {0: 0}
    await new.commit(commit_of(fact(1, kind="order.ended")))
    forever.set()
    with pytest.raises(CommitUnknown):
        await committing
    with pytest.raises(Fenced):
        await old.raise_epoch()
    assert [row["kind"] for row in await pool.fetch("select kind from fact")] == ["order.ended"]
    old.abandon()
    new.abandon()


async def test_the_shards_of_a_living_owner_cannot_be_given_to_another(journal, pool):
    assert await Ownership(pool).reassign({0: ("host-a", "host-b"), 2: (None, "host-b")}) == 1

    owners = {each.shard: each.incarnation_id for each in await Ownership(pool).assignments()}
    assert owners[0] == "host-a"
    assert owners[2] == "host-b"


async def test_a_reassignment_that_was_decided_on_an_old_table_changes_nothing(journal, pool):
    await Ownership(pool).fence("host-a")
    assert await Ownership(pool).reassign({0: ("host-a", "host-b")}) == 1

    assert await Ownership(pool).reassign({0: ("host-a", "host-c")}) == 0


async def test_an_owner_gives_its_own_shards_away_by_its_commit(journal, pool):
    await journal.commit(commit_of(fact(1), released_shards=[(0, "host-b"), (3, "host-b")]))

    owners = {each.shard: (each.incarnation_id, each.version) for each in await Ownership(pool).assignments()}
    assert owners[0] == ("host-b", 1)
    assert owners[1] == ("host-a", 0)
    assert owners[3] == (None, 0)


# Commits that are not heard.


@pytest.fixture
async def proxy(databases):
    async with Proxy(databases.dsn) as made:
        yield made


@pytest.mark.parametrize("commit", [full_commit(), quick_commit()], ids=["full", "quick"])
@pytest.mark.parametrize(("moment", "head"), [("before", 0), ("after", 2)])
async def test_after_the_own_epoch_is_raised_the_head_tells_what_became_of_an_unheard_commit(
    pool, proxy, moment, head, commit
):
    journal = await open_journal(proxy.dsn, "host-a", (0,), pool=pool)
    proxy.cut(moment, b"COMMIT")

    with pytest.raises(CommitUnknown):
        await journal.commit(commit)
    await journal.raise_epoch()

    assert await journal.heads([0]) == {0: head}
    assert await count(pool, "product_order") == (1 if head else 0)
    await journal.commit(commit_of(fact(head + 1)))
    assert await journal.heads([0]) == {0: head + 1}
    journal.abandon()


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_raising_the_own_epoch_may_itself_go_unheard(pool, proxy, moment):
    journal = await open_journal(proxy.dsn, "host-a", (0,), pool=pool)
    proxy.cut(moment, b"COMMIT")
    with pytest.raises(CommitUnknown):
        await journal.commit(full_commit())
    proxy.cut(moment, b"COMMIT")

    with pytest.raises(CommitUnknown):
        await journal.raise_epoch()
    await journal.raise_epoch()

    await journal.commit(commit_of(fact(3)))
    journal.abandon()


async def test_an_old_backend_that_lives_on_is_ended_before_the_epoch_is_raised(databases, pool):
    """The commit hangs in its backend while its client has given up: it must not come through later."""
    journal = await open_journal(databases.dsn, "host-a", (0,), pool=pool)
    old = journal._connection
    assert old is not None
    hanging = asyncio.create_task(old.execute("begin; update incarnation set commits = 7; select pg_sleep(600)"))
    sleeping = "select count(*) = 1 from pg_stat_activity where wait_event = 'PgSleep'"
    await until(lambda: pool.fetchval(sleeping))

    await journal.raise_epoch()

    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await hanging
    assert await pool.fetchval("select commits from incarnation") == 0
    journal.abandon()


async def test_who_is_ended_while_he_raises_his_epoch_leaves_no_connection_open(databases, pool, monkeypatch):
    journal = await open_journal(databases.dsn, "host-a", (0,), pool=pool)
    connect, made = journal._connect, []

    async def noted():
        made.append(await connect())
        return made[-1]

    monkeypatch.setattr(journal, "_connect", noted)
    async with pool.acquire() as other, other.transaction():
        await other.execute("select 1 from incarnation for update")
        raising = asyncio.create_task(journal.raise_epoch())
        await until(lambda: pool.fetchval("select count(*) = 1 from pg_stat_activity where wait_event_type = 'Lock'"))
        raising.cancel()
        with pytest.raises(asyncio.CancelledError):
            await raising

    assert [each.is_closed() for each in made] == [True]
    journal.abandon()


async def test_a_commit_without_a_connection_is_unknown_and_not_an_accident(pool, proxy):
    journal = await open_journal(proxy.dsn, "host-a", (0,), pool=pool)
    proxy.is_closed = True
    proxy.drop_all()

    with pytest.raises(CommitUnknown):
        await journal.commit(full_commit())
    with pytest.raises(CommitUnknown):
        await journal.raise_epoch()
    proxy.is_closed = False
    await journal.raise_epoch()

    await journal.commit(full_commit())
    assert await count(pool, "fact") == 2
    journal.abandon()


@pytest.mark.parametrize("error", [asyncpg.InternalClientError("protocol"), RuntimeError("a bug"), TimeoutError()])
async def test_whatever_goes_wrong_at_commit_is_unknown(journal, pool, monkeypatch, error):
    """Only what was raised before COMMIT is sure not to be stored."""
    monkeypatch.setattr(asyncpg.transaction.Transaction, "_Transaction__commit", _raiser(error))

    with pytest.raises(CommitUnknown):
        await journal.commit(full_commit())


def _raiser(error: BaseException) -> Callable[..., Awaitable[None]]:
    async def fail(*_: object) -> None:
        raise error

    return fail


# Reading.

FILL = (
    "insert into product_order (order_id, tenant, shard, account, channel, client_key, priority, state, created_at, "
    "ended_at, active, fallout, sealed, items) select 'o9-' || n, 'main', 1, 'acc-' || n, 'web', 'key-' || n, "
    "'normal', 'completed', $1, case when n % 2 = 0 then $1::timestamptz end, false, 0, false, 1 "
    "from generate_series(1, 5000) as n",
    "insert into asset (tenant, asset_id, shard, account, product, status, body, updated_at) "
    "select 'main', 'a9-' || n, 1, 'acc-' || n, 'sim', 'active', '{}', $1 from generate_series(1, 5000) as n",
)


NO_STATISTICS = (
    "select pg_clear_attribute_stats('public', s.tablename::text, s.attname::text, false) from pg_stats as s "
    "where s.schemaname = 'public' and s.tablename in ('product_order', 'asset')",
    "select pg_clear_relation_stats('public', name) from unnest(array['product_order', 'asset']) as name",
)


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_what_a_tick_reads_costs_no_more_in_a_table_of_which_there_are_no_statistics(pool, mode):
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()  # not committed: nobody gathers statistics of it
        await connection.execute(f"set local plan_cache_mode = {mode}")
        for statement in NO_STATISTICS:
            await connection.execute(statement)  # those that were gathered of what other tests have left
        for statement in FILL:
            await connection.execute(statement, AT)
        accounts = [f"acc-{number}" for number in range(20)]
        keys = [f"key-{number}" for number in range(20)]
        for statement, names, found in (
            (KNOWN_KEYS, keys, 19),
            (OPEN_ORDERS_OF_ACCOUNTS, accounts, 10),
            (ASSETS_OF_ACCOUNTS, accounts, 19),
        ):
            plan = await explained(connection, statement, "main", names)
            scans = {node.split()[-1] for node, _ in plan if "Scan" in node} - {"Scan"}
            assert scans <= {
                "product_order_client_key_key",
                "product_order_open_account_idx",
                "product_order_account_idx",
                "asset_account_time_idx",
            }
            assert not any("Seq Scan" in node for node, _ in plan)
            assert len(await connection.fetch(statement, "main", names)) == found
        await transaction.rollback()


# The table of owners.

hosts_lists = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True)
owners_lists = st.lists(st.none() | st.sampled_from("abcdefghxyz"), min_size=1, max_size=80)


@given(owners_lists, hosts_lists)
def test_balance_gives_every_shard_an_owner_and_every_host_its_share(owners, hosts):
    table = [Assignment(shard, owner, 0) for shard, owner in enumerate(owners)]

    target = balance(table, hosts)

    loads = [list(target.values()).count(host) for host in hosts]
    assert target.keys() == set(range(len(owners)))
    assert set(target.values()) <= set(hosts)
    assert max(loads) - min(loads) <= 1


@given(owners_lists, hosts_lists)
def test_balance_moves_no_more_shards_than_it_must(owners, hosts):
    table = [Assignment(shard, owner, 0) for shard, owner in enumerate(owners)]

    target = balance(table, hosts)

    moved = sum(target[each.shard] != each.incarnation_id for each in table)
    shares = sorted((list(target.values()).count(host) for host in hosts), reverse=True)
    held = sorted((owners.count(host) for host in hosts), reverse=True)
    must = len(owners) - sum(min(has, share) for has, share in zip(held, shares, strict=True))
    assert moved == must


@given(owners_lists, hosts_lists)
def test_a_balanced_table_stays_as_it_is(owners, hosts):
    table = [Assignment(shard, owner, 0) for shard, owner in enumerate(owners)]
    balanced = [Assignment(shard, owner, 1) for shard, owner in sorted(balance(table, hosts).items())]

    assert balance(balanced, hosts) == {each.shard: each.incarnation_id for each in balanced}


def test_without_hosts_there_is_no_owner():
    assert balance([Assignment(0, "a", 0)], []) == {}


# The schema.


@pytest.mark.parametrize("which", ["orders", "keys"])
async def test_the_migrations_give_the_schema_of_the_tables(databases, which):
    # Emptied: partitions of the archive come with what is in it, and are no part of the schema.
    dsn, declared = (databases.dsn, metadata) if which == "orders" else (databases.key_dsn, key_metadata)
    engine = create_async_engine(dsn.replace("postgresql://", "postgresql+asyncpg://", 1))

    def differences(connection: Connection) -> list[object]:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, declared))

    try:
        async with engine.connect() as connection:
            assert await connection.run_sync(differences) == []
    finally:
        await engine.dispose()


async def test_the_tables_are_stored_and_vacuumed_as_they_say(pool):
    declared = {
        table.name: {f"{name}={value}" for name, value in table.dialect_options["postgresql"]["with"].items()}
        for table in metadata.tables.values()
        if table.dialect_options["postgresql"]["with"]
    }

    stored = await pool.fetch(
        "select relname, reloptions from pg_class where reloptions is not null and relkind in ('r', 'p') "
        "and relnamespace = 'public'::regnamespace"
    )

    assert {row["relname"]: set(row["reloptions"]) for row in stored} == declared
