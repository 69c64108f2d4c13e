"""Direct lines: calls and answers over a local socket, what happens when it breaks, and who must not have one."""

from __future__ import annotations

import asyncio
import pickle
import socket
from typing import Any

import pytest
import uvloop

from actors.lines import CallFailed, DirectHandle, Line, LineLost, LineServer
from domain.errors import Busy

pytestmark = pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="there are no such sockets here")


class Process:
    """One that is called."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.has_heard = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def perform(self, argument: Any) -> Any:
        self.heard.append(argument)
        self.has_heard.set()
        await self.goes_on.wait()
        if isinstance(argument, Exception):
            raise argument
        return [argument, "done"]

    async def unsendable(self, _argument: Any) -> Any:
        """What is made within a function cannot be pickled."""
        return lambda: None


@pytest.fixture
async def process():
    return Process()


@pytest.fixture
async def server(process):
    made = LineServer({"perform": process.perform, "unsendable": process.unsendable})
    yield made
    made.close()


@pytest.fixture
async def line(server):
    made = await Line.to(await server.open())
    yield made
    made.close()


async def test_many_calls_at_once_each_get_their_own_answer(line):
    answers = await asyncio.gather(*(line.call("perform", number) for number in range(100)))

    assert answers == [[number, "done"] for number in range(100)]


def test_lines_stand_on_the_event_loop_of_the_actors_too():
    async def ask() -> Any:
        server = LineServer({"perform": Process().perform})
        line = await Line.to(await server.open())
        answer = await line.call("perform", 1)
        line.close()
        server.close()
        return answer

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(ask()) == [1, "done"]


async def test_a_message_of_many_pieces_arrives_whole(line):
    big = "x" * 5_000_000

    assert await line.call("perform", big) == [big, "done"]


async def test_a_refusal_arrives_as_the_error_that_it_is_and_a_bug_without_its_text(line):
    with pytest.raises(Busy, match="too many"):
        await line.call("perform", Busy("too many calls", retryAfterS=1))
    with pytest.raises(CallFailed, match=r"^ValueError$"):
        await line.call("perform", ValueError("a secret"))


async def test_calls_that_are_under_way_when_the_line_breaks_fail_as_unheard(process, line):
    process.goes_on.clear()
    answer = line.call("perform", 1)
    await process.has_heard.wait()
    line.close()

    with pytest.raises(LineLost):
        await answer
    with pytest.raises(LineLost):
        line.call("perform", 2)


async def test_a_caller_who_waits_no_longer_does_no_harm(process, line):
    process.goes_on.clear()
    given_up = line.call("perform", 1)
    given_up.cancel()
    process.goes_on.set()

    assert await line.call("perform", 2) == [2, "done"]


async def test_a_process_of_another_user_gets_no_line(server, process, monkeypatch):
    told = await server.open()
    monkeypatch.setattr("actors.lines._is_own", lambda _end: False)
    with pytest.raises(PermissionError):
        await Line.to(told)
    name, _, secret = told.partition(" ")

    # One that asks for no proof itself is hung up on before it is heard, whatever it knows.
    assert await said_to(name, bytes.fromhex(secret) + framed((1, "perform", 1))) == b""
    assert process.heard == []


async def test_a_process_that_does_not_know_the_secret_is_not_heard(server, process):
    name, _, secret = (await server.open()).partition(" ")

    assert await said_to(name, bytes(32) + framed((1, "perform", 1))) == b""
    assert process.heard == []
    assert pickle.loads((await said_to(name, bytes.fromhex(secret) + framed((1, "perform", 1)), 4))[4:]) == (
        1, True, [1, "done"]
    )  # fmt: skip
    assert process.heard == [1]


async def test_an_answer_that_cannot_be_sent_is_told_as_failed(line):
    with pytest.raises(CallFailed):
        await line.call("unsendable", 1)
    assert await line.call("perform", 2) == [2, "done"]


async def test_a_message_that_cannot_be_read_breaks_the_line_and_what_is_under_way_with_it(server, process):
    process.goes_on.clear()
    line = await Line.to(await server.open())
    answer = line.call("perform", 1)
    await process.has_heard.wait()
    assert line._transport is not None
    line._transport.write(b"\0\0\0\4abcd")

    with pytest.raises(LineLost):
        await answer
    assert not line.is_open


def framed(message: Any) -> bytes:
    body = pickle.dumps(message)
    return len(body).to_bytes(4, "big") + body


async def said_to(name: str, given: bytes, at_least: int = -1) -> bytes:
    """What a listener says to these bytes; all until it hangs up, or a message."""
    reader, writer = await asyncio.open_unix_connection(f"\0{name}")
    writer.write(given)
    try:
        if at_least < 0:
            return await reader.read()
        head = await reader.readexactly(at_least)
        return head + await reader.readexactly(int.from_bytes(head, "big"))
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


class RayHandle:
    """An actor's handle that carries everything, slowly."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def line(self) -> Any:
        return Remote(lambda: self._name)

    @property
    def perform(self) -> Any:
        return Remote(lambda argument: [argument, "by Ray"])

    @property
    def stats(self) -> Any:
        return Remote(lambda: "stats by Ray")


class Remote:
    """A method of it."""

    def __init__(self, method: Any) -> None:
        self._method = method

    async def remote(self, *arguments: Any) -> Any:
        return self._method(*arguments)


async def has_line(handle: DirectHandle) -> None:
    assert handle._opening is not None
    await handle._opening


async def test_a_handle_takes_the_line_as_soon_as_it_stands_and_ray_before_after_and_for_what_is_rare(server):
    ray = RayHandle(await server.open())
    handle = DirectHandle(ray, ())
    first = await handle.perform.remote(1)
    await has_line(handle)
    second = await handle.perform.remote(2)
    assert handle._line is not None
    handle.hang_up()
    third = await handle.perform.remote(3)

    assert (first, second, third) == ([1, "by Ray"], [2, "done"], [3, "by Ray"])
    assert await handle.stats.remote() == "stats by Ray"


@pytest.mark.parametrize("name", ["", "orderplan-nobody-listens-here"])
async def test_without_a_line_everything_goes_by_ray(name):
    handle = DirectHandle(RayHandle(name), ())
    await handle.perform.remote(1)
    await has_line(handle)

    assert await handle.perform.remote(2) == [2, "by Ray"]
