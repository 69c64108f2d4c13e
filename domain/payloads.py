"""What a callout sends: the item definition's own request, or the standard payload of its lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from domain.catalogue import Action
from domain.expressions import ABSENT
from domain.items import ItemRun
from domain.lines import Line, line_context, order_context
from domain.plan import Plan
from domain.pricing import with_texts
from domain.sealing import is_sealed, same_value
from domain.states import ItemState


def payload_of(plan: Plan, item: ItemRun, sent: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """The document for one item.

    The standard payload names order, account, item and operation, and under `lines` each line with its action, the
    identity of its product, the wanted values and, for a modify, the installed values that differ; a line of the order
    itself has its prices, too (what technical lines are charged is up to their mappings, else two of them would charge
    it twice). Sealed values are left out: only a request that names the attribute gets them. A request of the
    definition's own gives exactly its fields.

    Args:
        plan: the item's plan.
        item: a callout.
        sent: the attributes of its lines to go by, where the attempt was sent before; empty: those of now.
    Raises:
        ExpressionFailed: an expression of the request compared what cannot be compared.
    """
    assert item.definition is not None
    if item.edited is not None:
        # By an operator; the attempt has a key of its own, so a repeat of it says the same.
        return item.edited
    lines = plan.lines_of(item)
    if sent:
        lines = [replace(line, attributes=attributes) for line, attributes in zip(lines, sent, strict=True)]
    if item.definition.request is not None:
        context = line_context(order_context(plan.order), lines[0])
        found = {name: each.evaluate(context) for name, each in item.definition.request.items()}
        return {name: with_texts(value) for name, value in found.items() if value is not ABSENT}
    payload: dict[str, Any] = {
        "orderId": plan.order_id,
        "item": item.definition.name,
        "operation": item.definition.source.operation,
        "lines": [_line(plan, line) if sent else _shown(plan, line) for line in lines],
    }
    if plan.order.external_id is not None:
        payload["externalId"] = plan.order.external_id
    if plan.order.account is not None:
        payload["accountId"] = plan.order.account
    return payload


def next_payload(plan: Plan, item: ItemRun) -> dict[str, Any]:
    """What the next call of a callout says: the same as before where it repeats an attempt that was not heard of.

    Raises:
        ExpressionFailed: as `payload_of`.
    """
    is_repeat = item.is_unheard or item.state is ItemState.RUNNING
    return payload_of(plan, item, item.sent if is_repeat else ())


def _shown(plan: Plan, line: Line) -> dict[str, Any]:
    """The line as calls show it, made once for as long as it stays as it is: most items are about the same lines. Each
    call has its own copy, so that nothing an adapter does to one reaches another.
    """
    known = plan.shown_lines.get(line.key)
    if known is not None and known[0] is line and known[1] is line.attributes and known[2] is plan.order:
        shown = known[3]
    else:
        shown = _line(plan, line)
        plan.shown_lines[line.key] = (line, line.attributes, plan.order, shown)
    return {name: dict(value) if isinstance(value, dict) else value for name, value in shown.items()}


def _line(plan: Plan, line: Line) -> dict[str, Any]:
    product = plan.release.products[line.product].source
    shown: dict[str, Any] = {
        "line": line.key,
        "action": line.action,
        "product": {
            "id": line.asset_id,
            "specification": product.external_id or product.code,
            "name": line.name,
        },
        "quantity": line.quantity,
        "attributes": {name: value for name, value in line.attributes.items() if not is_sealed(value)},
    }
    if line.sub_action:
        shown["subAction"] = line.sub_action
    if line.action == Action.MODIFY:
        shown["previous"] = {
            name: value
            for name, value in line.previous.items()
            if not is_sealed(value) and not same_value(value, line.attributes.get(name))
        }
        if line.previous_quantity != line.quantity:
            shown["previousQuantity"] = line.previous_quantity
    if line.place:
        shown["place"] = line.place
    priced = plan.order.priced() if not line.sources else None
    if priced is not None and (prices := priced.of(line.order_lines, line.quantity)):
        shown["prices"] = with_texts({name: prices[name] for name in ("elements", "charges") if name in prices})
    return shown
