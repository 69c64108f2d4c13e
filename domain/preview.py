"""What would come of a change, or of a new order: worked out by the same code on copies that are thrown away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any, Final

from domain import facts as f
from domain.change import Change, carry_out_asked, decide_change
from domain.compose import Template
from domain.decide import decide
from domain.holds import NOTHING_HELD, HeldSystems
from domain.inventory import Account
from domain.items import ItemRun
from domain.lines import Line
from domain.messages import ChangeOrder, OperateItem
from domain.orders import Order
from domain.plan import Plan
from domain.price_calls import NO_ANSWERS, Answers
from domain.related import item_name
from domain.release import CompiledRelease
from domain.revise import ItemOutcome
from domain.sealing import ENCRYPTED, MASK, SEALED, Protector, is_encrypted, is_sealed, same_value
from domain.states import TERMINAL_ITEM_STATES, PlanState
from domain.turn import Turn, complete

VALUES_MAX: Final = 500
"""Values that a preview names."""


class BlindProtector:
    """Says what would stand in the place of a value, and keeps nothing."""

    def __init__(self, protector: Protector) -> None:
        self._protector = protector

    def seal(self, order_id: str, name: str, value: Any) -> dict[str, Any]:
        """The reference that would be stored."""
        return {SEALED: name}

    def encrypt(self, tenant: str, owner: str, value: Any) -> dict[str, Any]:
        """What is compared of the ciphertext that would be stored: no secret is made for it."""
        return {ENCRYPTED: "", "mac": self._protector.mac(tenant, value)}

    def mac(self, tenant: str, value: Any) -> str:
        """The keyed hash."""
        return self._protector.mac(tenant, value)


def copied(plan: Plan) -> Plan:
    """A plan that can be changed without the given one noticing."""
    items = [replace(item) for item in plan.items]
    return replace(
        plan,
        order=replace(plan.order),
        lines=[replace(line) for line in plan.lines],
        items=items,
        by_key={item.key: item for item in items},
        open_in_root=dict(plan.open_in_root),
        open_children=dict(plan.open_children),
        awaiting=set(plan.awaiting),
        orphaned=set(plan.orphaned),
        delivered=set(plan.delivered),
        cancelled_lines=set(plan.cancelled_lines),
        reasons=list(plan.reasons),
        bookings=dict(plan.bookings),
        applied=dict(plan.applied),
        timers=list(plan.timers),
    )


def copied_account(account: Account) -> Account:
    """An account that can be changed without the given one noticing."""
    opened = {order_id: replace(each, deltas=dict(each.deltas)) for order_id, each in account.open_orders.items()}
    return Account(account.account_id, dict(account.assets), opened)


def preview(
    turn: Turn,
    message: ChangeOrder,
    account: Account | None,
    release: CompiledRelease,
    answers: Answers = NO_ANSWERS,
) -> dict[str, Any]:
    """What a change would make of the order. Work that it would wait for is supposed to end well, with no answer.

    Args:
        turn: of the plan; it and the plan stay as they are.
        message: the change.
        account: the plan's; None when another host keeps it.
        release: that the order is to run by from now on.
        answers: what price functions have said.
    Returns: `values` that would be others (of the order, then by line), `lines` and `items` with what becomes of each,
        `added` items, `notUndone` ones, `waitsFor`, the resulting `plan`, the planned seconds that are left before and
        after, and `refused` with reasons where it would be refused when what it waits for has ended.
    Raises:
        OrderplanError: as `decide_change`: it would be refused at once.
    """
    plan = turn.plan
    trial = Turn(
        plan=copied(plan),
        now=turn.now,
        protector=BlindProtector(turn.protector),
        actor=turn.actor,
        cause=turn.cause,
        held=turn.held,
        owned_since=turn.owned_since,
    )
    change = decide_change(trial, message, account, release, answers)
    waits_for: list[str] = []
    if change is not None and trial.plan.state is PlanState.FREEZING:
        for item in [item for item in trial.plan.items if item.is_waited_for]:
            waits_for.append(item.key)
            complete(trial, item, {})
        trial.settle()
        change = carry_out_asked(trial, account, release)
    refused = [fact.payload["reasons"] for fact in trial.facts if fact.kind == f.CHANGE_REFUSED and fact.payload]
    shown: dict[str, Any] = {
        "orderId": plan.order_id,
        "dryRun": True,
        "changed": change is not None,
        "waitsFor": waits_for,
        "state": trial.plan.order_state.value,
        "planState": trial.plan.state.value if trial.plan.state else None,
        "plannedRestS": {"before": planned_rest_s(plan), "after": planned_rest_s(trial.plan)},
    }
    if refused:
        shown["refused"] = refused[0]
    if change is not None:
        shown |= _outcomes(plan, trial.plan, change)
    return shown


def shown_change(plan: Plan, *, is_other: bool) -> dict[str, Any]:
    """What whoever asked for a change learns: whether it is carried out, or what it waits for."""
    shown: dict[str, Any] = {
        "orderId": plan.order_id,
        "state": plan.order_state.value,
        "planState": plan.state.value if plan.state else None,
        "version": plan.version,
        "changed": is_other,
        "pending": plan.change is not None,
    }
    if plan.change is not None:
        shown["waitsFor"] = [item.key for item in plan.items if item.is_waited_for]
    return shown


def _outcomes(before: Plan, after: Plan, change: Change) -> dict[str, Any]:
    revision = change.revision
    if revision is None:
        return {"values": [], "lines": [], "items": [], "added": [], "notUndone": [], "plan": shown_items(after)}
    outcomes = revision.outcomes
    return {
        "values": list(islice(_other_values(before, change), VALUES_MAX)),
        "lines": [{"line": key, "outcome": outcome.value} for key, outcome in revision.lines.outcomes.items()],
        "items": [
            {
                "key": key,
                "name": item_name(before, before.by_key[key]),
                "state": before.by_key[key].state_shown.value,
                "outcome": outcome.value,
                "stateAfter": after.by_key[key].state.value,
            }
            for key, outcome in outcomes.items()
        ],
        "added": [_added(after, item) for item in after.items[len(before.items) :]],
        "notUndone": [key for key, outcome in outcomes.items() if outcome is ItemOutcome.NOT_UNDONE],
        "plan": shown_items(after),
    }


def _other_values(before: Plan, change: Change) -> Iterator[dict[str, Any]]:
    """What is said otherwise, by the names of expressions; lines that come or go are told by their outcomes."""
    assert change.revision is not None
    pairs: list[tuple[str, dict[str, Any], dict[str, Any]]] = [("order", _said(before.order), _said(change.order))]
    for old, new in zip(before.lines, change.revision.lines.lines, strict=False):
        if not (old.is_cancelled or new.is_cancelled):
            pairs.append((old.key, _said_of_line(old), _said_of_line(new)))
    for of, then, now in pairs:
        for name in [*then, *(each for each in now if each not in then)]:
            if not same_value(then.get(name), now.get(name)):
                yield {"of": of, "name": name, "before": _seen(then.get(name)), "after": _seen(now.get(name))}


def _said(order: Order) -> dict[str, Any]:
    said = {"description": order.description, "dueAt": order.due_at, "requestedStartAt": order.requested_start_at}
    return {f"order.{name}": value for name, value in said.items()}


def _said_of_line(line: Line) -> dict[str, Any]:
    own = {"action": line.action, "quantity": line.quantity, "requestedStartAt": line.requested_start_at}
    roots = (("line", own), ("attributes", line.attributes), ("place", line.place))
    return {f"{root}.{name}": value for root, values in roots for name, value in values.items()}


def _seen(value: Any) -> Any:
    return MASK if is_sealed(value) or is_encrypted(value) else value


def _added(plan: Plan, item: ItemRun) -> dict[str, Any]:
    assert plan.template is not None
    node = plan.template.nodes[item.node]
    shown = {"key": item.key, "name": item_name(plan, item), "stateAfter": item.state.value}
    if node.role:
        shown["role"] = node.role
    if node.of is not None:
        shown["of"] = plan.items[node.of].key
    return shown


def shown_items(plan: Plan) -> list[dict[str, Any]]:
    """The items of a plan, with what each waits for."""
    if plan.template is None:
        return []
    return [
        {
            "key": item.key,
            "name": item_name(plan, item),
            "type": item.definition.type.value if item.definition else "await",
            "state": item.state.value,
            "dependsOn": [plan.items[target].key for target in plan.template.waits[item.node]],
        }
        for item in plan.items
    ]


def shown_order(plan: Plan) -> dict[str, Any]:
    """What a new order would become: its lines and its plan; hidden values as asterisks."""
    return {
        "dryRun": True,
        "state": plan.order_state.value,
        "reasons": plan.reasons,
        "behind": plan.behind,
        "releaseId": plan.release.release_id,
        "plannedRestS": planned_rest_s(plan),
        "lines": [
            {
                "key": line.key,
                "product": line.product,
                "action": line.action,
                "quantity": line.quantity,
                "attributes": {
                    name: MASK if is_sealed(value) or is_encrypted(value) else value
                    for name, value in line.attributes.items()
                },
                "sources": list(line.sources),
            }
            for line in plan.lines
        ],
        "plan": shown_items(plan),
    }


def planned_rest_s(plan: Plan) -> float:
    """Seconds of planned work on the longest way through what is not done yet; items without a duration count none."""
    if plan.template is None:
        return 0.0
    return longest_way_s(plan.template, [item.state not in TERMINAL_ITEM_STATES for item in plan.items])


def longest_way_s(template: Template, is_open: Sequence[bool]) -> float:
    """Seconds of planned work on the longest way through those nodes that are open; without a duration one counts 0."""
    rest: dict[int, float] = {}
    waiting = [sum(is_open[each] for each in waits) for waits in template.waits]
    way = [node for node, count in enumerate(waiting) if is_open[node] and not count]
    for node in way:
        definition = template.definitions[node]
        own = (definition.source.duration_s or 0.0) if definition is not None else 0.0
        rest[node] = own + max((rest[each] for each in template.waits[node] if is_open[each]), default=0.0)
        for follower in template.followers[node]:
            waiting[follower] -= 1
            if not waiting[follower] and is_open[follower]:
                way.append(follower)
    return max(rest.values(), default=0.0)


def preview_operation(plan: Plan, message: OperateItem, now: datetime, held: HeldSystems = NOTHING_HELD) -> ItemRun:
    """The item as an operator's repair would leave it; the plan stays as it is.

    Raises:
        OrderplanError: the repair would be refused.
    """
    trial = Turn(plan=copied(plan), now=now, protector=NoProtector(), actor="preview", held=held)
    decide(trial, message)
    return trial.plan.by_key[message.item]


class NoProtector:
    """Takes values out of sight for good: what is previewed by it shows none, and any two encrypted ones are alike."""

    def seal(self, order_id: str, name: str, value: Any) -> dict[str, Any]:
        """A reference to nothing."""
        return {SEALED: name}

    def encrypt(self, tenant: str, owner: str, value: Any) -> dict[str, Any]:
        """A ciphertext of nothing."""
        return {ENCRYPTED: "", "mac": ""}

    def mac(self, tenant: str, value: Any) -> str:
        """No hash."""
        return ""
