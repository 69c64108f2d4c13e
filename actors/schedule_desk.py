"""Schedules of orders for whoever looks at them: worked out beside the loop, one at a time, and kept for a while."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, NamedTuple

from delay.critical_path import NAME, VERSION, CriticalPath
from delay.lateness import lateness_of
from delay.reasons import Reason
from delay.schedule import Expected, Schedule
from delay.snapshot import Snapshot
from domain.errors import Busy

KEPT: Final = 64
"""Orders whose schedule is kept."""
KEPT_S: Final = 5.0
KEPT_FACTOR: Final = 20.0
"""A schedule is kept for at least so many times as long as it took to work out: those of large plans cost more."""
WAITING_MAX: Final = 16
REASONS_MAX: Final = 50
"""Items whose part in the risk is put into words."""
REASON_FROM: Final = 0.05
"""Of the cases, in which the end waits for the item: from here on it has a reason."""
NOTE: Final = "estimated by the model from how long such items have taken; no promise"


class _Kept(NamedTuple):
    version: int
    until: float
    answer: dict[str, Any]


class ScheduleDesk:
    """Answers with the schedule of one snapshot."""

    def __init__(self, builtin: CriticalPath, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._builtin = builtin
        self._monotonic = monotonic
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._one_at_a_time = asyncio.Lock()
        self._waiting = 0
        self.worked_out = 0

    def known(self, order_id: str, version: int) -> dict[str, Any] | None:
        """The schedule of an order as it stood at `version` facts, if one is there that is young enough."""
        kept = self._kept.get(order_id)
        if kept is None or kept.version != version or self._monotonic() >= kept.until:
            return None
        return kept.answer

    async def answer(self, snapshot: Snapshot) -> dict[str, Any]:
        """The schedule as the API shows it.

        Raises:
            Busy: too many wait for one.
        """
        if self._waiting >= WAITING_MAX:
            raise Busy("too many schedules are asked for at once", retryAfterS=1)
        self._waiting += 1
        try:
            async with self._one_at_a_time:
                known = self.known(snapshot.order_id, snapshot.version)
                if known is not None:
                    return known
                began = self._monotonic()
                answer = await asyncio.to_thread(schedule_view, snapshot, self._builtin)
                ended = self._monotonic()
        finally:
            self._waiting -= 1
        self.worked_out += 1
        self._kept.pop(snapshot.order_id, None)
        while len(self._kept) >= KEPT:
            self._kept.popitem(last=False)
        until = ended + max(KEPT_S, KEPT_FACTOR * (ended - began))
        self._kept[snapshot.order_id] = _Kept(snapshot.version, until, answer)
        return answer


def schedule_view(snapshot: Snapshot, model: CriticalPath) -> dict[str, Any]:
    """The schedule of an order and why it is late, as the API shows them.

    `items` has those that are open, and of those that have ended the ones that the critical path goes through.
    """
    schedule = model.schedule(snapshot)
    lateness = lateness_of(snapshot, schedule, model)
    reasons = _reasons(snapshot, schedule, model)
    ended = [{"key": snapshot.items[at].key, "isCritical": True} for at in reversed(schedule.past)]
    return {
        "orderId": snapshot.order_id,
        "facts": snapshot.version,
        "at": snapshot.now.isoformat(),
        "model": NAME,
        "version": VERSION,
        "note": NOTE,
        "dueAt": snapshot.due_at.isoformat(),
        "dueBasis": snapshot.due_basis,
        "expectedAt": _instant(snapshot, schedule.end_s) if schedule.items else None,
        "lateS": round(lateness.late_s, 1),
        "why": {"code": lateness.code, "text": lateness.text, "item": lateness.item},
        "items": ended + [_item(snapshot, each, reasons.get(each.at)) for each in schedule.items],
    }


def _item(snapshot: Snapshot, each: Expected, reason: str | None) -> dict[str, Any]:
    view: dict[str, Any] = {
        "key": snapshot.items[each.at].key,
        "isCritical": each.is_critical,
        "expectedStartAt": _instant(snapshot, each.begin_s),
        "expectedEndAt": _instant(snapshot, each.end_s),
        "slackS": 0.0 if each.is_critical else round(each.slack_s, 1),
        "share": round(each.share, 3),
        "risk": round(each.late_share, 3),
    }
    return view | {"reason": reason} if reason is not None else view


def _instant(snapshot: Snapshot, after_s: float) -> str:
    return (snapshot.now + timedelta(seconds=after_s)).isoformat()


def _reasons(snapshot: Snapshot, schedule: Schedule, model: CriticalPath) -> dict[int, str]:
    """Why the order waits for the items that it waits for most, by their places."""
    chosen = sorted(schedule.items, key=lambda each: (-each.late_share, -each.share))[:REASONS_MAX]
    return {
        each.at: Reason(snapshot.items[each.at], model.durations).of(
            snapshot.items[each.at], snapshot.now, each.share, each.end_s - each.begin_s
        )
        for each in chosen
        if each.share >= REASON_FROM
    }
