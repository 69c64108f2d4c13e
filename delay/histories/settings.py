"""What a simulated world is like. Everything has a usual value, so that seed, orders and days are enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from delay.histories.calendar import OFFICE_HOURS, Peak, WorkingHours
from domain.release import CompiledRelease

START: Final = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday."""
ORDERS_MAX: Final = 1_000_000
DAYS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Sample:
    """A kind of order that customers send.

    Args:
        name: of the kind; it becomes the order's description.
        release: that its orders are made for.
        order: the stored form of a neutral order (`Order.to_dict`); id, account, dates and priority are drawn.
        weight: how often it comes, beside the others.
        promise_s: what the channel usually promises, counted from the order.
        later_share: of its customers want it on a later day.
    """

    name: str
    release: CompiledRelease
    order: Mapping[str, Any]
    weight: float
    promise_s: float
    later_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Desk:
    """Who works on a queue. Without `workers` there are as many as keep them busy for `busy_share` of their hours."""

    workers: int | None = None
    hours: WorkingHours = OFFICE_HOURS
    busy_share: float = 0.85


@dataclass(frozen=True, slots=True)
class Slowdown:
    """A queue or system whose work takes `factor` times as long as usual from one day until another."""

    of: str
    from_day: float
    until_day: float
    factor: float = 2.0


@dataclass(frozen=True, slots=True)
class Drift:
    """From one day on everything of an item definition takes `factor` times as long: `plan/item`, a queue or system."""

    of: str
    from_day: float
    factor: float


@dataclass(frozen=True, slots=True)
class Outage:
    """A system is away for some time: its calls fail until it is held, and go on when it is back."""

    system: str
    from_day: float
    until_day: float


@dataclass(frozen=True, slots=True)
class Settings:
    """One simulated world.

    `work_s` is how long a person works on an item, `call_s` how long a system takes for one, both by `plan/item` and in
    the middle; what they do not name follows from the planned duration. `priorities` says otherwise than was drawn, by
    the number of the order; `expedites` puts the tasks of an order before all others from a day on. `outages` None:
    some are drawn for every system, and hours in which it is slow.
    """

    orders: int
    days: int
    seed: int = 1
    start: datetime = START
    peaks: tuple[Peak, ...] | None = None
    desks: Mapping[str, Desk] = field(default_factory=dict)
    slowdowns: tuple[Slowdown, ...] = ()
    drifts: tuple[Drift, ...] = ()
    outages: tuple[Outage, ...] | None = None
    work_s: Mapping[str, float] = field(default_factory=dict)
    call_s: Mapping[str, float] = field(default_factory=dict)
    priorities: Mapping[int, Literal["high", "normal", "low"]] = field(default_factory=dict)
    expedites: Mapping[int, float] = field(default_factory=dict)
    promise_spread: float = 0.25
    tight_share: float = 0.08
    """Of promises are made without looking, and cannot be kept as a rule."""
    retryable_share: float = 0.02
    """Of calls fail and are made again."""
    fatal_share: float = 0.003
    """Of calls fail for good and wait for a person."""

    @property
    def usual_peaks(self) -> tuple[Peak, ...]:
        """The campaigns: those that were set, else one of a few days a little after the middle."""
        return self.peaks if self.peaks is not None else (Peak(0.55 * self.days, 0.6 * self.days, 1.4),)
