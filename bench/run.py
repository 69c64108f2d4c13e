"""One measurement run: bring a cluster up, load it from another process, read what happened from the database.

Figures are for this machine at this moment; a claim is a ratio to another figure of the same run.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bench.scenarios import ten_release
from orderplan.cluster import Cluster, Options
from persistence.database import open_pool
from persistence.reads import ended_since

ITEMS_PER_ORDER: Final = 10
ROOT: Final = Path(__file__).parents[1]
END_TIMEOUT_S: Final = 120.0
PROTOTYPE_ORDERS_S: Final = 1620
"""The HTTP prototype of docs/PERFORMANCE.md, measured elsewhere: an order of size, not a comparison."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How much to measure."""

    orders: int = 5000
    warm_up: int = 500
    connections: int = 64
    plan_hosts: int = 1
    rate: float = 10.0
    seconds: float = 15.0


def measure(settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the scenario `ten`; returns the figures."""
    with tempfile.TemporaryDirectory(prefix="orderplan-bench-") as folder:
        data = Path(folder)
        data.chmod(0o755)
        cluster = Cluster(Options(data=data, port=0, plan_hosts=settings.plan_hosts))
        try:
            url = cluster.start()
            assert cluster.config is not None
            _prepare(url)
            say(f"cluster is up: {settings.plan_hosts} plan host(s)")
            _load(url, cluster.config.dsn, settings, orders=settings.warm_up)
            say("closed loop ...")
            before, started = _cpu(), time.time()
            sent, ended = _load(url, cluster.config.dsn, settings, orders=settings.orders)
            wall = max(ended.values()) - started
            used = {name: spent - before.get(name, 0.0) for name, spent in _cpu().items()}
            used["load generator"] = sent["cpu_s"]
            say("bulk ...")
            before_bulk, bulk_started = _cpu(), time.time()
            in_bulk, bulk_ended = _load(url, cluster.config.dsn, settings, orders=settings.orders, is_bulk=True)
            bulk_wall = max(bulk_ended.values()) - bulk_started
            bulk_used = {name: spent - before_bulk.get(name, 0.0) for name, spent in _cpu().items()}
            bulk_used["load generator"] = in_bulk["cpu_s"]
            say("open loop ...")
            calm, calm_ended = _load(url, cluster.config.dsn, settings, orders=0)
            say("floor ...")
            floor = _floor(cluster.config.dsn)
        finally:
            cluster.stop()
    late = sorted(calm_ended[order] - due for order, due in calm["orders"].items())
    orders = len(sent["orders"])
    return {
        "scenario": "ten",
        "orders": orders,
        "orders_s": round(orders / wall, 1),
        "items_s": round(orders * ITEMS_PER_ORDER / wall, 1),
        "acknowledged_p50_ms": _ms(sent["answers"], 0.5),
        "acknowledged_p99_ms": _ms(sent["answers"], 0.99),
        "p50_ms": _ms(late, 0.5),
        "p99_ms": _ms(late, 0.99),
        "rate_of_latency": settings.rate,
        "statuses": sent["statuses"],
        "bulk_orders_s": round(orders / bulk_wall, 1),
        "floor": floor,
        "of_floor": round(orders / wall / floor["orders_s"], 3),
        "bulk_of_floor": round(orders / bulk_wall / floor["orders_s"], 3),
        "cpu_ms_per_order": _each(used, orders),
        "bulk_cpu_ms_per_order": _each(bulk_used, orders),
        "of_http_prototype": round(orders / wall / PROTOTYPE_ORDERS_S, 2),
        "cores": os.cpu_count(),
        "plan_hosts": settings.plan_hosts,
    }


def _each(used: dict[str, float], orders: int) -> dict[str, float]:
    return {
        name: round(spent / orders * 1000, 3)
        for name, spent in sorted(used.items(), key=lambda pair: -pair[1])
        if spent / orders > 1e-5
    }


def _floor(dsn: str) -> dict[str, Any]:
    """The floor on the same server, a moment later."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.floor", "--dsn", dsn], check=True, capture_output=True, text=True, cwd=ROOT
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def _prepare(url: str) -> None:
    _call(url, "POST", "/v1/releases:publish", ten_release())
    _call(url, "PUT", "/v1/systems/bench", {"adapter": "simulated", "config": {"seed": 1}, "concurrency": 10000})


def _call(url: str, method: str, path: str, body: Any) -> None:
    request = urllib.request.Request(
        url + path, data=json.dumps(body).encode(), method=method, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30):
        pass


def _load(
    url: str, dsn: str, settings: Settings, *, orders: int, is_bulk: bool = False
) -> tuple[dict[str, Any], dict[str, float]]:
    """Run the generator (closed loop, or open for no `orders`); returns what it sent, and when each order ended."""
    command = [sys.executable, "-m", "bench.load", "--url", url, "--run", uuid.uuid4().hex[:8]]
    if orders:
        command += ["--orders", str(orders), "--connections", str(settings.connections)]
        command += ["--bulk"] * is_bulk
    else:
        command += ["--rate", str(settings.rate), "--seconds", str(settings.seconds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600, cwd=ROOT)
    sent: dict[str, Any] = json.loads(done.stdout)
    return sent, asyncio.run(_wait_for(dsn, list(sent["orders"])))


async def _wait_for(dsn: str, order_ids: list[str]) -> dict[str, float]:
    """When each order ended (seconds since 1970); waits for the last."""
    pool = await open_pool(dsn, size_max=1)
    try:
        deadline = time.monotonic() + END_TIMEOUT_S
        while True:
            ended: dict[str, datetime] = await ended_since(pool, order_ids)
            if len(ended) == len(order_ids):
                return {order_id: at.timestamp() for order_id, at in ended.items()}
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(order_ids) - len(ended)} orders did not end")
            await asyncio.sleep(0.1)
    finally:
        await pool.close()


def _cpu() -> dict[str, float]:
    """CPU seconds of the machine's Ray and PostgreSQL processes, by kind."""
    tick = os.sysconf("SC_CLK_TCK")
    found: dict[str, float] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        name = _kind(command)
        if name is not None:
            # utime and stime, and those of waited-for children, so that ended backends still count.
            found[name] = found.get(name, 0.0) + sum(int(fields[index]) for index in (11, 12)) / tick
    return found


def _kind(command: str) -> str | None:
    if command.startswith("ray::"):
        return command[5:].split(" ", maxsplit=1)[0].split(".", maxsplit=1)[0]
    if command.startswith("postgres:") or "/bin/postgres" in command:
        return "PostgreSQL"
    if "raylet" in command.split(" ", maxsplit=1)[0]:
        return "raylet"
    if "gcs_server" in command.split(" ", maxsplit=1)[0]:
        return "gcs_server"
    return None


def _ms(seconds: list[float], share: float) -> float:
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 1) if ordered else 0.0
