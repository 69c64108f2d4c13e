"""The rules of a bulkhead that know time only as an argument: how many calls a second, and when none at all.

All times are seconds on one clock.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

BURST_S: Final = 0.1
"""A bucket keeps what this long gives, unless it is told otherwise: an idle moment is not made up for by a burst."""


class TokenBucket:
    """So many a second, evenly; full at the beginning."""

    def __init__(self, rate_per_s: float, now: float, burst_s: float = BURST_S) -> None:
        self.rate_per_s = rate_per_s
        self._burst_s = burst_s
        self._size = self._tokens = max(1.0, rate_per_s * burst_s)
        self._at = now

    def set_rate(self, rate_per_s: float, now: float) -> None:
        """So many a second from now on; what it has by then it keeps, as far as it fits."""
        self.available(now)
        self.rate_per_s = rate_per_s
        self._size = max(1.0, rate_per_s * self._burst_s)
        self._tokens = min(self._size, self._tokens)

    def available(self, now: float) -> int:
        """How many could be taken now."""
        self._tokens = min(self._size, self._tokens + max(0.0, now - self._at) * self.rate_per_s)
        self._at = now
        # What was added up in parts may fall short of a whole by the last bits.
        return int(self._tokens + 1e-9)

    def take(self, now: float, count: int = 1) -> bool:
        """Take so many, or none."""
        if self.available(now) < count:
            return False
        self._tokens -= count
        return True

    def wait_s(self, now: float) -> float:
        """How long until one can be taken."""
        return 0.0 if self.available(now) else (1.0 - self._tokens) / self.rate_per_s


class BreakerState(StrEnum):
    """Whether calls leave."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "halfOpen"
    """The pause is over: one call is let through to try, or is on its way."""


class Breaker:
    """A circuit breaker: so many failures in a row open it; after a pause one call tries, and decides.

    `has_failed_again` says that a try has failed since it opened: the outage is no blip, and waiting for its end in
    line makes no sense any more. Calls that began before it opened decide nothing about it.
    """

    def __init__(self, failures_max: int | None, pause_s: float) -> None:
        self.failures_max = failures_max
        self.pause_s = pause_s
        self.has_failed_again = False
        self._failures = 0
        self._opened_at: float | None = None
        self._is_trying = False
        self._round = 0

    @property
    def is_open(self) -> bool:
        """Whether it keeps calls back; half open too."""
        return self._opened_at is not None

    def state(self, now: float) -> BreakerState:
        """Whether calls leave now."""
        if self._opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if now >= self._opened_at + self.pause_s else BreakerState.OPEN

    def try_at(self) -> float:
        """When the next call is let through; of an open one."""
        assert self._opened_at is not None, "it is closed"
        return self._opened_at + self.pause_s

    def may_begin(self, now: float) -> bool:
        """Whether a call may leave now."""
        if self._opened_at is None:
            return True
        return not self._is_trying and self.state(now) is BreakerState.HALF_OPEN

    def began(self, now: float) -> int:
        """A call leaves; returns what `ended` has to be told."""
        if self._opened_at is not None:
            assert self.may_begin(now), "one try at a time"
            self._is_trying = True
            return -self._round
        return self._round

    def ended(self, ticket: int, now: float, *, has_worked: bool | None) -> bool:
        """A call is over; None: it says nothing about the system. Returns whether the call was a try."""
        if ticket < 0:
            if -ticket != self._round or self._opened_at is None:
                return True
            self._is_trying = False
            if has_worked:
                self.close()
            elif has_worked is False:
                self.has_failed_again = True
                self._opened_at = now
            return True
        if ticket == self._round and self._opened_at is None and has_worked is not None:
            self._failures = 0 if has_worked else self._failures + 1
            if self.failures_max is not None and self._failures >= self.failures_max:
                self.open(now)
        return False

    def open(self, now: float, *, has_failed_again: bool = False) -> None:
        """Let no call leave until a try has worked."""
        self._round += 1
        self._opened_at = now
        self._is_trying = False
        self.has_failed_again = has_failed_again

    def close(self) -> None:
        """Let calls leave."""
        self._round += 1
        self._opened_at = None
        self._is_trying = False
        self._failures = 0
        self.has_failed_again = False
