"""Runs of the simulator in processes of their own: at once, or begun early and asked for later."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.support.until import until_blocking

SEEDS: Final = int(os.environ.get("ORDERPLAN_SEEDS", "2000"))
EARLY: Final = (("--seeds", str(SEEDS)), ("--mutants",))
"""What is begun early: a process each, so two cores have something to do when nobody else wants them."""

LOWEST: Final = 19

_begun: dict[tuple[str, ...], subprocess.Popen[str]] = {}


def begin() -> None:
    """Begin what the tests will ask for."""
    for arguments in EARLY:
        _begun[arguments] = process = _start(*arguments, "--processes", "1", nice=LOWEST, start_new_session=True)
        _give_way(process.pid)


def _give_way(pid: int) -> None:
    """Where Linux shares its processors out among sessions first (autogroups), niceness counts within a session only,
    and databases, clusters and the simulator have sessions of their own: the whole session has to be nice.
    """
    session = Path(f"/proc/{pid}/autogroup")
    if not session.exists():
        return

    def has_given_way() -> bool:
        try:
            session.write_text(str(LOWEST))
        except BlockingIOError:
            # One change in a tenth of a second is what the kernel grants who is not root.
            return False
        return True

    until_blocking(has_given_way, 5.0)


def end() -> None:
    """End what nobody has asked for, with its workers."""
    while _begun:
        _, process = _begun.popitem()
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def simulate(*arguments: str) -> tuple[int, str, Any]:
    """Exit code, output, and its last line as JSON, of a run of the simulator where names hash alike every time."""
    # Taken out: who has ended may have given its process id to somebody else.
    process = _begun.pop(arguments, None) or _start(*arguments)
    text, _ = process.communicate()
    lines = text.strip().splitlines()
    return process.returncode, text, json.loads(lines[-1]) if lines and lines[-1].startswith("{") else None


def _start(*arguments: str, nice: int = 0, start_new_session: bool = False) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["nice", "-n", str(nice), sys.executable, "-m", "tests.simulation", *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONHASHSEED": "0"},
        start_new_session=start_new_session,
    )
