"""`evolve`: what each fact does to a plan.

Replaying an order's facts from empty gives exactly its stored state, so nothing here decides anything. The cost of a
fact depends on its item's neighbours only.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from domain import facts as f
from domain.compose import Template
from domain.errors import IllegalTransition
from domain.evolve_change import CHANGES, pause_timer
from domain.facts import Fact
from domain.items import ItemRun
from domain.lines import Line
from domain.orders import Order
from domain.placement import AssetBooking
from domain.plan import Plan
from domain.recount import recount, reindex
from domain.release import CompiledRelease
from domain.states import (
    FROZEN_ITEM_STATES,
    MOVING_ITEM_STATES,
    ORDER_TRANSITIONS,
    RUNNING_ITEM_STATES,
    ItemEvent,
    ItemState,
    OrderState,
    PlanEvent,
    PlanState,
    next_item_state,
    next_plan_state,
)

_APPLIED_MAX: Final = 50
"""How many operator messages a plan remembers, to recognise one that is decided again after an unheard commit."""


def evolve(plan: Plan, fact: Fact) -> Plan:
    """Apply one fact of the plan's order. The plan is changed in place and returned.

    Raises:
        IllegalTransition: the fact does not fit the state; a bug or a corrupted journal, never a normal event.
    """
    _APPLY[fact.kind](plan, fact, fact.payload or {})
    plan.facts += 1
    if fact.cause is not None and fact.actor.startswith("person:"):
        plan.applied[fact.cause] = None
        while len(plan.applied) > _APPLIED_MAX:
            del plan.applied[next(iter(plan.applied))]
    return plan


def plan_from_facts(
    stored: list[Fact],
    release_of: Callable[[str], CompiledRelease],
    template_of: Callable[[str], Template],
) -> Plan:
    """Fold an order's facts from empty.

    Args:
        stored: the facts in order; the first is the acceptance or rejection.
        release_of: the compiled release by id.
        template_of: a plan template by id.
    """
    first = stored[0]
    payload = first.payload or {}
    plan = Plan(
        order=Order.from_dict(payload["order"]),
        release=release_of(payload["release"]),
        created_at=first.at,
    )
    for fact in stored:
        if fact.kind == f.PLAN_COMPOSED:
            composed = fact.payload or {}
            plan.release = release_of(composed["release"])
            plan.template = template_of(composed["template"])
        elif fact.kind == f.PLAN_CHANGED:
            plan.release = release_of((fact.payload or {})["release"])
        evolve(plan, fact)
    return plan


def _to_order_state(plan: Plan, state: OrderState) -> None:
    if state is not plan.order_state and state not in ORDER_TRANSITIONS[plan.order_state]:
        raise IllegalTransition(plan.order_state, state)
    plan.order_state = state


def _order_accepted(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    plan.order_state = OrderState.ACKNOWLEDGED
    plan.body_hash = bytes.fromhex(payload["bodyHash"]) if "bodyHash" in payload else None
    plan.has_secrets = bool(payload.get("secrets"))
    plan.placement = payload.get("placement", "")
    plan.account_shard = payload.get("accountShard")


def _order_rejected(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    _order_accepted(plan, fact, payload)
    plan.order_state = OrderState.REJECTED
    plan.reasons = list(payload["reasons"])
    plan.ended_at = fact.at


def _order_waiting(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    _to_order_state(plan, OrderState.PENDING)
    plan.behind = list(payload["behind"])
    plan.roots = frozenset(payload["roots"])
    plan.states = payload.get("states", {})


def _plan_composed(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    template = plan.template
    assert template is not None, "the template is bound before the fact is applied"
    plan.state = next_plan_state(PlanState.NOT_STARTED, PlanEvent.STARTED)
    _to_order_state(plan, OrderState.IN_PROGRESS)
    plan.behind = []
    plan.has_secrets = plan.has_secrets or bool(payload.get("secrets"))
    plan.sequence = payload.get("sequence", 0)
    plan.lines = [Line.from_dict(stored) for stored in payload["lines"]]
    plan.items = [
        ItemRun(
            key=template.key_of(index, plan.lines),
            node=index,
            definition=template.definitions[index],
            waits=len(waits) + (index in template.parents),
        )
        for index, waits in enumerate(template.waits)
    ]
    reindex(plan)
    plan.open_items = len(plan.items)
    plan.open_children = {parent: len(nodes) for parent, nodes in template.children.items()}
    for roots in plan.roots_of_node:
        for root in roots:
            plan.open_in_root[root] += 1


def _move(plan: Plan, item: ItemRun, *events: ItemEvent) -> None:
    """Take an item through the table, keeping the plan's counters and its followers right."""
    before = state = item.state
    # An item stands as its state says, but for some that are On Hold.
    stood = item.standing if before is ItemState.ON_HOLD else before
    for event in events:
        state = next_item_state(state, event)
    item.state = state
    if state is before:
        if before is ItemState.ON_HOLD:
            _count_standing(plan, stood, item.standing)
        return
    _count_standing(plan, stood, item.standing if state is ItemState.ON_HOLD else state)
    if state is ItemState.FATALLY_FAILED:
        plan.fatally_failed += 1
    elif before is ItemState.FATALLY_FAILED:
        plan.fatally_failed -= 1
    if item.frozen_from is not None and state not in FROZEN_ITEM_STATES:
        item.frozen_from = None
    if before is ItemState.FROZEN_RUNNING and item.definition is not None and item.is_callout:
        plan.waited_for -= item.definition.source.freeze == "wait"
    runs, ran = state in RUNNING_ITEM_STATES, before in RUNNING_ITEM_STATES
    if runs is not ran and not item.is_accepted and item.is_callout:
        plan.calling += 1 if runs else -1


def _count_standing(plan: Plan, stood: ItemState, stands: ItemState) -> None:
    if stands is stood:
        return
    plan.moving += (stands in MOVING_ITEM_STATES) - (stood in MOVING_ITEM_STATES)
    if stands is ItemState.ON_HOLD:
        plan.held_items += 1
    elif stood is ItemState.ON_HOLD:
        plan.held_items -= 1


def _close(plan: Plan, item: ItemRun, at: datetime) -> None:
    """The item is done or skipped: its followers wait for one less."""
    item.timer_at = item.paused_at = None
    item.ended_at = at
    item.worker = None
    plan.open_items -= 1
    for root in plan.roots_of_node[item.node]:
        plan.open_in_root[root] -= 1
    assert plan.template is not None
    plan.awaiting.discard(item.node)
    parent = plan.template.parents.get(item.node)
    if parent is not None:
        plan.open_children[parent] -= 1
    for follower in plan.template.followers[item.node]:
        waiting = plan.items[follower]
        waiting.waits -= 1
        waiting.branch_skipped_waits += item.is_branch_skipped


def _set_timer(plan: Plan, item: ItemRun, at: datetime | None) -> None:
    item.timer_at, item.paused_at = at, None
    if at is not None:
        heapq.heappush(plan.timers, (at, item.node))


def _item(plan: Plan, fact: Fact) -> ItemRun:
    assert fact.item is not None
    return plan.by_key[fact.item]


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _item_started(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    item = _item(plan, fact)
    item.is_repeated = item.attempt == payload["attempt"]
    if not item.is_repeated:
        item.sent = tuple(line.attributes for line in plan.lines_of(item))
    item.attempt = payload["attempt"]
    item.tries += 1
    item.is_accepted = False
    item.is_unheard = False
    _ready(item, fact.at)
    if item.state in ARRIVAL:
        _move(plan, item, ARRIVAL[item.state], ItemEvent.STARTED)
    else:
        _move(plan, item, ItemEvent.STARTED)
    item.started_at = fact.at
    _set_timer(plan, item, _instant(payload.get("deadline")))


ARRIVAL: Final = {
    ItemState.PENDING: ItemEvent.UNBLOCKED,
    ItemState.SCHEDULED: ItemEvent.TIME_REACHED,
    ItemState.FAILED: ItemEvent.RETRY_DUE,
    ItemState.ON_HOLD: ItemEvent.SYSTEM_CAME_ONLINE,
}
"""The event that makes an item Ready, by the state it was in."""


def _ready(item: ItemRun, at: datetime) -> None:
    if item.ready_at is None:
        item.ready_at = at


def _item_opened(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    item = _item(plan, fact)
    item.attempt = payload["attempt"]
    _ready(item, fact.at)
    if item.state in ARRIVAL:
        _move(plan, item, ARRIVAL[item.state])
    _set_timer(plan, item, None)


def _item_begun(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    item = _item(plan, fact)
    _ready(item, fact.at)
    if item.state in ARRIVAL:
        _move(plan, item, ARRIVAL[item.state])
    _move(plan, item, ItemEvent.STARTED)
    item.started_at = fact.at
    if item.is_event:
        plan.awaiting.add(item.node)
    assert plan.template is not None
    for child in plan.template.children.get(item.node, ()):
        plan.items[child].waits -= 1
    _set_timer(plan, item, _instant(payload.get("deadline")))


def _item_scheduled(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    item = _item(plan, fact)
    _move(plan, item, ItemEvent.SCHEDULED)
    _set_timer(plan, item, _instant(payload["until"]))


def _item_held(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    item = _item(plan, fact)
    _ready(item, fact.at)
    item.hold, item.held_at = payload, fact.at
    plan.had_holds = True
    path: tuple[ItemEvent, ...] = ()
    if item.state is ItemState.PENDING:
        path = (ItemEvent.UNBLOCKED,)
    elif item.is_running:
        # Its call was not made, so it is no try. The system may have heard of the attempt earlier, so its key stays.
        path = (ItemEvent.FAILED,) if item.state is ItemState.RUNNING else ()
        item.tries -= 1
        item.is_unheard = True
    _move(plan, item, *path, ItemEvent.SYSTEM_WENT_OFFLINE)
    if item.state is ItemState.FROZEN:
        item.frozen_from = ItemState.ON_HOLD
    _set_timer(plan, item, None)


def _item_accepted(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    plan.calling -= 1
    _item(plan, fact).is_accepted = True


def _item_claimed(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    item = _item(plan, fact)
    if item.state is ItemState.READY:
        _move(plan, item, ItemEvent.STARTED)
        item.started_at = fact.at
    item.worker = payload["worker"]


def _item_released(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    _item(plan, fact).worker = None


def _item_completed(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    item = _item(plan, fact)
    if item.state is ItemState.RUNNING:
        _move(plan, item, ItemEvent.COMPLETED)
    elif item.state is ItemState.PENDING:
        _ready(item, fact.at)
        item.started_at = fact.at
        _move(plan, item, ItemEvent.UNBLOCKED, ItemEvent.STARTED, ItemEvent.COMPLETED)
    elif item.state in (ItemState.SCHEDULED, ItemState.READY, ItemState.ON_HOLD):
        _ready(item, fact.at)
        item.started_at = item.started_at or fact.at
        path = (ARRIVAL[item.state],) if item.state in ARRIVAL else ()
        _move(plan, item, *path, ItemEvent.STARTED, ItemEvent.COMPLETED)
    elif item.state in FROZEN_ITEM_STATES:
        _move(plan, item, ItemEvent.COMPLETED)
    else:
        _move(plan, item, ItemEvent.OPERATOR_COMPLETED)
    item.is_simulated = bool(payload.get("simulated"))
    item.error = item.error_code = ""
    if payload:
        _set_values(plan, payload.get("set", {}))
        plan.has_secrets = plan.has_secrets or bool(payload.get("secrets"))
    _close(plan, item, fact.at)


def _set_values(plan: Plan, by_line: Mapping[str, Mapping[str, Any]]) -> None:
    for line_key, values in by_line.items():
        line = plan.lines[plan.line_at[line_key]]
        line.attributes = {**line.attributes, **values}


def _line_changed(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    _set_values(plan, payload["set"])
    plan.has_secrets = plan.has_secrets or bool(payload.get("secrets"))


def _item_failed(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    item = _item(plan, fact)
    _move(plan, item, ItemEvent.FAILED)
    item.failed_at = fact.at
    plan.had_fallout = True
    item.error, item.error_code = payload.get("error", ""), payload.get("errorCode", "")
    item.is_unheard = bool(payload.get("unheard"))
    _set_timer(plan, item, _instant(payload["retryAt"]))
    if item.frozen_from is not None:
        item.frozen_from = ItemState.FAILED
    if plan.state is not PlanState.IN_PROGRESS:
        pause_timer(item)


def _item_fatally_failed(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    item = _item(plan, fact)
    path: tuple[ItemEvent, ...] = ()
    if item.state in (ItemState.PENDING, ItemState.SCHEDULED, ItemState.ON_HOLD):
        path = (ARRIVAL[item.state], ItemEvent.STARTED)
    elif item.state is ItemState.READY:
        path = (ItemEvent.STARTED,)
    if item.definition is None:
        plan.orphaned.update(line.key for line in plan.lines_of(item))
    plan.awaiting.discard(item.node)
    _ready(item, fact.at)
    _move(plan, item, *path, ItemEvent.FATALLY_FAILED)
    if item.frozen_from is not None:
        item.frozen_from = ItemState.FATALLY_FAILED
    item.failed_at = fact.at
    plan.had_fallout = True
    item.error, item.error_code = payload.get("error", ""), payload.get("errorCode", "")
    item.is_unheard = bool(payload.get("unheard"))
    _set_timer(plan, item, None)


def _item_retried(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    item = _item(plan, fact)
    _move(plan, item, ItemEvent.OPERATOR_RETRIED)
    item.tries = 0
    _set_timer(plan, item, None)


def _item_edited(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    item = _item(plan, fact)
    item.edited = payload["payload"]
    # The key of an attempt that nobody heard of stands for the payload of that time: the next attempt has another one.
    item.is_unheard = False


def _item_skipped(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    item = _item(plan, fact)
    _move(plan, item, SKIPS[payload["reason"]])
    item.skip_reason = payload["reason"]
    item.is_branch_skipped = bool(payload.get("branch"))
    _close(plan, item, fact.at)


SKIPS: Final = {
    "condition": ItemEvent.CONDITION_FALSE,
    "branch": ItemEvent.BRANCH_SKIPPED,
    "operator": ItemEvent.OPERATOR_SKIPPED,
}
"""The event by the reason that a skip fact gives."""


def _item_noted(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    """A result of a settled or superseded attempt: recorded, changes nothing."""


def _item_annotated(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    """A person's note: read from the facts, changes nothing."""


def _assets_changed(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    plan.delivered.update(payload["lines"])
    if plan.account_shard is not None:
        keys = payload["lines"]
        delivered = tuple(line.asset_id for key in keys if (line := plan.lines[plan.line_at[key]]).is_asset)
        _ask_for_booking(plan, tuple(payload["changes"]), delivered)


def _order_closing(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    plan.is_closing = True
    _ask_for_booking(plan, (), (), is_last=True)


def _ask_for_booking(
    plan: Plan, changes: tuple[dict[str, Any], ...], delivered: tuple[str, ...], *, is_last: bool = False
) -> None:
    plan.booked += 1
    plan.bookings[plan.booked] = AssetBooking(plan.booked, changes, delivered, is_last)


def _assets_confirmed(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    del plan.bookings[payload["number"]]


def _order_moved(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    _to_order_state(plan, OrderState(payload["state"]))


def _order_quarantined(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    plan.reasons = [*plan.reasons, {"code": "unstorable", "reason": payload["reason"]}]


def _plan_redriven(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    plan.redriven_at = fact.at
    plan.redriven = [*payload["stuck"]]
    recount(plan)


def _order_ended(plan: Plan, fact: Fact, payload: Mapping[str, Any]) -> None:
    _to_order_state(plan, OrderState(payload["state"]))
    plan.ended_at = fact.at
    plan.behind = []
    plan.reasons = [*plan.reasons, *payload.get("reasons", ())]
    if plan.state is not None:
        plan.state = next_plan_state(plan.state, PlanEvent.COMPLETED)


_APPLY: Final[dict[str, Callable[[Plan, Fact, Mapping[str, Any]], None]]] = {
    f.ORDER_ACCEPTED: _order_accepted,
    f.ORDER_REJECTED: _order_rejected,
    f.ORDER_WAITING: _order_waiting,
    f.ORDER_MOVED: _order_moved,
    f.ORDER_ENDED: _order_ended,
    f.ORDER_QUARANTINED: _order_quarantined,
    f.PLAN_COMPOSED: _plan_composed,
    f.PLAN_REDRIVEN: _plan_redriven,
    f.ITEM_STARTED: _item_started,
    f.ITEM_OPENED: _item_opened,
    f.ITEM_BEGUN: _item_begun,
    f.ITEM_SCHEDULED: _item_scheduled,
    f.ITEM_HELD: _item_held,
    f.ITEM_ACCEPTED: _item_accepted,
    f.ITEM_CLAIMED: _item_claimed,
    f.ITEM_RELEASED: _item_released,
    f.ITEM_COMPLETED: _item_completed,
    f.ITEM_FAILED: _item_failed,
    f.ITEM_FATALLY_FAILED: _item_fatally_failed,
    f.ITEM_RETRIED: _item_retried,
    f.ITEM_EDITED: _item_edited,
    f.ITEM_SKIPPED: _item_skipped,
    f.ITEM_NOTED: _item_noted,
    f.LINE_CHANGED: _line_changed,
    f.ITEM_ANNOTATED: _item_annotated,
    f.ASSETS_CHANGED: _assets_changed,
    f.ASSETS_CONFIRMED: _assets_confirmed,
    f.ORDER_CLOSING: _order_closing,
    **CHANGES,
}
