"""What a learnt model makes of an order: signed points of its features, by the steps of the plan, in sentences."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from actors.model_process import ModelProcess
from actors.scoring import Scorer
from actors.what_if import WhatIf
from delay.critical_path import CriticalPath
from delay.features import CATEGORIES, FEATURES, NAMES, column
from delay.logs.booster import booster_library
from delay.replay import replayed
from delay.snapshot import Snapshot
from delay.stock.artefact import Artefact
from delay.stock.explained import SENTENCES, Explanation, grouped, usual_of
from delay.stock.forms import FORMS
from delay.stock.frame import Frame, frame_of
from delay.stock.running import ArtefactModel
from delay.stock.watch import bins_of
from delay.training import Split, training_sets
from delay.what_if import Actionable
from domain.states import ItemState as S
from tests.support.snapshots import NOW, item, snapshot
from tests.support.until import until
from tests.support.worlds import history, kinds


@pytest.fixture(scope="module")
def made() -> Any:
    return history(260, 30, "home-internet")


@pytest.fixture(scope="module")
def split(made) -> Split:
    return training_sets(made, event_share=0.1)


@pytest.fixture(scope="module")
def live(made) -> tuple[list[Snapshot], CriticalPath]:
    now = made.until - timedelta(days=10)
    replay = replayed(made, now)
    found = [replay.snapshot(order_id, now) for order_id in sorted(replay.plans)]
    return [each for each in found if each is not None], CriticalPath(replay.durations)


def artefact_of(form: str, split: Split, **body: Any) -> Artefact:
    fitted = FORMS[form].fit(split.train, 1)
    bins = bins_of(split.train.rows, fitted.p_late(split.train.rows))
    signature = {"schema": split.schema.to_dict(), "bins": bins}
    return Artefact.read(json.loads(Artefact(form, signature, body or fitted.to_dict()).text))


@pytest.mark.parametrize("form", ["logistic", "trees"])
def test_points_add_up_to_what_lies_between_the_usual_risk_and_that_of_the_order(form, split, live):
    if form == "trees" and booster_library() is None:
        pytest.skip("lightgbm is not installed")
    model = ArtefactModel(artefact_of(form, split))
    frame = frame_of(*live)
    said, found = model.predict(frame), model.explain(frame)
    is_over = column(frame.rows, "left_s") <= 0

    assert sum(each is not None for each in found) > 3
    assert [each is None for each in found] == is_over.tolist()
    for prediction, each in zip(said, found, strict=True):
        if each is not None:
            assert each.base + sum(each.points) == pytest.approx(prediction.p_late, abs=1e-6)
    assert max(abs(point) for each in found if each for point in each.points) > 0.05


def test_forms_that_do_not_add_up_say_nothing(split, live):
    frame = frame_of(*live)

    assert set(ArtefactModel(artefact_of("planned", split)).explain(frame)) == {None}
    library = booster_library()
    if library is not None:
        data = library.Dataset(split.train.rows, label=split.train.is_late.astype(float))
        trees = library.train({"objective": "regression", "verbosity": -1}, data, num_boost_round=5)
        other = artefact_of("trees", split, lightgbm=trees.model_to_string())
        assert set(ArtefactModel(other).explain(frame)) == {None}


def explanation(**points: float) -> Explanation:
    values = {"queue_age_s": 3.1 * 86_400, "path_p_late": 0.6, "elapsed_s": 7_200.0, "work_age_s": 60.0}
    usual = {"queue_age_s": 0.4 * 86_400, "path_p_late": 0.2}
    return Explanation(
        0.3,
        [points.get(name, 0.0) for name in NAMES],
        [values.get(name, 0.0) for name in NAMES],
        [usual.get(name) for name in NAMES],
    )


def test_features_are_told_with_the_item_that_they_speak_of_in_plain_sentences():
    order = snapshot(
        item("credit", S.READY, age_s=267_840, queue="desk", type="manualTask", started_at=None),
        item("survey", S.READY, age_s=60, queue="field", type="manualTask", started_at=None),
        item("call", S.RUNNING, age_s=60),
        item("last", waits=(0, 1, 2)),
    )
    said = explanation(queue_age_s=0.18, path_p_late=-0.04, work_age_s=0.02, elapsed_s=0.01, hour=0.001)
    found = grouped(order, said, "p/last@1")

    assert [each.reason for each in found] == [
        "credit in queue desk: waits for 3.1 d, usual 9.6 h: +18 points",
        "last at sys: late with 60% by the plan alone, usual 20%: -4 points",
        "call at sys: worked on for 60 s: +2 points",
        "The order: open for 2.0 h: +1 points",
    ]
    assert found[0].features == (("queue_age_s", 0.18),)


def test_every_feature_can_be_told_of_any_order_also_of_one_in_which_nothing_has_happened():
    every = Explanation(0.3, [0.01] * len(FEATURES), [-5.0] * len(FEATURES), [None] * len(FEATURES))
    times: dict[str, Any] = {"timer_at": NOW + timedelta(hours=1), "age_s": 5}
    busy = snapshot(
        item("a", S.FATALLY_FAILED, tries=3, **times), item("b", S.ON_HOLD, **times), item("c", S.SCHEDULED, **times),
        item("d", S.READY, queue="desk", **times), item("e", S.RUNNING, **times), load={"p/d": 3},
    )  # fmt: skip
    for order in (busy, snapshot(item("a")), snapshot()):
        found = grouped(order, every, None)
        assert sum(each.points for each in found) == pytest.approx(0.01 * len(FEATURES))
        assert all(each.reason for each in found)
    assert {each.item.name for each in grouped(busy, every, None) if each.item} == {"a", "b", "c", "d", "e"}


def test_every_feature_has_its_words():
    assert set(SENTENCES) == set(NAMES)
    assert {feature.name for feature in FEATURES if "{}" not in SENTENCES[feature.name]} == set(CATEGORIES)


def test_the_usual_value_is_the_middle_of_training_and_unknown_for_categories():
    rows = np.zeros((101, len(FEATURES)))
    rows[:, NAMES.index("queue_age_s")] = np.arange(101)
    usual = usual_of(bins_of(rows, np.zeros(101)))

    assert usual[NAMES.index("queue_age_s")] == pytest.approx(50, abs=6)
    assert usual[NAMES.index("product")] is None
    assert usual_of({}) == [None] * len(FEATURES)


async def test_what_if_says_what_the_champions_features_do_from_its_own_process(split, live):
    snapshots, critical_path = live
    order = next(each for each in snapshots if each.due_at > each.now)
    scorer = Scorer(critical_path, monotonic=lambda: 0.0, timeout_s=30.0)
    document = json.loads(artefact_of("logistic", split).text)
    await scorer.adopt(ModelProcess("", document), name="own", version="1")
    await until(lambda: scorer._teaching is None)
    what_if = WhatIf(scorer, critical_path, Actionable.read("priority"))
    release = kinds("home-internet")[0].release
    found = await what_if.answer(order, release, [])
    await scorer.close()
    without = await what_if.answer(order, release, [])

    assert found["model"] == "own"
    shown = sum(each["points"] for each in found["modelContributions"])
    assert found["usualRisk"] + shown == pytest.approx(found["risk"], abs=0.05), "but for what is too small to name"
    assert any(each["step"] for each in found["modelContributions"])
    assert found["contributions"] == without["contributions"]
    assert "modelContributions" not in without


async def test_an_explanation_that_cannot_be_is_none(live):
    snapshots, critical_path = live

    class Lying:
        is_running = True

        async def ask(self, method: str, argument: Any, timeout_s: float) -> Any:
            if method == "explain":
                return [Explanation(float("nan"), [0.0] * len(FEATURES), [], [])]
            return argument.builtin if isinstance(argument, Frame) else None

        async def close(self) -> None:
            pass

    scorer = Scorer(critical_path, monotonic=lambda: 0.0)
    await scorer.adopt(Lying(), name="own", version="1")
    await until(lambda: scorer._teaching is None)

    assert (await scorer.predict(snapshots[:1]))[0].model == "own"
    assert await scorer.explain(snapshots[0]) is None
