"""The host's side of the watchdog: which plans to look at, when, and how often one is made to go on.

Every open plan is looked at in bounded time, and idle ones are not loaded for it:

- Plans in memory are looked at in turn, at most `PLANS_A_LOOK` and `ITEMS_A_LOOK` a second. Memory is bounded, so is a
  round.
- Only a turn or the clock can make a plan stuck. A plan that was touched is looked at first, and if it left memory
  meanwhile it is read again for it; so one that rests in the database was seen well after its last turn. The orders of
  an account that others may wait for count as touched when one of them ends.
- What has to be read has a queue of its own, `READ_A_LOOK` a second: nothing in memory waits for it, long as it may be.
- The clock: what the database says is active, and is not in memory, and what has a timer that passed a while ago, are
  found by the partial indexes, some shards a second. A healthy host has none of either.
- Who takes over a shard looks at what was written there last: its owner may have died before it looked.

Given up: reading every idle plan now and then. It would find what neither a turn nor the clock has done, and cost the
reading of a million plans.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from actors.envelopes import Redrive
from actors.memory import Memory, account_key
from domain.ids import shard_of
from domain.plan import Plan
from domain.watchdog import CALL_LOST, TIMER_LOST, Stuck, calls_awaited, next_time, stuck_items
from persistence.watched import Watched

log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
PLANS_A_LOOK: Final = 1_000
ITEMS_A_LOOK: Final = 10_000
"""About ten milliseconds of work."""
READ_A_LOOK: Final = 50
"""Plans that are not in memory, and are read to be looked at."""
SHARDS_A_LOOK: Final = 16
ROWS_A_LOOK: Final = 1_000
LISTED_MAX: Final = 100_000
"""Plans that are to be looked at first, and those that are to be read for it; beyond that the oldest of the first wait
for their turn in memory.
"""
WAITS_S: Final = (30.0, 60.0, 300.0, 900.0, 3600.0)
"""Between two tries to make the same plan go on; the last repeats."""


CallTest = Callable[[str, str, int], bool]
"""Whether a call (order, item, attempt) is one of something."""


@dataclass(slots=True)
class _Found:
    """An order that was found stuck and not well since."""

    tries: int
    next_at: datetime


class HostWatchdog:
    """Looks at plans between two ticks, when nothing is under way: what memory says then is what is stored."""

    def __init__(
        self,
        memory: Memory,
        unreadable: Collection[str],
        knows_call: CallTest,
        timer_of: Callable[[str], datetime | None],
    ) -> None:
        self._memory = memory
        self._unreadable = unreadable
        self._knows_call = knows_call
        self._timer_of = timer_of
        # Ordered dictionaries find their first entry at once, however many were taken out before it.
        self._first: OrderedDict[str, None] = OrderedDict()
        self._unread: OrderedDict[str, None] = OrderedDict()
        """Those that are not in memory."""
        self._round: deque[str] = deque()
        self._stuck: dict[str, _Found] = {}
        self._looked_at: datetime | None = None
        self._place = 0
        self._after = ""
        self.looked = 0
        self.redriven = 0
        self.rounds = 0

    def is_due(self, now: datetime) -> bool:
        """Whether it is time for a look."""
        return self._looked_at is None or not timedelta(0) <= now - self._looked_at < timedelta(seconds=LOOK_S)

    def stuck(self) -> int:
        """Orders that were found stuck and not seen well since."""
        return len(self._stuck)

    def note(self, order_ids: Iterable[str]) -> None:
        """These were touched, or may have to move: look at them soon."""
        for order_id in order_ids:
            (self._first if order_id in self._memory.plans else self._unread)[order_id] = None
        for listed in (self._first, self._unread):
            while len(listed) > LISTED_MAX:
                listed.popitem(last=False)

    def ended(self, order_id: str) -> None:
        """This order is over: nothing of it has to be looked at."""
        self._first.pop(order_id, None)
        self._unread.pop(order_id, None)
        self._stuck.pop(order_id, None)

    def mended(self, order_ids: Iterable[str]) -> None:
        """These were made to go on, and it is stored."""
        for order_id in order_ids:
            self.redriven += 1
            log.warning("a plan stood still and was made to go on", order_id=order_id)

    def forget(self, is_gone: Callable[[str], bool]) -> None:
        """Drop the orders that another host owns now."""
        for listed in (self._first, self._unread):
            for order_id in [order_id for order_id in listed if is_gone(order_id)]:
                del listed[order_id]
        self._stuck = {order_id: each for order_id, each in self._stuck.items() if not is_gone(order_id)}

    def look(
        self,
        now: datetime,
        lag: timedelta,
        is_mine: Callable[[int], bool],
        busy: Mapping[str, None],
        is_answered: CallTest,
    ) -> list[Redrive]:
        """Look at the next plans; returns what the host has to put before everything else.

        Args:
            now: the time.
            lag: how late the host is with the timers that it knows.
            is_mine: whether the host owns a shard.
            busy: orders whose timers wait for their turn: they are out of the heap, and not lost.
            is_answered: whether the result of a call waits for its turn: the dispatcher has let go of it.
        """
        # A host that was away (stopped, or its clock was set) fires what came due meanwhile before it is judged.
        by = min(now - lag, self._looked_at or now)
        self._looked_at = now
        if not self._round:
            self._round.extend(self._memory.plans)
            self.rounds += 1
        self._read_again(now)
        found: list[Redrive] = []
        items = plans = 0
        while items < ITEMS_A_LOOK and plans < PLANS_A_LOOK:
            is_first = bool(self._first)
            order_id = self._next()
            if order_id is None:
                break
            plans += 1
            if order_id in busy or not self._may_look(order_id, is_mine):
                continue
            plan = self._memory.plans.get(order_id)
            if plan is None:
                # One of the round that has left memory since has ended, or was seen after its last turn.
                if is_first:
                    self._unread[order_id] = None
                continue
            items += len(plan.items)
            seen = self._seen(plan, now, by, is_answered)
            if seen and self._is_to_try(order_id, now):
                found.append(Redrive(order_id, tuple(seen), by))
            elif not seen:
                self._stuck.pop(order_id, None)
        self.looked += plans
        found.extend(Redrive(order_id, (), by) for order_id in self._to_read() if self._may_look(order_id, is_mine))
        return found

    def _read_again(self, now: datetime) -> None:
        """Have orders read again that stood still, have left memory, and are to be tried once more."""
        for order_id, known in self._stuck.items():
            if known.next_at <= now and order_id not in self._memory.plans:
                self._is_to_try(order_id, now)
                self._unread[order_id] = None

    def _next(self) -> str | None:
        if self._first:
            return self._first.popitem(last=False)[0]
        return self._round.popleft() if self._round else None

    def _to_read(self) -> list[str]:
        """The next plans to read; those that have come into memory meanwhile are looked at as they are."""
        listed: list[str] = []
        for _ in range(min(PLANS_A_LOOK, len(self._unread))):
            order_id = self._unread.popitem(last=False)[0]
            if order_id in self._memory.plans:
                self._first[order_id] = None
                continue
            listed.append(order_id)
            if len(listed) == READ_A_LOOK:
                break
        return listed

    def _may_look(self, order_id: str, is_mine: Callable[[int], bool]) -> bool:
        return is_mine(shard_of(order_id)) and order_id not in self._unreadable

    def _seen(self, plan: Plan, now: datetime, by: datetime, is_answered: CallTest) -> list[Stuck]:
        account = self._memory.accounts.get(account_key(plan)) if plan.account_shard is None else None
        seen = stuck_items(plan, by, account.told_orders() if account is not None else None)
        seen.extend(
            Stuck(item.key, CALL_LOST)
            for item in calls_awaited(plan, now)
            if not self._knows_call(plan.order_id, item.key, item.attempt)
            and not is_answered(plan.order_id, item.key, item.attempt)
        )
        if self._timer_of(plan.order_id) != next_time(plan):
            seen.append(Stuck(None, TIMER_LOST))
        return seen

    def _is_to_try(self, order_id: str, now: datetime) -> bool:
        """Count a try, unless the last one was a moment ago: what cannot be mended must not fill the journal."""
        known = self._stuck.get(order_id)
        if known is not None and now < known.next_at:
            return False
        tries = known.tries + 1 if known is not None else 1
        if tries > 1:
            log.error("a plan stands still although it was made to go on", order_id=order_id, tries=tries)
        wait_s = WAITS_S[min(tries, len(WAITS_S)) - 1]
        self._stuck[order_id] = _Found(tries, now + timedelta(seconds=wait_s))
        return True

    # What the database says, read beside the loop.

    def page(self, owned: Iterable[int]) -> tuple[list[int], str]:
        """The shards to ask about next, and after which order."""
        shards = sorted(owned)
        if self._place >= len(shards):
            self._place, self._after = 0, ""
        return shards[self._place : self._place + SHARDS_A_LOOK], self._after

    def take_page(self, watched: Watched) -> None:
        """The answer to the last page: whatever is not in memory has to be read and looked at."""
        self.note(order_id for order_id in watched.active if order_id not in self._memory.plans)
        self.note(watched.overdue)
        if len(watched.active) < ROWS_A_LOOK:
            self._place, self._after = self._place + SHARDS_A_LOOK, ""
        else:
            self._after = watched.active[-1]
