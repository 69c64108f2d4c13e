"""The state of one order's plan; `domain/evolve.py` says what each fact does to it.

A plan is mutable inside its owner's turn (copying a plan of thousands of items for each message would cost
milliseconds); when a commit fails, its owner throws it away and folds the facts again.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from domain.compose import Template
from domain.items import ItemRun
from domain.lines import Line
from domain.orders import Order
from domain.placement import AssetBooking
from domain.release import CompiledRelease
from domain.states import OrderState, PlanState


@dataclass(slots=True)
class Plan:
    """One order and its plan. Before composition (and for rejected orders) it has no items and `state` is None."""

    order: Order
    release: CompiledRelease
    created_at: datetime
    state: PlanState | None = None
    order_state: OrderState = OrderState.ACKNOWLEDGED
    body_hash: bytes | None = None
    template: Template | None = None
    lines: list[Line] = field(default_factory=list)
    line_at: dict[str, int] = field(default_factory=dict)
    items: list[ItemRun] = field(default_factory=list)
    by_key: dict[str, ItemRun] = field(default_factory=dict)
    open_items: int = 0
    open_in_root: dict[str, int] = field(default_factory=dict)
    """Root order line -> items that its bundle still waits for. A merged line stands in several bundles."""
    open_children: dict[int, int] = field(default_factory=dict)
    """Sub-plan item -> those of its items that are not done yet."""
    awaiting: set[int] = field(default_factory=set)
    """Push events that are Running: looked at whenever a line gets values."""
    lines_in_root: dict[str, list[int]] = field(default_factory=dict)
    roots_of_node: list[tuple[str, ...]] = field(default_factory=list)
    """By item, the root order lines whose bundles it works for."""
    covered: frozenset[int] = frozenset()
    """Lines that become assets through an assetize item."""
    awaits: tuple[int, ...] = ()
    """Items that stand for the delivery of a shared instance by another order."""
    orphaned: set[str] = field(default_factory=set)
    """Joined lines whose instance the other order has not delivered."""
    sequence: int = 0
    """Place among the open orders of its account (`domain/inventory.py`)."""
    calling: int = 0
    """Items Running at a system that has not taken them for a later callback: what recovery sends again."""
    moving: int = 0
    fatally_failed: int = 0
    held_items: int = 0
    """Items On Hold that do not move by themselves."""
    had_fallout: bool = False
    """Whether an item was ever Fatally Failed: only then has the error queue to be kept in step."""
    had_holds: bool = False
    """Whether an item was ever On Hold: only then has the list of held items to be kept in step."""
    delivered: set[str] = field(default_factory=set)
    has_secrets: bool = False
    behind: list[str] = field(default_factory=list)
    roots: frozenset[str] = frozenset()
    states: dict[str, str] = field(default_factory=dict)
    """Of an order that waits: the state, by asset id, of the products that it will suspend or resume."""
    reasons: list[dict[str, Any]] = field(default_factory=list)
    first_due_at: str | None = None
    """The date that the order was promised first, whatever changes of it have made of `order.due_at`."""
    ended_at: datetime | None = None
    placement: str = ""
    """Whether the release's rule asked for a host of its own, and what came of it (`domain/placement.py`)."""
    account_shard: int | None = None
    """Of a dedicated plan with an account: the shard whose host keeps the account's inventory."""
    bookings: dict[int, AssetBooking] = field(default_factory=dict)
    """What that host has not confirmed yet, by number."""
    booked: int = 0
    """How many bookings the plan has asked for."""
    is_closing: bool = False
    change: dict[str, Any] | None = None
    """A change that was asked for and waits for work under way (`domain/change.py`)."""
    changes: int = 0
    """How many changes of the order were carried out."""
    version: int = 1
    """Of the order's document: grows with whatever people or channels change of it."""
    cancelled_lines: set[str] = field(default_factory=set)
    """Order lines whose bundles were cancelled: they do not come back under their ids."""
    is_cancelled: bool = False
    """The whole order is taken back: what is left is to undo."""
    waited_for: int = 0
    """While it freezes: items under way that the freeze waits for."""
    is_held_again: bool = False
    """It was held when it was frozen, and is held again when the freeze is over."""
    redriven_at: datetime | None = None
    redriven: list[dict[str, Any]] = field(default_factory=list)
    """What the watchdog has found stuck the last time."""
    facts: int = 0
    applied: dict[str, None] = field(default_factory=dict)
    timers: list[tuple[datetime, int]] = field(default_factory=list)
    shown_lines: dict[str, tuple[Line, dict[str, Any], Order, dict[str, Any]]] = field(
        default_factory=dict, compare=False, repr=False
    )
    """How calls show the lines (`domain/payloads.py`): by key, the line, attributes and order that it was made from."""

    def __post_init__(self) -> None:
        """Keep the promise that the order comes with."""
        self.note_promise()

    def note_promise(self) -> None:
        """The order may be another one; of its promises the first counts, whenever it was made."""
        if self.first_due_at is None:
            self.first_due_at = self.order.due_at

    @property
    def order_id(self) -> str:
        """The id of the order, and of its plan."""
        return self.order.order_id

    def role_of(self, item: ItemRun) -> str:
        """What a change of the order has made the item for (`domain.compose`); empty for work of the order itself."""
        assert self.template is not None
        return self.template.nodes[item.node].role

    def next_timer(self) -> tuple[datetime, ItemRun] | None:
        """The earliest timer that still holds, or None."""
        while self.timers:
            at, index = self.timers[0]
            if self.items[index].timer_at == at:
                return at, self.items[index]
            heapq.heappop(self.timers)
        return None

    def lines_of(self, item: ItemRun) -> list[Line]:
        """The lines that an item works for; of one that undoes another, as they were then."""
        if item.lines_then is not None:
            return list(item.lines_then)
        assert self.template is not None
        return [self.lines[index] for index in self.template.nodes[item.node].lines]
