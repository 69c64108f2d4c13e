"""The domain without actors or a database: orders of one account driven by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from domain.decide import Call, Turn, decide
from domain.ids import order_id_of
from domain.intake import accept
from domain.inventory import Account
from domain.messages import PlanMessage, Report
from domain.orders import Order
from domain.plan import Plan
from domain.release import CompiledRelease

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@dataclass
class OpenProtector:
    """Keeps sealed values in the clear, for tests to look at."""

    sealed: dict[tuple[str, str], Any] = field(default_factory=dict)

    def seal(self, order_id: str, name: str, value: Any) -> dict[str, Any]:
        self.sealed[order_id, name] = value
        return {"$sealed": name}

    def encrypt(self, tenant: str, value: Any) -> dict[str, Any]:
        text = json.dumps(value)
        return {"$encrypted": f"{tenant}:{len(text)}", "mac": str(hash(text))}


class Engine:
    """One account, one release; orders are accepted and their calls answered at will."""

    def __init__(self, release: CompiledRelease, account: str | None = "acc-1") -> None:
        self.release = release
        self.account = Account(account)
        self.protector = OpenProtector()
        self.plans: dict[str, Plan] = {}
        self.now = START
        self.calls: dict[str, list[Call]] = {}
        self._orders = 0

    def accept(self, order: Order) -> Plan:
        """Accept an order; its id is made here."""
        self._orders += 1
        order.order_id = order_id_of(1, 1_700_000_000_000, self._orders)
        turn = accept(order, self.release, self.account, now=self.now, protector=self.protector)
        self.plans[order.order_id] = turn.plan
        self._after(turn)
        return turn.plan

    def tell(self, plan: Plan, message: PlanMessage, actor: str = "system") -> Turn:
        """One message to one plan."""
        turn = Turn(plan=plan, now=self.now, protector=self.protector, actor=actor)
        decide(turn, message)
        self._after(turn)
        return turn

    def _after(self, turn: Turn) -> None:
        self.calls.setdefault(turn.plan.order_id, []).extend(turn.calls)
        for delta in turn.deltas:
            self.account.deliver(turn.plan.order_id, delta)
        if turn.plan.ended_at is not None:
            self.account.open_orders.pop(turn.plan.order_id, None)

    def answer(self, plan: Plan, call: Call, answer: Mapping[str, Any] | None = None) -> Turn:
        """A system completes a call."""
        return self.tell(plan, Report(call.item, call.attempt, "completed", answer=answer or {}))

    def finish(self, plan: Plan) -> list[Call]:
        """Answer every call, in the order they were made, until the order ends; returns all calls."""
        made: list[Call] = []
        while pending := self.calls.get(plan.order_id):
            call = pending.pop(0)
            made.append(call)
            self.answer(plan, call)
        return made

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


def shown_plan(plan: Plan) -> dict[str, Any]:
    """A plan as the expected-plans files write it: item names, edges, void dependencies."""
    template = plan.template
    assert template is not None
    names = [item.definition.name if item.definition else item.key for item in plan.items]
    by_ref = {item.ref: item for item in plan.release.items}
    products = {}
    for product in plan.release.products.values():
        for each in product.scenarios.values():
            for scenario in each:
                products[scenario.plan] = product.source.name or product.code
    return {
        "items": sorted(names),
        "dependsOn": sorted(
            [names[node], names[target]] for node, targets in enumerate(template.waits) for target in targets
        ),
        "void": sorted(f"{names[node]} / {products[by_ref[ref].plan]}" for node, ref in template.voids),
    }
