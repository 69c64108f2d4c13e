"""What handlers share: connections, the way to the plans, and the caller."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from aiohttp import web

from actors.config import ClusterConfig
from actors.folding import PlanFolder
from actors.routing import HostClient
from domain.errors import NotFound
from domain.ids import shard_of
from domain.plan import Plan
from gateway.metrics import Metrics
from persistence.database import Pool
from persistence.reads import FIND_ORDER
from persistence.readstore import ReadStore, StoredFact


class Role(StrEnum):
    """Who may use a route. Declared by every route; enforced once authentication is configured, privacy already now."""

    CHANNEL = "channel"
    AGENT = "agent"
    WORKER = "worker"
    OPERATOR = "operator"
    DESIGNER = "designer"
    MANAGER = "manager"
    DATA_SCIENTIST = "dataScientist"
    AUDITOR = "auditor"
    PRIVACY = "privacy"
    """May see, one by one, what is encrypted, and erase accounts."""
    ADMIN = "admin"
    SYSTEM = "system"
    """A fulfilment system that calls back: its token is its right."""
    ANYONE = "anyone"


@dataclass(slots=True)
class Context:
    """Everything a handler needs; made once per gateway process."""

    config: ClusterConfig
    pool: Pool
    store: ReadStore
    hosts: HostClient
    folder: PlanFolder
    people: Callable[[], Any]
    """The handle of the people actor."""
    broadcast: Callable[[str], Awaitable[None]]
    """Tell hosts and adapters to read something again: `releases` or `systems`."""
    stats: Callable[[], Awaitable[dict[str, Any]]]
    """Counters of the cluster's actors, for metrics."""
    weaknesses: Callable[[], list[dict[str, Any]]] = list
    """By what settings of the databases acknowledged orders could be lost."""
    secret: bytes = b""
    director: Callable[[], Any] = lambda: None
    """The handle of the director."""
    predictor: Callable[[], Any] = lambda: None
    """The handle of the delay predictor."""
    is_draining: bool = False
    """The server is stopping: nothing new is taken in."""
    metrics: Metrics = field(default_factory=Metrics)
    compiling: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever compiles a release that was sent in."""
    simulating: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever tries a draft on real orders."""

    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.now(UTC)

    async def facts(self, tenant: str, order_id: str) -> list[StoredFact]:
        """The facts of one order of the tenant.

        Raises:
            NotFound: the tenant has no such order.
        """
        try:
            shard_of(order_id)
        except NotFound as error:
            raise NotFound(error.reason, mend=FIND_ORDER) from error
        found = (await self.store.facts_of([order_id]))[order_id]
        if not found or found[0].payload["order"]["tenant"] != tenant:
            raise NotFound(f"there is no order {order_id!r}", mend=FIND_ORDER)
        return found

    async def plan(self, tenant: str, order_id: str) -> Plan:
        """One order's plan, folded from what is committed."""
        return await self.folder.fold(await self.facts(tenant, order_id))


CONTEXT: Final = web.AppKey("context", Context)


def context_of(request: web.Request) -> Context:
    """The gateway's context."""
    return request.app[CONTEXT]


def tenant_of(request: web.Request) -> str:
    """The caller's tenant; one per gateway until authentication names it."""
    return request.app[CONTEXT].config.tenant


def user_of(request: web.Request, default: str = "operator") -> str:
    """Who the caller says to be; believed because the gateway listens on loopback only until access is configured."""
    return request.headers.get("X-User", default)[:100]


def has_role(request: web.Request, role: Role) -> bool:
    """Whether the caller claims a role (`X-Roles`, separated by commas); believed as `user_of` is."""
    return role.value in {each.strip() for each in request.headers.get("X-Roles", "").split(",")}
