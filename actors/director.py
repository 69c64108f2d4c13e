"""The director: keeps the wanted number of plan hosts alive and every shard owned by one of them.

It holds no state of its own: who lives and who owns what are rows, changed by compare-and-set only. So it may be
killed at any moment, and two of them are harmless. Senders live on their last routing table while it is away.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, Final

import structlog

from actors.config import ClusterConfig
from actors.dedicated import DedicatedHosts
from actors.plan_host import PlanHost
from actors.ports import FleetPort, OwnershipPort
from actors.process import prepare_process
from actors.remote import handle_of, is_dead, is_remote_failure, kill_actor, start_actor
from domain.errors import NotFound, OrderplanError
from persistence.database import is_unavailable, open_pool
from persistence.incarnations import SILENT_MAX_S, Assignment, Incarnation, Ownership, balance

log = structlog.get_logger(__name__)

CHECK_S: Final = 0.5
PING_TIMEOUT_S: Final = 2.0
START_TIMEOUT_S: Final = 60.0
DRAIN_TIMEOUT_S: Final = 20.0
"""For a host to finish what it has when the cluster stops."""
CALL_TIMEOUT_S: Final = 10.0
"""For adopting, giving away, draining: a host that takes longer is asked again, so that it does not blind the
director.
"""
REFUSALS_MAX: Final = 40
"""So often in a row, one a check, a host may answer such a call with an error of its own. Then it is ended, because
only its end moves shards that it does not take up; not sooner, because its successor may fare no better with them.
"""


class NotDrained(OrderplanError):
    """A host has not finished in time: what it had under way is done again by its successor."""

    status = 503
    code = "notDrained"


class Watch:
    """The whole of the director, plain asyncio; wrapped by the Ray actor below.

    `open_table` connects to the table of owners, `new_id` names an incarnation.
    """

    def __init__(
        self,
        open_table: Callable[[], Awaitable[OwnershipPort]],
        fleet: FleetPort,
        wanted: int,
        *,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex[:12],
    ) -> None:
        self._open_table = open_table
        self._opened: OwnershipPort | None = None
        self._fleet = fleet
        self._new_id = new_id
        self._is_stopping = False
        self.wanted = wanted
        self._adopted: dict[str, frozenset[int]] = {}
        self._dedicated = DedicatedHosts(self._start_host, self._give_away, self._adopt, self._retire)
        self._ordinary: list[str] = []
        """Living hosts, those of dedicated plans apart, as the last check found them."""
        self._leaving: dict[str, None] = {}
        """Hosts that are to be replaced, the next one first."""
        self._refusals: dict[str, int] = {}
        """Errors in a row with which a host has answered, other than that a database is away."""
        self.takeovers = 0
        self.restarts = 0
        self._reached_since: float | None = None
        """Since when (on the loop's clock) the database answers without interruption."""

    @property
    def _table(self) -> OwnershipPort:
        assert self._opened is not None, "the watch opens it"
        return self._opened

    async def ready(self) -> bool:
        """Whether every shard has a living owner that has adopted it."""
        if self._opened is None:
            return False
        table = await self._opened.assignments()
        return all(each.incarnation_id is not None and self._has_adopted(each) for each in table)

    def _has_adopted(self, each: Assignment) -> bool:
        return each.shard in self._adopted.get(each.incarnation_id or "", frozenset())

    async def drain(self) -> None:
        """Let every host finish what it has. Stop watching first."""
        if self._opened is not None:
            await asyncio.gather(*(self._drain(each.incarnation_id) for each in await self._table.living()))

    async def _drain(self, host: str) -> None:
        handle = self._fleet.handle(host)
        if handle is None:
            return
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                await handle.drain.remote()
        except Exception as error:
            if not (is_remote_failure(error) or isinstance(error, TimeoutError)):
                raise
            log.warning("a host did not drain", host=host, error=str(error))
            raise NotDrained(f"host {host} has not finished what it had") from error

    def restart(self, host: str | None = None) -> list[str]:
        """Replace a host, or all of them, one after another; returns those that will be.

        Raises:
            NotFound: no such host lives, or it is one of a dedicated plan, which ends with its order.
        """
        if host is not None and host not in (*self._ordinary, *self._leaving):
            raise NotFound(f"there is no plan host {host!r}", mend="GET /v1/cluster names them")
        wanted = self._ordinary if host is None else [host]
        self._leaving.update(dict.fromkeys(wanted))
        return list(wanted)

    def restarting(self) -> int:
        """How many hosts are still to be replaced."""
        return len(self._leaving)

    def stop(self) -> None:
        """Return from `run` after the check under way."""
        self._is_stopping = True

    async def run(self) -> None:
        """Watch until stopped."""
        while not self._is_stopping:
            try:
                if self._opened is None:
                    self._opened = await self._open_table()
                await self._check()
            except Exception as error:
                if is_unavailable(error):
                    self._reached_since = None
                    log.warning("the database is away, nothing can be decided", error=str(error))
                else:
                    log.exception("the director's check failed; it is made again")
            await asyncio.sleep(CHECK_S)

    async def _check(self) -> None:
        """One look at everything: end the dead and the hung, move their shards, start what is missing, even out."""
        living = await self._table.living()
        if self._reached_since is None:
            # Whatever fails in this check besides: the database has answered.
            self._reached_since = asyncio.get_running_loop().time()
        answers = await asyncio.gather(*(self._is_well(each) for each in living))
        well: list[str] = []
        dedicated: dict[str, int] = {}
        for each, is_well in zip(living, answers, strict=True):
            if not is_well:
                await self._end(each)
            elif each.dedicated_shard is not None:
                dedicated[each.incarnation_id] = each.dedicated_shard
            else:
                well.append(each.incarnation_id)
        leaver = self._next_leaver(well)
        if leaver is not None:
            # The last in line is the one too many, once its successor is there.
            well.sort(key=lambda host: host == leaver)
        await self._place(well, dedicated)
        missing = self.wanted - len(well) + (leaver is not None)
        if missing > 0:
            started = await asyncio.gather(*(self._start_host() for _ in range(missing)))
            # Only hosts that answered in this check get shards: a row alone may be that of a host that failed to start.
            well[:0] = [incarnation_id for incarnation_id in started if incarnation_id is not None]
            await self._place(well, dedicated)
        kept = well[: self.wanted]
        self._ordinary = kept
        await self._dedicated.check(await self._table.assignments(), dedicated, kept)
        await self._even_out(kept)
        owners = {each.incarnation_id for each in await self._table.assignments()}
        for surplus in well[self.wanted :]:
            # One that could not give everything away is asked again first: its shards must never be without an owner.
            if surplus not in owners:
                await self._retire(surplus)

    def _next_leaver(self, well: list[str]) -> str | None:
        """The host that is replaced now; one that has gone by itself is replaced already."""
        for host in list(self._leaving):
            if host in well:
                return host
            del self._leaving[host]
            self.restarts += 1
        return None

    async def _is_well(self, each: Incarnation) -> bool:
        """False when the process is dead, silent or refusing for too long. Slow is not dead."""
        if self._refusals.get(each.incarnation_id, 0) >= REFUSALS_MAX:
            return False
        handle = self._fleet.handle(each.incarnation_id)
        if handle is None:
            # Ray takes the name away with the process, and an actor has its name before it can register: nobody is
            # only just being born.
            return False
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                await handle.ping.remote()
        except TimeoutError:
            return not self._is_silent(each)
        except Exception as error:
            if is_dead(error):
                return False
            if not is_remote_failure(error):
                log.warning("a host answers a ping with an error", host=each.incarnation_id, error=_told(error))
        return not self._is_silent(each)

    def _is_silent(self, each: Incarnation) -> bool:
        """No heartbeat for too long, while the database could have taken one: an outage silences everybody."""
        if self._reached_since is None:
            return False
        reached_s = asyncio.get_running_loop().time() - self._reached_since
        return min(each.silent_s, reached_s) >= SILENT_MAX_S

    async def _end(self, each: Incarnation) -> None:
        """Fence first; the process is ended last, because ending it proves nothing."""
        log.warning("host is gone, fencing it", host=each.incarnation_id, silent_s=round(each.silent_s, 1))
        if await self._table.fence(each.incarnation_id):
            self.takeovers += 1
        self._adopted.pop(each.incarnation_id, None)
        self._refusals.pop(each.incarnation_id, None)
        handle = self._fleet.handle(each.incarnation_id)
        if handle is not None:
            self._fleet.kill(handle)

    async def _place(self, well: list[str], dedicated: Collection[str]) -> None:
        """Give shards without a living owner to living hosts at once, rather than waiting for a new process."""
        if not well:
            return
        shared = [each for each in await self._table.assignments() if not each.has_own_host]
        homeless = [each for each in shared if each.incarnation_id not in well]
        if homeless:
            target = balance(shared, well)
            wanted = {
                each.shard: (each.incarnation_id, target[each.shard])
                for each in homeless
            }
            moved = await self._table.reassign(wanted)
            log.info("shards placed", shards=moved)
        await self._adopt([*well, *dedicated])

    async def _adopt(self, hosts: Iterable[str]) -> None:
        """Make every host take up what the table gives it."""
        table = await self._table.assignments()
        for host in hosts:
            shards = frozenset(each.shard for each in table if each.incarnation_id == host)
            if shards == self._adopted.get(host):
                continue
            if await self._ask(host, "adopt"):
                self._adopted[host] = shards

    async def _ask(self, host: str, what: str, *args: Any) -> bool:
        """Ask a host for something and wait for it; False when it has not done it, which must not keep the others
        waiting: whoever fails is asked again in the next check.
        """
        handle = self._fleet.handle(host)
        if handle is None:
            return False
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await getattr(handle, what).remote(*args)
        except Exception as error:
            log.warning("a host did not do what it was asked; tried again", host=host, asked=what, error=_told(error))
            is_its_own = not (is_remote_failure(error) or isinstance(error, TimeoutError) or is_unavailable(error))
            self._refusals[host] = self._refusals.get(host, 0) + is_its_own
            return False
        self._refusals.pop(host, None)
        return True

    async def _start_host(self, dedicated_shard: int | None = None) -> str | None:
        """Start one host; returns its id once it answers, None when it did not start."""
        incarnation_id = self._new_id()
        handle = self._fleet.start(incarnation_id, dedicated_shard)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await handle.start.remote()
        except Exception as error:
            # Whatever it was: half started it answers pings, and would be given shards that it cannot serve.
            log.warning("a host did not start", host=incarnation_id, error=_told(error))
            self._fleet.kill(handle)
            # It may have registered before it failed: its row must not count as a living host.
            await self._table.fence(incarnation_id)
            return None
        return incarnation_id

    async def _even_out(self, hosts: list[str]) -> None:
        """Move shards between living hosts, by the owner's own commit, until each has its share."""
        if not hosts:
            return
        table = [each for each in await self._table.assignments() if not each.has_own_host]
        target = balance(table, hosts)
        moves: dict[str, dict[int, str]] = {}
        for each in table:
            to = target[each.shard]
            if each.incarnation_id is not None and each.incarnation_id != to:
                moves.setdefault(each.incarnation_id, {})[each.shard] = to
        if not moves:
            return
        for owner, shards in moves.items():
            await self._give_away(owner, shards)
        await self._adopt(sorted({to for shards in moves.values() for to in shards.values()}))

    async def _give_away(self, owner: str, shards: dict[int, str]) -> None:
        if await self._ask(owner, "give_away", shards):
            self._adopted.pop(owner, None)

    async def _retire(self, host: str) -> None:
        """A host too many, with no shards left: let it finish."""
        if await self._ask(host, "drain") and (handle := self._fleet.handle(host)) is not None:
            self._fleet.kill(handle)


def _told(error: Exception) -> str:
    """An error for the log: its type alone, because a host's error carries the text of what failed there."""
    return type(error).__name__


class _RayFleet:
    """Plan hosts as Ray actors."""

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config

    def handle(self, incarnation_id: str) -> Any | None:
        return handle_of(f"host-{incarnation_id}")

    def start(self, incarnation_id: str, dedicated_shard: int | None) -> Any:
        name = f"host-{incarnation_id}"
        return start_actor(PlanHost, name, self._config, incarnation_id, dedicated_shard, restarts=0)

    def kill(self, handle: Any) -> None:
        kill_actor(handle)


class Director:
    """Ray's shell around the watch."""

    def __init__(self, config: ClusterConfig) -> None:
        prepare_process(config.log_level)
        self._config = config
        self._watch = Watch(self._open_table, _RayFleet(config), config.plan_hosts)
        # Ray starts a dead actor again by its constructor alone, so the watch begins here.
        self._watching = asyncio.get_running_loop().create_task(self._watch.run())

    async def _open_table(self) -> OwnershipPort:
        return Ownership(await open_pool(self._config.dsn, size_max=3))

    async def ready(self) -> bool:
        """See `Watch.ready`."""
        return await self._watch.ready()

    async def stats(self) -> dict[str, Any]:
        """Counters for metrics."""
        watch = self._watch
        return {
            "takeovers": watch.takeovers,
            "restarts": watch.restarts,
            "restarting": watch.restarting(),
            "wanted": watch.wanted,
            "pid": os.getpid(),
        }

    async def restart(self, host: str | None) -> list[str] | OrderplanError:
        """See `Watch.restart`; a refusal is returned."""
        try:
            return self._watch.restart(host)
        except OrderplanError as error:
            return error

    async def drain(self) -> None:
        """Stop watching and let every host finish what it has."""
        self._watch.stop()
        await self._watching
        await self._watch.drain()
