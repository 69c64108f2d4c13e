"""Processes by identity, not by number: nothing is ever sent to a process that a test did not start itself."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process: its number, and when it began (clock ticks after boot), since numbers are given out again."""

    pid: int
    began: int

    @property
    def state(self) -> str:
        """The letter of its state (T: stopped); empty when it has ended."""
        found = _stat(self.pid)
        return found[0] if found is not None and int(found[19]) == self.began and found[0] != "Z" else ""

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.state != ""

    @property
    def command(self) -> str:
        """Its command line."""
        try:
            return Path(f"/proc/{self.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it lives."""
        if self.is_alive:
            # It may have ended since the look: killed a moment ago, or with its parent.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def process(pid: int) -> Process | None:
    """The process that has the number now."""
    found = _stat(pid)
    return Process(pid, int(found[19])) if found is not None else None


def descendants(root: int) -> list[Process]:
    """All processes below a process, the nearest first."""
    children: dict[int, list[Process]] = defaultdict(list)
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (found := _stat(int(folder.name))) is not None:
            children[int(found[1])].append(Process(int(folder.name), int(found[19])))
    below: list[Process] = []
    level = [root]
    while level:
        below_level = [each for pid in level for each in children[pid]]
        below += below_level
        level = [each.pid for each in below_level]
    return below


def mine(pid: int) -> Process:
    """The process, which must be one that this process has started, directly or not.

    Raises:
        AssertionError: it is somebody else's.
    """
    found = next((each for each in descendants(os.getpid()) if each.pid == pid), None)
    assert found is not None, f"process {pid} was not started by this test"
    return found


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name: state, parent, ..., [19] the beginning."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
