"""The example of a delay model of one's own works as its README says."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import orderplan
from delay.loading import load_model
from delay.model import checked
from domain.states import ItemState as S
from orderplan import ClosedOrder
from tests.support.snapshots import NOW, item, snapshot

ADDRESS = "examples.own_delay_model.last_step:LastStep"
README = Path(__file__).parents[2] / "examples" / "own_delay_model" / "README.md"


def test_it_gives_the_share_of_past_orders_that_needed_longer_than_is_left():
    model = load_model(ADDRESS)
    past = snapshot(item("a", S.COMPLETED, ended_at=NOW), item("b", S.COMPLETED, ended_at=NOW))
    model.fit([ClosedOrder(past, NOW + timedelta(seconds=rest_s)) for rest_s in range(10, 110, 10)])
    open_items = [item("a", S.COMPLETED, ended_at=NOW - timedelta(seconds=15)), item("b", S.RUNNING, age_s=15)]
    (found,) = [checked(each) for each in model.predict([snapshot(*open_items, due_in_s=46)])]

    # One past order had ended by now; four of the other nine needed more than 61 s in all.
    assert found.p_late == 4 / 9
    assert (found.low_s, found.remaining_s, found.high_s) == (5, 45, 85)
    assert found.factors[0].reason == "44% of 9 past orders needed longer than is left after a"


def test_without_history_its_answer_can_be_used_all_the_same():
    (found,) = load_model(ADDRESS).predict([snapshot(item("a"))])

    assert checked(found).model == "last-step"


def test_the_example_imports_only_what_plug_ins_may_and_its_readme_names_it():
    source = (README.parent / "last_step.py").read_text(encoding="utf-8")

    assert "from orderplan import ClosedOrder, Factor, Prediction, Snapshot" in source
    assert ADDRESS in README.read_text(encoding="utf-8")
    assert {"ClosedOrder", "DelayModel", "Factor", "Prediction", "Snapshot"} <= set(orderplan.__all__)
