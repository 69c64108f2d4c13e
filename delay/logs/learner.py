"""Everything that a model of event logs learns from a history up to its cut-off, and how it is put together.

Three members know the risk: the empirical estimate; a logistic regression; and gradient-boosted trees. The last two
see the features of a case, what the empirical estimate says of it, and how much time other trees expect it to take
still. Their log-odds are mixed, because they err in different ways: on logs of some hundred cases, and where things
change, the mix beats each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from delay.event_log import Prefix
from delay.logs.booster import Booster, Objective, boost, booster_library
from delay.logs.empirical import Empirical, Estimate, Visit, visits_of
from delay.logs.features import LogFeatures, seconds
from delay.logs.history import Flags, History, table_of
from delay.logs.regression import Regression
from delay.metrics import Floats
from delay.recalibration import log_odds, logistic

Basis = Literal["imputed", "recent", "closed", "due"]
BASES: Final[tuple[Basis, ...]] = ("imputed", "recent", "closed", "due")
"""Which cases are learnt from: all, those still open with the outcome that the empirical estimate expects of them; the
same, the newest weighing most; those whose outcome is known, of which the newest are only the quick ones; or those
whose due date has passed, among which no slow one is missing."""
SIZES: Final = ((7, 80), (15, 150), (31, 300))
"""(leaves, trees)."""
MANY: Final = 2_000
"""Closed cases from which the middle size is the usual one."""
REST_SIZE: Final = (15, 150)
LEARN_MIN: Final = 40
"""Closed cases without which there is the empirical estimate only."""
TRUST_HALF: Final = 100.0
"""Closed cases at which what is learnt has half of the weight that it has in the long run."""
OUTCOMES_MIN: Final = 5
FOLDS: Final = 3
"""What one member says of cases that another one learns from is learnt from the other folds of them."""
HALF_LIVES: Final = 4.0
"""How often the weight of a case halves over the history, on the basis `recent`."""
PENALTY: Final = 30.0
"""Of the regression; with a tenth of it, it mostly ranked worse on logs of some hundred cases."""
COLUMNS: Final = 4
"""What the empirical estimate adds to the features: log-odds, and three quantiles of the time left."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Shares of the members; they add up to 1."""

    empirical: float
    regression: float
    trees: float

    @classmethod
    def usual(cls, closed: int, *, has_trees: bool) -> Weights:
        """What so many closed cases deserve while nothing has been tried: in the long run the same for each member."""
        if closed < LEARN_MIN:
            return cls(1.0, 0.0, 0.0)
        each = closed / (closed + TRUST_HALF) / (3 if has_trees else 2)
        return cls(1 - each * (2 if has_trees else 1), each, each if has_trees else 0.0)


@dataclass(frozen=True, slots=True)
class Choice:
    """What is learnt and how it is mixed; `rest_trees` is the share of the trees in the remaining time."""

    weights: Weights
    basis: Basis = BASES[0]
    size: tuple[int, int] = SIZES[0]
    rest_basis: Basis = BASES[0]
    rest_trees: float = 0.0


class Members:
    """What each member says of some prefixes."""

    def __init__(self, learner: Learner, prefixes: list[Prefix], due_s: Floats) -> None:
        self.estimate = learner.empirical.estimate(prefixes, due_s)
        self.rows = learner.rows(prefixes, due_s, self.estimate) if learner.can_learn else np.zeros((0, 0))


class Learner:
    """Learns from a history. The empirical estimate is there at once, the other members when they are asked for."""

    def __init__(self, history: History, seed: int) -> None:
        self._seed = seed
        self._history = history
        self._table = table_of(history)
        self._visits = visits_in(history)
        self.empirical = Empirical(self._visits)
        self.closed = len(history.closed)
        self.can_learn = self.closed >= LEARN_MIN and self.offers("closed")
        self.has_trees = self.can_learn and booster_library() is not None
        self._regression: Regression | None = None
        self._trees: Booster | None = None
        self._rest_trees: Booster | None = None
        self._rest_usual: Booster | None = None
        self._choice = Choice(Weights(1.0, 0.0, 0.0))
        if self.can_learn:
            self.features = LogFeatures(history.closed, history.opened)
            self._late, self._rest_s = self._imputed()
            self._rows = self._with_estimates()
            self._columns = self._rows.shape[1]
            if self.has_trees:
                self._rows = self._with_rests()

    @property
    def usual(self) -> Choice:
        """What is chosen while nothing has been tried."""
        if not self.can_learn:
            return self._choice
        weights = Weights.usual(self.closed, has_trees=self.has_trees)
        return Choice(weights, size=SIZES[self.closed >= MANY], rest_trees=1.5 * weights.trees)

    def offers(self, basis: Basis) -> bool:
        """Whether cases of the basis were late and others in time, both at moments at which that was not known."""
        rows = ~self._table.is_past_due & self._belongs(basis) & np.isfinite(self._table.late)
        late, in_time = (len(np.unique(self._table.case[rows & (self._table.late == each)])) for each in (1.0, 0.0))
        return min(late, in_time) >= OUTCOMES_MIN

    def train(self, choice: Choice) -> None:
        """Fit what the choice gives weight to."""
        self._choice = choice
        self._regression = self.regression(choice.basis) if choice.weights.regression else None
        self._trees = self.trees(choice.basis, *choice.size) if choice.weights.trees else None
        self._rest_trees = self.rest_trees(choice.rest_basis) if choice.rest_trees else None

    def answer(self, prefixes: list[Prefix], due_s: Floats) -> tuple[Floats, Floats]:
        """(probability to be late before recalibration, middle of the seconds left)."""
        found = Members(self, prefixes, due_s)
        regression = self._regression.predict(found.rows) if self._regression else None
        trees = self._trees.predict(found.rows) if self._trees else None
        rest_s = found.estimate.median_s
        if self._rest_trees is not None:
            rest_s = blended(rest_s, self.rest_s(self._rest_trees, found.rows), self._choice.rest_trees)
        return mixed(self._choice.weights, found.estimate.p_late, regression, trees), rest_s

    def rows(self, prefixes: list[Prefix], due_s: Floats, estimate: Estimate) -> Floats:
        """The features, and what the other members say of them."""
        rows = np.hstack([self.features.rows(prefixes, due_s), _columns(estimate)])
        if self._rest_usual is None:
            return rows
        return np.hstack([rows, self._rest_columns(rows, self._rest_usual.predict(rows))])

    def rest_s(self, trees: Booster, rows: Floats) -> Floats:
        """Seconds left by trees for the remaining time."""
        return np.expm1(np.maximum(trees.predict(rows[:, : self._columns]), 0.0)) * 3600

    def regression(self, basis: Basis) -> Regression:
        """Logistic regression for the probability to be late."""
        rows = ~self._table.is_past_due & self._belongs(basis)
        return Regression(
            self._rows[rows],
            self._late[rows],
            categorical=self.features.categorical,
            penalty=PENALTY,
            weights=self._weights(rows, basis),
        )

    def trees(self, basis: Basis, leaves: int, count: int) -> Booster:
        """Trees for the probability to be late."""
        rows = ~self._table.is_past_due & self._belongs(basis)
        return self._boost(rows, self._late, "cross_entropy", basis, (leaves, count))

    def rest_trees(self, basis: Basis) -> Booster:
        """Trees for the logarithm of the time left: its middle is that of the time."""
        if basis == BASES[0] and self._rest_usual is not None:
            return self._rest_usual
        return self._boost_rest(self._belongs(basis), basis)

    def _boost_rest(self, some: Flags, basis: Basis) -> Booster:
        rows = some & np.isfinite(self._rest_s)
        return self._boost(rows, _logarithm(self._rest_s), "regression_l1", basis, REST_SIZE)

    def _boost(
        self, rows: Flags, target: Floats, objective: Objective, basis: Basis, size: tuple[int, int]
    ) -> Booster:
        columns = self._columns if objective == "regression_l1" else None
        return boost(
            self._rows[rows, :columns],
            target[rows],
            objective=objective,
            categorical=self.features.categorical,
            leaves=size[0],
            count=size[1],
            weights=self._weights(rows, basis),
            # Points of a case are alike: a leaf needs the points of several.
            leaf_min=int(np.clip(rows.sum() / 150, 20, 150)),
            seed=self._seed,
        )

    def _belongs(self, basis: Basis) -> Flags:
        match basis:
            case "closed":
                return np.isfinite(self._table.late)
            case "due":
                return self._table.is_due
            case "imputed" | "recent":
                return np.ones(len(self._table), dtype=np.bool_)

    def _weights(self, rows: Flags, basis: Basis) -> Floats | None:
        if basis != "recent":
            return None
        start_s = self._table.start_s[rows]
        weights: Floats = 0.5 ** (HALF_LIVES * (start_s.max() - start_s) / max(float(np.ptp(start_s)), 1.0))
        return weights

    def _with_estimates(self) -> Floats:
        """The features, and what the empirical estimate says that has not seen the case, as later when it is asked."""
        table = self._table
        columns = np.zeros((len(table), COLUMNS))
        for fold in range(FOLDS):
            empirical = Empirical(each for each in self._visits if each.case % FOLDS != fold)
            is_own = table.case % FOLDS == fold
            own = table.where(is_own)
            columns[is_own] = _columns(empirical.estimate(own.prefixes, own.due_s))
        return np.hstack([self.features.rows(table.prefixes, table.due_s), columns])

    def _with_rests(self) -> Floats:
        """The same rows with what trees expect of the remaining time that have not seen the case."""
        expected = np.zeros(len(self._rows))
        for fold in range(FOLDS):
            is_own = self._table.case % FOLDS == fold
            expected[is_own] = self._boost_rest(~is_own, BASES[0]).predict(self._rows[is_own])
        self._rest_usual = self._boost_rest(self._belongs(BASES[0]), BASES[0])
        return np.hstack([self._rows, self._rest_columns(self._rows, expected)])

    def _rest_columns(self, rows: Floats, expected: Floats) -> Floats:
        """Logarithm of the hours expected, and how far that of the hours left lies above."""
        left_h = rows[:, self.features.names.index("left_h")]
        return np.column_stack([expected, np.log1p(np.maximum(left_h, 0.0)) - expected])

    def _imputed(self) -> tuple[Floats, Floats]:
        """(label, seconds left) of each point; of open cases what the empirical estimate expects."""
        table, known = self._table, self._history.known
        places = [at for at, each in enumerate(known) if not each.is_closed]
        if not places:
            return table.late, table.rest_s
        due_s = np.array([seconds(known[at].due_at) for at in places])
        expected = self.empirical.estimate(self._history.opened, due_s)
        late_by_case, end_by_case = np.full(len(known), np.nan), np.full(len(known), np.nan)
        late_by_case[places] = expected.p_late
        end_by_case[places] = seconds(self._history.cutoff) + expected.median_s
        late = np.where(np.isnan(table.late), late_by_case[table.case], table.late)
        rest_s = np.where(np.isnan(table.rest_s), end_by_case[table.case] - table.now_s, table.rest_s)
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


def mixed(weights: Weights, empirical: Floats, regression: Floats | None, trees: Floats | None) -> Floats:
    """The members' probabilities mixed in their log-odds."""
    found = weights.empirical * log_odds(empirical)
    if regression is not None:
        found = found + weights.regression * log_odds(regression)
    if trees is not None:
        found = found + weights.trees * log_odds(trees)
    return logistic(found)


def blended(rest_s: Floats, trees_s: Floats, share: float) -> Floats:
    """Two remaining times mixed."""
    return (1 - share) * rest_s + share * trees_s


def _logarithm(rest_s: Floats) -> Floats:
    """As the trees learn it: long rests must not outweigh everything."""
    found: Floats = np.log1p(np.maximum(rest_s, 0.0) / 3600)
    return found


def _columns(estimate: Estimate) -> Floats:
    return np.column_stack([log_odds(estimate.p_late), np.log1p(estimate.quantiles_s[:, (0, 2, 4)] / 3600)])
