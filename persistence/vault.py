"""Values that must not be seen: sealed per order, or encrypted for good.

A sealed value is AES-GCM under a key of its order; the ciphertext stands in the order database, the key in the key
store, which is another database with another (short) retention of backups. When the order has ended its keys are
destroyed and nothing can open the ciphertexts any more, wherever copies of them lie.

An encrypted attribute is AES-GCM under a key that is derived from the tenant's newest key and from a random secret of
its owner: an order, or an import. The secret rests in the key store and outlives the order, because products need it;
destroyed, it takes the values of this owner with it and no others. A keyed hash beside the ciphertext tells equal
values without opening them. A rotation makes another tenant's key the newest. The older ones stay, because what was
written with them is read for as long as it is kept, and hashes go on by the first one, so that equal values stay equal.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import orjson
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.errors import Busy, NotFound
from domain.sealing import ENCRYPTED, SEALED, is_encrypted, is_sealed
from persistence.database import is_unavailable
from persistence.key_wrapping import KEY_BYTES, PLAIN, KeyWrapping
from persistence.rows import SealedRow
from persistence.servers import certain

log = structlog.get_logger(__name__)

KEYS_AGE_S: Final = 30.0
"""So long after a rotation every process encrypts with the new key, if the key store answers."""
LATE_H: Final = 1
"""Hours after which no statement that was given up can be carried out any more."""
FORGET_MAX: Final = 2_000
"""Rows of destroyed keys that are forgotten with each destruction; more than one can make."""
_READS_MAX: Final = 5
_NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class _TenantKeys:
    """The keys of a tenant by id; `newest` encrypts, `hashing` tells equal values."""

    newest: str
    keys: dict[str, bytes]
    hashing: bytes


class Vault:
    """Seals and encrypts at once from memory; new keys and ciphertexts wait to be stored with the tick.

    Call `store_keys` before the commit that holds the `take_sealed` rows: a key without values is harmless, values
    without their key would be lost.
    """

    def __init__(
        self, keys: asyncpg.Pool[Any], orders: asyncpg.Pool[Any], wrapping: KeyWrapping = PLAIN
    ) -> None:
        self._keys = keys
        self._orders = orders
        self._wrapping = wrapping
        self._order_keys: dict[str, tuple[str, bytes]] = {}
        self._tenant_keys: dict[str, _TenantKeys] = {}
        self._new_keys: list[tuple[str, str, bytes]] = []
        self._secrets: dict[str, tuple[str, bytes]] = {}
        """By owner, those that this process encrypts with."""
        self._new_secrets: list[tuple[str, str, bytes]] = []
        self._sealed: list[SealedRow] = []
        self._tenant_of: dict[str, str] = {}

    async def load_tenant(self, tenant: str) -> None:
        """Read the tenant's keys, making one on first use."""
        if tenant in self._tenant_keys:
            return
        async with certain(self._keys) as connection:
            await connection.execute(
                "insert into tenant_key (tenant, key_id, key) select $1, $2, $3 "
                "where not exists (select from tenant_key where tenant = $1) on conflict do nothing",
                tenant,
                "1",
                self._wrapping.wrap(os.urandom(KEY_BYTES)),
            )
        await self._read_tenant(tenant)

    async def _read_tenant(self, tenant: str) -> None:
        """Read the tenant's keys.

        Raises:
            Busy: a key that was read is gone or another by now, again and again.
        """
        for _ in range(_READS_MAX):
            rows = await self._keys.fetch(
                "select key_id, key from tenant_key where tenant = $1 order by key_id::integer", tenant
            )
            known = self._tenant_keys.get(tenant)
            others = [row for row in rows if known is None or row["key_id"] not in known.keys]
            if not others or await self._write_again(tenant, others):
                keys = {row["key_id"]: self._wrapping.unwrap(row["key"]) for row in rows}
                self._tenant_keys[tenant] = _TenantKeys(rows[-1]["key_id"], keys, keys[rows[0]["key_id"]])
                return
        raise Busy("the keys change while they are read", retryAfterS=1)

    async def _write_again(self, tenant: str, rows: Iterable[Any]) -> bool:
        """Write keys that others have made once more, wrapped where they are not; False if one is another by now.

        Whoever made them may still wait for the standby to have them: so that nothing is encrypted with a key that a
        failover takes away.
        """
        async with certain(self._keys) as connection:
            for row in rows:
                stored = row["key"]
                again = self._wrapping.wrap(stored) if self._wrapping.is_outdated(stored) else stored
                done = await connection.fetchval(
                    "insert into tenant_key as known (tenant, key_id, key) values ($1, $2, $4) "
                    "on conflict (tenant, key_id) do update set key = excluded.key where known.key = $3 returning true",
                    tenant,
                    row["key_id"],
                    stored,
                    again,
                )
                if done is None:
                    return False
        return True

    async def keep_current(self, sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep) -> None:
        """Read the keys of known tenants again, for ever; while the key store is away those known so far are used."""
        while True:
            await sleep(KEYS_AGE_S)
            for tenant in list(self._tenant_keys):
                try:
                    await self._read_tenant(tenant)
                except Exception as error:
                    if is_unavailable(error):
                        log.warning("the key store does not answer, the keys known so far are used", tenant=tenant)
                    else:
                        log.exception("the keys could not be read again; tried again", tenant=tenant)

    async def key_ids(self, tenant: str) -> list[str]:
        """The keys of a tenant, the newest first."""
        await self.load_tenant(tenant)
        await self._read_tenant(tenant)
        return list(reversed(self._tenant_keys[tenant].keys))

    async def add_key(self, tenant: str, key_id: str) -> None:
        """Give the tenant another key to encrypt with, under a number that nobody else gives (`begin_rotation`)."""
        async with certain(self._keys) as connection:
            await connection.execute(
                "insert into tenant_key (tenant, key_id, key) values ($1, $2, $3)",
                tenant,
                key_id,
                self._wrapping.wrap(os.urandom(KEY_BYTES)),
            )
        await self._read_tenant(tenant)

    def seal(self, order_id: str, name: str, value: Any) -> dict[str, Any]:
        """Keep the value under a key of the order; returns the reference `{"$sealed": name}`."""
        known = self._order_keys.get(order_id)
        if known is None:
            known = (_new_id(), os.urandom(KEY_BYTES))
            self._order_keys[order_id] = known
            self._new_keys.append((known[0], order_id, known[1]))
        key_id, key = known
        nonce = os.urandom(_NONCE_BYTES)
        ciphertext = nonce + AESGCM(key).encrypt(nonce, orjson.dumps(value), f"{order_id}/{name}".encode())
        self._sealed.append(SealedRow(order_id, name, "main", key_id, ciphertext))
        return {SEALED: name}

    def encrypt(self, tenant: str, owner: str | None, value: Any) -> dict[str, Any]:
        """The value as ciphertext with the ids of its key and secret, and a keyed hash of the value.

        Args:
            tenant: whose.
            owner: the order or import with which it can be destroyed; None: under the tenant's key alone.
            value: anything that JSON knows.
        """
        known = self._tenant_keys[tenant]
        key_id, key = known.newest, known.keys[known.newest]
        if owner is not None:
            secret_id, secret = self._secret_of(owner)
            key_id, key = f"{key_id}:{secret_id}", _derived(key, secret)
        plain = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        nonce = os.urandom(_NONCE_BYTES)
        ciphertext = nonce + AESGCM(key).encrypt(nonce, plain, tenant.encode())
        return {ENCRYPTED: f"{key_id}.{base64.b64encode(ciphertext).decode()}", "mac": _mac(known.hashing, plain)}

    def _secret_of(self, owner: str) -> tuple[str, bytes]:
        known = self._secrets.get(owner)
        if known is None:
            known = self._secrets[owner] = (_new_id(), os.urandom(KEY_BYTES))
            self._new_secrets.append((known[0], owner, known[1]))
        return known

    def forget(self, owners: Iterable[str]) -> None:
        """Encrypt nothing more with the secrets of these; what they have encrypted stays readable."""
        for owner in owners:
            self._secrets.pop(owner, None)

    def mac(self, tenant: str, value: Any) -> str:
        """The keyed hash of a value, as it stands beside its ciphertext."""
        return _mac(self._tenant_keys[tenant].hashing, orjson.dumps(value, option=orjson.OPT_SORT_KEYS))

    def take_sealed(self) -> list[SealedRow]:
        """The ciphertexts sealed since the last call, for the commit."""
        taken, self._sealed = self._sealed, []
        return taken

    def digest(self, tenant: str, data: bytes) -> bytes:
        """A keyed hash: tells equal bodies without letting anybody guess what stood in them."""
        return hmac.digest(self._tenant_keys[tenant].hashing, b"orderplan body " + data, "sha256")[:16]

    def drop_new_keys(self, is_kept: Callable[[str], bool]) -> None:
        """Forget keys and secrets made for what was refused: nothing that was written with them is stored."""
        for _, order_id, _ in self._new_keys:
            if not is_kept(order_id):
                self._order_keys.pop(order_id, None)
        self._new_keys = [each for each in self._new_keys if is_kept(each[1])]
        self.forget(owner for _, owner, _ in self._new_secrets if not is_kept(owner))
        self._new_secrets = [each for each in self._new_secrets if is_kept(each[1])]

    async def store_keys(self) -> None:
        """Write new keys and secrets to the key store; they stay queued when it fails."""
        if not (self._new_keys or self._new_secrets):
            return
        async with certain(self._keys) as connection:
            # One that is there already is written again: the standby may not have it. A destroyed one stays so.
            await connection.executemany(
                "insert into order_key (key_id, order_id, key) values ($1, $2, $3) "
                "on conflict (key_id) do update set key = excluded.key where order_key.destroyed_at is null",
                [(key_id, order_id, self._wrapping.wrap(key)) for key_id, order_id, key in self._new_keys],
            )
            await connection.executemany(
                "insert into value_key (secret_id, owner, secret) values ($1, $2, $3) "
                "on conflict (secret_id) do update set secret = excluded.secret where value_key.destroyed_at is null",
                [(secret_id, owner, self._wrapping.wrap(secret)) for secret_id, owner, secret in self._new_secrets],
            )
        self._new_keys.clear()
        self._new_secrets.clear()

    async def make_key(self, owner: str) -> None:
        """Make the key of something that is no order and ends as well, unless it has or had one; `destroy` ends it."""
        async with certain(self._keys) as connection:
            await connection.execute(
                "insert into order_key (key_id, order_id, key) values ($1, $1, $2) on conflict (key_id) do nothing",
                owner,
                self._wrapping.wrap(os.urandom(KEY_BYTES)),
            )

    async def key_of(self, owner: str) -> bytes:
        """A key of `make_key`.

        Raises:
            NotFound: there is none, or it has been destroyed.
        """
        key: bytes | None = await self._keys.fetchval(
            "select key from order_key where key_id = $1 and destroyed_at is null", owner
        )
        if key is None:
            raise NotFound(f"the key of {owner} does not exist any more")
        return self._wrapping.unwrap(key)

    async def destroy(self, order_ids: Iterable[str]) -> None:
        """Destroy the keys of ended orders, then their ciphertexts. Repeating it is harmless."""
        ended = list(order_ids)
        # The empty row stays for a while: had a statement that stored the key been given up as unheard, it could still
        # be carried out after this one.
        await self._keys.execute(
            "with old as (select key_id from order_key "
            f"where destroyed_at < clock_timestamp() - interval '{LATE_H} hours' "
            f"order by destroyed_at limit {FORGET_MAX}), "
            "gone as (delete from order_key using old where order_key.key_id = old.key_id) "
            "update order_key set key = '', destroyed_at = clock_timestamp() "
            "where order_id = any($1) and destroyed_at is null",
            ended,
        )
        await self._orders.execute("delete from sealed_value where order_id = any($1)", ended)
        await self._orders.execute("update product_order set sealed = false where order_id = any($1)", ended)
        for order_id in ended:
            self._order_keys.pop(order_id, None)

    async def secrets_of(self, owners: Iterable[str]) -> list[str]:
        """The secrets with which values of these orders and imports were encrypted, as far as they are there."""
        rows = await self._keys.fetch(
            "select secret_id from value_key where owner = any($1) and destroyed_at is null order by secret_id",
            list(owners),
        )
        return [row["secret_id"] for row in rows]

    async def destroy_secrets(self, secret_ids: Iterable[str]) -> None:
        """Destroy secrets of owners that encrypt nothing any more: nothing opens their values again, wherever copies of
        them lie. Repeating it is harmless.
        """
        async with certain(self._keys) as connection:
            # Empty rows stay for a while, as those of orders' keys do.
            await connection.execute(
                "with old as (select secret_id from value_key "
                f"where destroyed_at < clock_timestamp() - interval '{LATE_H} hours' "
                f"order by destroyed_at limit {FORGET_MAX}), "
                "gone as (delete from value_key using old where value_key.secret_id = old.secret_id) "
                "update value_key set secret = '', destroyed_at = clock_timestamp() "
                "where secret_id = any($1) and destroyed_at is null",
                list(secret_ids),
            )

    async def open_all(self, tenant: str, order_id: str, document: Any) -> Any:
        """A copy of the document with every sealed and encrypted value opened.

        Raises:
            NotFound: a value or its key does not exist any more.
        """
        hidden = list(_hidden(document))
        names = sorted({each[SEALED] for each in hidden if is_sealed(each)})
        values: dict[str, Any] = {}
        if names:
            values = await self._open_sealed(order_id, names)
        await self.load_tenant(tenant)
        named = {named_keys(each)[:2] for each in hidden if is_encrypted(each)}
        if not {key_id for key_id, _ in named} <= self._tenant_keys[tenant].keys.keys():
            # Somebody who has heard of a rotation already has written it.
            await self._read_tenant(tenant)
        secrets = await self._read_secrets({secret_id for _, secret_id in named if secret_id})
        return self._opened(tenant, document, values, secrets)

    async def _read_secrets(self, secret_ids: set[str]) -> dict[str, bytes]:
        """Those that are there."""
        if not secret_ids:
            return {}
        rows = await self._keys.fetch(
            "select secret_id, secret from value_key where secret_id = any($1) and destroyed_at is null",
            list(secret_ids),
        )
        return {row["secret_id"]: self._wrapping.unwrap(row["secret"]) for row in rows}

    async def _open_sealed(self, order_id: str, names: list[str]) -> dict[str, Any]:
        rows = await self._orders.fetch(
            "select name, key_id, ciphertext from sealed_value where order_id = $1 and name = any($2)", order_id, names
        )
        keys = {
            row["key_id"]: self._wrapping.unwrap(row["key"])
            for row in await self._keys.fetch(
                "select key_id, key from order_key where order_id = $1 and destroyed_at is null", order_id
            )
        }
        values = {}
        for row in rows:
            key = keys.get(row["key_id"])
            if key is not None:
                blob = row["ciphertext"]
                associated = f"{order_id}/{row['name']}".encode()
                values[row["name"]] = orjson.loads(
                    AESGCM(key).decrypt(blob[:_NONCE_BYTES], blob[_NONCE_BYTES:], associated)
                )
        missing = [name for name in names if name not in values]
        if missing:
            raise NotFound(f"sealed value {missing[0]!r} of order {order_id} does not exist any more")
        return values

    def _opened(self, tenant: str, document: Any, values: dict[str, Any], secrets: dict[str, bytes]) -> Any:
        if is_sealed(document):
            return values[document[SEALED]]
        if is_encrypted(document):
            key_id, secret_id, body = named_keys(document)
            key = self._tenant_keys[tenant].keys.get(key_id)
            if key is None:
                raise NotFound(f"tenant key {key_id!r} does not exist")
            if secret_id:
                if secret_id not in secrets:
                    raise NotFound("the value was erased: its secret does not exist any more")
                key = _derived(key, secrets[secret_id])
            blob = base64.b64decode(body)
            try:
                plain = AESGCM(key).decrypt(blob[:_NONCE_BYTES], blob[_NONCE_BYTES:], tenant.encode())
            except InvalidTag as error:
                raise NotFound("the ciphertext does not belong to the tenant's key") from error
            return orjson.loads(plain)
        if isinstance(document, dict):
            return {key: self._opened(tenant, value, values, secrets) for key, value in document.items()}
        if isinstance(document, list):
            return [self._opened(tenant, value, values, secrets) for value in document]
        return document


def named_keys(value: dict[str, Any]) -> tuple[str, str, str]:
    """Of an encrypted value the ids of the tenant's key and of the secret, and the ciphertext as base64.

    The secret is empty where the tenant's key alone encrypts, as for everything from before there were secrets.
    """
    named, _, body = value[ENCRYPTED].partition(".")
    key_id, _, secret_id = named.partition(":")
    return key_id, secret_id, body


def _new_id() -> str:
    return base64.b32encode(os.urandom(10)).decode().lower()


def _derived(key: bytes, secret: bytes) -> bytes:
    """The key that takes both: neither opens anything without the other."""
    return hmac.digest(key, b"orderplan value " + secret, "sha256")


def _mac(key: bytes, plain: bytes) -> str:
    return hmac.new(key, b"orderplan equality " + plain, hashlib.sha256).hexdigest()[:32]


def wrapped(key: bytes, owner: str, data: bytes) -> bytes:
    """Data under a key of `Vault.key_of`."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, data, owner.encode())


def unwrapped(key: bytes, owner: str, data: bytes) -> bytes:
    """What was wrapped.

    Raises:
        NotFound: it belongs to another key or owner.
    """
    try:
        return AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], owner.encode())
    except InvalidTag as error:
        raise NotFound(f"the ciphertext does not belong to the key of {owner}") from error


def _hidden(document: Any) -> Iterable[dict[str, Any]]:
    """Everything in a document that is sealed or encrypted."""
    if is_sealed(document) or is_encrypted(document):
        yield document
    elif isinstance(document, dict):
        for value in document.values():
            yield from _hidden(value)
    elif isinstance(document, list):
        for value in document:
            yield from _hidden(value)
