"""Brings probabilities to the level of what became true lately, without changing their order.

Three candidates: shift their log-odds; shift and stretch them (Platt, 1999) within bounds; a staircase of the observed
shares (isotonic regression, Ayer et al., 1955). The shift is what is done: it is one number, and drawn to 0 while cases
are few, so that it does little harm where nothing was off; to do it only where it is clearly better left every level
that was off by a few points as it was. Shapes are learnt from the earlier cases and tried on the later ones; one that
is clearly better than no mending is learnt again from all. All go half the way only, and less while cases are few.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from delay.metrics import Floats, Ints

CASES_MIN: Final = 30
PRIOR_CASES: Final = 200.0
"""To leave probabilities as they are weighs as much as so many cases. Fewer (20 was tried) follow what is chance: on
logs of some hundred cases the level was then further off than without any recalibration."""
HALFWAY: Final = 0.5
"""A level that was off lately is mended by half: three quarters of the squared error are gone if it stays off, and
little is lost if it was a busy season that ends."""
SHIFT_MAX, STRETCH_MIN, STRETCH_MAX = 2.0, 0.3, 1.6
BLOCK_MIN: Final = 0.05
"""Least share of the weight that a step of the staircase rests on."""
SURE: Final = 2.0
"""A candidate must be better by so many standard errors, over cases."""
CLIP: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Recalibration:
    """A rising curve from probability to probability, as straight lines between points; of none the identity."""

    name: str = "none"
    shift: float = 0.0
    stretch: float = 1.0
    steps: tuple[tuple[float, float], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers."""
        return {
            "name": self.name,
            "shift": self.shift,
            "stretch": self.stretch,
            "steps": [list(step) for step in self.steps],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Recalibration:
        """As it was kept."""
        steps = tuple((float(said), float(true)) for said, true in stored["steps"])
        return cls(str(stored["name"]), float(stored["shift"]), float(stored["stretch"]), steps)

    def __call__(self, p_late: Floats) -> Floats:
        """The probabilities on the new level."""
        if self.name == "none":
            return p_late
        if self.steps:
            said, true = np.array(self.steps).T
            found: Floats = p_late + HALFWAY * (np.interp(p_late, said, true) - p_late)
            return found
        return logistic(self.shift + self.stretch * log_odds(p_late))


def log_odds(p: Floats) -> Floats:
    """The logarithm of p / (1 - p), away from 0 and 1."""
    bounded = np.clip(p, CLIP, 1 - CLIP)
    found: Floats = np.log(bounded / (1 - bounded))
    return found


def logistic(x: Floats) -> Floats:
    """The inverse of `log_odds`."""
    found: Floats = 1 / (1 + np.exp(-x))
    return found


def recalibrated(p_late: Floats, late: Floats, cases: Ints, starts: Floats) -> Recalibration:
    """The shift, or the shape that did clearly better on the later cases than what was said.

    Args:
        p_late: said by a model that had not learnt from these cases.
        late: 1 or 0.
        cases: to which case each point belongs.
        starts: when that case started.
    """
    # Known before this, unknown after it: the same cut that the model itself faces.
    border = np.quantile(starts, 0.6) if len(starts) else 0.0
    before, after = starts < border, starts >= border
    if min(len(np.unique(cases[before])), len(np.unique(cases[after]))) < CASES_MIN:
        return Recalibration()
    best, most = "level", 0.0
    for name in ("logistic", "isotonic"):
        tried = learnt(name, p_late[before], late[before], cases[before])
        gains = (p_late[after] - late[after]) ** 2 - (tried(p_late[after]) - late[after]) ** 2
        gain, error = _by_case(gains, cases[after])
        if gain > max(most, SURE * error):
            best, most = name, gain
    return learnt(best, p_late, late, cases)


def _by_case(gains: Floats, cases: Ints) -> tuple[float, float]:
    """The mean over points, and its standard error as cases differ."""
    sums = np.bincount(np.unique(cases, return_inverse=True)[1], weights=gains)
    return float(gains.mean()), float(sums.std() * np.sqrt(len(sums)) / len(gains))


def learnt(name: str, p_late: Floats, late: Floats, cases: Ints) -> Recalibration:
    """The candidate of that name, from these cases."""
    if name == "none":
        return Recalibration()
    case_count = len(np.unique(cases))
    # Points of a case are no news to each other: together they count as one.
    weight = case_count / len(late)
    if name in ("level", "logistic"):
        return _platt(name, p_late, late, weight)
    return _isotonic(p_late, late, case_count)


def _platt(name: str, p_late: Floats, late: Floats, weight: float) -> Recalibration:
    """Newton's method, with a penalty on leaving shift 0 and stretch 1; of `level` the stretch stays 1."""
    free = 1 if name == "level" else 2
    design = np.stack([np.ones_like(p_late), log_odds(p_late)], axis=1)
    start = np.array([0.0, 1.0])
    at = start.copy()
    for _ in range(25):
        said = logistic(design @ at)
        slope = weight * design.T @ (said - late) + PRIOR_CASES * 0.25 * (at - start)
        bend = weight * (design * (said * (1 - said))[:, None]).T @ design + PRIOR_CASES * 0.25 * np.eye(2)
        step = np.zeros(2)
        step[:free] = np.linalg.solve(bend[:free, :free], slope[:free])
        at = at - np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-8:
            break
    shift, stretch = HALFWAY * (at - start) + start
    return Recalibration(
        name,
        shift=float(np.clip(shift, -SHIFT_MAX, SHIFT_MAX)),
        stretch=float(np.clip(stretch, STRETCH_MIN, STRETCH_MAX)),
    )


def _isotonic(p_late: Floats, late: Floats, case_count: int) -> Recalibration:
    """Pool adjacent violators over blocks of equally many points, each drawn towards what was said."""
    order = np.argsort(p_late, kind="stable")
    blocks = [part for part in np.array_split(order, round(1 / BLOCK_MIN)) if len(part)]
    trust = case_count * BLOCK_MIN / (case_count * BLOCK_MIN + PRIOR_CASES * BLOCK_MIN * 2)
    pooled: list[tuple[float, float, float]] = []
    for part in blocks:
        said = float(p_late[part].mean())
        level, mass, place = said + trust * (float(late[part].mean()) - said), float(len(part)), said
        while pooled and pooled[-1][0] >= level:
            other, other_mass, other_place = pooled.pop()
            total = mass + other_mass
            level = (level * mass + other * other_mass) / total
            place = (place * mass + other_place * other_mass) / total
            mass = total
        pooled.append((level, mass, place))
    inner = tuple((place, level) for level, _, place in pooled)
    return Recalibration("isotonic", steps=((0.0, 0.0), *inner, (1.0, 1.0)))
