"""The moments at which a case is scored: its first events, and ticks of the clock between start and due date.

Learning, backtest and reference baselines take theirs from here, so that none is taught other moments than it is asked
about. A model that only saw moments of events would not know what it means that nothing has happened for long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from delay.event_log import Case, Prefix

TICKS: Final = (0.25, 0.5, 0.75, 0.9)
"""Shares of the time from start to due date."""
EVENTS_MAX: Final = 20


class Point(NamedTuple):
    """A case at a moment. `tick` is None at an event.

    Past the due date it is known that the case is late: such a point counts for the remaining time only.
    """

    prefix: Prefix
    tick: float | None
    is_past_due: bool


def points_of(case: Case, due_at: datetime, until: datetime | None = None) -> Iterator[Point]:
    """The points of a case that has ended, or, with `until`, of one that was still open then.

    The last event of a case that has ended is none of them: after it nothing is left to predict.
    """
    events = case.events
    count = len(events) - 1 if until is None else sum(event.at <= until for event in events)
    for at in range(min(count, EVENTS_MAX)):
        now = events[at].at
        yield Point(case.prefix(now, at + 1, due_at), None, now > due_at)
    started_at, end_at = case.started_at, until or case.ended_at
    for share in TICKS:
        now = started_at + share * (due_at - started_at)
        if started_at < now < end_at:
            yield Point(case.prefix(now, None, due_at), share, False)


class DueRule:
    """The due date of cases without a promise: within the time in which 80% of the cases of their class have ended."""

    SHARE: Final = 0.8
    CLASS_MIN: Final = 50

    def __init__(self, closed: Sequence[Case]) -> None:
        by_class: dict[str, list[float]] = {}
        for case in closed:
            by_class.setdefault(case.case_class, []).append(case.duration_s)
        self._by_class = {
            name: percentile(found, self.SHARE) for name, found in by_class.items() if len(found) >= self.CLASS_MIN
        }
        self._all_s = percentile([case.duration_s for case in closed], self.SHARE)

    def due_at(self, case: Case | Prefix) -> datetime:
        """The promise, else what is usual."""
        if case.due_at is not None:
            return case.due_at
        return case.events[0].at + timedelta(seconds=self._by_class.get(case.case_class, self._all_s))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie, on a straight line between neighbours; 0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])
