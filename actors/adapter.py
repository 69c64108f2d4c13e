"""The adapter actor: performs calls at fulfilment systems, a bulkhead for each, and keeps each result until it is
committed.

Stateless in the sense that matters: when it dies, the hosts send again what it had accepted, with the same keys. A
key that is under way already is not performed a second time by the same life.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from actors.config import ClusterConfig
from actors.envelopes import ToPlan
from actors.logs import configure_logs
from actors.routing import HostClient
from actors.tokens import token_of
from adapters.interface import Adapter, Outcome, Task
from adapters.registry import build_adapter
from adapters.storable import storable
from domain.decide import Call
from domain.errors import Busy, NotFound, OrderplanError, Unstorable
from domain.ids import effect_key, shard_of
from domain.messages import Report
from domain.sealing import is_encrypted, is_sealed
from persistence import catalogue
from persistence.database import Pool, open_pool
from persistence.vault import Vault

log = structlog.get_logger(__name__)

SECRET_LENGTH_MIN: Final = 3
WAITING_MAX: Final = 100_000
"""Calls accepted and not yet answered; beyond it a batch is refused and the host keeps it."""


@dataclass(slots=True)
class _System:
    """One fulfilment system of the environment and its bulkhead."""

    adapter: Adapter
    concurrency: int
    slots: asyncio.Semaphore
    version: str
    calls: dict[str, int] = field(default_factory=dict)


class AdapterRuntime:
    """All systems of the environment; plain asyncio, wrapped by the Ray actor below."""

    def __init__(self, pool: Pool, vault: Vault, hosts: HostClient, callback_base: str) -> None:
        self._pool = pool
        self._vault = vault
        self._hosts = hosts
        self._callback_base = callback_base
        self._secret = b""
        self._systems: dict[tuple[str, str], _System] = {}
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self.boot_id = uuid.uuid4().hex
        self.results = 0

    async def open(self) -> None:
        """Read the environment."""
        self._secret = await catalogue.callback_secret(self._pool)
        await self.refresh()

    async def refresh(self) -> None:
        """Learn of systems that were added or changed; calls under way finish on the old settings."""
        for row in await catalogue.list_systems(self._pool, None):
            key = (row["tenant"], row["code"])
            known = self._systems.get(key)
            if known is not None and known.version == row["updatedAt"]:
                continue
            config = dict(row["config"])
            if row["adapter"] == "http":
                # Fewer connections than slots would be a second, hidden bulkhead.
                config.setdefault("connections", row["concurrency"])
            self._systems[key] = _System(
                adapter=build_adapter(row["adapter"], config),
                concurrency=row["concurrency"],
                slots=asyncio.Semaphore(row["concurrency"]),
                version=row["updatedAt"],
            )
            if known is not None:
                retiring = asyncio.get_running_loop().create_task(_retire(known))
                self._retiring.add(retiring)
                retiring.add_done_callback(self._retiring.discard)

    def perform(self, calls: list[Call]) -> str:
        """Accept calls; returns the id of this life.

        Raises:
            Busy: too many calls are waiting; nothing of the batch was accepted.
        """
        if len(self._under_way) + len(calls) > WAITING_MAX:
            raise Busy("too many calls are waiting for fulfilment systems", retryAfterS=1)
        loop = asyncio.get_running_loop()
        for call in calls:
            key = effect_key(call.order_id, call.item, call.attempt)
            if key not in self._under_way:
                self._under_way[key] = loop.create_task(self._one(key, call))
        return self.boot_id

    async def _one(self, key: str, call: Call) -> None:
        try:
            report = await self._perform(key, call)
        except BaseException:
            self._under_way.pop(key, None)
            raise
        self._deliver(call, key, report)

    async def _perform(self, key: str, call: Call) -> Report:
        system = self._systems.get((call.tenant, call.system))
        if system is None:
            await self.refresh()
            system = self._systems.get((call.tenant, call.system))
        if system is None:
            return _report(
                call, Outcome.failed(f"system {call.system!r} is not set up in this environment", "unknownSystem")
            )
        async with system.slots:
            return await self._call(system, key, call)

    async def _call(self, system: _System, key: str, call: Call) -> Report:
        remaining = (call.deadline_at - datetime.now(UTC)).total_seconds()
        if remaining <= 0:
            # Waited too long for a free slot: nothing was sent, so nothing can have been done.
            return _report(call, Outcome.retryable(f"system {call.system} had no free slot in time", "noSlot"))
        secrets: set[str] = set()
        try:
            payload: Mapping[str, Any] = call.payload
            if _needs_opening(payload):
                payload = await self._vault.open_all(call.tenant, call.order_id, dict(payload))
                secrets = set(_opened(call.payload, payload))
            task = Task(
                key=key,
                tenant=call.tenant,
                order_id=call.order_id,
                item=call.item,
                name=call.name,
                system=call.system,
                operation=call.operation,
                attempt=call.attempt,
                deadline_at=call.deadline_at,
                payload=payload,
                callback_url=self._callback_base + token_of(self._secret, key),
            )
            async with asyncio.timeout(remaining):
                outcome = await system.adapter.perform(task)
            return _report(call, outcome, secrets)
        except TimeoutError:
            return _report(call, Outcome.retryable("no answer came in time", "timeout"))
        except Unstorable as error:
            return _report(call, Outcome.retryable(str(error), "badAnswer"))
        except NotFound as error:
            return _report(call, Outcome.failed(str(error), error.code))
        except Exception as error:
            # The contract: an adapter's exception counts as retryable and carries its text.
            log.warning("adapter raised", system=call.system, error=type(error).__name__)
            return _report(call, Outcome.retryable(f"{type(error).__name__}: {error}", "adapterRaised"), secrets)

    def _deliver(self, call: Call, key: str, report: Report) -> None:
        """Keep the result until a host says that its commit is done."""

        def answered(answer: Any) -> None:
            if isinstance(answer, Busy):
                self._hosts.post("receive_reports", shard_of(call.order_id), envelope, answered)
                return
            if isinstance(answer, OrderplanError):
                log.warning("a result was refused", order_id=call.order_id, code=answer.code)
            self.results += 1
            self._under_way.pop(key, None)

        envelope = ToPlan(call.order_id, report, f"adapter:{call.system}", key)
        self._hosts.post("receive_reports", shard_of(call.order_id), envelope, answered)

    def stats(self) -> dict[str, Any]:
        """Calls under way and results delivered."""
        return {"underWay": len(self._under_way), "results": self.results, "boot": self.boot_id}


_UNHEARD: Final = frozenset({"timeout", "connection", "badAnswer", "adapterRaised", "500", "502", "504"})
"""Failures after which nobody knows whether the system did the work: the next try repeats the same key."""


def _report(call: Call, outcome: Outcome, secrets: Iterable[str] = ()) -> Report:
    error = outcome.error
    for secret in secrets:
        # A system may quote what it was sent; what must not stay must not come back in a message.
        error = error.replace(secret, "********")
    return Report(
        item=call.item,
        attempt=call.attempt,
        kind=outcome.kind,
        answer=storable(dict(outcome.answer)),
        error=storable(error),
        error_code=outcome.error_code,
        unheard=outcome.kind == "retryable" and outcome.error_code in _UNHEARD,
        simulated=outcome.simulated,
    )


def _needs_opening(document: Any) -> bool:
    if isinstance(document, dict):
        return is_sealed(document) or is_encrypted(document) or any(_needs_opening(each) for each in document.values())
    if isinstance(document, list):
        return any(_needs_opening(each) for each in document)
    return False


def _opened(before: Any, after: Any) -> Iterator[str]:
    """The values that were out of sight before, as texts long enough to be told from ordinary words."""
    if is_sealed(before) or is_encrypted(before):
        if len(str(after)) >= SECRET_LENGTH_MIN:
            yield str(after)
    elif isinstance(before, dict):
        for key, value in before.items():
            yield from _opened(value, after[key])
    elif isinstance(before, list):
        for value, opened in zip(before, after, strict=True):
            yield from _opened(value, opened)


async def _retire(system: _System) -> None:
    """Close a replaced adapter once the calls under way on it are over."""
    for _ in range(system.concurrency):
        await system.slots.acquire()
    await system.adapter.close()


class AdapterActor:
    """Ray's shell around the adapter runtime."""

    def __init__(self, config: ClusterConfig) -> None:
        configure_logs(config.log_level)
        self._config = config
        self._runtime: AdapterRuntime | None = None
        self._opening = asyncio.Lock()

    async def _ready(self) -> AdapterRuntime:
        async with self._opening:
            if self._runtime is None:
                pool = await open_pool(self._config.dsn)
                keys = await open_pool(self._config.key_dsn, size_max=2)
                hosts = HostClient(pool)
                await hosts.open()
                runtime = AdapterRuntime(pool, Vault(keys, pool), hosts, self._config.callback_base)
                await runtime.open()
                self._runtime = runtime
            return self._runtime

    async def perform(self, calls: list[Call]) -> str:
        """Accept a batch of calls; see `AdapterRuntime.perform`."""
        return (await self._ready()).perform(calls)

    async def boot(self) -> str:
        """The id of this life."""
        return (await self._ready()).boot_id

    async def refresh(self) -> None:
        """Read the environment's systems again."""
        await (await self._ready()).refresh()

    async def stats(self) -> dict[str, Any]:
        """Counters for metrics."""
        return (await self._ready()).stats()
