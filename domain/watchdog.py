"""What of a plan could go on and does not.

Written apart from the code that drives plans (`domain/turn.py`, `domain/evolve.py`) and without the counters that it
keeps: from the states of the items and the template alone. So a mistake there shows here. A healthy plan has nothing
stuck after any turn; `domain/redrive.py` makes the others go on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from domain.compose import related_of
from domain.errors import ExpressionFailed
from domain.items import ItemRun
from domain.lines import line_context, order_context
from domain.plan import Plan
from domain.states import TERMINAL_ITEM_STATES, ItemState, OrderState, PlanState
from domain.turn import deadline_of

LATE_S: Final = 30.0
"""How long after its time a timer may fire without being missed: a busy host is late, not stuck."""

NOT_BEGUN: Final = "notBegun"
READY_NOT_BEGUN: Final = "readyNotBegun"
NO_TIMER: Final = "noTimer"
TIMER_PASSED: Final = "timerPassed"
SUB_PLAN_DONE: Final = "subPlanDone"
EVENT_HAPPENED: Final = "eventHappened"
AWAITED_ENDED: Final = "awaitedEnded"
PREDECESSORS_ENDED: Final = "predecessorsEnded"
NOT_COMPOSED: Final = "notComposed"
NOT_ENDED: Final = "notEnded"
CALL_LOST: Final = "callLost"
TIMER_LOST: Final = "timerLost"

TEXTS: Final = {
    NOT_BEGUN: "everything that it waits for is done, and it has not begun",
    READY_NOT_BEGUN: "it is Ready, and its work has not begun",
    NO_TIMER: "it waits for a time, and no time is set",
    TIMER_PASSED: "its time has passed",
    SUB_PLAN_DONE: "all its items are done, and it is not",
    EVENT_HAPPENED: "what it waits for is true",
    AWAITED_ENDED: "the order that it waits for has ended",
    PREDECESSORS_ENDED: "every order that it waited for has ended",
    NOT_COMPOSED: "it was accepted, and has no plan",
    NOT_ENDED: "all its items are done, and it has not ended",
    CALL_LOST: "it calls a system, and the host knows nothing of the call",
    TIMER_LOST: "its next time is not the one that the host knows",
}
"""Why something is stuck, for people. The last two are found by its host, not from the plan."""


class Stuck(NamedTuple):
    """One thing that could go on and does not: an item by its key, or the order (None)."""

    item: str | None
    why: str


def stuck_items(plan: Plan, now: datetime, open_orders: Collection[str] | None = None) -> list[Stuck]:
    """What of a plan could go on and does not, in the order of its items.

    Args:
        plan: between two of its turns.
        now: the time by which timers are judged; a timer is missed when it is `LATE_S` old.
        open_orders: the open orders of its account; None when the caller does not know them, so that nothing is told
            of what waits for other orders.
    """
    if plan.ended_at is not None:
        return []
    if plan.template is None:
        return _unplanned(plan, open_orders)
    found = [Stuck(item.key, why) for item in plan.items if (why := _why(plan, item, now, open_orders)) is not None]
    if plan.state is PlanState.IN_PROGRESS and _has_nothing_left(plan):
        found.append(Stuck(None, NOT_ENDED))
    return found


def next_time(plan: Plan) -> datetime | None:
    """The earliest time that something of an open plan waits for, without its heap of timers."""
    if plan.ended_at is not None:
        return None
    return min((item.timer_at for item in plan.items if item.timer_at is not None), default=None)


def calls_awaited(plan: Plan, now: datetime) -> Iterator[ItemRun]:
    """Items that wait for the answer to a call, without the plan's counter: each call has to be known to the host,
    unless its time is over, when its timer is about to fire.
    """
    for item in plan.items:
        if item.is_running and item.is_callout and not item.is_accepted:
            deadline_at = deadline_of(item)
            if deadline_at is None or deadline_at > now:
                yield item


def _unplanned(plan: Plan, open_orders: Collection[str] | None) -> list[Stuck]:
    if plan.order_state is OrderState.ACKNOWLEDGED:
        return [Stuck(None, NOT_COMPOSED)]
    if plan.order_state is not OrderState.PENDING or open_orders is None:
        return []
    # Asked one by one: an account may have very many open orders, and each of them may wait.
    if not any(order_id in open_orders for order_id in plan.behind):
        return [Stuck(None, PREDECESSORS_ENDED)]
    return []


def _has_nothing_left(plan: Plan) -> bool:
    """Whether every item has ended and no booking is awaited: nothing is left but to say that the order has ended."""
    return not plan.bookings and all(item.state in TERMINAL_ITEM_STATES for item in plan.items)


def _why(plan: Plan, item: ItemRun, now: datetime, open_orders: Collection[str] | None) -> str | None:
    """Why the item is stuck; None when it is not."""
    state = item.state
    if state in TERMINAL_ITEM_STATES or state is ItemState.FATALLY_FAILED:
        return None
    if state is ItemState.RUNNING:
        return _running(plan, item, now)
    if state is ItemState.FROZEN_RUNNING:
        return _late(item, now) if item.is_callout else None
    if plan.state is not PlanState.IN_PROGRESS:
        # Nothing new begins while a plan is held or frozen.
        return None
    if state is ItemState.PENDING:
        return _pending(plan, item, open_orders)
    if state is ItemState.READY:
        return None if item.is_manual else READY_NOT_BEGUN
    if state in (ItemState.FAILED, ItemState.SCHEDULED):
        return _late(item, now)
    return None


def _pending(plan: Plan, item: ItemRun, open_orders: Collection[str] | None) -> str | None:
    template = plan.template
    assert template is not None
    if item.definition is None:
        if related_of(template.nodes[item.node]) is not None:
            # How orders of other accounts stand is not the plan's to know; whoever knows tells it again and again.
            return None
        if open_orders is None or plan.lines_of(item)[0].joins in open_orders:
            return None
        return AWAITED_ENDED
    # What a change has overtaken holds nobody up: its redo, if there is one, is waited for too.
    if any(plan.items[node].state not in TERMINAL_ITEM_STATES for node in template.waits[item.node]):
        return None
    parent = template.parents.get(item.node)
    return NOT_BEGUN if parent is None or plan.items[parent].state is ItemState.RUNNING else None


def _running(plan: Plan, item: ItemRun, now: datetime) -> str | None:
    template = plan.template
    assert template is not None
    if item.is_callout:
        return _late(item, now)
    if item.is_sub_plan:
        children = template.children.get(item.node, ())
        return SUB_PLAN_DONE if all(plan.items[node].state in TERMINAL_ITEM_STATES for node in children) else None
    if item.is_event:
        if _has_happened(plan, item):
            return EVENT_HAPPENED
        return _late(item, now) if item.timer_at is not None else None
    return None


def _late(item: ItemRun, now: datetime) -> str | None:
    if item.timer_at is None:
        return NO_TIMER
    return TIMER_PASSED if item.timer_at < now - timedelta(seconds=LATE_S) else None


def _has_happened(plan: Plan, item: ItemRun) -> bool:
    event = item.definition.event if item.definition is not None else None
    if event is None:
        return False
    context = order_context(plan.order)
    try:
        return any(event.is_true(line_context(context, line)) for line in plan.lines_of(item))
    except ExpressionFailed:
        # Whoever changes a line next is told; there is nothing to go on with.
        return False
