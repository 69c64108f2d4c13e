"""A backup of the order database shows no sealed value without the key store, nor after the keys were destroyed."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import NotFound
from persistence.database import Pool
from persistence.vault import Vault

ORDER = "o1-1"
INSERT = "insert into sealed_value (order_id, name, tenant, key_id, ciphertext) values ($1, $2, $3, $4, $5)"


async def sealed(keys: Pool, pool: Pool) -> tuple[Any, list[tuple[Any, ...]]]:
    """A document with a sealed value, and a copy of the ciphertexts, as a backup has them."""
    vault = Vault(keys, pool)
    document = {"puk": vault.seal(ORDER, "1/puk", "1234")}
    await vault.store_keys()
    for row in vault.take_sealed():
        await pool.execute(INSERT, *row)
    assert await Vault(keys, pool).open_all("main", ORDER, document) == {"puk": "1234"}
    rows = await pool.fetch("select order_id, name, tenant, key_id, ciphertext from sealed_value")
    return document, [tuple(row) for row in rows]


async def test_a_backup_that_is_restored_after_the_end_of_an_order_does_not_show_its_sealed_values(
    keys: Pool, pool: Pool
) -> None:
    document, backup = await sealed(keys, pool)
    await Vault(keys, pool).destroy([ORDER])
    assert await pool.fetchval("select count(*) from sealed_value") == 0
    await pool.executemany(INSERT, backup)

    with pytest.raises(NotFound, match="does not exist any more"):
        await Vault(keys, pool).open_all("main", ORDER, document)


async def test_a_backup_without_the_key_store_shows_no_sealed_value(keys: Pool, pool: Pool) -> None:
    document, _ = await sealed(keys, pool)
    await keys.execute("truncate order_key, tenant_key")

    with pytest.raises(NotFound, match="does not exist any more"):
        await Vault(keys, pool).open_all("main", ORDER, document)
