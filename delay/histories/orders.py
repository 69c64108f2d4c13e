"""Simulated customers: the orders they send, what they were promised, and what they ask for."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

from delay.histories.calendar import DAY_S
from delay.histories.chance import Chance
from delay.histories.settings import Sample, Settings
from domain.orders import Order

SIMULATED: Final = "simulated-"
"""What every id of a simulated order begins with."""
TIGHT: Final = (0.35, 0.6)
"""Of the usual promise: what is promised without looking."""
PROMISED_AT: Final = time(18, tzinfo=UTC)
"""Promises of a day or more are kept until the evening of the day."""
LATER_DAYS: Final = (2, 12)
AFTER_VISIT_S: Final = 1.5 * DAY_S
"""Who wants it on a later day is promised it soon after that."""
PRIORITIES: Final = ("high", "normal", "low")
PRIORITY_WEIGHTS: Final = (0.1, 0.75, 0.15)


class QuietProtector:
    """Takes values out of sight and keeps none of them: nobody needs those of a simulated order again."""

    def seal(self, order_id: str, name: str, value: Any) -> dict[str, Any]:
        """The reference that stands in its place."""
        return {"$sealed": name}

    def encrypt(self, tenant: str, owner: str, value: Any) -> dict[str, Any]:
        """What stands in its place; equal values stay equal."""
        return {"$encrypted": "simulated", "mac": self.mac(tenant, value)}

    def mac(self, tenant: str, value: Any) -> str:
        """Equal for equal values."""
        return f"{zlib.crc32(repr(value).encode()):08x}"


def order_id_of(number: int) -> str:
    """The id of the order, which says what it is."""
    return f"{SIMULATED}{number:07}"


def order_of(
    sample: Sample, order_id: str, due_at: datetime | None, priority: str, wanted_at: datetime | None
) -> Order:
    """An order of the kind, for a customer of its own."""
    order = Order.from_dict(sample.order)
    order.order_id = order_id
    order.external_id = order_id
    order.client_key = None
    order.account = f"{order_id}-account"
    order.description = f"simulated: {sample.name}"
    order.rest = {}
    order.priority = priority
    order.due_at = due_at.isoformat() if due_at is not None else None
    order.requested_start_at = wanted_at.isoformat() if wanted_at is not None else None
    return order


class Customers:
    """Draws the order that comes at a moment."""

    def __init__(self, settings: Settings, samples: Sequence[Sample], chance: Chance) -> None:
        self._settings = settings
        self._samples = samples
        self._weights = [sample.weight for sample in samples]
        self._chance = chance

    def order(self, number: int, now: datetime) -> tuple[Sample, Order]:
        """The order with this number."""
        chance = self._chance
        sample = chance.one_of(self._samples, self._weights, "kind", number)
        drawn = chance.one_of(PRIORITIES, PRIORITY_WEIGHTS, "priority", number)
        wanted_at = None
        if chance.is_so(sample.later_share, "later", number):
            low, high = LATER_DAYS
            days = low + int((high - low) * chance.share("day", number))
            wanted_at = _at(now + timedelta(days=days), time(8, tzinfo=UTC))
        due_at = self._promise(sample, number, now)
        if wanted_at is not None:
            due_at = max(due_at, _at(wanted_at + timedelta(seconds=AFTER_VISIT_S), PROMISED_AT))
        priority = self._settings.priorities.get(number, drawn)
        return sample, order_of(sample, order_id_of(number), due_at, priority, wanted_at)

    def _promise(self, sample: Sample, number: int, now: datetime) -> datetime:
        chance = self._chance
        promise_s = chance.around(sample.promise_s, self._settings.promise_spread, "promise", number)
        if chance.is_so(self._settings.tight_share, "tight", number):
            low, high = TIGHT
            promise_s = sample.promise_s * (low + (high - low) * chance.share("how tight", number))
        due_at = now + timedelta(seconds=int(promise_s))
        return _at(due_at, PROMISED_AT) if promise_s >= DAY_S else due_at


def _at(day: datetime, hour: time) -> datetime:
    """The hour of that day."""
    return datetime.combine(day.date(), hour)
