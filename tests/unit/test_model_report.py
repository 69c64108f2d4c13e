"""The report on delay models says in one page who is good, who is better, what has shifted, and what was simulated."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.metrics import Metrics
from orderplan.cli.common import console
from orderplan.cli.model import _listed
from orderplan.cli.model_report import as_markdown

LIVE: dict[str, Any] = {
    "outcomes": 240, "points": 700, "lateShare": 0.25, "auc": 0.81, "brier": 0.12, "brierSkill": 0.3, "ece": 0.04,
    "labelLagS": 7200.0, "reliability": [[0.1, 0.12, 350], [0.6, 0.55, 350]],
}  # fmt: skip
NOTHING: dict[str, Any] = {**dict.fromkeys(LIVE), "outcomes": 0, "reliability": []}

WELL: dict[str, Any] = {
    "since": "2030-01-30T08:00:00+00:00", "asked": 1200, "unanswered": 3, "refused": 0, "errors": 0,
    "isLearning": False, "restingUntil": None, "lastCause": None,
}  # fmt: skip
STUCK: dict[str, Any] = WELL | {
    "unanswered": 1200, "errors": 4, "restingUntil": "2030-01-31T12:04:00.5+00:00",
    "lastCause": "predict raised ValueError",
}  # fmt: skip
BEGUN: dict[str, Any] = WELL | {"asked": 0, "unanswered": 0}
UNREAD: dict[str, Any] = BEGUN | {"since": None, "lastCause": "it cannot be used here: has other features"}


def model(name: str, stage: str, **members: Any) -> dict[str, Any]:
    usual = {"simulated": False, "live": LIVE, "waiting": 5, "trained": {"brier": 0.11}, "againstChampion": None}
    usual["atWork"] = None if stage == "builtIn" else WELL
    return {"name": name, "stage": stage} | usual | members


def report(*models: dict[str, Any], **members: Any) -> str:
    usual: dict[str, Any] = {"at": "2030-01-31T12:00:00+00:00", "champion": "own", "models": models, "shift": {}}
    usual |= {"configured": None, "answering": "own", "fallbackShare": None, "modelErrors": 0}
    return as_markdown(usual | members)


def test_each_model_has_a_row_and_what_is_not_known_is_a_dash():
    text = report(model("own", "champion"), model("critical-path", "builtIn", live=NOTHING, trained=None))

    assert "| own | champion | 240 | 0.25 | 0.810 | 0.1200 | 0.300 | 0.040 | 0.1100 | 5 | 2.0 h |" in text
    assert "| critical-path | builtIn | 0 | - | - | - | - | - | - | 5 | - |" in text
    assert text.count("| said |") == 1


@pytest.mark.parametrize(("lag_s", "said"), [(0.4, "0.4 s"), (75.0, "75 s"), (900.0, "15.0 min"), (7200.0, "2.0 h")])
def test_a_short_label_lag_is_told_in_minutes_or_seconds(lag_s, said):
    assert f"| 5 | {said} |" in report(model("own", "champion", live=LIVE | {"labelLagS": lag_s}))


def test_a_model_of_simulated_orders_says_so():
    assert "own (trained on SIMULATED orders)" in report(model("own", "champion", simulated=True))
    assert "SIMULATED" not in report(model("own", "champion", simulated=None))


def test_a_shadow_is_held_against_the_champion_in_words():
    against = {"isBetter": False, "reason": "3 outcomes are known, 200 are needed"}

    assert "*new* is not better than the champion: 3 outcomes are known, 200 are needed." in report(
        model("new", "shadow", againstChampion=against)
    )


def test_what_has_shifted_is_listed_the_most_first_and_chance_is_not():
    text = report(model("own", "champion"), shift={"elapsed_s": 0.15, "queue_age_s": 0.4, "hour": 0.02})

    assert text.index("- queue_age_s: 0.40") < text.index("- elapsed_s: 0.15")
    assert "hour" not in text
    assert "No feature has shifted" in report(model("own", "champion"), shift={"hour": 0.02})


def test_the_share_of_the_built_in_model_is_told_of_a_champion_only():
    said = "the built-in model answered in its place for 20.6% of the scores"
    without = report(champion=None, answering=None, fallbackShare=0.206)
    named = report(champion=None, answering="mine:Model", fallbackShare=0.206)

    assert said in report(model("own", "champion"), fallbackShare=0.206)
    assert "in its place" not in without
    assert "Champion: none, the built-in model answers." in without
    assert "mine:Model answers, which the server was started with." in named
    assert said in named


def test_each_model_at_work_has_a_row_of_what_it_was_asked_and_how_it_stands():
    text = report(
        model("own", "champion"),
        model("stuck", "shadow", atWork=STUCK),
        model("new", "shadow", atWork=BEGUN),
        model("old", "shadow", atWork=UNREAD),
        model("later", "shadow", atWork=None),
        model("critical-path", "builtIn", trained=None),
        configured=STUCK | {"model": "mine:Model"},
    )
    stuck = "2030-01-30 08:00 | 1,200 | 1,200 | 0 | 4 | left out until 12:04:00 | predict raised ValueError |"

    assert "| own | 2030-01-30 08:00 | 1,200 | 3 | 0 | 0 | answers | - |" in text
    assert f"| stuck | {stuck}" in text
    assert f"| mine:Model | {stuck}" in text
    assert "| new | 2030-01-30 08:00 | 0 | 0 | 0 | 0 | not asked yet | - |" in text
    assert "| old | - | 0 | 0 | 0 | 0 | cannot be used | it cannot be used here: has other features |" in text
    assert "| later | - | - | - | - | - | not taken up by the predictor | - |" in text


def test_the_list_of_models_tells_how_those_at_work_stand():
    usual = {"form": "trees", "signature": {}, "digest": "d" * 64}
    models = [
        {"name": "own", "stage": "champion", "atWork": STUCK, **usual},
        {"name": "rests", "stage": "registered", "atWork": None, **usual},
    ]
    screen = console()
    screen.width = 240
    with screen.capture() as told:
        for each in _listed({"champion": "own", "models": models, "changes": []}):
            screen.print(each)

    assert "left out until 12:04:00 (predict raised ValueError)" in told.get()


def test_what_models_were_asked_is_counted_by_model_and_never_falls() -> None:
    metrics = Metrics()

    def counted(*at_work: dict[str, Any]) -> str:
        return metrics.render({}, {"predictor": {"atWork": at_work}}).decode()

    counted(STUCK | {"model": "stuck", "stage": "shadow"})
    counted(STUCK | {"model": "stuck", "stage": "shadow", "errors": 6})
    gone = counted()
    again = counted(WELL | {"model": "stuck", "stage": "champion", "since": "2030-02-01T08:00:00+00:00", "errors": 7})

    assert 'orderplan_delay_model_errors_total{model="stuck"} 6.0' in gone
    assert "orderplan_delay_model_resting{" not in gone
    assert 'orderplan_delay_model_asked_total{model="stuck"} 2400.0' in again
    assert 'orderplan_delay_model_unanswered_total{model="stuck"} 1203.0' in again
    assert 'orderplan_delay_model_errors_total{model="stuck"} 13.0' in again
    assert 'orderplan_delay_model_resting{model="stuck"} 0.0' in again


def test_metrics_know_a_bounded_number_of_models() -> None:
    metrics = Metrics()
    for number in range(60):
        each = STUCK | {"model": f"own-{number}", "stage": "champion"}
        text = metrics.render({}, {"predictor": {"atWork": [each]}}).decode()

    assert text.count("orderplan_delay_model_asked_total{") == 50
    assert 'asked_total{model="own-59"}' in text
    assert 'asked_total{model="own-9"}' not in text


def test_delay_models_show_how_they_do_and_what_has_shifted() -> None:
    metrics = Metrics()
    known = {"model": "own", "stage": "champion", "auc": 0.8, "brier": 0.1, "outcomes": 300, "labelLagS": None}
    stats = {"predictor": {"models": [known], "shift": {"score": 0.3}, "champion": "own", "fallbackShare": 0.02}}
    text = metrics.render({}, stats).decode()
    later = metrics.render({}, {"predictor": {"models": [], "shift": {}, "fallbackShare": None}}).decode()

    assert 'orderplan_delay_model{model="own",name="auc",stage="champion"} 0.8' in text
    assert 'name="labelLagS"' not in text, "what is not known is not 0"
    assert 'orderplan_delay_shift{feature="score"} 0.3' in text
    assert 'orderplan_delay_fallback_share{model="own"} 0.02' in text
    assert "orderplan_delay_fallback_share{" not in later, "without a champion there is no share"
    assert 'model="own"' not in later, "a model that scores no more is gone"
