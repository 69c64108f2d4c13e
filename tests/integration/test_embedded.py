"""The embedded PostgreSQL keeps its data and its manners through stops, kills, strangers and closed folders."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from persistence.embedded import (
    DATABASES,
    DataDirectoryInUse,
    DataDirectoryUnreachable,
    EmbeddedPostgres,
    EmbeddedPostgresError,
    PortTaken,
)
from persistence.embedded_connection import HOST, choose_port
from persistence.embedded_directory import DataDirectory
from persistence.embedded_programs import choose_user, launch_program, packaged_binaries
from tests.support.folders import IN_MEMORY

ROOT: Final = Path(__file__).parents[2]
BOUND_S: Final = 60.0

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads /proc")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's user can pass, as /var/lib is; pytest's own are closed to everybody else."""
    path = Path(tempfile.mkdtemp(prefix="op-", dir=IN_MEMORY))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def make(folder: Path) -> Iterator[Callable[..., EmbeddedPostgres]]:
    """Make servers on one data directory, and stop whatever still runs in the end."""
    made = []

    def make_one(data_dir: Path = folder / "pg", **options: Any) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(data_dir, **options))
        return made[-1]

    yield make_one
    for postgres in made:
        postgres.stop()


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddedPostgres]:
    """One server for the tests that only ask."""
    path = Path(tempfile.mkdtemp(prefix="op-", dir=IN_MEMORY))
    path.chmod(0o711)
    postgres = EmbeddedPostgres(path / "pg")
    try:
        postgres.start()
        yield postgres
    finally:
        postgres.stop()
        shutil.rmtree(path)


async def ask(dsn: str, sql: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def keep_an_order(dsn: str) -> None:
    await ask(dsn, "CREATE TABLE kept AS SELECT 'order-1' AS order_id")


async def kept_order(dsn: str) -> Any:
    return await ask(dsn, "SELECT order_id FROM kept")


def until(is_so: Callable[[], bool]) -> None:
    """Wait for a condition that something already under way brings about."""
    bound = time.monotonic() + BOUND_S
    while not is_so():
        assert time.monotonic() < bound
        time.sleep(0.01)


def server_pid(postgres: EmbeddedPostgres) -> int:
    assert postgres.pid is not None
    return postgres.pid


class TestARunningServer:
    async def test_answers_in_both_databases(self, running):
        for database in DATABASES:
            assert await ask(running.dsn(database), "SELECT current_database()") == database

    @needs_root
    @needs_proc
    async def test_does_not_run_as_root(self, running):
        assert Path(f"/proc/{server_pid(running)}").stat().st_uid != 0

    async def test_gives_its_clients_no_rights_over_itself(self, running):
        assert await ask(running.dsn(), "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False

    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("fsync", "on"),
            ("synchronous_commit", "on"),
            ("full_page_writes", "on"),
            ("data_checksums", "on"),
            ("listen_addresses", HOST),
            ("max_connections", "100"),
            ("shared_buffers", "256MB"),
            ("password_encryption", "scram-sha-256"),
            ("server_encoding", "UTF8"),
            ("TimeZone", "UTC"),
        ],
    )
    async def test_is_set_up_as_said(self, running, setting, value):
        assert await ask(running.dsn(), f"SHOW {setting}") == value

    async def test_refuses_a_wrong_password(self, running):
        scheme, _, address = running.dsn().rpartition("@")
        assert scheme.startswith("postgresql://orderplan:")

        with pytest.raises(asyncpg.InvalidPasswordError):
            await ask(f"postgresql://orderplan:guess@{address}", "SELECT 1")

    def test_keeps_its_passwords_and_log_to_its_owner(self, running):
        directory = DataDirectory(running._directory.path)

        for name in ("server.json", "postgres.log", "owner.lock"):
            assert stat.S_IMODE((directory.path / name).stat().st_mode) == 0o600
        assert stat.S_IMODE(directory.cluster.stat().st_mode) == 0o700
        assert not (directory.path / "password.once").exists()

    @pytest.mark.parametrize("statement", ["SELECT '{}'::integer", "SELECT 1 FROM \"{}\"", "DO '{}'"])
    async def test_writes_no_value_of_a_failed_statement_into_its_log(self, running, statement):
        with pytest.raises(asyncpg.PostgresError, match="hunter2"):
            await ask(running.dsn(), statement.format("hunter2"))

        assert "hunter2" not in running._directory.log.read_text()

    def test_is_left_alone_by_ensure(self, running):
        before = server_pid(running)

        assert running.ensure() is False
        assert running.pid == before

    def test_is_seen_by_others_and_owned_by_one(self, running):
        other = EmbeddedPostgres(running._directory.path)

        assert other.is_running()
        assert other.dsn() == running.dsn()
        with pytest.raises(DataDirectoryInUse, match=str(os.getpid())):
            other.start()
        with pytest.raises(DataDirectoryInUse):
            running.start()
        other.stop()
        assert running.is_running()


class TestStartAndStop:
    async def test_the_data_and_the_address_survive(self, make):
        first = make()
        dsn = first.start()
        await keep_an_order(dsn)
        first.stop()
        assert not first.is_running()

        assert make().start() == dsn
        assert await kept_order(dsn) == "order-1"

    def test_stopping_what_never_started_changes_nothing(self, make, folder):
        make().stop()

        assert list(folder.iterdir()) == []

    def test_nothing_is_supervised_before_start_or_after_stop(self, make):
        postgres = make()
        with pytest.raises(EmbeddedPostgresError, match="not started"):
            postgres.ensure()
        postgres.start()
        postgres.stop()
        with pytest.raises(EmbeddedPostgresError, match="not started"):
            postgres.ensure()

        assert postgres.pid is None

    @needs_proc
    async def test_the_server_outlives_the_thread_that_asked_for_it(self, make):
        postgres = make()
        thread = threading.Thread(target=postgres.start)
        thread.start()
        task = Path(f"/proc/self/task/{thread.native_id}")
        thread.join()
        until(lambda: not task.exists())

        assert await ask(postgres.dsn(), "SELECT 1") == 1
        assert postgres.ensure() is False

    def test_a_cluster_left_half_made_is_made_again(self, make, folder):
        leftover = folder / "pg" / "cluster.unfinished"
        leftover.mkdir(parents=True)
        (leftover / "PG_VERSION").write_text("18\n")

        make().start()

        assert not leftover.exists()

    def test_a_cluster_of_another_version_is_refused(self, make, folder):
        first = make()
        first.start()
        first.stop()
        (folder / "pg" / "cluster" / "PG_VERSION").write_text("16\n")

        with pytest.raises(EmbeddedPostgresError, match="made by PostgreSQL 16"):
            make().start()

    def test_lost_passwords_are_said_to_be_lost(self, make, folder):
        first = make()
        first.start()
        first.stop()
        (folder / "pg" / "server.json").unlink()

        with pytest.raises(EmbeddedPostgresError, match="passwords are lost"):
            make().start()

    def test_a_chosen_port_that_is_taken_is_an_error_and_the_directory_stays_free(self, make):
        with socket.create_server((HOST, 0)) as stranger:
            port = stranger.getsockname()[1]
            with pytest.raises(PortTaken, match=str(port)):
                make(port=port).start()

        assert make(port=port).start().endswith(f":{port}/orderplan")

    async def test_a_kept_port_that_is_taken_is_replaced(self, make):
        first = make()
        first.start()
        port = first._known_identity().port
        first.stop()

        with socket.create_server((HOST, port)):
            dsn = make().start()

            assert f":{port}/" not in dsn
            assert await ask(dsn, "SELECT 1") == 1

    async def test_a_long_log_is_moved_aside_while_the_server_goes_on(self, make, folder):
        postgres = make()
        postgres.start()
        log = folder / "pg" / "postgres.log"
        os.truncate(log, 9 * 2**20)

        assert postgres.ensure() is False
        assert log.stat().st_size == 0
        assert log.with_suffix(".log.1").stat().st_size == 9 * 2**20


@pytest.mark.faults
class TestDeath:
    async def test_a_killed_server_comes_back_with_its_data_at_the_same_address(self, make):
        postgres = make()
        dsn = postgres.start()
        await keep_an_order(dsn)
        killed = server_pid(postgres)
        os.kill(killed, signal.SIGKILL)

        assert postgres.ensure() is True
        assert postgres.pid != killed
        assert await kept_order(dsn) == "order-1"

    async def test_a_worker_that_outlives_a_killed_server_is_waited_for(self, make, folder):
        postgres = make()
        dsn = postgres.start()
        await keep_an_order(dsn)
        connection = await asyncpg.connect(dsn)
        worker = await connection.fetchval("SELECT pg_backend_pid()")
        # Stopped, it cannot notice the death of its parent, and holds on to the memory they shared.
        os.kill(worker, signal.SIGSTOP)
        os.kill(server_pid(postgres), signal.SIGKILL)
        log = folder / "pg" / "postgres.log"
        with ThreadPoolExecutor(1) as supervisor:
            restarted = supervisor.submit(postgres.ensure)
            until(lambda: "is still in use" in log.read_text())
            os.kill(worker, signal.SIGCONT)

            assert restarted.result(BOUND_S) is True
        connection.terminate()
        assert await kept_order(dsn) == "order-1"

    @needs_proc
    @pytest.mark.parametrize("end", ["kill", "return"])
    async def test_the_server_does_not_outlive_its_owner(self, make, folder, end):
        owner_code = (
            "import sys; from pathlib import Path; from persistence.embedded import EmbeddedPostgres\n"
            "postgres = EmbeddedPostgres(Path(sys.argv[1])); postgres.start()\n"
            "print(postgres.pid, flush=True); sys.stdin.read()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", owner_code, str(folder / "pg")],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as owner:
            assert owner.stdout is not None
            orphan = int(owner.stdout.readline())
            with pytest.raises(DataDirectoryInUse, match=str(owner.pid)):
                make().start()
            if end == "kill":
                owner.kill()
        postgres = make()

        assert await ask(postgres.start(), "SELECT 1") == 1
        assert not DataDirectory(folder / "pg").is_server(orphan)

    @needs_proc
    def test_a_strangers_server_is_reported_and_left_alone(self, make, folder):
        first = make()
        first.start()
        first.stop()
        directory = DataDirectory(folder / "pg")
        command = [str(packaged_binaries() / "bin" / "postgres"), "-D", str(directory.cluster)]
        options = ["-c", f"port={choose_port()}", "-c", f"listen_addresses={HOST}", "-c", "unix_socket_directories="]
        user = choose_user(directory.cluster)
        stranger = launch_program(user, directory.cluster, command + options, stderr=subprocess.DEVNULL)
        try:
            until(lambda: directory.read_lock_file() is not None)
            with pytest.raises(DataDirectoryInUse, match=str(stranger.pid)):
                make().start()

            assert stranger.poll() is None
        finally:
            stranger.send_signal(signal.SIGINT)
            stranger.wait()

    @needs_proc
    async def test_a_stale_lock_file_that_names_a_living_stranger_is_seen_through(self, make, folder):
        first = make()
        first.start()
        directory = DataDirectory(folder / "pg")
        lock_file = directory.cluster / "postmaster.pid"
        _, *rest = lock_file.read_text().splitlines(keepends=True)
        first.stop()
        # Of the same user as the server: only such a process does PostgreSQL itself mistake for its predecessor.
        user = choose_user(directory.cluster)
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, user=user.uid, group=user.gid) as stranger:
            lock_file.write_text("".join([f"{stranger.pid}\n", *rest]))
            os.chown(lock_file, user.uid, user.gid)

            assert await ask(make().start(), "SELECT 1") == 1
            assert stranger.poll() is None


@needs_root
class TestClosedFolders:
    def test_a_data_directory_out_of_the_servers_reach_is_refused_and_stays_closed(self, make, folder):
        closed = folder / "closed"
        closed.mkdir(mode=0o700)

        with pytest.raises(DataDirectoryUnreachable, match="/var/lib/orderplan"):
            make(closed / "pg").start()
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700

    @needs_proc
    async def test_programs_out_of_the_servers_reach_are_copied_and_their_folder_stays_closed(self, make, folder):
        closed = folder / "closed"
        closed.mkdir(mode=0o700)
        packaged = packaged_binaries()
        installed = closed / packaged.parent.name / packaged.name
        shutil.copytree(packaged, installed)
        libraries = f"{packaged.parent.name}.libs"
        shutil.copytree(packaged.parents[1] / libraries, closed / libraries)
        first = make(binaries=installed)

        assert await ask(first.start(), "SELECT 1") == 1
        program = Path(f"/proc/{server_pid(first)}/exe").readlink()
        assert program.is_relative_to(folder / "pg")
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        copied_at = program.stat().st_mtime_ns
        first.stop()
        second = make(binaries=installed)
        second.start()
        assert Path(f"/proc/{server_pid(second)}/exe").readlink() == program
        assert program.stat().st_mtime_ns == copied_at
