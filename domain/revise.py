"""What a change of an order makes of its plan: which items stay, begin, are done again or undone, and in which order.

The changed order is decomposed and composed as if it were new; the result is laid over the plan item by item, by item
definition and scope instance. Nothing is decided by scenario, so lines that pick other plans by now are no trap.
Source: REFERENCE c1 and c2, steps 4 to 8; the default for what is done and has other input is ours: it is done again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from domain.catalogue import ItemType
from domain.compensate import COMPENSATING, Compensations, Draft, Slot
from domain.compose import AMEND, AWAIT_REF, REDO, UNDO, Node, Template, circle_in, key_of_node
from domain.errors import ExpressionFailed, NotPossibleNow
from domain.expressions import ABSENT
from domain.items import ItemRun
from domain.line_changes import ChangedLines
from domain.lines import Line, line_context, order_context
from domain.orders import Order
from domain.plan import Plan
from domain.release import CompiledRelease, ItemDef
from domain.states import SATISFYING_ITEM_STATES, TERMINAL_ITEM_STATES, ItemState

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
        self.draft = Draft(plan, release, lines)
        self.nodes, self.waits = self.draft.nodes, self.draft.waits
        self.outcomes: dict[int, ItemOutcome] = {}
        self.amended: dict[int, None] = {}
        self.cancelled: dict[int, None] = {}
        self.now_at: list[int] = []
        """By target node: the node of the plan that stands for it."""
        self.after: dict[int, tuple[int, ...]] = {}
        """By target node: what comes after it is done and who waits for it has to wait for too."""
        self.again: dict[int, list[int]] = {}
        """By target node: what begins when the work is done again, or amended."""
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

        self.compensations = Compensations(self.draft, self.rounds, self.undone_by, self._is_open)

    def run(self) -> Revision:
        way = _way(self.target)
        self.now_at = [-1] * len(self.target.nodes)
        for at in way:
            self._settle(at)
        wanted = {self._slot(node) for node in self.target.nodes}
        for slot, chain in self.chains.items():
            if slot not in wanted:
                self._cancel(chain)
        self.compensations.settle()
        self._rewire(way)
        for index, outcome in self.outcomes.items():
            # What was due may have to wait for something that is done again first.
            if outcome is ItemOutcome.KEEP and self._before(index) in _DUE and self._waits_open(index):
                self.amended[index] = None
        template = self._template()
        self._refuse_circles(template)
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
            if node.role in COMPENSATING:
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
            self.now_at[at] = self.draft.add(Node(node.ref, slot[1], places))
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
            if node.ref == AWAIT_REF and state is ItemState.FATALLY_FAILED:
                # What it waits for is another thing by now, or is tried again.
                self.cancelled[index], self.outcomes[index] = None, ItemOutcome.DISCARD
                self.now_at[at] = self.draft.add(Node(node.ref, slot[1], places))
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
        now = self.draft.by_ref.get(item.definition.ref)
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
            parts = self.draft.parts_of(definition, definition.amend_refs, "amendPlan")
            made = self.draft.instantiate(parts, [index], places, AMEND)
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
                self.compensations.undo(index)
            self._again(at, index, places)

    def _again(self, at: int, index: int, places: tuple[int, ...], behind: int | None = None) -> None:
        node = self.target.nodes[at]
        again = self.draft.add(Node(node.ref, self._slot(node)[1], places, role=REDO, of=index))
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
                        self.compensations.undo(index)
                continue
            self.cancelled[index] = None
            is_in_doubt = state in (ItemState.FAILED, ItemState.FATALLY_FAILED) or (
                item.is_callout and (item.is_running or item.is_unheard)
            )
            self.outcomes[index] = ItemOutcome.RESOLVE if is_in_doubt and item.definition else ItemOutcome.DISCARD
            if self.outcomes[index] is ItemOutcome.RESOLVE:
                self.compensations.resolve(index)

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
                    self.waits[node].update(end for each in self.compensations.that_take_back(of) for end in each.exits)
            elif index >= len(self.plan.items):
                self.waits[index] |= above
                made = self.nodes[index]
                self.waits[index].update(self.still_undoing.get((made.ref, made.instance), ()))
            elif self._is_open(index):
                owner = self.compensations.owner
                ends = (end for each in self.old.waits[index] if each in owner for end in owner[each].exits)
                self.waits[index] = {*above, *ends, *self._still_awaited(index)}

    def _still_awaited(self, index: int) -> Iterable[int]:
        """What an open node waits for because of an earlier change: undoing, adapting, and what it does again."""
        for each in self.old.waits[index]:
            node, mine = self.old.nodes[each], self.old.nodes[index]
            is_before = (node.ref, node.instance) == (mine.ref, mine.instance)
            if self._is_open(each) and (node.role in (UNDO, AMEND) or is_before):
                yield each

    def _refuse_circles(self, template: Template) -> None:
        if circle := circle_in(self.waits, template.parents, self._is_open):
            named = " -> ".join(key_of_node(self.nodes[index], self.lines.lines) for index in circle)
            raise NotPossibleNow(f"items would wait for one another in a circle: {named}")

    def _template(self) -> Template:
        at_line = self.lines.at
        # What a change has overtaken makes no assets any more, so that its lines become some in another way.
        covers = {index: lines for index, lines in self.old.covers.items() if self._stands_done(index)}
        parents = {child: parent for child, parent in self.old.parents.items() if not self._is_open(child)}
        for at, index in enumerate(self.now_at):
            # What was skipped has delivered nothing: which lines it keeps from becoming assets goes by the new order.
            is_skipped = index < len(self.plan.items) and self._before(index) is ItemState.SKIPPED
            if at in self.target.covers and (index not in covers or is_skipped):
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
