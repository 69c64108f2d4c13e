"""How good probabilities are: ranking, level, and what a worklist made of them is worth.

Points of one case are alike, so intervals come from drawing cases, not points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BINS: Final = 10
WORKLIST_SHARE: Final = 0.2


def auc(late: Floats, p_late: Floats, weights: Floats | None = None) -> float:
    """The probability that a late point ranks above one in time; ties count half. NaN if there is only one kind."""
    return Ranking(late, p_late).auc(weights)


class Ranking:
    """Points in the order of their scores, sorted once for many weightings."""

    def __init__(self, late: Floats, p_late: Floats) -> None:
        self._order = np.argsort(p_late, kind="stable")
        ordered = p_late[self._order]
        is_first = np.ones(len(ordered), dtype=bool)
        is_first[1:] = ordered[1:] != ordered[:-1]
        self._starts = np.flatnonzero(is_first)
        self._late = late[self._order]

    def auc(self, weights: Floats | None = None) -> float:
        """The area for these weights of the points."""
        if len(self._late) == 0:
            return float("nan")
        given = np.ones(len(self._late)) if weights is None else weights[self._order]
        late = np.add.reduceat(given * self._late, self._starts)
        in_time = np.add.reduceat(given * (1 - self._late), self._starts)
        pairs = late.sum() * in_time.sum()
        if pairs <= 0:
            return float("nan")
        below = np.cumsum(in_time) - in_time
        return float((late * (below + in_time / 2)).sum() / pairs)


def average_precision(late: Floats, p_late: Floats) -> float:
    """The mean precision over the late points, riskiest first; points of one score are taken together."""
    if late.sum() == 0:
        return float("nan")
    order = np.argsort(-p_late, kind="stable")
    ordered, found = p_late[order], np.cumsum(late[order])
    is_last = np.append(ordered[1:] != ordered[:-1], True)
    hits, counts = found[is_last], np.flatnonzero(is_last) + 1
    return float((np.diff(hits, prepend=0.0) * hits / counts).sum() / hits[-1])


def brier(late: Floats, p_late: Floats) -> float:
    """The mean squared error of the probabilities."""
    return float(np.mean((p_late - late) ** 2)) if len(late) else float("nan")


def brier_skill(late: Floats, p_late: Floats, share: float) -> float:
    """By how much the error is below that of always saying `share`; 1 is perfect, below 0 is worse than that."""
    reference = brier(late, np.full(len(late), share))
    return 1 - brier(late, p_late) / reference if reference > 0 else float("nan")


def calibration_error(late: Floats, p_late: Floats) -> float:
    """The mean distance between said and true share, in ten bins of equally many points."""
    return sum(abs(said - true) * count for said, true, count in reliability(late, p_late)) / max(len(late), 1)


def reliability(late: Floats, p_late: Floats) -> list[tuple[float, float, int]]:
    """(mean probability said, share that was late, points) of ten bins of equally many points."""
    order = np.argsort(p_late, kind="stable")
    return [
        (float(p_late[part].mean()), float(late[part].mean()), len(part))
        for part in np.array_split(order, BINS)
        if len(part)
    ]


def worklist(late: Floats, p_late: Floats, share: float = WORKLIST_SHARE) -> tuple[float, float]:
    """(precision, recall) of working on the riskiest `share` of the points."""
    count = max(round(len(late) * share), 1)
    if not len(late):
        return float("nan"), float("nan")
    found = late[np.argsort(-p_late, kind="stable")[:count]].sum()
    return float(found / count), float(found / late.sum()) if late.sum() else float("nan")


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and where it lies in 95 of 100 drawings of cases."""

    value: float
    low: float
    high: float


class CaseBootstrap:
    """Draws cases with replacement, the same ones for every figure, so that models can be compared on each drawing."""

    def __init__(self, cases: Ints, rounds: int, seed: int) -> None:
        generator = np.random.Generator(np.random.PCG64(seed))
        names, self._place = np.unique(cases, return_inverse=True)
        self._counts = [
            np.bincount(generator.integers(0, len(names), len(names)), minlength=len(names)).astype(np.float64)
            for _ in range(rounds)
            if len(names)
        ]

    def aucs(self, late: Floats, p_late: Floats) -> Floats:
        """The area in each drawing."""
        ranking = Ranking(late, p_late)
        return np.array([ranking.auc(counts[self._place]) for counts in self._counts])

    def means(self, values: Floats) -> Floats:
        """The mean over the points in each drawing."""
        drawn = [counts[self._place] for counts in self._counts]
        return np.array([float((values * each).sum() / each.sum()) for each in drawn])

    @staticmethod
    def interval(value: float, drawn: Sequence[float] | Floats) -> Interval:
        """The figure with the middle 95% of the drawings."""
        known: NDArray[Any] = np.asarray(drawn, dtype=np.float64)
        known = known[np.isfinite(known)]
        if not len(known):
            return Interval(value, float("nan"), float("nan"))
        low, high = np.quantile(known, (0.025, 0.975))
        return Interval(value, float(low), float(high))
