"""Runs of the simulator in processes of their own: at once, or begun early and asked for later."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any, Final

SEEDS: Final = int(os.environ.get("ORDERPLAN_SEEDS", "2000"))
EARLY: Final = (("--seeds", str(SEEDS)), ("--mutants",))
"""What is begun early: a process each, so two cores have something to do when nobody else wants them."""

_begun: dict[tuple[str, ...], subprocess.Popen[str]] = {}


def begin() -> None:
    """Begin what the tests will ask for."""
    for arguments in EARLY:
        _begun[arguments] = _start(*arguments, "--processes", "1", nice=19, start_new_session=True)


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
