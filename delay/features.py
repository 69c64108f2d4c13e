"""What learning models see of a snapshot: a row of numbers, described by a schema.

One builder serves training, backtest and live scoring. Each feature says its unit, when it is known and whether it
needs the plan, so that a model without the plan's structure can be held against one with it. The calendar appears only
as hour and weekday: a date or a month would extrapolate. What a schema does not know of a category is -1, never an
error. Snapshots that know something of the future are refused, because a model that learnt from one would look good and
be useless.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from delay.critical_path import CriticalPath
from delay.model import Prediction
from delay.snapshot import FAILED, FATALLY_FAILED, IN_PROGRESS, Snapshot, in_order
from domain.priorities import class_of
from domain.states import ItemState

Row = NDArray[np.float64]
KnownAt = Literal["creation", "now"]
Unit = Literal["s", "share", "count", "hour", "weekday", "category", "rank"]

UNKNOWN: Final = -1.0


class Feature(NamedTuple):
    """One column.

    `known_at`: `creation` stays as it is from the order's acceptance on, `now` moves. `needs_plan`: it cannot be told
    from activities, times and attributes alone, as an event log has them.
    """

    name: str
    unit: Unit
    known_at: KnownAt
    needs_plan: bool
    meaning: str

    @property
    def dtype(self) -> str:
        """How a column of it is kept outside a row."""
        return "int32" if self.unit in ("count", "hour", "weekday", "category", "rank") else "float64"


FEATURES: Final = (
    Feature("allowed_s", "s", "creation", False, "from the order to its due date"),
    Feature("elapsed_s", "s", "now", False, "since the order"),
    Feature("left_s", "s", "now", False, "until the due date; negative when it is over"),
    Feature("elapsed_share", "share", "now", False, "of the allowed time that is over"),
    Feature("priority", "rank", "creation", False, "1 high, 2 normal, 3 low"),
    Feature("channel", "category", "creation", False, "where the order came from"),
    Feature("product", "category", "creation", False, "the products of the order's lines"),
    Feature("lines", "count", "creation", False, "lines of the order"),
    Feature("hour", "hour", "now", False, "of the day, UTC"),
    Feature("weekday", "weekday", "now", False, "0 is Monday"),
    Feature("steps_done", "count", "now", False, "items that were completed"),
    Feature("last_step", "category", "now", False, "the item that ended last"),
    Feature("last_step_age_s", "s", "now", False, "since an item began or ended"),
    Feature("failed_items", "count", "now", False, "items that have failed just now"),
    Feature("retries", "count", "now", False, "tries beyond the first, over all items"),
    Feature("open_elsewhere", "count", "now", False, "items in progress over all open orders"),
    Feature("plan_class", "category", "creation", True, "the plan definitions that the plan is made of"),
    Feature("steps_left", "count", "now", True, "items that have not ended"),
    Feature("manual_left", "count", "now", True, "tasks of people that have not ended"),
    Feature("done_share", "share", "now", True, "of the planned work that has ended"),
    Feature("planned_left_s", "s", "now", True, "the longest way that is left, as planned"),
    Feature("planned_slack_s", "s", "now", True, "time left beyond that"),
    Feature("in_progress", "count", "now", True, "items that somebody works on, or should"),
    Feature("on_hold", "count", "now", True, "items whose system is away"),
    Feature("fatal", "count", "now", True, "items that wait for a repair"),
    Feature("scheduled_in_s", "s", "now", True, "until the last date that a Scheduled item waits for"),
    Feature("queue_age_s", "s", "now", True, "the longest that a task waits for somebody"),
    Feature("queue_load", "count", "now", True, "tasks like the open ones in progress over all open orders, at most"),
    Feature("next_load", "count", "now", True, "the same of all items that have not ended"),
    Feature("work_age_s", "s", "now", True, "the longest that an item is being worked on"),
    Feature("overrun", "share", "now", True, "the largest age of an item in its planned duration"),
    Feature("path_p_late", "share", "now", True, "what the built-in model says: probability to be late"),
    Feature("path_left_s", "s", "now", True, "what it says: seconds that are left, the middle"),
    Feature("path_high_s", "s", "now", True, "what it says: the late end of its interval"),
    Feature("path_slack_s", "s", "now", True, "time left beyond the middle"),
)
NAMES: Final = tuple(feature.name for feature in FEATURES)
PLAN_FEATURES: Final = tuple(feature.name for feature in FEATURES if feature.needs_plan)
"""What a model without the plan's structure does not get."""
CATEGORIES: Final = tuple(feature.name for feature in FEATURES if feature.unit == "category")
_COLUMN: Final = {name: at for at, name in enumerate(NAMES)}


class Leak(ValueError):
    """A snapshot knows something that happens later than its moment."""

    def __init__(self, order_id: str, what: str, at: datetime, now: datetime) -> None:
        super().__init__(f"order {order_id}: {what} is {at.isoformat()}, later than the snapshot's {now.isoformat()}")
        self.order_id = order_id
        self.what = what


class FeatureMismatch(ValueError):
    """A model was made for other columns than those that are built here."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a model, with the values of each category that it knows, in the order of their numbers."""

    categories: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, seen: Iterable[Mapping[str, str]]) -> Schema:
        """The schema that knows these values: what `categories_of` gives of each snapshot that is learnt from."""
        known: dict[str, set[str]] = {name: set() for name in CATEGORIES}
        for each in seen:
            for name, value in each.items():
                known[name].add(value)
        return cls({name: tuple(sorted(values)) for name, values in known.items()})

    def number(self, name: str, value: str) -> float:
        """The number of a category's value, -1 for one that is not known."""
        known = self.categories.get(name, ())
        return float(known.index(value)) if value in known else UNKNOWN

    def to_dict(self) -> dict[str, Any]:
        """What is kept with a model."""
        return {
            "features": [
                {**feature._asdict(), "dtype": feature.dtype, "categories": list(self.categories.get(feature.name, ()))}
                for feature in FEATURES
            ],
            "hash": self.digest,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Schema:
        """The schema as it was kept.

        Raises:
            FeatureMismatch: its columns are not ours: it was made by another release, or for something else.
        """
        try:
            columns = [(each["name"], each["dtype"], each["unit"], each["known_at"]) for each in stored["features"]]
            known = {each["name"]: tuple(map(str, each["categories"])) for each in stored["features"]}
        except (KeyError, TypeError) as error:
            raise FeatureMismatch("it is no schema: `features` must list name, dtype, unit and categories") from error
        ours = [(each.name, each.dtype, each.unit, each.known_at) for each in FEATURES]
        if columns != ours:
            raise FeatureMismatch(f"it has {len(columns)} columns that are not the {len(ours)} of this release")
        return cls({name: known[name] for name in CATEGORIES})

    @property
    def digest(self) -> str:
        """Names the schema: another one when a column or a known category differs."""
        columns = [[each.name, each.dtype, each.unit, each.known_at, each.needs_plan] for each in FEATURES]
        known = {name: list(self.categories.get(name, ())) for name in CATEGORIES}
        body = json.dumps([columns, known], sort_keys=True, ensure_ascii=False)
        return hashlib.blake2b(body.encode(), digest_size=12).hexdigest()


def categories_of(snapshot: Snapshot) -> dict[str, str]:
    """The values of a snapshot's categories, by feature."""
    ended = [item for item in snapshot.items if item.ended_at is not None]
    last = max(ended, key=lambda item: (item.ended_at or snapshot.created_at, item.key), default=None)
    return {
        "channel": str(snapshot.attributes["order"].get("channel", "")),
        "product": _products(snapshot),
        "plan_class": snapshot.plan_class,
        "last_step": last.ref if last is not None else "",
    }


def _products(snapshot: Snapshot) -> str:
    return " + ".join(sorted({str(line["product"]) for line in snapshot.attributes["lines"]}))


def check_point_in_time(snapshot: Snapshot) -> None:
    """Refuse a snapshot that knows what comes later.

    Deadlines and retries lie ahead and are known: `timer_at`, `due_at`. So are dates in attributes (the end of a
    contract, the start that was asked for): a snapshot holds them as the order had them by then, and no feature is made
    of them.

    Raises:
        Leak: the order, or an item, carries a later moment.
    """
    now = snapshot.now
    if snapshot.created_at > now:
        raise Leak(snapshot.order_id, "created_at", snapshot.created_at, now)
    for item in snapshot.items:
        # Every order comes by here: names are put together only for what is refused.
        for at in (item.ready_at, item.started_at, item.ended_at):
            if at is not None and at > now:
                name = next(name for name in ("ready_at", "started_at", "ended_at") if getattr(item, name) is at)
                raise Leak(snapshot.order_id, f"{name} of {item.key}", at, now)


class Numbers(Protocol):
    """Who numbers categories: the schema of a model, or whoever is about to make one."""

    def number(self, name: str, value: str) -> float:
        """The number of a category's value."""
        ...


class FeatureBuilder:
    """Builds rows for models of one schema."""

    def __init__(self, schema: Numbers, critical_path: CriticalPath) -> None:
        """Set it up.

        Args:
            schema: of the model.
            critical_path: the built-in model, as it knows durations at the moments of the snapshots and no later.
        """
        self.schema = schema
        self._critical_path = critical_path

    def rows(self, snapshots: Sequence[Snapshot]) -> Row:
        """Shape (snapshots, features), in the order of `FEATURES`.

        Raises:
            Leak: one of them knows what comes later.
        """
        if not snapshots:
            return np.empty((0, len(FEATURES)))
        return np.stack([self.features(each) for each in snapshots])

    def features(self, snapshot: Snapshot) -> Row:
        """One row.

        Raises:
            Leak: the snapshot knows what comes later.
        """
        check_point_in_time(snapshot)
        (prediction,) = self._critical_path.predict([snapshot])
        return self.row(snapshot, prediction, categories_of(snapshot))

    def row(self, snapshot: Snapshot, prediction: Prediction, categories: Mapping[str, str]) -> Row:
        """The row of a snapshot that was checked, with what the built-in model says of it and its categories."""
        values = _of_order(snapshot) | _of_items(snapshot, prediction)
        for name, value in categories.items():
            values[name] = self.schema.number(name, value)
        return np.array([values[name] for name in NAMES])


def without_plan(rows: Row) -> Row:
    """The same rows for a model that is not to see the plan's structure: only the other columns."""
    return rows[:, [at for at, feature in enumerate(FEATURES) if not feature.needs_plan]]


def column(rows: Row, name: str) -> Row:
    """One feature of all rows."""
    found: Row = rows[:, _COLUMN[name]]
    return found


def _seconds(since: datetime | None, until: datetime | None) -> float:
    return (until - since).total_seconds() if since is not None and until is not None else 0.0


def _of_order(snapshot: Snapshot) -> dict[str, float]:
    now = snapshot.now
    allowed_s = _seconds(snapshot.created_at, snapshot.due_at)
    elapsed_s = _seconds(snapshot.created_at, now)
    return {
        "allowed_s": allowed_s,
        "elapsed_s": elapsed_s,
        "left_s": _seconds(now, snapshot.due_at),
        "elapsed_share": elapsed_s / max(allowed_s, 1.0),
        "priority": float(class_of(snapshot.attributes["order"].get("priority") or "normal")),
        "lines": float(len(snapshot.attributes["lines"])),
        "hour": float(now.hour),
        "weekday": float(now.weekday()),
        "open_elsewhere": float(sum(snapshot.load.values())),
    }


def _of_items(snapshot: Snapshot, prediction: Prediction) -> dict[str, float]:
    """What one look at every item tells, and what the built-in model says."""
    now, load = snapshot.now, snapshot.load
    left_s = _seconds(now, snapshot.due_at)
    done = failed = fatal = on_hold = retries = left = manual_left = in_progress = queue_load = next_load = 0
    planned_s = rest_s = queue_age_s = work_age_s = overrun = 0.0
    moved: list[datetime] = []
    scheduled: list[float] = []
    for item in snapshot.items:
        state, expected_s = item.state, item.expected_s
        planned_s += expected_s
        if item.tries > 1:
            retries += item.tries - 1
        if item.started_at is not None:
            moved.append(item.started_at)
        if item.ended_at is not None:
            moved.append(item.ended_at)
        if item.is_over:
            done += state is ItemState.COMPLETED
            continue
        left += 1
        rest_s += expected_s
        manual_left += item.queue is not None
        alike = load.get(item.ref, 0)
        next_load = max(next_load, alike)
        if state is ItemState.SCHEDULED:
            scheduled.append(_seconds(now, item.timer_at))
        if state not in IN_PROGRESS:
            continue
        in_progress += 1
        failed += state in FAILED
        fatal += state in FATALLY_FAILED
        on_hold += state is ItemState.ON_HOLD
        ready_s = _seconds(item.ready_at, now)
        if expected_s > 0:
            overrun = max(overrun, ready_s / expected_s)
        if state is not ItemState.READY:
            work_age_s = max(work_age_s, _seconds(item.started_at, now))
        elif item.queue is not None:
            queue_age_s = max(queue_age_s, ready_s)
            queue_load = max(queue_load, alike)
    planned_left_s = _planned_left_s(snapshot)
    return {
        "steps_done": float(done),
        "last_step_age_s": _seconds(max(moved, default=snapshot.created_at), now),
        "failed_items": float(failed),
        "retries": float(retries),
        "on_hold": float(on_hold),
        "fatal": float(fatal),
        "steps_left": float(left),
        "manual_left": float(manual_left),
        "done_share": 1.0 - rest_s / planned_s if planned_s > 0 else 1.0,
        "planned_left_s": planned_left_s,
        "planned_slack_s": left_s - planned_left_s,
        "in_progress": float(in_progress),
        "scheduled_in_s": max(scheduled, default=0.0),
        "queue_age_s": queue_age_s,
        "queue_load": float(queue_load),
        "next_load": float(next_load),
        "work_age_s": work_age_s,
        "overrun": overrun,
        "path_p_late": prediction.p_late,
        "path_left_s": prediction.remaining_s,
        "path_high_s": prediction.high_s,
        "path_slack_s": left_s - prediction.remaining_s,
    }


def _planned_left_s(snapshot: Snapshot) -> float:
    """Seconds along the longest way that is left when everything takes as long as planned from when it was ready."""
    items, now = snapshot.items, snapshot.now
    ends = [0.0] * len(items)
    longest_s = 0.0
    for at in in_order(items):
        item = items[at]
        if item.is_over:
            continue
        begins = 0.0
        for target in item.waits:
            begins = max(begins, ends[target])
        if item.state is ItemState.SCHEDULED:
            begins = max(begins, _seconds(now, item.timer_at))
        age_s = _seconds(item.ready_at, now) if item.state in IN_PROGRESS else 0.0
        ends[at] = begins + max(item.expected_s - age_s, 0.0)
        longest_s = max(longest_s, ends[at])
    return longest_s
