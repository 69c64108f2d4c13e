"""The default model on plain event logs.

Three members say how likely a case is to be late (`delay.logs.learner`): what became of past cases like it, a logistic
regression, and gradient-boosted trees. Their weights, and from which cases they learn, start from what has proved
robust, and move where the newest part of the log itself says so (`delay.logs.trial`). The level of the probabilities is
then brought to what became true there (`delay.recalibration`), and the remaining time is made to agree with them
(`delay.remaining`). With few cases the past alone speaks; without lightgbm there are no trees.

Dropped: choosing by the columns of a log (it would fit the logs one has); cross-validation over random cases (it shows
the future to the past and praises the wrong candidate); taking whatever did best on the newest part (on some hundred
cases that is luck, and loses up to 0.04 AUC later); counts of cases open elsewhere (a prefix does not tell them, and
what can be told from a batch of prefixes depends on the batch; written with the events of simulated logs, they moved
the AUC by -0.003 to +0.001); and neural networks (no better on such logs, and much to install).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from delay.foreign_logs import as_case, as_prefix
from delay.logs.features import seconds
from delay.logs.history import History
from delay.logs.learner import Choice, Learner
from delay.logs.trial import Trial
from delay.metrics import Floats
from delay.recalibration import Recalibration
from delay.remaining import Spread
from delay.score_points import DueRule

NEVER_SURE: Final = 0.002


@dataclass(frozen=True, slots=True)
class Summary:
    """What a fitted model is made of, and how its candidates did on the newest part of its history."""

    choice: Choice | None = None
    recalibration: Recalibration = field(default_factory=Recalibration)
    closed: int = 0
    opened: int = 0
    tried_on: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.choice is None:
            return "nothing learnt"
        weights = self.choice.weights
        leaves, trees = self.choice.size
        tried = f"tried on the newest {self.tried_on:,} cases" if self.tried_on else "too few cases to try anything"
        return (
            f"weights: empirical {weights.empirical:.2f}, regression {weights.regression:.2f}, trees "
            f"{weights.trees:.2f} ({trees} of {leaves} leaves), learnt from {self.choice.basis} outcomes; remaining "
            f"time: {self.choice.rest_trees:.2f} trees, from {self.choice.rest_basis} ones; recalibration: "
            f"{self.recalibration.name}; {tried}"
        )


class EventLogModel:
    """A delay model for event logs: `fit`, then `predict`; see `delay.event_log.from_event_log`."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._rule = DueRule([])
        self._learner: Learner | None = None
        self._recalibration = Recalibration()
        self._spread = Spread()
        self.summary = Summary()

    def fit(self, train: Iterable[Any], open_cases: Iterable[Any] = ()) -> None:
        """Learn from cases that have ended, and from what is known of those that have not."""
        closed = [as_case(each) for each in train]
        opened = [as_prefix(each) for each in open_cases]
        self._learner, self._recalibration, self._spread = None, Recalibration(), Spread()
        self.summary = Summary()
        if not closed:
            return
        self._rule = DueRule(closed)
        history = History.of(closed, opened, self._rule)
        self._learner = Learner(history, self._seed)
        choice = self._learner.usual
        trial = Trial.of(history, self._seed)
        if trial is not None:
            choice = trial.choose(choice)
            self._recalibration, self._spread = trial.adjust(choice)
        self._learner.train(choice)
        self.summary = Summary(
            choice,
            self._recalibration,
            len(closed),
            len(opened),
            trial.cases if trial else 0,
            trial.figures if trial else {},
        )

    def predict(self, prefixes: Iterable[Any]) -> list[tuple[float, float]]:
        """(probability to end after the due date, seconds left in the middle) for each prefix, in their order."""
        p_late, quantiles = self._answer(prefixes, (0.5,))
        return list(zip(p_late.tolist(), quantiles[:, 0].tolist(), strict=True))

    def quantiles(self, prefixes: Iterable[Any], shares: Sequence[float] = (0.1, 0.5, 0.9)) -> list[tuple[float, ...]]:
        """The seconds left that a case stays below with each probability; they agree with `predict`."""
        return [tuple(row) for row in self._answer(prefixes, shares)[1].tolist()]

    def _answer(self, prefixes: Iterable[Any], shares: Sequence[float]) -> tuple[Floats, Floats]:
        read = [as_prefix(each) for each in prefixes]
        due_at = [self._rule.due_at(each) for each in read]
        due_s = np.array([seconds(each) for each in due_at])
        left_s = np.array([(due - each.now).total_seconds() for due, each in zip(due_at, read, strict=True)])
        if self._learner is None:
            # Nothing is known: in time or not, and what is left of the time.
            p_late = np.where(left_s < 0, 1.0, 0.5)
            return p_late, np.repeat(np.maximum(left_s, 0.0)[:, None], len(shares), axis=1)
        p_late, rest_s = self._learner.answer(read, due_s)
        p_late = np.clip(self._recalibration(p_late), NEVER_SURE, 1 - NEVER_SURE)
        p_late = np.where(left_s < 0, 1.0, p_late)
        return p_late, self._spread.quantiles(rest_s, left_s, p_late, shares)
