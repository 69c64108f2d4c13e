"""Orders that were begun in another system: what is done of them already is taken as done, the rest is driven.

It is part of accepting: the order is composed as any other, and begins as any other, but where the turn of an item has
come whose work is named as done, it counts as completed and is not sent. So the order of dependencies keeps itself, and
what happens by itself (milestones, conditions, assets) happens between them. An item that is named and was not reached
by then has a predecessor that is not done: the order is refused, and nothing of it is kept.

Given up: to complete the items of an order that is held, one message after the other. It could stop half-way, with
work begun that was done before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from domain.errors import BadDocument
from domain.items import ItemRun
from domain.plan import Plan
from domain.states import TERMINAL_ITEM_STATES, ItemState

NAMED_MAX: Final = 20
"""Items that a refusal names."""


def done_items(plan: Plan, named: Sequence[str]) -> dict[str, str]:
    """The items of a plan that was just composed that are done already: where each stood in the list, by key.

    Args:
        plan: in which nothing has begun.
        named: `plan/item`, or the key of the item where the plan has several of that name.
    Raises:
        BadDocument: one is not there, or is no work of its own, or one of several.
    """
    by_ref: dict[str, list[ItemRun]] = {}
    for item in plan.items:
        by_ref.setdefault(item.key.partition("@")[0], []).append(item)
    done: dict[str, str] = {}
    for at, name in enumerate(named):
        path = f"done[{at}]"
        found = [plan.by_key[name]] if name in plan.by_key else by_ref.get(name, [])
        keys = ", ".join(item.key for item in (found or plan.items)[:NAMED_MAX])
        if not found:
            raise BadDocument(f"the plan has no item {name!r}", path=path, mend=f"name one of {keys}")
        if len(found) > 1:
            raise BadDocument(f"the plan has {len(found)} items {name!r}", path=path, mend=f"name each of {keys}")
        [item] = found
        if item.definition is None or item.is_sub_plan:
            mend = "name the items of the sub-plan" if item.is_sub_plan else "wait until the other order has ended"
            raise BadDocument(f"item {item.key!r} is done when what it stands for is", path=path, mend=mend)
        done.setdefault(item.key, path)
    return done


def entered_for(plan: Plan, done: Iterable[str]) -> frozenset[str]:
    """The sub-plan items, by key, that items which are done already are part of: they were begun elsewhere, whatever
    their condition or date says here.
    """
    assert plan.template is not None
    entered: set[str] = set()
    for key in done:
        node = plan.template.parents.get(plan.by_key[key].node)
        while node is not None:
            entered.add(plan.items[node].key)
            node = plan.template.parents.get(node)
    return frozenset(entered)


def completion_of(actor: str) -> dict[str, Any]:
    """What the fact says of an item that was done before: it was not sent, and who says so."""
    return {"by": "cutover", "reason": f"done in another system, {actor} says"}


def refuse_unreached(plan: Plan, done: dict[str, str]) -> None:
    """Refuse what is named as done although something before it is not.

    Raises:
        BadDocument: with what is not done.
    """
    assert plan.template is not None
    for key, path in done.items():
        item = plan.by_key[key]
        if item.state is ItemState.COMPLETED:
            continue
        before = [*plan.template.waits[item.node]]
        if item.node in plan.template.parents:
            before.append(plan.template.parents[item.node])
        left = [plan.items[node].key for node in before if plan.items[node].state not in TERMINAL_ITEM_STATES]
        raise BadDocument(
            f"item {key!r} cannot be done: {', '.join(left[:NAMED_MAX]) or 'something'} is before it and not done",
            path=path,
            mend="name that as well, or leave this one out",
        )
