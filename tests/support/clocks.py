"""A clock for what works at a rate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class PacedClock:
    """Stands still but for those who sleep by it."""

    def __init__(self) -> None:
        self.now = datetime(2030, 2, 1, tzinfo=UTC)
        self.slept_s = 0.0

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Time passes."""
        self.slept_s += seconds
        self.now += timedelta(seconds=seconds)
