"""Logistic regression over the features of a case: few numbers to learn, so it stands where cases are few or change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import numpy as np

from delay.metrics import Floats
from delay.recalibration import logistic

ROUNDS: Final = 30
FAR: Final = 4.0
"""Standard deviations at which a number is cut off: what lies far outside must not decide alone."""
STEP_MAX: Final = 5.0
ROWS_MAX: Final = 50_000
"""So many rows are enough for some hundred numbers; more would only take memory."""
CHUNK: Final = 10_000


class Regression:
    """Fitted by Newton's method with a penalty; categories have a column a level, numbers also their logarithm."""

    def __init__(
        self,
        rows: Floats,
        target: Floats,
        *,
        categorical: Sequence[int],
        penalty: float,
        weights: Floats | None = None,
    ) -> None:
        step = math.ceil(len(rows) / ROWS_MAX)
        rows, target = rows[::step], target[::step]
        weights = None if weights is None else weights[::step]
        self._categorical = list(categorical)
        self._levels = [np.unique(rows[:, at]) for at in self._categorical]
        wide = self._wide(rows)
        self._mean, self._scale = wide.mean(axis=0), wide.std(axis=0)
        self._scale[self._scale < 1e-9] = np.inf
        self._weights = _newton(self._scaled(wide), target, penalty, weights)

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers; a column that never varied has the scale 0."""
        return {
            "categorical": self._categorical,
            "levels": [levels.tolist() for levels in self._levels],
            "mean": self._mean.tolist(),
            "scale": np.where(np.isfinite(self._scale), self._scale, 0.0).tolist(),
            "weights": self._weights.tolist(),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """As it was kept."""
        made = cls.__new__(cls)
        made._categorical = [int(at) for at in stored["categorical"]]
        made._levels = [np.asarray(levels, dtype=np.float64) for levels in stored["levels"]]
        made._mean = np.asarray(stored["mean"], dtype=np.float64)
        scale = np.asarray(stored["scale"], dtype=np.float64)
        made._scale = np.where(scale > 0, scale, np.inf)
        made._weights = np.asarray(stored["weights"], dtype=np.float64)
        return made

    def predict(self, rows: Floats) -> Floats:
        """A probability for each row."""
        parts = [self._predict(rows[at : at + CHUNK]) for at in range(0, len(rows), CHUNK)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def shares(self, rows: Floats) -> tuple[Floats, float]:
        """(what each column adds to the log-odds, shape (rows, columns); the log-odds where all are as usual)."""
        terms = self._scaled(self._wide(rows)) * self._weights
        numbers = [at for at in range(rows.shape[1]) if at not in self._categorical]
        levels = [at for at, found in zip(self._categorical, self._levels, strict=True) for _ in found]
        added = np.zeros(rows.shape)
        for term, at in enumerate([*numbers, *numbers, *levels], start=1):
            added[:, at] += terms[:, term]
        return added, float(self._weights[0])

    def _predict(self, rows: Floats) -> Floats:
        # Not a matrix product: its last digits depend on how many rows are asked about at once.
        return logistic((self._scaled(self._wide(rows)) * self._weights).sum(axis=1))

    def _wide(self, rows: Floats) -> Floats:
        numbers = np.delete(rows, self._categorical, axis=1)
        known = np.nan_to_num(numbers)
        levels = [rows[:, [at]] == found for at, found in zip(self._categorical, self._levels, strict=True)]
        return np.hstack([known, np.sign(known) * np.log1p(np.abs(known)), *levels]).astype(np.float64)

    def _scaled(self, wide: Floats) -> Floats:
        scaled = np.clip((wide - self._mean) / self._scale, -FAR, FAR)
        return np.column_stack([np.ones(len(scaled)), scaled])


def _newton(design: Floats, target: Floats, penalty: float, weights: Floats | None) -> Floats:
    given = np.ones(len(target)) if weights is None else weights
    pull = np.full(design.shape[1], penalty)
    pull[0] = 0.0
    found = np.zeros(design.shape[1])
    for _ in range(ROUNDS):
        said = logistic(design @ found)
        slope = design.T @ (given * (said - target)) + pull * found
        bend = (design * (given * said * (1 - said))[:, None]).T @ design + np.diag(pull + 1e-6)
        step = np.clip(np.linalg.solve(bend, slope), -STEP_MAX, STEP_MAX)
        found = found - step
        if np.abs(step).max() < 1e-5:
            break
    return found
