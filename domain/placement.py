"""Dedicated plans: an order whose plan gets a shard, and so a Ray actor, of its own.

A release may carry a rule over the order (`dedicated`). The account's host accepts the order as any other, but gives it
a shard that no other open order uses; the director then moves that shard to a host that holds nothing else. The
account's inventory stays with the account's shard. What the plan delivers travels there as numbered bookings, each
repeated until the account's host confirms it, and the order ends only after the last one: whoever compares a later
order with the account never sees a gap. An order keeps with its account's shard when another order of the account is
open, because the two may have to talk within one turn, and when no dedicated shard is free (their number is the cap).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from domain.inventory import Account
from domain.lines import order_context
from domain.orders import Order
from domain.release import CompiledRelease

DEDICATED: Final = "dedicated"
NO_PLACE: Final = "noPlace"
"""The rule holds, but every dedicated shard of the account's host is in use."""
SHARED: Final = "shared"
"""The rule holds, but the account has other open orders."""


@dataclass(frozen=True, slots=True)
class AssetBooking:
    """What a dedicated plan asks its account's host to book.

    `changes` are stored `AssetDelta`s, `delivered` the assets that are now what the order wants of them; `is_last` also
    closes the order on the account.
    """

    number: int
    changes: tuple[dict[str, Any], ...]
    delivered: tuple[str, ...]
    is_last: bool = False


def wants_dedicated(order: Order, release: CompiledRelease) -> bool:
    """Whether the release's rule asks for a host of its own.

    Raises:
        ExpressionFailed: the rule compares what cannot be compared.
    """
    return release.dedicated is not None and release.dedicated.is_true(order_context(order))


def placement_of(order: Order, release: CompiledRelease, account: Account, *, is_free: bool) -> str:
    """Where the order's plan goes: one of the names above, or empty when the rule does not ask.

    Args:
        order: with its channel's facts; the id does not matter.
        release: whose rule counts.
        account: that the order is about.
        is_free: whether a dedicated shard is to be had.
    Raises:
        ExpressionFailed: the rule compares what cannot be compared.
    """
    if not wants_dedicated(order, release):
        return ""
    if account.open_orders:
        return SHARED
    return DEDICATED if is_free else NO_PLACE
