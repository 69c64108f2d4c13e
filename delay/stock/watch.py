"""How good a model is of late, and how far what it sees has moved from what it was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from delay.features import CATEGORIES, NAMES, UNKNOWN, Row
from delay.metrics import Floats, auc, brier, brier_skill, calibration_error, reliability, worklist
from delay.training import TICKS

BINS: Final = 10
SCORE: Final = "score"
FLOOR: Final = 1e-3
"""Of a bin's share: an empty one must not make the index infinite."""
SEEN_MIN: Final = 100
"""Rows below which a shift would be chance."""

Bins = Mapping[str, Mapping[str, Sequence[float]]]


def figures(late: Floats, p_late: Floats, share: float | None = None) -> dict[str, Any]:
    """AUC, Brier score, its skill against `share` (without it: the share of these points), ECE, and the reliability
    table; None for what cannot be told.
    """
    own = float(late.mean()) if len(late) else float("nan")
    base = own if share is None else share
    found: dict[str, int | float] = {
        "points": len(late),
        "lateShare": own,
        "auc": auc(late, p_late),
        "brier": brier(late, p_late),
        "brierSkill": brier_skill(late, p_late, base) if len(late) else float("nan"),
        "ece": calibration_error(late, p_late) if len(late) else float("nan"),
    }
    plain: dict[str, Any] = {
        name: (round(value, 6) if np.isfinite(value) else None) if isinstance(value, float) else value
        for name, value in found.items()
    }
    plain["reliability"] = [[round(said, 4), round(true, 4), count] for said, true, count in reliability(late, p_late)]
    return plain


def by_tick(late: Floats, p_late: Floats, tick: Floats) -> dict[str, dict[str, float | None]]:
    """`aucByTick` and `worklistByTick` (the late share of the riskiest fifth) at the shares of the allowed time."""
    found: dict[str, dict[str, float | None]] = {"aucByTick": {}, "worklistByTick": {}}
    for share in TICKS:
        here = np.isclose(tick, share)
        values = (auc(late[here], p_late[here]), worklist(late[here], p_late[here])[0])
        for name, value in zip(found, values, strict=True):
            found[name][f"{share:.0%}"] = round(value, 6) if np.isfinite(value) else None
    return found


def bins_of(rows: Row, p_late: Floats | None = None) -> dict[str, dict[str, list[float]]]:
    """How each feature, and the score if it is known, were distributed: edges and shares; of a category the numbers
    themselves. Nothing without rows.
    """
    made: dict[str, dict[str, list[float]]] = {}
    if not len(rows):
        return made
    for name, values in _columns(rows, p_late):
        if name in CATEGORIES:
            # With the number of what is unknown, which the training rows do not have.
            edges = (np.unique(np.append(values, UNKNOWN)) + 0.5)[:-1]
        else:
            edges = np.unique(np.quantile(values, np.arange(1, BINS) / BINS))
        shares = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) / len(values)
        made[name] = {"edges": edges.tolist(), "shares": np.round(shares, 6).tolist()}
    return made


class Shift:
    """Counts what a model sees in the bins of its training rows; population stability index by feature."""

    def __init__(self, bins: Bins) -> None:
        self._edges = {name: np.asarray(each["edges"]) for name, each in bins.items()}
        self._shares = {name: np.asarray(each["shares"]) for name, each in bins.items()}
        self._counts = {name: np.zeros(len(shares)) for name, shares in self._shares.items()}
        self.seen = 0

    def add(self, rows: Row, p_late: Floats) -> None:
        """What the model saw and said."""
        self.seen += len(rows)
        for name, values in _columns(rows, p_late):
            if name in self._counts:
                places = np.searchsorted(self._edges[name], values)
                self._counts[name] += np.bincount(places, minlength=len(self._counts[name]))

    def fade(self) -> None:
        """Let older rows count half: called when enough have come."""
        self.seen //= 2
        self._counts = {name: counts / 2 for name, counts in self._counts.items()}

    def indices(self) -> dict[str, float]:
        """By feature and `score`; nothing while too little was seen. 0.1 is worth a look, 0.25 a new training."""
        if self.seen < SEEN_MIN:
            return {}
        found = {}
        for name, counts in self._counts.items():
            expected = np.maximum(self._shares[name], FLOOR)
            actual = np.maximum(counts / max(counts.sum(), 1.0), FLOOR)
            found[name] = round(float(((actual - expected) * np.log(actual / expected)).sum()), 4)
        return found


def _columns(rows: Row, p_late: Floats | None) -> list[tuple[str, Floats]]:
    score = [] if p_late is None else [(SCORE, p_late)]
    return [*((name, rows[:, at]) for at, name in enumerate(NAMES)), *score]
