"""One incarnation of a plan host: its loop, its dispatcher, its bookings, and what others may ask of it.

Plain asyncio with everything injected; `actors/plan_host.py` wraps it for Ray, simulations run it as it is. When it is
fenced or its loop breaks, its process ends at once, so that nothing of it can write or send any more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, Final

import structlog

from actors.bookings import Bookings
from actors.dispatcher import Dispatcher
from actors.envelopes import Envelope, EraseAccount, GiveAway, NotOwner, ToPlan
from actors.host_loop import HostLoop
from actors.ports import JournalPort, ReadHeld, VaultPort
from actors.routing import HostClient
from actors.watchdog import LOOK_S
from domain.errors import Busy, OrderplanError
from domain.ids import shard_of
from domain.messages import AssetsBooked, Quarantine
from persistence.journal import Fenced

log = structlog.get_logger(__name__)

POLL_S: Final = 2.0
INBOX_RETRY_S: Final = 0.1
UNREADABLE_SHOWN_MAX: Final = 100
FENCED_EXIT: Final = 3
BROKEN_EXIT: Final = 1


class HostRuntime:
    """A host that ticks. `die` ends the process with an exit code; `adapters` gives the handle of the adapter actor."""

    def __init__(
        self,
        journal: JournalPort,
        vault: VaultPort,
        hosts: HostClient,
        adapters: Callable[[], Any | None],
        *,
        clock: Callable[[], datetime],
        entropy: Callable[[], int],
        is_unavailable: Callable[[BaseException], bool],
        die: Callable[[int], None],
        tenant: str = "main",
        read_held: ReadHeld | None = None,
    ) -> None:
        self._journal = journal
        self._is_unavailable = is_unavailable
        self._read_held = read_held
        self._die = die
        self._dispatcher = Dispatcher(adapters)
        self.loop = HostLoop(
            journal,
            vault,
            self._dispatcher,
            Bookings(hosts, self._confirmed, self._refused),
            clock=clock,
            entropy=entropy,
            is_unavailable=is_unavailable,
            tenants=(tenant,),
        )
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to tick and to send. Shards come with `adopt`."""
        loop = asyncio.get_running_loop()
        self._dispatcher.start()
        self._tasks = [loop.create_task(each) for each in (self._run(), self._poll(), self._sweep())]

    async def _run(self) -> None:
        try:
            await self.loop.run()
        except Fenced:
            log.error("fenced, ending", incarnation=self._journal.incarnation_id)
            self._die(FENCED_EXIT)
        except Exception:
            # A bug in the loop: no owner may limp on. The director starts another incarnation from the journal.
            log.exception("the host loop broke, ending", incarnation=self._journal.incarnation_id)
            self._die(BROKEN_EXIT)

    async def _poll(self) -> None:
        """Fallback for a publish, or a system held or released, that this host was not told about."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self.loop.refresh_releases()
                await self.refresh_holds()
            except Exception as error:
                if not self._is_unavailable(error):
                    log.exception("releases or holds could not be read")

    async def _sweep(self) -> None:
        """Let the watchdog see what stands in the database."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.loop.sweep()
            except Exception as error:
                if not self._is_unavailable(error):
                    log.exception("the watchdog could not read its orders")

    def _confirmed(self, order_id: str, number: int) -> None:
        self._tell(ToPlan(order_id, AssetsBooked(number)))

    def _refused(self, order_id: str, reason: str) -> None:
        self._tell(ToPlan(order_id, Quarantine(reason)))

    def _tell(self, envelope: ToPlan) -> None:
        """Put a message into the own inbox, when it has room again."""
        try:
            self.loop.put(envelope)
        except Busy:
            asyncio.get_running_loop().call_later(INBOX_RETRY_S, self._tell, envelope)
        except NotOwner:
            log.info("ending, the next owner asks for the booking again", order_id=envelope.order_id)

    # What others ask.

    async def receive_orders(self, envelopes: list[Envelope]) -> list[Any]:
        """New orders and messages from people; answers after the commit, in order."""
        return await self.loop.ask(envelopes, is_patient=False)

    async def receive_bulk(self, envelopes: list[Envelope]) -> list[Any]:
        """New orders that were sent in bulk; answers after the commit, in order."""
        return await self.loop.ask(envelopes, is_patient=False)

    async def late_answer(self, token: str) -> list[Any]:
        """The one answer that a `Later` stood for."""
        return [await self.loop.late.get(token)]

    async def receive_reports(self, envelopes: list[Envelope]) -> list[Any]:
        """Results from systems; answers after the commit, in order."""
        return await self.loop.ask(envelopes)

    async def receive_erasures(self, envelopes: list[EraseAccount]) -> list[Any]:
        """Accounts to erase, one after another; None for each, or why not."""
        answers: list[Any] = []
        for each in envelopes:
            try:
                await self.loop.erase(each.shard, each.erasure)
                answers.append(None)
            except OrderplanError as error:
                answers.append(error)
        return answers

    async def adopt(self) -> int:
        """Take up the shards that the assignment gives this incarnation; returns how many it owns now."""
        await self.loop.adopt(await self._journal.owned_shards())
        return len(self.loop.heads)

    async def give_away(self, shards: Mapping[int, str]) -> None:
        """Hand living shards to other incarnations, by this one's own commit."""
        mine = {shard: to for shard, to in shards.items() if shard in self.loop.heads}
        if mine:
            await self.loop.ask([GiveAway(mine)])
            kept = self.loop.heads
            self._dispatcher.forget(lambda order_id: shard_of(order_id) in kept)

    async def refresh_releases(self) -> None:
        """Learn of a release that was just published."""
        await self.loop.refresh_releases()

    async def refresh_holds(self) -> None:
        """Learn which systems take no calls."""
        if self._read_held is not None:
            self.loop.held = await self._read_held()

    async def ping(self) -> str:
        """Proof that the process answers; the heartbeat in the database proves that it commits."""
        return self._journal.incarnation_id

    async def drain(self) -> None:
        """Finish what is in the inbox, then mark the incarnation stopped."""
        self.loop.stop()
        for task in self._tasks[1:]:
            task.cancel()
        if self._tasks:
            await self._tasks[0]
        self._dispatcher.stop()
        await self._journal.close()

    def stats(self) -> dict[str, Any]:
        """Counters for metrics."""
        loop = self.loop
        return {
            "shards": len(loop.heads),
            "ticks": loop.ticks,
            "commits": loop.commits,
            "facts": loop.facts,
            "plans": len(loop.memory.plans),
            "unreadable": len(loop.unreadable()),
            "unreadableOrders": dict(islice(loop.unreadable().items(), UNREADABLE_SHOWN_MAX)),
            "openCalls": self._dispatcher.open_calls(),
            "timerLagS": loop.lag().total_seconds(),
            "plansLookedAt": loop.watchdog.looked,
            "plansStuck": loop.watchdog.stuck(),
            "plansRedriven": loop.watchdog.redriven,
            "cpuS": time.process_time(),
        }
