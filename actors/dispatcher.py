"""The host's side of callouts: every call is kept until its result has arrived, and sent again when it may be lost.

Calls to one adapter actor travel in batches. The adapter actor accepts a batch with the id of its present life
(`boot`); when it has died and come back with another one, what the old life had accepted is sent again, with the same
keys.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from actors.remote import is_remote_failure
from domain.errors import Busy
from domain.turn import Call
from persistence.database import is_unavailable

log = structlog.get_logger(__name__)

BATCH_MAX: Final = 1_000
RETRY_S: Final = 0.2
CHECK_S: Final = 1.0
GRACE_S: Final = 1.0
"""For the answers of a dead adapter actor to arrive, before what it had accepted is sent again."""
CALL_TIMEOUT_S: Final = 10.0

OPEN_MAX: Final = 200_000
"""Calls without a result; beyond it the host takes no new orders."""

CallKey = tuple[str, str, int]


@dataclass(slots=True)
class _Open:
    call: Call
    boot: str | None = None


class Dispatcher:
    """Sends calls to the adapter actor. `adapters` gives its handle, or None while there is none."""

    def __init__(self, adapters: Callable[[], Any | None]) -> None:
        self._adapters = adapters
        self._open: dict[CallKey, _Open] = {}
        self._unsent: dict[CallKey, None] = {}
        self._handed_s = 0.0
        """How long the last batch took to be handed over."""
        self._since: float | None = None
        """When the batch that is being handed over was sent."""
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin sending."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._send_loop()), loop.create_task(self._check_loop())]

    def stop(self) -> None:
        """Stop sending; what is open is sent again by the next owner."""
        for task in self._tasks:
            task.cancel()

    def open_calls(self) -> int:
        """How many calls have no result yet."""
        return len(self._open)

    def lag_s(self) -> float:
        """How long it takes to hand calls over, in seconds, just now: long when the adapters have too much to do.

        While they are away it is short: what is accepted meanwhile waits here, up to a bound.
        """
        if len(self._open) >= OPEN_MAX:
            return math.inf
        if self._since is None:
            return self._handed_s if self._unsent else 0.0
        return max(self._handed_s, asyncio.get_running_loop().time() - self._since)

    def send(self, calls: Sequence[Call]) -> None:
        """Take calls to send; returns at once."""
        for call in calls:
            key = (call.order_id, call.item, call.attempt)
            self._open[key] = _Open(call)
            self._unsent[key] = None
        if calls:
            self._wake.set()

    def settled(self, order_id: str, item: str, attempt: int) -> None:
        """The attempt needs no sending any more."""
        key = (order_id, item, attempt)
        self._open.pop(key, None)
        self._unsent.pop(key, None)

    def knows(self, order_id: str, item: str, attempt: int) -> bool:
        """Whether the attempt is kept: sent, or to be sent."""
        return (order_id, item, attempt) in self._open

    def forget(self, keep: Callable[[str], bool]) -> None:
        """Drop the calls of orders that another host owns now."""
        for key in [key for key in self._open if not keep(key[0])]:
            self._open.pop(key, None)
            self._unsent.pop(key, None)

    async def _send_loop(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._unsent:
                batch = list(self._unsent)[:BATCH_MAX]
                if not await self._send_batch(batch):
                    await asyncio.sleep(RETRY_S)

    async def _send_batch(self, keys: list[CallKey]) -> bool:
        handle = self._adapters()
        if handle is None:
            return False
        for key in keys:
            self._unsent.pop(key, None)
        self._since, self._handed_s = asyncio.get_running_loop().time(), 0.0
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                boot = await handle.perform.remote([self._open[key].call for key in keys if key in self._open])
        except Exception as error:
            if not _is_expected(error):
                log.exception("calls could not be handed to the adapters")
            self._unsent.update((key, None) for key in keys if key in self._open)
            return False
        else:
            self._handed_s = asyncio.get_running_loop().time() - self._since
        finally:
            self._since = None
        for key in keys:
            entry = self._open.get(key)
            if entry is not None:
                entry.boot = boot
        return True

    def _lost(self, boot: str) -> list[CallKey]:
        """Calls that another life of the adapter actor has accepted."""
        return [key for key, entry in self._open.items() if entry.boot not in (None, boot)]

    async def _check_loop(self) -> None:
        """Notice when the adapter actor has lost what it accepted."""
        while True:
            await asyncio.sleep(CHECK_S)
            handle = self._adapters()
            if not self._open or handle is None:
                continue
            try:
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    boot = await handle.boot.remote()
            except Exception as error:
                if not _is_expected(error):
                    log.exception("the adapters could not be asked for their boot id")
                continue
            if self._lost(boot):
                # What the old life has answered may still be on its way here; to do that work again would be wrong.
                await asyncio.sleep(GRACE_S)
            lost = self._lost(boot)
            if lost:
                log.warning("adapters restarted, sending again", calls=len(lost))
                for key in lost:
                    self._open[key].boot = None
                    self._unsent[key] = None
                self._wake.set()


def _is_expected(error: BaseException) -> bool:
    """Whether the adapters are away, starting without a database, or have too much to do: they are asked again."""
    return is_remote_failure(error) or is_unavailable(error) or isinstance(error, Busy)
