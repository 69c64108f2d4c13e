"""Keeps the numbers for managers up to date; lives in the people actor. Who stops it makes them older, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

import structlog

from persistence.consumers import ConsumerFenced
from persistence.counting import Counting
from persistence.database import is_unavailable

log = structlog.get_logger(__name__)

LOOK_S: Final = 2.0
AWAY_S: Final = 5.0


class Counter:
    """Counts what has come, every two seconds, and without a rest while there is more."""

    def __init__(
        self,
        counting: Counting,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._counting = counting
        self._clock = clock
        self._sleep = sleep
        self._epoch: int | None = None
        self.counted = 0

    async def run(self) -> None:
        """Count until another incarnation does."""
        while True:
            try:
                pause_s = await self._round()
            except ConsumerFenced:
                log.warning("another process counts facts now")
                return
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("facts could not be counted; tried again")
                pause_s = AWAY_S
            await self._sleep(pause_s)

    async def _round(self) -> float:
        if self._epoch is None:
            self._epoch = await self._counting.take_over()
        step = await self._counting.step(self._epoch)
        self.counted += step.facts
        if step.is_more:
            return 0.0
        await self._counting.drop_old(self._clock())
        return LOOK_S
