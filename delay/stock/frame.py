"""Rows for models that read our features: built once for all of them, wherever they run.

The predictor's process builds a frame, because it alone knows durations as they are by now; the built-in model's answer
is a part of it. Each model numbers the categories by its own schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from delay.critical_path import CriticalPath
from delay.features import (
    CATEGORIES,
    FEATURES,
    NAMES,
    UNKNOWN,
    FeatureBuilder,
    Row,
    Schema,
    categories_of,
    check_point_in_time,
)
from delay.model import Prediction
from delay.snapshot import Snapshot


class Frame(NamedTuple):
    """Features of some snapshots.

    `rows`: shape (snapshots, features), every category -1. `categories`: their values as text, by feature. `builtin`:
    what the built-in model says of each.
    """

    rows: Row
    categories: tuple[Mapping[str, str], ...]
    builtin: tuple[Prediction, ...]


class _Unnumbered:
    """Leaves categories to whoever reads the frame."""

    def number(self, name: str, value: str) -> float:
        return UNKNOWN


def frame_of(snapshots: Sequence[Snapshot], critical_path: CriticalPath) -> Frame:
    """The frame of some snapshots.

    Raises:
        Leak: one of them knows what comes later.
    """
    for each in snapshots:
        check_point_in_time(each)
    return frame_of_checked(snapshots, critical_path)


def frame_of_checked(snapshots: Sequence[Snapshot], critical_path: CriticalPath) -> Frame:
    """The frame of snapshots that `check_point_in_time` let pass."""
    builder = FeatureBuilder(_Unnumbered(), critical_path)
    builtin = critical_path.predict(snapshots)
    categories = tuple(categories_of(each) for each in snapshots)
    rows = [builder.row(*each) for each in zip(snapshots, builtin, categories, strict=True)]
    return Frame(np.stack(rows) if rows else np.empty((0, len(FEATURES))), categories, tuple(builtin))


def numbered(frame: Frame, schema: Schema) -> Row:
    """The rows with the categories as a schema numbers them."""
    rows = frame.rows.copy()
    for name in CATEGORIES:
        rows[:, NAMES.index(name)] = [schema.number(name, each.get(name, "")) for each in frame.categories]
    return rows
