"""The contract of delay models: what data scientists plug in, and what the predictor accepts from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from delay.snapshot import Snapshot

FACTORS_MAX: Final = 20
TEXT_MAX: Final = 500


class Factor(NamedTuple):
    """What drives a prediction: in words, the item it is about (if one), and how much it weighs (0 to 1)."""

    reason: str
    item: str | None = None
    weight: float = 0.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of one snapshot.

    Args:
        p_late: probability that the order ends after `due_at`, 0 to 1.
        remaining_s: seconds from `now` until the order has ended, the middle of what is expected.
        low_s: the early end of the interval; 80% of outcomes should lie inside it.
        high_s: the late end.
        factors: the strongest first.
        model: the model's name; the predictor fills it in when it is empty.
        version: of the model.
    """

    p_late: float
    remaining_s: float
    low_s: float
    high_s: float
    factors: tuple[Factor, ...] = ()
    model: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class ClosedOrder:
    """An order that has ended: its last snapshot, whose items have all their times, and when it ended."""

    snapshot: Snapshot
    ended_at: datetime

    @property
    def is_late(self) -> bool:
        """Whether it ended after its due date."""
        return self.ended_at > self.snapshot.due_at


@runtime_checkable
class DelayModel(Protocol):
    """A delay model. `fit` is called once, when the predictor starts; `predict` with up to 1,000 snapshots at a time.

    A class of one's own need not inherit from this: the two methods are what counts.
    """

    def fit(self, history: Sequence[ClosedOrder]) -> None:
        """Learn from orders that have ended, oldest first; there may be none."""
        ...

    def predict(self, snapshots: Sequence[Snapshot]) -> Sequence[Prediction]:
        """One prediction for each snapshot, in their order."""
        ...


class UnusablePrediction(ValueError):
    """A model said what cannot be: no number, a probability outside 0 to 1, an interval that does not hold."""


def checked(answer: Any) -> Prediction:
    """The prediction if it can be used, its times as plain floats.

    Raises:
        UnusablePrediction: it cannot.
    """
    if not isinstance(answer, Prediction):
        raise UnusablePrediction(f"a {type(answer).__name__} is no Prediction")
    try:
        p_late, remaining_s, low_s, high_s = (
            float(each) for each in (answer.p_late, answer.remaining_s, answer.low_s, answer.high_s)
        )
        factors = tuple(
            Factor(str(reason)[:TEXT_MAX], str(item)[:TEXT_MAX] if item is not None else None, float(weight))
            for reason, item, weight in answer.factors[:FACTORS_MAX]
        )
    except (TypeError, ValueError) as error:
        raise UnusablePrediction(f"it holds what is no number: {error}") from error
    numbers = (p_late, remaining_s, low_s, high_s, *(factor.weight for factor in factors))
    if not all(map(math.isfinite, numbers)):
        raise UnusablePrediction("a number is not finite")
    if not 0 <= p_late <= 1:
        raise UnusablePrediction(f"the probability {p_late} lies outside 0 to 1")
    if not 0 <= low_s <= remaining_s <= high_s:
        raise UnusablePrediction(f"0 <= low {low_s} <= remaining {remaining_s} <= high {high_s} does not hold")
    if high_s > SECONDS_MAX:
        raise UnusablePrediction(f"{high_s} s is more than a hundred years")
    return Prediction(p_late, remaining_s, low_s, high_s, factors, str(answer.model)[:100], str(answer.version)[:100])


SECONDS_MAX: Final = 100 * 366 * 86_400.0
