"""What is asked of the embedded PostgreSQL over the network: whether it lives, and for its databases to be there."""

import enum
import socket
from pathlib import Path
from typing import Final

import asyncpg

from persistence.embedded_directory import ADMIN, Identity

HOST: Final = "127.0.0.1"
OWNER: Final = "orderplan"
# The second holds the keys of single orders, apart from what they seal.
DATABASES: Final = ("orderplan", "orderplan_keys")

# Below the range of ports the kernel gives to outgoing connections: a client that retries while the server is down
# could otherwise be connected to itself.
_PORTS: Final = range(15432, 15532)
_TIMEOUT_S: Final = 3.0


class Life(enum.Enum):
    """What an attempt to ask a server something tells about it."""

    ANSWERS = "answers"
    BUSY = "says that it is starting, recovering or stopping"
    SILENT = "silent, or somebody else"


def dsn(identity: Identity, database: str) -> str:
    """Return the address of a database for the role that owns the data, password included."""
    # The alphabet of the passwords is that of base64 in URLs: nothing to quote.
    return f"postgresql://{OWNER}:{identity.password}@{HOST}:{identity.port}/{database}"


async def _connect_as_admin(identity: Identity, port: int) -> asyncpg.Connection:
    return await asyncpg.connect(
        host=HOST,
        port=port,
        user=ADMIN,
        password=identity.admin_password,
        database="postgres",
        ssl=False,
        timeout=_TIMEOUT_S,
    )


async def ask(identity: Identity, port: int, cluster: Path) -> Life:
    """Ask whoever listens on the port for its data directory: only the server of `cluster` has the right answer.

    As the administrator, for whom the server keeps connections when all others are taken.
    """
    try:
        connection = await _connect_as_admin(identity, port)
    except asyncpg.CannotConnectNowError:
        return Life.BUSY
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        return Life.SILENT
    try:
        directory = await connection.fetchval("SELECT current_setting('data_directory')", timeout=_TIMEOUT_S)
        await connection.close(timeout=_TIMEOUT_S)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        connection.terminate()
        return Life.SILENT
    return Life.ANSWERS if Path(directory) == cluster else Life.SILENT


async def make_databases(identity: Identity) -> None:
    """Make the role that owns the data, without rights over the server, and its databases, where missing."""
    connection = await _connect_as_admin(identity, identity.port)
    try:
        if not await connection.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", OWNER):
            # These statements take no parameters.
            await connection.execute(f"CREATE ROLE {OWNER} LOGIN PASSWORD '{identity.password}'")
        for database in DATABASES:
            if not await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", database):
                await connection.execute(f"CREATE DATABASE {database} OWNER {OWNER}")
    finally:
        await connection.close()


def choose_port() -> int:
    """Return a port nobody listens on at this moment."""
    for port in _PORTS:
        if is_free(port):
            return port
    with socket.socket() as anything:
        anything.bind((HOST, 0))
        return int(anything.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a server could listen on the port at this moment."""
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
    return True
