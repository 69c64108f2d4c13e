"""What may be done to a product in which state: every cell of the table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain.asset_states import AFTER
from domain.catalogue import Action
from domain.errors import InventoryConflict
from tests.support.build import callout, line, manual, order_of, plan_of, release_of, scenario
from tests.support.engine import Engine

ACTIONS = [action.value for action in Action if action is not Action.ADD]
CELLS = [(state, action) for state in AFTER for action in ACTIONS]


def installed(state: str) -> tuple[Engine, str]:
    """One product in a state."""
    engine = Engine(
        release_of(
            products=[{"code": "x", "attributes": [{"name": "n"}]}],
            plans=[plan_of("p", callout("work"), manual("rest"))],
            scenarios=[scenario("x", "p", "add", *ACTIONS)],
        )
    )
    engine.finish(engine.accept(order_of(line("1", "x", n=1))))
    [asset_id] = engine.account.assets
    engine.account.assets[asset_id] = replace(engine.account.assets[asset_id], status=state)
    return engine, asset_id


@pytest.mark.parametrize(("state", "action"), CELLS)
def test_an_action_leads_where_the_table_says_or_is_refused_with_the_way_on(state: str, action: str) -> None:
    engine, asset_id = installed(state)
    order = order_of(line("1", None, action, product_id=asset_id, n=2))
    after = AFTER[state].get(action)
    if after is None:
        with pytest.raises(InventoryConflict, match=rf"is {state}, so {action} means nothing \(") as refused:
            engine.accept(order)
        assert str(refused.value.path).endswith(".action")
        assert engine.account.assets[asset_id].status == state
        return
    engine.finish(engine.accept(order))
    if after == "terminated":
        assert asset_id not in engine.account.assets
    else:
        assert engine.account.assets[asset_id].status == after


def test_a_state_that_orders_know_nothing_of_counts_as_active() -> None:
    engine, asset_id = installed("pendingActive")
    engine.finish(engine.accept(order_of(line("1", None, "modify", product_id=asset_id, n=2))))
    assert engine.account.assets[asset_id].attributes == {"n": 2}


@pytest.mark.parametrize(("state", "action"), [("active", "suspend"), ("suspended", "resume")])
def test_an_order_that_has_suspended_one_product_can_still_be_amended_elsewhere(state: str, action: str) -> None:
    engine, asset_id = installed(state)
    first = line("1", None, action, product_id=asset_id)
    plan = engine.accept(order_of(first, line("2", "x", n=1)))
    engine.answer(plan, engine.call(plan, "p/work@1"))
    engine.complete_task(plan, "p/rest@1")
    assert engine.account.assets[asset_id].status == AFTER[state][action]
    engine.answer(plan, engine.call(plan, "p/work@2"))
    engine.change(plan, "amend", order=order_of(line("1", None, action, product_id=asset_id), line("2", "x", n=3)))
    assert plan.changes == 1


def test_of_two_bundles_the_first_is_active_while_the_second_is_under_way_and_stays_when_that_is_cancelled() -> None:
    engine, _ = installed("active")
    before = set(engine.account.assets)
    plan = engine.accept(order_of(line("1", "x", n=1), line("2", "x", n=2)))
    engine.answer(plan, engine.call(plan, "p/work@1"))
    engine.complete_task(plan, "p/rest@1")
    [made] = set(engine.account.assets) - before
    assert (engine.account.assets[made].status, plan.order_state) == ("active", "inProgress")
    engine.answer(plan, engine.call(plan, "p/work@2"))
    engine.change(plan, "cancel", lines=("2",))
    engine.finish(plan)
    assert (set(engine.account.assets) - before, plan.order_state) == ({made}, "partial")
