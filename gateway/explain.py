"""Why an order or an item is where it is, and where a value came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any, Final

from aiohttp import web

from domain.chains import LOOKED_AT_MAX, stands_behind
from domain.errors import BadDocument, NotPossibleNow
from domain.explain import STANDING_MAX, explain_item, explain_order, name_of
from domain.explain_absent import explain_absent
from domain.explanation import Reason, Staff, SystemHold, World
from domain.facts import ITEM_SKIPPED, PLAN_COMPOSED, Fact, upcast
from domain.holds import HeldSystems
from domain.ids import shard_of
from domain.items import ItemRun
from domain.plan import Plan
from domain.provenance import provenance_of
from domain.states import ItemState
from gateway.context import Context, context_of, tenant_of
from gateway.orders import native_json
from gateway.systems import COUNTED_MAX
from gateway.views import is_open_task
from persistence import catalogue, holds, people, reads, tasks, waits
from persistence.catalogue import Limits
from persistence.incarnations import Ownership
from persistence.readstore import StoredFact

HELD_UP_SHOWN_MAX: Final = 10
"""Items behind one that stands still that an answer names."""


async def explain(request: web.Request) -> web.Response:
    """GET /v1/orders/{id}/explain?item=: why the order (or the item) is where it is, or why it is not in the plan."""
    context, tenant = context_of(request), tenant_of(request)
    stored = await context.facts(tenant, request.match_info["order_id"])
    plan = await context.folder.fold(stored)
    world = await _world(context, tenant, plan)
    wanted = request.query.get("item")
    if wanted is not None:
        return await _explain_one(context, stored, plan, world, wanted)
    return native_json(explained_view(plan, world, context.now()))


def explained_view(plan: Plan, world: World, now: datetime) -> dict[str, Any]:
    """Why the order is where it is, as the API shows it."""
    told = explain_order(plan, world, now)
    items = [_item(each.item, each.reasons, each.behind) for each in told.items]
    return _view(plan, told.summary, told.reasons, items, told.more)


async def _explain_one(
    context: Context, stored: list[StoredFact], plan: Plan, world: World, wanted: str
) -> web.Response:
    """One item by its key, all of a definition by `plan/item`, or why the plan has none."""
    exact = plan.by_key.get(wanted)
    found = [exact] if exact is not None else [item for item in plan.items if item.key.partition("@")[0] == wanted]
    if not found:
        composed = await _composed(context, stored)
        reasons = explain_absent(composed or plan, wanted.partition("@")[0])
        return native_json(_view(plan, reasons[0].text, reasons, [], 0))
    if len(found) == 1:
        world = replace(world, at_skip=await _at_skip(context, stored, plan, found[0]))
    now = context.now()
    explained = [(item, explain_item(plan, item, world, now)) for item in found[:STANDING_MAX]]
    items = [_item(item, reasons, stands_behind(plan, item)) for item, reasons in explained]
    told = (reasons[0].text for _, reasons in explained if reasons and reasons[0].code != "voidDependency")
    summary = next(told, f"{name_of(plan, found[0])} is {found[0].state.value}.")
    return native_json(_view(plan, summary, [], items, len(found) - len(explained)))


def _view(
    plan: Plan, summary: str, reasons: Sequence[Reason], items: Sequence[dict[str, Any]], more: int
) -> dict[str, Any]:
    told = [_reason(each) for each in reasons]
    view = {"orderId": plan.order_id, "state": plan.order_state.value, "summary": summary, "reasons": told}
    return view | {"items": items, "more": more}


async def _composed(context: Context, stored: list[StoredFact]) -> Plan | None:
    """The plan as it was when it was composed; None before."""
    at = next((index for index, each in enumerate(stored) if each.kind == PLAN_COMPOSED), None)
    return None if at is None else await context.folder.fold(stored[: at + 1])


async def _at_skip(
    context: Context, stored: list[StoredFact], plan: Plan, item: ItemRun
) -> dict[str, dict[str, dict[str, Any]]]:
    """What the lines of a skipped item had at that moment: its condition read that, and they may have changed since."""
    at = next((index for index, each in enumerate(stored) if each.kind == ITEM_SKIPPED and each.item == item.key), None)
    if at is None or item.skip_reason != "condition":
        return {}
    then = await context.folder.fold(stored[:at])
    return {item.key: {line.key: line.attributes for line in then.lines_of(item)}}


def _item(item: ItemRun, reasons: Sequence[Reason], behind: Sequence[ItemRun]) -> dict[str, Any]:
    return {
        "item": item.key,
        "name": item.definition.name if item.definition is not None else "await",
        "state": item.state.value,
        "reasons": [_reason(each) for each in reasons],
        "holdsUp": {
            "count": len(behind),
            # The search ends there: it may be more.
            "isAtLeast": len(behind) == LOOKED_AT_MAX,
            "items": [each.key for each in behind[:HELD_UP_SHOWN_MAX]],
        },
    }


def _reason(reason: Reason) -> dict[str, Any]:
    return {"code": reason.code, "text": reason.text, "facts": reason.facts}


async def _world(context: Context, tenant: str, plan: Plan) -> World:
    """What the plan itself does not know: people, systems, other orders, the owner of its shard."""
    now = context.now()
    staff: dict[str, Staff] = {}
    known: dict[Any, Staff] = {}
    for item in islice((item for item in plan.items if is_open_task(item)), STANDING_MAX):
        assert item.definition is not None, "a manual task has one"
        source = item.definition.source
        needed = tuple((each.skill, each.level) for each in source.skills)
        if (source.queue, needed) not in known:
            found = await people.staffing(context.pool, tenant, source.queue or "", needed, now)
            known[source.queue, needed] = Staff(found.members, found.skilled, found.on_shift)
        staff[item.key] = known[source.queue, needed]
    others = {*plan.behind, *(line.joins for line in plan.lines if line.joins is not None)}
    systems = await catalogue.list_systems(context.pool, tenant)
    alive = {each.incarnation_id for each in await Ownership(context.pool).living()}
    table = {each.shard: each.incarnation_id for each in await Ownership(context.pool).assignments()}
    return World(
        staff=staff,
        claims=await tasks.claims_of(context.pool, tenant, plan.order_id, now),
        systems=frozenset(each["code"] for each in systems),
        orders=await reads.states_of(context.pool, tenant, others),
        related=await waits.named_orders(context.pool, tenant, plan.order.channel, plan.order.related),
        has_owner=table.get(shard_of(plan.order_id)) in alive,
        holds=await _holds(context, tenant, plan, systems),
    )


async def _holds(
    context: Context, tenant: str, plan: Plan, systems: Sequence[Mapping[str, Any]]
) -> dict[str, SystemHold]:
    """How the systems stand for which items of the plan are On Hold."""
    waited_for = {item.hold["system"] for item in plan.items if item.state is ItemState.ON_HOLD and item.hold}
    if not waited_for:
        return {}
    rows = await holds.list_holds(context.pool, tenant)
    held = HeldSystems.of(row.hold for row in rows)
    limits = {each["code"]: Limits.from_row(each) for each in systems}
    found = {}
    for system in sorted(waited_for):
        hold = held.of_system(system)
        row = next((each for each in rows if each.hold is hold), None)
        found[system] = SystemHold(
            hold=hold,
            by=row.actor if row is not None else "",
            since=row.since if row is not None else None,
            try_at=row.probe_at if row is not None else None,
            waiting=await holds.count_held(context.pool, tenant, system, COUNTED_MAX),
            drain_per_s=limits.get(system, Limits()).drain_per_s,
        )
    return found


async def get_provenance(request: web.Request) -> web.Response:
    """GET /v1/orders/{id}/lines/{line}/provenance?attribute=: where the value of an attribute came from."""
    context, tenant, order_id = context_of(request), tenant_of(request), request.match_info["order_id"]
    attribute = request.query.get("attribute")
    if not attribute:
        raise BadDocument("must name an attribute of the line", path="attribute")
    stored = await context.facts(tenant, order_id)
    plan = await context.folder.fold(stored)
    composed = await _composed(context, stored)
    if composed is None:
        raise NotPossibleNow(f"order {order_id} has no plan, so its lines have only what the order says")
    facts = [
        Fact(each.kind, each.at, each.item, upcast(each.kind, each.v, each.payload), each.actor, each.cause)
        for each in stored
    ]
    line = request.match_info["line"]
    origins = provenance_of(plan, composed, facts, line, attribute)
    shown = [{"kind": each.kind, "text": each.text, "value": each.value, "facts": each.facts} for each in origins]
    return native_json({"orderId": order_id, "line": line, "attribute": attribute, "origins": shown})
