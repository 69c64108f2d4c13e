"""The built-in model: the rest of the plan is played through some hundred times, with durations drawn from what was
observed.

Per draw every open item gets a duration (what runs already: one that is longer than it has run), the plan's graph says
when each begins, and the last end is the order's. The random numbers of an order are always the same: two scores of one
order differ by what has happened between them, never by luck, and a replay gives the same. Dropped: closed formulas
(they need independence, which a shared predecessor breaks) and fresh random numbers for each score (risk would flicker
by some points at every tick).
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from delay.durations import HOLD_S, PRIOR, REPAIR, REPAIR_S, Array, Distribution, Durations, TaskTimes
from delay.model import ClosedOrder, Factor, Prediction
from delay.snapshot import SUB_PLAN, ItemSnapshot, Snapshot, in_order, priority_of
from delay.working_time import WorkingTime
from domain.priorities import HIGH
from domain.states import ItemState

NAME: Final = "critical-path"
VERSION: Final = "2"
DRAWS: Final = 200
CELLS_MAX: Final = 400_000
"""Items times draws of one order: very large plans are played through fewer times, which costs them little, because
the sum of many durations varies less."""
DRAWS_MIN: Final = 50
TOGETHER_MAX: Final = 400_000
"""Items times draws of plans that are played through together: what fits into the processor's caches is quicker."""
FACTORS: Final = 5
RETRIES_MAX: Final = 10
CONTRIBUTIONS: Final = 12
FIRST_SHARE: Final = 0.1
"""Who is put first waits as long as this quickest share of those that were observed."""
LOW, UPPER = 0.1, 0.9
_HOLD: Final = Distribution([HOLD_S * factor for factor in PRIOR])
_INSTANT: Final = frozenset({"milestone", SUB_PLAN})

Flags = NDArray[np.bool_]


class Contribution(NamedTuple):
    """By how much an item moves the risk: `points` of the probability, `delay_s` of the middle of the end; and how long
    it takes in all from when it was ready, against what is usual.
    """

    item: str
    points: float
    delay_s: float
    takes_s: float
    usual_s: float


class _Group:
    """Plans that stand alike and are played through together: each has so many columns of its own."""

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        self.snapshots = snapshots
        self.items = snapshots[0].items
        """Of the first; those of the others differ from them in times only."""
        self.priority = priority_of(snapshots[0])
        self.draws = draws_for(len(self.items))
        self.now_s = self.columns([each.now.timestamp() for each in snapshots])
        self._luck = np.empty((len(snapshots), 3, len(self.items), self.draws))
        for number, each in enumerate(snapshots):
            _generator(each).random(out=self._luck[number])

    def luck(self, at: int) -> Array:
        """The random numbers of an item, above 0 and up to 1; shape (3, columns)."""
        return 1.0 - self._luck[:, :, at, :].transpose(1, 0, 2).reshape(3, -1)

    def columns(self, values: Sequence[float]) -> Array:
        """One value for each plan, in all of its columns."""
        return np.repeat(np.asarray(values, dtype=np.float64), self.draws)

    def since(self, name: str, at: int) -> Array | None:
        """Seconds since 1970 of a moment of an item (`ready_at`, ...), None where plans that stand alike have none."""
        moments = [getattr(each.items[at], name) for each in self.snapshots]
        if moments[0] is None:
            return None
        return self.columns([each.timestamp() for each in moments])


def draws_for(items: int) -> int:
    """How many times a plan of so many items is played through."""
    return max(DRAWS_MIN, min(DRAWS, CELLS_MAX // max(items, 1)))


def _generator(snapshot: Snapshot) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32(snapshot.order_id.encode())))


def _alike(snapshot: Snapshot) -> Hashable:
    """Equal for plans that differ in orders and times only."""
    items = tuple(
        (
            item.ref, item.type, item.state, item.queue, item.system, item.waits, item.planned_s, item.tries,
            item.attempts_max, item.retry_delay_s, item.supposed, item.ready_at is None, item.started_at is None,
            item.timer_at is None,
        )
        for item in snapshot.items
    )  # fmt: skip
    return priority_of(snapshot), items


class _Known(NamedTuple):
    """How long an item takes. With `hours` both are in working time, else in that of the clock."""

    work: Distribution
    queue: Distribution | None
    hours: WorkingTime | None = None

    def age_s(self, since: Array | None, now_s: Array) -> Array | float:
        """Seconds since then, in the same time; 0 for a moment that has not come."""
        if since is None:
            return 0.0
        return now_s - since if self.hours is None else self.hours.between(since, now_s)


class _Rest(NamedTuple):
    """What is left of an item: seconds of the clock until it may begin at all, then `rest_s`, in working time if there
    are hours.
    """

    floor_s: Array | float
    rest_s: Array
    hours: WorkingTime | None = None


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
        alike: dict[Hashable, list[int]] = {}
        for at, snapshot in enumerate(snapshots):
            alike.setdefault(_alike(snapshot), []).append(at)
        found: dict[int, Prediction] = {}
        for places in alike.values():
            items = max(len(snapshots[places[0]].items), 1)
            most = max(TOGETHER_MAX // (items * draws_for(items)), 1)
            for start in range(0, len(places), most):
                some = places[start : start + most]
                found.update(zip(some, self._predict([snapshots[at] for at in some]), strict=True))
        return [found[at] for at in range(len(snapshots))]

    def _played(self, group: _Group, usual: int | None = None) -> _Path:
        """The drawn ends of the plans; the item at `usual` goes as it usually does."""
        path = _Path(group)
        for at in in_order(group.items):
            if not group.items[at].is_over:
                path.add(at, (self._usual_rest if at == usual else self._rest)(group, at))
        return path

    def contributions(self, snapshot: Snapshot) -> list[Contribution]:
        """By how much each of the items on which the end depends most moves the risk, the strongest first.

        A contribution is the probability to be late, minus what it would be if this item alone went as it usually does
        from when it was ready: above 0 it makes the order later than usual, below 0 it saves time.
        """
        group = _Group([snapshot])
        path = self._played(group)
        due_s = _seconds(snapshot.now, snapshot.due_at)
        p_late = float(np.mean(path.total > due_s))
        reach = (path.critical() * path.rest).mean(axis=1)
        found = []
        for at in sorted(path.open, key=lambda at: -reach[at])[:CONTRIBUTIONS]:
            without = self._played(group, at)
            points = p_late - float(np.mean(without.total > due_s))
            # Risks of 0 and 1 do not move: the time that is gained or lost still tells items apart.
            delay_s = float(np.median(path.total) - np.median(without.total))
            found.append(Contribution(snapshot.items[at].key, points, delay_s, *self._middles(snapshot, at, path)))
        return sorted(found, key=lambda each: (-abs(each.points), -abs(each.delay_s)))

    def _middles(self, snapshot: Snapshot, at: int, path: _Path) -> tuple[float, float]:
        """(seconds in all from when it was ready, what is usual)."""
        item = snapshot.items[at]
        began_at = item.ready_at or item.started_at
        age_s = _seconds(began_at, snapshot.now) if item.state is not ItemState.PENDING else 0.0
        work, queue = self.durations.work(item.ref, item.expected_s), self.durations.queue(item.ref)
        work_s, queue_s = self.durations.usual_s(item.ref)
        usual_s = work.median_s if work_s is None else work_s
        if queue is not None:
            usual_s += queue.median_s if queue_s is None else queue_s
        return age_s + float(np.median(path.rest[at])), usual_s

    def _predict(self, snapshots: Sequence[Snapshot]) -> list[Prediction]:
        group = _Group(snapshots)
        path = self._played(group)
        draws = group.draws
        ordered = np.sort(path.total.reshape(-1, draws), axis=1)
        due_s = [_seconds(each.now, each.due_at) for each in snapshots]
        p_late = np.mean(ordered > np.array(due_s)[:, None], axis=1).tolist()
        low_s, middle_s, high_s = (ordered[:, int(share * draws)].tolist() for share in (LOW, 0.5, UPPER))
        factors = self._factors(group, path)
        return [
            Prediction(*each, model=NAME, version=VERSION)
            for each in zip(p_late, middle_s, low_s, high_s, factors, strict=True)
        ]

    def _known(self, item: ItemSnapshot, priority: int) -> _Known:
        """What is known of the item's work and queue, as a what-if has them."""
        task = self.durations.task(item.ref, priority) if item.queue is not None else None
        if task is not None:
            known = _Known(*task)
        else:
            known = _Known(self.durations.work(item.ref, item.expected_s), self.durations.queue(item.ref, priority))
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
                known = _Known(self.durations.work(item.ref, item.expected_s), waits or known.queue)
        if supposed.is_first and known.queue is not None:
            known = known._replace(queue=known.queue.quickest(FIRST_SHARE))
        return known

    def _usual_rest(self, group: _Group, at: int) -> _Rest:
        """What is left if it had gone, and went on, as it usually does from when it was ready."""
        item, luck = group.items[at], group.luck(at)
        if item.type in _INSTANT:
            return _Rest(0.0, np.zeros(luck.shape[1]))
        known = self._known(item, group.priority)
        usual_work_s, usual_queue_s = self.durations.usual_s(item.ref)
        whole = known.work.draw(luck[0]) * _ratio(usual_work_s, self.durations.work(item.ref, item.expected_s))
        if known.queue is not None:
            whole = whole + known.queue.draw(luck[1]) * _ratio(usual_queue_s, self.durations.queue(item.ref))
        ready = group.since("ready_at", at)
        if item.state is ItemState.PENDING or ready is None:
            return _Rest(_until(group, at), whole, known.hours)
        return _Rest(0.0, np.maximum(whole - known.age_s(ready, group.now_s), 0.0), known.hours)

    def _rest(self, group: _Group, at: int) -> _Rest:
        """What is left of an item that has not ended."""
        item, luck = group.items[at], group.luck(at)
        if item.type in _INSTANT:
            return _Rest(0.0, np.zeros(luck.shape[1]))
        known = self._known(item, group.priority)
        work, queue = known.work, known.queue
        floor_s: Array | float = 0.0
        match item.state:
            case ItemState.RUNNING | ItemState.FROZEN_RUNNING:
                # Without observations of the queue the planned duration stands for both, so its age counts both.
                names = ("started_at",) if queue is not None else ("ready_at", "started_at")
                began = next((each for name in names if (each := group.since(name, at)) is not None), None)
                rest = work.draw_rest(luck[0], known.age_s(began, group.now_s))
            case ItemState.READY:
                # A what-if puts it somewhere else, where it has not waited yet.
                ready = group.since("ready_at", at) if item.supposed is None else None
                age_s = known.age_s(ready, group.now_s)
                if queue is not None and group.priority == HIGH:
                    # It may have become urgent only now: that it has waited long says nothing of those before it.
                    age_s = np.minimum(age_s, queue.median_s)
                if queue is None:
                    rest = work.draw_rest(luck[0], age_s)
                else:
                    rest = queue.draw_rest(luck[1], age_s) + work.draw(luck[0])
            case ItemState.FATALLY_FAILED | ItemState.FROZEN_FATALLY_FAILED:
                rest = self.durations.work(REPAIR, REPAIR_S).draw(luck[1]) + work.draw(luck[0])
            case ItemState.ON_HOLD:
                rest = _HOLD.draw(luck[1]) + work.draw(luck[0])
            case _:
                floor_s = _until(group, at)
                rest = work.draw(luck[0])
                if queue is not None:
                    rest = rest + queue.draw(luck[1])
        share = self.durations.failure_share(item.ref)
        attempts_left = min(item.attempts_max - item.tries, RETRIES_MAX)
        if share > 0 and attempts_left > 0:
            again = np.minimum(np.floor(np.log(luck[2]) / np.log(share)), attempts_left)
            rest = rest + again * (item.retry_delay_s + work.median_s)
        return _Rest(floor_s, rest, known.hours)

    def _factors(self, group: _Group, path: _Path) -> list[tuple[Factor, ...]]:
        """The items on which the end of each plan depends most: how often, times how long."""
        draws = group.draws
        totals_s = path.total.reshape(-1, draws).mean(axis=1)
        critical = path.critical()
        by_plan = (len(group.items), -1, draws)
        shares = critical.reshape(by_plan).mean(axis=2)
        weights = (critical * path.rest).reshape(by_plan).mean(axis=2) / np.where(totals_s > 0, totals_s, 1.0)
        # Ties as the graph has them.
        ranked = np.array(path.open)[np.argsort(-weights[path.open], axis=0, kind="stable")[:FACTORS]]
        found = []
        for number, snapshot in enumerate(group.snapshots):
            mine = slice(number * draws, (number + 1) * draws)
            strongest = ranked[:, number].tolist() if totals_s[number] > 0 else []
            found.append(
                tuple(
                    Factor(
                        self._in_words(
                            snapshot,
                            at,
                            float(shares[at, number]),
                            float(np.partition(path.rest[at, mine], draws // 2)[draws // 2]),
                        ),
                        snapshot.items[at].key,
                        round(min(float(weights[at, number]), 1.0), 4),
                    )
                    for at in strongest
                    if weights[at, number] > 0
                )
            )
        return found

    def _in_words(self, snapshot: Snapshot, at: int, share: float, rest_s: float) -> str:
        item = snapshot.items[at]
        queue = self.durations.queue(item.ref)
        usual_s = self.durations.work(item.ref, item.expected_s).median_s + (queue.median_s if queue else 0.0)
        began_at = item.ready_at or item.started_at
        age_s = _seconds(began_at, snapshot.now) if item.state is not ItemState.PENDING else 0.0
        age = f" for {in_words_s(age_s)}" if began_at is not None and age_s > 0 else ""
        excess_s = age_s + rest_s - usual_s
        over = f", {in_words_s(excess_s)} longer than usual" if age and excess_s > 0.1 * usual_s else ""
        where = f" in queue {item.queue}" if item.queue is not None else ""
        return (
            f"{item.name} is {item.state.value}{where}{age} and takes {in_words_s(rest_s)} more, usually "
            f"{in_words_s(usual_s)} in all{over}; the end waits for it in {share:.0%} of the cases"
        )


class _Path:
    """The drawn ends of a plan's items, filled in the order of the graph; all times in seconds from now."""

    def __init__(self, group: _Group) -> None:
        items, draws = group.items, len(group.now_s)
        self._items = items
        self._now_s = group.now_s
        self._ends: NDArray[Any] = np.zeros((len(items), draws))
        self._begins: dict[tuple[int, ...], Array] = {}
        self._first: dict[tuple[int, ...], int] = {}
        self.open: list[int] = []
        """The items that have not ended, in the order of the graph."""
        self.rest: NDArray[Any] = np.zeros((len(items), draws))
        """What each of them still takes."""
        self.total: Array = np.zeros(draws)

    def add(self, at: int, given: _Rest) -> None:
        """An open item, after everything it waits for."""
        waits = self._items[at].waits
        begins = self._begins.get(waits)
        if begins is None:
            # Items that wait for the same share the answer: thousands may wait for thousands.
            begins = self._ends[list(waits)].max(axis=0) if waits else np.zeros_like(self.total)
            self._begins[waits] = begins
            self._first[waits] = at
        self.open.append(at)
        starts = np.maximum(begins, given.floor_s) if np.any(given.floor_s) else begins
        rest = given.rest_s
        if given.hours is not None:
            rest = given.hours.after(self._now_s + starts, rest) - self._now_s - starts
        self.rest[at] = rest
        self._ends[at] = starts + rest
        np.maximum(self.total, self._ends[at], out=self.total)

    def critical(self) -> Flags:
        """Shape (items, draws): whether the end of the order waits for the item."""
        critical: Flags = np.zeros(self._ends.shape, dtype=np.bool_)
        waited: dict[tuple[int, ...], Flags] = {}
        for at in reversed(self.open):
            waits = self._items[at].waits
            critical[at] |= self._ends[at] >= self.total
            begins = self._begins[waits]
            # Critical as far as nothing but what it waits for held it up.
            mine = critical[at] & (begins > 0) & (self._ends[at] <= begins + self.rest[at])
            waited[waits] = waited[waits] | mine if waits in waited else mine
            if self._first[waits] == at and waits:
                targets = list(waits)
                critical[targets] |= waited[waits] & (self._ends[targets] >= begins)
        return critical


def _until(group: _Group, at: int) -> Array | float:
    """Seconds until the date that an item waits for, 0 without one."""
    timer = group.since("timer_at", at)
    return np.maximum(timer - group.now_s, 0.0) if timer is not None else 0.0


def _ratio(usual_s: float | None, known: Distribution | None) -> float:
    """How much longer than of late it usually takes; 1 while that is not known."""
    return usual_s / known.median_s if usual_s is not None and known is not None and known.median_s > 0 else 1.0


def _seconds(since: datetime | None, until: datetime | None) -> float:
    return (until - since).total_seconds() if since is not None and until is not None else 0.0


def in_words_s(seconds: float) -> str:
    """A duration as people say it: `40 s`, `12 min`, `3.1 h`, `2.4 d`."""
    for size, unit in ((86_400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
