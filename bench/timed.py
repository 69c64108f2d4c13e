"""Adapters that note when they were asked: what a plan needs from one item to the next, also if its host is struck.

They stand in the adapters' process, so the way from the host to it and back is part of what is measured; the instants
of one process can be compared.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

from adapters.interface import Outcome, Task
from bench.scenarios import ROW, TEN


class Timed:
    """Keeps (order, item, instant) in memory and writes them to `file` when it is replaced."""

    def __init__(self, file: str) -> None:
        self._file = Path(file)
        self._asked: list[tuple[str, str, float]] = []

    async def perform(self, task: Task) -> Outcome:
        """Done, with the instant noted."""
        self._asked.append((task.order_id, task.operation, time.perf_counter()))
        return Outcome.completed(simulated=True)

    async def close(self) -> None:
        """Write what was noted, whole or not at all."""
        made = self._file.with_suffix(".part")
        made.write_text(json.dumps(self._asked))
        made.replace(self._file)


SLOW_S: Final = (8.0, 24.0)
"""What a slow call takes: less than its deadline, and so long that a plan of `row` is open for more than a minute."""


class Slow:
    """Takes a while for each call; keeps (order, item, asked, answered), written to `file` when it is replaced."""

    def __init__(self, file: str) -> None:
        self._file = Path(file)
        self._done: list[tuple[str, str, float, float]] = []

    async def perform(self, task: Task) -> Outcome:
        """Done after a time that only the task decides."""
        asked_at = time.time()
        await asyncio.sleep(random.Random(task.key).uniform(*SLOW_S))
        self._done.append((task.order_id, task.operation, asked_at, time.time()))
        return Outcome.completed(simulated=True)

    async def close(self) -> None:
        """Write what was noted, whole or not at all."""
        made = self._file.with_suffix(".part")
        made.write_text(json.dumps(self._done))
        made.replace(self._file)


UNDER_WAY_S: Final = 0.25
"""A call that begins so shortly after its host was struck had left it before."""


def waits_after_strike_s(file: Path, order_ids: Collection[str], struck_at: float) -> tuple[list[float], list[float]]:
    """How calls of these orders of `row` waited for a host that was struck, both ascending.

    Returns:
        (seconds from the strike to each call that somebody began after it,
        seconds that each of them was overdue: since the last call that it waits for was answered, or since the strike).
    """
    begun: dict[str, dict[str, tuple[float, float]]] = {}
    for order_id, item, asked_at, answered_at in json.loads(file.read_text()):
        if order_id in order_ids:
            begun.setdefault(order_id, {})[item] = (asked_at, answered_at)
    after, overdue = [], []
    for items in begun.values():
        for item, (asked_at, _) in items.items():
            if asked_at > struck_at + UNDER_WAY_S:
                after.append(asked_at - struck_at)
                overdue.append(asked_at - max(struck_at, *(items[other][1] for other in ROW[item])))
    return sorted(after), sorted(overdue)


def dispatch_latencies_s(file: Path) -> list[float]:
    """For each item of `ten` that waits for others: from the moment the last of them was done until it was begun."""
    at: dict[str, dict[str, float]] = {}
    for order_id, item, instant in json.loads(file.read_text()):
        at.setdefault(order_id, {})[item] = instant
    return [
        asked[item] - max(asked[other] for other in others)
        for asked in at.values()
        for item, others in TEN.items()
        if others and item in asked
    ]
