"""What is written into the search box of orders, read into a filter: `acme state:held,pending due<today risk>=60`.

Words without a name find an order by its id, its external id or its account. Everything else is name, sign and value;
a value with blanks stands in quotes. One reader for the console, saved views, jobs and whoever calls the API.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from domain.errors import BadDocument
from domain.priorities import CLASSES
from gateway.documents import read_instant
from gateway.tmf630 import ORDER_STATES
from persistence.search import OrderFilter, Span

TEXT_LENGTH_MAX: Final = 1_000
TERMS_MAX: Final = 30
_TERM: Final = re.compile(
    r"\s*(?:(?P<name>[A-Za-z]+)(?P<sign>>=|<=|[:=<>])|(?![A-Za-z]+[:=<>]))"
    r'(?:"(?P<quoted>[^"]*)"|(?P<plain>[^\s"]+))'
)
_NAMES: Final = {
    "customer": "account",
    "account": "account",
    "external": "external_id",
    "channel": "channel",
    "priority": "priority",
    "release": "release_id",
    "system": "system",
    "error": "error_code",
    "queue": "queue",
}
_TIMES: Final = ("ordered", "ended", "due")
_GROUPS: Final[dict[str, dict[str, Any]]] = {
    "open": {"is_open": True},
    "ended": {"is_open": False},
    "fallout": {"is_failed": True},
}
"""What `state:` names besides the states of orders."""
KNOWN: Final = ("state", *_NAMES, *_TIMES, "risk")
_STEP: Final = re.compile(r"([+-]\d{1,4})([hd])")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_DAYS: Final = {"yesterday": -1, "today": 0, "tomorrow": 1}
_TICK: Final = timedelta(microseconds=1)


def read_search(text: str, zone: ZoneInfo, now: datetime, at: str = "search") -> OrderFilter:
    """The filter that a text asks for.

    Args:
        text: of the search box; empty asks for all orders.
        zone: where its days begin.
        now: what `today` and `-2h` are reckoned from.
        at: path of the text, for complaints.
    Raises:
        BadDocument: a name is not known or given twice, or a value cannot be read.
    """
    if len(text) > TEXT_LENGTH_MAX or not all(each.isprintable() or each.isspace() for each in text):
        raise BadDocument(f"must be printable text of at most {TEXT_LENGTH_MAX} characters", path=at)
    found = OrderFilter()
    seen: set[str] = set()
    place, terms = 0, 0
    text = text.rstrip()
    while place < len(text):
        match = _TERM.match(text, place)
        if match is None or (terms := terms + 1) > TERMS_MAX:
            what = f"has more than {TERMS_MAX} terms" if match else f"cannot be read from {text[place:][:40]!r} on"
            raise BadDocument(what, path=at, mend='write name:value, with "quotes" round blanks')
        place = match.end()
        value = match["quoted"] if match["quoted"] is not None else match["plain"]
        if match["name"] is None:
            found = replace(found, words=(*found.words, _word(value, at)))
            continue
        name, sign = match["name"].lower(), ":" if match["sign"] == "=" else match["sign"]
        given = f"{name}{sign}" if name in _TIMES or name == "risk" else _NAMES.get(name, name)
        if given in seen:
            raise BadDocument(f"{name} is given twice", path=at, mend="keep one; alternatives of state have commas")
        seen.add(given)
        found = _with_term(found, name, sign, value, zone, now, at)
    return found


def _word(value: str, at: str) -> str:
    if not value.rstrip("*"):
        raise BadDocument("a word needs a character before the *", path=at)
    return value


def _with_term(
    found: OrderFilter, name: str, sign: str, value: str, zone: ZoneInfo, now: datetime, at: str
) -> OrderFilter:
    if not value:
        raise BadDocument(f"{name} has no value", path=at)
    if name in _TIMES:
        span: dict[str, Any] = {name: _narrowed(getattr(found, name), sign, value, zone, now, at)}
        return replace(found, **span)
    if name == "risk":
        return replace(found, risk=_risk(found.risk, sign, value, at))
    if name != "state" and name not in _NAMES:
        known = ", ".join(KNOWN)
        raise BadDocument(
            f"{name!r} is no name of the search", path=at, mend=f"use {known}; quote a word that has a colon"
        )
    if sign != ":":
        raise BadDocument(f"{name} has no order", path=at, mend=f"write {name}:{value}")
    if name == "state":
        return _states(found, value, at)
    if name == "priority" and value not in CLASSES:
        raise BadDocument(f"{value!r} is no priority", path=at, mend=f"use {', '.join(CLASSES)}")
    named: dict[str, Any] = {_NAMES[name]: value}
    return replace(found, **named)


def _states(found: OrderFilter, value: str, at: str) -> OrderFilter:
    names = [each.strip() for each in value.split(",")]
    if len(names) == 1 and names[0].lower() in _GROUPS:
        return replace(found, **_GROUPS[names[0].lower()])
    by_lower = {each.lower(): each for each in ORDER_STATES}
    for each in names:
        if each.lower() not in by_lower:
            known = ", ".join([*_GROUPS, *sorted(ORDER_STATES)])
            raise BadDocument(f"{each!r} is no state of an order", path=at, mend=f"use {known}")
    return replace(found, states=tuple(dict.fromkeys(by_lower[each.lower()] for each in names)))


def _risk(
    before: tuple[float | None, float | None], sign: str, value: str, at: str
) -> tuple[float | None, float | None]:
    digits = value.removesuffix("%")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 3 and int(digits) <= 100):
        raise BadDocument(f"risk cannot be {value!r}", path=at, mend="write risk>=60, in percent")
    share = int(digits) / 100
    bounds: dict[str, tuple[float | None, float | None]] = {
        ">=": (share, before[1]),
        ">": (share + 1e-9, before[1]),
        "<": (before[0], share),
        "<=": (before[0], share + 1e-9),
    }
    if sign not in bounds:
        raise BadDocument("risk is hardly ever exactly so", path=at, mend=f"write risk>={value}")
    return bounds[sign]


def _narrowed(before: Span, sign: str, value: str, zone: ZoneInfo, now: datetime, at: str) -> Span:
    start, end = _meant(value, zone, now, at)
    bounds: dict[str, Callable[[], Span]] = {
        "<": lambda: Span(before.start, start),
        "<=": lambda: Span(before.start, end),
        ">": lambda: Span(end, before.end),
        ">=": lambda: Span(start, before.end),
        ":": lambda: Span(start, end),
    }
    return bounds[sign]()


def _meant(value: str, zone: ZoneInfo, now: datetime, at: str) -> tuple[datetime, datetime]:
    """The first instant that a value means, and the first one after it: of a day its midnights."""
    here = now.astimezone(zone)
    try:
        if value.lower() in _DAYS:
            return _day(here + timedelta(days=_DAYS[value.lower()]))
        if _DATE.fullmatch(value):
            return _day(datetime.fromisoformat(value).replace(tzinfo=zone))
        if (step := _STEP.fullmatch(value)) is not None:
            number = int(step[1])
            if step[2] == "d":
                return _day(here + timedelta(days=number))
            instant = now + timedelta(hours=number)
            return instant, instant + _TICK
    except (ValueError, OverflowError):
        pass
    else:
        given = now if value.lower() == "now" else read_instant(value)
        if given is not None:
            return given, given + _TICK
    raise BadDocument(
        f"{value[:40]!r} is no time", path=at, mend="write today, tomorrow, yesterday, now, -7d, +2h or 2026-12-24"
    )


def _day(instant: datetime) -> tuple[datetime, datetime]:
    begin = instant.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    # By the calendar, not by 24 hours: days on which clocks change are longer or shorter.
    return begin, begin + timedelta(days=1)
