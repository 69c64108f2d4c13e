"""How long items take, learnt from those that ended: the last few hundred of each definition.

Work (started until completed) and queue (ready until started) are kept apart: they have different remedies. Only the
newest observations count, so that the numbers follow what changes; what is kept is bounded and depends on nothing but
the observations and their order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import wraps
from threading import RLock
from typing import Concatenate, Final, NamedTuple, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from delay.working_time import MOMENTS_MIN, WorkingTime
from domain import facts as f

Array = NDArray[np.float64]

OBSERVATIONS_MAX: Final = 256
DEFINITIONS_MAX: Final = 10_000
OPEN_MAX: Final = 200_000
"""Items under way whose start is remembered; the oldest is forgotten first, and then not learnt from."""
PRIOR: Final = (0.5, 0.65, 0.75, 0.85, 0.93, 1.0, 1.08, 1.18, 1.33, 1.55, 2.0)
"""What stands for a planned duration among few observations: around it, skewed as durations are."""
ENOUGH: Final = 20
"""So many observations make the planned duration superfluous."""
TAIL_POWER: Final = 3.0
"""Beyond its longest observation a duration is expected to last half as long again as it has."""
USUAL_BLOCK: Final = 64
USUAL_BLOCKS: Final = 64
"""What is usual in the long run is the middle of the middles of so many blocks: a slow spell is not usual at once."""
SHORTEST_S: Final = 0.01
REPAIR: Final = "repair"
"""Stands in the place of a definition for the time from a fatal failure to its repair."""
REPAIR_S: Final = 4 * 3600.0
HOLD_S: Final = 900.0
"""How long a system that is offline is taken to stay away."""


class Distribution:
    """A distribution of durations: straight lines between the observations, and beyond the longest one a Pareto tail.

    With the tail, what has lasted longer than everything before is expected to last in proportion to its age, so that
    a prediction keeps moving when an item overruns.
    """

    def __init__(self, samples: Sequence[float]) -> None:
        values = np.sort(np.asarray(samples, dtype=np.float64))
        self._values = values
        self._top = max(float(values[-1]), SHORTEST_S)
        self._survivals = 1.0 - np.arange(1, len(values) + 1) / (len(values) + 1)
        self._left = float(self._survivals[-1])
        # Survivals are evenly spaced: a place in the table is computed and not searched for, which is several times as
        # quick.
        self._steps = np.concatenate([values[:1], values, values[-1:]])
        self._rises = np.append(np.diff(self._steps), 0.0)
        self.median_s = float(np.median(values))

    def quickest(self, share: float) -> Distribution:
        """That of the shortest of the observations."""
        return Distribution(self._values[: max(round(len(self._values) * share), 1)].tolist())

    def outlasted_s(self, share: float) -> float:
        """How long the longest share of them last at least: 0.1 gives what nine of ten do not exceed."""
        return float(self.draw(np.array([share]))[0])

    def survival(self, age_s: Array | float) -> Array:
        """The probabilities of lasting longer than `age_s`."""
        age = np.asarray(age_s, dtype=np.float64)
        inside = np.where(age <= self._values[0], 1.0, np.interp(age, self._values, self._survivals))
        found: Array = np.where(
            age >= self._top, self._left * (self._top / np.maximum(age, self._top)) ** TAIL_POWER, inside
        )
        return found

    def draw(self, survivals: Array) -> Array:
        """The durations that are outlasted with these probabilities (0 exclusive to 1)."""
        place = (1.0 - survivals) * (len(self._values) + 1)
        at = place.astype(np.intp)
        drawn: Array = (place - at) * self._rises[at] + self._steps[at]
        beyond = survivals < self._left
        if beyond.any():
            drawn[beyond] = self._top * (self._left / survivals[beyond]) ** (1 / TAIL_POWER)
        return drawn

    def draw_rest(self, survivals: Array, age_s: Array | float) -> Array:
        """What is left of durations that have lasted for `age_s` already."""
        if not np.any(np.asarray(age_s) > 0):
            return self.draw(survivals)
        age = np.maximum(age_s, 0.0)
        return np.maximum(self.draw(survivals * np.where(age > 0, self.survival(age), 1.0)) - age, 0.0)


class TaskTimes(NamedTuple):
    """When a task was ready, begun and completed, in seconds since 1970, and its order's priority, if that is known."""

    ready: float
    started: float
    ended: float
    priority: int | None


class Task(NamedTuple):
    """How long people take for a task, and how long it waits for them, both in working time; and when they work."""

    work: Distribution
    queue: Distribution
    hours: WorkingTime

    @classmethod
    def of(cls, times: Sequence[TaskTimes], priority: int | None) -> Task | None:
        """From what was observed; None from too little. While enough have the priority, waits are those at it."""
        if 2 * len(times) < MOMENTS_MIN:
            return None
        ready, started, ended = (np.array([each[at] for each in times]) for at in range(3))
        hours = WorkingTime(np.concatenate([started, ended]).tolist())
        waits = hours.between(ready, started)
        is_ranked = np.array([each.priority == priority for each in times])
        if is_ranked.sum() >= ENOUGH:
            waits = waits[is_ranked]
        return cls(Distribution(hours.between(started, ended).tolist()), Distribution(waits.tolist()), hours)


class _LongRun:
    """The middle of what was observed over a long time."""

    __slots__ = ("_block", "_middles")

    def __init__(self) -> None:
        self._block: list[float] = []
        self._middles: deque[float] = deque(maxlen=USUAL_BLOCKS)

    def add(self, seconds: float) -> None:
        """One more observation."""
        self._block.append(seconds)
        if len(self._block) == USUAL_BLOCK:
            self._middles.append(float(np.median(self._block)))
            self._block.clear()

    @property
    def middle_s(self) -> float | None:
        """None before the first block is full."""
        return float(np.median(self._middles)) if self._middles else None


class _Observed:
    """The newest observations of one definition."""

    __slots__ = (
        "attempts", "cache", "queue_cache", "queue_s", "queue_usual", "ranked_s", "task_cache", "times", "work_s",
        "work_usual",
    )  # fmt: skip

    def __init__(self) -> None:
        self.work_s: deque[float] = deque(maxlen=OBSERVATIONS_MAX)
        self.queue_s: deque[float] = deque(maxlen=OBSERVATIONS_MAX)
        self.ranked_s: dict[int, deque[float]] = {}
        """Waits by the priority of the orders: who is urgent waits less."""
        self.attempts: deque[bool] = deque(maxlen=OBSERVATIONS_MAX)
        """Whether each of the last attempts failed."""
        self.cache: dict[float, Distribution] = {}
        """Of the work, by the planned duration it was mixed with."""
        self.queue_cache: dict[int | None, Distribution] = {}
        """Of the queue, by priority; None: of all."""
        self.work_usual, self.queue_usual = _LongRun(), _LongRun()
        self.times: deque[TaskTimes] = deque(maxlen=OBSERVATIONS_MAX)
        """Of tasks of people only."""
        self.task_cache: dict[int | None, Task | None] = {}

    def ranked(self, priority: int | None) -> Sequence[float]:
        """The waits at a priority, those of all while they are few."""
        ranked = self.ranked_s.get(priority, ()) if priority is not None else ()
        return ranked if len(ranked) >= ENOUGH else self.queue_s


_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")


def _alone(
    method: Callable[Concatenate[Durations, _Given], _Found],
) -> Callable[Concatenate[Durations, _Given], _Found]:
    """What is observed must not change while it is looked through."""

    @wraps(method)
    def held(self: Durations, /, *args: _Given.args, **kwargs: _Given.kwargs) -> _Found:
        with self._lock:
            return method(self, *args, **kwargs)

    return held


class Durations:
    """What was observed, by item definition; for one thread at a time, since scores are worked out beside the loop."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._by_ref: dict[str, _Observed] = {}
        self._planned: dict[float, Distribution] = {}
        self.observed = 0

    @_alone
    def observe(self, ref: str, work_s: float, queue_s: float | None = None, priority: int | None = None) -> None:
        """An item of the definition was completed, of an order with this priority (if that is known)."""
        observed = self._of(ref)
        observed.work_s.append(max(work_s, 0.0))
        observed.work_usual.add(max(work_s, 0.0))
        if queue_s is not None:
            observed.queue_s.append(max(queue_s, 0.0))
            observed.queue_usual.add(max(queue_s, 0.0))
            if priority is not None:
                observed.ranked_s.setdefault(priority, deque(maxlen=OBSERVATIONS_MAX)).append(max(queue_s, 0.0))
            observed.queue_cache.clear()
        observed.attempts.append(False)
        observed.cache.clear()
        self.observed += 1

    @_alone
    def observe_task(self, ref: str, times: TaskTimes) -> None:
        """A task of people was completed."""
        self.observe(ref, times.ended - times.started, times.started - times.ready, times.priority)
        observed = self._of(ref)
        observed.times.append(times)
        observed.task_cache.clear()

    @_alone
    def task(self, ref: str, priority: int | None = None) -> Task | None:
        """What people take for the definition, in working time; None while too little was observed."""
        observed = self._by_ref.get(ref)
        if observed is None or not observed.times:
            return None
        if priority not in observed.task_cache:
            observed.task_cache[priority] = Task.of(observed.times, priority)
        return observed.task_cache[priority]

    @_alone
    def task_like(self, refs: Iterable[str], priority: int | None = None) -> Task | None:
        """The same of tasks of any of these definitions."""
        found = [each for ref in refs if ref in self._by_ref for each in self._by_ref[ref].times]
        return Task.of(found, priority)

    @_alone
    def observe_failure(self, ref: str) -> None:
        """An attempt failed."""
        self._of(ref).attempts.append(True)

    def _of(self, ref: str) -> _Observed:
        observed = self._by_ref.pop(ref, None) or _Observed()
        # Put last: the definition that was seen longest ago is the first to go.
        self._by_ref[ref] = observed
        while len(self._by_ref) > DEFINITIONS_MAX:
            del self._by_ref[next(iter(self._by_ref))]
        return observed

    @_alone
    def work(self, ref: str, planned_s: float) -> Distribution:
        """How long the work of the definition takes; few observations are mixed with the planned duration."""
        observed = self._by_ref.get(ref)
        if observed is None or not observed.work_s:
            return self._prior(planned_s)
        known = observed.cache.get(planned_s)
        if known is None:
            samples = list(observed.work_s)
            if len(samples) < ENOUGH:
                samples += [planned_s * factor for factor in PRIOR]
            known = observed.cache[planned_s] = Distribution(samples)
        return known

    @_alone
    def queue(self, ref: str, priority: int | None = None) -> Distribution | None:
        """How long items of the definition wait for somebody, at a priority while enough have; None where nothing was
        observed.
        """
        observed = self._by_ref.get(ref)
        if observed is None or not observed.queue_s:
            return None
        known = observed.queue_cache.get(priority)
        if known is None:
            known = observed.queue_cache[priority] = Distribution(observed.ranked(priority))
        return known

    @_alone
    def queue_like(self, refs: Iterable[str], priority: int | None = None) -> Distribution | None:
        """How long items of any of these definitions wait; None where nothing was observed."""
        found = [self._by_ref[ref] for ref in refs if ref in self._by_ref]
        waits = [each for observed in found for each in observed.ranked(priority)]
        return Distribution(waits) if waits else None

    @_alone
    def usual_s(self, ref: str) -> tuple[float | None, float | None]:
        """(work, queue): the middle of each in the long run, None where too little was observed for one."""
        observed = self._by_ref.get(ref)
        return (observed.work_usual.middle_s, observed.queue_usual.middle_s) if observed is not None else (None, None)

    @_alone
    def is_observed(self, ref: str) -> bool:
        """Whether an item of the definition has been completed."""
        observed = self._by_ref.get(ref)
        return observed is not None and bool(observed.work_s)

    @_alone
    def pace(self, planned_s: Mapping[str, float]) -> float | None:
        """How long work takes for each planned second, the middle over these definitions (by their planned durations);
        None where nothing was observed.
        """
        paces = [
            float(np.median(observed.work_s)) / planned
            for ref, planned in planned_s.items()
            if planned > 0 and (observed := self._by_ref.get(ref)) is not None and observed.work_s
        ]
        return float(np.median(paces)) if paces else None

    @_alone
    def failure_share(self, ref: str) -> float:
        """The share of attempts that fail."""
        observed = self._by_ref.get(ref)
        if observed is None or not any(observed.attempts):
            return 0.0
        return sum(observed.attempts) / (len(observed.attempts) + 1)

    def _prior(self, planned_s: float) -> Distribution:
        known = self._planned.get(planned_s)
        if known is None:
            if len(self._planned) >= DEFINITIONS_MAX:
                self._planned.clear()
            known = self._planned[planned_s] = Distribution([planned_s * factor for factor in PRIOR])
        return known


class ItemClock:
    """Reads durations off the facts of all orders as they come."""

    def __init__(self, durations: Durations) -> None:
        self._durations = durations
        self._ready: dict[tuple[str, str], datetime] = {}
        self._started: dict[tuple[str, str], datetime] = {}
        self._broken: dict[tuple[str, str], datetime] = {}
        self._claimed: dict[tuple[str, str], datetime] = {}

    def take(self, order_id: str, item: str | None, kind: str, at: datetime, priority: int | None = None) -> None:
        """One fact, in the order of its order, whose priority may be known."""
        if item is None:
            return
        key, ref = (order_id, item), item.partition("@")[0]
        # What comes most is looked for first.
        match kind:
            case f.ITEM_STARTED | f.ITEM_BEGUN | f.ITEM_CLAIMED:
                # A task that is claimed anew was begun the first time.
                if kind != f.ITEM_CLAIMED or key not in self._started:
                    _note(self._started, key, at)
                if kind == f.ITEM_CLAIMED:
                    _note(self._claimed, key, at)
            case f.ITEM_COMPLETED | f.ITEM_SKIPPED | f.ITEM_RETRIED:
                self._end(key, ref, kind, at, priority)
            case f.ITEM_OPENED:
                _note(self._ready, key, at)
            case f.ITEM_HELD:
                # Its system is away: that is no part of how long the work takes.
                self._started.pop(key, None)
            case f.ITEM_FAILED:
                self._started.pop(key, None)
                self._durations.observe_failure(ref)
            case f.ITEM_FATALLY_FAILED:
                for times in (self._ready, self._started, self._claimed):
                    times.pop(key, None)
                self._durations.observe_failure(ref)
                _note(self._broken, key, at)

    def _end(self, key: tuple[str, str], ref: str, kind: str, at: datetime, priority: int | None) -> None:
        broken_at, started_at = self._broken.pop(key, None), self._started.pop(key, None)
        ready_at, claimed_at = self._ready.pop(key, None), self._claimed.pop(key, None)
        if broken_at is not None:
            self._durations.observe(REPAIR, (at - broken_at).total_seconds())
        elif kind == f.ITEM_COMPLETED and started_at is not None and ready_at is not None and claimed_at is not None:
            times = TaskTimes(ready_at.timestamp(), started_at.timestamp(), at.timestamp(), priority)
            self._durations.observe_task(ref, times)
        elif kind == f.ITEM_COMPLETED and started_at is not None:
            queue_s = (started_at - ready_at).total_seconds() if ready_at is not None else None
            self._durations.observe(ref, (at - started_at).total_seconds(), queue_s, priority)


def _note(times: dict[tuple[str, str], datetime], key: tuple[str, str], at: datetime) -> None:
    times[key] = at
    while len(times) > OPEN_MAX:
        del times[next(iter(times))]
