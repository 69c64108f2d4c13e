"""What the bench of the plan's structure measures, on a small simulated world."""

from __future__ import annotations

import pytest

from bench.delay_structure import Until, flat, measured, page
from delay.features import NAMES, PLAN_FEATURES
from delay.logs.booster import booster_library
from delay.training import training_sets
from tests.support.worlds import history


def test_a_history_until_a_moment_knows_nothing_later():
    whole = history(60, 20, "home-internet")
    until = training_sets(whole, event_share=0.1).at
    known = list(Until(whole, until))

    assert known == [each for each in whole if each.fact.at < until]
    assert 0 < len(known) < len(whole.happenings)


@pytest.mark.skipif(booster_library() is None, reason="lightgbm is not installed")
def test_the_flat_booster_sees_no_plan_and_the_page_says_that_orders_are_simulated():
    made = history(700, 50, "home-internet")
    rows = training_sets(made, event_share=0.1).train.rows
    found = measured(made, 1, event_share=0.1)

    assert not flat(rows)[:, [NAMES.index(name) for name in PLAN_FEATURES]].any()
    assert (flat(rows)[:, NAMES.index("left_s")] == rows[:, NAMES.index("left_s")]).all()
    assert found.against_planned.value > 0.1
    assert found.own["brierSkill"] > 0.1
    assert "simulated" in page([found], 700, 50)
