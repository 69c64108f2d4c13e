"""The archive over HTTP, in front of a real host's loop: what channels and people see of an order stays as it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from actors.config import ClusterConfig
from actors.folding import PlanFolder
from actors.tokens import token_of
from domain.errors import OrderplanError
from domain.ids import effect_key
from gateway.app import make_app
from gateway.context import Context
from persistence import catalogue
from persistence.database import Pool
from persistence.readstore import ReadStore
from tests.support.build import callout, plan_of, release_document, release_of, scenario
from tests.support.hosts import SHARDS, Host
from tests.support.journals import AT, count

TMF622 = "/tmf-api/productOrderingManagement/v4/productOrder"
SECRET = b"secret" * 6
RELEASE: dict[str, Any] = release_document(
    products=[{"code": "port", "attributes": [{"name": "pin", "assetizable": False}, {"name": "speed"}]}],
    plans=[plan_of("port", callout("install"), callout("test"))],
    scenarios=[scenario("port", "port", "add")],
)


class HostClock(Context):
    """The gateway's context, in the time of the host."""

    host: Host

    def now(self) -> datetime:
        return self.host.clock()


class Shop:
    """A gateway without Ray in front of one host."""

    shards = SHARDS

    def __init__(self, pool: Pool, host: Host) -> None:
        self.pool = pool
        self.host = host
        store = ReadStore(pool)
        self.context: Any = HostClock(
            config=ClusterConfig(dsn="", key_dsn=""), pool=pool, store=store, hosts=self,  # type: ignore[arg-type]  # one host, so no routing
            folder=PlanFolder(store), people=lambda: None, broadcast=_nobody, stats=_nothing, secret=SECRET,
        )  # fmt: skip
        self.context.host = host
        self.client = TestClient(TestServer(make_app(self.context)))

    def admit(self, _shard: int | None = None, _class: int = 2) -> None:
        """There is always room."""

    async def ask(self, lane: str, shard: int, envelope: Any, *, timeout_s: float) -> Any:
        [answer] = await self.host.ask(envelope)
        if isinstance(answer, OrderplanError):
            raise answer
        return answer

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        async with self.client.request(method, path, json=body, headers={"X-User": "olga", **headers}) as answer:
            return answer.status, await answer.json(content_type=None)

    async def submit(self, name: str) -> str:
        status, answer = await self.call("POST", TMF622, document(name))
        assert status == 201, answer
        return str(answer["id"])

    async def finished(self, name: str) -> str:
        """An order that has ended, and whose shard has a newer fact of another one."""
        order_id = await self.submit(name)
        await self.host.finish()
        await self.submit(f"{name}, the next one")
        return order_id

    async def shown(self, order_id: str) -> list[tuple[int, Any]]:
        """Everything that is told of an order."""
        native = f"/v1/orders/{order_id}"
        token = token_of(SECRET, effect_key(order_id, "port/install@1", 1))
        return [
            await self.call("GET", f"{TMF622}/{order_id}"),
            await self.call("GET", native),
            await self.call("GET", f"{native}/plan"),
            await self.call("GET", f"{native}/facts"),
            await self.call("GET", f"{native}/items/port/install@1"),
            await self.call("GET", f"{native}/explain"),
            await self.call("GET", f"{TMF622}?billingAccount.id=acc-1&state=completed"),
            await self.call("POST", f"/v1/callbacks/{token}", {"outcome": "completed"}),
        ]

    async def archive(self, **body: Any) -> tuple[int, Any]:
        return await self.call("POST", "/v1/archive", body)


def document(name: str) -> dict[str, Any]:
    product = {"productSpecification": {"id": "port"}, "productCharacteristic": [{"name": "speed", "value": "1G"}]}
    item = {"id": "1", "action": "add", "product": product}
    return {"externalId": name, "billingAccount": {"id": "acc-1"}, "productOrderItem": [item]}


async def _nobody(_what: str) -> None:
    pass


async def _nothing() -> dict[str, Any]:
    return {}


@pytest.fixture
async def shop(databases: Any, pool: Pool) -> AsyncIterator[Shop]:
    await catalogue.publish_release(pool, "main", release_of(**RELEASE).release_id, RELEASE, AT)
    host = await Host.start(databases, pool)
    made = Shop(pool, host)
    await made.client.start_server()
    yield made
    await made.client.close()
    host.kill()
    await asyncio.gather(host.running, return_exceptions=True)


async def test_an_archived_order_is_shown_and_answered_as_before(shop: Shop) -> None:
    order_id = await shop.finished("first")
    shop.host.clock.now += timedelta(days=40)
    before = await shop.shown(order_id)

    status, answer = await shop.archive(olderThanDays=30)

    assert (status, answer["orders"], answer["isMore"]) == (200, 1, False)
    assert answer["facts"] == await count(shop.pool, "fact_archive") == len(before[3][1])
    assert await shop.shown(order_id) == before
    assert [status for status, _ in before] == [200, 200, 200, 200, 200, 200, 200, 409]


async def test_an_order_that_is_sent_again_after_it_was_archived_is_the_same_order(shop: Shop) -> None:
    order_id = await shop.finished("first")
    shop.host.clock.now += timedelta(days=40)
    assert (await shop.archive(olderThanDays=30))[1]["orders"] == 1

    status, again = await shop.call("POST", TMF622, document("first"))

    assert (status, again["id"], again["state"]) == (201, order_id, "completed")


async def test_a_request_moves_one_batch_and_metrics_and_the_archive_tell_of_it(shop: Shop) -> None:
    for name in ("first", "second"):
        await shop.submit(name)
    await shop.host.finish()
    await shop.submit("third")
    shop.host.clock.now += timedelta(hours=2)
    instant = (shop.host.clock.now - timedelta(hours=1)).isoformat()

    first = await shop.archive(endedBefore=instant, orders=1)
    metrics = (await (await shop.client.get("/metrics")).text()).splitlines()
    status, found = await shop.call("GET", "/v1/archive")

    assert (first[1]["orders"], first[1]["isMore"]) == (1, True)
    assert "orderplan_orders_archived_total 1.0" in metrics
    assert f"orderplan_facts_archived_total {float(first[1]['facts'])}" in metrics
    assert (status, [each["month"] for each in found["months"]], found["finishedHot"]) == (200, ["2030-01"], 1)
    assert (await shop.archive(endedBefore=instant))[1]["orders"] == 1


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "endedBefore"),
    "both": ({"endedBefore": "2030-01-01T00:00:00Z", "olderThanDays": 1}, "endedBefore"),
    "no instant": ({"endedBefore": "yesterday"}, "endedBefore"),
    "an instant without a zone": ({"endedBefore": "2030-01-01T00:00:00"}, "endedBefore"),
    "less than an hour ago": ({"endedBefore": "2030-01-31T11:00:01Z"}, "endedBefore"),
    "days that are less than an hour": ({"olderThanDays": 0.04}, "olderThanDays"),
    "no days": ({"olderThanDays": 0}, "olderThanDays"),
    "negative days": ({"olderThanDays": -1}, "olderThanDays"),
    "days without end": ({"olderThanDays": 1e9}, "olderThanDays"),
    "days that are true": ({"olderThanDays": True}, "olderThanDays"),
    "days as a text": ({"olderThanDays": "30"}, "olderThanDays"),
    "no orders": ({"olderThanDays": 30, "orders": 0}, "orders"),
    "orders without end": ({"olderThanDays": 30, "orders": 2001}, "orders"),
    "half an order": ({"olderThanDays": 30, "orders": 1.5}, "orders"),
    "something else": ({"olderThanDays": 30, "tenant": "other"}, "tenant"),
}


async def test_what_is_asked_wrongly_names_the_field_and_moves_nothing(shop: Shop) -> None:
    await shop.finished("first")
    answers = {name: await shop.archive(**body) for name, (body, _) in WRONG.items()}

    assert {name: (status, answer["path"]) for name, (status, answer) in answers.items()} == {
        name: (400, path) for name, (_, path) in WRONG.items()
    }
    assert await count(shop.pool, "fact_archive") == 0


async def test_what_ended_an_hour_ago_may_go_and_nothing_earlier(shop: Shop) -> None:
    await shop.finished("first")
    ended_at = await shop.pool.fetchval("select ended_at from product_order where ended_at is not null")
    shop.host.clock.now = ended_at + timedelta(hours=1)
    assert (await shop.archive(endedBefore=ended_at.isoformat())) == (200, {"orders": 0, "facts": 0, "isMore": False})

    shop.host.clock.now += timedelta(seconds=1)

    assert (await shop.archive(olderThanDays=1 / 24))[1]["orders"] == 1
