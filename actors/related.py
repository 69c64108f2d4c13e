"""Plans that wait for items of related orders are told how those stand.

Lives in the people actor. `related_wait` has a row for each item that waits, written and struck in the ticks of its
plan. This looks through the rows, reads the orders that they are about from their facts, and sends a message where
something is certain; whoever waits may be of any account and host. A row stands until its plan has heard, so whoever
dies in between leaves everything as it was, and a plan that is told twice ignores it. Looking costs what is open: a
page of rows at a time, and an order is read again only when it has new facts, the larger it is the less often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from actors.envelopes import Envelope, ToPlan
from actors.folding import PlanFolder, StorePort
from actors.ports import WaitsPort
from domain.errors import OrderplanError, PlanUnreadable
from domain.ids import shard_of
from domain.messages import RelatedTold
from domain.plan import Plan
from domain.related import Wait, find_circle, orders_in, standing_of
from persistence.database import is_unavailable
from persistence.waits import OpenWait

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.5
PAGE_MAX: Final = 1_000
"""Waits that one look goes through."""
READ_MAX: Final = 50
"""Orders that one look reads."""
ITEMS_PER_LOOK: Final = 500
"""An order is read again at most every so many looks as its items fill this number."""
ANSWER_TIMEOUT_S: Final = 20.0
TELLING_MAX: Final = 1_000
LOOKS_UNTIL_AGAIN: Final = 10
BEHIND_MAX: Final = 10
"""How many times orders without a plan are followed on in a search for circles."""


class Asks(Protocol):
    """The way to the plans."""

    async def ask(self, lane: str, shard: int, envelope: Envelope, *, timeout_s: float) -> Any: ...


@dataclass(slots=True)
class _Seen:
    """How far the awaited order had come when it was last read, and the look from which it may be read again."""

    progress: tuple[Any, ...]
    from_look: int


class RelatedOrders:
    """Tells plans of related orders; plain asyncio."""

    def __init__(self, waits: WaitsPort, store: StorePort, folder: PlanFolder, hosts: Asks) -> None:
        self._waits = waits
        self._store = store
        self._folder = folder
        self._hosts = hosts
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._round: set[tuple[str, str]] = set()
        """The waits that this way through the table has met."""
        self._after = ("", "")
        self._telling: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._behind: dict[str, list[str]] = {}
        """Orders that had no plan when they were read -> those that they wait behind."""
        self._looks = 0
        self.told = 0

    async def run(self, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        """Look again and again, for ever."""
        while True:
            try:
                await self.look()
            except Exception as error:
                # The rows stand until their plans have heard.
                if not is_unavailable(error):
                    log.exception("related orders could not be looked at")
            await sleep(LOOK_S)

    async def settled(self) -> None:
        """Wait until whoever is being told has answered."""
        await asyncio.gather(*self._telling.values())

    async def look(self) -> None:
        """Go through the next page of waits."""
        self._looks += 1
        page = await self._waits.page(self._after, PAGE_MAX)
        plans: dict[str, Plan | None] = {}
        for each in page:
            self._round.add(each.wait.key)
            if self._is_to_read(each, plans):
                await self._look_at(each, plans)
        if len(page) == PAGE_MAX:
            self._after = page[-1].wait.key
            return
        self._after = ("", "")
        self._seen = {key: seen for key, seen in self._seen.items() if key in self._round}
        self._round.clear()

    def _is_to_read(self, found: OpenWait, plans: dict[str, Plan | None]) -> bool:
        key, target = found.wait.key, found.wait.target
        seen = self._seen.get(key)
        if key in self._telling or len(self._telling) >= TELLING_MAX:
            return False
        if seen is not None and (seen.progress == found.progress or seen.from_look > self._looks):
            return False
        return target is None or target in plans or len(plans) < READ_MAX

    async def _look_at(self, found: OpenWait, plans: dict[str, Plan | None]) -> None:
        wait = found.wait
        seen = self._seen[wait.key] = _Seen(found.progress, self._looks)
        if wait.target is None:
            return
        plan = await self._read(wait.target, plans)
        if plan is None:
            return
        seen.from_look += 1 + len(plan.items) // ITEMS_PER_LOOK
        outcome = standing_of(plan, wait.ref)
        if outcome is not None:
            self._tell(wait, RelatedTold(wait.item, wait.target, outcome))
            return
        circle = await self._circle(wait)
        if circle is not None:
            # The same one whoever looks from where: who came last breaks it.
            last = max(range(len(circle)), key=lambda at: (circle[at].opened_at, circle[at].key))
            orders = orders_in([*circle[last:], *circle[:last]])
            self._tell(circle[last], RelatedTold(circle[last].item, orders[0], "mutualWait", tuple(orders)))

    async def _read(self, order_id: str, plans: dict[str, Plan | None]) -> Plan | None:
        """The order as its facts say now; None when they cannot be read."""
        if order_id in plans:
            return plans[order_id]
        stored = (await self._store.facts_of([order_id]))[order_id]
        plans[order_id] = None
        try:
            plan = plans[order_id] = await self._folder.fold(stored)
        except PlanUnreadable as error:
            log.warning("a related order cannot be read", order_id=order_id, code=error.code)
            return None
        self._behind.pop(order_id, None)
        if plan.template is None and plan.behind:
            self._behind[order_id] = plan.behind
        return plan

    async def _circle(self, wait: Wait) -> list[Wait] | None:
        """The circle that a wait is in, as far as its orders are known; None without one."""
        names: Sequence[str] = [wait.name]
        known: dict[tuple[str, str], Wait] = {}
        followed = {wait.name}
        for _ in range(BEHIND_MAX):
            reached = await self._waits.leading_from(wait.channel, names)
            known.update((each.key, each) for each in reached.waits)
            at = {wait.target, *reached.targets.values(), *(each.target for each in reached.waits)}
            names = [name for order_id in at for name in self._behind.get(order_id or "", ()) if name not in followed]
            followed.update(names)
            if not names:
                break
        return find_circle(wait, known.values(), self._behind)

    def _tell(self, wait: Wait, told: RelatedTold) -> None:
        if wait.key in self._telling:
            return
        task = asyncio.get_running_loop().create_task(self._send(wait, told))
        self._telling[wait.key] = task
        task.add_done_callback(lambda _: self._telling.pop(wait.key, None))

    async def _send(self, wait: Wait, told: RelatedTold) -> None:
        try:
            envelope = ToPlan(wait.order_id, told)
            await self._hosts.ask("receive_orders", shard_of(wait.order_id), envelope, timeout_s=ANSWER_TIMEOUT_S)
            self.told += 1
        except OrderplanError as error:
            log.warning("a plan could not be told of a related order yet", order_id=wait.order_id, code=error.code)
        # If its row should still stand by then, it is told once more.
        self._seen[wait.key] = _Seen((), self._looks + LOOKS_UNTIL_AGAIN)
