"""Snapshots written in one breath, for tests of delay models."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from delay.snapshot import ItemSnapshot, Snapshot
from domain.states import ItemState

NOW = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)


def item(code: str, state: ItemState = ItemState.PENDING, *, waits: Sequence[int] = (), **members: Any) -> ItemSnapshot:
    """An item `p/code`, planned for ten seconds; `age_s` says how long ago it was ready (and started)."""
    age_s = members.pop("age_s", None)
    at = NOW - timedelta(seconds=age_s) if age_s is not None else None
    given: dict[str, Any] = {
        "name": code,
        "type": "callout",
        "planned_s": 10.0,
        "safety_s": 0.0,
        "system": "sys",
        "queue": None,
        "attempt": 1,
        "tries": 1,
        "attempts_max": 1,
        "retry_delay_s": 0.0,
        "ready_at": at,
        "started_at": at,
        "ended_at": None,
        "timer_at": None,
    } | members
    return ItemSnapshot(key=f"p/{code}@1", ref=f"p/{code}", state=state, waits=tuple(waits), **given)


def snapshot(*items: ItemSnapshot, due_in_s: float = 60.0, order_id: str = "o1-1", **members: Any) -> Snapshot:
    """A snapshot at `NOW` of an order that is due so many seconds later."""
    given: dict[str, Any] = {
        "plan_class": "p",
        "release_id": "test@1",
        "version": 1,
        "attributes": {},
        "created_at": NOW,
        "now": NOW,
        "due_at": NOW + timedelta(seconds=due_in_s),
        "due_basis": "promised",
    } | members
    return Snapshot(order_id=order_id, items=items, **given)
