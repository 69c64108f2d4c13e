"""Who waits for whom in a plan, from the cause to the consequence: what an explanation follows.

An item waits for its dependencies and, as part of a sub-plan, for that to begin; a sub-plan that runs waits for its own
items. Both ways are searched breadth first and bounded, because a plan may have tens of thousands of items.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from domain.items import ItemRun
from domain.plan import Plan
from domain.states import TERMINAL_ITEM_STATES, ItemState

LOOKED_AT_MAX: Final = 500
"""Items that one search looks at."""

_SEVERITY: Final = {
    ItemState.FATALLY_FAILED: 0,
    ItemState.PENDING: 1,
    ItemState.READY: 2,
    ItemState.ON_HOLD: 4,
    ItemState.FAILED: 5,
}
"""What explains more comes first: a failure, the wait for another order, a person, a system that is held; the rest only
takes its time.
"""
_PASSING: Final = 6


def stands_before(plan: Plan, item: ItemRun) -> list[ItemRun]:
    """What an item waits for inside its plan and that is not done yet."""
    assert plan.template is not None
    if item.state is ItemState.PENDING:
        found = [plan.items[node] for node in plan.template.waits[item.node]]
        parent = plan.template.parents.get(item.node)
        if parent is not None and plan.items[parent].state is not ItemState.RUNNING:
            found.append(plan.items[parent])
    elif item.is_sub_plan and item.state is ItemState.RUNNING:
        found = [plan.items[node] for node in plan.template.children.get(item.node, ())]
    else:
        return []
    return [each for each in found if each.state not in TERMINAL_ITEM_STATES]


def chain_to(plan: Plan, item: ItemRun) -> tuple[list[ItemRun], int]:
    """(the way from what stands in an item's way at the bottom to the item itself, how many others stand there too).

    Of several at the bottom the worst is taken, then the deepest.
    """
    came_from: dict[int, ItemRun | None] = {item.node: None}
    waiting = deque([item])
    cause, least, standing = item, _PASSING + 1, 0
    while waiting:
        at = waiting.popleft()
        before = stands_before(plan, at)
        if not before and at is not item:
            standing += 1
            if (severity := severity_of(at)) <= least:
                cause, least = at, severity
        for each in before:
            if each.node not in came_from and len(came_from) < LOOKED_AT_MAX:
                came_from[each.node] = at
                waiting.append(each)
    chain: list[ItemRun] = []
    step: ItemRun | None = cause
    while step is not None:
        chain.append(step)
        step = came_from[step.node]
    return chain, max(0, standing - 1)


def severity_of(item: ItemRun) -> int:
    """How much an item that stands still is in the way: the lower, the more it needs somebody."""
    if item.is_manual and item.state is ItemState.RUNNING:
        return _SEVERITY[ItemState.READY] + 1
    return _SEVERITY.get(item.state, _PASSING)


def stands_behind(plan: Plan, item: ItemRun) -> list[ItemRun]:
    """What waits for an item, directly or through others, nearest first; at most `LOOKED_AT_MAX`."""
    assert plan.template is not None
    template = plan.template
    seen = {item.node}
    found: list[ItemRun] = []
    waiting = deque([item])
    while waiting:
        at = waiting.popleft()
        nodes = list(template.followers[at.node])
        if at.state is not ItemState.RUNNING:
            nodes.extend(template.children.get(at.node, ()))
        if at.node in template.parents:
            nodes.append(template.parents[at.node])
        for node in nodes:
            behind = plan.items[node]
            is_held_up = behind.state is ItemState.PENDING or (behind.is_sub_plan and behind.state is ItemState.RUNNING)
            if node in seen or not is_held_up:
                continue
            if len(found) == LOOKED_AT_MAX:
                return found
            seen.add(node)
            found.append(behind)
            waiting.append(behind)
    return found
