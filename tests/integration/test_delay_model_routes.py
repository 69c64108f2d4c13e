"""Delay models over HTTP: registered, promoted by hand or by rule, rolled back; the history that they learn from."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from actors.config import ClusterConfig
from actors.folding import PlanFolder
from delay.critical_path import NAME as BUILTIN
from delay.critical_path import VERSION as BUILTIN_VERSION
from delay.features import Schema
from delay.histories.files import StoredHistory
from delay.replay import closed_orders
from delay.stock.artefact import FORMAT
from gateway.app import make_app
from gateway.context import Context
from orderplan.cli.model_history import export
from persistence import ticks
from persistence.readstore import ReadStore
from persistence.ticks import TickRow
from tests.support.deliveries import sim
from tests.support.journals import AT

Call = Any


async def _nothing() -> dict[str, Any]:
    begun = {"model": "shadow", "stage": "shadow", "asked": 3, "lastCause": "predict raised ValueError"}
    counters = {"shift": {"score": 0.3}, "champion": "named:AtStart", "fallbackShare": 0.01, "modelErrors": 1}
    return {"predictor": counters | {"atWork": [begun]}}


async def _nobody(what: str) -> None:
    pass


class HostTime(Context):
    """The gateway's context, later than everything that hosts under test do."""

    def now(self) -> datetime:
        return AT + timedelta(days=1)


@pytest.fixture
async def call(pool) -> AsyncIterator[Call]:
    store = ReadStore(pool)
    hosts: Any = None
    context = HostTime(
        config=ClusterConfig(dsn="", key_dsn=""), pool=pool, store=store, hosts=hosts, folder=PlanFolder(store),
        people=lambda: None, broadcast=_nobody, stats=_nothing,
    )  # fmt: skip
    async with TestClient(TestServer(make_app(context))) as client:

        async def send(method: str, path: str, body: Any = None) -> tuple[int, Any]:
            answer = await client.request(method, path, json=body, headers={"X-User": "ada"})
            return answer.status, await answer.json()

        yield send


def artefact(**signature: Any) -> dict[str, Any]:
    kept = {"schema": Schema({}).to_dict(), "simulated": True} | signature
    return {"format": FORMAT, "form": "planned", "signature": kept, "body": {}}


async def registered(call: Call, *names: str) -> None:
    for name in names:
        status, _ = await call("POST", "/v1/delay-models", {"name": name, "artefact": artefact(source=name)})
        assert status == 201


async def test_a_model_is_registered_promoted_and_rolled_back(call):
    await registered(call, "first", "second", "second")
    await call("POST", "/v1/delay-models/first:promote", {"reason": "to begin with"})
    await call("POST", "/v1/delay-models/second:promote", {})
    status, back = await call("POST", "/v1/delay-models:rollback", {"reason": "it was worse"})
    _, listed = await call("GET", "/v1/delay-models")
    _, kept = await call("GET", "/v1/delay-models/first/artefact")

    assert (status, back) == (200, {"was": "second", "champion": "first"})
    assert {each["name"]: each["stage"] for each in listed["models"]} == {"first": "champion", "second": "retired"}
    assert [(each["action"], each["by"]) for each in listed["changes"]] == [
        ("rollback", "ada"), ("promote", "ada"), ("promote", "ada"), ("register", "ada"), ("register", "ada"),
    ]  # fmt: skip
    assert kept == artefact(source="first")
    assert listed["models"][0]["signature"]["simulated"] is True
    assert listed["models"][0]["signature"]["featureHash"] == Schema({}).digest


@pytest.mark.parametrize(
    ("path", "body", "status", "named"),
    [
        ("", {"name": "a b", "artefact": artefact()}, 400, "name"),
        ("", {"name": BUILTIN, "artefact": artefact()}, 400, "name"),
        ("", {"name": "a"}, 400, "artefact.format"),
        ("", {"name": "a", "artefact": artefact(schema={})}, 400, "artefact.signature.schema"),
        ("", {"name": "a", "artefact": artefact(), "more": 1}, 400, "more"),
        ("", {"name": "first", "artefact": artefact(source="another")}, 409, "name"),
        ("/nobody:promote", {}, 404, None),
        ("/nobody:promote", {"ifBetter": True}, 404, None),
        ("/first:promote", {"margin": -1, "ifBetter": True}, 400, "margin"),
        ("/first:promote", {"ifBetter": 1}, 400, "ifBetter"),
        ("/first:shadow", {"reason": 1}, 400, "reason"),
        ("/first:rest", {}, 409, None),
        (":rollback", {}, 409, None),
    ],
)
async def test_what_cannot_be_is_refused_with_its_place(call, path, body, status, named):
    await registered(call, "first")
    found, answer = await call("POST", f"/v1/delay-models{path}", body)

    assert (found, answer.get("path")) == (status, named)


async def judged_on(pool, said: dict[str, Any], orders: int) -> None:
    """Every other order was late; each model says of late and of other orders what `said` has."""
    rows = []
    for number in range(orders):
        is_late = number % 2 == 0
        await pool.execute(
            "insert into product_order (order_id, tenant, shard, channel, priority, state, created_at, ended_at, "
            "active, fallout, sealed, items) values ($1, 'main', 0, 'web', 'normal', 'completed', $2, $3, false, 0, "
            "false, 1)",
            f"o0-{number}",
            AT,
            AT + timedelta(seconds=200 if is_late else 50),
        )
        for model, (of_late, of_others) in said.items():
            p_late = of_late if is_late else of_others
            rows.append(TickRow(f"o0-{number}", 25, model, AT, p_late, AT + timedelta(seconds=100)))
    await ticks.put_ticks(pool, "main", rows)
    await ticks.join_missed(pool, "main", AT + timedelta(days=1), 10_000)


async def test_the_rule_promotes_the_better_and_neither_the_worse_nor_the_untried(call, pool):
    await registered(call, "better", "worse", "untried")
    for name in ("better", "worse", "untried"):
        await call("POST", f"/v1/delay-models/{name}:shadow", {})
    await judged_on(pool, {BUILTIN: (0.6, 0.4), "better": (0.9, 0.2), "worse": (0.5, 0.5)}, 240)
    answers = {
        name: await call("POST", f"/v1/delay-models/{name}:promote", {"ifBetter": True})
        for name in ("worse", "untried", "better")
    }
    _, listed = await call("GET", "/v1/delay-models")

    assert {name: status for name, (status, _) in answers.items()} == {"worse": 409, "untried": 409, "better": 200}
    assert answers["untried"][1]["figures"]["outcomes"] == 0
    assert answers["worse"][1]["figures"]["gain"] == pytest.approx(-0.09)
    assert listed["champion"] == "better"
    assert listed["changes"][0]["figures"]["champion"] == BUILTIN
    assert "better than critical-path" in listed["changes"][0]["reason"]
    # The champion that was promoted is what the others are held against from now on.
    status, answer = await call("POST", "/v1/delay-models/worse:promote", {"ifBetter": True})
    assert (status, answer["figures"]["champion"]) == (409, "better")


async def test_the_report_tells_how_each_has_done_and_what_has_shifted(call, pool):
    await registered(call, "shadow")
    await call("POST", "/v1/delay-models/shadow:shadow", {})
    await judged_on(pool, {BUILTIN: (0.6, 0.4), "shadow": (0.9, 0.2)}, 240)
    _, found = await call("GET", "/v1/delay-models:report")
    by_name = {each["name"]: each for each in found["models"]}

    assert (found["champion"], found["shift"], found["fallbackShare"]) == (None, {"score": 0.3}, 0.01)
    assert found["answering"] == "named:AtStart"
    assert by_name["shadow"]["atWork"]["lastCause"] == "predict raised ValueError"
    assert by_name[BUILTIN]["atWork"] is None
    _, listed = await call("GET", "/v1/delay-models")
    assert listed["models"][0]["atWork"]["asked"] == 3
    assert by_name["shadow"]["live"]["outcomes"] == 240
    assert by_name["shadow"]["live"]["auc"] == 1.0
    assert by_name["shadow"]["live"]["brier"] == pytest.approx(0.025)
    assert by_name["shadow"]["live"]["labelLagS"] == 75
    assert by_name["shadow"]["live"]["knownFrom"] <= by_name["shadow"]["live"]["knownTo"]
    assert sum(count for _, _, count in by_name["shadow"]["live"]["reliability"]) == by_name["shadow"]["live"]["points"]
    assert (by_name[BUILTIN]["version"], len(by_name["shadow"]["version"])) == (BUILTIN_VERSION, 64)
    assert by_name["shadow"]["againstChampion"]["isBetter"] is True
    assert by_name[BUILTIN]["live"]["brier"] == pytest.approx(0.16)
    assert by_name["shadow"]["simulated"] is True
    await call("POST", "/v1/delay-models/shadow:promote", {})
    _, promoted = await call("GET", "/v1/delay-models:report")
    assert (promoted["champion"], promoted["fallbackShare"]) == ("shadow", None), "the share is another model's"


class Pages:
    """What the client gives of a server's pages."""

    url = "http://server"

    def __init__(self, pages: list[Any]) -> None:
        self._pages = pages

    def delay_history(self, since: str | None) -> list[Any]:
        return self._pages


async def test_an_exported_history_can_be_replayed(call, hosts, tmp_path: Path):
    host = await hosts()
    order_ids: list[str] = []
    for _ in range(3):
        if len(order_ids) == 2:
            await host.finish()
        (answer,) = await host.submit(sim())
        order_ids.append(answer.order_id)
    pages = []
    path = "/v1/delay-models:history?limit=2"
    while True:
        status, page = await call("GET", path)
        assert status == 200
        pages.append(page)
        if page["next"] is None:
            break
        path = f"/v1/delay-models:history?limit=2&cursor={page['next']}"
    client: Any = Pages(pages)
    manifest = export(client, tmp_path / "history", None, 100)
    history = StoredHistory(tmp_path / "history")

    assert [page["orders"] for page in pages] == [2, 1]
    assert manifest["simulated"] is False
    assert json.loads((tmp_path / "history" / "manifest.json").read_text())["counts"]["orders"] == 3
    assert {order_id for order_id, _ in history} == set(order_ids)
    assert {each.snapshot.order_id for each in closed_orders(history)} == set(order_ids[:2])


@pytest.mark.parametrize("query", ["since=yesterday", "cursor=x", "limit=0", "limit=x"])
async def test_a_page_that_cannot_be_is_refused(call, query):
    status, answer = await call("GET", f"/v1/delay-models:history?{query}")

    assert (status, answer["path"]) == (400, query.partition("=")[0])
