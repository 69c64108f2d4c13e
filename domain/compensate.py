"""What takes back what an order has done: rollback plans in a plan that changes, and in which order they go.

What was done last is undone first, each once; what was done together with others (a rollback group) is undone together
with them. Source: REFERENCE c1 and c2.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from domain.compose import AMEND, RESOLVE, UNDO, Node, key_of_node
from domain.errors import NotPossibleNow
from domain.line_changes import ChangedLines
from domain.plan import Plan
from domain.release import CompiledRelease, ItemDef
from domain.stock_items import RESOLVE_FALLOUT

Slot = tuple[str, tuple[str, Any]]
"""What an item stands for, whichever its round: its definition and scope instance."""

COMPENSATING: Final = frozenset({UNDO, AMEND, RESOLVE})
"""Roles whose items no later change touches (REFERENCE b2, last row)."""


@dataclass(slots=True)
class Compensation:
    """Nodes that together take back what some items have done: `entries` begin, `exits` end it."""

    of: list[int]
    nodes: dict[int, ItemDef] = field(default_factory=dict)
    waits: dict[int, set[int]] = field(default_factory=dict)

    @property
    def entries(self) -> list[int]:
        return [node for node in self.nodes if not self.waits[node] & self.nodes.keys()]

    @property
    def exits(self) -> list[int]:
        waited = {target for each in self.waits.values() for target in each}
        return [node for node in self.nodes if node not in waited]


class Draft:
    """The nodes of a plan, with what a change adds to them, and who waits for whom."""

    def __init__(self, plan: Plan, release: CompiledRelease, lines: ChangedLines) -> None:
        assert plan.template is not None
        self.plan, self.old, self.release = plan, plan.template, release
        self.nodes = list(self.old.nodes)
        self.waits: list[set[int]] = [set(each) for each in self.old.waits]
        self.by_ref = {item.ref: item for item in release.items}
        self._lines = lines
        self._keys = set(plan.by_key)

    def add(self, node: Node) -> int:
        """Take a node in, with the first round in which nothing has its key."""
        number = node.round
        while (key := key_of_node(named := _in_round(node, number), self._lines.lines)) in self._keys:
            number += 1
        self._keys.add(key)
        self.nodes.append(named)
        self.waits.append(set())
        return len(self.nodes) - 1

    def parts_of(self, definition: ItemDef, refs: Iterable[str], member: str) -> list[ItemDef]:
        """The items of a rollback or amend plan, by the release that the plan runs by from now on.

        Raises:
            NotPossibleNow: that release lacks one of them.
        """
        found = []
        for ref in refs:
            part = self.by_ref.get(ref)
            if part is None:
                raise NotPossibleNow(
                    f"{member} of item {definition.ref} has {ref}, "
                    f"which release {self.release.release_id} does not have",
                    mend="move the order to a release that has it first",
                )
            found.append(part)
        return found

    def instantiate(
        self, parts: Sequence[ItemDef], of: Sequence[int], places: tuple[int, ...], role: str
    ) -> Compensation:
        """Items of a plan that compensates, all of them once: their own scopes count for nothing (REFERENCE c1)."""
        made = Compensation(list(of))
        instance = self.old.nodes[of[0]].instance
        at_ref: dict[str, int] = {}
        for part in parts:
            at_ref[part.ref] = node = self.add(
                Node(part.ref, instance, places, role=role, of=of[0], also=tuple(of[1:]))
            )
            made.nodes[node] = part
        for node, part in made.nodes.items():
            targets = (self.release.items[edge.target].ref for edge in part.waits_for)
            made.waits[node] = {at_ref[ref] for ref in targets if ref in at_ref}
        return made


class Compensations:
    """What one change undoes, or has a person find out.

    Name what is to be undone first, item by item (`undo`, `resolve`), then have it put in order (`settle`).
    """

    def __init__(
        self,
        draft: Draft,
        rounds: Mapping[Slot, list[int]],
        undone_by: Mapping[int, tuple[int, ...]],
        is_open: Callable[[int], bool],
    ) -> None:
        """Args:
        draft: that gets the nodes.
        rounds: the nodes that stand or stood for a slot, the newest last.
        undone_by: by node of a rollback plan, what it takes back; of earlier changes.
        is_open: whether a node is not done when the change has been carried out.
        """
        self._draft, self._plan, self._old, self._release = draft, draft.plan, draft.old, draft.release
        self._rounds, self._undone_by, self._is_open = rounds, undone_by, is_open
        self._undone: list[int] = []
        self._resolving: list[Compensation] = []
        self.owner: dict[int, Compensation] = {}
        """By node of the plan: what undoes it. Known when they are settled."""

    def undo(self, index: int) -> None:
        """Have the item's rollback plan run."""
        self._undone.append(index)

    def resolve(self, index: int) -> None:
        """Have a person find out what the item has done."""
        node = self._old.nodes[index]
        made = self._draft.add(Node(RESOLVE_FALLOUT.ref, node.instance, node.lines, role=RESOLVE, of=index))
        self._resolving.append(Compensation([index], {made: RESOLVE_FALLOUT}, {made: set()}))

    def settle(self) -> None:
        """Make the nodes that undo, and have them go in the reverse order of what they undo."""
        groups: dict[Any, list[int]] = {}
        for index in self._undone:
            name = self._group_of(index)
            groups.setdefault(index if name is None else name, []).append(index)
        undoing = []
        for of in groups.values():
            definition = self._plan.items[of[0]].definition
            assert definition is not None
            places = tuple(sorted({line for index in of for line in self._old.nodes[index].lines}))
            parts = self._draft.parts_of(definition, definition.rollback_refs, "rollbackPlan")
            undoing.append(self._draft.instantiate(parts, of, places, UNDO))
        compensations = [*undoing, *self._resolving]
        self._tie_plans(undoing)
        self.owner = {index: each for each in compensations for index in each.of}
        owner = self._undoing_before() | self.owner
        for each in compensations:
            later = [other for index in each.of for other in self._later(index, owner) if other is not each]
            for entry in each.entries:
                each.waits[entry].update(node for other in later for node in other.exits)
        for each in compensations:
            for node, waits in each.waits.items():
                self._draft.waits[node] |= waits

    def that_take_back(self, index: int) -> list[Compensation]:
        """What undoes a node, and what was done because of it."""
        own = [self.owner[index]] if index in self.owner else []
        return [*own, *self._later(index, self.owner)]

    def _group_of(self, index: int) -> tuple[Any, ...] | None:
        """With what an item is undone together, by name."""
        definition, is_work = self._plan.items[index].definition, self._old.nodes[index].role not in COMPENSATING
        if definition is None or definition.source.rollback_group is None or not is_work:
            return None
        return definition.source.rollback_plan, definition.source.rollback_group, self._plan.roots_of_node[index]

    def _tie_plans(self, undoing: Sequence[Compensation]) -> None:
        """Dependencies between rollback plans of one bundle; one on a plan that undoes nothing here is void."""
        at: dict[tuple[str, str], list[int]] = defaultdict(list)
        """By item definition and bundle."""
        roots = [{root for index in each.of for root in self._plan.roots_of_node[index]} for each in undoing]
        for each, mine in zip(undoing, roots, strict=True):
            for node, part in each.nodes.items():
                for root in mine:
                    at[part.ref, root].append(node)
        for each, mine in zip(undoing, roots, strict=True):
            own = {part.ref for part in each.nodes.values()}
            for node, part in each.nodes.items():
                targets = {self._release.items[edge.target].ref for edge in part.waits_for} - own
                others = (other for ref in targets for root in mine for other in at.get((ref, root), ()))
                each.waits[node].update(other for other in others if other != node)

    def _undoing_before(self) -> dict[int, Compensation]:
        """By node: what still undoes it because of an earlier change."""
        found: dict[int, Compensation] = {}
        for index, undone in self._undone_by.items():
            definition = self._plan.items[index].definition
            if definition is None or not self._is_open(index):
                continue
            for of in undone:
                each = found.setdefault(of, Compensation([of]))
                each.nodes[index] = definition
                each.waits[index] = set(self._old.waits[index])
        return found

    def _later(self, index: int, owner: dict[int, Compensation]) -> list[Compensation]:
        """The compensations nearest behind a node: of what was done because it was done."""
        if not owner:
            return []
        found: dict[int, Compensation] = {}
        # What was done because of an earlier round stands behind the later ones, too.
        waiting = list(self._rounds_of(index))
        seen = set(waiting)
        while waiting:
            at = waiting.pop()
            behind = list(self._old.followers[at])
            behind.extend(self._old.children.get(at, ()))
            if at in self._old.parents:
                behind.extend(self._old.followers[self._old.parents[at]])
            for each in (other for node in behind for other in self._rounds_of(node)):
                if each in seen:
                    continue
                seen.add(each)
                if each in owner:
                    found[id(owner[each])] = owner[each]
                if each not in self.owner:
                    waiting.append(each)
        return list(found.values())

    def _rounds_of(self, index: int) -> Sequence[int]:
        """All nodes that stand or stood for what a node stands for."""
        node = self._old.nodes[index]
        return self._rounds.get((node.ref, node.instance), (index,)) if node.role not in COMPENSATING else (index,)


def _in_round(node: Node, number: int) -> Node:
    return node if node.round == number else replace(node, round=number)
