"""Hosts of their own for dedicated plans: the director's part of `domain/placement.py`.

A dedicated shard is a shard like any other until an open order has it for itself: then it is moved, by its owner's own
commit, to a host that was started for it. When the order has ended it goes back to an ordinary host, which answers
late messages, and its host ends. If the own host dies, an ordinary one goes on with the plan until there is another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import structlog

from persistence.database import is_unavailable
from persistence.incarnations import Assignment

log = structlog.get_logger(__name__)

RETRY_S: Final = 30.0
"""After a host could not be started for a shard; its plan goes on where it is."""

StartHost = Callable[[int], Awaitable[str | None]]
GiveAway = Callable[[str, dict[int, str]], Awaitable[None]]
Adopt = Callable[[Sequence[str]], Awaitable[None]]
Retire = Callable[[str], Awaitable[None]]


class DedicatedHosts:
    """Starts, fills and ends hosts of dedicated plans; holds nothing that the next director would miss."""

    def __init__(self, start_host: StartHost, give_away: GiveAway, adopt: Adopt, retire: Retire) -> None:
        self._start_host = start_host
        self._give_away = give_away
        self._adopt = adopt
        self._retire = retire
        self._moving: dict[int, asyncio.Task[None]] = {}
        self._not_before: dict[int, float] = {}

    async def check(self, table: Sequence[Assignment], dedicated: Mapping[str, int], ordinary: Sequence[str]) -> None:
        """One look.

        Args:
            table: the owner of every shard.
            dedicated: living hosts that were started for a shard, with that shard.
            ordinary: living hosts that take any shard.
        """
        for each in table:
            owner = each.incarnation_id
            if each.order_id is not None and owner is not None and owner in ordinary:
                self._begin_move(each.shard, owner, [host for host, shard in dedicated.items() if shard == each.shard])
        owned = {each.shard: each for each in table}
        for host, shard in dedicated.items():
            if shard in self._moving:
                continue
            if owned[shard].incarnation_id != host:
                await self._retire(host)
            elif owned[shard].order_id is None and ordinary:
                # It is ended at the next look, when the table no longer names it.
                await self._give_away(host, {shard: ordinary[0]})
                await self._adopt(ordinary[:1])

    def _begin_move(self, shard: int, owner: str, waiting: Sequence[str]) -> None:
        """Move a shard in the background: starting a process takes seconds, and others may die meanwhile."""
        loop = asyncio.get_running_loop()
        if shard not in self._moving and loop.time() >= self._not_before.get(shard, 0.0):
            self._moving[shard] = loop.create_task(self._move(shard, owner, waiting))

    async def _move(self, shard: int, owner: str, waiting: Sequence[str]) -> None:
        try:
            host = waiting[0] if waiting else await self._start_host(shard)
            if host is None:
                self._not_before[shard] = asyncio.get_running_loop().time() + RETRY_S
                return
            await self._give_away(owner, {shard: host})
            await self._adopt([host])
            log.info("dedicated plan moved", shard=shard, host=host)
        except Exception as error:
            if not is_unavailable(error):
                log.exception("a dedicated plan could not be moved; tried again", shard=shard)
            self._not_before[shard] = asyncio.get_running_loop().time() + RETRY_S
        finally:
            del self._moving[shard]
