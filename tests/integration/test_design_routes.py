"""Diagrams, drafts and simulations over HTTP, on a real database: versions, conflicts that say what differs, bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from actors.config import ClusterConfig
from actors.folding import PlanFolder
from gateway.app import make_app
from gateway.context import CONTEXT, Context
from persistence import catalogue
from persistence.readstore import ReadStore
from tests.support import dro, own_mobile
from tests.support.build import callout, line, order_of, plan_of, release_document, scenario
from tests.support.hosts import Host
from tests.support.journals import AT

CANVAS: dict[str, Any] = {"catalogue": "test", "plans": ["deliver", "bill"]}


LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
"""Thirty lines that stand for more values than there are atoms."""


async def _nothing() -> dict[str, Any]:
    return {}


async def _nobody(what: str) -> None:
    pass


@pytest.fixture
async def client(pool) -> AsyncIterator[Any]:
    store = ReadStore(pool)
    hosts: Any = None
    context = Context(
        config=ClusterConfig(dsn="", key_dsn=""), pool=pool, store=store, hosts=hosts, folder=PlanFolder(store),
        people=lambda: None, broadcast=_nobody, stats=_nothing,
    )  # fmt: skip
    async with TestClient(TestServer(make_app(context))) as made:
        yield made


async def sent(client: Any, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await client.request(method, path, json=body, headers=named)
    return answer.status, (await answer.json() if answer.status != 204 else None)


async def test_a_diagram_is_made_changed_by_version_renamed_and_deleted(client):
    made = await sent(client, "PUT", "/v1/diagrams/All%2Fof it", CANVAS, X_User="dana")
    twice = await sent(client, "PUT", "/v1/diagrams/All%2Fof it", CANVAS)
    renamed = await sent(client, "PUT", "/v1/diagrams/All%2Fof it", CANVAS | {"name": "All"}, If_Match='"1"')
    other = await sent(client, "PUT", "/v1/diagrams/Other", CANVAS)
    taken = await sent(client, "PUT", "/v1/diagrams/Other", CANVAS | {"name": "All", "version": 1})
    (status, listed), shown = await sent(client, "GET", "/v1/diagrams"), await client.get("/v1/diagrams/All")
    late = await sent(client, "DELETE", "/v1/diagrams/All", If_Match='"1"')
    gone = await sent(client, "DELETE", "/v1/diagrams/All", If_Match='"2"')

    assert made == (201, {"name": "All/of it", "version": 1})
    assert (twice[0], taken[0], taken[1]["detail"]) == (409, 409, "there is a diagram 'All' already")
    assert (renamed, other[0]) == ((200, {"name": "All", "version": 2}), 201)
    assert (status, [(each["name"], each["version"], each["plans"]) for each in listed]) == (
        200, [("All", 2, ["deliver", "bill"]), ("Other", 1, ["deliver", "bill"])],
    )  # fmt: skip
    assert shown.headers["ETag"] == '"2"'
    assert (late[0], gone[0], (await sent(client, "GET", "/v1/diagrams/All"))[0]) == (412, 204, 404)


async def test_who_saves_over_a_change_is_refused_and_sees_what_differs(client):
    draft = {"release": {"code": "test", "plans": [{"code": "deliver", "items": []}]}}
    theirs = {
        "release": {"code": "test", "plans": [{"code": "deliver", "items": [], "name": "Deliver"}]},
        "base": "t@1",
    }
    await sent(client, "PUT", "/v1/drafts/mine", draft, X_User="dana")
    saved = await sent(client, "PUT", "/v1/drafts/mine", theirs, If_Match='"1"', X_User="kim")
    again = await sent(client, "PUT", "/v1/drafts/mine", theirs, If_Match='"1"', X_User="kim")
    status, told = await sent(client, "PUT", "/v1/drafts/mine", draft, If_Match='"1"', X_User="dana")
    _, (listed,) = await sent(client, "GET", "/v1/drafts")

    assert saved == again == (200, {"name": "mine", "version": 2}), "an answer that was not heard is no conflict"
    assert (status, told["version"], told["updatedBy"], told["more"]) == (412, 2, "kim", False)
    assert sorted(told["differs"], key=lambda each: str(each["path"])) == [
        {"path": "base", "stored": "t@1"},
        {"path": "release.plans[deliver].name", "stored": "Deliver"},
    ]
    assert (listed["of"], listed["base"], "release" in listed) == ("test", "t@1", False)


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("diagrams/a", {"catalogue": "test", "plans": []}, "plans"),
        ("diagrams/a", {"catalogue": "test", "plans": ["x", "x"]}, "plans"),
        ("diagrams/a", {"catalogue": "test", "plans": ["x", 7]}, "plans[1]"),
        ("diagrams/a", {"plans": ["x"]}, "catalogue"),
        ("diagrams/a", CANVAS | {"lanes": []}, "lanes"),
        ("diagrams/a", CANVAS | {"version": "1"}, "version"),
        ("diagrams/a", CANVAS | {"version": 10**12}, "version"),
        (f"diagrams/{'a' * 201}", CANVAS, "name"),
        ("drafts/a", {"release": []}, "release"),
        ("drafts/a", {"release": {}, "base": 1}, "base"),
    ],
)
async def test_what_is_no_diagram_and_no_draft_is_refused_with_the_field(client, path, body, where):
    status, told = await sent(client, "PUT", f"/v1/{path}", body)

    assert (status, told["path"]) == (400, where)


async def test_an_import_brings_its_workspaces_and_leaves_alone_what_people_have_made_of_them(client):
    files = {name: content.decode() for name, content in dro.files_of("mfg").items()}
    bindings = (dro.FOLDER / "mfg-bindings.yaml").read_text(encoding="utf-8")
    body = {"files": files, "bindings": bindings, "version": "1"}
    _, tried = await sent(client, "POST", "/v1/releases:import-dro?dryRun=true", body)
    nothing = await sent(client, "GET", "/v1/diagrams"), await sent(client, "GET", "/v1/releases")
    imported = await sent(client, "POST", "/v1/releases:import-dro", body)
    await sent(client, "PUT", "/v1/diagrams/Kit Order Orchestration", CANVAS, If_Match='"1"')
    _, again = await sent(client, "POST", "/v1/releases:import-dro", body | {"version": "2"})
    _, bad = await sent(client, "POST", "/v1/releases:import-dro", body | {"bindings": "a: ["})

    assert nothing == ((200, []), (200, []))
    assert [each["name"] for each in tried["diagrams"]] == [
        "Service Contract Fulfillment", "Kit Order Orchestration", "FESBA Generator Fulfillment",
    ]  # fmt: skip
    assert len(tried["release"]["plans"]) == tried["plans"]
    assert (imported[0], imported[1]["diagrams"]) == (201, tried["diagrams"])
    assert [each for each in again["findings"] if each.startswith("diagram")] == [
        "diagram 'Kit Order Orchestration' is there already, with other lanes: it is left as it is"
    ]
    assert bad["path"] == "bindings"


async def test_a_tmf620_catalogue_is_tried_without_publishing_it(client):
    body = {"catalogue": own_mobile.read("own-mobile-catalogue.json"), "version": "7"}
    bindings = (own_mobile.FOLDER / "bindings.yaml").read_text(encoding="utf-8")
    status, tried = await sent(client, "POST", "/v1/releases:import-tmf620?dryRun=true", body | {"bindings": bindings})

    assert (status, tried["id"], tried["release"]["version"]) == (200, tried["release"]["code"] + "@7", "7")
    assert await sent(client, "GET", "/v1/releases") == (200, [])


def release(version: str, *calls: str, code: str = "test") -> dict[str, Any]:
    return release_document(
        code=code,
        version=version,
        products=["sim"],
        plans=[plan_of("deliver", *(callout(each) for each in calls))],
        scenarios=[scenario("sim", "deliver", "add")],
    )


async def test_a_draft_is_tried_on_the_newest_orders_and_changes_nothing(databases, pool, client):
    await catalogue.publish_release(pool, "main", "test@1", release("1", "reserve"), AT)
    host = await Host.start(databases, pool)
    await host.submit(*(order_of(line("1", "sim"), account=f"acc-{number}") for number in range(3)))
    before = await pool.fetchval("select count(*) from fact")
    draft = release("2", "reserve", "bill")
    status, told = await sent(client, "POST", "/v1/releases:simulate", {"release": draft, "orders": 2})
    other = await sent(client, "POST", "/v1/releases:simulate", {"release": release("1", "reserve", code="other")})
    many = await sent(client, "POST", "/v1/releases:simulate", {"release": draft, "orders": 501})
    bad = await sent(client, "POST", "/v1/releases:simulate", {"release": draft | {"scenarios": [{}]}})
    host.kill()

    assert (status, told["outcomes"], told["left"]) == (200, {"other": 2}, 0)
    assert [each["key"] for each in told["orders"][0]["added"]["first"]] == ["deliver/bill@1"]
    assert not any(each["isApproximate"] for each in told["orders"])
    assert other[1]["orders"] == []
    assert (many[0], many[1]["path"], bad[0]) == (400, "orders", 422)
    assert await pool.fetchval("select count(*) from fact") == before
    assert await pool.fetchval("select count(*) from release") == 1


async def test_a_simulation_ends_when_its_time_is_up_and_says_what_is_left(databases, pool, client, monkeypatch):
    monkeypatch.setattr("gateway.simulation.TIME_MAX_S", -1.0)
    await catalogue.publish_release(pool, "main", "test@1", release("1", "reserve"), AT)
    host = await Host.start(databases, pool)
    await host.submit(order_of(line("1", "sim")))
    _, told = await sent(client, "POST", "/v1/releases:simulate", {"release": release("2", "reserve")})
    host.kill()

    assert (told["left"], told["orders"]) == (1, [])


async def test_one_simulation_at_a_time_is_carried_out(client):
    context = client.server.app[CONTEXT]
    async with context.simulating:
        answer = await client.post("/v1/releases:simulate", json={"release": release("2", "reserve")})

    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("code: shop\nversion: '1'\nproducts: []\n", {"release": {"code": "shop", "version": "1", "products": []}}),
        ('{"code": "shop"}', {"release": {"code": "shop"}}),
        ("- a", "text: is no release: it is not an object"),
        ("a: [", "text: is no YAML"),
        ("a: &a [b]\nc: *a", {"release": {"a": ["b"], "c": ["b"]}}),
        ("a: &a [*a]", "text: is no YAML: a value holds itself"),
        ("a: &a {k: 1}\nb: {<<: [*a, *a]}", "text: is no YAML: merge keys (<<) are not read"),
        (LAUGHS, "text: is no YAML: written out, its aliases are too long"),
        ("1: a", "text: is no YAML"),
    ],
)
async def test_a_release_file_in_yaml_is_read(client, text, said):
    status, told = await sent(client, "POST", "/v1/releases:read", {"text": text})

    if isinstance(said, dict):
        assert (status, told) == (200, said)
    else:
        assert status == 400
        assert f"{told['path']}: {told['detail']}".startswith(said)
