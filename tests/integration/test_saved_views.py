"""Saved views over HTTP: whose they are, who sees them, who may delete them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from actors.config import ClusterConfig
from actors.folding import PlanFolder
from gateway.app import make_app
from gateway.context import Context
from persistence import saved_views
from persistence.database import Pool
from persistence.readstore import ReadStore

LATE = {"query": {"search": "state:open due<today"}}


class Desk:
    """A gateway that has nothing but the database."""

    def __init__(self, pool: Pool) -> None:
        nobody: Any = None
        store = ReadStore(pool)
        context = Context(
            config=ClusterConfig(dsn="", key_dsn=""), pool=pool, store=store, hosts=nobody, folder=PlanFolder(store),
            people=lambda: None, broadcast=nobody, stats=nobody,
        )  # fmt: skip
        self.client = TestClient(TestServer(make_app(context)))

    async def call(self, method: str, path: str, user: str, body: Any = None, roles: str = "") -> tuple[int, Any]:
        headers = {"X-User": user, "X-Roles": roles}
        async with self.client.request(method, path, json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def seen(self, user: str, desk: str = "order") -> list[tuple[str, str]]:
        """(name, owner) of the views that somebody is shown."""
        _, found = await self.call("GET", f"/v1/{desk}-views", user)
        return [(each["name"], each["owner"]) for each in found]


@pytest.fixture
async def desk(pool: Pool) -> AsyncIterator[Desk]:
    made = Desk(pool)
    await made.client.start_server()
    yield made
    await made.client.close()


async def test_a_view_is_its_owners_until_it_is_shared(desk: Desk) -> None:
    status, saved = await desk.call("PUT", "/v1/order-views/Late%20ones", "ann", LATE)
    assert (status, saved["query"], saved["shared"], saved["owner"]) == (200, LATE["query"], False, "ann")
    assert await desk.seen("ann") == [("Late ones", "ann")]
    assert await desk.seen("bob") == []
    await desk.call("PUT", "/v1/queue-views/Late%20ones", "bob", {"query": {"queue": "q", "show": "all"}})
    await desk.call("PUT", "/v1/order-views/Late%20ones", "bob", LATE)
    _, shared = await desk.call("PUT", "/v1/order-views/Late%20ones", "ann", LATE | {"shared": True})

    assert shared["id"] == saved["id"]  # links to it stay
    assert await desk.seen("bob") == [("Late ones", "ann"), ("Late ones", "bob")]
    assert await desk.seen("ann") == [("Late ones", "ann")]
    assert await desk.seen("bob", "queue") == [("Late ones", "bob")]


async def test_a_view_is_deleted_by_its_owner_and_a_shared_one_by_a_manager_too(desk: Desk) -> None:
    paths = []
    for name, is_shared in (("a", False), ("b", True), ("c", True)):
        _, saved = await desk.call("PUT", f"/v1/order-views/{name}", "ann", LATE | {"shared": is_shared})
        paths.append(f"/v1/order-views/{saved['id']}")
    refused = [await desk.call("DELETE", path, "bob") for path in paths[:2]]
    private = await desk.call("DELETE", paths[0], "olga", roles="manager")
    done = [
        (await desk.call("DELETE", path, user, roles="manager"))[0]
        for path, user in zip(paths, ("ann", "olga", "ann"), strict=True)
    ]

    assert [status for status, _ in refused] == [404, 403]
    assert (refused[1][1]["detail"], refused[1][1]["mend"]) == (
        "the view is ann's",
        "its owner deletes it, or a manager",
    )
    assert private[0] == 404
    assert done == [204, 204, 204]
    assert await desk.seen("ann") == []


async def test_what_no_view_can_say_is_refused_by_name(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong: dict[str, Any] = {
        "query": {},
        "query.colour": {"query": {"colour": "red"}},
        "query.search": {"query": {"search": "state:eaten"}},
        "shared": LATE | {"shared": "yes"},
        "owner": LATE | {"owner": "bob"},
    }
    answers = {path: await desk.call("PUT", "/v1/order-views/x", "ann", body) for path, body in wrong.items()}
    assert {path: (status, answer["path"]) for path, (status, answer) in answers.items()} == {
        path: (400, path) for path in wrong
    }
    assert (await desk.call("PUT", f"/v1/order-views/{'x' * 101}", "ann", LATE))[1]["path"] == "name"

    monkeypatch.setattr(saved_views, "VIEWS_MAX", 1)
    statuses = [(await desk.call("PUT", f"/v1/order-views/{name}", "ann", LATE))[0] for name in ("a", "b", "a")]
    assert statuses == [200, 409, 200]
