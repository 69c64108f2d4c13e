"""The lines of an order that changes: which are new, other, gone or as before, and what each is from now on.

Lines are matched by their keys, which name rule chain, scope instance and source line, so the order of a document means
nothing. Source: REFERENCE c2, step 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from domain.lines import Line
from domain.plan import Plan
from domain.release import ProductDef
from domain.sealing import same_value
from domain.states import SATISFYING_ITEM_STATES


class LineOutcome(StrEnum):
    """What a change makes of a line."""

    CREATE = "create"
    AMEND = "amend"
    CANCEL = "cancel"
    NO_CHANGE = "noChange"


@dataclass(slots=True)
class ChangedLines:
    """`lines` are those of the plan in their places, new ones behind; `at[i]` is the place of target line i."""

    lines: list[Line]
    at: list[int]
    outcomes: dict[str, LineOutcome]

    def has_changed(self, index: int) -> bool:
        """Whether the line at a place of the plan is not what it was."""
        return self.outcomes.get(self.lines[index].key, LineOutcome.NO_CHANGE) is not LineOutcome.NO_CHANGE


def changed_lines(plan: Plan, target: Sequence[Line], products: dict[str, ProductDef]) -> ChangedLines:
    """Match the lines that are wanted now with those of the plan.

    Args:
        plan: as it is.
        target: what the changed order decomposes into, compared with what the account had before this order.
        products: of the release that the target was made by.
    """
    lines = list(plan.lines)
    at: list[int] = []
    outcomes: dict[str, LineOutcome] = {}
    shared = {
        plan.lines_of(item)[0].key
        for item in (plan.items[node] for node in plan.awaits)
        if item.state in SATISFYING_ITEM_STATES
    }
    for new in target:
        index = plan.line_at.get(new.key)
        new.ordered = new.attributes
        if index is None:
            at.append(len(lines))
            lines.append(new)
            outcomes[new.key] = LineOutcome.CREATE
            continue
        at.append(index)
        old = plan.lines[index]
        if old.is_cancelled:
            lines[index] = new
            outcomes[new.key] = LineOutcome.CREATE
            continue
        if old.joins is not None and new.joins is None and new.key in shared:
            # What it joined is delivered by now, and its item that awaited that is done: nothing else is wanted of it.
            new.joins, new.awaits = old.joins, old.awaits
        is_delivered = new.key in plan.delivered
        is_other = _differs(old, new, products[new.product], is_delivered=is_delivered)
        outcomes[new.key] = LineOutcome.AMEND if is_other else LineOutcome.NO_CHANGE
        if is_delivered and not is_other:
            # It is an asset by now; it is compared with what was before only to see that nothing else is wanted.
            continue
        lines[index] = replace(new, attributes=_merged(old, new), ordered=new.attributes)
    wanted = {line.key for line in target}
    for index, old in enumerate(plan.lines):
        if old.key not in wanted and not old.is_cancelled:
            lines[index] = replace(old, is_cancelled=True, ordered=old.ordered)
            outcomes[old.key] = LineOutcome.CANCEL
    return ChangedLines(lines, at, outcomes)


_STRUCTURE: Final = ("product", "action", "quantity", "sub_action", "place", "requested_start_at", "relations", "joins")
_USES: Final = ("add_uses", "drop_uses")


def _differs(old: Line, new: Line, product: ProductDef, *, is_delivered: bool) -> bool:
    """Whether something that matters is wanted otherwise than before; what answers have added since does not count.

    What is delivered stands in the inventory, where everything matters: nobody brings it anything any more.
    """
    if any(getattr(old, name) != getattr(new, name) for name in (*_STRUCTURE, *(_USES if is_delivered else ()))):
        return True
    names = old.ordered.keys() | new.attributes.keys()
    return any(
        (is_delivered or product.is_significant(name))
        and not same_value(old.ordered.get(name), new.attributes.get(name))
        for name in names
    )


def _merged(old: Line, new: Line) -> dict[str, Any]:
    """The values from now on: what the order says anew, and what answers and forms have said where it says nothing
    new.
    """
    merged = dict(new.attributes)
    for name, value in old.attributes.items():
        is_ordered = name in old.ordered
        if name in new.attributes:
            if is_ordered and same_value(old.ordered[name], new.attributes[name]):
                merged[name] = value
        elif not is_ordered:
            merged[name] = value
    return merged
