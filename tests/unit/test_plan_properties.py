"""What holds of every plan, whatever happens to it and in which order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain import facts as f
from domain.decide import pending_effects
from domain.orders import OrderLine
from domain.plan import Plan
from domain.release import CompiledRelease
from domain.turn import Call
from tests.support.build import release_of
from tests.support.engine import Engine
from tests.support.fingerprint import fingerprint
from tests.support.histories import History, Step, lines, releases, steps
from tests.support.plan_rules import (
    account_can_be_reloaded,
    counters_are_right,
    nothing_is_stuck,
    nothing_rests_that_could_move,
)

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


def what_uses_something_is_installed(engine: Engine) -> None:
    """When nothing is open, a technical instance has users, and they exist: every product here is an asset."""
    if any(line.key not in plan.delivered for plan in engine.plans.values() for line in plan.lines):
        return  # an assetize item was skipped: somebody wanted that not to become an asset
    assets = engine.account.assets
    for asset in assets.values():
        if asset.product == "t":
            assert asset.uses
            assert asset.uses.keys() <= assets.keys()
