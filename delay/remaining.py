"""The distribution of the remaining time around its expected middle, made to agree with the probability to be late.

How far outcomes lie from what was expected is taken from cases that the model had not learnt from. The distribution
that this gives has an opinion of its own on how likely a case is to be late; the classifier knows better. So quantiles
that lie on the wrong side of the due date are moved to it: the case stays below the time left with exactly the
probability that the classifier says, and the middle lies after the due date exactly if the risk is above one half.

Dropped: stretching the parts before and after the due date until they weigh what the classifier says. It moves the
middle also where both agree, and that cost up to a tenth of the accuracy of the remaining time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from delay.metrics import Floats

LEVELS: Final = np.array([0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0])
_NORMAL: Final = (-3.5, -2.05, -1.64, -1.28, -0.84, -0.52, -0.25, 0.0, 0.25, 0.52, 0.84, 1.28, 1.64, 2.05, 3.5)
"""The normal distribution at `LEVELS`, cut off outside."""
USUAL: Final = 0.8
"""Standard deviation of the logarithm while nothing was observed."""
GROUPS: Final = 3
GROUP_MIN: Final = 100
HOUR_S: Final = 3600.0
PAST_S: Final = 1.0
"""A quantile that is moved behind the due date lies so far behind it."""


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
        wanted = np.asarray(shares, dtype=np.float64)
        by_group = np.array([np.interp(wanted, LEVELS, ratios) for ratios in self._ratios])
        ratios = by_group[np.searchsorted(self._borders, expected_s, side="right")]
        found = np.maximum((expected_s[:, None] + HOUR_S) * np.exp(ratios) - HOUR_S, 0.0)
        due_s = left_s[:, None]
        is_late = wanted > 1 - p_late[:, None]
        agreeing = np.where(is_late, np.maximum(found, due_s + PAST_S), np.minimum(found, due_s))
        moved: Floats = np.where(due_s > 0, agreeing, found)
        return moved


def _logarithm(rest_s: Floats) -> Floats:
    found: Floats = np.log(np.maximum(rest_s, 0.0) + HOUR_S)
    return found
