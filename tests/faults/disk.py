"""A file system of a few hundred megabytes that can be filled to the last byte. Needs the right to mount (root)."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

SIZE_MB: Final = 400
"""An empty cluster with its two databases takes about 60 MB, its log at most 80 MB before it is recycled."""


class SmallDisk:
    """A tmpfs at the path. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._filler = path / "filler"

    def __enter__(self) -> SmallDisk:
        self._path.mkdir()
        options = f"size={SIZE_MB}m,mode=755"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self._path)], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", str(self._path)], check=True)

    def fill(self) -> None:
        """Take what is left."""
        block = bytes(1 << 20)
        with self._filler.open("ab", buffering=0) as filler:
            while True:
                try:
                    # What a write leaves over when the disk is nearly full is tried byte by byte of a page.
                    if filler.write(block) < len(block):
                        block = bytes(1 << 12)
                except OSError:
                    return

    def clear(self) -> None:
        """Give it back."""
        self._filler.unlink()


def can_mount(folder: Path) -> bool:
    """Whether this process may mount a file system."""
    try:
        with SmallDisk(folder / "probe"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False
