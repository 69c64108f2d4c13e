"""What a delay model would say of an order if something were done for it: the snapshot is changed and scored again.

Only variables that the deployment declared actionable can be changed. What comes out is the model's estimate of orders
like this one, no promise: nobody has tried it on the order itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from delay.snapshot import ItemSnapshot, Snapshot, Supposed
from domain.errors import BadDocument
from domain.priorities import CLASSES, HIGH, class_of
from domain.release import CompiledRelease
from domain.states import ItemState

Variable = Literal["priority", "expedite", "queue", "system"]
VARIABLES: Final = ("priority", "expedite", "queue", "system")
USUAL: Final = "priority,expedite"
"""What may be changed unless the deployment says otherwise."""
NOTE: Final = "estimated by the model from orders like this one; not tried, and no promise"
CHANGES_MAX: Final = 20
OPTIONS_MAX: Final = 50
_AWAITED: Final = frozenset({ItemState.PENDING, ItemState.SCHEDULED, ItemState.READY})
_CALLED: Final = _AWAITED | {ItemState.RUNNING, ItemState.FAILED, ItemState.ON_HOLD}


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to be done: `priority` (to high, normal or low, of the order), `expedite` (an item is put first in its
    queue), `queue` (an item is moved to another), `system` (an item is given to another).
    """

    variable: Variable
    item: str | None = None
    to: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As requests have it."""
        stored = {"variable": self.variable, "item": self.item, "to": self.to}
        return {name: value for name, value in stored.items() if value is not None}

    @property
    def in_words(self) -> str:
        """What is to be done."""
        match self.variable:
            case "priority":
                return f"make the order's priority {self.to}"
            case "expedite":
                return f"put {self.item} first in its queue"
            case "queue":
                return f"move {self.item} to queue {self.to}"
            case _:
                return f"give {self.item} to system {self.to}"


@dataclass(frozen=True, slots=True)
class Actionable:
    """Which variables may be changed, and for `queue` and `system` from which code to which others."""

    variables: frozenset[str] = frozenset({"priority", "expedite"})
    queues: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    systems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> Actionable:
        """From `priority,expedite,queue:from=to,system:from=to`; the empty text declares nothing.

        Raises:
            BadDocument: a part cannot be read.
        """
        variables: set[str] = set()
        others: dict[str, dict[str, tuple[str, ...]]] = {"queue": {}, "system": {}}
        for part in filter(None, (each.strip() for each in text.split(","))):
            variable, _, pair = part.partition(":")
            source, _, target = pair.partition("=")
            is_pair = variable in others and bool(source) and bool(target)
            if not is_pair and part not in ("priority", "expedite"):
                mend = "write priority, expedite, queue:FROM=TO or system:FROM=TO, with commas between"
                raise BadDocument(f"{part[:60]!r} is no actionable variable", path="actionable", mend=mend)
            variables.add(variable)
            if is_pair:
                others[variable][source] = (*others[variable].get(source, ()), target)
        return cls(frozenset(variables), others["queue"], others["system"])

    def others(self, change: Change, item: ItemSnapshot) -> tuple[str, ...]:
        """Where an item may go instead."""
        if change.variable == "queue":
            return self.queues.get(item.queue or "", ())
        return self.systems.get(item.system or "", ())


def read_changes(given: Any) -> list[Change]:
    """Changes as a request has them.

    Raises:
        BadDocument: they cannot be read.
    """
    if not isinstance(given, list) or len(given) > CHANGES_MAX:
        raise BadDocument(f"must be a list of at most {CHANGES_MAX}", path="changes")
    return [_change(each, f"changes[{at}]") for at, each in enumerate(given)]


def _change(given: Any, path: str) -> Change:
    if not isinstance(given, dict):
        raise BadDocument("must be an object", path=path)
    variable, item, to = (given.get(name) for name in ("variable", "item", "to"))
    if variable not in VARIABLES:
        raise BadDocument(f"must be one of {', '.join(VARIABLES)}", path=f"{path}.variable")
    if unknown := sorted(given.keys() - {"variable", "item", "to"}):
        raise BadDocument("has no meaning here", path=f"{path}.{unknown[0][:60]}", mend="give variable, item, to")
    if variable == "priority" and to not in CLASSES:
        raise BadDocument(f"must be one of {', '.join(CLASSES)}", path=f"{path}.to")
    if variable != "priority" and not isinstance(item, str):
        raise BadDocument("must be the key of an item", path=f"{path}.item", mend="see GET /v1/orders/{id}")
    if variable in ("queue", "system") and not isinstance(to, str):
        raise BadDocument(f"must be the code of a {variable}", path=f"{path}.to")
    if (variable == "priority" and item is not None) or (variable == "expedite" and to is not None):
        member = "item" if variable == "priority" else "to"
        raise BadDocument("has no meaning here", path=f"{path}.{member}", mend="leave it out")
    return Change(variable, item, to)


def changed(
    snapshot: Snapshot, changes: Sequence[Change], actionable: Actionable, release: CompiledRelease
) -> Snapshot:
    """The snapshot as it would be.

    Raises:
        BadDocument: a change is not declared actionable, or cannot be made.
    """
    for at, change in enumerate(changes):
        path = f"changes[{at}]"
        if change.variable not in actionable.variables:
            mend = "start the server with --delay-actionable, or change what is declared: " + ", ".join(
                sorted(actionable.variables)
            )
            raise BadDocument(f"{change.variable} is not declared actionable", path=f"{path}.variable", mend=mend)
        if change.variable == "priority":
            order = {**snapshot.attributes.get("order", {}), "priority": change.to}
            snapshot = replace(snapshot, attributes={**snapshot.attributes, "order": order})
            continue
        place = next((at for at, item in enumerate(snapshot.items) if item.key == change.item), None)
        if place is None:
            raise BadDocument(f"the order has no item {str(change.item)[:100]!r}", path=f"{path}.item")
        items = list(snapshot.items)
        items[place] = _item(items[place], change, actionable, release, path)
        snapshot = replace(snapshot, items=tuple(items))
    return snapshot


def _item(
    item: ItemSnapshot, change: Change, actionable: Actionable, release: CompiledRelease, path: str
) -> ItemSnapshot:
    if not _can(item, change.variable):
        reason = f"{item.key} is {item.state.value} and waits for no {change.variable}"
        raise BadDocument(reason, path=f"{path}.item", mend="name an item that waits, with a queue or a system")
    known = item.supposed or Supposed()
    if change.variable == "expedite":
        return replace(item, supposed=replace(known, is_first=True))
    if change.to not in actionable.others(change, item):
        mend = f"declared are {', '.join(actionable.others(change, item)) or 'none'}"
        reason = f"{str(change.to)[:60]!r} is not declared as an alternative"
        raise BadDocument(reason, path=f"{path}.to", mend=mend)
    alike = [each for each in release.items if change.to in (each.source.queue, each.source.system)]
    if change.variable == "queue":
        supposed = replace(known, waits_like=tuple(each.ref for each in alike))
        return replace(item, queue=change.to, supposed=supposed)
    planned = tuple((each.ref, each.source.duration_s) for each in alike if each.source.duration_s)
    # Whatever it is at with the system that it has, it begins anew with the other.
    state = item.state if item.state in (ItemState.PENDING, ItemState.SCHEDULED) else ItemState.READY
    return replace(item, system=change.to, state=state, supposed=replace(known, works_like=planned))


def _can(item: ItemSnapshot, variable: str) -> bool:
    if variable == "system":
        return item.system is not None and item.state in _CALLED
    return item.queue is not None and item.state in _AWAITED


def options(snapshot: Snapshot, actionable: Actionable) -> list[Change]:
    """Everything declared that could be done for the order, one thing at a time."""
    found: list[Change] = []
    priority = class_of(str(snapshot.attributes.get("order", {}).get("priority") or ""))
    if "priority" in actionable.variables and priority != HIGH:
        found.append(Change("priority", to="high"))
    for item in snapshot.items:
        found += _options_of(item, actionable)
    return found[:OPTIONS_MAX]


def _options_of(item: ItemSnapshot, actionable: Actionable) -> Iterable[Change]:
    if "expedite" in actionable.variables and item.state is ItemState.READY and _can(item, "expedite"):
        yield Change("expedite", item.key)
    variable: Variable
    for variable in ("queue", "system"):
        if variable in actionable.variables and _can(item, variable):
            change = Change(variable, item.key)
            yield from (replace(change, to=to) for to in actionable.others(change, item))
