"""Reference baselines for event logs: what any model has to beat. None is tuned, and none knows of open cases.

constant: the share that was late, whatever the case. last activity: the mean time left after the last activity, held
against the time that is left. empirical: the share of past cases with this last activity that needed longer than is
left. logistic: logistic regression over the features of `delay.logs.features`. booster: 300 trees of 31 leaves over the
same features, where lightgbm is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from delay.event_log import Case, Prefix
from delay.logs.booster import booster_library
from delay.logs.features import LogFeatures, seconds
from delay.logs.history import History, Table, table_of
from delay.logs.regression import Regression
from delay.metrics import Floats
from delay.recalibration import logistic
from delay.score_points import DueRule

Answers = list[tuple[float, float]]

RIDGE: Final = 1.0
VISITS_MIN: Final = 10


def _table(train: Sequence[Case]) -> Table:
    return table_of(History.of(train, [], DueRule(train)))


def _due_s(prefixes: Sequence[Prefix]) -> Floats:
    return np.array([seconds(each.due_at) if each.due_at else seconds(each.now) for each in prefixes])


def _left_s(prefixes: Sequence[Prefix]) -> Floats:
    left: Floats = _due_s(prefixes) - np.array([seconds(each.now) for each in prefixes])
    return left


class Constant:
    """Always the share of the past, and the mean time that was left."""

    def fit(self, train: Sequence[Case], open_cases: Sequence[Prefix]) -> None:
        table = _table(train)
        self._share = float(table.late[~table.is_past_due].mean())
        self._rest_s = float(table.rest_s[table.is_event].mean())

    def predict(self, prefixes: Sequence[Prefix]) -> Answers:
        return [(self._share, self._rest_s)] * len(prefixes)


class LastActivity:
    """The mean time left after the last activity; the longer it is beside the time left, the riskier."""

    def fit(self, train: Sequence[Case], open_cases: Sequence[Prefix]) -> None:
        self._rests = rests_by_activity(train)
        self._all_s = float(np.concatenate(list(self._rests.values())).mean()) if self._rests else 0.0

    def predict(self, prefixes: Sequence[Prefix]) -> Answers:
        answers = []
        for prefix, left_s in zip(prefixes, _left_s(prefixes), strict=True):
            rests = self._rests.get(prefix.events[-1].activity)
            since_s = (prefix.now - prefix.events[-1].at).total_seconds()
            rest_s = max((float(rests.mean()) if rests is not None else self._all_s) - since_s, 0.0)
            p_late = float(logistic(np.array([(rest_s - left_s) / max(self._all_s, 1.0)]))[0])
            answers.append((p_late, rest_s))
        return answers


class EmpiricalShare:
    """The share of past cases with this last activity that needed longer than is left, and their median."""

    def fit(self, train: Sequence[Case], open_cases: Sequence[Prefix]) -> None:
        self._rests = rests_by_activity(train)
        self._all = np.sort(np.concatenate(list(self._rests.values()))) if self._rests else np.zeros(1)

    def predict(self, prefixes: Sequence[Prefix]) -> Answers:
        answers = []
        for prefix, left_s in zip(prefixes, _left_s(prefixes), strict=True):
            rests = self._rests.get(prefix.events[-1].activity, self._all)
            since_s = (prefix.now - prefix.events[-1].at).total_seconds()
            lasting = rests[np.searchsorted(rests, since_s, side="right") :]
            if len(lasting) < VISITS_MIN:
                lasting = rests
            longer = len(lasting) - np.searchsorted(lasting, since_s + left_s, side="right")
            answers.append((float(longer / len(lasting)), max(float(np.median(lasting)) - since_s, 0.0)))
        return answers


class Logistic:
    """Logistic regression; the time left as `LastActivity` has it."""

    def fit(self, train: Sequence[Case], open_cases: Sequence[Prefix]) -> None:
        table = _table(train)
        before = table.where(~table.is_past_due)
        self._features = LogFeatures(train, [])
        rows = self._features.rows(before.prefixes, before.due_s)
        self._late = Regression(rows, before.late, categorical=self._features.categorical, penalty=RIDGE)
        self._rest = LastActivity()
        self._rest.fit(train, open_cases)

    def predict(self, prefixes: Sequence[Prefix]) -> Answers:
        p_late = self._late.predict(self._features.rows(prefixes, _due_s(prefixes)))
        return [(float(p), rest_s) for p, (_, rest_s) in zip(p_late, self._rest.predict(prefixes), strict=True)]


class UntunedBooster:
    """What one gets from lightgbm in an afternoon."""

    OPTIONS: Final[Mapping[str, Any]] = {
        "num_leaves": 31,
        "learning_rate": 0.05,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def fit(self, train: Sequence[Case], open_cases: Sequence[Prefix]) -> None:
        table = _table(train)
        self._features = LogFeatures(train, [])
        rows = self._features.rows(table.prefixes, table.due_s)
        self._late = self._trees(rows[~table.is_past_due], table.late[~table.is_past_due], "binary")
        self._rest = self._trees(rows, table.rest_s / 3600, "regression")

    def predict(self, prefixes: Sequence[Prefix]) -> Answers:
        rows = self._features.rows(prefixes, _due_s(prefixes))
        p_late = self._late.predict(rows, num_threads=1)
        rest_s = np.maximum(self._rest.predict(rows, num_threads=1), 0.0) * 3600
        return list(zip(p_late.tolist(), rest_s.tolist(), strict=True))

    def _trees(self, rows: Floats, target: Floats, objective: str) -> Any:
        library = booster_library()
        assert library is not None, "it is left out of the baselines without the library"
        data = library.Dataset(
            rows, label=target, categorical_feature=self._features.categorical, params={"verbosity": -1}
        )
        options = {**self.OPTIONS, "objective": objective, "seed": self._seed}
        return library.train(options, data, num_boost_round=300)


def rests_by_activity(train: Sequence[Case]) -> dict[str, Floats]:
    """Seconds from each activity to the end of its case, sorted; the last activity of a case has none."""
    found: dict[str, list[float]] = {}
    for case in train:
        for event in case.events[:-1]:
            found.setdefault(event.activity, []).append((case.ended_at - event.at).total_seconds())
    return {activity: np.sort(rests) for activity, rests in found.items()}


def baselines(seed: int = 0) -> dict[str, Callable[[], Any]]:
    """The reference baselines by name."""
    found: dict[str, Callable[[], Any]] = {
        "constant": Constant,
        "last activity": LastActivity,
        "empirical": EmpiricalShare,
        "logistic": Logistic,
    }
    if booster_library() is not None:
        found["booster"] = lambda: UntunedBooster(seed)
    return found
