"""Product classes: which classes each product belongs to, its own and those above it."""

from __future__ import annotations

from domain.catalogue import Release
from domain.cycles import find_cycle


def class_chains(release: Release, errors: list[str]) -> dict[str, tuple[str, ...]]:
    """Product code -> its class and those above it, nearest first; what is wrong with classes goes to `errors`."""
    parents = {each.code: each.parent for each in release.classes}
    for each in release.classes:
        if each.parent is not None and each.parent not in parents:
            errors.append(f"class {each.code}: parent {each.parent!r} is not in the release")
    cycle = find_cycle({code: [parent] if parent else [] for code, parent in parents.items()})
    if cycle:
        errors.append(f"classes go in a circle: {' -> '.join(cycle)}")
        return {product.code: () for product in release.products}
    chains: dict[str, tuple[str, ...]] = {}
    for product in release.products:
        if product.product_class is not None and product.product_class not in parents:
            errors.append(f"product {product.code}: class {product.product_class!r} is not in the release")
        chain = []
        at = product.product_class
        while at is not None:
            chain.append(at)
            at = parents.get(at)
        chains[product.code] = tuple(chain)
    return chains
