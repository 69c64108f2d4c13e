"""Why an item is On Hold: what its fact says, and how its system stands now."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from domain.explanation import Reason, SystemHold, World, when
from domain.holds import HoldCause
from domain.items import ItemRun
from domain.plan import Plan
from domain.release import TASKS_SYSTEM, ItemDef

_MENDS: Final = {
    HoldCause.PAUSE: "orderplan system release --all ends the pause",
    HoldCause.OFFLINE: "orderplan system release {system} lets it go on",
    HoldCause.BREAKER: "it goes on when a call has worked",
}


def explain_hold(plan: Plan, item: ItemRun, definition: ItemDef, world: World, now: datetime) -> list[Reason]:
    """The hold of the item's system as it is now; without one, that held items go on."""
    assert item.hold is not None, "an item On Hold has what holds it"
    assert item.held_at is not None
    facts: dict[str, Any] = {
        "system": definition.system,
        "cause": item.hold["cause"],
        "reason": item.hold.get("reason", ""),
        "heldSince": item.held_at.isoformat(),
    }
    called = "Functions of one's own" if definition.system == TASKS_SYSTEM else f"System {definition.system}"
    stands = world.holds.get(definition.system) if world.holds is not None else None
    if stands is None:
        cause = HoldCause(item.hold["cause"])
        text = f"{definition.name} rests On Hold since {when(item.held_at, now)}: {_cause(called, cause)}."
        return [Reason("systemHeld", text, facts)]
    facts |= {"heldItems": stands.waiting, "drainPerS": stands.drain_per_s}
    if stands.hold is None:
        text = f"{called} takes calls; held items go on at {stands.drain_per_s:g} a second"
        text += f", and {stands.waiting} wait, {definition.name} among them."
        return [Reason("heldItemsGoOn", text, facts)]
    return [Reason("systemHeld", _held(called, definition, stands, now), facts | _hold_facts(stands))]


def _held(called: str, definition: ItemDef, stands: SystemHold, now: datetime) -> str:
    assert stands.hold is not None
    cause = stands.hold.cause
    text = f"{definition.name} rests On Hold: {_cause(called, cause)}"
    if stands.since is not None:
        text += f" since {when(stands.since, now)}"
    if cause is not HoldCause.BREAKER and stands.by:
        text += f", by {stands.by}"
    if stands.hold.reason:
        text += f" ({stands.hold.reason})"
    if stands.try_at is not None:
        text += f"; one call tries it {when(stands.try_at, now)}"
    return f"{text}; {_MENDS[cause].format(system=definition.system)}."


def _cause(called: str, cause: HoldCause) -> str:
    if cause is HoldCause.BUSY:
        return f"{called} had no room for its call in time"
    if cause is HoldCause.AWAY:
        return f"nobody was there to hear the answer of {called}"
    if cause is HoldCause.PAUSE:
        return f"{called} is paused with all others"
    return f"{called} is {'offline' if cause is HoldCause.OFFLINE else 'failing, so its circuit breaker is open'}"


def _hold_facts(stands: SystemHold) -> dict[str, Any]:
    assert stands.hold is not None
    return {
        "cause": stands.hold.cause.value,
        "reason": stands.hold.reason,
        "by": stands.by,
        "since": stands.since.isoformat() if stands.since else None,
        "tryAt": stands.try_at.isoformat() if stands.try_at else None,
    }
