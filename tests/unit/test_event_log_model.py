"""The default model on simulated event logs: what it must not see, what must hold, and how it starts cold."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import delay.logs.booster
from delay import made_logs
from delay.backtest import Questions, split
from delay.event_log import Event, Prefix, from_event_log
from delay.logs.booster import booster_library
from delay.metrics import auc, brier

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

    monkeypatch.setattr(delay.logs.booster, "import_module", broken)
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
