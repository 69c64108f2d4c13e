"""Why an order, or an item, is where it is: told from the plan's own state and what the caller knows besides.

Nothing is guessed: what the caller does not know is left out of the answer. Source: REFERENCE section d1, what users of
such systems ask for first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any, Final

from domain.expression_paths import values_read
from domain.items import ItemRun
from domain.lines import Line, line_context, order_context
from domain.placement import DEDICATED, NO_PLACE, SHARED
from domain.plan import Plan
from domain.release import TASKS_SYSTEM, ItemDef, ScenarioDef
from domain.states import TERMINAL_ITEM_STATES, ItemState, OrderState
from domain.turn import DEADLINE_GRACE_S

STANDING_MAX: Final = 200
"""Items that an explanation of an order names one by one."""
CHAIN_MAX: Final = 50
"""How far a chain of waiting items is followed."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: a stable code, a sentence, and the facts behind it."""

    code: str
    text: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Staff:
    """Who could do a task: members of its queue (none: open to everybody), those with the skills, those on shift."""

    members: int
    skilled: int
    on_shift: int


@dataclass(frozen=True, slots=True)
class World:
    """What the caller knows besides the plan; an absent part is not known.

    `staff` by item key, `claims` item key -> (worker, until), `systems` that are set up, `orders` id -> state,
    `has_owner` whether a living host has the order's shard.
    """

    staff: Mapping[str, Staff] = field(default_factory=dict)
    claims: Mapping[str, tuple[str, datetime]] = field(default_factory=dict)
    systems: frozenset[str] | None = None
    orders: Mapping[str, str] = field(default_factory=dict)
    has_owner: bool | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """An order: the summary in one sentence, its own reasons, and items that stand still with theirs."""

    summary: str
    reasons: list[Reason]
    items: list[tuple[ItemRun, list[Reason]]]
    more: int = 0


def explain_order(plan: Plan, world: World) -> Explanation:
    """Why the order is where it is; items that wait only for others are left to those they wait for."""
    reasons = _of_order(plan, world)
    standing = [item for item in plan.items if item.state not in TERMINAL_ITEM_STATES and not _waits(item)]
    items = [(item, explain_item(plan, item, world)) for item in standing[:STANDING_MAX]]
    waiting = sum(_waits(item) for item in plan.items)
    return Explanation(_summary(plan, reasons, items, waiting), reasons, items, len(standing) - len(items))


def _waits(item: ItemRun) -> bool:
    return item.state is ItemState.PENDING and item.waits > 0 and item.definition is not None


def _summary(plan: Plan, reasons: list[Reason], items: list[tuple[ItemRun, list[Reason]]], waiting: int) -> str:
    if plan.ended_at is not None or plan.template is None:
        return reasons[0].text if reasons else f"The order is {plan.order_state.value}."
    if any(reason.code == "noOwner" for reason in reasons):
        return "No plan host owns the order's shard just now, so nothing of it moves."
    rank = {code: index for index, code in enumerate(_URGENT)}
    found = [(rank.get(reason.code, len(rank)), reason) for _, each in items for reason in each]
    if not found:
        return reasons[0].text if reasons else f"The order is {plan.order_state.value}; nothing of it waits."
    _, first = min(found, key=lambda each: each[0])
    others = len(items) - 1
    behind = f"; {waiting} more wait for what stands before them" if waiting else ""
    beside = f", and {others} other item{'s' * (others != 1)} stand{'s' * (others == 1)} still too" if others else ""
    return f"{first.text.rstrip('.')}{beside}{behind}."


_URGENT: Final = (
    "fatallyFailed",
    "nobodySkilled",
    "nobodyOnShift",
    "systemUnknown",
    "waitsForOrder",
    "taskOpen",
    "eventAwaited",
    "retryAt",
    "callbackAwaited",
    "calling",
    "scheduledUntil",
)
"""Which reason a summary takes: what needs somebody comes before what goes on by itself."""


def _of_order(plan: Plan, world: World) -> list[Reason]:
    found: list[Reason] = []
    if plan.order_state is OrderState.REJECTED:
        texts = "; ".join(str(each.get("reason", "")) for each in plan.reasons)
        return [Reason("rejected", f"The order was rejected: {texts}.", {"reasons": plan.reasons})]
    if plan.ended_at is not None:
        at = plan.ended_at.isoformat()
        return [Reason("ended", f"The order ended {at} as {plan.order_state.value}.", {"at": at})]
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
    if plan.bookings:
        text = f"{len(plan.bookings)} bookings wait for the account's host to confirm them."
        found.append(Reason("booking", text, {"numbers": sorted(plan.bookings)}))
    if plan.placement:
        found.append(Reason("placement", _PLACEMENTS[plan.placement], {"placement": plan.placement}))
    return found


_PLACEMENTS: Final = {
    DEDICATED: "The plan has a host of its own.",
    NO_PLACE: "The plan was to have a host of its own, but every dedicated place was taken.",
    SHARED: "The plan was to have a host of its own, but the account had another open order.",
}


def explain_item(plan: Plan, item: ItemRun, world: World) -> list[Reason]:
    """Why the item is in its state, the first reason first; then its void dependencies."""
    definition = item.definition
    if definition is None:
        return _await(plan, item, world)
    rule = _BY_STATE.get(item.state)
    found = rule(plan, item, definition, world) if rule is not None else []
    return [*found, *_voids(plan, item)]


def _await(plan: Plan, item: ItemRun, world: World) -> list[Reason]:
    line = plan.lines_of(item)[0]
    if item.state is not ItemState.PENDING:
        return [Reason("fatallyFailed", f"{item.error}.", {"errorCode": item.error_code})] if item.error else []
    state = world.orders.get(line.joins or "", "not known")
    text = f"{line.name} is yet to be delivered by order {line.joins} ({state})."
    return [Reason("waitsForOrder", text, {"order": line.joins, "state": state, "line": line.key})]


def _pending(plan: Plan, item: ItemRun, definition: ItemDef, world: World) -> list[Reason]:
    assert plan.template is not None
    found = []
    parent = plan.template.parents.get(item.node)
    if parent is not None and plan.items[parent].state is ItemState.PENDING:
        above = plan.items[parent]
        found.append(Reason("waitsForItem", f"Its sub-plan {above.key} has not begun.", {"item": above.key}))
    for target in plan.template.waits[item.node]:
        other = plan.items[target]
        if other.state in (ItemState.COMPLETED, ItemState.SKIPPED):
            continue
        root = _root(plan, other)
        text = f"It waits for {name_of(plan, other)}, which is {other.state.value}"
        facts = {"item": other.key, "state": other.state.value}
        if root is not other:
            text += f"; what stands in the way is {name_of(plan, root)}, which is {root.state.value}"
            facts |= {"root": root.key, "rootState": root.state.value}
        found.append(Reason("waitsForItem", f"{text}.", facts))
    return found


def _root(plan: Plan, item: ItemRun) -> ItemRun:
    """The item at the bottom of a chain of waiting ones."""
    assert plan.template is not None
    for _ in range(CHAIN_MAX):
        if item.state is not ItemState.PENDING:
            return item
        open_ones = [
            plan.items[target]
            for target in plan.template.waits[item.node]
            if plan.items[target].state not in (ItemState.COMPLETED, ItemState.SKIPPED)
        ]
        if not open_ones:
            return item
        # A failure explains more than what only takes its time.
        item = next((each for each in open_ones if each.state is ItemState.FATALLY_FAILED), open_ones[0])
    return item


def _skipped(plan: Plan, item: ItemRun, definition: ItemDef, world: World) -> list[Reason]:
    if item.skip_reason == "branch":
        return [Reason("branchSkipped", "Everything that it waits for was skipped with its branch.")]
    if item.skip_reason == "operator":
        return [Reason("operatorSkipped", "An operator skipped it.")]
    condition = definition.condition
    if condition is None:
        return []
    read = _read(plan, item, condition.source)
    return [
        Reason(
            "conditionFalse",
            f"Its condition did not hold: {condition.source}.",
            {"condition": condition.source, "valuesNow": read},
        )
    ]


def _read(plan: Plan, item: ItemRun, source: str) -> dict[str, dict[str, Any]]:
    context = order_context(plan.order)
    return {line.key: values_read(source, line_context(context, line)) for line in plan.lines_of(item)}


def _scheduled(plan: Plan, item: ItemRun, definition: ItemDef, world: World) -> list[Reason]:
    until = item.timer_at.isoformat() if item.timer_at else None
    facts = {"until": until, "processAfter": definition.source.process_after}
    return [Reason("scheduledUntil", f"{definition.name} is not to start before {until}.", facts)]


def _ready(plan: Plan, item: ItemRun, definition: ItemDef, world: World) -> list[Reason]:
    return _task(plan, item, definition, world) if item.is_manual else []


def _running(plan: Plan, item: ItemRun, definition: ItemDef, world: World) -> list[Reason]:
    if item.is_manual:
        return _task(plan, item, definition, world)
    if item.is_event:
        return _event(plan, item, definition)
    if item.is_sub_plan:
        assert plan.template is not None
        children = [plan.items[node] for node in plan.template.children.get(item.node, ())]
        open_ones = [each.key for each in children if each.state not in TERMINAL_ITEM_STATES]
        text = f"{definition.name} is done when its own items are; {len(open_ones)} are open."
        return [Reason("subPlanRunning", text, {"open": open_ones[:20]})]
    assert item.started_at is not None
    deadline = item.timer_at - timedelta(seconds=DEADLINE_GRACE_S) if item.timer_at else None
    facts: dict[str, Any] = {
        "system": definition.system,
        "attempt": item.attempt,
        "since": item.started_at.isoformat(),
        "deadline": deadline.isoformat() if deadline else None,
    }
    named = "a function of one's own" if definition.system == TASKS_SYSTEM else f"system {definition.system}"
    found = []
    if definition.system != TASKS_SYSTEM and world.systems is not None and definition.system not in world.systems:
        text = f"System {definition.system} of {definition.name} is not set up in this environment."
        found.append(Reason("systemUnknown", text, {"system": definition.system}))
    if item.is_accepted:
        text = f"{definition.name} was taken by {named}, whose answer is to come by {facts['deadline']}."
        return [*found, Reason("callbackAwaited", text, facts)]
    text = f"{definition.name} is being done by {named} since {facts['since']} (attempt {item.attempt})."
    return [*found, Reason("calling", text, facts)]


def _event(plan: Plan, item: ItemRun, definition: ItemDef) -> list[Reason]:
    facts: dict[str, Any] = {"timeout": item.timer_at.isoformat() if item.timer_at else None}
    if definition.event is None:
        text = f"{definition.name} waits until somebody completes it: it has no condition."
    else:
        text = f"{definition.name} waits until this is true of its line: {definition.event.source}."
        facts |= {"event": definition.event.source, "valuesNow": _read(plan, item, definition.event.source)}
    return [Reason("eventAwaited", text, facts)]


def _task(plan: Plan, item: ItemRun, definition: ItemDef, world: World) -> list[Reason]:
    queue = definition.source.queue
    needed = [{"skill": each.skill, "level": each.level} for each in definition.source.skills]
    facts: dict[str, Any] = {"queue": queue, "skills": needed}
    claim = world.claims.get(item.key)
    if claim is not None:
        worker, until = claim
        facts |= {"worker": worker, "until": until.isoformat()}
        text = f"{definition.name} is held by {worker} until {until.isoformat()}."
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
        text = f"Nobody on shift in queue {queue} can do {definition.name}: it needs {skills}; {staff.skilled} are off."
        found.insert(0, Reason("nobodyOnShift", text, facts | counts))
    return found


def _failed(plan: Plan, item: ItemRun, definition: ItemDef, world: World) -> list[Reason]:
    at = item.timer_at.isoformat() if item.timer_at else None
    attempts_max = definition.retry.attempts_max
    facts = {
        "retryAt": at,
        "attemptsMade": item.tries,
        "attemptsMax": attempts_max,
        "error": item.error,
        "errorCode": item.error_code,
    }
    made = f"{item.tries} of {attempts_max} attempts are made"
    text = f"{definition.name} failed ({item.error}) and is tried again at {at}; {made}."
    return [Reason("retryAt", text, facts)]


def _fatal(plan: Plan, item: ItemRun, definition: ItemDef, world: World) -> list[Reason]:
    facts = {"error": item.error, "errorCode": item.error_code, "attempt": item.attempt, "system": definition.system}
    error = item.error or item.error_code
    text = f"{definition.name} has failed for good: {error}. An operator can retry, edit, complete or skip it."
    return [Reason("fatallyFailed", text, facts)]


_BY_STATE: Final = {
    ItemState.PENDING: _pending,
    ItemState.SKIPPED: _skipped,
    ItemState.SCHEDULED: _scheduled,
    ItemState.READY: _ready,
    ItemState.RUNNING: _running,
    ItemState.FAILED: _failed,
    ItemState.FATALLY_FAILED: _fatal,
}


def _voids(plan: Plan, item: ItemRun) -> list[Reason]:
    assert plan.template is not None
    return [
        Reason("voidDependency", f"It would wait for {ref}, which this order does not have.", {"item": ref})
        for node, ref in plan.template.voids
        if node == item.node
    ]


def name_of(plan: Plan, item: ItemRun) -> str:
    """How people call an item: its name and key."""
    if item.definition is None:
        return f"the delivery of {plan.lines_of(item)[0].name}"
    return f"{item.definition.name} ({item.key})"


# Why something is not in the plan.


def explain_absent(plan: Plan, ref: str) -> list[Reason]:
    """Why the plan has no item of a definition `plan/item`: the scenarios that could have composed it, line by line."""
    definitions = {each.ref: each for each in plan.release.items}
    definition = definitions.get(ref)
    if definition is None:
        near = get_close_matches(ref, definitions, 3, 0.5)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        return [Reason("unknownItem", f"Release {plan.release.release_id} has no item {ref}.{hint}", {"near": near})]
    context = order_context(plan.order)
    found = [
        reason
        for line in plan.lines
        if (reason := _why_not(plan, line, definition, line_context(context, line))) is not None
    ]
    if not found:
        text = f"No line of the order is of a product that a scenario leads from to plan {definition.plan}."
        return [Reason("noScenario", text, {"plan": definition.plan})]
    return found


def _why_not(plan: Plan, line: Line, definition: ItemDef, context: Mapping[str, Any]) -> Reason | None:
    by_action = plan.release.products[line.product].scenarios
    about: dict[int, ScenarioDef] = {
        each.index: each for scenarios in by_action.values() for each in scenarios if each.plan == definition.plan
    }
    if not about:
        return None
    with_action = [each for each in about.values() if line.action in each.actions]
    if not with_action:
        actions = sorted({action for each in about.values() for action in each.actions})
        text = f"Line {line.key} ({line.name}) is {line.action}; plan {definition.plan} is for {', '.join(actions)}."
        return Reason("otherAction", text, {"line": line.key, "action": line.action, "actions": actions})
    texts = {each.when.source: values_read(each.when.source, context) for each in with_action if each.when is not None}
    text = f"Line {line.key} ({line.name}) did not meet the scenario's condition: {'; '.join(texts)}."
    return Reason("scenarioFalse", text, {"line": line.key, "conditions": texts})
