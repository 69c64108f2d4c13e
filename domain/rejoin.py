"""Joining anew: an order whose shared instance is not made by the one that was to make it makes it itself.

A line of an instance that several orders of an account share waits for the delivery of the order that makes it. When
that order is cancelled, the line becomes an add: the order is decomposed and composed anew, against what the account
has by then, and laid over its plan like any other change (`domain/change.py`). Those that had joined the line that has
become an add do the same after it. Source: REFERENCE f.
"""

from __future__ import annotations

from domain.messages import ChangeOrder, Delivered, PlanMessage, Rejoined
from domain.plan import Plan
from domain.states import ItemState


def rejoining(plan: Plan, message: PlanMessage) -> ChangeOrder | None:
    """The change that news of another order makes of a plan; None when it makes none.

    Whoever refuses it hands the plan the message instead: then a person decides.
    """
    is_news = isinstance(message, Rejoined) or (isinstance(message, Delivered) and message.is_cancelled)
    if not is_news or plan.template is None or plan.account_shard is not None:
        return None
    assert isinstance(message, Delivered | Rejoined)
    if not any(
        item.state is ItemState.PENDING and plan.lines_of(item)[0].joins == message.by_order
        for item in (plan.items[node] for node in plan.awaits)
    ):
        return None
    return ChangeOrder(
        "rejoin",
        f"order {message.by_order} does not make what it was to share",
        f"rejoin-{message.by_order}-{plan.facts}",
        joined=message.by_order,
    )
