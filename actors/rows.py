"""Plans as rows of the read models. Only what a list shows; the plan itself is its facts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import orjson

from domain.facts import VERSIONS, Fact
from domain.ids import shard_of
from domain.inventory import Asset
from domain.items import ItemRun
from domain.plan import Plan
from domain.priorities import class_of
from domain.related import is_related, open_waits
from domain.states import ItemState, PlanState
from persistence.rows import AssetRow, FactRow, FalloutRow, HeldRow, OrderRow, TaskRow, WaitRow

AWAIT_NAME = "Await delivery"
"""Of items that wait for another order of the account."""
AWAIT_RELATED_NAME = "Await related order"


def order_row(plan: Plan) -> OrderRow:
    """The row of an order. While something is being called or booked, its timers are not listed: recovery activates it
    anyway.
    """
    order = plan.order
    is_active = plan.calling > 0 or bool(plan.bookings)
    timer = None if is_active else plan.next_timer()
    return OrderRow(
        order_id=order.order_id,
        tenant=order.tenant,
        shard=shard_of(order.order_id),
        account=order.account,
        channel=order.channel,
        external_id=order.external_id,
        client_key=order.client_key,
        body_hash=plan.body_hash,
        release_id=plan.release.release_id,
        priority=order.priority,
        state=plan.order_state.value,
        created_at=plan.created_at,
        requested_due_at=datetime.fromisoformat(order.due_at) if order.due_at else None,
        ended_at=plan.ended_at,
        active=is_active,
        timer_at=timer[0] if timer else None,
        fallout=plan.fatally_failed,
        sealed=plan.has_secrets,
        items=len(plan.items),
    )


def is_as_written(plan: Plan, row: OrderRow) -> bool:
    """Whether the row would certainly be this one again: asked at every tick of a plan that calls somebody, whose order
    mostly stays as it is listed.
    """
    if plan.changes or plan.change is not None or not (plan.calling or plan.bookings):
        # With timers or another document it takes longer to tell: the row is made and compared.
        return False
    return (
        row.active
        and row.timer_at is None
        and plan.ended_at == row.ended_at
        and plan.order_state.value == row.state
        and plan.fatally_failed == row.fallout
        and plan.has_secrets == row.sealed
        and len(plan.items) == row.items
        and plan.release.release_id == row.release_id
        and plan.order.priority == row.priority
    )


def fact_rows(plan: Plan, shard: int, facts: Iterable[Fact], head: int) -> list[FactRow]:
    """The rows of the next facts of a plan, those after the offset `head` of its shard."""
    tenant, order_id, release_id = plan.order.tenant, plan.order_id, plan.release.release_id
    return [
        FactRow(
            shard,
            offset,
            tenant,
            order_id,
            fact.item,
            fact.kind,
            VERSIONS[fact.kind],
            fact.at,
            release_id,
            fact.actor,
            fact.cause,
            orjson.dumps(fact.payload).decode() if fact.payload else None,
        )
        for offset, fact in enumerate(facts, head + 1)
    ]


def asset_row(tenant: str, account: str | None, shard: int, asset: Asset, at: datetime) -> AssetRow:
    """The row of an asset that exists."""
    return AssetRow(
        tenant=tenant,
        asset_id=asset.asset_id,
        shard=shard,
        account=account,
        product=asset.product,
        status=asset.status,
        body=orjson.dumps(asset.to_dict()).decode(),
        updated_at=at,
    )


def fallout_row(plan: Plan, item: ItemRun) -> FalloutRow | None:
    """The row of an item while it is Fatally Failed, or Failed and to be tried again."""
    if item.state not in (ItemState.FAILED, ItemState.FATALLY_FAILED):
        return None
    assert item.failed_at is not None
    source = item.definition.source if item.definition is not None else None
    return FalloutRow(
        tenant=plan.order.tenant,
        order_id=plan.order_id,
        item=item.key,
        shard=shard_of(plan.order_id),
        name=item.definition.name if item.definition is not None else _await_name(plan, item),
        plan=item.definition.plan if item.definition is not None else "",
        system=(source.system if source is not None else None) or "",
        queue=source.error_queue if source is not None else None,
        error_code=item.error_code,
        error=item.error,
        attempt=item.attempt,
        failed_at=item.failed_at,
        account=plan.order.account,
        priority=plan.order.priority,
        retry_at=item.timer_at if item.state is ItemState.FAILED else None,
    )


def _await_name(plan: Plan, item: ItemRun) -> str:
    return AWAIT_RELATED_NAME if is_related(plan, item) else AWAIT_NAME


def held_row(plan: Plan, item: ItemRun) -> HeldRow | None:
    """The row of an item while it is On Hold and may go on; in a plan that is held nothing does."""
    if item.state is not ItemState.ON_HOLD or plan.state is not PlanState.IN_PROGRESS:
        return None
    assert item.hold is not None, "an item On Hold has what holds it"
    assert item.ready_at is not None
    assert item.held_at is not None
    return HeldRow(
        tenant=plan.order.tenant,
        system=item.hold["system"],
        order_id=plan.order_id,
        item=item.key,
        shard=shard_of(plan.order_id),
        cause=item.hold["cause"],
        priority=class_of(plan.order.priority),
        ready_at=item.ready_at,
        held_at=item.held_at,
    )


def wait_rows(plan: Plan, at: datetime) -> Iterable[WaitRow]:
    """The rows of the plan's open waits for related orders, opened at this moment."""
    for each in open_waits(plan, at):
        yield WaitRow(
            plan.order.tenant, each.order_id, each.item, each.channel, each.name, each.ref, sorted(each.blocks), at
        )


def task_id_of(order_id: str, item_key: str) -> str:
    """The id of an item's manual task: one per item, safe in a URL."""
    return f"{order_id}.{hashlib.blake2b(item_key.encode(), digest_size=5).hexdigest()}"


def task_row(plan: Plan, item: ItemRun, at: datetime) -> TaskRow:
    """The row of a manual task that is open."""
    assert item.definition is not None
    source, form = item.definition.source, item.definition.form
    assert form is not None, "a manual task has a form"
    body: dict[str, Any] = {
        "form": form.fields(),
        "formSchema": form.schema,
        "skills": [need.model_dump() for need in source.skills],
        "lines": [{"line": line.key, "name": line.name, "action": line.action} for line in plan.lines_of(item)],
        "account": plan.order.account,
        "externalId": plan.order.external_id,
    }
    return TaskRow(
        task_id=task_id_of(plan.order_id, item.key),
        tenant=plan.order.tenant,
        order_id=plan.order_id,
        item=item.key,
        queue=source.queue or "",
        name=item.definition.name,
        priority=class_of(plan.order.priority),
        opened_at=at,
        due_at=at + timedelta(seconds=source.duration_s) if source.duration_s is not None else None,
        closed_at=None,
        body=orjson.dumps(body).decode(),
    )
