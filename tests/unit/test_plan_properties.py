"""What holds of every plan, whatever happens to it and in which order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain import facts as f
from domain.catalogue import ItemType
from domain.decide import pending_effects
from domain.items import ItemRun
from domain.orders import OrderLine
from domain.plan import Plan
from domain.release import CompiledRelease
from domain.turn import Call
from domain.watchdog import next_time, stuck_items
from tests.support.build import release_of
from tests.support.engine import Engine
from tests.support.fingerprint import fingerprint
from tests.support.histories import History, Step, lines, releases, steps

BUSY = {"Ready", "Running", "Failed", "Scheduled"}
DONE = {"Completed", "Skipped"}
SETTLES = {f.ITEM_COMPLETED, f.ITEM_FAILED, f.ITEM_FATALLY_FAILED, f.ITEM_ACCEPTED, f.ITEM_SKIPPED, f.ITEM_HELD}
BEGINS = {f.ITEM_STARTED, f.ITEM_OPENED, f.ITEM_SCHEDULED, f.ITEM_HELD, f.ITEM_COMPLETED, f.ITEM_FATALLY_FAILED}


class WatchedEngine(Engine):
    """Looks at every plan after each turn, and keeps book of the calls that are sent and not settled."""

    def __init__(self, release: CompiledRelease) -> None:
        super().__init__(release)
        self.unsettled: dict[tuple[str, str], Call] = {}

    def _collect(self, turn: Any) -> None:
        super()._collect(turn)
        for fact in turn.facts:
            if fact.kind in SETTLES:
                self.unsettled.pop((turn.plan.order_id, fact.item), None)
        for call in turn.calls:
            self.unsettled[call.order_id, call.item] = call
        self.look_at(turn.plan)

    def look_at(self, plan: Plan) -> None:
        counters_are_right(plan)
        nothing_rests_that_could_move(plan)
        mine = {
            item: call
            for (order_id, item), call in self.unsettled.items()
            if order_id == plan.order_id and call.deadline_at > self.now
        }
        assert {call.item: call for call in pending_effects(plan, self.now)} == mine


def moves(item: ItemRun) -> bool:
    """Whether something happens to it by itself, or somebody is at work."""
    if item.state.value == "On Hold":
        return item.hold is not None and item.hold["cause"] == "busy"
    return item.state.value in BUSY


def counters_are_right(plan: Plan) -> None:
    """Each counter is what a count from scratch gives."""
    if plan.template is None:
        return
    states = [item.state.value for item in plan.items]
    is_call = [item.definition is not None and item.definition.type is ItemType.CALLOUT for item in plan.items]
    assert plan.open_items == sum(state not in DONE for state in states)
    assert plan.moving == sum(moves(item) for item in plan.items)
    assert plan.held_items == sum(item.state.value == "On Hold" and not moves(item) for item in plan.items)
    assert plan.fatally_failed == states.count("Fatally Failed")
    assert plan.calling == sum(
        state == "Running" and call and not item.is_accepted
        for item, state, call in zip(plan.items, states, is_call, strict=True)
    )
    open_in_root = {line.root: 0 for line in plan.lines}
    for item, state in zip(plan.items, states, strict=True):
        if state not in DONE:
            order_lines = {
                each for index in plan.template.nodes[item.node].lines for each in plan.lines[index].order_lines
            }
            for root in {plan.lines[plan.line_at[each]].root for each in order_lines}:
                open_in_root[root] += 1
    assert plan.open_in_root == open_in_root
    for item in plan.items:
        targets = [plan.items[target] for target in plan.template.waits[item.node]]
        assert item.waits == sum(target.state.value not in DONE for target in targets)


def nothing_rests_that_could_move(plan: Plan) -> None:
    """A pending item waits for somebody; one that has a timer waits for it; an order without open items has ended."""
    if plan.template is None:
        return
    for item in plan.items:
        targets = [plan.items[target].state.value for target in plan.template.waits[item.node]]
        if item.state.value == "Pending" and item.definition is not None:
            assert not set(targets) <= DONE, f"{item.key} could begin"
        if item.state.value in ("Failed", "Scheduled") or (item.is_callout and item.state.value == "Running"):
            assert item.timer_at is not None, f"{item.key} waits for no time"
    assert (plan.ended_at is not None) == (plan.open_items == 0)
    is_stuck = any(item.state.value in ("Fatally Failed", "On Hold") for item in plan.items)
    is_stuck = is_stuck and not any(moves(item) for item in plan.items)
    if plan.ended_at is None:
        assert plan.order_state == ("held" if is_stuck else "inProgress")


def nothing_is_stuck(engine: Engine) -> None:
    """The watchdog finds nothing in a healthy plan, and leaves it as it is. Timers are judged by when they are due:
    here nobody fires them in time.
    """
    for plan in engine.plans.values():
        now = min(engine.now, next_time(plan) or engine.now)
        account = engine.account_of(plan)
        assert stuck_items(plan, now, account.open_orders if account is not None else None) == []


def nothing_began_before_its_time(engine: Engine, plan: Plan) -> None:
    """From the facts alone: who begins, or is skipped by rule, has all that it waits for behind it."""
    if plan.template is None:
        return
    waits = {item.key: {plan.items[target].key for target in plan.template.waits[item.node]} for item in plan.items}
    done: set[str] = set()
    for fact in engine.facts[plan.order_id]:
        if fact.item is None:
            continue
        is_by_rule = fact.kind == f.ITEM_SKIPPED and fact.payload is not None and fact.payload["reason"] != "operator"
        if fact.kind in BEGINS or is_by_rule:
            assert waits[fact.item] <= done, f"{fact.item} before {waits[fact.item] - done}"
        if fact.kind in (f.ITEM_COMPLETED, f.ITEM_SKIPPED):
            assert fact.item not in done, f"{fact.item} ended twice"
            done.add(fact.item)


def no_secret_is_written(engine: Engine) -> None:
    for facts in engine.facts.values():
        assert "secret-" not in repr([fact.payload for fact in facts])


@pytest.mark.rule("B2.1")
@settings(
    max_examples=500,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    deadline=None,
)
@given(releases(), st.lists(lines(), min_size=2, max_size=4), steps)
def test_every_history_keeps_the_rules(
    release: dict[str, Any], orders: list[list[OrderLine]], happening: list[Step]
) -> None:
    engine = WatchedEngine(release_of(**release))
    history = History(engine, list(orders))
    history.begin()
    for step in happening:
        history.do(step)
        nothing_is_stuck(engine)
        if step[0] in ("order", "change"):
            account_can_be_reloaded(engine)
    for plan in engine.plans.values():
        assert fingerprint(engine.replayed(plan)) == fingerprint(plan)
        nothing_began_before_its_time(engine, plan)
    account_can_be_reloaded(engine)
    no_secret_is_written(engine)

    history.finish()
    for plan in engine.plans.values():
        assert fingerprint(engine.replayed(plan)) == fingerprint(plan)
        nothing_began_before_its_time(engine, plan)
    assert engine.account.open_orders == {}
    what_uses_something_is_installed(engine)


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


def what_uses_something_is_installed(engine: Engine) -> None:
    """When nothing is open, a technical instance has users, and they exist: every product here is an asset."""
    if any(line.key not in plan.delivered for plan in engine.plans.values() for line in plan.lines):
        return  # an assetize item was skipped: somebody wanted that not to become an asset
    assets = engine.account.assets
    for asset in assets.values():
        if asset.product == "t":
            assert asset.uses
            assert asset.uses.keys() <= assets.keys()
