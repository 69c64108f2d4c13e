"""What a change of an order makes of its plan: which items stay, begin, are done again or undone, and in which order.

The changed order is decomposed and composed as if it were new; the result is laid over the plan item by item, by item
definition and scope instance. Nothing is decided by scenario, so lines that pick other plans by now are no trap.
Source: REFERENCE c1 and c2, steps 4 to 8; the default for what is done and has other input is ours: it is done again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
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
from domain.states import SATISFYING_ITEM_STATES, TERMINAL_ITEM_STATES, ItemState
from domain.stock_items import RESOLVE_FALLOUT

Slot = tuple[str, tuple[str, Any]]
"""What an item stands for, whichever its round: its definition and scope instance."""

_COMPENSATING: Final = frozenset({UNDO, AMEND, RESOLVE})
"""Roles whose items no later change touches (REFERENCE b2, last row)."""
_GONE: Final = frozenset({ItemState.CANCELLED, ItemState.DISCARDED, ItemState.FAILED_DISCARDED})
_DONE: Final = frozenset({ItemState.COMPLETED, ItemState.AMENDED})
_BEGUN: Final = frozenset({ItemState.RUNNING, ItemState.FAILED, ItemState.FATALLY_FAILED})
_REOPENED: Final = frozenset({ItemState.SKIPPED, ItemState.SCHEDULED})
"""States that follow from conditions and dates alone: where those are others, they are looked at again."""
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
        self.roots_changed = {root for root, value in self.context_now.items() if value != self.context_then[root]}
        """What of the order itself is other: `order`, `account`."""
        self.by_ref = {item.ref: item for item in release.items}
        self.nodes = list(self.old.nodes)
        self.waits: list[set[int]] = [set(each) for each in self.old.waits]
        self.keys = set(plan.by_key)
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
        self.adapting: dict[int, list[int]] = defaultdict(list)
        """By node of the plan: what of its amend plans is not done yet."""
        self.adapted_to: dict[int, tuple[int, ...]] = {}
        """By node of the plan: the lines that an amend plan has last brought it in line with."""
        for index, node in enumerate(self.old.nodes):
            if node.role != AMEND or node.of is None:
                continue
            if plan.items[index].state not in _GONE:
                self.adapted_to[node.of] = node.lines
            if self._is_open(index):
                self.adapting[node.of].append(index)
        self.undone_by = {
            index: (node.of, *node.also)
            for index, node in enumerate(self.old.nodes)
            if node.role == UNDO and node.of is not None
        }
        """By node of a rollback plan: what it takes back."""
        self.taken_back = frozenset(index for undone in self.undone_by.values() for index in undone)
        """Nodes that an earlier change has undone already, some of them to do them again."""
        self.rounds = self._found_rounds()
        """Slot -> the nodes that stand or stood for it, the newest last."""
        self.chains = {slot: left for slot, each in self.rounds.items() if (left := self._not_taken_back(each))}
        """The same without what was undone, with all before it."""
        self.still_undoing: dict[Slot, list[int]] = defaultdict(list)
        """What still undoes an earlier one of a slot: it ends before a new one begins."""
        for undo, undone in self.undone_by.items():
            for slot in {(self.old.nodes[each].ref, self.old.nodes[each].instance) for each in undone}:
                if self._is_open(undo):
                    self.still_undoing[slot].append(undo)

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

    def _found_rounds(self) -> dict[Slot, list[int]]:
        rounds: dict[Slot, list[int]] = {}
        for index, node in enumerate(self.old.nodes):
            if node.role in _COMPENSATING:
                continue
            slot = (node.ref, node.instance)
            if self.plan.items[index].state in _GONE:
                # All that stood for it was taken back then, also what was amended before.
                rounds.pop(slot, None)
            else:
                rounds.setdefault(slot, []).append(index)
        return rounds

    def _not_taken_back(self, rounds: Sequence[int]) -> list[int]:
        undone = [place for place, index in enumerate(rounds) if index in self.taken_back]
        return list(rounds[undone[-1] + 1 :] if undone else rounds)

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

    def _has_begun(self, index: int) -> bool:
        """Whether a node is at work and stays so: what it waited for was done once."""
        return index < len(self.plan.items) and self._before(index) in _BEGUN

    def _stands_done(self, index: int) -> bool:
        """Whether a node of the plan is done or skipped, and the change leaves that as it is."""
        is_overtaken = index in self.amended or index in self.cancelled
        return self.plan.items[index].state in SATISFYING_ITEM_STATES and not is_overtaken

    def _waits_open(self, index: int) -> bool:
        return any(self._is_open(target) for target in self.waits[index])

    # One item after the other.

    def _settle(self, at: int) -> None:
        """Decide on a target node, all that it waits for being decided."""
        node = self.target.nodes[at]
        slot = self._slot(node)
        # In the order in which a new order would have them: a request of its own reads the first.
        places = tuple(self.lines.at[line] for line in node.lines)
        chain = self.chains.get(slot)
        if chain is None:
            self.now_at[at] = self._add(Node(node.ref, slot[1], places))
            return
        self._adapt_on(at, chain, places)
        index = self.now_at[at] = chain[-1]
        item, state = self.plan.items[index], self._before(index)
        then = self.adapted_to.get(index, self.old.nodes[index].lines)
        is_other = (
            self._is_other(item, then, places)
            or (state in _REOPENED and self._is_redefined(item))
            or (state in _DONE and self._covers_more(at, index))
        )
        self.outcomes[index] = ItemOutcome.KEEP
        if item.definition is None:
            return
        if state in _DONE:
            if is_other:
                self._amend_done(at, index, places)
            return
        if state is ItemState.SKIPPED:
            is_let_go = item.skip_reason == "branch" and not self._is_branch_skipped(at)
            if item.skip_reason == "operator" or not (is_other or is_let_go):
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

    def _adapt_on(self, at: int, chain: Sequence[int], places: tuple[int, ...]) -> None:
        """What earlier changes have left of amend plans works on what the order says now, too."""
        left = [part for index in chain for part in self.adapting[index]]
        if left:
            self.after[at] = tuple(left)
        for part in left:
            node, item = self.old.nodes[part], self.plan.items[part]
            is_other = set(node.lines) != set(places) or any(self.lines.has_changed(each) for each in places)
            self.outcomes[part] = ItemOutcome.KEEP
            if is_other and not (item.is_callout and item.is_running):
                self.outcomes[part] = ItemOutcome.UPDATE
                self.amended[part] = None
                self.nodes[part] = Node(node.ref, node.instance, places, *_trace(node))

    def _is_branch_skipped(self, at: int) -> bool:
        """Whether what a target node waits for is skipped in a way that it is skipped too."""
        parent = self.target.parents.get(at)
        if parent is not None and self._stands_skipped(parent):
            return True
        above = self.target.waits[at]
        return bool(above) and all(
            self._stands_skipped(each) and self.plan.items[self.now_at[each]].is_branch_skipped for each in above
        )

    def _stands_skipped(self, at: int) -> bool:
        index = self.now_at[at]
        is_known = index < len(self.plan.items)
        return is_known and self.plan.items[index].state is ItemState.SKIPPED and index not in self.amended

    def _is_other(self, item: ItemRun, then: Sequence[int], now: Sequence[int]) -> bool:
        """Whether what the item works on is not what it was."""
        definition, is_done = item.definition, self._before(item.node) in _DONE
        is_same = set(then) == set(now) and not any(self.lines.has_changed(index) for index in now)
        if definition is not None and definition.request is not None:
            is_same = is_same and then[0] == now[0]
        if is_same and (definition is None or not self._reads_changed(definition, is_done=is_done)):
            return False
        if definition is None or definition.request is None or not is_done:
            return True
        # It sends what its definition says, and that may read nothing of what has changed.
        return self._says(definition, self.plan.lines[then[0]], self.context_then) != self._says(
            definition, self.lines.lines[now[0]], self.context_now
        )

    def _is_redefined(self, item: ItemRun) -> bool:
        """Whether the release that the plan runs by from now on has the item otherwise."""
        if item.definition is None:
            # It stands for another order's delivery.
            return False
        now = self.by_ref.get(item.definition.ref)
        return now is not None and now.source != item.definition.source

    def _covers_more(self, at: int, index: int) -> bool:
        """Whether an assetize item has lines to deliver that it had not when it was done."""
        now = {self.lines.at[line] for line in self.target.covers.get(at, ())}
        return not now <= set(self.old.covers.get(index, ()))

    def _reads_changed(self, definition: ItemDef, *, is_done: bool) -> bool:
        """Whether the item goes by something of the order itself that is other now; what is done, by its request."""
        if not self.roots_changed:
            return False
        read = [*(definition.request or {}).values()]
        if not is_done:
            read += [each for each in (definition.condition, definition.process_after, definition.event) if each]
        return any(not self.roots_changed.isdisjoint(each.variables) for each in read)

    def _holds(self, at: int, places: Sequence[int]) -> bool:
        """Whether the condition of a target node holds of its lines as they are from now on."""
        definition = self.target.definitions[at]
        if definition is None or definition.condition is None:
            return True
        readings = (line_context(self.context_now, self.lines.lines[place]) for place in places)
        try:
            return any(definition.condition.is_true(reading) for reading in readings)
        except ExpressionFailed:
            # Whoever is told of that when it is due decides.
            return True

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
            for node, waits in made.waits.items():
                self.waits[node] |= waits
            for node in made.entries:
                self.waits[node].update(self.after.get(at, ()))
            self.after[at] = (*self.after.get(at, ()), *made.nodes)
            self.again[at] = made.entries
        elif outcome is not ItemOutcome.NOTHING:
            if outcome is ItemOutcome.UNDO_THEN_REDO or (definition.rollback_refs and not self._holds(at, places)):
                # Where its condition has become false, what is done again is skipped: so what was done is undone.
                self.outcomes[index] = ItemOutcome.UNDO_THEN_REDO
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
        left = [part for index in chain for part in self.adapting[index]]
        for index in reversed([*chain, *left]):
            item, state = self.plan.items[index], self._before(index)
            if state in _DONE:
                if state is ItemState.COMPLETED:
                    self.cancelled[index] = None
                if not is_undone:
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

    def _group_of(self, index: int) -> tuple[Any, ...] | None:
        """With what an item is undone together, by name."""
        definition, is_work = self.plan.items[index].definition, self.old.nodes[index].role not in _COMPENSATING
        if definition is None or definition.source.rollback_group is None or not is_work:
            return None
        return definition.source.rollback_plan, definition.source.rollback_group, self.plan.roots_of_node[index]

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
            at_ref[part.ref] = node = self._add(
                Node(part.ref, instance, places, role=role, of=of[0], also=tuple(of[1:]))
            )
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
            name = self._group_of(index)
            groups.setdefault(index if name is None else name, []).append(index)
        undoing = []
        for of in groups.values():
            definition = self.plan.items[of[0]].definition
            assert definition is not None
            places = tuple(sorted({line for index in of for line in self.old.nodes[index].lines}))
            parts = self._refs_of(definition, definition.rollback_refs, "rollbackPlan")
            undoing.append(self._instantiate(parts, of, places, UNDO))
        self.compensations = [*undoing, *resolving]
        self._tie_plans(undoing)
        self.owner = {index: each for each in self.compensations for index in each.of}
        owner = self._undoing_before() | self.owner
        for each in self.compensations:
            later = [other for index in each.of for other in self._later(index, owner) if other is not each]
            for entry in each.entries:
                each.waits[entry].update(node for other in later for node in other.exits)
        for each in self.compensations:
            for node, waits in each.waits.items():
                self.waits[node] |= waits

    def _tie_plans(self, undoing: Sequence[_Compensation]) -> None:
        """Dependencies between rollback plans of one bundle; one on a plan that undoes nothing here is void."""
        at: dict[tuple[str, str], list[int]] = defaultdict(list)
        """By item definition and bundle."""
        roots = [{root for index in each.of for root in self.plan.roots_of_node[index]} for each in undoing]
        for each, mine in zip(undoing, roots, strict=True):
            for node, part in each.nodes.items():
                for root in mine:
                    at[part.ref, root].append(node)
        for each, mine in zip(undoing, roots, strict=True):
            own = {part.ref for part in each.nodes.values()}
            for node, part in each.nodes.items():
                targets = {self.release.items[edge.target].ref for edge in part.waits_for} - own
                others = (other for ref in targets for root in mine for other in at.get((ref, root), ()))
                each.waits[node].update(other for other in others if other != node)

    def _undoing_before(self) -> dict[int, _Compensation]:
        """By node: what still undoes it because of an earlier change."""
        found: dict[int, _Compensation] = {}
        for index, undone in self.undone_by.items():
            definition = self.plan.items[index].definition
            if definition is None or not self._is_open(index):
                continue
            for of in undone:
                each = found.setdefault(of, _Compensation([of]))
                each.nodes[index] = definition
                each.waits[index] = set(self.old.waits[index])
        return found

    def _later(self, index: int, owner: dict[int, _Compensation]) -> list[_Compensation]:
        """The compensations nearest behind a node: of what was done because it was done."""
        if not owner:
            return []
        found: dict[int, _Compensation] = {}
        # What was done because of an earlier round stands behind the later ones, too.
        waiting = list(self._rounds(index))
        seen = set(waiting)
        while waiting:
            at = waiting.pop()
            behind = list(self.old.followers[at])
            behind.extend(self.old.children.get(at, ()))
            if at in self.old.parents:
                behind.extend(self.old.followers[self.old.parents[at]])
            for each in (other for node in behind for other in self._rounds(node)):
                if each in seen:
                    continue
                seen.add(each)
                if each in owner:
                    found[id(owner[each])] = owner[each]
                if each not in self.owner:
                    waiting.append(each)
        return list(found.values())

    def _rounds(self, index: int) -> Sequence[int]:
        """All nodes that stand or stood for what a node stands for."""
        node = self.old.nodes[index]
        return self.rounds.get((node.ref, node.instance), (index,)) if node.role not in _COMPENSATING else (index,)

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
            if self._is_open(index) and not self._has_begun(index):
                behind[at] = frozenset((index,))
            elif at in self.after:
                behind[at] = frozenset()
            else:
                # What is done, or goes on meanwhile, lets through what is done again before it. It is named all the
                # same: who waits for skipped branches alone is skipped with them.
                behind[at] = frozenset(node for node in above if self._is_open(node)) | {index}
            behind[at] |= frozenset(self.after.get(at, ()))
            for node in self.after.get(at, ()):
                self.waits[node] |= above
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
                ends = (end for each in undone for end in self.owner[each].exits)
                self.waits[index] = {*above, *ends, *self._still_awaited(index)}

    def _still_awaited(self, index: int) -> Iterable[int]:
        """What an open node waits for because of an earlier change: undoing, adapting, and what it does again."""
        for each in self.old.waits[index]:
            node, mine = self.old.nodes[each], self.old.nodes[index]
            is_before = (node.ref, node.instance) == (mine.ref, mine.instance)
            if self._is_open(each) and (node.role in (UNDO, AMEND) or is_before):
                yield each

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
        # What a change has overtaken makes no assets any more, so that its lines become some in another way.
        covers = {index: lines for index, lines in self.old.covers.items() if self._stands_done(index)}
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
    is_left = is_work and definition is not None and not definition.source.leaves_nothing
    return ItemOutcome.NOT_UNDONE if is_left else ItemOutcome.DISCARD


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
    return node if node.round == number else replace(node, round=number)


