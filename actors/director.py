"""The director: keeps the wanted number of plan hosts alive and every shard owned by one of them.

It holds no state of its own: who lives and who owns what are rows, changed by compare-and-set only. So it may be
killed at any moment, and two of them are harmless. Senders live on their last routing table while it is away.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Collection, Iterable
from typing import Any, Final

import structlog

from actors.config import ClusterConfig
from actors.dedicated import DedicatedHosts
from actors.logs import configure_logs
from actors.plan_host import PlanHost
from actors.remote import handle_of, is_dead, is_remote_failure, kill_actor, start_actor
from persistence import incarnations
from persistence.database import Pool, is_unavailable, open_pool

log = structlog.get_logger(__name__)

CHECK_S: Final = 0.5
PING_TIMEOUT_S: Final = 2.0
START_TIMEOUT_S: Final = 60.0
CALL_TIMEOUT_S: Final = 10.0
"""For adopting, giving away, draining: a host that takes longer is asked again, so that it does not blind the
director.
"""


class Director:
    """Ray's shell and the whole of the director."""

    def __init__(self, config: ClusterConfig) -> None:
        configure_logs(config.log_level)
        self._config = config
        self._pool: Pool | None = None
        self._is_stopping = False
        self._wanted = config.plan_hosts
        self._adopted: dict[str, frozenset[int]] = {}
        self._dedicated = DedicatedHosts(self._start_host, self._give_away, self._adopt, self._retire)
        self.takeovers = 0
        self._reached_since: float | None = None
        """Since when (on the loop's clock) the database answers without interruption."""
        # Ray starts a dead actor again by its constructor alone, so the watch begins here.
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def ready(self) -> bool:
        """Whether every shard has a living owner that has adopted it."""
        if self._pool is None:
            return False
        table = await incarnations.assignments(self._pool)
        return all(each.incarnation_id is not None and self._has_adopted(each) for each in table)

    def _has_adopted(self, each: incarnations.Assignment) -> bool:
        return each.shard in self._adopted.get(each.incarnation_id or "", frozenset())

    async def stats(self) -> dict[str, Any]:
        """Counters for metrics."""
        return {"takeovers": self.takeovers, "wanted": self._wanted, "pid": os.getpid()}

    async def drain(self) -> None:
        """Stop watching and let every host finish what it has."""
        self._is_stopping = True
        await self._watching
        if self._pool is None:
            return
        for each in await incarnations.living(self._pool):
            handle = handle_of(f"host-{each.incarnation_id}")
            if handle is not None:
                try:
                    async with asyncio.timeout(START_TIMEOUT_S):
                        await handle.drain.remote()
                except Exception as error:
                    if not (is_remote_failure(error) or isinstance(error, TimeoutError)):
                        raise
                    log.warning("a host did not drain", host=each.incarnation_id, error=str(error))

    async def _watch(self) -> None:
        while not self._is_stopping:
            try:
                if self._pool is None:
                    self._pool = await open_pool(self._config.dsn, size_max=3)
                await self._check()
                if self._reached_since is None:
                    self._reached_since = asyncio.get_running_loop().time()
            except Exception as error:
                self._reached_since = None
                if is_unavailable(error):
                    log.warning("the database is away, nothing can be decided", error=str(error))
                else:
                    log.exception("the director's check failed; it is made again")
            await asyncio.sleep(CHECK_S)

    async def _check(self) -> None:
        """One look at everything: end the dead and the hung, move their shards, start what is missing, even out."""
        assert self._pool is not None
        living = await incarnations.living(self._pool)
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
        await self._place(well, dedicated)
        missing = self._wanted - len(well)
        if missing > 0:
            started = await asyncio.gather(*(self._start_host() for _ in range(missing)))
            # Only hosts that answered in this check get shards: a row alone may be that of a host that failed to start.
            well += [incarnation_id for incarnation_id in started if incarnation_id is not None]
            await self._place(well, dedicated)
        kept = well[: self._wanted]
        await self._dedicated.check(await incarnations.assignments(self._pool), dedicated, kept)
        await self._even_out(kept)
        for surplus in well[self._wanted :]:
            await self._retire(surplus)

    async def _is_well(self, each: incarnations.Incarnation) -> bool:
        """False when the process is dead, or silent for too long. Slow is not dead."""
        handle = handle_of(f"host-{each.incarnation_id}")
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
                raise
        return not self._is_silent(each)

    def _is_silent(self, each: incarnations.Incarnation) -> bool:
        """No heartbeat for too long, while the database could have taken one: an outage silences everybody."""
        if self._reached_since is None:
            return False
        reached_s = asyncio.get_running_loop().time() - self._reached_since
        return min(each.silent_s, reached_s) >= incarnations.SILENT_MAX_S

    async def _end(self, each: incarnations.Incarnation) -> None:
        """Fence first; the process is ended last, because ending it proves nothing."""
        assert self._pool is not None
        log.warning("host is gone, fencing it", host=each.incarnation_id, silent_s=round(each.silent_s, 1))
        if await incarnations.fence(self._pool, each.incarnation_id):
            self.takeovers += 1
        self._adopted.pop(each.incarnation_id, None)
        handle = handle_of(f"host-{each.incarnation_id}")
        if handle is not None:
            kill_actor(handle)

    async def _place(self, well: list[str], dedicated: Collection[str]) -> None:
        """Give shards without a living owner to living hosts at once, rather than waiting for a new process."""
        assert self._pool is not None
        if not well:
            return
        shared = [each for each in await incarnations.assignments(self._pool) if not each.has_own_host]
        homeless = [each for each in shared if each.incarnation_id not in well]
        if homeless:
            target = incarnations.balance(shared, well)
            wanted = {
                each.shard: (each.incarnation_id, target[each.shard])
                for each in homeless
            }
            moved = await incarnations.reassign(self._pool, wanted)
            log.info("shards placed", shards=moved)
        await self._adopt([*well, *dedicated])

    async def _adopt(self, hosts: Iterable[str]) -> None:
        """Make every host take up what the table gives it."""
        assert self._pool is not None
        table = await incarnations.assignments(self._pool)
        for host in hosts:
            shards = frozenset(each.shard for each in table if each.incarnation_id == host)
            if shards == self._adopted.get(host):
                continue
            handle = handle_of(f"host-{host}")
            if handle is None:
                continue
            try:
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    await handle.adopt.remote()
            except Exception as error:
                if not (is_remote_failure(error) or isinstance(error, TimeoutError)):
                    raise
                log.warning("a host did not adopt its shards; it is asked again", host=host, error=str(error))
                continue
            self._adopted[host] = shards

    async def _start_host(self, dedicated_shard: int | None = None) -> str | None:
        """Start one host; returns its id once it answers, None when it did not start."""
        incarnation_id = uuid.uuid4().hex[:12]
        handle = start_actor(
            PlanHost, f"host-{incarnation_id}", self._config, incarnation_id, dedicated_shard, restarts=0
        )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await handle.start.remote()
        except Exception as error:
            if not (is_remote_failure(error) or isinstance(error, TimeoutError)):
                raise
            log.warning("a host did not start", host=incarnation_id, error=type(error).__name__)
            kill_actor(handle)
            assert self._pool is not None
            # It may have registered before it failed: its row must not count as a living host.
            await incarnations.fence(self._pool, incarnation_id)
            return None
        return incarnation_id

    async def _even_out(self, hosts: list[str]) -> None:
        """Move shards between living hosts, by the owner's own commit, until each has its share."""
        assert self._pool is not None
        if not hosts:
            return
        table = [each for each in await incarnations.assignments(self._pool) if not each.has_own_host]
        target = incarnations.balance(table, hosts)
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
        handle = handle_of(f"host-{owner}")
        if handle is None:
            return
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await handle.give_away.remote(shards)
        except Exception as error:
            if not (is_remote_failure(error) or isinstance(error, TimeoutError)):
                raise
            log.warning("a host did not give shards away; tried again", host=owner, error=str(error))
            return
        self._adopted.pop(owner, None)

    async def _retire(self, host: str) -> None:
        """A host too many, with no shards left: let it finish."""
        handle = handle_of(f"host-{host}")
        if handle is None:
            return
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await handle.drain.remote()
        except Exception as error:
            if not (is_remote_failure(error) or isinstance(error, TimeoutError)):
                raise
            log.warning("a host did not drain; tried again", host=host, error=type(error).__name__)
            return
        kill_actor(handle)


__all__ = ["Director"]
