"""Everything that a model of event logs learns from a history up to its cut-off: the empirical estimate, and trees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from delay.event_log import Prefix
from delay.log_booster import TREES_MAX, Booster, Objective, boost, booster_library
from delay.log_empirical import Empirical, Estimate, Visit, visits_of
from delay.log_features import LogFeatures, seconds
from delay.log_history import Flags, History, table_of
from delay.metrics import Floats
from delay.recalibration import log_odds, logistic

Basis = Literal["closed", "due", "imputed", "recent"]
BASES: Final[tuple[Basis, ...]] = ("closed", "due", "imputed", "recent")
"""Which cases trees learn from: all whose outcome is known; those whose due date has passed (slow ones cannot be missing
among them); all, open ones with the outcome that the empirical estimate expects; the same, the newest weighing most."""
BOOST_MIN: Final = 150
"""Closed cases without which there is no booster."""
FOLDS: Final = 5
LEAVES: Final = (7, 31)
TREES: Final = (40, 80, 150, TREES_MAX)
HALF_LIVES: Final = 4.0
"""How often the weight of a case halves over the history, on the basis `recent`."""

COLUMNS: Final = 4
"""What the empirical estimate adds to the features: log-odds, and three quantiles of the time left."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is learnt and how it is mixed. `weight` is the share of the trees in the log-odds, `rest_weight` in the
    remaining time; what is left is the empirical estimate's.
    """

    is_censored: bool = False
    basis: Basis = "closed"
    leaves: int = LEAVES[0]
    trees: int = TREES[0]
    weight: float = 0.0
    rest_basis: Basis = "closed"
    rest_weight: float = 0.0


class Learner:
    """Learns from a history. The estimate is there at once, trees when they are asked for."""

    def __init__(self, history: History, *, is_censored: bool, seed: int) -> None:
        self._seed = seed
        self._history = history
        self._choice = Choice(is_censored=is_censored)
        self._table = table_of(history)
        self._visits = visits_in(history)
        self.is_censored = is_censored
        self.empirical = Empirical(self._visits, is_censored=is_censored)
        self.can_boost = booster_library() is not None and len(history.closed) >= BOOST_MIN
        self._late: Booster | None = None
        self._rest: Booster | None = None
        if self.can_boost:
            self.features = LogFeatures(history.closed, history.opened)
            self._rows = self._training_rows()
            self._soft_late, self._soft_rest_s = self._imputed()

    def train(self, choice: Choice) -> None:
        """Fit what the choice gives weight to."""
        self._choice = choice if self.can_boost else replace(choice, weight=0.0, rest_weight=0.0)
        self._late = self.classifier(choice.basis, choice.leaves, choice.trees) if self._choice.weight else None
        self._rest = self.regressor(choice.rest_basis) if self._choice.rest_weight else None

    def answer(self, prefixes: list[Prefix], due_s: Floats) -> tuple[Floats, Floats]:
        """(probability to be late before recalibration, middle of the seconds left)."""
        estimate = self.empirical.estimate(prefixes, due_s)
        p_late, rest_s = estimate.p_late, estimate.median_s
        if self._late is not None or self._rest is not None:
            rows = self.rows(prefixes, due_s, estimate)
            if self._late is not None:
                p_late = mixed(p_late, self._late.predict(rows), self._choice.weight)
            if self._rest is not None:
                rest_s = blended(rest_s, from_logarithm(self._rest.predict(rows)), self._choice.rest_weight)
        return p_late, rest_s

    def rows(self, prefixes: list[Prefix], due_s: Floats, estimate: Estimate) -> Floats:
        """The features, and what the empirical estimate says."""
        return np.hstack([self.features.rows(prefixes, due_s), _columns(estimate)])

    def classifier(self, basis: Basis, leaves: int, trees: int = TREES_MAX) -> Booster:
        """Trees for the probability to be late, learnt from points before the due date."""
        rows = ~self._table.is_past_due & self._belongs(basis)
        return self._boost(rows, self._soft_late, "cross_entropy", basis, leaves, trees)

    def regressor(self, basis: Basis) -> Booster:
        """Trees for the logarithm of the time left: its middle is that of the time."""
        rows = np.isfinite(self._soft_rest_s) & self._belongs(basis)
        return self._boost(rows, to_logarithm(self._soft_rest_s), "regression_l1", basis, LEAVES[1], TREES[2])

    def _boost(self, rows: Flags, target: Floats, objective: Objective, basis: Basis, leaves: int, trees: int) -> Booster:
        start_s = self._table.start_s[rows]
        weights = None
        if basis == "recent":
            span_s = max(float(np.ptp(start_s)), 1.0)
            weights = 0.5 ** (HALF_LIVES * (start_s.max() - start_s) / span_s)
        return boost(
            self._rows[rows],
            target[rows],
            objective=objective,
            categorical=self.features.categorical,
            leaves=leaves,
            count=trees,
            weights=weights,
            leaf_min=int(np.clip(rows.sum() / 150, 20, 150)),
            seed=self._seed,
        )

    def _belongs(self, basis: Basis) -> Flags:
        match basis:
            case "closed":
                return np.isfinite(self._table.late)
            case "due":
                return self._table.is_due
            case _:
                return np.ones(len(self._table), dtype=np.bool_)

    def _training_rows(self) -> Floats:
        """Rows whose empirical estimate has not seen their own case, as it will not have when it is asked."""
        table = self._table
        columns = np.zeros((len(table), COLUMNS))
        for fold in range(FOLDS):
            others = (each for each in self._visits if each.case % FOLDS != fold)
            empirical = Empirical(others, is_censored=self.is_censored)
            is_own = table.case % FOLDS == fold
            own = table.where(is_own)
            columns[is_own] = _columns(empirical.estimate(own.prefixes, own.due_s))
        return np.hstack([self.features.rows(table.prefixes, table.due_s), columns])

    def _imputed(self) -> tuple[Floats, Floats]:
        """(label, seconds left) of each point; of open cases what the empirical estimate expects."""
        table, known = self._table, self._history.known
        late, rest_s = table.late.copy(), table.rest_s.copy()
        places = [at for at, each in enumerate(known) if not each.is_closed]
        if not places:
            return late, rest_s
        due_s = np.array([seconds(known[at].due_at) for at in places])
        expected = self.empirical.estimate(self._history.opened, due_s)
        late_by_case, end_by_case = np.full(len(known), np.nan), np.full(len(known), np.nan)
        late_by_case[places] = expected.p_late
        end_by_case[places] = seconds(self._history.cutoff) + expected.median_s
        late = np.where(np.isnan(late), late_by_case[table.case], late)
        rest_s = np.where(np.isnan(rest_s), end_by_case[table.case] - table.now_s, rest_s)
        return late, rest_s


def visits_in(history: History) -> list[Visit]:
    """All visits of all cases, as far as they were known."""
    return [
        visit
        for at, each in enumerate(history.known)
        for visit in visits_of(
            at, each.case.prefix(each.case.ended_at if each.is_closed else history.cutoff), each.is_closed
        )
    ]


def mixed(p_late: Floats, boosted: Floats, weight: float) -> Floats:
    """Two probabilities mixed in their log-odds."""
    return logistic((1 - weight) * log_odds(p_late) + weight * log_odds(boosted))


def blended(rest_s: Floats, boosted_s: Floats, weight: float) -> Floats:
    """Two remaining times mixed."""
    return (1 - weight) * rest_s + weight * boosted_s


def to_logarithm(rest_s: Floats) -> Floats:
    """As the trees learn it: long rests must not outweigh everything."""
    found: Floats = np.log1p(np.maximum(rest_s, 0.0) / 3600)
    return found


def from_logarithm(found: Floats) -> Floats:
    """Seconds again."""
    return np.expm1(np.maximum(found, 0.0)) * 3600


def _columns(estimate: Estimate) -> Floats:
    return np.column_stack([log_odds(estimate.p_late), np.log1p(estimate.quantiles_s[:, (0, 2, 4)] / 3600)])

