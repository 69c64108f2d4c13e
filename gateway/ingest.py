"""`/v1/orders:ingest`: very many orders over one connection, one a line, each answered by a line when it is stored.

Lines go to the hosts as they are read, in lanes of their own behind the orders that somebody waits for. At most
`OPEN_MAX` lines of a connection are without an answer; then nothing more is read, and the client's connection fills up
until it writes no faster than orders are stored. A client that does not read its answers is not read either. One that
stands still, in whichever direction, is cut off, since places are few. A host that has enough is asked again later, so
a line is refused for what stands in it, never for a crowd.

Answers come in the order in which orders are stored, and name the number of their line. A connection that breaks tells
nothing of the lines that were not answered: sent again, those with an `externalId` are the same orders.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

import orjson
import structlog
from aiohttp import web

from actors.routing import BULK_LANE
from domain.errors import Busy, OrderplanError, TooLarge
from gateway.context import Context, context_of, tenant_of
from gateway.orders import own_key, read_order, submission_of

log = structlog.get_logger(__name__)

NDJSON: Final = "application/x-ndjson"
OPEN_MAX: Final = 2_000
"""Lines of one connection that are read and not answered."""
OPEN_BYTES_MAX: Final = 32 * 1024 * 1024
"""And what they may come to: a line may be large."""
INGESTS_MAX: Final = 8
"""Connections that ingest at a time; each may hold `OPEN_MAX` orders in memory."""
LINES_A_TURN: Final = 10
BYTES_A_TURN: Final = 64 * 1024
"""So much is read in one turn of the loop: whoever asks meanwhile waits for one turn only."""
RETRY_S: Final = 0.5
STILL_S: Final = 60.0
"""A client that sends nothing while nothing is open, or does not read its answers, is cut off after so long."""
LINES_TIMEOUT_S: Final = 30.0
STOPPING_S: Final = 5.0
"""A gateway that stops waits so long for the next answer of a host, which may have stopped before it."""


class Content(Protocol):
    """A body that comes in pieces."""

    def iter_any(self) -> AsyncIterator[bytes]: ...


_OPEN: Final = web.AppKey("ingests", set[object])


async def ingest_orders(request: web.Request) -> web.StreamResponse:
    """POST /v1/orders:ingest: orders as newline-delimited JSON, answered line by line as they are stored.

    A line holds a TMF622 order, as POST productOrder takes it. Its answer is `{"line": number, "id", "state"}`, or
    `{"line": number, "error": {...}}` with the problem that the line alone would have been answered.
    """
    context = context_of(request)
    ingests = request.app[_OPEN]
    if len(ingests) >= INGESTS_MAX:
        raise Busy("this gateway takes in as many bulks as it can", retryAfterS=10)
    ingest = Ingest(context, tenant_of(request))
    ingests.add(ingest)
    try:
        response = web.StreamResponse(headers={"Content-Type": NDJSON, "Cache-Control": "no-store"})
        await response.prepare(request)
        try:
            await ingest.serve(request.content, response.write)
            await response.write_eof()
        except (ConnectionError, TimeoutError):
            # Nobody reads the answers any more; what was sent to the hosts is stored all the same. Cut off, not ended:
            # an end says that everything is answered.
            log.info("a bulk was cut off", lines=ingest.lines)
            if request.transport is not None:
                request.transport.abort()
        return response
    finally:
        ingest.is_over = True
        ingests.discard(ingest)


def open_ingests(app: web.Application) -> None:
    """Give the application the set of its ingests."""
    app[_OPEN] = set()


async def submit_lines(
    context: Context, tenant: str, campaign: str, lines: Sequence[tuple[int, bytes]]
) -> dict[int, dict[str, Any]]:
    """Submit orders of a campaign in bulk; the answer to each by its number, as `ingest_orders` would give it. What is
    not answered in time is left out: its sender looks whether the campaign still runs, and sends it again.

    One that names no `externalId` is the same order whenever this number of the campaign is submitted; one that names
    no priority has a low one, so that its calls do not delay those of orders that somebody waits for.
    """
    numbers = [number for number, _ in lines]
    found: dict[int, dict[str, Any]] = {}

    class Body:
        async def iter_any(self) -> AsyncIterator[bytes]:
            for _, raw in lines:
                yield raw.replace(b"\n", b" ") + b"\n"

    async def write(data: bytes) -> None:
        for each in data.splitlines():
            answer = orjson.loads(each)
            found[numbers[answer["line"] - 1]] = answer

    ingest = Ingest(context, tenant, lambda line: f"campaign {campaign} {numbers[line - 1]}", priority="low")
    try:
        async with asyncio.timeout(LINES_TIMEOUT_S):
            await ingest.serve(Body(), write)
    except TimeoutError:
        log.info("a crowd keeps orders of a campaign waiting", lines=len(lines), answered=len(found))
    finally:
        ingest.is_over = True
    return found


class Ingest:
    """One connection: a reader that submits lines, and a writer that sends what became of them."""

    def __init__(
        self,
        context: Context,
        tenant: str,
        key_of: Callable[[int], str] | None = None,
        *,
        priority: str = "normal",
    ) -> None:
        """`key_of` names the order of a line that has no name of its own; without it each is another order. `priority`
        is that of a line that says none.
        """
        self._context = context
        self._tenant = tenant
        self._priority = priority
        name = uuid.uuid4().hex
        self._key_of = key_of or (lambda line: f"once {name} {line}")
        self._answers: list[bytes] = []
        self._open: dict[int, int] = {}
        """Lines without an answer, each with its bytes."""
        self._open_bytes = 0
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self.lines = 0
        self.is_over = False

    async def serve(self, content: Content, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Read all lines and answer each; `write` returns when there is room for more.

        Raises:
            ConnectionError: the client has gone.
            TimeoutError: the client stands still.
        """
        reading = asyncio.get_running_loop().create_task(self._read(content))
        try:
            while not (reading.done() and not self._open and not self._answers):
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
        try:
            if self._context.is_draining:
                raise Busy("the server is stopping", retryAfterS=5, mend="send the line again to its successor")
            if raw is None:
                limit = self._context.config.body_bytes_max
                raise TooLarge(f"the line is larger than {limit} bytes", mend="split the order, or raise the limit")
            order, digest = read_order(raw, self._tenant)
            order.client_key = own_key(order) or self._key_of(line)
            if order.rest.get("priority") is None:
                order.priority = self._priority
            submission = submission_of(self._context, order, digest, is_bulk=True)
        except OrderplanError as error:
            self._refuse(line, error)
            return
        self._open[line] = len(raw)
        self._open_bytes += len(raw)
        self._send(line, submission)

    # Submitting.

    def _send(self, line: int, submission: Any) -> None:
        if self.is_over or line not in self._open:
            return
        self._context.hosts.post(
            BULK_LANE, submission.shard, submission, lambda answer: self._answered(line, submission, answer)
        )

    def _answered(self, line: int, submission: Any, answer: Any) -> None:
        # Not for a crowd but for another order of the account, which may stay as it is: that is an answer.
        is_crowded = isinstance(answer, Busy) and "openOrders" not in answer.facts
        if is_crowded and not self._context.is_draining:
            asyncio.get_running_loop().call_later(RETRY_S, self._send, line, submission)
            return
        if line not in self._open:
            return
        self._close(line)
        if isinstance(answer, OrderplanError):
            self._refuse(line, answer)
            return
        self._context.metrics.submitted.labels(answer.state).inc()
        self._answer({"line": line, "id": answer.order_id, "state": answer.state})

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
