"""The built-in model: the rest of the plan is played through some hundred times, with durations drawn from what was
observed.

Per draw every open item gets a duration (what runs already: one that is longer than it has run), the plan's graph says
when each begins, and the last end is the order's. The random numbers are always the same: two scores differ by how the
orders stand, never by luck, and a replay gives the same. Dropped: closed formulas (they need independence, which a
shared predecessor breaks), fresh random numbers for each score (risk would flicker by some points at every tick), and
numbers of its own for each order (orders that stand alike would differ by some points, and to draw them took a third
of the time).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np

from delay.durations import HOLD_S, PRIOR, REPAIR, REPAIR_S, Array, Distribution, Durations, TaskTimes
from delay.model import ClosedOrder, Factor, Prediction
from delay.playing import QUEUE, RETRY, WORK, EvenGroup, Group, Path, Rest, groups, seconds, standing, until
from delay.reasons import Reason
from delay.schedule import Schedule, schedule_of
from delay.snapshot import SUB_PLAN, ItemSnapshot, Snapshot, priority_of
from delay.working_time import WorkingTime
from domain.priorities import HIGH
from domain.states import ItemState

NAME: Final = "critical-path"
VERSION: Final = "3"
FACTORS: Final = 5
RETRIES_MAX: Final = 10
CONTRIBUTIONS: Final = 12
FIRST_SHARE: Final = 0.1
"""Who is put first waits as long as this quickest share of those that were observed."""
LOW, UPPER = 0.1, 0.9
_HOLD: Final = Distribution([HOLD_S * factor for factor in PRIOR])
_INSTANT: Final = frozenset({"milestone", SUB_PLAN})


class Contribution(NamedTuple):
    """By how much an item moves the risk: `points` of the probability, `delay_s` of the middle of the end; and how long
    it takes in all from when it was ready, against what is usual.
    """

    item: str
    points: float
    delay_s: float
    takes_s: float
    usual_s: float


class _Known(NamedTuple):
    """How long an item takes. With `hours` both are in working time, else in that of the clock."""

    work: Distribution
    queue: Distribution | None
    hours: WorkingTime | None = None
    failure_share: float = 0.0
    """Of its attempts; 0 if there are none left."""

    def age_s(self, since: Array | None, now_s: Array) -> Array | float:
        """Seconds since then, in the same time; 0 for a moment that has not come."""
        if since is None:
            return 0.0
        return now_s - since if self.hours is None else self.hours.between(since, now_s)


_Pending = dict[Hashable, Rest]
"""What items take that only wait, while the durations are as they are."""
_NOTHING: Final = Rest(0.0, np.zeros((1, 1)))


class CriticalPath:
    """The built-in delay model."""

    def __init__(self, durations: Durations | None = None) -> None:
        self.durations = durations or Durations()

    def fit(self, history: Sequence[ClosedOrder]) -> None:
        """Learn the durations of the items of orders that have ended."""
        for closed in history:
            priority = priority_of(closed.snapshot)
            for item in closed.snapshot.items:
                started_at, ended_at = item.started_at, item.ended_at
                if item.state is not ItemState.COMPLETED or started_at is None or ended_at is None:
                    continue
                if item.queue is not None and item.ready_at is not None:
                    ready, started, ended = (each.timestamp() for each in (item.ready_at, started_at, ended_at))
                    self.durations.observe_task(item.ref, TaskTimes(ready, started, ended, priority))
                else:
                    self.durations.observe(item.ref, (ended_at - started_at).total_seconds())

    def predict(self, snapshots: Sequence[Snapshot]) -> list[Prediction]:
        """One prediction for each snapshot. Plans that stand alike share the work, and nothing of their answers."""
        found: dict[int, Prediction] = {}
        pending: _Pending = {}
        for places, group in groups(snapshots):
            found.update(zip(places, self._predict(group, pending), strict=True))
        return [found[at] for at in range(len(snapshots))]

    def _known_of(self, group: Group) -> dict[int, _Known]:
        """What is known of the open items that take time."""
        return {at: self._known(group.items[at], group.priority) for at in group.open if _takes_time(group.items[at])}

    def _played(self, group: Group, known: Mapping[int, _Known], usual: int | None = None) -> Path:
        """The drawn ends of the plans; the item at `usual` goes as it usually does."""
        path = Path(group)
        for at in group.open:
            if at not in known:
                path.add(_NOTHING)
            else:
                path.add((self._usual_rest if at == usual else self._rest)(group, at, known[at]))
        return path

    def _played_together(self, group: Group, pending: _Pending) -> Path:
        """The same; items that only wait take as long in plans of many states, and are drawn once for all of them."""
        path = Path(group)
        for at in group.open:
            item = group.items[at]
            if not _takes_time(item):
                path.add(_NOTHING)
                continue
            is_pending = item.state is ItemState.PENDING and item.timer_at is None
            key = (at, group.draws, group.priority, standing(item)) if is_pending else None
            rest = pending.get(key) if key is not None else None
            if rest is None:
                rest = self._rest(group, at, self._known(item, group.priority))
                if key is not None:
                    pending[key] = rest
            path.add(rest)
        return path

    def contributions(self, snapshot: Snapshot) -> list[Contribution]:
        """By how much each of the items on which the end depends most moves the risk, the strongest first.

        A contribution is the probability to be late, minus what it would be if this item alone went as it usually does
        from when it was ready: above 0 it makes the order later than usual, below 0 it saves time.
        """
        group = Group([snapshot])
        known = self._known_of(group)
        path = self._played(group, known)
        due_s = seconds(snapshot.now, snapshot.due_at)
        p_late = float(np.mean(path.total > due_s))
        reach = (path.critical() * path.rest).mean(axis=(1, 2))
        found = []
        for row in np.argsort(-reach, kind="stable")[:CONTRIBUTIONS].tolist():
            at = path.open[row]
            without = self._played(group, known, at)
            points = p_late - float(np.mean(without.total > due_s))
            # Risks of 0 and 1 do not move: the time that is gained or lost still tells items apart.
            delay_s = float(np.median(path.total) - np.median(without.total))
            middles = self._middles(snapshot.items[at], snapshot.now, float(np.median(path.rest[row])))
            found.append(Contribution(snapshot.items[at].key, points, delay_s, *middles))
        return sorted(found, key=lambda each: (-abs(each.points), -abs(each.delay_s)))

    def schedule(self, snapshot: Snapshot) -> Schedule:
        """When each item is expected to begin and end, and what the end of the order waits for."""
        group = Group([snapshot])
        known = self._known_of(group)
        return schedule_of(self._played(group, known), self._played(EvenGroup([snapshot]), known), group)

    def _middles(self, item: ItemSnapshot, now: datetime, rest_s: float) -> tuple[float, float]:
        """(seconds in all from when it was ready, what is usual)."""
        began_at = item.ready_at or item.started_at
        age_s = seconds(began_at, now) if item.state is not ItemState.PENDING else 0.0
        work, queue = self.durations.work(item.ref, item.expected_s), self.durations.queue(item.ref)
        work_s, queue_s = self.durations.usual_s(item.ref)
        usual_s = work.median_s if work_s is None else work_s
        if queue is not None:
            usual_s += queue.median_s if queue_s is None else queue_s
        return age_s + rest_s, usual_s

    def _predict(self, group: Group, pending: _Pending) -> list[Prediction]:
        path = self._played_together(group, pending)
        due_s = group.column([seconds(each.now, each.due_at) for each in group.snapshots])
        p_late = np.mean(path.total > due_s, axis=1).tolist()
        places = [int(share * group.draws) for share in (LOW, 0.5, UPPER)]
        low_s, middle_s, high_s = np.partition(path.total, places, axis=1)[:, places].T.tolist()
        return [
            Prediction(*each, model=NAME, version=VERSION)
            for each in zip(p_late, middle_s, low_s, high_s, self._factors(group, path), strict=True)
        ]

    def _known(self, item: ItemSnapshot, priority: int) -> _Known:
        """What is known of the item's work and queue, as a what-if has them."""
        task = self.durations.task(item.ref, priority) if item.queue is not None else None
        share = self.durations.failure_share(item.ref) if item.tries < item.attempts_max else 0.0
        if task is not None:
            known = _Known(*task, share)
        else:
            work, queue = self.durations.work(item.ref, item.expected_s), self.durations.queue(item.ref, priority)
            known = _Known(work, queue, None, share)
        if (supposed := item.supposed) is None:
            return known
        if supposed.works_like is not None:
            pace = self.durations.pace(dict(supposed.works_like))
            # Of a system that nothing is known of, what is planned.
            seconds = item.expected_s * (pace if pace is not None else 1.0)
            known = known._replace(work=Distribution([seconds * factor for factor in PRIOR]))
        if supposed.waits_like is not None:
            other = self.durations.task_like(supposed.waits_like, priority)
            if other is not None and known.hours is not None:
                known = known._replace(queue=other.queue, hours=other.hours)
            else:
                waits = self.durations.queue_like(supposed.waits_like, priority)
                known = _Known(self.durations.work(item.ref, item.expected_s), waits or known.queue, None, share)
        if supposed.is_first and known.queue is not None:
            known = known._replace(queue=known.queue.quickest(FIRST_SHARE))
        return known

    def _usual_rest(self, group: Group, at: int, known: _Known) -> Rest:
        """What is left if it had gone, and went on, as it usually does from when it was ready."""
        item = group.items[at]
        usual_work_s, usual_queue_s = self.durations.usual_s(item.ref)
        work = self.durations.work(item.ref, item.expected_s)
        whole = known.work.draw(group.luck(WORK, at)) * _ratio(usual_work_s, work)
        if known.queue is not None:
            ratio = _ratio(usual_queue_s, self.durations.queue(item.ref))
            whole = whole + known.queue.draw(group.luck(QUEUE, at)) * ratio
        ready = group.since("ready_at", at)
        if item.state is ItemState.PENDING or ready is None:
            return Rest(until(group, at), whole, known.hours)
        return Rest(0.0, np.maximum(whole - known.age_s(ready, group.now_s), 0.0), known.hours)

    def _rest(self, group: Group, at: int, known: _Known) -> Rest:
        """What is left of an item that has not ended."""
        item, luck = group.items[at], group.luck(WORK, at)
        work, queue = known.work, known.queue
        floor_s: Array | float = 0.0
        match item.state:
            case ItemState.RUNNING | ItemState.FROZEN_RUNNING:
                # Without observations of the queue the planned duration stands for both, so its age counts both.
                names = ("started_at",) if queue is not None else ("ready_at", "started_at")
                began = next((each for name in names if (each := group.since(name, at)) is not None), None)
                rest = work.draw_rest(luck, known.age_s(began, group.now_s))
            case ItemState.READY:
                # A what-if puts it somewhere else, where it has not waited yet.
                ready = group.since("ready_at", at) if item.supposed is None else None
                age_s = known.age_s(ready, group.now_s)
                if queue is not None and group.priority == HIGH:
                    # It may have become urgent only now: that it has waited long says nothing of those before it.
                    age_s = np.minimum(age_s, queue.median_s)
                if queue is None:
                    rest = work.draw_rest(luck, age_s)
                else:
                    rest = queue.draw_rest(group.luck(QUEUE, at), age_s) + work.draw(luck)
            case ItemState.FATALLY_FAILED | ItemState.FROZEN_FATALLY_FAILED:
                repair = self.durations.work(REPAIR, REPAIR_S)
                rest = repair.draw(group.luck(QUEUE, at)) + work.draw(luck)
            case ItemState.ON_HOLD:
                rest = _HOLD.draw(group.luck(QUEUE, at)) + work.draw(luck)
            case _:
                floor_s = until(group, at)
                rest = work.draw(luck)
                if queue is not None:
                    rest = rest + queue.draw(group.luck(QUEUE, at))
        if known.failure_share > 0:
            # Few fail at all: the others need no logarithm.
            (tries,) = group.luck(RETRY, at)
            fails = np.flatnonzero(tries <= known.failure_share)
            again = np.floor(np.log(tries[fails]) / np.log(known.failure_share))
            attempts_left = min(item.attempts_max - item.tries, RETRIES_MAX)
            rest[:, fails] += np.minimum(again, attempts_left) * (item.retry_delay_s + work.median_s)
        return Rest(floor_s, rest, known.hours)

    def _factors(self, group: Group, path: Path) -> list[tuple[Factor, ...]]:
        """The items on which the end of each plan depends most: how often, times how long."""
        plans = len(group.snapshots)
        if not path.open:
            return [()] * plans
        totals_s = path.total.mean(axis=1)
        critical = path.critical()
        shares = critical.mean(axis=2)
        weights = (critical * path.rest).mean(axis=2) / np.where(totals_s > 0, totals_s, 1.0)
        middle = group.draws // 2
        rests_s = np.partition(path.rest, middle, axis=2)[:, :, middle]
        # Ties as the graph has them.
        ranked = np.argsort(-weights, axis=0, kind="stable")[:FACTORS].T
        named = [Reason(group.items[at], self.durations) for at in path.open]
        found: list[tuple[Factor, ...]] = []
        # Plain numbers: to pick them one by one out of arrays takes several times as long.
        each_of = (ranked.tolist(), weights.T.tolist(), shares.T.tolist(), rests_s.T.tolist())
        for snapshot, rows, weight, share, rest_s in zip(group.snapshots, *each_of, strict=True):
            items, now = snapshot.items, snapshot.now
            factors = []
            for row in rows:
                if weight[row] <= 0:
                    break
                item = items[path.open[row]]
                reason = named[row].of(item, now, share[row], rest_s[row])
                factors.append(Factor(reason, item.key, round(min(weight[row], 1.0), 4)))
            found.append(tuple(factors))
        return found


def _takes_time(item: ItemSnapshot) -> bool:
    return item.type not in _INSTANT


def _ratio(usual_s: float | None, known: Distribution | None) -> float:
    """How much longer than of late it usually takes; 1 while that is not known."""
    return usual_s / known.median_s if usual_s is not None and known is not None and known.median_s > 0 else 1.0
