"""What a change of an order makes of its plan: which items stay, begin, are done again or undone, and in which order.

The changed order is decomposed and composed as if it were new; the result is laid over the plan item by item, by item
definition and scope instance. Nothing is decided by scenario, so lines that pick other plans by now are no trap.
Source: REFERENCE c1 and c2, steps 4 to 8; the default for what is done and has other input is ours: it is done again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from domain.catalogue import ItemType
from domain.compose import AMEND, REDO, RESOLVE, UNDO, Node, Template, key_of_node
from domain.cycles import find_cycle
from domain.errors import ExpressionFailed, NotPossibleNow
from domain.expressions import ABSENT
from domain.items import ItemRun
from domain.line_changes import ChangedLines
from domain.lines import Line, line_context, order_context
from domain.orders import Order
from domain.plan import Plan
from domain.release import CompiledRelease, ItemDef
from domain.states import OVERTAKEN_ITEM_STATES, TERMINAL_ITEM_STATES, ItemState
from domain.stock_items import RESOLVE_FALLOUT

Slot = tuple[str, tuple[str, Any]]
"""What an item stands for, whichever its round: its definition and scope instance."""

_COMPENSATING: Final = frozenset({UNDO, AMEND, RESOLVE})
"""Roles whose items no later change touches (REFERENCE b2, last row)."""
_GONE: Final = frozenset({ItemState.CANCELLED, ItemState.DISCARDED, ItemState.FAILED_DISCARDED})
_DONE: Final = frozenset({ItemState.COMPLETED, ItemState.AMENDED})
_BEGUN: Final = frozenset({ItemState.RUNNING, ItemState.FAILED, ItemState.FATALLY_FAILED})
_DUE: Final = frozenset({ItemState.READY, ItemState.SCHEDULED, ItemState.ON_HOLD})


class ItemOutcome(StrEnum):
    """What a change makes of an item."""

    KEEP = "keep"
    UPDATE = "update"
    """Not done yet: it works on what the order says now."""
    REDO = "redo"
    UNDO_THEN_REDO = "undoThenRedo"
    AMEND_PLAN = "amendPlan"
    NOTHING = "nothing"
    """Done, and its definition wants nothing done about the change."""
    UNDO = "undo"
    NOT_UNDONE = "notUndone"
    """Done and needed no more, and its definition has no plan that undoes it."""
    DISCARD = "discard"
    RESOLVE = "resolve"
    """Failed and needed no more: a person finds out what it has done outside."""


@dataclass(slots=True)
class Revision:
    """A plan as a change makes it. `amended` and `cancelled` are keys of items that the change overtakes.

    `outcomes` are told by item key, for those that the plan has; what is new stands in the template behind them.
    """

    lines: ChangedLines
    template: Template
    amended: list[str]
    cancelled: list[str]
    outcomes: dict[str, ItemOutcome]


@dataclass(slots=True)
class _Compensation:
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


def revise(plan: Plan, order: Order, release: CompiledRelease, lines: ChangedLines, target: Template) -> Revision:
    """Lay what is wanted now over the plan.

    Args:
        plan: nothing of it that the change waits for is running.
        order: as it is from now on.
        release: by which `target` was composed.
        lines: of plan and target, matched.
        target: what the changed order would be composed into, over the target's lines.
    Raises:
        NotPossibleNow: items would wait for one another in a circle, or the release lacks what has to be undone.
    """
    return _Reviser(plan, order, release, lines, target).run()


class _Reviser:
    def __init__(
        self, plan: Plan, order: Order, release: CompiledRelease, lines: ChangedLines, target: Template
    ) -> None:
        assert plan.template is not None
        self.plan, self.old = plan, plan.template
        self.release, self.target, self.lines = release, target, lines
        self.context_then, self.context_now = order_context(plan.order), order_context(order)
        self.by_ref = {item.ref: item for item in release.items}
        self.nodes = list(self.old.nodes)
        self.waits: list[set[int]] = [set(each) for each in self.old.waits]
        self.keys = set(plan.by_key)
        self.chains = self._chains()
        """Slot -> the nodes that stand or stood for it, the newest last."""
        undoing = [(index, node) for index, node in enumerate(self.old.nodes) if node.role == UNDO]
        self.taken_back = frozenset(node.of for _, node in undoing)
        """Nodes that an earlier change has undone already, some of them to do them again."""
        self.still_undoing: dict[Slot, list[int]] = defaultdict(list)
        """What still undoes an earlier one of a slot: it ends before a new one begins."""
        for index, node in undoing:
            if node.of is not None and self.plan.items[index].state not in TERMINAL_ITEM_STATES:
                undone = self.old.nodes[node.of]
                self.still_undoing[undone.ref, undone.instance].append(index)
        self.outcomes: dict[int, ItemOutcome] = {}
        self.amended: dict[int, None] = {}
        self.cancelled: dict[int, None] = {}
        self.now_at: list[int] = []
        """By target node: the node of the plan that stands for it."""
        self.after: dict[int, tuple[int, ...]] = {}
        """By target node: what comes after it is done and who waits for it has to wait for too."""
        self.again: dict[int, list[int]] = {}
        """By target node: what begins when the work is done again, or amended."""
        self.compensations: list[_Compensation] = []
        self.owner: dict[int, _Compensation] = {}
        """By node of the plan: what undoes it."""

    def run(self) -> Revision:
        way = _way(self.target)
        self.now_at = [-1] * len(self.target.nodes)
        for at in way:
            self._settle(at)
        wanted = {self._slot(node) for node in self.target.nodes}
        for slot, chain in self.chains.items():
            if slot not in wanted:
                self._cancel(chain)
        self._order_compensations()
        self._rewire(way)
        for index, outcome in self.outcomes.items():
            # What was due may have to wait for something that is done again first.
            if outcome is ItemOutcome.KEEP and self._before(index) in _DUE and self._waits_open(index):
                self.amended[index] = None
        self._refuse_circles()
        template = self._template()
        return Revision(
            self.lines,
            template,
            [self.plan.items[index].key for index in self.amended],
            [self.plan.items[index].key for index in self.cancelled],
            {self.plan.items[index].key: outcome for index, outcome in sorted(self.outcomes.items())},
        )

    # What there is.

    def _chains(self) -> dict[Slot, list[int]]:
        chains: dict[Slot, list[int]] = {}
        for index, node in enumerate(self.old.nodes):
            if node.role not in _COMPENSATING and self.plan.items[index].state not in _GONE:
                chains.setdefault((node.ref, node.instance), []).append(index)
        return chains

    def _slot(self, node: Node) -> Slot:
        kind, value = node.instance
        return node.ref, (kind, self.lines.at[value] if kind == "line" else value)

    def _before(self, index: int) -> ItemState:
        item = self.plan.items[index]
        return item.frozen_from or item.state

    def _is_open(self, index: int) -> bool:
        """Whether a node is not done when the change has been carried out."""
        if index >= len(self.plan.items):
            return True
        if index in self.cancelled:
            return False
        if index in self.amended:
            return self.plan.items[index].state is not ItemState.COMPLETED
        return self.plan.items[index].state not in TERMINAL_ITEM_STATES

    def _is_overtaken(self, index: int) -> bool:
        """Whether a known node is done, and what stands for it now is another one, or nothing."""
        state = self.plan.items[index].state
        return state in OVERTAKEN_ITEM_STATES or (index in self.amended and state is ItemState.COMPLETED)

    def _has_begun(self, index: int) -> bool:
        """Whether a node is at work and stays so: what it waited for was done once."""
        return index < len(self.plan.items) and self._before(index) in _BEGUN

    def _waits_open(self, index: int) -> bool:
        return any(self._is_open(target) for target in self.waits[index])

    # One item after the other.

    def _settle(self, at: int) -> None:
        """Decide on a target node, all that it waits for being decided."""
        node = self.target.nodes[at]
        slot = self._slot(node)
        places = tuple(sorted(self.lines.at[line] for line in node.lines))
        chain = self.chains.get(slot)
        if chain is None:
            self.now_at[at] = self._add(Node(node.ref, slot[1], places))
            return
        index = self.now_at[at] = chain[-1]
        item, state = self.plan.items[index], self._before(index)
        then = self.old.nodes[index].lines
        is_other = self._is_other(item, then, places)
        self.outcomes[index] = ItemOutcome.KEEP
        if item.definition is None:
            return
        if state in _DONE:
            if is_other:
                self._amend_done(at, index, places)
            return
        if state is ItemState.SKIPPED:
            is_open_before = item.skip_reason == "branch" and any(
                self._is_open(self.now_at[each]) for each in self._above(at)
            )
            if item.skip_reason == "operator" or not (is_other or is_open_before):
                return
        elif not is_other:
            return
        if item.is_callout and item.is_running:
            # Its definition says not to wait: what it does is overtaken when it ends.
            self._again(at, index, places, behind=index)
            return
        self.outcomes[index] = ItemOutcome.UPDATE
        self.amended[index] = None
        self.nodes[index] = Node(node.ref, slot[1], places, *_trace(self.old.nodes[index]))

    def _above(self, at: int) -> Iterable[int]:
        yield from self.target.waits[at]
        if at in self.target.parents:
            yield self.target.parents[at]

    def _is_other(self, item: ItemRun, then: Sequence[int], now: Sequence[int]) -> bool:
        """Whether what the item works on is not what it was."""
        if set(then) == set(now) and not any(self.lines.has_changed(index) for index in now):
            return False
        definition = item.definition
        if definition is None or definition.request is None or self._before(item.node) not in _DONE:
            return True
        # It sends what its definition says, and that may read nothing of what has changed.
        return self._says(definition, self.plan.lines[then[0]], self.context_then) != self._says(
            definition, self.lines.lines[now[0]], self.context_now
        )

    def _says(self, definition: ItemDef, line: Line, context: dict[str, Any]) -> dict[str, Any] | None:
        reading = line_context(context, line)
        try:
            found = {name: each.evaluate(reading) for name, each in (definition.request or {}).items()}
        except ExpressionFailed:
            return None
        return {name: value for name, value in found.items() if value is not ABSENT}

    def _amend_done(self, at: int, index: int, places: tuple[int, ...]) -> None:
        definition = self.plan.items[index].definition
        assert definition is not None
        if self.plan.items[index].state is ItemState.COMPLETED:
            self.amended[index] = None
        outcome = self.outcomes[index] = ItemOutcome(definition.on_amend)
        if outcome is ItemOutcome.AMEND_PLAN:
            parts = self._refs_of(definition, definition.amend_refs, "amendPlan")
            made = self._instantiate(parts, [index], places, AMEND)
            self.after[at] = tuple(made.nodes)
            for node, waits in made.waits.items():
                self.waits[node] |= waits
            self.again[at] = made.entries
        elif outcome is not ItemOutcome.NOTHING:
            if outcome is ItemOutcome.UNDO_THEN_REDO:
                self._compensate([index])
            self._again(at, index, places)

    def _again(self, at: int, index: int, places: tuple[int, ...], behind: int | None = None) -> None:
        node = self.target.nodes[at]
        again = self._add(Node(node.ref, self._slot(node)[1], places, role=REDO, of=index))
        self.outcomes[index] = self.outcomes[index] if behind is None else ItemOutcome.REDO
        self.now_at[at] = again
        self.again[at] = [again]
        if behind is not None:
            self.waits[again].add(behind)

    def _cancel(self, chain: list[int]) -> None:
        """Nobody needs what these nodes stand for any more; what was done last is undone."""
        is_undone = False
        for index in reversed(chain):
            item, state = self.plan.items[index], self._before(index)
            if state in _DONE:
                if state is ItemState.COMPLETED:
                    self.cancelled[index] = None
                if not is_undone and index not in self.taken_back:
                    is_undone = True
                    self.outcomes[index] = _taken_back(item.definition)
                    if self.outcomes[index] is ItemOutcome.UNDO:
                        self._compensate([index])
                continue
            self.cancelled[index] = None
            is_in_doubt = state in (ItemState.FAILED, ItemState.FATALLY_FAILED) or (
                item.is_callout and (item.is_running or item.is_unheard)
            )
            self.outcomes[index] = ItemOutcome.RESOLVE if is_in_doubt and item.definition else ItemOutcome.DISCARD
            if self.outcomes[index] is ItemOutcome.RESOLVE:
                node = self.old.nodes[index]
                made = self._add(Node(RESOLVE_FALLOUT.ref, node.instance, node.lines, role=RESOLVE, of=index))
                self.compensations.append(_Compensation([index], {made: RESOLVE_FALLOUT}, {made: set()}))

    # What is new.

    def _add(self, node: Node) -> int:
        """Take a node in, with the first round in which nothing has its key."""
        number = node.round
        while (key := key_of_node(named := _in_round(node, number), self.lines.lines)) in self.keys:
            number += 1
        self.keys.add(key)
        self.nodes.append(named)
        self.waits.append(set())
        return len(self.nodes) - 1

    def _refs_of(self, definition: ItemDef, refs: Iterable[str], member: str) -> list[ItemDef]:
        """The items of a rollback or amend plan, by the release that the plan runs by from now on."""
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

    def _compensate(self, of: list[int]) -> None:
        self.compensations.append(_Compensation(of))

    def _instantiate(
        self, parts: Sequence[ItemDef], of: Sequence[int], places: tuple[int, ...], role: str
    ) -> _Compensation:
        """Items of a plan that compensates, all of them once: their own scopes count for nothing (REFERENCE c1)."""
        made = _Compensation(list(of))
        instance = self.old.nodes[of[0]].instance
        at_ref: dict[str, int] = {}
        for part in parts:
            at_ref[part.ref] = node = self._add(Node(part.ref, instance, places, role=role, of=of[0]))
            made.nodes[node] = part
        for node, part in made.nodes.items():
            targets = (self.release.items[edge.target].ref for edge in part.waits_for)
            made.waits[node] = {at_ref[ref] for ref in targets if ref in at_ref}
        return made

    def _order_compensations(self) -> None:
        """Make the nodes that undo, and have them go in the reverse order of what they undo."""
        groups: dict[Any, list[int]] = {}
        resolving = [each for each in self.compensations if each.nodes]
        for each in self.compensations:
            if each.nodes:
                continue
            index = each.of[0]
            definition = self.plan.items[index].definition
            assert definition is not None
            source = definition.source
            name = (source.rollback_plan, source.rollback_group, self.plan.roots_of_node[index])
            groups.setdefault(name if source.rollback_group else index, []).append(index)
        undoing = []
        for of in groups.values():
            definition = self.plan.items[of[0]].definition
            assert definition is not None
            places = tuple(sorted({line for index in of for line in self.old.nodes[index].lines}))
            parts = self._refs_of(definition, definition.rollback_refs, "rollbackPlan")
            undoing.append(self._instantiate(parts, of, places, UNDO))
        self.compensations = [*undoing, *resolving]
        self._tie_plans(undoing)
        owner = self.owner = {index: each for each in self.compensations for index in each.of}
        for each in self.compensations:
            later = {id(other): other for index in each.of for other in self._later(index, owner) if other is not each}
            for entry in each.entries:
                each.waits[entry].update(node for other in later.values() for node in other.exits)
        for each in self.compensations:
            for node, waits in each.waits.items():
                self.waits[node] |= waits

    def _tie_plans(self, undoing: Sequence[_Compensation]) -> None:
        """Dependencies between rollback plans of one bundle; one on a plan that undoes nothing here is void."""
        of_ref: dict[str, list[tuple[int, frozenset[str]]]] = defaultdict(list)
        roots = [frozenset(root for index in each.of for root in self.plan.roots_of_node[index]) for each in undoing]
        for each, mine in zip(undoing, roots, strict=True):
            for node, part in each.nodes.items():
                of_ref[part.ref].append((node, mine))
        for each, mine in zip(undoing, roots, strict=True):
            for node, part in each.nodes.items():
                for edge in part.waits_for:
                    others = of_ref.get(self.release.items[edge.target].ref, ())
                    if not each.waits[node] & {other for other, _ in others}:
                        each.waits[node].update(other for other, theirs in others if theirs & mine and other != node)

    def _later(self, index: int, owner: dict[int, _Compensation]) -> list[_Compensation]:
        """The compensations nearest behind a node: of what was done because it was done."""
        found: dict[int, _Compensation] = {}
        seen = {index}
        waiting = [index]
        while waiting:
            at = waiting.pop()
            behind = list(self.old.followers[at])
            behind.extend(self.old.children.get(at, ()))
            if at in self.old.parents:
                behind.extend(self.old.followers[self.old.parents[at]])
            for each in behind:
                if each in seen:
                    continue
                seen.add(each)
                if each in owner:
                    found[id(owner[each])] = owner[each]
                else:
                    waiting.append(each)
        return list(found.values())

    # Who waits for whom.

    def _rewire(self, way: Sequence[int]) -> None:
        behind: dict[int, frozenset[int]] = {}
        """By target node: what those that wait for it have to wait for."""

        def through(at: int) -> frozenset[int]:
            # A sub-plan that is done lets through what is done again of its items.
            parts = () if self._is_open(self.now_at[at]) else self.target.children.get(at, ())
            return behind[at].union(*(through(each) for each in parts))

        for at in way:
            index = self.now_at[at]
            above = frozenset(node for each in self.target.waits[at] for node in through(each))
            if at in self.after:
                behind[at] = frozenset(self.after[at])
            elif self._is_open(index) and not self._has_begun(index):
                behind[at] = frozenset((index,))
            else:
                # What is done, or goes on meanwhile, lets through what is done again before it.
                passed = frozenset(node for node in above if self._is_open(node))
                behind[at] = passed if self._is_overtaken(index) else passed | {index}
            if at in self.again:
                for node in self.again[at]:
                    self.waits[node] |= above
                    of = self.nodes[node].of
                    assert of is not None
                    self.waits[node].update(end for each in self._taken_back_by(of) for end in each.exits)
            elif index >= len(self.plan.items):
                self.waits[index] |= above
                made = self.nodes[index]
                self.waits[index].update(self.still_undoing.get((made.ref, made.instance), ()))
            elif self._is_open(index):
                undone = (each for each in self.old.waits[index] if each in self.owner)
                self.waits[index] = {*above, *(end for each in undone for end in self.owner[each].exits)}

    def _taken_back_by(self, index: int) -> list[_Compensation]:
        own = [self.owner[index]] if index in self.owner else []
        return [*own, *self._later(index, self.owner)]

    def _refuse_circles(self) -> None:
        waits = {
            index: [target for target in targets if self._is_open(target)]
            for index, targets in enumerate(self.waits)
            if self._is_open(index)
        }
        circle = find_cycle(waits)
        if circle:
            named = " -> ".join(key_of_node(self.nodes[index], self.lines.lines) for index in circle)
            raise NotPossibleNow(f"items would wait for one another in a circle: {named}")

    def _template(self) -> Template:
        at_line = self.lines.at
        covers = {index: lines for index, lines in self.old.covers.items() if not self._is_open(index)}
        parents = {child: parent for child, parent in self.old.parents.items() if not self._is_open(child)}
        for at, index in enumerate(self.now_at):
            if at in self.target.covers and index not in covers:
                covers[index] = tuple(sorted(at_line[line] for line in self.target.covers[at]))
            parent = self.target.parents.get(at)
            if parent is not None and self._is_open(self.now_at[parent]):
                for each in (index, *self.after.get(at, ())):
                    parents.setdefault(each, self.now_at[parent])
        return Template(
            nodes=tuple(self.nodes),
            waits=tuple(tuple(sorted(each)) for each in self.waits),
            voids=tuple(sorted((self.now_at[at], ref) for at, ref in self.target.voids)),
            idle_lines=tuple(at_line[line] for line in self.target.idle_lines),
            covers=covers,
            parents=parents,
        )


def _taken_back(definition: ItemDef | None) -> ItemOutcome:
    """What becomes of an item that is done and needed no more."""
    if definition is not None and definition.rollback_refs:
        return ItemOutcome.UNDO
    # Milestones and the like have done nothing that could be left behind.
    is_work = definition is not None and (definition.is_call or definition.type is ItemType.MANUAL_TASK)
    return ItemOutcome.NOT_UNDONE if is_work else ItemOutcome.DISCARD


def _way(template: Template) -> list[int]:
    """The nodes of a template, each after what it waits for, and after the items of sub-plans that it waits for."""
    followers: list[list[int]] = [[] for _ in template.nodes]
    waiting = [0] * len(template.nodes)
    for index, waits in enumerate(template.waits):
        before = {*waits, *_inside(template, waits)}
        if index in template.parents:
            before.add(template.parents[index])
        waiting[index] = len(before)
        for each in before:
            followers[each].append(index)
    way = [index for index, count in enumerate(waiting) if count == 0]
    for index in way:
        for each in followers[index]:
            waiting[each] -= 1
            if waiting[each] == 0:
                way.append(each)
    assert len(way) == len(template.nodes), "a release with a circle is not published"
    return way


def _inside(template: Template, nodes: Iterable[int]) -> Iterator[int]:
    for node in nodes:
        children = template.children.get(node, ())
        yield from children
        yield from _inside(template, children)


def _trace(node: Node) -> tuple[int, str, int | None]:
    return node.round, node.role, node.of


def _in_round(node: Node, number: int) -> Node:
    return node if node.round == number else Node(node.ref, node.instance, node.lines, number, node.role, node.of)


