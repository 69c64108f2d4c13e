"""Simulated logs: what is built into them is in them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from delay import made_logs
from delay.backtest import split
from delay.event_log import Case
from delay.made_logs import CLOSES_H, KINDS, OPENS_H


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_is_made_from_its_seed_and_called_simulated(kind):
    make = {"stable": made_logs.stable, "drifting": made_logs.drifting, "small": made_logs.small}.get(
        kind, made_logs.tickets
    )
    log = make(1, cases=120)

    assert log == make(1, cases=120)
    assert log != make(2, cases=120)
    assert log.simulated
    assert log.name == f"simulated {kind}"
    assert all(case.case_id.startswith("simulated-") for case in log.cases)


def test_people_work_when_they_are_there_and_systems_at_any_hour():
    events = [event for case in made_logs.stable(1, cases=200).cases for event in case.events]
    by_people = [event.at for event in events if "agent" in event.attributes]
    by_nobody = [event.at for event in events if "agent" not in event.attributes]

    assert all(at.weekday() < 5 and OPENS_H <= at.hour + at.minute / 60 <= CLOSES_H + 0.01 for at in by_people)
    assert any(at.weekday() >= 5 for at in by_nobody)


def test_steps_come_again_and_cases_of_a_class_are_alike():
    cases = made_logs.stable(1, cases=300).cases
    visits = [sum(event.activity == "visit" for event in case.events) for case in cases]
    hours = {
        name: sorted(case.duration_s / 3600 for case in cases if case.case_class == name)
        for name in ("mobile", "leased line")
    }

    assert max(visits) > 1
    assert hours["mobile"][len(hours["mobile"]) // 2] < hours["leased line"][len(hours["leased line"]) // 2]


def late_share(cases: Sequence[Case]) -> float:
    return sum(case.due_at is not None and case.ended_at > case.due_at for case in cases) / len(cases)


def test_some_are_late_and_more_of_them_later_where_the_log_drifts():
    stable, drifting = made_logs.stable(1, cases=800).cases, made_logs.drifting(1, cases=800).cases

    assert 0.1 < late_share(stable) < 0.6
    assert late_share(drifting[600:]) > late_share(stable[600:]) + 0.1
    assert abs(late_share(drifting[:200]) - late_share(stable[:200])) < 0.15


def test_tickets_have_no_promise_and_get_a_due_date_by_the_rule():
    log = made_logs.tickets(1, cases=300)
    parts = split(log)

    assert all(case.due_at is None for case in log.cases)
    assert all(case.due_at == parts.rule.due_at(case) for case in (*parts.train, *parts.test))
    assert all(each.due_at is not None for each in parts.opened)
