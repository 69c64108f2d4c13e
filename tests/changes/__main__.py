"""Random changes of random orders: `python -m tests.changes --cases 50000`; `--seed N` tells one case step by step.

A case is the same wherever and however often it is played, so names hash alike in all of them: the program starts
itself again with PYTHONHASHSEED=0 if need be.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback


def main() -> int:
    """Run what the command line asks for; 1 when something came out that must not."""
    parser = argparse.ArgumentParser(prog="python -m tests.changes", description="Random changes of random orders.")
    parser.add_argument("--cases", type=int, default=2_000, help="how many seeds to play")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="play this seed alone and tell what happens")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.changes", *sys.argv[1:]])
    return _one(options.seed) if options.seed is not None else _many(options)


def say(text: str) -> None:
    """Show a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _one(seed: int) -> int:
    from tests.changes.case import Case

    case = Case(seed, tell=say)
    try:
        counts = case.run()
    except Exception:
        say(traceback.format_exc())
        return 1
    say(f"seed {seed} breaks nothing: {dict(counts)}")
    return 0


def _many(options: argparse.Namespace) -> int:
    from tests.changes import runs

    began = time.monotonic()
    total = runs.Tally()
    for tally in runs.run_many(options.first, options.cases, options.processes):
        total.add(tally)
        for seed, text in tally.violations.items():
            say(f"seed {seed} breaks {text}")
    for line in total.lines():
        say(line)
    say(f"{len(total.violations)} violations in {time.monotonic() - began:.0f} s")
    is_enough = total.undoable_share >= runs.UNDOABLE_SHARE_MIN
    if not is_enough:
        say(f"less than {runs.UNDOABLE_SHARE_MIN:.0%} of the cancelled orders had something done, all undoable")
    if options.json:
        say(json.dumps({"cases": total.cases, "counts": total.counts, "violations": total.violations}))
    return int(bool(total.violations) or not is_enough)


if __name__ == "__main__":
    sys.exit(main())
