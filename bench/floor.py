"""The floor: the workload `ten` in one asyncio process and one PostgreSQL connection, with nothing else around it.

What every durable orchestrator in Python on this machine has to do at least: an item's start and its completion are
committed (COPY, one transaction for all that is ready, fsync on) before what follows from them happens. There is
no HTTP, no Ray, no catalogue, no recovery and no read model, so it is no product; it is the figure that ours is a
share of.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg
import orjson

from bench.scenarios import TEN

ORDERS_OPEN: Final = 256
"""Orders in flight in the closed loop: enough for the commits to be worth it."""
STARTED, COMPLETED, ACCEPTED, ENDED = "started", "completed", "accepted", "ended"


@dataclass(slots=True)
class Order:
    """One order in memory: for each item how many it still waits for."""

    number: int
    due_at: float
    waits: dict[str, int]
    left: int


@dataclass(slots=True)
class Floor:
    """The whole engine. One loop: take what has happened, decide, commit, let the calls go."""

    connection: asyncpg.Connection[Any]
    successors: dict[str, tuple[str, ...]]
    counts: dict[str, int]
    happened: list[tuple[Order, str, str]] = field(default_factory=list)
    offset: int = 0
    ended_s: list[float] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def accept(self, number: int, due_at: float) -> None:
        """A new order."""
        order = Order(number, due_at, dict(self.counts), len(self.counts))
        self.happened.append((order, ACCEPTED, ""))
        self.wake.set()

    def answered(self, order: Order, item: str) -> None:
        """The call of an item has come back."""
        self.happened.append((order, COMPLETED, item))
        self.wake.set()

    async def tick(self) -> list[Order]:
        """Decide and commit all that has happened; returns the orders that have ended."""
        batch, self.happened = self.happened, []
        rows: list[tuple[int, int, str, str, bytes]] = []
        started: list[tuple[Order, str]] = []
        ended: list[Order] = []
        for order, kind, item in batch:
            self._fact(rows, order, kind, item)
            if kind == ACCEPTED:
                ready = [each for each, count in self.counts.items() if count == 0]
            else:
                order.left -= 1
                ready = []
                for each in self.successors[item]:
                    order.waits[each] -= 1
                    if order.waits[each] == 0:
                        ready.append(each)
            for each in ready:
                self._fact(rows, order, STARTED, each)
                started.append((order, each))
            if order.left == 0:
                self._fact(rows, order, ENDED, "")
                ended.append(order)
        async with self.connection.transaction():
            await self.connection.copy_records_to_table(
                "floor_fact", records=rows, columns=["n", "order_id", "kind", "item", "body"]
            )
        now = time.time()
        self.ended_s += [now - order.due_at for order in ended]
        loop = asyncio.get_running_loop()
        for order, item in started:
            # The system answers at once, in a turn of its own.
            loop.call_soon(self.answered, order, item)
        return ended

    def _fact(self, rows: list[Any], order: Order, kind: str, item: str) -> None:
        self.offset += 1
        body = orjson.dumps({"item": item, "attempt": 1, "system": "bench", "at": time.time()})
        rows.append((self.offset, order.number, kind, item, body))

    async def wait(self, timeout_s: float | None = None) -> None:
        """Until something has happened."""
        while not self.happened:
            self.wake.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self.wake.wait()
            except TimeoutError:
                return
        # What comes in the same turn is committed together.
        await asyncio.sleep(0)


async def closed_loop(floor: Floor, orders: int) -> None:
    """So many orders, `ORDERS_OPEN` at a time."""
    now = time.time()
    numbers = iter(range(orders))
    for _ in range(min(ORDERS_OPEN, orders)):
        floor.accept(next(numbers), now)
    ended = 0
    while ended < orders:
        await floor.wait()
        for _ in await floor.tick():
            ended += 1
            if (number := next(numbers, None)) is not None:
                floor.accept(number, time.time())


async def open_loop(floor: Floor, rate: float, seconds: float) -> None:
    """An order every 1/rate seconds."""
    begin, sent, ended, count = time.time(), 0, 0, int(rate * seconds)
    while ended < count:
        while sent < count and begin + sent / rate <= time.time():
            floor.accept(sent, begin + sent / rate)
            sent += 1
        if not floor.happened:
            await floor.wait(max(0.0, begin + sent / rate - time.time()) if sent < count else None)
        if floor.happened:
            ended += len(await floor.tick())


async def measure(dsn: str, orders: int, rate: float, seconds: float) -> dict[str, Any]:
    """Figures of the closed loop and of the open one."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            "create table if not exists floor_fact "
            "(n bigint primary key, order_id bigint, kind text, item text, body bytea)"
        )
        assert await connection.fetchval("show fsync") == "on"
        successors = {
            item: tuple(other for other, waits in TEN.items() if item in waits) for item in TEN
        }
        counts = {item: len(waits) for item, waits in TEN.items()}
        found: dict[str, Any] = {}
        for name in ("warm", "closed", "open"):
            await connection.execute("truncate floor_fact")
            floor = Floor(connection, successors, counts)
            cpu, began = time.process_time(), time.time()
            if name == "open":
                await open_loop(floor, rate, seconds)
                ordered = sorted(floor.ended_s)
                found["p50_ms"] = round(ordered[len(ordered) // 2] * 1000, 1)
                found["p99_ms"] = round(ordered[int(len(ordered) * 0.99)] * 1000, 1)
            else:
                count = orders if name == "closed" else min(orders, 1000)
                await closed_loop(floor, count)
                wall = time.time() - began
                found["orders_s"] = round(count / wall, 1)
                found["cpu_s_per_1000_items"] = round((time.process_time() - cpu) / count / len(counts) * 1000, 4)
        await connection.execute("drop table floor_fact")
        return found
    finally:
        await connection.close()


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description="Measure the floor on a PostgreSQL server.")
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--orders", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    print(json.dumps(asyncio.run(measure(args.dsn, args.orders, args.rate, args.seconds))))


if __name__ == "__main__":
    main()
