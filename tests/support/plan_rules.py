"""What holds of every plan between two of its turns, whatever happens to it; tests look after each step."""

from __future__ import annotations

from typing import Final

from domain.plan import Plan
from domain.states import ItemState, PlanState
from domain.watchdog import next_time, stuck_items
from tests.support.engine import Engine
from tests.support.fingerprint import fingerprint

BUSY: Final = {"Ready", "Running", "Failed", "Scheduled"}
DONE: Final = {"Completed", "Skipped"}
CLOSED: Final = DONE | {"Amended", "Cancelled", "Discarded", "Failed Discarded"}
"""States in which nobody waits for an item; what a change has overtaken is done again elsewhere, or not at all."""


def moves(item) -> bool:
    """Whether something happens to it by itself, or somebody is at work."""
    if item.state.value == "On Hold":
        return item.hold is not None and item.hold["cause"] == "busy"
    return item.state.value in BUSY


def counters_are_right(plan: Plan) -> None:
    """Each counter is what a count from scratch gives."""
    if plan.template is None:
        return
    states = [item.state.value for item in plan.items]
    assert plan.open_items == sum(state not in CLOSED for state in states)
    assert plan.moving == sum(moves(item) for item in plan.items)
    assert plan.held_items == sum(item.state.value == "On Hold" and not moves(item) for item in plan.items)
    assert plan.fatally_failed == states.count("Fatally Failed")
    assert plan.calling == sum(
        state in ("Running", "Frozen - Running") and item.is_callout and not item.is_accepted
        for item, state in zip(plan.items, states, strict=True)
    )
    roots = {each: plan.lines[plan.line_at[each]].root for line in plan.lines for each in line.order_lines}
    open_in_root = dict.fromkeys(roots.values(), 0)
    for item, state in zip(plan.items, states, strict=True):
        if state not in CLOSED:
            order_lines = {
                each for index in plan.template.nodes[item.node].lines for each in plan.lines[index].order_lines
            }
            for root in {plan.lines[plan.line_at[each]].root for each in order_lines}:
                open_in_root[root] += 1
    assert plan.open_in_root == open_in_root
    for item in plan.items:
        targets = [plan.items[target] for target in plan.template.waits[item.node]]
        parent = plan.template.parents.get(item.node)
        is_held = parent is not None and plan.items[parent].started_at is None
        if item.state.value not in CLOSED:
            assert item.waits == sum(target.state.value not in CLOSED for target in targets) + is_held, item.key
    for parent, children in plan.template.children.items():
        assert plan.open_children[parent] == sum(plan.items[child].state.value not in CLOSED for child in children)
    assert plan.awaiting == {item.node for item in plan.items if item.is_event and item.state is ItemState.RUNNING}


def nothing_rests_that_could_move(plan: Plan) -> None:
    """A pending item waits for somebody; one that has a timer waits for it; an order without open items has ended."""
    if plan.template is None:
        return
    stands = plan.state is not PlanState.IN_PROGRESS
    for item in plan.items:
        targets = [plan.items[target].state.value for target in plan.template.waits[item.node]]
        parent = plan.template.parents.get(item.node)
        is_held = parent is not None and plan.items[parent].state.value != "Running"
        if item.state.value == "Pending" and item.definition is not None and not stands and not is_held:
            assert not set(targets) <= CLOSED, f"{item.key} could begin"
        if item.state.value in ("Failed", "Scheduled"):
            assert (item.timer_at or item.paused_at) is not None, f"{item.key} waits for no time"
        if item.is_callout and item.is_running:
            assert item.timer_at is not None, f"{item.key} waits for no time"
    if plan.ended_at is not None:
        assert plan.open_items == 0
        assert plan.state is PlanState.COMPLETED
        return
    if stands:
        assert plan.state is not PlanState.HELD or plan.order_state == "held"
        return
    assert plan.open_items > 0 or plan.bookings
    if plan.is_cancelled:
        assert plan.order_state == "pendingCancellation"
        return
    is_stuck = any(item.state.value in ("Fatally Failed", "On Hold") for item in plan.items)
    is_stuck = is_stuck and not any(moves(item) for item in plan.items)
    assert plan.order_state == ("held" if is_stuck else "inProgress")


def nothing_is_stuck(engine: Engine) -> None:
    """The watchdog finds nothing in a healthy plan, and leaves it as it is. Timers are judged by when they are due:
    here nobody fires them in time.
    """
    for plan in engine.plans.values():
        now = min(engine.now, next_time(plan) or engine.now)
        account = engine.account_of(plan)
        stuck = stuck_items(plan, now, account.open_orders if account is not None else None)
        assert stuck == [], f"{plan.state}: {stuck}"


def replays_alike(engine: Engine, plan: Plan) -> None:
    """The plan's facts alone give the plan."""
    replayed, kept = fingerprint(engine.replayed(plan)), fingerprint(plan)
    different = {name: (replayed[name], kept[name]) for name in kept if replayed[name] != kept[name]}
    assert not different, f"replayed and kept differ: {different}"


def account_can_be_reloaded(engine: Engine) -> None:
    """A host that starts anew sees the account as this one does."""
    reloaded = engine.reloaded_account()
    assert reloaded == engine.account
    for is_waiting in (False, True):
        kept, found = (
            [order_id for order_id, each in account.open_orders.items() if each.is_waiting is is_waiting]
            for account in (engine.account, reloaded)
        )
        assert found == kept
