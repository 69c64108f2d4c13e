"""Encrypted values have a secret of their order or import beside the tenant's key: destroyed, it takes them along."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from actors.envelopes import ImportAssets
from domain.errors import NotFound, OrderplanError
from domain.ids import shard_for
from domain.inventory import Asset
from domain.messages import ChangeOrder
from domain.sealing import same_value
from persistence import catalogue, vault
from persistence.database import Pool
from persistence.vault import Vault, named_keys
from tests.support.build import callout, line, order_of, plan_of, release_document, release_of, scenario
from tests.support.hosts import SHARDS, submission
from tests.support.journals import AT

RELEASE = release_document(
    code="lines",
    products=[{"code": "line", "attributes": [{"name": "number", "encrypted": True}]}],
    plans=[plan_of("p", callout("activate", system="switch"))],
    scenarios=[scenario("line", "p")],
)


@pytest.fixture
async def here(keys: Pool, pool: Pool) -> Vault:
    made = Vault(keys, pool)
    await made.load_tenant("main")
    return made


@pytest.fixture
async def lines(hosts: Any, pool: Pool) -> Any:
    """A host whose newest release has phone lines with encrypted numbers."""
    await catalogue.publish_release(pool, "main", release_of(**RELEASE).release_id, RELEASE, AT)
    return await hosts()


def imported(cause: str, *numbers: str) -> ImportAssets:
    given = [Asset(f"p{at}", "line", f"p{at}", attributes={"number": each}) for at, each in enumerate(numbers)]
    shard, release_id = shard_for("main/acc-1", SHARDS), release_of(**RELEASE).release_id
    return ImportAssets(shard, "main", "acc-1", release_id, [each.to_dict() for each in given], "person:ann", cause)


def line_order(number: str, **changes: Any) -> Any:
    return order_of(line("1", "line", number=number), **changes)


async def owners(keys: Pool) -> list[str]:
    return [row["owner"] for row in await keys.fetch("select owner from value_key order by owner")]


async def test_a_destroyed_secret_takes_the_values_of_its_owner_along_and_no_others(
    here: Vault, keys: Pool, pool: Pool
) -> None:
    one, other = here.encrypt("main", "o1", "079"), here.encrypt("main", "o2", "079")
    await here.store_keys()
    there = Vault(keys, pool)
    assert await there.open_all("main", "", [one, other]) == ["079", "079"]
    await there.destroy_secrets(await there.secrets_of(["o1"]))

    assert same_value(one, other)
    for each in (here, there):
        assert await each.open_all("main", "", other) == "079"
        with pytest.raises(NotFound, match="erased"):
            await each.open_all("main", "", one)
    assert await keys.fetchval("select secret from value_key where owner = 'o1'") == b""


async def test_a_value_is_opened_with_its_secret_and_the_key_of_its_time(here: Vault, keys: Pool, pool: Pool) -> None:
    before = here.encrypt("main", "o1", 1)
    await here.add_key("main", "2")
    after = here.encrypt("main", "o1", 1)
    await here.store_keys()

    [first, second] = [named_keys(each)[:2] for each in (before, after)]
    assert (first[0], second[0]) == ("1", "2")
    assert first[1] == second[1] != ""
    assert await Vault(keys, pool).open_all("main", "", [before, after]) == [1, 1]


async def test_what_was_encrypted_before_there_were_secrets_is_read(here: Vault, keys: Pool, pool: Pool) -> None:
    """Its form is that of job arguments today: the tenant's key, and nothing else."""
    old = here.encrypt("main", None, "079")

    assert named_keys(old)[:2] == ("1", "")
    assert await Vault(keys, pool).open_all("main", "", old) == "079"
    assert await owners(keys) == []


async def test_neither_the_key_nor_the_secret_opens_anything_alone(here: Vault, keys: Pool, pool: Pool) -> None:
    value = here.encrypt("main", "o1", "079")
    await here.store_keys()
    await keys.execute("update value_key set secret = sha256('another')")
    with pytest.raises(NotFound):
        await Vault(keys, pool).open_all("main", "", value)


async def test_a_statement_that_comes_late_does_not_bring_a_secret_back(here: Vault, keys: Pool) -> None:
    value = here.encrypt("main", "o1", "079")
    queued = list(here._new_secrets)
    await here.store_keys()
    await here.destroy_secrets(await here.secrets_of(["o1"]))
    here._new_secrets = queued
    await here.store_keys()

    assert await keys.fetchval("select secret from value_key") == b""
    with pytest.raises(NotFound, match="erased"):
        await here.open_all("main", "", value)


async def test_the_empty_row_of_a_secret_is_gone_when_no_statement_can_be_late_any_more(
    here: Vault, keys: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner in ("o1", "o2"):
        here.encrypt("main", owner, 1)
    await here.store_keys()
    await here.destroy_secrets(await here.secrets_of(["o1"]))
    monkeypatch.setattr(vault, "LATE_H", 0)
    await here.destroy_secrets([])
    assert await owners(keys) == ["o2"]


async def test_each_order_has_a_secret_of_its_own_and_refused_ones_and_previews_leave_none(
    lines: Any, keys: Pool, pool: Pool
) -> None:
    made = await lines.submit(line_order("079-1"), line_order("079-2", account="acc-2"))
    first, second = (each.order_id for each in made)
    rehearsal = submission(line_order("079-3"))
    rehearsal.is_dry_run = True
    refused = order_of(line("1", "line", number="079-4"), line("2", "nonsense"))
    answers = await lines.ask(rehearsal, submission(refused))
    assert isinstance(answers[1], OrderplanError)
    amended = line_order("079-5").to_dict()
    await lines.tell(first, ChangeOrder("amend", "ask", "m1", amended, is_dry_run=True))

    assert await owners(keys) == sorted([first, second])
    bodies = await pool.fetch("select payload from fact where kind = 'order.accepted'")
    # With the hyphen, which no ciphertext and no hash holds.
    assert not any("079-" in str(row["payload"]) for row in bodies)


async def test_each_import_has_a_secret_of_its_own_and_one_that_changes_nothing_leaves_none(
    lines: Any, keys: Pool
) -> None:
    await lines.ask(imported("a", "079-1", "079-2"))
    await lines.ask(imported("b", "079-1", "079-2"))
    await lines.ask(imported("c", "079-3"))

    assert await owners(keys) == ["import a", "import c"]
    assert lines.loop._vault._secrets == {}


async def test_the_secret_of_an_order_leaves_memory_with_it(lines: Any) -> None:
    [made] = await lines.submit(line_order("079-1"))
    assert set(lines.loop._vault._secrets) == {made.order_id}
    await lines.finish()
    assert lines.loop._vault._secrets == {}


def secrets_in(values: Iterable[Any]) -> set[str]:
    return {named_keys(each)[1] for each in values}


async def test_products_are_read_with_the_secret_of_the_order_that_made_them(
    lines: Any, keys: Pool, pool: Pool
) -> None:
    [made] = await lines.submit(line_order("079-1"))
    await lines.finish()
    value = json.loads(await pool.fetchval("select body #> '{attributes,number}' from asset"))

    assert secrets_in([value]) == set(await lines.loop._vault.secrets_of([made.order_id]))
    assert await Vault(keys, pool).open_all("main", "", value) == "079-1"
