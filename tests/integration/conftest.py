"""One embedded PostgreSQL for all integration tests that write to a journal; each test finds it empty."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from actors.logs import configure_logs
from persistence import catalogue
from persistence.database import Pool, migrate, open_pool
from persistence.embedded import EmbeddedPostgres
from tests.support.build import release_of
from tests.support.deliveries import RELEASE
from tests.support.folders import IN_MEMORY
from tests.support.hosts import Host
from tests.support.journals import AT, empty


class Databases(NamedTuple):
    """Addresses of the order database and the key store."""

    dsn: str
    key_dsn: str


@pytest.fixture(autouse=True, scope="session")
def _logs() -> None:
    """As in production: structlog's own tracebacks show local variables, and take seconds to draw."""
    configure_logs("warning")


@pytest.fixture(scope="session")
def server() -> Iterator[Databases]:
    path = Path(tempfile.mkdtemp(prefix="op-", dir=IN_MEMORY))
    path.chmod(0o711)
    postgres = EmbeddedPostgres(path / "pg")
    try:
        postgres.start()
        found = Databases(postgres.dsn("orderplan"), postgres.dsn("orderplan_keys"))
        asyncio.run(migrate(found.dsn, found.key_dsn, shards=8))
        yield found
    finally:
        postgres.stop()
        shutil.rmtree(path)


@pytest.fixture
async def databases(server: Databases) -> Databases:
    await empty(server.dsn, server.key_dsn)
    return server


@pytest.fixture
async def pool(databases: Databases) -> AsyncIterator[Pool]:
    made = await open_pool(databases.dsn)
    yield made
    made.terminate()


@pytest.fixture
async def keys(databases: Databases) -> AsyncIterator[Pool]:
    """The key store's."""
    made = await open_pool(databases.key_dsn, size_max=2)
    yield made
    made.terminate()


@pytest.fixture
async def hosts(databases, pool):
    """Starts hosts, and ends them."""
    await catalogue.publish_release(pool, "main", release_of(**RELEASE).release_id, RELEASE, AT)
    made: list[Host] = []

    async def start(name: str = "host-a", **options: Any) -> Host:
        made.append(await Host.start(databases, pool, name, **options))
        return made[-1]

    yield start
    for host in made:
        host.kill()
    await asyncio.gather(*(host.running for host in made), return_exceptions=True)


@pytest.fixture
async def host(hosts):
    return await hosts()
