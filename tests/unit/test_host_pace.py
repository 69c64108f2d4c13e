"""When a host begins its next tick: at once while little is going on, and after others have come while much is."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from actors.envelopes import ToPlan
from actors.host_loop import GATHER_ENOUGH, GATHER_FROM, GATHER_S, HostLoop
from domain.errors import NotFound
from domain.lineup import Lineup
from domain.messages import Report
from persistence.rows import OwnedShard, Unfinished
from tests.support.journals import AT


class Nothing:
    """A journal without orders, and a vault, dispatcher and bookings with nothing to do."""

    incarnation_id = "host-a"

    def __init__(self) -> None:
        self.ticks = 0
        self.during_tick: Any = lambda: None

    async def commit(self, _commit: Any) -> None:
        self.ticks += 1
        self.during_tick()

    async def owned_shards(self) -> dict[int, OwnedShard]:
        return {0: OwnedShard(0, 0, False, None)}

    async def heads(self, shards: list[int]) -> dict[int, int]:
        return dict.fromkeys(shards, 0)

    async def unfinished(self, _shards: list[int]) -> Unfinished:
        return Unfinished([], [])

    async def nothing(self, *_: Any) -> list[Any]:
        return []

    unshredded = recent = load_tenant = store_keys = nothing

    async def lineup(self, _tenant: str, _now: Any) -> Lineup:
        return Lineup()

    async def facts_of(self, order_ids: Any) -> dict[str, list[Any]]:
        return {order_id: [] for order_id in order_ids}

    def take_sealed(self) -> list[Any]:
        return []

    def send(self, *_: Any) -> None: ...

    def knows(self, *_: Any) -> bool:
        return True

    forget = drop_new_keys = settled = send
    digest = None

    async def destroy(self, _order_ids: Any) -> None: ...


def reports(count: int) -> list[ToPlan]:
    """Of orders that nobody knows: each is a message to decide, and refused."""
    return [ToPlan(f"o0-{number:011x}-0000000000", Report("deliver", 1, "completed")) for number in range(count)]


async def waits_after(count: int, arriving: int = 0) -> list[tuple[int, float]]:
    """(tick, seconds) of a host's waits: a tick of so many messages, and so many more that arrive during its commit."""
    around = Nothing()
    slept: list[tuple[int, float]] = []

    async def sleep(seconds: float) -> None:
        slept.append((around.ticks, seconds))
        await asyncio.sleep(0)

    port = cast("Any", around)
    host = HostLoop(port, port, port, port, clock=lambda: AT, entropy=lambda: 0, sleep=sleep)
    running = asyncio.create_task(host.run())
    await host.adopt([0])

    def arrive() -> None:
        around.during_tick = lambda: None
        for each in reports(arriving):
            host.put(each)

    around.during_tick = arrive
    answers = await host.ask(reports(count))
    assert all(isinstance(each, NotFound) for each in answers)
    # Time enough for the next tick.
    for _ in range(50):
        await asyncio.sleep(0)
    found = list(slept)
    host.stop()
    await running
    return found


@pytest.mark.parametrize(
    ("count", "arriving", "slept"),
    [
        (1, 0, []),
        (GATHER_FROM - 1, 0, []),
        (GATHER_FROM, 0, [(1, GATHER_S)]),
        (GATHER_FROM, GATHER_ENOUGH, [(2, GATHER_S)]),
    ],
    ids=["one", "few", "many", "many, and as many have come already"],
)
async def test_a_host_lets_others_come_before_its_next_tick_only_while_much_is_going_on(count, arriving, slept):
    assert await waits_after(count, arriving) == slept
