"""The state of an order line: it follows from the items that work for the line, nobody sets it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from domain.items import ItemRun
from domain.plan import Plan
from domain.states import OVERTAKEN_ITEM_STATES, ItemState, OrderState

_ENDED_BEFORE_WORK: Final = frozenset({OrderState.REJECTED, OrderState.PENDING, OrderState.CANCELLED})
_CANCELLING: Final = frozenset({OrderState.ASSESSING_CANCELLATION, OrderState.PENDING_CANCELLATION})
_DONE: Final = frozenset({ItemState.COMPLETED, ItemState.SKIPPED})
_STUCK: Final = frozenset({ItemState.FATALLY_FAILED, ItemState.ON_HOLD})
_UNTOUCHED: Final = frozenset({ItemState.PENDING, ItemState.SCHEDULED})

Counts = Mapping[ItemState, int]
"""How many of the items that work for one order line are in each state."""


def line_states(plan: Plan) -> dict[str, OrderState]:
    """The state of every order line of the order, by line id."""
    counts = item_counts(plan)
    return {line.line_id: line_state(plan, line.line_id, counts.get(line.line_id, {})) for line in plan.order.lines}


def line_state(plan: Plan, line_id: str, counts: Counts) -> OrderState:
    """The state of an order line, from the states of the items that work for it."""
    if plan.order_state in _ENDED_BEFORE_WORK or plan.template is None:
        return plan.order_state
    # What a change has overtaken says nothing of the line any more.
    states = {state for state, count in counts.items() if count} - OVERTAKEN_ITEM_STATES
    if plan.lines[plan.line_at[line_id]].is_cancelled:
        is_undone = plan.ended_at is not None or states <= _DONE
        return OrderState.CANCELLED if is_undone else OrderState.PENDING_CANCELLATION
    if plan.order_state in _CANCELLING:
        return plan.order_state
    if plan.ended_at is not None or (states and states <= _DONE):
        return OrderState.COMPLETED
    if states & _STUCK and states <= _DONE | _UNTOUCHED | _STUCK:
        return OrderState.HELD
    if states <= _UNTOUCHED:
        return OrderState.ACKNOWLEDGED
    return OrderState.IN_PROGRESS


def item_counts(plan: Plan) -> dict[str, Counter[ItemState]]:
    """Of every order line that items work for: how many are in each state."""
    counts: dict[str, Counter[ItemState]] = {}
    for item in plan.items:
        for line_id in order_lines_of(plan, item):
            counts.setdefault(line_id, Counter())[item.state_shown] += 1
    return counts


def order_lines_of(plan: Plan, item: ItemRun) -> set[str]:
    """The order lines that an item works for."""
    return {line_id for line in plan.lines_of(item) for line_id in line.order_lines}
