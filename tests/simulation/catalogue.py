"""What simulated accounts order: one small release with every kind of work, and what the checkers know of it.

The tables below the release are written by hand from its words, not computed from it: the checkers must not believe
what the product believes.
"""

from __future__ import annotations

from typing import Any, Final

from tests.support.build import assetize, callout, depends, manual, milestone, plan_of, release_document, rule, scenario

_SECRETS: Final = [
    {"name": "PUK", "assetizable": False},
    {"name": "TAX", "encrypted": True},
]


def _document(version: str) -> dict[str, Any]:
    return release_document(
        version=version,
        emptyPlan="complete",
        dedicated="order.priority == 'high'",
        products=[
            {"code": "sim", "attributes": [*_SECRETS, {"name": "IMSI"}, {"name": "n"}]},
            {"code": "visit", "attributes": [{"name": "n"}]},
            {"code": "line", "attributes": [{"name": "n"}, {"name": "go"}, {"name": "NUM"}]},
            {"code": "voice", "attributes": [{"name": "n"}]},
            {"code": "mailbox", "scope": "account", "attributes": [{"name": "n"}]},
        ],
        decompositions=[rule("voice", "mailbox")],
        retries=[{"code": "some", "attemptsMax": 3, "delaysS": [2, 6]}],
        plans=[
            plan_of(
                "sim",
                callout("reserve", system="alpha", timeoutS=10, retry="some"),
                callout("activate", system="beta", timeoutS=10, retry="some"),
                callout("bill", system="gamma", timeoutS=10, retry="some"),
                callout("print", system="gamma", timeoutS=10, retry="some"),
                milestone("done"),
            ),
            plan_of(
                "visit",
                manual("survey", form=[{"name": "n", "type": "integer"}]),
                callout("close", system="alpha", timeoutS=10, retry="some", condition="attributes.n != 3"),
                assetize(),
            ),
            plan_of(
                "line",
                callout("order", system="beta", timeoutS=10, retry="some"),
                {"code": "wait", "type": "pushEvent", "event": "attributes.go == 'yes'"},
                {"code": "build", "type": "subPlan", "subPlan": "inner"},
                {"code": "back", "type": "autoTask", "task": "backPropagate"},
            ),
            plan_of("inner", callout("dig", system="alpha", timeoutS=10, retry="some"), manual("inspect")),
            plan_of("voice", callout("port", system="gamma", timeoutS=10, retry="some")),
            plan_of(
                "mailbox",
                callout("create", system="beta", timeoutS=10, retry="some"),
            ),
        ],
        dependencies=[
            depends("sim/activate", "sim/reserve"),
            depends("sim/bill", "sim/reserve"),
            depends("sim/done", "sim/activate"),
            depends("sim/done", "sim/bill"),
            depends("visit/close", "visit/survey"),
            depends("visit/assetize", "visit/close"),
            depends("line/wait", "line/order"),
            depends("line/build", "line/wait"),
            depends("inner/inspect", "inner/dig"),
            depends("line/back", "line/build"),
            depends("voice/port", "mailbox/create", "order"),
        ],
        scenarios=[
            scenario("sim", "sim", "add", "modify", "delete"),
            scenario("visit", "visit", "add", "modify", "delete"),
            scenario("line", "line", "add", "delete"),
            scenario("voice", "voice", "add", "delete"),
            scenario("mailbox", "mailbox", "add", "delete"),
        ],
    )


RELEASES: Final = tuple(_document(str(number)) for number in range(1, 4))
"""Releases in the order of their publishing; they differ in their version only."""

WAITS_FOR: Final[dict[str, tuple[str, ...]]] = {
    "sim/activate": ("sim/reserve",),
    "sim/bill": ("sim/reserve",),
    "sim/done": ("sim/activate", "sim/bill"),
    "visit/close": ("visit/survey",),
    "visit/assetize": ("visit/close",),
    "line/wait": ("line/order",),
    "line/build": ("line/wait",),
    "inner/inspect": ("inner/dig",),
    "line/back": ("line/build",),
    "voice/port": ("mailbox/create",),
}
"""Item -> items of the same order that have to be done before it begins, by what the release says in words."""
INSIDE: Final = {"inner/dig": "line/build", "inner/inspect": "line/build"}
"""Item of a sub-plan -> the item that it is inside of: that has begun before, and is done after it."""
WORK: Final[dict[str, frozenset[str]]] = {
    "sim": frozenset({"sim/reserve", "sim/activate", "sim/bill", "sim/print", "sim/done"}),
    "visit": frozenset({"visit/survey", "visit/close", "visit/assetize"}),
    "line": frozenset({"line/order", "line/wait", "line/build", "line/back", "inner/dig", "inner/inspect"}),
}
"""Product of an order line -> the items that ordering (or deleting) it takes. Voice is told apart: its mailbox may
exist already.
"""
SYSTEMS: Final = ("alpha", "beta", "gamma")
