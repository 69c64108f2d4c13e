"""What is asked of the numbers for managers, and how they are written as CSV."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from domain.errors import BadDocument
from gateway.numbers import csv_of, read_window, span_of
from gateway.queries import read_zone
from persistence.numbers import COLUMNS

PAGE = (Path(__file__).parents[2] / "docs" / "NUMBERS.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("text", "hours"), [("1h", 1), ("24h", 24), ("7d", 168), ("92d", 2208)])
def test_a_window_is_a_number_of_hours_or_days(text: str, hours: int) -> None:
    assert read_window(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "0h", "93d", "2209h", "1", "h", "-1h", "1.5h", "1 h", "1w", "99999h", "\uff11h"])
def test_any_other_window_is_refused_with_the_mend(text: str) -> None:
    with pytest.raises(BadDocument) as refused:
        read_window(text)
    assert (refused.value.path, refused.value.mend) == ("window", "write 1h to 92d")


@pytest.mark.parametrize("text", ["", "Mars/Olympus", "../etc/passwd", "/etc/localtime", "A" * 65, "Europe/"])
def test_what_is_no_time_zone_is_refused(text: str) -> None:
    with pytest.raises(BadDocument, match="zone"):
        read_zone(text)


def test_a_window_begins_with_its_hour_and_today_is_the_day_of_the_zone() -> None:
    now = datetime(2030, 3, 31, 22, 30, tzinfo=UTC)
    span = span_of(now, timedelta(hours=2), ZoneInfo("Europe/Amsterdam"))

    assert span.since == datetime(2030, 3, 31, 20, tzinfo=UTC)
    assert span.hours == 2.5
    # It is the first of April there already.
    assert span.day_starts_at == datetime(2030, 3, 31, 22, tzinfo=UTC)
    assert span.day_ends_at == datetime(2030, 4, 1, 22, tzinfo=UTC)


def test_the_day_on_which_clocks_change_has_an_hour_less() -> None:
    span = span_of(datetime(2030, 3, 31, 12, tzinfo=UTC), timedelta(hours=1), ZoneInfo("Europe/Amsterdam"))

    assert span.day_ends_at - span.day_starts_at == timedelta(hours=23)


def test_csv_has_the_columns_in_order_and_nothing_for_what_cannot_be_told() -> None:
    at = datetime(2030, 1, 31, 12, tzinfo=UTC)
    rows: list[dict[str, Any]] = [
        {"b": None, "a": 'say "x", y', "c": at, "d": True},
        {"a": "two\nlines", "b": 0.5, "c": None, "d": False},
    ]
    written = csv_of(("a", "b", "c", "d"), rows)

    assert written.startswith("a,b,c,d\r\n")
    assert list(csv.reader(io.StringIO(written, newline=""))) == [
        ["a", "b", "c", "d"],
        ['say "x", y', "", "2030-01-31T12:00:00+00:00", "true"],
        ["two\nlines", "0.5", "", "false"],
    ]


@pytest.mark.parametrize("table", COLUMNS)
def test_the_page_defines_every_column(table: str) -> None:
    assert f"`{table}`" in PAGE
    assert [column for column in COLUMNS[table] if f"`{column}`" not in PAGE] == []


def test_a_name_is_no_formula_in_csv() -> None:
    assert csv_of(("a", "b"), [{"a": "=1+1", "b": -1.5}]) == "a,b\r\n'=1+1,-1.5\r\n"
