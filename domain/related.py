"""Orders that wait for items of other orders, whichever come first and whosever they are.

A dependency of scope `relatedOrder` puts an await item into the plan for each order that its order relates to; as long
as that is Pending it is an open *wait*. Somebody who can read all orders (actors/related.py) looks how the other one
stands (`standing_of`) and tells the plan (`hear_of_related`). Waits that close a circle would never end: `find_circle`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, NamedTuple

from domain.compose import AMEND, REDO, Template, related_of
from domain.errors import MutualWait
from domain.items import ItemRun
from domain.messages import RelatedTold
from domain.plan import Plan
from domain.states import OVERTAKEN_ITEM_STATES, SATISFYING_ITEM_STATES, ItemState
from domain.turn import Turn, complete, fatal

Outcome = Literal["done", "void", "notDone"]
ORDERS_NAMED_MAX: Final = 20
"""Orders of a circle that a refusal names."""


class Wait(NamedTuple):
    """One await item that is Pending: `item` of `order_id` stands for the items `ref` of the order called `name`.

    `name` is an order id, or an external id of `channel`; `target` the order that has come under it, if one has.
    `blocks` are the refs of what waits for the await item in its own order, directly or through others.
    """

    order_id: str
    item: str
    channel: str
    name: str
    ref: str
    blocks: frozenset[str]
    opened_at: datetime
    target: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Order and item."""
        return self.order_id, self.item


@dataclass(frozen=True, slots=True)
class RelatedWaits:
    """Open waits that lead on from some names: `targets` are the orders that have come under those names."""

    targets: Mapping[str, str] = field(default_factory=dict)
    waits: Sequence[Wait] = ()


NO_WAITS: Final = RelatedWaits()


def is_related(plan: Plan, item: ItemRun) -> bool:
    """Whether an item stands for items of a related order."""
    assert plan.template is not None
    return related_of(plan.template.nodes[item.node]) is not None


def awaited(plan: Plan, item: ItemRun) -> tuple[str, str]:
    """(the related order as its relation names it, ref of the items there) that an await item stands for."""
    assert plan.template is not None
    found = related_of(plan.template.nodes[item.node])
    assert found is not None, "it stands for a related order"
    place, ref = found
    return plan.order.related[place], ref


def item_name(plan: Plan, item: ItemRun) -> str:
    """How an item is called in lists, those that wait for other orders too."""
    if item.definition is not None:
        return item.definition.name
    if is_related(plan, item):
        name, ref = awaited(plan, item)
        return f"Await {ref} of order {name}"
    return f"Await delivery of {plan.lines_of(item)[0].name}"


def open_waits(plan: Plan, opened_at: datetime) -> Iterator[Wait]:
    """The plan's waits that are open, as of this moment; without a plan an order has none."""
    if plan.template is None:
        return iter(())
    return (each for each in _waits(plan, opened_at) if plan.by_key[each.item].state is ItemState.PENDING)


def _waits(plan: Plan, opened_at: datetime) -> Iterator[Wait]:
    """The waits of a plan that has a template, whatever the state of its items."""
    order, template = plan.order, plan.template
    assert template is not None
    known: dict[tuple[int, ...], frozenset[str]] = {}
    for index, node in enumerate(template.nodes):
        found = related_of(node)
        if found is None:
            continue
        place, ref = found
        followers = template.followers[index]
        if followers not in known:
            # Most await items hold up the same ones.
            known[followers] = _blocked(template, index)
        key = template.key_of(index, plan.lines)
        yield Wait(order.order_id, key, order.channel, order.related[place], ref, known[followers], opened_at)


def _blocked(template: Template, node: int) -> frozenset[str]:
    """The refs of what cannot end before a node has."""
    seen = {node}
    waiting = deque([node])
    while waiting:
        at = waiting.popleft()
        behind = [*template.followers[at], *template.children.get(at, ())]
        if at in template.parents:
            behind.append(template.parents[at])
        for each in behind:
            if each not in seen:
                seen.add(each)
                waiting.append(each)
    return frozenset(template.nodes[each].ref for each in seen if each != node)


# How the other order stands.


def standing_of(plan: Plan, ref: str) -> Outcome | None:
    """How the items of a definition stand in an order that others relate to; None as long as it is not certain.

    What an amendment has to be done again or brought in line counts when that is done. A change that waits for work
    under way may do so yet, so it is waited for as well.
    """
    if plan.template is None:
        return "notDone" if plan.ended_at is not None else None
    if plan.change is not None:
        return None
    nodes = plan.template.nodes
    own = {index for index, node in enumerate(nodes) if node.ref == ref and node.role in ("", REDO)}
    if not own:
        return "void"
    # An item is brought in line by others, which come after it.
    for index, node in enumerate(nodes):
        if node.role == AMEND and node.of in own:
            own.add(index)
    states = [plan.items[index].state for index in own]
    left = [state for state in states if state not in OVERTAKEN_ITEM_STATES]
    if not left:
        # Cancelled, or discarded, with the line that needed it.
        return "notDone"
    return "done" if all(state in SATISFYING_ITEM_STATES for state in left) else None


def hear_of_related(turn: Turn, message: RelatedTold) -> None:
    """Take in how a related order stands; what a person decides about stands in the error queue from then on."""
    item = turn.plan.by_key.get(message.item)
    # An amendment may have taken it out, or somebody has given it up: told again, or late, it means nothing.
    if item is None or item.state is not ItemState.PENDING or not is_related(turn.plan, item):
        return
    name, ref = awaited(turn.plan, item)
    if message.outcome == "notDone":
        fatal(turn, item, f"order {message.order} ({name}) will not do {ref} any more", "relatedNotDone")
    elif message.outcome == "mutualWait":
        named = " -> ".join(message.orders[:ORDERS_NAMED_MAX])
        fatal(turn, item, f"orders wait for one another in a circle: {named}", "mutualWait")
    else:
        complete(turn, item, {"order": message.order} | ({"void": True} if message.outcome == "void" else {}))


# Circles.


def find_circle(
    start: Wait, waits: Iterable[Wait], behind: Mapping[str, Sequence[str]] | None = None
) -> list[Wait] | None:
    """The waits that hold one another up, `start` first; None when it is in no circle.

    Args:
        start: an open wait.
        waits: others, as far as they are known.
        behind: orders that have no plan yet -> those that have to end before they get one.
    """
    of_order: dict[str, list[Wait]] = {}
    for each in (start, *waits):
        if each.key != start.key or each is start:
            of_order.setdefault(each.order_id, []).append(each)
    came_from: dict[tuple[str, str], Wait] = {}
    waiting = deque([start])
    while waiting:
        at = waiting.popleft()
        for each in _next(at, of_order, behind or {}):
            if each.key == start.key:
                return _way(start, at, came_from)
            if each.key not in came_from:
                came_from[each.key] = at
                waiting.append(each)
    return None


def orders_in(circle: Sequence[Wait]) -> list[str]:
    """The orders of a circle in turn, from the first back to it; those without a plan, which have no waits, too."""
    named = []
    for wait, following in zip(circle, (*circle[1:], circle[0]), strict=True):
        named.append(wait.order_id)
        if wait.target is not None and wait.target != following.order_id:
            named.append(wait.target)
    return [*named, circle[0].order_id]


def _way(start: Wait, last: Wait, came_from: Mapping[tuple[str, str], Wait]) -> list[Wait]:
    way = [last]
    while way[-1].key != start.key:
        way.append(came_from[way[-1].key])
    return way[::-1]


def _next(
    wait: Wait, of_order: Mapping[str, Sequence[Wait]], behind: Mapping[str, Sequence[str]]
) -> Iterator[Wait]:
    """The waits that have to end before this one can."""
    if wait.target is None:
        return
    for each in of_order.get(wait.target, ()):
        if wait.ref in each.blocks:
            yield each
    # What has no plan yet gets one when those before it have ended, so all of theirs have to.
    before = list(behind.get(wait.target, ()))
    seen = {*before}
    for order_id in before:
        yield from of_order.get(order_id, ())
        for each_id in behind.get(order_id, ()):
            if each_id not in seen:
                seen.add(each_id)
                before.append(each_id)


def refuse_mutual_wait(plan: Plan, others: RelatedWaits) -> None:
    """Refuse an order that was composed, and not begun, if what it waits for waits for it.

    Raises:
        MutualWait: with the orders in `orders`.
    """
    if not others.waits or plan.template is None:
        return
    order = plan.order
    theirs = [
        each._replace(target=order.order_id)
        if each.target is None and each.name == order.external_id and each.channel == order.channel
        else each
        for each in others.waits
    ]
    own = [each._replace(target=others.targets.get(each.name)) for each in _waits(plan, plan.created_at)]
    for wait in own:
        circle = find_circle(wait, [*theirs, *own])
        if circle is not None:
            named = [each for each in dict.fromkeys(orders_in(circle)) if each != order.order_id]
            raise MutualWait(
                f"the order would wait for {wait.name}, which waits for it "
                f"(through {', '.join(named[:ORDERS_NAMED_MAX])})",
                path="orderRelationship",
                mend="leave the relation out, or change the orders that wait for this one",
                orders=named[:ORDERS_NAMED_MAX],
            )
