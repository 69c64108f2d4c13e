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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from domain.catalogue import Scope
from domain.decompose import Line, line_context
from domain.release import CompiledRelease, Edge, ItemDef
from domain.sealing import is_sealed

AWAIT_REF = "await/delivery"
"""The item that stands for the delivery of a shared instance by another order."""
_LADDER = (Scope.ITEM, Scope.MAIN_ITEM, Scope.BUNDLE, Scope.ORDER)
"""Scopes from narrow to wide, for dependencies that name none."""


@dataclass(frozen=True, slots=True)
class Node:
    """One item of a template. `lines` are places in the order's line list; `instance` is (kind, value)."""

    ref: str
    instance: tuple[str, Any]
    lines: tuple[int, ...]


@dataclass(slots=True)
class Template:
    """A composed plan without the order: nodes, who waits for whom, and which dependencies are void.

    `waits[i]` are the nodes that node i waits for, `followers` the inverse. `voids` are (node, ref of the absent item).
    `idle_lines` are lines that match no scenario.
    """

    nodes: tuple[Node, ...]
    waits: tuple[tuple[int, ...], ...]
    voids: tuple[tuple[int, str], ...]
    idle_lines: tuple[int, ...]
    template_id: str = ""
    followers: tuple[tuple[int, ...], ...] = ()
    definitions: tuple[ItemDef | None, ...] = field(default=(), compare=False)
    """The item definition of each node (None for an await item), bound by `bind`."""

    def to_dict(self) -> dict[str, Any]:
        """The stored form."""
        return {
            "nodes": [[node.ref, list(node.instance), list(node.lines)] for node in self.nodes],
            "waits": [list(each) for each in self.waits],
            "voids": [list(each) for each in self.voids],
            "idleLines": list(self.idle_lines),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any], release: CompiledRelease) -> Template:
        """The inverse of `to_dict`, bound to its release."""
        template = cls(
            nodes=tuple(Node(ref, (kind, value), tuple(lines)) for ref, (kind, value), lines in stored["nodes"]),
            waits=tuple(tuple(each) for each in stored["waits"]),
            voids=tuple((node, ref) for node, ref in stored["voids"]),
            idle_lines=tuple(stored["idleLines"]),
        )
        return _finish(template, release)

    def key_of(self, index: int, lines: Sequence[Line]) -> str:
        """The item key of a node in an order: definition and scope instance (the first round carries no number)."""
        node = self.nodes[index]
        kind, value = node.instance
        return f"{node.ref}@{lines[value].key if kind == 'line' else value}"


def _finish(template: Template, release: CompiledRelease) -> Template:
    followers: list[list[int]] = [[] for _ in template.nodes]
    for waiter, targets in enumerate(template.waits):
        for target in targets:
            followers[target].append(waiter)
    template.followers = tuple(tuple(each) for each in followers)
    by_ref = {item.ref: item for item in release.items}
    template.definitions = tuple(by_ref.get(node.ref) for node in template.nodes)
    body = json.dumps([release.release_id, template.to_dict()], sort_keys=True)
    template.template_id = hashlib.blake2b(body.encode(), digest_size=12).hexdigest()
    return template


def compose(release: CompiledRelease, lines: Sequence[Line], context: Mapping[str, Any]) -> Template:
    """The template for these lines, from the release's memory when an order of the same shape came before.

    Raises:
        ExpressionFailed: a scenario's condition compares what cannot be compared.
    """
    chosen = [_scenarios_of(release, line, context) for line in lines]
    shape = _shape(release, lines, chosen)
    known = release.templates.get(shape)
    if known is not None:
        return known  # type: ignore[no-any-return]  # the release holds it untyped, to keep modules one-way
    template = _compose(release, lines, chosen)
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
        if scenario.when is not None:
            reading = reading or line_context(context, line)
            if not scenario.when.is_true(reading):
                continue
        matching.append(index)
    return tuple(matching)


def _shape(release: CompiledRelease, lines: Sequence[Line], chosen: Sequence[tuple[int, ...]]) -> tuple[Any, ...]:
    at = {line.key: index for index, line in enumerate(lines)}
    shape = []
    for line, matching in zip(lines, chosen, strict=True):
        scenarios = release.products[line.product].scenarios.get(line.action, ())
        keys = tuple(
            _key_value(line, release.items[item].scope_key)
            for index in matching
            for item in scenarios[index].items
            if release.items[item].scope is Scope.KEY
        )
        shape.append(
            (line.product, line.action, matching, at[line.root], at[line.main], line.is_alone, line.joins is None, keys)
        )
    return tuple(shape)


def _key_value(line: Line, scope_key: str | None) -> str | None:
    value = line.attributes.get(scope_key or "")
    return None if value is None or is_sealed(value) else str(value)


class _Places:
    """Scope instances of lines."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.at = {line.key: index for index, line in enumerate(lines)}
        self.lines = lines

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

    def at_scope(self, scope: Scope, index: int) -> Any:
        """What two lines must have in common to share a scope."""
        line = self.lines[index]
        if scope is Scope.ITEM:
            return index
        if scope is Scope.MAIN_ITEM:
            return self.at[line.main]
        if scope is Scope.BUNDLE and not line.is_alone:
            return self.at[line.root]
        # A line without a root has no bundle: the order stands in for it (and for the wider scopes).
        return "order"


def _compose(release: CompiledRelease, lines: Sequence[Line], chosen: Sequence[tuple[int, ...]]) -> Template:
    places = _Places(lines)
    found: dict[tuple[int, tuple[str, Any]], list[int]] = {}
    for index, (line, matching) in enumerate(zip(lines, chosen, strict=True)):
        scenarios = release.products[line.product].scenarios.get(line.action, ())
        # Two scenarios that both match both compose, but a plan definition at most once per scope instance.
        definitions = dict.fromkeys(item for at in matching for item in scenarios[at].items)
        for item in definitions:
            instance = places.of_item(release.items[item], index)
            members = found.setdefault((item, instance), [])
            if index not in members:
                members.append(index)
    nodes = [Node(release.items[item].ref, instance, tuple(members)) for (item, instance), members in found.items()]
    by_item: dict[int, list[int]] = defaultdict(list)
    for at, (item, _) in enumerate(found):
        by_item[item].append(at)
    awaits = {}
    for index, line in enumerate(lines):
        if line.joins is not None:
            awaits[index] = len(nodes)
            nodes.append(Node(AWAIT_REF, ("line", index), (index,)))
    resolver = _Resolver(release, lines, places, nodes, by_item, awaits)
    waits, voids = resolver.resolve()
    for index, await_node in awaits.items():
        for at, node in enumerate(nodes):
            if at != await_node and index in node.lines:
                waits[at].add(await_node)
    idle = tuple(index for index, matching in enumerate(chosen) if not matching)
    template = Template(
        nodes=tuple(nodes), waits=tuple(tuple(sorted(each)) for each in waits), voids=tuple(voids), idle_lines=idle
    )
    return _finish(template, release)


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
        self._index: dict[tuple[int, Scope], dict[Any, list[int]]] = {}

    def resolve(self) -> tuple[list[set[int]], list[tuple[int, str]]]:
        """(nodes that each node waits for, void dependencies of each node)."""
        waits: list[set[int]] = [set() for _ in self._nodes]
        voids: list[tuple[int, str]] = []
        for item, members in self._by_item.items():
            definition = self._release.items[item]
            for edge in definition.waits_for:
                for at in members:
                    targets = self._partners(edge, at, edge.target)
                    waits[at].update(targets or self._awaited(edge, at))
                    if not targets and edge.owner == edge.waiter and not self._awaited(edge, at):
                        voids.append((at, self._release.items[edge.target].ref))
            for edge in definition.precedes:
                for at in members:
                    if not self._partners(edge, at, edge.waiter):
                        voids.append((at, self._release.items[edge.waiter].ref))
        return waits, sorted(voids)

    def _partners(self, edge: Edge, at: int, other: int) -> list[int]:
        """Nodes of the other definition that share the edge's scope with node `at`."""
        if other not in self._by_item:
            return []
        scopes: Iterable[Scope] = (edge.scope,) if edge.scope is not None else _LADDER
        for scope in scopes:
            index = self._nodes_at(other, scope)
            shared = {self._places.at_scope(scope, line) for line in self._nodes[at].lines}
            if scope is Scope.BUNDLE and "order" in shared:
                # Absent root: the whole order.
                return list(self._by_item[other])
            partners = sorted({node for each in shared for node in index.get(each, ())})
            if partners:
                return partners
        return []

    def _nodes_at(self, item: int, scope: Scope) -> dict[Any, list[int]]:
        known = self._index.get((item, scope))
        if known is None:
            known = defaultdict(list)
            for node in self._by_item[item]:
                for each in {self._places.at_scope(scope, line) for line in self._nodes[node].lines}:
                    known[each].append(node)
            self._index[item, scope] = known
        return known

    def _awaited(self, edge: Edge, at: int) -> list[int]:
        """Await nodes of joined lines on which the target would stand, had another order not been first."""
        if not self._awaits:
            return []
        plan = self._release.items[edge.target].plan
        scope = edge.scope or Scope.ORDER
        shared = {self._places.at_scope(scope, line) for line in self._nodes[at].lines}
        awaited = []
        for line, node in self._awaits.items():
            scenarios = self._release.products[self._lines[line].product].scenarios
            composes = any(scenario.plan == plan for each in scenarios.values() for scenario in each)
            if composes and ("order" in shared or self._places.at_scope(scope, line) in shared):
                awaited.append(node)
        return awaited
