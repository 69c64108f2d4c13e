"""Circuit breakers as rows: what the adapters find out reaches plans, people and the adapters' next life.

A breaker's row is written when it opens, again after each try that fails (from the first of these on the plans hold
their items), and dropped when it closes. A row that somebody else has dropped closes the breaker: an operator says that
the system works. Without a place to keep rows, breakers work all the same, for the calls here alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import structlog

from actors.bulkhead import Bulkhead
from actors.ports import HoldsPort
from domain.holds import HeldSystems, HoldCause
from persistence.catalogue import Limits
from persistence.database import is_unavailable
from persistence.holds import HoldRow, held_by_tenant

log = structlog.get_logger(__name__)

NOTE_RETRY_S: Final = 1.0

Place = tuple[str, str]
"""(tenant, system)."""


class Breakers:
    """The bulkheads of all systems, with their breakers kept in step with the rows."""

    def __init__(self, holds: HoldsPort | None, clock: Callable[[], datetime]) -> None:
        self._holds = holds
        self._clock = clock
        self._bulkheads: dict[Place, Bulkhead] = {}
        self._noted: set[Place] = set()
        """Breakers whose row is known to be there."""
        self._to_note: dict[Place, None] = {}
        self._noting: asyncio.Task[None] | None = None
        self._changes = 0

    def bulkhead(self, place: Place, limits: Limits) -> Bulkhead:
        """The bulkhead of a system that was not known before."""
        bulkhead = self._bulkheads[place] = Bulkhead(limits, changed=lambda: self._changed(place))
        return bulkhead

    async def refresh(self) -> Mapping[str, HeldSystems]:
        """Read the rows; returns what holds systems besides their own breakers, by tenant."""
        if self._holds is None:
            return {}
        changes = self._changes
        rows = await self._holds.list_holds()
        if changes == self._changes:
            # Else what was read is older than what is known here.
            self._follow({(row.tenant, row.hold.system): row for row in rows if row.hold.cause is HoldCause.BREAKER})
        return held_by_tenant(row for row in rows if row.hold.cause is not HoldCause.BREAKER)

    def _follow(self, rows: Mapping[Place, HoldRow]) -> None:
        for place, bulkhead in self._bulkheads.items():
            row = rows.get(place)
            if place in self._to_note:
                continue
            if row is None and place in self._noted:
                self._noted.discard(place)
                bulkhead.close_breaker()
            elif row is not None and place not in self._noted:
                self._noted.add(place)
                bulkhead.resume_open(row.hold.reason, is_held=row.hold.is_held)

    def _changed(self, place: Place) -> None:
        bulkhead = self._bulkheads[place]
        opened = bulkhead.open_breaker()
        if opened is None:
            log.info("circuit breaker closed", tenant=place[0], system=place[1])
        else:
            log.warning(
                "circuit breaker open", tenant=place[0], system=place[1], is_held=opened.is_held, reason=opened.reason
            )
        self._changes += 1
        if self._holds is None:
            return
        self._to_note[place] = None
        if self._noting is None or self._noting.done():
            self._noting = asyncio.get_running_loop().create_task(self._note())

    async def _note(self) -> None:
        """Write what has changed, as it is by then, until it is written."""
        while self._to_note:
            place = next(iter(self._to_note))
            del self._to_note[place]
            try:
                await self._write(place)
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("a circuit breaker's state could not be kept")
                self._to_note[place] = None
                await asyncio.sleep(NOTE_RETRY_S)

    async def _write(self, place: Place) -> None:
        assert self._holds is not None
        now = self._clock()
        opened = self._bulkheads[place].open_breaker()
        if opened is None:
            await self._holds.drop_breaker(*place, now)
            self._noted.discard(place)
        else:
            await self._holds.note_breaker(
                *place,
                is_held=opened.is_held,
                reason=opened.reason,
                probe_at=now + timedelta(seconds=opened.try_in_s),
                now=now,
            )
            self._noted.add(place)
        self._changes += 1
