"""When an event that was not taken is sent again, and what becomes of a listener that takes none.

Two things go wrong in two ways. A listener that complains about one event (400, 409, 413, 422) is well: only that
order's events wait. A listener that is down is left alone for a while, then tried with a single event, so that ten
thousand orders that wait for it do not make ten thousand calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

BACKOFF_S_MAX: Final = 300.0
DOWN_AFTER: Final = 5
"""Failures in a row after which a listener counts as down."""
COMPLAINTS: Final = frozenset({400, 409, 413, 422})
"""Statuses that are about the event, not about the listener."""


@dataclass(frozen=True, slots=True)
class Health:
    """How a listener does. `failures` and `pauses` count since the last event that it took."""

    state: str = "active"
    failures: int = 0
    pauses: int = 0
    paused_until: datetime | None = None
    failing_since: datetime | None = None
    suspended_at: datetime | None = None
    error: str | None = None
    error_at: datetime | None = None

    def places(self, most: int, now: datetime) -> int:
        """How many events may be on their way to the listener at once."""
        if self.state != "active" or (self.paused_until is not None and now < self.paused_until):
            return 0
        return 1 if self.pauses else most


def backoff_s(attempts: int) -> float:
    """Seconds to wait after so many failures: 1, 2, 4, ... at most 5 minutes."""
    return min(BACKOFF_S_MAX, 2.0 ** min(attempts - 1, 30))


def next_attempt_at(attempts: int, now: datetime) -> datetime:
    """When an event that failed so many times is sent again."""
    return now + timedelta(seconds=backoff_s(attempts))


def health_after(
    health: Health, *, taken: int, complaints: Sequence[str], failures: Sequence[str], now: datetime, failing_s: float
) -> Health:
    """How the listener does after some answers.

    Args:
        health: before.
        taken: how many events it took.
        complaints: what it said of events that it did not like.
        failures: how calls failed that reached nobody, or somebody who is not well.
        now: the time.
        failing_s: after so many seconds of nothing but failures the listener is suspended.
    """
    if errors := [*complaints, *failures]:
        health = replace(health, error=errors[-1], error_at=now)
    if taken:
        return replace(health, failures=0, pauses=0, paused_until=None, failing_since=None)
    if not failures:
        return health
    health = replace(
        health, failures=health.failures + len(failures), failing_since=health.failing_since or now
    )
    assert health.failing_since is not None
    if health.state == "active" and (now - health.failing_since).total_seconds() >= failing_s:
        return replace(health, state="suspended", suspended_at=now, paused_until=None)
    # Calls that were open when the pause began fail during it, and make it no longer.
    if health.failures >= DOWN_AFTER and (health.paused_until is None or now >= health.paused_until):
        pauses = health.pauses + 1
        return replace(health, pauses=pauses, paused_until=next_attempt_at(pauses, now))
    return health
