"""A neutral order as a TMF622 v4 resource again: what the channel sent, and how it goes.

`Order.rest`, as gateway/tmf622.py fills it, holds the order's members under their own names (a member called `items`,
or starting with `$`, gets one more `$`) and the parts of lines under `items`, by line id:

    item            members of the order item
    productOffering, product, specification     members of these objects besides their id
    characteristics name -> members besides name and value
    configuration   present if the values came in MEF's `productConfiguration`: its `@` members; `configured`: the names
    relationships   members of each relation besides id and type, in order
    nested          ids of the items that stood inside this one (they became its children by a `contains` relation)
    offeringInside  true if the offering was named inside the product
    places          the list of places with null for the one that is the line's own; null if it was not a list
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

PRODUCT_ORDER_PATH: Final = "/tmf-api/productOrderingManagement/v4/productOrder"
_HIDDEN: Final = "********"

# TMF622: 0 is the highest priority, 4 the lowest; 2 and 3 are the middle, as is an order that says nothing.
PRIORITIES: Final = {
    "0": "high",
    "1": "high",
    "2": "normal",
    "3": "normal",
    "4": "low",
    "high": "high",
    "normal": "normal",
    "medium": "normal",
    "low": "low",
}
_PRIORITY_SHOWN: Final = {"high": "1", "normal": "2", "low": "4"}


def render_order(order_document: Mapping[str, Any], view: Mapping[str, Any]) -> dict[str, Any]:
    """The TMF622 v4 resource of an order: what the channel sent, and how it goes.

    Args:
        order_document: what `Order.to_dict` gave, its attributes classified: values out of sight show as asterisks.
        view: any of `state`, `orderDate`, `completionDate`, `expectedCompletionDate`, `cancellationDate` (texts),
            `stateReasons` (a list), `notes` (added to the channel's own), and `lines`: by line id `state`, the
            `productId` of what was delivered, and the `attributes` that the line has got since.
    Returns:
        A document that shares parts with `order_document`: write it out, do not change it.
    """
    rest = order_document.get("rest", {})
    document: dict[str, Any] = {"id": order_document["id"], "href": f"{PRODUCT_ORDER_PATH}/{order_document['id']}"}
    for name, value in rest.items():
        if name != "items":
            document[name[1:] if name[:1] == "$" else name] = value
    document.setdefault("@type", "ProductOrder")
    for name, key in (
        ("externalId", "externalId"),
        ("description", "description"),
        ("requestedCompletionDate", "dueAt"),
        ("requestedStartDate", "requestedStartAt"),
    ):
        if key in order_document and name not in document:
            document[name] = order_document[key]
    priority = order_document.get("priority", "normal")
    sent_priority = document.get("priority")
    # The channel's own word, unless the priority was changed since.
    if ("normal" if sent_priority is None else PRIORITIES.get(str(sent_priority).lower())) != priority:
        document["priority"] = _PRIORITY_SHOWN[priority]
    for name in ("state", "orderDate", "completionDate", "expectedCompletionDate", "cancellationDate"):
        if view.get(name) is not None:
            document[name] = view[name]
    if view.get("stateReasons"):
        document["stateReasons"] = view["stateReasons"]
    if view.get("notes"):
        sent = document.get("note")
        document["note"] = [*(sent if isinstance(sent, list) else ()), *view["notes"]]
    document["productOrderItem"] = _render_items(order_document["lines"], rest.get("items", {}), view.get("lines", {}))
    return document


def _render_items(
    lines: list[dict[str, Any]], items_rest: Mapping[str, Any], line_views: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """All items, those that were nested inside another one back in their place."""
    rendered: dict[str, dict[str, Any]] = {}
    for line in lines:
        line_id = line["id"]
        rendered[line_id] = _render_item(line, items_rest.get(line_id, {}), line_views.get(line_id, {}))
    inside: set[str] = set()
    for line_id, item in rendered.items():
        nested = [below for below in items_rest.get(line_id, {}).get("nested", ()) if below in rendered]
        if nested:
            item["productOrderItem"] = [rendered[below] for below in nested]
            inside.update(nested)
    return [item for line_id, item in rendered.items() if line_id not in inside]


def _render_item(line: Mapping[str, Any], kept: Mapping[str, Any], line_view: Mapping[str, Any]) -> dict[str, Any]:
    item: dict[str, Any] = {
        **kept.get("item", {}),
        "id": line["id"],
        "action": line["action"],
        "quantity": line.get("quantity", 1),
    }
    if line_view.get("state") is not None:
        item["state"] = line_view["state"]
    if "subAction" in line:
        item["subAction"] = line["subAction"]
    if "requestedStartAt" in line:
        item["requestedStartDate"] = line["requestedStartAt"]
    product = _render_product(line, kept, line_view.get("productId"), line_view.get("attributes", {}))
    offering = _joined(line.get("offering"), kept.get("productOffering"))
    if offering is not None:
        if kept.get("offeringInside"):
            product["productOffering"] = offering
        else:
            item["productOffering"] = offering
    if product or "product" in kept:
        item["product"] = product
    pairs = [(kind, other) for kind, other in line.get("relations", ())]
    # Those that stand for nesting were added behind the ones that were sent.
    implied = [("contains", below) for below in kept.get("nested", ())]
    if implied and pairs[-len(implied) :] == implied:
        del pairs[-len(implied) :]
    if pairs:
        metadata = kept.get("relationships") or [{}] * len(pairs)
        item["productOrderItemRelationship"] = [
            {"id": other, "relationshipType": kind, **(metadata[index] if index < len(metadata) else {})}
            for index, (kind, other) in enumerate(pairs)
        ]
    return item


def _render_product(
    line: Mapping[str, Any], kept: Mapping[str, Any], delivered: str | None, got: Mapping[str, Any]
) -> dict[str, Any]:
    product: dict[str, Any] = dict(kept.get("product", {}))
    if (product_id := line.get("productId", delivered)) is not None:
        product["id"] = product_id
    if (specification := _joined(line.get("specification"), kept.get("specification"))) is not None:
        product["productSpecification"] = specification
    configured = frozenset(kept.get("configured", ()))
    attributes = {**line.get("attributes", {}), **got}
    metadata = kept.get("characteristics", {})
    characteristics = [
        {"name": name, "value": _shown_value(value), **metadata.get(name, {})}
        for name, value in attributes.items()
        if name not in configured
    ]
    if characteristics:
        product["productCharacteristic"] = characteristics
    if "configuration" in kept:
        values = {name: _shown_value(value) for name, value in attributes.items() if name in configured}
        product["productConfiguration"] = {**kept["configuration"], **values}
    if "places" in kept:
        places = kept["places"]
        product["place"] = (
            line.get("place", {})
            if places is None
            else [line.get("place", {}) if each is None else each for each in places]
        )
    return product


def _joined(reference_id: str | None, members: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A reference from its id and its other members; None if it was not sent."""
    if reference_id is None and members is None:
        return None
    return {**({} if reference_id is None else {"id": reference_id}), **(members or {})}


def _shown_value(value: Any) -> Any:
    """The value, or asterisks if it is only a reference to one that is sealed or encrypted."""
    if isinstance(value, dict) and any(name[:1] == "$" for name in value):
        return _HIDDEN
    return value
