"""What a learnt model makes of a snapshot: signed contributions of its features, grouped by the steps of the plan.

A model adds up log-odds, one share for each feature (lightgbm's `pred_contrib`, or the terms of a regression). They are
told in points of the probability, so that they add up to what lies between the model's usual risk and that of the
order. A feature belongs to the item that it speaks of: of a queue's age that is the task that waits longest; what the
built-in model says of the whole plan belongs to the item on which the end depends most; the rest to the order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import numpy as np

from delay.features import CATEGORIES, FEATURES, NAMES, Feature
from delay.metrics import Floats
from delay.reasons import in_words_s
from delay.snapshot import FAILED, IN_PROGRESS, ItemSnapshot, Snapshot
from domain.priorities import CLASSES
from domain.states import ItemState

SHOWN_MAX: Final = 3
"""Features of a step that its sentence names."""
POINTS_MIN: Final = 0.005
"""Of the probability: what moves it less is not named."""


class Explanation(NamedTuple):
    """A model's answer for one snapshot, by feature in the order of `FEATURES`.

    `base`: its usual risk. `points`: what each feature adds to it or takes from it; with `base` they add up to the
    risk. `usual`: the middle of what the feature was in training, None where that is not known.
    """

    base: float
    points: Sequence[float]
    values: Sequence[float]
    usual: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class StepContribution:
    """What the features of one item, or of the order (`item` None), do to the risk: points, and why in words."""

    item: ItemSnapshot | None
    points: float
    reason: str
    features: tuple[tuple[str, float], ...]


def in_points(shares: Floats, p_late: float, base: float) -> list[float]:
    """Shares of log-odds as points that add up to what lies between usual risk and risk."""
    total = float(shares.sum())
    scale = (p_late - base) / total if abs(total) > 1e-12 else 0.0
    return [float(each) * scale for each in shares]


def usual_of(bins: Mapping[str, Any]) -> list[float | None]:
    """The middle of each feature in training, from how it was distributed; None for categories."""
    return [None if name in CATEGORIES else _middle(bins.get(name)) for name in NAMES]


def _middle(bins: Mapping[str, Any] | None) -> float | None:
    if not bins or not bins["edges"]:
        return None
    behind = np.cumsum(bins["shares"])
    return float(bins["edges"][min(int(np.searchsorted(behind, 0.5)), len(bins["edges"]) - 1)])


def grouped(snapshot: Snapshot, explanation: Explanation, last_to_end: str | None) -> list[StepContribution]:
    """By step, the strongest first.

    Args:
        snapshot: that was asked about.
        explanation: what the model said of it.
        last_to_end: the item on which the end depends most, as the built-in model has it.
    """
    by_key = {item.key: item for item in snapshot.items}
    groups: dict[str | None, list[int]] = {}
    for at, feature in enumerate(FEATURES):
        if feature.name in _OF_ITEMS:
            item = _OF_ITEMS[feature.name](snapshot)
        else:
            item = by_key.get(last_to_end or "") if feature.name in _OF_THE_REST else None
        groups.setdefault(item.key if item is not None else None, []).append(at)
    found = []
    for key, places in groups.items():
        points = [explanation.points[at] for at in places]
        strongest = sorted(places, key=lambda at: (-abs(explanation.points[at]), at))
        named = [at for at in strongest if abs(explanation.points[at]) >= POINTS_MIN][:SHOWN_MAX]
        if not named:
            continue
        item = by_key[key] if key is not None else None
        what = "; ".join(_in_words(FEATURES[at], explanation.values[at], explanation.usual[at]) for at in named)
        reason = f"{_name(item)}: {what}: {100 * sum(points):+.0f} points"
        features = tuple((NAMES[at], explanation.points[at]) for at in named)
        found.append(StepContribution(item, sum(points), reason, features))
    return sorted(found, key=lambda each: -abs(each.points))


def _name(item: ItemSnapshot | None) -> str:
    if item is None:
        return "The order"
    where = f" in queue {item.queue}" if item.queue else f" at {item.system}" if item.system else ""
    return f"{item.name}{where}"


SENTENCES: Final[Mapping[str, str]] = {
    "allowed_s": "{} allowed in all",
    "elapsed_s": "open for {}",
    "left_s": "{} left until it is due",
    "elapsed_share": "{} of the allowed time gone",
    "priority": "priority {}",
    "channel": "its channel",
    "product": "what is ordered",
    "lines": "{} lines",
    "hour": "at {} o'clock UTC",
    "weekday": "on {}",
    "steps_done": "{} steps done",
    "last_step": "it was the last to end",
    "last_step_age_s": "nothing has moved for {}",
    "failed_items": "{} steps failed",
    "retries": "{} tries beyond the first",
    "open_elsewhere": "{} steps in progress over all orders",
    "plan_class": "its plan",
    "steps_left": "{} steps left",
    "manual_left": "{} tasks of people left",
    "done_share": "{} of the planned work done",
    "planned_left_s": "{} left as planned",
    "planned_slack_s": "{} to spare as planned",
    "in_progress": "{} steps in progress",
    "on_hold": "{} steps whose system is away",
    "fatal": "{} steps wait for a repair",
    "scheduled_in_s": "scheduled in {}",
    "queue_age_s": "waits for {}",
    "queue_load": "{} tasks like it in progress",
    "next_load": "{} like it in progress",
    "work_age_s": "worked on for {}",
    "overrun": "{} of its planned time gone",
    "path_p_late": "late with {} by the plan alone",
    "path_left_s": "{} left by the plan",
    "path_high_s": "{} left by the plan at worst",
    "path_slack_s": "{} to spare by the plan",
}
"""How each feature is told; of a category there is no value."""
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_PRIORITIES: Final = {number: name for name, number in CLASSES.items()}


def _in_words(feature: Feature, value: float, usual: float | None) -> str:
    told = SENTENCES[feature.name].format(_value(feature, value))
    # Of days and hours none is usual.
    against = usual is not None and feature.unit not in ("hour", "weekday", "category")
    return f"{told}, usual {_value(feature, usual)}" if against and usual is not None else told


def _value(feature: Feature, value: float) -> str:
    match feature.unit:
        case "s":
            return in_words_s(value) if value >= 0 else f"minus {in_words_s(-value)}"
        case "share":
            return f"{value:.0%}"
        case "weekday":
            return _DAYS[int(value) % len(_DAYS)]
        case "rank":
            return _PRIORITIES.get(round(value), f"{value:.0f}")
        case _:
            return f"{value:.0f}"


def _longest(
    state: Callable[[ItemSnapshot], bool], since: Callable[[ItemSnapshot], datetime | None]
) -> Callable[[Snapshot], ItemSnapshot | None]:
    """The item in such a state since the earliest moment."""

    def find(snapshot: Snapshot) -> ItemSnapshot | None:
        found = [(at, item.key, item) for item in snapshot.items if state(item) and (at := since(item)) is not None]
        return min(found)[2] if found else None

    return find


def _most(
    state: Callable[[ItemSnapshot], bool], size: Callable[[Snapshot, ItemSnapshot], float]
) -> Callable[[Snapshot], ItemSnapshot | None]:
    """The item in such a state of which there is most."""

    def find(snapshot: Snapshot) -> ItemSnapshot | None:
        found = [item for item in snapshot.items if state(item) and size(snapshot, item) > 0]
        return max(found, key=lambda item: size(snapshot, item), default=None)

    return find


def _is_queued(item: ItemSnapshot) -> bool:
    return item.queue is not None and item.state is ItemState.READY


def _is_worked_on(item: ItemSnapshot) -> bool:
    return item.state in IN_PROGRESS and item.state is not ItemState.READY


def _is_failed(item: ItemSnapshot) -> bool:
    return item.state in FAILED


def _date(_snapshot: Snapshot, item: ItemSnapshot) -> float:
    return item.timer_at.timestamp() if item.timer_at is not None else 0.0


def _load(snapshot: Snapshot, item: ItemSnapshot) -> float:
    return snapshot.load.get(item.ref, 0)


def _overrun(snapshot: Snapshot, item: ItemSnapshot) -> float:
    age_s = (snapshot.now - item.ready_at).total_seconds() if item.ready_at is not None else 0.0
    return age_s / item.expected_s if item.expected_s > 0 else 0.0


def _moved_last(snapshot: Snapshot) -> ItemSnapshot | None:
    moved = [
        (max(at for at in (item.started_at, item.ended_at) if at is not None), item.key, item)
        for item in snapshot.items
        if item.started_at is not None or item.ended_at is not None
    ]
    return max(moved)[2] if moved else None


_any_failed: Final = _longest(_is_failed, lambda item: item.ready_at)
_OF_ITEMS: Final[Mapping[str, Callable[[Snapshot], ItemSnapshot | None]]] = {
    "last_step": _moved_last,
    "last_step_age_s": _moved_last,
    "queue_age_s": _longest(_is_queued, lambda item: item.ready_at),
    "queue_load": _most(_is_queued, _load),
    "next_load": _most(lambda item: not item.is_over, _load),
    "work_age_s": _longest(_is_worked_on, lambda item: item.started_at),
    "overrun": _most(lambda item: item.state in IN_PROGRESS, _overrun),
    "failed_items": _any_failed,
    "fatal": _any_failed,
    "retries": _most(lambda item: True, lambda _, item: item.tries - 1),
    "on_hold": _longest(lambda item: item.state is ItemState.ON_HOLD, lambda item: item.ready_at),
    "scheduled_in_s": _most(lambda item: item.state is ItemState.SCHEDULED, _date),
}
"""Which item a feature speaks of."""
_OF_THE_REST: Final = frozenset(
    {
        "path_p_late", "path_left_s", "path_high_s", "path_slack_s", "planned_left_s", "planned_slack_s", "steps_left",
        "manual_left", "done_share", "in_progress",
    }
)  # fmt: skip
"""What speaks of all that is left of the plan."""
