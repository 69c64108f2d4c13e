"""Ids that carry what routing needs, and keys that stay the same when work is repeated.

An order id holds its shard and is ordered by time inside it, so that the owner of an order is found without a lookup.
Keys are never counters or positions: the same order on the same release gives the same keys.
"""

from __future__ import annotations

import hashlib
import zlib
from functools import lru_cache
from typing import Final

from domain.errors import NotFound

OWN_ACCOUNT: Final = "order "
"""Begins the name of the account that an order without one has for itself: its assets are found by it again."""


def order_id_of(shard: int, at_ms: int, entropy: int) -> str:
    """The id of an order: shard, milliseconds since 1970, 40 random bits."""
    return f"o{shard:x}-{at_ms:011x}-{entropy & 0xFF_FFFF_FFFF:010x}"


@lru_cache(maxsize=20_000)
def shard_of(order_id: str) -> int:
    """The shard that an order id carries.

    Raises:
        NotFound: it is no order id.
    """
    head, _, rest = order_id.partition("-")
    try:
        if head[0] != "o" or not rest:
            raise ValueError(order_id)
        return int(head[1:], 16)
    except (ValueError, IndexError):
        raise NotFound(f"there is no order {order_id!r}") from None


def shard_for(text: str, shards: int) -> int:
    """The shard that an account (or a channel's client key) belongs to; the same in every process and release."""
    return zlib.crc32(text.encode()) % shards


def asset_id_of(order_id: str, line_key: str) -> str:
    """The id of the asset that a line of an order creates: known before it is delivered, the same on every replay."""
    return "p" + hashlib.blake2b(f"{order_id}/{line_key}".encode(), digest_size=10).hexdigest()


def account_shard(tenant: str, account: str, shards: int) -> int:
    """The shard whose host keeps the account's inventory."""
    return shard_for(f"{tenant}/{account}", shards)


def booking_id(order_id: str, number: int) -> str:
    """What stands in the fact of a dedicated plan's booking in the place of an order (`domain/placement.py`)."""
    return f"booking {order_id}/{number}"


def effect_key(order_id: str, item_key: str, attempt: int) -> str:
    """Names one attempt of one item; adapters pass it on as the idempotency key."""
    return f"{order_id}/{item_key}/{attempt}"


def parse_effect_key(key: str) -> tuple[str, str, int]:
    """(order id, item key, attempt) of an effect key.

    Raises:
        NotFound: it is no effect key.
    """
    order_id, _, rest = key.partition("/")
    item_key, _, attempt = rest.rpartition("/")
    if not item_key or not attempt.isdigit():
        raise NotFound(f"there is no work {key!r}")
    return order_id, item_key, int(attempt)
