"""One embedded PostgreSQL for all integration tests that write to a journal; each test finds it empty."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from actors.logs import configure_logs
from persistence.database import Pool, migrate, open_pool
from persistence.embedded import EmbeddedPostgres
from tests.support.journals import empty


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
    path = Path(tempfile.mkdtemp(prefix="op-"))
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
