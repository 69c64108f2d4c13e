"""Plans that stand alike, played through together: their random numbers, and who waits for whom in them.

Arrays have a row for each plan and a column for each time that it is played through. What is the same for all plans
(random numbers) has one row only, what is the same in every column (ages, dates) one column. Only items that have not
ended are played.

The random numbers of an item depend on its place in the plan and on nothing else. Two orders differ by how they stand,
never by luck, and so does one order from itself of yesterday. Each item has one number from every 200th part of 0 to 1
(a Latin hypercube): what a single item takes comes out without luck, and of what several take together there is less
than with free numbers.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from delay.durations import Array
from delay.snapshot import Snapshot, in_order, priority_of
from delay.working_time import WorkingTime

DRAWS: Final = 200
CELLS_MAX: Final = 400_000
"""Items times draws of one order: very large plans are played through fewer times, which costs them little, because
the sum of many durations varies less."""
DRAWS_MIN: Final = 50
TOGETHER_MAX: Final = 400_000
"""Items times draws of plans that are played through together: what fits into the processor's caches is quicker."""
WORK, QUEUE, RETRY = range(3)
"""What an item has random numbers for."""
_BLOCK: Final = 256
"""Items whose random numbers are made together."""

Flags = NDArray[np.bool_]


class Group:
    """Plans that stand alike."""

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        self.snapshots = snapshots
        self.items = snapshots[0].items
        """Of the first; those of the others differ from them in times only."""
        self.open = tuple(at for at in in_order(self.items) if not self.items[at].is_over)
        """The places of the items that have not ended, each behind what it waits for."""
        self.priority = priority_of(snapshots[0])
        self.draws = draws_for(len(self.items))
        self.now_s = self.column([each.now.timestamp() for each in snapshots])

    def luck(self, kind: int, at: int) -> Array:
        """The random numbers (`WORK`, `QUEUE` or `RETRY`) of an item, above 0 and up to 1, in one row for all plans."""
        block, row = divmod(at, _BLOCK)
        return _block(kind, block, self.draws)[row : row + 1]

    def column(self, values: Sequence[float]) -> Array:
        """One value for each plan."""
        return np.asarray(values, dtype=np.float64)[:, None]

    def since(self, name: str, at: int) -> Array | None:
        """Seconds since 1970 of a moment of an item (`ready_at`, ...), None where plans that stand alike have none."""
        moment = attrgetter(name)
        if moment(self.items[at]) is None:
            return None
        return self.column([moment(each.items[at]).timestamp() for each in self.snapshots])


class EvenGroup(Group):
    """One plan whose items all have the same luck: from column to column every one of them takes longer."""

    def luck(self, kind: int, at: int) -> Array:
        """The same for all, falling."""
        return 1.0 - (np.arange(self.draws)[None, :] + 0.5) / self.draws


def draws_for(items: int) -> int:
    """How many times a plan of so many items is played through."""
    return max(DRAWS_MIN, min(DRAWS, CELLS_MAX // max(items, 1)))


def groups(snapshots: Sequence[Snapshot]) -> Iterable[tuple[list[int], Group]]:
    """(places, the plans there): plans that stand alike, as many as are played together well."""
    alike: dict[Hashable, list[int]] = {}
    for at, snapshot in enumerate(snapshots):
        alike.setdefault(_alike(snapshot), []).append(at)
    for places in alike.values():
        items = max(len(snapshots[places[0]].items), 1)
        most = max(TOGETHER_MAX // (items * draws_for(items)), 1)
        for start in range(0, len(places), most):
            some = places[start : start + most]
            yield some, Group([snapshots[at] for at in some])


@lru_cache(maxsize=64)
def _block(kind: int, block: int, draws: int) -> Array:
    """Random numbers of the items of a block, shape (items, draws)."""
    generator = np.random.Generator(np.random.PCG64([kind, block, draws]))
    strata = generator.permuted(np.tile(np.arange(draws), (_BLOCK, 1)), axis=1)
    found: Array = (strata + 1.0 - generator.random((_BLOCK, draws))) / draws
    return found


standing = attrgetter(
    "ref", "type", "state", "queue", "system", "waits", "planned_s", "tries", "attempts_max", "retry_delay_s",
    "supposed",
)  # fmt: skip
"""How an item stands, but for its times."""


def _alike(snapshot: Snapshot) -> Hashable:
    """Equal for plans that differ in orders and times only; of what has ended nothing else counts either."""
    items = tuple(
        [
            item.waits
            if item.is_over
            else (standing(item), item.ready_at is None, item.started_at is None, item.timer_at is None)
            for item in snapshot.items
        ]
    )
    return priority_of(snapshot), items


class Rest(NamedTuple):
    """What is left of an item: seconds of the clock until it may begin at all, then `rest_s`, in working time if there
    are hours.
    """

    floor_s: Array | float
    rest_s: Array
    hours: WorkingTime | None = None


class Path:
    """The drawn ends of the open items of plans, filled in the order of the graph; all times in seconds from now."""

    def __init__(self, group: Group) -> None:
        self.open = group.open
        """The places of the items; rows below are in this order."""
        shape = (len(self.open), len(group.snapshots), group.draws)
        row_of = {at: row for row, at in enumerate(self.open)}
        waits = (group.items[at].waits for at in self.open)
        self._waits = [tuple(row_of[target] for target in each if target in row_of) for each in waits]
        """Rows: what has ended holds nobody up."""
        self._now_s = group.now_s
        self.ends: NDArray[Any] = np.empty(shape)
        """When each of them ends."""
        self._begins: dict[tuple[int, ...], Array] = {(): np.zeros((1, 1))}
        self._first: dict[tuple[int, ...], int] = {}
        self._filled = 0
        self.rest: NDArray[Any] = np.empty(shape)
        """What each of them still takes."""
        self.total: Array = np.zeros(shape[1:])

    def add(self, given: Rest) -> None:
        """The next of the open items."""
        row = self._filled
        self._filled += 1
        waits = self._waits[row]
        begins = self._begins.get(waits)
        if begins is None:
            # Items that wait for the same share the answer: thousands may wait for thousands.
            begins = self.ends[waits[0]] if len(waits) == 1 else self.ends[list(waits)].max(axis=0)
            self._begins[waits] = begins
            self._first[waits] = row
        starts = begins if isinstance(given.floor_s, float) else np.maximum(begins, given.floor_s)
        rest = given.rest_s
        if given.hours is not None:
            began_s = self._now_s + starts
            rest = given.hours.after(began_s, rest) - began_s
        self.rest[row] = rest
        np.add(starts, rest, out=self.ends[row])
        np.maximum(self.total, self.ends[row], out=self.total)

    def critical(self) -> Flags:
        """Shape (open items, plans, draws): whether the end of the order waits for the item."""
        critical = self.ends >= self.total
        waited: dict[tuple[int, ...], Flags] = {}
        for row in range(self._filled - 1, -1, -1):
            waits = self._waits[row]
            if not waits:
                continue
            begins = self._begins[waits]
            # Critical as far as nothing but what it waits for held it up.
            mine = critical[row] & (begins > 0) & (self.ends[row] <= begins + self.rest[row])
            waited[waits] = waited[waits] | mine if waits in waited else mine
            if self._first[waits] == row:
                for target in waits:
                    critical[target] |= waited[waits] & (self.ends[target] >= begins)
        return critical


def until(group: Group, at: int) -> Array | float:
    """Seconds until the date that an item waits for, 0 without one."""
    timer = group.since("timer_at", at)
    return np.maximum(timer - group.now_s, 0.0) if timer is not None else 0.0


def seconds(since: datetime | None, to: datetime | None) -> float:
    """Between two moments, 0 while one is not known."""
    return (to - since).total_seconds() if since is not None and to is not None else 0.0
