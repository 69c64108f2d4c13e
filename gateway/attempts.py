"""The attempts of one callout: when each was sent and ended, what it said, and what became of it.

What was sent is not stored a second time. It is worked out from the plan as it was at that moment, by the code that
made the call; hidden values are asterisks, and what systems answered is kept as far as it set values of lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from actors.folding import PlanFolder
from domain.errors import ExpressionFailed
from domain.facts import (
    ITEM_ACCEPTED,
    ITEM_COMPLETED,
    ITEM_FAILED,
    ITEM_FATALLY_FAILED,
    ITEM_HELD,
    ITEM_SKIPPED,
    ITEM_STARTED,
)
from domain.payloads import payload_of
from domain.plan import Plan
from gateway.views import masked
from persistence.readstore import StoredFact

ATTEMPTS_MAX: Final = 50
"""The newest are shown."""
OUTCOMES: Final = {
    ITEM_COMPLETED: "completed",
    ITEM_FAILED: "failed",
    ITEM_FATALLY_FAILED: "failedForGood",
    ITEM_HELD: "held",
    ITEM_SKIPPED: "skipped",
}


async def plan_with_attempts(
    folder: PlanFolder, stored: Sequence[StoredFact], key: str
) -> tuple[Plan, list[dict[str, Any]]]:
    """The plan as it is now, and the attempts of one of its items, oldest first.

    An attempt is `{"attempt", "startedAt", "acceptedAt", "endedAt", "tookS", "outcome", "by", "error", "errorCode",
    "unheard", "retryAt", "request", "values"}`, as far as there is one; it has no `outcome` while it is under way.
    """
    starts = [at for at, fact in enumerate(stored) if fact.kind == ITEM_STARTED and fact.item == key]
    first = starts[-ATTEMPTS_MAX:][0] if starts else len(stored)
    plan = await folder.fold(list(stored[:first]))
    found: list[dict[str, Any]] = []
    for fact in stored[first:]:
        if fact.item == key:
            if fact.kind == ITEM_STARTED:
                found.append(_started(plan, fact))
            elif found:
                _ended(found[-1], fact)
        await folder.advance(plan, fact)
    return plan, found


def _started(plan: Plan, fact: StoredFact) -> dict[str, Any]:
    item = plan.by_key[fact.item or ""]
    attempt = (fact.payload or {})["attempt"]
    view: dict[str, Any] = {"attempt": attempt, "startedAt": fact.at.isoformat()}
    try:
        view["request"] = masked(payload_of(plan, item, item.sent if attempt == item.attempt else ()))
    except ExpressionFailed as error:
        view["requestError"] = str(error)
    return view


def _ended(attempt: dict[str, Any], fact: StoredFact) -> None:
    """What a fact of the item says of its newest attempt."""
    payload = fact.payload or {}
    if fact.kind == ITEM_ACCEPTED:
        attempt.setdefault("acceptedAt", fact.at.isoformat())
    outcome = OUTCOMES.get(fact.kind)
    if outcome is None or "outcome" in attempt:
        return
    took_s = (fact.at - datetime.fromisoformat(attempt["startedAt"])).total_seconds()
    attempt |= {"outcome": outcome, "endedAt": fact.at.isoformat(), "tookS": round(took_s, 3), "by": fact.actor}
    for name in ("error", "errorCode", "unheard", "retryAt", "reason"):
        if payload.get(name):
            attempt[name] = payload[name]
    if payload.get("set"):
        attempt["values"] = masked(payload["set"])
