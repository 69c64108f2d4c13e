"""How much is measured, and the figures that several parts have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.cluster import Load
from bench.scenarios import scenarios

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Settings:
    """How much to measure."""

    seconds: float = 60.0
    """Of each sustained load; the open loops take a third of it."""
    connections: int = 64
    plan_hosts: int = 2
    waiting: int = 1_000_000
    """Plans that wait for people in the parts `waiting` and `struck`."""
    finished: int = 1_000_000
    """Orders that have ended before the part `finished`."""


def sustained(load: Load, scenario: str) -> Figures:
    """Throughput, acknowledgements and costs of a load whose orders are all of one scenario."""
    items = scenarios()[scenario].items * len(load.orders)
    return {
        "orders": len(load.orders),
        "orders_s": round(load.orders_s, 1),
        "items_s": round(load.orders_s * scenarios()[scenario].items, 1),
        "acknowledged_p50_ms": ms(load.answers_s, 0.5),
        "acknowledged_p99_ms": ms(load.answers_s, 0.99),
        "statuses": load.statuses,
        "cpu_ms_per_order": load.cpu_ms_per_order(),
        "cpu_s_per_1000_items": round(load.product_cpu_s() / items * 1000, 4),
    }


def ms(seconds: Sequence[float], share: float) -> float:
    """A quantile of what is sorted, in milliseconds."""
    return round(seconds[min(len(seconds) - 1, int(len(seconds) * share))] * 1000, 1) if seconds else 0.0
