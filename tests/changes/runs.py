"""Many cases in several processes, and what they came to."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from tests.changes.case import Case

CHUNK: Final = 40
"""A multiple of the cases that share a catalogue, which then is compiled once."""
UNDOABLE_SHARE_MIN: Final = 0.8


@dataclass
class Tally:
    """What some cases came to; `violations` by seed."""

    cases: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    violations: dict[int, str] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Count another tally too."""
        self.cases += other.cases
        self.counts.update(other.counts)
        self.violations.update(other.violations)

    @property
    def undoable_share(self) -> float:
        """Of the whole orders that were cancelled: where something was done before, and all of it can be undone."""
        whole = self.counts["cancelled whole"]
        return self.counts["cancelled after work, all undoable"] / whole if whole else 1.0

    def lines(self) -> list[str]:
        """The tally, for people."""
        counts = self.counts
        refused = sum(count for name, count in counts.items() if name.startswith("refused "))
        shown = [
            f"{self.cases} cases, {counts['asked']} changes asked for: {counts['amended']} amended, "
            f"{counts['patched']} patched, {counts['cancelled']} cancelled ({counts['cancelled whole']} whole orders), "
            f"{counts['moved']} moved, {counts['nothing to change']} with nothing to change, {refused} refused",
            f"{counts['waited']} waited for work under way, {counts['previews compared']} previews compared with "
            f"what came, {counts['given up']} given up",
            f"of the cancelled orders {self.undoable_share:.1%} had something done, all of which could be undone",
        ]
        shown += [f"  {name}: {count}" for name, count in sorted(counts.items()) if name.startswith("refused ")]
        shown += [f"seed {seed}: {text}" for seed, text in sorted(self.violations.items())]
        return shown


def run_cases(first: int, count: int) -> Tally:
    """Run some seeds one after another."""
    tally = Tally()
    for seed in range(first, first + count):
        case = Case(seed)
        tally.cases += 1
        try:
            case.run()
        except Exception as error:
            # Whatever is raised is a violation: the runs go on, and the seed tells its story alone.
            tally.violations[seed] = f"{_place_of(error)}: {type(error).__name__}: {error}"[:400]
        tally.counts.update(case.counts)
    return tally


def run_many(first: int, count: int, processes: int) -> Iterator[Tally]:
    """Run seeds in several processes; what each chunk came to, in order."""
    starts = range(first, first + count, CHUNK)
    counts = [min(CHUNK, first + count - start) for start in starts]
    if processes == 1:
        yield from map(run_cases, starts, counts)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(run_cases, starts, counts)


def _place_of(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
