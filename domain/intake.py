"""Accepting an order: validation against the release and the account, decomposition, composition, first items.

All of it happens inside the accepting turn, so the answer carries `acknowledged` or `rejected` with reasons, never the
one and then the other. What the channel can mend in its document raises (400, 409); what is well-formed but cannot be
delivered is stored as `rejected`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from domain import facts as f
from domain.compose import AWAIT_REF, compose
from domain.decide import Turn, start
from domain.decompose import decompose, delta_of, order_context, product_of, resolve_lines
from domain.errors import ExpressionFailed, NothingToFulfil, OpenOrderConflict, OrderplanError
from domain.inventory import Account, OpenOrder
from domain.orders import Order
from domain.plan import Plan
from domain.release import CompiledRelease
from domain.sealing import Protector, classify, is_sealed
from domain.states import OrderState


def accept(
    order: Order,
    release: CompiledRelease,
    account: Account,
    *,
    now: datetime,
    protector: Protector,
    body_hash: bytes | None = None,
) -> Turn:
    """Take an order in: the turn holds its first facts and effects, and the account knows it as open.

    Raises:
        UnknownProduct, BadDocument: an order line names nothing that the release or the account has.
        InventoryConflict: an action contradicts the projected inventory.
        OpenOrderConflict: another order holds a root asset and the release says refuse.
    """
    has_secrets = _classify_lines(order, release, protector)
    projection = account.projected()
    resolved = resolve_lines(order, release, projection)
    plan = Plan(order=order, release=release, created_at=now, body_hash=body_hash)
    turn = Turn(plan=plan, now=now, protector=protector, actor=f"channel:{order.channel}", cause=order.client_key)
    accepted: dict[str, Any] = {"order": order.to_dict(), "release": release.release_id}
    if body_hash is not None:
        accepted["bodyHash"] = body_hash.hex()
    if has_secrets:
        accepted["secrets"] = True
    behind = account.holders(resolved.roots)
    if behind:
        if release.source.open_order == "refuse":
            raise OpenOrderConflict(
                f"order {behind[0]} on the same product is still open",
                path=order.lines[0].path,
                mend="send the order again when that one has ended",
                openOrders=behind,
            )
        turn.add(f.ORDER_ACCEPTED, None, accepted)
        turn.add(f.ORDER_WAITING, None, {"behind": behind, "roots": sorted(resolved.roots)})
        account.open_orders[order.order_id] = OpenOrder(order.order_id, resolved.roots, is_waiting=True)
        return turn
    try:
        composed = _compose(plan, account)
    except (ExpressionFailed, NothingToFulfil) as error:
        turn.add(f.ORDER_REJECTED, None, accepted | {"reasons": [error.as_dict()]})
        return turn
    turn.add(f.ORDER_ACCEPTED, None, accepted)
    _begin(turn, account, composed)
    return turn


def readmit(turn: Turn, account: Account) -> bool:
    """Take up a waiting order if nobody is before it any more; False when it has to wait on.

    One that cannot be fulfilled any more (what it changes is gone) ends as cancelled, with the reason.
    """
    plan = turn.plan
    if account.holders(plan.roots, before=plan.order_id):
        return False
    try:
        composed = _compose(plan, account)
    except OrderplanError as error:
        turn.add(f.ORDER_ENDED, None, {"state": OrderState.CANCELLED.value, "reasons": [error.as_dict()]})
        return True
    _begin(turn, account, composed)
    return True


def open_order_of(plan: Plan) -> OpenOrder:
    """How the account sees an open order, from its plan."""
    if plan.template is None:
        return OpenOrder(plan.order_id, plan.roots, is_waiting=True)
    deltas = {}
    delivered = set()
    for line in plan.lines:
        delta = delta_of(line, plan.release)
        if delta is not None:
            deltas[line.asset_id] = delta
        if line.key in plan.delivered:
            delivered.add(line.asset_id)
    return OpenOrder(plan.order_id, plan.roots, deltas, delivered)


def _classify_lines(order: Order, release: CompiledRelease, protector: Protector) -> bool:
    """Replace values that may not stay, line by line; True when any was sealed."""
    has_secrets = False
    for line in order.lines:
        product = product_of(release, line)
        if not line.attributes:
            continue
        line.attributes = classify(
            release,
            product,
            line.attributes,
            protector,
            tenant=order.tenant,
            order_id=order.order_id,
            line_key=line.line_id,
        )
        has_secrets = has_secrets or any(is_sealed(value) for value in line.attributes.values())
    return has_secrets


def _compose(plan: Plan, account: Account) -> Mapping[str, Any]:
    """Decompose and compose against what the account will have; binds the template to the plan and gives the fact."""
    order, release = plan.order, plan.release
    projection = account.projected(before=order.order_id)
    resolved = resolve_lines(order, release, projection)
    lines = decompose(order, release, resolved, projection)
    template = compose(release, lines, order_context(order))
    if all(node.ref == AWAIT_REF for node in template.nodes) and release.source.empty_plan == "reject":
        idle = ", ".join(f"{line.name} ({line.action})" for line in lines[:5])
        raise NothingToFulfil(
            f"nothing to fulfil: no scenario of release {release.release_id} matches {idle}",
            mend="order something that has a scenario, or publish the release with emptyPlan: complete",
        )
    plan.template = template
    return {
        "release": release.release_id,
        "template": template.template_id,
        "lines": [line.to_dict() for line in lines],
    }


def _begin(turn: Turn, account: Account, composed: Mapping[str, Any]) -> None:
    turn.add(f.PLAN_COMPOSED, None, dict(composed))
    # Known as open before its first items run, so that what they deliver is booked on it.
    account.open_orders[turn.plan.order_id] = open_order_of(turn.plan)
    start(turn)
