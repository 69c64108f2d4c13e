"""After a simulated drift the model that knows of it is promoted by the rule, and the one that does not never is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pytest

from delay.histories import Drift, KeptHistory
from delay.metrics import Floats, Ints
from delay.stock.artefact import Artefact
from delay.stock.learn import numbers_of, train
from delay.stock.rule import Verdict, verdict
from delay.stock.running import ArtefactModel
from delay.stock.trial import renumbered
from delay.training import Split, TrainingSet, training_sets
from tests.support.worlds import history

DAYS = 60
DRIFT_DAY = 25
JUDGED_FROM = 0.7
FACTOR = 3.0


@dataclass
class Outcomes:
    """What two models said of the orders after the drift, at ticks, and what became true."""

    late: Floats
    orders: Ints
    stale: Floats
    fresh: Floats

    def verdict(self, *, fresh_is_challenger: bool) -> Verdict:
        models = (self.stale, self.fresh) if fresh_is_challenger else (self.fresh, self.stale)
        return verdict(self.late, *models, self.orders, outcomes_min=100)


def known_at(made: KeptHistory, until) -> KeptHistory:
    return KeptHistory(made.releases, made.templates, until, tuple(each for each in made if each.fact.at <= until))


def said(artefact: Artefact, judged: TrainingSet, split: Split) -> Floats:
    return ArtefactModel(artefact).p_late(renumbered(judged, split, artefact))


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    drifts = tuple(Drift(code, DRIFT_DAY, FACTOR) for code in ("activate/activate", "ship-router/ship", "field-survey"))
    made = history(900, DAYS, "home-internet", drifts=drifts)
    split = training_sets(made, train_share=JUDGED_FROM, event_share=0.0)
    start = min(fact.at for _, fact in made)
    models = [
        train(known_at(made, until), simulated=True, source="a test", event_share=0.2, forms=("logistic",)).artefact
        for until in (start + timedelta(days=DRIFT_DAY), split.at)
    ]
    stale, fresh = (said(each, split.test, split) for each in models)
    return Outcomes(split.test.is_late.astype(np.float64), numbers_of(split.test), stale, fresh)


def test_the_model_that_knows_of_the_drift_is_promoted(outcomes):
    found = outcomes.verdict(fresh_is_challenger=True)

    assert found.is_better, found.reason
    assert found.outcomes >= 100


def test_the_one_that_does_not_is_never_promoted_back(outcomes):
    found = outcomes.verdict(fresh_is_challenger=False)

    assert not found.is_better
    assert "the lower end of the gain" in found.reason
