"""A plan's counters from scratch: what `domain/evolve.py` keeps by adding and taking away."""

from __future__ import annotations

import heapq

from domain.compose import AWAIT_REF
from domain.plan import Plan
from domain.states import MOVING_ITEM_STATES, TERMINAL_ITEM_STATES, ItemState


def reindex(plan: Plan) -> None:
    """Make everything right that follows from lines, items and template, but for the states of the items."""
    template = plan.template
    assert template is not None
    plan.line_at = {line.key: index for index, line in enumerate(plan.lines)}
    plan.by_key = {item.key: item for item in plan.items}
    plan.covered = frozenset(index for lines in template.covers.values() for index in lines)
    plan.awaits = tuple(item.node for item in plan.items if template.nodes[item.node].ref == AWAIT_REF)
    plan.lines_in_root = {}
    roots_of_line: list[dict[str, None]] = []
    for index, line in enumerate(plan.lines):
        roots_of_line.append(dict.fromkeys(plan.lines[plan.line_at[each]].root for each in line.order_lines))
        for root in roots_of_line[-1]:
            plan.lines_in_root.setdefault(root, []).append(index)
    plan.open_in_root = dict.fromkeys(plan.lines_in_root, 0)
    plan.roots_of_node = []
    known: dict[tuple[int, ...], tuple[str, ...]] = {}
    for node in template.nodes:
        # Many items work for the same lines.
        roots = known.get(node.lines)
        if roots is None:
            roots = known[node.lines] = tuple(dict.fromkeys(root for at in node.lines for root in roots_of_line[at]))
        plan.roots_of_node.append(roots)
    held = [line for line in plan.lines if line.is_asset and not line.sources]
    if any(line.is_cancelled for line in held):
        # What is taken back is worked on all the same.
        at_work = {
            root
            for item in plan.items
            if item.state not in TERMINAL_ITEM_STATES
            for root in plan.roots_of_node[item.node]
        }
        held = [line for line in held if not line.is_cancelled or line.root in at_work]
    # Technical instances do not lock: one that is shared may belong to the bundle of another order.
    plan.roots = frozenset(line.root_asset_id for line in held)


def recount(plan: Plan) -> None:
    """Make everything right that follows from the states of the items: whoever waits, what is open, timers."""
    template = plan.template
    if template is None:
        return
    states = [item.state for item in plan.items]
    is_open = [state not in TERMINAL_ITEM_STATES for state in states]
    for item in plan.items:
        targets = template.waits[item.node]
        parent = template.parents.get(item.node)
        # A sub-plan lets its items go when it begins, and never takes them back.
        is_held = parent is not None and plan.items[parent].started_at is None
        item.waits = sum(is_open[target] for target in targets) + is_held
        item.branch_skipped_waits = sum(
            plan.items[target].is_branch_skipped for target in targets if not is_open[target]
        )
    plan.open_items = sum(is_open)
    standing = [item.standing for item in plan.items]
    plan.moving = sum(stands in MOVING_ITEM_STATES for stands in standing)
    plan.held_items = standing.count(ItemState.ON_HOLD)
    plan.fatally_failed = states.count(ItemState.FATALLY_FAILED)
    plan.calling = sum(item.is_running and item.is_callout and not item.is_accepted for item in plan.items)
    plan.waited_for = sum(item.state is ItemState.FROZEN_RUNNING and item.is_waited_for for item in plan.items)
    plan.open_children = {
        parent: sum(is_open[node] for node in nodes) for parent, nodes in template.children.items()
    }
    plan.awaiting = {item.node for item in plan.items if item.is_event and item.state is ItemState.RUNNING}
    plan.open_in_root = dict.fromkeys(plan.lines_in_root, 0)
    for item in plan.items:
        if is_open[item.node]:
            for root in plan.roots_of_node[item.node]:
                plan.open_in_root[root] += 1
    plan.timers = [(item.timer_at, item.node) for item in plan.items if item.timer_at is not None]
    heapq.heapify(plan.timers)
