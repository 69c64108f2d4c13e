"""Runs the stand-ins until SIGTERM: `python -m examples.standins --port 9100 --log calls.ndjson --delay-ms 200`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path
from typing import Final

from aiohttp import web

from .app import StandIns, make_app
from .ledger import CallLog

HOST: Final = "127.0.0.1"
SHUTDOWN_S: Final = 2.0
"""How long calls that are open at the end may still take."""


def read_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.standins", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="where to listen on 127.0.0.1; 0 takes a free port")
    parser.add_argument("--log", type=Path, help="append one JSON line per call to this file")
    parser.add_argument("--seed", type=int, default=0, help="decides the numbers that the systems hand out")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="how long a call takes, and a callback comes later")
    return parser.parse_args(arguments)


async def serve(options: argparse.Namespace) -> None:
    """Listen, say so, and end on SIGTERM or SIGINT."""
    is_over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, is_over.set)
    log = CallLog(options.log) if options.log is not None else None
    standins = StandIns(seed=options.seed, delay_s=options.delay_ms / 1000, log=log)
    runner = web.AppRunner(make_app(standins), access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, options.port).start()
        port = runner.addresses[0][1]
        print(f"ready http://{HOST}:{port}", flush=True)
        await is_over.wait()
    finally:
        await runner.cleanup()
        if log is not None:
            log.close()


def main() -> int:
    options = read_arguments()
    try:
        asyncio.run(serve(options))
    except OSError as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
