"""A plain event log: what happened in each case and when, nothing of plans. Any order line, ticket or claim fits in.

Also the entry for such logs: `from_event_log` makes the model that learns from them. What comes from foreign tools is
read by `delay.foreign_logs`; this module has the shapes only, and a small reader of CSV files.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from delay.event_log_model import EventLogModel

MILLISECONDS_FROM: Final = 1e11
"""A number of this size counts milliseconds, not seconds: as seconds it would be the year 5138."""


class Event(NamedTuple):
    """Something that happened in a case; `attributes` are what was written with it."""

    activity: str
    at: datetime
    attributes: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Case:
    """A case that has ended, or all that is known of one that has not. Events are in the order of time.

    `attributes` are those known from the start. `due_at` is the promise, None where nothing was promised.
    `case_class` says which cases are alike in what they need.
    """

    case_id: str
    events: tuple[Event, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    due_at: datetime | None = None
    case_class: str = ""

    @property
    def started_at(self) -> datetime:
        """Time of the first event."""
        return self.events[0].at

    @property
    def ended_at(self) -> datetime:
        """Time of the last event."""
        return self.events[-1].at

    @property
    def duration_s(self) -> float:
        """Seconds from the first event to the last."""
        return (self.ended_at - self.started_at).total_seconds()

    def prefix(self, now: datetime, count: int | None = None, due_at: datetime | None = None) -> Prefix:
        """What is known at `now`: the first `count` events, or all up to then."""
        if count is None:
            count = sum(event.at <= now for event in self.events)
        return Prefix(
            events=self.events[:count],
            now=now,
            due_at=due_at or self.due_at,
            attributes=self.attributes,
            case_class=self.case_class,
            case_id=self.case_id,
        )


@dataclass(frozen=True, slots=True)
class Prefix:
    """A case at `now`, without its future: what a model of event logs is asked about."""

    events: tuple[Event, ...]
    now: datetime
    due_at: datetime | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    case_class: str = ""
    case_id: str = ""


@dataclass(frozen=True, slots=True)
class EventLog:
    """Cases by their start. `skipped_lines` counts what could not be read; `simulated` is True of logs made up here."""

    name: str
    cases: tuple[Case, ...]
    skipped_lines: int = 0
    simulated: bool = False

    @property
    def ended_at(self) -> datetime:
        """Time of the log's last event."""
        return max(case.ended_at for case in self.cases)


class UnreadableTime(ValueError):
    """A value that should be a time is none."""


def as_time(value: Any) -> datetime:
    """The moment, in UTC, of a datetime, a date, ISO text or seconds (large numbers: milliseconds) since 1970.

    Raises:
        UnreadableTime: it is none of these.
    """
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if hasattr(value, "astype"):
        # numpy keeps nanoseconds, which Python's own type cannot hold.
        value = value.astype("datetime64[us]").item() if value.dtype.kind == "M" else value.item()
        return as_time(value)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    try:
        if isinstance(value, str):
            return as_time(datetime.fromisoformat(value.strip()))
        seconds = float(value)
        return datetime.fromtimestamp(seconds / 1000 if abs(seconds) > MILLISECONDS_FROM else seconds, UTC)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise UnreadableTime(f"{value!r} is no time") from error


def read_csv(
    path: Path,
    *,
    case_id: str,
    activity: str,
    at: str,
    due_at: str | None = None,
    case_class: str | None = None,
    case_attributes: Sequence[str] = (),
    event_attributes: Sequence[str] | None = None,
    time_format: str | None = None,
) -> EventLog:
    """The log of a CSV file with one event a line; arguments are names of its columns.

    Lines without case, activity or readable time are skipped and counted. Columns that nothing names are attributes of
    the events, unless `event_attributes` says which. `time_format` is for times that are not ISO, as in `strptime`.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        head = file.read(65_536)
        file.seek(0)
        delimiter = max(",;\t|", key=head.partition("\n")[0].count)
        reader = csv.DictReader(file, delimiter=delimiter)
        columns = [name for name in reader.fieldnames or () if name]
        missing = {case_id, activity, at} - set(columns)
        if missing:
            raise ValueError(f"{path.name} has no column {', '.join(sorted(missing))}; it has {', '.join(columns)}")
        used = {case_id, activity, at, due_at, case_class, *case_attributes}
        of_events = [name for name in columns if name not in used] if event_attributes is None else event_attributes
        events: dict[str, list[Event]] = {}
        about: dict[str, dict[str, tuple[datetime, str]]] = {}
        skipped = 0
        for line in reader:
            try:
                when = _time(line[at], time_format)
            except (TypeError, ValueError):
                skipped += 1
                continue
            if not line[case_id] or not line[activity]:
                skipped += 1
                continue
            attributes = {name: line[name] for name in of_events if line.get(name)}
            events.setdefault(line[case_id], []).append(Event(line[activity], when, attributes))
            known = about.setdefault(line[case_id], {})
            for name in (due_at, case_class, *case_attributes):
                # The earliest value counts: what is written later was not known at the start.
                if name and line.get(name) and when < known.get(name, (datetime.max.replace(tzinfo=UTC),))[0]:
                    known[name] = when, line[name]
    cases = []
    for each, found in events.items():
        values = {name: value for name, (_, value) in about[each].items()}
        cases.append(
            Case(
                case_id=each,
                events=tuple(sorted(found, key=lambda event: event.at)),
                attributes={name: values[name] for name in case_attributes if name in values},
                due_at=_due(values.get(due_at or ""), time_format),
                case_class=values.get(case_class or "", ""),
            )
        )
    return EventLog(path.stem, tuple(sorted(cases, key=lambda case: (case.started_at, case.case_id))), skipped)


def _time(text: str, time_format: str | None) -> datetime:
    # `as_time` adds the zone.
    return as_time(datetime.strptime(text, time_format) if time_format else text)  # noqa: DTZ007


def _due(text: str | None, time_format: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return _time(text, time_format)
    except ValueError:
        return None


def from_event_log(seed: int = 0) -> EventLogModel:
    """A delay model for plain event logs, which learns with `fit` and answers with `predict`.

    `fit(train, open_cases)` gets cases that have ended, and those open at that moment as prefixes. `predict(prefixes)`
    returns `(p_late, remaining_s)` for each, in their order. Besides `Case` and `Prefix` both take what other tools
    have: objects with attributes of these names or usual ones (`delay.foreign_logs`), mappings, and tuples.
    """
    # numpy and the booster load only where somebody has a log.
    from delay.event_log_model import EventLogModel

    return EventLogModel(seed=seed)
