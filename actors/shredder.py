"""Destroying the keys of ended orders: after the commit, beside the loop, until it worked.

An order's row says `sealed` until then, so a host that dies in between leaves the work to its successor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog

log = structlog.get_logger(__name__)

BATCH_MAX: Final = 500
BACKOFF_S: Final = (0.1, 0.5, 1.0, 5.0)


class Shredder:
    """A queue of ended orders and at most one task that works it off."""

    def __init__(
        self,
        destroy: Callable[[Iterable[str]], Awaitable[None]],
        *,
        is_unavailable: Callable[[BaseException], bool],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._destroy = destroy
        self._is_unavailable = is_unavailable
        self._sleep = sleep
        self._waiting: list[str] = []
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False

    def add(self, order_ids: Iterable[str]) -> None:
        """Destroy the keys of these orders soon."""
        self._waiting.extend(order_ids)
        if self._waiting and (self._task is None or self._task.done()) and not self._is_stopped:
            self._task = asyncio.get_running_loop().create_task(self._work())

    def stop(self) -> None:
        """Start nothing more: the host is fenced, its successor takes over what is left."""
        self._is_stopped = True

    async def finish(self) -> None:
        """Wait until everything added is destroyed, or given up for now."""
        if self._task is not None:
            await self._task

    async def _work(self) -> None:
        attempt = 0
        while self._waiting and not self._is_stopped:
            batch = self._waiting[:BATCH_MAX]
            try:
                await self._destroy(batch)
            except Exception as error:
                if not self._is_unavailable(error):
                    log.exception("keys of ended orders could not be destroyed")
                    return
                await self._sleep(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
                attempt += 1
                continue
            attempt = 0
            del self._waiting[: len(batch)]
