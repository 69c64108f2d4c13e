"""From order lines to fulfilment lines: what has to be done to what, compared with what the account (will) have.

Order lines become lines as they are; decomposition rules add technical lines below them. All sources of one target
product inside one scope instance merge into one line. The action of a technical line is not copied from the order: it
is the difference between what is wanted and what is there.

Line keys name the target product and the scope instance, whose own key holds the chain of sources down to the order
line (`RFS@CFS@4`): the same order always gives the same keys, whatever the order of its lines.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.catalogue import Action, Scope
from domain.errors import InventoryConflict
from domain.expressions import ABSENT
from domain.ids import asset_id_of
from domain.inventory import (
    ACCOUNT_INSTANCE,
    BUNDLE_INSTANCE,
    SUSPENDED,
    Asset,
    Projection,
    quantity_of,
)
from domain.lines import Line, line_context, order_context
from domain.orders import Order
from domain.price_calls import NO_ANSWERS, Answers, PriceCalls
from domain.pricing import with_texts
from domain.release import CompiledMapping, CompiledRelease, ProductDef, Rule
from domain.resolve import Resolved, defaults_of
from domain.sealing import Protector, classify, is_sealed, key_text, same_value


@dataclass(slots=True)
class _Group:
    """All sources of one target product inside one scope instance, and the installed instance that they mean.

    `instance` is what the asset remembers of its scope instance. A source without a rule has stopped feeding it.
    """

    product: ProductDef
    instance: str
    sources: list[tuple[Line, Rule | None]] = field(default_factory=list)
    asset: Asset | None = None
    joins: str | None = None
    awaits: str = ""


def decompose(
    order: Order,
    release: CompiledRelease,
    resolved: Resolved,
    projection: Projection,
    protector: Protector,
    answers: Answers = NO_ANSWERS,
) -> list[Line]:
    """The order lines, followed by the technical lines that the release's rules derive from them.

    Raises:
        FunctionsWanted: `answers` lacks calls of price functions that have to be made first.
        PriceFunctionFailed: a function gave no values.
        InventoryConflict: the order says itself what becomes of an instance that its other lines decide about.
        ExpressionFailed: a condition or mapping compares what cannot be compared.
    """
    derivation = _Derivation(order, release, projection, protector, PriceCalls(answers))
    return derivation.run(resolved.lines)


class _Derivation:
    """One order on its way down the rules, rank by rank: when a product's turn comes, all its sources are known.

    Which installed instance a group means: what its sources use already. A shared instance keeps its identity when only
    some of those who share it are in the order, and two that exist are never merged; a source that used one and now
    feeds another leaves the first.
    """

    def __init__(
        self,
        order: Order,
        release: CompiledRelease,
        projection: Projection,
        protector: Protector,
        functions: PriceCalls,
    ) -> None:
        self.order = order
        self.release = release
        self.projection = projection
        self.protector = protector
        self.functions = functions
        self.context = order_context(order)
        self.groups: dict[int, dict[str, _Group]] = {}
        """Rank -> line key -> who feeds it."""
        self.users: dict[int, dict[str, list[Line]]] = {}
        """Rank -> installed instance -> lines that have used it so far."""
        self.claimed: set[str] = set()
        self.lines: dict[str, Line] = {}

    def run(self, order_lines: list[Line]) -> list[Line]:
        self.lines = {line.key: line for line in order_lines}
        said = {line.asset_id: line.key for line in order_lines if line.is_asset}
        for line in order_lines:
            self._collect(line)
        while self.groups or self.users:
            rank = min((*self.groups, *self.users))
            groups = self._with_assets(self.groups.pop(rank, {}), self.users.pop(rank, {}))
            made = [(key, self._derive(key, groups[key])) for key in sorted(groups)]
            # Before anything goes by what these lines have got.
            self.functions.raise_if_wanted()
            for key, derived in made:
                if derived.asset_id in said:
                    raise InventoryConflict(
                        f"item {said[derived.asset_id]!r} is about product {derived.asset_id!r}, "
                        f"of which other items of the order decide ({', '.join(derived.order_lines)})",
                        mend="leave it out: it follows from what it serves",
                    )
                self.lines[key] = derived
                for source in derived.sources:
                    self.lines[source].is_alone = False
                self._collect(derived)
        return list(self.lines.values())

    def _collect(self, line: Line) -> None:
        """Note what one line feeds, and which installed instances it has fed before."""
        product = self.release.products[line.product]
        is_gone = line.action == Action.DELETE
        if not product.rules and not is_gone:
            return
        reading = None
        for rule in () if is_gone else product.rules:
            if rule.when is not None:
                reading = reading or line_context(self.context, line)
                if not rule.when.is_true(reading):
                    continue
            target = self.release.products[rule.target]
            name, instance = _instance(self.order, target, line)
            groups = self.groups.setdefault(target.rank, {})
            groups.setdefault(f"{target.code}@{name}", _Group(target, instance)).sources.append((line, rule))
        ruled = {rule.target for rule in product.rules}
        for asset in self.projection.using(line.asset_id):
            used = self.release.products.get(asset.product)
            # What no rule of this release leads to is left alone as long as its source stays.
            if used is not None and (is_gone or used.code in ruled):
                # Order lines are all known before the first rank is looked at, derived ones are not.
                rank = max(used.rank, product.rank + 1) if line.sources else used.rank
                self.users.setdefault(rank, {}).setdefault(asset.asset_id, []).append(line)

    def _with_assets(self, groups: dict[str, _Group], users: dict[str, list[Line]]) -> dict[str, _Group]:
        """The groups with their installed instances, and a group for each instance that nobody feeds any more."""
        found: dict[str, _Group] = {}
        by_asset: dict[str, _Group] = {}
        for key in sorted(groups):
            for part_key, group in self._split(key, groups[key]):
                found[part_key] = group
                if group.asset is not None:
                    by_asset[group.asset.asset_id] = group
                    self.claimed.add(group.asset.asset_id)
        for asset_id in sorted(users):
            lines = users[asset_id]
            lost = by_asset.get(asset_id)
            if lost is None:
                if asset_id in self.claimed:
                    continue
                lost = self._lost(self.projection.assets[asset_id])
                key = self._key_of_lost(lost, lines)
                found[f"{lost.product.code}@{asset_id}" if key in found or key in self.lines else key] = lost
                self.claimed.add(asset_id)
            feeding = {line.key for line, _ in lost.sources}
            lost.sources.extend((line, None) for line in lines if line.key not in feeding)
        return found

    def _lost(self, asset: Asset) -> _Group:
        product = self.release.products[asset.product]
        return _Group(product, asset.instance, asset=asset, joins=self.projection.pending_on(asset.asset_id))

    def _key_of_lost(self, group: _Group, lines: list[Line]) -> str:
        if group.instance.startswith(_KEY_PREFIX):
            return f"{group.product.code}@{group.instance}"
        first = min(lines, key=lambda line: line.key)
        return f"{group.product.code}@{_instance(self.order, group.product, first)[0]}"

    def _split(self, key: str, group: _Group) -> list[tuple[str, _Group]]:
        """The group with the instance that its sources use; one group each where they use several."""
        code = group.product.code
        if group.instance == ACCOUNT_INSTANCE:
            shared_id = self.projection.shared_id(code)
            if shared_id is not None:
                group.asset = self.projection.assets.get(shared_id)
                group.joins = self.projection.pending_on(shared_id)
                group.awaits = shared_id if group.joins and group.asset is None else ""
            return [(key, group)]
        users: dict[str, list[tuple[Line, Rule | None]]] = {}
        fresh: list[tuple[Line, Rule | None]] = []
        for source in group.sources:
            for asset in self.projection.using(source[0].asset_id):
                if asset.product == code and asset.asset_id not in self.claimed and _is_of(asset, group):
                    users.setdefault(asset.asset_id, []).append(source)
                    break
            else:
                fresh.append(source)
        if group.instance == BUNDLE_INSTANCE:
            root_id = min(group.sources, key=lambda source: source[0].key)[0].root_asset_id
            shared = self.projection.of_bundle(code, root_id)
            if shared is not None and shared.asset_id not in self.claimed:
                users.setdefault(shared.asset_id, [])
        if not users:
            return [(key, group)]
        parts = []
        for index, asset_id in enumerate(sorted(users)):
            part = self._lost(self.projection.assets[asset_id])
            part.instance = group.instance
            part.sources = users[asset_id] + (fresh if index == 0 else [])
            if part.sources:
                parts.append((key if index == 0 else f"{code}@{asset_id}", part))
        return parts

    def _derive(self, key: str, group: _Group) -> Line:
        product, asset = group.product, group.asset
        sources = sorted(group.sources, key=lambda each: each[0].key)
        first = sources[0][0]
        feeding = [(line, rule) for line, rule in sources if rule is not None]
        add_uses = {line.asset_id: line.quantity for line, _ in feeding}
        drop_uses = tuple(sorted({line.asset_id for line, _ in sources} - set(add_uses)))
        before = asset.uses if asset else {}
        after = {source: n for source, n in before.items() if source not in drop_uses} | add_uses
        mapped = classify(
            self.release,
            product,
            self._mapped(feeding),
            self.protector,
            tenant=self.order.tenant,
            order_id=self.order.order_id,
            line_key=key,
            # Whether an undeclared value may stay was said where it came from.
            undeclared="keep",
        )
        previous = dict(asset.attributes) if asset else {}
        attributes = (previous if asset else defaults_of(product)) | mapped
        quantity = quantity_of(after, product.source.quantity)
        return Line(
            key=key,
            product=product.code,
            action=_action(product, asset, after, attributes, quantity, [line for line, _ in feeding]),
            asset_id=asset.asset_id if asset else asset_id_of(self.order.order_id, key),
            root_asset_id=asset.root_id if asset else first.root_asset_id,
            root=first.root,
            main=first.main if all(source.sources for source, _ in sources) else key,
            name=product.source.name or product.code,
            attributes=attributes,
            previous=previous,
            quantity=quantity,
            previous_quantity=asset.quantity if asset else 0,
            sources=tuple(dict.fromkeys(source.key for source, _ in sources)),
            order_lines=tuple(sorted({each for source, _ in sources for each in source.order_lines})),
            rules=tuple(dict.fromkeys(rule.name for _, rule in sources if rule is not None)),
            is_asset=product.source.asset,
            joins=group.joins,
            awaits=group.awaits,
            instance=group.instance,
            add_uses={source: n for source, n in add_uses.items() if before.get(source) != n},
            drop_uses=tuple(source for source in drop_uses if source in before),
            place=first.place,
            requested_start_at=first.requested_start_at,
            sub_action=min((line.sub_action for line, _ in sources if line.sub_action), default=""),
        )


    def _mapped(self, sources: list[tuple[Line, Rule]]) -> dict[str, Any]:
        """Target attributes by the rules; the lower priority number wins, then the lower rule name, then the source."""
        values: dict[str, Any] = {}
        for _, _, mapping, value in ranked_mappings(self.context, sources, self._call, values):
            values[mapping.to] = value
        return values

    def _call(self, mapping: CompiledMapping, rule: Rule, line: Line) -> Any:
        value = self.functions.value(mapping.source or "", mapping.to, rule.name, rule.target, line, self.context)
        return ABSENT if value is None else value


_KEY_PREFIX = "key:"


def _instance(order: Order, target: ProductDef, source: Line) -> tuple[str, str]:
    """(how line keys name the scope instance that a source belongs to, what its asset remembers of it)."""
    scope = target.source.scope
    if scope is Scope.ACCOUNT and order.account is not None:
        return ACCOUNT_INSTANCE, ACCOUNT_INSTANCE
    if scope in (Scope.ACCOUNT, Scope.ORDER, Scope.GLOBAL):
        return "order", ""
    if scope is Scope.BUNDLE or (scope is Scope.MAIN_ITEM and source.main == source.root):
        return source.root, BUNDLE_INSTANCE
    if scope is Scope.MAIN_ITEM:
        return source.main, ""
    if scope is Scope.KEY:
        text = key_text(source.attributes.get(target.source.scope_key or ""))
        if text is not None:
            return f"{_KEY_PREFIX}{text}", f"{_KEY_PREFIX}{text}"
    return source.key, ""


def _is_of(asset: Asset, group: _Group) -> bool:
    """Whether an instance that a source uses can be that of the group: the key may have changed, or the scope."""
    if group.product.source.scope is Scope.KEY:
        return asset.instance == group.instance
    return asset.instance != ACCOUNT_INSTANCE


def _action(
    product: ProductDef,
    asset: Asset | None,
    uses: Mapping[str, int],
    attributes: Mapping[str, Any],
    quantity: int,
    feeding: list[Line],
) -> str:
    if asset is None:
        return Action.ADD.value
    if not uses:
        return Action.DELETE.value
    differs = quantity != asset.quantity or any(
        product.is_significant(name)
        and product.is_assetizable(name)
        and not is_sealed(value)
        and not same_value(value, asset.attributes.get(name))
        for name, value in attributes.items()
    )
    if differs:
        return Action.MODIFY.value
    action_of = {line.asset_id: line.action for line in feeding}
    for action in (Action.SUSPEND, Action.MOVE):
        # A shared instance is suspended or moved only with everything that uses it.
        if all(action_of.get(source) == action for source in uses):
            return action.value
    if asset.status == SUSPENDED and Action.RESUME in action_of.values():
        return Action.RESUME.value
    if any(line.sub_action and line.action == Action.MODIFY for line in feeding):
        # Who renews changes no value, but what it consists of is renewed with it.
        return Action.MODIFY.value
    return Action.NO_CHANGE.value


def ranked_mappings(
    context: Mapping[str, Any],
    sources: Iterable[tuple[Line, Rule]],
    call: Callable[[CompiledMapping, Rule, Line], Any],
    known: Container[str] = (),
) -> Iterator[tuple[Line, Rule, CompiledMapping, Any]]:
    """(source, rule, mapping, value) of everything that gives a value, in the order in which the first one counts.

    Args:
        context: of the order.
        sources: lines, each with a rule that holds for it.
        call: what the function of a mapping says, or `ABSENT`.
        known: target attributes that have a value already; asked each time, so it may grow meanwhile.
    """
    for line, rule in sorted(sources, key=lambda each: (each[1].priority, each[1].name, each[0].key)):
        for mapping in rule.mappings:
            if mapping.to in known:
                continue
            is_call = mapping.kind == "function"
            value = call(mapping, rule, line) if is_call else _map_value(mapping, line, context)
            if value is not ABSENT:
                yield line, rule, mapping, value


def _map_value(mapping: CompiledMapping, line: Line, context: Mapping[str, Any]) -> Any:
    if mapping.kind == "static":
        return mapping.value
    if mapping.kind == "expression":
        assert mapping.expression is not None
        return with_texts(mapping.expression.evaluate(line_context(context, line)))
    value = line.attributes.get(mapping.source or "", ABSENT)
    if mapping.kind == "copy" or value is ABSENT:
        return value
    # Keys of a table are texts: `true`, `30`, `30Mbps`.
    return mapping.table.get(value if isinstance(value, str) else json.dumps(value, default=str), ABSENT)


