"""What a channel reads back at once is what it reads back later: values out of sight show nowhere."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from actors.envelopes import Submission, Submitted
from actors.memory import Memory
from actors.tick import Tick
from domain.ids import shard_of
from domain.inventory import Account
from domain.lineup import Lineup
from domain.plan import Plan
from gateway.context import CONTEXT
from gateway.metrics import Metrics
from gateway.orders import create_product_order, get_product_order
from tests.support.build import manual, plan_of, release_document, release_of, scenario
from tests.support.engine import OpenProtector

AT = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
HIDDEN = "********"


class Cluster:
    """One host of every shard, which decides in memory, and the gateway's context over it."""

    def __init__(self, **release: Any) -> None:
        self.document = release_document(
            products=[
                {
                    "code": "sim",
                    "attributes": [
                        {"name": "PIN", "assetizable": False},
                        {"name": "IMSI", "encrypted": True},
                        {"name": "ICCID"},
                    ],
                }
            ],
            plans=[plan_of("deliver", manual("visit"))],
            scenarios=[scenario("sim", "deliver")],
            **release,
        )
        self.memory = Memory(cast("Any", self), lambda _shard: True, lambda: 0.0)
        self.memory.accounts["main", "acc-1"] = Account("acc-1")
        self.answers: list[Submitted] = []
        self.shards = 8
        self.context = SimpleNamespace(
            config=SimpleNamespace(tenant="main"),
            hosts=self,
            metrics=Metrics(),
            now=lambda: AT,
            plan=self.plan,
            pool=SimpleNamespace(fetchrow=self.no_score),
        )

    def admit(self, _shard: int | None = None, _class: int = 2) -> None:
        """There is room for everybody."""

    async def no_score(self, _query: str, *_args: str) -> None:
        """The delay predictor has not scored the order yet."""

    async def lineup(self, _tenant: str, _now: datetime) -> Lineup:
        return Lineup(release_of(**self.document).release_id)

    async def release_body(self, _tenant: str, _release_id: str) -> dict[str, Any]:
        return self.document

    async def ask(self, _lane: str, shard: int, envelope: Submission, *, timeout_s: float) -> Submitted:
        assert timeout_s > 0
        await self.memory.folder.refresh_releases("main", AT)
        tick = Tick(
            memory=self.memory,
            heads={shard: 0},
            rows={},
            known_keys={},
            protector=OpenProtector(),
            digest=lambda _tenant, data: data,
            now=AT,
            entropy=lambda: 7,
        )
        tick.decide([envelope])
        [(_, answer)] = tick.replies
        assert isinstance(answer, Submitted), answer
        self.answers.append(answer)
        return answer

    async def plan(self, _tenant: str, order_id: str) -> Plan:
        assert shard_of(order_id) < self.shards
        return self.memory.plans[order_id]

    def request(self, body: Any = None, **match_info: str) -> Any:
        async def read() -> bytes:
            return orjson.dumps(body)

        return SimpleNamespace(read=read, app={CONTEXT: self.context}, headers={}, query={}, match_info=match_info)

    async def created_and_read(self, body: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The first answer to the order, and what a later request for it gives."""
        answer = await create_product_order(self.request(body))
        created = orjson.loads(cast("bytes", answer.body))
        read = await get_product_order(self.request(order_id=created["id"]))
        return created, orjson.loads(cast("bytes", read.body))


def order(**values: Any) -> dict[str, Any]:
    characteristics = [{"name": name, "value": value} for name, value in values.items()]
    return {
        "relatedParty": [{"id": "acc-1", "role": "customer"}],
        "productOrderItem": [
            {
                "id": "1",
                "action": "add",
                "quantity": 1,
                "product": {"productSpecification": {"id": "sim"}, "productCharacteristic": characteristics},
            }
        ],
    }


def characteristics(document: dict[str, Any]) -> dict[str, Any]:
    [item] = document["productOrderItem"]
    return {each["name"]: each["value"] for each in item["product"]["productCharacteristic"]}


VALUES = {"PIN": "4711", "IMSI": "262011234567890", "ICCID": "8949", "nickname": "her phone"}


@pytest.mark.parametrize(
    ("undeclared", "nickname"), [("keep", {"nickname": "her phone"}), ("seal", {"nickname": HIDDEN}), ("drop", {})]
)
async def test_the_first_answer_masks_as_every_later_one_does(undeclared: str, nickname: dict[str, str]) -> None:
    created, read = await Cluster(undeclared=undeclared).created_and_read(order(**VALUES))

    assert characteristics(created) == {"PIN": HIDDEN, "IMSI": HIDDEN, "ICCID": "8949"} | nickname
    assert characteristics(created) == characteristics(read)


async def test_values_of_a_rejected_order_are_masked_too() -> None:
    cluster = Cluster(emptyPlan="reject")
    cluster.document["scenarios"] = []

    created, read = await cluster.created_and_read(order(**VALUES))

    assert created["state"] == "rejected"
    assert characteristics(created)["PIN"] == HIDDEN
    assert characteristics(created) == characteristics(read)


async def test_a_host_sends_nothing_back_for_an_order_with_nothing_to_hide() -> None:
    cluster = Cluster()

    created, _ = await cluster.created_and_read(order(ICCID="8949", nickname="her phone"))

    assert characteristics(created) == {"ICCID": "8949", "nickname": "her phone"}
    assert [answer.reclassified for answer in cluster.answers] == [{}]
