"""Features: what the columns say, what is known of them, and snapshots that know too much."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from delay.critical_path import CriticalPath
from delay.features import (
    CATEGORIES,
    FEATURES,
    NAMES,
    PLAN_FEATURES,
    Feature,
    FeatureBuilder,
    Leak,
    Schema,
    categories_of,
    check_point_in_time,
    column,
    without_plan,
)
from delay.histories import Desk, Slowdown
from delay.histories.settings import START
from delay.replay import replayed
from delay.snapshot import Snapshot
from domain.states import ItemState as S
from tests.support.snapshots import NOW, item, snapshot
from tests.support.worlds import history

ATTRIBUTES: dict[str, Any] = {
    "order": {"channel": "web", "priority": "high", "account": "a", "requestedStartAt": None},
    "lines": [{"product": "sim", "action": "add", "quantity": 1, "attributes": {"speed": "1G"}}],
}
LATER = NOW + timedelta(seconds=1)


def seen(*items: Any, **members: Any) -> Snapshot:
    return snapshot(*items, **{"attributes": ATTRIBUTES} | members)


def features(given: Snapshot, schema: Schema | None = None) -> dict[str, float]:
    builder = FeatureBuilder(schema or Schema.of([categories_of(given)]), CriticalPath())
    return dict(zip(NAMES, builder.features(given).tolist(), strict=True))


def test_the_columns_are_finite_and_named_once():
    found = features(seen(item("a", S.COMPLETED, age_s=5), item("b", waits=(0,))))

    assert len(set(NAMES)) == len(NAMES) == len(found)
    assert all(np.isfinite(list(found.values())))


def test_times_are_counted_against_the_promise():
    found = features(seen(item("a"), created_at=NOW - timedelta(seconds=60), due_in_s=180))

    assert (found["allowed_s"], found["elapsed_s"], found["left_s"]) == (240, 60, 180)
    assert found["elapsed_share"] == 0.25
    assert found["priority"] == 1


def test_steps_are_counted_by_where_they_stand():
    found = features(
        seen(
            item("a", S.COMPLETED, age_s=50, ended_at=NOW - timedelta(seconds=40)),
            item("b", S.FATALLY_FAILED, age_s=40, tries=3),
            item("c", S.ON_HOLD, age_s=30),
            item("d", S.SKIPPED),
            item("e", queue="desk", type="manualTask"),
        )
    )

    assert (found["steps_done"], found["steps_left"], found["manual_left"]) == (1, 3, 1)
    assert (found["failed_items"], found["fatal"], found["on_hold"], found["in_progress"]) == (1, 1, 1, 2)
    assert found["retries"] == 2
    assert found["last_step_age_s"] == 30


def test_the_planned_way_that_is_left_follows_the_graph_and_counts_what_is_under_way():
    items = (
        item("a", S.RUNNING, age_s=4),
        item("b", waits=(0,), planned_s=100.0),
        item("c", waits=(0,), planned_s=20.0),
        item("d", waits=(1, 2)),
    )
    found = features(seen(*items, due_in_s=200))

    assert found["planned_left_s"] == 6 + 100 + 10
    assert found["planned_slack_s"] == 200 - 116
    assert found["overrun"] == pytest.approx(0.4)


def test_a_scheduled_item_is_waited_for():
    found = features(seen(item("a", S.SCHEDULED, timer_at=NOW + timedelta(hours=1)), due_in_s=4000))

    assert found["scheduled_in_s"] == 3600
    assert found["planned_left_s"] == 3610


def test_queues_are_told_by_their_age_and_load():
    queued = item("visit", S.READY, age_s=300, queue="desk", type="manualTask", started_at=None)
    given = seen(queued, item("next", waits=(0,)), load={"p/visit": 7, "p/next": 9, "other": 4})
    found = features(given)

    assert found["queue_age_s"] == 300
    assert found["work_age_s"] == 0
    assert (found["queue_load"], found["next_load"], found["open_elsewhere"]) == (7, 9, 20)


def test_the_built_in_model_is_among_the_features():
    calm = features(seen(item("a", planned_s=10.0), due_in_s=1000))
    hopeless = features(seen(item("a", planned_s=10_000.0), due_in_s=1000))

    assert (calm["path_p_late"], hopeless["path_p_late"]) == (0, 1)
    assert calm["path_slack_s"] > 0 > hopeless["path_slack_s"]


# The schema.


def test_an_unknown_category_is_minus_one_and_no_error():
    schema = Schema.of([{"channel": "shop"}, {"channel": "web"}])
    found = features(seen(item("a")), schema)

    assert found["channel"] == 1
    assert found["product"] == -1
    assert schema.number("channel", "moon") == -1


def test_the_schema_tells_units_moments_and_categories_and_has_a_name():
    schema = Schema.of([{"channel": "web"}])
    stored = schema.to_dict()
    by_name = {each["name"]: each for each in stored["features"]}

    assert [each["name"] for each in stored["features"]] == list(NAMES)
    assert by_name["channel"]["categories"] == ["web"]
    assert by_name["left_s"]["unit"] == "s"
    assert (by_name["allowed_s"]["known_at"], by_name["left_s"]["known_at"]) == ("creation", "now")
    assert stored["hash"] == Schema.of([{"channel": "web"}]).digest
    assert stored["hash"] != Schema.of([{"channel": "shop"}]).digest


def test_another_column_gives_the_schema_another_name(monkeypatch):
    before = Schema.of([]).digest
    more = (*FEATURES, Feature("extra", "s", "now", False, "one more"))
    monkeypatch.setattr("delay.features.FEATURES", more)

    assert Schema.of([]).digest != before


def test_no_feature_is_a_date_that_goes_on_growing():
    earlier = seen(item("a", age_s=30), created_at=NOW - timedelta(seconds=60))
    move = timedelta(days=364)
    moved = {name: getattr(earlier.items[0], name) + move for name in ("ready_at", "started_at")}
    later = replace(
        earlier,
        items=(replace(earlier.items[0], **moved),),
        created_at=earlier.created_at + move,
        now=earlier.now + move,
        due_at=earlier.due_at + move,
    )

    assert features(earlier) == features(later)


def test_a_model_without_the_plan_gets_none_of_its_columns():
    rows = np.arange(2.0 * len(NAMES)).reshape(2, -1)
    kept = without_plan(rows)

    assert kept.shape == (2, len(NAMES) - len(PLAN_FEATURES))
    assert set(kept[0].tolist()) == {NAMES.index(name) for name in NAMES if name not in PLAN_FEATURES}
    assert {"path_p_late", "steps_left", "queue_age_s", "plan_class"} <= set(PLAN_FEATURES)
    assert not {"elapsed_share", "steps_done", "last_step", "channel"} & set(PLAN_FEATURES)
    assert column(rows, NAMES[3]).tolist() == [3.0, 3.0 + len(NAMES)]


@pytest.mark.parametrize("name", CATEGORIES)
def test_every_category_is_told_of_a_snapshot(name):
    assert name in categories_of(seen(item("a", S.COMPLETED, age_s=1, ended_at=NOW)))


# What comes later.


@pytest.mark.parametrize("name", ["ready_at", "started_at", "ended_at"])
def test_a_snapshot_whose_item_knows_a_later_time_is_refused(name):
    times: dict[str, Any] = {name: LATER}

    with pytest.raises(Leak, match=name):
        features(seen(item("a", S.COMPLETED, **times)))


def test_a_snapshot_from_before_its_order_is_refused():
    with pytest.raises(Leak, match="created_at"):
        check_point_in_time(seen(item("a"), created_at=LATER))


def test_what_was_agreed_for_later_is_no_leak():
    lines = [{**ATTRIBUTES["lines"][0], "attributes": {"contractEnd": LATER.isoformat()}}]
    agreed = {"order": {**ATTRIBUTES["order"], "requestedStartAt": LATER.isoformat()}, "lines": lines}

    check_point_in_time(seen(item("a", S.SCHEDULED, timer_at=LATER), attributes=agreed))


# On a simulated history.


def test_a_slow_queue_shows_in_the_queue_ages():
    world: dict[str, Any] = {
        "desks": {"field-survey": Desk(workers=1), "field-installation": Desk(workers=4)},
        "work_s": {"survey/visit": 4 * 3600.0, "prepare-copper/visit": 2 * 3600.0},
    }
    usual = history(120, 15, "home-internet", **world)
    slowed = history(120, 15, "home-internet", slowdowns=(Slowdown("field-survey", 3, 15, 2.0),), **world)

    assert _queue_age_s(slowed) > 1.5 * _queue_age_s(usual)


def _queue_age_s(made: Any) -> float:
    at = START + timedelta(days=14.5)
    replay = replayed(made, at)
    snapshots = [found for order_id in replay.plans if (found := replay.snapshot(order_id, at)) is not None]
    rows = FeatureBuilder(Schema.of([]), CriticalPath(replay.durations)).rows(snapshots)
    return float(column(rows, "queue_age_s").max())
