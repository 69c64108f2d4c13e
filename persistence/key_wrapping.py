"""How the keys of the key store rest there: as they are, or wrapped under a master key that is kept elsewhere.

The key store has one master key of its own, made on first use and stored wrapped by a *key provider*: a file, the
environment, or a key management service. Order and tenant keys are wrapped under the master key (envelope encryption),
so the provider is asked once when a process starts, whatever the number of orders. Keys that were stored before a
provider was named stay readable as they are; a tenant's are wrapped when they are next read.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import importlib
import inspect
import os
from pathlib import Path
from typing import Any, Final, Protocol

import asyncpg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.errors import OrderplanError
from persistence.servers import certain, open_pool

KEY_BYTES: Final = 32
PROVIDER_TIMEOUT_S: Final = 30.0
_NONCE_BYTES: Final = 12


class KeyProviderFailed(OrderplanError):
    """The key provider is not there, or its key is not the one that the key store was made with."""

    status = 503
    code = "keyProvider"


class KeyProvider(Protocol):
    """Wraps one key of 32 bytes, the key store's master key, under a key that never leaves it.

    What `wrap` gave, `unwrap` of the same provider must give back for as long as the key store is used, also after the
    provider's own keys were rotated. Both may take seconds, and may raise anything: the process then does not start.
    """

    async def wrap(self, plain: bytes) -> bytes:
        """The key as it may be stored: at most some kilobytes."""
        ...

    async def unwrap(self, wrapped: bytes) -> bytes:
        """The key that was wrapped."""
        ...


class OwnKey:
    """A provider that has its key from a file or the environment: 32 bytes as base64."""

    def __init__(self, text: str, where: str) -> None:
        try:
            key = base64.b64decode(text.strip(), validate=True)
        except binascii.Error:
            key = b""
        if len(key) != KEY_BYTES:
            raise KeyProviderFailed(
                f"{where} does not hold 32 bytes as base64", mend="make a key: openssl rand -base64 32"
            )
        self._key = key

    async def wrap(self, plain: bytes) -> bytes:
        """AES-GCM under the key."""
        return _wrapped(self._key, plain)

    async def unwrap(self, wrapped: bytes) -> bytes:
        """What was wrapped; InvalidTag if it was by another key."""
        return _unwrapped(self._key, wrapped)


class KeyWrapping:
    """Turns keys into what the key store holds, and back; without a master key they are stored as they are."""

    def __init__(self, master: bytes | None = None) -> None:
        self._master = master

    def wrap(self, key: bytes) -> bytes:
        """What is stored of a key."""
        return key if self._master is None else _wrapped(self._master, key)

    def unwrap(self, stored: bytes) -> bytes:
        """The key of what is stored."""
        if self._master is None or len(stored) == KEY_BYTES:
            return stored
        return _unwrapped(self._master, stored)

    def is_outdated(self, stored: bytes) -> bool:
        """Whether a key rests there as it is although there is a master key by now."""
        return self._master is not None and len(stored) == KEY_BYTES


PLAIN: Final = KeyWrapping()


def provider_of(address: str) -> KeyProvider:
    """The provider at an address: `file:PATH`, `env:NAME`, or `module:Class` of one's own, made without arguments.

    Raises:
        KeyProviderFailed: it cannot be made.
    """
    kind, _, rest = address.partition(":")
    if kind == "file":
        try:
            return OwnKey(Path(rest).read_text(encoding="ascii"), f"the file {rest}")
        except (OSError, UnicodeDecodeError) as error:
            raise KeyProviderFailed(f"the file {rest} cannot be read: {error}", mend="name a file that can") from error
    if kind == "env":
        if rest not in os.environ:
            raise KeyProviderFailed(f"the environment has no {rest}", mend="set it to 32 bytes as base64")
        return OwnKey(os.environ[rest], f"the variable {rest}")
    try:
        made: Any = getattr(importlib.import_module(kind), rest)()
    except Exception as error:
        raise KeyProviderFailed(
            # Not its text: a provider of one's own may tell its credentials there.
            f"the key provider {address!r} cannot be made: {type(error).__name__}",
            mend="file:PATH, env:NAME or module:Class of one's own",
        ) from error
    if not all(inspect.iscoroutinefunction(getattr(made, name, None)) for name in ("wrap", "unwrap")):
        raise KeyProviderFailed(f"the key provider {address!r} has no wrap and unwrap", mend="see docs/DATA.md")
    provider: KeyProvider = made
    return provider


async def open_wrapping(keys: asyncpg.Pool[Any], address: str) -> KeyWrapping:
    """How keys rest in this key store, by its provider; its master key is made on first use.

    Args:
        keys: pool of the key store.
        address: of the provider (`provider_of`); empty: keys rest as they are.
    Raises:
        KeyProviderFailed: there is no such provider, or the key store was made with another.
    """
    stored: bytes | None = await keys.fetchval("select wrapped from master_key")
    if not address:
        if stored is not None:
            raise KeyProviderFailed(
                "the keys of this key store are wrapped by a key provider", mend="name it with --key-provider"
            )
        return PLAIN
    provider = provider_of(address)
    try:
        async with asyncio.timeout(PROVIDER_TIMEOUT_S):
            return await _opened(keys, provider, stored)
    except InvalidTag as error:
        raise KeyProviderFailed(
            f"the key of {address.partition(':')[0]} is not the one that this key store was made with",
            mend="give the provider the key of then",
        ) from error
    except TimeoutError as error:
        raise KeyProviderFailed(
            f"the key provider has not answered in {PROVIDER_TIMEOUT_S:.0f} s", mend="see that it can be reached"
        ) from error


async def _opened(keys: asyncpg.Pool[Any], provider: KeyProvider, stored: bytes | None) -> KeyWrapping:
    if stored is None:
        mine = await provider.wrap(os.urandom(KEY_BYTES))
        async with certain(keys) as connection:
            # Of two that begin at once the first has made it; it is written again, so that a standby has it.
            stored = await connection.fetchval(
                "insert into master_key (id, wrapped) values (1, $1) "
                "on conflict (id) do update set wrapped = master_key.wrapped returning wrapped",
                mine,
            )
        assert stored is not None
    return KeyWrapping(await provider.unwrap(stored))



async def check_keys(key_dsn: str, address: str) -> None:
    """Pass if the key store can be used with this provider; before anything is started.

    Raises:
        KeyProviderFailed: as `open_wrapping`.
    """
    async with await open_pool(key_dsn, size_max=1) as keys:
        await open_wrapping(keys, address)


def _wrapped(key: bytes, plain: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, b"orderplan key")


def _unwrapped(key: bytes, stored: bytes) -> bytes:
    return AESGCM(key).decrypt(stored[:_NONCE_BYTES], stored[_NONCE_BYTES:], b"orderplan key")
