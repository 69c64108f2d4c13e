"""The figures of the backtest, on examples small enough to count by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from delay.metrics import (
    CaseBootstrap,
    auc,
    average_precision,
    brier,
    brier_skill,
    calibration_error,
    reliability,
    worklist,
)


def floats(*values: float):
    return np.array(values, dtype=np.float64)


def test_the_area_is_the_share_of_pairs_in_the_right_order_and_ties_count_half():
    late = floats(1, 0, 1, 0)

    assert auc(late, floats(0.9, 0.1, 0.8, 0.2)) == 1.0
    assert auc(late, floats(0.9, 0.8, 0.3, 0.2)) == 0.75
    assert auc(late, floats(0.5, 0.5, 0.5, 0.5)) == 0.5
    assert math.isnan(auc(floats(1, 1), floats(0.1, 0.2)))
    assert math.isnan(auc(floats(), floats()))


def test_the_area_agrees_with_counting_every_pair():
    generator = np.random.Generator(np.random.PCG64(5))
    late, p_late = generator.integers(0, 2, 200).astype(float), generator.integers(0, 20, 200) / 20
    pairs = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high in p_late[late == 1]
        for low in p_late[late == 0]
    ]

    assert auc(late, p_late) == pytest.approx(np.mean(pairs))


def test_a_weight_counts_like_a_repeated_point():
    late, p_late = floats(1, 0, 1, 0), floats(0.9, 0.8, 0.3, 0.2)

    assert auc(late, p_late, floats(1, 3, 1, 1)) == auc(floats(1, 0, 0, 0, 1, 0), floats(0.9, 0.8, 0.8, 0.8, 0.3, 0.2))


def test_average_precision_is_the_mean_precision_at_late_points():
    assert average_precision(floats(1, 0, 1), floats(0.9, 0.8, 0.7)) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(floats(1, 0), floats(0.5, 0.5)) == 0.5


def test_skill_is_one_for_the_truth_zero_for_the_share_and_negative_for_worse():
    late = floats(1, 0, 0, 0)

    assert brier(late, floats(1, 0, 0, 0)) == 0.0
    assert brier_skill(late, late, 0.25) == 1.0
    assert brier_skill(late, np.full(4, 0.25), 0.25) == 0.0
    assert brier_skill(late, np.full(4, 0.9), 0.25) < 0


def test_the_calibration_error_is_the_distance_between_said_and_true_in_bins_of_equal_size():
    p_late = np.repeat([0.1, 0.9], 50)
    late = np.concatenate([np.repeat([1, 0], [10, 40]), np.repeat([1, 0], [45, 5])]).astype(float)
    shuffled = np.random.Generator(np.random.PCG64(1)).permutation(100)

    assert len(reliability(late, p_late)) == 10
    assert calibration_error(late, np.full(100, late.mean())) == pytest.approx(0.38, abs=0.2)
    assert calibration_error(late[shuffled], np.full(100, 0.55)) < 0.15
    assert calibration_error(floats(0, 0), floats(0.3, 0.3)) == pytest.approx(0.3)


def test_a_worklist_takes_the_riskiest_fifth():
    late = floats(1, 0, 1, 0, 0, 0, 0, 0, 0, 0)
    precision, recall = worklist(late, floats(0.9, 0.8, 0.7, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1))

    assert (precision, recall) == (0.5, 0.5)


def test_drawing_cases_gives_wider_intervals_than_drawing_points():
    generator = np.random.Generator(np.random.PCG64(2))
    case_risk = generator.random(60)
    cases = np.repeat(np.arange(60), 15)
    late = np.repeat((generator.random(60) < case_risk).astype(float), 15)
    p_late = case_risk[cases]
    value = auc(late, p_late)
    by_case = CaseBootstrap.interval(value, CaseBootstrap(cases, 200, 1).aucs(late, p_late))
    by_point = CaseBootstrap.interval(value, CaseBootstrap(np.arange(900), 200, 1).aucs(late, p_late))

    assert by_case.low < value < by_case.high
    assert by_case.high - by_case.low > 2 * (by_point.high - by_point.low)


def test_the_same_seed_draws_the_same_cases():
    cases, late, p_late = np.arange(50), (np.arange(50) % 3 == 0).astype(float), np.arange(50) % 7 / 7

    assert (CaseBootstrap(cases, 20, 3).aucs(late, p_late) == CaseBootstrap(cases, 20, 3).aucs(late, p_late)).all()
    assert (CaseBootstrap(cases, 20, 3).aucs(late, p_late) != CaseBootstrap(cases, 20, 4).aucs(late, p_late)).any()
