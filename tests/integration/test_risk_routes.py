"""The list of risks and what-if over HTTP: what is refused, and what is passed on to the predictor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from actors.config import ClusterConfig
from actors.folding import PlanFolder
from delay.what_if import Change
from domain.errors import NotPossibleNow
from gateway.app import make_app
from gateway.context import Context
from persistence import catalogue
from persistence.readstore import ReadStore
from tests.support.build import callout, line, order_of, plan_of, release_document, release_of, scenario
from tests.support.hosts import Host
from tests.support.journals import AT

RELEASE: dict[str, Any] = release_document(
    products=["sim"], plans=[plan_of("deliver", callout("reserve"))], scenarios=[scenario("sim", "deliver", "add")]
)


async def _nothing() -> dict[str, Any]:
    return {}


async def _nobody(what: str) -> None:
    pass


class Predictor:
    """Stands for the handle of the actor: keeps what it is asked, and answers what the test says."""

    def __init__(self, answer: Any) -> None:
        self.asked: list[Any] = []
        self._answer = answer
        self.what_if = self.schedule = self

    async def remote(self, order_id: str, *changes: list[Change]) -> Any:
        self.asked.append((order_id, *changes))
        return self._answer


@pytest.fixture
async def order_id(databases, pool) -> AsyncIterator[str]:
    await catalogue.publish_release(pool, "main", release_of(**RELEASE).release_id, RELEASE, AT)
    host = await Host.start(databases, pool)
    (answer,) = await host.submit(order_of(line("1", "sim")))
    yield answer.order_id
    host.kill()


async def asked(pool: Any, predictor: Any, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    store = ReadStore(pool)
    hosts: Any = None
    context = Context(
        config=ClusterConfig(dsn="", key_dsn=""), pool=pool, store=store, hosts=hosts, folder=PlanFolder(store),
        people=lambda: None, broadcast=_nobody, stats=_nothing, predictor=lambda: predictor,
    )  # fmt: skip
    async with TestClient(TestServer(make_app(context))) as client:
        answer = await client.request(method, path, json=body)
        return answer.status, await answer.json()


async def test_what_if_reaches_the_predictor_as_changes_and_its_refusals_come_back(pool, order_id):
    path = f"/v1/orders/{order_id}/risk:whatIf"
    predictor = Predictor({"risk": 0.5})
    status, answer = await asked(
        pool, predictor, "POST", path, {"changes": [{"variable": "queue", "item": "a@1", "to": "b"}]}
    )
    ended = Predictor(NotPossibleNow("the order has ended", mend="ask for another"))
    refused = await asked(pool, ended, "POST", path, {})
    alone = await asked(pool, None, "POST", path, {})
    unread = await asked(pool, predictor, "POST", path, {"changes": [{"variable": "speed"}]})
    unknown = await asked(pool, predictor, "POST", path, {"change": []})
    nobody = await asked(pool, predictor, "POST", "/v1/orders/o1-00000000000-0000000000/risk:whatIf", {})

    assert (status, answer) == (200, {"risk": 0.5})
    assert predictor.asked == [(order_id, [Change("queue", "a@1", "b")])]
    assert refused[0] == 409
    assert alone[0] == 503
    assert (unread[0], unread[1]["path"]) == (400, "changes[0].variable")
    assert (unknown[0], unknown[1]["path"]) == (400, "change")
    assert nobody[0] == 404
    for named in (await asked(pool, None, "GET", "/v1/orders/shop-17/risk"), nobody):
        assert named[0] == 404
        assert "productOrder?externalId=" in named[1]["mend"]


async def test_a_schedule_is_asked_of_the_predictor_for_orders_that_exist(pool, order_id):
    predictor = Predictor({"items": []})
    found = await asked(pool, predictor, "GET", f"/v1/orders/{order_id}/schedule")
    nobody = await asked(pool, predictor, "GET", "/v1/orders/o1-00000000000-0000000000/schedule")
    alone = await asked(pool, None, "GET", f"/v1/orders/{order_id}/schedule")

    assert found == (200, {"items": []})
    assert predictor.asked == [(order_id,)]
    assert (nobody[0], alone[0]) == (404, 503)


@pytest.mark.parametrize("query", ["sort=recurring", "minOneTime=1", "sort=oneTime&minRecurring=2"])
async def test_value_at_stake_needs_a_currency(pool, query):
    status, answer = await asked(pool, None, "GET", f"/v1/risk?{query}")
    listed = await asked(pool, None, "GET", f"/v1/risk?{query}&currency=EUR")

    assert (status, answer["path"]) == (400, "currency")
    assert listed == (200, {"orders": [], "next": None})
    assert (await asked(pool, None, "GET", "/v1/risk?currency=EUR&minRecurring=-1"))[1]["path"] == "minRecurring"
