"""Delay models that misbehave, for tests: each by its address `tests.support.delay_models:Name`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from orderplan import ClosedOrder, Prediction, Snapshot


class Steady:
    """Says the same of every order, and how many it has learnt from."""

    def __init__(self) -> None:
        self.learnt = 0

    def fit(self, history: Sequence[ClosedOrder]) -> None:
        self.learnt = len(history)

    def predict(self, snapshots: Sequence[Snapshot]) -> list[Any]:
        return [Prediction(0.25, 60.0, 30.0, 90.0, version=str(self.learnt)) for _ in snapshots]


class Sleeping(Steady):
    """Never answers."""

    def predict(self, snapshots: Sequence[Snapshot]) -> list[Any]:
        time.sleep(3600)
        return []


class Crashing(Steady):
    """Takes its process with it."""

    def predict(self, snapshots: Sequence[Snapshot]) -> list[Any]:
        os._exit(3)


class Hungry(Steady):
    """Wants more memory than the machine has to give."""

    def predict(self, snapshots: Sequence[Snapshot]) -> list[Any]:
        return [len(bytearray(10 * 2**30))]


class Raising(Steady):
    """Raises, with an order's values in the text."""

    def predict(self, snapshots: Sequence[Snapshot]) -> list[Any]:
        raise RuntimeError(f"cannot read {snapshots[0].attributes}")


class Lying(Steady):
    """Says what cannot be of every second order."""

    def predict(self, snapshots: Sequence[Snapshot]) -> list[Any]:
        print("models may print")  # noqa: T201
        return [Prediction(0.25 if at % 2 else float("nan"), 60.0, 30.0, 90.0) for at in range(len(snapshots))]


class Forgetful(Steady):
    """Leaves an order out."""

    def predict(self, snapshots: Sequence[Snapshot]) -> list[Any]:
        return super().predict(snapshots)[1:]


class BrokenByConstruction(Steady):
    """Cannot be built."""

    def __init__(self) -> None:
        raise OSError("no such file")


class Odd(float):
    """A number of a model's own, which takes an hour to unpack."""

    def __reduce__(self) -> Any:
        return time.sleep, (3600,)


class WithOddNumbers(Steady):
    """Says what can be, in classes of its own."""

    def predict(self, snapshots: Sequence[Snapshot]) -> list[Any]:
        return [Prediction(Odd(0.25), Odd(60.0), 30.0, 90.0) for _ in snapshots]
