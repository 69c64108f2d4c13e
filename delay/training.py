"""What delay models learn from and are tried on: rows of features with what became of the orders.

**When orders are looked at.** At their first events (never at the last: the answer is known then) and when 25, 50, 75
and 90 per cent of the allowed time are over; not after the due date. Whoever waits makes no events, so without the
ticks a model never learns what waiting means.

**Labels.** An order is late if it ended after the date that it was first promised, as its acceptance says; without a
promise, after the planned length of its plan. Orders that were rejected or cancelled are left out: they were never to
be in time. Of an order that was changed the first promise goes on to count. An order that is open when the history ends
is late if its due date is over, else left out.

**The split** is by time: T is when the order at `train_share` of all came. Learnt from is what had ended before T;
tried on is what came at T or later and fell due before the history ends, because of the others only the quick ones
have ended. Orders that were open at T are in neither part. With `by_due`, learnt from are those that had fallen due
before T, ended or not: among what *ended* shortly before T there are too many quick ones. The built-in model, whose
answers are features, knows at each moment the durations up to that moment, as it does when it runs; also after T.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from delay.critical_path import CriticalPath
from delay.features import CATEGORIES, NAMES, FeatureBuilder, Row, Schema
from delay.histories.chance import Chance
from delay.replay import History, Replay
from delay.snapshot import Snapshot
from domain import facts as f
from domain.states import OrderState

EVENTS_MAX: Final = 20
TICKS: Final = (0.25, 0.5, 0.75, 0.9)
"""Shares of the allowed time."""
TRAIN_SHARE: Final = 0.7

Part = Literal["train", "test"]


class TooLittleHistory(ValueError):
    """There is nothing to learn from, or nothing to try a model on."""


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Rows and labels, shuffled.

    Args:
        rows: shape (points, features), in the order of `delay.features.FEATURES`.
        is_late: whether the order ended after its due date.
        left_s: seconds until it ended; NaN for one that is open and past its due date.
        order_ids: whose snapshot it was: points of one order belong together.
        at: seconds since 1970 of the snapshot.
        tick: the share of the allowed time that was over, 0 for an event.
    """

    rows: Row
    is_late: NDArray[np.bool_]
    left_s: Row
    order_ids: NDArray[Any]
    at: Row
    tick: Row

    def __len__(self) -> int:
        """How many points."""
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Split:
    """Two parts of a history, the moment between them, and the schema of what was learnt from."""

    train: TrainingSet
    test: TrainingSet
    at: datetime
    schema: Schema


@dataclass(slots=True)
class _Outcome:
    """What became of an order; `is_void`: it was rejected or cancelled."""

    created_at: datetime
    ended_at: datetime | None = None
    is_void: bool = False


@dataclass(slots=True)
class _Points:
    """The points of one part, in the order of time."""

    rows: list[Row] = field(default_factory=list)
    order_ids: list[str] = field(default_factory=list)
    at: list[datetime] = field(default_factory=list)
    due_at: list[datetime] = field(default_factory=list)
    tick: list[float] = field(default_factory=list)


class _Numbering:
    """Numbers categories as they come: which of them the schema has is known only at the end."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, int]] = {name: {} for name in CATEGORIES}

    def number(self, name: str, value: str) -> float:
        known = self.known[name]
        return float(known.setdefault(value, len(known)))


def training_sets(
    history: History,
    *,
    seed: int = 1,
    train_share: float = TRAIN_SHARE,
    event_share: float = 1.0,
    by_due: bool = False,
) -> Split:
    """Split a history and build both parts.

    Args:
        history: read twice.
        seed: of the shuffling, and of which events are kept.
        train_share: of the orders came before the split.
        event_share: of the event points are kept, to save time; ticks always are.
        by_due: see above.

    Raises:
        TooLittleHistory: one of the parts would be empty.
    """
    outcomes = _outcomes(history)
    split_at = _split_at(outcomes, train_share)
    numbering = _Numbering()
    points: dict[Part, _Points] = {"train": _Points(), "test": _Points()}
    replay = Replay(history.releases, history.templates)
    builder = FeatureBuilder(numbering, CriticalPath(replay.durations))
    chance = Chance(seed)

    def is_kept(order_id: str, version: int) -> bool:
        return not outcomes[order_id].is_void and chance.is_so(event_share, order_id, version)

    for snapshot, tick in _score_points(history, replay, is_kept):
        name = _part_of(outcomes[snapshot.order_id], snapshot.due_at, split_at, history.until, by_due=by_due)
        if name is None:
            continue
        part = points[name]
        part.rows.append(builder.features(snapshot))
        part.order_ids.append(snapshot.order_id)
        part.at.append(snapshot.now)
        part.due_at.append(snapshot.due_at)
        part.tick.append(tick)
    for name, part in points.items():
        if not part.rows:
            raise TooLittleHistory(f"{len(outcomes)} orders leave nothing to {name} with")
    schema = _renumber(numbering, points)
    return Split(
        train=_training_set(points["train"], outcomes, seed),
        test=_training_set(points["test"], outcomes, seed),
        at=split_at,
        schema=schema,
    )


def later_snapshots(
    history: History, split_at: datetime, *, seed: int = 1, event_share: float = 1.0
) -> Iterator[tuple[Snapshot, float]]:
    """The snapshots of the points of the test part, with their ticks, in the order of time: for models that see whole
    snapshots. Arguments as for `training_sets`, so that the points are the same.
    """
    outcomes = _outcomes(history)
    replay = Replay(history.releases, history.templates)
    chance = Chance(seed)

    def is_kept(order_id: str, version: int) -> bool:
        outcome = outcomes[order_id]
        is_later = not outcome.is_void and outcome.created_at >= split_at
        return is_later and chance.is_so(event_share, order_id, version)

    for snapshot, tick in _score_points(history, replay, is_kept):
        part = _part_of(outcomes[snapshot.order_id], snapshot.due_at, split_at, history.until, by_due=False)
        if part == "test":
            # The load goes on with the replay.
            yield replace(snapshot, load=dict(snapshot.load)), tick


def _outcomes(history: History) -> dict[str, _Outcome]:
    outcomes: dict[str, _Outcome] = {}
    for order_id, fact in history:
        payload = fact.payload or {}
        if fact.kind in (f.ORDER_ACCEPTED, f.ORDER_REJECTED):
            outcomes[order_id] = _Outcome(fact.at, is_void=fact.kind == f.ORDER_REJECTED)
        elif fact.kind == f.ORDER_ENDED:
            outcomes[order_id].ended_at = fact.at
            outcomes[order_id].is_void = payload["state"] != OrderState.COMPLETED.value
    return outcomes


def _split_at(outcomes: dict[str, _Outcome], train_share: float) -> datetime:
    created = sorted(outcome.created_at for outcome in outcomes.values())
    if not created:
        raise TooLittleHistory("the history has no orders")
    return created[min(int(len(created) * train_share), len(created) - 1)]


def _part_of(
    outcome: _Outcome, due_at: datetime, split_at: datetime, until: datetime, *, by_due: bool
) -> Part | None:
    if outcome.is_void:
        return None
    if outcome.created_at >= split_at:
        return "test" if due_at < until else None
    if by_due:
        return "train" if due_at < split_at else None
    return "train" if outcome.ended_at is not None and outcome.ended_at < split_at else None


def _score_points(
    history: History, replay: Replay, is_kept: Callable[[str, int], bool]
) -> Iterator[tuple[Snapshot, float]]:
    """Each snapshot at which an order is looked at, and the tick (0: an event), in the order of time.

    Args:
        history: all facts.
        replay: that takes them.
        is_kept: whether an event is looked at, by its order and the number of facts.
    """
    events: dict[str, int] = {}
    ticks: list[tuple[datetime, str, float]] = []
    changed: dict[str, None] = {}
    now: datetime | None = None
    for order_id, fact in history:
        if now is not None and fact.at > now:
            # Everything of one moment first: a snapshot in the middle of a turn never exists outside.
            yield from _at_events(replay, changed, events, now, is_kept)
            yield from _at_ticks(replay, ticks, fact.at)
            changed.clear()
        now = fact.at
        plan = replay.take(order_id, fact)
        if plan.ended_at is not None:
            continue
        changed[order_id] = None
        if fact.kind == f.PLAN_COMPOSED:
            snapshot = replay.snapshot(order_id, now)
            if snapshot is not None:
                allowed = snapshot.due_at - snapshot.created_at
                for share in TICKS:
                    heapq.heappush(ticks, (snapshot.created_at + allowed * share, order_id, share))
    if now is not None:
        yield from _at_events(replay, changed, events, now, is_kept)
    yield from _at_ticks(replay, ticks, history.until)


def _at_events(
    replay: Replay,
    changed: dict[str, None],
    events: dict[str, int],
    now: datetime,
    is_kept: Callable[[str, int], bool],
) -> Iterator[tuple[Snapshot, float]]:
    for order_id in changed:
        if order_id not in replay.plans or events.get(order_id, 0) >= EVENTS_MAX:
            continue
        events[order_id] = events.get(order_id, 0) + 1
        if not is_kept(order_id, replay.plans[order_id].facts):
            continue
        snapshot = replay.snapshot(order_id, now)
        if snapshot is not None and now < snapshot.due_at:
            yield snapshot, 0.0


def _at_ticks(
    replay: Replay, ticks: list[tuple[datetime, str, float]], until: datetime
) -> Iterator[tuple[Snapshot, float]]:
    """The ticks before a moment, of orders that are still open."""
    while ticks and ticks[0][0] < until:
        at, order_id, share = heapq.heappop(ticks)
        snapshot = replay.snapshot(order_id, at) if order_id in replay.plans else None
        if snapshot is not None:
            yield snapshot, share


def _renumber(numbering: _Numbering, points: dict[Part, _Points]) -> Schema:
    """The schema of what was learnt from; both parts get its numbers in the place of those in passing."""
    at = {name: NAMES.index(name) for name in CATEGORIES}
    texts = {name: list(numbering.known[name]) for name in CATEGORIES}
    schema = Schema.of({name: texts[name][int(row[at[name]])] for name in CATEGORIES} for row in points["train"].rows)
    numbers = {name: [schema.number(name, text) for text in texts[name]] for name in CATEGORIES}
    for part in points.values():
        for row in part.rows:
            for name in CATEGORIES:
                row[at[name]] = numbers[name][int(row[at[name]])]
    return schema


def _training_set(points: _Points, outcomes: dict[str, _Outcome], seed: int) -> TrainingSet:
    shuffled: Sequence[int] = np.random.Generator(np.random.PCG64(seed)).permutation(len(points.rows)).tolist()
    ended = [outcomes[order_id].ended_at for order_id in points.order_ids]
    late = [end is None or end > due_at for end, due_at in zip(ended, points.due_at, strict=True)]
    left = [
        (end - at).total_seconds() if end is not None else np.nan for end, at in zip(ended, points.at, strict=True)
    ]
    return TrainingSet(
        rows=np.stack([points.rows[at] for at in shuffled]),
        is_late=np.array(late)[shuffled],
        left_s=np.array(left, dtype=np.float64)[shuffled],
        order_ids=np.array(points.order_ids)[shuffled],
        at=np.array([each.timestamp() for each in points.at])[shuffled],
        tick=np.array(points.tick)[shuffled],
    )
