"""What a model of event logs sees of a case at a moment, as numbers. One function makes them for learning and for
answering.

Only what is known at `now` goes in. Left out are: the calendar beyond the hour and the day of the week, and numbers
that only grow with time, because a model would never see their future values; attributes that are written with the last
event only; attributes that cases in progress hardly ever have, though closed ones do: they are filled in at the end.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import numpy as np

from delay.event_log import Case, Prefix, UnreadableTime, as_time
from delay.metrics import Floats

Kind = Literal["number", "category", "time"]

ACTIVITIES_MAX: Final = 40
"""So many are counted."""
CODES_MAX: Final = 80
"""So many are told apart as the last one."""
ATTRIBUTES_MAX: Final = 40
CATEGORIES_MAX: Final = 30
RARE: Final = 10
"""A category of fewer cases is unknown."""
UNKNOWN: Final = -1.0
KIND_SHARE: Final = 0.95
"""So much of an attribute's values must read as numbers (or times) for it to be one."""
NUMBERS_MIN: Final = 12
"""Text that reads as numbers is a code while it has no more values than this."""
GROWS: Final = 0.9
"""An attribute whose rank goes with the start of the case like this is a calendar in disguise."""
OPEN_MIN: Final = 50
"""So many open cases are needed to tell that an attribute is filled in at the end."""
DAY_S: Final = 86_400.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

MOMENT: Final = (
    "elapsed_h",
    "since_last_h",
    "allowed_h",
    "left_h",
    "used_share",
    "events",
    "distinct_activities",
    "repeats",
    "last_gap_h",
    "mean_gap_h",
    "weekend_left_h",
    "hour",
    "weekday",
    "due_weekday",
    "last_activity",
    "previous_activity",
    "case_class",
)
CATEGORICAL: Final = frozenset({"last_activity", "previous_activity", "case_class"})


class LogFeatures:
    """The columns, learnt from cases up to the moment at which a model is fitted."""

    def __init__(self, closed: Sequence[Case], opened: Sequence[Prefix]) -> None:
        counts = Counter(event.activity for case in closed for event in case.events)
        common = sorted(counts, key=lambda activity: (-counts[activity], activity))
        self._activities = {activity: float(at) for at, activity in enumerate(common[:CODES_MAX])}
        self._counted = {activity: at for at, activity in enumerate(common[:ACTIVITIES_MAX])}
        self._classes = _codes(Counter(case.case_class for case in closed))
        self.attributes = _attributes(closed, opened)
        self.names = (
            *MOMENT,
            *(f"count {activity}" for activity in self._counted),
            *(f"attribute {name}" for name in self.attributes),
        )

    @property
    def categorical(self) -> list[int]:
        """Places of the columns that are categories."""
        of_attributes = {f"attribute {name}" for name, (kind, _) in self.attributes.items() if kind == "category"}
        return [at for at, name in enumerate(self.names) if name in CATEGORICAL or name in of_attributes]

    def rows(self, prefixes: Sequence[Prefix], due: Floats) -> Floats:
        """Shape (prefixes, len(names)). `due` has the due dates in seconds since 1970."""
        rows = np.full((len(prefixes), len(self.names)), np.nan)
        for at, prefix in enumerate(prefixes):
            self._fill(rows[at], prefix, float(due[at]))
        return rows

    def _fill(self, row: Floats, prefix: Prefix, due_s: float) -> None:
        events = prefix.events
        now_s, start_s, last_s = seconds(prefix.now), seconds(events[0].at), seconds(events[-1].at)
        elapsed_s, allowed_s = now_s - start_s, due_s - start_s
        activities = [event.activity for event in events]
        distinct = len(set(activities))
        previous = activities[-2] if len(activities) > 1 else None
        last_gap_s = last_s - seconds(events[-2].at) if len(events) > 1 else math.nan
        row[: len(MOMENT)] = (
            elapsed_s / 3600,
            (now_s - last_s) / 3600,
            allowed_s / 3600,
            (due_s - now_s) / 3600,
            elapsed_s / allowed_s if allowed_s > 0 else 1.0,
            len(events),
            distinct,
            len(events) - distinct,
            last_gap_s / 3600,
            (last_s - start_s) / 3600 / max(len(events) - 1, 1),
            weekend_s(now_s, due_s) / 3600,
            now_s % DAY_S // 3600,
            _weekday(now_s),
            _weekday(due_s),
            self._activities.get(activities[-1], UNKNOWN),
            self._activities.get(previous, UNKNOWN) if previous is not None else UNKNOWN,
            self._classes.get(prefix.case_class, UNKNOWN),
        )
        base = len(MOMENT)
        row[base : base + len(self._counted)] = 0.0
        for activity in activities:
            at = self._counted.get(activity)
            if at is not None:
                row[base + at] += 1.0
        base += len(self._counted)
        if self.attributes:
            known = known_attributes(prefix)
            for at, (name, (kind, codes)) in enumerate(self.attributes.items()):
                row[base + at] = _value(known.get(name), kind, codes, now_s)


def known_attributes(prefix: Prefix) -> Mapping[str, Any]:
    """The newest value of each attribute that was written up to `now`."""
    known = dict(prefix.attributes)
    for event in prefix.events:
        for name, value in event.attributes.items():
            if not is_missing(value):
                known[name] = value
    return known


def is_missing(value: Any) -> bool:
    """Whether there is no value."""
    if isinstance(value, str):
        return not value
    try:
        # NaN and NaT differ from themselves; a value that cannot be compared with itself is none either.
        return value is None or bool(value != value)  # noqa: PLR0124
    except (TypeError, ValueError):
        return True


def seconds(at: datetime) -> float:
    """Seconds since 1970."""
    return (at - _EPOCH).total_seconds()


def weekend_s(since_s: float, until_s: float) -> float:
    """How many of the seconds between the two lie on a Saturday or Sunday; 0 if `until_s` comes first."""
    return max(_weekends_before(until_s) - _weekends_before(since_s), 0.0)


def _weekends_before(at_s: float) -> float:
    # 1970 began on a Thursday; counted from the Monday before.
    weeks, rest = divmod(at_s + 3 * DAY_S, 7 * DAY_S)
    return weeks * 2 * DAY_S + max(rest - 5 * DAY_S, 0.0)


def _weekday(at_s: float) -> float:
    return (at_s + 3 * DAY_S) % (7 * DAY_S) // DAY_S


def _value(value: Any, kind: Kind, codes: Mapping[str, float], now_s: float) -> float:
    if kind == "category":
        return UNKNOWN if is_missing(value) else codes.get(str(value), UNKNOWN)
    if is_missing(value):
        return math.nan
    if kind == "number":
        return _number(value)
    try:
        # As a distance: the date itself is a calendar.
        return (seconds(as_time(value)) - now_s) / 3600
    except UnreadableTime:
        return math.nan


def _attributes(closed: Sequence[Case], opened: Sequence[Prefix]) -> dict[str, tuple[Kind, Mapping[str, float]]]:
    """(kind, codes of the categories) of each attribute that can be learnt from."""
    values: dict[str, list[tuple[float, Any]]] = {}
    for case in closed:
        start_s = seconds(case.started_at)
        # As known before the last event: what only that one writes tells nothing in time.
        for name, value in known_attributes(case.prefix(case.ended_at, len(case.events) - 1)).items():
            if not is_missing(value):
                values.setdefault(name, []).append((start_s, value))
    late = _filled_in_at_the_end(closed, opened)
    found: dict[str, tuple[Kind, Mapping[str, float]]] = {}
    by_presence = sorted(values, key=lambda name: (-len(values[name]), name))
    for name in by_presence:
        if len(found) == ATTRIBUTES_MAX:
            break
        if name in late or len(values[name]) < RARE:
            continue
        kind = _kind([value for _, value in values[name]])
        if kind == "category":
            codes = _codes(Counter(str(value) for _, value in values[name]))
            if len(codes) > 1 or (codes and len(values[name]) < len(closed)):
                found[name] = (kind, codes)
        elif kind == "time" or not _grows([(start_s, _number(value)) for start_s, value in values[name]]):
            found[name] = (kind, {})
    return found


def _filled_in_at_the_end(closed: Sequence[Case], opened: Sequence[Prefix]) -> set[str]:
    if len(opened) < OPEN_MIN:
        return set()
    of_closed, of_open = _presence(case.attributes for case in closed), _presence(each.attributes for each in opened)
    return {
        name
        for name, count in of_closed.items()
        if count > 0.5 * len(closed) and of_open.get(name, 0) < 0.05 * len(opened)
    }


def _presence(attributes: Iterable[Mapping[str, Any]]) -> Counter[str]:
    return Counter(name for each in attributes for name, value in each.items() if not is_missing(value))


def _kind(values: Sequence[Any]) -> Kind:
    enough = KIND_SHARE * len(values)
    if all(isinstance(value, (bool, np.bool_)) for value in values):
        return "category"
    if sum(_is_date(value) for value in values) >= enough:
        return "time"
    if sum(not math.isnan(_number(value)) for value in values) >= enough:
        is_text = any(isinstance(value, str) for value in values)
        if not is_text or len({str(value) for value in values}) > NUMBERS_MIN:
            return "number"
    return "category"


def _is_date(value: Any) -> bool:
    if isinstance(value, str):
        if len(value) < 10 or value[4:5] != "-" or not value[:4].isdigit():
            return False
    elif not isinstance(value, datetime) and not hasattr(value, "isoformat"):
        return False
    try:
        as_time(value)
    except UnreadableTime:
        return False
    return True


def _number(value: Any) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return math.nan
    return found if math.isfinite(found) else math.nan


def _codes(counts: Counter[str]) -> dict[str, float]:
    """The most frequent categories, the most frequent first."""
    ordered = sorted(counts, key=lambda name: (-counts[name], name))
    return {name: float(at) for at, name in enumerate(ordered[:CATEGORIES_MAX]) if counts[name] >= RARE}


def _grows(pairs: Sequence[tuple[float, float]]) -> bool:
    """Whether the values rise (or fall) with the start of their cases: rank correlation."""
    starts, values = np.array(pairs).T
    known = np.isfinite(values)
    if known.sum() < 3 or np.ptp(values[known]) == 0:
        return True
    return bool(abs(np.corrcoef(_ranks(starts[known]), _ranks(values[known]))[0, 1]) > GROWS)


def _ranks(values: Floats) -> Floats:
    """Ranks in which equal values share the middle one."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle: Floats = np.cumsum(counts) - counts / 2
    return middle[place]
