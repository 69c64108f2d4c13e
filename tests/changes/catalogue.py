"""Random catalogues for changes of orders: small releases in which whatever a change has to mind occurs.

An attribute that orders give is never one that answers give, so that inventories can be compared with and without what
answers added. Each item answers under a name of its own.
"""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Any, Final

from domain.errors import BadRelease
from domain.release import CompiledRelease
from tests.support.build import assetize, callout, depends, manual, milestone, plan_of, release_of, rule

ORDERED: Final = ("n", "zone", "color", "pin", "code", "fixed")
"""Attributes that orders give: significant, key of a scope, insignificant, sealed, encrypted, and one that stays."""
SALEABLE: Final = ("a", "b")
SYSTEMS: Final = ("north", "south")
_SCOPES: Final = ("item", "item", "mainItem", "bundle", "order", "account", "key", "global")
_ITEM_SCOPES: Final = ("item", "item", "item", "mainItem", "bundle", "order", "global", "key")
_CONDITIONS: Final = (
    "attributes.n > 1", "attributes.n < 3", "attributes.zone == 'east'", "line.quantity > 1",
    "line.action != 'delete'", "order.description == 'urgent'", "has(previous.n)",
)  # fmt: skip
_WHENS: Final = ("attributes.n > 0", "attributes.n < 3", "attributes.zone == 'west'", "line.quantity < 3")
_DATES: Final = ("line.requestedStartAt", "'2026-03-02T09:02:00Z'", "order.dueAt")
_REQUESTS: Final = (
    {"n": "attributes.n"}, {"zone": "attributes.zone", "amount": "line.quantity"}, {"text": "order.description"},
    {"line": "line.id"}, {"pin": "attributes.pin"},
)  # fmt: skip
_RULES: Final = (("a", "t", 0.8), ("b", "t", 0.6), ("a", "u", 0.2), ("b", "u", 0.2), ("t", "u", 0.6))
"""Source, target and how often there is such a rule."""
_PLANS: Final = {"a": "pa", "b": "pb", "t": "pt", "u": "pu"}
"""By product: the plan that its scenario composes."""


@lru_cache(maxsize=64)
def releases_of(seed: int) -> tuple[CompiledRelease, CompiledRelease]:
    """A release and a later one of the same catalogue that differs in a few things."""
    for attempt in range(20):
        rng = random.Random(f"catalogue {seed} {attempt}")
        parts = _Draft(rng).parts()
        later = _Draft(rng).varied(parts)
        try:
            return release_of(**parts), release_of(**later, version="2")
        except BadRelease:
            # A dependency of the later one may close a circle.
            continue
    raise AssertionError(f"no release comes of seed {seed}")


class _Draft:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.is_undoable = rng.random() < 0.93
        """Whether each piece of work has a plan that undoes it."""
        self.has_no_return = rng.random() < 0.25

    def parts(self) -> dict[str, Any]:
        rng = self.rng
        plans = {
            code: [self._item(f"{code[1]}{at}") for at in range(rng.randint(1, 3))] for code in _PLANS.values()
        }
        if rng.random() < 0.3:
            sub_of = rng.choice(("pa", "pt"))
            plans["sub"] = [self._item(f"s{at}") for at in range(rng.randint(1, 2))]
            within = {"code": "within", "type": "subPlan", "subPlan": "sub", "scope": self._scope(), "scopeKey": "zone"}
            plans[sub_of].append(within)
        explicit = [code for code in ("a", "t", "u") if rng.random() < 0.15]
        if explicit or rng.random() < 0.3:
            for code in explicit or [rng.choice(("a", "t"))]:
                plans[_PLANS[code]].append(assetize(scope=self._scope(), scopeKey="zone"))
        products = [self._product(code, code in explicit) for code in ("a", "b", "t", "u")]
        return {
            "emptyPlan": rng.choice(("complete", "complete", "reject")),
            "products": products,
            "decompositions": self._rules(),
            "plans": [*(plan_of(code, *items) for code, items in plans.items()), *self._plans_of_change()],
            "dependencies": [*self._dependencies(plans), *_INSIDE],
            "scenarios": self._scenarios(),
            "retries": [{"code": "once", "attemptsMax": 1}, {"code": "twice", "attemptsMax": 2, "delaysS": [5]}],
            "systems": [{"code": code} for code in SYSTEMS],
            "queues": [{"code": "desk"}],
        }

    def varied(self, parts: dict[str, Any]) -> dict[str, Any]:
        """The parts of a later release: an item more or less, other conditions, mappings and dependencies."""
        rng = self.rng
        later = dict(parts)
        kept = [dict(plan) for plan in parts["plans"]]
        gone: set[str] = set()
        for plan in kept:
            if plan["code"] not in _PLANS.values():
                continue
            items = [dict(each) for each in plan["items"]]
            for item in items:
                if item["type"] in ("callout", "manualTask") and rng.random() < 0.15:
                    item["condition"] = rng.choice(("", *_CONDITIONS))
            if rng.random() < 0.2:
                items.append(self._item(f"{plan['code'][1]}9"))
            if len(items) > 1 and items[0]["type"] not in ("subPlan", "autoTask") and rng.random() < 0.15:
                gone.add(f"{plan['code']}/{items.pop(0)['code']}")
            plan["items"] = items
        later["plans"] = kept
        later["dependencies"] = [
            each for each in parts["dependencies"]
            if rng.random() > 0.1 and not {_named(each["item"]), _named(each["other"])} & gone
        ]  # fmt: skip
        if rng.random() < 0.4:
            later["decompositions"] = self._rules()
        if rng.random() < 0.3:
            later["scenarios"] = self._scenarios()
        return later

    def _scope(self) -> str:
        return self.rng.choice(_ITEM_SCOPES[:-1])

    def _product(self, code: str, is_explicit: bool) -> dict[str, Any]:
        rng = self.rng
        attributes: list[dict[str, Any]] = [
            {"name": "n"},
            {"name": "zone"},
            {"name": "color", "significant": False},
            {"name": "pin", "assetizable": False},
            {"name": "code", "encrypted": True},
            {"name": "fixed", "changeable": False},
            {"name": "go", "assetizable": True, "significant": False},
        ]
        attributes += [{"name": f"r_{letter}{at}"} for letter in "abtus" for at in (0, 1, 2, 9)]
        quantity = rng.choice(("sum", "max", "one"))
        product: dict[str, Any] = {"code": code, "attributes": attributes, "quantity": quantity}
        if code in ("t", "u"):
            product |= {"scope": rng.choice(_SCOPES[:-1]), "scopeKey": "zone"}
        if code == "b" and rng.random() < 0.15:
            product["asset"] = False
        if is_explicit:
            product["assetize"] = "explicit"
        return product

    def _item(self, code: str) -> dict[str, Any]:
        rng = self.rng
        members: dict[str, Any] = {"scope": rng.choice(_ITEM_SCOPES), "scopeKey": "zone"}
        if rng.random() < 0.25:
            members["condition"] = rng.choice(_CONDITIONS)
            members["skipBranch"] = rng.random() < 0.4
        if self.has_no_return and rng.random() < 0.15:
            members["pointOfNoReturn"] = True
        kind = rng.choice(("callout",) * 7 + ("manual",) * 2 + ("milestone", "event", "back"))
        if kind == "milestone":
            return milestone(code, **members)
        if kind == "event":
            return {"code": code, "type": "pushEvent", "event": "attributes.go == true"} | members
        if kind == "back":
            return {"code": code, "type": "autoTask", "task": "backPropagate"} | members
        if self.is_undoable or rng.random() < 0.5:
            members["rollbackPlan"] = rng.choice(("undo", "undo", "undo-long", "undo-long", "undo-by-hand"))
            if rng.random() < 0.2:
                members["rollbackGroup"] = rng.choice(("g", "h"))
        self._on_amend(members)
        if kind == "manual":
            return manual(code, form=[{"name": f"r_{code}", "type": "integer"}], **members)
        members["retry"] = rng.choice(("once", "twice"))
        if rng.random() < 0.12:
            members["processAfter"] = rng.choice(_DATES)
        if rng.random() < 0.12:
            members["freeze"] = "goOn"
        if rng.random() < 0.2:
            members["request"] = rng.choice(_REQUESTS)
        return callout(code, **(members | {"system": rng.choice(SYSTEMS)}))

    def _on_amend(self, members: dict[str, Any]) -> None:
        rng = self.rng
        drawn = rng.random()
        if drawn < 0.1:
            members["onAmend"] = "nothing"
        elif drawn < 0.2:
            members["onAmend"] = "redo"
        elif drawn < 0.35 and "rollbackPlan" in members:
            members["onAmend"] = "undoThenRedo"
        elif drawn < 0.45:
            members["amendPlan"] = rng.choice(("adapt", "adapt-long"))

    def _rules(self) -> list[dict[str, Any]]:
        rng = self.rng
        made = []
        for source, target, share in _RULES:
            if rng.random() > share:
                continue
            mappings: list[dict[str, Any]] = [{"to": name, "copy": name} for name in ORDERED if rng.random() < 0.8]
            if rng.random() < 0.15:
                mappings = [each for each in mappings if each["to"] != "n"]
                mappings.append({"to": "n", "expression": "has(attributes.n) ? attributes.n + 1 : 0"})
            members: dict[str, Any] = {"priority": rng.randint(1, 3)}
            if rng.random() < 0.25:
                members["when"] = rng.choice(_WHENS)
            made.append(rule(source, target, *mappings, **members))
        return made

    def _scenarios(self) -> list[dict[str, Any]]:
        rng = self.rng
        made = []
        for product, plan in _PLANS.items():
            actions = ["add", "modify", "delete"]
            if rng.random() < 0.1:
                actions.remove(rng.choice(actions))
            scenario: dict[str, Any] = {"product": product, "plan": plan, "actions": actions}
            if rng.random() < 0.1:
                scenario["when"] = rng.choice(_WHENS)
            made.append(scenario)
        if rng.random() < 0.2:
            made.append({"product": "b", "plan": "pt", "actions": ["add"]})
        return made

    def _dependencies(self, plans: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
        rng = self.rng
        refs = [f"{code}/{item['code']}" for code, items in plans.items() if code != "sub" for item in items]
        rng.shuffle(refs)
        # What an assetize item delivers is done by then, mostly.
        refs.sort(key=lambda ref: ref.endswith("/assetize") and rng.random() < 0.8)
        inner = [f"sub/{item['code']}" for item in plans.get("sub", ())]
        made = []
        for order in (refs, inner):
            for waiter in range(len(order)):
                for target in range(waiter):
                    if rng.random() < (0.75 if order[waiter].endswith("/assetize") else 0.3):
                        scope = rng.choice((None, None, None, "item", "bundle", "mainItem", "order", "key"))
                        made.append(depends(order[waiter], order[target], scope))
        return made

    def _plans_of_change(self) -> list[dict[str, Any]]:
        """Plans that undo, and plans that bring what is done in line."""
        return [
            plan_of("undo", callout("back", system="north")),
            plan_of("undo-long", callout("first", system="south"), milestone("done"), callout("last", system="north")),
            plan_of("undo-by-hand", manual("by-hand")),
            plan_of("adapt", callout("fit", system="north")),
            plan_of("adapt-long", callout("one", system="south"), manual("two")),
        ]


_INSIDE: Final = (
    depends("undo-long/done", "undo-long/first"),
    depends("undo-long/last", "undo-long/done"),
    depends("adapt-long/two", "adapt-long/one"),
)


def _named(end: dict[str, str]) -> str:
    return f"{end['plan']}/{end['item']}"
