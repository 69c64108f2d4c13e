"""What the processes of a run use: CPU seconds and memory, by kind of process, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_s() -> dict[str, float]:
    """CPU seconds so far of Ray's and PostgreSQL's processes, children that have ended included."""
    found: dict[str, float] = {}
    for name, folder in _processes():
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        # utime and stime, and those of waited-for children, so that ended backends still count.
        found[name] = found.get(name, 0.0) + sum(int(fields[index]) for index in (11, 12)) / _TICK
    return found


def memory_mb() -> dict[str, float]:
    """Memory now, shared pages counted once (PSS)."""
    found: dict[str, float] = {}
    for name, folder in _processes():
        try:
            lines = (folder / "smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        kb = next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
        found[name] = found.get(name, 0.0) + kb / 1024
    return {name: round(mb, 1) for name, mb in sorted(found.items(), key=lambda pair: -pair[1])}


def used_since(before: dict[str, float]) -> dict[str, float]:
    """CPU seconds spent since `before`."""
    return {name: spent - before.get(name, 0.0) for name, spent in cpu_s().items()}


def processes_of(kind: str) -> list[int]:
    """The process ids of a kind of process, as `memory_mb` names them; ascending."""
    return sorted(int(folder.name) for name, folder in _processes() if name == kind)


def _processes() -> Iterator[tuple[str, Path]]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        name = _kind(command)
        if name is not None:
            yield name, folder


def _kind(command: str) -> str | None:
    if command.startswith("ray::"):
        return command[5:].split(" ", maxsplit=1)[0].split(".", maxsplit=1)[0]
    if command.startswith("postgres:") or "/bin/postgres" in command:
        return "PostgreSQL"
    program = command.split(" ", maxsplit=1)[0]
    if "raylet" in program:
        return "raylet"
    if "gcs_server" in program:
        return "gcs_server"
    return "Ray's other processes" if "/ray/" in command else None
