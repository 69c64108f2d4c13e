"""What delay models see: one builder, what is known at the moment, nothing that is sealed."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from delay.durations import REPAIR, Durations, ItemClock
from delay.snapshot import in_order, jeopardy_of, planned_path_s, snapshot_of
from domain import facts as f
from domain.states import ItemState as S
from tests.support.build import callout, depends, line, manual, milestone, order_of, plan_of, release_of, scenario
from tests.support.engine import START, Engine
from tests.support.snapshots import NOW, item


@pytest.fixture
def engine() -> Engine:
    release = release_of(
        products=[
            {
                "code": "sim",
                "attributes": [
                    {"name": "speed"},
                    {"name": "PUK", "assetizable": False},
                    {"name": "PIN", "encrypted": True},
                ],
            }
        ],
        plans=[
            plan_of(
                "deliver",
                callout("reserve", durationS=60),
                manual("visit", durationS=3600),
                callout("close"),
                milestone("done"),
            )
        ],
        dependencies=[
            depends("deliver/visit", "deliver/reserve"),
            depends("deliver/close", "deliver/visit"),
            depends("deliver/done", "deliver/close"),
        ],
        scenarios=[scenario("sim", "deliver")],
    )
    return Engine(release)


def test_the_snapshot_tells_plan_items_times_and_what_waits_for_what(engine):
    plan = engine.accept(order_of(line("1", "sim", speed="1G")))
    engine.wait(5)
    engine.answer(plan, engine.call(plan, "deliver/reserve"))
    found = snapshot_of(plan, engine.now, {"deliver/visit": 7})
    assert found is not None
    by_ref = {each.ref: each for each in found.items}

    assert (found.plan_class, found.version, found.load) == ("deliver", plan.facts, {"deliver/visit": 7})
    assert by_ref["deliver/reserve"].state is S.COMPLETED
    assert by_ref["deliver/reserve"].ended_at == START + timedelta(seconds=5)
    assert by_ref["deliver/visit"].state is S.READY
    assert (by_ref["deliver/visit"].queue, by_ref["deliver/visit"].ready_at) == ("desk", engine.now)
    assert [found.items[at].ref for at in by_ref["deliver/close"].waits] == ["deliver/visit"]
    assert found.attributes["lines"][0]["attributes"] == {"speed": "1G"}


def test_values_out_of_sight_are_not_in_the_snapshot(engine):
    plan = engine.accept(order_of(line("1", "sim", PUK="12345678", PIN="4711", notes={"inner": ["x"]})))
    plan.lines[0].attributes["notes"] = {"inner": [{"$sealed": "1/PUK"}]}
    found = snapshot_of(plan, engine.now)
    assert found is not None

    assert found.attributes["lines"][0]["attributes"] == {}


def test_the_due_date_is_the_promised_one_else_the_planned_length(engine):
    promised = engine.accept(order_of(line("1", "sim"), due_at="2026-03-05T12:00:00+00:00", account=None))
    planned = engine.accept(order_of(line("1", "sim"), account=None))
    first, second = snapshot_of(promised, engine.now), snapshot_of(planned, engine.now)
    assert first is not None
    assert second is not None

    assert (first.due_at, first.due_basis) == (datetime.fromisoformat("2026-03-05T12:00:00+00:00"), "promised")
    # Nothing is planned for `close`: what is usual for a callout.
    assert (second.due_at, second.due_basis) == (START + timedelta(seconds=60 + 3600 + 30), "planned")


def test_the_items_of_a_sub_plan_take_its_time():
    release = release_of(
        products=["sim"],
        plans=[
            plan_of("main", callout("first"), {"code": "sub", "type": "subPlan", "subPlan": "inner"}, callout("last")),
            plan_of("inner", callout("inside", durationS=500)),
        ],
        dependencies=[depends("main/sub", "main/first"), depends("main/last", "main/sub")],
        scenarios=[scenario("sim", "main")],
    )
    engine = Engine(release)
    found = snapshot_of(engine.accept(order_of(line("1", "sim"))), engine.now)
    assert found is not None
    refs = [found.items[at].ref for at in in_order(found.items)]

    assert refs == ["main/first", "inner/inside", "main/sub", "main/last"]
    assert planned_path_s(found.items) == 30 + 500 + 30


def test_an_order_that_waits_for_another_has_no_snapshot(engine):
    engine.accept(order_of(line("1", "sim", product_id=None)))
    (asset_id,) = {each.asset_id for each in engine.plans[next(iter(engine.plans))].lines}
    waiting = engine.accept(order_of(line("1", "sim", "modify", product_id=asset_id, speed="2G")))

    assert waiting.template is None
    assert snapshot_of(waiting, engine.now) is None


@pytest.mark.parametrize(("age_s", "status"), [(0, "ok"), (6.9, "ok"), (7, "warning"), (10, "late")])
def test_an_item_warns_before_its_planned_end_and_is_late_after_it(age_s, status):
    found = jeopardy_of(item("a", S.RUNNING, age_s=age_s, planned_s=10.0, safety_s=3.0), NOW)

    assert found is not None
    assert found.status == status


def test_an_item_that_is_over_or_has_no_plan_is_in_no_jeopardy():
    assert jeopardy_of(item("a", S.COMPLETED, age_s=99), NOW) is None
    assert jeopardy_of(item("a", S.RUNNING, age_s=99, planned_s=None), NOW) is None


def test_durations_are_read_off_the_facts_with_the_queue_apart(engine):
    durations = Durations()
    clock = ItemClock(durations)
    plan = engine.accept(order_of(line("1", "sim")))
    task = next(each.key for each in plan.items if each.is_manual)
    engine.wait(5)
    engine.answer(plan, engine.call(plan, "deliver/reserve"))
    engine.wait(100)
    engine.claim(plan, task)
    engine.wait(20)
    engine.complete_task(plan, task)
    engine.fail(plan, engine.call(plan, "deliver/close"), fatal=True)
    engine.wait(300)
    engine.operate(plan, engine.plans[plan.order_id].items[-2].key, "complete")
    for fact in engine.facts[plan.order_id]:
        clock.take(plan.order_id, fact.item, fact.kind, fact.at)
    queue = durations.queue("deliver/visit")
    assert queue is not None

    assert list(durations._by_ref["deliver/reserve"].work_s) == [5.0]
    assert list(durations._by_ref["deliver/visit"].work_s) == [20.0]
    assert queue.median_s == 100.0
    assert list(durations._by_ref[REPAIR].work_s) == [300.0]
    assert durations.failure_share("deliver/close") == 0.5
    assert not clock._started
    assert f.ITEM_FATALLY_FAILED in {fact.kind for fact in engine.facts[plan.order_id]}


def test_the_first_promise_goes_on_to_count_when_an_order_is_changed(engine):
    first, second = (START + timedelta(days=days) for days in (2, 9))
    plan = engine.accept(order_of(line("1", "sim"), due_at=first.isoformat()))
    # No change is made while a call runs.
    engine.answer(plan, engine.call(plan, "deliver/reserve"))
    before = snapshot_of(plan, engine.now)
    engine.change(plan, "patch", patch={"dueAt": second.isoformat()})
    after, again = (snapshot_of(each, engine.now) for each in (plan, engine.replayed(plan)))
    assert before is not None
    assert after is not None

    assert (before.due_at, before.current_due_at) == (first, None)
    assert (after.due_at, after.current_due_at, after.due_basis) == (first, second, "promised")
    assert after == again


def test_a_promise_that_is_made_later_is_the_first_one_from_then_on(engine):
    first, second = (START + timedelta(days=days) for days in (2, 9))
    plan = engine.accept(order_of(line("1", "sim")))
    engine.answer(plan, engine.call(plan, "deliver/reserve"))
    planned = snapshot_of(plan, engine.now)
    for due_at in (first, second):
        engine.change(plan, "patch", patch={"dueAt": due_at.isoformat()})
    found = snapshot_of(plan, engine.now)
    assert planned is not None
    assert found is not None

    assert (planned.due_basis, planned.current_due_at) == ("planned", None)
    assert (found.due_at, found.current_due_at, found.due_basis) == (first, second, "promised")
