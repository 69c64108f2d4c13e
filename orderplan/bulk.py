"""Sends very many orders over one connection, and yields what became of each as the server tells it.

Both directions run at once: a thread writes the lines, the caller reads the answers. Whoever reads slowly slows the
writing down, through the server.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from orderplan.transport import ApiError, refusal_of, unreachable

PATH: Final = "/v1/orders:ingest"
PIECE_BYTES: Final = 64 * 1024


def ingest(url: str, lines: Iterable[bytes], *, timeout_s: float = 60.0) -> Generator[Mapping[str, Any]]:
    """Answers, one a line that is not blank, in the order in which orders were stored.

    Args:
        url: of the server.
        lines: TMF622 orders as JSON, one each, with or without a line feed.
        timeout_s: how long the server may say nothing.
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
    failed: list[Exception] = []
    try:
        connection.putrequest("POST", parts.path.rstrip("/") + PATH)
        connection.putheader("Content-Type", "application/x-ndjson")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        writing = threading.Thread(target=_write, args=(connection, lines, failed), daemon=True)
        writing.start()
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise refusal_of(response.status, response.read())
        for line in response:
            yield json.loads(line)
        writing.join(timeout_s)
    except (OSError, http.client.HTTPException) as error:
        raise ApiError(
            0,
            "interrupted",
            f"the connection broke ({url}); what became of lines without an answer is unknown",
            mend="send those again that have an externalId: they are the same orders",
        ) from error
    finally:
        connection.close()
    if failed:
        raise failed[0]


def _write(connection: http.client.HTTPConnection, lines: Iterable[bytes], failed: list[Exception]) -> None:
    try:
        for piece in _pieces(lines):
            try:
                _send_chunk(connection, piece)
            except OSError:
                # The reader tells of a connection that is gone.
                return
    except Exception as error:
        failed.append(error)
    # Also after a failure of the lines: what was sent is answered to its end.
    with contextlib.suppress(OSError):
        connection.send(b"0\r\n\r\n")


def _pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines in pieces worth sending; those that came before a failure of the lines too."""
    waiting: list[bytes] = []
    size = 0
    failure: Exception | None = None
    try:
        for line in lines:
            waiting.append(line.rstrip(b"\r\n") + b"\n")
            size += len(waiting[-1])
            if size >= PIECE_BYTES:
                yield b"".join(waiting)
                waiting, size = [], 0
    except Exception as error:
        failure = error
    if waiting:
        yield b"".join(waiting)
    if failure is not None:
        raise failure


def _send_chunk(connection: http.client.HTTPConnection, data: bytes) -> None:
    connection.send(b"%x\r\n" % len(data) + data + b"\r\n")
