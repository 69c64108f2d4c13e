"""What goes on at the systems just now, as the adapters tell it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.context import CONTEXT
from gateway.systems import list_calls


async def told(stats: dict[str, Any]) -> Any:
    async def give() -> dict[str, Any]:
        return stats

    app = web.Application()
    context: Any = SimpleNamespace(config=SimpleNamespace(tenant="main"), stats=give)
    app[CONTEXT] = context
    app.router.add_get("/v1/systems:calls", list_calls)
    async with TestClient(TestServer(app)) as client:
        return await (await client.get("/v1/systems:calls")).json()


async def test_calls_and_breakers_are_those_of_the_adapters_and_of_the_callers_tenant() -> None:
    mine = {"code": "crm", "running": 3, "waiting": 40, "breaker": "halfOpen", "held": False}
    found = await told({"adapters": {"systems": [mine | {"tenant": "main"}, mine | {"tenant": "other"}]}})

    assert found == [mine]


async def test_where_the_adapters_do_not_answer_there_is_nothing_to_tell() -> None:
    assert await told({}) == []
