"""A whole cluster as a process of its own, for tests: prints one JSON line when ready, ends when its input closes.

`python -m tests.support.serve --data DIR --plan-hosts 2`
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from orderplan.cluster import Cluster, Options


def main() -> None:
    """Start, say where, wait for the end of standard input, stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--address", help="join this Ray cluster")
    parser.add_argument("--plan-hosts", type=int, default=2)
    parser.add_argument("--faults", default="")
    parser.add_argument("--delay-model", default="")
    parser.add_argument("--paused", action="store_true")
    parser.add_argument("--database-url")
    parser.add_argument("--key-database-url")
    args = parser.parse_args()
    options = Options(
        data=args.data,
        port=args.port,
        address=args.address,
        plan_hosts=args.plan_hosts,
        faults_dir=args.faults,
        database_url=args.database_url,
        key_database_url=args.key_database_url,
        delay_model=args.delay_model,
        is_paused=args.paused,
    )
    cluster = Cluster(options)
    try:
        url = cluster.start()
        assert cluster.config is not None
        said = {"url": url, "dsn": cluster.config.dsn, "keyDsn": cluster.config.key_dsn}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        cluster.stop()


if __name__ == "__main__":
    main()
