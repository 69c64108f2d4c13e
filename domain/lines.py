"""Fulfilment lines: what has to be done to one product or instance, and what that does to its asset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.catalogue import Action
from domain.inventory import (
    ACTIVE,
    SUSPENDED,
    AssetDelta,
)
from domain.orders import Order
from domain.release import CompiledRelease, ProductDef
from domain.sealing import is_sealed, same_value


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
    sub_action: str = ""
    joins: str | None = None
    awaits: str = ""
    instance: str = ""
    add_uses: dict[str, int] = field(default_factory=dict)
    drop_uses: tuple[str, ...] = ()
    relations: tuple[tuple[str, str], ...] = ()
    place: dict[str, Any] = field(default_factory=dict)
    requested_start_at: str | None = None
    after: tuple[str, ...] = ()
    """Lines of the order that are delivered before it, and removed after it, because the order's text says so."""
    is_cancelled: bool = False
    """Taken out of the order, or cancelled: it stays as what it was, and becomes nothing."""
    ordered: dict[str, Any] = field(default_factory=dict, compare=False)
    """Its attributes as they came out of decomposition, before answers and forms added theirs; not stored, but where
    they differ from what the line starts with.
    """

    def to_dict(self) -> dict[str, Any]:
        """The stored form, only what is not default."""
        stored: dict[str, Any] = {}
        for name, key, default in _LINE_FIELDS:
            value = getattr(self, name)
            if value != default:
                stored[key] = list(value) if isinstance(value, tuple) else value
        if self.ordered and self.ordered != self.attributes:
            stored["ordered"] = self.ordered
        return stored

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Line:
        """The inverse of `to_dict`."""
        line = cls(key="", product="", action="", asset_id="", root_asset_id="", root="", main="")
        # Only what is stored: on the way of every order, and most fields have their default.
        for key, value in stored.items():
            name, kind = _FIELD_OF_KEY.get(key, ("", None))
            if kind is tuple:
                setattr(line, name, tuple(tuple(each) if isinstance(each, list) else each for each in value))
            elif kind is dict:
                setattr(line, name, dict(value))
            elif kind is not None:
                setattr(line, name, value)
        line.ordered = stored.get("ordered", line.attributes)
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
    ("sub_action", "subAction", ""),
    ("joins", "joins", None),
    ("awaits", "awaits", ""),
    ("instance", "instance", ""),
    ("add_uses", "addUses", {}),
    ("drop_uses", "dropUses", ()),
    ("relations", "relations", ()),
    ("place", "place", {}),
    ("requested_start_at", "requestedStartAt", None),
    ("after", "after", ()),
    ("is_cancelled", "cancelled", False),
)

_FIELD_OF_KEY: dict[str, tuple[str, type]] = {key: (name, type(default)) for name, key, default in _LINE_FIELDS}


_PRICES = "@prices"
"""No name that an expression could read."""
_NO_PRICES: Mapping[str, Any] = {}


def order_context(order: Order) -> dict[str, Any]:
    """What conditions read of the order itself: roots `order` and `account`; and its prices, for `line_context`."""
    return {
        _PRICES: order.priced(),
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
    prices = context.get(_PRICES)
    return {
        **context,
        "attributes": line.attributes,
        "previous": line.previous,
        "line": {
            "id": line.key,
            "action": line.action,
            "subAction": line.sub_action or None,
            "product": line.product,
            "offering": line.offering,
            "name": line.name,
            "quantity": line.quantity,
            "requestedStartAt": line.requested_start_at,
        },
        "place": line.place,
        "prices": prices.of(line.order_lines, line.quantity) if prices is not None else _NO_PRICES,
    }


def delta_of(line: Line, release: CompiledRelease, *, as_new: bool = False) -> AssetDelta | None:
    """What delivering the line does to its asset, or None for nothing. Values that may not stay are left out.

    Args:
        line: the fulfilment line.
        release: of its plan.
        as_new: the whole instance, whatever the line's action: whoever was to create it did not.
    """
    if not line.is_asset or line.is_cancelled:
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
    if not line.is_asset or line.is_cancelled or line.action == Action.DELETE or not kept:
        return None
    # With the rule for its quantity: a change counts the users of an instance anew.
    rule = product.source.quantity
    return AssetDelta("late", line.asset_id, line.product, line.root_asset_id, set=kept, quantity_rule=rule)


def may_stay(product: ProductDef, name: str, value: Any) -> bool:
    """Whether an attribute's value may be kept with the asset."""
    return product.is_assetizable(name) and not is_sealed(value)
