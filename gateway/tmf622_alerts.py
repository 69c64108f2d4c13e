"""What a TMF622 order tells besides its lines: milestones reached, errors that stand, and whether it will be late.

TMF641 v4.1 has them as `milestone`, `errorMessage` and `jeopardyAlert` of a service order, TMF622 v5 under the names
that a product order bears here. All of them are read, never written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from domain.catalogue import ItemType
from domain.items import ItemRun
from domain.plan import Plan
from domain.related import item_name
from domain.states import ItemState
from gateway.views import risk_view

_FAILED: Final = frozenset({ItemState.FAILED, ItemState.FATALLY_FAILED})
_REACHED: Final = frozenset({ItemState.COMPLETED, ItemState.AMENDED})


def alerts_of(plan: Plan, score: dict[str, Any] | None) -> dict[str, Any]:
    """Members of the order's resource, those that say something.

    Args:
        plan: of the order.
        score: its newest score by the delay predictor, as stored; None: it has none.
    """
    found = {
        "productOrderMilestone": [_milestone(plan, item) for item in _newest(plan) if _is_reached(item)],
        "productOrderErrorMessage": [_error(plan, item) for item in plan.items if _stands(item)],
        "productOrderJeopardyAlert": _jeopardy(plan, score),
    }
    return {name: each for name, each in found.items() if each}


def _newest(plan: Plan) -> Iterable[ItemRun]:
    """Of each item that a change has done again, the last."""
    nodes = plan.template.nodes if plan.template is not None else ()
    return {(nodes[item.node].ref, nodes[item.node].instance): item for item in plan.items}.values()


def _is_reached(item: ItemRun) -> bool:
    is_milestone = item.definition is not None and item.definition.type is ItemType.MILESTONE
    return is_milestone and item.state in _REACHED


def _milestone(plan: Plan, item: ItemRun) -> dict[str, Any]:
    return {
        "id": item.key,
        "name": item_name(plan, item),
        "status": "completed",
        "milestoneDate": item.ended_at.isoformat() if item.ended_at else None,
        "productOrderItem": _items(plan, item),
    }


def _stands(item: ItemRun) -> bool:
    return (item.frozen_from or item.state) in _FAILED


def _error(plan: Plan, item: ItemRun) -> dict[str, Any]:
    # Not the system's own words: they may name what is none of a channel's business.
    error = {
        "code": item.error_code or "failed",
        "reason": f"{item_name(plan, item)} ({item.key}) is {item.state.value}",
        "message": "the work is to be repaired, and goes on then",
        "productOrderItem": _items(plan, item),
    }
    if item.failed_at is not None:
        error["timestamp"] = item.failed_at.isoformat()
    return error


def _jeopardy(plan: Plan, score: dict[str, Any] | None) -> list[dict[str, Any]]:
    if score is None or plan.ended_at is not None:
        return []
    shown = risk_view(score)
    if shown["band"] == "low":
        return []
    return [
        {
            "id": f"{plan.order_id}:risk",
            "name": "late delivery",
            "jeopardyType": shown["band"],
            "alertDate": shown["scoredAt"],
            "message": f"due {shown['dueAt']}, expected {shown['expectedAt']}; risk {shown['risk']}",
        }
    ]


def _items(plan: Plan, item: ItemRun) -> list[dict[str, Any]]:
    """The order items that an item works for."""
    lines = dict.fromkeys(name for line in plan.lines_of(item) for name in line.order_lines)
    return [{"productOrderId": plan.order_id, "productOrderItemId": name} for name in lines]
