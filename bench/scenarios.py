"""What is measured: plans and orders made for measuring, and the example catalogues.

`ten`, `deep`, `row`, `wide` and `people` stand in one release, so that they can run beside each other; `mixed` is a
release of its own, which takes its place for new orders.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from adapters.importers.tmf620 import import_tmf620
from domain.release_file import read_release, release_document
from orderplan.demo import home_internet, own_mobile
from orderplan.demo.release import merge

EXAMPLES: Final = Path(__file__).parents[1] / "examples"
SYSTEM: Final = "bench"
QUEUE: Final = "bench-desk"

TEN: Final[Mapping[str, tuple[str, ...]]] = {
    "start": (),
    "a1": ("start",),
    "a2": ("a1",),
    "b1": ("start",),
    "b2": ("b1",),
    "c1": ("start",),
    "c2": ("c1",),
    "join": ("a2", "b2", "c2"),
    "s1": ("join",),
    "s2": ("s1",),
}
"""What each item waits for: start -> three branches of two in sequence -> join -> two in sequence, six deep."""
DEEP: Final[Mapping[str, tuple[str, ...]]] = {f"i{n}": (f"i{n - 1}",) if n else () for n in range(200)}
ROW: Final[Mapping[str, tuple[str, ...]]] = {f"r{n}": (f"r{n - 1}",) if n else () for n in range(10)}
"""Ten in sequence: a plan has one call open at a time."""
WIDE: Final[Mapping[str, tuple[str, ...]]] = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c"), "e": ("d",)}
"""Of each line; the lines wait for nothing of one another."""
WIDE_LINES: Final = 2_000
PEOPLE: Final[Mapping[str, tuple[str, ...]]] = {"survey": (), "install": ("survey",), "hand-over": ("install",)}

Order = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One workload: how many items an order of it has, and how the n-th order of a run looks."""

    items: int
    order: Callable[[int, str], Order]


def bench_release() -> dict[str, Any]:
    """The release of `ten`, `deep`, `row`, `wide` and `people`, each with one product and one plan of its name."""
    dags = {"ten": TEN, "deep": DEEP, "row": ROW, "wide": WIDE, "people": PEOPLE}
    document: dict[str, Any] = {
        "format": "orderplan.release/1",
        "code": "bench",
        "version": "1",
        "systems": [{"code": SYSTEM}],
        "queues": [{"code": QUEUE}],
        "products": [
            {"code": name, "kind": "technical", "attributes": [{"name": "number"}]} for name in dags
        ],
        "scenarios": [{"plan": name, "product": name, "actions": ["add"]} for name in dags],
    }
    document["plans"] = [{"code": name, "items": [_item(name, code) for code in dag]} for name, dag in dags.items()]
    document["dependencies"] = [
        {"item": {"plan": name, "item": item}, "other": {"plan": name, "item": other}, "scope": "item"}
        for name, dag in dags.items()
        for item, others in dag.items()
        for other in others
    ]
    return document


def _item(plan: str, code: str) -> dict[str, Any]:
    if plan == "people":
        return {"code": code, "type": "manualTask", "queue": QUEUE}
    return {"code": code, "type": "callout", "system": SYSTEM, "operation": code}


def _order(product: str, lines: int = 1) -> Callable[[int, str], Order]:
    """Orders of one product, each for an account of its own."""

    def order(number: int, run: str) -> Order:
        return {
            "externalId": f"{run}-{number}",
            "relatedParty": [{"id": f"{run}-account-{number}", "role": "customer", "@referredType": "Individual"}],
            "productOrderItem": [
                {
                    "id": str(line),
                    "action": "add",
                    "product": {
                        "productSpecification": {"id": product},
                        "productCharacteristic": [{"name": "number", "value": str(number)}],
                    },
                }
                for line in range(1, lines + 1)
            ],
        }

    return order


def mixed_release() -> dict[str, Any]:
    """The own-mobile catalogue (TMF620, with its bindings) and home internet, as one release."""
    folder = EXAMPLES / "own-mobile"
    bindings = yaml.safe_load((folder / "bindings.yaml").read_text())
    catalogue = json.loads((folder / "own-mobile-catalogue.json").read_text())
    mobile, _ = import_tmf620(catalogue, bindings, "1")
    home = read_release(yaml.safe_load((EXAMPLES / "home-internet" / "release.yaml").read_text()))
    return release_document(merge("bench-mixed", "1", [mobile, home]))


def _mixed() -> Callable[[int, str], Order]:
    mobile = json.loads((EXAMPLES / "own-mobile" / "own-mobile-order.json").read_text())
    homes = home_internet.samples(EXAMPLES / "home-internet")

    def order(number: int, run: str) -> Order:
        """Two of three are mobile, as in the demo; the third is one of the home internet samples in turn."""
        account = f"{run}-account-{number}"
        if number % 3:
            made = own_mobile.add(mobile, own_mobile.Customer(number), f"{run}-{number}")
        else:
            made = copy.deepcopy(homes[number // 3 % len(homes)])
            made["externalId"] = f"{run}-{number}"
            if "billingAccount" in made:
                made["billingAccount"]["id"] = account
        for party in made.get("relatedParty", ()):
            if str(party.get("role", "")).lower() == "customer":
                party["id"] = account
        return made

    return order


def scenarios() -> dict[str, Scenario]:
    """All of them, by name. `mixed` has no fixed number of items: it is counted after the run."""
    return {
        "ten": Scenario(len(TEN), _order("ten")),
        "deep": Scenario(len(DEEP), _order("deep")),
        "row": Scenario(len(ROW), _order("row")),
        "wide": Scenario(WIDE_LINES * len(WIDE), _order("wide", WIDE_LINES)),
        "people": Scenario(len(PEOPLE), _order("people")),
        "mixed": Scenario(0, _mixed()),
    }
