"""Two PostgreSQL servers, the second a standby of the first, and a failover from one to the other."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import asyncpg

from persistence.embedded import EmbeddedPostgres
from persistence.embedded_connection import HOST, is_free
from persistence.embedded_directory import ADMIN, DataDirectory, Identity
from persistence.embedded_programs import choose_user, packaged_binaries, run_program, usable_binaries
from tests.support.folders import IN_MEMORY
from tests.support.until import until

STANDBY: Final = "standby_b"
_PORTS: Final = range(15532, 15632)


class Pair:
    """A primary and its standby. `dsn` names both, the primary first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.primary = EmbeddedPostgres(folder / "a")
        self.standby = EmbeddedPostgres(folder / "b")

    def dsn(self, database: str = "orderplan") -> str:
        """The URL that names both servers; it also tells drivers that read only that much what is wanted."""
        first = self.primary.dsn().rpartition("/")[0]
        return f"{first},{HOST}:{self._identity('b').port}/{database}?target_session_attrs=read-write"

    def start(self) -> None:
        """Start the primary, copy it, start the copy as its standby; replication is asynchronous so far."""
        self.primary.start()
        identity = self._identity("a")
        port = next(port for port in _PORTS if is_free(port))
        path = DataDirectory(self.folder / "b")
        path.make()
        path.keep_identity(replace(identity, port=port))
        user = choose_user(self.folder / "a" / "cluster")
        binaries = usable_binaries(packaged_binaries(), path.path, user)
        # Made where its user may write, and put into its place when it is whole.
        made = path.path / "made"
        made.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(made, user.uid, user.gid)
        source = (
            f"host={HOST} port={identity.port} user={ADMIN} password={identity.admin_password} "
            f"application_name={STANDBY}"
        )
        command = [str(binaries / "bin" / "pg_basebackup"), "-D", str(made), "-R", "-c", "fast", "-d", source]
        status, said = run_program(user, path.path, command)
        assert status == 0, said
        made.rename(path.cluster)
        self.standby.start()

    async def replicate_synchronously(self) -> None:
        """From now on the primary acknowledges no commit that the standby has not stored."""
        await self.as_admin("a", f"alter system set synchronous_standby_names = '{STANDBY}'", "select pg_reload_conf()")

        async def is_synchronous() -> bool:
            rows = await self.as_admin("a", "select sync_state from pg_stat_replication")
            return [row["sync_state"] for row in rows] == ["sync"]

        await until(is_synchronous, 20)

    def kill_primary(self) -> None:
        """Lose the primary with all its processes at once: left to themselves, those of connections would serve on
        for a moment.
        """
        pid = self.primary.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)  # so that it starts no other meanwhile
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)

    async def promote(self) -> None:
        """Make the standby the primary, as a failover manager does."""
        [row] = await self.as_admin("b", "select pg_promote(true, 30) as is_promoted")
        assert row["is_promoted"]

    async def as_admin(self, which: str, *statements: str) -> list[asyncpg.Record]:
        """Run statements on one server (`a` or `b`) as its administrator; returns the rows of the last."""
        identity = self._identity(which)
        connection = await asyncpg.connect(
            host=HOST, port=identity.port, user=ADMIN, password=identity.admin_password, database="postgres", ssl=False
        )
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return list(await connection.fetch(statements[-1]))
        finally:
            await connection.close()

    def stop(self) -> None:
        """End both."""
        self.standby.stop()
        self.primary.stop()

    def _identity(self, which: str) -> Identity:
        found: dict[str, Any] = json.loads((self.folder / which / "server.json").read_text())
        return Identity(**found)


@asynccontextmanager
async def running_pair() -> AsyncIterator[Pair]:
    """Two servers for as long as the test lasts."""
    folder = Path(tempfile.mkdtemp(prefix="op-", dir=IN_MEMORY))
    folder.chmod(0o711)
    pair = Pair(folder)
    try:
        pair.start()
        yield pair
    finally:
        pair.stop()
        shutil.rmtree(folder)
