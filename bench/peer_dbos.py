"""A peer on the same server: DBOS, from its package, with the workload `ten` as a workflow of ten steps.

Each step's end is durable before the next begins, which is what `ten` asks for; the three branches run beside each
other. One process, as its documentation starts: the workflows run in one event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from typing import Any, Final

from dbos import DBOS, DBOSConfig

OPEN: Final = 32
"""Workflows in flight in the closed loop."""


@DBOS.step()
async def call(item: str) -> str:
    """One item: its system answers at once."""
    return item


@DBOS.workflow()
async def ten(number: int) -> int:
    """The order. The branches go in step, so that the steps begin in the same order in every run."""
    await call("start")
    await asyncio.gather(call("a1"), call("b1"), call("c1"))
    await asyncio.gather(call("a2"), call("b2"), call("c2"))
    await call("join")
    await call("s1")
    await call("s2")
    return number


async def closed_loop(orders: int) -> float:
    """Orders a second, so many in flight."""
    numbers = iter(range(orders))

    async def work() -> None:
        for number in numbers:
            handle = await DBOS.start_workflow_async(ten, number)
            await handle.get_result()

    began = time.time()
    await asyncio.gather(*(work() for _ in range(OPEN)))
    return orders / (time.time() - began)


async def open_loop(rate: float, seconds: float) -> list[float]:
    """Seconds from the instant an order was due until its workflow had ended, ascending."""
    begin = time.time()

    async def one(number: int, due_at: float) -> float:
        handle = await DBOS.start_workflow_async(ten, number)
        await handle.get_result()
        return time.time() - due_at

    tasks = []
    for number in range(int(rate * seconds)):
        due_at = begin + number / rate
        await asyncio.sleep(max(0.0, due_at - time.time()))
        tasks.append(asyncio.create_task(one(number, due_at)))
    return sorted(await asyncio.gather(*tasks))


async def measure(orders: int, rate: float, seconds: float) -> dict[str, Any]:
    """Figures of the closed loop and of the open one."""
    await closed_loop(OPEN)
    cpu = time.process_time()
    orders_s = await closed_loop(orders)
    used_s = time.process_time() - cpu
    waited = await open_loop(rate, seconds)
    return {
        "orders_s": round(orders_s, 1),
        "cpu_s_per_1000_items": round(used_s / orders * 100, 3),
        "p50_ms": round(waited[len(waited) // 2] * 1000, 1),
        "p99_ms": round(waited[int(len(waited) * 0.99)] * 1000, 1),
        "memory_mb": round(_resident_mb(), 1),
    }


def _resident_mb() -> float:
    with open(f"/proc/{os.getpid()}/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description="Measure DBOS on a PostgreSQL server.")
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--orders", type=int, default=400)
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": args.dsn,
        "dbos_system_schema": "bench_dbos",
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()
    try:
        figures = asyncio.run(measure(args.orders, args.rate, args.seconds))
    finally:
        DBOS.destroy()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
