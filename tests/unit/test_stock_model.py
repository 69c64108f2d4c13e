"""The default model: chosen by what it can prove, kept as a plain document, run from it as it was trained."""

from __future__ import annotations

import base64
import hashlib
import json
import pickle
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from delay.critical_path import CriticalPath
from delay.features import FEATURES, NAMES, FeatureBuilder, Schema
from delay.logs import booster
from delay.replay import replayed
from delay.stock import forms, running
from delay.stock.artefact import FORMAT, Artefact
from delay.stock.frame import frame_of, numbered
from delay.stock.learn import Trained, train
from delay.stock.rule import verdict
from delay.stock.running import PICKLES_ALLOWED, ArtefactModel, Runner
from delay.stock.watch import Shift, bins_of
from delay.training import Split, training_sets
from domain.errors import BadDocument
from tests.support.worlds import history

SOURCE = "a simulated test history"


@pytest.fixture(scope="module")
def made():
    return history(300, 40, "home-internet", tight_share=0.4)


@pytest.fixture(scope="module")
def split(made) -> Split:
    return training_sets(made, event_share=0.1)


@pytest.fixture(scope="module")
def trained(made) -> Trained:
    return train(made, simulated=True, source=SOURCE)


def kept(artefact: Artefact) -> Artefact:
    return Artefact.read(json.loads(artefact.text))


def test_the_default_model_says_what_it_was_made_of(trained, made):
    signature = trained.artefact.signature

    assert signature["simulated"] is True
    assert signature["source"] == SOURCE
    assert signature["trainedUntil"] == made.until.isoformat()
    assert signature["trainedFrom"] < signature["splitAt"] < signature["trainedUntil"]
    assert set(signature["candidates"]) >= {"planned", "empirical", "logistic"}
    assert signature["metrics"]["brier"] == signature["candidates"][trained.artefact.form]["brier"]
    assert len(trained.steps) == len(signature["candidates"]) - 1


def test_the_same_history_and_seed_give_the_same_bytes(trained, made):
    assert train(made, simulated=True, source=SOURCE).artefact.digest == trained.artefact.digest


@pytest.mark.parametrize("form", ["planned", "empirical", "logistic", "trees"])
def test_a_model_that_was_kept_says_the_same(split, form, monkeypatch):
    monkeypatch.setitem(forms.ORDERS_MIN, "trees", 1)
    fitted = forms.FORMS[form].fit(split.train, 1)
    rows = split.test.rows
    stored = json.loads(json.dumps(fitted.to_dict()))

    assert forms.FORMS[form].from_dict(stored).p_late(rows).tolist() == fitted.p_late(rows).tolist()
    assert 0 <= fitted.p_late(rows).min() <= fitted.p_late(rows).max() <= 1
    if form != "planned":
        assert np.ptp(fitted.p_late(rows)) > 0.1


def test_live_rows_are_those_of_training(made, trained):
    """One builder, whoever numbers the categories."""
    now = made.until - timedelta(days=10)
    replay = replayed(made, now)
    snapshots = [each for order_id in sorted(replay.plans) if (each := replay.snapshot(order_id, now)) is not None]
    critical_path, schema = CriticalPath(replay.durations), trained.artefact.schema
    rows = numbered(frame_of(snapshots, critical_path), schema)

    assert len(rows) > 3
    assert rows.tolist() == FeatureBuilder(schema, critical_path).rows(snapshots).tolist()


def test_a_prediction_agrees_with_itself_and_keeps_the_reasons(made, trained):
    now = made.until - timedelta(days=10)
    replay = replayed(made, now)
    snapshots = [each for order_id in sorted(replay.plans) if (each := replay.snapshot(order_id, now)) is not None]
    frame = frame_of(snapshots, CriticalPath(replay.durations))
    for found, snapshot, builtin in zip(
        ArtefactModel(kept(trained.artefact)).predict(frame), snapshots, frame.builtin, strict=True
    ):
        left_s = (snapshot.due_at - now).total_seconds()
        assert found.low_s <= found.remaining_s <= found.high_s
        assert found.factors == builtin.factors
        if left_s <= 0:
            assert found.p_late == 1.0
        else:
            assert (found.remaining_s > left_s) is (found.p_late > 0.5)


def test_without_lightgbm_there_is_a_default_model_all_the_same(made, monkeypatch):
    monkeypatch.setattr(forms, "booster_library", lambda: None)
    found = train(made, simulated=True, source=SOURCE)

    assert "trees" not in found.artefact.signature["candidates"]


def test_trees_without_lightgbm_are_refused_with_the_mend(trained, monkeypatch):
    monkeypatch.setattr(running, "booster_library", lambda: None)
    with pytest.raises(BadDocument, match="lightgbm is not installed") as refused:
        ArtefactModel(Artefact("trees", trained.artefact.signature, {"lightgbm": ""}))

    assert refused.value.mend == "install orderplan[delay]"
    assert booster.booster_library() is not None


def with_changes(artefact: Artefact, **changes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(artefact.text)
    document.update(changes)
    return document


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"format": "other/1"}, "format"),
        ({"form": "magic"}, "form"),
        ({"form": 7}, "form"),
        ({"body": []}, "body"),
        ({"form": "trees", "body": {}}, "body.lightgbm"),
        ({"form": "class", "body": {"address": 7}}, "body.address"),
        ({"signature": {"bins": {"score": {"edges": [1], "shares": [1]}}}}, "signature.bins.score"),
        ({"signature": {"bins": {"score": {"edges": [2, 1], "shares": [1, 1, 1]}}}}, "signature.bins.score"),
        ({"signature": {"bins": {"score": 3}}}, "signature.bins.score"),
        ({"signature": {"metrics": {"auc": "good"}}}, "signature.metrics.auc"),
        ({"signature": {"simulated": "no"}}, "signature.simulated"),
        ({"signature": {"trainedUntil": "today"}}, "signature.trainedUntil"),
        ({"signature": {}}, "signature.schema"),
        ({"signature": {"schema": {"features": []}}}, "signature.schema"),
        ({"signature": {"schema": {**Schema({}).to_dict(), "hash": "x"}}}, "signature.schema.hash"),
    ],
)
def test_a_document_that_is_no_model_is_refused_with_its_place(trained, changes, path):
    with pytest.raises(BadDocument) as refused:
        Artefact.read(with_changes(trained.artefact, **changes))

    assert refused.value.path == path


def test_a_body_that_is_none_is_refused():
    signature = {"schema": Schema({}).to_dict()}
    for form, body in (("trees", {"lightgbm": "tree"}), ("logistic", {}), ("empirical", {"visits": 3})):
        with pytest.raises(BadDocument, match="cannot be read as"):
            ArtefactModel(Artefact(form, signature, body))


class Half:
    """A fitted estimator of somebody else's."""

    def predict_proba(self, rows):
        return np.tile([0.75, 0.25], (len(rows), 1))


class Odd:
    """Fitted estimators with something wrong."""

    def __init__(self, answers, **members):
        self._answers = answers
        vars(self).update(members)

    def predict_proba(self, rows):
        return self._answers(len(rows))


def both(count):
    return np.full((count, 2), 0.5)


RENAMED = [*NAMES]
RENAMED[2] = "left_until"
ODD = {
    "of_one_column": Odd(np.zeros),
    "of_three_classes": Odd(lambda count: np.zeros((count, 3))),
    "of_no_number": Odd(lambda count: np.full((count, 2), np.nan)),
    "of_log_odds": Odd(lambda count: np.full((count, 2), 3.0)),
    "of_few_features": Odd(both, n_features_in_=33),
    "of_other_features": Odd(both, feature_names_in_=np.array(RENAMED)),
    "that_raises": Odd(lambda count: 1 / 0),
}
globals().update(ODD)
ESTIMATOR = Half()
NO_ESTIMATOR = object()
SIGNATURE = {"schema": Schema({}).to_dict()}


def encoded(raw: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(raw).decode()}


def test_a_fitted_estimator_is_a_model():
    rows = np.ones((3, len(FEATURES)))
    model = ArtefactModel(Artefact("estimator", SIGNATURE, {"address": f"{__name__}:ESTIMATOR"}))

    assert model.p_late(rows).tolist() == [0.25, 0.25, 0.25]
    with pytest.raises(BadDocument, match="has no predict_proba"):
        ArtefactModel(Artefact("estimator", SIGNATURE, {"address": f"{__name__}:NO_ESTIMATOR"}))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("of_one_column", r"shape \(3,\) for 3 rows"),
        ("of_three_classes", r"shape \(3, 3\) for 3 rows"),
        ("of_no_number", "no probabilities: nan"),
        ("of_log_odds", "no probabilities: 3"),
        ("of_few_features", "takes 33 features, there are 35"),
        ("of_other_features", f"feature 3 is 'left_until', ours is '{NAMES[2]}'"),
        ("that_raises", "fails on rows of 35 features: ZeroDivisionError"),
    ],
)
def test_an_estimator_of_other_columns_or_without_probabilities_is_refused(name, reason):
    with pytest.raises(BadDocument, match=reason):
        ArtefactModel(Artefact("estimator", SIGNATURE, {"address": f"{__name__}:{name}"}))


def test_a_pickle_is_refused_until_its_digest_is_named(monkeypatch):
    raw = pickle.dumps(ESTIMATOR)
    artefact = Artefact("pickle", SIGNATURE, encoded(raw))
    with pytest.raises(BadDocument, match="a pickle is code") as refused:
        ArtefactModel(artefact)
    digest = hashlib.sha256(raw).hexdigest()

    assert digest in (refused.value.mend or "")
    monkeypatch.setenv(PICKLES_ALLOWED, f"other, {digest}")
    assert ArtefactModel(artefact).p_late(np.ones((1, len(FEATURES)))).tolist() == [0.25]


def test_a_class_is_given_snapshots_and_learns():
    body = {"address": "tests.support.delay_models:Steady"}
    runner = Runner({"format": FORMAT, "form": "class", "signature": {}, "body": body})
    runner.fit([None, None])

    assert runner.predict([None])[0].version == "2"


def points(rng, better: float, worse: float, orders: int = 400):
    """Two models that know the true risk but for noise."""
    cases = np.repeat(np.arange(orders), 3)
    risk = np.repeat(rng.beta(1, 2, orders), 3)
    late = np.repeat((rng.random(orders) < risk[::3]).astype(float), 3)
    said = [np.clip(risk + rng.normal(0, noise, len(risk)), 0, 1) for noise in (worse, better)]
    return late, said[0], said[1], cases


def test_the_better_is_better_and_never_the_worse_nor_the_same():
    late, worse, better, cases = points(np.random.default_rng(1), 0.02, 0.35)

    assert verdict(late, worse, better, cases).is_better
    assert not verdict(late, better, worse, cases).is_better
    assert not verdict(late, better, better, cases).is_better
    assert not verdict(late, worse, better, cases, margin=0.5).is_better


def test_with_few_outcomes_nothing_is_better():
    late, worse, better, cases = points(np.random.default_rng(1), 0.02, 0.35, orders=150)
    found = verdict(late, worse, better, cases)

    assert not found.is_better
    assert found.reason == "150 outcomes that both have scored are known, 200 are needed"
    assert not verdict(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.int64)).is_better


def test_a_shift_shows_in_the_feature_that_moved_and_in_no_other():
    rng = np.random.default_rng(1)

    def drawn():
        rows = rng.normal(size=(2_000, len(FEATURES)))
        rows[:, list(forms.CATEGORICAL)] = rng.integers(0, 5, (2_000, len(forms.CATEGORICAL)))
        return rows

    rows, said = drawn(), rng.random(2_000)
    bins = bins_of(rows, said)
    same, moved = Shift(bins), Shift(bins)
    again = drawn()
    same.add(again, rng.random(2_000))
    assert max(same.indices().values()) < 0.1
    again[:, 1] += 1.0
    moved.add(again, rng.random(2_000))
    found = moved.indices()

    assert found[FEATURES[1].name] > 0.25
    assert max(value for name, value in found.items() if name != FEATURES[1].name) < 0.1
    assert Shift(bins).indices() == {}, "nothing was seen yet"
