"""The parts of the event-log model: estimates, features, history, trial, recalibration, remaining time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from delay import made_logs
from delay.backtest import split
from delay.event_log import Case, Event
from delay.logs.booster import booster_library
from delay.logs.empirical import Empirical, visits_of
from delay.logs.features import LogFeatures, seconds, weekend_s
from delay.logs.history import History, table_of
from delay.logs.learner import Learner, Weights
from delay.logs.trial import Trial
from delay.metrics import brier
from delay.recalibration import Recalibration, learnt, recalibrated
from delay.remaining import Spread
from delay.score_points import DueRule

START = datetime(2031, 3, 3, 9, tzinfo=UTC)
HOUR_S = 3600.0


def hours(count: float) -> datetime:
    return START + timedelta(hours=count)


@pytest.fixture(scope="module")
def parts():
    return split(made_logs.stable(3, cases=360))


def test_what_is_learnt_gets_more_weight_with_more_cases_and_none_with_few():
    assert Weights.usual(10, has_trees=True) == Weights(1.0, 0.0, 0.0)
    few, many = Weights.usual(100, has_trees=True), Weights.usual(100_000, has_trees=True)

    assert few.empirical > many.empirical == pytest.approx(1 / 3, abs=0.01)
    assert Weights.usual(100_000, has_trees=False).trees == 0


def quick_and_slow(count: int) -> list[Case]:
    """Every other case takes 10 hours, the others 100; one begins each hour."""
    return [
        Case(str(at), (Event("a", hours(at)), Event("b", hours(at + (10 if at % 2 else 100))))) for at in range(count)
    ]


def test_open_cases_keep_the_estimate_from_forgetting_the_slow_ones():
    cutoff = hours(150)
    cases = [case for case in quick_and_slow(150) if case.started_at >= hours(80)]
    closed = [case for case in cases if case.ended_at < cutoff]
    known = [visit for at, case in enumerate(closed) for visit in visits_of(at, case.prefix(case.ended_at), True)]
    opened = [
        visit
        for at, case in enumerate(each for each in cases if each.ended_at >= cutoff)
        for visit in visits_of(1_000 + at, case.prefix(cutoff), False)
    ]
    asked, due_s = [cases[0].prefix(cases[0].started_at)], np.array([seconds(cases[0].started_at) + 50 * HOUR_S])

    assert Empirical(known).estimate(asked, due_s).p_late[0] < 0.01, "only quick ones have ended"
    assert Empirical([*known, *opened]).estimate(asked, due_s).p_late[0] == pytest.approx(0.5, abs=0.1)


def test_standing_still_for_longer_than_the_quick_ones_means_to_be_slow():
    cases = quick_and_slow(200)
    empirical = Empirical(
        visit for at, case in enumerate(cases) for visit in visits_of(at, case.prefix(case.ended_at), True)
    )
    asked = [cases[0].prefix(cases[0].started_at + timedelta(hours=waited)) for waited in (0, 20)]
    found = empirical.estimate(asked, np.full(2, seconds(cases[0].started_at) + 50 * HOUR_S))

    assert found.p_late == pytest.approx([0.5, 0.99], abs=0.06)
    assert found.median_s[1] == pytest.approx(80 * HOUR_S)


def test_only_cases_that_stood_still_for_as_long_are_compared_with():
    # Those that leave `a` soon need long after it; those that stay in it end soon after.
    cases = [
        Case(str(at), tuple(Event(name, hours(each)) for name, each in zip("abc", times, strict=True)))
        for at, times in enumerate([(0, 1, 101), (0, 30, 31)] * 40)
    ]
    empirical = Empirical(
        visit for at, case in enumerate(cases) for visit in visits_of(at, case.prefix(case.ended_at), True)
    )
    found = empirical.estimate([cases[0].prefix(hours(20), 1)], np.array([seconds(hours(60))]))

    assert found.p_late[0] < 0.1
    assert found.median_s[0] < 20 * HOUR_S


@pytest.mark.skipif(booster_library() is None, reason="there are no trees without lightgbm")
def test_what_trees_expect_of_a_case_they_learnt_from_is_not_what_others_learn_from(parts):
    learner = Learner(History.of(parts.train, parts.opened, parts.rule), 0)
    true_h = np.log1p(np.maximum(learner._rest_s, 0) / 3600)
    unseen = np.abs(learner._rows[:, learner._columns] - true_h).mean()
    seen = np.abs(learner.rest_trees("imputed").predict(learner._rows[:, : learner._columns]) - true_h).mean()

    assert unseen > 1.1 * seen


@pytest.fixture(scope="module")
def trial():
    some = split(made_logs.stable(6, cases=560))
    found = Trial.of(History.of(some.train, some.opened, some.rule), 0)
    assert found is not None
    return found


def test_candidates_are_tried_on_cases_that_began_after_all_that_they_know_and_are_due(trial):
    before = trial._learner._history

    assert trial.cases > 40
    assert min(trial._scored.start_s) >= seconds(before.cutoff)
    assert all(event.at <= before.cutoff for each in before.known for event in each.case.events)
    assert trial._scored.is_due.all()
    assert np.isfinite(trial._scored.late).all()


def test_what_is_chosen_ranks_the_newest_cases_no_worse_than_the_usual_mix(trial):
    usual = trial._learner.usual
    choice = trial.choose(usual)
    weights = choice.weights

    assert weights.empirical + weights.regression + weights.trees == pytest.approx(1.0)
    assert min(weights.empirical, weights.regression, weights.trees) >= 0
    assert trial.figures["auc chosen"] > trial.figures["auc usual"] - 0.002
    assert trial.adjust(choice)[0].name in {"level", "logistic", "isotonic"}


def test_the_mix_leans_to_what_did_better_and_stays_where_nothing_did(trial):
    members, usual = np.eye(3), np.full(3, 1 / 3)

    assert trial._leaning(members, [0.7, 0.7, 0.7], usual) == pytest.approx([1 / 3] * 3)
    assert trial._leaning(members, [0.8, 0.7, 0.7], usual)[0] > 0.99
    assert 0.34 < trial._leaning(members, [0.702, 0.7, 0.7], usual)[0] < 0.6


def test_with_too_few_outcomes_nothing_is_tried(parts):
    assert Trial.of(History.of(parts.train[:60], [], parts.rule), 0) is None


def test_the_history_at_an_earlier_moment_knows_nothing_later():
    cases = [replace(case, due_at=case.started_at + timedelta(hours=20)) for case in quick_and_slow(150)]
    history = History.of(cases, [], DueRule(cases)).at(hours(60))

    assert all(case.ended_at < hours(60) for case in history.closed)
    assert all(event.at <= hours(60) for each in history.known for event in each.case.events)
    assert len(history.closed) + len(history.opened) == 60
    table = table_of(history)
    assert all(prefix.now <= hours(60) for prefix in table.prefixes)
    assert np.isnan(table.late).any()
    open_past_due = table.is_due & np.isnan(table.rest_s)
    assert open_past_due.any()
    assert (table.late[open_past_due] == 1).all(), "whatever becomes of it, it is late"


def logged(count: int, attributes, late_attributes=None) -> list[Case]:
    return [
        Case(
            str(at),
            (
                Event("a", hours(at * 5), {}),
                Event("b", hours(at * 5 + 2), {}),
                Event("c", hours(at * 5 + 9), late_attributes or {}),
            ),
            attributes(at),
        )
        for at in range(count)
    ]


def test_attributes_that_would_tell_the_future_or_the_date_are_left_out():
    def early(at: int) -> dict[str, object]:
        wish = hours(at * 5 + 30 + at % 7).isoformat()
        return {"number": 1000 + at, "size": at % 17, "kind": "ab"[at % 2], "wish": wish, "same": "x", "own": f"u{at}"}

    closed = logged(120, lambda at: early(at) | {"verdict": "good" if at % 3 else "bad"}, {"closing code": "fine"})
    opened = [case.prefix(case.started_at + timedelta(hours=3)) for case in logged(60, early)]

    kinds = {name: kind for name, (kind, _) in LogFeatures(closed, opened).attributes.items()}
    assert kinds == {"size": "number", "kind": "category", "wish": "time"}
    assert "verdict" in LogFeatures(closed, []).attributes, "without open cases nobody can tell"


def test_no_column_grows_with_the_calendar():
    closed = logged(80, lambda at: {"kind": "ab"[at % 2], "wish": hours(at * 5 + 30)})
    features = LogFeatures(closed, [])
    shifted = [
        Case(
            case.case_id,
            tuple(Event(event.activity, event.at + timedelta(weeks=520), event.attributes) for event in case.events),
            {**case.attributes, "wish": case.attributes["wish"] + timedelta(weeks=520)},
        )
        for case in closed
    ]
    now, later = (
        features.rows(
            [case.prefix(case.events[1].at) for case in cases],
            np.array([seconds(case.ended_at) for case in cases]),
        )
        for cases in (closed, shifted)
    )

    np.testing.assert_array_equal(now, later)


def test_an_unknown_category_is_minus_one_and_a_missing_number_stays_unknown():
    features = LogFeatures(logged(80, lambda at: {"kind": "ab"[at % 2], "size": at * 37 % 80}), [])
    case = Case("x", (Event("zzz", START),), {"kind": "new"}, None, "new")
    row = dict(zip(features.names, features.rows([case.prefix(START)], np.array([seconds(START)]))[0], strict=True))

    assert (row["last_activity"], row["attribute kind"], row["case_class"]) == (-1, -1, -1)
    assert np.isnan(row["attribute size"])


def test_weekends_are_counted_between_two_moments():
    saturday = datetime(2031, 3, 8, tzinfo=UTC)

    assert weekend_s(seconds(START), seconds(START + timedelta(days=7))) == 2 * 86_400
    assert weekend_s(seconds(saturday), seconds(saturday + timedelta(hours=5))) == 5 * HOUR_S
    assert weekend_s(seconds(START), seconds(START + timedelta(days=2))) == 0
    assert weekend_s(seconds(saturday), seconds(START)) == 0


def drawn(cases: int, said: float, true: float):
    generator = np.random.Generator(np.random.PCG64(4))
    late = np.repeat((generator.random(cases) < true).astype(float), 3)
    return np.full(cases * 3, said), late, np.repeat(np.arange(cases), 3), np.repeat(np.arange(cases), 3).astype(float)


def test_a_wrong_level_is_mended_by_half_where_many_cases_say_so_and_left_where_few_do():
    said, late, cases, starts = drawn(4_000, 0.2, 0.5)

    assert 0.3 < recalibrated(said, late, cases, starts)(np.array([0.2]))[0] < 0.4
    assert recalibrated(*drawn(40, 0.2, 0.5)) == Recalibration()
    assert recalibrated(*drawn(4_000, 0.4, 0.4))(np.array([0.4]))[0] == pytest.approx(0.4, abs=0.01)


def test_a_level_that_is_off_by_a_few_points_is_mended_too_and_its_order_is_left():
    found = recalibrated(*drawn(600, 0.32, 0.26))

    assert (found.name, found.stretch) == ("level", 1.0)
    assert 0.285 < found(np.array([0.32]))[0] < 0.31


@pytest.mark.parametrize("name", ["level", "logistic", "isotonic"])
def test_recalibration_never_changes_the_order_and_mends_what_is_off(name):
    generator = np.random.Generator(np.random.PCG64(6))
    said = np.repeat(generator.random(3_000), 2)
    late = (generator.random(6_000) < np.where(said < 0.1, 0.0, np.where(said < 0.9, 0.3, 1.0))).astype(float)
    found = learnt(name, said, late, np.repeat(np.arange(3_000), 2))

    assert (np.diff(found(np.linspace(0.001, 0.999, 200))) > 0).all()
    assert brier(late, found(said)) < brier(late, said) - (0.002 if name == "level" else 0.01)


@pytest.mark.parametrize("p_late", [0.01, 0.3, 0.5, 0.7, 0.99])
@pytest.mark.parametrize("expected_h", [1.0, 10.0, 100.0])
def test_the_spread_passes_the_due_date_with_the_probability_said(p_late, expected_h):
    shares = [share / 100 for share in range(1, 100)]
    found = Spread().quantiles(np.array([expected_h * HOUR_S]), np.array([10 * HOUR_S]), np.array([p_late]), shares)[0]

    assert (np.diff(found) >= 0).all()
    assert (found <= 10 * HOUR_S).mean() == pytest.approx(1 - p_late, abs=0.02)
