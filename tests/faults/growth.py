"""Whether the memory of processes grows, told by each process's own life.

A soak kills processes all the time, and whoever is killed begins small again: a sum by role, or its mean over a part of
the soak, hides a leak in exactly those that are killed most. So each process (its number and its beginning) has a life
of its own here, and a role is judged by the longest of them. Whoever was started again goes on filling its caches for
minutes (each of PostgreSQL's backends does), so the lives that lasted ten minutes count alone where there are any.

Memory that is used and freed makes teeth; a leak raises their feet. So the slope is that of the lowest points: from
the lowest of the first third of a life to the lowest of its last third. What a process takes while it starts and fills
its caches does not count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from tests.faults.processes import Process

WARM_S: Final = 60.0
"""The beginning of a life, which does not count."""
LIFE_MIN_S: Final = 60.0
"""How long a life has to be after that: shorter ones tell nothing."""
LONG_S: Final = 600.0
"""A life in which filling caches does not stand out any more."""
LIVES: Final = 3
"""So many of the longest lives of a role are looked at."""
SLOPE_MAX_MB_PER_MIN: Final = 2.0
"""What grows faster leaks. Less than that does not stand out from chance in a life of a few minutes."""


@dataclass
class Life:
    """What one process used, from its first sample to its last."""

    role: str
    pid: int
    at_s: list[float] = field(default_factory=list)
    mb: list[float] = field(default_factory=list)

    def slope(self) -> float | None:
        """MB a minute by which the lowest points rise; None when the life is too short to tell."""
        if not self.at_s:
            return None
        counted = [each for each in zip(self.at_s, self.mb, strict=True) if each[0] >= self.at_s[0] + WARM_S]
        if len(counted) < 6 or counted[-1][0] - counted[0][0] < LIFE_MIN_S:
            return None
        third = (counted[-1][0] - counted[0][0]) / 3
        first = [each for each in counted if each[0] <= counted[0][0] + third]
        last = [each for each in counted if each[0] >= counted[-1][0] - third]
        (from_s, low), (to_s, high) = (min(part, key=lambda each: each[1]) for part in (first, last))
        return (high - low) / (to_s - from_s) * 60

    def shown(self) -> dict[str, Any]:
        """For the results."""
        slope = self.slope()
        return {
            "pid": self.pid,
            "fromS": self.at_s[0],
            "toS": self.at_s[-1],
            "mbPerMin": None if slope is None else round(slope, 2),
        }


@dataclass
class Lives:
    """Every process that was seen, by role."""

    _all: dict[tuple[str, Process], Life] = field(default_factory=dict)

    def add(self, at_s: float, mb: Mapping[tuple[str, Process], float]) -> None:
        """One sample of all that live just then: MB by role and process."""
        for (role, process), used in mb.items():
            life = self._all.setdefault((role, process), Life(role, process.pid))
            life.at_s.append(round(at_s, 1))
            life.mb.append(round(used, 1))

    def by_role(self) -> dict[str, list[Life]]:
        """The longest lives of each role, the longest first."""
        found: dict[str, list[Life]] = defaultdict(list)
        for life in self._all.values():
            found[life.role].append(life)
        return {
            role: sorted(lives, key=lambda each: each.at_s[0] - each.at_s[-1])[:LIVES] for role, lives in found.items()
        }

    def growth(self) -> dict[str, dict[str, Any]]:
        """By role: its longest lives, and what they say together."""
        found: dict[str, dict[str, Any]] = {}
        for role, lives in self.by_role().items():
            shown = [each.shown() for each in lives]
            found[role] = {"mbPerMin": judged(shown), "lives": shown}
        return found


def judged(lives: Sequence[Mapping[str, Any]]) -> float | None:
    """The median slope of the long ones among these lives, or of all where none is long; None when none can tell."""
    told = [each for each in lives if each["mbPerMin"] is not None]
    told = [each for each in told if each["toS"] - each["fromS"] >= LONG_S] or told
    return round(median(each["mbPerMin"] for each in told), 2) if told else None


def not_flat(growth: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The roles that grow faster than the bound, and those whose lives were too short to tell."""
    said = []
    for role, found in growth.items():
        slope = found["mbPerMin"]
        if slope is None:
            said.append(f"{role} (no life long enough to tell)")
        elif slope > SLOPE_MAX_MB_PER_MIN:
            said.append(f"{role} ({slope:+.1f} MB a minute, at most {SLOPE_MAX_MB_PER_MIN:g})")
    return said
