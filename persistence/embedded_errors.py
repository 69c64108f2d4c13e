"""What can go wrong with the embedded PostgreSQL; each message says what to do about it."""

from pathlib import Path

from domain.errors import OrderplanError


class EmbeddedPostgresError(OrderplanError):
    """The embedded PostgreSQL cannot do what was asked."""

    status = 503
    code = "embeddedPostgres"


class DataDirectoryInUse(EmbeddedPostgresError):
    """Another server, or another owner, is alive on the same data directory."""

    def __init__(self, data_dir: Path, holder: str) -> None:
        super().__init__(
            f"the data directory {data_dir} is in use by {holder}", mend="stop that first, or choose another directory"
        )
        self.data_dir = data_dir


class DataDirectoryUnreachable(EmbeddedPostgresError):
    """The user the server runs as may not enter the data directory."""

    def __init__(self, data_dir: Path, user_name: str) -> None:
        super().__init__(
            f"the embedded PostgreSQL runs as {user_name} and cannot enter {data_dir}: a folder above it is closed",
            mend="choose another data directory, such as /var/lib/orderplan: orderplan opens no folder it does not own",
        )
        self.data_dir = data_dir


class PortTaken(EmbeddedPostgresError):
    """Somebody else listens on the port the server must use."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} of 127.0.0.1 is taken by another program", mend="choose another port")
        self.port = port


class ServerFailedToStart(EmbeddedPostgresError):
    """A program of PostgreSQL ended instead of doing its work; `log` is what it said."""

    def __init__(self, doing: str, log: str) -> None:
        super().__init__(f"{doing} failed: {log.strip() or 'it said nothing'}")
        self.log = log


class ServerDoesNotAnswer(EmbeddedPostgresError):
    """The server's process lives, but no query got an answer within the time allowed."""

    def __init__(self, pid: int, waited_s: float) -> None:
        super().__init__(f"the embedded PostgreSQL (process {pid}) lives but answered no query for {waited_s:.0f} s")
        self.pid = pid
