"""The load generator: its own process, plain HTTP/1.1 over kept-alive connections, little work per request.

Closed loop: every connection sends the next order when the last one is answered, until so many are sent or the time is
over. Open loop: orders are due at fixed instants and latency counts from the instant an order was due, so a stalled
server cannot hide its stall (no coordinated omission). Bulk: all over one connection. Desk: people who take a task, do
it at once, and take the next.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

import orjson

from bench.scenarios import Order, scenarios

PATH: Final = "/tmf-api/productOrderingManagement/v4/productOrder"
INGEST_PATH: Final = "/v1/orders:ingest"
LINES_A_PIECE: Final = 100
READ_TIMEOUT_S: Final = 120.0
IDLE_S: Final = 0.02
"""Before a worker asks again who has found no task."""

Numbers = Iterator[int]
MakeOrder = Callable[[int], Order]


@dataclass(slots=True)
class Sent:
    """What came of one run: order ids with the instant each was due (seconds since 1970), and statuses."""

    orders: dict[str, float] = field(default_factory=dict)
    answers_s: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)


class Connection:
    """One kept-alive connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._rest = f" HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\nContent-Length: ".encode()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, body: bytes, path: str = PATH) -> tuple[int, bytes]:
        """(status, body) of one request."""
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        self._writer.write(b"POST " + path.encode() + self._rest + str(len(body)).encode() + b"\r\n\r\n" + body)
        async with asyncio.timeout(READ_TIMEOUT_S):
            head = await self._reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            if status == 204:
                return status, b""
            at = head.lower().index(b"content-length:") + 15
            length = int(head[at : head.index(b"\r\n", at)])
            return status, await self._reader.readexactly(length)


def _note(sent: Sent, status: int, answer: bytes, due_at: float) -> None:
    sent.statuses[status] = sent.statuses.get(status, 0) + 1
    sent.answers_s.append(time.time() - due_at)
    if status == 201:
        sent.orders[orjson.loads(answer)["id"]] = due_at


def numbers(orders: int, seconds: float) -> Numbers:
    """0, 1, 2 and so on: so many, or (0) until the time is over."""
    if orders:
        yield from range(orders)
        return
    over = time.monotonic() + seconds
    yield from itertools.takewhile(lambda _: time.monotonic() < over, itertools.count())


async def closed_loop(url: str, order: MakeOrder, which: Numbers, *, connections: int) -> Sent:
    """Send orders over so many connections, each at once after the last answer."""
    sent = Sent()

    async def work() -> None:
        connection = Connection(url)
        for number in which:
            body = orjson.dumps(order(number))
            due_at = time.time()
            status, answer = await connection.post(body)
            _note(sent, status, answer, due_at)

    await asyncio.gather(*(work() for _ in range(connections)))
    return sent


async def open_loop(url: str, order: MakeOrder, *, rate: float, seconds: float) -> Sent:
    """Send an order every 1/rate seconds, whether or not the last ones were answered."""
    sent = Sent()
    free: list[Connection] = []
    begin = time.time()

    async def one(number: int, due_at: float) -> None:
        connection = free.pop() if free else Connection(url)
        status, answer = await connection.post(orjson.dumps(order(number)))
        free.append(connection)
        _note(sent, status, answer, due_at)

    tasks = []
    for number in range(int(rate * seconds)):
        due_at = begin + number / rate
        await asyncio.sleep(max(0.0, due_at - time.time()))
        tasks.append(asyncio.create_task(one(number, due_at)))
    await asyncio.gather(*tasks)
    return sent


async def bulk(url: str, order: MakeOrder, which: Numbers) -> Sent:
    """Send orders over one connection of `/v1/orders:ingest`, as fast as they are taken."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 20)
    sent = Sent()
    due_at: list[float] = []

    async def write() -> None:
        writer.write(
            f"POST {INGEST_PATH} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/x-ndjson\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        while piece := [orjson.dumps(order(number)) for number in itertools.islice(which, LINES_A_PIECE)]:
            body = b"\n".join(piece) + b"\n"
            writer.write(b"%x\r\n" % len(body) + body + b"\r\n")
            due_at.extend([time.time()] * len(piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    writing = asyncio.create_task(write())
    await reader.readuntil(b"\r\n\r\n")
    rest = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        *lines, rest = (rest + await reader.readexactly(size)).split(b"\n")
        await reader.readexactly(2)
        for line in lines:
            answer = orjson.loads(line)
            status = 201 if "id" in answer else 0
            sent.statuses[status] = sent.statuses.get(status, 0) + 1
            if status:
                sent.orders[answer["id"]] = due_at[answer["line"] - 1]
                sent.answers_s.append(time.time() - due_at[answer["line"] - 1])
    await writing
    writer.close()
    return sent


async def desk(url: str, *, tasks: int, workers: int) -> Sent:
    """Take tasks and complete them until so many are done; the answers are those to completions."""
    sent = Sent()
    left = itertools.count(1)
    is_over = asyncio.Event()

    async def work(name: str) -> None:
        connection = Connection(url)
        who = orjson.dumps({"worker": name})
        while not is_over.is_set():
            status, answer = await connection.post(who, "/v1/tasks:next")
            if status != 200:
                await asyncio.sleep(IDLE_S)
                continue
            due_at = time.time()
            path = f"/v1/tasks/{quote(orjson.loads(answer)['id'], safe='')}:complete"
            status, _ = await connection.post(orjson.dumps({"worker": name, "data": {}}), path)
            sent.statuses[status] = sent.statuses.get(status, 0) + 1
            if status == 200:
                sent.answers_s.append(time.time() - due_at)
                if next(left) >= tasks:
                    is_over.set()

    await asyncio.gather(*(work(f"worker-{number}") for number in range(workers)))
    return sent


def main() -> None:
    """Run one load and print what came of it as one JSON object."""
    parser = argparse.ArgumentParser(description="Load one gateway with orders of a scenario.")
    parser.add_argument("mode", choices=["closed", "open", "bulk", "desk"])
    parser.add_argument("--url", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--scenario", default="ten")
    parser.add_argument("--connections", type=int, default=64, help="of the closed loop, or workers at the desk")
    parser.add_argument("--orders", type=int, default=0, help="0: until the time is over")
    parser.add_argument("--tasks", type=int, default=0)
    parser.add_argument("--rate", type=float, default=10.0, help="orders a second of the open loop")
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    make = scenarios()[args.scenario].order

    def order(number: int) -> Order:
        return make(number, args.run)

    which = numbers(args.orders, args.seconds)
    if args.mode == "bulk":
        sent = asyncio.run(bulk(args.url, order, which))
    elif args.mode == "open":
        sent = asyncio.run(open_loop(args.url, order, rate=args.rate, seconds=args.seconds))
    elif args.mode == "desk":
        sent = asyncio.run(desk(args.url, tasks=args.tasks, workers=args.connections))
    else:
        sent = asyncio.run(closed_loop(args.url, order, which, connections=args.connections))
    found: dict[str, Any] = {
        "orders": sent.orders,
        "answers": sorted(sent.answers_s),
        "statuses": sent.statuses,
        "cpu_s": time.process_time(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
