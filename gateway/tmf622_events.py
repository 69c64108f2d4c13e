"""Events of the channel as TMF622 v4 notifications: the envelope, and the product order as it was at that fact."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from domain.events import ATTRIBUTE_CHANGED, CREATED, ChannelEvent
from domain.plan import Plan
from gateway.tmf622_render import PRODUCT_ORDER_PATH, render_order
from gateway.tmf630 import select_fields
from gateway.views import masked, order_view

_LINES_NAMED: Final = 20


def render_event(plan: Plan, event: ChannelEvent, event_id: str, at: datetime, fields: str = "") -> dict[str, Any]:
    """The notification that a listener gets.

    Args:
        plan: as it is after the fact that caused the event.
        event: what happened.
        event_id: the same however often the event is worked out.
        at: the time of the fact.
        fields: members of the product order that the listener wants, as in `?fields=`; empty: all.
    """
    document = masked(render_order(plan.order.to_dict(), order_view(plan)))
    envelope: dict[str, Any] = {
        "id": plan.order_id,
        "href": f"{PRODUCT_ORDER_PATH}/{plan.order_id}",
        "eventId": event_id,
        "eventTime": at.isoformat(),
        "timeOcurred": at.isoformat(),
        "eventType": event.event_type,
        "correlationId": plan.order_id,
        "domain": "productOrdering",
        "title": event.event_type,
        "description": _description(event),
        "event": {"productOrder": select_fields(document, fields)},
    }
    if event.event_type == ATTRIBUTE_CHANGED:
        # Without states of lines the order itself was changed.
        envelope["fieldPath"] = "productOrderItem.state" if event.lines else "productOrderItem"
    return envelope


def _description(event: ChannelEvent) -> str:
    if event.event_type == ATTRIBUTE_CHANGED and not event.lines:
        return "the order was changed"
    if event.event_type == ATTRIBUTE_CHANGED:
        named = ", ".join(f"{line_id}: {state.value}" for line_id, state in event.lines[:_LINES_NAMED])
        more = len(event.lines) - _LINES_NAMED
        return f"items have another state: {named}" + (f" and {more} more" if more > 0 else "")
    return f"the order is {'there: ' if event.event_type == CREATED else ''}{event.state.value}"
