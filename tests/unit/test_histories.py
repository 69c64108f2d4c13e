"""Simulated histories: the same seed gives the same bytes, nothing is before its cause, people keep their hours."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from statistics import mean, median
from typing import Any

import pytest
from typer.testing import CliRunner

from delay.features import check_point_in_time
from delay.histories import Desk, Drift, KeptHistory, Outage, Settings, Simulation, Slowdown
from delay.histories.files import COLUMNS, EVENTS, FACTS, MANIFEST, HistoryWriter, StoredHistory, UnusableHistory
from delay.histories.settings import START
from delay.histories.simulation import UnusableSettings
from delay.histories.systems import UNNOTICED_S
from delay.replay import closed_orders, replayed
from delay.snapshot import snapshot_of
from domain import facts as f
from domain.evolve import plan_from_facts
from domain.facts import Fact
from domain.plan import Plan
from orderplan.cli.main import app
from tests.support.worlds import history, kinds, world

ROOT = Path(__file__).parents[2]
HOME = "home-internet"
ONE_SURVEYOR: dict[str, Any] = {
    "desks": {"field-survey": Desk(workers=1), "field-installation": Desk(workers=4)},
    "work_s": {"survey/visit": 4 * 3600.0, "prepare-copper/visit": 2 * 3600.0},
}
"""One person for surveys, who is busy all day."""


@pytest.fixture(scope="module")
def usual() -> KeptHistory:
    return history(outages=None)


def by_order(made: KeptHistory) -> dict[str, list[Fact]]:
    found: dict[str, list[Fact]] = defaultdict(list)
    for order_id, fact in made:
        found[order_id].append(fact)
    return found


def folded(made: KeptHistory, facts: list[Fact]) -> Plan:
    return plan_from_facts(facts, made.releases.__getitem__, lambda template_id: made.templates[template_id][1])


def written(folder: Path, simulation: Simulation) -> dict[str, Any]:
    with HistoryWriter(folder, simulation) as writer:
        for happening in simulation.run():
            writer.add(happening)
        return writer.finish(("own-mobile",))


def is_office_hour(at: datetime) -> bool:
    return at.weekday() < 5 and 8 <= at.hour < 17


def waits_s(made: KeptHistory, ref: str) -> dict[str, float]:
    """How long the task of this definition waited for somebody, by order."""
    opened: dict[str, datetime] = {}
    waited = {}
    for order_id, fact in made:
        if fact.item is not None and fact.item.partition("@")[0] == ref:
            if fact.kind == f.ITEM_OPENED:
                opened[order_id] = fact.at
            elif fact.kind == f.ITEM_CLAIMED:
                waited[order_id] = (fact.at - opened[order_id]).total_seconds()
    return waited


# The same again.


def test_the_same_seed_gives_the_same_bytes_in_another_process(tmp_path):
    arguments = ["simulate", "--orders", "25", "--days", "5", "--seed", "7", "--out"]
    here = CliRunner().invoke(app, [*arguments, str(tmp_path / "here")])
    subprocess.run(
        [sys.executable, "-m", "orderplan.cli.main", *arguments, str(tmp_path / "there")],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "4711", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    names = sorted(path.name for path in (tmp_path / "here").iterdir())

    assert here.exit_code == 0
    assert len(names) == 5
    for name in names:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes(), name


def test_another_seed_gives_other_orders():
    assert history(10, 3).happenings != history(10, 3, seed=2).happenings


def test_what_is_read_from_the_files_is_what_happened(tmp_path):
    made = history(25, 5)
    manifest = written(tmp_path, world(25, 5))
    stored = StoredHistory(tmp_path)

    assert [tuple(each) for each in stored] == [tuple(each) for each in made]
    assert {each: to.to_dict() for each, (_, to) in stored.templates.items()} == {
        each: to.to_dict() for each, (_, to) in made.templates.items()
    }
    assert manifest["counts"]["facts"] == len(made.happenings)
    assert stored.until == made.until


# Causes and effects.


def test_facts_come_in_the_order_of_time(usual):
    times = [fact.at for _, fact in usual]

    assert times == sorted(times)
    assert all(each.microsecond % 1000 == 0 for each in times)


def test_no_fact_comes_before_its_cause(usual):
    needs = {
        f.PLAN_COMPOSED: {f.ORDER_ACCEPTED},
        f.ITEM_CLAIMED: {f.ITEM_OPENED},
        f.ITEM_FAILED: {f.ITEM_STARTED},
        f.ITEM_ACCEPTED: {f.ITEM_STARTED},
        f.ITEM_RETRIED: {f.ITEM_FATALLY_FAILED},
    }
    for order_id, facts in by_order(usual).items():
        seen: set[tuple[str, str | None]] = set()
        for fact in facts:
            for cause in needs.get(fact.kind, ()):
                assert (cause, fact.item) in seen, (order_id, fact)
            seen.add((fact.kind, fact.item))
        assert facts[0].kind == f.ORDER_ACCEPTED


def test_calls_and_tasks_take_time(usual):
    taken_s = []
    started: dict[tuple[str, str], datetime] = {}
    for order_id, fact in usual:
        if fact.kind in (f.ITEM_STARTED, f.ITEM_CLAIMED):
            started[order_id, fact.item] = fact.at
        elif fact.kind == f.ITEM_COMPLETED and (order_id, fact.item) in started:
            taken_s.append((fact.at - started[order_id, fact.item]).total_seconds())

    assert len(taken_s) > 100
    assert min(taken_s) > 0


def test_items_begin_only_after_what_they_wait_for(usual):
    waited = 0
    for facts in by_order(usual).values():
        plan = folded(usual, facts)
        assert plan.template is not None
        for item, targets in zip(plan.items, plan.template.waits, strict=True):
            for target in targets:
                if item.ready_at is not None:
                    ended_at = plan.items[target].ended_at
                    assert ended_at is not None
                    assert item.ready_at >= ended_at
                    waited += 1

    assert waited > 100


def test_every_order_that_came_early_has_ended():
    made = history(60, 60, outages=None, retryable_share=0.1, fatal_share=0.05)
    old = made.until - timedelta(days=40)
    unended = {
        order_id
        for order_id, facts in by_order(made).items()
        if facts[0].at < old and all(fact.kind != f.ORDER_ENDED for fact in facts)
    }

    assert any(fact.kind == f.ITEM_RETRIED for _, fact in made)
    assert unended == set()


def test_a_failed_call_is_made_again_and_one_that_failed_for_good_is_mended():
    made = history(40, 40, retryable_share=0.3, fatal_share=0.1)
    kinds_seen = {fact.kind for _, fact in made}

    assert {f.ITEM_FAILED, f.ITEM_FATALLY_FAILED, f.ITEM_RETRIED} <= kinds_seen
    for order_id, fact in made:
        if fact.kind == f.ITEM_RETRIED:
            assert is_office_hour(fact.at - timedelta(milliseconds=1)), order_id


# People.


def test_people_work_only_in_working_hours(usual):
    acts = [fact for _, fact in usual if fact.kind == f.ITEM_CLAIMED]
    done = [fact for _, fact in usual if fact.kind == f.ITEM_COMPLETED and fact.actor.startswith("person:field")]

    assert acts
    assert done
    assert all(is_office_hour(fact.at) for fact in acts)
    # Whoever is done at the stroke of five was at work until then.
    assert all(is_office_hour(fact.at - timedelta(milliseconds=1)) for fact in done)


def test_nobody_works_on_two_tasks_at_once_and_no_task_waits_beside_somebody_free():
    made = history(80, 15, HOME, desks={"field-survey": Desk(workers=2), "field-installation": Desk(workers=1)})
    busy: dict[str, str] = {}
    most: dict[str, int] = defaultdict(int)
    for order_id, fact in made:
        worker = fact.actor.removeprefix("person:")
        if fact.kind == f.ITEM_CLAIMED:
            assert worker not in busy
            busy[worker] = order_id
            desk = worker.rpartition("-")[0]
            most[desk] = max(most[desk], sum(each.startswith(desk) for each in busy))
        elif fact.kind == f.ITEM_COMPLETED:
            busy.pop(worker, None)

    assert most == {"field-survey": 2, "field-installation": 1}


def test_the_more_urgent_task_is_taken_first():
    before = waits_s(history(120, 15, HOME, **ONE_SURVEYOR), "survey/visit")
    slowest = max(before, key=lambda order_id: before[order_id])
    priorities = {int(slowest.rpartition("-")[2]): "high"}
    after = waits_s(history(120, 15, HOME, priorities=priorities, **ONE_SURVEYOR), "survey/visit")

    assert after[slowest] < before[slowest]


def test_an_expedited_order_is_taken_sooner_and_nothing_before_that_differs():
    usual = history(120, 15, HOME, **ONE_SURVEYOR)
    before = waits_s(usual, "survey/visit")
    slowest = max(before, key=lambda order_id: before[order_id])
    opened_at = next(
        fact.at for order_id, fact in usual if (order_id, fact.kind) == (slowest, f.ITEM_OPENED)
    )
    at = opened_at + timedelta(minutes=30)
    day = (at - START) / timedelta(days=1)
    changed = history(120, 15, HOME, expedites={int(slowest.rpartition("-")[2]): day}, **ONE_SURVEYOR)

    claims = [each for each in changed if each.fact.kind == f.ITEM_CLAIMED and each.fact.at >= at]
    assert next(order_id for order_id, fact in claims if (fact.item or "").startswith("survey/visit")) == slowest
    assert waits_s(changed, "survey/visit")[slowest] < before[slowest]
    assert [each for each in changed if each.fact.at < at] == [each for each in usual if each.fact.at < at]


def test_a_slow_queue_makes_its_tasks_wait_longer_and_nobody_elses():
    usual = history(120, 15, HOME, **ONE_SURVEYOR)
    slowed = history(120, 15, HOME, slowdowns=(Slowdown("field-survey", 3, 15, 2.0),), **ONE_SURVEYOR)
    before, after = waits_s(usual, "survey/visit"), waits_s(slowed, "survey/visit")
    both = before.keys() & after.keys()

    installed = waits_s(usual, "prepare-copper/visit")
    assert mean(after[each] for each in both) > 1.5 * mean(before[each] for each in both)
    assert _waiting_on(slowed, 12, "field-survey") > 2 * _waiting_on(usual, 12, "field-survey")
    assert median(waits_s(slowed, "prepare-copper/visit").values()) <= 1.2 * median(installed.values())


def _waiting_on(made: KeptHistory, day: float, queue: str) -> int:
    """How many tasks wait in a queue on that day."""
    at = START + timedelta(days=day)
    replay = replayed(made, at)
    snapshots = [replay.snapshot(order_id, at) for order_id in replay.plans]
    return sum(item.queue == queue and item.state == "Ready" for each in snapshots if each for item in each.items)


# Systems.


def test_while_a_system_is_away_its_items_are_held_and_they_go_on_afterwards():
    outage = Outage("activation", 3.0, 4.0)
    made = history(120, 8, HOME, outages=(outage,))
    noticed_at = START + timedelta(days=3, seconds=UNNOTICED_S)
    back_at = START + timedelta(days=4)
    begun, held = [], set()
    for order_id, fact in made:
        if fact.kind == f.ITEM_HELD:
            held.add((order_id, fact.item))
        elif fact.kind in (f.ITEM_STARTED, f.ITEM_COMPLETED):
            held.discard((order_id, fact.item))
            if (fact.item or "").startswith("activate/activate"):
                begun.append(fact.at)

    assert any(fact.kind == f.ITEM_HELD for _, fact in made)
    assert held == set()
    assert begun
    assert not [at for at in begun if noticed_at < at < back_at]


def test_durations_drift_from_a_day_on():
    made = history(120, 20, HOME, drifts=(Drift("ship-router/ship", 10, 3.0),))
    began: dict[str, datetime] = {}
    before: list[float] = []
    after: list[float] = []
    for order_id, fact in made:
        if fact.item is not None and fact.item.startswith("ship-router/ship"):
            if fact.kind == f.ITEM_STARTED:
                began[order_id] = fact.at
            elif fact.kind == f.ITEM_COMPLETED:
                of = before if began[order_id] < START + timedelta(days=10) else after
                of.append((fact.at - began[order_id]).total_seconds())

    assert median(after) > 2 * median(before)


def test_orders_come_by_day_and_less_at_the_weekend():
    came = [fact.at for _, fact in history(200, 28, "own-mobile") if fact.kind == f.ORDER_ACCEPTED]
    weekend = sum(at.weekday() >= 5 for at in came)

    assert len(came) == 200
    assert sum(8 <= at.hour < 20 for at in came) > 0.75 * 200
    assert weekend / 8 < 0.8 * (200 - weekend) / 20


# As known at a moment.


def test_orders_at_a_moment_hold_nothing_of_what_comes_later(usual):
    at = usual.until - timedelta(days=10)
    replay = replayed(usual, at)
    for order_id, facts in by_order(usual).items():
        known = [fact for fact in facts if fact.at <= at]
        if order_id not in replay.plans:
            assert not known or known[-1].kind == f.ORDER_ENDED or folded(usual, known).ended_at is not None
            continue
        snapshot = replay.snapshot(order_id, at)
        assert snapshot is not None
        check_point_in_time(snapshot)
        assert snapshot == snapshot_of(folded(usual, known), at, replay.load)

    assert replay.plans
    assert sum(replay.load.values()) > 0


def test_the_load_counts_what_is_in_progress_and_ends_with_the_orders():
    made = history(30, 60)
    early = {order_id for order_id, facts in by_order(made).items() if facts[-1].kind == f.ORDER_ENDED}
    whole = KeptHistory(made.releases, made.templates, made.until, tuple(each for each in made if each[0] in early))
    replay = replayed(whole, made.until)

    assert len(early) > 20
    assert not replay.plans
    assert set(replay.load.values()) <= {0}


def test_closed_orders_have_all_their_times_and_say_whether_they_were_late(usual):
    closed = list(closed_orders(usual))

    assert closed
    assert {each.is_late for each in closed} == {True, False}
    for each in closed:
        assert all(item.is_over and item.ended_at is not None for item in each.snapshot.items)
        assert each.ended_at == each.snapshot.now


# Named as what they are.


def test_a_history_is_named_as_simulated_wherever_it_appears(tmp_path):
    manifest = written(tmp_path, world(15, 5))
    with (tmp_path / EVENTS).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    head, *facts = (json.loads(line) for line in (tmp_path / FACTS).read_text(encoding="utf-8").splitlines())

    assert manifest["simulated"] is True
    assert json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8")) == manifest
    assert head["simulated"] is True
    assert tuple(rows[0]) == COLUMNS
    assert all(datetime.fromisoformat(row["currentDue"]) == datetime.fromisoformat(row["due"]) for row in rows)
    assert all(row["case"].startswith("simulated-") and row["simulated"] == "true" for row in rows)
    assert all(fact["order"].startswith("simulated-") for fact in facts)


def test_no_value_that_is_out_of_sight_is_in_a_history(tmp_path):
    written(tmp_path, world(15, 5, HOME))
    texts = [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()]

    assert not any("555-0143" in text or "XX00" in text for text in texts)


# What cannot be.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--orders", "0"], ("--orders", "give a number from 1")),
        (["--days", "5000"], ("--days", "give a number from 1")),
        (["--catalogues", "moon"], ("--catalogues", "'moon'", "name some of")),
        (["--slow", "field-survey"], ("--slow", "CODE:FROM-UNTIL:FACTOR")),
        (["--slow", "moon:1-2:3"], ("--slow", "'moon'", "field-survey")),
        (["--drift", "activation:1:0"], ("--drift", "from 0.01 to 100")),
    ],
)
def test_what_cannot_be_simulated_is_refused_by_the_name_of_its_option(tmp_path, arguments, words):
    result = CliRunner().invoke(app, ["simulate", "--out", str(tmp_path / "out"), *arguments])

    assert result.exit_code == 2
    for word in words:
        assert word in result.stderr


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    result = CliRunner().invoke(app, ["simulate", "--orders", "5", "--days", "2", "--out", str(tmp_path), "--force"])

    assert result.exit_code == 2
    assert "--out" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_history_is_replaced_only_when_that_is_said(tmp_path):
    arguments = ["simulate", "--orders", "5", "--days", "2", "--out", str(tmp_path)]
    first = CliRunner().invoke(app, arguments)
    again = CliRunner().invoke(app, arguments)
    forced = CliRunner().invoke(app, [*arguments, "--force"])

    assert (first.exit_code, again.exit_code, forced.exit_code) == (0, 2, 0)
    assert "--force" in again.stderr


def test_settings_without_orders_or_kinds_are_refused():
    with pytest.raises(UnusableSettings):
        Simulation(Settings(orders=0, days=1), kinds())
    with pytest.raises(UnusableSettings):
        Simulation(Settings(orders=1, days=1), ())


def test_a_folder_that_holds_no_history_is_refused(tmp_path):
    with pytest.raises(UnusableHistory):
        StoredHistory(tmp_path)
    (tmp_path / MANIFEST).write_text('{"format": "something else"}', encoding="utf-8")
    with pytest.raises(UnusableHistory):
        StoredHistory(tmp_path)
