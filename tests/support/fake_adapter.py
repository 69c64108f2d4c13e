"""An adapter for tests: scripted outcomes, a record of every call, and calls that stay open until they are released.

It honours keys as a good system does: work that was done is done once, and answered the same again.

    system = FakeAdapter()
    system.script(Outcome.retryable("busy"), Outcome.completed({"attributes": {"IMSI": "1"}}), item="Deliver SIM CARD")
    system.hold(item="Deliver Mobile line")
    ...
    await system.open_reached(1)
    system.release()

Wherever a key or an item may be given, `item` is an item's key or its name, and neither means every call.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.interface import Adapter, Outcome, Task

LOST = Outcome.retryable("no answer came before the deadline", "timeout")
"""What a caller sees of a call whose answer does not reach it."""


@dataclass(frozen=True, slots=True)
class _Which:
    """Names calls by key, by item, or all of them."""

    key: str | None = None
    item: str | None = None

    def covers(self, task: Task) -> bool:
        return self.key in (None, task.key) and self.item in (None, task.item, task.name)


class FakeAdapter(Adapter):
    """Does what it is told, and otherwise completes every task with `default`.

    Attributes:
        calls: every task in the order of arrival, repeats too.
        effects: what was done outside, by key: its outcome. A repeat adds nothing.
        repeats: how many calls came for work that was done before.
        open_max: the most calls held at once.
        is_closed: whether `close` was called.
    """

    def __init__(self, default: Outcome | None = None) -> None:
        self.default = default or Outcome.completed()
        self.calls: list[Task] = []
        self.effects: dict[str, Outcome] = {}
        self.repeats = 0
        self.open_max = 0
        self.is_closed = False
        self._scripts: list[tuple[_Which, list[Outcome | Exception]]] = []
        self._losing: list[tuple[_Which, int]] = []
        self._held: list[_Which] = []
        self._open: dict[int, tuple[Task, asyncio.Future[Outcome | None]]] = {}
        self._changed = asyncio.Event()

    def script(self, *outcomes: Outcome | Exception, key: str | None = None, item: str | None = None) -> None:
        """Give the next calls these outcomes, one each; exceptions are raised. Of scripts that fit the oldest goes."""
        self._scripts.append((_Which(key, item), list(outcomes)))

    def lose_answers(self, times: int = 1, *, key: str | None = None, item: str | None = None) -> None:
        """Do the work of the next calls, but let the caller see a time-out."""
        self._losing.append((_Which(key, item), times))

    def hold(self, *, key: str | None = None, item: str | None = None) -> None:
        """Keep calls open, from now on, until `release` or `time_out`."""
        self._held.append(_Which(key, item))

    def release(self, *, key: str | None = None, item: str | None = None) -> None:
        """Let the open calls go on, and hold such calls no longer; without arguments, hold none at all."""
        self._let_go(_Which(key, item), None)

    def time_out(self, *, key: str | None = None, item: str | None = None) -> None:
        """End the open calls as if their deadline had passed with nothing done, and hold such calls no longer."""
        self._let_go(_Which(key, item), LOST)

    @property
    def open(self) -> Sequence[Task]:
        """The calls that are held now, oldest first."""
        return [task for task, _ in self._open.values()]

    async def calls_reached(self, count: int) -> None:
        """Wait until so many calls have arrived."""
        while len(self.calls) < count:
            await self._next_change()

    async def open_reached(self, count: int) -> None:
        """Wait until so many calls are held at once."""
        while len(self._open) < count:
            await self._next_change()

    def calls_of(self, item: str) -> list[Task]:
        """The calls for an item, by its key or name, oldest first."""
        return [task for task in self.calls if _Which(item=item).covers(task)]

    @property
    def calls_by_key(self) -> Counter[str]:
        """How often each key has come."""
        return Counter(task.key for task in self.calls)

    async def perform(self, task: Task) -> Outcome:
        """Do as scripted."""
        self.calls.append(task)
        self._tell()
        if any(which.covers(task) for which in self._held):
            ended = await self._stay_open(task)
            if ended is not None:
                return ended
        done = self.effects.get(task.key)
        if done is not None:
            self.repeats += 1
            outcome: Outcome | Exception = done
        else:
            outcome = self._next_outcome(task)
        if isinstance(outcome, Exception):
            raise outcome
        if outcome.kind in ("completed", "accepted"):
            self.effects[task.key] = outcome
        return LOST if self._takes_loss(task) else outcome

    async def close(self) -> None:
        """Note that it was closed."""
        self.is_closed = True

    async def _stay_open(self, task: Task) -> Outcome | None:
        number = len(self.calls)
        future: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self._open[number] = (task, future)
        self.open_max = max(self.open_max, len(self._open))
        self._tell()
        try:
            return await future
        finally:
            self._open.pop(number, None)

    def _let_go(self, which: _Which, ended: Outcome | None) -> None:
        self._held = [] if which == _Which() else [each for each in self._held if each != which]
        for number, (task, future) in list(self._open.items()):
            if which.covers(task):
                del self._open[number]
                if not future.done():
                    future.set_result(ended)

    def _next_outcome(self, task: Task) -> Outcome | Exception:
        for which, outcomes in self._scripts:
            if outcomes and which.covers(task):
                return outcomes.pop(0)
        return self.default

    def _takes_loss(self, task: Task) -> bool:
        for position, (which, times) in enumerate(self._losing):
            if times > 0 and which.covers(task):
                self._losing[position] = (which, times - 1)
                return True
        return False

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _next_change(self) -> None:
        await self._changed.wait()
