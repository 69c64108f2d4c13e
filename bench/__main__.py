"""`python -m bench`: one measurement run; progress on standard error, the figures as the last line of standard
output.
"""

from __future__ import annotations

import argparse
import json
import sys

from bench.run import Settings, measure


def main() -> None:
    """Measure and print."""
    defaults = Settings()
    parser = argparse.ArgumentParser(description="Measure the scenario ten on this machine.")
    parser.add_argument("--orders", type=int, default=defaults.orders)
    parser.add_argument("--connections", type=int, default=defaults.connections)
    parser.add_argument("--plan-hosts", type=int, default=defaults.plan_hosts)
    parser.add_argument("--seconds", type=float, default=defaults.seconds)
    args = parser.parse_args()
    settings = Settings(
        orders=args.orders, connections=args.connections, plan_hosts=args.plan_hosts, seconds=args.seconds
    )
    figures = measure(settings, lambda line: print(line, file=sys.stderr, flush=True))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
