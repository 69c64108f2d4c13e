"""When one model is better than another: the rule by which the stock model is chosen and a challenger promoted.

The challenger must have a lower Brier score by more than the margin, for certain (the lower end of 95% of drawings of
orders), and must not rank worse by more than a little. With too few outcomes nothing is better than anything.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from delay.metrics import CaseBootstrap, Floats, Ints, auc, brier

ROUNDS: Final = 200
OUTCOMES_MIN: Final = 200
"""Orders whose outcome is known, for both models."""
KINDS_MIN: Final = 20
"""So many of them must have been late, and as many in time."""
MARGIN: Final = 0.002
"""Of the Brier score."""
RANKING_LOSS_MAX: Final = 0.005
"""Of the area under the curve."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the challenger is better, and by what figures; `gain` is the champion's Brier score minus its own."""

    is_better: bool
    reason: str
    outcomes: int
    points: int
    champion_brier: float
    challenger_brier: float
    gain: float
    gain_low: float
    gain_high: float
    champion_auc: float
    challenger_auc: float

    def to_dict(self) -> dict[str, Any]:
        """For answers and the history of promotions; what is no number is None."""
        shown = {
            name: (round(value, 6) if np.isfinite(value) else None) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }
        return {_camel(name): value for name, value in shown.items()}


def verdict(
    late: Floats,
    champion: Floats,
    challenger: Floats,
    orders: Ints,
    *,
    margin: float = MARGIN,
    outcomes_min: int = OUTCOMES_MIN,
    seed: int = 1,
) -> Verdict:
    """Hold two models against what became true at the same points of the same orders.

    Args:
        late: 1 or 0.
        champion: what it said.
        challenger: what it said.
        orders: to which order each point belongs.
        margin: by which the Brier score must be lower.
        outcomes_min: orders that there must be.
        seed: of the drawings.
    """
    names, first = np.unique(orders, return_index=True)
    kinds = late[first]
    few = int(min(kinds.sum(), len(kinds) - kinds.sum())) if len(kinds) else 0
    champion_auc, challenger_auc = auc(late, champion), auc(late, challenger)
    gains = (champion - late) ** 2 - (challenger - late) ** 2
    drawn = CaseBootstrap(orders, ROUNDS, seed)
    value = float(gains.mean()) if len(gains) else float("nan")
    gain = drawn.interval(value, drawn.means(gains) if len(gains) else [])
    is_better = False
    if len(names) < outcomes_min:
        reason = f"{len(names)} outcomes that both have scored are known, {outcomes_min} are needed"
    elif few < min(KINDS_MIN, outcomes_min):
        reason = f"{few} orders were late or in time, {KINDS_MIN} of each kind are needed"
    elif not gain.low > margin:
        moved = f"{'lower' if gain.value >= 0 else 'higher'} by {abs(gain.value):.4f}"
        reason = f"its Brier score is {moved}; the lower end of the gain, {gain.low:+.4f}, is not above {margin:g}"
    elif challenger_auc < champion_auc - RANKING_LOSS_MAX:
        reason = f"it ranks worse: AUC {challenger_auc:.3f} against {champion_auc:.3f}"
    else:
        is_better = True
        reason = f"its Brier score is lower by {gain.value:.4f}, at least by {gain.low:.4f}"
    return Verdict(
        is_better,
        reason,
        len(names),
        len(late),
        brier(late, champion),
        brier(late, challenger),
        gain.value,
        gain.low,
        gain.high,
        champion_auc,
        challenger_auc,
    )


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(each.title() for each in rest)
