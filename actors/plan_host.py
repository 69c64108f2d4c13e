"""The plan host: a Ray actor in which the plan actors of many shards live. A thin shell around `HostRuntime`.

`max_restarts` is 0: a new process is a new incarnation that registers itself.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from actors.config import ADAPTERS, ClusterConfig
from actors.envelopes import Envelope, EraseAccount
from actors.host_runtime import HostRuntime
from actors.lines import LineServer
from actors.process import prepare_process
from actors.remote import direct_handle_of
from actors.routing import HostClient
from domain.holds import HeldSystems
from persistence.database import is_unavailable, open_pool
from persistence.holds import held_by_tenant, list_holds
from persistence.incarnations import Ownership
from persistence.journal import Journal, Probe, no_probe
from persistence.key_wrapping import open_wrapping
from persistence.vault import Vault


class PlanHost:
    """One incarnation: its journal, its vault, its loop."""

    def __init__(self, config: ClusterConfig, incarnation_id: str, dedicated_shard: int | None = None) -> None:
        prepare_process(config.log_level)
        self._config = config
        self._dedicated_shard = dedicated_shard
        self._incarnation_id = incarnation_id
        self._started: HostRuntime | None = None
        self._adapters: Any | None = None
        self._line = ""

    async def start(self) -> str:
        """Register the incarnation and begin to tick; returns its id. Shards come with `adopt`."""
        config = self._config
        journal = Journal(
            config.dsn,
            self._incarnation_id,
            probe=_probe(config, self._incarnation_id),
            is_probed=lambda: _is_probed(config, self._incarnation_id),
            dedicated_shard=self._dedicated_shard,
        )
        await journal.open()
        orders = await open_pool(config.dsn, size_max=2)
        keys = await open_pool(config.key_dsn, size_max=2)
        hosts = HostClient(Ownership(orders))
        await hosts.open()

        async def read_held() -> Mapping[str, HeldSystems]:
            return held_by_tenant(await list_holds(orders, config.tenant))

        vault = Vault(keys, orders, await open_wrapping(keys, config.key_provider))
        self._reading_keys = asyncio.get_running_loop().create_task(vault.keep_current())
        self._started = HostRuntime(
            journal,
            vault,
            hosts,
            self._adapter_handle,
            clock=lambda: datetime.now(UTC),
            entropy=lambda: random.getrandbits(20),
            is_unavailable=is_unavailable,
            die=os._exit,
            tenant=config.tenant,
            read_held=read_held,
        )
        await self._started.refresh_holds()
        self._started.start()
        runtime = self._started
        self._lines = LineServer(
            {
                "receive_orders": runtime.receive_orders,
                "receive_bulk": runtime.receive_bulk,
                "receive_reports": runtime.receive_reports,
            }
        )
        self._line = await self._lines.open()
        return self._incarnation_id

    async def line(self) -> str:
        """Where direct lines to this process begin; empty where there are none."""
        return self._line

    def _adapter_handle(self) -> Any | None:
        if self._adapters is None:
            self._adapters = direct_handle_of(ADAPTERS)
        return self._adapters

    @property
    def _runtime(self) -> HostRuntime:
        assert self._started is not None, "start it first"
        return self._started

    async def receive_orders(self, envelopes: list[Envelope]) -> list[Any]:
        """See `HostRuntime.receive_orders`."""
        return await self._runtime.receive_orders(envelopes)

    async def receive_bulk(self, envelopes: list[Envelope]) -> list[Any]:
        """See `HostRuntime.receive_bulk`."""
        return await self._runtime.receive_bulk(envelopes)

    async def late_answer(self, token: str) -> list[Any]:
        """See `HostRuntime.late_answer`."""
        return await self._runtime.late_answer(token)

    async def receive_reports(self, envelopes: list[Envelope]) -> list[Any]:
        """See `HostRuntime.receive_reports`."""
        return await self._runtime.receive_reports(envelopes)

    async def receive_erasures(self, envelopes: list[EraseAccount]) -> list[Any]:
        """See `HostRuntime.receive_erasures`."""
        return await self._runtime.receive_erasures(envelopes)

    async def adopt(self) -> int:
        """See `HostRuntime.adopt`."""
        return await self._runtime.adopt()

    async def give_away(self, shards: Mapping[int, str]) -> None:
        """See `HostRuntime.give_away`."""
        await self._runtime.give_away(shards)

    async def refresh_releases(self) -> None:
        """See `HostRuntime.refresh_releases`."""
        await self._runtime.refresh_releases()

    async def refresh_holds(self) -> None:
        """See `HostRuntime.refresh_holds`."""
        await self._runtime.refresh_holds()

    async def ping(self) -> str:
        """Proof that the process answers; the heartbeat in the database proves that it commits."""
        return self._incarnation_id

    async def drain(self) -> None:
        """See `HostRuntime.drain`."""
        await self._runtime.drain()

    async def stats(self) -> dict[str, Any]:
        """Counters for metrics; a host that is still starting has only its name."""
        named = {
            "incarnation": self._incarnation_id,
            "pid": os.getpid(),
            "isDedicated": self._dedicated_shard is not None,
        }
        return named | self._started.stats() if self._started is not None else named


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


def _is_probed(config: ClusterConfig, incarnation_id: str) -> bool:
    """Whether a fault test asks this process to stop at a point."""
    return any(not each.name.endswith("-done") for each in Path(config.faults_dir).glob(f"{incarnation_id}.*"))
