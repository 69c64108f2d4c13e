"""Whether a server keeps what it has acknowledged: when it crashes alone, and when it is lost and a standby promoted.

The first must hold, or `up` refuses. The second depends on how the operator replicates: PostgreSQL waits for a standby
only where `synchronous_standby_names` asks for it, so without that the last orders before a failover can be lost, and
everybody who looks is told so.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from domain.errors import OrderplanError
from persistence.servers import Connection, connect, servers_of

_CRASH_SETTINGS: Final = ("fsync", "full_page_writes", "synchronous_commit")
_SYNCHRONOUS: Final = ("on", "remote_apply")
_SETTINGS: Final = (*_CRASH_SETTINGS, "synchronous_standby_names")


class DurabilityOff(OrderplanError):
    """A setting of the server lets it lose acknowledged orders, and nobody has said that this is accepted."""

    status = 503
    code = "durabilityOff"


class Durability(NamedTuple):
    """How a server is set, as a new session of ours sees it (the database's and the role's own settings included).

    `standbys` has the `sync_state` of each standby that is connected, None where our role may not see it. `servers` is
    how many servers the URL names.
    """

    settings: dict[str, str]
    standbys: tuple[str | None, ...] = ()
    servers: int = 1


class Weakness(NamedTuple):
    """Why acknowledged orders could be lost, or nothing be acknowledged.

    `code`: `crashLoses` (a crash of the server alone), `failoverLoses` (promoting a standby), `standbyMissing` (no
    commit ends, because the standby that commits wait for is not there).
    """

    code: str
    setting: str
    reason: str
    mend: str


async def read_durability(connection: Connection, servers: int = 1) -> Durability:
    """How the server of a connection is set just now."""
    rows = await connection.fetch("select name, setting from pg_settings where name = any($1)", list(_SETTINGS))
    # A base backup under way is a row too, and no standby.
    standbys = await connection.fetch(
        "select sync_state from pg_stat_replication where state is distinct from 'backup'"
    )
    return Durability(
        {row["name"]: row["setting"] for row in rows}, tuple(row["sync_state"] for row in standbys), servers
    )


async def look(dsn: str) -> list[Weakness]:
    """What is weak at the server that takes writes, seen by a new session."""
    connection = await connect(dsn, command_timeout=5.0)
    try:
        return weaknesses(await read_durability(connection, len(servers_of(dsn))))
    finally:
        connection.terminate()


def weaknesses(found: Durability, *, needs_standby: bool = False) -> list[Weakness]:
    """Everything that is weak; `needs_standby` counts it as weak, too, that there is no standby at all."""
    settings = found.settings
    weak = [
        Weakness(
            "crashLoses",
            name,
            f"{name} is off: a crash of the server can lose acknowledged orders",
            f"set {name} to on, for the server, the database, the role and in the URL",
        )
        for name in _CRASH_SETTINGS
        if settings.get(name) == "off"
    ]
    names, commits = settings.get("synchronous_standby_names", ""), settings.get("synchronous_commit", "on")
    if not names:
        if found.standbys or found.servers > 1 or needs_standby:
            weak.append(
                Weakness(
                    "failoverLoses",
                    "synchronous_standby_names",
                    "replication is asynchronous: failing over to a standby can lose acknowledged orders",
                    "name the standby in synchronous_standby_names, and promote no other",
                )
            )
    elif commits not in _SYNCHRONOUS:
        weak.append(
            Weakness(
                "failoverLoses",
                "synchronous_commit",
                f"synchronous_commit is {commits}, so that a commit does not wait until the standby has stored it: "
                "failing over to it can lose acknowledged orders",
                "set synchronous_commit to on",
            )
        )
    elif all(state in ("async", "potential") for state in found.standbys):
        weak.append(
            Weakness(
                "standbyMissing",
                "synchronous_standby_names",
                f"no standby of synchronous_standby_names ({names}) is connected and up to date: nothing can be "
                "acknowledged",
                "start the standby, or (giving up that a failover loses nothing) empty synchronous_standby_names",
            )
        )
    return weak


async def require_durability(dsn: str, *, accepts_loss: bool = False, needs_standby: bool = False) -> list[Weakness]:
    """Refuse a server that would lose orders; returns what is weak and let pass.

    Args:
        dsn: of one of our databases.
        accepts_loss: the user said that a crash may lose orders.
        needs_standby: the user said that a failover must lose none.
    Raises:
        DurabilityOff: naming the setting and the mend.
    """
    connection = await connect(dsn, command_timeout=5.0)
    try:
        found = await read_durability(connection, len(servers_of(dsn)))
    finally:
        connection.terminate()
    weak = weaknesses(found, needs_standby=needs_standby)
    for each in weak:
        if each.code == "crashLoses" and not accepts_loss:
            raise _refused(each, "or accept the loss with --accept-data-loss")
        if each.code == "standbyMissing" or (needs_standby and each.code == "failoverLoses"):
            # Without the standby not even the start could commit what it has to.
            raise _refused(each)
    return weak


def _refused(weakness: Weakness, otherwise: str = "") -> DurabilityOff:
    mend = f"{weakness.mend}; {otherwise}" if otherwise else weakness.mend
    return DurabilityOff(weakness.reason, path=weakness.setting, mend=mend)
