"""When people work on a kind of task, learnt from when its tasks were begun and completed.

Waits and work of people are measured in working time and turned back into times of the clock from wherever an item
stands: two hours of waiting that are left on Friday evening end on Monday. An hour of the day, or a day of the week,
counts as closed if hardly anything happens in it; a little time passes even then, so that a change of hours is found
out. A process that runs around the clock has no closed hours, and its working time is the clock's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S
WEEK_S: Final = 7 * DAY_S
_MONDAY_S: Final = 4 * DAY_S
"""1970 began on a Thursday."""
MOMENTS_MIN: Final = 80
CLOSED_BELOW: Final = 0.2
"""An hour or day is closed if it has less than this part of an equal share of what happens."""
CLOSED_PACE: Final = 0.01
_UNITS: Final = round(1 / CLOSED_PACE)
"""Of working time in an open hour; a closed one has one of them."""
_UNIT_S: Final = HOUR_S / _UNITS


class WorkingTime:
    """The open hours of a week; moments are seconds since 1970, UTC."""

    def __init__(self, moments: Sequence[float]) -> None:
        """Learn them.

        Args:
            moments: at which somebody did something; `MOMENTS_MIN` at least, else every hour is open.
        """
        at = (np.asarray(moments, dtype=np.float64) - _MONDAY_S) % WEEK_S
        hours: NDArray[Any] = np.ones(24)
        days: NDArray[Any] = np.ones(7)
        if len(at) >= MOMENTS_MIN:
            hours = np.bincount((at % DAY_S // HOUR_S).astype(int), minlength=24) * (24 / len(at))
            days = np.bincount((at // DAY_S).astype(int), minlength=7) * (7 / len(at))
        is_open = np.outer(days >= CLOSED_BELOW, hours >= CLOSED_BELOW).ravel()
        # In units of what a closed hour counts, so that places in both tables are computed and not searched for.
        units = np.where(is_open, _UNITS, 1)
        self._worked: Array = np.append(0, np.cumsum(units)) * _UNIT_S
        self._pace: Array = np.append(units * _UNIT_S, 0.0)
        self._units = units
        self._table: tuple[Array, Array] | None = None

    def at(self, moments: Array | float) -> Array:
        """The working time at these moments, in seconds from some beginning."""
        shifted = np.asarray(moments, dtype=np.float64) - _MONDAY_S
        weeks = np.floor(shifted / WEEK_S)
        hours = (shifted - weeks * WEEK_S) / HOUR_S
        whole = hours.astype(np.intp)
        found: Array = weeks * self._worked[-1] + self._worked[whole] + (hours - whole) * self._pace[whole]
        return found

    def between(self, since: Array | float, until: Array | float) -> Array:
        """Seconds of working time from one moment to another; 0 if the other is earlier."""
        return np.maximum(self.at(until) - self.at(since), 0.0)

    def after(self, begin: Array | float, worked_s: Array) -> Array:
        """The moments at which so many seconds of working time are over."""
        if self._table is None:
            lasts = np.append(np.repeat(HOUR_S / self._units, self._units), 0.0)
            self._table = np.append(0.0, np.cumsum(lasts[:-1])), lasts
        moments, lasts = self._table
        wanted = self.at(begin) + worked_s
        weeks = np.floor(wanted / self._worked[-1])
        units = (wanted - weeks * self._worked[-1]) / _UNIT_S
        whole = units.astype(np.intp)
        found: Array = weeks * WEEK_S + moments[whole] + (units - whole) * lasts[whole] + _MONDAY_S
        return found
