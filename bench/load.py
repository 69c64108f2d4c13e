"""The load generator: its own process, plain HTTP/1.1 over kept-alive connections, little work per request.

Closed loop: every connection sends the next order when the last one is answered. Open loop: orders are due at fixed
instants and latency counts from the instant an order was due, so a stalled server cannot hide its stall (no coordinated
omission).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson

from bench.scenarios import ten_order

PATH = "/tmf-api/productOrderingManagement/v4/productOrder"
INGEST_PATH = "/v1/orders:ingest"
LINES_A_PIECE = 100
READ_TIMEOUT_S = 60.0


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
        self._head = (
            f"POST {PATH} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\nContent-Length: "
        ).encode()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, body: bytes) -> tuple[int, bytes]:
        """(status, body) of one order."""
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        self._writer.write(self._head + str(len(body)).encode() + b"\r\n\r\n" + body)
        async with asyncio.timeout(READ_TIMEOUT_S):
            head = await self._reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            at = head.lower().index(b"content-length:") + 15
            length = int(head[at : head.index(b"\r\n", at)])
            return status, await self._reader.readexactly(length)


def _note(sent: Sent, status: int, answer: bytes, due_at: float) -> None:
    sent.statuses[status] = sent.statuses.get(status, 0) + 1
    sent.answers_s.append(time.time() - due_at)
    if status == 201:
        sent.orders[orjson.loads(answer)["id"]] = due_at


async def closed_loop(url: str, run: str, *, connections: int, orders: int) -> Sent:
    """Send `orders` orders over so many connections, each at once after the last answer."""
    sent = Sent()
    numbers = iter(range(orders))

    async def work() -> None:
        connection = Connection(url)
        for number in numbers:
            body = orjson.dumps(ten_order(number, run))
            due_at = time.time()
            status, answer = await connection.post(body)
            _note(sent, status, answer, due_at)

    await asyncio.gather(*(work() for _ in range(connections)))
    return sent


async def open_loop(url: str, run: str, *, rate: float, seconds: float) -> Sent:
    """Send an order every 1/rate seconds, whether or not the last ones were answered."""
    sent = Sent()
    free: list[Connection] = []
    begin = time.time()

    async def one(number: int, due_at: float) -> None:
        connection = free.pop() if free else Connection(url)
        status, answer = await connection.post(orjson.dumps(ten_order(number, run)))
        free.append(connection)
        _note(sent, status, answer, due_at)

    tasks = []
    for number in range(int(rate * seconds)):
        due_at = begin + number / rate
        await asyncio.sleep(max(0.0, due_at - time.time()))
        tasks.append(asyncio.create_task(one(number, due_at)))
    await asyncio.gather(*tasks)
    return sent


async def bulk(url: str, run: str, *, orders: int) -> Sent:
    """Send `orders` orders over one connection of `/v1/orders:ingest`, as fast as they are taken."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 20)
    sent = Sent()
    due_at: list[float] = []

    async def write() -> None:
        writer.write(
            f"POST {INGEST_PATH} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/x-ndjson\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        for first in range(0, orders, LINES_A_PIECE):
            numbers = range(first, min(first + LINES_A_PIECE, orders))
            piece = b"".join(orjson.dumps(ten_order(number, run)) + b"\n" for number in numbers)
            writer.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
            due_at.extend([time.time()] * len(numbers))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    writing = asyncio.create_task(write())
    await reader.readuntil(b"\r\n\r\n")
    rest = b""
    while sent.statuses.get(200, 0) + sent.statuses.get(0, 0) < orders:
        size = int(await reader.readuntil(b"\r\n"), 16)
        if not size:
            break
        *lines, rest = (rest + await reader.readexactly(size)).split(b"\n")
        await reader.readexactly(2)
        for line in lines:
            answer = orjson.loads(line)
            status = 200 if "id" in answer else 0
            sent.statuses[status] = sent.statuses.get(status, 0) + 1
            if status:
                sent.orders[answer["id"]] = due_at[answer["line"] - 1]
                sent.answers_s.append(time.time() - due_at[answer["line"] - 1])
    await writing
    writer.close()
    return sent


def main() -> None:
    """Run one load and print what came of it as one JSON object."""
    parser = argparse.ArgumentParser(description="Load one gateway with orders of the scenario ten.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--orders", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=0.0, help="orders a second; 0 is the closed loop")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--bulk", action="store_true", help="all orders over one connection")
    args = parser.parse_args()
    if args.bulk:
        sent = asyncio.run(bulk(args.url, args.run, orders=args.orders))
    elif args.rate > 0:
        sent = asyncio.run(open_loop(args.url, args.run, rate=args.rate, seconds=args.seconds))
    else:
        sent = asyncio.run(closed_loop(args.url, args.run, connections=args.connections, orders=args.orders))
    found: dict[str, Any] = {
        "orders": sent.orders,
        "answers": sorted(sent.answers_s),
        "statuses": sent.statuses,
        "cpu_s": time.process_time(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
