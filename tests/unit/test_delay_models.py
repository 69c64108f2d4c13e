"""Models of one's own: what is accepted from them, and who answers when they do not."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from actors.batch import Batch
from actors.model_process import ModelFailed, ModelProcess
from actors.scoring import REST_S, Scorer
from delay import loading
from delay.critical_path import NAME, CriticalPath
from delay.features import Schema
from delay.loading import check_address, load_model
from delay.model import ClosedOrder, DelayModel, Factor, Prediction, UnusablePrediction, checked
from delay.stock.artefact import Artefact
from delay.stock.frame import frame_of
from domain.errors import BadDocument
from orderplan.cluster import Cluster, Options
from tests.support.delay_models import Steady
from tests.support.snapshots import NOW, item, snapshot
from tests.support.until import until

HERE = "tests.support.delay_models"
BATCH = [snapshot(item("a"), order_id=f"o1-{at}") for at in range(4)]
ATTRIBUTES: dict[str, Any] = {"order": {"channel": "web"}, "lines": []}
CLOSED = [ClosedOrder(BATCH[0], NOW)]


class Watch:
    """Seconds that only grow when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def scorer_of():
    made: list[Scorer] = []

    def make(name: str, timeout_s: float = 30.0) -> tuple[Scorer, Watch]:
        watch = Watch()
        own = ModelProcess(f"{HERE}:{name}")
        made.append(Scorer(CriticalPath(), own, name=name, monotonic=watch, timeout_s=timeout_s))
        return made[-1], watch

    yield make
    for scorer in made:
        await scorer.close()


async def taught(scorer: Scorer) -> None:
    await scorer.fit(CLOSED)
    await until(lambda: scorer._teaching is None)


async def test_a_model_by_its_address_learns_and_answers_in_a_process_of_its_own(scorer_of):
    scorer, _ = scorer_of("Steady")
    await taught(scorer)
    found = await scorer.predict(BATCH)

    assert [(each.p_late, each.model, each.version) for each in found] == [(0.25, "Steady", "1")] * 4
    assert (scorer.fallbacks, scorer.model_errors) == (0, 0)


@pytest.mark.parametrize(
    ("name", "fallbacks", "refused"),
    [("Sleeping", 4, 0), ("Crashing", 4, 0), ("Hungry", 4, 0), ("Raising", 4, 0), ("Lying", 2, 2), ("Forgetful", 4, 0)],
)
async def test_the_built_in_model_answers_for_one_that_fails_which_is_then_left_out(
    scorer_of, name, fallbacks, refused
):
    # Only what sleeps meets its limit; the others have ample time on a machine with other work.
    scorer, watch = scorer_of(name, timeout_s=0.2 if name == "Sleeping" else 30.0)
    await taught(scorer)
    found = await scorer.predict(BATCH)

    assert [each.model for each in found].count(NAME) == fallbacks
    assert (scorer.fallbacks, scorer.refused, scorer.model_errors) == (fallbacks, refused, 1)
    assert scorer.is_resting
    await scorer.predict(BATCH)
    assert scorer.model_errors == 1, "it is not asked while it rests"
    watch.now += REST_S
    assert not scorer.is_resting


async def test_what_is_merely_asked_about_does_not_move_the_share_of_plans_that_the_own_model_leaves(scorer_of):
    scorer, _ = scorer_of("Forgetful")
    await taught(scorer)
    found = await scorer.predict(BATCH, is_counted=False)

    assert {each.model for each in found} == {NAME}
    assert (scorer.tally.asked, scorer.fallbacks, scorer.model_errors) == (0, 0, 1)


async def test_the_share_that_the_built_in_model_answered_is_that_of_the_present_model_alone(scorer_of):
    scorer, _ = scorer_of("Raising")
    await taught(scorer)
    await scorer.predict(BATCH)
    shares = [scorer.fallback_share]
    await scorer.adopt(ModelProcess(f"{HERE}:Steady"), name="Steady", reads_frames=False, history=CLOSED)
    shares.append(scorer.fallback_share)
    await until(lambda: scorer._teaching is None)
    await scorer.predict(BATCH)
    shares.append(scorer.fallback_share)
    await scorer.adopt(None)
    await scorer.predict(BATCH)
    shares.append(scorer.fallback_share)

    assert shares == [1.0, None, 0.0, None]
    assert scorer.fallbacks == 4, "what is counted over all models does not fall"


async def test_a_model_that_fails_is_told_apart_from_one_that_has_just_begun(scorer_of):
    scorer, watch = scorer_of("Raising")
    await taught(scorer)
    begun = scorer.standing(NOW)
    await scorer.predict(BATCH)
    failed = scorer.standing(NOW)
    watch.now += REST_S
    rested = scorer.standing(NOW)

    assert (begun["asked"], begun["errors"], begun["restingUntil"], begun["lastCause"]) == (0, 0, None, None)
    assert (failed["asked"], failed["unanswered"], failed["refused"], failed["errors"]) == (4, 4, 0, 1)
    assert failed["restingUntil"] == (NOW + timedelta(seconds=REST_S)).isoformat()
    assert failed["lastCause"] == "predict raised RuntimeError"
    assert (rested["restingUntil"], rested["lastCause"]) == (None, "predict raised RuntimeError")


async def test_a_scorer_that_was_closed_starts_no_process_again(scorer_of):
    scorer, _ = scorer_of("Steady")
    await taught(scorer)
    own, _ = scorer.own_and_name
    await scorer.close()
    found = await scorer.ask(Batch(BATCH, scorer.builtin))

    assert found == [None] * len(BATCH)
    assert scorer._teaching is None
    assert not own.is_running


async def test_numbers_of_a_models_own_class_arrive_as_plain_ones(scorer_of):
    scorer, _ = scorer_of("WithOddNumbers")
    await taught(scorer)
    found = await scorer.predict(BATCH)

    assert {(type(each.p_late), each.p_late, each.model) for each in found} == {(float, 0.25, "WithOddNumbers")}


async def test_a_model_that_cannot_be_built_leaves_the_work_to_the_built_in_one(scorer_of):
    scorer, _ = scorer_of("BrokenByConstruction")
    await taught(scorer)
    found = await scorer.predict(BATCH)

    assert {each.model for each in found} == {NAME}
    assert (scorer.fallbacks, scorer.model_errors) == (4, 1)


async def test_a_model_that_fails_again_is_left_out_for_longer_and_taught_anew_each_time(scorer_of):
    scorer, watch = scorer_of("Crashing")
    await taught(scorer)
    await scorer.predict(BATCH)
    watch.now += REST_S
    await scorer.predict(BATCH)
    await until(lambda: scorer._teaching is None)
    await scorer.predict(BATCH)

    assert scorer.model_errors == 2
    watch.now += REST_S
    assert scorer.is_resting


async def test_the_text_of_a_models_exception_goes_nowhere():
    own = ModelProcess(f"{HERE}:Raising")
    with pytest.raises(ModelFailed) as failed:
        await own.ask("predict", BATCH, 30.0)

    assert str(failed.value) == "predict raised RuntimeError"
    assert not own.is_running


GOOD: dict[str, Any] = {"p_late": 0.5, "remaining_s": 10, "low_s": 5, "high_s": 20}


@pytest.mark.parametrize(
    "wrong",
    [
        {"p_late": float("nan")},
        {"p_late": 1.01},
        {"p_late": -0.01},
        {"p_late": None},
        {"remaining_s": float("inf"), "high_s": float("inf")},
        {"low_s": -1},
        {"low_s": 11},
        {"high_s": 9},
        {"high_s": 1e12},
        {"factors": (("why", None, "much"),)},
        {"factors": ("why",)},
    ],
    ids=str,
)
def test_a_prediction_that_cannot_be_is_refused(wrong):
    with pytest.raises(UnusablePrediction):
        checked(Prediction(**(GOOD | wrong)))


def test_a_good_prediction_is_taken_with_its_texts_cut_to_size():
    found = checked(Prediction(**GOOD, factors=(Factor("x" * 10_000, None, 0.5),), model="m" * 1000))

    assert (found.p_late, found.remaining_s, found.high_s) == (0.5, 10.0, 20.0)
    assert len(found.factors[0].reason) == 500
    assert len(found.model) == 100


def test_what_is_no_prediction_is_refused():
    with pytest.raises(UnusablePrediction):
        checked({"p_late": 0.5})


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("", "names no delay model"),
        ("no_colon", "names no delay model"),
        ("a b:C", "names no delay model"),
        ("not_there_at_all:Model", "there is no module"),
        ("not_there_at_all.deeper:Model", "there is no module"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused_with_the_mend(address, says):
    with pytest.raises(BadDocument, match=says) as refused:
        check_address(address)

    assert refused.value.mend


def test_a_cluster_is_not_started_for_a_model_that_is_not_there(tmp_path):
    cluster = Cluster(Options(data=tmp_path / "data", delay_model="not_there_at_all:Model"))
    with pytest.raises(BadDocument, match="there is no module"):
        cluster.start()

    assert not (tmp_path / "data").exists()


def test_what_has_no_fit_and_predict_is_refused():
    with pytest.raises(BadDocument, match="no fit and predict"):
        load_model("collections:OrderedDict")
    with pytest.raises(BadDocument, match="has no 'Missing'"):
        load_model(f"{HERE}:Missing")


def test_a_class_with_the_two_methods_is_a_delay_model():
    assert isinstance(Steady(), DelayModel)
    assert isinstance(load_model(f"{HERE}:Steady"), Steady)


async def test_a_document_is_a_model_in_a_process_of_its_own_and_is_given_features():
    frame = frame_of([snapshot(item("a"), attributes=ATTRIBUTES)], CriticalPath())
    document = json.loads(Artefact("planned", {"schema": Schema({}).to_dict()}, {}).text)
    own = ModelProcess("", document)
    try:
        await own.ask("fit", (), 30.0)
        (found,) = await own.ask("predict", frame, 30.0)
    finally:
        await own.close()

    assert found.p_late == frame.builtin[0].p_late


async def test_a_document_that_cannot_be_run_fails_and_leaves_no_process():
    own = ModelProcess("", {"format": "other"})
    with pytest.raises(ModelFailed, match="load raised BadDocument"):
        await own.ask("fit", (), 30.0)

    assert not own.is_running


async def test_a_snapshot_that_knows_the_future_is_shown_to_no_model_and_scored_all_the_same():
    later = NOW + timedelta(days=1)
    agreed = {**ATTRIBUTES, "order": {"channel": "web", "visitAt": later.isoformat()}}
    snapshots = [snapshot(item("a"), attributes=agreed), snapshot(item("a", started_at=later), attributes=ATTRIBUTES)]
    batch = Batch(snapshots, CriticalPath())
    frame, places = await batch.frame()

    assert (places, len(frame.rows)) == ([0], 1)
    assert len(await batch.builtin([0, 1])) == 2


class EntryPoint:
    value = f"{HERE}:Steady"


def test_a_model_is_found_by_the_name_of_its_entry_point(monkeypatch):
    def installed(*, group: str, name: str) -> tuple[EntryPoint, ...]:
        return (EntryPoint(),) if (group, name) == ("orderplan.delay_models", "steady") else ()

    monkeypatch.setattr(loading, "entry_points", installed)

    assert isinstance(load_model("steady"), Steady)
    with pytest.raises(BadDocument, match="names no delay model"):
        load_model("unsteady")
