"""What stands against a change of an order that is under way; whoever is refused has changed nothing.

Source: REFERENCE c1 and c2; docs/LIFECYCLE.md lists what is refused.
"""

from __future__ import annotations

from typing import Final

from domain.errors import Conflict, NotPossibleNow, OpenOrderConflict, PastNoReturn, ProtectedAttribute, StaleVersion
from domain.inventory import ACCOUNT_INSTANCE, Account, OpenOrder
from domain.line_changes import ChangedLines, LineOutcome
from domain.lines import Line
from domain.messages import ChangeOrder
from domain.plan import Plan
from domain.release import CompiledRelease
from domain.sealing import same_value
from domain.states import ItemState, PlanState

_REACHED: Final = frozenset(
    {
        ItemState.RUNNING,
        ItemState.FAILED,
        ItemState.FATALLY_FAILED,
        ItemState.COMPLETED,
        ItemState.AMENDED,
        ItemState.ON_HOLD,
    }
)
"""States in which a point of no return counts as reached (REFERENCE c1). On Hold: it may have been sent before."""


def refuse_untimely(plan: Plan, message: ChangeOrder) -> None:
    if plan.ended_at is not None:
        raise NotPossibleNow(
            f"order {plan.order_id} has ended ({plan.order_state.value})",
            mend="order what is wanted as a change of what was delivered",
            state=plan.order_state.value,
        )
    if plan.is_cancelled:
        raise NotPossibleNow(f"order {plan.order_id} is being cancelled", mend="send a new order")
    if plan.change is not None:
        raise NotPossibleNow(
            f"another change of order {plan.order_id} waits for work under way",
            mend="wait until that is carried out, or thaw the order to give it up",
            change=plan.change["id"],
        )
    if plan.state in (PlanState.FREEZING, PlanState.FROZEN):
        raise NotPossibleNow(f"order {plan.order_id} was frozen by somebody", mend="thaw it first")
    if message.version is not None and message.version != plan.version:
        raise StaleVersion(
            f"the order has version {plan.version} by now, the change was made for version {message.version}",
            mend="read the order again and change what it says now",
            version=plan.version,
        )


def refuse_protected(plan: Plan, lines: ChangedLines, release: CompiledRelease) -> None:
    for key, outcome in lines.outcomes.items():
        if outcome not in (LineOutcome.AMEND, LineOutcome.NO_CHANGE) or key in plan.delivered:
            continue
        line = lines.lines[plan.line_at[key]]
        if line.sources:
            continue
        old, declared = plan.lines[plan.line_at[key]], release.products[line.product].attributes
        for name in sorted(old.ordered.keys() | line.ordered.keys()):
            is_protected = name in declared and not declared[name].changeable
            if is_protected and not same_value(old.ordered.get(name), line.ordered.get(name)):
                raise ProtectedAttribute(
                    f"attribute {name!r} of item {key!r} may not change while the order runs",
                    path=f"{key}.{name}",
                    mend="leave it as it is, or cancel the item and order it anew",
                )


def roots_past(plan: Plan) -> frozenset[str]:
    """Root lines of the bundles that are past their point of no return, by an item of that kind or by delivery."""
    past: set[str] = set()
    for item in plan.items:
        definition = item.definition
        state = item.frozen_from or item.state
        # Skipped by somebody after it was sent: what it has done nobody knows.
        is_reached = state in _REACHED or (state is ItemState.SKIPPED and item.attempt > 0)
        if definition is not None and definition.source.point_of_no_return and is_reached:
            past.update(plan.roots_of_node[item.node])
    for key in plan.delivered:
        line = plan.lines[plan.line_at[key]]
        if not line.sources:
            past.add(line.root)
    return frozenset(past)


def refuse_late(plan: Plan, lines: ChangedLines, *, is_forced: bool) -> None:
    changed = [
        lines.lines[index] for index in range(len(lines.lines)) if lines.has_changed(index)
    ]
    delivered = sorted(line.key for line in changed if line.key in plan.delivered)
    if delivered:
        raise PastNoReturn(
            f"line {delivered[0]} is delivered, so this order does not change it any more",
            mend="send an order that modifies or deletes the product",
            lines=delivered[:20],
        )
    past = roots_past(plan)
    late = sorted({line.root for line in changed if not line.sources and line.root in past})
    if late and not is_forced:
        raise PastNoReturn(
            f"the bundle of item {late[0]!r} is past its point of no return",
            mend="change it by another order when this one has ended, or let somebody who may force it",
            bundles=late,
        )


def refuse_taken(plan: Plan, before: Account, roots: frozenset[str]) -> None:
    holders = before.holders(roots - plan.roots)
    if holders:
        raise OpenOrderConflict(
            f"order {holders[0]} on the same product is still open",
            mend="amend the order when that one has ended",
            openOrders=holders,
        )


def is_unjoined(old: Line, new: Line) -> bool:
    """Whether a line does not share any more what it had joined: who has joined it hears of that."""
    return old.joins is not None and (new.joins, new.asset_id) != (old.joins, old.asset_id)


def refuse_built_on(plan: Plan, account: Account | None, lines: ChangedLines, *, is_told: bool) -> None:
    """A later order of the account has been compared with what this one shares: it would be compared with a ghost.

    Args:
        plan: of the order that changes.
        account: its account.
        lines: as the change makes them.
        is_told: whether those that have joined its lines hear of it, and are compared anew.
    """
    later = [
        (order_id, each)
        for order_id, each in (account.open_orders.items() if account is not None else ())
        if order_id != plan.order_id and not each.is_waiting and each.sequence > plan.sequence
    ]
    for index, line in enumerate(lines.lines):
        if not line.sources or not lines.has_changed(index):
            continue
        old = plan.lines[index] if index < len(plan.lines) else line
        is_heard = is_told or is_unjoined(old, line)
        for order_id, each in later:
            is_joined = not is_heard and not {line.asset_id, old.asset_id}.isdisjoint(each.deltas)
            if is_joined or _makes_the_same(each, line):
                raise Conflict(
                    f"order {order_id} builds on {line.name}, or makes it too, which the change touches",
                    mend="change that order first, or wait until it has ended",
                    openOrders=[order_id],
                )


def _makes_the_same(opened: OpenOrder, line: Line) -> bool:
    """Whether another order is about to make the shared instance that the line stands for, as one of its own."""
    # Those of a bundle are the bundle's own; those of a key are found by who uses them.
    return line.instance == ACCOUNT_INSTANCE and any(
        delta.op == "create" and (delta.product, delta.instance) == (line.product, line.instance)
        for delta in opened.deltas.values()
    )
