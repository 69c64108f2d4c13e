"""Bulk jobs at work: the items of a frozen selection are told to their plans, one by one and at a rate.

Lives in the people actor. Each item's message has an id of its own (job and number), so that a message that is sent
again after a death is recognised: by the plan, or, where the plan has forgotten it, by the cause of the fact that it
made, which a job that was taken over is looked at for. What a plan refuses is recorded as refused, with its reason.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import structlog

from actors.envelopes import Envelope, ToPlan
from domain.errors import OrderplanError
from domain.ids import shard_of
from domain.messages import OperateItem
from domain.sealing import is_encrypted
from persistence import jobs
from persistence.database import Pool, is_unavailable
from persistence.fallout import FalloutFilter
from persistence.jobs import Settled, Taken
from persistence.vault import Vault

log = structlog.get_logger(__name__)

LEASE_S: Final = 60.0
"""How long a dead runner holds its job up; the lease is renewed with every batch."""
IDLE_S: Final = 0.5
BATCH: Final = 100
ANSWER_TIMEOUT_S: Final = 20.0
ATTEMPTS_MAX: Final = 3


class Asks(Protocol):
    """The way to the plans."""

    async def ask(self, lane: str, shard: int, envelope: Envelope, *, timeout_s: float) -> Any: ...


class Jobs:
    """Takes jobs in, and works on them; plain asyncio."""

    def __init__(
        self,
        pool: Pool,
        vault: Vault,
        hosts: Asks,
        tenant: str,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._pool = pool
        self._vault = vault
        self._hosts = hosts
        self._tenant = tenant
        self._clock = clock
        self._sleep = sleep
        self.settled = 0

    async def start_job(
        self,
        action: str,
        operator: str,
        reason: str,
        selection: Mapping[str, Any],
        wanted: FalloutFilter | None,
        items: Sequence[tuple[str, str]],
        argument: Mapping[str, Any],
        rate: float,
    ) -> dict[str, Any]:
        """Freeze a selection and begin; the job as it stands.

        `argument` is an answer or a payload. It may hold what must not stay: it is kept encrypted, and only for as long
        as the job runs.
        """
        job_id = uuid.uuid4().hex[:16]
        await self._vault.load_tenant(self._tenant)
        sealed = self._vault.encrypt(self._tenant, dict(argument)) if argument else None
        await jobs.create_job(
            self._pool,
            self._tenant,
            job_id,
            action=action,
            operator=operator,
            reason=reason,
            selection=selection,
            wanted=wanted,
            items=items,
            argument=sealed,
            rate=rate,
            now=self._clock(),
        )
        return await jobs.read_job(self._pool, self._tenant, job_id)

    async def run(self) -> None:
        """Work on jobs, one after the other, for ever."""
        while True:
            try:
                is_busy = await self.work()
            except Exception as error:
                # The lease runs out, and the job is taken up again.
                if not is_unavailable(error):
                    log.exception("a job could not be worked on")
                is_busy = False
            if not is_busy:
                await self._sleep(IDLE_S)

    async def work(self) -> bool:
        """Take one job and work on it until it is done, steered away or lost; False when there is none."""
        taken = await jobs.take_job(self._pool, self._clock(), LEASE_S)
        if taken is None:
            return False
        argument = taken.argument
        if is_encrypted(argument):
            argument = await self._vault.open_all(taken.tenant, "", argument)
        while True:
            batch = await jobs.open_items(self._pool, taken.job_id, max(1, min(BATCH, int(taken.rate))))
            if not batch:
                await jobs.finish(self._pool, taken, self._clock())
                return True
            settled = await self._batch(taken, argument or {}, batch)
            self.settled += len(settled)
            if not await jobs.settle(self._pool, taken, settled, self._clock(), LEASE_S):
                return True
            await self._sleep(len(batch) / taken.rate)

    async def _batch(
        self, taken: Taken, argument: Mapping[str, Any], batch: Sequence[tuple[int, str, str]]
    ) -> list[Settled]:
        known: set[str] = set()
        if taken.epoch > 1:
            # Another life may have sent these: what has made a fact is done, whatever the plan remembers.
            causes = {_message_id(taken, number): order_id for number, order_id, _ in batch}
            known = await jobs.caused(self._pool, causes)
        return await asyncio.gather(
            *(
                self._one(taken, argument, *each)
                if _message_id(taken, each[0]) not in known
                else _done(each[0], "done before the runner's death")
                for each in batch
            )
        )

    async def _one(
        self, taken: Taken, argument: Mapping[str, Any], number: int, order_id: str, item: str
    ) -> Settled:
        message_id = _message_id(taken, number)
        message = OperateItem(
            item,
            taken.action,  # type: ignore[arg-type]  # the gateway admits only these, the table holds no other
            taken.operator,
            taken.reason,
            message_id,
            answer=argument if taken.action == "complete" else {},
            payload=argument if taken.action == "edit" else {},
            is_patch=taken.action == "edit",
        )
        envelope = ToPlan(order_id, message, actor=f"person:{taken.operator}", cause=message_id)
        reason = ""
        for _ in range(ATTEMPTS_MAX):
            try:
                answer = await self._hosts.ask(
                    "receive_orders", shard_of(order_id), envelope, timeout_s=ANSWER_TIMEOUT_S
                )
            except OrderplanError as error:
                if error.status < 500:
                    return Settled(number, "refused", error.code, str(error)[:500])
                reason = str(error)[:500]
                continue
            return Settled(number, "done", None, f"the item is {answer.get('itemState', 'unknown')}")
        return Settled(number, "failed", "noAnswer", reason)


def _message_id(taken: Taken, number: int) -> str:
    return f"job {taken.job_id}/{number}"


async def _done(number: int, reason: str) -> Settled:
    return Settled(number, "done", None, reason)
