"""What an account has, what it will have, and who has to wait for whom.

An account's *projected* state is its installed assets overlaid with the changes of its open orders, in the order in
which they were compared with it. Orders are always compared with that, so that two orders of one account never decide
on a stale inventory: a root asset has at most one open order at work; instances shared over the account do not lock, a
later line joins the earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

ACCOUNT_INSTANCE = "account"
BUNDLE_INSTANCE = "bundle"
ACTIVE = "active"
SUSPENDED = "suspended"


@dataclass(slots=True)
class Asset:
    """An installed product or technical instance.

    `uses` maps the assets that need it (its sources) to the quantity each contributes; empty for what a customer
    ordered directly. `instance` says what it is shared over: `account`, `bundle`, `key:<value>`; empty: by nobody who
    does not use it already. `root_id` is its bundle's root asset.
    """

    asset_id: str
    product: str
    root_id: str
    name: str = ""
    offering: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    quantity: int = 1
    uses: dict[str, int] = field(default_factory=dict)
    instance: str = ""
    relations: list[list[str]] = field(default_factory=list)
    place: dict[str, Any] = field(default_factory=dict)
    status: str = ACTIVE
    order_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The stored form."""
        return {
            "id": self.asset_id,
            "product": self.product,
            "root": self.root_id,
            "name": self.name,
            "offering": self.offering,
            "attributes": self.attributes,
            "quantity": self.quantity,
            "uses": self.uses,
            "instance": self.instance,
            "relations": self.relations,
            "place": self.place,
            "status": self.status,
            "orderId": self.order_id,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Asset:
        """The inverse of `to_dict`."""
        return cls(
            asset_id=stored["id"],
            product=stored["product"],
            root_id=stored["root"],
            name=stored.get("name", ""),
            offering=stored.get("offering"),
            attributes=dict(stored.get("attributes", {})),
            quantity=stored.get("quantity", 1),
            uses=dict(stored.get("uses", {})),
            instance=stored.get("instance", ""),
            relations=[list(pair) for pair in stored.get("relations", ())],
            place=dict(stored.get("place", {})),
            status=stored.get("status", "active"),
            order_id=stored.get("orderId"),
        )


@dataclass(slots=True)
class AssetDelta:
    """What delivering one line does to one asset; a difference, because shared assets change under several orders.

    `op` is create, change, remove, or late: values that came after the line was delivered, which are of no use to an
    asset that is gone by then. `set` holds attributes to overlay, `add_uses` and `drop_uses` the sources gained and
    lost. A remove only drops uses while other sources remain.
    """

    op: str
    asset_id: str
    product: str
    root_id: str
    name: str = ""
    offering: str | None = None
    set: dict[str, Any] = field(default_factory=dict)
    quantity: int | None = None
    quantity_rule: str = "sum"
    add_uses: dict[str, int] = field(default_factory=dict)
    drop_uses: tuple[str, ...] = ()
    instance: str = ""
    relations: tuple[tuple[str, str], ...] = ()
    place: dict[str, Any] = field(default_factory=dict)
    status: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The stored form, only what is not empty."""
        stored: dict[str, Any] = {"op": self.op, "id": self.asset_id, "product": self.product, "root": self.root_id}
        for key, value in (
            ("name", self.name),
            ("offering", self.offering),
            ("set", self.set),
            ("quantity", self.quantity),
            ("quantityRule", self.quantity_rule if self.quantity_rule != "sum" else None),
            ("addUses", self.add_uses),
            ("dropUses", list(self.drop_uses)),
            ("instance", self.instance),
            ("relations", [list(pair) for pair in self.relations]),
            ("place", self.place),
            ("status", self.status),
        ):
            if value:
                stored[key] = value
        return stored

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> AssetDelta:
        """The inverse of `to_dict`."""
        return cls(
            op=stored["op"],
            asset_id=stored["id"],
            product=stored["product"],
            root_id=stored["root"],
            name=stored.get("name", ""),
            offering=stored.get("offering"),
            set=dict(stored.get("set", {})),
            quantity=stored.get("quantity"),
            quantity_rule=stored.get("quantityRule", "sum"),
            add_uses=dict(stored.get("addUses", {})),
            drop_uses=tuple(stored.get("dropUses", ())),
            instance=stored.get("instance", ""),
            relations=tuple((kind, other) for kind, other in stored.get("relations", ())),
            place=dict(stored.get("place", {})),
            status=stored.get("status"),
        )


def quantity_of(uses: Mapping[str, int], rule: str) -> int:
    """The quantity of a merged instance: one, or the sum or maximum over its sources."""
    if rule == "one" or not uses:
        return 1
    return max(uses.values()) if rule == "max" else sum(uses.values())


def apply_delta(asset: Asset | None, delta: AssetDelta, order_id: str) -> Asset | None:
    """The asset after the delta; None when it is gone. Never changes its argument."""
    if asset is None:
        if delta.op in ("remove", "late"):
            return None
        asset = Asset(
            asset_id=delta.asset_id,
            product=delta.product,
            root_id=delta.root_id,
            name=delta.name,
            offering=delta.offering,
            instance=delta.instance,
            place=delta.place,
        )
    uses = {source: n for source, n in asset.uses.items() if source not in delta.drop_uses} | delta.add_uses
    if delta.op == "remove" and not uses:
        return None
    quantity = asset.quantity
    if uses:
        quantity = quantity_of(uses, delta.quantity_rule)
    elif delta.quantity is not None:
        quantity = delta.quantity
    relations = [*asset.relations, *(list(pair) for pair in delta.relations if list(pair) not in asset.relations)]
    return replace(
        asset,
        attributes=asset.attributes | delta.set,
        uses=uses,
        quantity=quantity,
        relations=relations,
        place=delta.place or asset.place,
        status=delta.status or asset.status,
        order_id=order_id,
    )


@dataclass(slots=True)
class OpenOrder:
    """An order of the account that has not ended.

    `roots` are the root assets it holds. `deltas` are what it has yet to do, by asset id; a waiting order has none, but
    `states`: the state, by asset id, of the products that it will suspend or resume.
    `sequence` is its place among those that were compared with the account. `is_remote`: its plan is dedicated, and
    tells by bookings what it delivers (`domain/placement.py`). `is_unknown`: its plan cannot be read, so nobody knows
    what it holds or has yet to do; it may be anything.
    """

    order_id: str
    roots: frozenset[str]
    deltas: dict[str, AssetDelta] = field(default_factory=dict)
    is_waiting: bool = False
    states: Mapping[str, str] = field(default_factory=dict)
    sequence: int = 0
    is_remote: bool = False
    is_unknown: bool = False

    def expect(self, later: AssetDelta) -> None:
        """Note a change to come; one of an asset that has one already is laid over that."""
        earlier = self.deltas.get(later.asset_id)
        if earlier is not None and later.op in ("change", "late"):
            later = replace(earlier, set=earlier.set | later.set)
        self.deltas[later.asset_id] = later


@dataclass(slots=True)
class Account:
    """One account (or one order without an account): its assets and its open orders.

    The open orders stand in the order of their comparison with the account; those that wait keep among themselves the
    order in which they were admitted.
    """

    account_id: str | None
    assets: dict[str, Asset] = field(default_factory=dict)
    open_orders: dict[str, OpenOrder] = field(default_factory=dict)

    def open(self, opened: OpenOrder) -> None:
        """Take an order in behind all others: one that waits, or one just compared with the projected state."""
        self.open_orders.pop(opened.order_id, None)
        self.open_orders[opened.order_id] = opened

    def unknown(self) -> list[str]:
        """Open orders of which nobody knows what they do to the account: nothing new can be compared with it."""
        return [order_id for order_id, each in self.open_orders.items() if each.is_unknown]

    def told_orders(self) -> Mapping[str, OpenOrder] | None:
        """The open orders; None while one is unknown, so that nobody is found stuck who waits because of it."""
        return None if self.unknown() else self.open_orders

    def next_sequence(self) -> int:
        """The place of the next order that is compared with the account; 0 when nobody is at work."""
        return max((each.sequence + 1 for each in self.open_orders.values() if not each.is_waiting), default=0)

    def holders(self, roots: frozenset[str], before: str | None = None) -> list[str]:
        """Open orders that hold one of the root assets, or may do so, and have to end first.

        Args:
            roots: root assets.
            before: an order that waits; orders that have waited less long than it do not count.
        """
        found = []
        is_before = True
        for order_id, each in self.open_orders.items():
            if order_id == before:
                is_before = False
            elif each.is_unknown or ((is_before or not each.is_waiting) and each.roots & roots):
                found.append(order_id)
        return found

    def states_ahead(self, before: str | None = None) -> dict[str, str]:
        """The states of products, by asset id, that orders which wait lead to; in the end, when all have delivered.

        Args:
            before: an order that waits; orders that have waited less long than it do not count.
        """
        states: dict[str, str] = {}
        for order_id, each in self.open_orders.items():
            if order_id == before:
                break
            states |= each.states
        return states

    def projected(self) -> Projection:
        """The state once all orders that are at work have delivered."""
        return Projection(self)

    def deliver(self, order_id: str, delta: AssetDelta) -> tuple[Asset | None, Asset | None]:
        """Carry out a delta; returns the asset (before, after)."""
        before = self.assets.get(delta.asset_id)
        after = apply_delta(before, delta, order_id)
        if after is None:
            self.assets.pop(delta.asset_id, None)
        else:
            self.assets[delta.asset_id] = after
        opened = self.open_orders.get(order_id)
        if opened is not None:
            opened.deltas.pop(delta.asset_id, None)
        return before, after


class Projection:
    """A read-only view of an account's projected state; built for one decision and thrown away."""

    def __init__(self, account: Account) -> None:
        self.assets: dict[str, Asset] = dict(account.assets)
        self._index: _Index | None = None
        self._pending: dict[str, str] = {}
        """Asset id -> the last open order that has yet to deliver a change of it."""
        self._shared: dict[str, str] = {}
        """Product -> asset id of its account-wide instance, also of one that is on its way out."""
        for asset in account.assets.values():
            if asset.instance == ACCOUNT_INSTANCE:
                self._shared[asset.product] = asset.asset_id
        for order_id, opened in account.open_orders.items():
            for asset_id, delta in opened.deltas.items():
                if delta.instance == ACCOUNT_INSTANCE:
                    self._shared[delta.product] = asset_id
                after = apply_delta(self.assets.get(asset_id), delta, order_id)
                if after is None:
                    self.assets.pop(asset_id, None)
                else:
                    self.assets[asset_id] = after
                self._pending[asset_id] = order_id

    def of_product(self, product: str) -> Sequence[Asset]:
        """Assets of a product, by id."""
        return self._indexed().products.get(product, ())

    def using(self, source_asset_id: str) -> Sequence[Asset]:
        """Technical instances that exist because of a source asset, by id."""
        return self._indexed().users.get(source_asset_id, ())

    def of_bundle(self, product: str, root_id: str) -> Asset | None:
        """The instance of a product that a bundle shares, found by the bundle's root asset."""
        return self._indexed().bundles.get((product, root_id))

    def _indexed(self) -> _Index:
        # Once for a decision: looked for line by line, a large order of a large account would hold its host up.
        if self._index is None:
            self._index = _Index(self.assets)
        return self._index

    def shared_id(self, product: str) -> str | None:
        """The account-wide instance of a product, also one that is on its way out and in `assets` no more."""
        return self._shared.get(product)

    def pending_on(self, asset_id: str) -> str | None:
        """The open order that has yet to deliver a change of the asset, if any."""
        return self._pending.get(asset_id)


class _Index:
    """Assets by what they are looked for."""

    def __init__(self, assets: Mapping[str, Asset]) -> None:
        self.products: dict[str, list[Asset]] = {}
        self.users: dict[str, list[Asset]] = {}
        self.bundles: dict[tuple[str, str], Asset] = {}
        for _, asset in sorted(assets.items()):
            self.products.setdefault(asset.product, []).append(asset)
            for source in asset.uses:
                self.users.setdefault(source, []).append(asset)
            if asset.instance == BUNDLE_INSTANCE:
                self.bundles.setdefault((asset.product, asset.root_id), asset)
