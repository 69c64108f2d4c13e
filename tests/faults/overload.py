"""`make overload`: three times the orders that the machine can do, for a minute: what it still does, how it refuses.

Capacity is measured by a closed loop, before and after: other work on the machine comes and goes. Between them orders
come at fixed instants at three times that rate, whether or not earlier ones were answered. Goodput is what ends during
the load, so that accepting more than can be finished does not count. Latencies count from the instant an order was due.
Every acknowledged order has to end, once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from orderplan.demo.own_mobile import Customer, add
from tests.faults.harness import Range, expected_edges, publish_own_mobile, say
from tests.support import own_mobile
from tests.support.running import TMF622, running_cluster
from tests.support.until import until

CAPACITY_S: Final = 20
OVERLOAD_S: Final = 60
TIMES: Final = 3
CONNECTIONS: Final = 192
"""Of the closed loop: enough to keep every process busy, few enough to be admitted."""
END_S: Final = 300.0
SAMPLE_S: Final = 2.0
GOODPUT_MIN: Final = 0.8
REFUSED_P99_MAX_MS: Final = 250.0
"""The generator and everything measured share a machine that is asked for three times what it has."""
GROWTH_MAX: Final = 1.15
"""Memory at its most in the second half of the load to that in the first half."""
PLACEHOLDER: Final = 999_999
"""The customer's number in the order that all others are made of; theirs have as many digits."""
SLICE_S: Final = 0.005
"""Of the open loop: what is due in it is sent together."""
ANSWER_S: Final = 30.0
ROOT: Final = Path(__file__).parents[2]


# The generator: a process of its own.


@dataclass
class Told:
    """What came of one load: order id by external id, latencies of both kinds of answer, refusals without a time."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    accepted_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    begun_at: float = 0.0
    over_at: float = 0.0


class Wire(asyncio.Protocol):
    """A kept-alive connection with one request at a time, at a fraction of what streams and tasks cost: the generator
    shares the machine with what it measures.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._heard = b""
        self.is_open = True
        self._answered: Callable[[bytes, bytes], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to send."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, request: bytes, answered: Callable[[bytes, bytes], None]) -> None:
        """Send a request; `answered` gets the head and the body of its answer, both empty if there was none."""
        assert self._transport is not None
        self._answered = answered
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Part of an answer."""
        self._heard += data
        head, end, body = self._heard.partition(b"\r\n\r\n")
        if not end:
            return
        at = head.lower().index(b"content-length:") + 15
        if len(body) >= int(head[at:].split(b"\r", 1)[0]):
            self._heard = b""
            self._tell(head, body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits for an answer gets none."""
        self.is_open = False
        self._tell(b"", b"")

    def _tell(self, head: bytes, body: bytes) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(head, body)


class Load:
    """Sends add orders of own-mobile, each of a customer of its own."""

    def __init__(self, url: str, run: str, first: int) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._run = run
        self._first = first
        # Written once: who measures must not use up what is measured. Keys and numbers have a fixed length.
        body = orjson.dumps(add(own_mobile.add_order(), Customer(PLACEHOLDER), self._key(0)))
        head = f"POST {TMF622} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
        self._request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self._free: list[Wire] = []
        self._open = 0
        self.told = Told(begun_at=time.time())

    def _key(self, number: int) -> str:
        return f"{self._run}-{number:06}"

    async def closed(self, seconds: float) -> None:
        """Every connection sends the next order when the last one is answered."""
        numbers = iter(range(1_000_000))
        until = time.time() + seconds

        async def work() -> None:
            loop = asyncio.get_running_loop()
            wire = await self._wire()
            while (now := time.time()) < until:
                answer: asyncio.Future[None] = loop.create_future()
                self._send(wire, next(numbers), now, partial(answer.set_result, None))
                await answer

        await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
        self.told.over_at = time.time()

    async def open(self, seconds: float, rate: float) -> None:
        """An order every 1/rate seconds, whatever became of the last ones."""
        begin = time.time()
        sent, count = 0, int(rate * seconds)
        while sent < count:
            await asyncio.sleep(SLICE_S)
            due = min(count, int((time.time() - begin) * rate))
            for number in range(sent, due):
                wire = await self._wire()
                self._send(wire, number, begin + number / rate, partial(self._free.append, wire))
            sent = due
        self.told.over_at = time.time()
        await until(lambda: not self._open, ANSWER_S)

    async def _wire(self) -> Wire:
        while self._free:
            wire = self._free.pop()
            if wire.is_open:
                return wire
        return (await asyncio.get_running_loop().create_connection(Wire, self._host, self._port))[1]

    def _send(self, wire: Wire, number: int, due_at: float, done: Callable[[], None]) -> None:
        key = self._key(number)
        request = self._request.replace(self._key(0).encode(), key.encode())
        self._open += 1

        def answered(head: bytes, body: bytes) -> None:
            self._open -= 1
            self._note(key, head, body, time.time() - due_at)
            done()

        wire.send(request.replace(b"%d" % PLACEHOLDER, b"%d" % (self._first + number)), answered)

    def _note(self, key: str, head: bytes, body: bytes, latency_s: float) -> None:
        told, status = self.told, head[9:12].decode()
        if status == "201":
            told.acknowledged[key] = orjson.loads(body)["id"]
            told.accepted_s.append(latency_s)
        elif status in ("429", "503") and b"retry-after:" in head.lower():
            told.refused_s.append(latency_s)
            status += " with Retry-After"
        told.statuses[status or "no answer"] += 1


def generate(args: argparse.Namespace) -> None:
    """Run one load; prints what came of it as JSON."""
    load = Load(args.url, args.run, args.first)
    asyncio.run(load.open(args.seconds, args.rate) if args.rate else load.closed(args.seconds))
    sys.stdout.write(json.dumps(vars(load.told)))


# The measurement.


def memory_mb(pids: dict[str, int]) -> dict[str, float]:
    """Resident memory by actor, and of all processes of the embedded server."""
    found: defaultdict[str, float] = defaultdict(float)
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError):
            pid = int(folder.name)
            name = next((name for name, each in pids.items() if each == pid), None)
            if name is None and _parent(folder) == pids["postgres"]:
                name = "postgres"
            if name is not None:
                # Shared memory belongs to all of the server's processes at once: only what is a process's own counts.
                own = [line for line in (folder / "status").read_text().splitlines() if line.startswith("RssAnon")]
                found[name] += int(own[0].split()[1]) / 1024
    return {name: round(mb, 1) for name, mb in found.items()}


def cpu_s(pids: Mapping[str, int]) -> dict[str, float]:
    """Processor seconds of each process and of its children that were waited for."""
    tick = os.sysconf("SC_CLK_TCK")
    found = {}
    for name, pid in pids.items():
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found[name] = sum(int(fields[index]) for index in (11, 12, 13, 14)) / tick
    return found


def larger(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """The larger figure of each name."""
    return {name: max(one.get(name, 0.0), other.get(name, 0.0)) for name in one.keys() | other.keys()}


def _parent(folder: Path) -> int:
    return int((folder / "stat").read_text().rpartition(")")[2].split()[1])


def at(seconds: Sequence[float], share: float) -> float:
    """A percentile in milliseconds."""
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 1) if ordered else 0.0


@contextlib.contextmanager
def generator(url: str, run: str, first: int, seconds: float, rate: float = 0.0) -> Iterator[subprocess.Popen[str]]:
    """The load as a process."""
    command = [sys.executable, "-m", "tests.faults.overload", "--url", url, "--run", run, "--first", str(first)]
    command += ["--seconds", str(seconds), "--rate", str(rate)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        yield process


async def closed_loop(
    target: Range, known: dict[str, str], run: str, first: int, seconds: float = CAPACITY_S
) -> tuple[dict[str, Any], float]:
    """What the generator tells, and how many orders a second ended; all have ended afterwards and are `known`."""
    say(f"closed loop ({run}) ...")
    with generator(target.running.url, run, first, seconds) as process:
        told: dict[str, Any] = json.loads((await asyncio.to_thread(process.communicate))[0])
    known |= told["acknowledged"]
    await all_ended(target, len(known))
    # From the second quarter on: by then as many orders end as begin.
    begin = told["begun_at"] + seconds / 4
    return told, await ended_between(target, begin, told["over_at"]) / (told["over_at"] - begin)


async def ended_between(target: Range, begin: float, end: float) -> int:
    """How many orders ended in a stretch of time."""
    rows = await target.rows(
        "select count(*) as ended from product_order "
        "where ended_at >= to_timestamp($1) and ended_at < to_timestamp($2)",
        begin,
        end,
    )
    return int(rows[0]["ended"])


async def measure(plan_hosts: int, times: float, seconds: float) -> dict[str, Any]:
    """Capacity, then the overload; returns the figures."""
    with running_cluster(plan_hosts, in_memory=False) as running:
        await asyncio.to_thread(publish_own_mobile, running)
        target = Range(running, seed=0)
        server = target.postgres_pid()
        assert server is not None
        known: dict[str, str] = {}
        await closed_loop(target, known, "warm", 100_000, 3.0)
        calm, earlier = await closed_loop(target, known, "calm", 200_000)
        pids = {**await target.pids(), "postgres": server}
        before = memory_mb(pids)
        peak: dict[str, float] = {}
        first_half: dict[str, float] = {}
        say(f"capacity {earlier:.1f} orders/s; open loop at {times * earlier:.1f} orders/s ...")
        spent = cpu_s(pids)
        with generator(running.url, "flood", 300_000, seconds, times * earlier) as process:
            answer = asyncio.create_task(asyncio.to_thread(process.communicate))
            began = time.monotonic()
            while not answer.done():
                await asyncio.wait({answer}, timeout=SAMPLE_S)
                sample = memory_mb(pids)
                peak = larger(peak, sample)
                if time.monotonic() - began < seconds / 2:
                    first_half = larger(first_half, sample)
            flood = json.loads((await answer)[0])
        spent = {name: round(each - spent[name], 1) for name, each in cpu_s(pids).items() if name in spent}
        goodput = await ended_between(target, flood["begun_at"], flood["over_at"])
        goodput_s = goodput / (flood["over_at"] - flood["begun_at"])
        known |= flood["acknowledged"]
        await all_ended(target, len(known))
        after = memory_mb(pids)
        _, later = await closed_loop(target, known, "again", 800_000)
        target.client.acknowledged = known
        found = await target.findings(expected_edges())
    capacity = (earlier + later) / 2
    return {
        "capacity_orders_s": [round(earlier, 1), round(later, 1)],
        "load_average": os.getloadavg()[1],
        "offered_orders_s": round(sum(flood["statuses"].values()) / (flood["over_at"] - flood["begun_at"]), 1),
        "goodput_orders_s": round(goodput_s, 1),
        "goodput": round(goodput_s / capacity, 2),
        "statuses": flood["statuses"],
        "refused_p50_ms": at(flood["refused_s"], 0.5),
        "refused_p99_ms": at(flood["refused_s"], 0.99),
        "accepted_p50_ms": at(flood["accepted_s"], 0.5),
        "accepted_p99_ms": at(flood["accepted_s"], 0.99),
        "accepted_p99_ms_calm": at(calm["accepted_s"], 0.99),
        "cpu_s": dict(sorted(spent.items(), key=lambda pair: -pair[1])),
        "memory_mb": {
            name: {
                "before": before.get(name, 0.0),
                "max of first half": first_half.get(name, 0.0),
                "max": peak[name],
                "after": after.get(name, 0.0),
            }
            for name in sorted(peak)
        },
        "acknowledged": len(known),
        "completed": found.counts["orders completed"],
        "wrong": found.wrong,
    }


async def all_ended(target: Range, orders: int) -> None:
    """Wait until every acknowledged order has ended."""
    deadline = time.monotonic() + END_S
    while (ended := await target.ended()) < orders:
        assert time.monotonic() < deadline, f"{orders - ended} orders do not end"
        await asyncio.sleep(0.2)


def missed_bars(figures: Mapping[str, Any]) -> list[str]:
    """Which bars the figures miss, in words."""
    missed = [f"wrong: {each}" for each in figures["wrong"]]
    unknown = set(figures["statuses"]) - {"201", "503 with Retry-After", "429 with Retry-After"}
    if unknown:
        missed.append(f"other answers: {sorted(unknown)}")
    if figures["goodput"] < GOODPUT_MIN:
        missed.append(f"goodput {figures['goodput']}")
    if figures["refused_p99_ms"] > REFUSED_P99_MAX_MS:
        missed.append(f"a refusal in a hundred takes {figures['refused_p99_ms']} ms")
    missed += [
        f"{name} grows from {each['max of first half']} to {each['max']} MB"
        for name, each in figures["memory_mb"].items()
        if each["max"] > GROWTH_MAX * each["max of first half"]
    ]
    return missed


def main() -> None:
    """Measure, or (with --url) be the generator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url")
    parser.add_argument("--run", default="flood")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=OVERLOAD_S)
    parser.add_argument("--plan-hosts", type=int, default=1)
    parser.add_argument("--times", type=float, default=TIMES)
    args = parser.parse_args()
    if args.url:
        generate(args)
        return
    figures = asyncio.run(measure(args.plan_hosts, args.times, args.seconds))
    say(json.dumps(figures, indent=1))
    missed = missed_bars(figures)
    if missed:
        raise SystemExit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
