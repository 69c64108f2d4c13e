"""Reads cases and prefixes of other tools: whatever the parts are called, and whether they are members, keys or places.

A case or prefix may be an object, a mapping, or a tuple or list. Of the first two the parts are found by the names
below. Of a tuple they are told by what they are: text is the id, then the class; a list is the events; a mapping the
attributes; and a time is `now`, then `due_at` (of a case: `due_at`). A list of events that has members of its own
(`now`, `due_at`) is an object. An event is the same in small: activity, time, attributes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from delay.event_log import Case, Event, Prefix, UnreadableTime, as_time

EVENTS: Final = ("events", "prefix", "trace", "steps", "history")
ACTIVITY: Final = ("activity", "concept:name", "event", "name", "act")
AT: Final = ("at", "timestamp", "time", "time:timestamp", "ts", "when")
ATTRIBUTES: Final = ("attributes", "attrs", "attr", "data")
CASE_ATTRIBUTES: Final = ("case_attributes", "case_attrs", "static", *ATTRIBUTES)
CASE_ID: Final = ("case_id", "id", "case", "cid", "case:concept:name")
CASE_CLASS: Final = ("case_class", "class", "class_", "klass", "cls", "kind", "category")
DUE_AT: Final = ("due_at", "due", "promised_at", "promise", "deadline")
NOW: Final = ("now", "now_at", "cut_at", "t", "at", "time", "timestamp")


class UnreadableCase(ValueError):
    """Something that should be a case or a prefix has no events or no times that can be read."""


def as_case(given: Any) -> Case:
    """A case that has ended.

    Raises:
        UnreadableCase: its events are not to be found or have no times.
    """
    if isinstance(given, Case) and _is_clean(given.events):
        return given
    parts = _parts(given, times=("due_at",))
    return Case(
        case_id=_text(parts.get("case_id")),
        events=_events(parts.get("events"), given),
        attributes=_mapping(parts.get("attributes")),
        due_at=_time(parts.get("due_at")),
        case_class=_text(parts.get("case_class")),
    )


def as_prefix(given: Any) -> Prefix:
    """A case at a moment. Events after `now` are dropped: nobody could have known them.

    Raises:
        UnreadableCase: its events or its `now` are not to be found.
    """
    if isinstance(given, Prefix) and _is_clean(given.events) and given.events[-1].at <= given.now:
        return given
    parts = _parts(given, times=("now", "due_at"))
    events = _events(parts.get("events"), given)
    now = _time(parts.get("now")) or events[-1].at
    known = tuple(event for event in events if event.at <= now)
    if not known:
        raise UnreadableCase(f"case {_text(parts.get('case_id'))!r} has no event up to {now}")
    return Prefix(
        events=known,
        now=now,
        due_at=_time(parts.get("due_at")),
        attributes=_mapping(parts.get("attributes")),
        case_class=_text(parts.get("case_class")),
        case_id=_text(parts.get("case_id")),
    )


_NAMES: Final = {
    "events": EVENTS,
    "now": NOW,
    "due_at": DUE_AT,
    "attributes": CASE_ATTRIBUTES,
    "case_class": CASE_CLASS,
    "case_id": CASE_ID,
}


def _parts(given: Any, times: Sequence[str]) -> dict[str, Any]:
    named = {part: _get(given, names) for part, names in _NAMES.items() if part not in {"now", "due_at"} - {*times}}
    if isinstance(named["case_id"], Mapping):
        # `case` may also be all that is known of the case.
        about = named["case_id"]
        named["attributes"] = about if named["attributes"] is None else named["attributes"]
        named["case_id"] = None
    if named["events"] is not None:
        return named
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise UnreadableCase(f"a {type(given).__name__} has no {' or '.join(EVENTS)}")
    if any(named.get(part) is not None for part in times) or all(map(_is_event, given)):
        return named | {"events": list(given)}
    return _by_kind(given, times)


def _by_kind(given: Sequence[Any], times: Sequence[str]) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    free_times, free_texts = list(times), ["case_id", "case_class"]
    for part in given:
        if isinstance(part, Mapping):
            parts.setdefault("attributes", part)
        elif isinstance(part, Sequence) and not isinstance(part, str):
            parts.setdefault("events", part)
        elif isinstance(part, str) and not _is_time(part):
            if free_texts:
                parts[free_texts.pop(0)] = part
        elif part is None or _is_time(part):
            if free_times:
                parts[free_times.pop(0)] = part
        else:
            raise UnreadableCase(f"a {type(part).__name__} is no part of a case")
    return parts


def _is_event(given: Any) -> bool:
    if isinstance(given, Event):
        return True
    if isinstance(given, Mapping):
        return _get(given, ACTIVITY) is not None
    if isinstance(given, Sequence) and not isinstance(given, str):
        return 2 <= len(given) <= 3 and isinstance(given[0], str) and _is_time(given[1])
    return _get(given, ACTIVITY) is not None and _get(given, AT) is not None


def _events(given: Any, source: Any) -> tuple[Event, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise UnreadableCase(f"the events of a {type(source).__name__} are no list")
    events = tuple(each if _is_clean((each,)) else _event(each) for each in given)
    if not events:
        raise UnreadableCase("a case has no events")
    if any(later.at < earlier.at for earlier, later in pairwise(events)):
        # Stable: events of one moment stay in the order in which they were told.
        return tuple(sorted(events, key=lambda event: event.at))
    return events


def _is_clean(events: tuple[Any, ...]) -> bool:
    return bool(events) and all(type(each) is Event and each.at.tzinfo is UTC for each in events)


def _event(given: Any) -> Event:
    try:
        if isinstance(given, Sequence) and not isinstance(given, str):
            activity, at, *rest = given
            return Event(str(activity), as_time(at), _mapping(rest[0]) if rest else {})
        activity, at = _get(given, ACTIVITY), _get(given, AT)
        attributes = _get(given, ATTRIBUTES)
        if attributes is None and isinstance(given, Mapping):
            attributes = {name: value for name, value in given.items() if name not in {*ACTIVITY, *AT}}
        return Event(str(activity), as_time(at), _mapping(attributes))
    except (TypeError, ValueError) as error:
        raise UnreadableCase(f"{given!r:.200} is no event: activity, time, attributes") from error


def _get(given: Any, names: Sequence[str]) -> Any:
    if isinstance(given, Mapping):
        return next((given[name] for name in names if given.get(name) is not None), None)
    for name in names:
        found = getattr(given, name, None)
        # Methods of lists and tuples (`index`, `count`) are no parts.
        if found is not None and not callable(found):
            return found
    return None


def _time(given: Any) -> datetime | None:
    # NaT and NaN are the only values that differ from themselves.
    if given is None or given == "" or given != given or given in {math.inf, -math.inf}:  # noqa: PLR0124
        return None
    return as_time(given)


def _is_time(given: Any) -> bool:
    if isinstance(given, bool):
        return False
    try:
        as_time(given)
    except UnreadableTime:
        return False
    return True


def _mapping(given: Any) -> Mapping[str, Any]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return given
    try:
        return dict(given)
    except (TypeError, ValueError):
        return {}


def _text(given: Any) -> str:
    return "" if given is None else str(given)
