"""Releases are compiled once, and never while the event loop waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

import actors.folding
import gateway.design
from actors.folding import PlanFolder
from domain.errors import NotFound, PlanUnreadable
from domain.publish import compile_release
from gateway.context import CONTEXT, Context
from persistence.readstore import StoredFact
from tests.support.build import release_document, release_of
from tests.support.until import until

HELD_S_MAX = 10.0
DOCUMENT = release_document(products=["sim"])


class Store:
    """One published release."""

    async def release_body(self, _tenant: str, release_id: str) -> dict[str, Any] | None:
        await asyncio.sleep(0)
        return None if release_id == "unknown" else DOCUMENT


class HeldCompiler:
    """Compiles once the event loop has said that it is free to do other things."""

    def __init__(self) -> None:
        self.is_free = threading.Event()
        self.made = 0

    def __call__(self, release: Any) -> Any:
        self.made += 1
        assert self.is_free.wait(HELD_S_MAX), "the event loop did nothing else while a release was compiled"
        return compile_release(release)

    async def let_go(self) -> None:
        """Runs on the event loop, once a compilation has begun."""
        await until(lambda: self.made)
        self.is_free.set()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> HeldCompiler:
    compiler = HeldCompiler()
    monkeypatch.setattr(actors.folding, "compile_release", compiler)
    monkeypatch.setattr(gateway.design, "compile_release", compiler)
    return compiler


def folder() -> PlanFolder:
    return PlanFolder(cast("Any", Store()))


async def test_the_loop_goes_on_while_a_stored_release_is_compiled(held: HeldCompiler) -> None:
    release, _ = await asyncio.gather(folder().release("main", "r1"), held.let_go())

    assert release.release_id == release_of(products=["sim"]).release_id


async def test_two_that_ask_for_one_release_at_once_compile_it_once(held: HeldCompiler) -> None:
    one = folder()

    first, second, _ = await asyncio.gather(one.release("main", "r1"), one.release("main", "r1"), held.let_go())

    assert first is second
    assert held.made == 1


async def test_a_release_that_is_not_there_does_not_keep_others_from_being_compiled(held: HeldCompiler) -> None:
    one = folder()
    held.is_free.set()
    with pytest.raises(NotFound):
        await one.release("main", "unknown")

    assert await one.release("main", "r1") is one.loaded_release("main", "r1")


def request_with(body: dict[str, Any]) -> Any:
    """A request as the handlers see it, with a context in which nothing can be reached but the lock."""

    async def read() -> bytes:
        return orjson.dumps(body)

    context = object.__new__(Context)
    context.compiling = asyncio.Lock()
    return SimpleNamespace(read=read, app={CONTEXT: context}, query={})


async def test_other_requests_are_answered_while_a_catalogue_is_checked(held: HeldCompiler) -> None:
    answer, _ = await asyncio.gather(gateway.design.validate_release(request_with(DOCUMENT)), held.let_go())

    assert orjson.loads(cast("bytes", answer.body))["products"] == 1


@pytest.mark.parametrize(
    ("handler", "body"),
    [
        (gateway.design.publish_release, DOCUMENT),
        (gateway.design.import_tmf620_catalogue, {"catalogue": {}}),
    ],
)
async def test_other_requests_are_answered_while_a_catalogue_is_published(
    held: HeldCompiler, monkeypatch: pytest.MonkeyPatch, handler: Callable[[Any], Any], body: dict[str, Any]
) -> None:
    async def published(*_arguments: Any) -> dict[str, Any]:
        return {"findings": []}

    monkeypatch.setattr(gateway.design, "_publish", published)
    monkeypatch.setattr(gateway.design, "tenant_of", lambda _request: "main")
    monkeypatch.setattr(
        gateway.design, "import_tmf620", lambda *_arguments: (release_of(products=["sim"]).source, [])
    )

    answer, _ = await asyncio.gather(handler(request_with(body)), held.let_go())

    assert answer.status == 201
    assert held.made == 1


async def test_facts_that_make_no_plan_say_whose_they_are_and_quote_nothing() -> None:
    stored = StoredFact(
        1, 1, "o1-1", None, "order.accepted", 1, datetime(2030, 1, 1, tzinfo=UTC), None, "system", None, {"PIN": "4711"}
    )

    with pytest.raises(PlanUnreadable, match="the facts of order o1-1 make no plan: KeyError") as caught:
        await folder().fold([stored])
    assert "4711" not in str(caught.value)
