"""The built-in delay model: what risk does while items run, overrun and end."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

from delay.critical_path import CriticalPath
from delay.durations import TAIL_POWER, Distribution, Durations
from delay.model import ClosedOrder, checked
from delay.playing import DRAWS, groups
from delay.snapshot import in_order
from delay.working_time import WEEK_S, WorkingTime
from domain.states import ItemState as S
from tests.support.snapshots import NOW, item, snapshot


def model(**observed: list[float]) -> CriticalPath:
    """A model that has seen these durations of the items of plan `p`."""
    made = CriticalPath()
    for code, durations in observed.items():
        for each in durations:
            made.durations.observe(f"p/{code}", each)
    return made


def risk(made: CriticalPath, *items, due_in_s: float = 60.0) -> float:
    (prediction,) = made.predict([snapshot(*items, due_in_s=due_in_s)])
    return checked(prediction).p_late


def test_risk_rises_while_the_longest_item_overruns_and_falls_when_it_completes():
    made = model(long=[20 + each % 21 for each in range(100)], last=[10.0] * 30)
    rising = [
        risk(made, item("long", S.RUNNING, age_s=age_s), item("last", waits=[0]), due_in_s=60 - age_s)
        for age_s in range(0, 60, 5)
    ]
    done = risk(made, item("long", S.COMPLETED, age_s=55), item("last", S.RUNNING, age_s=0), due_in_s=15)

    assert all(before <= after for before, after in pairwise(rising))
    assert rising[0] < 0.2
    assert rising[-1] > 0.9
    assert done < 0.1


def test_what_has_outlasted_all_that_was_observed_is_expected_to_last_on():
    made = model(long=[10.0] * 50)
    early, later = (made.predict([snapshot(item("long", S.RUNNING, age_s=age_s))])[0] for age_s in (20, 200))

    assert 0 < early.remaining_s < later.remaining_s
    assert early.low_s <= early.remaining_s <= early.high_s


def test_orders_that_stand_alike_get_the_same_prediction_whenever_they_are_asked_about():
    items = [item("a", S.RUNNING, age_s=1), item("b", waits=[0])]
    first, again = model().predict([snapshot(*items)] * 2)
    (other,) = model().predict([snapshot(*items, order_id="o1-2")])

    assert first == again == other


@pytest.mark.parametrize("due_in_s", [11.0, 20.0, 37.0, 50.0])
def test_what_a_single_item_takes_comes_out_without_luck(due_in_s):
    made = model(a=[float(each) for each in range(10, 60)])
    survival = float(made.durations.work("p/a", 10.0).survival(due_in_s))

    assert risk(made, item("a"), due_in_s=due_in_s) == pytest.approx(survival, abs=1 / DRAWS)


def test_items_have_luck_of_their_own_also_in_large_plans():
    (group,) = [group for _, group in groups([snapshot(*(item(f"i{at}") for at in range(300)))])]
    drawn = np.concatenate([group.luck(kind, at) for kind in range(3) for at in (0, 1, 255, 256, 299)])
    alike = np.abs(np.corrcoef(drawn) - np.eye(len(drawn)))

    assert drawn.min() > 0
    assert drawn.max() <= 1
    assert alike.max() < 0.3
    assert (np.sort(np.ceil(drawn * DRAWS), axis=1) == np.arange(1, DRAWS + 1)).all()


@pytest.mark.parametrize("count", [1, 2, 11, 256])
def test_durations_are_drawn_on_straight_lines_between_the_observations(count):
    random = np.random.Generator(np.random.PCG64(count))
    values = np.sort(random.random(count) * 1000.0)
    luck = np.append(1.0 - random.random((3, 400)), [[1.0] * 4, [0.5] * 4, [1e-12] * 4]).reshape(12, -1)
    survivals = 1.0 - np.arange(1, count + 1) / (count + 1)
    lines = np.interp(luck, survivals[::-1], values[::-1])
    beyond = values[-1] * np.maximum(survivals[-1] / luck, 1.0) ** (1 / TAIL_POWER)
    expected = np.where(luck < survivals[-1], beyond, lines)

    assert Distribution(values.tolist()).draw(luck) == pytest.approx(expected, rel=1e-9)


def test_items_side_by_side_take_the_longer_ones_time_and_items_in_a_row_their_sum():
    made = model(a=[10.0] * 30, b=[30.0] * 30)
    (row,) = made.predict([snapshot(item("a"), item("b", waits=[0]))])
    (side,) = made.predict([snapshot(item("a"), item("b"))])

    assert row.remaining_s == pytest.approx(40, abs=1)
    assert side.remaining_s == pytest.approx(30, abs=1)
    assert side.factors[0].item == "p/b@1"
    assert side.factors[0].weight > 0.95, "the end hardly ever waits for the shorter one"


def test_the_queue_is_learnt_apart_from_the_work():
    made = CriticalPath()
    for _ in range(30):
        made.durations.observe("p/task", 10.0, queue_s=100.0)
    waiting, begun = (
        made.predict([snapshot(item("task", state, type="manualTask", queue="desk", age_s=0))])[0]
        for state in (S.READY, S.RUNNING)
    )

    assert waiting.remaining_s == pytest.approx(110, abs=2)
    assert begun.remaining_s == pytest.approx(10, abs=1)


def test_a_scheduled_item_waits_for_its_date_and_a_failed_one_for_its_retry():
    made = model(a=[10.0] * 30)
    for state in (S.SCHEDULED, S.FAILED):
        (found,) = made.predict([snapshot(item("a", state, timer_at=NOW + timedelta(seconds=500)))])

        assert found.remaining_s == pytest.approx(510, abs=1)


def test_attempts_that_fail_lengthen_what_is_to_come():
    calm, shaky = model(a=[10.0] * 30), model(a=[10.0] * 30)
    for _ in range(30):
        shaky.durations.observe_failure("p/a")
    items = [item("a", tries=0, attempts_max=3, retry_delay_s=60.0)]

    assert risk(calm, *items) < 0.05
    assert risk(shaky, *items) > 0.3


def test_skipped_items_and_milestones_take_no_time():
    (found,) = model().predict([snapshot(item("a", S.SKIPPED), item("m", type="milestone", waits=[0]))])

    assert (found.remaining_s, found.p_late) == (0.0, 0.0)


def test_a_fatally_failed_item_waits_for_its_repair():
    made = model(a=[1.0] * 30)
    broken = item("a", S.FATALLY_FAILED, age_s=5)

    assert risk(made, broken) > 0.95
    for _ in range(30):
        made.durations.observe("repair", 5.0)
    assert risk(made, broken) < 0.05


def test_the_reasons_name_the_item_that_holds_things_up_and_how_much_longer_it_takes():
    made = model(slow=[10.0] * 30, other=[9.0] * 30)
    (found,) = made.predict([snapshot(item("slow", S.RUNNING, age_s=100), item("other", S.RUNNING, age_s=1))])
    reason = found.factors[0]

    assert reason.item == "p/slow@1"
    assert reason.reason.startswith("slow is Running for 100 s and takes ")
    assert "usually 10 s in all" in reason.reason
    assert "longer than usual" in reason.reason


def test_history_teaches_the_durations_of_items():
    closed = snapshot(item("a", S.COMPLETED, age_s=500, ended_at=NOW), due_in_s=-1)
    made = CriticalPath()
    made.fit([ClosedOrder(closed, NOW)] * 40)
    (found,) = made.predict([snapshot(item("a"))])

    assert ClosedOrder(closed, NOW).is_late
    assert found.remaining_s == pytest.approx(500, abs=5)


def test_items_that_wait_for_one_another_are_refused_instead_of_played_for_ever():
    with pytest.raises(ValueError, match="2 items wait for one another in a circle"):
        in_order([item("a", waits=[1]), item("b", waits=[0]), item("c")])


@pytest.mark.parametrize(
    "items",
    [
        [item(f"i{at}", waits=[at - 1] if at else []) for at in range(2_000)],
        [item(f"i{at}", waits=range(1_000) if at >= 1_000 else []) for at in range(2_000)],
    ],
    ids=["a chain", "two layers"],
)
def test_a_plan_of_two_thousand_items_is_played_in_bounded_time(items):
    made = model()
    began = time.process_time()
    (found,) = made.predict([snapshot(*items)])

    assert time.process_time() - began < 2.0
    assert found.remaining_s >= 10


def test_a_thousand_plans_of_ten_items_are_played_in_bounded_time():
    items = [item(f"i{at}", waits=[at - 1] if at else []) for at in range(10)]
    batch = [snapshot(*items, order_id=f"o1-{at}") for at in range(1_000)]
    began = time.process_time()

    assert len(model().predict(batch)) == 1_000
    assert time.process_time() - began < 2.0


def test_few_observations_are_mixed_with_the_plan_and_many_replace_it():
    durations = Durations()
    assert durations.work("p/a", 100.0).median_s == 100.0
    durations.observe("p/a", 1.0)
    mixed = durations.work("p/a", 100.0).median_s
    for _ in range(30):
        durations.observe("p/a", 1.0)

    assert 1.0 < mixed < 100.0
    assert durations.work("p/a", 100.0).median_s == 1.0


def test_a_distribution_outlasts_itself_with_the_probability_it_draws_with():
    made = Distribution([1.0, 2.0, 3.0, 4.0])
    for age_s in (1.5, 3.9, 4.0, 8.0, 80.0):
        survival = made.survival(age_s)

        assert made.draw_rest(made._survivals * 0 + 1.0, age_s)[0] == pytest.approx(0.0, abs=1e-9)
        assert 0 < survival < 1
    assert made.survival(8.0) < made.survival(4.0) < made.survival(1.5)


def test_working_time_follows_the_open_hours_there_and_back():
    monday_at = 1_767_571_200.0
    moments = [monday_at + day * 86_400.0 + hour * 3600.0 + 60.0 for day in range(5) for hour in range(8, 17)] * 3
    hours = WorkingTime(moments)
    week = np.array([[1.0 if day < 5 and 8 <= hour < 17 else 0.01 for hour in range(24)] for day in range(7)]).ravel()
    worked, edges = np.append(0.0, np.cumsum(week)) * 3600.0, np.arange(169) * 3600.0
    offsets = np.append(np.random.Generator(np.random.PCG64(1)).random(500) * 3 * WEEK_S, [0.0, WEEK_S, 3600.0])
    expected = offsets // WEEK_S * worked[-1] + np.interp(offsets % WEEK_S, edges, worked)
    begin = np.full(len(offsets), monday_at)

    assert hours.between(begin, begin + offsets) == pytest.approx(expected, abs=1e-4)
    assert hours.after(begin, expected) == pytest.approx(begin + offsets, abs=1e-2)
    assert hours.after(monday_at + 16.5 * 3600.0, np.array([3600.0]))[0] < monday_at + 86_400.0 + 8.5 * 3600.0


def test_plans_that_stand_alike_share_the_work_and_nothing_of_their_answers():
    made = model(a=[10.0 + each % 7 for each in range(40)], b=[30.0 + each % 5 for each in range(40)])
    for _ in range(10):
        made.durations.observe_failure("p/a")

    def plan(number: int, age_s: float, due_in_s: float):
        items = [item("a", S.RUNNING, age_s=age_s, attempts_max=4), item("b", waits=[0])]
        return snapshot(*items, order_id=f"o1-{number}", due_in_s=due_in_s)

    plans = [plan(number, 1.0 + number % 12, 30.0 + number % 20) for number in range(60)]
    plans[7] = snapshot(item("b", S.RUNNING, age_s=3), order_id="o1-other")
    together, alone = made.predict(plans), [made.predict([each])[0] for each in plans]

    assert together == alone
    assert len({each.remaining_s for each in together}) > 10


@pytest.mark.parametrize("method", ["work", "queue"])
def test_nothing_is_observed_while_somebody_looks_through_what_was_observed(method, monkeypatch):
    """Scores are worked out in threads, beside the loop that reads facts."""
    durations = Durations()
    durations.observe("p/a", 10.0, queue_s=5.0)
    could: list[bool] = []

    class Watched(Distribution):
        def __init__(self, samples):
            other = threading.Thread(target=lambda: could.append(durations._lock.acquire(blocking=False)))
            other.start()
            other.join()
            super().__init__(samples)

    monkeypatch.setattr("delay.durations.Distribution", Watched)
    given = ("p/a", 10.0) if method == "work" else ("p/a",)
    found = getattr(durations, method)(*given)

    assert found.median_s > 0
    assert could == [False]
