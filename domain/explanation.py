"""What an explanation consists of, and how it writes times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from domain.holds import Hold
from domain.items import ItemRun


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: a stable code, a sentence, and the facts behind it."""

    code: str
    text: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Staff:
    """Who could do a task: members of its queue (none: open to everybody), those with the skills, those on shift."""

    members: int
    skilled: int
    on_shift: int


@dataclass(frozen=True, slots=True)
class SystemHold:
    """How a system stands for which items are On Hold.

    `hold` None: it takes calls, and held items go on at `drain_per_s`. `by` and `since` are the hold's, `try_at` is
    when an open circuit breaker lets one call through, `waiting` counts held items (of all orders, up to some bound).
    """

    hold: Hold | None
    by: str
    since: datetime | None
    try_at: datetime | None
    waiting: int
    drain_per_s: float


@dataclass(frozen=True, slots=True)
class World:
    """What the caller knows besides the plan; an absent part is not known.

    `staff` by item key, `claims` item key -> (worker, until), `systems` that are set up, `orders` id -> state,
    `has_owner` whether a living host has the order's shard, `at_skip` the attributes that lines had when an item was
    skipped: item key -> line key -> attributes.
    """

    staff: Mapping[str, Staff] = field(default_factory=dict)
    claims: Mapping[str, tuple[str, datetime]] = field(default_factory=dict)
    systems: frozenset[str] | None = None
    orders: Mapping[str, str] = field(default_factory=dict)
    related: Mapping[str, tuple[str, str]] | None = None
    """Names of related orders -> (order id, state) of those that have come."""
    has_owner: bool | None = None
    at_skip: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    holds: Mapping[str, SystemHold] | None = None
    """Of systems for which items of the plan are On Hold: how they stand now."""


@dataclass(frozen=True, slots=True)
class Standing:
    """An item that stands still, why, and what waits behind it (nearest first, at most `chains.LOOKED_AT_MAX`)."""

    item: ItemRun
    reasons: list[Reason]
    behind: list[ItemRun]


@dataclass(frozen=True, slots=True)
class Explanation:
    """An order: the summary in a sentence or two, its own reasons, and items that stand still with theirs."""

    summary: str
    reasons: list[Reason]
    items: list[Standing]
    more: int = 0


_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def when(at: datetime, now: datetime) -> str:
    """An instant for people: UTC, and how far away it is."""
    seconds = (at - now).total_seconds()
    size, unit = next((each for each in _UNITS if abs(seconds) >= each[0]), _UNITS[-1])
    distance = f"{abs(seconds) / size:.0f} {unit}"
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC ({f'in {distance}' if seconds > 0 else f'{distance} ago'})"
