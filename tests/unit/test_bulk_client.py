"""The client of `/v1/orders:ingest`: what it sends, and that it takes no broken connection for a success."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orderplan.bulk import ingest
from orderplan.transport import ApiError

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def answer(line: int) -> bytes:
    body = b'{"line": %d, "id": "o%d"}\n' % (line, line)
    return b"%x\r\n%s\r\n" % (len(body), body)


class Server:
    """Serves one connection by a script: it gets the connection, after the head of its request was read."""

    def __init__(self, script: Callable[[socket.socket, bytes], None]) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._script = script
        self.head = b""
        self._serving = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Server:
        self._serving.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.join(20)
        self._listening.close()
        assert not self._serving.is_alive()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection:
            connection.settimeout(20)
            read = b""
            while b"\r\n\r\n" not in read:
                read += connection.recv(65536)
            self.head, _, rest = read.partition(b"\r\n\r\n")
            self._script(connection, rest)


def read_until(connection: socket.socket, read: bytes, wanted: bytes) -> bytes:
    while wanted not in read:
        more = connection.recv(65536)
        assert more, read
        read += more
    return read


def answers(url: str, lines: Any, **options: Any) -> list[int]:
    return [each["line"] for each in ingest(url, lines, **options)]


def test_lines_that_are_all_answered_are_a_success() -> None:
    def script(connection: socket.socket, read: bytes) -> None:
        read_until(connection, read, END)
        connection.sendall(HEAD + answer(1) + answer(3) + END)

    with Server(script) as server:
        assert answers(server.url, [b"{}", b"\n", b"{}\n"]) == [1, 3]


@pytest.mark.parametrize("answered", [0, 1])
@pytest.mark.parametrize("end", [b"", END])
def test_an_end_before_all_lines_are_answered_is_none(answered: int, end: bytes) -> None:
    """Cut between two answers, or ended by a server that has not told of all."""

    def script(connection: socket.socket, read: bytes) -> None:
        read_until(connection, read, END)
        connection.sendall(HEAD + answer(1) * answered + end)

    heard: list[int] = []
    with Server(script) as server, pytest.raises(ApiError) as raised:
        heard.extend(each["line"] for each in ingest(server.url, [b"{}"] * 2))
    assert raised.value.code == "interrupted"


def test_a_line_is_sent_as_it_comes_however_long_the_next_one_takes() -> None:
    is_answered = threading.Event()

    def lines() -> Iterator[bytes]:
        yield b'{"n": 1}'
        assert is_answered.wait(20), "the first line was kept"
        yield b'{"n": 2}'

    def script(connection: socket.socket, read: bytes) -> None:
        read = read_until(connection, read, b'{"n": 1}\n')
        connection.sendall(HEAD + answer(1))
        is_answered.set()
        read_until(connection, read, END)
        connection.sendall(answer(2) + END)

    with Server(script) as server:
        assert answers(server.url, lines()) == [1, 2]


def test_a_server_that_says_nothing_of_what_it_was_sent_is_given_up() -> None:
    def script(connection: socket.socket, read: bytes) -> None:
        connection.sendall(HEAD)
        read_until(connection, read, END)
        assert connection.recv(1) == b"", "the client has not hung up"

    with Server(script) as server, pytest.raises(ApiError) as raised:
        answers(server.url, [b"{}"], timeout_s=0.1)
    assert raised.value.code == "interrupted"


def test_after_a_refusal_no_more_lines_are_taken_and_nothing_is_sent() -> None:
    taken: list[int] = []

    def lines() -> Iterator[bytes]:
        for number in range(1_000_000):
            taken.append(number)
            yield b"{}" * 1_000

    def script(connection: socket.socket, read: bytes) -> None:
        body = b'{"code": "busy", "reason": "enough"}'
        connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        while connection.recv(65536):
            pass

    with Server(script) as server, pytest.raises(ApiError) as raised:
        answers(server.url, lines())
    assert raised.value.status == 503
    count = len(taken)
    assert count < 1_000_000
    threads = [each for each in threading.enumerate() if "_take" in each.name or "_write" in each.name]
    for each in threads:
        each.join(20)
        assert not each.is_alive()


def test_the_server_is_told_who_sends_the_lines() -> None:
    def script(connection: socket.socket, read: bytes) -> None:
        read_until(connection, read, END)
        connection.sendall(HEAD + answer(1) + END)

    with Server(script) as server:
        assert answers(server.url, [b"{}"], user="mia") == [1]
    assert b"X-User: mia" in server.head.splitlines()
