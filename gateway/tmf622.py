"""TMF622 v4 product orders: from a channel's document to the neutral order and back.

The way in is on the path of every order: hand-written checks over plain dictionaries, paths built only for what is
refused. All problems of a document are found in one pass and refused together.

A document is taken apart without loss and without copies. What the service works with goes into `Order` and its lines;
everything else goes into `Order.rest` and is given back unchanged. Values of characteristics are only ever in
`OrderLine.attributes`, where they are classified before anything is written: of a characteristic, `rest` keeps name and
metadata. A list of characteristics anywhere else is refused, because nobody would seal what stands in it.

The layout of `rest` is described in gateway/tmf622_render.py, which puts the document together again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeGuard

from domain.catalogue import Action
from domain.errors import BadDocument
from domain.orders import Order, OrderLine, bundle_tree
from gateway.documents import ROOT, Problems, decode_body, kind_of, read_instant, shown
from gateway.tmf622_prices import ITEM_PRICES, ORDER_PRICES, read_prices
from gateway.tmf622_render import PRIORITIES, PRODUCT_ORDER_PATH, render_order
from gateway.tmf630 import ListQuery, parse_list_query, select_fields, tmf_error

__all__ = [
    "LINES_MAX",
    "PRODUCT_ORDER_PATH",
    "ListQuery",
    "decode_body",
    "parse_list_query",
    "parse_order",
    "render_order",
    "select_fields",
    "tmf_error",
]

LINES_MAX: Final = 10_000
_NESTING_MAX: Final = 32
_ID_LENGTH_MAX: Final = 255
_RELATIONS_MAX: Final = 100
_QUANTITY_MAX: Final = 2**31 - 1

_ACTIONS: Final = {action.value: action.value for action in Action}
# `@` and `~` join the parts of line and item keys: an item id with one of them could pose as another line's key.
_LINE_ID: Final = re.compile(r"[^\x00-\x1f\x7f@~\ud800-\udfff]{1,255}")

_BY_SERVER: Final = frozenset(
    {
        "id",
        "href",
        "state",
        "orderDate",
        "creationDate",
        "completionDate",
        "expectedCompletionDate",
        "cancellationDate",
        "productOrderMilestone",
        "productOrderErrorMessage",
        "productOrderJeopardyAlert",
    }
)
"""What the service itself says about an order; on the way in it is passed over."""
_ORDER_TAKEN: Final = _BY_SERVER | {
    "productOrderItem",
    "description",
    "requestedCompletionDate",
    "requestedStartDate",
}
_ITEM_TAKEN: Final = frozenset(
    {
        "id",
        "state",
        "action",
        "subAction",
        "quantity",
        "productOffering",
        "product",
        "productOrderItem",
        "productOrderItemRelationship",
        "requestedStartDate",
    }
)
_RELATION_TAKEN: Final = frozenset({"id", "relationshipType"})
_PRODUCT_TAKEN: Final = frozenset(
    {"id", "productSpecification", "productCharacteristic", "productConfiguration", "place"}
)
_CHARACTERISTICS: Final = frozenset(
    {
        "productCharacteristic",
        "productConfiguration",
        "serviceCharacteristic",
        "resourceCharacteristic",
        "characteristic",
    }
)


def parse_order(body: Any, *, order_id: str, tenant: str, client_key: str | None) -> Order:
    """Read a TMF622 v4 order (v5's related parties, channels and external ids too) into a neutral order.

    Args:
        body: what `decode_body` gave. Its parts become parts of the order: do not change it afterwards.
        order_id: the id that the service gives the order.
        tenant: whose order it is.
        client_key: the channel's own key for this submission, if it sent one.
    Returns:
        The order; a line's `path` says where it stood (`productOrderItem[3]`). Items nested in an item follow it and
        are its children by a `contains` relation. JSON null counts as absent.
    Raises:
        BadDocument: with path and reason of the first problem, and all of them (at most 50) in the fact `problems`.
    """
    if not isinstance(body, dict):
        problems = Problems()
        problems.add(ROOT, f"an order is a JSON object, not {kind_of(body)}")
        problems.raise_if_any()
    return _Reader().read(body, order_id, tenant, client_key)


class _Reader:
    """One document on its way in."""

    __slots__ = ("accounts", "first_path", "has_nested", "items_rest", "lines", "problems", "relations")

    def __init__(self) -> None:
        self.problems = Problems()
        self.lines: list[OrderLine] = []
        self.first_path: dict[str, str] = {}
        """Where each item id was first used."""
        self.relations: list[tuple[OrderLine, list[Any]]] = []
        self.accounts: list[tuple[str, Any]] = []
        self.items_rest: dict[str, dict[str, Any]] = {}
        self.has_nested = False

    def read(self, body: dict[str, Any], order_id: str, tenant: str, client_key: str | None) -> Order:
        rest = {
            f"${name}" if name == "items" or name[:1] == "$" else name: value
            for name, value in body.items()
            if name not in _ORDER_TAKEN
        }
        external_id = self._external_id(body.get("externalId"))
        if external_id is not None and rest["externalId"] == external_id:
            del rest["externalId"]
        description = body.get("description")
        if description is not None and not isinstance(description, str):
            self._wrong("description", "a text", description)
        if (billing_account := body.get("billingAccount")) is not None:
            self.accounts.append(("billingAccount", billing_account))
        self._items(body.get("productOrderItem"), "productOrderItem", None, 0)
        self._join_relations()
        self._refuse_characteristics(rest, "")
        customer = self._customer(body.get("relatedParty"))
        account, account_facts = self._account(customer)
        order = Order(
            order_id=order_id,
            tenant=tenant,
            account=account,
            channel=self._channel(body.get("channel")),
            external_id=external_id,
            client_key=client_key,
            lines=self.lines,
            priority=self._priority(body.get("priority")),
            description=description or "",
            due_at=self._instant(body.get("requestedCompletionDate"), "requestedCompletionDate"),
            requested_start_at=self._instant(body.get("requestedStartDate"), "requestedStartDate"),
            account_facts=account_facts,
            rest=rest,
            prices=read_prices(rest, ORDER_PRICES, "", self.problems),
            # As sent it stands in `rest`, too: there is nothing in it to be hidden.
            related=self._related(body.get("orderRelationship"), external_id),
        )
        if self.items_rest:
            rest["items"] = self.items_rest
        if not self.problems.found:
            try:
                bundle_tree(self.lines)
            except BadDocument as error:
                self.problems.add(error.path or ROOT, error.reason)
        self.problems.raise_if_any()
        return order

    # Order items

    def _items(self, items: Any, path: str, above: OrderLine | None, depth: int) -> None:
        if items is None:
            self.problems.add(path, "is missing: an order is a list of items with id and action")
            return
        if not isinstance(items, list):
            self._wrong(path, "a list of order items", items)
            return
        if not items and above is None:
            self.problems.add(path, "an order needs at least one item")
            return
        if len(self.lines) + len(items) > LINES_MAX:
            self.problems.add(path, f"an order has at most {LINES_MAX} items")
            return
        if depth > _NESTING_MAX:
            self.problems.add(path, f"items are nested deeper than {_NESTING_MAX} levels")
            return
        for index, item in enumerate(items):
            item_path = f"{path}[{index}]"
            if isinstance(item, dict):
                self._item(item, item_path, above, depth)
            else:
                self._wrong(item_path, "an object", item)

    def _item(self, item: dict[str, Any], path: str, above: OrderLine | None, depth: int) -> None:
        line_id = item.get("id")
        if not isinstance(line_id, str) or not _LINE_ID.fullmatch(line_id):
            if line_id is None:
                self.problems.add(f"{path}.id", "an item needs an id of its own")
            else:
                self.problems.add(f"{path}.id", "must be a text of 1 to 255 characters without @, ~ and controls")
            line_id = ""
        elif line_id in self.first_path:
            self.problems.add(f"{path}.id", f"item id {shown(line_id)} is already that of {self.first_path[line_id]}")
        else:
            self.first_path[line_id] = path
        action = item.get("action")
        if not isinstance(action, str) or action not in _ACTIONS:
            said = shown(action) if isinstance(action, str) else kind_of(action)
            self.problems.add(f"{path}.action", f"must be one of {', '.join(_ACTIONS)}, not {said}")
            action = ""
        sub_action = item.get("subAction")
        if sub_action is not None and not _is_id(sub_action):
            self._wrong(f"{path}.subAction", f"a text of 1 to {_ID_LENGTH_MAX} characters", sub_action)
            sub_action = None
        quantity = item.get("quantity")
        # Unsaid stays unsaid: a modify that names no quantity keeps the installed one.
        if quantity is not None and (quantity.__class__ is not int or not 1 <= quantity <= _QUANTITY_MAX):
            self.problems.add(f"{path}.quantity", f"must be a whole number from 1 to {_QUANTITY_MAX}")
        kept: dict[str, Any] = {}
        if left := {name: value for name, value in item.items() if name not in _ITEM_TAKEN}:
            self._refuse_characteristics(left, path)
            kept["item"] = left
        line = OrderLine(line_id, action, quantity=quantity, sub_action=sub_action or "", path=path)
        line.prices = read_prices(left, ITEM_PRICES, path, self.problems)
        offering = item.get("productOffering")
        if offering is not None:
            line.offering = self._reference(offering, f"{path}.productOffering", "productOffering", kept)
        product = item.get("product")
        if isinstance(product, dict):
            self._product(product, line, kept)
        elif product is not None:
            self._wrong(f"{path}.product", "an object", product)
        if line.specification is None and line.offering is None and line.product_id is None:
            self.problems.add(path, "name a productOffering.id, a product.productSpecification.id or a product.id")
        if not line.name:
            line.name = _name_in(kept.get("specification")) or _name_in(kept.get("productOffering"))
        if (account := item.get("billingAccount")) is not None:
            self.accounts.append((f"{path}.billingAccount", account))
        if (start := item.get("requestedStartDate")) is not None:
            line.requested_start_at = self._instant(start, f"{path}.requestedStartDate")
        relations = item.get("productOrderItemRelationship")
        if isinstance(relations, list):
            self.relations.append((line, relations))
        elif relations is not None:
            self._wrong(f"{path}.productOrderItemRelationship", "a list", relations)
        self.lines.append(line)
        if kept:
            self.items_rest[line_id] = kept
        if above is not None and line_id:
            self.items_rest.setdefault(above.line_id, {}).setdefault("nested", []).append(line_id)
            self.has_nested = True
        if (nested := item.get("productOrderItem")) is not None:
            self._items(nested, f"{path}.productOrderItem", line, depth + 1)

    def _reference(self, value: Any, path: str, part: str, kept: dict[str, Any]) -> str | None:
        """The id of a reference such as `productOffering`; its other members are kept under `part`."""
        if not isinstance(value, dict):
            self._wrong(path, "an object", value)
            return ""
        reference_id = value.get("id")
        if len(value) > 1 or reference_id is None:
            left = {name: each for name, each in value.items() if name != "id"}
            self._refuse_characteristics(left, path)
            kept[part] = left
        if reference_id is None or _is_id(reference_id):
            return reference_id
        return self._id(reference_id, f"{path}.id")

    def _product(self, product: dict[str, Any], line: OrderLine, kept: dict[str, Any]) -> None:
        path = f"{line.path}.product"
        if (product_id := product.get("id")) is not None:
            line.product_id = self._id(product_id, f"{path}.id")
        if (specification := product.get("productSpecification")) is not None:
            line.specification = self._reference(specification, f"{path}.productSpecification", "specification", kept)
        left = {name: value for name, value in product.items() if name not in _PRODUCT_TAKEN}
        if line.offering is None and (offering := left.pop("productOffering", None)) is not None:
            # TMF622 lets the product name its offering, and MEF's orders do.
            line.offering = self._reference(offering, f"{path}.productOffering", "productOffering", kept)
            kept["offeringInside"] = True
        name = left.get("name")
        if isinstance(name, str):
            line.name = name
        elif name is not None:
            self._wrong(f"{path}.name", "a text", name)
        if (relations := left.get("productRelationship")) is not None:
            line.product_relations = self._product_relations(relations, f"{path}.productRelationship")
        if (characteristics := product.get("productCharacteristic")) is not None:
            self._characteristics(characteristics, line, kept)
        if (configuration := product.get("productConfiguration")) is not None:
            self._configuration(configuration, line, kept)
        if (place := product.get("place")) is not None:
            self._place(place, line, kept)
        if left or not product:
            self._refuse_characteristics(left, path)
            kept["product"] = left

    def _characteristics(self, characteristics: Any, line: OrderLine, kept: dict[str, Any]) -> None:
        path = f"{line.path}.product.productCharacteristic"
        if not isinstance(characteristics, list):
            self._wrong(path, "a list", characteristics)
            return
        metadata: dict[str, dict[str, Any]] = {}
        for index, each in enumerate(characteristics):
            if not isinstance(each, dict):
                self._wrong(f"{path}[{index}]", "an object", each)
                continue
            name = each.get("name")
            if not isinstance(name, str) or not name:
                self.problems.add(f"{path}[{index}].name", "a characteristic needs a name")
            elif name in line.attributes:
                self.problems.add(f"{path}[{index}].name", f"characteristic {shown(name)} is given twice")
            elif "value" not in each:
                self.problems.add(
                    f"{path}[{index}].value", f"characteristic {shown(name)} needs a value, null for none"
                )
            else:
                self._attribute(line, name, each["value"], path, index)
                if len(each) > 2:
                    metadata[name] = {key: value for key, value in each.items() if key not in ("name", "value")}
        if metadata:
            kept["characteristics"] = metadata

    def _configuration(self, configuration: Any, line: OrderLine, kept: dict[str, Any]) -> None:
        """MEF's form: one object with the values as members."""
        path = f"{line.path}.product.productConfiguration"
        if not isinstance(configuration, dict):
            self._wrong(path, "an object", configuration)
            return
        kept["configuration"] = {name: value for name, value in configuration.items() if name[:1] == "@"}
        kept["configured"] = names = [name for name in configuration if name[:1] != "@"]
        for name in names:
            if name in line.attributes:
                self.problems.add(path, f"{shown(name)} is given here and as a characteristic")
            else:
                self._attribute(line, name, configuration[name], path, None)

    def _attribute(self, line: OrderLine, name: str, value: Any, path: str, index: int | None) -> None:
        # Who could send a reference could name a sealed value of somebody else, or have a value pass unclassified.
        if (value.__class__ is dict or value.__class__ is list) and _has_member(value, _is_reserved):
            self.problems.add(
                path if index is None else f"{path}[{index}].value",
                f"{shown(name)}: names of members that start with $ are kept for the service",
            )
        line.attributes[name] = value

    def _place(self, place: Any, line: OrderLine, kept: dict[str, Any]) -> None:
        path = f"{line.path}.product.place"
        if isinstance(place, dict) and place:
            line.place = place
            kept["places"] = None
            return
        if not isinstance(place, list):
            self._wrong(path, "a list of places", place)
            return
        for index, each in enumerate(place):
            if not isinstance(each, dict) or not each:
                self._wrong(f"{path}[{index}]", "an object with members", each)
                return
        if place:
            line.place = place[0]
        kept["places"] = [None, *place[1:]] if place else []

    def _product_relations(self, relations: Any, path: str) -> tuple[tuple[str, str], ...]:
        if not isinstance(relations, list):
            self._wrong(path, "a list", relations)
            return ()
        pairs = []
        for index, each in enumerate(relations):
            if not isinstance(each, dict):
                self._wrong(f"{path}[{index}]", "an object", each)
                continue
            other = each.get("product")
            # MEF names the product's id in the relation itself.
            inside, where = (other, "product.id") if isinstance(other, dict) else (each, "id")
            kind = self._id(each.get("relationshipType"), f"{path}[{index}].relationshipType")
            pairs.append((kind, self._id(inside.get("id"), f"{path}[{index}].{where}")))
        return tuple(pairs)

    def _join_relations(self) -> None:
        """Relations between items, once all ids are known: who comes first in the document does not matter."""
        for line, relations in self.relations:
            pairs: list[tuple[str, str]] = []
            metadata: list[dict[str, Any]] = []
            has_metadata = False
            for index, each in enumerate(relations):
                if not isinstance(each, dict):
                    self._wrong(f"{line.path}.productOrderItemRelationship[{index}]", "an object", each)
                    continue
                other, kind = each.get("id"), each.get("relationshipType")
                if not _is_id(other) or not _is_id(kind) or other not in self.first_path or other == line.line_id:
                    self._refuse_relation(line, index, other, kind)
                    continue
                pairs.append((kind, other))
                metadata.append({name: value for name, value in each.items() if name not in _RELATION_TAKEN})
                has_metadata = has_metadata or len(each) > 2
            line.relations = tuple(pairs)
            if has_metadata:
                self.items_rest.setdefault(line.line_id, {})["relationships"] = metadata
        if self.has_nested:
            for line in self.lines:
                nested = self.items_rest.get(line.line_id, {}).get("nested", ())
                line.relations += tuple(("contains", below) for below in nested)

    def _refuse_relation(self, line: OrderLine, index: int, other: Any, kind: Any) -> None:
        path = f"{line.path}.productOrderItemRelationship[{index}]"
        other = self._id(other, f"{path}.id")
        self._id(kind, f"{path}.relationshipType")
        if other and other not in self.first_path:
            self.problems.add(f"{path}.id", f"this order has no item {shown(other)}")
        elif other and other == line.line_id:
            self.problems.add(f"{path}.id", f"item {shown(other)} is related to itself")

    # Members of the order

    def _external_id(self, value: Any) -> str | None:
        if isinstance(value, list):
            # Version 5: a list of {owner, externalIdentifierType, id}. The first one is the channel's own.
            if not value:
                return None
            if not isinstance(value[0], dict):
                self._wrong("externalId[0]", "an object", value[0])
                return None
            return self._id(value[0].get("id"), "externalId[0].id")
        return None if value is None else self._id(value, "externalId")

    def _related(self, relations: Any, external_id: str | None) -> tuple[str, ...]:
        """The orders that this one relates to, each once."""
        if relations is None:
            return ()
        if not isinstance(relations, list):
            self._wrong("orderRelationship", "a list", relations)
            return ()
        if len(relations) > _RELATIONS_MAX:
            self.problems.add("orderRelationship", f"an order relates to at most {_RELATIONS_MAX} others")
            return ()
        names: dict[str, None] = {}
        for index, each in enumerate(relations):
            path = f"orderRelationship[{index}]"
            if not isinstance(each, dict):
                self._wrong(path, "an object", each)
                continue
            name = self._id(each.get("id"), f"{path}.id")
            if name and name == external_id:
                self.problems.add(f"{path}.id", "an order is not related to itself")
            kind = each.get("relationshipType")
            if kind is not None and not _is_id(kind):
                self._id(kind, f"{path}.relationshipType")
            names[name] = None
        return tuple(names)

    def _customer(self, parties: Any) -> dict[str, Any] | None:
        """The first related party with the role customer, its version 5 form made flat."""
        if parties is None:
            return None
        if not isinstance(parties, list):
            self._wrong("relatedParty", "a list", parties)
            return None
        found: dict[str, Any] | None = None
        for index, party in enumerate(parties):
            path = f"relatedParty[{index}]"
            if not isinstance(party, dict):
                self._wrong(path, "an object", party)
                continue
            inner = party.get("partyOrPartyRole")
            if inner is not None and not isinstance(inner, dict):
                self._wrong(f"{path}.partyOrPartyRole", "an object", inner)
                continue
            flat = {**inner, **party} if inner else party
            role = flat.get("role")
            if role is not None and not isinstance(role, str):
                self._wrong(f"{path}.role", "a text", role)
            elif found is None and role is not None and role.lower() == "customer":
                self._id(flat.get("id"), f"{path}.partyOrPartyRole.id" if inner else f"{path}.id")
                found = flat
        return found

    def _account(self, customer: dict[str, Any] | None) -> tuple[str | None, dict[str, Any]]:
        """The account that the order is for, and what conditions may read of it."""
        facts = _facts_in(customer) if customer else {}
        account: str | None = None
        first_path = ""
        for path, billing_account in self.accounts:
            if not isinstance(billing_account, dict):
                self._wrong(path, "an object", billing_account)
                continue
            account_id = self._id(billing_account.get("id"), f"{path}.id")
            if account is None:
                account, first_path = account_id, path
                facts.update(_facts_in(billing_account))
            elif account_id and account_id != account:
                self.problems.add(
                    f"{path}.id",
                    f"an order is for one billing account, and {first_path} names another one; send an order for each",
                )
        if account is None and customer is not None:
            account = customer.get("id")
        return account, facts

    def _channel(self, channels: Any) -> str:
        if channels is None:
            return "default"
        if not isinstance(channels, list):
            self._wrong("channel", "a list", channels)
            return "default"
        if not channels:
            return "default"
        channel = channels[0]
        if isinstance(channel, dict) and isinstance(channel.get("channel"), dict):
            channel = channel["channel"]
        if not isinstance(channel, dict):
            self._wrong("channel[0]", "an object", channel)
            return "default"
        for name in ("id", "name"):
            if channel.get(name) is not None:
                return self._id(channel[name], f"channel[0].{name}")
        return "default"

    def _priority(self, value: Any) -> str:
        if value is None:
            return "normal"
        text = str(value) if value.__class__ is int else value
        known = PRIORITIES.get(text.lower()) if isinstance(text, str) else None
        if known is None:
            self.problems.add("priority", "must be 0 (highest) to 4 (lowest), or high, normal or low")
            return "normal"
        return known

    # What is used all over

    def _instant(self, value: Any, path: str) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str) or read_instant(value) is None:
            self.problems.add(path, "must be date, time and time zone (RFC 3339), as in 2026-11-23T09:00:00Z")
            return None
        return value.upper()

    def _id(self, value: Any, path: str) -> str:
        """The id, or an empty text after the problem was noted."""
        if _is_id(value):
            return value
        if isinstance(value, str) and value:
            self.problems.add(path, f"is longer than {_ID_LENGTH_MAX} characters")
        else:
            self._wrong(path, "a text that is not empty", value)
        return ""

    def _wrong(self, path: str, wanted: str, value: Any) -> None:
        self.problems.add(path, f"must be {wanted}, not {'an empty text' if value == '' else kind_of(value)}")

    def _refuse_characteristics(self, members: dict[str, Any], path: str) -> None:
        for name, value in members.items():
            if name in _CHARACTERISTICS or (
                (value.__class__ is dict or value.__class__ is list) and _holds_characteristics(value)
            ):
                self.problems.add(
                    f"{path}.{name}" if path else name,
                    "characteristics belong to the product of an order item: order what they describe as an item",
                )


def _is_id(value: Any) -> TypeGuard[str]:
    return value.__class__ is str and 0 < len(value) <= _ID_LENGTH_MAX


def _is_reserved(member: str) -> bool:
    return member[:1] == "$"


def _has_member(value: Any, is_meant: Callable[[str], bool]) -> bool:
    """Whether an object somewhere inside the value has such a member."""
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        if holder.__class__ is dict:
            if any(is_meant(name) for name in holder):
                return True
            holder = holder.values()
        waiting.extend(each for each in holder if each.__class__ is dict or each.__class__ is list)
    return False


def _holds_characteristics(value: Any) -> bool:
    return _has_member(value, _CHARACTERISTICS.__contains__)


def _name_in(kept: Mapping[str, Any] | None) -> str:
    name = kept.get("name") if kept else None
    return name if isinstance(name, str) else ""


def _facts_in(party: Mapping[str, Any]) -> dict[str, Any]:
    """What conditions may read of an account or a customer: id, name, role and every plain extension."""
    return {
        name: value
        for name, value in party.items()
        if isinstance(value, str | int | float) and name[:1] != "@" and name != "href"
    }
