"""What was known of the cases of a log at a moment, and the table of points that a model learns from.

The same history can be cut at an earlier moment: with that the model is tried on its own past before it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from delay.event_log import Case, Prefix
from delay.logs.features import seconds
from delay.metrics import Floats, Ints
from delay.score_points import DueRule, points_of

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Known:
    """A case as far as it was known; only of a closed one the last event is its end."""

    case: Case
    due_at: datetime
    is_closed: bool


@dataclass(frozen=True, slots=True)
class History:
    """All cases that had begun by `cutoff`, by their start."""

    known: tuple[Known, ...]
    cutoff: datetime

    @classmethod
    def of(cls, closed: Sequence[Case], opened: Sequence[Prefix], rule: DueRule) -> History:
        """Cases that have ended, and open ones as known at one moment."""
        cutoff = max((*(each.now for each in opened), *(case.ended_at for case in closed)))
        known = [Known(case, rule.due_at(case), True) for case in closed]
        for each in opened:
            case = Case(each.case_id, each.events, each.attributes, each.due_at, each.case_class)
            known.append(Known(case, rule.due_at(each), False))
        return cls(tuple(sorted(known, key=lambda each: (each.case.started_at, each.case.case_id))), cutoff)

    def at(self, cutoff: datetime) -> History:
        """As it was at an earlier moment."""
        found: list[Known] = []
        for each in self.known:
            case = each.case
            if case.started_at >= cutoff:
                break
            if each.is_closed and case.ended_at < cutoff:
                found.append(each)
                continue
            events = tuple(event for event in case.events if event.at <= cutoff)
            cut = Case(case.case_id, events, case.attributes, case.due_at, case.case_class)
            found.append(Known(cut, each.due_at, False))
        return History(tuple(found), cutoff)

    @property
    def closed(self) -> list[Case]:
        """The cases that had ended."""
        return [each.case for each in self.known if each.is_closed]

    @property
    def opened(self) -> list[Prefix]:
        """The others, as prefixes of the cut-off."""
        return [each.case.prefix(self.cutoff, None, each.due_at) for each in self.known if not each.is_closed]


@dataclass(frozen=True, slots=True)
class Table:
    """Points of cases with what became of them; all arrays have one place for each point.

    `late` is NaN as long as nobody knew, `rest_s` (seconds until the end) of all cases that were open. `is_due` tells
    that the due date had passed by the cut-off: of these cases the label is known whether they are quick or slow.
    """

    prefixes: list[Prefix]
    case: Ints
    start_s: Floats
    now_s: Floats
    due_s: Floats
    late: Floats
    rest_s: Floats
    is_event: Flags
    is_past_due: Flags
    is_due: Flags

    def __len__(self) -> int:
        return len(self.prefixes)

    def where(self, rows: Flags) -> Table:
        """Some of the points."""
        return Table(
            [self.prefixes[at] for at in np.flatnonzero(rows)],
            *(getattr(self, name)[rows] for name in self.__slots__[1:]),
        )


def table_of(history: History, since: datetime | None = None) -> Table:
    """The points of the cases, or of those that began at `since` or later."""
    prefixes: list[Prefix] = []
    numbers: list[tuple[float, ...]] = []
    cutoff_s = seconds(history.cutoff)
    for at, each in enumerate(history.known):
        case = each.case
        if since is not None and case.started_at < since:
            continue
        start_s, due_s, end_s = seconds(case.started_at), seconds(each.due_at), seconds(case.ended_at)
        is_due = due_s <= cutoff_s
        late, rest_from_s = float("nan"), float("nan")
        if each.is_closed:
            late, rest_from_s = float(end_s > due_s), end_s
        elif is_due:
            late = 1.0
        for point in points_of(case, each.due_at, None if each.is_closed else history.cutoff):
            now_s = seconds(point.prefix.now)
            prefixes.append(point.prefix)
            numbers.append(
                (
                    at,
                    start_s,
                    now_s,
                    due_s,
                    late,
                    rest_from_s - now_s,
                    point.tick is None,
                    point.is_past_due,
                    is_due,
                )
            )
    columns = np.array(numbers, dtype=np.float64).reshape(-1, 9).T
    return Table(
        prefixes,
        columns[0].astype(np.int64),
        *columns[1:6],
        *(column.astype(bool) for column in columns[6:]),
    )
