"""The backtest: what is learnt from, what is asked, and that the same seed gives the same bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from delay import made_logs
from delay.backtest import TooSmall, answered, backtest, main, split
from delay.backtest_controls import Untold, dealt_anew
from delay.backtest_report import as_json, as_markdown
from delay.event_log import Case, Event, EventLog, Prefix, from_event_log
from delay.logs.baselines import EmpiricalShare, LastActivity, baselines
from delay.logs.booster import booster_library

START = datetime(2031, 3, 3, 9, tzinfo=UTC)


def hours(count: float) -> datetime:
    return START + timedelta(hours=count)


def log_of(*cases: tuple[float, float]) -> EventLog:
    """Cases by start and duration, with an event in the middle."""
    made = [
        Case(
            str(at),
            tuple(Event(name, hours(start + share * lasts)) for name, share in (("a", 0), ("b", 0.5), ("c", 1))),
            {},
            hours(start + 10),
        )
        for at, (start, lasts) in enumerate(cases)
    ]
    return EventLog("a log", tuple(made))


@pytest.fixture(scope="module")
def log():
    return made_logs.stable(5, cases=260)


@pytest.fixture(scope="module")
def report(log):
    return backtest(log, seed=1)


class Oracle:
    """Knows how each case ends, and remembers what it was shown."""

    def __init__(self, log: EventLog) -> None:
        self._ends = {case.case_id: case.ended_at for case in log.cases}
        self.asked: list[Prefix] = []
        self.train: Sequence[Case] = ()
        self.opened: Sequence[Prefix] = ()

    def fit(self, train: Sequence[Case], open_cases: Sequence[Prefix]) -> None:
        self.train, self.opened = train, open_cases

    def predict(self, prefixes: Sequence[Prefix]) -> list[tuple[float, float]]:
        self.asked += prefixes
        return [
            (float(self._ends[each.case_id] > each.due_at), (self._ends[each.case_id] - each.now).total_seconds())
            for each in prefixes
            if each.due_at is not None
        ]


def test_the_log_is_cut_where_the_case_at_seventy_percent_began():
    parts = split(log_of(*((each, 3.5) for each in range(100))))
    # 100 cases of 3.5 h, the last begins at 99 h: eligible are those that began before 99 h.
    assert parts.at == hours(69)
    assert [case.case_id for case in parts.train] == [str(each) for each in range(66)]
    assert [case.case_id for case in parts.test] == [str(each) for each in range(69, 99)]
    assert [(each.case_id, each.now, len(each.events)) for each in parts.opened] == [
        ("66", hours(69), 2),
        ("67", hours(69), 2),
        ("68", hours(69), 1),
    ]


def test_cases_of_one_event_or_no_duration_take_no_part():
    usual = log_of(*((each, 3.5) for each in range(100)))
    single = Case("single", (Event("a", hours(20)),))
    instant = Case("instant", (Event("a", hours(20)), Event("b", hours(20))))
    parts = split(EventLog("a log", (*usual.cases, single, instant)))

    assert {"single", "instant"}.isdisjoint(case.case_id for case in parts.train)


def test_a_log_that_cannot_be_split_says_so():
    with pytest.raises(TooSmall):
        split(log_of((0, 5)))
    with pytest.raises(TooSmall):
        split(log_of((0, 5), (1, 5), (2, 5)))


def test_no_model_is_shown_anything_of_the_future(log):
    oracle = Oracle(log)
    backtest(log, {"oracle": lambda: oracle}, seed=1)
    at = split(log).at

    assert all(case.ended_at < at for case in oracle.train)
    assert all(event.at <= each.now for each in oracle.asked for event in each.events)
    assert all(each.now == at and all(event.at <= at for event in each.events) for each in oracle.opened)
    asked, known = {each.case_id for each in oracle.asked}, {case.case_id for case in oracle.train}
    assert asked.isdisjoint(known | {each.case_id for each in oracle.opened})
    neighbours = sum(one.case_id == other.case_id for one, other in pairwise(oracle.asked))
    assert neighbours < 0.1 * len(oracle.asked), "shuffled"


def test_who_knows_the_truth_gets_full_marks(log):
    (found,) = backtest(log, {"oracle": lambda: Oracle(log)}, seed=1).scores.values()

    assert (found.auc.value, found.auc.low, found.skill, found.calibration_error) == (1.0, 1.0, 1.0, 0.0)
    assert (found.rest_error_days, found.average_precision) == (0.0, 1.0)
    assert all(area == 1.0 for area in found.auc_by_tick.values())


def test_the_default_model_is_held_against_every_baseline(report):
    wanted = {"default", "constant", "last activity", "empirical", "logistic"}
    areas = {name: found.auc.value for name, found in report.scores.items()}

    assert wanted <= set(areas)
    assert ("booster" in areas) is (booster_library() is not None)
    assert areas["constant"] == 0.5
    assert areas["default"] > max(area for name, area in areas.items() if name != "default") - 0.005
    assert report.scores["constant"].skill == pytest.approx(0.0, abs=1e-9)
    assert report.scores["default"].skill > 0


def test_the_same_seed_gives_the_same_bytes_and_timings_are_no_part_of_them(log, report):
    again = backtest(log, seed=1)

    assert as_json(again) == as_json(report)
    assert as_markdown(again) == as_markdown(report)
    assert again.microseconds != report.microseconds
    assert "microseconds" not in json.loads(as_json(report))


def test_the_report_names_its_log_and_that_it_is_simulated(report):
    text = as_markdown(report)

    assert text.startswith("## simulated stable\n")
    assert "made up by orderplan, from a seed" in text
    assert json.loads(as_json(report))["simulated"] is True


def test_without_the_promised_dates_it_does_worse(log, report):
    (found,) = backtest(log, {"untold": lambda: Untold(from_event_log())}, seed=1).scores.values()

    assert found.auc.value < report.scores["default"].auc.value - 0.03


def test_against_outcomes_dealt_anew_the_empirical_baseline_is_as_good_as_chance():
    found = dealt_anew(made_logs.stable(2, cases=900), EmpiricalShare, seed=1)

    assert found.value == pytest.approx(0.5, abs=0.03)
    assert found.high - found.low < 0.2


def test_baselines_say_what_they_are_named_for():
    # Half of the cases need 5 h after `b`, the others 20 h.
    train = [
        Case(str(at), (Event("a", hours(at)), Event("b", hours(at + 1)), Event("c", hours(at + (6 if at % 2 else 21)))))
        for at in range(40)
    ]
    asked = [Prefix((Event("a", hours(0)), Event("b", hours(1))), hours(1), hours(11))]
    share, mean = EmpiricalShare(), LastActivity()
    share.fit(train, [])
    mean.fit(train, [])

    assert share.predict(asked)[0][0] == 0.5
    assert mean.predict(asked)[0][1] == 12.5 * 3600
    assert set(baselines()) >= {"constant", "last activity", "empirical", "logistic"}


class Odd:
    """Answers whatever it was made with."""

    def __init__(self, answers: list[tuple[float, float]]) -> None:
        self._answers = answers

    def predict(self, prefixes: Sequence[Prefix]) -> list[tuple[float, float]]:
        return self._answers


@pytest.mark.parametrize("answers", [[], [(0.5, math.nan)], [(1.5, 0.0)], [(-0.1, 0.0)], [(0.5, 1.0), (0.5, 1.0)]])
def test_answers_that_cannot_be_are_refused(answers):
    with pytest.raises(ValueError, match="answer"):
        answered(Odd(answers), [Prefix((Event("a", START),), START, hours(1))])


def test_a_csv_file_is_tested_from_the_command_line(tmp_path, capsys):
    path = tmp_path / "orders.csv"
    lines = ["case,step,when,due,class"]
    for case in made_logs.small(3, cases=120).cases:
        assert case.due_at is not None
        lines += [
            f"{case.case_id},{event.activity},{event.at.isoformat()},{case.due_at.isoformat()},{case.case_class}"
            for event in case.events
        ]
    path.write_text("\n".join(lines), encoding="utf-8")
    columns = ["--case-id", "case", "--activity", "step", "--at", "when", "--due-at", "due", "--case-class", "class"]
    main([str(path), *columns, "--json"])
    found = json.loads(capsys.readouterr().out)

    assert (found["log"], found["simulated"], found["counts"]["cases"]) == ("orders", False, 120)
    main([str(path), *columns])
    assert capsys.readouterr().out.startswith("## orders\n")
