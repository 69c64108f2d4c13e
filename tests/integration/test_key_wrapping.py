"""Keys rest wrapped by a key provider: every kind does the same, and a wrong one is refused at the start."""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from persistence.database import Pool
from persistence.key_wrapping import KeyProviderFailed, check_keys, open_wrapping, provider_of
from persistence.vault import Vault
from tests.integration.test_sealed_backups import sealed


class Kms:
    """A key management service of one's own; its key never leaves it."""

    async def wrap(self, plain: bytes) -> bytes:
        return b"kms" + bytes(each ^ 0x5A for each in plain)

    async def unwrap(self, wrapped: bytes) -> bytes:
        assert wrapped.startswith(b"kms")
        return bytes(each ^ 0x5A for each in wrapped[3:])


def new_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


@pytest.fixture(params=["file", "env", "own"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "file":
        (tmp_path / "key").write_text(new_key() + "\n")
        return f"file:{tmp_path / 'key'}"
    if request.param == "env":
        monkeypatch.setenv("WRAPS", new_key())
        return "env:WRAPS"
    monkeypatch.setitem(sys.modules, "kms_of_ones_own", cast(ModuleType, SimpleNamespace(Kms=Kms)))
    return "kms_of_ones_own:Kms"


async def test_every_provider_gives_back_what_it_wrapped(address: str) -> None:
    key = os.urandom(32)
    wrapped = await provider_of(address).wrap(key)

    assert key not in wrapped
    assert await provider_of(address).unwrap(wrapped) == key


async def test_with_a_provider_no_key_rests_as_it_is_and_values_are_read_by_every_process(
    keys: Pool, pool: Pool, address: str
) -> None:
    here = Vault(keys, pool, await open_wrapping(keys, address))
    await here.load_tenant("main")
    value = here.encrypt("main", "o1", "079")
    document = {"puk": here.seal("o1-1", "1/puk", "1234"), "number": value}
    await here.store_keys()
    for row in here.take_sealed():
        await pool.execute("insert into sealed_value values ($1, $2, $3, $4, $5)", *row)
    there = Vault(keys, pool, await open_wrapping(keys, address))

    assert await there.open_all("main", "o1-1", document) == {"puk": "1234", "number": "079"}
    assert {row["key"] for row in await keys.fetch("select length(key) as key from order_key")} == {60}
    assert {row["key"] for row in await keys.fetch("select length(key) as key from tenant_key")} == {60}
    assert {row["key"] for row in await keys.fetch("select length(secret) as key from value_key")} == {60}


async def test_keys_from_before_a_provider_was_named_are_read_and_a_tenants_are_wrapped(
    keys: Pool, pool: Pool, address: str
) -> None:
    before = Vault(keys, pool)
    await before.load_tenant("main")
    value = before.encrypt("main", "o1", "079")
    await before.store_keys()
    document, _ = await sealed(keys, pool)
    after = Vault(keys, pool, await open_wrapping(keys, address))

    assert await after.open_all("main", "o1-1", document | {"number": value}) == {"puk": "1234", "number": "079"}
    assert await keys.fetchval("select length(key) from tenant_key") == 60
    assert after.mac("main", "079") == value["mac"]


async def test_another_key_or_no_provider_is_refused_at_the_start(
    databases: Any, keys: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRAPS", new_key())
    await check_keys(databases.key_dsn, "env:WRAPS")
    await check_keys(databases.key_dsn, "env:WRAPS")
    with pytest.raises(KeyProviderFailed, match="wrapped by a key provider") as refused:
        await check_keys(databases.key_dsn, "")
    assert refused.value.mend == "name it with --key-provider"
    monkeypatch.setenv("WRAPS", new_key())
    with pytest.raises(KeyProviderFailed, match="not the one"):
        await check_keys(databases.key_dsn, "env:WRAPS")


@pytest.mark.parametrize("address", ["file:/nowhere/key", "env:NOT_THERE", "no.such.module:Kms", "os:path", "nonsense"])
def test_a_provider_that_cannot_be_made_is_refused_with_the_way_on(address: str) -> None:
    with pytest.raises(KeyProviderFailed) as refused:
        provider_of(address)
    assert refused.value.mend


def test_a_key_of_another_length_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("", "c2hvcnQ=", "not base64 at all"):
        monkeypatch.setenv("WRAPS", text)
        with pytest.raises(KeyProviderFailed, match="32 bytes"):
            provider_of("env:WRAPS")
