"""Orders of the home-internet example, by dozens: each of its sample orders in turn, for invented customers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from orderplan.cli.files import read_object


def samples(folder: Path) -> list[dict[str, Any]]:
    """The example's orders, by file name."""
    return [read_object(str(path)) for path in sorted(folder.glob("order*.json"))]


def orders(folder: Path, count: int) -> list[dict[str, Any]]:
    """So many orders of new customers, the samples in turn."""
    found = samples(folder)
    return [_for_customer(found[number % len(found)], number + 1) for number in range(count)]


def _for_customer(sample: dict[str, Any], number: int) -> dict[str, Any]:
    order = copy.deepcopy(sample)
    order["externalId"] = f"demo-home-{number:05}"
    account = f"demo-home-{number:05}"
    if "billingAccount" in order:
        order["billingAccount"]["id"] = account
    for party in order.get("relatedParty", ()):
        if str(party.get("role", "")).lower() == "customer":
            party["id"] = account
    return order
