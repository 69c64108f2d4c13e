"""Rows for models that read our features: built once for all of them, wherever they run.

The predictor's process builds a frame, because it alone knows durations as they are by now; the built-in model's answer
is a part of it. Each model numbers the categories by its own schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from delay.critical_path import CriticalPath
from delay.features import CATEGORIES, FEATURES, NAMES, UNKNOWN, FeatureBuilder, Row, Schema, categories_of
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
    builder = FeatureBuilder(_Unnumbered(), critical_path)
    builtin = critical_path.predict(snapshots)
    rows = [builder.features(each, known) for each, known in zip(snapshots, builtin, strict=True)]
    return Frame(
        np.stack(rows) if rows else np.empty((0, len(FEATURES))),
        tuple(categories_of(each) for each in snapshots),
        tuple(builtin),
    )


def numbered(frame: Frame, schema: Schema) -> Row:
    """The rows with the categories as a schema numbers them."""
    rows = frame.rows.copy()
    for name in CATEGORIES:
        rows[:, NAMES.index(name)] = [schema.number(name, each.get(name, "")) for each in frame.categories]
    return rows
