"""What is written into the search box of orders."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import BadDocument
from gateway.search_text import TERMS_MAX, read_search
from persistence.search import OrderFilter, Span

NOW = datetime(2026, 3, 28, 22, 30, tzinfo=UTC)
ZURICH = ZoneInfo("Europe/Zurich")


def read(text: str, zone: str = "UTC") -> OrderFilter:
    return read_search(text, ZoneInfo(zone), NOW)


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", {}),
        ("  1042 ", {"words": ("1042",)}),
        ('acme* "two words" "a:b"', {"words": ("acme*", "two words", "a:b")}),
        ("state:held,INPROGRESS,held", {"states": ("held", "inProgress")}),
        ("state:fallout", {"is_failed": True}),
        ("state:open", {"is_open": True}),
        ("state=ended", {"is_open": False}),
        ("customer:acme", {"account": "acme"}),
        ('Account:"Acme Inc."', {"account": "Acme Inc."}),
        ("external:e-1 channel:web release:r@1", {"external_id": "e-1", "channel": "web", "release_id": "r@1"}),
        ("system:billing error:503 queue:DESK", {"system": "billing", "error_code": "503", "queue": "DESK"}),
        ("priority:high", {"priority": "high"}),
        ("risk>=60 risk<90%", {"risk": (0.6, 0.9)}),
        ("due<today", {"due": Span(None, at(28))}),
        ("due<=today", {"due": Span(None, at(29))}),
        ("due:tomorrow", {"due": Span(at(29), at(30))}),
        ("ordered>=-7d ordered<yesterday", {"ordered": Span(at(21), at(27))}),
        ("ordered>yesterday", {"ordered": Span(at(28))}),
        ("ended>=-2h", {"ended": Span(NOW - timedelta(hours=2))}),
        ("due<now", {"due": Span(None, NOW)}),
        ("due<2026-03-30", {"due": Span(None, at(30))}),
        ("due>=2026-03-30T12:00:00Z", {"due": Span(at(30, 12))}),
    ],
)
def test_a_text_is_read_into_a_filter(text: str, wanted: dict[str, Any]) -> None:
    assert read(text) == OrderFilter(**wanted)


def test_days_are_those_of_the_zone_and_may_be_shorter_than_24_hours() -> None:
    due = read("due:tomorrow", "Europe/Zurich").due

    assert due.start == datetime(2026, 3, 29, tzinfo=ZURICH)
    assert due.start == datetime(2026, 3, 28, 23, tzinfo=UTC)
    assert due.end == datetime(2026, 3, 29, 22, tzinfo=UTC)  # clocks go forward that night


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("colour:red", "'colour' is no name of the search"),
        ("state:eaten", "'eaten' is no state"),
        ("state:open,held", "'open' is no state"),
        ("state<held", "state has no order"),
        ("priority:urgent", "'urgent' is no priority"),
        ("risk:60", "risk is hardly ever"),
        ("risk>=101", "risk cannot be"),
        ("risk>=-1", "risk cannot be"),
        ("due<soon", "'soon' is no time"),
        ("due<2026-02-30", "is no time"),
        ("due>2026-12-24T10:00:00", "is no time"),
        ("customer:a account:b", "account is given twice"),
        ("due<today due<tomorrow", "due is given twice"),
        ('customer:""', "customer has no value"),
        ("customer:", "cannot be read from"),
        ('"open', "cannot be read from"),
        ("*", "needs a character"),
        ("a\0b", "printable"),
        ("x" * 1001, "at most 1000"),
        ("x " * (TERMS_MAX + 1), "more than"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(text: str, complaint: str) -> None:
    with pytest.raises(BadDocument, match=complaint) as refused:
        read(text)
    assert refused.value.path == "search"


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = read(text)
    except BadDocument:
        return
    assert isinstance(found, OrderFilter)
