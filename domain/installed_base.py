"""Loading the installed base: products of an account that another system knows, put into ours.

What is imported twice changes nothing the second time. A product below another one names it by a relation (`isChild`,
`bundledBy`, `isSold`), and its bundle's root follows from that: so a parent has to be there first, before its children
or together with them in whatever order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from domain.errors import InventoryConflict, OpenOrderConflict, OrderplanError, ParentUnknown
from domain.inventory import Account, Asset
from domain.orders import PARENT_RELATIONS
from domain.release import CompiledRelease
from domain.sealing import is_encrypted, same_value

IMPORTED: Final = "imported"
CHANGED: Final = "changed"
UNCHANGED: Final = "unchanged"
ENDED_STATUSES: Final = frozenset({"terminated", "cancelled", "aborted"})
"""TMF637: what has one of these is installed no more."""


def import_assets(
    account: Account, arriving: Sequence[Asset], release: CompiledRelease, encrypt: Callable[[Any], dict[str, Any]]
) -> tuple[list[Asset], list[str | OrderplanError]]:
    """Put products into an account.

    What only orders know of a product (who uses it, what it is shared over, the order that made it) is kept.

    Args:
        account: that is changed.
        arriving: as they are wanted; their roots follow from their relations. Without what must not stay.
        release: that they were checked against.
        encrypt: gives the ciphertext of a value.
    Returns:
        The assets that are new or different now, and for each that arrived `imported`, `changed`, `unchanged`, or why
        it is refused.
    """
    changed: dict[str, Asset] = {}
    results: dict[int, str | OrderplanError] = {}
    waiting = dict(enumerate(arriving))
    while waiting:
        ready = {at: each for at, each in waiting.items() if _is_at_home(each, account)}
        if not ready:
            break
        for at, asset in ready.items():
            del waiting[at]
            try:
                results[at] = _put(account, asset, release, encrypt, changed)
            except OrderplanError as error:
                results[at] = error
    for at, asset in waiting.items():
        parent = parent_of(asset)
        results[at] = ParentUnknown(
            f"the account has no product {parent!r}, below which {asset.asset_id!r} is to stand",
            path="productRelationship",
            mend="import the parent as well",
            parent=parent,
        )
    return list(changed.values()), [results[at] for at in range(len(arriving))]


def differences(ours: Mapping[str, Any], account: str, theirs: Asset) -> list[dict[str, Any]]:
    """What importing `theirs` would change of a product that we have; values that are encrypted are not compared.

    Args:
        ours: the stored body, with `account` and `status`.
        account: to which the foreign list gives it.
        theirs: as `import_assets` takes it.
    Returns:
        `field` (`attributes.speed`, `quantity`), and `ours` and `theirs`, each left out where it is not there.
    """
    found = []
    wanted = theirs.to_dict() | {"account": account}
    for name in _COMPARED:
        if ours.get(name) != wanted[name]:
            found.append({"field": name, "ours": ours.get(name), "theirs": wanted[name]})
    attributes = ours.get("attributes", {})
    for name in sorted(attributes.keys() | theirs.attributes.keys()):
        one, other = attributes.get(name, _NOTHING), theirs.attributes.get(name, _NOTHING)
        if is_encrypted(one) or one == other:
            continue
        told: dict[str, Any] = {"field": f"attributes.{name}"}
        told |= {} if one is _NOTHING else {"ours": one}
        found.append(told | ({} if other is _NOTHING else {"theirs": other}))
    return found


_COMPARED: Final = ("account", "product", "name", "offering", "quantity", "status", "relations", "place")
_NOTHING: Final = object()


def parent_of(asset: Asset) -> str | None:
    """The product that an asset names as the one above it."""
    return next((other for kind, other in asset.relations if kind in PARENT_RELATIONS), None)


def _is_at_home(asset: Asset, account: Account) -> bool:
    parent = parent_of(asset)
    return parent is None or parent in account.assets


def _put(
    account: Account,
    asset: Asset,
    release: CompiledRelease,
    encrypt: Callable[[Any], dict[str, Any]],
    changed: dict[str, Asset],
) -> str:
    asset_id = asset.asset_id
    installed = account.assets.get(asset_id)
    if installed is not None and installed.product != asset.product:
        raise InventoryConflict(
            f"product {asset_id!r} is already installed as a {installed.product!r}",
            path=asset_id,
            mend="import it under another id",
        )
    for above in _way_up(asset, account):
        if above.asset_id == asset_id:
            raise InventoryConflict(
                f"product {asset_id!r} would stand below itself", path="productRelationship", mend="remove a relation"
            )
    parent = parent_of(asset)
    declared = release.products[asset.product].attributes
    attributes = {}
    for name, value in asset.attributes.items():
        stored = encrypt(value) if name in declared and declared[name].encrypted else value
        known = installed.attributes.get(name) if installed is not None else None
        # A ciphertext is never the same twice.
        attributes[name] = known if installed is not None and same_value(stored, known) else stored
    wanted = replace(
        asset,
        root_id=account.assets[parent].root_id if parent is not None else asset_id,
        attributes=attributes,
        uses=dict(installed.uses) if installed is not None else {},
        instance=installed.instance if installed is not None else "",
        order_id=installed.order_id if installed is not None else None,
    )
    if wanted == installed:
        return UNCHANGED
    for opened in account.open_orders.values():
        if asset_id in opened.deltas or asset_id in opened.roots:
            raise OpenOrderConflict(
                f"order {opened.order_id} is at work on product {asset_id!r}",
                mend="import it when that order has ended",
                openOrders=[opened.order_id],
            )
    account.assets[asset_id] = changed[asset_id] = wanted
    if installed is not None and installed.root_id != wanted.root_id:
        _move_below(account, wanted, changed)
    return IMPORTED if installed is None else CHANGED


def _way_up(asset: Asset, account: Account) -> Iterator[Asset]:
    """What stands above a product, nearest first; ends with the product itself where that is among them."""
    parent = parent_of(asset)
    seen: set[str] = set()
    while parent is not None and parent not in seen and (above := account.assets.get(parent)) is not None:
        seen.add(parent)
        yield above
        if parent == asset.asset_id:
            return
        parent = parent_of(above)


def _move_below(account: Account, top: Asset, changed: dict[str, Asset]) -> None:
    """Give everything below a product that moved its new root."""
    below = [top]
    while below:
        above = below.pop()
        for each in list(account.assets.values()):
            if parent_of(each) == above.asset_id and each.root_id != top.root_id:
                moved = replace(each, root_id=top.root_id)
                account.assets[each.asset_id] = changed[each.asset_id] = moved
                below.append(moved)
