"""The neutral order: what every northbound API maps to, and the bundle tree of its lines.

Kept as plain dictionaries and slots classes, because every order is one of many thousands a minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.errors import BadDocument
from domain.pricing import OrderPrices

CHILD_RELATIONS = frozenset({"bundles", "contains", "sells"})
"""`a bundles b`: b stands below a in the tree."""
PARENT_RELATIONS = frozenset({"bundledBy", "isChild", "isSold"})
"""`a isChild b`: a stands below b in the tree."""


@dataclass(slots=True)
class OrderLine:
    """One line of an order as the channel sent it.

    `attributes` maps characteristic names to values (already classified: a sealed value is a reference). `relations`
    are (type, other line id). `specification` and `offering` are the ids the channel named (at least one of them, or a
    `product_id`, which names an installed product). `quantity` None: the channel did not say.
    """

    line_id: str
    action: str
    specification: str | None = None
    offering: str | None = None
    product_id: str | None = None
    name: str = ""
    quantity: int | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    relations: tuple[tuple[str, str], ...] = ()
    product_relations: tuple[tuple[str, str], ...] = ()
    """(type, product id) of the ordered product to installed ones."""
    place: dict[str, Any] = field(default_factory=dict)
    requested_start_at: str | None = None
    sub_action: str = ""
    """What more the channel says of the action, such as `renew` of a modify."""
    prices: list[dict[str, Any]] = field(default_factory=list)
    """Price elements (`domain/pricing.py`)."""
    path: str = ""
    """Where the line stood in the channel's document, for messages."""

    def to_dict(self) -> dict[str, Any]:
        """The stored form: only what is not default."""
        stored: dict[str, Any] = {"id": self.line_id, "action": self.action}
        for key, value, empty in (
            ("specification", self.specification, None),
            ("offering", self.offering, None),
            ("productId", self.product_id, None),
            ("name", self.name, ""),
            ("quantity", self.quantity, None),
            ("attributes", self.attributes, {}),
            ("relations", [list(pair) for pair in self.relations], []),
            ("productRelations", [list(pair) for pair in self.product_relations], []),
            ("place", self.place, {}),
            ("requestedStartAt", self.requested_start_at, None),
            ("subAction", self.sub_action, ""),
            ("prices", self.prices, []),
            ("path", self.path, ""),
        ):
            if value != empty:
                stored[key] = value
        return stored

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> OrderLine:
        """The inverse of `to_dict`."""
        return cls(
            line_id=stored["id"],
            action=stored["action"],
            specification=stored.get("specification"),
            offering=stored.get("offering"),
            product_id=stored.get("productId"),
            name=stored.get("name", ""),
            quantity=stored.get("quantity"),
            attributes=dict(stored.get("attributes", {})),
            relations=tuple((kind, other) for kind, other in stored.get("relations", ())),
            product_relations=tuple((kind, other) for kind, other in stored.get("productRelations", ())),
            place=dict(stored.get("place", {})),
            requested_start_at=stored.get("requestedStartAt"),
            sub_action=stored.get("subAction", ""),
            prices=list(stored.get("prices", ())),
            path=stored.get("path", ""),
        )


@dataclass(slots=True)
class Order:
    """An order as accepted from a channel, before decomposition.

    `account` is the billing account, else the customer, else None. `facts` holds what conditions may read besides the
    lines: `{"account": {...}, "order": {...}}`. `rest` keeps what the API must give back unchanged.
    """

    order_id: str
    tenant: str
    account: str | None
    channel: str
    external_id: str | None
    client_key: str | None
    lines: list[OrderLine]
    priority: str = "normal"
    description: str = ""
    due_at: str | None = None
    requested_start_at: str | None = None
    account_facts: dict[str, Any] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)
    prices: list[dict[str, Any]] = field(default_factory=list)
    """Price elements of the order as a whole."""
    related: tuple[str, ...] = ()
    """The orders that it relates to, by our id or by the external id of the same channel; they may not have come yet.

    A place in it means the same order for as long as this one lives (`moved_relations`); empty: related no more.
    """
    _priced: tuple[list[OrderLine], int, OrderPrices | None] | None = field(
        default=None, init=False, compare=False, repr=False
    )

    def priced(self) -> OrderPrices | None:
        """The prices of its lines; None when the channel sent none. Asked with every condition, so it is kept."""
        known = self._priced
        if known is None or known[0] is not self.lines or known[1] != len(self.lines):
            has_prices = bool(self.prices) or any(line.prices for line in self.lines)
            found = OrderPrices(self.lines, self.prices) if has_prices else None
            known = self._priced = (self.lines, len(self.lines), found)
        return known[2]

    def to_dict(self) -> dict[str, Any]:
        """The stored form; keys with empty values are left out."""
        stored: dict[str, Any] = {
            "id": self.order_id,
            "tenant": self.tenant,
            "channel": self.channel,
            "lines": [line.to_dict() for line in self.lines],
        }
        for key, value, empty in (
            ("account", self.account, None),
            ("externalId", self.external_id, None),
            ("clientKey", self.client_key, None),
            ("priority", self.priority, "normal"),
            ("description", self.description, ""),
            ("dueAt", self.due_at, None),
            ("requestedStartAt", self.requested_start_at, None),
            ("accountFacts", self.account_facts, {}),
            ("rest", self.rest, {}),
            ("prices", self.prices, []),
            ("related", list(self.related), []),
        ):
            if value != empty:
                stored[key] = value
        return stored

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Order:
        """The inverse of `to_dict`."""
        return cls(
            order_id=stored["id"],
            tenant=stored["tenant"],
            account=stored.get("account"),
            channel=stored["channel"],
            external_id=stored.get("externalId"),
            client_key=stored.get("clientKey"),
            lines=[OrderLine.from_dict(line) for line in stored["lines"]],
            priority=stored.get("priority", "normal"),
            description=stored.get("description", ""),
            due_at=stored.get("dueAt"),
            requested_start_at=stored.get("requestedStartAt"),
            account_facts=dict(stored.get("accountFacts", {})),
            rest=dict(stored.get("rest", {})),
            prices=list(stored.get("prices", ())),
            related=tuple(stored.get("related", ())),
        )

    @property
    def relations(self) -> tuple[int, ...]:
        """The places in `related` that name an order."""
        return tuple(place for place, name in enumerate(self.related) if name)


def moved_relations(before: tuple[str, ...], now: tuple[str, ...]) -> tuple[str, ...]:
    """What an amended order relates to, each in its old place: items of the plan stand for places."""
    wanted = dict.fromkeys(name for name in now if name)
    kept = tuple(name if name in wanted else "" for name in before)
    return (*kept, *(name for name in wanted if name not in kept))


@dataclass(frozen=True, slots=True)
class Tree:
    """Where each line stands: parent (None for a root) and root, by line id; `alone` have neither parent nor child."""

    parent: dict[str, str | None]
    root: dict[str, str]
    alone: frozenset[str]


def bundle_tree(lines: Iterable[OrderLine]) -> Tree:
    """Build the tree from bundles, bundledBy, isChild, contains, sells and isSold relations.

    Raises:
        BadDocument: two lines have one id, a relation names no line, a line has two parents, or the relations form a
            circle.
    """
    by_id: dict[str, OrderLine] = {}
    for line in lines:
        if line.line_id in by_id:
            raise BadDocument(f"two items have the id {line.line_id!r}", path=line.path, mend="give each its own id")
        by_id[line.line_id] = line
    parent: dict[str, str | None] = dict.fromkeys(by_id)
    has_child: set[str] = set()
    for line in by_id.values():
        for kind, other in line.relations:
            if other not in by_id:
                raise BadDocument(
                    f"relation {kind} names item {other!r}, which this order does not have",
                    path=f"{line.path}.productOrderItemRelationship",
                    mend="name the id of an item of the same order",
                )
            if kind in CHILD_RELATIONS:
                above, below = line.line_id, other
            elif kind in PARENT_RELATIONS:
                above, below = other, line.line_id
            else:
                continue
            if parent[below] not in (None, above):
                raise BadDocument(
                    f"item {below!r} stands below both {parent[below]!r} and {above!r}",
                    path=by_id[below].path,
                    mend="give each item at most one parent",
                )
            parent[below] = above
            has_child.add(above)
    root: dict[str, str] = {}
    for line_id, line in by_id.items():
        # A dictionary keeps the way up in order and answers at once, however deep the tree is.
        seen = dict.fromkeys([line_id])
        at = line_id
        while (above_at := parent[at]) is not None and at not in root:
            if above_at in seen:
                raise BadDocument(
                    f"items {' -> '.join([*seen, above_at])} stand below one another in a circle",
                    path=line.path,
                    mend="remove one of the relations",
                )
            seen[above_at] = None
            at = above_at
        top = root.get(at, at)
        for each in seen:
            root[each] = top
    alone = frozenset(each for each in by_id if parent[each] is None and each not in has_child)
    return Tree(parent=parent, root=root, alone=alone)
