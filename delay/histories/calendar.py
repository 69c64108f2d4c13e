"""Simulated time: when orders come, and when people work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Final

import numpy as np

from delay.histories.chance import Chance

DAY_S: Final = 86_400.0
BY_HOUR: Final = (1, 1, 1, 1, 1, 2, 4, 8, 12, 15, 16, 15, 13, 13, 14, 14, 14, 15, 16, 15, 12, 8, 4, 2)
"""How orders spread over the hours of a day, UTC."""
BY_WEEKDAY: Final = (1.15, 1.1, 1.0, 1.0, 1.05, 0.75, 0.5)
"""Monday first."""
SEASON_DAYS: Final = 90.0
SEASON_SWING: Final = 0.15


@dataclass(frozen=True, slots=True)
class Peak:
    """Days on which more orders come: a campaign, a new device."""

    from_day: float
    until_day: float
    factor: float


def arrivals(count: int, days: int, start: datetime, peaks: Sequence[Peak], chance: Chance) -> list[datetime]:
    """When each of `count` orders comes, in order, to the millisecond."""
    hours = range(days * 24)
    busy = [_busyness(start + timedelta(hours=hour), hour / 24, peaks) for hour in hours]
    ends = np.array(list(accumulate(busy)))
    drawn = np.sort([chance.share("arrival", number) for number in range(count)]) * ends[-1]
    at = np.searchsorted(ends, drawn, side="right")
    inside = (drawn - (ends[at] - np.array(busy)[at])) / np.array(busy)[at]
    return [start + timedelta(milliseconds=int(each)) for each in (at + inside) * 3_600_000]


def _busyness(at: datetime, day: float, peaks: Sequence[Peak]) -> float:
    season = 1.0 + SEASON_SWING * math.sin(2 * math.pi * day / SEASON_DAYS)
    factor = math.prod(peak.factor for peak in peaks if peak.from_day <= day < peak.until_day)
    return BY_HOUR[at.hour] * BY_WEEKDAY[at.weekday()] * season * factor


@dataclass(frozen=True, slots=True)
class WorkingHours:
    """From `opens_h` to `closes_h` o'clock, UTC, on these weekdays (Monday is 0)."""

    opens_h: int = 8
    closes_h: int = 17
    weekdays: frozenset[int] = frozenset(range(5))

    def is_open(self, at: datetime) -> bool:
        """Whether somebody works at this moment."""
        return at.weekday() in self.weekdays and self.opens_h <= at.hour < self.closes_h

    def next_open(self, at: datetime) -> datetime:
        """This moment if somebody works then, else the next one."""
        if self.is_open(at):
            return at
        opens_at = at.replace(hour=self.opens_h, minute=0, second=0, microsecond=0)
        if opens_at < at:
            opens_at += timedelta(days=1)
        while opens_at.weekday() not in self.weekdays:
            opens_at += timedelta(days=1)
        return opens_at

    def after(self, at: datetime, work: timedelta) -> datetime:
        """When so much work is done that begins at this moment: it rests while nobody works."""
        at = self.next_open(at)
        while work > (left := self._closes_at(at) - at):
            work -= left
            at = self.next_open(self._closes_at(at))
        return at + work

    def _closes_at(self, at: datetime) -> datetime:
        return at.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(hours=self.closes_h)


OFFICE_HOURS: Final = WorkingHours()
