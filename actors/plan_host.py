"""The plan host: a Ray actor in which the plan actors of many shards live. A thin shell around `HostLoop`.

`max_restarts` is 0: a new process is a new incarnation that registers itself. When it is fenced it ends at once, so
that nothing of it can write or send any more.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import structlog

from actors.bookings import Bookings
from actors.config import ADAPTERS, ClusterConfig
from actors.dispatcher import Dispatcher
from actors.envelopes import Envelope, GiveAway, NotOwner, ToPlan
from actors.host_loop import HostLoop
from actors.logs import configure_logs
from actors.remote import handle_of
from actors.routing import HostClient
from domain.errors import Busy
from domain.ids import shard_of
from domain.messages import AssetsBooked, Quarantine
from persistence.database import is_unavailable, open_pool
from persistence.journal import Fenced, Journal, Probe, no_probe
from persistence.vault import Vault

log = structlog.get_logger(__name__)

RELEASES_POLL_S: Final = 2.0
INBOX_RETRY_S: Final = 0.1
UNREADABLE_SHOWN_MAX: Final = 100
_FENCED_EXIT: Final = 3


class PlanHost:
    """One incarnation: its journal, its loop, its dispatcher."""

    def __init__(self, config: ClusterConfig, incarnation_id: str, dedicated_shard: int | None = None) -> None:
        configure_logs(config.log_level)
        self._config = config
        self._dedicated_shard = dedicated_shard
        self._incarnation_id = incarnation_id
        self._loop: HostLoop | None = None
        self._dispatcher: Dispatcher | None = None
        self._journal: Journal | None = None
        self._running: asyncio.Task[None] | None = None
        self._polling: asyncio.Task[None] | None = None
        self._adapters: Any | None = None

    async def start(self) -> str:
        """Register the incarnation and begin to tick; returns its id. Shards come with `adopt`."""
        config = self._config
        self._journal = Journal(
            config.dsn,
            self._incarnation_id,
            probe=_probe(config, self._incarnation_id),
            dedicated_shard=self._dedicated_shard,
        )
        await self._journal.open()
        orders = await open_pool(config.dsn, size_max=2)
        keys = await open_pool(config.key_dsn, size_max=2)
        self._dispatcher = Dispatcher(self._adapter_handle)
        hosts = HostClient(orders)
        await hosts.open()
        self._loop = HostLoop(
            self._journal,
            Vault(keys, orders),
            self._dispatcher,
            Bookings(hosts, self._confirmed, self._refused),
            clock=lambda: datetime.now(UTC),
            entropy=lambda: random.getrandbits(20),
            is_unavailable=is_unavailable,
            tenants=(config.tenant,),
        )
        self._dispatcher.start()
        loop = asyncio.get_running_loop()
        self._running = loop.create_task(self._run())
        self._polling = loop.create_task(self._poll_releases())
        return self._incarnation_id

    def _confirmed(self, order_id: str, number: int) -> None:
        self._tell(ToPlan(order_id, AssetsBooked(number)))

    def _refused(self, order_id: str, reason: str) -> None:
        self._tell(ToPlan(order_id, Quarantine(reason)))

    def _tell(self, envelope: ToPlan) -> None:
        """Put a message into the own inbox, when it has room again."""
        assert self._loop is not None
        try:
            self._loop.put(envelope)
        except Busy:
            asyncio.get_running_loop().call_later(INBOX_RETRY_S, self._tell, envelope)
        except NotOwner:
            log.info("ending, the next owner asks for the booking again", order_id=envelope.order_id)

    def _adapter_handle(self) -> Any | None:
        if self._adapters is None:
            self._adapters = handle_of(ADAPTERS)
        return self._adapters

    async def _run(self) -> None:
        assert self._loop is not None
        assert self._dispatcher is not None
        try:
            await self._loop.run()
        except Fenced:
            log.error("fenced, ending", incarnation=self._incarnation_id)
            os._exit(_FENCED_EXIT)
        except Exception:
            # A bug in the loop: no owner may limp on. The director starts another incarnation from the journal.
            log.exception("the host loop broke, ending", incarnation=self._incarnation_id)
            os._exit(1)

    async def _poll_releases(self) -> None:
        """Fallback for a publish that this host was not told about."""
        assert self._loop is not None
        while True:
            await asyncio.sleep(RELEASES_POLL_S)
            try:
                await self._loop.refresh_releases()
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("releases could not be read")

    async def receive_orders(self, envelopes: list[Envelope]) -> list[Any]:
        """New orders and messages from people; answers after the commit, in order."""
        assert self._loop is not None
        return await self._loop.ask(envelopes)

    async def receive_reports(self, envelopes: list[Envelope]) -> list[Any]:
        """Results from systems; answers after the commit, in order."""
        assert self._loop is not None
        return await self._loop.ask(envelopes)

    async def adopt(self) -> int:
        """Take up the shards that the assignment gives this incarnation; returns how many it owns now."""
        assert self._loop is not None
        assert self._journal is not None
        await self._loop.adopt(await self._journal.owned_shards())
        return len(self._loop.heads)

    async def give_away(self, shards: Mapping[int, str]) -> None:
        """Hand living shards to other incarnations, by this one's own commit."""
        assert self._loop is not None
        assert self._dispatcher is not None
        mine = {shard: to for shard, to in shards.items() if shard in self._loop.heads}
        if mine:
            await self._loop.ask([GiveAway(mine)])
            kept = self._loop.heads
            self._dispatcher.forget(lambda order_id: shard_of(order_id) in kept)

    async def refresh_releases(self) -> None:
        """Learn of a release that was just published."""
        assert self._loop is not None
        await self._loop.refresh_releases()

    async def ping(self) -> str:
        """Proof that the process answers; the heartbeat in the database proves that it commits."""
        return self._incarnation_id

    async def drain(self) -> None:
        """Finish what is in the inbox, then mark the incarnation stopped."""
        assert self._loop is not None
        assert self._journal is not None
        assert self._dispatcher is not None
        self._loop.stop()
        if self._running is not None:
            await self._running
        self._dispatcher.stop()
        await self._journal.close()

    async def stats(self) -> dict[str, Any]:
        """Counters for metrics; a host that is still starting has only its name."""
        named = {
            "incarnation": self._incarnation_id,
            "pid": os.getpid(),
            "isDedicated": self._dedicated_shard is not None,
        }
        loop = self._loop
        if loop is None or self._dispatcher is None:
            return named
        return named | {
            "shards": len(loop.heads),
            "ticks": loop.ticks,
            "commits": loop.commits,
            "facts": loop.facts,
            "plans": len(loop.memory.plans),
            "unreadable": len(loop.unreadable()),
            "unreadableOrders": dict(islice(loop.unreadable().items(), UNREADABLE_SHOWN_MAX)),
            "openCalls": self._dispatcher.open_calls(),
            "timerLagS": loop.lag().total_seconds(),
            "cpuS": time.process_time(),
        }


def _probe(config: ClusterConfig, incarnation_id: str) -> Probe:
    """Where fault tests stop this process: a file `<incarnation>.<point>` asks for SIGSTOP at that point, once."""
    folder = Path(config.faults_dir) if config.faults_dir else None

    async def stop_here(point: str) -> None:
        assert folder is not None
        asked = folder / f"{incarnation_id}.{point}"
        if asked.exists():
            asked.rename(asked.with_suffix(f".{point}-done"))
            os.kill(os.getpid(), signal.SIGSTOP)

    return stop_here if folder is not None else no_probe
