"""The desk for what is encrypted: keys are rotated here, values told apart and, one by one, shown to who may see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from domain.errors import Forbidden, NotFound, NotPossibleNow
from domain.sealing import is_encrypted
from persistence import reads
from persistence.database import Pool
from persistence.key_changes import begin_rotation, list_rotations
from persistence.value_access import Access, note_access
from persistence.vault import Vault


class KeyDesk:
    """Works for all tenants of a server; lives where the people actor does."""

    def __init__(self, vault: Vault, pool: Pool, clock: Callable[[], datetime]) -> None:
        self._vault = vault
        self._pool = pool
        self._clock = clock

    async def rotate(self, tenant: str, who: str, reason: str) -> str:
        """Give a tenant another key to encrypt with, and keep who did it; its id.

        Raises:
            Busy: others rotate all the time.
        """
        newest = (await self._vault.key_ids(tenant))[0]
        key_id = await begin_rotation(self._pool, tenant, newest, f"person:{who}", reason, self._clock())
        await self._vault.add_key(tenant, key_id)
        return key_id

    async def keys(self, tenant: str) -> list[dict[str, Any]]:
        """The keys of a tenant and what was noted of them, newest first: `key_id`, `is_made`, `at`, `actor`, `reason`.

        The first one was made by itself, so nothing was noted; of a rotation that came to nothing there is no key.
        """
        made = await self._vault.key_ids(tenant)
        noted = {each["key_id"]: each for each in await list_rotations(self._pool, tenant)}
        nothing = {"at": None, "actor": None, "reason": None}
        return [
            {"key_id": key_id, "is_made": key_id in made} | noted.get(key_id, nothing)
            for key_id in sorted({*made, *noted}, key=int, reverse=True)
        ]

    async def macs(self, tenant: str, values: Sequence[Any]) -> list[str]:
        """What stands beside the ciphertext of each value, wherever it is encrypted."""
        await self._vault.load_tenant(tenant)
        return [self._vault.mac(tenant, value) for value in values]

    async def reveal(self, tenant: str, who: str, reason: str, asset_id: str, name: str, *, is_allowed: bool) -> Any:
        """An encrypted value of a product. Who asked for it and why is kept before anybody sees it, refused or not.

        Raises:
            Forbidden: the caller may not see it.
            NotFound: there is no such product, or it has no such value.
            NotPossibleNow: the value is not hidden.
        """
        outcome = "shown" if is_allowed else "refused"
        access = Access(self._clock(), f"person:{who}", reason, asset_id, name, outcome)
        await note_access(self._pool, tenant, access)
        if not is_allowed:
            raise Forbidden(
                f"{who} may not see values that are encrypted",
                mend="ask somebody with the role privacy; that you asked is kept",
            )
        body = await reads.asset(self._pool, tenant, asset_id)
        if name not in body["attributes"]:
            raise NotFound(f"product {asset_id!r} has no {name!r}")
        value = body["attributes"][name]
        if not is_encrypted(value):
            raise NotPossibleNow(f"{name!r} is not encrypted", mend="read the product")
        return await self._vault.open_all(tenant, "", value)
