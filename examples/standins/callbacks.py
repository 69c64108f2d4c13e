"""Sends the answers that come later, so often and no more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp

from .ledger import Effect

TRIES_MAX: Final = 6
FIRST_PAUSE_S: Final = 0.25
"""Before the second try; doubled before each further one."""
OPEN_MAX: Final = 10_000
_TIMEOUT_S: Final = 10.0
_WORTH_A_RETRY: Final = frozenset({408, 425, 429})


class Callbacks:
    """The callbacks under way, bounded in number, and how those before them went."""

    def __init__(self, sleep: Callable[[float], Awaitable[object]]) -> None:
        self._sleep = sleep
        self._session: aiohttp.ClientSession | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.delivered = 0
        self.lost = 0

    def stats(self) -> dict[str, int]:
        """How many are under way, delivered, and given up."""
        return {"open": len(self._open), "delivered": self.delivered, "lost": self.lost}

    @property
    def is_full(self) -> bool:
        """Whether another one would be too many."""
        return len(self._open) >= OPEN_MAX

    def start(self, effect: Effect, url: str, body: dict[str, Any], delay_s: float) -> None:
        """Send the body to the address after the delay; `effect.callback` says how it goes."""
        effect.callback = "open"
        task = asyncio.create_task(self._deliver(effect, url, body, delay_s))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def settle(self) -> None:
        """Wait until none is under way."""
        while self._open:
            await asyncio.wait(self._open)

    async def stop(self) -> None:
        """Give up those under way, and close the connections."""
        under_way = list(self._open)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _deliver(self, effect: Effect, url: str, body: dict[str, Any], delay_s: float) -> None:
        if delay_s > 0:
            await self._sleep(delay_s)
        for attempt in range(TRIES_MAX):
            if attempt > 0:
                await self._sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))
            status = await self._post(url, body)
            if status is not None and 200 <= status < 300:
                effect.callback = "delivered"
                self.delivered += 1
                return
            if status is not None and status < 500 and status not in _WORTH_A_RETRY:
                break
        effect.callback = "lost"
        self.lost += 1

    async def _post(self, url: str, body: dict[str, Any]) -> int | None:
        """The status of the answer, or None without one."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S))
        try:
            async with self._session.post(url, json=body, allow_redirects=False) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
