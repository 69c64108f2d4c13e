"""Connections to the server that takes writes, whichever of those that the URL names that is just now.

asyncpg knows several servers in a URL too, but tries one after the other within one time-out, so that one that hangs
hides the next; it takes any that answers unless told otherwise; and of two that take writes it takes the first, which
after a failover may be an old primary that somebody has started again. Here all are asked at once, and the one with
the newest timeline (promoting a standby begins one) is taken. A process never goes back to an older one, and once it
has seen a newer one, what it has open to the older ones is ended: else it would write to one server and read from
another for as long as both live.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit
from weakref import WeakKeyDictionary

import asyncpg
import structlog
from asyncpg.connect_utils import SessionAttribute

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT_S: Final = 5.0
ROUND_S: Final = 0.25
"""How much longer than the first that takes writes the others may take to answer."""
FIRST_ROUND_S: Final = 2.0
"""The same, as long as this process has written to none of them: the first may be an old one, for all it knows."""

COMMAND_TIMEOUT_S: Final = 30.0

Connection: TypeAlias = "asyncpg.Connection[Any]"
PooledConnection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[Any]"
Pool: TypeAlias = "asyncpg.Pool[Any]"

_TIMELINE: Final = (
    "select s.system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint as timeline "
    "from pg_control_system() as s"
)
_newest: Final[dict[int, int]] = {}
"""The newest timeline of each database cluster that this process has written to."""


class _Opened(NamedTuple):
    """Where a connection leads, and the loop that it belongs to."""

    system: int
    timeline: int
    loop: asyncio.AbstractEventLoop


_opened: Final[WeakKeyDictionary[Connection, _Opened]] = WeakKeyDictionary()
"""Every connection of this process that somebody still has."""


class NoPrimary(ConnectionError):
    """No server that the URL names takes writes: standbys, or an old primary that a failover has left behind."""


class WaitCutShort(ConnectionError):
    """The server says that it is done, and that the synchronous standby may not have it: taken for not heard."""


class _Reached(NamedTuple):
    connection: Connection
    system: int
    timeline: int


def servers_of(dsn: str) -> list[str]:
    """The URL of each server that a URL names, before its path or as `host` behind it, in its order.

    Raises:
        ValueError: it names neither one port nor one for each host.
    """
    parts = urlsplit(dsn)
    who, at, hosts = parts.netloc.rpartition("@")
    if "," in hosts:
        return [urlunsplit(parts._replace(netloc=f"{who}{at}{host}")) for host in hosts.split(",")]
    if not hosts and "host" in dict(parse_qsl(parts.query)):
        return _listed_behind(parts) or [dsn]
    return [dsn]


def _listed_behind(parts: SplitResult) -> list[str]:
    """The URL of each server, if there are several in `?host=a,b&port=1,2`."""
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    hosts, ports = asked["host"].split(","), asked.get("port", "").split(",")
    if len(ports) not in (1, len(hosts)):
        raise ValueError(f"the database URL names {len(hosts)} hosts and {len(ports)} ports")
    if len(hosts) == 1:
        return []
    servers = []
    for host, port in zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=True):
        each = asked | {"host": host} | ({"port": port} if port else {})
        # Not by urlunsplit, which leaves out the two slashes where nothing follows them.
        servers.append(f"{parts.scheme}://{parts.netloc}{parts.path}?{urlencode(each, safe='/')}")
    return servers


async def connect(dsn: str, **options: Any) -> Connection:
    """A connection to the server that takes writes. Further options are those of `asyncpg.connect`.

    Raises:
        NoPrimary: there is none just now.
        OSError, asyncpg.PostgresError, ...: the only server, or the one that tells most, cannot be entered.
    """
    asked = [asyncio.create_task(_reach(each, options)) for each in servers_of(dsn)]
    taken: _Reached | None = None
    try:
        await _hear(asked)
        errors = [error for each in asked if each.done() and (error := each.exception()) is not None]
        reached = [each.result() for each in asked if each.done() and each.exception() is None]
        taken = max(reached, key=lambda each: each.timeline, default=None)
        if taken is None:
            # A server that says why tells more than one that is not there.
            raise next((error for error in errors if isinstance(error, asyncpg.PostgresError)), errors[0])
        if taken.timeline < _newest.get(taken.system, 0):
            left_behind, taken = taken, None
            log.warning("a server takes writes that a failover has left behind", timeline=left_behind.timeline)
            raise NoPrimary("only a server that a failover has left behind takes writes")
        _enter(taken)
        return taken.connection
    finally:
        for each in asked:
            _leave(each, taken)


def _enter(taken: _Reached) -> None:
    """Note where a connection leads; if the timeline is a new one, end what leads to an older one."""
    _newest[taken.system] = taken.timeline
    _opened[taken.connection] = _Opened(taken.system, taken.timeline, asyncio.get_running_loop())
    left_behind = [
        (connection, each.loop)
        for connection, each in list(_opened.items())
        if each.system == taken.system and each.timeline < taken.timeline and not connection.is_closed()
    ]
    for connection, loop in left_behind:
        if loop is asyncio.get_running_loop():
            connection.terminate()
        elif not loop.is_closed():
            # Of another thread.
            loop.call_soon_threadsafe(connection.terminate)
    if left_behind:
        log.warning("connections to a server that a failover has left behind are ended", connections=len(left_behind))


@asynccontextmanager
async def bounded_read(pool: Pool, seconds: float, **options: Any) -> AsyncIterator[Any]:
    """A connection to read with in one transaction, all of which ends after so long, the wait for the connection and
    each statement too: few connections are shared by all that a process reads.

    Args:
        pool: of the order database.
        seconds: for everything together.
        options: of the transaction.

    Raises:
        TimeoutError, QueryCanceledError: it took longer.
    """
    async with (
        asyncio.timeout(seconds),
        pool.acquire() as connection,
        connection.transaction(readonly=True, **options),
    ):
        await connection.execute(f"set local statement_timeout = {seconds * 1000:.0f}")
        yield connection


async def open_pool(
    dsn: str, *, size_min: int = 1, size_max: int = 5, settings: Mapping[str, str] | None = None
) -> Pool:
    """A small pool with bounded waits, of connections to the server that takes writes; `size_min` of them at once, each
    with these settings.
    """
    maker: Any = connect  # its options are asyncpg's; the pool gives some of them by name
    made: Pool = await asyncpg.create_pool(
        dsn,
        connect=maker,
        min_size=size_min,
        max_size=size_max,
        command_timeout=COMMAND_TIMEOUT_S,
        reset=_as_it_is,
        server_settings=dict(settings) if settings else None,
    )
    return made


async def _as_it_is(_connection: Connection) -> None:
    """Nobody here changes the session of a connection that he has for a while (settings and locks are those of a
    transaction), so nothing is to be set back: that would double the ways to the server. A transaction that was left
    open asyncpg ends all the same.
    """


@asynccontextmanager
async def certain(pool: Pool) -> AsyncIterator[PooledConnection]:
    """A connection for what must outlive its server once it is told as done.

    When the wait for the synchronous standby is cut short (somebody cancels it), PostgreSQL answers that a commit is
    done, with a warning. What repeats the statement has to write something again: a commit that writes nothing waits
    for nobody.

    Raises:
        WaitCutShort: the standby may not have it.
    """
    warned: list[str] = []

    def note(_connection: object, message: asyncpg.PostgresLogMessage) -> None:
        if message.severity_en == "WARNING":
            warned.append(message.sqlstate)

    async with pool.acquire() as connection:
        connection.add_log_listener(note)
        try:
            yield connection
        finally:
            # A connection that is lost has left the pool, and its listeners with it.
            with suppress(asyncpg.InterfaceError):
                connection.remove_log_listener(note)
    if warned:
        raise WaitCutShort("it may not be on the standby: the wait for it was cut short")


async def _hear(asked: list[asyncio.Task[_Reached]]) -> None:
    """Wait until all have answered, or one has that takes writes and the others had time to."""
    waiting = set(asked)
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if waiting and any(each.exception() is None for each in done):
            is_known = any(each.exception() is None and each.result().system in _newest for each in done)
            await asyncio.wait(waiting, timeout=ROUND_S if is_known else FIRST_ROUND_S)
            return


def _leave(each: asyncio.Task[_Reached], taken: _Reached | None) -> None:
    if not each.done():
        each.cancel()
    elif not each.cancelled() and each.exception() is None and each.result() is not taken:
        each.result().connection.terminate()


async def _reach(dsn: str, options: dict[str, Any]) -> _Reached:
    """Enter one server, if it takes writes."""
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        try:
            connection = await asyncpg.connect(dsn, target_session_attrs=SessionAttribute.read_write, **options)
        except asyncpg.TargetServerAttributeNotMatched as error:
            raise NoPrimary("the server is a standby, or takes no writes") from error
        try:
            return _Reached(connection, *await _standing(connection))
        except BaseException:
            connection.terminate()
            raise


async def _standing(connection: Connection) -> tuple[int, int]:
    """(which database cluster it is, its timeline); zeros where a server does not tell."""
    try:
        row = await connection.fetchrow(_TIMELINE)
    except (asyncpg.FeatureNotSupportedError, asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedFunctionError):
        # A service that speaks PostgreSQL and keeps its log to itself does its failover itself, too.
        return 0, 0
    assert row is not None
    return row["system_identifier"], row["timeline"]
