"""The measurement: what is measured in which order on one cluster, and the median of several rounds.

Figures are for this machine at this moment; a claim is a ratio to another figure of the same round.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from bench import large
from bench.cluster import SIMULATED, Measured, apart
from bench.figures import Figures, Settings, ms, sustained
from bench.machine import cpu_s, memory_mb
from bench.scenarios import SYSTEM, mixed_release, scenarios
from bench.timed import dispatch_latencies_s
from orderplan.demo.people import People

WARM_UP_ORDERS: Final = 1_000
CALM_ORDERS_S: Final = 10
BUSY_ORDERS_S: Final = 300
ACKNOWLEDGED_ORDERS_S: Final = 500
BESIDE_ORDERS_S: Final = 50
PEOPLE_ORDERS: Final = 300
MIXED_ORDERS: Final = 2_000
DEEP_ORDERS: Final = 20
DRAIN_S: Final = 180.0


def measure(settings: Settings, parts: Sequence[str], say: Callable[[str], None]) -> Figures:
    """One round: the chosen parts, in the order of `PARTS`, on a cluster of their own."""
    found: Figures = {}
    with Measured(settings.plan_hosts) as cluster:
        say(f"cluster is up: {settings.plan_hosts} plan host(s)")
        cluster.load("closed", orders=WARM_UP_ORDERS, connections=settings.connections)
        for name in PARTS:
            if name in parts:
                began = time.monotonic()
                found[name] = PARTS[name](cluster, settings)
                say(f"{name} ({time.monotonic() - began:.0f} s): {_short(found[name])}")
        found["memory_mb"] = memory_mb()
    return found | {"ratios": ratios(found)}


def ratios(found: Mapping[str, Figures]) -> Figures:
    """What is claimed: figures of one round, one divided by the other."""
    pairs = {
        "ten_to_floor": (("ten", "orders_s"), ("floor", "orders_s")),
        "ten_to_dbos": (("ten", "orders_s"), ("dbos", "orders_s")),
        "bulk_to_floor": (("bulk", "orders_s"), ("floor", "orders_s")),
        "wide_to_ten_cpu": (("wide", "cpu_s_per_1000_items"), ("ten", "cpu_s_per_1000_items")),
        "beside_wide_p99": (("wide", "beside_p99_ms"), ("wide", "alone_p99_ms")),
        "beside_waiting": (("waiting", "ten_orders_s_beside"), ("waiting", "ten_orders_s_empty")),
        "beside_finished": (("finished", "ten_orders_s_beside"), ("finished", "ten_orders_s_empty")),
    }
    return {
        name: round(found[above[0]][above[1]] / found[below[0]][below[1]], 3)
        for name, (above, below) in pairs.items()
        if above[0] in found and below[0] in found
    }


def _beside(cluster: Measured, _settings: Settings, *, module: str) -> Figures:
    return cluster.other(module)


def _ten(cluster: Measured, settings: Settings) -> Figures:
    return sustained(cluster.load("closed", seconds=settings.seconds, connections=settings.connections), "ten")


def _bulk(cluster: Measured, settings: Settings) -> Figures:
    return sustained(cluster.load("bulk", seconds=settings.seconds), "ten")


def _open_loop(cluster: Measured, settings: Settings, *, rate: float) -> Figures:
    load = cluster.load("open", rate=rate, seconds=settings.seconds / 3)
    late = load.latencies_s()
    return {
        "rate": rate,
        "p50_ms": ms(late, 0.5),
        "p99_ms": ms(late, 0.99),
        "acknowledged_p50_ms": ms(load.answers_s, 0.5),
        "acknowledged_p99_ms": ms(load.answers_s, 0.99),
        "statuses": load.statuses,
    }


def _dispatch(cluster: Measured, settings: Settings) -> Figures:
    """From the last dependency done to the call that waited for it begun, in the adapters' process."""
    found: Figures = {}
    for rate in (CALM_ORDERS_S, ACKNOWLEDGED_ORDERS_S):
        file = cluster.folder / f"asked-{rate}.json"
        cluster.put_system(SYSTEM, SIMULATED | {"adapter": "bench.timed:Timed", "config": {"file": str(file)}})
        cluster.load("open", rate=rate, seconds=settings.seconds / 3)
        cluster.put_system(SYSTEM, SIMULATED)
        _until(file.exists, "the adapter did not write what it noted")
        waited = sorted(dispatch_latencies_s(file))
        found |= {f"p50_ms_at_{rate}": ms(waited, 0.5), f"p99_ms_at_{rate}": ms(waited, 0.99)}
    return found


def _wide(cluster: Measured, settings: Settings) -> Figures:
    """One order of 2,000 lines; small orders alone first, then beside it."""
    alone = cluster.load("open", rate=BESIDE_ORDERS_S, seconds=settings.seconds / 6)
    load = cluster.load("closed", scenario="wide", orders=1, connections=1)
    began, before = time.time(), cpu_s()
    small = cluster.start_load("open", rate=BESIDE_ORDERS_S, seconds=settings.seconds / 6)
    wide = cluster.load("closed", scenario="wide", orders=1, connections=1)
    beside = cluster.finish(small, began, before)
    items = scenarios()["wide"].items
    return {
        "items": items,
        "seconds": round(load.latencies_s()[0], 2),
        "cpu_s_per_1000_items": round(load.product_cpu_s() / items * 1000, 4),
        "cpu_ms": {name: round(spent * 1000) for name, spent in load.cpu_s.items() if spent > 0.01},
        "alone_p99_ms": ms(alone.latencies_s(), 0.99),
        "beside_p99_ms": ms(beside.latencies_s(), 0.99),
        "beside_seconds": round(wide.latencies_s()[0], 2),
        "statuses": load.statuses,
    }


def _deep(cluster: Measured, _settings: Settings) -> Figures:
    """Plans of 200 items in sequence, one after the other: what a step costs in time."""
    load = cluster.load("closed", scenario="deep", orders=DEEP_ORDERS, connections=1)
    late = load.latencies_s()
    return {"items": scenarios()["deep"].items, "p50_ms": ms(late, 0.5), "p99_ms": ms(late, 0.99)}


def _people(cluster: Measured, settings: Settings) -> Figures:
    """Orders of manual tasks alone, and people who do them as fast as they get them."""
    tasks = PEOPLE_ORDERS * scenarios()["people"].items
    desk = cluster.start_load("desk", tasks=tasks, connections=16)
    load = cluster.load("closed", scenario="people", orders=PEOPLE_ORDERS, connections=settings.connections)
    done = cluster.finish(desk, load.began, {})
    return {
        "orders_s": round(load.orders_s, 1),
        "tasks_s": round(load.orders_s * scenarios()["people"].items, 1),
        "completed_p50_ms": ms(done.answers_s, 0.5),
        "completed_p99_ms": ms(done.answers_s, 0.99),
        "statuses": done.statuses,
        "cpu_ms_per_order": load.cpu_ms_per_order(),
    }


def _mixed(cluster: Measured, settings: Settings) -> Figures:
    """The example catalogues: two mobile orders for each of home internet. Home internet needs people."""
    for system in ("inventory", "activation", "billing", "workforce"):
        cluster.put_system(system, SIMULATED)
    cluster.call("POST", "/v1/releases:publish", mixed_release())
    with People(cluster.url, [f"fitter-{number}" for number in range(8)]):
        load = cluster.load("closed", scenario="mixed", orders=MIXED_ORDERS, connections=settings.connections)
    [row] = cluster.rows("select sum(items) as items from product_order where order_id = any($1)", list(load.orders))
    return {
        "orders_s": round(load.orders_s, 1),
        "items_s": round(load.orders_s * row["items"] / len(load.orders), 1),
        "acknowledged_p50_ms": ms(load.answers_s, 0.5),
        "acknowledged_p99_ms": ms(load.answers_s, 0.99),
        "statuses": load.statuses,
        "cpu_ms_per_order": load.cpu_ms_per_order(),
        "cpu_s_per_1000_items": round(load.product_cpu_s() / row["items"] * 1000, 4),
    }


PARTS: Final[dict[str, Callable[[Measured, Settings], Figures]]] = {
    "ten": _ten,
    "bulk": _bulk,
    "calm": partial(_open_loop, rate=CALM_ORDERS_S),
    "busy": partial(_open_loop, rate=BUSY_ORDERS_S),
    "acknowledged": partial(_open_loop, rate=ACKNOWLEDGED_ORDERS_S),
    "dispatch": _dispatch,
    "wide": _wide,
    "deep": _deep,
    "people": _people,
    "mixed": _mixed,
    "waiting": large.waiting,
    "struck": large.struck,
    "finished": large.finished,
    "floor": partial(_beside, module="bench.floor"),
    "dbos": partial(_beside, module="bench.peer_dbos"),
}
"""What can be measured, in this order: the peers on the same server, when the product is idle again."""
ON_REQUEST: Final = frozenset({"waiting", "struck", "finished"})
"""Parts that take so long that they are measured only when they are named."""


def say(line: str) -> None:
    """Tell how far it is; here, because a process of a round finds it by the name of its module."""
    print(line, file=sys.stderr, flush=True)


def rounds(settings: Settings, parts: Sequence[str], count: int) -> Figures:
    """So many rounds, each in a process of its own, and the median of each figure."""
    found = []
    for number in range(1, count + 1):
        say(f"round {number} of {count}")
        found.append(apart(measure, settings, parts, say))
    machine = {"cores": os.cpu_count(), "plan_hosts": settings.plan_hosts, "seconds": settings.seconds}
    return {"machine": machine, "median": median(found), "rounds": found}


def median(found: Sequence[Mapping[str, Any]]) -> Figures:
    """The median of every number by its place; of what is no number, and not in all rounds, nothing."""
    merged: Figures = {}
    for name, first in found[0].items():
        values = [each[name] for each in found if name in each]
        if len(values) < len(found):
            continue
        if isinstance(first, Mapping):
            merged[name] = median(values)
        elif isinstance(first, int | float):
            merged[name] = round(statistics.median(values), 4)
    return merged


def _until(is_true: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + DRAIN_S
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.1)


def _short(figures: Figures) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items() if not isinstance(value, dict))

