"""Orders as they were at any moment: the facts of all of them, folded in the order of time.

What the live predictor knows at a moment is known here at the same moment and no earlier: the plans as they stand, how
many items of each definition are in progress, how long items took that have ended by then. So training sees what
scoring will see.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Protocol

from delay.durations import Durations, ItemClock
from delay.model import ClosedOrder
from delay.snapshot import IN_PROGRESS, Snapshot, snapshot_of
from domain import facts as f
from domain.compose import Template
from domain.evolve import evolve
from domain.facts import Fact
from domain.items import ItemRun
from domain.orders import Order
from domain.plan import Plan
from domain.priorities import class_of
from domain.release import CompiledRelease
from domain.states import OrderState


class History(Protocol):
    """The facts of many orders, (order id, fact), in the order of time; it can be read more than once."""

    @property
    def releases(self) -> Mapping[str, CompiledRelease]:
        """By id."""
        ...

    @property
    def templates(self) -> Mapping[str, tuple[str, Template]]:
        """By id, with the ids of their releases."""
        ...

    @property
    def until(self) -> datetime:
        """When it ends: what is open then, nobody knows the end of."""
        ...

    def __iter__(self) -> Iterator[tuple[str, Fact]]:
        """From the beginning."""
        ...


class Replay:
    """Where the orders of a history stand after the facts that were taken."""

    def __init__(self, releases: Mapping[str, CompiledRelease], templates: Mapping[str, tuple[str, Template]]) -> None:
        self._releases = releases
        self._templates = templates
        self.plans: dict[str, Plan] = {}
        """Of the open orders."""
        self.load: dict[str, int] = {}
        """How many items of each definition are in progress."""
        self.durations = Durations()
        self._clock = ItemClock(self.durations)

    def take(self, order_id: str, fact: Fact) -> Plan:
        """The next fact of any order; its plan, which is forgotten here if it has ended."""
        payload = fact.payload or {}
        plan = self.plans.get(order_id)
        if plan is None:
            release = self._releases[payload["release"]]
            plan = self.plans[order_id] = Plan(Order.from_dict(payload["order"]), release, created_at=fact.at)
        if fact.kind == f.PLAN_COMPOSED:
            plan.release = self._releases[payload["release"]]
            plan.template = self._templates[payload["template"]][1]
        elif fact.kind == f.PLAN_CHANGED:
            plan.release = self._releases[payload["release"]]
        item = plan.by_key.get(fact.item) if fact.item is not None else None
        touched = [item] if item is not None else plan.items if fact.kind in f.ABOUT_ALL_ITEMS else []
        were_in_progress = [each.state in IN_PROGRESS for each in touched]
        evolve(plan, fact)
        for each, was_in_progress in zip(touched, were_in_progress, strict=False):
            # A change may have added items behind the others: none of those is at work yet.
            self._count(each, was_in_progress)
        self._clock.take(order_id, fact.item, fact.kind, fact.at, class_of(plan.order.priority or ""))
        if plan.ended_at is not None:
            del self.plans[order_id]
        return plan

    def _count(self, item: ItemRun, was_in_progress: bool) -> None:
        change = (item.state in IN_PROGRESS) - was_in_progress
        if change and item.definition is not None:
            ref = item.definition.ref
            self.load[ref] = self.load.get(ref, 0) + change

    def snapshot(self, order_id: str, now: datetime) -> Snapshot | None:
        """The snapshot of an open order; None while it has no plan. `load` goes on with the replay: use it at once."""
        return snapshot_of(self.plans[order_id], now, self.load)


def replayed(history: History, until: datetime) -> Replay:
    """All orders as they were at a moment."""
    replay = Replay(history.releases, history.templates)
    for order_id, fact in history:
        if fact.at > until:
            break
        replay.take(order_id, fact)
    return replay


def closed_orders(history: History, orders: Iterable[str] | None = None) -> Iterator[ClosedOrder]:
    """The orders that were completed, or those of `orders`, in the order in which they ended."""
    wanted = frozenset(orders) if orders is not None else None
    replay = Replay(history.releases, history.templates)
    for order_id, fact in history:
        plan = replay.take(order_id, fact)
        is_done = fact.kind == f.ORDER_ENDED and plan.order_state is OrderState.COMPLETED
        if is_done and (wanted is None or order_id in wanted):
            snapshot = snapshot_of(plan, fact.at, dict(replay.load))
            if snapshot is not None:
                yield ClosedOrder(snapshot, fact.at)
