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


_SIM: Final[dict[str, frozenset[str]]] = {
    "1": frozenset({"sim/reserve", "sim/activate", "sim/bill", "sim/print", "sim/done"}),
    "2": frozenset({"sim/reserve", "sim/activate", "sim/bill", "sim/print", "sim/done", "sim/welcome"}),
    "3": frozenset({"sim/reserve", "sim/activate", "sim/bill", "sim/done", "sim/welcome"}),
}
"""Version of the release -> the items of a sim. Welcome is new in the second one, print is gone with the third."""


def _call(code: str, system: str, **members: Any) -> dict[str, Any]:
    return callout(code, system=system, timeoutS=10, retry="some", **members)


def _sim_items() -> list[dict[str, Any]]:
    return [
        _call("reserve", "alpha", rollbackPlan="unreserve"),
        _call("activate", "beta", onAmend="undoThenRedo", rollbackPlan="deactivate"),
        _call("bill", "gamma", amendPlan="rebill", rollbackPlan="credit"),
        _call("print", "gamma", onAmend="nothing", freeze="goOn"),
        _call("welcome", "beta"),
        milestone("done"),
    ]


def _document(version: str) -> dict[str, Any]:
    return release_document(
        version=version,
        emptyPlan="complete",
        dedicated="order.priority == 'high'",
        products=[
            {"code": "sim", "attributes": [*_SECRETS, {"name": "IMSI", "changeable": False}, {"name": "n"}]},
            {"code": "visit", "attributes": [{"name": "n"}]},
            {"code": "line", "attributes": [{"name": "n"}, {"name": "go"}, {"name": "NUM"}]},
            {"code": "voice", "attributes": [{"name": "n"}]},
            {"code": "mailbox", "scope": "account", "attributes": [{"name": "n"}]},
        ],
        decompositions=[rule("voice", "mailbox")],
        retries=[{"code": "some", "attemptsMax": 3, "delaysS": [2, 6]}],
        plans=[
            plan_of("sim", *(each for each in _sim_items() if f"sim/{each['code']}" in _SIM[version])),
            plan_of(
                "visit",
                manual("survey", form=[{"name": "n", "type": "integer"}]),
                _call("close", "alpha", condition="attributes.n != 3", rollbackPlan="reopen"),
                assetize(),
            ),
            plan_of(
                "line",
                _call("order", "beta", rollbackPlan="giveback"),
                {"code": "wait", "type": "pushEvent", "event": "attributes.go == 'yes'"},
                {"code": "build", "type": "subPlan", "subPlan": "inner"},
                {"code": "back", "type": "autoTask", "task": "backPropagate"},
            ),
            plan_of(
                "inner", _call("dig", "alpha", pointOfNoReturn=True, rollbackPlan="fill"), manual("inspect")
            ),
            plan_of("voice", _call("port", "gamma", rollbackPlan="unport")),
            plan_of("mailbox", _call("create", "beta", rollbackPlan="drop")),
            plan_of("unreserve", _call("free", "alpha")),
            plan_of("deactivate", _call("off", "beta")),
            plan_of("rebill", _call("adjust", "gamma")),
            plan_of("credit", _call("refund", "gamma")),
            plan_of("reopen", manual("visit")),
            plan_of("giveback", _call("return", "beta")),
            plan_of("fill", _call("earth", "alpha")),
            plan_of("unport", _call("back", "gamma")),
            plan_of("drop", _call("box", "beta")),
        ],
        dependencies=[
            depends("sim/activate", "sim/reserve"),
            depends("sim/bill", "sim/reserve"),
            depends("sim/done", "sim/activate"),
            depends("sim/done", "sim/bill"),
            *([depends("sim/welcome", "sim/activate")] if "sim/welcome" in _SIM[version] else []),
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
"""Releases in the order of their publishing."""

WAITS_FOR: Final[dict[str, tuple[str, ...]]] = {
    "sim/activate": ("sim/reserve",),
    "sim/bill": ("sim/reserve",),
    "sim/done": ("sim/activate", "sim/bill"),
    "sim/welcome": ("sim/activate",),
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
_WORK: Final[dict[str, frozenset[str]]] = {
    "visit": frozenset({"visit/survey", "visit/close", "visit/assetize"}),
    "line": frozenset({"line/order", "line/wait", "line/build", "line/back", "inner/dig", "inner/inspect"}),
}


def work_of(product: str, release_id: str) -> frozenset[str]:
    """The items that ordering (or deleting) a product takes, by a release. Those of voice are told apart: its mailbox
    may exist already.
    """
    return _SIM[release_id.rpartition("@")[2]] if product == "sim" else _WORK.get(product, frozenset())


UNDOES: Final[dict[str, str]] = {
    "unreserve/free": "sim/reserve",
    "deactivate/off": "sim/activate",
    "credit/refund": "sim/bill",
    "reopen/visit": "visit/close",
    "giveback/return": "line/order",
    "fill/earth": "inner/dig",
    "unport/back": "voice/port",
    "drop/box": "mailbox/create",
}
"""Item -> the item that it undoes. What is not here cannot be undone, and is left as it is."""
UNDONE_BY: Final = {work: undo for undo, work in UNDOES.items()}
AGAIN: Final = frozenset(
    {
        "sim/reserve", "sim/activate", "sim/welcome", "visit/survey", "visit/close", "line/order", "line/back",
        "inner/dig", "inner/inspect", "voice/port",
    }
)  # fmt: skip
"""Items that are done again when they are done and their line gets other values."""
UNDONE_FIRST: Final = frozenset({"sim/activate"})
"""Of these, the ones that are undone before."""
AMENDS: Final = {"rebill/adjust": "sim/bill"}
"""Item -> the item that it brings in line with other values, instead of doing it again."""
GOES_ON: Final = frozenset({"sim/print"})
"""Calls that no change waits for."""
CALLS: Final = frozenset(
    {
        "sim/reserve", "sim/activate", "sim/bill", "sim/print", "sim/welcome", "visit/close", "line/order",
        "inner/dig", "voice/port", "mailbox/create", *UNDOES.keys() - {"reopen/visit"}, *AMENDS,
    }
)  # fmt: skip
"""Items that call a system."""
NO_RETURN: Final = frozenset({"inner/dig"})
"""Once one of these has begun, its bundle changes by force only."""
RESOLVE: Final = "resolve/fallout"
"""The task of a person who finds out what a call has done that nobody needs any more."""
SYSTEMS: Final = ("alpha", "beta", "gamma")
