"""Direct lines between actors of one node: what they send one another by the hundred a second goes by socket, past Ray.

Ray finds, starts and ends processes, and carries everything that is rare. A call by Ray costs some milliseconds of CPU,
both sides and Ray's threads together, and as much of time; a frame on a local socket costs a twentieth. So a process
listens on a socket of its own, tells its name by a Ray call, and who has the handle uses the line as soon as it stands.
Without one (another node, another operating system, an older release, a line that has just broken) the same call goes
by Ray, so nothing depends on it.

A frame is its length in four bytes and a pickle: of (number, method, argument) there, of (number, whether it is an
answer, answer or error) back. Pickles are read only from who begins with the secret of the line, which Ray tells with
its name (names of such sockets can be read by everybody), and who belongs to the own user, as the kernel tells.
The socket has no place in the file system (abstract, Linux), so it leaves nothing behind whatever ends its process, and
it is not to be had from another machine.

Given up: lines between nodes, which would need encryption and keys that Ray has already.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import pickle
import secrets
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

import structlog

from domain.errors import OrderplanError

log = structlog.get_logger(__name__)

DIRECT: Final = frozenset({"receive_orders", "receive_bulk", "receive_reports", "perform"})
"""Methods that are called by line; each takes one argument."""
RETRY_S: Final = 1.0
"""Between two tries to get a line."""
BACKLOG_BYTES_MAX: Final = 256 * 1024 * 1024
"""What may wait for a process that does not read, because it is stopped; beyond it the line counts as lost."""
_LENGTH: Final = 4
_SECRET: Final = 32
"""Bytes that a line begins with."""
_CREDENTIALS: Final = struct.Struct("3i")

Method = Callable[[Any], Awaitable[Any]]


class LineLost(ConnectionError):
    """The line broke before the answer: whether the call was heard is unknown."""


class CallFailed(Exception):
    """The other side could not carry the call out; it has logged why."""


class _Frames(asyncio.Protocol, ABC):
    """One end of a line: cuts what comes into messages."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        # That of uvloop is one by what it can do, not by its class.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read the messages that are whole by now."""
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= _LENGTH:
            begin = at + _LENGTH
            end = begin + int.from_bytes(buffer[at:begin], "big")
            if end > len(buffer):
                break
            try:
                message = pickle.loads(buffer[begin:end])
            except Exception:
                # Of another release, or too deep: what is under way is told as lost, and goes by Ray.
                log.exception("a message by line cannot be read; the line is given up")
                assert self._transport is not None
                self._transport.abort()
                return
            self._received(message)
            at = end
        del buffer[:at]

    @abstractmethod
    def _received(self, message: Any) -> None: ...

    def _send(self, message: Any) -> None:
        assert self._transport is not None
        body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        self._transport.write(len(body).to_bytes(_LENGTH, "big") + body)


class _Served(_Frames):
    """The end of who is called."""

    def __init__(self, methods: Mapping[str, Method], secret: bytes) -> None:
        super().__init__()
        self._methods = methods
        self._secret = secret
        self._is_known = False
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Talk to nobody but processes of the own user."""
        super().connection_made(transport)
        if not _is_own(transport.get_extra_info("socket")):
            log.warning("a process of another user was refused a line")
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Read nothing from who is refused, or has not shown the secret."""
        assert self._transport is not None
        if self._transport.is_closing():
            return
        if not self._is_known:
            self._buffer += data
            if len(self._buffer) < _SECRET:
                return
            if not hmac.compare_digest(bytes(self._buffer[:_SECRET]), self._secret):
                log.warning("a process that does not know the secret was refused a line")
                self._transport.close()
                return
            self._is_known = True
            del self._buffer[:_SECRET]
            data = b""
        super().data_received(data)

    def _received(self, message: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(*message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, number: int, method: str, argument: Any) -> None:
        try:
            answer = (number, True, await self._methods[method](argument))
        except OrderplanError as error:
            answer = (number, False, error)
        except Exception as error:
            log.exception("a call by line failed", method=method)
            answer = (number, False, CallFailed(type(error).__name__))
        assert self._transport is not None
        if self._transport.is_closing():
            return
        try:
            self._send(answer)
        except Exception as error:
            # Whoever asks has to hear something: it waits as long as this process lives.
            log.exception("an answer cannot be sent by line", method=method)
            self._send((number, False, CallFailed(type(error).__name__)))


class LineServer:
    """Listens for lines to this process."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self._methods = methods
        self._server: asyncio.AbstractServer | None = None

    async def open(self) -> str:
        """Listen; returns the name to connect to and the secret, with a blank between; empty where there are no such
        sockets.
        """
        if not _is_possible():
            return ""
        name, secret = f"orderplan-{secrets.token_hex(16)}", secrets.token_bytes(_SECRET)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            listening.bind(f"\0{name}")
            self._server = await asyncio.get_running_loop().create_unix_server(
                lambda: _Served(self._methods, secret), sock=listening
            )
        except OSError as error:
            listening.close()
            log.warning("there are no direct lines to this process", error=str(error))
            return ""
        return f"{name} {secret.hex()}"

    def close(self) -> None:
        """Take no new lines."""
        if self._server is not None:
            self._server.close()


class Line(_Frames):
    """The end of who calls."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._number = 0

    @classmethod
    async def to(cls, told: str) -> Line:
        """A line to the process that listens, by what its `LineServer.open` has told.

        Raises:
            OSError: nobody does on this node, or a process of another user.
        """
        name, _, secret = told.partition(" ")
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            end.connect(f"\0{name}")
            if not _is_own(end):
                raise PermissionError("the line leads to a process of another user")
            _, line = await asyncio.get_running_loop().create_unix_connection(cls, sock=end)
        except BaseException:
            end.close()
            raise
        assert line._transport is not None
        line._transport.write(bytes.fromhex(secret))
        return line

    @property
    def is_open(self) -> bool:
        """Whether calls can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def call(self, method: str, argument: Any) -> asyncio.Future[Any]:
        """Call a method; the future fails with `LineLost` if its outcome cannot be known any more.

        Raises:
            LineLost: the other side does not read what is sent.
        """
        assert self._transport is not None
        if not self.is_open or self._transport.get_write_buffer_size() > BACKLOG_BYTES_MAX:
            raise LineLost("the other side does not read what is sent")
        self._number += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._send((self._number, method, argument))
        self._waiting[self._number] = answer
        return answer

    def _received(self, message: Any) -> None:
        number, is_answer, value = message
        waiting = self._waiting.pop(number)
        if waiting.done():
            return
        if is_answer:
            waiting.set_result(value)
        else:
            waiting.set_exception(value)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody will answer any more."""
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            if not each.done():
                each.set_exception(LineLost("the process at the other end has gone"))

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


class DirectHandle:
    """A Ray handle whose frequent calls take the line, while there is one. `failures` are what its calls raise when
    they fail on the way.
    """

    def __init__(self, handle: Any, failures: tuple[type[BaseException], ...]) -> None:
        self._handle = handle
        self._failures = failures
        self._line: Line | None = None
        self._opening: asyncio.Task[None] | None = None
        self._try_at = 0.0

    def __getattr__(self, name: str) -> Any:
        return _DirectMethod(self, name) if name in DIRECT else getattr(self._handle, name)

    def hang_up(self) -> None:
        """Close the line, if there is one: the process is no owner of anything any more."""
        if self._line is not None:
            self._line.close()

    def call(self, method: str, argument: Any) -> Awaitable[Any]:
        """Call a method by the shortest way there is just now."""
        if self._line is not None and self._line.is_open:
            return self._line.call(method, argument)
        loop = asyncio.get_running_loop()
        if (self._opening is None or self._opening.done()) and loop.time() >= self._try_at:
            self._try_at = loop.time() + RETRY_S
            self._opening = loop.create_task(self._open())
        by_ray: Awaitable[Any] = getattr(self._handle, method).remote(argument)
        return by_ray

    async def _open(self) -> None:
        try:
            name = await self._handle.line.remote()
            if name:
                self._line = await Line.to(name)
        except Exception as error:
            if not isinstance(error, (OSError, AttributeError, *self._failures)):
                raise
            # It is on another node, of an older release, starting or gone: Ray will do.
            log.debug("there is no direct line", error=type(error).__name__)


class _DirectMethod:
    """A method of a `DirectHandle`, called as those of Ray's handles are."""

    __slots__ = ("_name", "_owner")

    def __init__(self, owner: DirectHandle, name: str) -> None:
        self._owner = owner
        self._name = name

    def remote(self, argument: Any) -> Awaitable[Any]:
        """Call it."""
        return self._owner.call(self._name, argument)


def _is_possible() -> bool:
    return hasattr(socket, "SO_PEERCRED")


def _is_own(end: Any) -> bool:
    """Whether the process at the other end belongs to the user of this one."""
    # uvloop shows its sockets without their options.
    with socket.socket(fileno=os.dup(end.fileno())) as same:
        found = same.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, user, _group = _CREDENTIALS.unpack(found)
    return bool(user == os.geteuid())
