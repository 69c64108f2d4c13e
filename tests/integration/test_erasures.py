"""Accounts are erased on request, over a real host and real databases: all of them, nothing else, and for good."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from actors.envelopes import BookAssets, EraseAccount, ImportAssets
from actors.erasure_desk import ErasureDesk
from domain.errors import Busy, Forbidden, NotFound, NotPossibleNow, OrderplanError
from domain.ids import account_shard
from domain.inventory import Asset
from domain.sealing import is_encrypted
from persistence import catalogue, erasures, hub
from persistence.archive import archive_batch
from persistence.database import Pool
from persistence.erasures import ERASED
from persistence.feed import Feed
from persistence.tables import FACT_COLUMNS
from persistence.vault import Vault, named_keys
from tests.support.build import callout, line, manual, order_of, plan_of, release_document, release_of, scenario
from tests.support.hosts import SHARDS, Host
from tests.support.journals import AT

RELEASE = release_document(
    code="lines",
    products=[
        {
            "code": "line",
            "attributes": [
                {"name": "number", "encrypted": True},
                {"name": "owner"},
                {"name": "pin", "assetizable": False},
            ],
        }
    ],
    plans=[plan_of("p", callout("activate", system="switch")), plan_of("q", manual("visit"))],
    scenarios=[scenario("line", "p"), scenario("line", "p", "modify", "delete")],
)
OWNER, NUMBER, PIN = "Marker Anderson", "marker-079-555", "marker-1234"
ACCOUNT = "acc-1"


@pytest.fixture
async def lines(hosts: Any, pool: Pool) -> Host:
    """A host whose newest release has phone lines: a number that is encrypted, a plain owner, a PIN that is sealed."""
    await catalogue.publish_release(pool, "main", release_of(**RELEASE).release_id, RELEASE, AT)
    host: Host = await hosts()
    return host


class Ways:
    """The way to the one host, with something that happens before the host is asked."""

    shards = SHARDS

    def __init__(self, host: Host) -> None:
        self.host = host
        self.before: list[Callable[[], Awaitable[Any]]] = []
        self.asked: list[EraseAccount] = []

    async def ask(self, lane: str, shard: int, envelope: Any, *, timeout_s: float) -> Any:
        assert isinstance(envelope, EraseAccount)
        self.asked.append(envelope)
        while self.before:
            await self.before.pop()()
        return await self.host.while_running(self.host.loop.erase(shard, envelope.erasure))


@pytest.fixture
async def ways(lines: Host) -> Ways:
    return Ways(lines)


@pytest.fixture
async def desk(ways: Ways, keys: Pool, pool: Pool) -> ErasureDesk:
    return ErasureDesk(pool, Vault(keys, pool), ways, lambda: ways.host.clock() + timedelta(seconds=10))


async def erase(desk: ErasureDesk, account: str = ACCOUNT, **options: Any) -> dict[str, Any]:
    given = {"with_products": True, "is_allowed": True} | options
    return await desk.erase("main", "paula", "she asked for it", account, **given)


def line_order(account: str | None = ACCOUNT, number: str = NUMBER, **changes: Any) -> Any:
    return order_of(line("1", "line", number=number, owner=OWNER, pin=PIN), account=account, **changes)


async def ordered(host: Host, account: str | None = ACCOUNT, number: str = NUMBER, **changes: Any) -> str:
    """An order that has completed, and whose keys are destroyed."""
    [made] = await host.submit(line_order(account, number, **changes))
    await host.finish()
    await host.loop._shredder.finish()
    order_id: str = made.order_id
    return order_id


def imported(account: str, cause: str, number: str = NUMBER) -> ImportAssets:
    asset = Asset(f"p-{cause}", "line", f"p-{cause}", attributes={"number": number, "owner": OWNER})
    shard = account_shard("main", account, SHARDS)
    release_id = release_of(**RELEASE).release_id
    return ImportAssets(shard, "main", account, release_id, [asset.to_dict()], "person:ann", cause)


async def found(pool: Pool, text: str) -> dict[str, int]:
    """In how many rows of which tables a text stands, in whatever column."""
    tables = await pool.fetch("select tablename as name from pg_tables where schemaname = 'public'")
    counts = {
        row["name"]: await pool.fetchval(f"select count(*) from {row['name']} as t where t::text like $1", f"%{text}%")
        for row in tables
    }
    return {name: count for name, count in counts.items() if count}


def encrypted_in(document: Any) -> Iterator[Any]:
    if is_encrypted(document):
        yield document
    elif isinstance(document, dict | list):
        for each in document.values() if isinstance(document, dict) else document:
            yield from encrypted_in(each)


async def stored_values(pool: Pool) -> list[Any]:
    """All encrypted values of facts and products."""
    rows = await pool.fetch(
        "select payload as body from fact union all select payload from fact_archive union all select body from asset"
    )
    return [value for row in rows if row["body"] for value in encrypted_in(json.loads(row["body"]))]


async def fill(pool: Pool, order_id: str) -> None:
    """A row about the order in every table that hosts have no need to write for this one."""
    for statement in (
        "insert into manual_task select 't1', 'main', $1, 'i', 'desk', $2, 1, now(), null, null, '{}'",
        "insert into task_claim select 't1', 'main', $2, now() where $1 <> ''",
        "insert into related_wait select 'main', $1, 'i', 'web', 'elsewhere', $2, '{}', now()",
        "insert into sealed_value select $1, $2, 'main', 'k', ''",
        "insert into held_item select 'main', 'switch', $1, $2, 0, 'offline', 1, now(), now()",
        "insert into fallout_item select 'main', $1, 'i', 0, 'n', 'p', 'switch', null, 'E', $2, 1, now(), 'acc-1', ''",
        "insert into delay_score select $1, 'main', now(), 0, now(), now(), now(), now(), 'b', $2, '1', '[]', now()",
        "insert into delay_history select $1, now(), 'main', 0, now() where $2 <> ''",
        "insert into delay_tick select $1, 1, $2, 'main', now(), 0, now(), false, now()",
        "insert into ended_order select $1, 'main', 'completed', now(), now(), array[$2], true",
        "insert into job select 'j1', 'main', 'retry', 'ann', 'r', '{\"filter\": {\"account\": \"acc-1\"}}', null, 1, "
        "'done', 1, 0, now(), now() where $1 <> $2",
        "insert into job select 'j2', 'main', 'hold', 'ann', 'r', "
        "jsonb_build_object('search', 'acc-1 state:open', 'from', $1::text), null, 1, 'done', 1, 0, now(), now() "
        "where $1 <> $2",
        "insert into saved_view select 'v1', 'main', 'orders', 'ann', 'hers', false, "
        "'{\"search\": \"customer:\\\"acc-1\\\"\"}', now() where $1 <> $2",
        "insert into saved_view select 'v2', 'main', 'orders', 'ann', 'of others', false, "
        "'{\"search\": \"acc-10 customer:my-acc_1\"}', now() where $1 <> $2",
        "insert into saved_view select 'v3', 'main', 'orders', 'ann', 'what begins so', false, "
        "'{\"search\": \"acc-1* state:open\"}', now() where $1 <> $2",
        "insert into job_item select 'j1', 1, 'main', $1, 'i', 'failed', null, $2, now()",
        "insert into hub_listener (listener_id, tenant, callback, query, created_at, starts_after, backlog) "
        "select 'h1', 'main', 'http://there', '', '2030-01-01', '{}', 3 where $1 <> $2",
        "insert into hub_delivery select 'h1', $1, 1, 1, 'main', 'e', convert_to($2, 'utf8'), now()",
    ):
        await pool.execute(statement, order_id, OWNER)


async def test_nothing_of_the_customer_is_found_afterwards_and_the_certificate_counts_what_was(
    lines: Host, desk: ErasureDesk, keys: Pool, pool: Pool
) -> None:
    archived = await ordered(lines)
    newest = await ordered(lines, number="marker-079-556")
    assert (await archive_batch(pool, "main", AT + timedelta(days=1), 10)).orders == 1
    await lines.ask(imported(ACCOUNT, "a"))
    await fill(pool, newest)
    held = [named_keys(each)[1] for each in await stored_values(pool)]
    assert (await found(pool, OWNER)).keys() >= {"fact", "fact_archive", "asset", "fallout_item"}
    done = await erase(desk)

    assert await found(pool, ACCOUNT) == {"erasure": 1, "saved_view": 1}, "the view is of another account"
    assert await found(pool, "marker") == {}
    for text in (OWNER, archived, newest, "p-a"):
        assert set(await found(pool, text)) <= {"erasure"}
        assert set(await found(keys, text)) <= {"order_key", "value_key"}, "empty rows with its id, for an hour"
    assert await keys.fetchval("select count(*) from order_key where key <> ''") == 0
    assert await keys.fetchval("select count(*) from value_key where secret <> ''") == 0
    assert set(done["body"]["rows"]) == ERASED - {"value_key"}, "there was something in every table"
    assert (done["state"], done["order_ids"]) == ("done", sorted([archived, newest]))
    assert set(done["secret_ids"]) == set(held)
    assert done["body"]["wentTo"] == {
        "systems": ["switch"],
        "listeners": [{"id": "h1", "callback": "http://there"}],
        "channels": ["web"],
    }
    assert await pool.fetchval("select backlog from hub_listener") == 2
    assert await pool.fetchval("select array_agg(view_id) from saved_view") == ["v2"]


async def test_other_accounts_keep_all_they_have(lines: Host, desk: ErasureDesk, keys: Pool, pool: Pool) -> None:
    await ordered(lines)
    other = await ordered(lines, "acc-2", "079-2")
    await lines.ask(imported("acc-2", "b", "079-3"))
    read = "select f::text as row from fact as f union all select a::text from asset as a"
    before = {row["row"] for row in await pool.fetch(read)}
    await erase(desk)

    after = {row["row"] for row in await pool.fetch(read)}
    assert after < before
    assert not any(ACCOUNT in row for row in after)
    assert sum(other in row for row in after) == sum(other in row for row in before)
    assert await pool.fetchval("select array_agg(order_id) from product_order") == [other]
    opened = await Vault(keys, pool).open_all("main", "", await stored_values(pool))
    assert set(opened) == {"079-2", "079-3"}


async def test_a_backup_from_before_an_erasure_does_not_show_encrypted_values_after_it(
    lines: Host, desk: ErasureDesk, keys: Pool, pool: Pool
) -> None:
    await ordered(lines)
    await ordered(lines, "acc-2", "079-2")
    await lines.ask(imported(ACCOUNT, "a"))
    facts, assets = await pool.fetch("select * from fact"), await pool.fetch("select * from asset")
    await erase(desk)
    await pool.execute("truncate fact, asset")
    await pool.copy_records_to_table("fact", records=facts, columns=FACT_COLUMNS)
    await pool.copy_records_to_table("asset", records=assets)

    shown = []
    for value in await stored_values(pool):
        try:
            shown.append(await Vault(keys, pool).open_all("main", "", value))
        except NotFound:
            shown.append(None)
    assert set(shown) == {"079-2", None}


async def test_an_erasure_that_was_interrupted_is_finished_by_asking_again(
    lines: Host, desk: ErasureDesk, keys: Pool, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = await ordered(lines)
    [value, *_] = await stored_values(pool)
    destroy = lines.loop._vault.destroy_secrets

    async def cut(secret_ids: Any) -> None:
        await destroy(secret_ids)
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr(lines.loop._vault, "destroy_secrets", cut)
        with pytest.raises(Busy, match="ask again"):
            await erase(desk)
    [begun] = await erasures.list_erasures(pool, "main")
    assert begun["state"] == "begun"
    assert await found(pool, order_id), "the secrets are gone, the rows are not yet"
    with pytest.raises(NotFound, match="erased"):
        await Vault(keys, pool).open_all("main", "", value)
    done = await erase(desk)

    assert (done["erasure_id"], done["state"]) == (begun["erasure_id"], "done")
    assert named_keys(value)[1] in done["secret_ids"], "what was destroyed before is on the certificate"
    assert set(await found(pool, order_id)) == {"erasure"}


async def test_an_erasure_whose_commit_was_not_heard_is_done_once(
    hosts: Any, keys: Pool, pool: Pool, databases: Any
) -> None:
    await catalogue.publish_release(pool, "main", release_of(**RELEASE).release_id, RELEASE, AT)
    cut = False

    async def probe(point: str) -> None:
        if cut and point == "committing":
            raise ConnectionResetError

    host: Host = await hosts("host-b", probe=probe)
    desk = ErasureDesk(pool, Vault(keys, pool), Ways(host), lambda: host.clock() + timedelta(seconds=10))
    await ordered(host)
    cut = True
    with pytest.raises(Busy):
        await erase(desk)
    cut = False
    await erase(desk)

    assert [each["state"] for each in await erasures.list_erasures(pool, "main")] == ["done"]
    assert await pool.fetchval("select count(*) from fact") == 0
    await ordered(host)


async def test_an_erasure_that_is_carried_out_again_changes_nothing(
    lines: Host, desk: ErasureDesk, ways: Ways, pool: Pool
) -> None:
    """Its host had done it, and nobody heard."""
    await ordered(lines)
    done = await erase(desk)
    await ways.ask("", ways.asked[0].shard, ways.asked[0], timeout_s=1)
    assert await erasures.read_erasure(pool, "main", done["erasure_id"]) == done


async def test_what_the_account_does_afterwards_starts_from_nothing_and_writes_behind_what_was_erased(
    lines: Host, desk: ErasureDesk, pool: Pool, hosts: Any, ways: Ways
) -> None:
    await ordered(lines)
    shard = account_shard("main", ACCOUNT, SHARDS)
    [asset_id] = [row["asset_id"] for row in await pool.fetch("select asset_id from asset")]
    head = lines.loop.heads[shard]
    feed = Feed(pool, "main")
    assert (await feed.heads())[shard] == head
    await erase(desk)
    assert (await feed.heads())[shard] == head
    await hub.register(pool, "main", "h2", "http://there", "", AT)
    cursors = await pool.fetch('select "offset" from consumer_cursor where shard = $1', shard)
    assert [row["offset"] for row in cursors] == [head], "a listener begins behind what was erased"
    await pool.execute('update consumer_cursor set "offset" = 1000')
    changed = order_of(line("1", "line", "modify", asset_id=asset_id, owner="Somebody"), account=ACCOUNT)
    [answer] = await lines.submit(changed)
    assert isinstance(answer, OrderplanError), "the product is not known any more"
    second = await ordered(lines)
    await lines.end()
    successor = await hosts("host-b", clock=lines.clock)
    third = await ordered(successor)

    offsets = await pool.fetch('select order_id, "offset" from fact where shard = $1 order by "offset"', shard)
    assert offsets[0]["offset"] == head + 1
    assert {row["order_id"] for row in offsets} == {second, third}
    assert await pool.fetchval("select count(*) from asset") == 2
    ways.host = successor
    again = await erase(desk)
    assert again["order_ids"] == sorted([second, third])


async def test_the_head_of_a_shard_without_facts_is_where_its_next_owner_goes_on(
    lines: Host, desk: ErasureDesk, pool: Pool, hosts: Any
) -> None:
    await ordered(lines)
    shard = account_shard("main", ACCOUNT, SHARDS)
    head = lines.loop.heads[shard]
    await erase(desk)
    assert await pool.fetchval("select count(*) from fact where shard = $1", shard) == 0
    await lines.end()
    successor = await hosts("host-b", clock=lines.clock)
    assert successor.loop.heads[shard] == head


async def test_open_orders_stand_in_the_way(lines: Host, desk: ErasureDesk) -> None:
    [made] = await lines.submit(line_order())
    with pytest.raises(NotPossibleNow, match="open") as refused:
        await erase(desk)
    assert refused.value.facts["openOrders"] == [made.order_id]
    assert refused.value.mend


async def test_an_order_whose_keys_are_not_destroyed_stands_in_the_way(
    lines: Host, desk: ErasureDesk, pool: Pool
) -> None:
    await ordered(lines)
    await pool.execute("update product_order set sealed = true")
    with pytest.raises(NotPossibleNow, match="settled"):
        await erase(desk)


async def test_products_that_are_not_terminated_stand_in_the_way_unless_they_are_to_go(
    lines: Host, desk: ErasureDesk, pool: Pool
) -> None:
    await ordered(lines)
    with pytest.raises(NotPossibleNow, match="not terminated") as refused:
        await erase(desk, with_products=False)
    assert "--products" in str(refused.value.mend)
    await pool.execute("update asset set status = 'terminated'")
    assert (await erase(desk, with_products=False))["state"] == "done"


async def test_what_a_consumer_has_not_read_stands_in_the_way(lines: Host, desk: ErasureDesk, pool: Pool) -> None:
    await ordered(lines)
    await pool.execute("insert into consumer values ('main', 'notifier', 1)")
    with pytest.raises(NotPossibleNow, match="notifier") as refused:
        await erase(desk)
    assert refused.value.facts["retryAfterS"] == 2
    await pool.execute("insert into consumer_cursor select 'main', 'notifier', shard, 1000 from shard")
    assert (await erase(desk))["state"] == "done"


async def test_what_has_only_just_happened_stands_in_the_way(lines: Host, desk: ErasureDesk) -> None:
    await ordered(lines)
    lines.clock.now -= timedelta(seconds=9)
    with pytest.raises(NotPossibleNow, match="stream"):
        await erase(desk)


async def test_an_end_that_the_predictor_has_not_noted_stands_in_the_way(
    lines: Host, desk: ErasureDesk, pool: Pool
) -> None:
    await fill(pool, await ordered(lines))
    await pool.execute("update delay_score set ended_at = null")
    with pytest.raises(NotPossibleNow, match="predictor"):
        await erase(desk)
    lines.clock.now += timedelta(minutes=1)
    assert (await erase(desk))["state"] == "done", "one that was away notes it when it starts"


async def test_running_jobs_and_orders_that_wait_stand_in_the_way(lines: Host, desk: ErasureDesk, pool: Pool) -> None:
    order_id = await ordered(lines)
    await fill(pool, order_id)
    await pool.execute("update job set state = 'running'")
    with pytest.raises(NotPossibleNow, match="job j1"):
        await erase(desk)
    await pool.execute("update job set state = 'stopped'")
    await pool.execute("insert into related_wait values ('main', 'o0-9', 'i', 'web', $1, 'r', '{}', now())", order_id)
    with pytest.raises(NotPossibleNow, match="o0-9 waits"):
        await erase(desk)


async def test_who_may_not_erase_is_refused_and_that_is_kept(lines: Host, desk: ErasureDesk, pool: Pool) -> None:
    order_id = await ordered(lines)
    with pytest.raises(Forbidden):
        await erase(desk, is_allowed=False)
    [kept] = await erasures.list_erasures(pool, "main", account=ACCOUNT)
    assert (kept["state"], kept["actor"], kept["reason"]) == ("refused", "person:paula", "she asked for it")
    assert await found(pool, order_id)


async def test_an_account_that_nobody_knows_is_not_found_and_an_erased_one_names_its_certificate(
    lines: Host, desk: ErasureDesk
) -> None:
    with pytest.raises(NotFound):
        await erase(desk)
    await ordered(lines)
    done = await erase(desk)
    with pytest.raises(NotFound) as refused:
        await erase(desk)
    assert done["erasure_id"] in str(refused.value.mend)


async def test_secrets_that_products_of_others_need_are_kept_and_told(
    lines: Host, desk: ErasureDesk, keys: Pool, pool: Pool
) -> None:
    """Such as a product that was moved to another account with what is encrypted in it."""
    await ordered(lines)
    await pool.execute(
        "insert into asset select tenant, 'p-moved', shard, 'acc-2', product, status, body, updated_at from asset"
    )
    done = await erase(desk)

    [(secret_id, product_ids)] = done["body"]["sharedSecrets"].items()
    assert product_ids == ["p-moved"]
    assert secret_id not in done["secret_ids"]
    assert await Vault(keys, pool).open_all("main", "", await stored_values(pool)) == [NUMBER]


async def test_what_comes_between_the_note_and_the_erasure_is_erased_as_well(
    lines: Host, desk: ErasureDesk, ways: Ways, keys: Pool, pool: Pool
) -> None:
    await ordered(lines)
    ways.before.append(lambda: lines.ask(imported(ACCOUNT, "late")))
    done = await erase(desk)

    assert done["body"]["products"] == 2
    assert await keys.fetchval("select count(*) from value_key where secret <> ''") == 0
    assert set(await found(pool, "marker")) <= {"erasure"}


async def test_an_order_that_comes_between_is_not_erased(
    lines: Host, desk: ErasureDesk, ways: Ways, pool: Pool
) -> None:
    await ordered(lines)
    ways.before.append(lambda: lines.submit(line_order()))
    with pytest.raises(NotPossibleNow, match="open"):
        await erase(desk)
    assert await pool.fetchval("select count(*) from product_order") == 2


async def test_an_order_without_an_account_is_erased_under_its_own_name(
    lines: Host, desk: ErasureDesk, pool: Pool
) -> None:
    order_id, other = await ordered(lines, None), await ordered(lines, None)
    done = await erase(desk, f"order {order_id}")

    assert done["order_ids"] == [order_id]
    assert await pool.fetchval("select array_agg(order_id) from product_order") == [other]
    assert await pool.fetchval("select count(*) from asset") == 1


async def test_a_booking_that_was_long_on_its_way_brings_nothing_back(
    lines: Host, desk: ErasureDesk, pool: Pool
) -> None:
    order_id = await ordered(lines)
    await erase(desk)
    shard = account_shard("main", ACCOUNT, SHARDS)
    [answer] = await lines.ask(BookAssets(shard, "main", ACCOUNT, order_id, 1, is_last=True))
    assert answer == {"number": 1}
    assert await pool.fetchval("select count(*) from fact") == 0
