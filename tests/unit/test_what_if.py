"""What is said of a queue that has become slow, and of what would help: on a simulated world, and bit by bit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from actors.scoring import Scorer
from actors.what_if import WhatIf
from delay.critical_path import NAME, CriticalPath
from delay.histories import Slowdown
from delay.model import Prediction
from delay.replay import Replay, replayed
from delay.snapshot import Snapshot
from delay.what_if import Actionable, Change, changed, options, read_changes
from domain.errors import BadDocument
from domain.states import ItemState as S
from tests.support.snapshots import NOW, item, snapshot
from tests.support.worlds import history, kinds

SLOW = "field-survey"
OTHER = "field-install"
FROM_DAY, AT_DAY = 30, 37.6
ACTIONABLE = Actionable.read(f"priority,expedite,queue:{SLOW}={OTHER}")


@pytest.fixture(scope="module")
def slow() -> Replay:
    """A world in which one queue takes twice as long as usual since some days, as it is known then."""
    made = history(900, 40, "home-internet", slowdowns=(Slowdown(SLOW, FROM_DAY, 40, 2.0),))
    return replayed(made, made.happenings[0].fact.at.replace(hour=0, minute=0) + timedelta(days=AT_DAY))


def waiting(replay: Replay) -> list[Snapshot]:
    """Open orders whose task waits in the slow queue or is done there."""
    now = max(plan.created_at for plan in replay.plans.values())
    found = [replay.snapshot(order_id, now) for order_id in sorted(replay.plans)]
    return [
        each
        for each in found
        if each is not None and any(one.queue == SLOW and one.state in (S.READY, S.RUNNING) for one in each.items)
    ]


def test_the_explanation_of_a_delay_names_the_queue_that_is_twice_as_slow_first(slow):
    model = CriticalPath(slow.durations)
    named = []
    for order, said in [(each, model.predict([each])[0]) for each in waiting(slow)]:
        (first, *_) = model.contributions(order)
        if said.p_late > 0.3:
            named.append({one.key: one.queue for one in order.items}[first.item])

    assert len(named) >= 8
    assert named.count(SLOW) >= 0.8 * len(named), named


def test_contributions_are_signed_and_measured_against_what_is_usual_in_the_long_run():
    """Two desks that usually take ten seconds: one takes twenty of late, the other five."""
    made = CriticalPath()
    for _ in range(640):
        for code in ("slow", "quick"):
            made.durations.observe(f"p/{code}", 1.0, queue_s=10.0)
    for at in range(256):
        made.durations.observe("p/slow", 1.0, queue_s=19.0 + at % 3)
        made.durations.observe("p/quick", 1.0, queue_s=4.0 + at % 3)
    tasks = [
        item(code, S.PENDING, queue=code, type="manualTask", waits=waits, started_at=None, ready_at=None)
        for code, waits in (("slow", ()), ("quick", (0,)))
    ]
    first, second = made.contributions(snapshot(*tasks, due_in_s=25.5))

    assert (first.item, second.item) == ("p/slow@1", "p/quick@1")
    assert first.points > 0.8
    assert first.delay_s == pytest.approx(10, abs=1.5)
    assert first.usual_s == pytest.approx(11, abs=0.5)
    assert first.takes_s == pytest.approx(21, abs=1.5)
    assert second.delay_s == pytest.approx(-5, abs=1.5)


async def asked(replay: Replay, order: Snapshot, *changes: Change) -> dict[str, Any]:
    model = CriticalPath(replay.durations)
    what_if = WhatIf(Scorer(model, monotonic=lambda: 0.0), model, ACTIONABLE)
    return await what_if.answer(order, kinds("home-internet")[0].release, changes)


async def test_moving_a_task_out_of_the_slow_queue_shows_a_gain(slow):
    order = next(
        each for each in waiting(slow) if any(one.queue == SLOW and one.state is S.READY for one in each.items)
    )
    task = next(one for one in order.items if one.queue == SLOW)
    found = await asked(slow, order, Change("queue", task.key, OTHER))
    listed = await asked(slow, order)

    assert found["changed"]["gainS"] > 0
    assert "no promise" in found["note"]
    assert SLOW in listed["contributions"][0]["reason"]
    assert Change("queue", task.key, OTHER).to_dict() in [each["changes"][0] for each in listed["improvements"]]
    assert [each["gain"] for each in listed["improvements"]] == sorted(
        (each["gain"] for each in listed["improvements"]), reverse=True
    )


class Halfhearted:
    """A model that answers for the first snapshot only."""

    is_running = True

    async def ask(self, method: str, argument: Any, timeout_s: float) -> Any:
        first = Prediction(0.99, 1.0, 1.0, 1.0, model="own")
        return [first, *(Prediction(7.0, 1.0, 1.0, 1.0) for _ in argument[1:])]

    async def close(self) -> None:
        pass


async def test_answers_of_two_models_are_not_held_against_each_other():
    model = queued()
    scorer = Scorer(model, Halfhearted(), name="own", monotonic=lambda: 0.0)
    order = order_at("normal")
    found = await WhatIf(scorer, model, ACTIONABLE).answer(order, kinds("home-internet")[0].release, [])
    (as_it_is,) = model.predict([order])

    assert found["tried"] > 0
    assert (found["model"], found["risk"]) == (NAME, round(as_it_is.p_late, 4))


def queued() -> CriticalPath:
    """A desk at which the urgent wait ten seconds and the others a hundred."""
    made = CriticalPath()
    for at in range(60):
        made.durations.observe("p/task", 5.0, queue_s=90.0 + at % 20, priority=2)
        made.durations.observe("p/task", 5.0, queue_s=8.0 + at % 5, priority=1)
    return made


def order_at(priority: str, age_s: float = 20.0) -> Snapshot:
    task = item("task", S.READY, age_s=age_s, queue="desk", type="manualTask", started_at=None)
    return snapshot(task, attributes={"order": {"priority": priority}, "lines": []})


def test_an_urgent_order_waits_as_urgent_ones_do_also_if_it_has_become_urgent_only_now():
    model = queued()
    normal, high = (model.predict([order_at(each, age_s)])[0] for each, age_s in (("normal", 20.0), ("high", 80.0)))

    assert high.p_late < 0.1
    assert normal.p_late > 0.9
    assert high.remaining_s < 20


def test_what_is_put_first_waits_as_long_as_the_quickest_did():
    model = queued()
    order = order_at("normal")
    first = changed(order, [Change("expedite", "p/task@1")], ACTIONABLE, kinds("home-internet")[0].release)

    # Of normal orders nobody waited less than 90 s.
    assert 90 < model.predict([first])[0].remaining_s < 100
    assert model.predict([order])[0].remaining_s < 100


def test_only_what_is_declared_can_be_changed_and_is_offered():
    release = kinds("home-internet")[0].release
    order = order_at("normal")
    for change, path in [
        (Change("system", "p/task@1", "other"), "changes[0].variable"),
        (Change("queue", "p/task@1", "other"), "changes[0].to"),
        (Change("expedite", "p/none@1"), "changes[0].item"),
    ]:
        with pytest.raises(BadDocument) as refused:
            changed(order, [change], ACTIONABLE, release)
        assert refused.value.path == path

    assert [each.to_dict() for each in options(order, ACTIONABLE)] == [
        {"variable": "priority", "to": "high"},
        {"variable": "expedite", "item": "p/task@1"},
    ]
    assert options(order, Actionable.read("")) == []
    with pytest.raises(BadDocument):
        Actionable.read("priority,queue:desk")


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("no", "changes"),
        ([1], "changes[0]"),
        ([{"variable": "speed"}], "changes[0].variable"),
        ([{"variable": "priority", "to": "urgent"}], "changes[0].to"),
        ([{"variable": "expedite"}], "changes[0].item"),
        ([{"variable": "queue", "item": "a"}], "changes[0].to"),
        ([{"variable": "priority", "to": "high", "who": 1}], "changes[0].who"),
    ],
)
def test_a_change_that_cannot_be_read_is_refused_with_its_place(given, path):
    with pytest.raises(BadDocument) as refused:
        read_changes(given)

    assert refused.value.path == path


def test_waits_of_people_are_told_by_their_working_hours():
    """Tasks are begun from 8 to 16 o'clock on workdays and wait for an hour: on Friday evening that is Monday."""
    from delay.durations import TaskTimes

    made = CriticalPath()
    monday = NOW.replace(day=28, hour=8)
    assert monday.weekday() == 0
    for day in (0, 1, 2, 3, 4, -7, -6, -5, -4, -3):
        for hour in range(8):
            ready = (monday + timedelta(days=day, hours=hour)).timestamp()
            made.durations.observe_task("p/task", TaskTimes(ready, ready + 3000, ready + 3500, 2))
    friday = monday.replace(hour=19) + timedelta(days=4)
    task = item("task", S.READY, queue="desk", type="manualTask", ready_at=friday)
    (late,) = made.predict([snapshot(task, now=friday, created_at=friday)])

    assert late.remaining_s > 60 * 3600
    assert late.remaining_s < 64 * 3600
