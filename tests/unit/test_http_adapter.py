"""The HTTP adapter: what it sends, what it makes of every answer, and what it refuses to be configured with."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.http import HttpAdapter
from adapters.interface import Outcome
from domain.errors import BadDocument
from tests.support.tasks import NOW, task_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class System:
    """A server whose handler the test gives; keeps each request with its body, and the connections they came by."""

    def __init__(self) -> None:
        self.handler: Handler | None = None
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.connections: list[object] = []
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._serve)
        self._server = TestServer(app)

    async def start(self) -> None:
        await self._server.start_server()

    async def stop(self) -> None:
        await self._server.close()

    @property
    def url(self) -> str:
        return str(self._server.make_url("")).rstrip("/")

    def answers(self, status: int = 200, body: bytes | str = b"{}", **headers: str) -> None:
        async def handler(_request: web.Request) -> web.Response:
            raw = body if isinstance(body, bytes) else body.encode()
            return web.Response(status=status, body=raw, headers=headers)

        self.handler = handler

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        self.connections.append(request.transport)
        assert self.handler is not None
        return await self.handler(request)


@pytest.fixture
async def system() -> AsyncIterator[System]:
    made = System()
    made.answers()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def connect(system: System) -> AsyncIterator[Callable[..., HttpAdapter]]:
    """Make adapters to the system, whose clock stands at `NOW`."""
    made: list[HttpAdapter] = []

    def make(**config: Any) -> HttpAdapter:
        made.append(HttpAdapter({"url": system.url, **config}, clock=lambda: NOW))
        return made[-1]

    yield make
    for adapter in made:
        await adapter.close()


async def raw_answer(answer: bytes, *, then_reset: bool = False) -> Outcome:
    """The outcome of a call to a server that sends these bytes, whatever it is asked, and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if then_reset:
            writer.transport.abort()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    adapter = HttpAdapter({"url": f"http://127.0.0.1:{port}"}, clock=lambda: NOW)
    try:
        return await adapter.perform(task_of())
    finally:
        await adapter.close()
        server.close()
        await server.wait_closed()


# What is sent.


async def test_the_payload_goes_as_json_with_the_names_of_key_order_and_item(system, connect):
    await connect().perform(task_of("o1-1/A/a@1/0/2", order_id="o1-1", item="A/a@1/0", payload={"orderId": "o1-1"}))

    (request,) = system.requests
    assert (request.method, request.path) == ("POST", "/deliver")
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Idempotency-Key"] == "o1-1/A/a@1/0/2"
    assert request.headers["X-Order-Id"] == "o1-1"
    assert request.headers["X-Item"] == "A/a@1/0"
    assert "X-Callback-Url" not in request.headers
    assert json.loads(system.bodies[0]) == {"orderId": "o1-1"}


async def test_a_task_with_a_callback_address_says_where_to_call_back(system, connect):
    await connect().perform(task_of(callback_url="http://orders.example/v1/callbacks/t%20k"))

    assert system.requests[0].headers["X-Callback-Url"] == "http://orders.example/v1/callbacks/t%20k"


async def test_headers_of_the_configuration_go_with_every_call_and_win_over_the_default(system, connect):
    await connect(headers={"Authorization": "Bearer t", "content-type": "application/vnd.b+json"}).perform(task_of())

    assert system.requests[0].headers["Authorization"] == "Bearer t"
    assert system.requests[0].headers.getall("Content-Type") == ["application/vnd.b+json"]


async def test_the_method_and_the_path_are_those_of_the_configuration(system, connect):
    adapter = connect(method="PUT", path="/v2/{system}/{orderId}/{attempt}?do={operation}&for={tenant}")
    await adapter.perform(task_of())

    assert system.requests[0].method == "PUT"
    assert system.requests[0].path_qs == "/v2/inventory/o1-1/1?do=deliver&for=main"


@pytest.mark.parametrize(
    ("operation", "raw_path"),
    [
        ("cards/deliver", "/at/cards%2Fdeliver"),
        ("..", "/at/%2E%2E"),
        ("a b?c#d", "/at/a%20b%3Fc%23d"),
        ("prüfen", "/at/pr%C3%BCfen"),
        ("", "/at/"),
    ],
)
async def test_a_name_in_the_path_can_neither_end_its_segment_nor_climb_out(system, connect, operation, raw_path):
    await connect(path="/at/{operation}").perform(task_of(operation=operation))

    assert system.requests[0].raw_path == raw_path


async def test_keys_that_no_header_can_hold_are_percent_encoded_and_stay_different(system, connect):
    adapter = connect()
    keys = ["o1/Gerät/1", "o1/Ger\nät/1", "o1/100%/1", "o1/100%25/1", "o1/a b/1"]
    for key in keys:
        await adapter.perform(task_of(key))

    sent = [request.headers["Idempotency-Key"] for request in system.requests]
    assert sent == ["o1/Ger%C3%A4t/1", "o1/Ger%0A%C3%A4t/1", "o1/100%25/1", "o1/100%2525/1", "o1/a b/1"]


async def test_exact_numbers_and_read_only_mappings_in_a_payload_are_sent(system, connect):
    payload = MappingProxyType({"price": Decimal("12.50"), "attributes": MappingProxyType({"volume": "10"})})
    await connect().perform(task_of(payload=payload))

    assert json.loads(system.bodies[0]) == {"price": "12.50", "attributes": {"volume": "10"}}


@pytest.mark.parametrize("value", [object(), 2**70, "\ud800"])
async def test_a_payload_that_is_no_json_is_refused_for_good_before_any_call(system, connect, value):
    outcome = await connect().perform(task_of(payload={"value": value}))

    assert (outcome.kind, outcome.error_code) == ("failed", "badPayload")
    assert system.requests == []


# What an answer means.


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ('{"attributes": {"IMSI": "1"}}', {"attributes": {"IMSI": "1"}}),
        ("", {}),
        (" \n", {}),
        ("[1, 2]", {"value": [1, 2]}),
        ('"done"', {"value": "done"}),
        ("null", {"value": None}),
        ("0", {"value": 0}),
    ],
)
async def test_a_good_status_completes_with_an_object_whatever_the_body_was(system, connect, body, answer):
    system.answers(201, body)

    assert await connect().perform(task_of()) == Outcome.completed(answer)


@pytest.mark.parametrize("body", ["<html>done</html>", '{"a": 1', b"\xff\xfe\xfd", "[" * 200_000])
async def test_a_good_status_with_a_body_that_is_no_json_may_be_tried_again(system, connect, body):
    system.answers(200, body)
    outcome = await connect().perform(task_of())

    assert outcome == Outcome.retryable("answered 200 with a body that is no JSON", "badAnswer")


async def test_long_numbers_in_an_answer_keep_their_digits(system, connect):
    system.answers(200, '{"attributes": {"ICCID": 89310410106543789301}}')
    outcome = await connect().perform(task_of())

    assert outcome.answer["attributes"]["ICCID"] == 89310410106543789301


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        ("result.data", '{"result": {"data": {"a": 1}}}', {"a": 1}),
        ("results.1", '{"results": [{}, {"a": 1}]}', {"a": 1}),
        ("count", '{"count": 7}', {"value": 7}),
    ],
)
async def test_a_response_path_leads_to_the_answer_inside_the_body(system, connect, path, body, answer):
    system.answers(200, body)

    assert await connect(responsePath=path).perform(task_of()) == Outcome.completed(answer)


@pytest.mark.parametrize("body", ["{}", '{"result": null}', '{"result": []}', '{"result": "data"}', "3"])
async def test_a_response_path_that_leads_nowhere_is_no_answer(system, connect, body):
    system.answers(200, body)
    outcome = await connect(responsePath="result.data").perform(task_of())

    assert outcome == Outcome.retryable("answered 200 with a body that has no result.data", "badAnswer")


@pytest.mark.parametrize("body", ["", '{"id": 7}', "<html>"])
@pytest.mark.parametrize("callback_url", ["http://orders.example/c/1", None])
async def test_202_means_taken_whatever_the_body_says(system, connect, body, callback_url):
    system.answers(202, body)

    assert await connect().perform(task_of(callback_url=callback_url)) == Outcome.accepted()


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
async def test_a_system_that_cannot_now_may_be_tried_again(system, connect, status):
    system.answers(status, '{"reason": "no stock"}')

    assert await connect().perform(task_of()) == Outcome.retryable("no stock", str(status))


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422])
async def test_a_system_that_refuses_is_not_asked_again(system, connect, status):
    system.answers(status, '{"reason": "no such card"}')

    assert await connect().perform(task_of()) == Outcome.failed("no such card", str(status))


async def test_a_redirect_is_not_followed_but_shown(system, connect):
    system.answers(307, "", Location=f"{system.url}/elsewhere")
    outcome = await connect().perform(task_of())

    assert outcome == Outcome.failed("answered 307: redirects are not followed", "307")
    assert len(system.requests) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"message": "m", "detail": "d", "reason": "r"}', "r"),
        ('{"message": "m", "detail": "d"}', "d"),
        ('{"message": "m"}', "m"),
        ('{"reason": " ", "detail": 7, "message": " m "}', "m"),
        ('{"reason": "nul \\u0000 inside"}', "nul \ufffd inside"),
        ("<html>Bad gateway</html>", "answered 503"),
        ('["reason"]', "answered 503"),
        ("", "answered 503"),
    ],
)
async def test_the_reason_is_the_systems_own_where_it_gives_one(system, connect, body, reason):
    system.answers(503, body)

    assert (await connect().perform(task_of())).error == reason


async def test_a_long_reason_is_cut(system, connect):
    system.answers(503, json.dumps({"reason": "x" * 1000}))

    assert (await connect().perform(task_of())).error == "x" * 300


# Sizes and connections.


async def test_a_body_just_within_the_limit_is_read(system, connect):
    body = json.dumps({"text": "x" * 100})
    system.answers(200, body)

    assert (await connect(bodyLimit=len(body)).perform(task_of())).kind == "completed"


@pytest.mark.parametrize("is_announced", [True, False], ids=["announced", "streamed"])
async def test_a_body_beyond_the_limit_is_not_read_and_its_connection_is_dropped(system, connect, is_announced):
    is_over = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if is_announced:
            response.content_length = 10**9
        await response.prepare(request)
        await response.write(b'"' if is_announced else b'"' + b"x" * 100)
        # The rest never comes: whoever waits for it waits until the deadline.
        await is_over.wait()
        return response

    system.handler = handler
    adapter = connect(bodyLimit=100)
    first = await adapter.perform(task_of())
    system.answers()
    second = await adapter.perform(task_of())
    is_over.set()

    assert first == Outcome.retryable("answered 200 with a body of more than 100 bytes", "badAnswer")
    assert second.kind == "completed"
    assert system.connections[0] is not system.connections[1]


async def test_a_refusal_stays_a_refusal_when_its_body_is_beyond_the_limit(system, connect):
    system.answers(404, json.dumps({"reason": "x" * 1000}))

    assert await connect(bodyLimit=100).perform(task_of()) == Outcome.failed("answered 404", "404")


async def test_calls_one_after_the_other_share_a_connection(system, connect):
    adapter = connect()
    for number in range(5):
        system.answers([200, 202, 404, 503, 200][number], '{"reason": "r"}')
        await adapter.perform(task_of())

    assert len(set(map(id, system.connections))) == 1


async def test_no_more_calls_are_open_at_once_than_configured(system, connect):
    open_now, open_most = 0, 0
    two_are_in, may_end = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        nonlocal open_now, open_most
        if request.path == "/other":
            return web.json_response({})
        open_now += 1
        open_most = max(open_most, open_now)
        if open_now == 2:
            two_are_in.set()
        await may_end.wait()
        open_now -= 1
        return web.json_response({})

    system.handler = handler
    adapter, other = connect(connections=2), connect()
    calls = [asyncio.create_task(adapter.perform(task_of(f"k-{number}"))) for number in range(6)]
    await two_are_in.wait()
    # What takes these round trips would have let a third call in.
    for _ in range(5):
        await other.perform(task_of(operation="other"))
    may_end.set()
    outcomes = await asyncio.gather(*calls)

    assert {outcome.kind for outcome in outcomes} == {"completed"}
    assert open_most == 2


async def test_nobody_listening_may_be_tried_again():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        adapter = HttpAdapter({"url": f"http://127.0.0.1:{taken.getsockname()[1]}"}, clock=lambda: NOW)
        outcome = await adapter.perform(task_of())
        await adapter.close()

    assert (outcome.kind, outcome.error_code) == ("retryable", "connection")
    assert outcome.error.startswith("no connection: ")


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", b"HTTP/1.1 200 OK\r\nContent-Len"]
)
async def test_a_connection_lost_before_the_answers_end_may_be_tried_again(answer):
    outcome = await raw_answer(answer)

    assert (outcome.kind, outcome.error_code) == ("retryable", "connection")


async def test_a_reset_connection_may_be_tried_again():
    outcome = await raw_answer(b"", then_reset=True)

    assert (outcome.kind, outcome.error_code) == ("retryable", "connection")


async def test_an_answer_that_is_no_http_may_be_tried_again():
    outcome = await raw_answer(b"220 mail.example ESMTP\r\n\r\n")

    assert (outcome.kind, outcome.error_code) == ("retryable", "badAnswer")


async def test_no_call_is_made_after_the_deadline(system, connect):
    outcome = await connect().perform(task_of(deadline_at=NOW))

    assert outcome == Outcome.retryable("the deadline had passed before the call was made", "timeout")
    assert system.requests == []


async def test_a_system_that_stops_in_the_middle_of_its_answer_is_waited_for_until_the_deadline(system):
    is_over = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await is_over.wait()
        return response

    system.handler = handler
    adapter = HttpAdapter({"url": system.url})
    outcome = await adapter.perform(task_of(deadline_at=datetime.now(UTC) + timedelta(seconds=0.05)))
    is_over.set()
    await adapter.close()

    assert outcome == Outcome.retryable("no answer came before the deadline", "timeout")


async def test_closing_ends_open_calls_and_takes_no_new_ones(system, connect):
    has_arrived, is_over = asyncio.Event(), asyncio.Event()

    async def handler(_request: web.Request) -> web.Response:
        has_arrived.set()
        await is_over.wait()
        return web.json_response({})

    system.handler = handler
    adapter = connect()
    open_call = asyncio.create_task(adapter.perform(task_of()))
    await has_arrived.wait()
    await adapter.close()
    outcome = await open_call
    is_over.set()

    assert (outcome.kind, outcome.error_code) == ("retryable", "connection")
    assert await adapter.perform(task_of()) == Outcome.retryable("the adapter is closed", "connection")


# Configuration.


def test_an_adapter_can_be_built_where_no_loop_runs():
    assert isinstance(HttpAdapter({"url": "https://billing.example"}), HttpAdapter)


@pytest.mark.parametrize(
    ("config", "path", "reason"),
    [
        ({"url": None}, "config.url", "string"),
        ({"url": ""}, "config.url", "is no address"),
        ({"url": "billing.example"}, "config.url", "is no address"),
        ({"url": "ftp://billing.example"}, "config.url", "is no address"),
        ({"url": "http://"}, "config.url", "is no address"),
        ({"url": "http://billing.example:99999"}, "config.url", "is no address"),
        ({"url": "http://me:secret@billing.example"}, "config.url", "put them into headers"),
        ({"url": "http://billing.example?a=secret"}, "config.url", "put a query into path"),
        ({"url": "http://billing.example#a"}, "config.url", "fragment"),
        ({"path": "deliver"}, "config.path", 'must start with "/"'),
        ({"path": "/{secret}"}, "config.path", "a path may name"),
        ({"path": "/{operation"}, "config.path", "brace"),
        ({"path": "/a b"}, "config.path", "percent-encoded"),
        ({"method": "GET"}, "config.method", "POST"),
        ({"headers": {"A b": "secret"}}, "config.headers", "no header name"),
        ({"headers": {"A": "secret\r\nB: c"}}, "config.headers", "characters"),
        ({"headers": {"A": 7}}, "config.headers.A", "string"),
        ({"headers": {"IDEMPOTENCY-KEY": "secret"}}, "config.headers", "set by the adapter itself"),
        ({"connections": 0}, "config.connections", "greater than or equal to 1"),
        ({"connections": "secret"}, "config.connections", "integer"),
        ({"connections": True}, "config.connections", "integer"),
        ({"responsePath": "a..b"}, "config.responsePath", "joined by dots"),
        ({"bodyLimit": 10**12}, "config.bodyLimit", "less than or equal to"),
        ({"body_limit": 5}, "config.body_limit", "is unknown"),
        ({"secrets": "secret"}, "config.secrets", "is unknown"),
    ],
)
def test_a_wrong_configuration_is_refused_by_the_name_of_the_member_without_its_value(config, path, reason):
    with pytest.raises(BadDocument) as caught:
        HttpAdapter({"url": "https://billing.example", **config})

    assert caught.value.path == path
    assert reason in caught.value.reason
    assert "secret" not in caught.value.reason.replace("{secret}", "")
    assert caught.value.__cause__ is None


def test_a_missing_address_is_named():
    with pytest.raises(BadDocument, match=r"config\.url: is missing"):
        HttpAdapter({})


def test_an_unknown_member_is_refused_with_the_known_ones():
    with pytest.raises(BadDocument, match=r"known members: bodyLimit, .*, url\)") as caught:
        HttpAdapter({"url": "https://billing.example", "bodylimit": 5})

    assert caught.value.facts["problems"] == [{"path": "config.bodylimit", "reason": "is unknown"}]
