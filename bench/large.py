"""What takes long to set up, on request: very many plans that wait, hosts struck among them, a long history."""

from __future__ import annotations

import os
import signal
import time
from typing import Final

from bench.cluster import SIMULATED, Measured
from bench.figures import Figures, Settings, ms, sustained
from bench.machine import memory_mb, processes_of
from bench.scenarios import SYSTEM
from bench.timed import waits_after_strike_s
from persistence.tables import FACT_COLUMNS, asset, product_order

WAITING_A_LOAD: Final = 250_000
ACTIVATIONS: Final = 300
REST_S: Final = 45.0
"""Longer than a plan stays in memory that nothing comes for."""
STRUCK_ORDERS: Final = 10_000
WRITTEN_S: Final = 30.0
REAL_FINISHED: Final = 10_000
"""Orders that really run before they are copied; the copies differ in identifiers and places only."""


def waiting(cluster: Measured, settings: Settings) -> Figures:
    """Very many plans that wait for people: what they cost, and what they cost others."""
    empty = sustained(cluster.load("closed", seconds=settings.seconds / 3, connections=settings.connections), "ten")
    time.sleep(REST_S)
    memory, disk = memory_mb(), _disk_bytes(cluster)
    loaded_s = _load_waiting(cluster, settings)
    time.sleep(REST_S)
    grown = {name: round(mb - memory.get(name, 0.0)) for name, mb in memory_mb().items()}
    disk_each = (_disk_bytes(cluster) - disk) / settings.waiting
    beside = sustained(cluster.load("closed", seconds=settings.seconds / 3, connections=settings.connections), "ten")
    # One worker, so that what is timed is the activation and no crowd: tasks of the oldest plans, long out of memory.
    done = cluster.finish_sending(cluster.start_load("desk", tasks=ACTIVATIONS, connections=1))
    return {
        "plans": settings.waiting,
        "loaded_s": round(settings.waiting / loaded_s, 1),
        "grown_mb": sum(grown.values()),
        "grown_mb_of": {name: mb for name, mb in grown.items() if mb},
        "disk_bytes_a_plan": round(disk_each),
        "activation_p50_ms": ms(done["answers"], 0.5),
        "activation_p99_ms": ms(done["answers"], 0.99),
        "ten_orders_s_empty": empty["orders_s"],
        "ten_orders_s_beside": beside["orders_s"],
    }


def _load_waiting(cluster: Measured, settings: Settings) -> float:
    """Load what is missing of the plans that wait, and leave them alone: nobody does their tasks. Seconds it took."""
    [row] = cluster.rows("select count(*) as open from product_order where ended_at is null")
    began = time.monotonic()
    for start in range(row["open"], settings.waiting, WAITING_A_LOAD):
        count = min(WAITING_A_LOAD, settings.waiting - start)
        cluster.finish_sending(cluster.start_load("bulk", scenario="people", orders=count))
    return time.monotonic() - began


def struck(cluster: Measured, settings: Settings) -> Figures:
    """A plan host killed, then one stopped, each among so many active plans and all those that wait."""
    _load_waiting(cluster, settings)
    return {"waiting": settings.waiting, "plan_hosts": settings.plan_hosts} | {
        f"{name}_{figure}": value
        for name, signum in (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP))
        for figure, value in _strike(cluster, signum).items()
    }


def _strike(cluster: Measured, signum: int) -> Figures:
    file = cluster.folder / f"slow-{signum}.json"
    # The system has room for a call of each plan: held calls would wait for that instead of for their host.
    cluster.put_system(SYSTEM, SIMULATED | {"adapter": "bench.timed:Slow", "config": {"file": str(file)}})
    sent = cluster.finish_sending(cluster.start_load("bulk", scenario="row", orders=STRUCK_ORDERS))
    orders = list(sent["orders"])
    [row] = cluster.rows("select count(*) as n from product_order where active and order_id = any($1)", orders)
    living = cluster.rows("select incarnation_id from incarnation where state = 'living' and dedicated_shard is null")
    owned = cluster.rows(
        "select o.order_id, s.incarnation_id from product_order o join shard s using (shard) "
        "where o.order_id = any($1)",
        orders,
    )
    pid = processes_of("PlanHost")[0]
    os.kill(pid, signum)
    struck_at = time.time()
    cluster.wait_for(orders)
    cluster.put_system(SYSTEM, SIMULATED)
    deadline = time.monotonic() + WRITTEN_S
    while not file.exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the adapter did not write what it noted")
        time.sleep(0.1)
    [lost] = cluster.rows(
        "select incarnation_id from incarnation where state = 'fenced' and incarnation_id = any($1)",
        [each["incarnation_id"] for each in living],
    )
    taken = {each["order_id"] for each in owned if each["incarnation_id"] == lost["incarnation_id"]}
    after, overdue = waits_after_strike_s(file, taken, struck_at)
    return {
        "active": row["n"],
        "of_its_own": len(taken),
        "first_call_s": round(after[0], 2),
        "overdue_p50_s": round(overdue[len(overdue) // 2], 2),
        "overdue_max_s": round(overdue[-1], 2),
        "ended": len(orders),
    }


def finished(cluster: Measured, settings: Settings) -> Figures:
    """A long history in the hot tables: what it costs those who come after."""
    real = cluster.load("bulk", orders=REAL_FINISHED)
    empty = sustained(cluster.load("closed", seconds=settings.seconds, connections=settings.connections), "ten")
    before = _disk_bytes(cluster)
    cluster.execute(*copies(settings.finished // REAL_FINISHED - 1), arguments=[list(real.orders)])
    cluster.execute("vacuum (analyze)", "checkpoint")
    [row] = cluster.rows("select count(*) as n from product_order where ended_at is not null")
    beside = sustained(cluster.load("closed", seconds=settings.seconds, connections=settings.connections), "ten")
    return {
        "finished": row["n"],
        "grown_gb": round((_disk_bytes(cluster) - before) / 1e9, 2),
        "ten_orders_s_empty": empty["orders_s"],
        "ten_orders_s_beside": beside["orders_s"],
    }


def copies(count: int) -> list[str]:
    """Statements that copy what the orders `$1` left behind so many times.

    A copy's facts stand below the first of their shard: what a host knows of its heads stays true.
    """
    mangled = {"order_id": "{0}.order_id || '~' || n", "asset_id": "{0}.asset_id || '~' || n"}
    mangled |= {"account": "{0}.account || '~' || n", "external_id": "{0}.external_id || '~' || n"}
    mangled |= {"client_key": "{0}.client_key || '~' || n"}
    below = mangled | {"offset": '{0}."offset" - n * h.head'}
    orders, assets = product_order.columns.keys(), asset.columns.keys()
    return [
        f"insert into fact ({_named(FACT_COLUMNS)}) select {_picked('f', FACT_COLUMNS, below)} "
        f'from (select shard, max("offset") as head from fact group by shard) h join fact f using (shard), '
        f"generate_series(1, {count}) n where f.order_id = any($1)",
        f"insert into asset ({_named(assets)}) select {_picked('a', assets, mangled)} "
        f"from asset a, generate_series(1, {count}) n "
        "where a.account in (select account from product_order where order_id = any($1))",
        f"insert into product_order ({_named(orders)}) select {_picked('o', orders, mangled)} from product_order o, "
        f"generate_series(1, {count}) n where o.order_id = any($1)",
    ]


def _named(columns: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def _picked(table: str, columns: tuple[str, ...] | list[str], instead: dict[str, str]) -> str:
    return ", ".join(instead.get(name, f'{{0}}."{name}"').format(table) for name in columns)


def _disk_bytes(cluster: Measured) -> int:
    [row] = cluster.rows("select pg_database_size(current_database()) as bytes")
    return int(row["bytes"])
