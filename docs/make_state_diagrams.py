"""Writes docs/states.md from the tables of domain/states.py: `python -m docs.make_state_diagrams`, from the root.

A test fails when the file and the tables differ, so a diagram is never drawn by hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Final

from domain.states import (
    ITEM_TRANSITIONS,
    ORDER_TRANSITIONS,
    PLAN_TRANSITIONS,
    SATISFYING_ITEM_STATES,
    TERMINAL_ITEM_STATES,
    THAWS,
    ItemEvent,
    ItemState,
    OrderState,
    PlanState,
)

TARGET: Final = Path(__file__).with_name("states.md")
Arrow = tuple[StrEnum, str, StrEnum]


def item_arrows() -> list[Arrow]:
    """All arrows of an item, the thaw to each state that the item may have had before among them."""
    arrows: list[Arrow] = [
        (state, _words(event), following) for state, row in ITEM_TRANSITIONS.items() for event, following in row.items()
    ]
    arrows += [
        (frozen, _words(ItemEvent.THAWED), state)
        for frozen, states in THAWS.items()
        for state in ItemState
        if state in states
    ]
    return arrows


def plan_arrows() -> list[Arrow]:
    return [
        (state, _words(event), following) for state, row in PLAN_TRANSITIONS.items() for event, following in row.items()
    ]


def order_arrows() -> list[Arrow]:
    return [
        (state, "", following)
        for state, followings in ORDER_TRANSITIONS.items()
        for following in OrderState
        if following in followings
    ]


def _words(event: StrEnum) -> str:
    return event.name.lower().replace("_", " ")


def diagram(arrows: list[Arrow], first: Iterable[StrEnum], final: Iterable[StrEnum]) -> str:
    """A mermaid state diagram; events between the same two states share an arrow."""
    states = dict.fromkeys(state for source, _, target in arrows for state in (source, target))
    states |= dict.fromkeys(first)
    labels: dict[tuple[StrEnum, StrEnum], list[str]] = {}
    for source, label, target in arrows:
        labels.setdefault((source, target), []).append(label)
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f'    state "{state.value}" as {state.name}' for state in states]
    lines += [f"    [*] --> {state.name}" for state in first]
    for (source, target), words in labels.items():
        shown = ", ".join(word for word in words if word)
        lines.append(f"    {source.name} --> {target.name}" + (f" : {shown}" if shown else ""))
    lines += [f"    {state.name} --> [*]" for state in final]
    return "\n".join([*lines, "```"])


def table(arrows: list[Arrow]) -> str:
    """The arrows as a Markdown table."""
    rows = [f"| {source.value} | {label} | {target.value} |" for source, label, target in arrows]
    return "\n".join(["| from | event | to |", "|---|---|---|", *rows])


def render() -> str:
    """The whole of docs/states.md."""
    satisfying = ", ".join(state.value for state in ItemState if state in SATISFYING_ITEM_STATES)
    parts = [
        "# States",
        "Written by `python -m docs.make_state_diagrams` from the tables in `domain/states.py`, where the reasons\n"
        "stand beside the arrows. What is not here does not happen: it is refused and changes nothing.",
        "## Items",
        f"An item in one of these satisfies those that wait for it: {satisfying}.\n"
        "A frozen item remembers the state before the freeze, and thaws to it.",
        diagram(
            item_arrows(),
            [ItemState.PENDING],
            [state for state in ItemState if state in TERMINAL_ITEM_STATES],
        ),
        table(item_arrows()),
        "## Plans",
        diagram(plan_arrows(), [PlanState.NOT_STARTED], [PlanState.COMPLETED]),
        table(plan_arrows()),
        "## Orders",
        "The states of TMF622 v4.",
        diagram(
            order_arrows(),
            # A submission is answered with the one or the other, never with the one and then the other.
            [OrderState.ACKNOWLEDGED, OrderState.REJECTED],
            [state for state in OrderState if not ORDER_TRANSITIONS[state]],
        ),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
