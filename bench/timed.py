"""An adapter that answers at once and notes when it was asked: what a plan needs from one item to the next.

It stands in the adapters' process, so the way from the host to it and back is part of what is measured; the instants
of one process can be compared.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from adapters.interface import Outcome, Task
from bench.scenarios import TEN


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
