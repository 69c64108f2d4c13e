"""Which systems take no calls just now, as a value: a plan decides on it and says in the fact what it went by.

Three things hold a system: an administrator (it is offline), its circuit breaker (it has failed too often), and a pause
of everything. Each is lifted on its own; a system is held while any of them stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from domain.errors import OrderplanError

EVERYTHING: Final = "*"
"""In the place of a system's code: every system, those that are not set up yet too, and functions of one's own."""


class HoldCause(StrEnum):
    """Why a call is not made."""

    PAUSE = "pause"
    OFFLINE = "offline"
    BREAKER = "breaker"
    BUSY = "busy"
    """The system takes calls, but more wait for it than its limits let through in time."""
    AWAY = "away"
    """Nobody was there to hear the answer when the time for it was over; the call is made again at once."""


class HeldBack(OrderplanError):
    """A call was not made: its system is held, or has no room for it in time. It costs no attempt."""

    status = 503
    code = "heldBack"

    def __init__(self, cause: HoldCause, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Hold:
    """One reason for a system to be held. `is_held` false, of a pause: this system is taken out of it."""

    system: str
    cause: HoldCause
    is_held: bool = True
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HeldSystems:
    """The holds of one tenant at one moment."""

    by_system: Mapping[str, tuple[Hold, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, holds: Iterable[Hold]) -> HeldSystems:
        """The holds, sorted by system."""
        by_system: dict[str, tuple[Hold, ...]] = {}
        for hold in holds:
            by_system[hold.system] = (*by_system.get(hold.system, ()), hold)
        return cls(by_system)

    def of_system(self, system: str) -> Hold | None:
        """What holds the system, that which needs a person first; None: it takes calls."""
        if not self.by_system:
            return None
        own = {hold.cause: hold for hold in self.by_system.get(system, ())}
        offline = own.get(HoldCause.OFFLINE)
        if offline is not None and offline.is_held:
            return offline
        pause = next((hold for hold in self.by_system.get(EVERYTHING, ()) if hold.is_held), None)
        if pause is not None and own.get(HoldCause.PAUSE, pause).is_held:
            return pause
        breaker = own.get(HoldCause.BREAKER)
        return breaker if breaker is not None and breaker.is_held else None


NOTHING_HELD: Final = HeldSystems()
