"""Bulk jobs at work: a job's items are told to their plans at its rate, and what became of each is written.

A job goes window by window: mark how far it is sent, send, hear every answer, write the outcomes, then the next. So at
most one window is unsettled when a runner dies. Whoever takes the job over repeats that window with the same message
ids (job and number). Three things keep the repeat from doing anything twice and from calling done work refused:

- The facts are read first: what has made a fact whose cause is the message is done, however its item stands now.
- A copy of the earlier life that is still on its way meets the repeat at the plan, which remembers the last 50 messages
  of people. The windows of all jobs together hold fewer items of one plan than that.
- A refusal counts only if no fact says that the message was done after all.

A campaign is a job whose items are orders to submit. Its lines are encrypted where they wait, and go through the
gateway to the bulk lane, behind the orders that somebody waits for; a window of them takes as long as it takes. A
repeat submits the same orders: by the name that the document gives, or by campaign and number.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, cast

import orjson
import structlog

from actors.envelopes import Envelope, ToPlan
from domain import facts as f
from domain.errors import NotFound, OrderplanError
from domain.ids import shard_of
from domain.messages import ChangeOrder, OperateItem, SteerOrder
from domain.states import ItemState
from persistence import jobs
from persistence.database import Pool, is_unavailable
from persistence.fallout import FalloutFilter
from persistence.jobs import ORDER_ACTIONS, SUBMIT, JobItem, JobLost, NewJob, Outcome, Taken
from persistence.search import OrderSelection
from persistence.vault import Vault, unwrapped, wrapped

log = structlog.get_logger(__name__)

WINDOW_MAX: Final = 200
PLAN_WINDOW_MAX: Final = 10
"""Items of one plan in a window: times `JOBS_AT_ONCE_MAX` it has to stay below what a plan remembers."""
TRIES_MAX: Final = 3
RETRY_S: Final = 1.0
ANSWER_TIMEOUT_S: Final = 20.0
LEASE_S: Final = 10.0
IDLE_S: Final = 0.5
KEEP_S: Final = 2.0
"""Between two renewals of a lease; so long it takes at most until a pause or stop is seen."""
JOBS_AT_ONCE_MAX: Final = 4
CAMPAIGNS_AT_ONCE_MAX: Final = 2
"""Of them: a campaign may go on for days, and repairs must not wait for it."""
SHRED_S: Final = 5.0
"""Between two looks for campaigns that have ended and have a key."""
REASON_LENGTH_MAX: Final = 500

DID: Final = {
    f.ITEM_EDITED: "edited",
    f.ITEM_SKIPPED: "skipped",
    f.ITEM_COMPLETED: "completed",
    f.ITEM_RETRIED: "retried",
    f.PLAN_HELD: "held",
    f.PLAN_RESUMED: "resumed",
    f.ORDER_PRIORITIZED: "prioritized",
    f.CHANGE_ASKED: "asked",
}
"""What a fact that a job makes says was done; of several the first, since what follows happens by itself."""
_WANTED: Final = {
    "retry": "retried",
    "skip": "skipped",
    "complete": "completed",
    "edit": "edited",
    "hold": "held",
    "resume": "resumed",
    "prioritize": "prioritized",
    "cancel": "asked",
}
"""`asked`: a cancellation is carried out when work under way has ended."""


class Asks(Protocol):
    """The way to the plans."""

    async def ask(self, lane: str, shard: int, envelope: Envelope, *, timeout_s: float) -> Any: ...


Lines = list[tuple[int, bytes]]
SubmitLines = Callable[[str, Lines], Awaitable[dict[int, dict[str, Any]]]]
"""Submits lines of a campaign, each by its number; for each that was answered an `id` and a `state`, or an `error`."""


@dataclass(slots=True)
class _Window:
    """Items under way: which are still open, and the last error of those that had one."""

    open: dict[int, JobItem]
    errors: dict[int, OrderplanError] = field(default_factory=dict)


class Jobs:
    """Takes bulk jobs in and works on them; plain asyncio, lives in the people actor. A second one is harmless."""

    def __init__(
        self,
        pool: Pool,
        vault: Vault,
        hosts: Asks,
        tenant: str,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        submit: SubmitLines | None = None,
    ) -> None:
        self._pool = pool
        self._vault = vault
        self._hosts = hosts
        self._tenant = tenant
        self._clock = clock
        self._sleep = sleep
        self._submit = submit
        self._working: dict[asyncio.Task[None], str] = {}
        """What is worked on, with its action."""
        self._shred_at = clock()
        self.settled = 0

    async def start_job(
        self,
        action: str,
        operator: str,
        reason: str,
        selection: Mapping[str, Any],
        wanted: FalloutFilter | OrderSelection | None,
        items: Sequence[tuple[str, str]],
        argument: Mapping[str, Any],
        rate: float,
        key: str,
    ) -> dict[str, Any]:
        """Freeze a selection and begin; the job as it stands. The same job under the same key is the first one.

        Of a job over orders each item is an order's id and an empty text.

        `argument` is an answer or a payload. It may hold what must not stay: it is kept encrypted, and only for as long
        as the job runs.
        """
        given = [self._tenant, action, operator, reason, selection, items, argument, rate, key]
        job_id = hashlib.blake2b(orjson.dumps(given), digest_size=8).hexdigest()
        await self._vault.load_tenant(self._tenant)
        sealed = self._vault.encrypt(self._tenant, None, dict(argument)) if argument else None
        job = NewJob(job_id, self._tenant, action, operator, reason, selection, rate, sealed)
        await jobs.create_job(self._pool, job, wanted=wanted, items=items, now=self._clock())
        return await jobs.read_job(self._pool, self._tenant, job_id)

    async def create_campaign(self, name: str, operator: str, reason: str, rate: float, key: str) -> dict[str, Any]:
        """Make a campaign that is to be loaded; the job as it stands. The same under the same key is the first one."""
        given = [self._tenant, SUBMIT, operator, reason, name, rate, key]
        job_id = hashlib.blake2b(orjson.dumps(given), digest_size=8).hexdigest()
        job = NewJob(job_id, self._tenant, SUBMIT, operator, reason, {"campaign": name}, rate)
        await jobs.create_campaign(self._pool, job, self._clock())
        made = await jobs.read_job(self._pool, self._tenant, job_id)
        if made["state"] == "loading":
            await self._vault.make_key(_owner(job_id))
        return made

    async def load(self, job_id: str, after: int, lines: Sequence[bytes]) -> int:
        """Append lines to a campaign that has `after` so far; how many it has then.

        Raises:
            NotFound, NotPossibleNow: see `persistence.jobs.add_lines`.
        """
        # Before the key: that of a campaign that has ended is gone, which would tell nothing of why.
        await jobs.check_loading(self._pool, self._tenant, job_id, after)
        owner = _owner(job_id)
        key = await self._vault.key_of(owner)
        bodies = [wrapped(key, owner, line) for line in lines]
        return await jobs.add_lines(self._pool, self._tenant, job_id, after, bodies)

    async def run(self) -> None:
        """Work on jobs for ever, on a few at once: a slow one does not keep the others waiting."""
        while True:
            try:
                while len(self._working) < JOBS_AT_ONCE_MAX and (job := await self._take()) is not None:
                    task = asyncio.get_running_loop().create_task(self._work_or_leave(job))
                    self._working[task] = job.action
                    task.add_done_callback(self._working.pop)
                await self.shred()
            except Exception as error:
                # A job stands in its row until somebody has done it.
                if not is_unavailable(error):
                    log.exception("jobs could not be taken up")
            await self._sleep(IDLE_S)

    async def shred(self) -> None:
        """Destroy the keys of campaigns that have ended: copies of their lines can be opened by nobody from then on."""
        if self._clock() < self._shred_at:
            return
        self._shred_at = self._clock() + timedelta(seconds=SHRED_S)
        ended = await jobs.ended_campaigns(self._pool, self._tenant)
        if ended:
            await self._vault.destroy([_owner(job_id) for job_id in ended])
            await jobs.key_is_gone(self._pool, ended)

    async def _work_or_leave(self, job: Taken) -> None:
        try:
            await self._work(job)
        except JobLost:
            log.warning("a job was taken over", job_id=job.job_id)
        except Exception as error:
            # The lease ends, and whoever takes the job then goes on where this one was.
            if is_unavailable(error):
                log.warning("a job waits for the database", job_id=job.job_id)
            else:
                log.exception("a job was interrupted", job_id=job.job_id)

    async def work(self) -> bool:
        """Take one job and work on it until it is done, paused or stopped; False when there is none.

        Raises:
            JobLost: somebody else works on it now.
        """
        job = await self._take()
        if job is not None:
            await self._work(job)
        return job is not None

    async def _take(self) -> Taken | None:
        campaigns = sum(action == SUBMIT for action in self._working.values()) < CAMPAIGNS_AT_ONCE_MAX
        return await jobs.take_job(self._pool, self._tenant, self._clock(), LEASE_S, campaigns=campaigns)

    async def _work(self, job: Taken) -> None:
        argument = await self._argument(job)
        if argument is not None:
            await self._go_on(job, argument)
            if not await jobs.finish(self._pool, job, self._clock()):
                await jobs.leave_job(self._pool, job)

    async def _argument(self, job: Taken) -> dict[str, Any] | None:
        """What messages hold besides what all of them do; None: it cannot be read, and the job is paused."""
        if job.argument is None or job.action == SUBMIT:
            return {}
        try:
            opened = await self._vault.open_all(job.tenant, "", job.argument)
        except OrderplanError as error:
            log.error("a job's argument cannot be opened, so it is paused", job_id=job.job_id, code=error.code)
            await jobs.steer(self._pool, job.tenant, job.job_id, "pause", self._clock())
            await jobs.leave_job(self._pool, job)
            return None
        if job.action in ORDER_ACTIONS:
            return dict(opened)
        return {"answer": opened} if job.action == "complete" else {"payload": opened, "is_patch": True}

    async def _go_on(self, job: Taken, argument: Mapping[str, Any]) -> None:
        state = job.state
        left = await jobs.sent_items(self._pool, job)
        if left:
            state = await self._settle(job, left, argument, state, is_repeat=True)
        sent_to = job.sent_to
        while state == "running":
            items = _window(job, await jobs.next_items(self._pool, job, sent_to, _size(job.rate)))
            if not items:
                return
            begun = self._clock()
            sent_to = items[-1].number
            if not await jobs.mark_sent(self._pool, job, sent_to, begun, LEASE_S):
                return
            state = await self._settle(job, items, argument, state, is_repeat=False)
            state = await self._wait(job, begun + timedelta(seconds=len(items) / job.rate), state)

    async def _settle(
        self, job: Taken, items: Sequence[JobItem], argument: Mapping[str, Any], state: str, *, is_repeat: bool
    ) -> str:
        """Bring a window to its outcomes; returns the job's state. Of a paused job some may stay open."""
        window = _Window({each.number: each for each in items})
        # A crowd before the hosts may last: an order of a campaign waits for as long, and its campaign with it.
        for attempt in itertools.count() if job.action == SUBMIT else range(TRIES_MAX):
            if attempt:
                state = await self._wait(job, self._clock() + timedelta(seconds=RETRY_S), state)
            if attempt or is_repeat:
                await self._record(job, await self._done_before(job, window.open.values()), window)
            if not window.open or state != "running":
                break
            outcomes = self._send_lines(job, window) if job.action == SUBMIT else self._send(job, argument, window)
            await self._record(job, await outcomes, window)
            state = await jobs.keep_job(self._pool, job, self._clock(), LEASE_S)
            if not window.open:
                break
        if window.open and state != "paused":
            late = await self._done_before(job, window.open.values())
            await self._record(job, late, window)
            failed = [_failure(number, window.errors.get(number), state) for number in window.open]
            await self._record(job, failed, window)
        return state

    async def _record(self, job: Taken, outcomes: Sequence[Outcome], window: _Window) -> None:
        if not outcomes:
            return
        await jobs.settle(self._pool, job, outcomes, self._clock(), LEASE_S)
        self.settled += len(outcomes)
        for each in outcomes:
            del window.open[each.number]

    async def _send(self, job: Taken, argument: Mapping[str, Any], window: _Window) -> list[Outcome]:
        """Send what is open once; outcomes of what was answered. What was not stays open with its error."""
        items = list(window.open.values())
        calls = [asyncio.ensure_future(self._ask(job, each, argument)) for each in items]
        await self._hear(job, calls)
        outcomes, refused = [], {}
        for each, call in zip(items, calls, strict=True):
            answer = call.result()
            if not isinstance(answer, OrderplanError):
                outcomes.append(_done(job, each.number, answer))
            elif answer.status >= 500:
                window.errors[each.number] = answer
            else:
                refused[each.number] = answer
        after_all = await self._done_before(job, [window.open[number] for number in refused])
        outcomes += after_all
        for number in refused.keys() - {each.number for each in after_all}:
            error = refused[number]
            outcomes.append(Outcome(number, "refused", error.code, str(error)[:REASON_LENGTH_MAX]))
        return outcomes

    async def _hear(self, job: Taken, calls: Collection[asyncio.Future[Any]]) -> None:
        """Return when all calls are over; the job stays with this runner meanwhile."""
        try:
            pending = set(calls)
            while pending:
                _, pending = await asyncio.wait(pending, timeout=KEEP_S)
                if pending:
                    await jobs.keep_job(self._pool, job, self._clock(), LEASE_S)
        finally:
            for call in calls:
                call.cancel()

    async def _send_lines(self, job: Taken, window: _Window) -> list[Outcome]:
        """Submit what is open of a campaign; outcomes of what was answered. What was not stays open."""
        found = await jobs.read_lines(self._pool, job, window.open)
        owner = _owner(job.job_id)
        outcomes: list[Outcome] = []
        lines: Lines = []
        try:
            key = await self._vault.key_of(owner)
            lines = [(number, unwrapped(key, owner, body)) for number, body in found.items()]
        except NotFound as error:
            log.error("the orders of a campaign cannot be read", job_id=job.job_id, code=error.code)
        unread = window.open.keys() - {number for number, _ in lines}
        outcomes += [Outcome(each, "failed", "unreadable", "the order cannot be read any more") for each in unread]
        call = asyncio.ensure_future(self._submitted(job, lines))
        await self._hear(job, [call])
        for number, answer in call.result().items():
            refusal = answer.get("error")
            if refusal is None and answer["state"] == "rejected":
                reason = "the order says why: its stateReasons"
                outcomes.append(Outcome(number, "refused", "rejected", reason, answer["id"]))
            elif refusal is None:
                outcomes.append(Outcome(number, "done", answer["state"], "", answer["id"]))
            elif refusal["status"] < 500 or "openOrders" in refusal:
                reason = f"{refusal['path']}: {refusal['reason']}" if refusal.get("path") else refusal["reason"]
                outcomes.append(Outcome(number, "refused", refusal["code"], reason[:REASON_LENGTH_MAX]))
        return outcomes

    async def _submitted(self, job: Taken, lines: Lines) -> dict[int, dict[str, Any]]:
        """The answers to lines; none when nobody could be asked."""
        assert self._submit is not None, "campaigns are made where orders can be submitted"
        try:
            return await self._submit(job.job_id, lines)
        except OrderplanError as error:
            log.warning("lines of a campaign could not be submitted", job_id=job.job_id, code=error.code)
            return {}

    async def _ask(self, job: Taken, item: JobItem, argument: Mapping[str, Any]) -> dict[str, Any] | OrderplanError:
        message_id = message_id_of(job.job_id, item.number)
        message = _message(job, item, message_id, argument)
        envelope = ToPlan(item.order_id, message, actor=f"person:{job.operator}", cause=message_id)
        try:
            answer: dict[str, Any] = await self._hosts.ask(
                "receive_orders", shard_of(item.order_id), envelope, timeout_s=ANSWER_TIMEOUT_S
            )
        except OrderplanError as error:
            return error
        return answer

    async def _done_before(self, job: Taken, items: Collection[JobItem]) -> list[Outcome]:
        """Outcomes of those whose message has made facts already."""
        numbers = {message_id_of(job.job_id, each.number): each.number for each in items}
        if not numbers or job.action == SUBMIT:
            # A line that is submitted once more is the same order, and the answer says so.
            return []
        found = await jobs.facts_by_cause(self._pool, [each.order_id for each in items], numbers)
        return [
            Outcome(
                numbers[cause],
                "done",
                next((DID[kind] for kind in kinds if kind in DID), _WANTED[job.action]),
                "its facts say so; the answer was not heard",
            )
            for cause, kinds in found.items()
        ]

    async def _wait(self, job: Taken, until: datetime, state: str) -> str:
        """Wait until then, or until the job does not run any more; returns the job's state."""
        while state == "running" and (rest_s := (until - self._clock()).total_seconds()) > 0:
            await self._sleep(min(rest_s, KEEP_S))
            state = await jobs.keep_job(self._pool, job, self._clock(), LEASE_S)
        return state


def _message(
    job: Taken, item: JobItem, message_id: str, argument: Mapping[str, Any]
) -> OperateItem | SteerOrder | ChangeOrder:
    """What the plan is told of one item of a job."""
    if job.action == "cancel":
        return ChangeOrder("cancel", job.reason, message_id)
    if job.action in ORDER_ACTIONS:
        return SteerOrder(cast("Any", job.action), job.reason, message_id, **argument)
    return OperateItem(
        item=item.item,
        action=cast("Any", job.action),
        operator=job.operator,
        reason=job.reason,
        message_id=message_id,
        is_fallout_only=True,
        **argument,
    )


def _owner(job_id: str) -> str:
    """What a campaign is called where keys are kept."""
    return f"job {job_id}"


def message_id_of(job_id: str, number: int) -> str:
    """What names the message about one item of a job: the same in every life of every runner."""
    return f"job {job_id}/{number}"


def _size(rate: float) -> int:
    """How many items are sent together: those of one second, within bounds."""
    return min(WINDOW_MAX, max(1, math.floor(rate)))


def _window(job: Taken, items: Sequence[JobItem]) -> Sequence[JobItem]:
    """The first of these, up to where one plan would have too many."""
    if job.action == SUBMIT:
        return items
    counts: Counter[str] = Counter()
    for index, each in enumerate(items):
        counts[each.order_id] += 1
        if counts[each.order_id] > PLAN_WINDOW_MAX:
            return items[:index]
    return items


def _done(job: Taken, number: int, answer: Mapping[str, Any]) -> Outcome:
    if job.action in ORDER_ACTIONS:
        waits = "waits for work under way; " if answer.get("pending") else ""
        return Outcome(number, "done", _WANTED[job.action], f"{waits}{answer['state']} right after")
    state = answer.get("itemState")
    if state is None:
        return Outcome(number, "done", _WANTED[job.action], "the plan had heard of it before")
    # The retry of an item whose condition does not hold skips it.
    did = "skipped" if state == ItemState.SKIPPED.value else _WANTED[job.action]
    return Outcome(number, "done", did, f"{state} right after")


def _failure(number: int, error: OrderplanError | None, state: str) -> Outcome:
    if error is None or state == "stopped":
        return Outcome(number, "failed", "unknown", "the job was stopped before anybody knew whether it was done")
    reason = f"after {TRIES_MAX} tries: {error}"
    return Outcome(number, "failed", error.code, reason[:REASON_LENGTH_MAX])
