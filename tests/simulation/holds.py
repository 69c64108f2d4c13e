"""Memory twins of what holds systems and of the items that wait for them (persistence/holds.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

from actors.resumer import Resumer
from actors.routing import HostClient
from domain.holds import HeldSystems, Hold, HoldCause
from persistence.catalogue import Limits
from persistence.holds import HeldItem, HoldRow, held_by_tenant
from tests.simulation.database import MemoryDatabase
from tests.simulation.twins import MemoryOwnership

if TYPE_CHECKING:
    from tests.simulation.world import World

LIMITS: Final = Limits(concurrency=3, breaker_failures=3, breaker_pause_s=1.5, drain_per_s=10.0)


class MemoryHolds:
    """Rows of one tenant, for adapters, hosts and resumers alike."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def list_holds(self) -> list[HoldRow]:
        rows: list[HoldRow] = await self._database.ask(lambda: list(self._database.holds.values()))
        return rows

    async def read_held(self) -> Mapping[str, HeldSystems]:
        return held_by_tenant(await self.list_holds())

    async def note_breaker(
        self, tenant: str, code: str, *, is_held: bool, reason: str, probe_at: datetime, now: datetime
    ) -> None:
        row = HoldRow(tenant, Hold(code, HoldCause.BREAKER, is_held, reason), "system", now, probe_at)
        await self._database.ask(lambda: self._database.holds.update({(code, HoldCause.BREAKER.value): row}))

    async def drop_breaker(self, tenant: str, code: str, now: datetime) -> None:
        await self._database.ask(lambda: self._database.holds.pop((code, HoldCause.BREAKER.value), None))

    # What a resumer reads.

    async def holds(self) -> list[HoldRow]:
        return await self.list_holds()

    async def limits(self) -> dict[str, Limits]:
        return {}

    async def systems(self) -> list[str]:
        found: list[str] = await self._database.ask(
            lambda: sorted({row.system for row in self._database.held.values()})
        )
        return found

    async def next_held(self, system: str, limit: int, without: Collection[HeldItem]) -> list[HeldItem]:
        def read() -> list[HeldItem]:
            rows = [row for row in self._database.held.values() if row.system == system]
            rows.sort(key=lambda row: (row.priority, row.ready_at, row.order_id, row.item))
            found = [HeldItem(row.order_id, row.item) for row in rows]
            return [each for each in found if each not in without][:limit]

        items: list[HeldItem] = await self._database.ask(read)
        return items

    async def next_try(self, system: str, without: Collection[HeldItem]) -> HeldItem | None:
        def read() -> HeldItem | None:
            rows = sorted(self._database.held.values(), key=lambda row: row.held_at)
            found = (HeldItem(row.order_id, row.item) for row in rows if row.system == system)
            return next((each for each in found if each not in without), None)

        item: HeldItem | None = await self._database.ask(read)
        return item


class SimulatedResumer:
    """As in `actors.manual_queue.ManualQueueActor`: begins when the database answers, and goes on for ever."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def run(self) -> None:
        world = self._world
        hosts = HostClient(MemoryOwnership(world.database), handles=world.handle_of)
        while True:
            try:
                await hosts.open()
                break
            except OSError:
                await asyncio.sleep(0.5)
        await Resumer(MemoryHolds(world.database), hosts, clock=world.clock).run()
