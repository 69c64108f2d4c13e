"""The forms that the stock model takes, from the one that needs no history to the one that needs much.

    planned     the built-in model's own probability
    empirical   the share of past orders that stood as long after the same step and needed longer than is left
    logistic    logistic regression over the features
    trees       gradient boosting over the features, by lightgbm

Each is learnt from rows of `delay.features` and answers with a probability; each but the trees is kept as plain
numbers, and those as lightgbm's own text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, Self

import numpy as np

from delay.features import CATEGORIES, NAMES, Row, column
from delay.logs.booster import boost, booster_library
from delay.logs.regression import Regression
from delay.metrics import Floats
from delay.training import TrainingSet

CATEGORICAL: Final = tuple(NAMES.index(name) for name in CATEGORIES)
FEW: Final = 2_000
"""Orders below which the trees are fewer and smaller."""
SIZES: Final = ((15, 150), (31, 300))
"""(leaves, trees)."""
PENALTY: Final = 30.0
PRIOR_VISITS: Final = 20.0
"""What is less alike counts as much as so many visits."""
VISITS_KEPT: Final = 200
"""Of more, so many quantiles are kept."""
ORDERS_MIN: Final[Mapping[str, int]] = {"planned": 0, "empirical": 1, "logistic": 40, "trees": 200}
"""Closed orders without which a form is not tried."""


class Form(Protocol):
    """One form, fitted."""

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """As it was kept."""
        ...

    def p_late(self, rows: Row) -> Floats:
        """The probability to be late of each row."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """What is kept of it."""
        ...


class Planned:
    """The built-in model's probability, as it stands in the rows."""

    @classmethod
    def fit(cls, learnt: TrainingSet, seed: int) -> Self:
        """Nothing is to be learnt."""
        return cls()

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """As it was kept."""
        return cls()

    def p_late(self, rows: Row) -> Floats:
        return column(rows, "path_p_late")

    def to_dict(self) -> dict[str, Any]:
        return {}


class Empirical:
    """How long orders took from where they stood until they ended; few of a kind are mixed with those less alike."""

    def __init__(self, visits: Mapping[str, tuple[int, Floats]]) -> None:
        """Take what was observed.

        Args:
            visits: by key (plan class and last step, the last step, or neither): how many there were, and seconds from
                the last movement to the end, sorted.
        """
        self._visits = visits

    @classmethod
    def fit(cls, learnt: TrainingSet, seed: int) -> Self:
        """From the points: one visit for each step of each order."""
        rows = learnt.rows
        age_s = column(rows, "last_step_age_s")
        moved_at = np.round(learnt.at - age_s)
        rests: dict[str, list[float]] = defaultdict(list)
        seen: set[tuple[str, str, float]] = set()
        for at, keys in enumerate(_keys(rows)):
            visit = (str(learnt.order_ids[at]), keys[0], float(moved_at[at]))
            if visit in seen or not np.isfinite(learnt.left_s[at]):
                continue
            seen.add(visit)
            for key in keys:
                rests[key].append(float(learnt.left_s[at] + age_s[at]))
        return cls({key: (len(found), _thinned(np.sort(found))) for key, found in rests.items()})

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """As it was kept."""
        return cls({key: (int(count), np.asarray(rests)) for key, (count, rests) in stored["visits"].items()})

    def p_late(self, rows: Row) -> Floats:
        age_s, left_s = column(rows, "last_step_age_s"), column(rows, "left_s")
        found = np.empty(len(rows))
        for at, keys in enumerate(_keys(rows)):
            share = 0.5
            for key in reversed(keys):
                count, rests = self._visits.get(key, (0, np.empty(0)))
                if not len(rests):
                    continue
                still = len(rests) - np.searchsorted(rests, age_s[at], side="right")
                longer = len(rests) - np.searchsorted(rests, age_s[at] + left_s[at], side="right")
                weight = count / len(rests)
                share = (longer * weight + PRIOR_VISITS * share) / (still * weight + PRIOR_VISITS)
            found[at] = share
        return found

    def to_dict(self) -> dict[str, Any]:
        return {"visits": {key: [count, rests.tolist()] for key, (count, rests) in sorted(self._visits.items())}}


def _keys(rows: Row) -> list[tuple[str, str, str]]:
    """The narrowest first."""
    classes, steps = column(rows, "plan_class"), column(rows, "last_step")
    return [(f"{int(one)}|{int(step)}", f"|{int(step)}", "|") for one, step in zip(classes, steps, strict=True)]


def _thinned(rests: Floats) -> Floats:
    if len(rests) <= VISITS_KEPT:
        return rests
    kept: Floats = np.quantile(rests, (np.arange(VISITS_KEPT) + 0.5) / VISITS_KEPT)
    return kept


class Logistic:
    """Logistic regression."""

    def __init__(self, regression: Regression) -> None:
        self._regression = regression

    @classmethod
    def fit(cls, learnt: TrainingSet, seed: int) -> Self:
        """From the points."""
        late = learnt.is_late.astype(np.float64)
        return cls(Regression(learnt.rows, late, categorical=CATEGORICAL, penalty=PENALTY))

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """As it was kept."""
        return cls(Regression.from_dict(stored))

    def p_late(self, rows: Row) -> Floats:
        return self._regression.predict(rows)

    def shares(self, rows: Row) -> tuple[Floats, float]:
        """See `Trees.shares`."""
        return self._regression.shares(rows)

    def to_dict(self) -> dict[str, Any]:
        return self._regression.to_dict()


class Trees:
    """Gradient boosting."""

    def __init__(self, trees: Any) -> None:
        self._trees = trees

    @classmethod
    def fit(cls, learnt: TrainingSet, seed: int) -> Self:
        """From the points; `booster_library` must be there."""
        leaves, count = SIZES[len(np.unique(learnt.order_ids)) >= FEW]
        made = boost(
            learnt.rows,
            learnt.is_late.astype(np.float64),
            objective="cross_entropy",
            categorical=CATEGORICAL,
            leaves=leaves,
            count=count,
            # Points of an order are alike: a leaf needs the points of several.
            leaf_min=int(np.clip(len(learnt) / 150, 20, 150)),
            seed=seed,
        )
        return cls(made.trees)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """As it was kept; raises what lightgbm raises for a text that is no model."""
        library = booster_library()
        assert library is not None, "callers ask for the library first"
        return cls(library.Booster(model_str=str(stored["lightgbm"])))

    def p_late(self, rows: Row) -> Floats:
        if not len(rows):
            return np.zeros(0)
        found: Floats = np.asarray(self._trees.predict(rows, num_threads=1), dtype=np.float64)
        return found

    @property
    def names(self) -> list[str]:
        """Of the columns that it was trained on, as lightgbm has kept them."""
        return list(map(str, self._trees.feature_name()))

    @property
    def width(self) -> int:
        """How many columns it was trained on."""
        return int(self._trees.num_feature())

    def shares(self, rows: Row) -> tuple[Floats, float]:
        """(what each feature adds to the log-odds, shape (rows, features); the usual log-odds)."""
        found = np.asarray(self._trees.predict(rows, num_threads=1, pred_contrib=True), dtype=np.float64)
        return found[:, :-1], float(found[0, -1])

    def to_dict(self) -> dict[str, Any]:
        return {"lightgbm": self._trees.model_to_string()}


FORMS: Final[Mapping[str, type[Planned | Empirical | Logistic | Trees]]] = {
    "planned": Planned,
    "empirical": Empirical,
    "logistic": Logistic,
    "trees": Trees,
}
"""In the order in which they are tried."""


def forms_for(orders: int) -> Sequence[str]:
    """The forms that can be tried with so many closed orders."""
    can_boost = booster_library() is not None
    return [name for name, least in ORDERS_MIN.items() if orders >= least and (name != "trees" or can_boost)]
