"""One system's bulkhead: who may call it now, who waits, and who is sent back.

Calls wait in line, by the priority of their orders, each as long as its caller says, which leaves enough of its time
for the call itself. What cannot be made in time, or meets an outage that is no blip, is sent back as `HeldBack`: it
costs no attempt, its item rests On Hold, and whoever lets held items go brings it again. So a line here is short-lived
and an outage keeps nothing in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from actors.classes import Classes
from actors.limits import Breaker, TokenBucket
from domain.holds import HeldBack, HoldCause
from domain.priorities import NORMAL
from persistence.catalogue import Limits

WAITING_MAX: Final = 50_000
"""Calls waiting for one system; beyond it a call is sent back, so that one system cannot fill the actor."""
SWEEP_S: Final = 1.0
"""Between two looks for calls whose time is over."""


@dataclass(slots=True)
class _Waiting:
    future: asyncio.Future[int]
    deadline: float


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """A circuit breaker that is open: `is_held` once a try has failed, `try_in_s` until the next one."""

    is_held: bool
    reason: str
    try_in_s: float


class Bulkhead:
    """Concurrency, rate and circuit breaker of one system. `changed` is told when the breaker opens, closes, or has
    tried in vain.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = lambda: asyncio.get_running_loop().time(),
        call_later: Callable[[float, Callable[[], None]], Any] = lambda delay_s, call: (
            asyncio.get_running_loop().call_later(delay_s, call)
        ),
    ) -> None:
        self.limits = limits
        self._changed = changed
        self._clock = clock
        self._call_later = call_later
        self._breaker = Breaker(limits.breaker_failures, limits.breaker_pause_s)
        self._bucket: TokenBucket | None = None
        self._drain: TokenBucket | None = None
        """Paces those who waited when the breaker closed, until none of them is left."""
        self._waiting: Classes[_Waiting] = Classes()
        self._timer: Any = None
        self._wake_at = 0.0
        self._error = ""
        self.running = 0
        self.configure(limits)

    def configure(self, limits: Limits) -> None:
        """Take other limits from now on; whoever waits or is under way stays."""
        is_other_rate = self._bucket is None or self._bucket.rate_per_s != limits.rate_per_s
        if limits.rate_per_s is None:
            self._bucket = None
        elif is_other_rate:
            self._bucket = TokenBucket(limits.rate_per_s, self._clock())
        self.limits = limits
        self._breaker.failures_max, self._breaker.pause_s = limits.breaker_failures, limits.breaker_pause_s
        if limits.breaker_failures is None and self._breaker.is_open:
            self.close_breaker()
        if self._waiting:
            self._pump()

    def enter_now(self) -> int | None:
        """The ticket for `leave` if the call may be made at once, as nearly every one may; None: it has to wait, or
        will come back unmade.
        """
        if self._waiting:
            return None
        now = self._clock()
        return self._begin(now) if self._has_room(now) else None

    async def enter(self, timeout_s: float, priority: int = NORMAL) -> int:
        """Wait until the call may be made; returns the ticket for `leave`.

        Raises:
            HeldBack: it will not be made: an outage, too many waiting, or no room within `timeout_s`.
        """
        now = self._clock()
        if self._breaker.has_failed_again and not self._breaker.may_begin(now):
            raise HeldBack(HoldCause.BREAKER, self._error)
        if timeout_s <= 0:
            raise self._too_late()
        if (ticket := self.enter_now()) is not None:
            return ticket
        if len(self._waiting) >= WAITING_MAX:
            raise HeldBack(HoldCause.BUSY, f"{WAITING_MAX} calls wait already")
        waiting = _Waiting(asyncio.get_running_loop().create_future(), now + timeout_s)
        self._waiting.append(waiting, priority)
        self._pump()
        try:
            return await waiting.future
        except asyncio.CancelledError:
            if waiting.future.done() and not waiting.future.cancelled() and waiting.future.exception() is None:
                # Ended in the moment in which its turn came: the place is free again.
                self.leave(waiting.future.result(), has_worked=None)
            raise

    def leave(self, ticket: int, *, has_worked: bool | None, error: str = "") -> bool:
        """The call is over; None: it says nothing about the system. Returns whether it was a try of an open breaker."""
        now = self._clock()
        self.running -= 1
        was_open = self._breaker.is_open
        if has_worked is False:
            self._error = error
        was_try = self._breaker.ended(ticket, now, has_worked=has_worked)
        if was_open and not self._breaker.is_open:
            self._pace()
        elif was_try and has_worked is False and self._breaker.has_failed_again:
            self.turn_back(HoldCause.BREAKER, self._error)
        if was_open != self._breaker.is_open or (was_try and has_worked is False):
            self._changed()
        if self._waiting:
            self._pump()
        return was_try

    def turn_back(self, cause: HoldCause, reason: str) -> None:
        """Send back everybody who waits."""
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.future.done():
                waiting.future.set_exception(HeldBack(cause, reason))

    def open_breaker(self) -> OpenBreaker | None:
        """The breaker while it is open, else None."""
        if not self._breaker.is_open:
            return None
        try_in_s = max(0.0, self._breaker.try_at() - self._clock())
        return OpenBreaker(self._breaker.has_failed_again, self._error, try_in_s)

    def resume_open(self, reason: str, *, is_held: bool) -> None:
        """Take over a breaker that an earlier life has left open."""
        self._error = reason
        self._breaker.open(self._clock(), has_failed_again=is_held)

    def close_breaker(self) -> None:
        """Somebody says that the system works again."""
        self._breaker.close()
        self._pace()
        self._changed()
        self._pump()

    def stats(self) -> dict[str, Any]:
        """What goes on, for metrics."""
        state = self._breaker.state(self._clock())
        return {"running": self.running, "waiting": len(self._waiting), "breaker": state.value}

    def _has_room(self, now: float) -> bool:
        if self.running >= self.limits.concurrency or not self._breaker.may_begin(now):
            return False
        if self._bucket is None and self._drain is None:
            return True
        return all(bucket is None or bucket.available(now) for bucket in (self._bucket, self._drain))

    def _begin(self, now: float) -> int:
        for bucket in (self._bucket, self._drain):
            if bucket is not None:
                bucket.take(now)
        self.running += 1
        return self._breaker.began(now)

    def _pace(self) -> None:
        self._drain = TokenBucket(self.limits.drain_per_s, self._clock()) if self._waiting else None

    def _too_late(self) -> HeldBack:
        if self._breaker.is_open:
            return HeldBack(HoldCause.BREAKER, self._error)
        return HeldBack(HoldCause.BUSY, "it had no room for the call in time")

    def _pump(self) -> None:
        """Let begin who may, and look again when something changes by itself."""
        now = self._clock()
        while self._waiting:
            first = self._waiting.first()
            if first.future.done():
                self._waiting.popleft()
            elif first.deadline <= now:
                self._waiting.popleft()
                first.future.set_exception(self._too_late())
            elif self._has_room(now):
                self._waiting.popleft()
                first.future.set_result(self._begin(now))
            else:
                break
        if not self._waiting:
            self._drain = None
            return
        self._wake(now, min(SWEEP_S, self._changes_in_s(now)))

    def _changes_in_s(self, now: float) -> float:
        """How long until somebody may begin although nobody leaves."""
        if self.running >= self.limits.concurrency:
            return SWEEP_S
        if not self._breaker.may_begin(now):
            return max(0.0, self._breaker.try_at() - now) or SWEEP_S
        return max(bucket.wait_s(now) for bucket in (self._bucket, self._drain) if bucket is not None)

    def _wake(self, now: float, delay_s: float) -> None:
        if self._timer is not None:
            if self._wake_at <= now + delay_s:
                return
            self._timer.cancel()
        self._wake_at = now + delay_s
        self._timer = self._call_later(delay_s, self._woken)

    def _woken(self) -> None:
        self._timer = None
        now = self._clock()
        late = [each for each in self._waiting if each.deadline <= now and not each.future.done()]
        for each in late:
            each.future.set_exception(self._too_late())
        if late:
            self._waiting.keep(lambda each: not each.future.done())
        if self._waiting:
            self._pump()
        else:
            self._drain = None
