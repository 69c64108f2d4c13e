"""Shooting at a running cluster: a client that does not give up, victims drawn from a seed, and the rows afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg
import yaml

from orderplan.demo.own_mobile import Customer, add
from tests.faults.checker import Findings, check
from tests.support import own_mobile
from tests.support.running import TMF622, Running
from tests.support.until import until

SENDERS: Final = 40
ORDERS_S: Final = 60
"""Orders sent a second: slow enough that some are on their way whenever something dies."""
ANSWER_S: Final = 45.0
PAUSE_S: Final = 0.2
END_S: Final = 240.0
"""After the last kill: a call may wait for its deadline of 35 s and be tried again 5 s and 30 s later."""
VICTIMS: Final = (*["host"] * 3, *["adapters"] * 2, *["gateway"] * 2, "director", *["postgres"] * 2)


@dataclass
class Client:
    """Sends every order until it is acknowledged, always with the same key."""

    url: str
    acknowledged: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    sent: set[str] = field(default_factory=set)
    retries: Counter[str] = field(default_factory=Counter)

    async def send_all(self, documents: Sequence[dict[str, Any]], orders_s: float = ORDERS_S) -> None:
        """Send all orders, some at once, not more than so many a second."""
        waiting = self._paced(documents, orders_s)
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
            for _ in range(SENDERS):
                group.create_task(self._sender(session, waiting))

    @staticmethod
    def _paced(documents: Sequence[dict[str, Any]], orders_s: float) -> Iterator[tuple[float, dict[str, Any]]]:
        began = asyncio.get_running_loop().time()
        return ((began + number / orders_s, document) for number, document in enumerate(documents))

    async def _sender(self, session: aiohttp.ClientSession, waiting: Iterator[tuple[float, dict[str, Any]]]) -> None:
        for due, document in waiting:
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            await self._send(session, document)

    async def _send(self, session: aiohttp.ClientSession, document: dict[str, Any]) -> None:
        key = document["externalId"]
        self.sent.add(key)
        while True:
            try:
                async with session.post(self.url + TMF622, json=document, headers={"Idempotency-Key": key}) as answer:
                    body = await answer.json(content_type=None)
                    status = answer.status
                    is_told_when = "Retry-After" in answer.headers
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self.retries[type(error).__name__] += 1
                await asyncio.sleep(PAUSE_S)
                continue
            if status == 503:
                self.retries["503" if is_told_when else "503 without Retry-After"] += 1
                await asyncio.sleep(PAUSE_S)
                continue
            if status == 201:
                self.acknowledged[key] = body["id"]
            else:
                self.refused.append(f"{key}: {status} {body}")
            return


@dataclass
class Shot:
    """One kill."""

    victim: str
    pid: int
    at_s: float
    open_calls: int
    acknowledged: int
    ended: int

    def __str__(self) -> str:
        return (
            f"  {self.at_s:6.1f} s  kill -9 {self.victim:<9} (process {self.pid}), {self.open_calls} calls open, "
            f"{self.acknowledged} orders acknowledged, {self.ended} ended"
        )


class Range:
    """A cluster, its client and its shooter.

    `orders` tells its own orders from those of others on the same cluster: what their external ids are like, as in SQL.
    """

    def __init__(self, running: Running, seed: int, orders: str = "%") -> None:
        self.running = running
        self.seed = seed
        self.orders = orders
        self.random = random.Random(seed)
        self.client = Client(running.url)
        self.shots: list[Shot] = []
        self._began = time.monotonic()

    # What is going on, seen without the product where that is possible.

    async def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of the order database, however often it has to be asked."""

        async def ask() -> list[dict[str, Any]] | None:
            try:
                connection = await asyncpg.connect(self.running.dsn, timeout=5)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return None
            try:
                return [dict(row) for row in await connection.fetch(sql, *values)] or [{}]
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return None
            finally:
                connection.terminate()

        found: list[dict[str, Any]] = await until(ask, 60)
        return [row for row in found if row]

    async def ended(self) -> int:
        """How many of its orders have ended."""
        rows = await self.rows(
            "select count(*) as ended from product_order where ended_at is not null and external_id like $1",
            self.orders,
        )
        return int(rows[0]["ended"])

    async def open_calls(self) -> int:
        """How many calls the stand-ins have open."""
        stats = await asyncio.to_thread(self._get, self.running.standins + "/_stats")
        return int(stats["open"]) if stats else 0

    async def pids(self) -> dict[str, int]:
        """The process of every actor, by name, once the gateway tells."""

        async def ask() -> dict[str, int] | None:
            cluster = await asyncio.to_thread(self._get, self.running.url + "/v1/cluster")
            if cluster is None:
                return None
            return {name: stats["pid"] for name, stats in cluster["actors"].items() if "pid" in stats}

        found: dict[str, int] = await until(ask, 60)
        return found

    @staticmethod
    def _get(url: str) -> Any:
        import urllib.error
        import urllib.request

        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.loads(answer.read())
        except (OSError, urllib.error.URLError, ValueError):
            return None

    def postgres_pid(self) -> int | None:
        """The process of the embedded server, by its own lock file."""
        for path in (self.running.data / "postgres").rglob("postmaster.pid"):
            try:
                return int(path.read_text().splitlines()[0])
            except (OSError, IndexError, ValueError):
                return None
        return None

    # Shooting.

    async def find(self, victim: str) -> int:
        """The process of a victim, once there is one."""

        async def ask() -> int | None:
            if victim == "postgres":
                return self.postgres_pid()
            pids = await self.pids()
            if victim != "host":
                return pids.get(victim)
            hosts = sorted(pid for name, pid in pids.items() if name.startswith("host-"))
            return self.random.choice(hosts) if hosts else None

        found: int = await until(ask, 90)
        assert is_ours(found, victim), f"process {found} is no {victim}"
        return found

    async def shoot(self, victim: str, open_min: int = 0) -> None:
        """Kill -9, at a moment when the systems have so many calls open."""
        open_calls = 0

        async def is_busy() -> bool:
            nonlocal open_calls
            open_calls = await self.open_calls()
            return open_calls >= open_min

        pid = await self.find(victim)
        ended = await self.ended()
        await until(is_busy, 60)
        os.kill(pid, signal.SIGKILL)
        at_s = time.monotonic() - self._began
        self.shots.append(Shot(victim, pid, at_s, open_calls, len(self.client.acknowledged), ended))
        say(str(self.shots[-1]))

    async def under_fire(self, documents: Sequence[dict[str, Any]], victims: Sequence[str], open_min: int) -> None:
        """Send the orders and kill the victims at drawn moments; the first host when so many calls are open."""
        say(f"\nseed {self.seed}: {len(documents)} orders, victims {', '.join(victims)}")
        total = 2 * len(documents)
        # Between a tenth and nine tenths of the way: acknowledged orders and ended ones count alike.
        moments = sorted(self.random.uniform(0.1, 0.9) for _ in victims)
        sending = asyncio.create_task(self.client.send_all(documents))
        try:
            for victim, moment in zip(victims, moments, strict=True):
                await until(self._reached(moment * total), 180)
                is_first_host = victim == "host" and not any(shot.victim == "host" for shot in self.shots)
                await self.shoot(victim, open_min if is_first_host else 0)
            await sending
        finally:
            sending.cancel()
        assert self.client.refused == []
        await until(self._all_ended(len(documents)), END_S, 0.2)

    def _reached(self, progress: float) -> Callable[[], Awaitable[bool]]:
        async def reached() -> bool:
            return len(self.client.acknowledged) + await self.ended() >= progress

        return reached

    def _all_ended(self, orders: int) -> Callable[[], Awaitable[bool]]:
        async def all_ended() -> bool:
            return await self.ended() >= orders

        return all_ended

    # Afterwards.

    async def findings(self, edges: Sequence[Sequence[str]]) -> Findings:
        """What the checker says of the rows and the stand-ins' log, the whole journal included; printed too."""
        columns = "order_id, external_id, state, ended_at, active, timer_at"
        orders = await self.rows(f"select {columns} from product_order where external_id like $1", self.orders)
        others = await self.rows(
            "select order_id from product_order where external_id is null or external_id not like $1", self.orders
        )
        facts = await self.rows('select shard, "offset", order_id, item, kind from fact')
        not_ours = {row["order_id"] for row in others}
        with self.running.calls_log.open() as log:
            calls = [call for call in map(json.loads, log) if call["order"] not in not_ours]
        found = check(self.client.acknowledged, orders, facts, calls, edges)
        found.counts["client: repeats of a request"] = self.client.retries.total()
        say(f"seed {self.seed}, {time.monotonic() - self._began:.0f} s, kills: {len(self.shots)}")
        say(found.table())
        for wrong in found.wrong:
            say(f"  WRONG {wrong}")
        return found


def say(text: str) -> None:
    """Show a line at once: whoever watches wants to see the shots as they fall."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def is_ours(pid: int, victim: str) -> bool:
    """Whether the process is what it is taken for: nothing else may be killed."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return (b"postgres" if victim == "postgres" else b"ray::") in command


def publish_own_mobile(running: Running, concurrency: int = 5_000, version: str = "1") -> None:
    """The own-mobile catalogue as the newest release, its systems being the stand-ins.

    A version that is there already does not become the newest again.
    """
    bindings = yaml.safe_load((own_mobile.FOLDER / "bindings.yaml").read_text())
    catalogue = own_mobile.read("own-mobile-catalogue.json")
    running.ok("POST", "/v1/releases:import-tmf620", {"catalogue": catalogue, "bindings": bindings, "version": version})
    for system in ("inventory", "activation", "billing"):
        config = {"url": f"{running.standins}/{system}", "connections": concurrency}
        body = {"adapter": "http", "config": config, "concurrency": concurrency}
        running.ok("PUT", f"/v1/systems/{system}", body)


def add_orders(count: int, name: str = "kill") -> list[dict[str, Any]]:
    """Add orders of as many customers; their external ids begin with the name."""
    sample = own_mobile.add_order()
    return [add(sample, Customer(number), f"{name}-{number:05}") for number in range(count)]


def expected_edges() -> list[list[str]]:
    """[item, the item it waits for] of an add order, as the example states them."""
    plans = own_mobile.read("own-mobile-expected-plans.json")
    edges: list[list[str]] = plans["add: own-mobile-order.json"]["dependsOn"]
    return edges
