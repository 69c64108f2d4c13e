"""Simulate: `python -m tests.simulation --seeds 2000`; a seed that fails tells its story, `--seed N` tells it again.

Runs are the same wherever and however often they are made, so names hash alike in all of them: the program starts
itself again with PYTHONHASHSEED=0 if need be.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time


def main() -> int:
    """Run what the command line asks for; 1 when an invariant was broken or a mutant got away."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Deterministic simulation.")
    parser.add_argument("--seeds", type=int, default=2_000, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="run this seed alone and tell its story if it fails")
    parser.add_argument("--mutants", action="store_true", help="break the product on purpose, each time in another way")
    parser.add_argument("--note", action="store_true", help="with --mutants: search from seed 0, note the first seeds")
    parser.add_argument("--mutant", help="run with this mutant alone (with --seed: tell its story)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    # Only now: what they import takes a second.
    from tests.simulation import mutants

    if options.mutants:
        return _mutants(options)
    if options.mutant:
        with mutants.applied(options.mutant):
            return _seeds(options) if options.seed is None else _one(options.seed)
    return _one(options.seed) if options.seed is not None else _seeds(options)


def say(text: str) -> None:
    """Show a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _one(seed: int) -> int:
    from tests.simulation import runs

    text = runs.story(seed)
    say(text)
    return int(not text.endswith("breaks nothing"))


def _seeds(options: argparse.Namespace) -> int:
    from tests.simulation import runs

    began = time.monotonic()
    total = runs.Tally()
    for tally in runs.run_many(options.first, options.seeds, options.processes):
        total.add(tally)
        for seed, violation in tally.failed.items():
            say(f"seed {seed} breaks {violation}")
    took_s = time.monotonic() - began
    say(
        f"{total.seeds} seeds, {total.facts} facts, {total.effects} effects, {total.steps} steps in {took_s:.0f} s: "
        f"{len(total.failed)} broke an invariant"
    )
    if total.failed:
        say(runs.story(min(total.failed)))
    if options.json:
        shown = {"seeds": total.seeds, "facts": total.facts, "effects": total.effects, "wallS": round(took_s, 1)}
        say(json.dumps(shown | {"failed": total.failed}))
    return int(bool(total.failed))


def _mutants(options: argparse.Namespace) -> int:
    from tests.simulation import mutants

    caught: dict[str, int] = {}
    for name, seed, violation in mutants.hunt_all(options.processes, is_fresh=options.note):
        caught[name] = seed
        say(f"{name}: " + (f"seed {seed}: {violation}" if violation else "GOT AWAY"))
    if options.note:
        mutants.note_first_seeds(caught)
    if options.json:
        say(json.dumps(caught))
    return int(min(caught.values()) < 0)


sys.exit(main())
