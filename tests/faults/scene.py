"""Where a fault strikes: stand-ins behind a rogue proxy, a cluster on a folder of its own, channels and people at work.

The cluster may be killed and started again on the same data; its gateway's port stays. Orders of two kinds are under
way: the own-mobile example (four calls), and visits (a person's task, a call that is answered by callback, a call).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import aiohttp
import yaml
from yarl import URL

from adapters.importers.tmf620 import import_tmf620
from orderplan.cluster import free_port
from orderplan.demo.own_mobile import Customer, add
from tests.faults.disk import SmallDisk
from tests.faults.harness import Range, expected_edges
from tests.faults.nodes import RayNodes
from tests.faults.processes import Process, descendants, mine, process
from tests.faults.rogue import Rogue
from tests.support import own_mobile
from tests.support.build import callout, depends, manual, plan_of, scenario
from tests.support.running import Running, first_line, start_process
from tests.support.until import until

Setup = Literal["one node", "three nodes", "small disk"]
MOBILE_ORDERS: Final = 110
VISITS: Final = 30
ORDERS_S: Final = 50.0
DELAY_MS: Final = 800
"""How long each call takes: most orders are on their way when something happens."""
HOSTS: Final = 2
PEOPLE: Final = ("ann", "bob")
LEASE_S: Final = 4.0
"""Short, so that a claim whose answer was lost comes free again."""
HUB: Final = "/tmf-api/productOrderingManagement/v4/hub"
SYSTEMS: Final = ("inventory", "activation", "billing", "workforce")
RETRY: Final = {"code": "standard", "attemptsMax": 12, "delaysS": [1, 2, 4]}
TIMEOUT_S: Final = 6
EDGES: Final = {
    "mobile": expected_edges(),
    "visit": [["visit", "visit/survey@1"], ["bill", "visit"]],
}
END_S: Final = 150.0
ACTORS: Final = ("gateway", "director", "adapters", "people", "predictor", "notifier")


class Scene:
    """Use as an async context manager; `running` says where everything is."""

    def __init__(self, folder: Path, setup: Setup, seed: int) -> None:
        self.folder = folder
        self.setup = setup
        self.random = random.Random(seed)
        self.nodes: RayNodes | None = None
        self.disk = SmallDisk(folder / "postgres") if setup == "small disk" else None
        self.rogue: Rogue
        self.running: Running
        self.target: Range
        self.fault_at = ""
        self.in_flight: set[str] = set()
        self.sent_of_run: list[str] = []
        self.starts = 0
        self.notes: Counter[str] = Counter()
        """What a strike counted, for the table."""
        self._port = free_port()
        self._cluster: subprocess.Popen[str] | None = None
        self._standins = ""
        self._customers = 0
        self._opened = AsyncExitStack()

    async def __aenter__(self) -> Scene:
        try:
            await self._open()
        except BaseException:
            await self._opened.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    async def _open(self) -> None:
        self.folder.chmod(0o755)
        (self.folder / "faults").mkdir()
        log = self.folder / "calls.ndjson"
        options = ["--port", "0", "--log", str(log), "--delay-ms", str(DELAY_MS)]
        standins = start_process([sys.executable, "-m", "examples.standins", *options], self.folder / "standins")
        self._opened.callback(_end, standins)
        self._standins = (await asyncio.to_thread(first_line, standins)).split()[1]
        self.rogue = await self._opened.enter_async_context(Rogue(self._standins, self.random.getrandbits(32)))
        if self.disk is not None:
            self._opened.enter_context(self.disk)
        self._opened.callback(self._stop_nodes)
        if self.setup == "three nodes":
            await self.start_nodes()
        self._opened.push_async_callback(self.kill_cluster)
        await self.start_cluster()
        self.target = Range(self.running, seed=0)
        self._publish()
        for name in PEOPLE:
            working = asyncio.create_task(self._work(name))
            self._opened.push_async_callback(_cancel, working)

    # The cluster.

    async def start_nodes(self) -> None:
        """Start the nodes of a Ray cluster of its own, beside those of an earlier one."""
        self.nodes = RayNodes(self.folder / "nodes")
        await asyncio.to_thread(self.nodes.start)

    def _stop_nodes(self) -> None:
        if self.nodes is not None:
            self.nodes.stop()

    def holder(self) -> list[Process]:
        """The process above the nodes, if there are nodes."""
        return [mine(self.nodes.pid)] if self.nodes is not None else []

    async def start_cluster(self) -> None:
        """Start it, on whatever stands in the folder."""
        options = ["--data", str(self.folder), "--port", str(self._port), "--plan-hosts", str(HOSTS)]
        options += ["--faults", str(self.folder / "faults")]
        if self.nodes is not None:
            options += ["--address", self.nodes.address]
        command = [sys.executable, "-m", "tests.support.serve", *options]
        self._cluster = start_process(command, self.folder / "cluster")
        try:
            said = json.loads(await asyncio.to_thread(first_line, self._cluster))
        except AssertionError as error:
            error.add_note((self.folder / "cluster.err").read_text()[-3_000:])
            raise
        log = self.folder / "calls.ndjson"
        self.running = Running(said["url"], said["dsn"], said["keyDsn"], self._standins, log, self.folder)
        self.starts += 1

    def processes(self) -> list[Process]:
        """Every process of the cluster, Ray's own and the database's among them; what runs the nodes too."""
        assert self._cluster is not None
        roots = [self._cluster.pid, *((self.nodes.pid,) if self.nodes is not None else ())]
        found = [each for pid in roots if (each := process(pid)) is not None]
        return found + [each for pid in roots for each in descendants(pid)]

    async def kill_cluster(self, victims: Sequence[Process] = (), *, spared: Sequence[Process] = ()) -> None:
        """Kill -9 every process of the cluster.

        Args:
            victims: processes that were listed before some of them lost their parents.
            spared: not these.
        """
        if self._cluster is None:
            return
        listed = [*victims, *self.processes()]
        # Nobody can start another process while the list is made.
        for each in listed:
            if "raylet" in each.command:
                each.send(signal.SIGSTOP)
        found = {*listed, *self.processes()} - set(spared)
        for each in found:
            each.send(signal.SIGKILL)
        for each in spared:
            each.send(signal.SIGCONT)
        self._cluster.wait()
        for pipe in (self._cluster.stdin, self._cluster.stdout):
            assert pipe is not None
            pipe.close()
        self._cluster = None
        await until(lambda: not any(each.is_alive for each in found), 30)

    # Who and what is there.

    async def find(self, victim: str) -> Process:
        """The process of an actor, of `host` (drawn), `postgres`, `raylet` or `gcs`."""
        if victim in ("raylet", "gcs"):
            name = {"raylet": "raylet/raylet", "gcs": "gcs/gcs_server"}[victim]
            return next(each for each in self.processes() if name in each.command.split(" ")[0])
        self.target.random = self.random
        return mine(await self.target.find(victim))

    async def hosts(self) -> dict[str, Process]:
        """The hosts by incarnation, when there are as many as wanted."""

        async def all_there() -> dict[str, int]:
            pids = await self.target.pids()
            found = {name.removeprefix("host-"): pid for name, pid in pids.items() if name.startswith("host-")}
            return found if len(found) == HOSTS else {}

        found: dict[str, int] = await until(all_there, 90)
        return {incarnation: mine(pid) for incarnation, pid in found.items()}

    async def is_whole(self) -> bool:
        """Whether every actor answers, and every shard has a living owner."""
        pids = await self.target.pids()
        if set(ACTORS) - pids.keys() or sum(name.startswith("host-") for name in pids) != HOSTS:
            return False
        rows = await self.target.rows(
            "select count(*) as homeless from shard as s left join incarnation as i using (incarnation_id) "
            "where not s.is_dedicated and i.state is distinct from 'living'"
        )
        return bool(rows[0]["homeless"] == 0)

    async def aim(self) -> None:
        """Note what is in flight, and the moment. The fault strikes next."""
        rows = await self.target.rows("select external_id from product_order where ended_at is not null")
        self.in_flight = self.target.client.sent - {row["external_id"] for row in rows}
        self.fault_at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

    # Work.

    def orders(self, run: str, mobile: int = MOBILE_ORDERS, visits: int = VISITS) -> list[dict[str, Any]]:
        """Orders of new customers, in a drawn order."""
        sample = own_mobile.add_order()
        made = []
        for number in range(mobile):
            self._customers += 1
            made.append(add(sample, Customer(self._customers), f"mobile-{run}-{number}"))
        for number in range(visits):
            line = {"id": "1", "action": "add", "product": {"productSpecification": {"id": "visit"}}}
            name = f"visit-{run}-{number}"
            made.append({"externalId": name, "billingAccount": {"id": name}, "productOrderItem": [line]})
        self.random.shuffle(made)
        return made

    async def under_fault(
        self, documents: list[dict[str, Any]], progress: float, strike: Callable[[Scene], Awaitable[None]]
    ) -> None:
        """Send the orders, let the fault strike when so much of the way is gone, and wait until all have ended."""
        client = self.target.client
        names = [document["externalId"] for document in documents]
        self.sent_of_run = names
        sending = asyncio.create_task(client.send_all(documents, ORDERS_S))
        try:
            await until(lambda: self._reached(names, progress), 60)
            await strike(self)
            await sending
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        await until(lambda: self._reached(names, 1.0), END_S, 0.2)

    async def _reached(self, names: list[str], progress: float) -> bool:
        rows = await self.target.rows(
            "select count(*) as ended from product_order where external_id = any($1) and ended_at is not null", names
        )
        acknowledged = sum(name in self.target.client.acknowledged for name in names)
        refused = len(self.target.client.refused)
        return acknowledged + int(rows[0]["ended"]) >= progress * 2 * len(names) - 2 * refused

    def untold(self) -> set[str]:
        """Orders of this run whose completion the channel's listener was not told."""
        acknowledged = self.target.client.acknowledged
        return {acknowledged[name] for name in self.sent_of_run if name in acknowledged} - self.rogue.told_completed

    async def _work(self, worker: str) -> None:
        """Take a task, do it, take the next; whatever happens."""
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(timeout=timeout, headers={"X-User": worker}) as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                    task = await self._post(session, "/v1/tasks:next", {"worker": worker, "leaseS": LEASE_S})
                    if task is not None:
                        path = f"/v1/tasks/{task['id'].replace('/', '%2F')}:complete"
                        await self._post(session, path, {"worker": worker, "data": {}})
                        continue
                await asyncio.sleep(0.2)

    async def _post(self, session: aiohttp.ClientSession, path: str, body: Any) -> Any:
        url = URL(self.running.url + path, encoded=True)
        async with session.post(url, json=body) as answer:
            return await answer.json(content_type=None) if answer.status == 200 else None

    def _publish(self) -> None:
        self.running.ok("POST", "/v1/releases:publish", release())
        self.running.ok("POST", HUB, {"callback": f"{self.rogue.url}/channel"})
        for system in SYSTEMS:
            config = {"url": f"{self.rogue.url}/{system}", "connections": 1_000}
            self.running.ok("PUT", f"/v1/systems/{system}", {"adapter": "http", "config": config, "concurrency": 1_000})


def release() -> dict[str, Any]:
    """The own-mobile catalogue, and visits beside it."""
    bindings = yaml.safe_load((own_mobile.FOLDER / "bindings.yaml").read_text())
    bindings |= {"retry": RETRY, "timeoutS": TIMEOUT_S}
    imported, _ = import_tmf620(own_mobile.read("own-mobile-catalogue.json"), bindings, "1")
    document: dict[str, Any] = imported.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    common = {"retry": RETRY["code"], "timeoutS": TIMEOUT_S}
    plan = plan_of(
        "visit",
        manual("survey", queue="field"),
        callout("visit", system="workforce", operation="async-visit", **common),
        callout("bill", system="billing", operation="charge", **common),
    )
    added: dict[str, list[Any]] = {
        "products": [{"code": "visit", "attributes": [{"name": "technician"}]}],
        "systems": [{"code": "workforce"}],
        "queues": [{"code": "field"}],
        "plans": [plan],
        "dependencies": [depends("visit/visit", "visit/survey"), depends("visit/bill", "visit/visit")],
        "scenarios": [scenario("visit", "visit")],
    }
    for part, members in added.items():
        document.setdefault(part, []).extend(members)
    return document


def _end(started: subprocess.Popen[str]) -> None:
    started.terminate()
    started.wait(20)
    for pipe in (started.stdin, started.stdout):
        assert pipe is not None
        pipe.close()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


