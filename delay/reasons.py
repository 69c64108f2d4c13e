"""Why an order ends when it does, in words."""

from __future__ import annotations

from datetime import datetime

from delay.durations import Durations
from delay.snapshot import ItemSnapshot
from domain.states import ItemState


class Reason:
    """Words for one item of plans that stand alike: what is the same for all of them is put together once."""

    def __init__(self, item: ItemSnapshot, durations: Durations) -> None:
        queue = durations.queue(item.ref)
        self._usual_s = durations.work(item.ref, item.expected_s).median_s + (queue.median_s if queue else 0.0)
        self._usual = f" more, usually {in_words_s(self._usual_s)} in all"
        self._where = f" is {item.state.value}" + (f" in queue {item.queue}" if item.queue is not None else "")
        self._has_age = item.state is not ItemState.PENDING

    def of(self, item: ItemSnapshot, now: datetime, share: float, rest_s: float) -> str:
        """Why the order waits for it.

        Args:
            item: as this order has it.
            now: moment of the snapshot.
            share: of the cases, in which the end waits for it.
            rest_s: what it still takes, the middle.
        """
        age = over = ""
        began_at = item.ready_at or item.started_at
        if self._has_age and began_at is not None and (age_s := (now - began_at).total_seconds()) > 0:
            age = f" for {in_words_s(age_s)}"
            excess_s = age_s + rest_s - self._usual_s
            if excess_s > 0.1 * self._usual_s:
                over = f", {in_words_s(excess_s)} longer than usual"
        return (
            f"{item.name}{self._where}{age} and takes {in_words_s(rest_s)}{self._usual}{over}; "
            f"the end waits for it in {share:.0%} of the cases"
        )


def in_words_s(seconds: float) -> str:
    """A duration as people say it: `40 s`, `12 min`, `3.1 h`, `2.4 d`."""
    for size, unit in ((86_400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
