"""Posting to listeners: what counts as taken, and what a listener cannot do to us."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.webhook import BODY_READ_MAX, Webhooks


class Receiver:
    """A listener that does what its path says."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, bytes, str]] = []
        self.connections: set[object] = set()
        self.sent = 0

    async def receive(self, request: web.Request) -> web.StreamResponse:
        self.connections.add(request.transport)
        self.bodies.append((request.path, await request.read(), request.headers["Content-Type"]))
        if request.path == "/moved":
            raise web.HTTPFound("/204")
        if request.path == "/silent":
            await asyncio.sleep(60)
        if request.path == "/endless":
            answer = web.StreamResponse(status=200)
            await answer.prepare(request)
            while True:
                await answer.write(b"x" * 4096)
                self.sent += 4096
        return web.Response(status=int(request.path[1:]), body=b"thanks" if request.path != "/204" else None)


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", made.receive)
    server = TestServer(app)
    await server.start_server()
    yield made, str(server.make_url("/"))
    await server.close()


@pytest.fixture
async def webhooks() -> AsyncIterator[Webhooks]:
    made = Webhooks(timeout_s=5.0)
    yield made
    await made.close()


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_any_2xx_says_that_the_event_was_taken(receiver, webhooks, status):
    made, url = receiver
    answer = await webhooks.post(f"{url}{status}", b'{"eventId": "1-1"}')

    assert (answer.status, answer.error) == (status, "")
    assert made.bodies == [(f"/{status}", b'{"eventId": "1-1"}', "application/json;charset=utf-8")]


@pytest.mark.parametrize("status", [400, 404, 410, 422, 429, 500, 503])
async def test_everything_else_says_that_it_was_not(receiver, webhooks, status):
    answer = await webhooks.post(f"{receiver[1]}{status}", b"{}")

    assert (answer.status, answer.error) == (status, f"answered {status}")


async def test_redirects_are_not_followed(receiver, webhooks):
    made, url = receiver
    answer = await webhooks.post(f"{url}moved", b"{}")

    assert (answer.status, answer.error) == (302, "answered 302: redirects are not followed")
    assert [path for path, _, _ in made.bodies] == ["/moved"]


async def test_connections_are_used_again(receiver, webhooks):
    made, url = receiver
    for _ in range(5):
        await webhooks.post(f"{url}200", b"{}")

    assert len(made.connections) == 1


async def test_an_endless_answer_is_not_read(receiver, webhooks):
    made, url = receiver
    answer = await webhooks.post(f"{url}endless", b"{}")

    assert (answer.status, answer.error) == (200, "")
    assert made.sent < 1000 * BODY_READ_MAX


async def test_a_listener_that_says_nothing_is_given_up(receiver):
    webhooks = Webhooks(timeout_s=0.05)
    answer = await webhooks.post(f"{receiver[1]}silent", b"{}")
    await webhooks.close()

    assert (answer.status, answer.error) == (None, "no answer came within 0.05 s")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://no-such-host.invalid/", "http://[broken/"])
async def test_an_address_where_nobody_is_gives_a_reason(webhooks, url):
    answer = await webhooks.post(url, b"{}")

    assert answer.status is None
    assert answer.error.startswith("no connection: ")
