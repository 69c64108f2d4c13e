"""What if: one order scored again with something done for it, beside the order as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from actors.batch import Batch
from actors.scoring import Scorer
from delay.critical_path import NAME, Contribution, CriticalPath
from delay.model import Prediction
from delay.reasons import in_words_s
from delay.snapshot import Snapshot
from delay.stock.explained import grouped
from delay.what_if import NOTE, Actionable, Change, changed, options
from domain.release import CompiledRelease

GAIN_MIN: Final = 0.005
"""Of the probability: what moves it less is no improvement."""
GAIN_S_MIN: Final = 60.0
"""Likewise of the expected end, for orders whose risk is near 0 or 1 whatever is done."""


class WhatIf:
    """Answers questions about one snapshot with whatever model scores just now."""

    def __init__(self, scorer: Scorer, builtin: CriticalPath, actionable: Actionable) -> None:
        self._scorer = scorer
        self._builtin = builtin
        self._actionable = actionable

    async def answer(
        self, snapshot: Snapshot, release: CompiledRelease, changes: Sequence[Change]
    ) -> dict[str, Any]:
        """`{"risk", "remainingS", "model", "contributions", "improvements", "note"}`, with changes also `changed`; of a
        learnt model that says what its features do also `modelContributions` and `usualRisk`.

        Raises:
            BadDocument: a change cannot be made.
        """
        tried = [(each,) for each in options(snapshot, self._actionable)] if not changes else [tuple(changes)]
        others = [changed(snapshot, each, self._actionable, release) for each in tried]
        batch = Batch([snapshot, *others], self._builtin)
        scored = await self._scorer.predict(batch, is_counted=False)
        if len({each.model for each in scored}) > 1:
            # Where a model has not answered for all, what differs may be the models.
            scored = await batch.builtin(range(len(scored)))
        now, then = scored[0], scored[1:]
        contributions = await asyncio.to_thread(self._builtin.contributions, snapshot)
        found = {
            "orderId": snapshot.order_id,
            "at": snapshot.now.isoformat(),
            **_said(now),
            "model": now.model,
            "version": now.version,
            "contributions": [_in_words(each, snapshot) for each in contributions],
            "note": NOTE,
        }
        if now.model != NAME:
            found |= await self._of_the_model(snapshot)
        if changes:
            return found | {"changes": [each.to_dict() for each in changes], "changed": _gain(now, then[0])}
        gains = [
            {"changes": [each.to_dict() for each in some], "what": some[0].in_words, **_gain(now, prediction)}
            for some, prediction in zip(tried, then, strict=True)
        ]
        helping = [each for each in gains if each["gain"] >= GAIN_MIN or each["gainS"] >= GAIN_S_MIN]
        return found | {
            "tried": len(gains),
            "improvements": sorted(helping, key=lambda each: (-each["gain"], -each["gainS"])),
        }


    async def _of_the_model(self, snapshot: Snapshot) -> dict[str, Any]:
        """What the features that the model has learnt from do to the risk, by step; nothing where it does not say."""
        explained = await self._scorer.explain(snapshot)
        if explained is None:
            return {}
        explanation, frame = explained
        factors = frame.builtin[0].factors
        steps = grouped(snapshot, explanation, factors[0].item if factors else None)
        return {
            "usualRisk": round(explanation.base, 4),
            "modelContributions": [
                {
                    "item": each.item.key if each.item else None,
                    "step": each.item.ref if each.item else None,
                    "points": round(each.points, 4),
                    "reason": each.reason,
                    "features": [{"name": name, "points": round(points, 4)} for name, points in each.features],
                }
                for each in steps
            ],
        }


def _said(prediction: Prediction) -> dict[str, Any]:
    return {"risk": round(prediction.p_late, 4), "remainingS": round(prediction.remaining_s, 1)}


def _gain(now: Prediction, then: Prediction) -> dict[str, Any]:
    """What becomes of risk and remaining time; a gain is what they fall by."""
    return {
        **_said(then),
        "gain": round(now.p_late - then.p_late, 4),
        "gainS": round(now.remaining_s - then.remaining_s, 1),
    }


def _in_words(each: Contribution, snapshot: Snapshot) -> dict[str, Any]:
    item = next(item for item in snapshot.items if item.key == each.item)
    where = f" in queue {item.queue}" if item.queue else f" at {item.system}" if item.system else ""
    points = f"{100 * each.points:+.0f} points"
    return {
        "item": each.item,
        "step": item.ref,
        "queue": item.queue,
        "system": item.system,
        "points": round(each.points, 4),
        "delayS": round(each.delay_s, 1),
        "takesS": round(each.takes_s, 1),
        "usualS": round(each.usual_s, 1),
        "reason": f"{item.name}{where} takes {in_words_s(each.takes_s)}, usual {in_words_s(each.usual_s)}: {points}",
    }
