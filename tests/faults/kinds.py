"""The kinds of real faults, as a table: what strikes, how it is lifted, and what is expected of the victim."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

import asyncpg

from domain.turn import DEADLINE_GRACE_S
from tests.faults.processes import Process, descendants
from tests.faults.rogue import CallbackMode, Mode
from tests.faults.scene import TIMEOUT_S, Scene, Setup
from tests.support.until import until

Strike = Callable[[Scene], Awaitable[list[Process]]]
"""Lets the fault strike, lifts it, and gives the processes it struck."""
Expected = Literal["replaced", "goes on", "started again", "nobody dies"]
"""What becomes of the victims: others take their place, they go on themselves, the whole cluster is started again by
hand, or nobody of ours is the victim.
"""
FENCED_S: Final = 60.0
CALLS_PASSED_MAX: Final = 20
"""So many calls may pass before the next one's system begins to misbehave."""


@dataclass(frozen=True)
class Kind:
    """One row of the table. `lifted` says how it ends."""

    name: str
    what: str
    lifted: str
    expected: Expected
    strike: Strike
    setup: Setup = "one node"


async def last_s(scene: Scene, least_s: float, most_s: float) -> None:
    """Let a fault last for a drawn time. The time is the fault itself: there is no condition to wait for."""
    await asyncio.sleep(scene.random.uniform(least_s, most_s))


# Processes of the product.


def kill(victim: str) -> Strike:
    async def strike(scene: Scene) -> list[Process]:
        found = await scene.find(victim)
        await scene.aim()
        found.send(signal.SIGKILL)
        return [found]

    return strike


async def kill_all_hosts(scene: Scene) -> list[Process]:
    hosts = list((await scene.hosts()).values())
    await scene.aim()
    for each in hosts:
        each.send(signal.SIGKILL)
    return hosts


def pause(victim: str, least_s: float = 2.0, most_s: float = 6.0) -> Strike:
    """SIGSTOP, and SIGCONT after a drawn time."""

    async def strike(scene: Scene) -> list[Process]:
        found = await scene.find(victim)
        await scene.aim()
        found.send(signal.SIGSTOP)
        try:
            await last_s(scene, least_s, most_s)
        finally:
            found.send(signal.SIGCONT)
        return [found]

    return strike


def stand_still(point: str) -> Strike:
    """A host stands still at a point of its commit until it has been replaced; then it is woken up."""

    async def strike(scene: Scene) -> list[Process]:
        incarnation, host = scene.random.choice(sorted((await scene.hosts()).items()))
        if point == "idle":
            await scene.aim()
            host.send(signal.SIGSTOP)
        else:
            (scene.folder / "faults" / f"{incarnation}.{point}").touch()
            await until(lambda: host.state in ("T", ""), 30, 0.002)
            await scene.aim()

        async def is_fenced() -> bool:
            rows = await scene.target.rows("select state from incarnation where incarnation_id = $1", incarnation)
            return bool(rows[0]["state"] == "fenced")

        try:
            await until(is_fenced, FENCED_S)
        finally:
            host.send(signal.SIGCONT)
        return [host]

    return strike


# Ray and machines.


def kill_for_good(victim: str) -> Strike:
    """What a single node cannot do without and nobody starts again (the raylet; Ray's control service, which has no
    store of its own): the cluster has to be started again on the same data.
    """

    async def strike(scene: Scene) -> list[Process]:
        everything = scene.processes()
        found = await scene.find(victim)
        await scene.aim()
        found.send(signal.SIGKILL)
        await last_s(scene, 0.3, 1.5)
        await scene.kill_cluster(everything)
        await scene.start_cluster()
        return [found]

    return strike


async def kill_everything(scene: Scene) -> list[Process]:
    everything = scene.processes()
    await scene.aim()
    await scene.kill_cluster(everything)
    await scene.start_cluster()
    return everything


async def stay_away(scene: Scene) -> list[Process]:
    """Everything is gone for longer than a call may take: no answer is heard in its time."""
    everything = scene.processes()
    await scene.aim()
    await scene.kill_cluster(everything)
    await last_s(scene, TIMEOUT_S + DEADLINE_GRACE_S, TIMEOUT_S + DEADLINE_GRACE_S + 4.0)
    await scene.start_cluster()
    return everything


async def remove_node(scene: Scene) -> list[Process]:
    """A worker node with at least one of our actors dies; a new one joins."""
    assert scene.nodes is not None
    ours = set((await scene.target.pids()).values())
    bearing = {
        node.node_id: [each for each in node.processes() if each.pid in ours]
        for node in scene.nodes.nodes
        if not node.is_head
    }
    node_id = scene.random.choice([each for each, actors in bearing.items() if actors])
    await scene.aim()
    await asyncio.to_thread(scene.nodes.ask, f"remove {node_id}")
    await asyncio.to_thread(scene.nodes.ask, "add")
    return bearing[node_id]


async def lose_head_node(scene: Scene) -> list[Process]:
    """The head's machine dies, the database's with it, while the hosts on worker nodes live on; a new cluster starts on
    the same data. What was left of the old one finds itself fenced.
    """
    assert scene.nodes is not None
    old = scene.nodes
    everything = scene.processes()
    hosts = {process.pid for process in (await scene.hosts()).values()}
    others = set((await scene.target.pids()).values()) - hosts
    workers = [each for node in old.nodes if not node.is_head for each in node.processes()]
    # Ray ends a host whose raylet, or what that hangs on, is gone: all of a worker node but our other actors lives on.
    left = [each for each in workers if each.pid not in others]
    await scene.aim()
    await scene.kill_cluster(everything, spared=[*left, *scene.holder()])
    try:
        await scene.start_nodes()
        outlived = [each for each in left if each.pid in hosts and each.is_alive]
        scene.notes["hosts that outlived their cluster"] += len(outlived)
        await scene.start_cluster()
        await until(lambda: not any(each.is_alive for each in outlived), 90)
    finally:
        for each in left:
            each.send(signal.SIGKILL)
        old.stop()
    return everything


# PostgreSQL. Its server is a child of the process that brought the cluster up, which starts it again.


async def restart_postgres(scene: Scene) -> list[Process]:
    server = await scene.find("postgres")
    await scene.aim()
    server.send(signal.SIGINT)
    return [server]


async def pause_postgres(scene: Scene) -> list[Process]:
    """The whole server stands still, every backend included: connections hang instead of breaking."""
    server = await scene.find("postgres")
    await scene.aim()
    server.send(signal.SIGSTOP)
    everything = [server, *descendants(server.pid)]
    for each in everything:
        each.send(signal.SIGSTOP)
    try:
        await last_s(scene, 3.0, 8.0)
    finally:
        for each in reversed(everything):
            each.send(signal.SIGCONT)
    return [server]


async def cut_connections(scene: Scene) -> list[Process]:
    """Every connection is cut by the server at once, wherever its statement stands."""
    await scene.aim()
    await scene.target.rows(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity "
        "where pid <> pg_backend_pid() and usename = current_user"
    )
    return []


async def fill_disk(scene: Scene) -> list[Process]:
    assert scene.disk is not None
    await scene.aim()
    await asyncio.to_thread(scene.disk.fill)
    try:
        await until(lambda: _has_met_full_disk(scene), 60)
        await last_s(scene, 5.0, 10.0)
    finally:
        scene.disk.clear()
    return []


async def _has_met_full_disk(scene: Scene) -> bool:
    """Whether the server itself says that there is no space, to a client like any other."""
    try:
        connection = await asyncpg.connect(scene.running.dsn, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return False
    try:
        await connection.execute("create temporary table probe as select generate_series(1, 100000)")
    except asyncpg.DiskFullError:
        return True
    finally:
        connection.terminate()
    return False


# Remotes.


def misbehave(mode: Mode) -> Strike:
    async def strike(scene: Scene) -> list[Process]:
        passed = scene.random.randrange(CALLS_PASSED_MAX)
        before = scene.rogue.mischief[mode]
        await scene.aim()
        scene.rogue.misbehave(passed, mode)
        try:
            # Longer than a call's deadline, so that it is met; and until somebody has met it at all.
            await last_s(scene, 7.0, 10.0)
            await until(lambda: scene.rogue.mischief[mode] > before, 30)
        finally:
            scene.rogue.behave_well()
        return []

    return strike


def call_back(mode: CallbackMode) -> Strike:
    async def strike(scene: Scene) -> list[Process]:
        before = scene.rogue.mischief[f"callback {mode}"]
        await scene.aim()
        scene.rogue.misbehave_in_callbacks(mode)
        try:
            await last_s(scene, 9.0, 12.0)
            await until(lambda: scene.rogue.mischief[f"callback {mode}"] > before, 30)
        finally:
            scene.rogue.behave_well()
        return []

    return strike


RAY_AGAIN = "Ray's supervisor starts it again"
CONT = "SIGCONT after 2 to 6 s"
WOKEN = "SIGCONT once its shards are elsewhere"
BY_HAND = "started again on the same data"
ENDS = "after 7 to 10 s"
LATER = "after 9 to 12 s"

KINDS: Final[tuple[Kind, ...]] = (
    Kind("kill-host", "kill -9 of a plan host", "the director starts another", "replaced", kill("host")),
    Kind("kill-all-hosts", "kill -9 of all plan hosts", "the director starts others", "replaced", kill_all_hosts),
    Kind("kill-adapters", "kill -9 of the adapter actor", RAY_AGAIN, "replaced", kill("adapters")),
    Kind("kill-gateway", "kill -9 of the gateway", RAY_AGAIN, "replaced", kill("gateway")),
    Kind("kill-director", "kill -9 of the director", RAY_AGAIN, "replaced", kill("director")),
    Kind("kill-people", "kill -9 of the people actor", RAY_AGAIN, "replaced", kill("people")),
    Kind("kill-notifier", "kill -9 of the notifier", RAY_AGAIN, "replaced", kill("notifier")),
    Kind("kill-predictor", "kill -9 of the delay predictor", RAY_AGAIN, "replaced", kill("predictor")),
    Kind("pause-host", "a plan host stands still", CONT, "goes on", pause("host")),
    Kind("stop-host-idle", "a plan host stands still, idle", WOKEN, "replaced", stand_still("idle")),
    Kind("stop-host-checked", "... after its epoch check", WOKEN, "replaced", stand_still("checked")),
    Kind("stop-host-copying", "... inside COPY", WOKEN, "replaced", stand_still("copying")),
    Kind("stop-host-committing", "... before COMMIT", WOKEN, "replaced", stand_still("committing")),
    Kind("pause-adapters", "the adapter actor stands still", CONT, "goes on", pause("adapters")),
    Kind("pause-gateway", "the gateway stands still", CONT, "goes on", pause("gateway")),
    Kind("pause-director", "the director stands still", CONT, "goes on", pause("director")),
    Kind("pause-people", "the people actor stands still", CONT, "goes on", pause("people")),
    Kind("pause-notifier", "the notifier stands still", CONT, "goes on", pause("notifier")),
    Kind("pause-predictor", "the delay predictor stands still", CONT, "goes on", pause("predictor")),
    Kind("pause-raylet", "the raylet stands still", CONT, "goes on", pause("raylet")),
    Kind("pause-head", "Ray's control service stands still", CONT, "goes on", pause("gcs")),
    Kind("postgres-restart", "PostgreSQL stops fast", "its supervisor starts it again", "replaced", restart_postgres),
    Kind("postgres-kill", "kill -9 of PostgreSQL", "its supervisor starts it again", "replaced", kill("postgres")),
    Kind("postgres-pause", "PostgreSQL stands still", "SIGCONT after 3 to 8 s", "goes on", pause_postgres),
    Kind("postgres-cut", "all database connections cut", "they are opened again", "nobody dies", cut_connections),
    Kind(
        "postgres-disk-full",
        "PostgreSQL's disk is full",
        "space 5 to 10 s after it was noticed",
        "nobody dies",
        fill_disk,
        "small disk",
    ),
    Kind("remote-hangs", "a remote never answers", ENDS, "nobody dies", misbehave("hang")),
    Kind("remote-drips", "a remote answers five bytes a second", ENDS, "nobody dies", misbehave("drip")),
    Kind("remote-garbage", "a remote answers rubbish", ENDS, "nobody dies", misbehave("garbage")),
    Kind("remote-10mb", "a remote answers 10 MB", ENDS, "nobody dies", misbehave("big")),
    Kind("remote-cuts", "a remote cuts off in the middle of its answer", ENDS, "nobody dies", misbehave("cut")),
    Kind("callbacks-repeated", "every callback comes three times", LATER, "nobody dies", call_back("twice")),
    Kind("callbacks-late", "callbacks come after their deadline", LATER, "nobody dies", call_back("late")),
    Kind("kill-cluster", "kill -9 of every process, database included", BY_HAND, "started again", kill_everything),
    Kind("cluster-away", "... and away for longer than calls may take", BY_HAND, "started again", stay_away),
    Kind("kill-raylet", "kill -9 of the only raylet", BY_HAND, "started again", kill_for_good("raylet")),
    Kind("kill-head", "kill -9 of Ray's control service", BY_HAND, "started again", kill_for_good("gcs")),
    Kind("node-removed", "a worker node dies", "another one joins", "replaced", remove_node, "three nodes"),
    Kind(
        "head-node-lost",
        "the head's machine is lost, hosts on others live on",
        BY_HAND,
        "started again",
        lose_head_node,
        "three nodes",
    ),
)
