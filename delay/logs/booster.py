"""Gradient boosting by lightgbm, which is an extra (`pip install orderplan[delay]`). Without it the rest of the model
works all the same.

One thread and fixed seeds: the same rows give the same trees, byte for byte.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Final, Literal

import numpy as np

from delay.metrics import Floats

log = logging.getLogger(__name__)

Objective = Literal["cross_entropy", "regression_l1", "regression"]
RATE: Final = 0.05


@cache
def booster_library() -> Any | None:
    """lightgbm, or None where it is not installed or cannot be loaded; that is logged once."""
    try:
        return import_module("lightgbm")
    except (ImportError, OSError) as error:
        # OSError: the system has no OpenMP library (libgomp).
        log.warning(
            "delay models for event logs work without gradient boosting",
            extra={"reason": str(error)[:200], "mend": "install orderplan[delay] and the system's libgomp1"},
        )
        return None


@dataclass(frozen=True, slots=True)
class Booster:
    """Fitted trees."""

    trees: Any

    def predict(self, rows: Floats) -> Floats:
        """One number for each row."""
        if not len(rows):
            return np.zeros(0)
        found: Floats = np.asarray(self.trees.predict(rows, num_threads=1), dtype=np.float64)
        return found


def boost(
    rows: Floats,
    target: Floats,
    *,
    objective: Objective,
    categorical: Sequence[int],
    leaves: int,
    count: int,
    weights: Floats | None = None,
    leaf_min: int = 60,
    seed: int = 0,
) -> Booster:
    """Trees for the target; of `cross_entropy` a probability between 0 and 1, which may lie in between."""
    library = booster_library()
    assert library is not None, "callers ask for the library first"
    data = library.Dataset(
        rows,
        label=target,
        weight=weights,
        categorical_feature=list(categorical),
        params={"verbosity": -1, "min_data_in_bin": 5, "feature_pre_filter": False},
        free_raw_data=True,
    )
    options = {
        "objective": objective,
        "num_leaves": leaves,
        "learning_rate": RATE,
        "min_data_in_leaf": leaf_min,
        "lambda_l2": 1.0,
        "feature_fraction": 0.7,
        # Few cases of a category say little: such splits must be worth more.
        "min_data_per_group": 100,
        "cat_smooth": 20.0,
        "cat_l2": 20.0,
        "max_cat_threshold": 16,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    return Booster(library.train(options, data, num_boost_round=count))
