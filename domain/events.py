"""What a fact means to the channel of its order: which TMF622 events it causes.

The states of the order and of its lines before the fact are compared with those after it. A fact about an item touches
only the lines that the item works for, so what is kept is how many items of each line are in each state: looking at all
items of a plan for each of its facts would cost the square of its size.

TMF622 version 4 has no event for the state of a line. The state is an attribute of the product order, so a change of it
is a ProductOrderAttributeValueChangeEvent. One event tells all lines that one fact moved.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from domain.order_states import item_counts, line_state, order_lines_of
from domain.plan import Plan
from domain.states import OrderState

CREATED: Final = "ProductOrderCreateEvent"
STATE_CHANGED: Final = "ProductOrderStateChangeEvent"
ATTRIBUTE_CHANGED: Final = "ProductOrderAttributeValueChangeEvent"

EVENT_TYPES: Final = frozenset(
    {
        CREATED,
        STATE_CHANGED,
        ATTRIBUTE_CHANGED,
        "ProductOrderDeleteEvent",
        "ProductOrderInformationRequiredEvent",
        "CancelProductOrderCreateEvent",
        "CancelProductOrderStateChangeEvent",
        "CancelProductOrderInformationRequiredEvent",
    }
)
"""What a listener may ask for. Nothing causes the last five yet."""


class ChannelEvent(NamedTuple):
    """One event for the channel.

    `state` is the order's after the fact, `lines` the order lines whose state changed, with their new ones; empty
    unless the event is about lines. A change of attributes without lines says that the order itself was changed.
    """

    event_type: str
    state: OrderState
    lines: tuple[tuple[str, OrderState], ...] = ()


class Standing:
    """Where an order and its lines stood after the last fact that was looked at."""

    def __init__(self, plan: Plan) -> None:
        self._note(plan)

    def _note(self, plan: Plan) -> None:
        """Take the whole plan as it is."""
        self._whole = _whole(plan)
        self._counts = item_counts(plan)
        self._items = [item.state_shown for item in plan.items]
        self._changes = plan.changes
        self.lines = {
            line.line_id: line_state(plan, line.line_id, self._counts.get(line.line_id, {}))
            for line in plan.order.lines
        }

    def after(self, plan: Plan, item: str | None) -> tuple[ChannelEvent, ...]:
        """The events that the fact causes, the order's own first.

        Args:
            plan: as it is after the fact, which is the next one after those that were looked at.
            item: the key of the item that the fact is about.
        """
        before, is_other = self._whole, self._changes != plan.changes
        if before != _whole(plan) or is_other:
            lines = self.lines
            self._note(plan)
            moved = [(line_id, state) for line_id, state in self.lines.items() if state is not lines.get(line_id)]
        elif item is not None and plan.template is not None:
            moved = self._move(plan, item)
        else:
            return ()
        events: list[ChannelEvent] = []
        if before[0] is not plan.order_state:
            events.append(ChannelEvent(STATE_CHANGED, plan.order_state))
        if is_other:
            events.append(ChannelEvent(ATTRIBUTE_CHANGED, plan.order_state))
        if moved:
            events.append(ChannelEvent(ATTRIBUTE_CHANGED, plan.order_state, tuple(moved)))
        return tuple(events)

    def _move(self, plan: Plan, key: str) -> list[tuple[str, OrderState]]:
        """Take over the state of one item; the order lines whose state is another one now."""
        item = plan.by_key[key]
        was = self._items[item.node]
        if item.state_shown is was:
            return []
        self._items[item.node] = item.state_shown
        moved = []
        for line_id in sorted(order_lines_of(plan, item) & self.lines.keys()):
            counts = self._counts[line_id]
            counts[was] -= 1
            counts[item.state_shown] += 1
            state = line_state(plan, line_id, counts)
            if state is not self.lines[line_id]:
                self.lines[line_id] = state
                moved.append((line_id, state))
        return moved


def first_events(plan: Plan) -> tuple[ChannelEvent, ...]:
    """The events of an order's first fact, which accepts or rejects it.

    A rejection is told as a change of state too: it is where the order ends, and who listens for ends only would wait
    for ever.
    """
    created = ChannelEvent(CREATED, plan.order_state)
    if plan.order_state is OrderState.REJECTED:
        return created, ChannelEvent(STATE_CHANGED, plan.order_state)
    return (created,)


def event_id(shard: int, offset: int, number: int) -> str:
    """The id of the `number`th event (from 0) that a fact causes: the same however often it is worked out."""
    return f"{shard}-{offset}-{number}" if number else f"{shard}-{offset}"


def _whole(plan: Plan) -> tuple[OrderState, bool, bool]:
    """What, when it changes, may change the state of every line."""
    return plan.order_state, plan.template is not None, plan.ended_at is not None
