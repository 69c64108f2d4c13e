"""A model of event logs tried on the newest part of its own history, by one that knows only what came before.

The cut is the one that the model itself faces: cases that had ended by then to learn from, those open then as far as
they were known, and later ones to answer for. Of these only cases count whose due date has passed by now: among the
others the slow ones are not known yet, and quick ones alone would praise the optimist.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, TypeVar

import numpy as np

from delay.log_empirical import Empirical
from delay.log_history import History, Table, table_of
from delay.log_learner import (
    BASES,
    LEAVES,
    TREES,
    Basis,
    Choice,
    Learner,
    blended,
    from_logarithm,
    mixed,
    visits_in,
)
from delay.metrics import Floats, auc, brier
from delay.recalibration import Recalibration, recalibrated
from delay.remaining import Spread

NEWEST_SHARE: Final = 0.3
OUTCOMES_MIN: Final = 25
"""So many late cases, and as many in time, are needed to decide anything by."""
WEIGHTS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
TIE: Final = 0.002
"""A candidate must rank better by so much to replace a simpler one."""
REST_TIE: Final = 0.01
"""The same for the remaining time: share of the error."""
BRIER_TIE: Final = 0.0005

Candidate = TypeVar("Candidate")


class Trial:
    """Candidates and their figures on the newest part of a history."""

    def __init__(self, history: History, border: datetime, newest: Table, seed: int) -> None:
        self._before = history.at(border)
        self._seed = seed
        self._scored = newest.where(~newest.is_past_due)
        self._timed = newest.where(newest.is_event & np.isfinite(newest.rest_s))
        self.cases = len(np.unique(newest.case))
        self.figures: dict[str, float] = {}
        self._learner = Learner(self._before, is_censored=self._is_censored(), seed=seed)

    @classmethod
    def of(cls, history: History, seed: int) -> Trial | None:
        """None if there are too few cases to decide anything by."""
        starts = [each.case.started_at for each in history.known if each.due_at <= history.cutoff]
        if len(starts) < 2 * OUTCOMES_MIN:
            return None
        border = starts[round(len(starts) * (1 - NEWEST_SHARE))]
        newest = table_of(history, since=border)
        newest = newest.where(newest.is_due)
        _, firsts = np.unique(newest.case, return_index=True)
        late = newest.late[firsts]
        if min(late.sum(), (1 - late).sum()) < OUTCOMES_MIN or not history.at(border).closed:
            return None
        return cls(history, border, newest, seed)

    def choose(self) -> Choice:
        """The candidates that did best; a simpler one unless another is clearly better."""
        learner, scored = self._learner, self._scored
        estimate = learner.empirical.estimate(scored.prefixes, scored.due_s)
        self.figures["auc empirical"] = self._auc(estimate.p_late)
        if not learner.can_boost:
            return Choice(is_censored=learner.is_censored)
        rows = learner.rows(scored.prefixes, scored.due_s, estimate)
        by_basis: dict[Basis, float] = {
            basis: self._auc(learner.classifier(basis, LEAVES[0], TREES[1]).predict(rows)) for basis in BASES
        }
        self.figures |= {f"auc basis {basis}": found for basis, found in by_basis.items()}
        basis = _highest(by_basis, TIE)
        mixes: dict[tuple[float, int, int], float] = {}
        for leaves in LEAVES:
            booster = learner.classifier(basis, leaves)
            for trees in TREES:
                boosted = booster.predict(rows, trees)
                for weight in WEIGHTS:
                    mixes[weight, leaves, trees] = self._auc(mixed(estimate.p_late, boosted, weight))
        weight, leaves, trees = _highest(dict(sorted(mixes.items())), TIE)
        self.figures["auc chosen"] = mixes[weight, leaves, trees]
        rest_basis, rest_weight = self._choose_rest()
        return Choice(learner.is_censored, basis, leaves, trees, weight, rest_basis, rest_weight)

    def adjust(self, choice: Choice) -> tuple[Recalibration, Spread]:
        """The level of the probabilities and the spread of the remaining time, as they were on the newest cases."""
        scored, timed = self._scored, self._timed
        self._learner.train(choice)
        p_late, _ = self._learner.answer(scored.prefixes, scored.due_s)
        _, rest_s = self._learner.answer(timed.prefixes, timed.due_s)
        return recalibrated(p_late, scored.late, scored.case, scored.start_s), Spread(rest_s, timed.rest_s)

    def _is_censored(self) -> bool:
        scored = self._scored
        visits = visits_in(self._before)
        errors = {}
        for is_censored in (False, True):
            estimate = Empirical(visits, is_censored=is_censored).estimate(scored.prefixes, scored.due_s)
            errors[is_censored] = -brier(scored.late, estimate.p_late)
        return _highest(errors, BRIER_TIE)

    def _choose_rest(self) -> tuple[Basis, float]:
        learner, timed = self._learner, self._timed
        estimate = learner.empirical.estimate(timed.prefixes, timed.due_s)
        rows = learner.rows(timed.prefixes, timed.due_s, estimate)
        bases: tuple[Basis, ...] = ("closed", "imputed", "recent")
        errors: dict[tuple[Basis, float], float] = {}
        for basis in bases:
            boosted = from_logarithm(learner.regressor(basis).predict(rows))
            for weight in WEIGHTS:
                found = np.abs(blended(estimate.median_s, boosted, weight) - timed.rest_s).mean()
                errors[basis, weight] = -float(np.log(max(found, 1.0)))
        best = _highest(errors, REST_TIE)
        self.figures |= {f"rest {basis}": float(np.exp(-errors[basis, 1.0])) / 86400 for basis in bases}
        self.figures |= {"rest empirical": float(np.exp(-errors["closed", 0.0])) / 86400, "rest chosen": float(np.exp(-errors[best])) / 86400}
        return best

    def _auc(self, p_late: Floats) -> float:
        return auc(self._scored.late, p_late)


def _highest(figures: Mapping[Candidate, float], tie: float) -> Candidate:
    """The first candidate that is within `tie` of the best: simple ones come first."""
    best = max(figures.values())
    return next(candidate for candidate, found in figures.items() if found >= best - tie)
