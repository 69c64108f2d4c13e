"""From order lines to fulfilment lines: what has to be done to what, compared with what the account (will) have.

Order lines become lines as they are; decomposition rules add technical lines below them. All sources of one target
product inside one scope instance merge into one line. The action of a technical line is not copied from the order: it
is the difference between what is wanted and what is there.

Line keys name the target product and the scope instance, whose own key holds the chain of sources down to the order
line (`RFS@CFS@4`): the same order always gives the same keys, whatever the order of its lines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.catalogue import Action, Scope
from domain.errors import BadDocument, InventoryConflict, UnknownProduct
from domain.expressions import ABSENT
from domain.ids import asset_id_of
from domain.inventory import (
    ACCOUNT_INSTANCE,
    ACTIVE,
    BUNDLE_INSTANCE,
    SUSPENDED,
    Asset,
    AssetDelta,
    Projection,
    quantity_of,
)
from domain.orders import Order, OrderLine, Tree, bundle_tree
from domain.release import CompiledMapping, CompiledRelease, ProductDef, Rule
from domain.sealing import Protector, classify, is_sealed, key_text, same_value


@dataclass(slots=True)
class Line:
    """A fulfilment line: an order line, or a technical line that rules derived from others.

    `sources` are the keys of the lines it came from (its lineage), `order_lines` the ids of the order lines at the
    bottom of that lineage. `root` is the key of its bundle's root order line, `main` of its main item. `previous` holds
    the installed values. `joins` names the open order that has yet to deliver this instance, or (then `awaits` is its
    asset) to remove the one that this one takes the place of.
    """

    key: str
    product: str
    action: str
    asset_id: str
    root_asset_id: str
    root: str
    main: str
    name: str = ""
    offering: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    previous: dict[str, Any] = field(default_factory=dict)
    quantity: int = 1
    previous_quantity: int = 0
    sources: tuple[str, ...] = ()
    order_lines: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    is_alone: bool = False
    is_asset: bool = True
    joins: str | None = None
    awaits: str = ""
    instance: str = ""
    add_uses: dict[str, int] = field(default_factory=dict)
    drop_uses: tuple[str, ...] = ()
    relations: tuple[tuple[str, str], ...] = ()
    place: dict[str, Any] = field(default_factory=dict)
    requested_start_at: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The stored form, only what is not default."""
        stored: dict[str, Any] = {}
        for name, key, default in _LINE_FIELDS:
            value = getattr(self, name)
            if value != default:
                stored[key] = list(value) if isinstance(value, tuple) else value
        return stored

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Line:
        """The inverse of `to_dict`."""
        line = cls(key="", product="", action="", asset_id="", root_asset_id="", root="", main="")
        for name, key, default in _LINE_FIELDS:
            value = stored.get(key, default)
            if isinstance(default, tuple):
                value = tuple(tuple(each) if isinstance(each, list) else each for each in value)
            elif isinstance(default, dict):
                value = dict(value)
            setattr(line, name, value)
        return line


_LINE_FIELDS: tuple[tuple[str, str, Any], ...] = (
    ("key", "key", ""),
    ("product", "product", ""),
    ("action", "action", ""),
    ("asset_id", "assetId", ""),
    ("root_asset_id", "rootAssetId", ""),
    ("root", "root", ""),
    ("main", "main", ""),
    ("name", "name", ""),
    ("offering", "offering", None),
    ("attributes", "attributes", {}),
    ("previous", "previous", {}),
    ("quantity", "quantity", 1),
    ("previous_quantity", "previousQuantity", 0),
    ("sources", "sources", ()),
    ("order_lines", "orderLines", ()),
    ("rules", "rules", ()),
    ("is_alone", "alone", False),
    ("is_asset", "asset", True),
    ("joins", "joins", None),
    ("awaits", "awaits", ""),
    ("instance", "instance", ""),
    ("add_uses", "addUses", {}),
    ("drop_uses", "dropUses", ()),
    ("relations", "relations", ()),
    ("place", "place", {}),
    ("requested_start_at", "requestedStartAt", None),
)


def product_of(release: CompiledRelease, line: OrderLine) -> ProductDef | None:
    """The product that an order line names: its specification, else its offering; None when it names only an asset.

    Raises:
        UnknownProduct: the release has neither.
    """
    if line.specification is not None and line.specification in release.by_specification:
        return release.products[release.by_specification[line.specification]]
    if line.offering is not None and line.offering in release.by_offering:
        return release.products[release.by_offering[line.offering]]
    named = line.specification or line.offering
    if named is None:
        return None
    where = "product.productSpecification.id" if line.specification else "productOffering.id"
    raise UnknownProduct(
        f"the release {release.release_id} has no product {named!r}",
        path=f"{line.path}.{where}",
        mend="order a product of the published release, or publish one that has it",
    )


def order_context(order: Order) -> dict[str, Any]:
    """What conditions read of the order itself: roots `order` and `account`."""
    return {
        "order": {
            "id": order.order_id,
            "externalId": order.external_id,
            "channel": order.channel,
            "priority": order.priority,
            "description": order.description,
            "dueAt": order.due_at,
            "requestedStartAt": order.requested_start_at,
        },
        "account": {"id": order.account, **order.account_facts},
    }


def line_context(context: Mapping[str, Any], line: Line) -> dict[str, Any]:
    """The order's context plus the roots that belong to one line."""
    return {
        **context,
        "attributes": line.attributes,
        "previous": line.previous,
        "line": {
            "id": line.key,
            "action": line.action,
            "product": line.product,
            "offering": line.offering,
            "name": line.name,
            "quantity": line.quantity,
            "requestedStartAt": line.requested_start_at,
        },
        "place": line.place,
    }


@dataclass(slots=True)
class Resolved:
    """The order lines against the inventory, before decomposition."""

    lines: list[Line]
    roots: frozenset[str]
    """Root assets that the order holds while it is open."""


def resolve_lines(order: Order, release: CompiledRelease, projection: Projection) -> Resolved:
    """Find product, asset and place in the tree of each order line.

    Raises:
        UnknownProduct, BadDocument: the line names nothing that exists.
        InventoryConflict: the action contradicts the projected inventory, more than one asset fits, or two lines are
            about the same one.
    """
    tree = bundle_tree(order.lines)
    lines: dict[str, Line] = {}
    line_of_asset: dict[str, str] = {}
    for each in order.lines:
        product = product_of(release, each)
        asset = _asset_of(each, product, projection)
        if product is None:
            product = _installed_product(release, each, asset)
        line = lines[each.line_id] = _order_line(order, each, product, asset, tree)
        if line.is_asset:
            other = line_of_asset.setdefault(line.asset_id, line.key)
            if other != line.key:
                raise InventoryConflict(
                    f"items {other!r} and {line.key!r} are about the same product {line.asset_id!r}",
                    path=each.path,
                    mend="say in one item what becomes of a product",
                )
    _place_roots(lines, tree)
    roots = frozenset(line.root_asset_id for line in lines.values() if line.is_asset)
    return Resolved(list(lines.values()), roots)


def named_product(release: CompiledRelease, line: OrderLine, projection: Projection) -> ProductDef | None:
    """The product of an order line, by what it names or else by what is installed; None where that is unknown.

    Raises:
        UnknownProduct: the line names a specification or offering that the release does not have.
    """
    product = product_of(release, line)
    if product is None and line.product_id in projection.assets:
        product = release.products.get(projection.assets[line.product_id].product)
    return product


def _installed_product(release: CompiledRelease, line: OrderLine, asset: Asset | None) -> ProductDef:
    assert asset is not None, "a line without product and asset is refused before"
    product = release.products.get(asset.product)
    if product is None:
        raise UnknownProduct(
            f"product {line.product_id!r} is a {asset.product!r}, which release {release.release_id} does not have",
            path=f"{line.path}.product.id",
            mend="publish a release that still has it",
        )
    return product


def _asset_of(line: OrderLine, product: ProductDef | None, projection: Projection) -> Asset | None:
    if line.action == Action.ADD:
        if line.product_id is not None and line.product_id in projection.assets:
            raise InventoryConflict(
                f"product {line.product_id!r} is already installed (or being installed), so it cannot be added",
                path=f"{line.path}.product.id",
                mend="use action modify, or leave the id out",
            )
        if product is None:
            raise BadDocument(
                "an added item names neither a specification nor an offering",
                path=line.path,
                mend="give product.productSpecification.id or productOffering.id",
            )
        return None
    if line.product_id is not None:
        asset = projection.assets.get(line.product_id)
        if asset is None:
            raise InventoryConflict(
                f"the account has no installed product {line.product_id!r} to {line.action}",
                path=f"{line.path}.product.id",
                mend="name a product of the account's inventory",
            )
        if product is not None and product.source.asset and asset.product != product.code:
            raise InventoryConflict(
                f"product {line.product_id!r} is a {asset.product!r}, not a {product.code!r}",
                path=f"{line.path}.product.id",
            )
        return asset
    if product is None:
        raise BadDocument(
            "the item names no specification, no offering and no product",
            path=line.path,
            mend="name the installed product by product.id",
        )
    if not product.source.asset:
        return None
    fitting = [asset for asset in projection.of_product(product.code) if _has_key_of(line, product, asset)]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise InventoryConflict(
            f"the account has no {product.code!r} to {line.action}",
            path=f"{line.path}.product",
            mend="name the installed product by product.id, or add it first",
        )
    raise InventoryConflict(
        f"{len(fitting)} installed products are a {product.code!r}",
        path=f"{line.path}.product",
        mend="name one of them by product.id",
        candidates=[asset.asset_id for asset in fitting[:20]],
    )


def _has_key_of(line: OrderLine, product: ProductDef, asset: Asset) -> bool:
    """Whether the asset has the scope key that the line gives, if it gives one."""
    wanted = line.attributes.get(product.source.scope_key or "")
    return wanted is None or same_value(asset.attributes.get(product.source.scope_key or ""), wanted)


_QUANTITY_CHANGES = frozenset({Action.ADD.value, Action.MODIFY.value})


def _order_line(order: Order, line: OrderLine, product: ProductDef, asset: Asset | None, tree: Tree) -> Line:
    installed = asset.attributes if asset else {}
    if line.action == Action.NO_CHANGE:
        # What is installed stays, whatever the line repeats of it; the rest of the line may still be read.
        wanted = line.attributes | installed
    else:
        wanted = (installed if asset else _defaults(product)) | line.attributes
    quantity = line.quantity
    if quantity is None or (asset is not None and line.action not in _QUANTITY_CHANGES):
        quantity = asset.quantity if asset else 1
    return Line(
        key=line.line_id,
        product=product.code,
        action=line.action,
        asset_id=asset.asset_id if asset else (line.product_id or asset_id_of(order.order_id, line.line_id)),
        root_asset_id=asset.root_id if asset else "",
        root=tree.root[line.line_id],
        main=tree.root[line.line_id],
        name=line.name or product.source.name or product.code,
        offering=line.offering,
        attributes=wanted,
        previous=dict(installed),
        quantity=quantity,
        previous_quantity=asset.quantity if asset else 0,
        order_lines=(line.line_id,),
        is_alone=line.line_id in tree.alone,
        is_asset=product.source.asset,
        relations=line.product_relations,
        place=line.place or (asset.place if asset else {}),
        requested_start_at=line.requested_start_at or order.requested_start_at,
    )


def _defaults(product: ProductDef) -> dict[str, Any]:
    return {name: declared.default for name, declared in product.attributes.items() if declared.default is not None}


def _place_roots(lines: dict[str, Line], tree: Tree) -> None:
    """A new asset belongs to the topmost asset above it in the order; what it is sold by gives its offering.

    The way up is walked once, however deep the tree: a line is placed when its parent is.
    """
    top: dict[str, Line | None] = {}
    """Line -> the topmost asset of those above it and itself."""
    for key in lines:
        way = [key]
        while (above := tree.parent[way[-1]]) is not None and above not in top:
            way.append(above)
        for each in reversed(way):
            line = lines[each]
            parent = tree.parent[each]
            above_line = None if parent is None else lines[parent]
            top[each] = (None if parent is None else top[parent]) or (line if line.is_asset else None)
            if line.offering is None and above_line is not None and not above_line.is_asset:
                line.offering = above_line.offering
    for key, line in lines.items():
        if not line.root_asset_id:
            highest = top[key] or line
            line.root_asset_id = highest.root_asset_id or highest.asset_id


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
    order: Order, release: CompiledRelease, resolved: Resolved, projection: Projection, protector: Protector
) -> list[Line]:
    """The order lines, followed by the technical lines that the release's rules derive from them.

    Raises:
        InventoryConflict: the order says itself what becomes of an instance that its other lines decide about.
        ExpressionFailed: a condition or mapping compares what cannot be compared.
    """
    derivation = _Derivation(order, release, projection, protector)
    return derivation.run(resolved.lines)


class _Derivation:
    """One order on its way down the rules, rank by rank: when a product's turn comes, all its sources are known.

    Which installed instance a group means: what its sources use already. A shared instance keeps its identity when only
    some of those who share it are in the order, and two that exist are never merged; a source that used one and now
    feeds another leaves the first.
    """

    def __init__(self, order: Order, release: CompiledRelease, projection: Projection, protector: Protector) -> None:
        self.order = order
        self.release = release
        self.projection = projection
        self.protector = protector
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
            for key in sorted(groups):
                derived = self._derive(key, groups[key])
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
            _mapped(self.context, feeding),
            self.protector,
            tenant=self.order.tenant,
            order_id=self.order.order_id,
            line_key=key,
            # Whether an undeclared value may stay was said where it came from.
            undeclared="keep",
        )
        previous = dict(asset.attributes) if asset else {}
        attributes = (previous if asset else _defaults(product)) | mapped
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
        )


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
    return Action.NO_CHANGE.value


def _mapped(context: Mapping[str, Any], sources: list[tuple[Line, Rule]]) -> dict[str, Any]:
    """Target attributes by the rules; the lower priority number wins, then the lower rule name, then the source."""
    values: dict[str, Any] = {}
    ranked = sorted(sources, key=lambda each: (each[1].priority, each[1].name, each[0].key))
    for line, rule in ranked:
        for mapping in rule.mappings:
            if mapping.to in values:
                continue
            value = _map_value(mapping, line, context)
            if value is not ABSENT:
                values[mapping.to] = value
    return values


def _map_value(mapping: CompiledMapping, line: Line, context: Mapping[str, Any]) -> Any:
    if mapping.kind == "static":
        return mapping.value
    if mapping.kind == "expression":
        assert mapping.expression is not None
        return mapping.expression.evaluate(line_context(context, line))
    value = line.attributes.get(mapping.source or "", ABSENT)
    if mapping.kind == "copy" or value is ABSENT:
        return value
    # Keys of a table are texts: `true`, `30`, `30Mbps`.
    return mapping.table.get(value if isinstance(value, str) else json.dumps(value, default=str), ABSENT)


def delta_of(line: Line, release: CompiledRelease, *, as_new: bool = False) -> AssetDelta | None:
    """What delivering the line does to its asset, or None for nothing. Values that may not stay are left out.

    Args:
        line: the fulfilment line.
        release: of its plan.
        as_new: the whole instance, whatever the line's action: whoever was to create it did not.
    """
    if not line.is_asset:
        return None
    product = release.products[line.product]
    common: dict[str, Any] = {
        "asset_id": line.asset_id,
        "product": line.product,
        "root_id": line.root_asset_id,
        "quantity_rule": product.source.quantity,
        "add_uses": line.add_uses,
        "drop_uses": line.drop_uses,
        "instance": line.instance,
    }
    if line.action == Action.DELETE:
        return AssetDelta(op="remove", **common)
    if line.action == Action.NO_CHANGE and not line.sources:
        return None
    is_new = as_new or line.action == Action.ADD
    kept = {
        name: value
        for name, value in line.attributes.items()
        if may_stay(product, name, value) and (is_new or not same_value(value, line.previous.get(name)))
    }
    status = {Action.SUSPEND.value: SUSPENDED, Action.RESUME.value: ACTIVE}.get(line.action)
    is_asked = line.action != Action.NO_CHANGE and bool(line.place or line.relations)
    changes = kept or line.add_uses or line.drop_uses or line.quantity != line.previous_quantity or is_asked
    if not is_new and not changes and status is None:
        return None
    return AssetDelta(
        op="create" if is_new else "change",
        name=line.name,
        offering=line.offering,
        set=kept,
        quantity=line.quantity,
        relations=line.relations,
        place=line.place,
        status=status,
        **common,
    )


def later_change_of(line: Line, release: CompiledRelease, values: Mapping[str, Any]) -> AssetDelta | None:
    """What values that came after the line was delivered do to its asset, or None for nothing."""
    product = release.products[line.product]
    kept = {name: value for name, value in values.items() if may_stay(product, name, value)}
    if not line.is_asset or line.action == Action.DELETE or not kept:
        return None
    return AssetDelta("change", line.asset_id, line.product, line.root_asset_id, set=kept)


def may_stay(product: ProductDef, name: str, value: Any) -> bool:
    """Whether an attribute's value may be kept with the asset."""
    return product.is_assetizable(name) and not is_sealed(value)
