"""Event logs: reading them from files and from what other tools have, due dates, and the moments at which cases are
scored.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

import delay
from delay.event_log import Case, Event, Prefix, UnreadableTime, as_time, read_csv
from delay.foreign_logs import UnreadableCase, as_case, as_prefix
from delay.score_points import DueRule, percentile, points_of

START = datetime(2031, 3, 3, 9, tzinfo=UTC)


def hours(count: float) -> datetime:
    return START + timedelta(hours=count)


def case(*at_h: float, due_h: float | None = None, case_class: str = "", case_id: str = "c") -> Case:
    events = tuple(Event(f"step {at}", hours(each)) for at, each in enumerate(at_h))
    return Case(case_id, events, {}, hours(due_h) if due_h is not None else None, case_class)


EVENTS = (Event("order", hours(0), {"size": 3}), Event("ship", hours(5), {}))
TUPLES = [("order", hours(0), {"size": 3}), ("ship", hours(5), None)]


class Row(NamedTuple):
    trace: list[Any]
    now: datetime
    due: datetime
    attrs: dict[str, Any]
    cls: str
    cid: str


class Trace(list[Any]):
    """A list of events that also knows the moment, as some harnesses have it."""

    now = hours(6)
    due_at = hours(9)
    attributes = {"region": "north"}  # noqa: RUF012
    case_class = "a"
    case_id = "c"


WANTED = Prefix(EVENTS, hours(6), hours(9), {"region": "north"}, "a", "c")


@pytest.mark.parametrize(
    "given",
    [
        WANTED,
        SimpleNamespace(
            events=TUPLES, now=hours(6), due_at=hours(9), attributes={"region": "north"}, case_class="a", case_id="c"
        ),
        {
            "prefix": TUPLES,
            "now": hours(6).isoformat(),
            "due": hours(9).timestamp(),
            "case_attributes": {"region": "north"},
            "class": "a",
            "id": "c",
        },
        ("c", TUPLES, hours(6), hours(9), {"region": "north"}, "a"),
        (TUPLES, hours(6), hours(9), {"region": "north"}, "c", "a"),
        Trace(TUPLES),
        {
            "events": [
                {"activity": "order", "timestamp": hours(0).timestamp() * 1000, "size": 3},
                SimpleNamespace(activity="ship", timestamp=hours(5).replace(tzinfo=None), attributes={}),
            ],
            "now": np.datetime64(hours(6).replace(tzinfo=None)),
            "due_at": hours(9),
            "attributes": {"region": "north"},
            "case_class": "a",
            "case_id": "c",
        },
        Row(TUPLES, hours(6), hours(9), {"region": "north"}, "a", "c"),
    ],
    ids=["own", "object", "mapping", "tuple", "another order", "list with members", "mixed events", "named tuple"],
)
def test_a_prefix_is_read_whatever_its_parts_are_called_and_wherever_they_are(given):
    assert as_prefix(given) == WANTED


def test_a_case_is_read_like_a_prefix_and_needs_no_due_date():
    wanted = Case("c", EVENTS, {"region": "north"}, None, "a")

    assert as_case({"id": "c", "trace": TUPLES, "attrs": {"region": "north"}, "cls": "a"}) == wanted
    assert as_case(("c", TUPLES, None, {"region": "north"}, "a")) == wanted
    assert as_case(TUPLES) == Case("", EVENTS)


@pytest.mark.parametrize("due", [None, "", float("nan"), float("inf"), np.datetime64("NaT")])
def test_no_due_date_is_told_in_many_ways(due):
    assert as_prefix({"events": TUPLES, "now": hours(6), "due_at": due}).due_at is None


def test_what_is_called_case_may_be_its_id_or_its_attributes():
    given = {"events": TUPLES, "now": hours(6)}

    assert as_prefix({**given, "case": "c"}).case_id == "c"
    assert as_prefix({**given, "case": {"region": "north"}}).attributes == {"region": "north"}


def test_the_due_date_of_a_case_in_a_tuple_is_its_time():
    assert as_case(("c", TUPLES, hours(9))).due_at == hours(9)


def test_events_after_now_are_dropped_and_unordered_ones_sorted():
    late = (*reversed(EVENTS), Event("pay", hours(7), {}))

    assert as_prefix((late, hours(6))).events == EVENTS
    assert as_prefix(Prefix(tuple(sorted(late, key=lambda event: event.at)), hours(6))).events == EVENTS


def test_a_prefix_without_now_stands_at_its_last_event():
    assert as_prefix(TUPLES).now == hours(5)


@pytest.mark.parametrize("given", [3, "text", [], {"now": START}, [("order",)], ([], START), (EVENTS, hours(-1))])
def test_what_is_no_prefix_is_refused(given):
    with pytest.raises(UnreadableCase):
        as_prefix(given)


@pytest.mark.parametrize(
    "given",
    [
        START,
        START.replace(tzinfo=None),
        START.isoformat(),
        "2031-03-03T09:00:00Z",
        "2031-03-03 10:00+01:00",
        START.timestamp(),
        int(START.timestamp() * 1000),
        np.datetime64("2031-03-03T09:00:00.000000000"),
        np.float64(START.timestamp()),
    ],
    ids=str,
)
def test_a_moment_is_read_in_every_usual_form(given):
    assert as_time(given) == START


def test_a_date_is_its_midnight_and_text_is_no_time():
    assert as_time(date(2031, 3, 3)) == START.replace(hour=0)
    with pytest.raises(UnreadableTime):
        as_time("soon")


def test_a_csv_file_is_read_with_the_columns_named_and_broken_lines_are_counted(tmp_path):
    path = tmp_path / "orders.csv"
    path.write_text(
        "Order;Step;When;Promise;Kind;Region;User\n"
        "b;enter;2031-03-04 09:00;2031-03-09;x;north;ann\n"
        "a;ship;2031-03-03 12:00;2031-03-20;y;;bob\n"
        "a;enter;2031-03-03 09:00;2031-03-08;y;south;\n"
        ";enter;2031-03-03 09:00;;;;\n"
        "a;enter;some day;;;;\n"
        "a;enter\n",
        encoding="utf-8-sig",
    )
    log = read_csv(
        path,
        case_id="Order",
        activity="Step",
        at="When",
        due_at="Promise",
        case_class="Kind",
        case_attributes=["Region"],
    )
    first, second = log.cases

    assert (log.name, log.skipped_lines, log.simulated) == ("orders", 3, False)
    assert [event.activity for event in first.events] == ["enter", "ship"]
    assert (first.case_id, first.case_class, first.attributes) == ("a", "y", {"Region": "south"})
    assert first.due_at == datetime(2031, 3, 8, tzinfo=UTC), "what was written first counts, wherever it stands"
    assert first.events[1].attributes == {"User": "bob"}
    assert (second.case_id, second.started_at) == ("b", datetime(2031, 3, 4, 9, tzinfo=UTC))


def test_a_csv_file_without_a_column_says_which(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("case,what,when\n1,a,2031-01-01\n", encoding="utf-8")

    with pytest.raises(ValueError, match=r"log.csv has no column done; it has case, what, when"):
        read_csv(path, case_id="case", activity="done", at="when")


def test_times_of_a_csv_file_may_have_a_format_of_their_own(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("case,what,when\n1,a,03.03.2031 09:00\n", encoding="utf-8")
    log = read_csv(path, case_id="case", activity="what", at="when", time_format="%d.%m.%Y %H:%M")

    assert log.cases[0].started_at == START


def test_a_case_without_promise_is_due_when_most_of_its_class_have_ended():
    closed = [case(0, each, case_class="quick") for each in range(1, 52)] + [case(0, 1000, case_class="rare")] * 10
    rule = DueRule(closed)

    assert rule.due_at(case(0, 1, case_class="quick")) == hours(41)
    assert rule.due_at(case(0, 1, case_class="rare")) == rule.due_at(case(0, 1, case_class="new")), "too few of a class"
    assert rule.due_at(case(0, 1, due_h=3, case_class="quick")) == hours(3)
    assert DueRule([]).due_at(case(0, 1)) == START


def test_a_percentile_lies_on_a_straight_line_between_neighbours():
    assert percentile([4.0, 0.0, 1.0, 2.0], 0.5) == 1.5
    assert percentile([], 0.5) == 0.0


def test_a_case_is_scored_at_its_events_but_the_last_and_at_ticks_until_its_end():
    points = list(points_of(case(0, 30, 60, 120, due_h=100), hours(100)))
    found = [(point.prefix.now, len(point.prefix.events), point.tick, point.is_past_due) for point in points]

    assert found == [
        (hours(0), 1, None, False),
        (hours(30), 2, None, False),
        (hours(60), 3, None, False),
        (hours(25), 1, 0.25, False),
        (hours(50), 2, 0.5, False),
        (hours(75), 3, 0.75, False),
        (hours(90), 3, 0.9, False),
    ]


def test_an_event_past_the_due_date_counts_as_such_and_the_twenty_first_not_at_all():
    points = list(points_of(case(*range(40)), hours(10)))
    events = [point for point in points if point.tick is None]

    assert len(events) == 20
    assert [point.is_past_due for point in events] == [False] * 11 + [True] * 9


def test_an_open_case_is_scored_at_all_its_events_and_at_no_tick_to_come():
    points = list(points_of(case(0, 30, due_h=100), hours(100), until=hours(60)))

    assert [(point.prefix.now, point.tick) for point in points] == [
        (hours(0), None),
        (hours(30), None),
        (hours(25), 0.25),
        (hours(50), 0.5),
    ]


def test_the_entry_for_event_logs_is_there_and_costs_nothing_until_it_is_used():
    assert delay.from_event_log().predict([]) == []
