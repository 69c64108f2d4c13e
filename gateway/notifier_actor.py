"""The notifier as a Ray actor. It stands here because it shows orders as the gateway does; imports point one way."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from actors.config import ClusterConfig
from actors.deliveries import Deliveries
from actors.notifier import Notifier
from actors.process import prepare_process
from adapters.webhook import Webhooks
from gateway.tmf622_events import render_event
from persistence.consumers import ConsumerFenced
from persistence.database import Pool, is_unavailable, open_pool
from persistence.feed import Feed
from persistence.hub import Outbox
from persistence.readstore import ReadStore

log = structlog.get_logger(__name__)

START_RETRY_S: Final = 0.5


class NotifierActor:
    """Ray's shell around the notifier and its sender."""

    def __init__(self, config: ClusterConfig) -> None:
        prepare_process(config.log_level)
        self._config = config
        self._notifier: Notifier | None = None
        self._deliveries: Deliveries | None = None
        self._is_fenced = False
        # Ray starts a dead actor again by its constructor alone, so the work begins here.
        self._running = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            try:
                notifier, deliveries = await self._start()
                break
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("the notifier cannot start, ending")
                    os._exit(1)
                await asyncio.sleep(START_RETRY_S)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(notifier.run())
                group.create_task(deliveries.run())
        except* ConsumerFenced:
            # Not to be started again: the other one would be fenced in its turn.
            self._is_fenced = True
            log.error("another notifier has started, this one stops")

    async def _start(self) -> tuple[Notifier, Deliveries]:
        async with AsyncExitStack() as opened:
            pool = await open_pool(self._config.dsn, size_max=4)
            opened.callback(pool.terminate)
            started = await self._start_on(pool)
            # Everything stands: keep the pool.
            opened.pop_all()
            return started

    async def _start_on(self, pool: Pool) -> tuple[Notifier, Deliveries]:
        config = self._config

        def clock() -> datetime:
            return datetime.now(UTC)

        outbox = Outbox(pool, config.tenant)
        deliveries = Deliveries(outbox, Webhooks(), clock=clock, failing_s=config.hub_failing_s)
        notifier = Notifier(
            Feed(pool, config.tenant),
            outbox,
            ReadStore(pool),
            render_event,
            clock=clock,
            backlog_max=config.hub_backlog_max,
            wake=deliveries.wake,
        )
        deliveries.epoch = await notifier.start()
        self._notifier, self._deliveries = notifier, deliveries
        return notifier, deliveries

    async def stats(self) -> dict[str, Any]:
        """Counters for metrics; `lag`: facts that are committed and not looked at."""
        counters: dict[str, Any] = {"pid": os.getpid(), "fenced": int(self._is_fenced)}
        if self._notifier is not None and self._deliveries is not None:
            counters |= {**self._notifier.stats(), **self._deliveries.stats()}
            try:
                counters["lag"] = await self._notifier.lag()
            except Exception as error:
                # Nobody knows it then; the other counters are good all the same.
                if not is_unavailable(error):
                    raise
        return counters
