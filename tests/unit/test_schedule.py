"""The schedule of an open order: expected ends, the critical path, slack, and why the order is late."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from actors.schedule_desk import KEPT_S, WAITING_MAX, ScheduleDesk, schedule_view
from delay.critical_path import CriticalPath
from delay.lateness import Lateness, lateness_of
from delay.schedule import Schedule
from delay.snapshot import Snapshot
from domain.errors import Busy
from domain.states import ItemState as S
from tests.support.snapshots import NOW, item, snapshot


def model(**observed: float) -> CriticalPath:
    """A model that has seen items of plan `p` take always as long."""
    made = CriticalPath()
    for code, duration in observed.items():
        for _ in range(40):
            made.durations.observe(f"p/{code}", duration)
    return made


def ends(order: Snapshot, schedule: Schedule) -> dict[str, tuple[float, float, float]]:
    """(begin, end, slack) by the code of the item, to the second."""
    return {
        order.items[each.at].name: (round(each.begin_s), round(each.end_s), round(each.slack_s))
        for each in schedule.items
    }


def test_items_are_laid_along_the_graph_and_what_is_not_on_the_longest_way_has_slack():
    order = snapshot(item("a"), item("long", waits=[0]), item("short", waits=[0]), item("last", waits=[1, 2]))
    schedule = model(a=10.0, long=60.0, short=20.0, last=5.0).schedule(order)

    assert ends(order, schedule) == {
        "a": (0, 10, 0), "long": (10, 70, 0), "short": (10, 30, 40), "last": (70, 75, 0),
    }  # fmt: skip
    assert [order.items[each.at].name for each in schedule.items if each.is_critical] == ["a", "long", "last"]
    assert schedule.end_s == pytest.approx(75, abs=0.1)


def test_the_schedule_ends_when_the_model_expects_the_order_to_end_also_where_items_wait_for_one_another():
    made = CriticalPath()
    for at in range(200):
        made.durations.observe("p/one", 10.0 + at)
        made.durations.observe("p/other", 10.0 + at)
    order = snapshot(item("one"), item("other"), item("last", waits=[0, 1]))
    (prediction,) = made.predict([order])
    schedule = made.schedule(order)

    assert schedule.end_s == pytest.approx(prediction.remaining_s, rel=0.02)
    assert schedule.end_s > 10 + 110 + 10, "the later of two ends later than either usually does"


def test_what_has_lasted_long_already_is_expected_to_end_later_and_a_date_is_waited_for():
    running = item("a", S.RUNNING, age_s=8)
    at = NOW + timedelta(seconds=100)
    scheduled = item("b", S.SCHEDULED, waits=[], timer_at=at, ready_at=None, started_at=None)
    order = snapshot(running, scheduled)

    assert ends(order, model(a=10.0, b=5.0).schedule(order)) == {"a": (0, 2, 103), "b": (100, 105, 0)}


def test_the_critical_path_goes_back_through_what_ended_last():
    done = [
        item("first", S.COMPLETED, ended_at=NOW - timedelta(seconds=50)),
        item("quick", S.COMPLETED, waits=[0], ended_at=NOW - timedelta(seconds=40)),
        item("slow", S.COMPLETED, waits=[0], ended_at=NOW - timedelta(seconds=5)),
    ]
    order = snapshot(*done, item("now", S.RUNNING, waits=[1, 2], age_s=5), item("last", waits=[3]))
    ended = snapshot(*done)
    at_once = [
        item("b", S.COMPLETED, waits=[1], ended_at=NOW, age_s=0),
        item("a", S.COMPLETED, ended_at=NOW, age_s=9),
    ]

    assert model().schedule(order).past == (2, 0)
    assert model().schedule(snapshot(*at_once)).past == (0, 1), "what ended in one tick with what it waited for"
    assert model().schedule(ended) == Schedule((), 0.0, (2, 0))


def test_an_items_part_in_the_risk_is_how_often_the_late_end_waits_for_it():
    order = snapshot(item("long"), item("short"), due_in_s=30.0)
    long, short = model(long=60.0, short=20.0).schedule(order).items

    assert min(long.share, long.late_share) >= 0.99
    assert max(short.share, short.late_share) <= 0.01, "the tail of what may last very long"
    assert model(long=60.0).schedule(snapshot(item("long"), due_in_s=600.0)).items[0].late_share <= 0.01


def late(*items, due_in_s: float = -60.0, made: CriticalPath | None = None, **members) -> Lateness:
    order = snapshot(*items, due_in_s=due_in_s, **members)
    made = made or model()
    return lateness_of(order, made.schedule(order), made)


def desk() -> CriticalPath:
    made = CriticalPath()
    for at in range(100):
        made.durations.observe("p/visit", 600.0, queue_s=3600.0 + 36 * at)
    return made


def test_an_order_that_waits_for_people_is_late_because_of_the_queue_against_what_nine_of_ten_wait():
    visit = item("visit", S.READY, age_s=26 * 3600, queue="INSTALL", type="manualTask", started_at=None)
    found = late(item("done", S.COMPLETED, ended_at=NOW - timedelta(hours=26), age_s=26 * 3600), visit, made=desk())

    assert (found.code, found.item) == ("queue", "p/visit@1")
    assert found.text.startswith("It is 60 s past the promised date and is expected to take ")
    assert found.text.endswith(": “visit” has waited 26.0 h in queue INSTALL; nine of ten wait at most 113.9 min.")


@pytest.mark.parametrize(
    ("state", "members", "code", "words"),
    [
        (S.FATALLY_FAILED, {}, "failed", "has failed at system sys and waits for somebody to repair it"),
        (S.FAILED, {"tries": 3, "attempts_max": 5}, "retries", "failed at system sys 3 of 5 times and is tried again"),
        (S.ON_HOLD, {}, "outage", "because system sys takes no calls"),
        (S.RUNNING, {}, "work", "has been at work for 2.0 h at system sys; planned are 10 s in all"),
        (S.RUNNING, {"type": "await", "system": None}, "otherOrder", "has lasted for 2.0 h"),
    ],
)
def test_the_reason_follows_the_state_of_what_the_end_waits_for(state, members, code, words):
    found = late(item("bill", state, age_s=7200, **members), item("last", waits=[0]))

    assert (found.code, found.item) == (code, "p/bill@1")
    assert words in found.text


def test_time_that_was_lost_before_is_the_reason_when_what_is_under_way_goes_as_usual():
    lost = item("lost", S.COMPLETED, age_s=9000, ended_at=NOW - timedelta(seconds=2), tries=4)
    found = late(lost, item("now", S.RUNNING, waits=[0], age_s=2), made=model(lost=10.0, now=10.0))

    assert (found.code, found.item) == ("retries", "p/lost@1")
    assert "“lost” took 2.5 h and 4 attempts at system sys; nine of ten take at most 10 s" in found.text


def test_an_order_whose_items_go_as_usual_is_late_because_its_plan_is_long_and_one_in_time_has_no_reason():
    order = [item("a", S.RUNNING, age_s=0), item("b", waits=[0])]

    assert late(*order, due_in_s=5.0, made=model(a=10.0, b=10.0)).code == "plan"
    begun = [item(f"a{at}", S.RUNNING, age_s=0) for at in range(50)]
    assert late(*begun, due_in_s=5.0).code == "plan", "one of many is slow as a rule, but nobody knows yet which"
    in_time = late(*order, due_in_s=120.0, made=model(a=10.0, b=10.0))
    assert (in_time.code, in_time.item, round(in_time.late_s)) == ("inTime", None, -100)


def test_an_order_that_has_ended_says_when_and_why_it_was_late():
    done = item("a", S.COMPLETED, age_s=7200, ended_at=NOW - timedelta(seconds=600))
    found = late(done, due_in_s=-3000.0, due_basis="planned", made=model(a=10.0))

    assert found.text.startswith("It ended 40.0 min after the planned date: “a” took 110.0 min at system sys")


def test_the_answer_has_the_open_items_with_their_reasons_and_what_ended_before_on_the_critical_path():
    done = item("done", S.COMPLETED, ended_at=NOW)
    order = snapshot(done, item("a", S.RUNNING, waits=[0], age_s=0), item("b", waits=[1]), due_in_s=15.0)
    found = schedule_view(order, model(a=10.0, b=10.0))

    assert [each["key"] for each in found["items"]] == ["p/done@1", "p/a@1", "p/b@1"]
    assert found["items"][0] == {"key": "p/done@1", "isCritical": True}
    assert found["items"][2]["slackS"] == 0.0
    assert found["items"][2]["risk"] >= 0.95
    assert "the end waits for it in 100% of the cases" in found["items"][2]["reason"]
    assert found["items"][2]["expectedEndAt"] == found["expectedAt"]
    assert (found["model"], found["facts"]) == ("critical-path", 1)


async def test_a_schedule_is_kept_for_a_while_as_long_as_nothing_has_happened():
    now = [0.0]
    desk = ScheduleDesk(model(), lambda: now[0])
    order = snapshot(item("a"))
    first, second = await asyncio.gather(desk.answer(order), desk.answer(order))

    assert first is second
    assert desk.known("o1-1", 1) is first
    assert desk.known("o1-1", 2) is None
    now[0] = KEPT_S
    assert desk.known("o1-1", 1) is None
    await desk.answer(order)
    assert desk.worked_out == 2


async def test_more_than_so_many_do_not_wait_for_a_schedule():
    desk = ScheduleDesk(model())
    asked = [desk.answer(snapshot(item("a"), order_id=f"o1-{at}")) for at in range(WAITING_MAX + 1)]
    found = await asyncio.gather(*asked, return_exceptions=True)

    assert [type(each) for each in found].count(Busy) == 1
    assert desk.worked_out == WAITING_MAX


def test_thousands_that_wait_for_thousands_are_laid_out_once_for_all():
    wide = [item(f"a{at}") for at in range(1_000)]
    order = snapshot(*wide, *(item(f"b{at}", waits=range(1_000)) for at in range(1_000)))
    schedule = model().schedule(order)

    assert len(schedule.items) == 2_000
    assert all(each.is_critical for each in schedule.items)
