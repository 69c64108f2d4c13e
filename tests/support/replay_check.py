"""Whether the facts alone give what is stored: orders, assets, open tasks and fallout, for a whole database.

    differences = await replay_differences(dsn)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import asyncpg
import orjson

from actors.folding import PlanFolder
from actors.rows import fallout_row, order_row, task_id_of
from domain import facts as f
from domain.inventory import Account, Asset, AssetDelta
from domain.plan import Plan
from domain.states import ItemState
from persistence.readstore import ReadStore, StoredFact, stored_fact
from persistence.rows import FalloutRow
from persistence.tables import ORDER_COLUMNS, fallout_item

DIFFERENCES_MAX = 50
_COLUMNS = 'shard, "offset", order_id, item, kind, v, at, release_id, actor, cause, payload, tenant'
_FACTS = (
    f"select {_COLUMNS} from (select {_COLUMNS} from fact union all select {_COLUMNS} from fact_archive) as f "
    'order by shard, "offset"'
)
_OPEN = (ItemState.READY, ItemState.RUNNING)


async def replay_differences(dsn: str) -> list[str]:
    """What differs between the replay of every order's facts and the stored rows; empty when nothing does.

    One row may lag: an ended order's `sealed` falls to false when its keys are destroyed, which is no fact.
    """
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=2)
    try:
        return await _differences(pool)
    finally:
        await pool.close()


async def _differences(pool: asyncpg.Pool[Any]) -> list[str]:
    folder = PlanFolder(ReadStore(pool))
    found: list[str] = []
    facts_of: dict[str, list[StoredFact]] = {}
    accounts: dict[tuple[str, str], Account] = {}
    rows = await pool.fetch(_FACTS)
    account_of: dict[str, tuple[str, str]] = {}
    elsewhere: set[str] = set()
    """Dedicated plans, whose account has a fact of its own of what they delivered."""
    for row in rows:
        fact = stored_fact(row)
        if fact.kind == f.ASSETS_IMPORTED:
            account = accounts.setdefault((row["tenant"], fact.payload["account"]), Account(fact.payload["account"]))
            account.assets.update({each["id"]: Asset.from_dict(each) for each in fact.payload["assets"]})
            continue
        if fact.kind == f.ASSETS_BOOKED:
            account = accounts.setdefault((row["tenant"], fact.payload["account"]), Account(fact.payload["account"]))
            for change in fact.payload["changes"]:
                account.deliver(fact.payload["order"], AssetDelta.from_dict(change))
            continue
        if fact.kind in (f.ORDER_ACCEPTED, f.ORDER_REJECTED):
            if "accountShard" in fact.payload:
                elsewhere.add(fact.order_id)
            name = fact.payload["order"].get("account")
            account_of[fact.order_id] = (row["tenant"], name or f"order {fact.order_id}")
        facts_of.setdefault(fact.order_id, []).append(fact)
        if fact.kind == f.ASSETS_CHANGED and fact.order_id not in elsewhere:
            key = account_of[fact.order_id]
            account = accounts.setdefault(key, Account(key[1]))
            for change in fact.payload["changes"]:
                account.deliver(fact.order_id, AssetDelta.from_dict(change))

    orders = {row["order_id"]: row for row in await pool.fetch(f"select {', '.join(ORDER_COLUMNS)} from product_order")}
    tasks = {row["task_id"] for row in await pool.fetch("select task_id from manual_task where closed_at is null")}
    assets = await pool.fetch("select tenant, asset_id, account, status, body from asset")
    if facts_of.keys() != orders.keys():
        found.append(f"orders with facts and rows differ: {sorted(facts_of.keys() ^ orders.keys())[:5]}")
    columns = ", ".join(fallout_item.columns.keys())
    stored_fallout = {FalloutRow(*row) for row in await pool.fetch(f"select {columns} from fallout_item")}
    replayed_tasks: set[str] = set()
    fallout: set[FalloutRow] = set()
    for order_id, facts in facts_of.items():
        plan = await folder.fold(facts)
        replayed_tasks.update(_open_tasks(plan))
        fallout.update(row for item in plan.items if (row := fallout_row(plan, item)) is not None)
        if order_id in orders:
            found.extend(_order_differences(plan, orders[order_id]))
        if len(found) > DIFFERENCES_MAX:
            return found
    if replayed_tasks != tasks:
        found.append(f"open tasks differ: {sorted(replayed_tasks ^ tasks)[:5]}")
    found += [f"fallout is stored, the facts give none: {row}" for row in sorted(stored_fallout - fallout)[:5]]
    found += [f"fallout is not stored: {row}" for row in sorted(fallout - stored_fallout)[:5]]
    return found + _asset_differences(accounts, assets)


def _open_tasks(plan: Plan) -> list[str]:
    return [task_id_of(plan.order_id, item.key) for item in plan.items if item.is_manual and item.state in _OPEN]


def _order_differences(plan: Plan, stored: Mapping[str, Any]) -> list[str]:
    replayed = order_row(plan)._asdict()
    if plan.ended_at is not None and not stored["sealed"]:
        replayed["sealed"] = False
    return [
        f"order {plan.order_id}: {name} is {stored[name]!r}, its facts give {value!r}"
        for name, value in replayed.items()
        if stored[name] != value
    ]


def _asset_differences(accounts: Mapping[tuple[str, str], Account], rows: list[asyncpg.Record]) -> list[str]:
    found = []
    replayed = {
        (tenant, asset_id): asset.to_dict()
        for (tenant, _), account in accounts.items()
        for asset_id, asset in account.assets.items()
    }
    stored = {
        (row["tenant"], row["asset_id"]): orjson.loads(row["body"]) for row in rows if row["status"] != "terminated"
    }
    for key in replayed.keys() | stored.keys():
        ours = orjson.loads(orjson.dumps(replayed[key])) if key in replayed else None
        if ours != stored.get(key):
            found.append(f"asset {key[1]}: stored is {stored.get(key)}, the facts give {ours}")
    return found[:DIFFERENCES_MAX]
