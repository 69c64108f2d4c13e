"""`/v1/orders:ingest`: very many orders over one connection, one a line, each answered by a line when it is stored.

Lines go to the hosts as they are read (`gateway/line_service.py`), in lanes of their own behind the orders that
somebody waits for. A host that has enough is asked again later, so a line is refused for what stands in it, never for
a crowd.

Answers come in the order in which orders are stored, and name the number of their line. A connection that breaks tells
nothing of the lines that were not answered: sent again, those with an `externalId` are the same orders.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import orjson
import structlog
from aiohttp import web

from actors.envelopes import Submitted
from actors.routing import BULK_LANE
from domain.errors import BadDocument, Busy, OrderplanError
from domain.orders import Order
from gateway.context import Context, context_of, tenant_of, user_of
from gateway.documents import decode_body
from gateway.line_service import RETRY_S, LineService, serve_lines
from gateway.orders import order_of, own_key, read_order, submission_of

log = structlog.get_logger(__name__)

LINES_TIMEOUT_S: Final = 30.0


async def ingest_orders(request: web.Request) -> web.StreamResponse:
    """POST /v1/orders:ingest: orders as newline-delimited JSON, answered line by line as they are stored.

    A line holds a TMF622 order, as POST productOrder takes it. Its answer is `{"line": number, "id", "state"}`, or
    `{"line": number, "error": {...}}` with the problem that the line alone would have been answered.
    """
    return await serve_lines(request, Ingest(context_of(request), tenant_of(request)))


async def cut_over_orders(request: web.Request) -> web.StreamResponse:
    """POST /v1/orders:cutover: orders that were begun in another system, line by line, to be gone on with here.

    A line holds a TMF622 order with an `externalId`, and `done`: the items of its plan that are done already, each as
    `plan/item` or by its key. They count as completed and are not sent. The answer is as that of orders:ingest, with
    `"isRepeat": true` where the order is here already and stays as it is.
    """
    context = context_of(request)
    return await serve_lines(request, Cutover(context, tenant_of(request), f"person:{user_of(request)}"))


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


class Ingest(LineService):
    """Orders, one a line."""

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
        super().__init__(context, tenant)
        self._priority = priority
        name = uuid.uuid4().hex
        self._key_of = key_of or (lambda line: f"once {name} {line}")

    def _hand_on(self, line: int, raw: bytes) -> None:
        order, digest = read_order(raw, self._tenant)
        order.client_key = own_key(order) or self._key_of(line)
        if order.rest.get("priority") is None:
            order.priority = self._priority
        self._send(line, submission_of(self._context, order, digest, is_bulk=True))

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
        self._stored(line, answer)

    def _stored(self, line: int, answer: Submitted) -> None:
        self._answer({"line": line, "id": answer.order_id, "state": answer.state})


class Cutover(Ingest):
    """Orders that are under way, one a line."""

    def __init__(self, context: Context, tenant: str, actor: str) -> None:
        super().__init__(context, tenant)
        self._actor = actor

    def _hand_on(self, line: int, raw: bytes) -> None:
        body = decode_body(raw)
        done = _done_of(body)
        # What is done is no part of the order: its channel sends it without, and means the same one.
        order, digest = order_of({name: body[name] for name in body if name != "done"}, self._tenant)
        order.client_key = _needed_key(order)
        submission = submission_of(self._context, order, digest, is_bulk=True)
        submission.actor, submission.done = self._actor, done
        self._send(line, submission)

    def _stored(self, line: int, answer: Submitted) -> None:
        told = {"line": line, "id": answer.order_id, "state": answer.state}
        self._answer(told | ({"isRepeat": True} if answer.is_repeat else {}))


def _done_of(body: Any) -> tuple[str, ...]:
    done = body.get("done") if isinstance(body, dict) else None
    if not isinstance(done, list) or not all(isinstance(each, str) for each in done):
        raise BadDocument(
            "must be a list of items, each as `plan/item` or by its key",
            path="done",
            mend="name what is done already; nothing: []",
        )
    return tuple(done)


def _needed_key(order: Order) -> str:
    key = own_key(order)
    if key is None:
        raise BadDocument(
            "an order that is under way needs the id that its channel knows it by",
            path="externalId",
            mend="give it one, so that the line sent again is the same order",
        )
    return key
