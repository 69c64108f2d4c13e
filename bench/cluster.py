"""A cluster that is measured: brought up on a folder of its own, loaded by other processes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from bench.machine import cpu_s, used_since
from bench.scenarios import SYSTEM, bench_release
from orderplan.cluster import Cluster, Options
from persistence.database import open_pool
from persistence.reads import ended_since

Answer = TypeVar("Answer")
ROOT: Final = Path(__file__).parents[1]
END_TIMEOUT_S: Final = 300.0
LOAD_TIMEOUT_S: Final = 1_200.0
STATEMENT_TIMEOUT_S: Final = 3_600.0
POLL_S: Final = 0.1
SIMULATED: Final = {"adapter": "simulated", "config": {"seed": 1}, "concurrency": 10_000}


@dataclass(frozen=True, slots=True)
class Load:
    """What came of one load."""

    orders: dict[str, float]
    """When each was due, seconds since 1970, by order id."""
    ended: dict[str, float]
    answers_s: list[float]
    """How long each answer took, ascending."""
    statuses: dict[str, int]
    began: float
    cpu_s: dict[str, float]
    """By kind of process, the load generator among them."""

    @property
    def orders_s(self) -> float:
        """Orders a second, from the first that was sent to the last that has ended."""
        return len(self.ended) / (max(self.ended.values()) - self.began)

    def latencies_s(self) -> list[float]:
        """From due to ended, ascending."""
        return sorted(self.ended[order_id] - due_at for order_id, due_at in self.orders.items())

    def cpu_ms_per_order(self) -> dict[str, float]:
        """The dearest first; what is next to nothing is left out."""
        each = {name: spent / len(self.orders) * 1000 for name, spent in self.cpu_s.items()}
        return {name: round(ms, 3) for name, ms in sorted(each.items(), key=lambda pair: -pair[1]) if ms > 0.01}

    def product_cpu_s(self) -> float:
        """Without the load generator's."""
        return sum(spent for name, spent in self.cpu_s.items() if name != "load generator")


class Measured:
    """Use as a context manager; the releases and systems of the bench are in place."""

    def __init__(self, plan_hosts: int, *, delay_scoring: bool = True) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="orderplan-bench-", ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name)
        self.folder.chmod(0o755)
        self._cluster = Cluster(
            Options(data=self.folder, port=0, plan_hosts=plan_hosts, delay_scoring=delay_scoring)
        )
        self.url = ""
        self.dsn = ""

    def __enter__(self) -> Measured:
        try:
            self.url = self._cluster.start()
            assert self._cluster.config is not None
            self.dsn = self._cluster.config.dsn
            self.put_system(SYSTEM, SIMULATED)
            self.call("POST", "/v1/releases:publish", bench_release())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cluster.stop()
        self._folder.cleanup()

    def call(self, method: str, path: str, body: Any) -> None:
        """One request to the product; raises when it is refused."""
        request = urllib.request.Request(
            self.url + path, data=json.dumps(body).encode(), method=method, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30):
            pass

    def put_system(self, code: str, body: dict[str, Any]) -> None:
        """Set a system up, or change it."""
        self.call("PUT", f"/v1/systems/{code}", body)

    def start_load(self, mode: str, **options: Any) -> subprocess.Popen[str]:
        """The load generator, running; `options` are its own."""
        command = [sys.executable, "-m", "bench.load", mode, "--url", self.url, "--run", uuid.uuid4().hex[:8]]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def load(self, mode: str, **options: Any) -> Load:
        """Run a load to its end, and until every order of it has ended."""
        began, before = time.time(), cpu_s()
        return self.finish(self.start_load(mode, **options), began, before)

    def finish(self, started: subprocess.Popen[str], began: float, before: dict[str, float]) -> Load:
        """Wait for a load, and until every order of it has ended."""
        sent = self.finish_sending(started)
        ended = self.wait_for(list(sent["orders"]))
        used = used_since(before) | {"load generator": sent["cpu_s"]}
        return Load(sent["orders"], ended, sent["answers"], sent["statuses"], began, used)

    def finish_sending(self, started: subprocess.Popen[str]) -> dict[str, Any]:
        """Wait for a load, whatever becomes of its orders; what the generator tells of it."""
        out, _ = started.communicate(timeout=LOAD_TIMEOUT_S)
        if started.returncode != 0:
            raise RuntimeError("the load generator did not come to its end")
        sent: dict[str, Any] = json.loads(out)
        return sent

    def wait_for(self, order_ids: list[str]) -> dict[str, float]:
        """When each order ended, seconds since 1970; waits for the last."""
        return asyncio.run(_wait_for(self.dsn, order_ids))

    def other(self, module: str) -> dict[str, Any]:
        """The figures of another program on the same server."""
        done = subprocess.run(
            [sys.executable, "-m", module, "--dsn", self.dsn], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return figures

    def rows(self, sql: str, *arguments: Any) -> list[dict[str, Any]]:
        """Rows of the database."""
        return asyncio.run(_rows(self.dsn, sql, arguments))


    def execute(self, *statements: str, arguments: Sequence[Any] = ()) -> None:
        """Run statements on the database one by one, each a transaction of its own, for as long as they take."""
        asyncio.run(_execute(self.dsn, statements, arguments))


def apart(work: Callable[..., Answer], *arguments: Any) -> Answer:
    """What `work` gives, in a process of its own: Ray keeps the token of the first cluster that a process starts."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


async def _execute(dsn: str, statements: Sequence[str], arguments: Sequence[Any]) -> None:
    pool = await open_pool(dsn, size_max=1)
    try:
        for statement in statements:
            await pool.execute(statement, *arguments, timeout=STATEMENT_TIMEOUT_S)
    finally:
        await pool.close()


async def _rows(dsn: str, sql: str, arguments: tuple[Any, ...]) -> list[dict[str, Any]]:
    pool = await open_pool(dsn, size_max=1)
    try:
        return [dict(row) for row in await pool.fetch(sql, *arguments)]
    finally:
        await pool.close()


async def _wait_for(dsn: str, order_ids: list[str]) -> dict[str, float]:
    """When each order ended (seconds since 1970); waits for the last."""
    pool = await open_pool(dsn, size_max=1)
    try:
        deadline = time.monotonic() + END_TIMEOUT_S
        ended: dict[str, datetime] = {}
        while left := [order_id for order_id in order_ids if order_id not in ended]:
            ended |= await ended_since(pool, left)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(order_ids) - len(ended)} orders did not end")
            await asyncio.sleep(POLL_S)
        return {order_id: at.timestamp() for order_id, at in ended.items()}
    finally:
        await pool.close()
