"""Keys that encrypt attributes are rotated while others read and write."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from domain.errors import NotFound
from domain.sealing import same_value
from persistence import key_changes
from persistence.database import Pool
from persistence.vault import KEYS_AGE_S, Vault
from tests.support.journals import AT


@pytest.fixture
async def vaults(keys: Pool, pool: Pool) -> tuple[Vault, Vault]:
    """Those of two processes, which know the tenant's first key."""
    made = Vault(keys, pool), Vault(keys, pool)
    for each in made:
        await each.load_tenant("main")
    return made


async def rotate(vault: Vault, pool: Pool, reason: str = "because") -> str:
    """As the people actor does it."""
    key_id = await key_changes.begin_rotation(pool, "main", (await vault.key_ids("main"))[0], "person:ann", reason, AT)
    await vault.add_key("main", key_id)
    return key_id


async def test_what_was_encrypted_before_a_rotation_is_read_after_it_and_is_equal_to_what_comes_later(
    vaults: tuple[Vault, Vault], pool: Pool
) -> None:
    here, there = vaults
    before = here.encrypt("main", "o1", "079 000 00 00")
    assert await rotate(here, pool) == "2"
    after = here.encrypt("main", "o1", "079 000 00 00")
    await here.store_keys()

    assert (before["$encrypted"][:2], after["$encrypted"][:2]) == ("1:", "2:")
    assert same_value(before, after)
    assert here.digest("main", b"body") == there.digest("main", b"body")
    for vault in vaults:
        opened = await vault.open_all("main", "", {"old": before, "new": [after]})
        assert opened == {"old": "079 000 00 00", "new": ["079 000 00 00"]}


async def test_who_has_not_heard_of_a_rotation_encrypts_with_the_key_before_and_hears_of_it_in_time(
    vaults: tuple[Vault, Vault], pool: Pool
) -> None:
    here, there = vaults
    await rotate(here, pool)
    old = there.encrypt("main", "o1", 1)
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) > 1:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await there.keep_current(sleep)

    assert waits == [KEYS_AGE_S] * 2
    assert (old["$encrypted"][0], there.encrypt("main", "o1", 1)["$encrypted"][0]) == ("1", "2")


async def test_the_keys_known_so_far_are_used_while_the_key_store_is_away(
    vaults: tuple[Vault, Vault], keys: Pool
) -> None:
    here, _ = vaults
    keys.terminate()
    rounds = 0

    async def sleep(_: float) -> None:
        nonlocal rounds
        rounds += 1
        if rounds > 2:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await here.keep_current(sleep)
    assert here.encrypt("main", "o1", 1)["$encrypted"].startswith("1:")


async def test_a_value_of_a_key_that_was_never_made_is_not_opened(vaults: tuple[Vault, Vault]) -> None:
    here, _ = vaults
    made = here.encrypt("main", "o1", 1)
    with pytest.raises(NotFound, match="'7'"):
        await here.open_all("main", "", {"a": made | {"$encrypted": "7" + made["$encrypted"][1:]}})


async def test_ten_rotations_give_ten_keys_in_their_order_and_the_trail_says_who_made_them(
    vaults: tuple[Vault, Vault], pool: Pool
) -> None:
    here, _ = vaults
    values = []
    for number in range(10):
        values.append(here.encrypt("main", "o1", number))
        await rotate(here, pool, f"round {number}")
    await here.store_keys()

    assert here.encrypt("main", "o1", 0)["$encrypted"].startswith("11:")
    assert await here.open_all("main", "", values) == list(range(10))
    trail = await key_changes.list_rotations(pool, "main")
    assert [(each["key_id"], each["reason"]) for each in trail][:2] == [("11", "round 9"), ("10", "round 8")]


async def test_two_that_rotate_at_once_make_two_keys_and_each_is_told_its_own(
    vaults: tuple[Vault, Vault], pool: Pool
) -> None:
    made = await asyncio.gather(*(rotate(each, pool, str(number)) for number, each in enumerate(vaults)))

    assert sorted(made) == ["2", "3"]
    trail = {each["key_id"]: each["reason"] for each in await key_changes.list_rotations(pool, "main")}
    assert trail == {key_id: str(number) for number, key_id in enumerate(made)}
    assert await vaults[0].key_ids("main") == ["3", "2", "1"]


async def test_a_rotation_is_noted_before_its_key_is_there_and_its_number_is_not_given_again(
    vaults: tuple[Vault, Vault], pool: Pool
) -> None:
    here, _ = vaults
    assert await key_changes.begin_rotation(pool, "main", "1", "person:ann", "cut short", AT) == "2"

    assert await here.key_ids("main") == ["1"]
    assert await rotate(here, pool) == "3"
    assert await here.key_ids("main") == ["3", "1"]


async def test_notes_of_an_older_backup_do_not_give_a_number_that_a_key_has(
    vaults: tuple[Vault, Vault], pool: Pool
) -> None:
    here, _ = vaults
    await rotate(here, pool)
    await pool.execute("delete from key_change")
    assert await rotate(here, pool) == "3"


async def test_a_key_that_another_process_has_made_is_written_again_before_it_encrypts(
    vaults: tuple[Vault, Vault], keys: Pool, pool: Pool
) -> None:
    """The standby may not have it yet: the wait of its maker may still go on."""
    here, there = vaults
    await rotate(here, pool)
    read = "select key_id, xmin::text, key from tenant_key order by key_id"
    before = await keys.fetch(read)
    await there.key_ids("main")
    after = await keys.fetch(read)

    assert [row["key"] for row in after] == [row["key"] for row in before]
    assert after[0]["xmin"] == before[0]["xmin"], "what was known stays as it is"
    assert after[1]["xmin"] != before[1]["xmin"]


async def test_a_key_that_a_failover_has_taken_away_meanwhile_is_put_back_and_another_in_its_place_is_kept(
    vaults: tuple[Vault, Vault], keys: Pool, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = vaults
    await rotate(here, pool)
    write, taken = there._write_again, ["delete from tenant_key where key_id = '2'"]

    async def late(tenant: str, rows: Any) -> bool:
        if taken:
            await keys.execute(taken.pop())
        return await write(tenant, rows)

    monkeypatch.setattr(there, "_write_again", late)
    assert await there.key_ids("main") == ["2", "1"]
    assert await keys.fetchval("select count(*) from tenant_key") == 2

    await rotate(here, pool)
    taken.append("update tenant_key set key = sha256('another') where key_id = '3'")
    value = there.encrypt("main", "o1", 1)
    await there.key_ids("main")
    another = there.encrypt("main", "o1", 2)
    assert (value["$encrypted"][0], another["$encrypted"][0]) == ("2", "3")
    await there.store_keys()
    assert await Vault(keys, pool).open_all("main", "", another) == 2
