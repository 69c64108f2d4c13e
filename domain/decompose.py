"""From order lines to fulfilment lines: what has to be done to what, compared with what the account (will) have.

Order lines become lines as they are; decomposition rules add technical lines below them. All sources of one target
product inside one scope instance merge into one line. The action of a technical line is not copied from the order: it
is the difference between what is wanted and what is there.

Line keys name the target product and the scope instance, whose own key holds the chain of sources down to the order
line (`RFS@CFS@4`): the same order always gives the same keys, whatever the order of its lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.catalogue import Action, Scope
from domain.errors import BadDocument, InventoryConflict, UnknownProduct
from domain.expressions import ABSENT
from domain.ids import asset_id_of
from domain.inventory import ACCOUNT_INSTANCE, Asset, AssetDelta, Projection, quantity_of
from domain.orders import Order, OrderLine, Tree, bundle_tree
from domain.release import CompiledMapping, CompiledRelease, ProductDef, Rule
from domain.sealing import is_sealed, same_value

_KEEPING_ACTIONS = frozenset({Action.SUSPEND.value, Action.RESUME.value, Action.MOVE.value})
"""Actions that a technical line takes over from its source when nothing else differs."""


@dataclass(slots=True)
class Line:
    """A fulfilment line: an order line, or a technical line that rules derived from others.

    `sources` are the keys of the lines it came from (its lineage), `order_lines` the ids of the order lines at the
    bottom of that lineage. `root` is the key of its bundle's root order line, `main` of its main item. `previous` holds
    the installed values. `joins` names the open order that has yet to deliver this instance.
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
        InventoryConflict: the action contradicts the projected inventory, or more than one asset fits.
    """
    tree = bundle_tree(order.lines)
    lines: dict[str, Line] = {}
    for each in order.lines:
        product = product_of(release, each)
        asset = _asset_of(each, product, projection)
        if product is None:
            assert asset is not None
            found = release.products.get(asset.product)
            if found is None:
                raise UnknownProduct(
                    f"product {each.product_id!r} is a {asset.product!r}, "
                    f"which release {release.release_id} does not have",
                    path=f"{each.path}.product.id",
                )
            product = found
        lines[each.line_id] = _order_line(order, each, product, asset, tree)
    _place_roots(order, lines, tree, projection)
    roots = frozenset(line.root_asset_id for line in lines.values() if line.is_asset)
    return Resolved(list(lines.values()), roots)


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
    assert product is not None
    if not product.source.asset:
        return None
    fitting = list(projection.of_product(product.code))
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


def _order_line(order: Order, line: OrderLine, product: ProductDef, asset: Asset | None, tree: Tree) -> Line:
    wanted = dict(asset.attributes) if asset else _defaults(product)
    wanted.update(line.attributes)
    is_asset = product.source.asset
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
        previous=dict(asset.attributes) if asset else {},
        quantity=line.quantity,
        previous_quantity=asset.quantity if asset else 0,
        order_lines=(line.line_id,),
        is_alone=line.line_id in tree.alone,
        is_asset=is_asset,
        relations=line.product_relations,
        place=line.place or (asset.place if asset else {}),
        requested_start_at=line.requested_start_at or order.requested_start_at,
    )


def _defaults(product: ProductDef) -> dict[str, Any]:
    return {name: declared.default for name, declared in product.attributes.items() if declared.default is not None}


def _place_roots(order: Order, lines: dict[str, Line], tree: Tree, projection: Projection) -> None:
    """A new asset belongs to the topmost asset above it in the order; what it is sold by gives its offering."""
    for line in lines.values():
        top = line
        at: str | None = line.key
        while at is not None:
            above = lines[at]
            if above.is_asset:
                top = above
            elif line.offering is None and above.offering is not None:
                line.offering = above.offering
            at = tree.parent[at]
        if not line.root_asset_id:
            line.root_asset_id = top.root_asset_id or top.asset_id


@dataclass(slots=True)
class _Group:
    """All sources of one target product inside one scope instance."""

    product: ProductDef
    instance: str
    sources: list[tuple[Line, Rule | None]] = field(default_factory=list)


def decompose(order: Order, release: CompiledRelease, resolved: Resolved, projection: Projection) -> list[Line]:
    """The order lines, followed by the technical lines that the release's rules derive from them.

    Raises:
        ExpressionFailed: a condition or mapping compares what cannot be compared.
    """
    context = order_context(order)
    lines = list(resolved.lines)
    if not any(release.products[line.product].rules for line in lines):
        return lines
    by_key = {line.key: line for line in lines}
    pending: dict[int, dict[str, _Group]] = {}

    def collect(line: Line) -> None:
        for key, group in _groups_of(order, release, context, line, projection):
            rank = group.product.rank
            merged = pending.setdefault(rank, {}).setdefault(key, group)
            if merged is not group:
                merged.sources.extend(group.sources)

    for line in resolved.lines:
        collect(line)
    while pending:
        rank = min(pending)
        groups = pending.pop(rank)
        for key in sorted(groups):
            derived = _derive(order, context, key, groups[key], projection)
            if derived is None:
                continue
            lines.append(derived)
            by_key[derived.key] = derived
            for source in derived.sources:
                by_key[source].is_alone = False
            collect(derived)
    return lines


def _groups_of(
    order: Order, release: CompiledRelease, context: Mapping[str, Any], line: Line, projection: Projection
) -> Iterable[tuple[str, _Group]]:
    """The groups that one line feeds, and those of installed instances that it no longer feeds."""
    product = release.products[line.product]
    if not product.rules:
        return
    reading = line_context(context, line)
    fed: set[str] = set()
    for rule in product.rules:
        if line.action != Action.DELETE and rule.when is not None and not rule.when.is_true(reading):
            continue
        target = release.products[rule.target]
        fed.add(target.code)
        instance = _instance(order, target, line)
        yield f"{target.code}@{instance}", _Group(target, instance, [(line, rule)])
    for asset in projection.using(line.asset_id):
        lost = release.products.get(asset.product)
        if lost is not None and lost.code not in fed and any(rule.target == lost.code for rule in product.rules):
            instance = _instance(order, lost, line)
            yield f"{lost.code}@{instance}", _Group(lost, instance, [(line, None)])


def _instance(order: Order, target: ProductDef, source: Line) -> str:
    scope = target.source.scope
    if scope is Scope.ACCOUNT and order.account is not None:
        return ACCOUNT_INSTANCE
    if scope in (Scope.ACCOUNT, Scope.ORDER, Scope.GLOBAL):
        return "order"
    if scope is Scope.BUNDLE:
        return source.root
    if scope is Scope.MAIN_ITEM:
        return source.main
    if scope is Scope.KEY:
        value = source.attributes.get(target.source.scope_key or "")
        if value is not None and not is_sealed(value):
            return f"key:{value}"
    return source.key


def _derive(
    order: Order, context: Mapping[str, Any], key: str, group: _Group, projection: Projection
) -> Line | None:
    product = group.product
    sources = sorted(group.sources, key=lambda each: each[0].key)
    first = sources[0][0]
    asset, joins = _installed(group, sources, projection)
    wanted = [(line, rule) for line, rule in sources if rule is not None and line.action != Action.DELETE]
    rule_of_quantity = product.source.quantity
    add_uses = {line.asset_id: line.quantity for line, _ in wanted}
    drop_uses = tuple(sorted({line.asset_id for line, _ in sources} - set(add_uses)))
    before = asset.uses if asset else {}
    after = {source: n for source, n in before.items() if source not in drop_uses} | add_uses
    if asset is None and not after:
        return None
    previous = dict(asset.attributes) if asset else {}
    attributes = previous | _mapped(context, wanted) if asset else _defaults(product) | _mapped(context, wanted)
    quantity = quantity_of(after, rule_of_quantity)
    line = Line(
        key=key,
        product=product.code,
        action=_action(product, asset, after, attributes, quantity, sources),
        asset_id=asset.asset_id if asset else asset_id_of(order.order_id, key),
        root_asset_id=asset.root_id if asset else first.root_asset_id,
        root=first.root,
        main=first.main if first.sources else key,
        name=product.source.name or product.code,
        attributes=attributes,
        previous=previous,
        quantity=quantity,
        previous_quantity=asset.quantity if asset else 0,
        sources=tuple(dict.fromkeys(source.key for source, _ in sources)),
        order_lines=tuple(sorted({each for source, _ in sources for each in source.order_lines})),
        rules=tuple(dict.fromkeys(rule.name for _, rule in sources if rule is not None)),
        is_asset=product.source.asset,
        joins=joins,
        instance=ACCOUNT_INSTANCE if group.instance == ACCOUNT_INSTANCE else "",
        add_uses={source: n for source, n in add_uses.items() if before.get(source) != n},
        drop_uses=tuple(source for source in drop_uses if source in before),
        place=first.place,
        requested_start_at=first.requested_start_at,
    )
    return line


def _installed(
    group: _Group, sources: list[tuple[Line, Rule | None]], projection: Projection
) -> tuple[Asset | None, str | None]:
    """(the projected instance that the group means, the open order that has yet to deliver a change of it)."""
    if group.instance == ACCOUNT_INSTANCE:
        return projection.shared(group.product.code)
    for line, _ in sources:
        for asset in projection.using(line.asset_id):
            if asset.product == group.product.code:
                return asset, projection.pending_on(asset.asset_id)
    return None, None


def _action(
    product: ProductDef,
    asset: Asset | None,
    uses: Mapping[str, int],
    attributes: Mapping[str, Any],
    quantity: int,
    sources: list[tuple[Line, Rule | None]],
) -> str:
    if asset is None:
        return Action.ADD.value
    if not uses:
        return Action.DELETE.value
    differs = quantity != asset.quantity or any(
        product.is_significant(name)
        and product.is_assetizable(name)
        and not same_value(value, asset.attributes.get(name))
        for name, value in attributes.items()
    )
    if differs:
        return Action.MODIFY.value
    taken_over = sorted({line.action for line, _ in sources} & _KEEPING_ACTIONS)
    return taken_over[0] if taken_over else Action.NO_CHANGE.value


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
    if mapping.kind == "copy":
        return line.attributes.get(mapping.source or "", ABSENT)
    if mapping.kind == "list":
        return mapping.table.get(str(line.attributes.get(mapping.source or "")), ABSENT)
    assert mapping.expression is not None
    return mapping.expression.evaluate(line_context(context, line))


def delta_of(line: Line, release: CompiledRelease) -> AssetDelta | None:
    """What delivering the line does to its asset, or None for nothing. Values that may not stay are left out."""
    if not line.is_asset:
        return None
    product = release.products[line.product]
    kept = {
        name: value
        for name, value in line.attributes.items()
        if product.is_assetizable(name)
        and not is_sealed(value)
        and (line.action == Action.ADD or not same_value(value, line.previous.get(name)))
    }
    is_gone = line.action == Action.DELETE
    common: dict[str, Any] = {
        "asset_id": line.asset_id,
        "product": line.product,
        "root_id": line.root_asset_id,
        "quantity_rule": product.source.quantity,
        "add_uses": line.add_uses,
        "drop_uses": line.drop_uses,
        "instance": line.instance,
    }
    if is_gone:
        return AssetDelta(op="remove", **common)
    changes = kept or line.add_uses or line.drop_uses or line.quantity != line.previous_quantity
    status = {Action.SUSPEND.value: "suspended", Action.RESUME.value: "active"}.get(line.action)
    if line.action != Action.ADD and not changes and status is None:
        return None
    return AssetDelta(
        op="create" if line.action == Action.ADD else "change",
        name=line.name,
        offering=line.offering,
        set=kept,
        quantity=line.quantity,
        relations=line.relations,
        place=line.place,
        status=status,
        **common,
    )
