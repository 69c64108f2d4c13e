"""A plan host without Ray: the real loop on a real journal, and systems that answer when the test says so."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from actors.envelopes import BookAssets, Envelope, Submission, ToPlan
from actors.host_loop import HostLoop
from domain.ids import effect_key, shard_for
from domain.messages import PlanMessage, Report
from domain.orders import Order
from domain.turn import Call
from persistence.database import Pool, is_unavailable, open_pool
from persistence.journal import Probe, no_probe
from persistence.vault import Vault
from tests.support.journals import open_journal

SHARDS = 8


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class ScriptedDispatch:
    """Keeps calls until the test answers them; counts how often each key was sent."""

    def __init__(self) -> None:
        self.open: dict[tuple[str, str, int], Call] = {}
        self.sent: list[str] = []

    def send(self, calls: Sequence[Call]) -> None:
        for call in calls:
            self.open[call.order_id, call.item, call.attempt] = call
            self.sent.append(effect_key(call.order_id, call.item, call.attempt))

    def settled(self, order_id: str, item: str, attempt: int) -> None:
        self.open.pop((order_id, item, attempt), None)

    def lag_s(self) -> float:
        return 0.0

    def knows(self, order_id: str, item: str, attempt: int) -> bool:
        return (order_id, item, attempt) in self.open

    def forget(self, keep: Callable[[str], bool]) -> None:
        self.open = {key: call for key, call in self.open.items() if keep(call.order_id)}

    def calls(self, order_id: str | None = None, name: str | None = None) -> list[Call]:
        """Calls without a committed result, oldest first."""
        return [call for call in self.open.values() if order_id in (None, call.order_id) and name in (None, call.name)]


class ScriptedBookings:
    """Keeps the bookings of dedicated plans until the test delivers them, each order's in their order."""

    def __init__(self) -> None:
        self.waiting: list[BookAssets] = []

    def send(self, bookings: Sequence[BookAssets]) -> None:
        self.waiting.extend(bookings)

    def forget(self, keep: Callable[[str], bool]) -> None:
        self.waiting = [each for each in self.waiting if keep(each.order_id)]


class Host:
    """One incarnation under test."""

    def __init__(
        self,
        loop: HostLoop,
        journal: Any,
        dispatch: ScriptedDispatch,
        bookings: ScriptedBookings,
        clock: Clock,
        pools: list[Pool],
    ):
        self.loop = loop
        self.bookings = bookings
        self.journal = journal
        self.dispatch = dispatch
        self.clock = clock
        self._pools = pools
        self.running: asyncio.Task[None] = asyncio.create_task(loop.run())

    @classmethod
    async def start(
        cls,
        databases: Any,
        pool: Pool,
        name: str = "host-a",
        *,
        shards: Iterable[int] = range(SHARDS),
        dsn: str | None = None,
        clock: Clock | None = None,
        probe: Probe = no_probe,
        entropy: Callable[[], int] | None = None,
    ) -> Host:
        """Register the incarnation, give it the shards, let it adopt them."""
        shards = tuple(shards)
        journal = await open_journal(dsn or databases.dsn, name, shards, probe=probe, pool=pool)
        keys, orders = await open_pool(databases.key_dsn, size_max=2), await open_pool(databases.dsn, size_max=2)
        dispatch, bookings = ScriptedDispatch(), ScriptedBookings()
        clock = clock or Clock()
        draw = random.Random(name)
        loop = HostLoop(
            journal,
            Vault(keys, orders),
            dispatch,
            bookings,
            clock=clock,
            entropy=entropy or (lambda: draw.getrandbits(20)),
            is_unavailable=is_unavailable,
            sleep=lambda _seconds: asyncio.sleep(0.01),
        )
        host = cls(loop, journal, dispatch, bookings, clock, [keys, orders])
        await host.while_running(loop.adopt(shards))
        return host

    async def while_running(self, work: Awaitable[Any]) -> Any:
        """The result of the work; if the loop breaks meanwhile, what broke it."""
        task = asyncio.ensure_future(work)
        async with asyncio.timeout(30):
            await asyncio.wait({task, self.running}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await self.running
        return await task

    def kill(self) -> None:
        """End it without a word, as kill -9 does."""
        self.running.cancel()
        if self.loop._shredder._task is not None:
            self.loop._shredder._task.cancel()
        self.journal.abandon()
        for pool in self._pools:
            pool.terminate()

    async def end(self) -> None:
        """Kill it, and wait until nothing of it runs any more."""
        self.kill()
        while not self.running.done():
            # A cancellation that meets a commit comes out as the failure of that commit, and the loop goes on.
            self.running.cancel()
            await asyncio.wait({self.running}, timeout=0.1)

    async def ask(self, *envelopes: Envelope) -> list[Any]:
        """Answers of one tick's worth of envelopes."""
        answers: list[Any] = await self.while_running(self.loop.ask(envelopes))
        return answers

    async def submit(self, *orders: Order) -> list[Any]:
        """Submit orders together."""
        return await self.ask(*(submission(order) for order in orders))

    async def tell(self, order_id: str, message: PlanMessage, actor: str = "system", cause: str | None = None) -> Any:
        """Send one message to one plan."""
        return (await self.ask(ToPlan(order_id, message, actor, cause)))[0]

    async def report(self, call: Call, kind: Any = "completed", **members: Any) -> Any:
        """Answer a call."""
        return (await self.ask(reported(call, kind, **members)))[0]

    async def finish(self) -> list[Call]:
        """Complete every call that is open, and those that follow, until none is left; returns them in order."""
        made: list[Call] = []
        while calls := self.dispatch.calls():
            made.extend(calls)
            await self.ask(*(reported(call) for call in calls))
        return made

    def advance(self, seconds: float) -> None:
        """Let time pass, and the loop see it."""
        self.clock.now += timedelta(seconds=seconds)
        self.loop._wake.set()


def submission(order: Order, body_hash: bytes | None = None) -> Submission:
    """An order on its way to the host of its account."""
    body = order.to_dict()
    digest = body_hash if body_hash is not None else repr(body).encode()[:200]
    shard = shard_for(f"{order.tenant}/{order.account}", SHARDS)
    return Submission(shard, body, digest)


def reported(call: Call, kind: Any = "completed", answer: Mapping[str, Any] | None = None, **members: Any) -> ToPlan:
    """A system's answer to a call."""
    report = Report(call.item, call.attempt, kind, answer or {}, **members)
    key = effect_key(call.order_id, call.item, call.attempt)
    return ToPlan(call.order_id, report, actor=f"adapter:{call.system}", cause=key)
