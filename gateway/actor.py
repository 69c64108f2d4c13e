"""The gateway as a Ray actor: Ray starts it again when it dies, and it holds no state between requests."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
from contextlib import AsyncExitStack
from typing import Any, Final

import structlog
from aiohttp import web

from actors.config import ADAPTERS, DIRECTOR, NOTIFIER, PEOPLE, PREDICTOR, ClusterConfig
from actors.folding import PlanFolder
from actors.process import prepare_process
from actors.remote import handle_of, is_remote_failure
from actors.routing import HostClient
from domain.errors import Busy, OrderplanError
from gateway.app import make_app
from gateway.context import Context
from gateway.durability import DurabilityWatch
from gateway.ingest import submit_lines
from gateway.metrics import Metrics
from gateway.stream import FANOUT
from persistence import catalogue
from persistence.database import Pool, is_unavailable, open_pool
from persistence.incarnations import Ownership
from persistence.readstore import ReadStore

log = structlog.get_logger(__name__)

STATS_TIMEOUT_S: Final = 2.0
BROADCAST_TIMEOUT_S: Final = 10.0
SHUTDOWN_S: Final = 10.0
SERVE_RETRY_S: Final = 0.5
SERVE_ATTEMPTS_MAX: Final = 600
"""Five minutes; then the process ends and Ray starts another one."""


class AddressNotAllowed(OrderplanError):
    """Until access is configured the gateway listens on loopback only."""

    code = "addressNotAllowed"


class Gateway:
    """Ray's shell: builds the context, serves the application."""

    def __init__(self, config: ClusterConfig) -> None:
        if not _is_loopback(config.host):
            raise AddressNotAllowed(
                f"the gateway does not listen on {config.host}: access is not configured", mend="listen on 127.0.0.1"
            )
        prepare_process(config.log_level)
        self._config = config
        self._runner: web.AppRunner | None = None
        self._context: Context | None = None
        self._metrics = Metrics()
        self._durability = DurabilityWatch({"orders": config.dsn, "keys": config.key_dsn}, self._metrics)
        # Ray starts a dead actor again by its constructor alone, so serving begins here.
        self._serving = asyncio.get_running_loop().create_task(self._serve())
        self._watching = asyncio.get_running_loop().create_task(self._durability.run())

    async def start(self) -> str:
        """Wait until the gateway serves; returns its URL."""
        await self._serving
        return f"http://{self._config.host}:{self._config.port}"

    async def _serve(self) -> None:
        """Serve as soon as it is possible: Ray may start this actor while the database is away or the port still
        taken.
        """
        attempt = 0
        while True:
            try:
                await self._open()
                return
            except Exception as error:
                if not (is_unavailable(error) or isinstance(error, OSError)) or attempt == SERVE_ATTEMPTS_MAX:
                    log.exception("the gateway cannot serve, ending")
                    os._exit(1)
                log.warning("the gateway cannot serve yet", attempt=attempt, error=type(error).__name__)
            attempt += 1
            await asyncio.sleep(SERVE_RETRY_S)

    async def _open(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        async with AsyncExitStack() as opened:
            pool = await open_pool(self._config.dsn, size_max=10)
            opened.callback(pool.terminate)
            await self._open_on(pool)
            # Everything stands: keep the pool.
            opened.pop_all()

    async def _open_on(self, pool: Pool) -> None:
        config = self._config
        store = ReadStore(pool)
        hosts = HostClient(Ownership(pool))
        await hosts.open()
        self._context = Context(
            config=config,
            pool=pool,
            store=store,
            hosts=hosts,
            folder=PlanFolder(store),
            people=lambda: handle_of(PEOPLE),
            director=lambda: handle_of(DIRECTOR),
            predictor=lambda: handle_of(PREDICTOR),
            broadcast=self._broadcast,
            stats=self._stats,
            weaknesses=self._durability.shown,
            metrics=self._metrics,
            secret=await catalogue.callback_secret(pool),
        )
        self._runner = web.AppRunner(make_app(self._context), access_log=None, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, config.host, config.port, backlog=1024)
        await site.start()
        log.info("gateway serves", host=config.host, port=config.port)

    async def submit_lines(self, tenant: str, campaign: str, lines: list[tuple[int, bytes]]) -> Any:
        """See `gateway.ingest.submit_lines`; a refusal of them all comes back as the error itself."""
        if self._context is None or self._context.is_draining:
            return Busy("the gateway starts, or stops", retryAfterS=1)
        return await submit_lines(self._context, tenant, campaign, lines)

    async def drain(self) -> None:
        """Refuse whatever is new and would change something, and wait for what was taken in to be answered."""
        if self._context is None:
            return
        self._context.is_draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SHUTDOWN_S):
                await self._context.hosts.answered()

    async def stop(self) -> None:
        """Finish open requests and stop listening."""
        self._watching.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _broadcast(self, what: str) -> None:
        """Tell the actors that something was changed; each of them also finds out by itself, a little later."""
        assert self._context is not None
        hosts = list((await self._hosts()).values())
        if what == "releases":
            told = [(host, "refresh_releases") for host in hosts]
        else:
            # The adapters first: what leaves is what counts.
            adapters = handle_of(ADAPTERS)
            told = [(adapters, "refresh")] if adapters is not None else []
            told += [(host, "refresh_holds") for host in hosts]
        for handle, method in told:
            try:
                async with asyncio.timeout(BROADCAST_TIMEOUT_S):
                    await getattr(handle, method).remote()
            except Exception as error:
                if not (is_remote_failure(error) or isinstance(error, TimeoutError)):
                    raise
                log.warning("an actor was not told of a change", what=what, error=str(error))

    async def _hosts(self) -> dict[str, Any]:
        """Every living host by its name, by the database: the routing table here may be old while nobody asks."""
        assert self._context is not None
        names = [f"host-{each.incarnation_id}" for each in await Ownership(self._context.pool).living()]
        return {name: handle for name in names if (handle := handle_of(name)) is not None}

    def _stream_clients(self) -> int:
        return len(self._runner.app[FANOUT]) if self._runner is not None else 0

    async def _stats(self) -> dict[str, Any]:
        """Counters of every actor that answers in time."""
        assert self._context is not None
        handles = await self._hosts()
        for name in (DIRECTOR, ADAPTERS, PEOPLE, PREDICTOR, NOTIFIER):
            handle = handle_of(name)
            if handle is not None:
                handles[name] = handle
        found: dict[str, Any] = {"gateway": {"pid": os.getpid(), "streamClients": self._stream_clients()}}
        for name, handle in handles.items():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STATS_TIMEOUT_S):
                    try:
                        found[name] = await handle.stats.remote()
                    except Exception as error:
                        if not is_remote_failure(error):
                            raise
        return found


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
