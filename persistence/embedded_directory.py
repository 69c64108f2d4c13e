"""The data directory of the embedded PostgreSQL: what lies in it, who owns it, and what is kept between starts.

    server.json     port and passwords, 0600
    owner.lock      locked by the process that owns the directory; the kernel drops the lock with its holder
    postgres.log    what the server said; at most two files of bounded size
    cluster/        the database cluster; belongs to the user the server runs as, all else to whoever started it
    programs-*/     a copy of PostgreSQL where the packaged one is out of that user's reach

When root started it, root never writes into the cluster through a name that the cluster's owner could have redirected.
"""

import fcntl
import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Final

from persistence.embedded_errors import DataDirectoryInUse, EmbeddedPostgresError, ServerFailedToStart
from persistence.embedded_programs import MAJOR_VERSION, ServerUser, run_program

ADMIN: Final = "orderplan_admin"

# Written into postgresql.conf once, when the cluster is made: an operator may change them there.
_TUNING: Final = {
    "max_connections": "100",
    "shared_buffers": "256MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "wal_buffers": "16MB",
    "min_wal_size": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_LOG_BYTES_MAX: Final = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Identity:
    """What a data directory keeps about its server."""

    port: int
    password: str = field(repr=False)
    admin_password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LockFile:
    """What PostgreSQL's own lock file says about the server that wrote it, which may be long gone."""

    pid: int
    port: int


class DataDirectory:
    """One directory and its files; every operation is one step, and a step cut short is repeated whole."""

    def __init__(self, path: Path) -> None:
        """Name the directory; nothing is touched before `make`."""
        self.path = path.expanduser().resolve()
        self.cluster = self.path / "cluster"
        self.log = self.path / "postgres.log"
        self._server_file = self.path / "server.json"
        self._lock_file = self.cluster / "postmaster.pid"
        self._owner_lock: IO[str] | None = None

    def make(self) -> None:
        """Make the directory; for root, let the server's user pass through to its cluster, and read nothing."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.geteuid() == 0:
                self.path.chmod(self.path.stat().st_mode & 0o7777 | 0o011)
        except PermissionError as error:
            raise EmbeddedPostgresError(f"the data directory {self.path} cannot be made: {error.strerror}") from error

    # Ownership.

    @property
    def is_owned(self) -> bool:
        """Whether this object holds the directory."""
        return self._owner_lock is not None

    def take(self) -> None:
        """Become the directory's owner, or raise `DataDirectoryInUse`."""
        if self.is_owned:
            raise DataDirectoryInUse(self.path, "the server that this process has started there")
        lock = _open_private(self.path / "owner.lock", "a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            raise DataDirectoryInUse(self.path, f"process {holder}" if holder else "another process") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._owner_lock = lock

    def give_back(self) -> None:
        """Stop being the owner."""
        lock, self._owner_lock = self._owner_lock, None
        if lock is not None:
            lock.close()

    # Port and passwords.

    def read_identity(self) -> Identity | None:
        """Return what was kept, or None before the first start."""
        try:
            return Identity(**json.loads(self._server_file.read_text(encoding="ascii")))
        except FileNotFoundError:
            return None

    def make_identity(self, port: int) -> Identity:
        """Make passwords for a new cluster and keep them, before the cluster needs them."""
        if self.cluster.exists():
            raise EmbeddedPostgresError(
                f"{self.path} holds a cluster but no {self._server_file.name}: its passwords are lost",
                mend="restore that file from a backup",
            )
        identity = Identity(port, secrets.token_urlsafe(24), secrets.token_urlsafe(24))
        self.keep_identity(identity)
        return identity

    def keep_identity(self, identity: Identity) -> None:
        """Write it for the next start, whole or not at all."""
        unfinished = self._server_file.with_suffix(".unfinished")
        with _open_private(unfinished, "w") as file:
            json.dump(asdict(identity), file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._server_file)
        self._sync()

    # The cluster.

    def make_cluster(self, user: ServerUser, binaries: Path, identity: Identity) -> None:
        """Run initdb beside the final place, so that a cluster is either whole or not there.

        Raises:
            ServerFailedToStart: in initdb's words.
        """
        unfinished = self.path / "cluster.unfinished"
        password_file = self.path / "password.once"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        password_file.unlink(missing_ok=True)
        unfinished.mkdir(mode=0o700)
        with _open_private(password_file, "x") as file:
            file.write(identity.admin_password)
        if os.geteuid() == 0:
            for path in (unfinished, password_file):
                os.chown(path, user.uid, user.gid)
        command = [
            str(binaries / "bin" / "initdb"),
            f"--pgdata={unfinished}",
            f"--username={ADMIN}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            # The server's own rules of sorting and case: the same on every machine, whatever its C library.
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--data-checksums",
            *(f"--set={name}={value}" for name, value in _TUNING.items()),
        ]
        try:
            status, said = run_program(user, self.path, command)
        finally:
            password_file.unlink()
        if status != 0:
            raise ServerFailedToStart("making the database cluster", said)
        unfinished.rename(self.cluster)
        self._sync()

    def check_version(self) -> None:
        """Refuse a cluster that another major version of PostgreSQL has made."""
        version = (self.cluster / "PG_VERSION").read_text(encoding="ascii").strip()
        if version != MAJOR_VERSION:
            raise EmbeddedPostgresError(
                f"{self.cluster} was made by PostgreSQL {version}, and this release brings {MAJOR_VERSION}",
                mend="move the data with pg_dump, using the release of orderplan that made it",
            )

    # PostgreSQL's own lock file.

    def read_lock_file(self) -> LockFile | None:
        """Return what it says, if it is there and whole."""
        try:
            lines = self._lock_file.read_text(encoding="utf-8", errors="replace").splitlines()
            return LockFile(pid=int(lines[0]), port=int(lines[3]))
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def is_server(self, pid: int) -> bool:
        """Whether the process is a server of this cluster: each of them stands in the cluster's directory."""
        try:
            return Path(f"/proc/{pid}/cwd").readlink() == self.cluster
        except FileNotFoundError:
            # No such process, or one that has ended and that nobody has waited for. Or no /proc: then its id must do.
            return not Path("/proc/self").exists() and _is_process(pid)
        except PermissionError:
            return False

    def disown_lock_file(self) -> None:
        """Let a stale lock file name us, the new server's parent, if its process id now belongs to somebody else.

        PostgreSQL takes any living process for the old server, except its own parent. It still checks the rest of the
        file, which names the shared memory that workers left behind by a killed server would hold.
        """
        found = self.read_lock_file()
        if found is None or found.pid == os.getpid() or not _is_process(found.pid):
            return
        with _open_private(self._lock_file, "r+") as file:
            _, *rest = file.read().splitlines(keepends=True)
            file.seek(0)
            file.writelines([f"{os.getpid()}\n", *rest])
            file.truncate()

    # The log.

    def open_log(self) -> IO[bytes]:
        """Open the log for a server to append to; it stands at the end of what was said before."""
        self.bound_log()
        return open(self.log, "ab", opener=_private)

    def read_log(self, since: int) -> str:
        """Return what was said after the first `since` bytes, as far as an error message can hold it."""
        with open(self.log, "rb") as log:
            log.seek(since)
            return log.read(16_384).decode(errors="replace")

    def bound_log(self) -> None:
        """Move a log that has grown long aside; a server goes on appending to the emptied one."""
        if not self.log.exists() or self.log.stat().st_size <= _LOG_BYTES_MAX:
            return
        with open(self.log, "rb") as log, open(self.log.with_suffix(".log.1"), "wb", opener=_private) as previous:
            shutil.copyfileobj(log, previous)
        os.truncate(self.log, 0)

    def _sync(self) -> None:
        directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _open_private(path: Path, mode: str) -> IO[str]:
    return open(path, mode, opener=_private, encoding="utf-8")


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
