"""Small simulated worlds on the example catalogues, for tests of histories and of what is learnt from them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from delay.histories import KeptHistory, Sample, Settings, Simulation
from orderplan.demo.samples import CATALOGUES, WORK_S, samples

EXAMPLES = Path(__file__).parents[2] / "examples"


@cache
def kinds(*catalogues: str) -> tuple[Sample, ...]:
    """The kinds of orders of the example catalogues, or of some of them."""
    return tuple(samples(EXAMPLES, catalogues or CATALOGUES))


def world(orders: int = 60, days: int = 20, *catalogues: str, **settings: Any) -> Simulation:
    """A simulated world in which so many orders come; without outages unless they are given."""
    given = {"work_s": WORK_S, "outages": ()} | settings
    return Simulation(Settings(orders=orders, days=days, **given), kinds(*catalogues))


def history(orders: int = 60, days: int = 20, *catalogues: str, **settings: Any) -> KeptHistory:
    """What happens in it."""
    return world(orders, days, *catalogues, **settings).kept()
