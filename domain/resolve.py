"""Order lines against the inventory: which product and asset each one means, and where it stands in its bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from domain.catalogue import Action
from domain.errors import BadDocument, InventoryConflict, UnknownProduct
from domain.ids import asset_id_of
from domain.inventory import (
    Asset,
    Projection,
)
from domain.lines import Line
from domain.orders import Order, OrderLine, Tree, bundle_tree
from domain.release import CompiledRelease, ProductDef
from domain.sealing import same_value

_QUANTITY_CHANGES = frozenset({Action.ADD.value, Action.MODIFY.value})


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
    _put_in_order(order, release, lines)
    roots = frozenset(line.root_asset_id for line in lines.values() if line.is_asset)
    return Resolved(list(lines.values()), roots)


def _put_in_order(order: Order, release: CompiledRelease, lines: Mapping[str, Line]) -> None:
    """Note who goes first where the release's relation map says that a relation of the order's text tells."""
    said = release.source.relations
    if not said:
        return
    for each in order.lines:
        for kind, other in each.relations:
            if kind in said and other != each.line_id:
                first, second = (other, each.line_id) if said[kind] == "after" else (each.line_id, other)
                lines[second].after = (*lines[second].after, first)


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
    candidates = [asset.asset_id for asset in fitting[:20]]
    raise InventoryConflict(
        f"{len(fitting)} installed products are a {product.code!r}: {', '.join(candidates)}",
        path=f"{line.path}.product",
        mend="name one of them by product.id",
        candidates=candidates,
    )


def _has_key_of(line: OrderLine, product: ProductDef, asset: Asset) -> bool:
    """Whether the asset has the scope key that the line gives, if it gives one."""
    wanted = line.attributes.get(product.source.scope_key or "")
    return wanted is None or same_value(asset.attributes.get(product.source.scope_key or ""), wanted)


def _order_line(order: Order, line: OrderLine, product: ProductDef, asset: Asset | None, tree: Tree) -> Line:
    installed = asset.attributes if asset else {}
    if line.action == Action.NO_CHANGE:
        # What is installed stays, whatever the line repeats of it; the rest of the line may still be read.
        wanted = line.attributes | installed
    else:
        wanted = (installed if asset else defaults_of(product)) | line.attributes
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
        sub_action=line.sub_action,
        relations=line.product_relations,
        place=line.place or (asset.place if asset else {}),
        requested_start_at=line.requested_start_at or order.requested_start_at,
    )


def defaults_of(product: ProductDef) -> dict[str, Any]:
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
