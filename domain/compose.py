"""From fulfilment lines to a plan: which items exist, and what waits for what.

Nobody draws a workflow per offer: each line picks plan definitions by its scenarios, each item definition is
instantiated once per instance of its scope, and dependency definitions are resolved between the instances that share a
scope. What comes out depends only on the *shape* of the order, so it is kept as a template that orders of the same
shape share; a plan is a template bound to the lines of one order.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from domain.catalogue import Action, Scope
from domain.cycles import find_cycle
from domain.errors import BadDocument
from domain.lines import Line, line_context
from domain.release import ASSETIZE, CompiledRelease, Edge, ItemDef
from domain.sealing import key_text
from domain.stock_items import RESOLVE_FALLOUT

AWAIT_REF = "await/delivery"
"""The item that stands for the delivery of a shared instance by another order."""
AWAIT_RELATED_REF = "await/relatedOrder"
"""The item that stands for items of one definition in one related order (`domain/related.py`)."""
_WIDTH = {Scope.ITEM: 0, Scope.KEY: 0, Scope.MAIN_ITEM: 1, Scope.BUNDLE: 2}
_LADDER = (Scope.ITEM, Scope.MAIN_ITEM, Scope.BUNDLE, Scope.ORDER)
"""Scopes from narrow to wide, for dependencies that name none."""
RELATION_WAITS_MAX: Final = 200_000
"""Waits that relations in an order's text may add to its plan."""
TEMPLATES_MAX = 1_000
"""How many templates a release remembers; the oldest goes first."""


@dataclass(frozen=True, slots=True)
class Node:
    """One item of a template. `lines` are places in the order's line list; `instance` is (kind, value).

    `round` is 0 for what the first composition made; a change of the order raises it for what is done again or undone.
    `role` says what a change has made the item for, `of` for which other one, `also` for which more of its rollback
    group.
    """

    ref: str
    instance: tuple[str, Any]
    lines: tuple[int, ...]
    round: int = 0
    role: str = ""
    of: int | None = None
    also: tuple[int, ...] = ()

    def to_list(self) -> list[Any]:
        """The stored form."""
        stored: list[Any] = [self.ref, list(self.instance), list(self.lines)]
        # Left out where there is nothing: templates of before keep their names.
        if self.round or self.role:
            stored += [self.round, self.role, self.of]
        return [*stored, list(self.also)] if self.also else stored

    @classmethod
    def from_list(cls, stored: Sequence[Any]) -> Node:
        """The inverse of `to_list`."""
        ref, (kind, value), lines, *more = stored
        node = cls(ref, (kind, value), tuple(lines), *more[:3])
        return replace(node, also=tuple(more[3])) if more[3:] else node


REDO: Final = "redo"
"""The work of an item again, for what the order says now."""
UNDO: Final = "undo"
"""Part of a rollback plan: takes back what an item has done."""
AMEND: Final = "amend"
"""Part of an amend plan: brings what an item has done in line with what the order says now."""
RESOLVE: Final = "resolve"
"""A person finds out what a failed item, which nobody needs any more, has done outside."""


@dataclass(slots=True)
class Template:
    """A composed plan without the order: nodes, who waits for whom, and which dependencies are void.

    `waits[i]` are the nodes that node i waits for, `followers` the inverse. `voids` are (node, ref of the absent item).
    `idle_lines` are lines that match no scenario, `covers` the lines that an assetize node turns into assets.
    """

    nodes: tuple[Node, ...]
    waits: tuple[tuple[int, ...], ...]
    voids: tuple[tuple[int, str], ...]
    idle_lines: tuple[int, ...]
    covers: dict[int, tuple[int, ...]] = field(default_factory=dict)
    parents: dict[int, int] = field(default_factory=dict)
    """Node -> the sub-plan item that it belongs to."""
    children: dict[int, tuple[int, ...]] = field(default_factory=dict)
    template_id: str = ""
    followers: tuple[tuple[int, ...], ...] = ()
    definitions: tuple[ItemDef | None, ...] = field(default=(), compare=False)
    """The item definition of each node (None for an await item), bound by `bind`."""

    def to_dict(self) -> dict[str, Any]:
        """The stored form."""
        stored: dict[str, Any] = {
            "nodes": [node.to_list() for node in self.nodes],
            "waits": [list(each) for each in self.waits],
            "voids": [list(each) for each in self.voids],
            "idleLines": list(self.idle_lines),
            "covers": [[node, list(lines)] for node, lines in self.covers.items()],
        }
        if self.parents:
            # Left out where there is none: templates of before keep their names.
            stored["parents"] = [[node, parent] for node, parent in self.parents.items()]
        return stored

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any], release: CompiledRelease) -> Template:
        """The inverse of `to_dict`, bound to its release."""
        template = cls(
            nodes=tuple(Node.from_list(each) for each in stored["nodes"]),
            waits=tuple(tuple(each) for each in stored["waits"]),
            voids=tuple((node, ref) for node, ref in stored["voids"]),
            idle_lines=tuple(stored["idleLines"]),
            covers={node: tuple(lines) for node, lines in stored["covers"]},
            parents={node: parent for node, parent in stored.get("parents", ())},
        )
        return bound(template, release)

    @property
    def is_idle(self) -> bool:
        """Whether it does nothing but wait for what other orders deliver."""
        return all(node.ref == AWAIT_REF for node in self.nodes)

    def key_of(self, index: int, lines: Sequence[Line]) -> str:
        """The item key of a node in an order: definition, scope instance and round (the first carries no number)."""
        return key_of_node(self.nodes[index], lines)


def key_of_node(node: Node, lines: Sequence[Line]) -> str:
    """The item key of a node, see `Template.key_of`."""
    kind, value = node.instance
    key = f"{node.ref}@{lines[value].key if kind == 'line' else value}"
    return f"{key}~{node.round}" if node.round else key


def related_instance(place: int, ref: str) -> tuple[str, str]:
    """The instance of a node that stands for items of one definition in the related order at this place."""
    return "related", f"{place}:{ref}"


def related_of(node: Node) -> tuple[int, str] | None:
    """(place of the related order, ref of its item) that a node stands for; None for every other node."""
    if node.ref != AWAIT_RELATED_REF:
        return None
    place, _, ref = node.instance[1].partition(":")
    return int(place), ref


def bound(template: Template, release: CompiledRelease) -> Template:
    """The template with everything that follows from it and its release: followers, children, definitions, name."""
    followers: list[list[int]] = [[] for _ in template.nodes]
    for waiter, targets in enumerate(template.waits):
        for target in targets:
            followers[target].append(waiter)
    template.followers = tuple(tuple(each) for each in followers)
    children: dict[int, list[int]] = defaultdict(list)
    for node, parent in template.parents.items():
        children[parent].append(node)
    template.children = {parent: tuple(nodes) for parent, nodes in children.items()}
    by_ref = {item.ref: item for item in release.items}
    template.definitions = tuple(
        RESOLVE_FALLOUT if node.role == RESOLVE else by_ref.get(node.ref) for node in template.nodes
    )
    body = json.dumps([release.release_id, template.to_dict()], sort_keys=True)
    template.template_id = hashlib.blake2b(body.encode(), digest_size=12).hexdigest()
    return template


def compose(
    release: CompiledRelease, lines: Sequence[Line], context: Mapping[str, Any], relations: tuple[int, ...] = ()
) -> Template:
    """The template for these lines, from the release's memory when an order of the same shape came before.

    Args:
        release: that says what delivers them.
        lines: of the order.
        context: what conditions read besides (`domain.lines.order_context`).
        relations: places of the orders that the order relates to: which those are is no part of its shape.
    Raises:
        ExpressionFailed: a scenario's condition compares what cannot be compared.
    """
    chosen = [_scenarios_of(release, line, context) for line in lines]
    shape = _shape(release, lines, chosen)
    if relations:
        shape = (*shape, ("related", *relations))
    known = release.templates.get(shape)
    if known is not None:
        return known  # type: ignore[no-any-return]  # the release holds it untyped, to keep modules one-way
    template = _compose(release, lines, chosen, relations)
    while len(release.templates) >= TEMPLATES_MAX:
        del release.templates[next(iter(release.templates))]
    release.templates[shape] = template
    return template


def _scenarios_of(release: CompiledRelease, line: Line, context: Mapping[str, Any]) -> tuple[int, ...]:
    """Indices into the product's scenarios of this action of those whose condition holds; all matches compose."""
    scenarios = release.products[line.product].scenarios.get(line.action, ())
    if not scenarios:
        return ()
    reading = None
    matching = []
    for index, scenario in enumerate(scenarios):
        if scenario.sub_actions and line.sub_action not in scenario.sub_actions:
            continue
        if scenario.when is not None:
            reading = reading or line_context(context, line)
            if not scenario.when.is_true(reading):
                continue
        matching.append(index)
    return tuple(matching)


def _shape(release: CompiledRelease, lines: Sequence[Line], chosen: Sequence[tuple[int, ...]]) -> tuple[Any, ...]:
    """Everything of the order that its template depends on."""
    at = {line.key: index for index, line in enumerate(lines)}
    return tuple(
        (
            line.product,
            line.action,
            matching,
            at[line.root],
            at[line.main],
            tuple(at[source] for source in line.sources),
            line.is_alone,
            line.joins is None,
            tuple(_key_value(line, name) for name in release.key_names),
            tuple(at[other] for other in line.after),
        )
        for line, matching in zip(lines, chosen, strict=True)
    )


def _key_value(line: Line, scope_key: str | None) -> str | None:
    return key_text(line.attributes.get(scope_key or ""))


class _Places:
    """Scope instances of lines. A line that merges sources of several bundles stands in all of them."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.at = {line.key: index for index, line in enumerate(lines)}
        self.lines = lines
        self.roots: list[tuple[int, ...]] = []
        self.mains: list[tuple[int, ...]] = []
        for index, line in enumerate(lines):
            sources = [self.at[source] for source in line.sources]
            if not sources:
                self.roots.append((self.at[line.root],))
                self.mains.append((self.at[line.main],))
                continue
            # Sources stand before what they become.
            self.roots.append(tuple(sorted({root for source in sources for root in self.roots[source]})))
            above = [source for source in sources if lines[source].sources]
            is_first = len(above) < len(sources)
            self.mains.append((index,) if is_first else tuple(sorted({m for each in above for m in self.mains[each]})))

    def of_item(self, item: ItemDef, index: int) -> tuple[str, Any]:
        """The instance of an item definition that a line belongs to."""
        line = self.lines[index]
        scope = item.scope
        if scope is Scope.GLOBAL:
            return ("text", "plan")
        if scope in (Scope.ORDER, Scope.ACCOUNT):
            return ("text", "order")
        if scope is Scope.BUNDLE:
            return ("line", self.at[line.root])
        if scope is Scope.MAIN_ITEM:
            return ("line", self.at[line.main])
        if scope is Scope.KEY:
            value = _key_value(line, item.scope_key)
            if value is not None:
                return ("text", f"key:{value}")
        return ("line", index)

    def at_scope(self, scope: Scope, key: str | None, index: int) -> tuple[Any, ...]:
        """What two lines must have one of in common to share a scope; `key` is the attribute of scope `key`."""
        if scope is Scope.ITEM:
            return (index,)
        if scope is Scope.MAIN_ITEM:
            return self.mains[index]
        if scope is Scope.BUNDLE and not self.lines[index].is_alone:
            return self.roots[index]
        if scope is Scope.KEY:
            value = _key_value(self.lines[index], key)
            return (index,) if value is None else (value,)
        # A line without a root has no bundle: the order stands in for it (and for the wider scopes).
        return (_ORDER,)

    def covered(self, item: ItemDef, members: Sequence[int]) -> tuple[int, ...]:
        """The lines that an assetize item delivers: all of its scope instance, and what they alone became."""
        if item.scope in (Scope.GLOBAL, Scope.ORDER, Scope.ACCOUNT):
            return tuple(range(len(self.lines)))
        covered = set(members)
        if item.scope in (Scope.BUNDLE, Scope.MAIN_ITEM):
            places = self.roots if item.scope is Scope.BUNDLE else self.mains
            mine = {each for member in members for each in places[member]}
            covered.update(index for index, each in enumerate(places) if not mine.isdisjoint(each))
        for index, line in enumerate(self.lines):
            if line.sources and covered.issuperset(self.at[source] for source in line.sources):
                covered.add(index)
        return tuple(sorted(covered))


_ORDER = "order"


def _compose(
    release: CompiledRelease,
    lines: Sequence[Line],
    chosen: Sequence[tuple[int, ...]],
    relations: tuple[int, ...],
) -> Template:
    places = _Places(lines)
    found: dict[tuple[int, tuple[str, Any]], list[int]] = {}
    for index, (line, matching) in enumerate(zip(lines, chosen, strict=True)):
        scenarios = release.products[line.product].scenarios.get(line.action, ())
        # Two scenarios that both match both compose, but a plan definition at most once per scope instance.
        definitions = dict.fromkeys(item for at in matching for item in scenarios[at].items)
        for item in definitions:
            instance = places.of_item(release.items[item], index)
            found.setdefault((item, instance), []).append(index)
    parent_of = _expand_sub_plans(release, found)
    at_of = {key: at for at, key in enumerate(found)}
    parents = {at_of[child]: at_of[parent] for child, parent in parent_of.items()}
    nodes = [Node(release.items[item].ref, instance, tuple(members)) for (item, instance), members in found.items()]
    definition_of = {release.items[item].ref: release.items[item] for item, _ in found}
    by_item: dict[int, list[int]] = defaultdict(list)
    for at, (item, _) in enumerate(found):
        by_item[item].append(at)
    awaits: dict[int, int] = {}
    for index, line in enumerate(lines):
        if line.joins is not None:
            awaits[index] = len(nodes)
            nodes.append(Node(AWAIT_REF, ("line", index), (index,)))
    covers = {
        at: places.covered(definition, node.lines)
        for at, node in enumerate(nodes)
        if node.ref != AWAIT_REF and (definition := definition_of[node.ref]).source.task == ASSETIZE
    }
    waits, voids = _Resolver(release, lines, places, nodes, by_item, awaits).resolve()
    if awaits:
        # Nothing is done to a shared instance, and nobody calls it an asset, before the other order delivers it.
        for at, node in enumerate(nodes):
            touched = (*node.lines, *covers.get(at, ()))
            waits[at].update(awaits[index] for index in touched if index in awaits and awaits[index] != at)
    if any(line.after for line in lines):
        _put_in_order(lines, nodes, waits, parents)
    _await_related(release, by_item, relations, nodes, waits, voids)
    template = Template(
        nodes=tuple(nodes),
        waits=tuple(tuple(sorted(each)) for each in waits),
        voids=tuple(sorted(voids)),
        idle_lines=tuple(index for index, matching in enumerate(chosen) if not matching),
        covers=covers,
        parents=parents,
    )
    return bound(template, release)


def circle_in(
    waits: Sequence[Iterable[int]], parents: Mapping[int, int], is_open: Callable[[int], bool] = lambda _: True
) -> list[int]:
    """Nodes that wait for one another in a circle, or an empty list.

    A sub-plan item ends with its own items, and they begin when it does.

    Args:
        waits: by node, those that it waits for.
        parents: node -> the sub-plan item that it belongs to.
        is_open: nodes that are not done; the others hold up nobody.
    """
    edges = {
        node: {target for target in targets if is_open(target)} for node, targets in enumerate(waits) if is_open(node)
    }
    above = {parent: set(edges[parent]) for parent in set(parents.values()) if parent in edges}
    for node, parent in parents.items():
        if node in edges and parent in edges:
            edges[parent].add(node)
            at: int | None = parent
            while at is not None:
                edges[node] |= above.get(at, set())
                at = parents.get(at)
    return find_cycle({node: sorted(targets) for node, targets in edges.items()})


def _put_in_order(
    lines: Sequence[Line], nodes: Sequence[Node], waits: list[set[int]], parents: Mapping[int, int]
) -> None:
    """Have the work of lines wait for that of the lines they come after; for removals the other way about.

    Work that is done for both together is none of the two. Source: REFERENCE f, the relation map.

    Raises:
        BadDocument: items would wait for one another in a circle, or the relations make very many of them wait.
    """
    action_of = {line.key: line.action for line in lines}
    work_of: dict[str, set[int]] = defaultdict(set)
    """Order line -> the nodes that work for it, or for what it has become."""
    for at, node in enumerate(nodes):
        for index in node.lines:
            for order_line in lines[index].order_lines:
                work_of[order_line].add(at)
    added = 0
    for line in lines:
        for other in line.after:
            removals = [action_of[each] == Action.DELETE for each in (line.key, other)]
            if removals[0] != removals[1]:
                continue
            first, second = (line.key, other) if removals[0] else (other, line.key)
            before, behind = work_of[first] - work_of[second], work_of[second] - work_of[first]
            ends = before - {target for at in before for target in waits[at]}
            for at in behind:
                # What waits for other work of its line comes after it anyway; an await is no work.
                if waits[at].isdisjoint(behind) and nodes[at].ref != AWAIT_REF:
                    waits[at] |= ends
                    added += len(ends)
            if added > RELATION_WAITS_MAX:
                raise BadDocument(
                    f"the order's relations say of more than {RELATION_WAITS_MAX} pairs of items who goes first",
                    path="productOrderItem",
                    mend="leave out relations that follow from others",
                )
    if circle := circle_in(waits, parents):
        named = " -> ".join(key_of_node(nodes[at], lines) for at in circle)
        raise BadDocument(
            f"with the order's relations, items would wait for one another in a circle: {named}",
            path="productOrderItem",
            mend="leave out one of the relations that say who goes first",
        )


def _await_related(
    release: CompiledRelease,
    by_item: Mapping[int, list[int]],
    relations: tuple[int, ...],
    nodes: list[Node],
    waits: list[set[int]],
    voids: list[tuple[int, str]],
) -> None:
    """Have nodes wait for items of related orders: by one more node for each order and item definition there.

    It works for no line: what it stands for is another order's.
    """
    known: dict[tuple[int, str], int] = {}
    for item, members in by_item.items():
        for ref in release.items[item].waits_for_related:
            if not relations:
                voids.extend((at, ref) for at in members)
            for place in relations:
                if (place, ref) not in known:
                    known[place, ref] = len(nodes)
                    nodes.append(Node(AWAIT_RELATED_REF, related_instance(place, ref), ()))
                    waits.append(set())
                for at in members:
                    waits[at].add(known[place, ref])


_ItemAt: TypeAlias = tuple[int, tuple[str, Any]]
"""An item definition and its scope instance."""


def _expand_sub_plans(release: CompiledRelease, found: dict[_ItemAt, list[int]]) -> dict[_ItemAt, _ItemAt]:
    """Add the items that sub-plan items stand for, with the instance and the lines of those; child -> parent."""
    parent_of: dict[_ItemAt, _ItemAt] = {}
    waiting = list(found)
    for parent in waiting:
        for item in release.items[parent[0]].sub_items:
            child = (item, parent[1])
            found[child] = found[parent]
            parent_of[child] = parent
            waiting.append(child)
    return parent_of


class _Resolver:
    """Turns dependency definitions into edges between nodes."""

    def __init__(
        self,
        release: CompiledRelease,
        lines: Sequence[Line],
        places: _Places,
        nodes: list[Node],
        by_item: Mapping[int, list[int]],
        awaits: Mapping[int, int],
    ) -> None:
        self._release = release
        self._lines = lines
        self._places = places
        self._nodes = nodes
        self._by_item = by_item
        self._awaits = awaits
        self._index: dict[tuple[int, Scope, str | None], dict[Any, list[int]]] = {}

    def resolve(self) -> tuple[list[set[int]], list[tuple[int, str]]]:
        """(nodes that each node waits for, void dependencies of each node)."""
        waits: list[set[int]] = [set() for _ in self._nodes]
        voids: list[tuple[int, str]] = []
        for item, members in self._by_item.items():
            definition = self._release.items[item]
            for edge in definition.waits_for:
                target = self._release.items[edge.target]
                for at in members:
                    targets = self._partners(edge, at, definition, target) or self._awaited(edge, at)
                    waits[at].update(targets)
                    if not targets and edge.owner == edge.waiter:
                        voids.append((at, target.ref))
            for edge in definition.precedes:
                waiter = self._release.items[edge.waiter]
                for at in members:
                    if not self._partners(edge, at, definition, waiter):
                        voids.append((at, waiter.ref))
        return waits, voids

    def _partners(self, edge: Edge, at: int, mine: ItemDef, other: ItemDef) -> Sequence[int]:
        """Nodes of the other definition that share the edge's scope with node `at`, which is one of `mine`."""
        if other.index not in self._by_item:
            return ()
        for scope in _rungs(mine, other) if edge.scope is None else (edge.scope,):
            my_key, other_key = mine.scope_key or other.scope_key, other.scope_key or mine.scope_key
            index = self._nodes_at(other.index, scope, other_key)
            shared = {place for line in self._nodes[at].lines for place in self._places.at_scope(scope, my_key, line)}
            if scope is Scope.BUNDLE and _ORDER in shared:
                # Absent root: the whole order.
                return self._by_item[other.index]
            partners = {node for place in shared for node in index.get(place, ())}
            if partners:
                return sorted(partners)
        return ()

    def _nodes_at(self, item: int, scope: Scope, key: str | None) -> Mapping[Any, Sequence[int]]:
        known = self._index.get((item, scope, key))
        if known is None:
            known = {}
            for node in self._by_item[item]:
                lines = self._nodes[node].lines
                for place in {place for line in lines for place in self._places.at_scope(scope, key, line)}:
                    known.setdefault(place, []).append(node)
            self._index[item, scope, key] = known
        return known

    def _awaited(self, edge: Edge, at: int) -> Sequence[int]:
        """Await nodes of joined lines on which the target would stand, had another order not been first."""
        if not self._awaits:
            return ()
        target = self._release.items[edge.target]
        scope = edge.scope or Scope.ORDER
        key = self._release.items[edge.waiter].scope_key or target.scope_key
        shared = {place for line in self._nodes[at].lines for place in self._places.at_scope(scope, key, line)}
        awaited = []
        for line, node in self._awaits.items():
            scenarios = self._release.products[self._lines[line].product].scenarios
            composes = any(scenario.plan == target.plan for each in scenarios.values() for scenario in each)
            places = self._places.at_scope(scope, target.scope_key or key, line)
            if composes and (_ORDER in shared or not shared.isdisjoint(places)):
                awaited.append(node)
        return awaited


def _rungs(mine: ItemDef, other: ItemDef) -> Sequence[Scope]:
    """The scopes that two items may share, from narrow to wide, for a dependency that names none.

    It starts at the wider one of their own scopes: what there is once for an order waits for all of the order.
    """
    rungs = _LADDER[max(_WIDTH.get(mine.scope, len(_LADDER) - 1), _WIDTH.get(other.scope, len(_LADDER) - 1)) :]
    if rungs[0] is Scope.ITEM and Scope.KEY in (mine.scope, other.scope):
        return (Scope.KEY, *rungs[1:])
    return rungs
