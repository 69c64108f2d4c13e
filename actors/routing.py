"""Finding the owner of a shard and talking to it: batched, retried until answered or out of time.

Used by everybody who sends to plans (gateway, adapters, people). The routing table is Postgres; a sender lives on its
last copy while the director is away, and reads it again when a host says `NotOwner`, has died, or is slow.

An envelope is with one host at a time. A host that is slow to answer is not asked again: the first copy may still wait
in its inbox, so a second one would double the work just when there is too much of it. Its calls stay open, which bounds
what one sender can have in its inbox (`CALLS_OPEN_MAX` calls of `BATCH_MAX` a lane); all else waits here. Such a wait
ends when the host answers, when Ray says that it has died, or when the table names another owner: a host that hangs is
fenced by the director. Only then is an envelope sent again, to the owner of that time. Nobody may know whether the
first copy was decided, but a repeat decides nothing twice: submissions carry a client key, reports an attempt,
operators a message id.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from actors.classes import Classes
from actors.envelopes import Envelope, ImportAssets, Later, NotOwner, Submission
from actors.lines import DirectHandle
from actors.pace import Pace
from actors.ports import TablePort
from actors.remote import direct_handle_of, is_remote_failure
from domain.errors import Busy, OrderplanError
from domain.priorities import HIGH, NORMAL
from persistence.database import is_unavailable

log = structlog.get_logger(__name__)

BATCH_MAX: Final = 500
ORDERS_LANE: Final = "receive_orders"
BULK_LANE: Final = "receive_bulk"
ORDERS_BATCH_MAX: Final = 25
ANSWERS_A_TURN: Final = 5
"""So many answers to orders are passed on in one turn of the sender's loop, and make room for as many new ones: whoever
asks meanwhile waits for one turn only.
"""
CALLS_OPEN_MAX: Final = 4
"""Ray calls in flight to one host and lane; what waits meanwhile travels together in the next."""
WAITING_MAX: Final = 10_000
RETRY_S: Final = 0.1
LOOK_S: Final = 5.0
"""Between two looks at the table while a call is not answered."""


@dataclass(slots=True)
class _Waiting:
    """An envelope without its answer yet; `answered` is called once, `is_over` says that nobody waits any more."""

    envelope: Envelope
    shard: int
    answered: Callable[[Any], None]
    deadline: float
    is_over: bool = False


@dataclass(slots=True)
class _Lane:
    """What waits for one host on one of its methods."""

    waiting: Classes[_Waiting] = field(default_factory=Classes)
    pace: Pace = field(default_factory=Pace)
    open_calls: int = 0
    is_scheduled: bool = False


class HostClient:
    """Sends envelopes to the hosts that own their shards.

    `lane` names the method at the host: `receive_orders`, `receive_bulk` or `receive_reports`.
    """

    def __init__(
        self,
        table: TablePort,
        *,
        handles: Callable[[str], Any | None] = direct_handle_of,
    ) -> None:
        self._table = table
        self._handle_of = handles
        self._owners: dict[int, str] = {}
        self._handles: dict[str, Any] = {}
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._homeless: deque[tuple[str, _Waiting]] = deque()
        self._refreshing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.shards = 0

    async def open(self) -> None:
        """Read the routing table once."""
        self.shards = await self._table.shard_count()
        await self._read_table()

    def admit(self, shard: int | None = None, class_: int = NORMAL) -> None:
        """See whether one more order of a class may be sent to the shard's owner, or (None) to anybody; to be asked
        before `ask`, since the sender of an order can come again later.

        Raises:
            Busy: it would wait for too long.
        """
        owners = set(self._owners.values()) if shard is None else {self._owners.get(shard)}
        queues = [self._lanes.get((owner, ORDERS_LANE)) for owner in owners if owner is not None]
        if not queues:
            return
        now = asyncio.get_running_loop().time()
        # The one that is served soonest speaks for all.
        soonest = min(queues, key=lambda queue: queue.pace.expected_s(now) if queue is not None else 0.0)
        if soonest is not None:
            overtaken = len(soonest.waiting) - soonest.waiting.ahead_of(class_)
            soonest.pace.admit(now, "orders", soonest.pace.waiting - overtaken)

    async def answered(self) -> None:
        """Return when nobody waits for an answer."""
        await self._idle.wait()

    def hosts(self) -> dict[str, Any]:
        """Handles of the hosts that own shards now, by incarnation."""
        found = {}
        for incarnation_id in sorted(set(self._owners.values())):
            handle = self._handle(incarnation_id)
            if handle is not None:
                found[incarnation_id] = handle
        return found

    async def ask(self, lane: str, shard: int, envelope: Envelope, *, timeout_s: float) -> Any:
        """Send one envelope and return the host's answer, which is given after its commit.

        Raises:
            OrderplanError: the host refuses; nothing was changed.
            Busy: too much is waiting, or nobody answered in time; whether it was decided is unknown then.
        """
        if self._waiting >= WAITING_MAX:
            raise Busy("too many requests are waiting", retryAfterS=1)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        waiting = _Waiting(envelope, shard, future.set_result, loop.time() + timeout_s)
        self._waiting += 1
        self._idle.clear()
        try:
            self._enqueue(lane, waiting)
            async with asyncio.timeout(timeout_s):
                answer = await future
        except TimeoutError:
            raise Busy("no plan host answered in time; the outcome is unknown", retryAfterS=1) from None
        finally:
            waiting.is_over = True
            self._waiting -= 1
            if not self._waiting:
                self._idle.set()
        if isinstance(answer, OrderplanError):
            raise answer
        return answer

    def post(self, lane: str, shard: int, envelope: Envelope, answered: Callable[[Any], None]) -> None:
        """Send one envelope for as long as it takes; `answered` gets the host's answer, a refusal included.

        No future and no timer of its own: this is how thousands of results a second travel. The caller bounds what it
        has under way.
        """
        self._enqueue(lane, _Waiting(envelope, shard, answered, math.inf))

    def _enqueue(self, lane: str, waiting: _Waiting) -> None:
        owner = self._owners.get(waiting.shard)
        if owner is None or self._handle(owner) is None:
            self._homeless.append((lane, waiting))
            self._refresh()
            return
        queue = self._lanes.get((owner, lane))
        if queue is None:
            queue = self._lanes[owner, lane] = _Lane()
        queue.waiting.append(waiting, _class_of(waiting.envelope))
        if lane == ORDERS_LANE:
            # The only one of which anybody asks how long one more would wait.
            queue.pace.joined(asyncio.get_running_loop().time())
        if not queue.is_scheduled and queue.open_calls < CALLS_OPEN_MAX:
            # At the end of this turn of the loop: whatever arrives in the same turn travels in one call.
            queue.is_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush, owner, lane)

    def _flush(self, owner: str, lane: str) -> None:
        queue = self._lanes[owner, lane]
        queue.is_scheduled = False
        while queue.waiting and queue.open_calls < CALLS_OPEN_MAX:
            size = ORDERS_BATCH_MAX if lane == ORDERS_LANE else BATCH_MAX
            batch = queue.waiting.take(size)
            queue.open_calls += 1
            self._begin(self._call(owner, lane, batch))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(self, owner: str, lane: str, batch: list[_Waiting]) -> None:
        queue = self._lanes[owner, lane]
        loop = asyncio.get_running_loop()
        asked: list[_Waiting | None] = [each for each in batch if not each.is_over]
        again: list[_Waiting] = []
        left = 0
        try:
            if asked:
                method = getattr(self._handles[owner], lane)
                call = asyncio.ensure_future(method.remote([each.envelope for each in asked if each is not None]))
                answers = await self._heard(call, owner, lane, asked)
                for index, (each, answer) in enumerate(zip(asked, answers, strict=True), start=1):
                    if lane == ORDERS_LANE and index % ANSWERS_A_TURN == 0:
                        queue.pace.left(loop.time(), index - left)
                        left = index
                        await asyncio.sleep(0)
                    if each is None or each.is_over:
                        continue
                    if isinstance(answer, NotOwner):
                        again.append(each)
                    elif isinstance(answer, Later):
                        self._begin(self._hear_late(owner, lane, each, answer.token))
                    else:
                        each.is_over = True
                        each.answered(answer)
        except Exception as error:
            if not (is_remote_failure(error) or isinstance(error, KeyError)):
                log.exception("a call to a plan host failed", host=owner)
            again = [each for each in asked if each is not None and not each.is_over]
        finally:
            queue.open_calls -= 1
            if lane == ORDERS_LANE:
                queue.pace.left(loop.time(), len(batch) - left)
        self._send_again(lane, again)
        self._flush(owner, lane)

    async def _hear_late(self, owner: str, lane: str, waiting: _Waiting, token: str) -> None:
        """Wait for one answer apart, so that it holds up neither its neighbours nor the lane."""
        answer: Any = None
        try:
            call = asyncio.ensure_future(self._handles[owner].late_answer.remote(token))
            [answer] = await self._heard(call, owner, lane, [waiting])
        except Exception as error:
            if not (is_remote_failure(error) or isinstance(error, KeyError)):
                log.exception("a late answer of a plan host failed", host=owner)
            answer = NotOwner("its host has gone")
        if isinstance(answer, NotOwner):
            self._send_again(lane, [waiting])
        elif answer is not None and not waiting.is_over:
            waiting.is_over = True
            waiting.answered(answer)

    async def _heard(
        self, call: asyncio.Future[list[Any]], owner: str, lane: str, asked: list[_Waiting | None]
    ) -> list[Any]:
        """The answers to a call, however long they take. What the host does not own any more leaves `asked` for its new
        owner; when nothing is left nobody listens any longer.
        """
        while not (await asyncio.wait({call}, timeout=LOOK_S))[0]:
            await self._try_table()
            moved = {
                index: each
                for index, each in enumerate(asked)
                if each is not None and self._owners.get(each.shard) != owner
            }
            for index in moved:
                asked[index] = None
            self._send_again(lane, [each for each in moved.values() if not each.is_over])
            if not any(asked):
                call.cancel()
                return [None] * len(asked)
        return call.result()

    def _send_again(self, lane: str, waiting: list[_Waiting]) -> None:
        """Look for the owners that these have now."""
        if waiting:
            self._homeless.extend((lane, each) for each in waiting)
            self._refresh()

    def _handle(self, incarnation_id: str) -> Any | None:
        handle = self._handles.get(incarnation_id)
        if handle is None:
            handle = self._handle_of(f"host-{incarnation_id}")
            if handle is not None:
                self._handles[incarnation_id] = handle
        return handle

    def _refresh(self) -> None:
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.get_running_loop().create_task(self._rehome())

    async def _rehome(self) -> None:
        """Read the table until everything that has no home is sent or out of time."""
        while self._homeless:
            await asyncio.sleep(RETRY_S)
            await self._try_table()
            now = asyncio.get_running_loop().time()
            waiting, self._homeless = self._homeless, deque()
            for lane, each in waiting:
                if each.is_over or each.deadline < now:
                    continue
                owner = self._owners.get(each.shard)
                if owner is None or self._handle(owner) is None:
                    self._homeless.append((lane, each))
                else:
                    self._enqueue(lane, each)

    async def _try_table(self) -> None:
        """Read the table if the database answers; the last copy stands otherwise."""
        try:
            await self._read_table()
        except Exception as error:
            if not is_unavailable(error):
                log.exception("the routing table cannot be read")

    async def _read_table(self) -> None:
        table = await self._table.assignments()
        self._owners = {each.shard: each.incarnation_id for each in table if each.incarnation_id is not None}
        current = set(self._owners.values())
        for gone in [each for each in self._handles if each not in current]:
            handle = self._handles.pop(gone)
            if isinstance(handle, DirectHandle):
                handle.hang_up()


def _class_of(envelope: Envelope) -> int:
    """Messages for orders that were accepted go first, new orders by their priority, what comes in bulk behind them."""
    if isinstance(envelope, ImportAssets) and envelope.is_bulk:
        return envelope.class_
    return envelope.class_ if isinstance(envelope, Submission) else HIGH
