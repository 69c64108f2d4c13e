"""When a host has to look at an order again: one live timer an order, the earliest first."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime


class Timers:
    """A heap whose entries count only while they agree with `_next`; stale ones fall out when their time comes."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, str]] = []
        self._next: dict[str, datetime] = {}

    def set(self, order_id: str, at: datetime | None) -> None:
        """The order's next timer; None for none."""
        if at is None:
            self._next.pop(order_id, None)
        elif self._next.get(order_id) != at:
            self._next[order_id] = at
            heapq.heappush(self._heap, (at, order_id))

    def of(self, order_id: str) -> datetime | None:
        """The order's next timer, None when it has none here."""
        return self._next.get(order_id)

    def earliest(self) -> datetime | None:
        """The earliest live timer."""
        while self._heap and self._next.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: datetime, count_max: int) -> list[str]:
        """Orders whose timer has passed, the earliest first; they have none from then on until it is set again."""
        due: list[str] = []
        while len(due) < count_max and (at := self.earliest()) is not None and at <= now:
            order_id = heapq.heappop(self._heap)[1]
            del self._next[order_id]
            due.append(order_id)
        return due

    def drop(self, is_gone: Callable[[str], bool]) -> None:
        """Forget the timers of orders that another host owns now."""
        for order_id in [order_id for order_id in self._next if is_gone(order_id)]:
            del self._next[order_id]
