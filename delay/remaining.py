"""The distribution of the remaining time around its expected middle, made to agree with the probability to be late.

How far outcomes lie from what was expected is taken from cases that the model had not learnt from. The distribution
that this gives has an opinion of its own on how likely a case is to be late; the classifier knows better. So its
quantiles are moved until the case stays below the time left with exactly the probability that the classifier says. The
middle stays where it was expected if that is on the right side of the due date, and moves to the due date if it is not:
it lies after the due date exactly if the probability to be late is above one half.

Dropped: stretching the parts before and after the due date until they weigh what the classifier says. It moves the
middle as well, and that cost up to a tenth of the accuracy of the remaining time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from delay.metrics import Floats

LEVELS: Final = np.array([0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0])
GROUPS: Final = 3
GROUP_MIN: Final = 100
USUAL: Final = 0.8
"""Standard deviation of the logarithm while nothing was observed."""
HOUR_S: Final = 3600.0
EDGE: Final = 0.01
_NORMAL: Final = (-3.5, -2.05, -1.64, -1.28, -0.84, -0.52, -0.25, 0.0, 0.25, 0.52, 0.84, 1.28, 1.64, 2.05, 3.5)
"""The normal distribution at `LEVELS`, cut off outside."""


class Spread:
    """Quantiles of the outcome around what was expected, on the logarithmic scale, for short, middle and long rests."""

    def __init__(self, expected_s: Floats | None = None, true_s: Floats | None = None) -> None:
        self._borders: Floats = np.zeros(0)
        self._ratios = np.array([_NORMAL]) * USUAL
        if expected_s is None or true_s is None or len(true_s) < GROUP_MIN:
            return
        count = GROUPS if len(true_s) >= GROUPS * GROUP_MIN else 1
        self._borders = np.quantile(expected_s, np.arange(1, count) / count)
        ratios = _logarithm(true_s) - _logarithm(expected_s)
        group = np.searchsorted(self._borders, expected_s, side="right")
        levels = [np.quantile(ratios[group == at] if (group == at).any() else ratios, LEVELS) for at in range(count)]
        # Only the spread is taken over: for the middle the final model knows more than the one that was tried.
        self._ratios = np.array([each - each[len(LEVELS) // 2] for each in levels])

    def quantiles(self, expected_s: Floats, left_s: Floats, p_late: Floats, shares: Sequence[float]) -> Floats:
        """Shape (cases, shares): seconds left that a case stays below with each probability.

        Args:
            expected_s: middle of the remaining time, as estimated by itself.
            left_s: until the due date; where it has passed, nothing needs to agree.
            p_late: probability to be late.
            shares: between 0 and 1.
        """
        ratios = self._ratios[np.searchsorted(self._borders, expected_s, side="right")]
        curves = np.maximum((expected_s[:, None] + HOUR_S) * np.exp(ratios) - HOUR_S, 0.0)
        found = np.zeros((len(expected_s), len(shares)))
        wanted = np.array(shares)
        for at, curve in enumerate(curves):
            levels = wanted
            if left_s[at] > 0:
                levels = _agreeing(wanted, float(np.interp(left_s[at], curve, LEVELS)), 1 - float(p_late[at]))
            found[at] = np.interp(levels, LEVELS, curve)
            if left_s[at] > 0:
                # A curve that lies on one side of the due date cannot be stretched across it.
                is_late = wanted > 1 - p_late[at]
                found[at] = np.where(
                    is_late, np.maximum(found[at], left_s[at] + 1.0), np.minimum(found[at], left_s[at])
                )
        return found


def _agreeing(wanted: Floats, in_time: float, said: float) -> Floats:
    """The levels of a curve that stays below the due date with probability `in_time`, where `said` is wanted."""
    in_time = min(max(in_time, EDGE), 1 - EDGE)
    middle = 0.5 if (in_time > 0.5) == (said > 0.5) else in_time
    (low, low_level), (high, high_level) = sorted([(0.5, middle), (said, in_time)])
    return np.interp(wanted, [0.0, low, high, 1.0], [0.0, low_level, high_level, 1.0])


def _logarithm(rest_s: Floats) -> Floats:
    found: Floats = np.log(np.maximum(rest_s, 0.0) + HOUR_S)
    return found
