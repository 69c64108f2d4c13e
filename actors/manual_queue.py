"""The people actor: manual queues, and who holds which task until when.

A claim is a row of the queue's own, changed by conditional update, so a second people actor is harmless. The plan
decides: a claim reaches it as a message, and a completion goes to it; what it refuses is given back. A lease that is
over frees the task at once, by the clock; a sweep tells the plan, so that its item names nobody who is gone.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import structlog

from actors.config import GATEWAY, ClusterConfig
from actors.counting import Counter
from actors.envelopes import ToPlan
from actors.erasure_desk import ErasureDesk
from actors.folding import PlanFolder
from actors.jobs import Jobs
from actors.key_desk import KeyDesk
from actors.process import prepare_process
from actors.related import RelatedOrders
from actors.remote import handle_of, is_remote_failure
from actors.resumer import Resumer
from actors.routing import HostClient
from domain.errors import Busy, NotPossibleNow, OrderplanError
from domain.ids import shard_of
from domain.messages import AnnotateItem, ClaimTask, CompleteTask, PlanMessage, ReleaseTask
from persistence import tasks
from persistence.counting import Counting
from persistence.database import Pool, is_unavailable, open_pool
from persistence.holds import HeldItems
from persistence.incarnations import Ownership
from persistence.key_wrapping import open_wrapping
from persistence.readstore import ReadStore
from persistence.vault import Vault
from persistence.waits import RelatedWaitRows

log = structlog.get_logger(__name__)

ANSWER_TIMEOUT_S: Final = 20.0
LEASE_S_DEFAULT: Final = 900.0
LEASE_S_MAX: Final = 30 * 86_400.0
NEXT_REFUSED_MAX: Final = 5
"""Tasks that take-next passes over because their plan refuses them just then."""
BULK_AT_ONCE: Final = 20
SWEEP_S: Final = 1.0
SWEEP_MAX: Final = 200


class ManualQueues:
    """All manual queues; plain asyncio, wrapped by the Ray actor below."""

    def __init__(
        self, pool: Pool, hosts: HostClient, tenant: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._pool = pool
        self._hosts = hosts
        self._tenant = tenant
        self._clock = clock
        self.claimed = 0
        self.completed = 0
        self.lapsed = 0

    async def claim(self, task_id: str, worker: str, lease_s: float | None) -> dict[str, Any]:
        """Give the task to the worker until the lease ends.

        Raises:
            NotFound: there is no such open task.
            NotQualified: the worker is no member of its queue, or lacks a skill.
            TaskTaken: somebody else holds it.
        """
        now = self._clock()
        await tasks.claim_task(self._pool, self._tenant, task_id, worker, now, _lease(lease_s))
        return await self._claimed(task_id, worker, worker, now)

    async def take_next(
        self, worker: str, queues: Sequence[str] | None, lease_s: float | None
    ) -> dict[str, Any] | None:
        """Give the worker the first free task that the worker may do, by priority, due date, age; None without one."""
        now = self._clock()
        refused: list[str] = []
        while True:
            task_id = await tasks.claim_next(
                self._pool, self._tenant, worker, now, _lease(lease_s), queues=queues, without=refused
            )
            if task_id is None:
                return None
            try:
                return await self._claimed(task_id, worker, worker, now)
            except OrderplanError as error:
                # Its plan has ended the work, and its row is about to say so.
                if error.status >= 500 or len(refused) == NEXT_REFUSED_MAX:
                    raise
                refused.append(task_id)

    async def hand_over(
        self, task_id: str, by: str, to: str, lease_s: float | None, as_operator: bool
    ) -> dict[str, Any]:
        """Give the task to somebody else: by its holder, or by an operator whoever holds it.

        Raises:
            NotFound: there is no such open task.
            NotQualified: the other one is no member of its queue, or lacks a skill.
            TaskTaken: `by` does not hold it and is no operator.
        """
        now = self._clock()
        holder = None if as_operator else by
        await tasks.hand_over_task(
            self._pool, self._tenant, task_id, to, now, _lease(lease_s), holder=holder
        )
        return await self._claimed(task_id, to, by, now)

    async def _claimed(self, task_id: str, worker: str, by: str, now: datetime) -> dict[str, Any]:
        """Tell the plan of a claim that was granted; what it refuses is given back."""
        task = await tasks.read_task(self._pool, self._tenant, task_id, now)
        try:
            await self._tell(task, by, lambda message_id: ClaimTask(task["item"], worker, message_id))
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
        now = self._clock()
        task = await self._held(task_id, worker, now)
        await self._tell(task, worker, lambda message_id: ReleaseTask(task["item"], worker, message_id))
        await tasks.release_task(self._pool, task_id, worker)
        return await tasks.read_task(self._pool, self._tenant, task_id, now)

    async def complete(self, task_id: str, worker: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """Hand in the task's form; the plan checks it.

        Raises:
            TaskTaken: the worker does not hold it (its lease may have lapsed).
            BadForm: what was filled in does not meet the form.
        """
        now = self._clock()
        task = await self._held(task_id, worker, now)
        await self._tell(task, worker, lambda message_id: CompleteTask(task["item"], worker, data, message_id))
        await tasks.release_task(self._pool, task_id, worker)
        self.completed += 1
        return await tasks.read_task(self._pool, self._tenant, task_id, now)

    async def annotate(self, task_id: str, worker: str, text: str) -> dict[str, Any]:
        """Leave a note with the task's item; anybody may, while the order runs."""
        task = await tasks.read_task(self._pool, self._tenant, task_id, self._clock())
        await self._tell(task, worker, lambda message_id: AnnotateItem(task["item"], text, message_id))
        return {"id": task_id, "by": worker, "text": text}

    async def bulk(self, action: str, task_ids: Sequence[str], worker: str, argument: Any) -> list[Any]:
        """Claim, release, complete or assign each task; the outcomes in order: the task, or the refusal."""
        one: Callable[[str], Awaitable[Any]] = {
            "claim": lambda task_id: self.claim(task_id, worker, argument),
            "release": lambda task_id: self.release(task_id, worker),
            "complete": lambda task_id: self.complete(task_id, worker, argument),
            "assign": lambda task_id: self.hand_over(task_id, worker, argument[0], argument[1], True),
        }[action]
        places = asyncio.Semaphore(BULK_AT_ONCE)

        async def done(task_id: str) -> Any:
            async with places:
                return await _or_error(one(task_id))

        return await asyncio.gather(*(done(task_id) for task_id in task_ids))

    async def sweep(self) -> int:
        """Tell plans of claims whose lease is over, and forget these; returns how many there were (at most 200).

        The claim goes last: whoever dies in between leaves it to the next sweep, and the plan hears twice, which is
        harmless. Somebody who claims the task meanwhile keeps it.
        """
        found = await tasks.lapsed_claims(self._pool, self._tenant, self._clock(), SWEEP_MAX)
        await asyncio.gather(*(self._lapse(claim) for claim in found))
        return len(found)

    async def _lapse(self, claim: tasks.Lapsed) -> None:
        if claim.order_id is not None and claim.item is not None:
            item, place = claim.item, {"orderId": claim.order_id}
            try:
                await self._tell(place, None, lambda message_id: ReleaseTask(item, claim.worker, message_id))
            except Busy:
                log.warning("a plan was not told of a lapsed claim, trying again", order_id=claim.order_id)
                return
            except OrderplanError as error:
                # The plan has moved on, or nobody can read it: there is nothing that it could be told.
                log.info("a plan takes no news of a lapsed claim", order_id=claim.order_id, code=error.code)
        if await tasks.drop_lapsed(self._pool, claim):
            self.lapsed += 1
        elif claim.item is not None:
            await self._restore(claim)

    async def _restore(self, claim: tasks.Lapsed) -> None:
        """The task was claimed again meanwhile; if by the same person, the plan has just been told the opposite."""
        now = self._clock()
        task = await tasks.read_task(self._pool, self._tenant, claim.task_id, now)
        if task["worker"] != claim.worker:
            return
        try:
            await self._tell(task, claim.worker, lambda message_id: ClaimTask(task["item"], claim.worker, message_id))
        except OrderplanError:
            log.warning("a plan was not told that a lapsed claim was renewed", order_id=task["orderId"])

    async def _held(self, task_id: str, worker: str, now: datetime) -> dict[str, Any]:
        task = await tasks.read_task(self._pool, self._tenant, task_id, now)
        if task["closedAt"] is not None:
            raise NotPossibleNow(f"task {task_id} is closed")
        if task["worker"] != worker:
            raise tasks.not_held(task, worker)
        return task

    async def _tell(
        self, task: Mapping[str, Any], worker: str | None, message_of: Callable[[str], PlanMessage]
    ) -> None:
        """Tell the task's plan; worker None: the clock does."""
        message_id = uuid.uuid4().hex
        actor = f"person:{worker}" if worker is not None else "system"
        envelope = ToPlan(task["orderId"], message_of(message_id), actor=actor, cause=message_id)
        await self._hosts.ask(
            "receive_orders", shard_of(task["orderId"]), envelope, timeout_s=ANSWER_TIMEOUT_S
        )


def _lease(lease_s: float | None) -> float:
    return min(lease_s or LEASE_S_DEFAULT, LEASE_S_MAX)


class ManualQueueActor:
    """Ray's shell around the queues."""

    def __init__(self, config: ClusterConfig) -> None:
        prepare_process(config.log_level)
        self._config = config
        self._queues: ManualQueues | None = None
        self._opening = asyncio.Lock()
        # Ray starts a dead actor again by its constructor alone, so sweeping begins here.
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep())
        self._vault: Vault | None = None
        self._keys: KeyDesk | None = None
        self._erasures: ErasureDesk | None = None
        self._jobs: Jobs | None = None
        self._resumer: Resumer | None = None
        self._related: RelatedOrders | None = None
        self._counter: Counter | None = None
        self._working = asyncio.get_running_loop().create_task(self._work())

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                queues = await self._ready()
                while await queues.sweep() == SWEEP_MAX:
                    pass
            except Exception as error:
                # The next round tries again; a claim is gone by the clock, with or without it.
                if not is_unavailable(error):
                    log.exception("lapsed claims could not be swept")

    async def _ready(self) -> ManualQueues:
        async with self._opening:
            if self._queues is None:
                tenant = self._config.tenant
                async with AsyncExitStack() as opened:
                    pool = await open_pool(self._config.dsn)
                    opened.callback(pool.terminate)
                    keys = await open_pool(self._config.key_dsn, size_max=2)
                    opened.callback(keys.terminate)
                    hosts = HostClient(Ownership(pool))
                    await hosts.open()
                    # All or none: what waits for the jobs would otherwise find queues without them, for ever.
                    self._vault = Vault(keys, pool, await open_wrapping(keys, self._config.key_provider))
                    self._keys = KeyDesk(self._vault, pool, lambda: datetime.now(UTC))
                    self._erasures = ErasureDesk(pool, self._vault, hosts, lambda: datetime.now(UTC))
                    self._jobs = Jobs(
                        pool,
                        self._vault,
                        hosts,
                        tenant,
                        clock=lambda: datetime.now(UTC),
                        submit=partial(_submit_lines, tenant),
                    )
                    self._resumer = Resumer(HeldItems(pool, tenant), hosts, clock=lambda: datetime.now(UTC))
                    store = ReadStore(pool)
                    self._related = RelatedOrders(RelatedWaitRows(pool, tenant), store, PlanFolder(store), hosts)
                    self._counter = Counter(Counting(pool, tenant), clock=lambda: datetime.now(UTC))
                    self._queues = ManualQueues(pool, hosts, tenant)
                    opened.pop_all()
            return self._queues

    async def _work(self) -> None:
        """Work on bulk jobs, let held items go, tell of related orders and count, as soon as the database is there."""
        while self._jobs is None or self._resumer is None or self._related is None or self._counter is None:
            try:
                await self._ready()
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("bulk jobs cannot begin; tried again")
                await asyncio.sleep(SWEEP_S)
        assert self._vault is not None
        await asyncio.gather(
            self._jobs.run(),
            self._resumer.run(),
            self._related.run(),
            self._counter.run(),
            self._vault.keep_current(),
        )

    async def ask_keys(self, method: str, *args: Any, **options: Any) -> Any:
        """What the method of `KeyDesk` gives; a refusal comes back as the error itself."""
        await self._ready()
        return await _or_error(getattr(self._keys, method)(*args, **options))

    async def ask_erasures(self, method: str, *args: Any, **options: Any) -> Any:
        """What the method of `ErasureDesk` gives; a refusal comes back as the error itself."""
        await self._ready()
        return await _or_error(getattr(self._erasures, method)(*args, **options))

    async def ask_jobs(self, method: str, *args: Any) -> Any:
        """What the method of `Jobs` gives; a refusal comes back as the error itself."""
        await self._ready()
        assert self._jobs is not None
        return await _or_error(getattr(self._jobs, method)(*args))

    async def ask(self, method: str, *args: Any) -> Any:
        """What the method of `ManualQueues` gives; a refusal comes back as the error itself."""
        return await _or_error(getattr(await self._ready(), method)(*args))

    async def stats(self) -> dict[str, Any]:
        """Counters for metrics."""
        queues = await self._ready()
        return {
            "claimed": queues.claimed,
            "completed": queues.completed,
            "lapsed": queues.lapsed,
            "jobItems": self._jobs.settled if self._jobs is not None else 0,
            "resumed": self._resumer.resumed if self._resumer is not None else 0,
            "relatedTold": self._related.told if self._related is not None else 0,
            "counted": self._counter.counted if self._counter is not None else 0,
            "pid": os.getpid(),
        }


async def _submit_lines(tenant: str, campaign: str, lines: list[tuple[int, bytes]]) -> dict[int, dict[str, Any]]:
    """Have the gateway submit lines, for as long as it takes.

    Raises:
        Busy: it is not there, or does not take any.
    """
    handle = handle_of(GATEWAY)
    if handle is None:
        raise Busy("there is no gateway", retryAfterS=1)
    try:
        found = await handle.submit_lines.remote(tenant, campaign, lines)
    except Exception as error:
        if not is_remote_failure(error):
            raise
        raise Busy("the gateway has died", retryAfterS=1) from error
    if isinstance(found, OrderplanError):
        raise found
    answers: dict[int, dict[str, Any]] = found
    return answers


async def _or_error(call: Any) -> Any:
    """Refusals travel as values: Ray would wrap an exception and lose its class."""
    try:
        return await call
    except OrderplanError as error:
        return error
