"""Orders of the own-mobile example, by hundreds: for invented customers, and what they order later.

A later order names installed products, whose ids are known only after the first one was delivered; the ids come from
the inventory, as they would for any channel.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

Order = dict[str, Any]

SIM_CARD: Final = "SIM CARD"
MOBILE_LINE: Final = "Mobile line"
CONNECTIVITY: Final = "Connectivity"
TIME_BUNDLE: Final = "Time Bundle"
SPECIFICATIONS: Final = (SIM_CARD, MOBILE_LINE, CONNECTIVITY, TIME_BUNDLE)
"""What the sample order delivers, by name of the specification."""
VOLUMES: Final = ("1h", "2h", "5h")


@dataclass(frozen=True, slots=True)
class Customer:
    """An invented customer; everything follows from the number."""

    number: int

    @property
    def account(self) -> str:
        """The id that orders name."""
        return f"demo-{self.number:05}"

    @property
    def values(self) -> dict[tuple[str, str], str]:
        """What the first order asks for, by specification and characteristic. 001-01 is nobody's network."""
        return {
            (MOBILE_LINE, "MSISDN"): f"4152{self.number:06}",
            (CONNECTIVITY, "ICCID"): f"8900100{self.number:011}",
            (SIM_CARD, "IMSI"): f"00101{self.number:010}",
            (TIME_BUNDLE, "volume"): VOLUMES[self.number % len(VOLUMES)],
        }


def add(sample: Order, customer: Customer, external_id: str, **changed: str) -> Order:
    """The sample order for another customer; `changed` sets characteristics by name."""
    order = _for(sample, customer, external_id)
    values = customer.values
    for (specification, name), value in values.items():
        _set(order, specification, name, changed.get(name, value))
    return order


def follow_up(
    sample: Order,
    customer: Customer | None,
    external_id: str,
    actions: Mapping[str, str],
    product_ids: Mapping[str, str],
    changes: Mapping[tuple[str, str], str] | None = None,
) -> Order:
    """A later order about what the sample order delivered.

    Args:
        sample: the order that was delivered.
        customer: whose it is; None: the sample's own.
        external_id: the channel's name for the new order.
        actions: by specification.
        product_ids: ids of the installed products, by specification.
        changes: new values, by specification and characteristic.
    """
    order = _for(sample, customer, external_id)
    items = {item["id"]: item for item in order["productOrderItem"]}
    whole = set(actions.values())
    for item in items.values():
        name = specification_of(item)
        if name is None:
            # An offering does what the line it sells does; the bundle above does what all of them do.
            sold = [items[each["id"]] for each in _relations(item) if each["relationshipType"] == "sells"]
            sold_name = specification_of(sold[0]) if sold else None
            item["action"] = actions[sold_name] if sold_name else whole.copy().pop() if len(whole) == 1 else "noChange"
        else:
            item["action"] = actions[name]
            item["product"]["id"] = product_ids[name]
    if customer is not None:
        for (specification, name), value in customer.values.items():
            _set(order, specification, name, value)
    for (specification, name), value in (changes or {}).items():
        _set(order, specification, name, value)
    return order


def new_number(number: str) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """Actions and changes of an order for another telephone number."""
    return {**dict.fromkeys(SPECIFICATIONS, "noChange"), MOBILE_LINE: "modify"}, {(MOBILE_LINE, "MSISDN"): number}


def new_volume(volume: str) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """Actions and changes of an order for a larger bundle of minutes."""
    return {**dict.fromkeys(SPECIFICATIONS, "noChange"), TIME_BUNDLE: "modify"}, {(TIME_BUNDLE, "volume"): volume}


def everything(action: str) -> dict[str, str]:
    """The same action for all specifications."""
    return dict.fromkeys(SPECIFICATIONS, action)


def specification_of(item: Mapping[str, Any]) -> str | None:
    """The name of the specification that an order item is about; None for an offering's own line."""
    name: str | None = item.get("product", {}).get("productSpecification", {}).get("name")
    return name


def _for(sample: Order, customer: Customer | None, external_id: str) -> Order:
    order = copy.deepcopy(sample)
    order["externalId"] = external_id
    if customer is not None:
        order["description"] = "an order of the demo"
        for party in order["relatedParty"]:
            party["id"], party["name"] = customer.account, f"Customer {customer.number}"
    return order


def _relations(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    relations: list[dict[str, Any]] = item.get("productOrderItemRelationship", [])
    return relations


def _set(order: Order, specification: str, name: str, value: str) -> None:
    for item in order["productOrderItem"]:
        if specification_of(item) == specification:
            for each in item["product"].get("productCharacteristic", ()):
                if each["name"] == name:
                    each["value"] = value
