"""How long who joins a queue will wait: by Little's law, from how fast the queue is served while it is not empty.

Counting alone would say nothing: two hundred orders are a second of work for one host and a minute for another. What
would wait for longer than `WAIT_MAX_S` is refused at once instead, so that its sender knows, and what was admitted is
answered while somebody still waits for the answer.
"""

from __future__ import annotations

import math
from typing import Final

from domain.errors import Busy

WAIT_MAX_S: Final = 2.0
ALWAYS_ADMITTED: Final = 64
"""So many may wait whatever the pace: a queue that was hardly used yet says little of how fast it is."""
WINDOW_S: Final = 5.0
"""Older experience fades."""
FIRST_GUESS_PER_S: Final = 500
RETRY_MAX_S: Final = 10


class Pace:
    """The pace of one queue. Times are those of the event loop."""

    def __init__(self) -> None:
        self.waiting = 0
        self._since = 0.0
        # A first guess, of little weight: a burst on a queue that was never used must not be taken in without bound.
        self._served = 10.0
        self._busy_s = self._served / FIRST_GUESS_PER_S

    def joined(self, now: float, count: int = 1) -> None:
        """So many have joined the queue."""
        if self.waiting == 0:
            self._since = now
        self.waiting += count

    def left(self, now: float, count: int = 1) -> None:
        """So many were served."""
        if not count:
            return
        busy_s = max(0.0, now - self._since)
        fading = math.exp(-busy_s / WINDOW_S)
        self._busy_s = self._busy_s * fading + busy_s
        self._served = self._served * fading + count
        self._since = now
        self.waiting -= count

    def returned(self, count: int) -> None:
        """So many of those that had left are back, not served after all."""
        self.waiting += count
        self._served = max(0.0, self._served - count)

    def expected_s(self, now: float, ahead: int | None = None) -> float:
        """How long one that joins now will wait; a queue that nothing has left for a while counts as that slow.

        `ahead` are those that it does not overtake, where some do; without it everybody who waits.
        """
        if ahead is None:
            ahead = self.waiting
        if not ahead:
            return 0.0
        stalled_s = max(0.0, now - self._since)
        return max(stalled_s, ahead * self._busy_s / max(self._served, 1.0))

    def admit(self, now: float, what: str, ahead: int | None = None) -> None:
        """Let one more join.

        Raises:
            Busy: it would wait for too long.
        """
        if (self.waiting if ahead is None else ahead) < ALWAYS_ADMITTED:
            return
        expected_s = self.expected_s(now, ahead)
        if expected_s > WAIT_MAX_S:
            raise Busy(f"too many {what} are waiting", retryAfterS=min(RETRY_MAX_S, math.ceil(expected_s)))
