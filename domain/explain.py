"""Why an order, or an item, is where it is: told from the plan's own state and what the caller knows besides.

Nothing is guessed: what the caller does not know is left out of the answer. Source: REFERENCE section d1, what users of
such systems ask for first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from domain.chains import chain_to, severity_of, stands_before, stands_behind
from domain.explain_absent import explain_idle
from domain.explain_holds import explain_hold
from domain.explanation import Explanation, Reason, Standing, World, when
from domain.expression_paths import values_read
from domain.items import ItemRun
from domain.lines import line_context, order_context
from domain.placement import DEDICATED, NO_PLACE, SHARED
from domain.plan import Plan
from domain.related import awaited, is_related
from domain.release import TASKS_SYSTEM, ItemDef
from domain.states import (
    FROZEN_ITEM_STATES,
    OVERTAKEN_ITEM_STATES,
    TERMINAL_ITEM_STATES,
    ItemState,
    OrderState,
    PlanState,
)
from domain.turn import deadline_of
from domain.watchdog import TEXTS, stuck_items

STANDING_MAX: Final = 200
"""Items that an explanation of an order names one by one."""
WAITS_SHOWN_MAX: Final = 10
"""Items that one item waits for, of which an explanation says one by one how they stand."""
CHAIN_SHOWN_MAX: Final = 20
"""Items of a chain that an explanation names, from the cause on."""


def explain_order(plan: Plan, world: World, now: datetime) -> Explanation:
    """Why the order is where it is; items that wait only for others are left to those they wait for."""
    reasons = _of_order(plan, world, now)
    standing = [item for item in plan.items if item.state not in TERMINAL_ITEM_STATES and not _waits(item)]
    # Where there are too many, those that need somebody are the ones to name.
    standing.sort(key=severity_of)
    items = [
        Standing(item, explain_item(plan, item, world, now), stands_behind(plan, item))
        for item in standing[:STANDING_MAX]
    ]
    waiting = sum(_waits(item) for item in plan.items)
    summary = _summary(plan, reasons, items, len(standing) - 1, waiting)
    return Explanation(summary, reasons, items, len(standing) - len(items))


def _waits(item: ItemRun) -> bool:
    return item.state is ItemState.PENDING and item.waits > 0 and item.definition is not None


def _summary(plan: Plan, reasons: Sequence[Reason], items: Sequence[Standing], others: int, waiting: int) -> str:
    if plan.ended_at is not None or plan.template is None:
        return reasons[0].text if reasons else f"The order is {plan.order_state.value}."
    if any(reason.code == "noOwner" for reason in reasons):
        return "No plan host owns the order's shard just now, so nothing of it moves."
    if reasons and reasons[0].code == "stuck":
        return reasons[0].text
    found = [(URGENCY.get(reason.code, len(URGENCY)), reason) for each in items for reason in each.reasons]
    found.extend((URGENCY[reason.code], reason) for reason in reasons if reason.code in URGENCY)
    if not found:
        return reasons[0].text if reasons else f"The order is {plan.order_state.value}; nothing of it waits."
    _, first = min(found, key=lambda each: each[0])
    parts = []
    if others:
        parts.append("1 other item stands still too" if others == 1 else f"{others} other items stand still too")
    if waiting:
        parts.append(f"{waiting} {'waits' if waiting == 1 else 'wait'} behind")
    return f"{first.text} {', and '.join(parts)}." if parts else first.text


_URGENT: Final = (
    "orderHeld",
    "orderFrozen",
    "changeWaits",
    "fatallyFailed",
    "systemUnknown",
    "systemHeld",
    "nobodySkilled",
    "nobodyOnShift",
    "waitsForOrder",
    "waitsForRelatedOrder",
    "taskOpen",
    "eventAwaited",
    "heldItemsGoOn",
    "retryAt",
    "callbackAwaited",
    "calling",
    "scheduledUntil",
)
URGENCY: Final = {code: rank for rank, code in enumerate(_URGENT)}
"""Which reason a summary takes: what needs somebody comes before what goes on by itself."""


def _of_order(plan: Plan, world: World, now: datetime) -> list[Reason]:
    found = _watched(plan, now)
    if plan.order_state is OrderState.REJECTED:
        texts = "; ".join(str(each.get("reason", "")) for each in plan.reasons)
        return [Reason("rejected", f"The order was rejected: {texts}.", {"reasons": plan.reasons})]
    if plan.ended_at is not None:
        why = "".join(f" {each.get('reason', '')}." for each in plan.reasons)
        text = f"The order ended as {plan.order_state.value}, {when(plan.ended_at, now)}.{why}"
        facts = {"at": plan.ended_at.isoformat(), "reasons": plan.reasons}
        return [Reason("ended", text, facts), *(explain_idle(plan) if plan.template is not None else ())]
    if world.has_owner is False:
        found.append(Reason("noOwner", "No living plan host owns the order's shard; the director gives it to one."))
    if plan.behind:
        states = {order: world.orders.get(order, "not known") for order in plan.behind}
        named = ", ".join(f"{order} ({state})" for order, state in states.items())
        text = f"The order waits for another one on the same product to end: {named}."
        found.append(Reason("waitsBehindOrder", text, {"orders": states}))
    found.extend(
        Reason("quarantined", f"A message could not be dealt with: {each['reason']}.", dict(each))
        for each in plan.reasons
        if each.get("code") == "unstorable"
    )
    found.extend(_of_steering(plan, now))
    if plan.bookings:
        text = f"{len(plan.bookings)} bookings wait for the account's host to confirm them."
        found.append(Reason("booking", text, {"numbers": sorted(plan.bookings)}))
    if plan.placement:
        found.append(Reason("placement", _PLACEMENTS[plan.placement], {"placement": plan.placement}))
    if plan.template is not None:
        found.extend(explain_idle(plan))
    return found


def _of_steering(plan: Plan, now: datetime) -> list[Reason]:
    """What somebody has asked of the order as a whole, as long as it keeps items from moving."""
    waits_for = [item.key for item in plan.items if item.is_waited_for]
    facts: dict[str, Any] = {"waitsFor": waits_for[:CHAIN_SHOWN_MAX]}
    if plan.change is not None:
        named = ", ".join(waits_for[:CHAIN_SHOWN_MAX])
        text = f"A change of the order ({plan.change['kind']}: {plan.change['reason']}) waits for {named} to end."
        return [Reason("changeWaits", text, facts | {"change": plan.change["id"], "kind": plan.change["kind"]})]
    if plan.state is PlanState.HELD:
        return [Reason("orderHeld", "Somebody holds the order: nothing of it begins until it is resumed.")]
    if plan.state in (PlanState.FREEZING, PlanState.FROZEN):
        text = f"Somebody has frozen the order ({plan.state.value}): nothing of it begins until it is thawed."
        return [Reason("orderFrozen", text, facts)]
    if plan.is_cancelled:
        left = sum(item.state not in TERMINAL_ITEM_STATES for item in plan.items)
        return [Reason("cancelling", f"The order is being cancelled; {left} items that undo are left.", {"left": left})]
    return []


def _watched(plan: Plan, now: datetime) -> list[Reason]:
    """What the watchdog sees now, and what it has found the last time."""
    found = []
    stuck = [{"item": each.item, "why": each.why} for each in stuck_items(plan, now)]
    if stuck:
        text = f"The order stands still although it could go on: {_stuck_text(stuck)}; its host makes it go on."
        found.append(Reason("stuck", text, {"stuck": stuck[:STANDING_MAX]}))
    if plan.redriven_at is not None:
        text = f"It stood still and was made to go on {when(plan.redriven_at, now)}: {_stuck_text(plan.redriven)}."
        found.append(Reason("redriven", text, {"at": plan.redriven_at.isoformat(), "stuck": plan.redriven}))
    return found


def _stuck_text(stuck: Sequence[Mapping[str, Any]]) -> str:
    first, more = stuck[0], len(stuck) - 1
    text = TEXTS.get(first["why"], first["why"])
    item = first.get("item")
    named = f"item {item}: {text}" if item is not None else text
    return f"{named} (and {more} more)" if more else named


_PLACEMENTS: Final = {
    DEDICATED: "The plan has a host of its own.",
    NO_PLACE: "The plan was to have a host of its own, but every dedicated place was taken.",
    SHARED: "The plan was to have a host of its own, but the account had another open order.",
}


def explain_item(plan: Plan, item: ItemRun, world: World, now: datetime) -> list[Reason]:
    """Why the item is in its state, the first reason first; then its void dependencies."""
    definition = item.definition
    if definition is None:
        return _await(plan, item, world)
    rule = _BY_STATE.get(item.state)
    found = rule(plan, item, definition, world, now) if rule is not None else []
    return [*found, *_voids(plan, item)]


def _await(plan: Plan, item: ItemRun, world: World) -> list[Reason]:
    if item.state is ItemState.FATALLY_FAILED:
        facts: dict[str, Any] = {"error": item.error, "errorCode": item.error_code, "actions": ["complete", "skip"]}
        return [Reason("fatallyFailed", f"{_sentence(item.error)} An operator can complete or skip it.", facts)]
    if item.state is not ItemState.PENDING:
        return []
    if is_related(plan, item):
        return [_await_related(plan, item, world)]
    line = plan.lines_of(item)[0]
    state = world.orders.get(line.joins or "", "not known")
    text = f"{line.name} is yet to be delivered by order {line.joins} ({state})."
    return [Reason("waitsForOrder", text, {"order": line.joins, "state": state, "line": line.key})]


def _await_related(plan: Plan, item: ItemRun, world: World) -> Reason:
    name, ref = awaited(plan, item)
    facts: dict[str, Any] = {"order": name, "item": ref, "actions": ["skip"]}
    if world.related is None:
        return Reason("waitsForRelatedOrder", f"It waits for {ref} of order {name}.", facts)
    if name not in world.related:
        text = f"It waits for {ref} of order {name}, which has not come yet. An operator can skip the wait."
        return Reason("waitsForRelatedOrder", text, facts | {"state": None})
    order_id, state = world.related[name]
    named = name if name == order_id else f"{name}, which is {order_id}"
    text = f"It waits for {ref} of order {named} ({state})."
    return Reason("waitsForRelatedOrder", text, facts | {"orderId": order_id, "state": state})


def _pending(plan: Plan, item: ItemRun, definition: ItemDef, world: World, now: datetime) -> list[Reason]:
    before = stands_before(plan, item)
    found = [_waits_for(plan, each, world, now) for each in before[:WAITS_SHOWN_MAX]]
    # What is worst comes first: it is what a summary shows.
    found.sort(key=lambda each: URGENCY.get(each.facts["because"]["code"] if "because" in each.facts else "", 99))
    rest = len(before) - len(found)
    if rest:
        found.append(Reason("waitsForItem", f"It waits for {rest} more items.", {"more": rest}))
    return found


def _waits_for(plan: Plan, other: ItemRun, world: World, now: datetime) -> Reason:
    text = f"It waits for {name_of(plan, other)}, which is {other.state.value}"
    facts: dict[str, Any] = {"item": other.key, "state": other.state.value}
    chain, others = chain_to(plan, other)
    root = chain[0]
    if root is not other:
        text += f"; what stands in the way is {name_of(plan, root)}, which is {root.state.value}"
        if others:
            text += f" (and {others} other{'s' * (others != 1)})"
        facts |= {"root": root.key, "rootState": root.state.value, "otherRoots": others}
        facts["chain"] = [{"item": each.key, "state": each.state.value} for each in chain[:CHAIN_SHOWN_MAX]]
    if root.state is not ItemState.PENDING or root.definition is None:
        because = explain_item(plan, root, world, now)
        if because:
            text += f". {because[0].text.rstrip('.')}"
            facts["because"] = {"code": because[0].code, "text": because[0].text}
    return Reason("waitsForItem", f"{text}.", facts)


def _skipped(plan: Plan, item: ItemRun, definition: ItemDef, world: World, now: datetime) -> list[Reason]:
    if item.skip_reason == "branch":
        return [Reason("branchSkipped", "Everything that it waits for was skipped with its branch.")]
    if item.skip_reason == "operator":
        return [Reason("operatorSkipped", "An operator skipped it.")]
    condition = definition.condition
    if condition is None:
        return []
    facts: dict[str, Any] = {"condition": condition.source}
    at_skip = world.at_skip.get(item.key)
    if at_skip is not None:
        facts["values"] = _read(plan, item, condition.source, at_skip)
    facts["valuesNow"] = _read(plan, item, condition.source)
    return [Reason("conditionFalse", f"Its condition did not hold: {condition.source}.", facts)]


def _read(
    plan: Plan, item: ItemRun, source: str, attributes: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, dict[str, Any]]:
    """What a text reads of each line of the item, now or with the attributes that its lines had then."""
    context = order_context(plan.order)
    read = {}
    for line in plan.lines_of(item):
        reading = line_context(context, line)
        if attributes is not None:
            reading["attributes"] = attributes.get(line.key, {})
        read[line.key] = values_read(source, reading)
    return read


def _scheduled(plan: Plan, item: ItemRun, definition: ItemDef, world: World, now: datetime) -> list[Reason]:
    assert item.timer_at is not None, "a scheduled item has its time"
    facts: dict[str, Any] = {"until": item.timer_at.isoformat(), "processAfter": definition.source.process_after}
    facts["valuesNow"] = _read(plan, item, definition.source.process_after)
    return [Reason("scheduledUntil", f"{definition.name} is not to start before {when(item.timer_at, now)}.", facts)]


def _ready(plan: Plan, item: ItemRun, definition: ItemDef, world: World, now: datetime) -> list[Reason]:
    return _task(plan, item, definition, world, now) if item.is_manual else []


def _running(plan: Plan, item: ItemRun, definition: ItemDef, world: World, now: datetime) -> list[Reason]:
    if item.is_manual:
        return _task(plan, item, definition, world, now)
    if item.is_event:
        return _event(plan, item, definition, now)
    if item.is_sub_plan:
        return _sub_plan(plan, item, definition, world, now)
    assert item.started_at is not None
    deadline = deadline_of(item)
    facts: dict[str, Any] = {
        "system": definition.system,
        "attempt": item.attempt,
        "since": item.started_at.isoformat(),
        "deadline": deadline.isoformat() if deadline else None,
    }
    called = _called(definition)
    by = f" by {when(deadline, now)}" if deadline else ""
    found = _system(definition, world)
    if item.is_accepted:
        text = f"{definition.name} was taken by {called}, which is to call back{by} (attempt {item.attempt})."
        return [*found, Reason("callbackAwaited", text, facts)]
    since = when(item.started_at, now)
    text = f"{definition.name} is being done by {called} since {since}; its answer is due{by} (attempt {item.attempt})."
    return [*found, Reason("calling", text, facts)]


def _called(definition: ItemDef) -> str:
    if definition.system == TASKS_SYSTEM:
        return f"function {definition.operation}"
    return f"system {definition.system}"


def _system(definition: ItemDef, world: World) -> list[Reason]:
    if definition.system == TASKS_SYSTEM or world.systems is None or definition.system in world.systems:
        return []
    text = f"System {definition.system} of {definition.name} is not set up in this environment; it has to be first."
    return [Reason("systemUnknown", text, {"system": definition.system})]


def _sub_plan(plan: Plan, item: ItemRun, definition: ItemDef, world: World, now: datetime) -> list[Reason]:
    open_ones = stands_before(plan, item)
    text = f"{definition.name} is done when its own items are; {len(open_ones)} are open."
    facts: dict[str, Any] = {"count": len(open_ones), "open": [each.key for each in open_ones[:CHAIN_SHOWN_MAX]]}
    root = chain_to(plan, item)[0][0]
    because = explain_item(plan, root, world, now) if root is not item else []
    if because:
        text += f" {because[0].text}"
        facts |= {"root": root.key, "rootState": root.state.value}
        facts["because"] = {"code": because[0].code, "text": because[0].text}
    return [Reason("subPlanRunning", text, facts)]


def _event(plan: Plan, item: ItemRun, definition: ItemDef, now: datetime) -> list[Reason]:
    facts: dict[str, Any] = {"timeout": item.timer_at.isoformat() if item.timer_at else None}
    if definition.event is None:
        text = f"{definition.name} waits until somebody completes it: it has no condition."
    else:
        text = f"{definition.name} waits until this is true of its line: {definition.event.source}"
        text += f"; at most until {when(item.timer_at, now)}." if item.timer_at else "."
        facts |= {"event": definition.event.source, "valuesNow": _read(plan, item, definition.event.source)}
    return [Reason("eventAwaited", text, facts)]


def _task(plan: Plan, item: ItemRun, definition: ItemDef, world: World, now: datetime) -> list[Reason]:
    queue = definition.source.queue
    needed = [{"skill": each.skill, "level": each.level} for each in definition.source.skills]
    facts: dict[str, Any] = {"queue": queue, "skills": needed}
    claim = world.claims.get(item.key)
    if claim is not None:
        worker, until = claim
        facts |= {"worker": worker, "until": until.isoformat()}
        text = f"{definition.name} is held by {worker} until {when(until, now)}."
        return [Reason("taskOpen", text, facts)]
    found = [Reason("taskOpen", f"{definition.name} is free in queue {queue}; nobody has taken it.", facts)]
    staff = world.staff.get(item.key)
    if staff is None:
        return found
    counts = {"members": staff.members, "skilled": staff.skilled, "onShift": staff.on_shift}
    skills = ", ".join(f"{each['skill']} (level {each['level']})" for each in needed) or "no special skill"
    if staff.skilled == 0 and (needed or staff.members):
        text = f"Nobody in queue {queue} can do {definition.name}: it needs {skills}."
        found.insert(0, Reason("nobodySkilled", text, facts | counts))
    elif staff.on_shift == 0 and (needed or staff.members):
        text = f"Nobody on shift in queue {queue} can do {definition.name}: it needs {skills}"
        text += f"; off shift: {staff.skilled}."
        found.insert(0, Reason("nobodyOnShift", text, facts | counts))
    return found


def _failed(plan: Plan, item: ItemRun, definition: ItemDef, world: World, now: datetime) -> list[Reason]:
    assert item.timer_at is not None, "a failed item has its time"
    attempts_max = definition.retry.attempts_max
    facts = {
        "retryAt": item.timer_at.isoformat(),
        "attemptsMade": item.tries,
        "attemptsMax": attempts_max,
        "error": item.error,
        "errorCode": item.error_code,
        "system": definition.system,
    }
    made = f"{item.tries} of {attempts_max} attempts are made"
    again = f"the next try is at {when(item.timer_at, now)}"
    text = f"{definition.name} failed at {_called(definition)} ({item.error or item.error_code}); {made}, {again}."
    return [*_system(definition, world), Reason("retryAt", text, facts)]


def _fatal(plan: Plan, item: ItemRun, definition: ItemDef, world: World, now: datetime) -> list[Reason]:
    actions = ["retry", *(["edit"] if item.is_callout else []), "complete", "skip"]
    facts: dict[str, Any] = {
        "error": item.error,
        "errorCode": item.error_code,
        "attempt": item.attempt,
        "actions": actions,
        "failedAt": item.failed_at.isoformat() if item.failed_at else None,
    }
    if definition.is_call:
        facts["system"] = definition.system
    if definition.source.error_queue:
        facts["errorQueue"] = definition.source.error_queue
    error = _sentence(item.error or item.error_code)
    text = f"{definition.name} has failed for good: {error} An operator can {', '.join(actions[:-1])} or skip it."
    unknown = _system(definition, world) if definition.is_call else []
    return [Reason("fatallyFailed", text, facts), *unknown]


def _sentence(text: str) -> str:
    return f"{text.rstrip('.')}."


def _frozen(plan: Plan, item: ItemRun, definition: ItemDef, world: World, now: datetime) -> list[Reason]:
    before = item.frozen_from.value if item.frozen_from is not None else "not known"
    text = f"{definition.name} is frozen with its order; before that it was {before}."
    found = [Reason("itemFrozen", text, {"frozenFrom": before})]
    if item.is_waited_for:
        found = [*_running(plan, item, definition, world, now), *found]
    return found


def _overtaken(plan: Plan, item: ItemRun, definition: ItemDef, world: World, now: datetime) -> list[Reason]:
    assert plan.template is not None
    later = [each.key for each in plan.items if plan.template.nodes[each.node].of == item.node]
    text = f"A change of the order has overtaken {definition.name} ({item.state.value})"
    text += f"; what became of it: {', '.join(later)}." if later else "; nothing had to be done about it."
    return [Reason("overtaken", text, {"by": later})]


_BY_STATE: Final = {
    ItemState.PENDING: _pending,
    ItemState.SKIPPED: _skipped,
    ItemState.SCHEDULED: _scheduled,
    ItemState.ON_HOLD: explain_hold,
    ItemState.READY: _ready,
    ItemState.RUNNING: _running,
    ItemState.FAILED: _failed,
    ItemState.FATALLY_FAILED: _fatal,
    **dict.fromkeys(FROZEN_ITEM_STATES, _frozen),
    **dict.fromkeys(OVERTAKEN_ITEM_STATES, _overtaken),
}


def _voids(plan: Plan, item: ItemRun) -> list[Reason]:
    assert plan.template is not None
    found = []
    for node, ref in plan.template.voids:
        if node != item.node:
            continue
        of_related = item.definition is not None and ref in item.definition.waits_for_related
        why = " of related orders, and this one relates to none" if of_related else ", which this order does not have"
        found.append(Reason("voidDependency", f"It would wait for {ref}{why}.", {"item": ref}))
    return found


def name_of(plan: Plan, item: ItemRun) -> str:
    """How people call an item: its name and key."""
    if is_related(plan, item):
        name, ref = awaited(plan, item)
        return f"{ref} of order {name}"
    if item.definition is None:
        return f"the delivery of {plan.lines_of(item)[0].name}"
    return f"{item.definition.name} ({item.key})"
