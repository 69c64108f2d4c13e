"""The adapter actor: performs calls at fulfilment systems, a bulkhead for each, and keeps each result until it is
committed.

Stateless in the sense that matters: when it dies, the hosts send again what it had accepted, with the same keys. A
key that is under way already is not performed a second time by the same life.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from actors.breakers import Breakers
from actors.bulkhead import Bulkhead
from actors.config import ClusterConfig
from actors.envelopes import ToPlan
from actors.lines import LineServer
from actors.ports import HoldsPort, OpeningPort, ReadSystems
from actors.process import prepare_process
from actors.reports import held_report, needs_opening, opened_secrets, report_of, unknown_report
from actors.routing import HostClient
from actors.time_limit import TimeLimit
from actors.tokens import token_of
from adapters.interface import Adapter, Outcome, Task
from adapters.registry import build_adapter
from adapters.tasks import TasksAdapter
from domain.errors import BadDocument, Busy, NotFound, OrderplanError, Unstorable
from domain.holds import HeldBack, HeldSystems, Hold, HoldCause
from domain.ids import effect_key, shard_of
from domain.messages import Report
from domain.release import TASKS_SYSTEM
from domain.turn import Call
from persistence import catalogue, holds
from persistence.catalogue import Limits
from persistence.database import is_unavailable, open_pool
from persistence.incarnations import Ownership
from persistence.key_wrapping import open_wrapping
from persistence.vault import Vault

log = structlog.get_logger(__name__)

BUSY_S: Final = 0.5
DATABASE_RETRY_S: Final = 0.5
POLL_S: Final = 5.0
TASKS_LIMITS: Final = Limits(concurrency=64, breaker_failures=None)
WAIT_SHARE: Final = 0.5
"""Of its time a call may wait for room, so that one that begins has the rest of it. Without that the head of a long
line is always a call about to run out of time, and a system that is merely slow seems to answer nothing in time."""
DELIVERED_MAX: Final = 20_000
WAITING_MAX: Final = 200_000
"""Calls accepted and not yet answered; beyond it a batch is refused and the host keeps it."""


@dataclass(slots=True)
class _UnderWay:
    """A call that was accepted and has no committed result; sent again, the newest form (with its deadline) counts."""

    call: Call
    begin_by: datetime
    """Later than this it is not made any more."""
    task: asyncio.Task[None] | None = None
    is_held: bool = False
    """It is on its way back to its plan, not made."""
    again: bool = False
    """The plan has sent it anew before the way back was over."""


@dataclass(slots=True)
class _System:
    """One fulfilment system of the environment. A new version has an adapter of its own and keeps the bulkhead."""

    adapter: Adapter
    bulkhead: Bulkhead
    version: str
    calls: int = 0
    """Under way through this adapter."""
    is_replaced: bool = False


class AdapterRuntime:
    """All systems of the environment; plain asyncio, wrapped by the Ray actor below."""

    def __init__(
        self,
        read_systems: ReadSystems,
        vault: OpeningPort,
        hosts: HostClient,
        *,
        callback_base: str,
        secret: bytes,
        boot_id: str,
        build: Callable[[str, dict[str, Any]], Adapter] = build_adapter,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        holds: HoldsPort | None = None,
    ) -> None:
        self._read_systems = read_systems
        self._vault = vault
        self._hosts = hosts
        self._callback_base = callback_base
        self._secret = secret
        self._build = build
        self._clock = clock
        self.boot_id = boot_id
        self._systems: dict[tuple[str, str], _System] = {}
        self._tasks = _System(TasksAdapter(), Bulkhead(TASKS_LIMITS), "")
        """Auto tasks of one's own, for all tenants."""
        self._under_way: dict[str, _UnderWay] = {}
        self._delivered: OrderedDict[tuple[str, datetime], None] = OrderedDict()
        """Sendings whose results hosts have committed, the last of them: a copy that comes late is not performed.

        A sending is a key and its deadline: an attempt that nobody heard of is sent again under its key, later.
        """
        self._closing: set[asyncio.Task[None]] = set()
        self._breakers = Breakers(holds, self._clock)
        self._held: Mapping[str, HeldSystems] = {}
        self.results = 0

    async def refresh(self) -> None:
        """Learn of systems that were added, changed, held or released; calls under way finish on the old settings.

        A system that cannot be built here (its plug-in is missing on this node) keeps its old form, or stays unknown;
        the others are not held up by it.
        """
        for row in await self._read_systems():
            key = (row["tenant"], row["code"])
            known = self._systems.get(key)
            if known is not None and known.version == row["updatedAt"]:
                continue
            config = dict(row["config"])
            if row["adapter"] == "http":
                # Fewer connections than slots would be a second, hidden bulkhead.
                config.setdefault("connections", row["concurrency"])
            try:
                adapter = self._build(row["adapter"], config)
            except BadDocument as error:
                log.error("a system cannot be built here", system=row["code"], path=error.path)
                continue
            limits = Limits.from_row(row)
            if known is None:
                self._systems[key] = _System(adapter, self._breakers.bulkhead(key, limits), row["updatedAt"])
            else:
                self._systems[key] = _System(adapter, known.bulkhead, row["updatedAt"])
                known.is_replaced = True
                self._close_if_idle(known)
                known.bulkhead.configure(limits)
        self._held = await self._breakers.refresh()
        for (tenant, code), system in self._systems.items():
            hold = self._hold_of(tenant, code)
            if hold is not None:
                system.bulkhead.turn_back(hold.cause, hold.reason)

    def _hold_of(self, tenant: str, code: str) -> Hold | None:
        held = self._held.get(tenant)
        return held.of_system(code) if held is not None else None

    def _close_if_idle(self, system: _System) -> None:
        """Close a replaced adapter once the calls under way on it are over."""
        if system.is_replaced and system.calls == 0:
            closing = asyncio.get_running_loop().create_task(system.adapter.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def poll(self) -> None:
        """Notice changes that this actor was not told of; runs for ever."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self.refresh()
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("the systems could not be read")

    def perform(self, calls: list[Call]) -> str:
        """Accept calls; returns the id of this life.

        Raises:
            Busy: too many calls are waiting; nothing of the batch was accepted.
        """
        if len(self._under_way) + len(calls) > WAITING_MAX:
            raise Busy("too many calls are waiting for fulfilment systems", retryAfterS=1)
        for call in calls:
            key = effect_key(call.order_id, call.item, call.attempt)
            if (key, call.deadline_at) in self._delivered:
                continue
            known = self._under_way.get(key)
            if known is not None:
                known.again = known.again or (known.is_held and call.deadline_at > known.call.deadline_at)
                if call.deadline_at != known.call.deadline_at:
                    known.begin_by = self._begin_by(call)
                known.call = call
                continue
            self._begin(key, call)
        return self.boot_id

    def _begin(self, key: str, call: Call) -> None:
        entry = self._under_way[key] = _UnderWay(call, self._begin_by(call))
        entry.task = asyncio.get_running_loop().create_task(self._one(key, entry))

    def _begin_by(self, call: Call) -> datetime:
        now = self._clock()
        return now + (call.deadline_at - now) * WAIT_SHARE

    async def _one(self, key: str, entry: _UnderWay) -> None:
        try:
            report = await self._perform_when_possible(key, entry)
        except HeldBack as held:
            entry.is_held = True
            report = held_report(entry.call, held)
        except Exception as error:
            # Whatever goes wrong on the way, the plan hears of it: a call without a result would wait for its deadline.
            log.exception("a call could not be made", system=entry.call.system)
            report = report_of(entry.call, Outcome.retryable(f"the call could not be made: {type(error).__name__}"))
        self._deliver(entry, key, report)

    async def _perform_when_possible(self, key: str, entry: _UnderWay) -> Report:
        """Perform the call; while the own database is away (systems, sealed values) it waits, as it does for room."""
        while True:
            try:
                return await self._perform(key, entry)
            except Exception as error:
                if not is_unavailable(error) or self._clock() >= entry.call.deadline_at:
                    raise
                log.warning("a call waits for the database", system=entry.call.system, error=type(error).__name__)
            await asyncio.sleep(DATABASE_RETRY_S)

    async def _perform(self, key: str, entry: _UnderWay) -> Report:
        """Make the call when its system has room for it.

        Raises:
            HeldBack: it was not made, or it was a try of a system that is away and has failed.
        """
        self._check_hold(entry.call)
        system = self._known(entry.call)
        if system is None:
            await self.refresh()
            system = self._known(entry.call)
            if system is None:
                return unknown_report(entry.call)
        # It outlives the versions of its system.
        bulkhead = system.bulkhead
        left_s = (entry.begin_by - self._clock()).total_seconds()
        ticket = bulkhead.enter_now() if left_s > 0 else None
        if ticket is None:
            ticket = await bulkhead.enter(left_s, entry.call.priority)
        try:
            # It may have been held, or changed, while the call waited.
            self._check_hold(entry.call)
            system = self._known(entry.call)
            assert system is not None, "systems are never taken away"
            report, has_worked = await self._call(system, key, entry.call)
        except (Exception, asyncio.CancelledError):
            bulkhead.leave(ticket, has_worked=None)
            raise
        # The code alone: it is told of other orders too, and a text may quote this one.
        error = f"the last call failed with {report.error_code or 'an error'}"
        was_try = bulkhead.leave(ticket, has_worked=has_worked, error=error)
        if was_try and has_worked is False:
            raise HeldBack(HoldCause.BREAKER, error)
        return report

    def _check_hold(self, call: Call) -> None:
        hold = self._hold_of(call.tenant, call.system)
        if hold is not None:
            raise HeldBack(hold.cause, hold.reason)

    def _known(self, call: Call) -> _System | None:
        """Who is called, as far as this actor has heard."""
        return self._tasks if call.system == TASKS_SYSTEM else self._systems.get((call.tenant, call.system))

    async def _call(self, system: _System, key: str, call: Call) -> tuple[Report, bool | None]:
        """The report, and whether the system works; None: the call says nothing about it."""
        secrets: set[str] = set()
        payload: Mapping[str, Any] = call.payload
        if needs_opening(payload):
            # Outside of what the adapter's contract covers: that our own database is away is no failure of the system.
            try:
                payload = await self._vault.open_all(call.tenant, call.order_id, dict(payload))
            except NotFound as error:
                return report_of(call, Outcome.failed(str(error), error.code)), None
            secrets = opened_secrets(call.payload, payload)
        remaining = (call.deadline_at - self._clock()).total_seconds()
        if remaining <= 0:
            raise HeldBack(HoldCause.BUSY, "it had no room for the call in time")
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
        system.calls += 1
        try:
            with TimeLimit(remaining):
                outcome = await system.adapter.perform(task)
            return report_of(call, outcome, secrets), outcome.kind != "retryable"
        except TimeoutError:
            return report_of(call, Outcome.retryable("no answer came in time", "timeout")), False
        except Unstorable as error:
            return report_of(call, Outcome.retryable(str(error), "badAnswer")), None
        except NotFound as error:
            return report_of(call, Outcome.failed(str(error), error.code)), None
        except Exception as error:
            # The contract: an adapter's exception counts as retryable and carries its text.
            log.warning("adapter raised", system=call.system, error=type(error).__name__)
            report = report_of(call, Outcome.retryable(f"{type(error).__name__}: {error}", "adapterRaised"), secrets)
            return report, False
        finally:
            system.calls -= 1
            self._close_if_idle(system)

    def _deliver(self, entry: _UnderWay, key: str, report: Report) -> None:
        """Keep the result until a host says that its commit is done."""
        call = entry.call
        shard = shard_of(call.order_id)
        envelope = ToPlan(call.order_id, report, f"adapter:{call.system}", key)

        def answered(answer: Any) -> None:
            if isinstance(answer, Busy):
                asyncio.get_running_loop().call_later(
                    BUSY_S, self._hosts.post, "receive_reports", shard, envelope, answered
                )
                return
            if isinstance(answer, OrderplanError):
                log.warning("a result was refused", order_id=call.order_id, code=answer.code)
            self.results += 1
            self._under_way.pop(key, None)
            self._delivered[key, call.deadline_at] = None
            if len(self._delivered) > DELIVERED_MAX:
                self._delivered.popitem(last=False)
            if entry.again:
                self._begin(key, entry.call)

        self._hosts.post("receive_reports", shard, envelope, answered)

    def stats(self) -> dict[str, Any]:
        """Calls under way, results delivered, and what goes on at each system."""
        systems = [
            {"tenant": tenant, "code": code, "held": self._hold_of(tenant, code) is not None}
            | system.bulkhead.stats()
            for (tenant, code), system in self._systems.items()
        ]
        counted = {"underWay": len(self._under_way), "results": self.results}
        return counted | {"boot": self.boot_id, "pid": os.getpid(), "systems": systems}


class AdapterActor:
    """Ray's shell around the adapter runtime."""

    def __init__(self, config: ClusterConfig) -> None:
        prepare_process(config.log_level)
        self._config = config
        self._runtime: AdapterRuntime | None = None
        self._polling: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._lines = LineServer({"perform": self.perform})
        self._line = ""

    async def _ready(self) -> AdapterRuntime:
        async with self._opening:
            if self._runtime is None:
                async with AsyncExitStack() as opened:
                    pool = await open_pool(self._config.dsn)
                    opened.callback(pool.terminate)
                    keys = await open_pool(self._config.key_dsn, size_max=2)
                    opened.callback(keys.terminate)
                    hosts = HostClient(Ownership(pool))
                    await hosts.open()
                    runtime = AdapterRuntime(
                        lambda: catalogue.list_systems(pool, None),
                        Vault(keys, pool, await open_wrapping(keys, self._config.key_provider)),
                        hosts,
                        callback_base=self._config.callback_base,
                        secret=await catalogue.callback_secret(pool),
                        boot_id=uuid.uuid4().hex,
                        holds=holds.Holds(pool),
                    )
                    await runtime.refresh()
                    self._runtime = runtime
                    # Everything stands: keep the pools.
                    opened.pop_all()
                self._polling = asyncio.get_running_loop().create_task(runtime.poll())
                self._line = await self._lines.open()
            return self._runtime

    async def perform(self, calls: list[Call]) -> str:
        """Accept a batch of calls; see `AdapterRuntime.perform`."""
        return (await self._ready()).perform(calls)

    async def line(self) -> str:
        """Where direct lines to this process begin; empty where there are none."""
        await self._ready()
        return self._line

    async def boot(self) -> str:
        """The id of this life."""
        return (await self._ready()).boot_id

    async def refresh(self) -> None:
        """Read the environment's systems again."""
        await (await self._ready()).refresh()

    async def stats(self) -> dict[str, Any]:
        """Counters for metrics."""
        return (await self._ready()).stats()
