"""What may be done to a product in which state: every cell of the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from domain.asset_states import AFTER
from domain.catalogue import Action
from domain.errors import InventoryConflict
from domain.orders import Order
from domain.plan import Plan
from tests.support.build import callout, line, manual, order_of, plan_of, release_of, rule, scenario
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


def straight(engine: Engine, order: Order) -> Plan:
    return engine.accept(order)


def behind_an_order_that_waits(engine: Engine, order: Order) -> Plan:
    [asset_id] = engine.account.assets
    for _ in range(2):
        before = engine.accept(order_of(line("1", None, "noChange", product_id=asset_id)))
    plan = engine.accept(order)
    assert (before.order_state, plan.order_state) == ("pending", "pending")
    for each in list(engine.plans.values()):
        if each is not plan:
            engine.finish(each)
    return plan


def by_an_amendment(engine: Engine, order: Order) -> Plan:
    plan = engine.accept(order_of(line("0", "x", n=1)))
    engine.change(plan, "amend", order=order_of(line("0", "x", n=1), *order.lines))
    return plan


def by_an_amendment_of_an_order_that_waits(engine: Engine, order: Order) -> Plan:
    [asset_id] = engine.account.assets
    first = engine.accept(order_of(line("1", None, "noChange", product_id=asset_id)))
    plan = engine.accept(order_of(line("0", None, "noChange", product_id=asset_id)))
    engine.change(plan, "amend", order=order)
    engine.finish(first)
    return plan


WAYS = [straight, behind_an_order_that_waits, by_an_amendment, by_an_amendment_of_an_order_that_waits]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize(("state", "action"), CELLS)
def test_an_action_leads_with_its_delivery_where_the_table_says_or_is_refused_with_the_way_on(
    state: str, action: str, way: Callable[[Engine, Order], Plan]
) -> None:
    engine, asset_id = installed(state)
    order = order_of(line("1", None, action, product_id=asset_id, n=2))
    after = AFTER[state].get(action)
    if after is None:
        with pytest.raises(InventoryConflict, match=rf"is {state}, so {action} means nothing \(") as refused:
            way(engine, order)
        assert str(refused.value.path) == "productOrderItem[1].action"
        assert engine.account.assets[asset_id].status == state
        return
    plan = way(engine, order)
    assert engine.account.assets[asset_id].status == state
    engine.finish(plan)
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


# An order is judged once: when it is accepted, by what stands before it.


def behind_another(*actions: str, state: str = "active") -> tuple[Engine, str, list[Plan]]:
    """One order at work on a product, and one order for each action that waits behind it, in that order."""
    engine, asset_id = installed("active")
    engine.account.assets[asset_id] = replace(engine.account.assets[asset_id], status=state)
    first = engine.accept(order_of(line("1", None, "noChange", product_id=asset_id)))
    return engine, asset_id, [first, *(engine.accept(on(asset_id, action)) for action in actions)]


def on(asset_id: str, action: str) -> Order:
    return order_of(line("1", None, action, product_id=asset_id, n=2))


@pytest.mark.parametrize(
    ("state", "ahead", "action", "is_accepted"),
    [
        ("active", "suspend", "modify", False),
        ("active", "suspend", "suspend", False),
        ("active", "suspend", "resume", True),
        ("suspended", "resume", "modify", True),
        ("suspended", "resume", "resume", False),
    ],
)
def test_an_order_is_judged_by_the_state_that_orders_which_wait_before_it_lead_to(
    state: str, ahead: str, action: str, is_accepted: bool
) -> None:
    engine, asset_id, plans = behind_another(ahead, state=state)
    assert plans[1].order_state == "pending"
    engine.account = engine.reloaded_account()
    if not is_accepted:
        with pytest.raises(InventoryConflict, match=f"so {action} means nothing"):
            engine.accept(on(asset_id, action))
        return
    assert engine.accept(on(asset_id, action)).order_state == "pending"


def test_an_order_that_was_accepted_is_delivered_although_the_one_before_it_was_taken_back() -> None:
    engine, asset_id, [first, resumption, change] = behind_another("resume", "modify", state="suspended")
    engine.change(resumption, "cancel")
    engine.finish(first)
    engine.finish(change)
    assert (change.order_state, engine.account.assets[asset_id].attributes) == ("completed", {"n": 2})


def test_a_suspension_of_what_is_suspended_when_its_turn_comes_is_delivered_as_it_is() -> None:
    engine, asset_id, [first, resumption, suspension] = behind_another("resume", "suspend", state="suspended")
    engine.change(resumption, "cancel")
    engine.finish(first)
    engine.finish(suspension)
    assert (suspension.order_state, engine.account.assets[asset_id].status) == ("completed", "suspended")


@pytest.mark.parametrize("kind", ["amend", "cancel"])
def test_an_order_under_way_can_be_changed_although_its_product_is_suspended_by_now(kind: str) -> None:
    engine, asset_id = installed("active")
    plan = engine.accept(order_of(line("1", None, "modify", product_id=asset_id, n=2), line("2", "x", n=1)))
    engine.account.assets[asset_id] = replace(engine.account.assets[asset_id], status="suspended")
    if kind == "amend":
        changed = order_of(line("1", None, "modify", product_id=asset_id, n=3), line("2", "x", n=1))
        engine.change(plan, kind, order=changed)
    else:
        engine.change(plan, kind, lines=("2",))
    engine.finish(plan)
    assert engine.account.assets[asset_id].attributes == {"n": 3 if kind == "amend" else 2}


def test_a_line_that_an_amendment_brings_is_judged_as_a_new_order_is() -> None:
    engine, asset_id = installed("suspended")
    plan = engine.accept(order_of(line("1", "x", n=1)))
    wanted = order_of(line("1", "x", n=1), line("2", None, "modify", product_id=asset_id, n=2))
    with pytest.raises(InventoryConflict, match="is suspended, so modify means nothing") as refused:
        engine.change(plan, "amend", order=wanted)
    assert str(refused.value.path) == "productOrderItem[2].action"


def test_an_amendment_that_waits_for_work_under_way_is_not_judged_again_when_it_is_carried_out() -> None:
    engine, asset_id = installed("active")
    plan = engine.accept(order_of(line("1", "x", n=1)))
    [call] = engine.calls[plan.order_id]
    wanted = order_of(line("1", "x", n=1), line("2", None, "modify", product_id=asset_id, n=2))
    engine.change(plan, "amend", order=wanted)
    assert plan.change is not None, "the call is waited for"
    engine.account.assets[asset_id] = replace(engine.account.assets[asset_id], status="suspended")
    engine.answer(plan, call)
    engine.finish(plan)
    assert (plan.changes, engine.account.assets[asset_id].attributes) == (1, {"n": 2})


def test_an_order_that_waits_is_amended_by_what_stands_before_it_alone() -> None:
    engine, asset_id, [_, own, _] = behind_another("modify", "suspend")
    wanted = order_of(line("1", None, "modify", product_id=asset_id, n=5), line("2", "x", n=1))
    engine.change(own, "amend", order=wanted)
    assert own.changes == 1
    suspends = order_of(line("3", None, "suspend", product_id=asset_id))
    engine.change(own, "amend", order=suspends)
    with pytest.raises(InventoryConflict, match="is suspended, so modify"):
        engine.accept(on(asset_id, "modify"))


@pytest.mark.parametrize("together", [True, False])
def test_a_shared_instance_is_suspended_with_products_that_are_suspended_together_and_resumed_with_the_first(
    together: bool,
) -> None:
    engine = Engine(
        release_of(
            products=["x", {"code": "mail", "scope": "account"}],
            decompositions=[rule("x", "mail")],
            plans=[plan_of("p", callout("work"))],
            scenarios=[scenario("mail", "p", "add", "modify", "suspend", "resume")],
            emptyPlan="complete",
        )
    )
    engine.finish(engine.accept(order_of(line("1", "x"), line("2", "x"))))
    one, other = (each.asset_id for each in engine.account.assets.values() if each.product == "x")
    [mail] = [each.asset_id for each in engine.account.assets.values() if each.product == "mail"]
    lines = [line(each, None, "suspend", product_id=each) for each in (one, other)]
    for lines_ in [lines] if together else [[each] for each in lines]:
        engine.finish(engine.accept(order_of(*lines_)))
    assert engine.account.assets[mail].status == ("suspended" if together else "active")
    engine.finish(engine.accept(order_of(line("1", None, "resume", product_id=one))))
    assert [engine.account.assets[each].status for each in (one, other, mail)] == ["active", "suspended", "active"]
