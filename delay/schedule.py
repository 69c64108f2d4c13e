"""When each open item of a plan is expected to begin and end, what the end of the order waits for, and how much time
the other items have.

The plan is played through as for a score. Of every item the same quantile of what it takes is then laid along the
graph: the one with which the plan ends when the model expects it to, so that the schedule agrees with the score.
Dropped: the middle of each item, whose sum ends too early as soon as items side by side are waited for; and the middle
of the ends of each, which fit no single way through the plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from delay.durations import Array
from delay.playing import Group, Path, seconds
from delay.snapshot import ItemSnapshot

NO_SLACK_S: Final = 0.001
"""Less is what rounding leaves."""


class Expected(NamedTuple):
    """One open item, seconds from the moment of the snapshot.

    Attributes:
        at: its place in the snapshot.
        begin_s: when it may begin, 0 for what has begun.
        slack_s: how much later it may end without the order ending later.
        share: of the cases played through, in which the end of the order waits for it.
        late_share: of the cases, in which the order is late and its end waits for it: the item's part in the risk.
    """

    at: int
    begin_s: float
    end_s: float
    slack_s: float
    share: float
    late_share: float

    @property
    def is_critical(self) -> bool:
        """Whether the order ends later if it does."""
        return self.slack_s <= NO_SLACK_S


class Schedule(NamedTuple):
    """The open items, each behind what it waits for; the end of the order in seconds; and the places of the items that
    have ended and held up the first of the critical ones, the last of them first.
    """

    items: tuple[Expected, ...]
    end_s: float
    past: tuple[int, ...]


def schedule_of(played: Path, even: Path, group: Group) -> Schedule:
    """The schedule of one plan.

    Args:
        played: the plan as it is played through for a score.
        even: the same with all items as lucky as each other (`delay.playing.EvenGroup`).
        group: of this plan alone.
    """
    snapshot = group.snapshots[0]
    if not group.open:
        return Schedule((), 0.0, _past(snapshot.items, _last(snapshot.items, range(len(snapshot.items)))))
    # Column by column every item takes longer, and so does the plan.
    column = min(int(np.searchsorted(even.total[0], np.median(played.total))), group.draws - 1)
    ends, lasts = even.ends[:, 0, column], even.rest[:, 0, column]
    end_s = float(even.total[0, column])
    slacks = _slacks(group, ends, lasts, end_s)
    critical = played.critical()[:, 0]
    is_late = played.total[0] > seconds(snapshot.now, snapshot.due_at)
    shares = critical.mean(axis=1).tolist()
    late_shares = (critical & is_late).mean(axis=1).tolist()
    rows = zip(group.open, (ends - lasts).tolist(), ends.tolist(), slacks, shares, late_shares, strict=True)
    found = tuple(Expected(*row) for row in rows)
    return Schedule(found, end_s, _before(snapshot.items, found))


def _slacks(group: Group, ends: Array, lasts: Array, end_s: float) -> list[float]:
    """How much later each of the open items may end, from the end of the plan backwards."""
    row_of = {at: row for row, at in enumerate(group.open)}
    latest = np.full(len(group.open), end_s)
    begins: dict[tuple[int, ...], float] = {}
    first: dict[tuple[int, ...], int] = {}
    waits = [tuple(row_of[each] for each in group.items[at].waits if each in row_of) for at in group.open]
    for row, each in enumerate(waits):
        first.setdefault(each, row)
    for row in range(len(waits) - 1, -1, -1):
        targets = waits[row]
        begins[targets] = min(begins.get(targets, end_s), float(latest[row] - lasts[row]))
        # Items that wait for the same are looked at together: thousands may wait for thousands.
        if targets and first[targets] == row:
            rows = list(targets)
            latest[rows] = np.minimum(latest[rows], begins[targets])
    found: list[float] = np.maximum(latest - ends, 0.0).tolist()
    return found


def _before(items: Sequence[ItemSnapshot], expected: Sequence[Expected]) -> tuple[int, ...]:
    """What has ended before the first of the critical items, which waits for nothing any more."""
    is_open = {each.at for each in expected}
    free = [each.at for each in expected if each.is_critical and is_open.isdisjoint(items[each.at].waits)]
    return _past(items, _last(items, [target for at in free[:1] for target in items[at].waits]))


def _past(items: Sequence[ItemSnapshot], last: int | None) -> tuple[int, ...]:
    """From an item that has ended back to the beginning, each time what ended last of what it waited for."""
    found: list[int] = []
    while last is not None:
        found.append(last)
        last = _last(items, items[last].waits)
    return tuple(found)


def _last(items: Sequence[ItemSnapshot], places: Sequence[int]) -> int | None:
    """The place of these whose item ended last; of those that ended in one tick, which could begin last."""
    ended = [(ended_at, items[at].ready_at or ended_at, at) for at in places if (ended_at := items[at].ended_at)]
    return max(ended)[-1] if ended else None
