"""What a model's newest outcomes say of it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import numpy as np

from delay.stock.rule import MARGIN, OUTCOMES_MIN, Verdict, verdict
from delay.stock.watch import by_tick, figures
from persistence import ticks
from persistence.database import Pool

ROWS_MAX: Final = 10_000
"""Newest rows with a known outcome that count: with five ticks, those of 2,000 orders or more."""


async def rolling(pool: Pool, tenant: str, model: str) -> dict[str, Any]:
    """Figures of a model over the newest outcomes, with the number of orders, from when to when these were known, and
    the middle of the label lag.
    """
    found = await ticks.judged(pool, tenant, model, ROWS_MAX)
    late, p_late = np.array(found.late, dtype=np.float64), np.array(found.p_late, dtype=np.float64)
    shown = await asyncio.to_thread(figures, late, p_late)
    shown |= by_tick(late, p_late, np.array(found.ticks, dtype=np.float64) / 100)
    lag_s = round(float(np.median(found.lag_s)), 1) if found.lag_s else None
    known = {
        "knownFrom": found.known_at[-1].isoformat() if found.known_at else None,
        "knownTo": found.known_at[0].isoformat() if found.known_at else None,
    }
    return {"outcomes": len(set(found.order_ids)), **known, "labelLagS": lag_s, **shown}


async def compared(
    pool: Pool,
    tenant: str,
    champion: str,
    challenger: str,
    *,
    margin: float = MARGIN,
    outcomes_min: int = OUTCOMES_MIN,
) -> Verdict:
    """The rule's verdict on two models, over what both have said at the same ticks."""
    found = await ticks.pairs(pool, tenant, champion, challenger, ROWS_MAX)
    orders = np.unique(np.array(found.order_ids, dtype=str), return_inverse=True)[1].astype(np.int64)
    late, said, challenged = (np.array(each, dtype=np.float64) for each in found[1:])
    return await asyncio.to_thread(
        verdict, late, said, challenged, orders, margin=margin, outcomes_min=outcomes_min
    )
