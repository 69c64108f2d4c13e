"""The default model on simulated event logs: what it must not see, what must hold, and how it starts cold."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import delay.log_booster
from delay import made_logs
from delay.backtest import Questions, split
from delay.event_log import Case, Event, Prefix, from_event_log
from delay.log_booster import booster_library
from delay.log_empirical import Empirical, visits_of
from delay.log_features import LogFeatures, seconds, weekend_s
from delay.log_history import History, table_of
from delay.log_learner import Learner, Weights
from delay.metrics import auc, brier
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


@pytest.fixture(scope="module")
def model(parts):
    made = from_event_log()
    made.fit(parts.train, parts.opened)
    return made


@pytest.fixture(scope="module")
def questions(parts):
    return Questions.of(parts.test, 0)


def risks(model, prefixes: Sequence[Prefix]) -> list[float]:
    return [p_late for p_late, _ in model.predict(prefixes)]


def test_it_ranks_and_knows_the_level(model, questions):
    before = ~questions.is_past_due
    p_late = np.array(risks(model, questions.prefixes))

    assert auc(questions.late[before], p_late[before]) > 0.75
    assert brier(questions.late[before], p_late[before]) < brier(questions.late[before], np.full(before.sum(), 0.3))
    assert (p_late[questions.is_past_due] == 1.0).all()


def test_it_says_the_same_whatever_else_it_is_asked_and_in_which_order(model, questions):
    some = list(questions.prefixes[:60])
    alone = [model.predict([each])[0] for each in some[:10]]

    assert model.predict(some)[:10] == alone
    assert model.predict(some[::-1])[::-1] == model.predict(some)


def test_learning_twice_from_the_same_gives_the_same_numbers(parts, model, questions):
    again = from_event_log()
    again.fit(parts.train, parts.opened)

    assert again.predict(questions.prefixes[:100]) == model.predict(questions.prefixes[:100])
    assert again.summary == model.summary


def test_what_is_written_after_now_changes_nothing(model, questions):
    for prefix in questions.prefixes[:30]:
        later = Event("repair", prefix.now + timedelta(hours=1), {"agent": "network 3", "region": "north"})

        assert model.predict([replace(prefix, events=(*prefix.events, later))]) == model.predict([prefix])


def test_values_and_activities_never_seen_before_are_no_error(model, questions):
    prefix = questions.prefixes[0]
    strange = replace(
        prefix,
        events=(*prefix.events, Event("never seen", prefix.now, {"agent": object(), "what": [1]})),
        attributes={"region": "nowhere", "value": "much", "product": None},
        case_class="new",
    )
    ((p_late, rest_s),) = model.predict([strange])

    assert 0 <= p_late <= 1
    assert rest_s >= 0


def test_risk_rises_while_nothing_happens(model, parts):
    case = next(each for each in parts.test if each.duration_s > 4 * 86_400)
    allowed = case.due_at - case.started_at
    waiting = [case.prefix(case.started_at + share * allowed, 1) for share in (0.05, 0.3, 0.6, 0.9, 0.99)]
    found = risks(model, waiting)

    assert found[-1] > found[0]
    assert found[-1] > 0.5


def test_probability_and_remaining_time_agree(model, questions):
    for prefix, (p_late, rest_s), (low, middle, high) in zip(
        questions.prefixes, model.predict(questions.prefixes), model.quantiles(questions.prefixes), strict=True
    ):
        left_s = (prefix.due_at - prefix.now).total_seconds()

        assert 0 <= low <= middle <= high
        assert middle == rest_s
        if left_s > 0 and p_late != 0.5:
            assert (rest_s > left_s) == (p_late > 0.5)


def test_the_interval_holds_most_of_what_comes(model, questions):
    quantiles = np.array(model.quantiles(questions.prefixes))
    inside = (questions.rest_s >= quantiles[:, 0]) & (questions.rest_s <= quantiles[:, 2])

    assert 0.6 < inside.mean() < 0.97


@pytest.mark.parametrize("count", [0, 1, 3, 30])
def test_it_starts_with_few_cases_or_none(count, parts, questions):
    cold = from_event_log()
    cold.fit(parts.train[:count], parts.opened[:count])
    found = cold.predict(questions.prefixes[:50])

    assert len(found) == 50
    assert all(0 <= p_late <= 1 and rest_s >= 0 for p_late, rest_s in found)


def test_cases_of_other_tools_are_learnt_from_like_ones_of_its_own(parts, questions):
    def foreign(case):
        return {
            "id": case.case_id,
            "events": [(event.activity, event.at.isoformat(), dict(event.attributes)) for event in case.events],
            "attrs": dict(case.attributes),
            "due": case.due_at.timestamp(),
            "class": case.case_class,
        }

    own, other = from_event_log(), from_event_log()
    train, opened, some = parts.train[:80], parts.opened[:20], questions.prefixes[:40]
    own.fit(train, opened)
    other.fit(map(foreign, train), [foreign(each) | {"now": each.now} for each in opened])

    assert other.predict([foreign(each) | {"now": each.now} for each in some]) == own.predict(some)


def test_without_the_library_it_works_without_trees_and_says_so_once(monkeypatch, caplog, parts, questions):
    def broken(name: str):
        raise OSError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr(delay.log_booster, "import_module", broken)
    booster_library.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            found = from_event_log()
            found.fit(parts.train, parts.opened)
            p_late = np.array(risks(found, questions.prefixes))
    finally:
        booster_library.cache_clear()
    before = ~questions.is_past_due

    assert found.summary.choice is not None
    assert found.summary.choice.weights.trees == 0
    assert auc(questions.late[before], p_late[before]) > 0.7
    assert [record.message for record in caplog.records].count(
        "delay models for event logs work without gradient boosting"
    ) == 1


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


def test_what_trees_expect_of_a_case_they_learnt_from_is_not_what_others_learn_from(parts):
    learner = Learner(History.of(parts.train, parts.opened, parts.rule), 0)
    true_h = np.log1p(np.maximum(learner._rest_s, 0) / 3600)
    unseen = np.abs(learner._rows[:, learner._columns] - true_h).mean()
    seen = np.abs(learner.rest_trees("imputed").predict(learner._rows[:, : learner._columns]) - true_h).mean()

    assert unseen > 1.1 * seen


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


def test_a_wrong_level_is_corrected_where_many_cases_say_so_and_left_where_few_do():
    said, late, cases, starts = drawn(4_000, 0.2, 0.5)

    assert recalibrated(said, late, cases, starts)(np.array([0.2]))[0] == pytest.approx(0.5, abs=0.06)
    assert recalibrated(*drawn(40, 0.2, 0.5)) == Recalibration()
    assert recalibrated(*drawn(4_000, 0.4, 0.4)).name == "none" or abs(
        recalibrated(*drawn(4_000, 0.4, 0.4))(np.array([0.4]))[0] - 0.4
    ) < 0.02


@pytest.mark.parametrize("name", ["logistic", "isotonic"])
def test_recalibration_never_changes_the_order_and_mends_what_is_off(name):
    generator = np.random.Generator(np.random.PCG64(6))
    said = np.repeat(generator.random(3_000), 2)
    late = (generator.random(6_000) < np.where(said < 0.1, 0.0, np.where(said < 0.9, 0.3, 1.0))).astype(float)
    found = learnt(name, said, late, np.repeat(np.arange(3_000), 2))

    assert (np.diff(found(np.linspace(0.001, 0.999, 200))) > 0).all()
    assert brier(late, found(said)) < brier(late, said) - 0.01


@pytest.mark.parametrize("p_late", [0.01, 0.3, 0.5, 0.7, 0.99])
@pytest.mark.parametrize("expected_h", [1.0, 10.0, 100.0])
def test_the_spread_passes_the_due_date_with_the_probability_said(p_late, expected_h):
    shares = [share / 100 for share in range(1, 100)]
    found = Spread().quantiles(np.array([expected_h * HOUR_S]), np.array([10 * HOUR_S]), np.array([p_late]), shares)[0]

    assert (np.diff(found) >= 0).all()
    assert (found <= 10 * HOUR_S).mean() == pytest.approx(1 - p_late, abs=0.02)
