"""What a model that others have made must take and give: our columns in our order, and a probability for each row.

Without it a model of other columns would score all the same, and wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from delay.features import NAMES, UNKNOWN, Row
from delay.metrics import Floats
from domain.errors import BadDocument

_ROWS: Final = np.stack([np.full(len(NAMES), value) for value in (UNKNOWN, 0.0, 1.0)])
_UNNAMED: Final = re.compile(r"Column_\d+")
"""What lightgbm calls the columns of a table without names."""
_MEND: Final = "train it on the columns that schema.json names, in that order, and on no other"


def check_columns(names: Sequence[str] | None, width: int | None) -> None:
    """Refuse a model of other columns than ours.

    Args:
        names: of the columns that it was trained on, where it has kept them.
        width: how many there were, where it says so.

    Raises:
        BadDocument: it names the first that differs.
    """
    if width is not None and width != len(NAMES):
        raise BadDocument(f"takes {width} features, there are {len(NAMES)}", path="body", mend=_MEND)
    if not names or all(_UNNAMED.fullmatch(each) for each in names):
        return
    for at, (name, ours) in enumerate(zip(names, NAMES, strict=False), start=1):
        if name != ours:
            raise BadDocument(f"its feature {at} is {name[:60]!r}, ours is {ours!r}", path="body", mend=_MEND)


def check_answers(score: Callable[[Row], Floats]) -> None:
    """Refuse a model that fails on rows of our columns, or whose answers are no probabilities.

    Raises:
        BadDocument: it says which.
    """
    try:
        found = np.asarray(score(_ROWS.copy()), dtype=np.float64)
    except BadDocument:
        raise
    except Exception as error:
        # Whatever a library, or somebody's own code, raises.
        reason = f"fails on rows of {len(NAMES)} features: {type(error).__name__}: {str(error)[:200]}"
        raise BadDocument(reason, path="body", mend=_MEND) from error
    check_probabilities(found, len(_ROWS))


def check_probabilities(found: Floats, count: int) -> None:
    """Refuse answers that are not one probability for each of so many rows.

    Raises:
        BadDocument: it shows some.
    """
    if found.shape != (count,):
        raise BadDocument(f"gives answers of shape {found.shape} for {count} rows", path="body")
    odd = found[~((found >= 0) & (found <= 1))]
    if len(odd):
        shown = ", ".join(f"{each:g}" for each in odd[:3].tolist())
        mend = "give the probability that an order is late"
        raise BadDocument(f"gives what are no probabilities: {shown}", path="body", mend=mend)
