"""What facts about the whole plan do to it: hold, freeze, and the change of an order that is under way.

A change is stored as what came of it, never as what was asked: the lines, the template and which items were overtaken.
So replaying does not depend on how a later version would carry the change out.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from domain import facts as f
from domain.compose import REDO, UNDO, Template
from domain.facts import Fact
from domain.items import ItemRun
from domain.lines import Line
from domain.orders import Order
from domain.payloads import payload_of
from domain.plan import Plan
from domain.recount import recount, reindex
from domain.states import (
    FROZEN_ITEM_STATES,
    ITEM_TRANSITIONS,
    TERMINAL_ITEM_STATES,
    ItemEvent,
    ItemState,
    PlanEvent,
    PlanState,
    next_item_state,
    next_plan_state,
)


def pause_timer(item: ItemRun) -> None:
    """Keep an item's timer from firing until its plan goes on."""
    item.paused_at, item.timer_at = item.timer_at or item.paused_at, None


def _go_on(plan: Plan, item: ItemRun) -> None:
    if item.paused_at is not None:
        item.timer_at, item.paused_at = item.paused_at, None
        heapq.heappush(plan.timers, (item.timer_at, item.node))


def _pauses(item: ItemRun) -> bool:
    """Whether an item's timer is one that begins something; that of running work only says when to stop waiting."""
    return item.timer_at is not None and not item.is_running


def _held(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    assert plan.state is not None
    plan.state = next_plan_state(plan.state, PlanEvent.HOLD_ASKED)
    plan.is_held_again = False
    for item in plan.items:
        if _pauses(item):
            pause_timer(item)


def _resumed(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    assert plan.state is not None
    plan.state = next_plan_state(plan.state, PlanEvent.RESUMED)
    for item in plan.items:
        _go_on(plan, item)


def _frozen(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    assert plan.state is not None
    plan.is_held_again = plan.state is PlanState.HELD
    event = PlanEvent.FREEZE_ASKED_BUSY if payload.get("busy") else PlanEvent.FREEZE_ASKED_IDLE
    plan.state = next_plan_state(plan.state, event)
    for item in plan.items:
        # What stands for another order's delivery has no work that could be stopped.
        if item.definition is None or item.state in TERMINAL_ITEM_STATES:
            continue
        before = item.state
        if _pauses(item):
            pause_timer(item)
        item.state = next_item_state(before, ItemEvent.FROZEN)
        item.frozen_from = before
    recount(plan)


def _stilled(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    assert plan.state is not None
    plan.state = next_plan_state(plan.state, PlanEvent.LAST_RUNNING_ENDED)


def _thawed(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    assert plan.state is not None
    plan.state = next_plan_state(plan.state, PlanEvent.CHANGE_DISCARDED)
    plan.change = None
    for item in plan.items:
        _thaw(plan, item)
    recount(plan)


def _thaw(plan: Plan, item: ItemRun) -> None:
    if item.state in FROZEN_ITEM_STATES:
        item.state = next_item_state(item.state, ItemEvent.THAWED, frozen_from=item.frozen_from)
    item.frozen_from = None
    _go_on(plan, item)


def _change_asked(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    plan.change = dict(payload)
    plan.has_secrets = plan.has_secrets or bool(payload.get("secrets"))


def _change_refused(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    plan.change = None


def _plan_changed(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    assert plan.state is not None
    plan.state = next_plan_state(plan.state, PlanEvent.CHANGE_ACCEPTED)
    plan.change = None
    plan.changes += 1
    plan.is_cancelled = plan.is_cancelled or bool(payload.get("cancel"))
    plan.has_secrets = plan.has_secrets or bool(payload.get("secrets"))
    plan.version += 1
    known = len(plan.items)
    template = Template.from_dict(payload["template"], plan.release)
    for new in template.nodes[known:]:
        overtaken = plan.items[new.of] if new.role == REDO and new.of is not None else None
        if overtaken is not None and overtaken.is_running and overtaken.is_callout:
            # A call that is overtaken while it runs: it ends, or is tried again, as what it was.
            overtaken.edited = payload_of(plan, overtaken, overtaken.sent)
    if "order" in payload:
        plan.order = Order.from_dict(payload["order"])
        plan.note_promise()
    lines_then = plan.lines
    plan.lines = [Line.from_dict(stored) for stored in payload["lines"]]
    if payload["kind"] == "cancel":
        ordered = (line for line in plan.lines if line.is_cancelled and not line.sources)
        plan.cancelled_lines.update(line.key for line in ordered if not _was_gone(lines_then, plan, line.key))
    plan.template = template
    amended, cancelled = frozenset(payload["amended"]), frozenset(payload["cancelled"])
    for item in plan.items:
        # The release may be another one, which does not have what was done under the old one.
        item.definition = template.definitions[item.node] or item.definition
        if item.key in cancelled:
            _overtake(plan, item, fact.at)
        elif item.key in amended:
            _amend(item)
        else:
            _thaw(plan, item)
    for node in range(known, len(template.nodes)):
        run = ItemRun(template.key_of(node, plan.lines), node, template.definitions[node], waits=0)
        if template.nodes[node].role == UNDO:
            run.lines_then = tuple(lines_then[index] for index in template.nodes[node].lines)
        plan.items.append(run)
    template.definitions = tuple(item.definition for item in plan.items)
    for item in plan.items:
        _go_on(plan, item)
    reindex(plan)
    recount(plan)


def _was_gone(lines_then: list[Line], plan: Plan, key: str) -> bool:
    """Whether an order line was taken out of the order before: that is no cancellation."""
    return lines_then[plan.line_at[key]].is_cancelled


def _overtake(plan: Plan, item: ItemRun, at: datetime) -> None:
    """The item is needed no more."""
    if ItemEvent.LINE_CANCELLED not in ITEM_TRANSITIONS[item.state]:
        # One that stood for another order's delivery is not frozen with the rest.
        item.state = next_item_state(item.state, ItemEvent.FROZEN)
    if item.definition is None:
        # Its line is another one by now, or waits for somebody again.
        plan.orphaned.difference_update(line.key for line in plan.lines_of(item))
    item.state = next_item_state(item.state, ItemEvent.LINE_CANCELLED)
    item.frozen_from = item.timer_at = item.paused_at = item.worker = None
    item.ended_at = item.ended_at or at


def _amend(item: ItemRun) -> None:
    """The item has, or had, something else to work on."""
    before = item.state
    item.state = next_item_state(before, ItemEvent.LINE_AMENDED)
    item.frozen_from = None
    if item.state is ItemState.AMENDED:
        return
    # What was sent before is not repeated, nor does its success count any more: the next attempt says something else,
    # so it has a key of its own.
    item.is_unheard = False
    item.edited = None
    item.sent = ()
    if item.state is not ItemState.PENDING:
        return
    item.tries = 0
    item.is_accepted = item.is_branch_skipped = False
    item.ready_at = item.started_at = item.ended_at = item.timer_at = item.paused_at = None
    item.worker = None
    item.skip_reason = item.error = item.error_code = ""


def _order_amended(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    plan.order = Order.from_dict(payload["order"])
    plan.note_promise()
    plan.version += 1
    plan.changes += 1
    plan.has_secrets = plan.has_secrets or bool(payload.get("secrets"))
    plan.roots = frozenset(payload["roots"])
    plan.states = payload.get("states", {})
    plan.behind = list(payload["behind"])


def _order_prioritized(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    plan.order.priority = payload["priority"]
    plan.version += 1


CHANGES: Final[dict[str, Callable[[Plan, Fact, Mapping[str, Any]], None]]] = {
    f.PLAN_HELD: _held,
    f.PLAN_RESUMED: _resumed,
    f.PLAN_FROZEN: _frozen,
    f.PLAN_STILLED: _stilled,
    f.PLAN_THAWED: _thawed,
    f.CHANGE_ASKED: _change_asked,
    f.CHANGE_REFUSED: _change_refused,
    f.PLAN_CHANGED: _plan_changed,
    f.ORDER_AMENDED: _order_amended,
    f.ORDER_PRIORITIZED: _order_prioritized,
}
