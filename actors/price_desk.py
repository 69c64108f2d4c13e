"""Where orders wait for price functions: outside of the host's loop, in the order of their account.

A tick that meets a call of a price function without an answer decides nothing of that order and leaves it here. The
functions run in processes of their own, one for each function, and the order goes back to the head of the inbox with
the answers. New orders of the same account wait behind it, so that they are accepted in the order in which they came;
everybody else passes. An order that no rule with a function concerns never comes here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final

import structlog

from actors.envelopes import Envelope, Later, NotOwner, Readmit, Submission, ToPlan
from adapters.price_process import FunctionUnloadable, PriceProcess, not_here
from domain.errors import Busy, OrderplanError
from domain.price_calls import PriceCall

log = structlog.get_logger(__name__)

WAITING_MAX: Final = 2_000
"""Orders that wait here; more are refused, to come again."""
WAIT_S: Final = 10.0
"""An order that gets no answers for so long is refused: a function that hangs must not keep all its orders waiting."""
ROUNDS_MAX: Final = 100
"""How often one order may ask: once for each rank of its products, and again when its account changes meanwhile."""
PROCESSES_MAX: Final = 16
"""Functions that have a process at once; the one that was asked longest ago loses its own."""

DeskKey = tuple[str, str]
"""An account, or an order that is to be taken up."""


LATE_MAX: Final = 10_000
"""Late answers that are kept for senders that do not ask for them; the oldest goes first."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An envelope that waits for calls; without any it waits behind another one of its key."""

    key: DeskKey
    envelope: Submission | Readmit | ToPlan
    calls: tuple[PriceCall, ...]


class PriceDesk:
    """The envelopes that wait, and the processes of the functions.

    `back` takes envelopes that can be decided now; `refuse` answers one that cannot.
    """

    def __init__(
        self,
        back: Callable[[list[Envelope]], None],
        refuse: Callable[[Envelope, OrderplanError], None],
        process: Callable[[str], PriceProcess] = PriceProcess,
    ) -> None:
        self._back = back
        self._refuse = refuse
        self._make = process
        self.waiting: dict[DeskKey, list[Envelope]] = {}
        """By key, the one that asks and those behind it."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._processes: dict[str, tuple[PriceProcess, asyncio.Lock]] = {}
        self._count = 0

    def take(self, asked: Iterable[Asked]) -> None:
        """Take in what a tick could not decide."""
        for each in asked:
            if self._is_full(each):
                self._refuse(each.envelope, Busy("too many orders wait for price functions", retryAfterS=2))
                continue
            self._count += 1
            known = self.waiting.setdefault(each.key, [])
            known.append(each.envelope)
            if len(known) == 1:
                self._begin(self._serve(each))

    def _begin(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _is_full(self, asked: Asked) -> bool:
        asked.envelope.rounds += bool(asked.calls)
        return self._count >= WAITING_MAX or asked.envelope.rounds > ROUNDS_MAX

    async def _serve(self, asked: Asked) -> None:
        refusal: OrderplanError | None = None
        try:
            async with asyncio.timeout(WAIT_S):
                await self._ask(asked)
        except TimeoutError:
            refusal = Busy("its price functions did not answer in time", retryAfterS=5)
        except FunctionUnloadable as error:
            refusal = not_here(error)
        except Exception:
            # A bug; its account must not wait behind it for ever.
            log.exception("price functions could not be asked")
            refusal = Busy("its price functions could not be asked", retryAfterS=30)
        if refusal is not None:
            log.error("price functions were not asked", reason=refusal.reason)
        envelopes = self.waiting.pop(asked.key)
        self._count -= len(envelopes)
        if refusal is not None:
            self._refuse(envelopes.pop(0), refusal)
        if envelopes:
            self._back(envelopes)

    async def _ask(self, asked: Asked) -> None:
        by_function: dict[str, list[PriceCall]] = {}
        for call in asked.calls:
            by_function.setdefault(call.function, []).append(call)
        for function, calls in by_function.items():
            process, lock = self._process(function)
            async with lock:
                answers = await process.ask(calls)
            asked.envelope.answers.update(answers)
            failure = next((each.failure for each in answers.values() if each.failure), "")
            if failure:
                # The order is rejected for it: nothing more has to be known.
                log.warning("a price function failed", function=function, reason=failure)
                return

    def _process(self, function: str) -> tuple[PriceProcess, asyncio.Lock]:
        found = self._processes.pop(function, None) or (self._make(function), asyncio.Lock())
        # Last in the order of use.
        self._processes[function] = found
        idle = [name for name, (_, lock) in self._processes.items() if not lock.locked() and name != function]
        for name in idle[: max(0, len(self._processes) - PROCESSES_MAX)]:
            self._end(self._processes.pop(name)[0])
        return found

    def _end(self, process: PriceProcess) -> None:
        """Kill it here and now; that it has ended is waited for meanwhile."""
        if (killed := process.kill()) is not None:
            self._begin(killed.wait())

    def stop(self) -> list[Envelope]:
        """End all processes; returns the envelopes that waited."""
        for task in self._tasks:
            task.cancel()
        for process, _ in self._processes.values():
            self._end(process)
        left = [each for envelopes in self.waiting.values() for each in envelopes]
        self.waiting.clear()
        self._processes.clear()
        self._count = 0
        return left

    async def ended(self) -> None:
        """Return when nothing of what was stopped runs any more."""
        await asyncio.gather(*self._tasks, return_exceptions=True)


class LateAnswers:
    """Answers that come later than those to orders of the same call, whose senders must not wait with them: few calls
    may be open at a time, and one that waits for a function would hold up all orders behind it.
    """

    def __init__(self) -> None:
        self._futures: dict[str, asyncio.Future[Any]] = {}
        self._count = 0

    def put_off(self, envelope: Envelope) -> None:
        """Answer the sender of an order that it has to ask once more, if it was not told before."""
        if not isinstance(envelope, Submission) or envelope.reply is None or envelope.token:
            return
        self._count += 1
        envelope.token = str(self._count)
        told, envelope.reply = envelope.reply, asyncio.get_running_loop().create_future()
        self._futures[envelope.token] = envelope.reply
        if not told.done():
            told.set_result(Later(envelope.token))
        while len(self._futures) > LATE_MAX:
            del self._futures[next(iter(self._futures))]

    async def get(self, token: str) -> Any:
        """The answer, when it is there; `NotOwner` for one that is not known any more: send the order again."""
        future = self._futures.get(token)
        if future is None:
            return NotOwner("the answer is not known here any more")
        try:
            # Whoever gives up waiting must not cancel it for a repeat.
            return await asyncio.shield(future)
        finally:
            if future.done():
                self._futures.pop(token, None)
