"""What the checkers have seen of orders: their items by their facts, and the work that is wanted of them by now.

An item is one key; a slot is one piece of work of one line, which several items may stand for, one after the other,
when the order is changed: `sim/activate@1`, then `sim/activate@1~1`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.simulation.catalogue import work_of


class Violation(AssertionError):
    """An invariant does not hold."""


class Name(NamedTuple):
    """The parts of an item's key."""

    code: str
    line: str
    round: int

    @property
    def slot(self) -> str:
        """What it stands for, whichever its round."""
        return f"{self.code}@{self.line}"


def parsed(name: str) -> Name:
    """An item's key in parts."""
    code, _, rest = name.partition("@")
    line, _, number = rest.rpartition("~")
    return Name(code, line, int(number)) if line and number.isdigit() else Name(code, rest, 0)


@dataclass(slots=True)
class Item:
    """What the facts have said of an item so far."""

    begun: bool = False
    done: bool = False
    attempt: int = 0
    failed: str = ""
    """Empty, `heard` or `unheard`: how the last attempt ended, until the next one."""
    is_edited: bool = False
    """An operator or a change of the order has given it something else to say: its next attempt is another one."""
    phase: str = ""
    """The last fact that moved it, without `item.`; empty before the first, and when a change has put it back."""
    is_gone: bool = False
    """A change has left it behind."""
    skip_reason: str = ""
    is_left_behind: bool = False
    """Its call was under way when its plan got another owner, who makes it again."""


@dataclass(slots=True)
class Slot:
    """One piece of work of one line."""

    is_done: bool = False
    least: int = 0
    """The first round that counts: what was done in earlier ones does not meet what is wanted by now."""
    newest: int = 0
    stands: bool = False
    """Something of it was done, and was not undone since."""
    must_undo: bool = False
    undoing: str = ""
    """The item that undoes it, from its first fact on."""
    amends: int = 0
    """How often it is still to be brought in line."""
    is_wanted: bool = True

    @property
    def meets(self) -> bool:
        """Whether whatever waits for it may begin."""
        return self.is_done and self.amends == 0


@dataclass(slots=True)
class Wish:
    """A change as somebody outside has asked for it.

    `lines` are the values of `n` that lines are to have: of an amendment all its lines, of a patch those that it names;
    of a cancellation its lines are `gone`. `version` is what it was made for, None for any.
    """

    name: str
    order_id: str
    kind: str
    lines: dict[str, Any] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    release: str | None = None
    version: int | None = None
    is_forced: bool = False
    is_dry_run: bool = False
    is_forbidden: bool = False
    """It touches what may not change while the order runs."""
    copies: int = 1
    """How often it is sent."""
    is_refused: bool = False
    """It was sent once, and the answer was no: nothing of it may be stored."""


@dataclass(slots=True)
class Order:
    """What the facts have said of an order so far."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    items: dict[str, Item] = field(default_factory=lambda: defaultdict(Item))
    slots: dict[str, Slot] = field(default_factory=lambda: defaultdict(Slot))
    release: str | None = None
    is_composed: bool = False
    ended: str = ""
    account: str | None = None
    roots: frozenset[str] = frozenset()
    document: dict[str, Any] = field(default_factory=dict)
    version: int = 1
    plan: str = "going"
    """`going`, `held`, `freezing` or `frozen`."""
    change: str | None = None
    """The change that was asked for and is not carried out yet."""
    changes: int = 0
    doubts: int = 0
    """Calls that a change left behind of which nobody knows what they have done: a person finds out, once for each."""
    suspects: int = 0
    """All calls that a change left behind."""
    resolved: int = 0

    def wanted(self) -> list[dict[str, Any]]:
        """Lines of the order itself that are wanted by now and want work."""
        return [
            each
            for each in self.lines
            if not each.get("sources") and not each.get("cancelled") and each["action"] != "noChange"
        ]

    def codes_of(self, line: dict[str, Any]) -> list[str]:
        """The work of a line, in a fixed order."""
        codes = work_of(line["product"], str(self.release))
        return sorted({*codes, "voice/port"} if line["product"] == "voice" else codes)
