"""Waiting for a condition: bounded polling, never a bare sleep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

PAUSE_S = 0.02


async def until(
    condition: Callable[[], Awaitable[Any] | Any], timeout_s: float = 20.0, pause_s: float = PAUSE_S
) -> Any:
    """Wait until the condition gives something true, and return it.

    Raises:
        AssertionError: it did not within the time.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{getattr(condition, '__name__', condition)} did not come true within {timeout_s} s")
        await asyncio.sleep(pause_s)


def until_blocking(condition: Callable[[], Any], timeout_s: float = 20.0, pause_s: float = PAUSE_S) -> Any:
    """`until` for code without a loop."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{getattr(condition, '__name__', condition)} did not come true within {timeout_s} s")
        time.sleep(pause_s)
    return found
