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
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from delay.durations import HOLD_S, PRIOR, REPAIR, REPAIR_S, Array, Distribution, Durations
from delay.model import ClosedOrder, Factor, Prediction
from delay.snapshot import SUB_PLAN, ItemSnapshot, Snapshot, in_order
from domain.states import ItemState

NAME: Final = "critical-path"
VERSION: Final = "1"
DRAWS: Final = 200
CELLS_MAX: Final = 400_000
"""Items times draws of one order: very large plans are played through fewer times, which costs them little, because
the sum of many durations varies less."""
DRAWS_MIN: Final = 50
FACTORS: Final = 5
RETRIES_MAX: Final = 10
LOW, HIGH = 0.1, 0.9
_HOLD: Final = Distribution([HOLD_S * factor for factor in PRIOR])
_INSTANT: Final = frozenset({"milestone", SUB_PLAN})

Flags = NDArray[np.bool_]


class CriticalPath:
    """The built-in delay model."""

    def __init__(self, durations: Durations | None = None) -> None:
        self.durations = durations or Durations()

    def fit(self, history: Sequence[ClosedOrder]) -> None:
        """Learn the durations of the items of orders that have ended."""
        for closed in history:
            for item in closed.snapshot.items:
                if item.state is ItemState.COMPLETED and item.started_at is not None and item.ended_at is not None:
                    is_queued = item.queue is not None and item.ready_at is not None
                    self.durations.observe(
                        item.ref,
                        (item.ended_at - item.started_at).total_seconds(),
                        _seconds(item.ready_at, item.started_at) if is_queued else None,
                    )

    def predict(self, snapshots: Sequence[Snapshot]) -> list[Prediction]:
        """One prediction for each snapshot."""
        return [self._predict(each) for each in snapshots]

    def _predict(self, snapshot: Snapshot) -> Prediction:
        items = snapshot.items
        draws = max(DRAWS_MIN, min(DRAWS, CELLS_MAX // max(len(items), 1)))
        generator = np.random.Generator(np.random.PCG64(zlib.crc32(snapshot.order_id.encode())))
        luck = 1.0 - generator.random((3, len(items), draws))
        path = _Path(items, draws)
        for at in in_order(items):
            if not items[at].is_over:
                path.add(at, *self._rest(items[at], snapshot.now, luck[:, at, :]))
        due_s = _seconds(snapshot.now, snapshot.due_at)
        ordered = np.sort(path.total)
        low_s, remaining_s, high_s = (float(ordered[int(share * draws)]) for share in (LOW, 0.5, HIGH))
        return Prediction(
            p_late=float(np.mean(path.total > due_s)),
            remaining_s=remaining_s,
            low_s=low_s,
            high_s=high_s,
            factors=self._factors(snapshot, path),
            model=NAME,
            version=VERSION,
        )

    def _rest(self, item: ItemSnapshot, now: datetime, luck: Array) -> tuple[float, Array]:
        """(seconds until it may begin at all, seconds that it still takes) of an item that has not ended."""
        if item.type in _INSTANT:
            return 0.0, np.zeros(luck.shape[1])
        work, queue = self.durations.work(item.ref, item.expected_s), self.durations.queue(item.ref)
        floor_s = 0.0
        match item.state:
            case ItemState.RUNNING | ItemState.FROZEN_RUNNING:
                # Without observations of the queue the planned duration stands for both, so its age counts both.
                began_at = item.started_at if queue is not None else item.ready_at or item.started_at
                rest = work.draw_rest(luck[0], _seconds(began_at, now))
            case ItemState.READY:
                age_s = _seconds(item.ready_at, now)
                if queue is None:
                    rest = work.draw_rest(luck[0], age_s)
                else:
                    rest = queue.draw_rest(luck[1], age_s) + work.draw(luck[0])
            case ItemState.FATALLY_FAILED | ItemState.FROZEN_FATALLY_FAILED:
                rest = self.durations.work(REPAIR, REPAIR_S).draw(luck[1]) + work.draw(luck[0])
            case ItemState.ON_HOLD:
                rest = _HOLD.draw(luck[1]) + work.draw(luck[0])
            case _:
                if item.timer_at is not None:
                    floor_s = max(_seconds(now, item.timer_at), 0.0)
                rest = work.draw(luck[0])
                if queue is not None:
                    rest = rest + queue.draw(luck[1])
        share = self.durations.failure_share(item.ref)
        attempts_left = min(item.attempts_max - item.tries, RETRIES_MAX)
        if share > 0 and attempts_left > 0:
            again = np.minimum(np.floor(np.log(luck[2]) / np.log(share)), attempts_left)
            rest = rest + again * (item.retry_delay_s + work.median_s)
        return floor_s, rest

    def _factors(self, snapshot: Snapshot, path: _Path) -> tuple[Factor, ...]:
        """The items on which the end depends most: how often, times how long."""
        total_s = float(path.total.mean())
        if total_s <= 0:
            return ()
        critical = path.critical()
        shares = critical.mean(axis=1)
        weights = (critical * path.rest).mean(axis=1) / total_s
        strongest = sorted(path.open, key=lambda at: -weights[at])[:FACTORS]
        return tuple(
            Factor(
                self._in_words(snapshot, at, float(shares[at]), float(np.sort(path.rest[at])[len(path.total) // 2])),
                snapshot.items[at].key,
                round(min(float(weights[at]), 1.0), 4),
            )
            for at in strongest
            if weights[at] > 0
        )

    def _in_words(self, snapshot: Snapshot, at: int, share: float, rest_s: float) -> str:
        item = snapshot.items[at]
        queue = self.durations.queue(item.ref)
        usual_s = self.durations.work(item.ref, item.expected_s).median_s + (queue.median_s if queue else 0.0)
        began_at = item.ready_at or item.started_at
        age_s = _seconds(began_at, snapshot.now) if item.state is not ItemState.PENDING else 0.0
        age = f" for {in_words_s(age_s)}" if began_at is not None and age_s > 0 else ""
        excess_s = age_s + rest_s - usual_s
        over = f", {in_words_s(excess_s)} longer than usual" if age and excess_s > 0.1 * usual_s else ""
        return (
            f"{item.name} is {item.state.value}{age} and takes {in_words_s(rest_s)} more, usually "
            f"{in_words_s(usual_s)} in all{over}; the end waits for it in {share:.0%} of the cases"
        )


class _Path:
    """The drawn ends of a plan's items, filled in the order of the graph; all times in seconds from now."""

    def __init__(self, items: Sequence[ItemSnapshot], draws: int) -> None:
        self._items = items
        self._ends: NDArray[Any] = np.zeros((len(items), draws))
        self._begins: dict[tuple[int, ...], Array] = {}
        self._first: dict[tuple[int, ...], int] = {}
        self.open: list[int] = []
        """The items that have not ended, in the order of the graph."""
        self.rest: NDArray[Any] = np.zeros((len(items), draws))
        """What each of them still takes."""
        self.total: Array = np.zeros(draws)

    def add(self, at: int, floor_s: float, rest: Array) -> None:
        """An open item, after everything it waits for."""
        waits = self._items[at].waits
        begins = self._begins.get(waits)
        if begins is None:
            # Items that wait for the same share the answer: thousands may wait for thousands.
            begins = self._ends[list(waits)].max(axis=0) if waits else np.zeros_like(self.total)
            self._begins[waits] = begins
            self._first[waits] = at
        self.open.append(at)
        self.rest[at] = rest
        self._ends[at] = (np.maximum(begins, floor_s) if floor_s > 0 else begins) + rest
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


def _seconds(since: datetime | None, until: datetime | None) -> float:
    return (until - since).total_seconds() if since is not None and until is not None else 0.0


def in_words_s(seconds: float) -> str:
    """A duration as people say it: `40 s`, `12 min`, `3.1 h`, `2.4 d`."""
    for size, unit in ((86_400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
