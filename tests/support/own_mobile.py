"""The own-mobile example as tests need it: its files, and the orders that are told apart only by what the account has.

A delete or mixed order names installed products, whose ids are known only after the add order was delivered; so these
orders are built from the add order and a map of specification name -> product id.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

FOLDER: Final = Path(__file__).parents[2] / "examples" / "own-mobile"
SPECIFICATIONS: Final = ("SIM CARD", "Mobile line", "Connectivity", "Time Bundle")
"""What the add order delivers, by specification name."""
NEW_MSISDN: Final = "4152790999"

_MIXED: Final = {"SIM CARD": "noChange", "Mobile line": "modify", "Connectivity": "noChange", "Time Bundle": "delete"}


def read(name: str) -> Any:
    """The content of a file of the example: `own-mobile-order.json`."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def bindings() -> Any:
    """Which system delivers what."""
    return yaml.safe_load((FOLDER / "bindings.yaml").read_text(encoding="utf-8"))


def add_order() -> dict[str, Any]:
    """Mobile Package 1 for a new customer: four specifications below a bundle."""
    order: dict[str, Any] = read("own-mobile-order.json")
    return order


def delete_order(product_ids: Mapping[str, str]) -> dict[str, Any]:
    """The same lines with action delete.

    Args:
        product_ids: id of the installed product by specification name.
    """
    return _follow_up("mobile-1111", dict.fromkeys(SPECIFICATIONS, "delete"), product_ids, "delete")


def mixed_order(product_ids: Mapping[str, str]) -> dict[str, Any]:
    """SIM CARD and Connectivity noChange, Mobile line with a new number, Time Bundle deleted."""
    order = _follow_up("mobile-1112", _MIXED, product_ids, "noChange")
    for item in order["productOrderItem"]:
        if _specification(item) == "Mobile line":
            item["product"]["productCharacteristic"][0]["value"] = NEW_MSISDN
    return order


def _follow_up(
    external_id: str, actions: Mapping[str, str], product_ids: Mapping[str, str], bundle_action: str
) -> dict[str, Any]:
    """The add order again, about products that are installed; an offering's line does what the line it sells does."""
    order = copy.deepcopy(add_order())
    order["externalId"] = external_id
    items = {item["id"]: item for item in order["productOrderItem"]}
    for item in items.values():
        sold = [
            items[relation["id"]]
            for relation in item.get("productOrderItemRelationship", ())
            if relation["relationshipType"] == "sells"
        ]
        name = _specification(item) or (_specification(sold[0]) if sold else None)
        item["action"] = actions[name] if name else bundle_action
        if _specification(item) is not None:
            item["product"]["id"] = product_ids[_specification(item) or ""]
    return order


def _specification(item: Mapping[str, Any]) -> str | None:
    name: str | None = item.get("product", {}).get("productSpecification", {}).get("name")
    return name
