"""A model of event logs tried on the newest part of its own history, by one that knows only what came before.

The cut is the one that the model itself faces: cases that had ended by then to learn from, those open then as far as
they were known, and later ones to answer for. Of these only cases count whose due date has passed by now: among the
others the slow ones are not known yet, and quick ones alone would praise the optimist.

What is chosen stays close to what is usual, the more so the fewer cases there are: the best of many candidates on few
cases is mostly the luckiest. Size and basis change only for one that is clearly better. The mix is the mean of all
mixes, weighted by how well they did: it moves a little for a little evidence, where a choice would jump.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from datetime import datetime
from typing import Final, TypeVar

import numpy as np

from delay.logs.history import History, Table, table_of
from delay.logs.learner import BASES, SIZES, Basis, Choice, Learner, Members, Weights, blended, mixed
from delay.metrics import Floats, auc
from delay.recalibration import Recalibration, recalibrated
from delay.remaining import Spread

NEWEST_SHARE: Final = 0.3
OUTCOMES_MIN: Final = 20
"""So many late cases, and as many in time, are needed to decide anything by."""
CLEAR: Final = 0.2
"""A candidate must be better by this, divided by the root of the number of cases: in AUC, or in share of the error of
the remaining time."""
LEANING: Final = 0.05
"""A mix that did better by this, divided by the same root, counts e times as much."""
PULL: Final = 2.0
"""How strongly mixes are drawn to the usual one."""
STEPS: Final = 4
"""Weights are tried in quarters."""
REST_BASES: Final[tuple[Basis, ...]] = ("imputed", "recent", "closed")

Candidate = TypeVar("Candidate")


class Trial:
    """Candidates and their figures on the newest part of a history."""

    def __init__(self, history: History, border: datetime, newest: Table, seed: int) -> None:
        self._scored = newest.where(~newest.is_past_due)
        self._timed = newest.where(newest.is_event & np.isfinite(newest.rest_s))
        self.cases = len(np.unique(newest.case))
        self._clear = CLEAR / float(np.sqrt(self.cases))
        self.figures: dict[str, float] = {}
        self._learner = Learner(history.at(border), seed)

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

    def choose(self, usual: Choice) -> Choice:
        """The usual choice, moved to where another is clearly better."""
        learner = self._learner
        if not learner.can_learn or not usual.weights.regression:
            return usual
        members = Members(learner, self._scored.prefixes, self._scored.due_s)
        basis = self._choose_basis(members, usual)
        regression = learner.regression(basis).predict(members.rows)
        size, trees = self._choose_size(members, regression, basis, usual)
        steps = [(some, more) for some in range(STEPS + 1) for more in range(STEPS + 1 - some)]
        grid = np.array([(STEPS - some - more, some, more) for some, more in steps]) / STEPS
        if trees is None:
            grid = grid[grid[:, 2] == 0]
        areas = [self._auc(mixed(Weights(*each), members.estimate.p_late, regression, trees)) for each in grid]
        weights = Weights(*self._leaning(grid, areas, np.array(astuple(usual.weights))))
        self.figures |= {
            "auc empirical": self._auc(members.estimate.p_late),
            "auc usual": self._auc(mixed(usual.weights, members.estimate.p_late, regression, trees)),
            "auc chosen": self._auc(mixed(weights, members.estimate.p_late, regression, trees)),
        }
        choice = replace(usual, weights=weights, basis=basis, size=size)
        return self._choose_rest(choice) if learner.has_trees else choice

    def adjust(self, choice: Choice) -> tuple[Recalibration, Spread]:
        """The level of the probabilities and the spread of the remaining time, as they were on the newest cases."""
        scored, timed = self._scored, self._timed
        self._learner.train(choice if self._learner.can_learn else self._learner.usual)
        p_late, _ = self._learner.answer(scored.prefixes, scored.due_s)
        _, rest_s = self._learner.answer(timed.prefixes, timed.due_s)
        return recalibrated(p_late, scored.late, scored.case, scored.start_s), Spread(rest_s, timed.rest_s)

    def _choose_basis(self, members: Members, usual: Choice) -> Basis:
        found: dict[Basis, float] = {}
        for basis in filter(self._learner.offers, BASES):
            regression = self._learner.regression(basis).predict(members.rows)
            trees = self._learner.trees(basis, *usual.size).predict(members.rows) if self._learner.has_trees else None
            found[basis] = self._auc(mixed(usual.weights, members.estimate.p_late, regression, trees))
        self.figures |= {f"auc basis {basis}": area for basis, area in found.items()}
        return _clearly_best(found, self._clear)

    def _choose_size(
        self, members: Members, regression: Floats, basis: Basis, usual: Choice
    ) -> tuple[tuple[int, int], Floats | None]:
        """(size of the trees, what they say)."""
        if not self._learner.has_trees:
            return usual.size, None
        sizes = sorted(SIZES, key=lambda size: abs(size[0] - usual.size[0]))
        said = {size: self._learner.trees(basis, *size).predict(members.rows) for size in sizes}
        found = {
            size: self._auc(mixed(usual.weights, members.estimate.p_late, regression, trees))
            for size, trees in said.items()
        }
        size = _clearly_best(found, self._clear)
        return size, said[size]

    def _choose_rest(self, choice: Choice) -> Choice:
        timed = self._timed
        members = Members(self._learner, timed.prefixes, timed.due_s)
        median_s = members.estimate.median_s
        trees_s = {
            basis: self._learner.rest_s(self._learner.rest_trees(basis), members.rows) for basis in REST_BASES
        }

        def error(basis: Basis, share: float) -> float:
            """Negative and as a logarithm: differences are shares of the error."""
            error_s = np.abs(blended(median_s, trees_s[basis], share) - timed.rest_s).mean()
            return -float(np.log(max(error_s, 1.0)))

        basis = _clearly_best({each: error(each, choice.rest_trees) for each in REST_BASES}, self._clear)
        shares = np.arange(STEPS + 1)[:, None] / STEPS
        errors = [error(basis, float(share)) for share in shares[:, 0]]
        (share,) = self._leaning(shares, errors, np.array([choice.rest_trees]))
        self.figures |= {"rest empirical, d": _days(errors[0]), "rest trees, d": _days(errors[-1])}
        return replace(choice, rest_basis=basis, rest_trees=share)

    def _leaning(self, candidates: Floats, figures: Sequence[float], usual: Floats) -> list[float]:
        """The mean of the candidates (rows), weighted by how well they did and how close they are to the usual one."""
        known = np.array(figures)
        scale = LEANING / np.sqrt(self.cases)
        leaning = (known - known.max()) / scale - PULL * ((candidates - usual) ** 2).sum(axis=1)
        shares = np.exp(leaning - leaning.max())
        found: list[float] = (shares @ candidates / shares.sum()).tolist()
        return found

    def _auc(self, p_late: Floats) -> float:
        return auc(self._scored.late, p_late)


def _clearly_best(figures: Mapping[Candidate, float], clear: float) -> Candidate:
    """The first candidate that none is clearly better than: the usual ones come first."""
    best = max(figures.values())
    return next(candidate for candidate, found in figures.items() if found >= best - clear)


def _days(error: float) -> float:
    return float(np.exp(-error)) / 86_400
