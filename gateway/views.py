"""A plan as the API shows it. Pure functions from the folded plan; the same for one order and for lists."""

from __future__ import annotations

from typing import Any

from actors.rows import task_id_of
from domain.change_refusals import roots_past
from domain.errors import ExpressionFailed
from domain.items import ItemRun
from domain.order_states import line_states
from domain.payloads import next_payload
from domain.plan import Plan
from domain.related import item_name
from domain.sealing import MASK, is_encrypted, is_sealed, same_value
from domain.states import ItemState, OrderState
from gateway.warnings import warnings_of
from persistence.readstore import StoredFact

_MEDIUM_FROM, _HIGH_FROM = 0.2, 0.5


def order_view(plan: Plan) -> dict[str, Any]:
    """What `render_order` needs of a plan besides the order itself: states, dates, product ids by line."""
    view: dict[str, Any] = {
        "state": plan.order_state.value,
        "orderDate": plan.created_at.isoformat(),
        "lines": {line_id: _line_view(plan, line_id, state) for line_id, state in line_states(plan).items()},
    }
    if plan.ended_at is not None and plan.order_state is OrderState.COMPLETED:
        view["completionDate"] = plan.ended_at.isoformat()
    if plan.reasons:
        view["stateReasons"] = plan.reasons
    if plan.behind:
        view["stateReasons"] = [
            *view.get("stateReasons", ()),
            {"code": "waiting", "reason": f"waits for order {', '.join(plan.behind)} on the same product"},
        ]
    return view


def _line_view(plan: Plan, line_id: str, state: OrderState) -> dict[str, Any]:
    view: dict[str, Any] = {"state": state.value}
    index = plan.line_at.get(line_id)
    if index is None:
        return view
    line = plan.lines[index]
    if line.is_asset:
        view["productId"] = line.asset_id
    got = {
        name: value
        for name, value in line.attributes.items()
        if name not in line.ordered or not same_value(value, line.ordered[name])
    }
    if got:
        # What the order has learnt since the channel sent it.
        view["attributes"] = got
    return view


def risk_view(score: dict[str, Any]) -> dict[str, Any]:
    """A stored score with its band: low, medium from 0.2, high from 0.5."""
    risk = score["risk"]
    band = "low" if risk < _MEDIUM_FROM else "medium" if risk < _HIGH_FROM else "high"
    return score | {"risk": round(risk, 4), "band": band}


def risk_summary(score: dict[str, Any] | None) -> dict[str, Any] | None:
    """A stored score in short, for the order's summary; None where there is none."""
    if score is None:
        return None
    return {name: risk_view(score)[name] for name in ("risk", "band", "expectedAt", "dueAt", "dueBasis", "scoredAt")}


def order_summary(plan: Plan) -> dict[str, Any]:
    """The native order resource: where it stands, without the channel's document."""
    counts: dict[str, int] = {}
    for item in plan.items:
        counts[item.state.value] = counts.get(item.state.value, 0) + 1
    summary: dict[str, Any] = {
        "id": plan.order_id,
        "state": plan.order_state.value,
        "planState": plan.state.value if plan.state else None,
        "releaseId": plan.release.release_id,
        "account": plan.order.account,
        "channel": plan.order.channel,
        "externalId": plan.order.external_id,
        "priority": plan.order.priority,
        "dueAt": plan.order.due_at,
        "version": plan.version,
        "change": _change_view(plan),
        "placement": plan.placement or None,
        "createdAt": plan.created_at.isoformat(),
        "endedAt": plan.ended_at.isoformat() if plan.ended_at else None,
        "items": counts,
        "behind": plan.behind,
        "related": [name for name in plan.order.related if name],
        "reasons": plan.reasons,
    }
    if plan.template is not None:
        summary["warnings"] = warnings_of(plan)
    return summary


def _change_view(plan: Plan) -> dict[str, Any] | None:
    """The change that waits for work under way, if one does."""
    if plan.change is None:
        return None
    waits_for = [item.key for item in plan.items if item.is_waited_for]
    return {name: plan.change[name] for name in ("id", "kind", "reason")} | {"waitsFor": waits_for}


def plan_view(plan: Plan) -> dict[str, Any]:
    """The plan: lines, items with their states and what they wait for, void dependencies by name."""
    if plan.template is None:
        return {"orderId": plan.order_id, "state": None, "lines": [], "items": []}
    voids: dict[int, list[str]] = {}
    for node, ref in plan.template.voids:
        voids.setdefault(node, []).append(ref)
    return {
        "orderId": plan.order_id,
        "state": plan.state.value if plan.state else None,
        "template": plan.template.template_id,
        "version": plan.version,
        "facts": plan.facts,
        "pastNoReturn": sorted(roots_past(plan)),
        "releaseId": plan.release.release_id,
        "lines": [_line(plan, line.key) for line in plan.lines],
        "items": [item_view(plan, item) | {"void": voids.get(item.node, [])} for item in plan.items],
    }


def item_view(plan: Plan, item: ItemRun) -> dict[str, Any]:
    """One item of a plan."""
    assert plan.template is not None
    definition = item.definition
    view: dict[str, Any] = {
        "key": item.key,
        "name": item_name(plan, item),
        "type": definition.type.value if definition else "await",
        "plan": definition.plan if definition else None,
        "state": item.state.value,
        "attempt": item.attempt,
        "lines": [line.key for line in plan.lines_of(item)],
        "dependsOn": [plan.items[target].key for target in plan.template.waits[item.node]],
        "readyAt": item.ready_at.isoformat() if item.ready_at else None,
        "startedAt": item.started_at.isoformat() if item.started_at else None,
        "endedAt": item.ended_at.isoformat() if item.ended_at else None,
    }
    node = plan.template.nodes[item.node]
    if node.role:
        view["role"] = node.role
        view["of"] = plan.items[node.of].key if node.of is not None else None
    if definition is not None:
        for name, value in (
            ("system", definition.source.system),
            ("operation", definition.source.operation),
            ("queue", definition.source.queue),
            ("pointOfNoReturn", definition.source.point_of_no_return),
        ):
            if value:
                view[name] = value
    for name, shown in (
        ("error", item.error),
        ("errorCode", item.error_code),
        ("worker", item.worker),
        ("taskId", task_id_of(plan.order_id, item.key) if is_open_task(item) else None),
        ("skipReason", item.skip_reason),
        ("simulated", item.is_simulated),
        ("timerAt", item.timer_at.isoformat() if item.timer_at else None),
        ("pausedAt", item.paused_at.isoformat() if item.paused_at else None),
    ):
        if shown:
            view[name] = shown
    return view


def is_open_task(item: ItemRun) -> bool:
    """Whether a person may do it."""
    return item.is_manual and item.state in (ItemState.READY, ItemState.RUNNING)


def next_payload_view(plan: Plan, item: ItemRun) -> dict[str, Any]:
    """What a callout that has not ended would send next, hidden values as asterisks; or why it could send nothing."""
    if not item.is_callout or item.ended_at is not None:
        return {}
    try:
        return {"nextPayload": masked(next_payload(plan, item))}
    except ExpressionFailed as error:
        return {"nextPayload": None, "nextPayloadError": str(error)}


def _line(plan: Plan, key: str) -> dict[str, Any]:
    line = plan.lines[plan.line_at[key]]
    return {
        "key": line.key,
        "name": line.name,
        "product": line.product,
        "action": line.action,
        "quantity": line.quantity,
        "productId": line.asset_id if line.is_asset else None,
        "attributes": masked(line.attributes),
        "previous": masked(line.previous),
        "sources": list(line.sources),
        "rules": list(line.rules),
        "joins": line.joins,
        "delivered": line.key in plan.delivered,
        "cancelled": line.is_cancelled,
    }


def masked(document: Any) -> Any:
    """A copy in which values out of sight show as asterisks."""
    if is_sealed(document) or is_encrypted(document):
        return MASK
    if isinstance(document, dict):
        return {key: masked(value) for key, value in document.items()}
    if isinstance(document, list):
        return [masked(value) for value in document]
    return document


def product_view(body: dict[str, Any], specification: str | None) -> dict[str, Any]:
    """An asset as a TMF637 product."""
    attributes = masked(body.get("attributes", {}))
    view: dict[str, Any] = {
        "id": body["id"],
        "href": f"/tmf-api/productInventory/v4/product/{body['id']}",
        "name": body.get("name") or body["product"],
        "status": body.get("status", "active"),
        "@type": "Product",
        "productSpecification": {"id": specification or body["product"], "name": body["product"]},
        "productCharacteristic": [{"name": name, "value": value} for name, value in attributes.items()],
        "quantity": body.get("quantity", 1),
        "productRelationship": [
            {"relationshipType": kind, "product": {"id": other}} for kind, other in body.get("relations", ())
        ],
    }
    if body.get("account"):
        view["billingAccount"] = {"id": body["account"]}
    if body.get("offering"):
        view["productOffering"] = {"id": body["offering"]}
    if body.get("orderId"):
        view["productOrderItem"] = [{"productOrderId": body["orderId"]}]
    return view


def fact_view(fact: StoredFact) -> dict[str, Any]:
    """A fact as the API shows it: what must not be seen is masked."""
    return {
        "id": f"{fact.shard}-{fact.offset}",
        "kind": fact.kind,
        "v": fact.v,
        "at": fact.at.isoformat(),
        "item": fact.item,
        "actor": fact.actor,
        "cause": fact.cause,
        "releaseId": fact.release_id,
        "payload": masked(fact.payload),
    }
