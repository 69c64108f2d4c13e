"""Running seeds: many at once, and one that fails until it tells its shortest story."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from tests.simulation.seen import Violation
from tests.simulation.world import Event, World, script_of

CHUNK: Final = 50
STORY_LINES: Final = 70
SHORTENINGS_MAX: Final = 200


@dataclass
class Tally:
    """What some runs came to."""

    seeds: int = 0
    facts: int = 0
    effects: int = 0
    steps: int = 0
    failed: dict[int, str] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Count another tally too."""
        self.seeds += other.seeds
        self.facts += other.facts
        self.effects += other.effects
        self.steps += other.steps
        self.failed.update(other.failed)


def run_script(seed: int, script: Sequence[Event], *, is_traced: bool = False) -> tuple[World, Violation | None]:
    """Run a script with a seed's draws."""
    with warnings.catch_warnings():
        # Calls that were on their way to a process that died are never awaited.
        warnings.simplefilter("ignore", RuntimeWarning)
        world = World(seed, list(script), is_traced=is_traced)
        try:
            world.run()
        except Violation as violation:
            return world, violation
        except Exception as error:
            return world, Violation(f"the run broke: {error!r}")
        return world, None


def run_seeds(first: int, count: int) -> Tally:
    """Run some seeds one after another."""
    tally = Tally()
    for seed in range(first, first + count):
        world, violation = run_script(seed, script_of(seed))
        tally.seeds += 1
        tally.facts += world.checkers.facts
        tally.effects += world.checkers.effects
        tally.steps += world.loop.steps
        if violation is not None:
            tally.failed[seed] = str(violation)
    return tally


def run_many(first: int, count: int, processes: int) -> Iterator[Tally]:
    """Run seeds in several processes; what each chunk came to, in order."""
    starts = range(first, first + count, CHUNK)
    counts = [min(CHUNK, first + count - start) for start in starts]
    if processes == 1:
        yield from map(run_seeds, starts, counts)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(run_seeds, starts, counts)


def shortest(seed: int) -> tuple[list[Event], Violation] | None:
    """The shortest part of the seed's script that still breaks the same invariant; None if the seed is well."""
    script = script_of(seed)
    _, violation = run_script(seed, script)
    if violation is None:
        return None
    tries = 0
    is_shorter = True
    while is_shorter and tries < SHORTENINGS_MAX:
        is_shorter = False
        for event in reversed(script):
            rest = [each for each in script if each is not event]
            tries += 1
            _, again = run_script(seed, rest)
            if again is not None and _invariant(again) == _invariant(violation):
                script, violation, is_shorter = rest, again, True
    return script, violation


def _invariant(violation: Violation) -> str:
    return str(violation).partition(":")[0]


def story(seed: int) -> str:
    """What happens in the shortest run of a seed that breaks an invariant."""
    found = shortest(seed)
    if found is None:
        return f"seed {seed} breaks nothing"
    script, violation = found
    world, _ = run_script(seed, script, is_traced=True)
    lines = [
        f"seed {seed}: {violation}",
        f"its script, shortened from {len(script_of(seed))} to {len(script)} events:",
        *(f"  {event}" for event in script),
        f"the last {STORY_LINES} lines of what happens:",
        *(f"  {line}" for line in world.lines[-STORY_LINES:]),
    ]
    return "\n".join(lines)
