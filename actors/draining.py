"""How fast a system's held items go on: at the set rate while it keeps up, slower while they come back.

What is let go waits in line at the system's bulkhead and comes back unmade when there is no room for it in time. At
the set rate alone that would go round for as long as the system is slower than the rate, two facts of a plan each time.
What a system can do nobody says, so it is found out as senders of packets do: a few times slower when something comes
back that was let go since the last slowing (what was let go before it says nothing new), twice as fast when enough time
has passed for something to come back and nothing has. Who comes back is seen by its place in the line: it could start
before those that were not let go yet, so it is among the first that are found again.

Given up: a rate from what was completed (the plans would have to tell), and a pause for each item (with ten thousand of
them even long pauses are many facts a second). All times are seconds on one clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from actors.limits import TokenBucket
from persistence.holds import HeldItem

SLOWER: Final = 4.0
FASTER: Final = 2.0
FLOOR_PER_S: Final = 0.1
"""Slower than this nothing gets: somebody has to find out that there is room again."""
SETTLE_S: Final = 0.5
"""Besides the time in which items came back last, for the way of a message and of a row."""
GONE_MAX: Final = 50_000
"""Items that may come back; no more find room in a line, the others come back at once."""
GONE_S: Final = 600.0
"""Who was let go so long ago and is On Hold again has not come back but waits anew."""


class Draining:
    """One system's. `burst_s`: an idle moment is made up for by what so long gives."""

    def __init__(self, rate_per_s: float, now: float, burst_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._share = 1.0
        self._bucket = TokenBucket(rate_per_s, now, burst_s)
        self._gone: OrderedDict[HeldItem, float] = OrderedDict()
        """When items were let go, the longest ago first."""
        self._slowed_at = now
        self._first_gone_at: float | None = None
        """When the first item went since the pace changed last."""
        self._back_s = 0.0
        """After how long items came back last."""
        self._now = now

    @property
    def per_s(self) -> float:
        """How many go on in a second just now."""
        return self._bucket.rate_per_s

    def configure(self, rate_per_s: float, now: float) -> None:
        """Take another set rate; what was found out about the system stays."""
        if rate_per_s != self._rate_per_s:
            self._rate_per_s = rate_per_s
            self._pace(self._share, now)

    def available(self, now: float) -> int:
        """How many may go on now."""
        return self._bucket.available(now)

    def found(self, items: Sequence[HeldItem], now: float) -> int:
        """Learn from the items that are next; returns how many of them may go on now."""
        self._step(now)
        gone = [self._gone.pop(item, None) for item in items]
        back = [at for at in gone if at is not None and at >= self._slowed_at]
        if back:
            self._back_s = now - min(back)
            self._slowed_at = now
            self._pace(self._share / SLOWER, now)
        elif self._share < 1.0 and self._has_heard_enough(now):
            self._pace(self._share * FASTER, now)
        return min(len(items), self._bucket.available(now))

    def let_go(self, items: Sequence[HeldItem], now: float) -> None:
        """Keep who goes on now."""
        if not items:
            return
        self._bucket.take(now, len(items))
        for item in items:
            self._gone.pop(item, None)
            self._gone[item] = now
        if self._first_gone_at is None:
            self._first_gone_at = now
        while len(self._gone) > GONE_MAX:
            self._gone.popitem(last=False)

    def forget(self, item: HeldItem) -> None:
        """Its plan did not answer: found again, it has not come back but never left."""
        self._gone.pop(item, None)

    def is_over(self, now: float) -> bool:
        """Whether nobody who was let go can be expected back."""
        self._step(now)
        return not self._gone

    def _has_heard_enough(self, now: float) -> bool:
        """Whether somebody who went at this pace would be back by now."""
        return self._first_gone_at is not None and now >= self._first_gone_at + self._back_s + SETTLE_S

    def _step(self, now: float) -> None:
        if now < self._now:
            # The clock was set back: times of before mean nothing any more.
            self._gone.clear()
            self._slowed_at, self._first_gone_at = now, None
        self._now = now
        while self._gone and next(iter(self._gone.values())) < now - GONE_S:
            self._gone.popitem(last=False)

    def _pace(self, share: float, now: float) -> None:
        self._share = min(1.0, max(share, FLOOR_PER_S / self._rate_per_s))
        self._first_gone_at = None
        self._bucket.set_rate(self._rate_per_s * self._share, now)
