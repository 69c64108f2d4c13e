"""Why an order is late, in one sentence: what of all that its end waits for has taken longest against what is usual."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from delay.critical_path import CriticalPath
from delay.durations import Distribution
from delay.playing import seconds
from delay.reasons import in_words_s
from delay.schedule import Schedule
from delay.snapshot import AWAIT, ItemSnapshot, Snapshot, priority_of
from domain.states import ItemState

NOTABLE_S: Final = 1.0
"""What is late by less is in time, and what took less too long is no cause."""
FEW: Final = 0.1
"""Of those observed, lasted longer than what is named as the bound of most."""
_STILL: Final = frozenset({"failed", "outage"})
_BROKEN: Final = frozenset({ItemState.FATALLY_FAILED, ItemState.FROZEN_FATALLY_FAILED})
_TRIED: Final = frozenset({ItemState.FAILED, ItemState.FROZEN_FAILED})


class Lateness(NamedTuple):
    """How late an order is expected to be, and why.

    Attributes:
        late_s: seconds from when it is due until its end, expected or real; below 0 it is in time.
        text: all of it in words.
        code: `inTime`, `failed`, `retries`, `outage`, `otherOrder`, `queue` (it waits, or waited, for somebody),
            `work`, or `plan`: nothing of it takes unusually long.
        item: the key of the item that is the cause.
    """

    late_s: float
    text: str
    code: str
    item: str | None


class _Cause(NamedTuple):
    excess_s: float
    code: str
    text: str
    item: str


def lateness_of(snapshot: Snapshot, schedule: Schedule, model: CriticalPath) -> Lateness:
    """How late the order is, and why.

    Args:
        snapshot: the order as it stands.
        schedule: what the model expects of it.
        model: knows how long items usually take.
    """
    due_s = seconds(snapshot.now, snapshot.due_at)
    ended_at = max((item.ended_at for item in snapshot.items if item.ended_at is not None), default=None)
    is_over = not schedule.items and ended_at is not None
    end_s = seconds(snapshot.now, ended_at) if is_over else schedule.end_s
    late_s = end_s - due_s
    basis = "promised" if snapshot.due_basis == "promised" else "planned"
    if late_s < NOTABLE_S:
        verb = "ended" if is_over else "is expected to end"
        return Lateness(late_s, f"It {verb} {in_words_s(-late_s)} before the {basis} date.", "inTime", None)
    if is_over:
        said = f"It ended {in_words_s(late_s)} after the {basis} date"
    elif due_s < 0:
        said = f"It is {in_words_s(-due_s)} past the {basis} date and is expected to take {in_words_s(end_s)} more"
    else:
        said = f"It is expected to end {in_words_s(late_s)} after the {basis} date"
    cause = max(_causes(snapshot, schedule, model), key=lambda each: each.excess_s, default=None)
    if cause is None or cause.excess_s < NOTABLE_S:
        text = f"{said}: nothing of it has taken unusually long by now, the way through its plan is that long."
        return Lateness(late_s, text, "plan", None)
    return Lateness(late_s, f"{said}: {cause.text}.", cause.code, cause.item)


def _causes(snapshot: Snapshot, schedule: Schedule, model: CriticalPath) -> Iterable[_Cause]:
    """Items on the critical path that have begun, each with how much longer than usual it takes in all."""
    priority = priority_of(snapshot)
    critical = [(each.at, each.end_s) for each in schedule.items if each.is_critical] + [
        (at, 0.0) for at in schedule.past
    ]
    for at, end_s in critical:
        item = snapshot.items[at]
        ready_at = item.ready_at or item.started_at
        if ready_at is None or (item.state is ItemState.PENDING):
            continue
        age_s = seconds(ready_at, item.ended_at or snapshot.now)
        known = _Usual(item, model, priority)
        code, text = _in_words(snapshot, item, age_s, known)
        # What goes its way is a cause by what it has taken, what stands still also by what it will.
        still_s = end_s if code in _STILL else 0.0
        yield _Cause(age_s + still_s - known.middle_s, code, text, item.key)


class _Usual:
    """How long items of a definition take from when they are ready."""

    def __init__(self, item: ItemSnapshot, model: CriticalPath, priority: int) -> None:
        self.is_observed = model.durations.is_observed(item.ref)
        self._planned_s = item.planned_s
        self.work = model.durations.work(item.ref, item.expected_s)
        self.queue = model.durations.queue(item.ref, priority)
        self.middle_s = self.work.median_s + (self.queue.median_s if self.queue is not None else 0.0)

    def most(self, found: Distribution | None, verb: str) -> str:
        """What most do, as the end of a sentence; what is planned while none was observed."""
        if self.is_observed and found is not None:
            return f"; nine of ten {verb} at most {in_words_s(found.outlasted_s(FEW))}"
        return f"; planned are {in_words_s(self._planned_s)} in all" if self._planned_s is not None else ""


def _in_words(snapshot: Snapshot, item: ItemSnapshot, age_s: float, known: _Usual) -> tuple[str, str]:
    """(code, what it did or does, in words)."""
    name, age = f"“{item.name}”", in_words_s(age_s)
    place = f" in queue {item.queue}" if item.queue else f" at system {item.system}" if item.system else ""
    if item.state in _BROKEN:
        return "failed", f"{name} has failed{place} and waits for somebody to repair it; it could begin {age} ago"
    if item.state in _TRIED:
        return (
            "retries",
            f"{name} failed{place} {item.tries} of {item.attempts_max} times and is tried again, for {age} by now",
        )
    if item.state is ItemState.ON_HOLD:
        return "outage", f"{name} has stood still for {age} because system {item.system} takes no calls"
    if item.type == AWAIT:
        return "otherOrder", f"{name} has {'taken' if item.ended_at else 'lasted for'} {age}"
    waited_s = seconds(item.ready_at, item.started_at or item.ended_at or snapshot.now)
    if item.queue is not None and 2 * waited_s >= age_s:
        did = "waited" if item.started_at or item.ended_at else "has waited"
        return "queue", f"{name} {did} {in_words_s(waited_s)}{place}{known.most(known.queue, 'wait')}"
    did = "took" if item.ended_at else "has been at work for"
    tries = f" and {item.tries} attempts" if item.tries > 1 else ""
    code = "retries" if item.tries > 1 else "work"
    return code, f"{name} {did} {age}{tries}{place}{known.most(known.work, 'take')}"
