"""Writes which sources the bundle was built from: gateway/console/sources.sha256. Needs no Node."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

CONSOLE: Final = Path(__file__).resolve().parent
STAMP: Final = CONSOLE.parent / "gateway" / "console" / "sources.sha256"
SETTINGS: Final = ("index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts")


def sources_hash(folder: Path = CONSOLE) -> str:
    """One hash over the names and bytes of everything that the bundle is built from."""
    found = hashlib.sha256()
    for path in sorted([*(folder / name for name in SETTINGS), *(folder / "src").rglob("*.*")]):
        found.update(f"{path.relative_to(folder).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


if __name__ == "__main__":
    STAMP.write_text(sources_hash() + "\n", encoding="utf-8")
