"""Why an order or an item is where it is, and where a value came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from domain.errors import BadDocument, NotPossibleNow
from domain.explain import STANDING_MAX, Reason, Staff, World, explain_absent, explain_item, explain_order
from domain.facts import PLAN_COMPOSED, Fact, upcast
from domain.ids import shard_of
from domain.items import ItemRun
from domain.plan import Plan
from domain.provenance import provenance_of
from domain.states import ItemState
from gateway.context import Context, context_of, tenant_of
from gateway.orders import native_json
from persistence import catalogue, incarnations, people, reads, tasks


async def explain(request: web.Request) -> web.Response:
    """GET /v1/orders/{id}/explain?item=: why the order (or the item) is where it is, or why it is not in the plan."""
    context, tenant = context_of(request), tenant_of(request)
    plan = await context.plan(tenant, request.match_info["order_id"])
    wanted = request.query.get("item")
    base = {"orderId": plan.order_id, "state": plan.order_state.value}
    if wanted is None:
        world = await _world(context, tenant, plan, [item for item in plan.items if _may_be_open(item)])
        told = explain_order(plan, world)
        items = [_item(item, reasons) for item, reasons in told.items]
        reasons = [_reason(each) for each in told.reasons]
        return native_json(base | {"summary": told.summary, "reasons": reasons, "items": items, "more": told.more})
    found = [item for item in plan.items if item.key == wanted or item.key.partition("@")[0] == wanted]
    if not found:
        reasons_absent = explain_absent(plan, wanted.partition("@")[0])
        shown = [_reason(each) for each in reasons_absent]
        return native_json(base | {"summary": reasons_absent[0].text, "reasons": shown, "items": [], "more": 0})
    world = await _world(context, tenant, plan, found)
    items = [_item(item, explain_item(plan, item, world)) for item in found[:STANDING_MAX]]
    first = next((each["reasons"][0]["text"] for each in items if each["reasons"]), "")
    summary = first or f"{found[0].key} is {found[0].state.value}."
    return native_json(
        base | {"summary": summary, "reasons": [], "items": items, "more": max(0, len(found) - STANDING_MAX)}
    )


def _may_be_open(item: ItemRun) -> bool:
    return item.is_manual and item.state in (ItemState.READY, ItemState.RUNNING)


def _item(item: ItemRun, reasons: Sequence[Reason]) -> dict[str, Any]:
    name = item.definition.name if item.definition is not None else "await"
    return {
        "item": item.key,
        "name": name,
        "state": item.state.value,
        "reasons": [_reason(each) for each in reasons],
    }


def _reason(reason: Reason) -> dict[str, Any]:
    return {"code": reason.code, "text": reason.text, "facts": reason.facts}


async def _world(context: Context, tenant: str, plan: Plan, open_tasks: Sequence[ItemRun]) -> World:
    """What the plan itself does not know: people, systems, other orders, the owner of its shard."""
    now = context.now()
    staff: dict[str, Staff] = {}
    known: dict[Any, Staff] = {}
    for item in open_tasks[:STANDING_MAX]:
        if not _may_be_open(item) or item.definition is None:
            continue
        source = item.definition.source
        needed = tuple((each.skill, each.level) for each in source.skills)
        if (source.queue, needed) not in known:
            found = await people.staffing(context.pool, tenant, source.queue or "", needed, now)
            known[source.queue, needed] = Staff(found.members, found.skilled, found.on_shift)
        staff[item.key] = known[source.queue, needed]
    others = {*plan.behind, *(line.joins for line in plan.lines if line.joins is not None)}
    systems = await catalogue.list_systems(context.pool, tenant)
    alive = {each.incarnation_id for each in await incarnations.living(context.pool)}
    table = {each.shard: each.incarnation_id for each in await incarnations.assignments(context.pool)}
    return World(
        staff=staff,
        claims=await tasks.claims_of(context.pool, tenant, plan.order_id, now),
        systems=frozenset(each["code"] for each in systems),
        orders=await reads.states_of(context.pool, tenant, others),
        has_owner=table.get(shard_of(plan.order_id)) in alive,
    )


async def get_provenance(request: web.Request) -> web.Response:
    """GET /v1/orders/{id}/lines/{line}/provenance?attribute=: where the value of an attribute came from."""
    context, tenant, order_id = context_of(request), tenant_of(request), request.match_info["order_id"]
    attribute = request.query.get("attribute")
    if not attribute:
        raise BadDocument("must name an attribute of the line", path="attribute")
    stored = await context.facts(tenant, order_id)
    plan = await context.folder.fold(stored)
    at = next((index for index, each in enumerate(stored) if each.kind == PLAN_COMPOSED), None)
    if at is None:
        raise NotPossibleNow(f"order {order_id} has no plan yet, so its lines have only what the order says")
    composed = await context.folder.fold(stored[: at + 1])
    facts = [
        Fact(each.kind, each.at, each.item, upcast(each.kind, each.v, each.payload), each.actor, each.cause)
        for each in stored
    ]
    line = request.match_info["line"]
    origins = provenance_of(plan, composed, facts, line, attribute)
    shown = [{"kind": each.kind, "text": each.text, "value": each.value, "facts": each.facts} for each in origins]
    return native_json({"orderId": order_id, "line": line, "attribute": attribute, "origins": shown})
