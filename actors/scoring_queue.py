"""Which open orders are to be scored next: those that changed, and those for which the clock has moved on.

A changed plan is scored at most once a second, however many facts it gets. An order without news is scored again after
a hundredth of the time it still has, at least every so many days and never more often than every five seconds: what
matters for its risk is how much of that time has gone.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Final

COALESCE_S: Final = 1.0
INTERVAL_MIN_S: Final = 5.0
INTERVAL_SHARE: Final = 0.01
OPEN_MAX: Final = 500_000
_STALE_MAX: Final = 4
"""Entries per order, beyond which those that no longer hold are thrown away."""


@dataclass(slots=True)
class OpenOrder:
    """What the predictor keeps of an open order; times are seconds since 1970.

    `items` is the size of its plan, as far as it is known. `has_row` says whether a score of it may be stored.
    `point_at` and `point_p_late` are the last point of its stored history, `points_left` how many may follow until it
    is thinned. `busy` are the definitions of its items in progress. `tick` is the last tick of its allowed time, in per
    cent, at which was kept what models said; -1 for none. `priority` is its class, once it was scored.
    """

    order_id: str
    scored_at: float
    next_at: float
    interval_s: float = COALESCE_S
    items: int = 1
    has_row: bool = False
    is_scored: bool = False
    p_late: float = 0.0
    point_at: float = 0.0
    point_p_late: float = -1.0
    points_left: int = 0
    busy: tuple[str, ...] = ()
    tick: int = -1
    priority: int | None = None

    def urgency(self, now: float) -> float:
        """How many of its intervals have gone by since its last score: the less time an order has, the faster it
        grows, and nothing starves.
        """
        return (now - self.scored_at) / self.interval_s


class ScoringQueue:
    """The open orders by the time of their next score."""

    def __init__(self, open_max: int = OPEN_MAX) -> None:
        self._open_max = open_max
        self.orders: dict[str, OpenOrder] = {}
        self.untracked = 0
        """Orders that found no place; they have no score."""
        self._heap: list[tuple[float, str]] = []
        self._ready: dict[str, OpenOrder] = {}

    def track(self, order_id: str, now: float, *, points_left: int = 0, has_row: bool = False) -> None:
        """An order is open."""
        if order_id in self.orders:
            return
        if len(self.orders) >= self._open_max:
            self.untracked += 1
            return
        order = OpenOrder(order_id, now, now + COALESCE_S, points_left=points_left, has_row=has_row)
        self.orders[order_id] = order
        self._push(order)

    def changed(self, order_id: str, now: float) -> None:
        """There are news of the order."""
        order = self.orders.get(order_id)
        if order is None:
            return
        at = max(now, order.scored_at + COALESCE_S)
        if at < order.next_at and order_id not in self._ready:
            order.next_at = at
            self._push(order)

    def _push(self, order: OpenOrder) -> None:
        if len(self._heap) > _STALE_MAX + _STALE_MAX * len(self.orders):
            # Entries that no longer hold leave by themselves only when their time comes, which may be far away.
            self._heap = [(each.next_at, each.order_id) for each in self.orders.values()]
            heapq.heapify(self._heap)
        heapq.heappush(self._heap, (order.next_at, order.order_id))

    def scored(self, order: OpenOrder, now: float, due_at: float) -> None:
        """The order has a score of `now`; it may be its last."""
        order.is_scored = order.has_row = True
        self.passed(order, now, max(INTERVAL_MIN_S, INTERVAL_SHARE * abs(due_at - now)))

    def passed(self, order: OpenOrder, now: float, interval_s: float) -> None:
        """The order has been looked at; without news it comes again after the interval."""
        order.scored_at = now
        order.interval_s = interval_s
        order.next_at = now + interval_s
        if self.orders.get(order.order_id) is order:
            self._push(order)

    def forget(self, order_id: str) -> OpenOrder | None:
        """The order has ended; returns what was kept of it."""
        self._ready.pop(order_id, None)
        return self.orders.pop(order_id, None)

    def take(self, now: float, limit: int, items_max: int) -> list[OpenOrder]:
        """Orders whose time has come, the most urgent first: at most so many, and so many items together (but one
        order at least). Each must be given to `scored` or `passed` before it comes again.
        """
        while self._heap and self._heap[0][0] <= now:
            at, order_id = heapq.heappop(self._heap)
            order = self.orders.get(order_id)
            # Only the newest entry of an order holds.
            if order is not None and order.next_at == at:
                self._ready[order_id] = order
        chosen: list[OpenOrder] = []
        items = 0
        for order in heapq.nlargest(limit, self._ready.values(), key=lambda each: (each.urgency(now), each.order_id)):
            items += order.items
            if chosen and items > items_max:
                break
            chosen.append(order)
            del self._ready[order.order_id]
        return chosen

    @property
    def waiting(self) -> int:
        """How many orders' time has come, but not their turn."""
        return len(self._ready)
