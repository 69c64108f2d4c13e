"""Looks at the step that ended last: how long did past orders take from there?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from orderplan import ClosedOrder, Factor, Prediction, Snapshot

UNKNOWN = Prediction(p_late=0.5, remaining_s=3600.0, low_s=0.0, high_s=86_400.0, model="last-step", version="1")


class LastStep:
    """The share of past orders that needed longer after this step than is left."""

    def __init__(self) -> None:
        self._rests_s: dict[str, list[float]] = defaultdict(list)

    def fit(self, history: Sequence[ClosedOrder]) -> None:
        for closed in history:
            for item in closed.snapshot.items:
                if item.ended_at is not None:
                    self._rests_s[item.ref].append((closed.ended_at - item.ended_at).total_seconds())

    def predict(self, snapshots: Sequence[Snapshot]) -> list[Prediction]:
        return [self._predict(each) for each in snapshots]

    def _predict(self, snapshot: Snapshot) -> Prediction:
        ended: list[tuple[datetime, str, str]] = [
            (item.ended_at, item.ref, item.name) for item in snapshot.items if item.ended_at is not None
        ]
        at, ref, name = max(ended, default=(snapshot.created_at, "", "the start"))
        age_s = (snapshot.now - at).total_seconds()
        rests_s = sorted(rest_s - age_s for rest_s in self._rests_s[ref] if rest_s > age_s)
        if not rests_s:
            return UNKNOWN
        left_s = (snapshot.due_at - snapshot.now).total_seconds()
        p_late = sum(rest_s > left_s for rest_s in rests_s) / len(rests_s)
        low_s, middle_s, high_s = (rests_s[int(share * len(rests_s))] for share in (0.1, 0.5, 0.9))
        reason = f"{p_late:.0%} of {len(rests_s)} past orders needed longer than is left after {name}"
        return Prediction(p_late, middle_s, low_s, high_s, (Factor(reason, None, 1.0),), "last-step", "1")
