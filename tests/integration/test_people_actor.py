"""The people actor's process: it comes up as a whole, or is tried again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import actors.manual_queue
from actors.config import ClusterConfig
from actors.manual_queue import ManualQueueActor
from persistence.database import open_pool
from tests.support.until import until


async def test_a_key_store_that_is_away_at_the_start_does_not_leave_queues_without_jobs(
    databases: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []
    pools: list[Any] = []

    async def reluctant(dsn: str, **options: Any) -> Any:
        tries.append(dsn)
        if tries.count(databases.key_dsn) == 1 and dsn == databases.key_dsn:
            raise ConnectionRefusedError
        pools.append(await open_pool(dsn, **options))
        return pools[-1]

    monkeypatch.setattr(actors.manual_queue, "open_pool", reluctant)
    monkeypatch.setattr(actors.manual_queue, "SWEEP_S", 0.01)
    actor = ManualQueueActor(ClusterConfig(dsn=databases.dsn, key_dsn=databases.key_dsn, log_level="warning"))
    try:
        await until(lambda: _has_jobs(actor), 10)

        assert tries.count(databases.key_dsn) == 2
        assert (await actor.stats())["jobItems"] == 0
    finally:
        for task in (actor._sweeping, actor._working):
            task.cancel()
        await asyncio.gather(actor._sweeping, actor._working, return_exceptions=True)
        for pool in pools:
            pool.terminate()


async def _has_jobs(actor: ManualQueueActor) -> bool:
    return actor._jobs is not None
