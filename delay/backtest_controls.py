"""Controls of a backtest: what must come out if nothing is told that should not be.

Without the promised dates a model must do worse: it cannot know whose promise is tight. Held against outcomes that are
dealt out to the cases anew, it must do no better than chance: if it does, the protocol itself favours somebody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from delay.backtest import Factory, Questions, answered, split
from delay.event_log import Case, EventLog, Prefix
from delay.metrics import Interval, auc

DEALS: Final = 40


class Untold:
    """A model that is not told the promised dates."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def fit(self, train: Sequence[Case], open_cases: Sequence[Prefix]) -> None:
        untold = [replace(each, due_at=None) for each in open_cases]
        self._model.fit([replace(each, due_at=None) for each in train], untold)

    def predict(self, prefixes: Sequence[Prefix]) -> list[tuple[float, float]]:
        found: list[tuple[float, float]] = self._model.predict([replace(each, due_at=None) for each in prefixes])
        return found


def dealt_anew(log: EventLog, factory: Factory, seed: int) -> Interval:
    """The AUC of a model against the outcomes of the test cases in random order: the mean of some deals."""
    parts = split(log)
    questions = Questions.of(parts.test, seed)
    model = factory()
    model.fit(parts.train, parts.opened)
    before = ~questions.is_past_due
    p_late = answered(model, questions.prefixes)[before, 0]
    by_case = np.zeros(len(parts.test))
    by_case[questions.case] = questions.late
    generator = np.random.Generator(np.random.PCG64(seed))
    found = [auc(generator.permutation(by_case)[questions.case[before]], p_late) for _ in range(DEALS)]
    low, high = np.quantile(found, (0.025, 0.975))
    return Interval(float(np.mean(found)), float(low), float(high))
