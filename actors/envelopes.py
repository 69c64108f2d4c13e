"""What arrives at a plan host, and what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from domain.errors import OrderplanError
from domain.messages import ChangeOrder, PlanMessage
from domain.placement import AssetBooking
from domain.plan import Plan
from domain.price_calls import PriceAnswer
from domain.priorities import class_of
from domain.watchdog import Stuck
from persistence.erasures import Erasure


class NotOwner(OrderplanError):
    """The shard belongs to another host (or to none at the moment): look up the owner again."""

    status = 503
    code = "notOwner"


@dataclass(slots=True)
class Envelope:
    """Base of everything in a host's inbox; `reply` is settled only after the commit."""

    reply: asyncio.Future[Any] | None = field(default=None, kw_only=True)


@dataclass(slots=True)
class Submission(Envelope):
    """A new order for a shard. `order` is `Order.to_dict()` with an empty id: the host gives it one."""

    shard: int
    order: Mapping[str, Any]
    body_hash: bytes | None
    release_id: str | None = None
    """The release that the channel has made the order for, if it says so."""
    is_bulk: bool = False
    """One of very many that were sent together: whoever waits for an answer goes first."""
    is_dry_run: bool = False
    """Say what would become of it, and store nothing."""
    actor: str = ""
    """Who sends it, if not its channel."""
    done: tuple[str, ...] | None = None
    """What was done of it in another system (`domain/cutover.py`); None: it begins here."""
    order_id: str = ""
    """Set when it is decided: decided again after an unheard commit, it is recognised by the order it made."""
    answers: dict[str, PriceAnswer] = field(default_factory=dict)
    """What price functions have said so far (`actors/price_desk.py`)."""
    rounds: int = 0
    """How often they were asked."""
    token: str = ""
    """By which its sender asks for the answer, when that comes later than those of its neighbours."""

    @property
    def class_(self) -> int:
        """Its order's (`domain/priorities.py`)."""
        return class_of(self.order.get("priority", "normal"))


@dataclass(slots=True)
class Readmit(Envelope):
    """A waiting order that can be taken up, with what price functions have said; a host makes it for itself."""

    order_id: str
    answers: dict[str, PriceAnswer] = field(default_factory=dict)
    rounds: int = 0


@dataclass(slots=True)
class ToPlan(Envelope):
    """A message for one plan; `actor` and `cause` go into its facts."""

    order_id: str
    message: PlanMessage | ChangeOrder
    actor: str = "system"
    cause: str | None = None
    answers: dict[str, PriceAnswer] = field(default_factory=dict)
    """Of a change: what price functions have said."""
    rounds: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        # Thousands a second cross processes: by constructor and without the reply, at half the cost of the default.
        return ToPlan, (self.order_id, self.message, self.actor, self.cause)


@dataclass(slots=True)
class ImportAssets(Envelope):
    """Installed products of one account, loaded from outside: `assets` are `Asset.to_dict()`."""

    shard: int
    tenant: str
    account: str
    release_id: str
    """The release that the products were checked against."""
    assets: list[dict[str, Any]]
    actor: str
    cause: str
    is_bulk: bool = False
    """Part of very many that were sent together: whoever waits for an answer goes first."""

    @property
    def class_(self) -> int:
        """Behind all orders."""
        return class_of("low")


@dataclass(slots=True)
class BookAssets(Envelope):
    """What a dedicated plan has delivered, for the account's host (`domain/placement.py`).

    `changes` and `changed` hold stored `AssetDelta`s: what was delivered, and what is still to come of lines that
    answers have changed (None: nothing). Number 0 is news of the latter only and is not kept.
    """

    shard: int
    tenant: str
    account: str
    order_id: str
    number: int
    changes: Sequence[dict[str, Any]] = ()
    delivered: Sequence[str] = ()
    changed: Mapping[str, dict[str, Any] | None] = field(default_factory=dict)
    is_last: bool = False
    is_cancelled: bool = False
    """Of the last: the order was taken back."""


def booking_envelope(
    plan: Plan, booking: AssetBooking | None = None, changed: Mapping[str, dict[str, Any] | None] | None = None
) -> BookAssets:
    """What a dedicated plan has to tell its account's host: a booking, or what changed of lines to come."""
    assert plan.account_shard is not None
    assert plan.order.account is not None
    place = (plan.account_shard, plan.order.tenant, plan.order.account, plan.order_id)
    if booking is None:
        return BookAssets(*place, 0, changed=changed or {})
    is_cancelled = booking.is_last and plan.is_cancelled
    return BookAssets(
        *place,
        booking.number,
        booking.changes,
        booking.delivered,
        is_last=booking.is_last,
        is_cancelled=is_cancelled,
    )


@dataclass(slots=True)
class EraseAccount(Envelope):
    """Erase an account of the shard; not for the inbox, it is done between two ticks (`HostLoop.erase`)."""

    shard: int
    erasure: Erasure


@dataclass(slots=True)
class GiveAway(Envelope):
    """Give shards to another incarnation, by this one's own commit and as its last for them."""

    shards: Mapping[int, str]


@dataclass(slots=True)
class Due(Envelope):
    """An order with a timer that has passed; a host makes it for itself."""

    order_id: str


@dataclass(slots=True)
class Redrive(Envelope):
    """An order that the watchdog has found stuck (`found`), or has to look at; a host makes it for itself.

    `by` is the time by which its timers are judged.
    """

    order_id: str
    found: tuple[Stuck, ...]
    by: datetime


@dataclass(frozen=True, slots=True)
class Later:
    """In the place of an answer that takes longer than those beside it: ask for it by this token."""

    token: str


@dataclass(frozen=True, slots=True)
class Submitted:
    """What a channel learns of its order: 201 with `acknowledged`, `pending` or `rejected`; `is_repeat` for a known
    key.

    `reclassified` has the attributes as they are stored, by line id, of those lines alone in which a value was sealed,
    encrypted or dropped: the answer shows the order as it is stored, not as it was sent.
    """

    order_id: str
    state: str
    is_repeat: bool = False
    reasons: tuple[Any, ...] = ()
    reclassified: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
