"""Sends very many orders over one connection, and yields what became of each as the server tells it.

Both directions run at once: threads take the lines and write them, the caller reads the answers. Whoever reads slowly
slows the writing down, through the server; a server cuts off whoever does not read for a minute. Lines that come slowly
are sent as they come.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import socket
import threading
import time
from collections.abc import Generator, Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from orderplan.transport import ApiError, refusal_of, unreachable, user_header

ORDERS_PATH: Final = "/v1/orders:ingest"
PIECE_BYTES: Final = 64 * 1024
WAITING_MAX: Final = 1_000
"""Lines that are read and not sent yet."""
LOOK_S: Final = 0.5
_BROKEN: Final = (OSError, http.client.HTTPException, ValueError)
"""What a connection that is gone, or was closed meanwhile, is met with."""


def ingest(
    url: str, lines: Iterable[bytes], *, path: str = ORDERS_PATH, user: str | None = None, timeout_s: float = 60.0
) -> Generator[Mapping[str, Any]]:
    """Answers, one a line that is not blank, in the order in which they were stored; what a server tells besides has no
    number of a line.

    Args:
        url: of the server.
        lines: TMF622 orders (or what else the path takes) as JSON, one each, with or without a line feed.
        path: where they are sent.
        user: who acts; stands in the audit trail.
        timeout_s: how long the server may say nothing of lines that it was sent.
    Raises:
        ApiError: the server refuses, cannot be reached, or the connection broke: what was not answered may be sent
            again where the lines have an `externalId`.
        Exception: what the lines raised, once those before it are answered.
    """
    parts = urlsplit(url)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname or "127.0.0.1", parts.port, timeout=timeout_s)
    try:
        connection.connect()
    except OSError as error:
        raise unreachable(url, error) from error
    # Once it is closed nothing may open it again.
    connection.auto_open = 0
    sending = _Sending(connection, timeout_s)
    try:
        connection.putrequest("POST", parts.path.rstrip("/") + path)
        connection.putheader("Content-Type", "application/x-ndjson")
        connection.putheader("Transfer-Encoding", "chunked")
        if user:
            connection.putheader("X-User", user_header(user))
        connection.endheaders()
        sending.start(lines)
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise refusal_of(response.status, response.read())
        # From here on the watch knows better whether the server is silent.
        connection.sock.settimeout(None)
        sending.reading_since = time.monotonic()
        for line in response:
            sending.reading_since = None
            answer = json.loads(line)
            sending.answered += "line" in answer
            yield answer
            sending.reading_since = time.monotonic()
        if not sending.is_answered():
            # A connection that is cut between two answers looks like the end of them.
            raise ConnectionResetError
    except _BROKEN as error:
        raise ApiError(
            0,
            "interrupted",
            f"the connection broke ({url}); what became of lines without an answer is unknown",
            mend="send those again that have an externalId: they are the same orders",
        ) from error
    finally:
        sending.end()
    if sending.failure is not None:
        raise sending.failure


class _Sending:
    """Takes the lines, writes them, and watches over those that have no answer."""

    def __init__(self, connection: http.client.HTTPConnection, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._waiting: queue.Queue[bytes | None] = queue.Queue(WAITING_MAX)
        self._writing = threading.Thread(target=self._write, daemon=True)
        self.sent = 0
        """Lines that were written and will be answered."""
        self.answered = 0
        self.reading_since: float | None = None
        """Since when the caller has waited for an answer; None while it does not."""
        self.failure: Exception | None = None
        """What the lines raised."""
        self.is_over = threading.Event()
        self._is_whole = False
        """Everything is written, the end as well."""

    def start(self, lines: Iterable[bytes]) -> None:
        """Begin with it."""
        threading.Thread(target=self._take, args=(lines,), daemon=True).start()
        self._writing.start()
        threading.Thread(target=self._watch, daemon=True).start()

    def end(self) -> None:
        """Close the connection, and take no more lines."""
        self.is_over.set()
        self._break()
        self._connection.close()

    def is_answered(self) -> bool:
        """Whether all lines are written and answered; asked when the server says that it has no more to say."""
        self._writing.join(LOOK_S)
        return self._is_whole and self.answered == self.sent

    def _take(self, lines: Iterable[bytes]) -> None:
        try:
            for line in lines:
                self._put(line.rstrip(b"\r\n") + b"\n")
                if self.is_over.is_set():
                    return
        except Exception as error:
            self.failure = error
        # Also after a failure of the lines: what was sent is answered to its end.
        self._put(None)

    def _put(self, line: bytes | None) -> None:
        while not self.is_over.is_set():
            with contextlib.suppress(queue.Full):
                self._waiting.put(line, timeout=LOOK_S)
                return

    def _get(self, *, is_waiting: bool) -> bytes | None:
        """The next line; None at their end, or when nobody wants them any more.

        Raises:
            queue.Empty: nothing waits just now.
        """
        while not self.is_over.is_set():
            try:
                return self._waiting.get(timeout=LOOK_S) if is_waiting else self._waiting.get_nowait()
            except queue.Empty:
                if not is_waiting:
                    raise
        return None

    def _write(self) -> None:
        line: bytes | None = b""
        with contextlib.suppress(*_BROKEN):
            while line is not None:
                piece: list[bytes] = []
                size = 0
                with contextlib.suppress(queue.Empty):
                    while size < PIECE_BYTES and (line := self._get(is_waiting=not piece)) is not None:
                        piece.append(line)
                        size += len(line)
                if piece:
                    self.sent += sum(not each.isspace() for each in piece)
                    self._connection.send(b"%x\r\n" % size + b"".join(piece) + b"\r\n")
            self._connection.send(b"0\r\n\r\n")
            self._is_whole = not self.is_over.is_set()

    def _watch(self) -> None:
        """Break a connection off whose server says nothing of what it was sent."""
        while not self.is_over.wait(LOOK_S):
            since = self.reading_since
            if since is None or self.sent == self.answered or time.monotonic() - since < self._timeout_s:
                continue
            self._break()
            return

    def _break(self) -> None:
        """Wake whoever waits for the connection."""
        with contextlib.suppress(*_BROKEN, AttributeError):
            self._connection.sock.shutdown(socket.SHUT_RDWR)
