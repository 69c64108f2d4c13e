"""Several servers in one URL: the one that takes writes is found, whatever the others do."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from persistence.database import DatabaseUnreachable, check_durability, is_unavailable, migrate, open_pool
from persistence.durability import DurabilityOff
from persistence.holds import pause_everything
from persistence.journal import CommitUnknown, Journal
from persistence.servers import NoPrimary, WaitCutShort, connect
from persistence.vault import Vault
from tests.support.journals import AT, commit_of, fact
from tests.support.pair import Pair, running_pair
from tests.support.until import until


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with running_pair() as made:
        yield made


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server whose kernel takes connections and that says nothing: what a stopped process looks like."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


async def port_of(connection: asyncpg.Connection) -> int:
    return int(await connection.fetchval("select current_setting('port')::int"))


async def port_of_standby(pair: Pair) -> int:
    [row] = await pair.as_admin("b", "select current_setting('port')::int as port")
    return int(row["port"])


async def facts_of_old_primary(pair: Pair) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(pair.primary.dsn())
    try:
        return list(await connection.fetch("select count(*) as n from fact"))
    finally:
        await connection.close()


def with_servers(dsn: str, *hosts: str) -> str:
    who, at, rest = dsn.rpartition("@")
    return f"{who}{at}{','.join(hosts)}/{rest.partition('/')[2]}"


async def test_a_server_that_hangs_does_not_hide_the_one_behind_it(databases, silent_port):
    living = databases.dsn.rpartition("@")[2].partition("/")[0]
    dsn = with_servers(databases.dsn, f"127.0.0.1:{silent_port}", living)

    connection = await connect(dsn)
    assert await port_of(connection) == int(living.partition(":")[2])
    await connection.close()


async def test_a_url_of_several_servers_is_migrated_and_pooled(databases, silent_port):
    living = databases.dsn.rpartition("@")[2].partition("/")[0]
    dsn, keys = (
        with_servers(each, f"127.0.0.1:{silent_port}", living) for each in (databases.dsn, databases.key_dsn)
    )

    await migrate(dsn, keys)
    pool = await open_pool(dsn)
    assert await pool.fetchval("select 1") == 1
    await pool.close()


async def test_a_paused_start_is_not_kept_up_by_a_server_that_says_nothing(databases, pool, silent_port):
    living = databases.dsn.rpartition("@")[2].partition("/")[0]
    dsn = with_servers(databases.dsn, f"127.0.0.1:{silent_port}", living)

    async with asyncio.timeout(20):
        await pause_everything(dsn, "main", AT)

    assert await pool.fetchval("select cause from system_hold") == "pause"


async def test_everybody_finds_the_promoted_standby_and_nobody_goes_back(pair):
    dsn = pair.dsn()
    await migrate(dsn, pair.dsn("orderplan_keys"), shards=8)
    await pair.replicate_synchronously()
    journal = Journal(dsn, "host-a")
    await journal.open()
    pool = await open_pool(dsn)
    await journal.commit(commit_of(fact(1)))

    # A standby alone is no primary, and that is a matter of time, not of data.
    with pytest.raises(NoPrimary) as refused:
        await connect(pair.standby.dsn())
    assert is_unavailable(refused.value)
    with pytest.raises(DatabaseUnreachable, match="standby"):
        await migrate(pair.standby.dsn(), pair.standby.dsn("orderplan_keys"))

    pair.kill_primary()
    with pytest.raises(CommitUnknown):
        await journal.commit(commit_of(fact(2)))
    with pytest.raises(CommitUnknown):
        await journal.raise_epoch()
    await pair.promote()
    await journal.raise_epoch()
    assert await journal.heads([0]) == {0: 1}
    await journal.commit(commit_of(fact(2)))
    assert await pool.fetchval("select count(*) from fact") == 2

    # The old primary comes back, unfenced and first in the URL: it takes writes, and gets none.
    assert pair.primary.ensure()
    old = await asyncpg.connect(dsn)
    assert await old.fetchval("select count(*) from fact") == 1
    await old.close()
    for _ in range(3):
        connection = await connect(dsn)
        assert await connection.fetchval("select count(*) from fact") == 2
        await connection.close()
    with pytest.raises(NoPrimary):
        await connect(pair.primary.dsn())
    await pool.close()
    journal.abandon()


async def test_who_sees_the_promoted_standby_lets_go_of_the_old_primary_although_it_lives(pair):
    dsn = pair.dsn()
    await migrate(dsn, pair.dsn("orderplan_keys"), shards=8)
    await pair.replicate_synchronously()
    journal = Journal(dsn, "host-a")
    await journal.open()
    pool = await open_pool(dsn)
    await journal.commit(commit_of(fact(1)))
    # Nobody fences the old primary, and it waits for no standby: it takes and acknowledges whatever comes.
    await pair.as_admin("a", "alter system reset synchronous_standby_names", "select pg_reload_conf()")
    await pair.promote()

    connection = await connect(dsn)
    assert await port_of(connection) == await port_of_standby(pair)
    await connection.close()
    with pytest.raises(CommitUnknown):
        await journal.commit(commit_of(fact(2)))
    await journal.raise_epoch()
    assert await journal.heads([0]) == {0: 1}
    await journal.commit(commit_of(fact(2)))
    assert await pool.fetchval("select count(*) from fact") == 2
    assert [row["n"] for row in await facts_of_old_primary(pair)] == [1]
    await pool.close()
    journal.abandon()


async def test_a_server_that_became_read_only_is_away_and_refuses_no_data(databases, pool):
    journal = Journal(databases.dsn, "host-a")
    await journal.open()
    assert journal._connection is not None
    await journal._connection.execute("set default_transaction_read_only = on")

    with pytest.raises(CommitUnknown, match="25006"):
        await journal.commit(commit_of(fact(1)))
    await journal.raise_epoch()
    await journal.commit(commit_of(fact(1)))
    journal.abandon()


async def test_a_wait_for_the_standby_that_was_cut_short_is_not_taken_for_stored(pair):
    dsn = pair.dsn()
    await migrate(dsn, pair.dsn("orderplan_keys"), shards=8)
    await pair.replicate_synchronously()
    journal = Journal(dsn, "host-a")
    await journal.open()
    pair.standby.stop()
    committing = asyncio.create_task(journal.commit(commit_of(fact(1))))

    async def is_waiting() -> bool:
        rows = await pair.as_admin(
            "a", "select pid from pg_stat_activity where wait_event = 'SyncRep' and application_name like 'orderplan %'"
        )
        return bool(rows)

    await until(is_waiting, 20)
    await pair.as_admin("a", "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'")

    with pytest.raises(CommitUnknown):
        await committing
    journal.abandon()


async def test_a_key_whose_wait_for_the_standby_was_cut_short_is_not_taken_for_stored(pair):
    await migrate(pair.dsn(), pair.dsn("orderplan_keys"), shards=8)
    await pair.replicate_synchronously()
    keys, orders = await open_pool(pair.dsn("orderplan_keys"), size_max=2), await open_pool(pair.dsn(), size_max=1)
    vault = Vault(keys, orders)
    vault.seal("o0-1", "1/PUK", "1234")
    pair.standby.stop()

    async def is_waiting() -> bool:
        return bool(await pair.as_admin("a", "select pid from pg_stat_activity where wait_event = 'SyncRep'"))

    # Asked for again, it is written again: else the second commit, which writes nothing, would wait for nobody.
    for _ in range(2):
        storing = asyncio.create_task(vault.store_keys())
        await until(is_waiting, 20)
        await pair.as_admin("a", "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'")
        with pytest.raises(WaitCutShort) as cut:
            await storing
        assert is_unavailable(cut.value)

    pair.standby.start()
    await vault.store_keys()
    pair.kill_primary()
    await pair.promote()
    assert await keys.fetchval("select count(*) from order_key") == 1
    keys.terminate()
    orders.terminate()


@pytest.mark.parametrize("way", ["role", "database", "url"])
async def test_a_session_that_does_not_wait_for_the_disk_is_refused_unless_the_loss_is_accepted(databases, pool, way):
    dsn = databases.dsn
    if way == "url":
        dsn += "?synchronous_commit=off"
    else:
        await pool.execute(f"alter {way} orderplan set synchronous_commit = off")
    try:
        with pytest.raises(DurabilityOff, match="synchronous_commit") as refused:
            await check_durability(dsn, databases.key_dsn)
        found = await check_durability(dsn, databases.key_dsn, accepts_loss=True)
    finally:
        if way != "url":
            await pool.execute(f"alter {way} orderplan reset synchronous_commit")

    assert refused.value.path == "synchronous_commit"
    assert refused.value.mend is not None
    assert "--accept-data-loss" in refused.value.mend
    assert [each.code for each in found["orders"]] == ["crashLoses"]
    assert await check_durability(databases.dsn, databases.key_dsn) == {"orders": [], "keys": []}


async def test_a_start_tells_or_refuses_what_a_failover_would_lose(pair):
    dsn, keys = pair.dsn(), pair.dsn("orderplan_keys")
    found = await check_durability(dsn, keys)
    assert {name: [each.code for each in weak] for name, weak in found.items()} == {
        "orders": ["failoverLoses"], "keys": ["failoverLoses"],
    }  # fmt: skip
    with pytest.raises(DurabilityOff, match="synchronous_standby_names"):
        await check_durability(dsn, keys, needs_standby=True)

    await pair.replicate_synchronously()
    assert await check_durability(dsn, keys, needs_standby=True) == {"orders": [], "keys": []}

    pair.standby.stop()

    async def is_alone() -> bool:
        return not await pair.as_admin("a", "select pid from pg_stat_replication")

    await until(is_alone, 20)
    with pytest.raises(DurabilityOff, match="nothing can be acknowledged"):
        await check_durability(dsn, keys)
