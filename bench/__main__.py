"""`python -m bench`: measure, write the results and the page; progress on standard error, the medians as the last line
of standard output.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bench.figures import Settings
from bench.report import write
from bench.run import ON_REQUEST, PARTS, rounds


def main() -> None:
    """Measure and print."""
    defaults = Settings()
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure orderplan on this machine.")
    usual = [name for name in PARTS if name not in ON_REQUEST]
    known = f"of {', '.join(PARTS)}; when empty all but {', '.join(ON_REQUEST)}"
    parser.add_argument("--parts", default="", help=known)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=defaults.seconds, help="of each sustained load")
    parser.add_argument("--connections", type=int, default=defaults.connections)
    parser.add_argument("--plan-hosts", type=int, default=defaults.plan_hosts)
    parser.add_argument("--waiting", type=int, default=defaults.waiting, help="plans that wait for people")
    parser.add_argument("--finished", type=int, default=defaults.finished, help="orders of the part of that name")
    parser.add_argument("--write", type=Path, help="folder for performance.json, PERFORMANCE.md and performance.svg")
    args = parser.parse_args()
    chosen = [name for name in args.parts.split(",") if name] or usual
    if unknown := set(chosen) - PARTS.keys():
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    settings = Settings(args.seconds, args.connections, args.plan_hosts, args.waiting, args.finished)
    found = rounds(settings, chosen, args.rounds)
    if args.write is not None:
        write(found, args.write, is_large=set(chosen) <= ON_REQUEST)
    print(json.dumps(found["median"]))


if __name__ == "__main__":
    main()
