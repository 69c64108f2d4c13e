"""The smallest task that matters."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from adapters.interface import Task

NOW: Final = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
"""The present of tests that are given a clock."""


def task_of(key: str = "o1-1/Deliver SIM CARD/deliver@1/0/1", **changes: Any) -> Task:
    """A task with that key whose deadline is 30 s after `NOW`."""
    task = Task(
        key=key,
        tenant="main",
        order_id="o1-1",
        item="Deliver SIM CARD/deliver@1/0",
        name="Deliver SIM CARD",
        system="inventory",
        operation="deliver",
        attempt=1,
        deadline_at=NOW + timedelta(seconds=30),
        payload={"orderId": "o1-1"},
    )
    return replace(task, **changes)
