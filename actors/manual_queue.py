"""The people actor: manual queues, and who holds which task until when.

A claim is a row of the queue's own, changed by conditional update, so a second people actor is harmless. The plan
decides: a claim reaches it as a message, and a completion goes to it; what it refuses is given back.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from actors.config import ClusterConfig
from actors.envelopes import ToPlan
from actors.logs import configure_logs
from actors.routing import HostClient
from domain.errors import NotPossibleNow, OrderplanError, TaskTaken
from domain.ids import shard_of
from domain.messages import ClaimTask, CompleteTask, PlanMessage, ReleaseTask
from persistence import tasks
from persistence.database import Pool, open_pool

ANSWER_TIMEOUT_S: Final = 20.0
LEASE_S_DEFAULT: Final = 900.0
LEASE_S_MAX: Final = 30 * 86_400.0


class ManualQueues:
    """All manual queues; plain asyncio, wrapped by the Ray actor below."""

    def __init__(self, pool: Pool, hosts: HostClient, tenant: str) -> None:
        self._pool = pool
        self._hosts = hosts
        self._tenant = tenant
        self.claimed = 0
        self.completed = 0

    async def claim(self, task_id: str, worker: str, lease_s: float | None) -> dict[str, Any]:
        """Give the task to the worker until the lease ends.

        Raises:
            NotFound: there is no such open task.
            TaskTaken: somebody else holds it.
        """
        now = datetime.now(UTC)
        lease = min(lease_s or LEASE_S_DEFAULT, LEASE_S_MAX)
        await tasks.claim_task(self._pool, self._tenant, task_id, worker, now, lease)
        task = await tasks.read_task(self._pool, self._tenant, task_id, now)
        try:
            await self._tell(task, worker, lambda message_id: ClaimTask(task["item"], worker, message_id))
        except OrderplanError as error:
            if error.status < 500:
                await tasks.release_task(self._pool, task_id, worker)
            raise
        self.claimed += 1
        return task

    async def release(self, task_id: str, worker: str) -> dict[str, Any]:
        """Give the task back.

        Raises:
            TaskTaken: the worker does not hold it.
        """
        now = datetime.now(UTC)
        task = await self._held(task_id, worker, now)
        await self._tell(task, worker, lambda message_id: ReleaseTask(task["item"], worker, message_id))
        await tasks.release_task(self._pool, task_id, worker)
        return await tasks.read_task(self._pool, self._tenant, task_id, now)

    async def complete(self, task_id: str, worker: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """Hand in the task's form; the plan checks it.

        Raises:
            TaskTaken: the worker does not hold it (its lease may have lapsed).
            BadDocument: the form misses a value or has a wrong one.
        """
        now = datetime.now(UTC)
        task = await self._held(task_id, worker, now)
        await self._tell(task, worker, lambda message_id: CompleteTask(task["item"], worker, data, message_id))
        await tasks.release_task(self._pool, task_id, worker)
        self.completed += 1
        return await tasks.read_task(self._pool, self._tenant, task_id, now)

    async def _held(self, task_id: str, worker: str, now: datetime) -> dict[str, Any]:
        task = await tasks.read_task(self._pool, self._tenant, task_id, now)
        if task["closedAt"] is not None:
            raise NotPossibleNow(f"task {task_id} is closed")
        if task["worker"] != worker:
            holder = f"{task['worker']} holds it" if task["worker"] else "nobody holds it (a lease may have lapsed)"
            raise TaskTaken(f"{worker} does not hold the task: {holder}", mend="claim it first")
        return task

    async def _tell(self, task: Mapping[str, Any], worker: str, message_of: Any) -> None:
        message_id = uuid.uuid4().hex
        message: PlanMessage = message_of(message_id)
        envelope = ToPlan(task["orderId"], message, actor=f"person:{worker}", cause=message_id)
        await self._hosts.ask(
            "receive_orders", shard_of(task["orderId"]), envelope, timeout_s=ANSWER_TIMEOUT_S
        )


class ManualQueueActor:
    """Ray's shell around the queues."""

    def __init__(self, config: ClusterConfig) -> None:
        configure_logs(config.log_level)
        self._config = config
        self._queues: ManualQueues | None = None
        self._opening = asyncio.Lock()

    async def _ready(self) -> ManualQueues:
        async with self._opening:
            if self._queues is None:
                pool = await open_pool(self._config.dsn)
                hosts = HostClient(pool)
                await hosts.open()
                self._queues = ManualQueues(pool, hosts, self._config.tenant)
            return self._queues

    async def claim(self, task_id: str, worker: str, lease_s: float | None) -> Any:
        """See `ManualQueues.claim`; a refusal comes back as the error itself."""
        return await _or_error((await self._ready()).claim(task_id, worker, lease_s))

    async def release(self, task_id: str, worker: str) -> Any:
        """See `ManualQueues.release`."""
        return await _or_error((await self._ready()).release(task_id, worker))

    async def complete(self, task_id: str, worker: str, data: Mapping[str, Any]) -> Any:
        """See `ManualQueues.complete`."""
        return await _or_error((await self._ready()).complete(task_id, worker, data))

    async def stats(self) -> dict[str, Any]:
        """Counters for metrics."""
        queues = await self._ready()
        return {"claimed": queues.claimed, "completed": queues.completed, "pid": os.getpid()}


async def _or_error(call: Any) -> Any:
    """Refusals travel as values: Ray would wrap an exception and lose its class."""
    try:
        return await call
    except OrderplanError as error:
        return error
