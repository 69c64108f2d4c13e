"""Where the databases of tests stand."""

from __future__ import annotations

import os
from typing import Final

_MEMORY: Final = "/dev/shm"
_FREE_BYTES_MIN: Final = 4 * 2**30
"""Several servers of some 100 MB each, their logs of up to a gigabyte, and what Ray keeps there."""


def _in_memory() -> str | None:
    try:
        found = os.statvfs(_MEMORY)
    except OSError:
        return None
    has_room = found.f_bavail * found.f_frsize >= _FREE_BYTES_MIN
    # A test runs a copy of the server's programs from its folder.
    may_run = not found.f_flag & os.ST_NOEXEC
    return _MEMORY if has_room and may_run and os.access(_MEMORY, os.W_OK | os.X_OK) else None


IN_MEMORY: Final = _in_memory()
"""A folder in memory, for `dir=` of `tempfile`; None, the usual place, where the machine has no such room.

What the kernel was given outlives the death of any process, there as on a disk, and no test ends the kernel; but nobody
waits for the disk at each commit, on which tests spend much of their time. What measures stays on the disk.
"""
