"""How much longer past cases took from where this one stands: the share that needed longer than is left, and quantiles.

The cases compared with are those that had the same last activity, and after which nothing had happened either for as
long as now. Few of them are mixed with what is less alike: the same activity in every class, then all activities.

A case that was still open tells that it took longer than it has (Kaplan and Meier, 1958): without that, what had lasted
long when the log was cut would be missing from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from delay.event_log import Prefix
from delay.logs.features import seconds
from delay.metrics import Floats

Key = tuple[str, ...]

PRIOR_WEIGHT: Final = 20.0
"""What is less alike counts as much as so many visits."""
DWELLS: Final = (0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 0.95)
"""Quantiles of the time until the next event, at which the comparison is made anew."""
VISITS_MIN: Final = 15
FLOOR: Final = 0.005
QUANTILES: Final = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, slots=True)
class Visit:
    """An activity of a case: seconds until the next event, and until the case ended. If it had not ended, both are
    what had passed until then (`dwell_s` only of the last activity).
    """

    case: int
    case_class: str
    activity: str
    dwell_s: float
    rest_s: float
    has_ended: bool


def visits_of(case: int, prefix: Prefix, has_ended: bool) -> Iterator[Visit]:
    """The visits of a case known until `prefix.now`; of one that has ended all but the last activity's."""
    times = [seconds(event.at) for event in prefix.events]
    end_s = seconds(prefix.now)
    for at, event in enumerate(prefix.events[: len(times) - 1] if has_ended else prefix.events):
        following_s = times[at + 1] if at + 1 < len(times) else end_s
        yield Visit(case, prefix.case_class, event.activity, following_s - times[at], end_s - times[at], has_ended)


class _Curve:
    """The share of visits of which at least `x` seconds were left, as a staircase."""

    def __init__(self, rests: Floats, has_ended: Floats) -> None:
        order = np.lexsort((-has_ended, rests))
        rests, ended = rests[order], has_ended[order]
        at_risk = len(rests) - np.arange(len(rests))
        self.rests = rests
        self.survival: Floats = np.cumprod(1 - ended / at_risk, dtype=np.float64)
        self.count = len(rests)

    def beyond(self, x_s: Floats) -> Floats:
        """The share that needed longer than `x_s`."""
        at = np.searchsorted(self.rests, x_s, side="right")
        return np.where(at > 0, self.survival[np.maximum(at - 1, 0)], 1.0)

    def left(self, x_s: Floats) -> Floats:
        """How many were seen to need longer than `x_s`."""
        return (self.count - np.searchsorted(self.rests, x_s, side="right")).astype(np.float64)

    def quantile(self, survivals: Floats) -> Floats:
        """The seconds that are outlasted with these probabilities."""
        # The staircase falls: searched from behind.
        at = len(self.survival) - np.searchsorted(self.survival[::-1], survivals, side="right")
        return self.rests[np.minimum(at, self.count - 1)]


class _Group:
    """Visits of one kind, compared anew for each length of standing still."""

    def __init__(self, visits: Floats) -> None:
        if not len(visits):
            self._curves: list[_Curve] = []
            return
        dwells = visits[:, 0]
        self._thresholds = [0.0]
        self._curves = [_Curve(visits[:, 1], visits[:, 2])]
        for threshold in np.unique(np.quantile(dwells, DWELLS)):
            lasting = dwells > threshold
            if lasting.sum() < VISITS_MIN:
                break
            if threshold > 0:
                self._thresholds.append(float(threshold))
                self._curves.append(_Curve(visits[lasting, 1], visits[lasting, 2]))

    def answer(self, since_s: Floats, left_s: Floats, shares: Floats) -> tuple[Floats, Floats, Floats]:
        """(visits compared with, share that needed longer than is left, quantiles of what is left): one row each."""
        weights, beyond = np.zeros(len(since_s)), np.zeros(len(since_s))
        quantiles = np.zeros((len(since_s), len(shares)))
        if not self._curves:
            return weights, beyond, quantiles
        which = np.searchsorted(self._thresholds, since_s, side="right") - 1
        for at in np.unique(which):
            rows, curve = which == at, self._curves[at]
            base = curve.beyond(since_s[rows])
            safe = np.maximum(base, 1e-9)
            weights[rows] = np.where(base > 0, curve.left(since_s[rows]), 0)
            beyond[rows] = curve.beyond(since_s[rows] + np.maximum(left_s[rows], 0.0)) / safe
            for column, share in enumerate(shares):
                quantiles[rows, column] = curve.quantile(base * (1 - share)) - since_s[rows]
        return weights, beyond, np.maximum(quantiles, 0.0)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Arrays of one row for each prefix: probability to be late, and seconds left at each of `QUANTILES`."""

    p_late: Floats
    quantiles_s: Floats

    @property
    def median_s(self) -> Floats:
        """The middle of what is left."""
        middle: Floats = self.quantiles_s[:, QUANTILES.index(0.5)]
        return middle


class Empirical:
    """The estimate from visits; those of open cases count for as long as they are known."""

    def __init__(self, visits: Iterable[Visit]) -> None:
        grouped: dict[Key, list[tuple[float, float, float]]] = {(): []}
        for visit in visits:
            numbers = (visit.dwell_s, visit.rest_s, float(visit.has_ended))
            for key in _keys(visit.case_class, visit.activity):
                grouped.setdefault(key, []).append(numbers)
        self._groups = {key: _Group(np.array(found).reshape(-1, 3)) for key, found in grouped.items()}

    def estimate(self, prefixes: list[Prefix], due_s: Floats) -> Estimate:
        """What became of cases like these. Past its due date a case is late."""
        now_s = np.array([seconds(prefix.now) for prefix in prefixes])
        since_s = now_s - np.array([seconds(prefix.events[-1].at) for prefix in prefixes])
        left_s = due_s - now_s
        shares = np.array(QUANTILES)
        p_late = np.full(len(prefixes), 0.5)
        quantiles = np.zeros((len(prefixes), len(shares)))
        # From all cases to those most alike: each level corrects the one before it as far as it has visits.
        levels: list[dict[Key, list[int]]] = [{}, {}, {}]
        for at, prefix in enumerate(prefixes):
            for level, key in zip(levels, _keys(prefix.case_class, prefix.events[-1].activity), strict=True):
                level.setdefault(key, []).append(at)
        for depth, level in enumerate(levels):
            for key, found in level.items():
                group = self._groups.get(key)
                if group is None:
                    continue
                rows = np.array(found)
                counts, beyond, rests = group.answer(since_s[rows], left_s[rows], shares)
                trust = counts / (counts + (PRIOR_WEIGHT if depth else 1.0))
                p_late[rows] += trust * (beyond - p_late[rows])
                quantiles[rows] += (trust if depth else np.ones(len(rows)))[:, None] * (rests - quantiles[rows])
        p_late = np.where(left_s < 0, 1.0, np.clip(p_late, FLOOR, 1 - FLOOR))
        return Estimate(p_late, quantiles)


def _keys(case_class: str, activity: str) -> tuple[Key, Key, Key]:
    return (), (activity,), (activity, case_class)
