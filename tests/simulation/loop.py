"""An event loop on a virtual clock, and processes inside it that can be killed and stopped at every await.

Nothing here waits: when nobody can go on, time jumps to the next timer. A process is a context variable: whatever is
scheduled from inside a process belongs to it, so a dead process's callbacks, tasks and timers simply never run again
(as after kill -9: no `finally` runs), and a stopped one's are kept until it goes on (SIGSTOP, SIGCONT).
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from functools import partial
from typing import Any, Final, TypeVar

T = TypeVar("T")
STEPS_MAX: Final = 300_000
_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class Process:
    """Something that can die: a name, and everything that was scheduled in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.is_stopped = False
        self.skew_s = 0.0
        """How far its clock is ahead of the world's."""
        self.parked: list[asyncio.Handle] = []
        self.deaths: list[Callable[[], None]] = []
        """Called when it dies: what the world notices of it."""
        self._context = Context()
        self._context.run(_PROCESS.set, self)

    def run(self, function: Callable[..., T], *args: Any) -> T:
        """Call something as a part of this process."""
        return self._context.copy().run(function, *args)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task of this process."""
        return asyncio.get_running_loop().create_task(work, context=self._context.copy())

    def kill(self) -> None:
        """End it: nothing of it ever runs again."""
        if self.is_dead:
            return
        self.is_dead = True
        self.parked.clear()
        for notice in self.deaths:
            notice()
        self.deaths.clear()

    def stop(self) -> None:
        """Freeze it."""
        self.is_stopped = True

    def go_on(self) -> None:
        """Thaw it: whatever came due meanwhile runs now."""
        if self.is_stopped and not self.is_dead:
            self.is_stopped = False
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop.resume(self.parked)
            self.parked = []


def current_process() -> Process | None:
    """The process that is running now; None: the world itself."""
    return _PROCESS.get()


class Endless(Exception):
    """The run takes more steps than any that ends."""


class Idle(Exception):
    """Nobody can go on and nothing is scheduled."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs handles in order of time and of scheduling; the same program gives the same run."""

    _ready: deque[Any]
    _scheduled: list[Any]

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self.steps = 0
        self._kept: list[asyncio.Task[Any]] = []
        self._kept_max = 500
        self.set_exception_handler(lambda _loop, _context: None)

    def time(self) -> float:
        return self._now

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> asyncio.Task[Any]:
        # Kept until it is done: were the tasks of a dead process collected, what they do at their end would be done.
        task: asyncio.Task[Any] = super().create_task(coro, name=name, context=context)
        self._kept.append(task)
        if len(self._kept) > self._kept_max:
            self._kept = [each for each in self._kept if not each.done()]
            self._kept_max = 500 + 2 * len(self._kept)
        return task

    def bury(self) -> None:
        """End all tasks that are left, now that nobody can notice what they do at their end."""
        for task in self._kept:
            if not task.done():
                with contextlib.suppress(BaseException):
                    task.get_coro().close()
        self._kept.clear()
        self._ready.clear()
        self._scheduled.clear()

    def resume(self, handles: list[asyncio.Handle]) -> None:
        """Put back what a stopped process had."""
        self._ready.extend(handles)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        # What real hosts give to a thread is done at once here; a release is compiled once for all runs.
        future = self.create_future()
        call = func if isinstance(func, partial) else partial(func, *args)
        future.set_result(_once(call))
        return future

    def _run_once(self) -> None:
        ready = self._ready
        if not ready:
            self._advance()
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(_PROCESS)
            if process is not None:
                if process.is_dead:
                    continue
                if process.is_stopped:
                    process.parked.append(handle)
                    continue
            self.steps += 1
            handle._run()
        if self.steps > STEPS_MAX:
            raise Endless

    def _advance(self) -> None:
        scheduled = self._scheduled
        while scheduled:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            if handle._cancelled:
                continue
            self._now = max(self._now, handle._when)
            self._ready.append(handle)
            return
        raise Idle

    def _process_events(self, event_list: Any) -> None:
        raise AssertionError("there are no events from outside")

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        # They fall out when their time comes.
        pass


_RESULTS: dict[int, tuple[Any, Any]] = {}


def _once(call: partial[Any]) -> Any:
    """The result of `asyncio.to_thread(function, document)`, computed once a document."""
    function, document = call.args[0], call.args[1]
    known = _RESULTS.get(id(document))
    if known is None:
        # The document is kept with its result, so that its id stays its own.
        known = _RESULTS[id(document)] = (document, function(document))
    return known[1]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run something in virtual time, on a loop of its own."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.bury()
        loop.close()
