"""A small catalogue for hosts under test: a SIM that two calls deliver, a visit that a person makes, and what tells of
them.
"""

from __future__ import annotations

from typing import Any

from actors.envelopes import ImportAssets
from domain.ids import shard_for
from domain.inventory import Asset
from domain.orders import Order
from persistence.database import Pool
from tests.support.build import callout, depends, line, manual, order_of, plan_of, release_document, release_of
from tests.support.build import scenario as scenario_of
from tests.support.hosts import SHARDS

RELEASE: dict[str, Any] = release_document(
    products=[
        {
            "code": "sim",
            "attributes": [
                {"name": "PUK", "assetizable": False},
                {"name": "PIN", "assetizable": False},
                {"name": "IMSI"},
            ],
        },
        {"code": "visit"},
        {"code": "flow"},
    ],
    retries=[{"code": "twice", "attemptsMax": 2, "delaysS": [5]}],
    plans=[
        plan_of(
            "deliver",
            callout("reserve", timeoutS=10, retry="twice"),
            callout("activate", timeoutS=10),
        ),
        plan_of("visit", manual("survey"), callout("close")),
    ],
    dependencies=[depends("deliver/activate", "deliver/reserve"), depends("visit/close", "visit/survey")],
    scenarios=[
        scenario_of("sim", "deliver", "add", "modify", "delete"),
        scenario_of("visit", "visit", "add"),
    ],
)


def sim(account: str = "acc-1", key: str | None = None, **attributes: Any) -> Order:
    return order_of(line("1", "sim", **attributes), account=account, client_key=key)


def visit(account: str = "acc-1") -> Order:
    return order_of(line("1", "visit"), account=account)


async def kinds(pool: Pool, order_id: str) -> list[str]:
    """The kinds of an order's facts, with the item of those that have one."""
    rows = await pool.fetch('select kind, item from fact where order_id = $1 order by "offset"', order_id)
    return [row["kind"] + (f" {row['item'].partition('@')[0]}" if row["item"] else "") for row in rows]


def imported(account: str, asset_id: str, cause: str) -> ImportAssets:
    """A SIM that an account has already."""
    asset = Asset(asset_id=asset_id, product="sim", root_id=asset_id)
    shard = shard_for(f"main/{account}", SHARDS)
    release_id = release_of(**RELEASE).release_id
    return ImportAssets(shard, "main", account, release_id, [asset.to_dict()], "person:ann", cause)
