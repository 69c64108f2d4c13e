"""An order's priority as a number: by it orders, their calls, tasks and held items are sorted wherever they wait."""

from __future__ import annotations

from typing import Final

HIGH: Final = 1
NORMAL: Final = 2
LOW: Final = 3
CLASSES: Final = {"high": HIGH, "normal": NORMAL, "low": LOW}


def class_of(priority: str) -> int:
    """The number of an order's priority, the smaller the more urgent."""
    return CLASSES.get(priority, NORMAL)
