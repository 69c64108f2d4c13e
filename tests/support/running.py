"""A running cluster and its stand-ins, seen from outside: over HTTP, through the stand-ins' log, in the database."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.folders import IN_MEMORY

TMF622 = "/tmf-api/productOrderingManagement/v4/productOrder"
TMF637 = "/tmf-api/productInventory/v4/product"
BOUND_S = 60.0


@dataclass(frozen=True)
class Running:
    """Where everything is."""

    url: str
    dsn: str
    key_dsn: str
    standins: str
    calls_log: Path
    data: Path

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """(status, decoded answer) of one request to the gateway."""
        return request(method, self.url + path, body, **headers)

    def ok(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The answer of a request that must succeed."""
        status, answer = self.call(method, path, body, **headers)
        assert status < 300, (method, path, status, answer)
        return answer

    def submit(self, document: Any, **headers: str) -> str:
        """Submit an order; returns its id."""
        order = self.ok("POST", TMF622, document, **headers)
        order_id: str = order["id"]
        return order_id

    def ended(self, order_id: str) -> dict[str, Any]:
        """The order's summary once it has ended."""
        found: dict[str, Any] = until(
            lambda: self.ok("GET", f"/v1/orders/{order_id}"), lambda order: order["endedAt"] is not None
        )
        return found

    def products(self, account: str) -> dict[str, str]:
        """Product ids of an account by specification name."""
        listed = self.ok("GET", f"{TMF637}?billingAccount.id={account}&limit=1000")
        return {each["productSpecification"]["name"]: each["id"] for each in listed}

    def behave(self, **behaviour: Any) -> None:
        """Change how the stand-ins behave."""
        request("POST", self.standins + "/_behaviour", behaviour)

    def calls(self, order_id: str) -> list[dict[str, Any]]:
        """What the stand-ins were asked for an order, in order."""
        _, found = request("GET", f"{self.standins}/_calls?order={order_id}")
        calls: list[dict[str, Any]] = found["calls"] if isinstance(found, dict) else found
        return calls


def request(method: str, url: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """(status, decoded answer); `body` is JSON, or bytes as they are."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    made = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json", **named})
    try:
        with urllib.request.urlopen(made, timeout=BOUND_S) as answer:
            return answer.status, _decoded(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, _decoded(error.read())


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return raw.decode(errors="replace")


def until(read: Callable[[], Any], holds: Callable[[Any], bool], bound_s: float = BOUND_S) -> Any:
    """What `read` gives as soon as `holds` says yes of it; bounded polling on a condition, not a wait by the clock."""
    deadline = time.monotonic() + bound_s
    while True:
        found = read()
        if holds(found):
            return found
        assert time.monotonic() < deadline, f"did not come true in {bound_s} s: {str(found)[:500]}"
        time.sleep(0.02)


@contextmanager
def running_cluster(
    plan_hosts: int = 2,
    *,
    faults: bool = False,
    delay_ms: float = 0,
    delay_model: str = "",
    paused: bool = False,
    databases: tuple[str, str] | None = None,
    in_memory: bool = True,
) -> Iterator[Running]:
    """Start a cluster and the stand-ins as processes of their own; both are ended here.

    Args:
        plan_hosts: how many.
        faults: hosts stop themselves where a file in `data / "faults"` asks for it.
        delay_ms: how long a call to a stand-in takes.
        delay_model: a delay model of the test's own, by its address.
        paused: no call leaves until systems are released.
        databases: URLs of the order database and the key store; without them the cluster has a server of its own.
        in_memory: its files stand there, if there is room; not for measuring.
    """
    with tempfile.TemporaryDirectory(prefix="op-", dir=IN_MEMORY if in_memory else None) as folder:
        data = Path(folder)
        data.chmod(0o755)
        log = data / "calls.ndjson"
        options = ["--port", "0", "--log", str(log), "--delay-ms", str(delay_ms)]
        standins = start_process([sys.executable, "-m", "examples.standins", *options], data / "standins")
        try:
            place = first_line(standins).split()[1]
            options = ["--data", str(data), "--plan-hosts", str(plan_hosts)]
            if paused:
                options.append("--paused")
            if delay_model:
                options += ["--delay-model", delay_model]
            if databases is not None:
                options += ["--database-url", databases[0], "--key-database-url", databases[1]]
            if faults:
                (data / "faults").mkdir()
                options += ["--faults", str(data / "faults")]
            cluster = start_process([sys.executable, "-m", "tests.support.serve", *options], data / "cluster")
            try:
                said = json.loads(first_line(cluster))
                yield Running(said["url"], said["dsn"], said["keyDsn"], place, log, data)
            finally:
                assert cluster.stdin is not None
                cluster.stdin.close()
                cluster.wait(60)
                assert cluster.stdout is not None
                cluster.stdout.close()
        finally:
            standins.terminate()
            standins.wait(20)
            for pipe in (standins.stdin, standins.stdout):
                assert pipe is not None
                pipe.close()


def start_process(command: list[str], errors: Path) -> subprocess.Popen[str]:
    """Start a process whose input and output are pipes; what it complains of goes to a file."""
    with errors.with_suffix(".err").open("a") as stderr:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True)


def first_line(process: subprocess.Popen[str]) -> str:
    """The line that says where the process serves; whatever it prints before is passed over."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(("{", "ready ")):
            return line
    raise AssertionError(f"{process.args!r} ended before it was ready")
