"""Very many lines over one connection, each answered by a line: what bulk orders and installed products have in common.

Lines are handed on as they are read. At most `OPEN_MAX` lines of a connection are without an answer; then nothing more
is read, and the client's connection fills up until it writes no faster than lines are stored. A client that does not
read its answers is not read either. One that stands still, in whichever direction, is cut off, since places are few.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Protocol

import orjson
import structlog
from aiohttp import web

from domain.errors import Busy, OrderplanError, TooLarge
from gateway.context import Context

log = structlog.get_logger(__name__)

NDJSON: Final = "application/x-ndjson"
OPEN_MAX: Final = 2_000
"""Lines of one connection that are read and not answered."""
OPEN_BYTES_MAX: Final = 32 * 1024 * 1024
"""And what they may come to: a line may be large."""
SERVICES_MAX: Final = 8
"""Connections of the kind at a time; each may hold `OPEN_MAX` lines in memory."""
LINES_A_TURN: Final = 10
BYTES_A_TURN: Final = 64 * 1024
"""So much is read in one turn of the loop: whoever asks meanwhile waits for one turn only."""
RETRY_S: Final = 0.5
STILL_S: Final = 60.0
"""A client that sends nothing while nothing is open, or does not read its answers, is cut off after so long."""
STOPPING_S: Final = 5.0
"""A gateway that stops waits so long for the next answer of a host, which may have stopped before it."""


class Content(Protocol):
    """A body that comes in pieces."""

    def iter_any(self) -> AsyncIterator[bytes]: ...


_SERVICES: Final = web.AppKey("line services", set[object])


def open_services(app: web.Application) -> None:
    """Give the application the set of its connections that send lines."""
    app[_SERVICES] = set()


async def serve_lines(request: web.Request, service: LineService) -> web.StreamResponse:
    """Answer a request line by line.

    Raises:
        Busy: this gateway has enough of such connections.
    """
    services = request.app[_SERVICES]
    if len(services) >= SERVICES_MAX:
        raise Busy("this gateway takes in as many bulks as it can", retryAfterS=10)
    services.add(service)
    try:
        response = web.StreamResponse(headers={"Content-Type": NDJSON, "Cache-Control": "no-store"})
        await response.prepare(request)
        try:
            await service.serve(request.content, response.write)
            await response.write_eof()
        except (ConnectionError, TimeoutError):
            # Nobody reads the answers any more; what was sent to the hosts is stored all the same. Cut off, not ended:
            # an end says that everything is answered.
            log.info("a bulk was cut off", lines=service.lines)
            if request.transport is not None:
                request.transport.abort()
        return response
    finally:
        service.is_over = True
        services.discard(service)


class LineService(ABC):
    """One connection: a reader that hands lines on, and a writer that sends what became of them."""

    def __init__(self, context: Context, tenant: str) -> None:
        self._context = context
        self._tenant = tenant
        self._answers: list[bytes] = []
        self._open: dict[int, int] = {}
        """Lines without an answer, each with its bytes."""
        self._open_bytes = 0
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self.lines = 0
        self.is_over = False

    @abstractmethod
    def _hand_on(self, line: int, raw: bytes) -> None:
        """Begin with a line; it is open already.

        Raises:
            OrderplanError: the line is refused.
        """

    def _ending(self) -> None:  # noqa: B027 -- most put nothing aside
        """All lines are read, and none is open: the last chance to answer those that were put aside."""

    async def serve(self, content: Content, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Read all lines and answer each; `write` returns when there is room for more.

        Raises:
            ConnectionError: the client has gone.
            TimeoutError: the client stands still.
        """
        reading = asyncio.get_running_loop().create_task(self._read(content))
        try:
            while not self._is_done(reading):
                await self._wait()
                # What is answered in the same turn goes in one piece.
                answers, self._answers = self._answers, []
                if answers:
                    async with asyncio.timeout(STILL_S):
                        await write(b"".join(answers))
                    self._room.set()
            await reading
        finally:
            reading.cancel()

    def _is_done(self, reading: asyncio.Task[None]) -> bool:
        if reading.done() and not self._open:
            self._ending()
        return reading.done() and not self._open and not self._answers

    async def _wait(self) -> None:
        """Return when there is something to do."""
        while True:
            read = self.lines
            try:
                async with asyncio.timeout(STOPPING_S if self._context.is_draining else STILL_S):
                    await self._changed.wait()
                self._changed.clear()
            except TimeoutError:
                if self._context.is_draining:
                    self._give_up()
                elif not self._open and read == self.lines:
                    raise
            else:
                return

    def _give_up(self) -> None:
        """Answer what no host answers any more."""
        for line in list(self._open):
            self._close(line)
            error = Busy("the server has stopped, and whether the line was stored is unknown", retryAfterS=5)
            self._refuse(line, error)

    # Reading.

    async def _read(self, content: Content) -> None:
        taken = 0
        try:
            async for raw in lines_of(content, self._context.config.body_bytes_max):
                self.lines += 1
                if raw is not None and not raw.strip():
                    continue
                while not self._has_room():
                    self._room.clear()
                    await self._room.wait()
                self._take(self.lines, raw)
                taken += len(raw or b"")
                if self.lines % LINES_A_TURN == 0 or taken > BYTES_A_TURN:
                    taken = 0
                    await asyncio.sleep(0)
        finally:
            self._changed.set()

    def _has_room(self) -> bool:
        return len(self._open) + len(self._answers) < OPEN_MAX and self._open_bytes < OPEN_BYTES_MAX

    def _take(self, line: int, raw: bytes | None) -> None:
        self._open[line] = len(raw or b"")
        self._open_bytes += len(raw or b"")
        try:
            if self._context.is_draining:
                raise Busy("the server is stopping", retryAfterS=5, mend="send the line again to its successor")
            if raw is None:
                limit = self._context.config.body_bytes_max
                raise TooLarge(f"the line is larger than {limit} bytes", mend="split it, or raise the limit")
            self._hand_on(line, raw)
        except OrderplanError as error:
            self._close(line)
            self._refuse(line, error)

    # Answering.

    def _close(self, line: int) -> None:
        self._open_bytes -= self._open.pop(line)

    def _refuse(self, line: int, error: OrderplanError) -> None:
        self._answer({"line": line, "error": {**error.as_dict(), "status": error.status}})

    def _answer(self, document: dict[str, Any]) -> None:
        self._answers.append(orjson.dumps(document, default=str) + b"\n")
        self._changed.set()


async def lines_of(content: Content, bytes_max: int) -> AsyncIterator[bytes | None]:
    """The lines of a body as they come; None stands for one that is too long, which is not kept."""
    parts: list[bytes] = []
    size = 0
    is_too_long = False
    async for chunk in content.iter_any():
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            yield None if is_too_long or size + len(part) > bytes_max else b"".join([*parts, part])
            parts, size, is_too_long = [], 0, False
        parts.append(rest)
        size += len(rest)
        if size > bytes_max:
            parts, is_too_long = [], True
    if size:
        yield None if is_too_long else b"".join(parts)
