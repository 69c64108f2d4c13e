"""Luck that follows from a seed and from what it is drawn for.

A draw is named by what it decides (order, item, try) and not taken from one stream. So two runs that differ in one
setting differ in nothing else: the same order has the same customer, the same survey takes as long. That makes a
constructed delay, or an order that was expedited, comparable with the run without it. Dropped: one generator for all,
where one more draw changes everything after it, and `hash()`, which differs from process to process.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b
from statistics import NormalDist
from typing import Final, TypeVar

_NORMAL: Final = NormalDist()
_STEPS: Final = 2**53

Value = TypeVar("Value")


class Chance:
    """Draws by name, the same for the same seed in every process."""

    def __init__(self, seed: int) -> None:
        self._key = str(seed).encode()

    def share(self, *names: object) -> float:
        """A number between 0 and 1, both exclusive, evenly spread over the names."""
        text = "/".join(map(str, names)).encode()
        drawn = int.from_bytes(blake2b(text, key=self._key, digest_size=8).digest(), "big") >> 11
        return (drawn + 0.5) / _STEPS

    def is_so(self, probability: float, *names: object) -> bool:
        """Whether something of this probability happens."""
        return self.share(*names) < probability

    def around(self, median: float, spread: float, *names: object) -> float:
        """A log-normal number: half of them lie below the median; `spread` is the deviation of the logarithm."""
        return median * math.exp(spread * _NORMAL.inv_cdf(self.share(*names)))

    def one_of(self, values: Sequence[Value], weights: Sequence[float], *names: object) -> Value:
        """One of the values, each as often as its weight says."""
        left = self.share(*names) * sum(weights)
        for value, weight in zip(values, weights, strict=True):
            left -= weight
            if left < 0:
                return value
        return values[-1]
