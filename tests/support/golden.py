"""Golden files of facts: how every kind was written, version by version, and what reading it has to give.

The facts come from real runs of sample orders on releases that are frozen beside them, with fixed ids and times. A file
that exists is never written again: it stands for what is in somebody's database. When a payload changes its form, raise
its version in `domain.facts.VERSIONS`, add an upcaster, and write the files of the new version:

    python -m tests.support.golden
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from domain import facts as f
from domain.compose import Template
from domain.evolve import plan_from_facts
from domain.facts import VERSIONS, Fact, upcast
from domain.holds import HoldCause
from domain.inventory import Asset, AssetDelta
from domain.messages import ChangeLine, Quarantine, Report
from domain.orders import Order
from domain.plan import Plan
from domain.publish import compile_release
from domain.release import CompiledRelease
from domain.release_file import read_release
from gateway.tmf622 import parse_order
from tests.support.build import line, order_of
from tests.support.engine import START, Engine

FOLDER: Final = Path(__file__).parents[1] / "golden" / "facts"
EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "home-internet"
OPEN_MAPS: Final = frozenset(
    {"attributes", "previous", "accountFacts", "rest", "place", "uses", "addUses", "set", "payload"}
)
"""Members whose own members are data, not form."""


@cache
def release(name: str, version: str = "") -> CompiledRelease:
    """A frozen release, or the same one as another version."""
    document = json.loads((FOLDER / "releases" / f"{name}.json").read_text(encoding="utf-8"))
    return compile_release(read_release(document | ({"version": version} if version else {})))


def path_of(kind: str, version: int) -> Path:
    """Where the golden file of a kind's version stands."""
    return FOLDER / f"v{version}" / f"{kind}.json"


# The runs.


def sample(name: str, **changes: Any) -> Order:
    """A sample order of the example; `changes` replace members of the document."""
    document = json.loads((FOLDER / "orders" / f"{name}.json").read_text(encoding="utf-8")) | changes
    return parse_order(document, order_id="", tenant="main", client_key="key-1")


def fibre() -> Engine:
    """Accepted with a secret; a call fails, is refused, retried by an operator and completed with an answer."""
    engine = Engine(release("home-internet"))
    order = sample(
        "fibre",
        priority="high",
        requestedCompletionDate="2026-03-20T17:00:00Z",
        requestedStartDate="2026-03-01T08:00:00Z",
    )
    plan = engine.accept(order, body_hash=b"\x0f\xf0")
    engine.fail(plan, engine.call(plan, "prepare-fibre/reserve"), unheard=True)
    engine.fire(plan, "prepare-fibre/reserve@access-fibre@1")
    reserve = engine.call(plan, "prepare-fibre/reserve")
    engine.answer(plan, reserve, {"attributes": {"serialNumber": "S-1"}})
    engine.answer(plan, reserve)
    ship = engine.call(plan, "ship-router/ship")
    engine._take(plan, ship)
    engine.tell(plan, Report(ship.item, 1, "completed", simulated=True))
    engine.answer(plan, engine.call(plan, "open-account/open"))
    engine.fail(plan, engine.call(plan, "activate/activate"), fatal=True)
    engine.operate(plan, "activate/activate@access-fibre@1", "edit", payload={"speed": "1G"}, is_patch=True)
    engine.fail(plan, engine.call(plan, "activate/activate"), fatal=True)
    engine.operate(plan, "activate/activate@access-fibre@1", "retry")
    engine.finish(plan)
    return engine


def copper() -> Engine:
    """People: a survey that is taken, given back and done; a visit on a later day; a number that is not ported."""
    engine = Engine(release("home-internet"))
    order = sample("copper")
    order.lines[0].requested_start_at = "2026-03-09T08:00:00+01:00"
    del order.lines[0].attributes["portingNumber"]
    plan = engine.accept(order)
    book = engine.call(plan, "survey/book")
    engine.tell(plan, Report(book.item, 1, "accepted"))
    engine.answer(plan, book)
    engine.claim(plan, "survey/visit@1")
    engine.annotate(plan, "survey/visit@1", "nobody was in")
    engine.release_task(plan, "survey/visit@1")
    engine.complete_task(plan, "survey/visit@1", {"surveyResult": "good", "ductAvailable": True})
    engine.finish(plan)
    engine.fire(plan, "prepare-copper/visit@access-copper@1")
    engine.complete_task(plan, "prepare-copper/visit@access-copper@1", {"technician": "T-7", "serialNumber": "S-2"})
    engine.finish(plan)
    return engine


def joined() -> Engine:
    """Two orders that share the billing account; orders that wait, one of them in vain; one that is rejected."""
    engine = Engine(release("home-internet"))
    first = engine.accept(sample("fibre"))
    second = engine.accept(sample("fibre", externalId="web-100002"))
    offer = first.lines[0].asset_id
    engine.accept(order_of(line("1", None, "delete", product_id=offer), account=first.order.account))
    late = order_of(line("1", None, "modify", product_id=offer, speed="250"), account=first.order.account)
    engine.accept(late)
    while any(plan.ended_at is None for plan in engine.plans.values()):
        for plan in engine.plans.values():
            engine.finish(plan)
    other = second.lines[0].asset_id
    engine.accept(order_of(line("1", None, "noChange", product_id=other), account=first.order.account))
    return engine


def branches() -> Engine:
    """Skips of every kind, an operator's completion, values of every kind in lines, and data that cannot be stored."""
    engine = Engine(release("branches"))
    plan = engine.accept(
        order_of(
            line("1", "offer", quantity=2, place={"city": "Exampleville"}, product_relations=(("reliesOn", "p-0"),)),
            line("2", "part", below="1", pin="1234", offering="offer-9"),
            channel="shop",
            external_id="ext-1",
            description="all there is",
            account_facts={"segment": "business"},
        )
    )
    engine.fail(plan, engine.call(plan, "p/one"), fatal=True)
    engine.operate(plan, "p/one@2", "skip")
    engine.tell(plan, Quarantine("a value cannot be stored", "p/two@2"))
    engine.operate(plan, "p/two@2", "complete", {"attributes": {"number": "079"}})
    engine.wait(600)
    engine.redrive(plan)
    engine.finish(plan)
    change = engine.accept(order_of(line("1", None, "suspend", product_id=plan.lines[1].asset_id)))
    engine.finish(change)
    engine.accept(order_of(line("1", None, "delete", product_id=plan.lines[1].asset_id)))
    return engine


def replaced() -> Engine:
    """An instance of the account on its way out, and the order that makes a new one; a line that only sells another."""
    engine = Engine(release("branches"))
    first = engine.accept(order_of(line("1", "mail")))
    engine.finish(first)
    leave = engine.accept(order_of(line("1", "mail", "delete")))
    again = engine.accept(order_of(line("1", "mail")))
    for plan in (leave, again):
        engine.finish(plan)
    engine.accept(
        order_of(
            line("1", None, offering="seller", name="Package"),
            line("2", "offer", relations=(("isSold", "1"),)),
            line("3", "offer"),
        )
    )
    return engine


def dedicated() -> Engine:
    """A plan with a host of its own, whose account is told what it delivers; one that shares against the rule."""
    engine = Engine(release("dedicated"))
    plan = engine.accept(order_of(line("1", "offer"), line("2", "part", below="1"), priority="high"))
    engine.accept(order_of(line("1", "part"), priority="high"))
    engine.answer(plan, engine.call(plan, "p/one"), {"attributes": {"number": "079"}})
    for each in list(engine.plans.values()):
        engine.finish(each)
    engine.accept(order_of(line("1", "idle"), priority="high"))
    return engine


def waiting() -> Engine:
    """A push event that a value makes true, a sub-plan, and what a line has got brought to its order line."""
    engine = Engine(release("waiting"))
    plan = engine.accept(order_of(line("1", "offer")))
    engine.tell(plan, ChangeLine("1", {"pin": "1234"}, "the customer has called", "c-1"), "person:olga", "c-1")
    engine.tell(plan, ChangeLine("part@1", {"number": "079"}, "it was ported", "c-2"), "person:olga", "c-2")
    engine.finish(plan)
    return engine


def held() -> Engine:
    """A system that is offline when its item is due; a call that comes back unmade, twice."""
    engine = Engine(release("branches"))
    engine.hold("sys")
    plan = engine.accept(order_of(line("1", "offer"), line("2", "part", below="1")))
    engine.hold()
    for item in [item.key for item in plan.items if item.hold is not None]:
        engine.resume(plan, item)
    engine.turn_back(plan, engine.calls[plan.order_id][0], HoldCause.BUSY)
    for item in [item.key for item in plan.items if item.hold is not None]:
        engine.resume(plan, item)
    engine.finish(plan)
    return engine


def changed() -> Engine:
    """Orders that are steered and changed under way: amended, cancelled by bundle and as a whole, moved, refused."""
    engine = Engine(release("changed"))
    plan = engine.accept(order_of(line("1", "offer", speed=100, pin="1234"), line("2", "offer", speed=50)))
    for action in ("hold", "resume", "freeze", "thaw"):
        engine.steer(plan, action)
    engine.steer(plan, "prioritize", "high")
    engine.change(
        plan, "amend", order=order_of(line("1", "offer", speed=200, pin="1234"), line("2", "offer", speed=50))
    )
    for call in list(engine.calls[plan.order_id]):
        engine.answer(plan, call)
    engine.change(plan, "cancel", lines=("2",), is_forced=True)
    while engine.calls[plan.order_id] and engine.tasks[plan.order_id].keys() != {"p/three@1"}:
        engine.answer(plan, engine.calls[plan.order_id][0])
    later = release("changed", "2")
    engine.releases[later.release_id] = later
    engine.change(plan, "move", release=later.release_id)
    engine.change(plan, "patch", patch={"lines": {"1": {"attributes": {"speed": 300}}}})
    engine.change(plan, "cancel")
    engine.finish(plan)

    first = engine.accept(order_of(line("1", "mail", size=1)))
    engine.change(first, "amend", order=order_of(line("1", "mail", size=2)))
    second = engine.accept(order_of(line("1", "mail", size=3)))
    engine.answer(first, engine.calls[first.order_id][0])
    for each in (first, second):
        engine.finish(each)

    rest = engine.accept(order_of(line("1", "offer", speed=10)))
    leave = engine.accept(order_of(line("1", "offer", "modify", product_id=rest.lines[0].asset_id, pin="77")))
    engine.change(leave, "patch", patch={"lines": {"1": {"attributes": {"pin": "78"}}}})
    engine.finish(rest)

    gone = engine.accept(order_of(line("1", "mail", size=4), account="acc-2"))
    # It would share the box, and waits for its own call before it makes one itself.
    engine.accept(order_of(line("1", "mail", size=5), line("2", "offer", speed=1), account="acc-2"))
    engine.change(gone, "cancel")
    engine.finish(gone)
    return engine


def booked() -> Fact:
    """What a dedicated plan has delivered, as its account keeps it."""
    delta = AssetDelta(
        op="create",
        asset_id="p-1",
        product="router",
        root_id="p-0",
        name="Router",
        offering="PO-1",
        set={"model": "H-10"},
        quantity=2,
        quantity_rule="max",
        add_uses={"p-0": 2},
        drop_uses=("p-9",),
        instance="bundle",
        relations=(("reliesOn", "p-2"),),
        place={"city": "Exampleville"},
        status="active",
    )
    payload = {"account": "acc-1", "order": "o40-1", "number": 2, "changes": [delta.to_dict()], "isLast": True}
    return Fact(f.ASSETS_BOOKED, START, None, payload, "system", "booking o40-1/2")


def imported() -> Fact:
    """Installed products that came from outside."""
    asset = Asset(
        asset_id="p-1",
        product="router",
        root_id="p-0",
        name="Router",
        offering="PO-1",
        attributes={"model": "H-10"},
        quantity=2,
        uses={"p-0": 2},
        instance="bundle",
        relations=[["reliesOn", "p-2"]],
        place={"city": "Exampleville"},
        order_id="o1-1",
    )
    payload = {"account": "acc-1", "assets": [asset.to_dict()]}
    return Fact(f.ASSETS_IMPORTED, START, None, payload, "person:anna", "import-1")


STORIES: Final[dict[str, tuple[str, Callable[[], Engine]]]] = {
    "fibre": ("home-internet", fibre),
    "copper": ("home-internet", copper),
    "joined": ("home-internet", joined),
    "branches": ("branches", branches),
    "replaced": ("branches", replaced),
    "dedicated": ("dedicated", dedicated),
    "waiting": ("waiting", waiting),
    "held": ("branches", held),
    "changed": ("changed", changed),
}
ACCOUNT_FACTS: Final[dict[str, Callable[[], Fact]]] = {f.ASSETS_IMPORTED: imported, f.ASSETS_BOOKED: booked}
"""Facts that are no order's."""


@cache
def histories() -> dict[tuple[str, str], tuple[str, Engine, list[Fact]]]:
    """(story, order) -> release, engine, facts as the program writes them today."""
    found = {}
    for name, (release_name, story) in STORIES.items():
        engine = story()
        for order_id, facts in engine.facts.items():
            found[name, order_id] = (release_name, engine, facts)
    return found


def written(kind: str) -> list[dict[str, Any]]:
    """Payloads of a kind as the program writes them today, one of each form."""
    if kind in ACCOUNT_FACTS:
        return [_plain(ACCOUNT_FACTS[kind]().payload)]
    by_form: dict[frozenset[str], dict[str, Any]] = {}
    for _, _, facts in histories().values():
        for fact in facts:
            if fact.kind == kind:
                by_form.setdefault(frozenset(form(fact.payload or {})), _plain(fact.payload or {}))
    return list(by_form.values())


def form(payload: Any, at: str = "") -> Iterator[str]:
    """The members of a payload as dotted paths; what stands in a list counts once."""
    if isinstance(payload, dict):
        for name, value in payload.items():
            yield f"{at}{name}"
            if name not in OPEN_MAPS:
                yield from form(value, f"{at}{name}.")
    elif isinstance(payload, list):
        for each in payload:
            yield from form(each, f"{at}[].") if isinstance(each, dict | list) else ()


def forms(payloads: Iterable[Any]) -> set[str]:
    """All members that a kind's payloads have."""
    return {path for payload in payloads for path in form(payload)}


# The files.


def golden(kind: str) -> dict[str, Any]:
    """What a golden file holds: an order's facts up to the one with the fullest payload, and what they give."""
    payloads = written(kind)
    if kind in ACCOUNT_FACTS:
        history: dict[str, Any] = {"release": None, "templates": {}, "facts": [_row(ACCOUNT_FACTS[kind]())]}
        return {"kind": kind, "v": VERSIONS[kind], "history": history, "then": ["p-1"], "payloads": payloads}
    best: tuple[int, str, Engine, list[Fact]] | None = None
    for release_name, engine, facts in histories().values():
        for at, fact in enumerate(facts):
            fullness = len(set(form(fact.payload or {})))
            if fact.kind == kind and (best is None or fullness > best[0]):
                best = (fullness, release_name, engine, facts[: at + 1])
    assert best is not None, f"no story writes {kind}"
    _, release_name, engine, facts = best
    names = {fact.payload["template"] for fact in facts if fact.kind == f.PLAN_COMPOSED and fact.payload}
    history = {
        "release": release_name,
        "templates": {name: _plain(engine.templates[name].to_dict()) for name in names},
        "facts": [_row(fact) for fact in facts],
    }
    then = seen(read(history))
    return {"kind": kind, "v": VERSIONS[kind], "history": history, "then": then, "payloads": payloads}


def read(history: dict[str, Any]) -> Plan:
    """The plan of a stored history, read as a program of today reads it."""
    compiled = release(history["release"])
    facts = [
        Fact(
            row["kind"],
            datetime.fromisoformat(row["at"]),
            row["item"],
            upcast(row["kind"], row["v"], row["payload"]),
            row["actor"],
            row["cause"],
        )
        for row in history["facts"]
    ]
    templates = {name: Template.from_dict(body, compiled) for name, body in history["templates"].items()}
    known = {each.release_id: each for each in (compiled, release(history["release"], "2"))}
    return plan_from_facts(facts, known.__getitem__, templates.__getitem__)


def seen(plan: Plan) -> dict[str, Any]:
    """What a reader sees of a plan, in the terms of the API rather than of the program."""
    return {
        "order": plan.order_id,
        "orderState": plan.order_state.value,
        "planState": plan.state.value if plan.state else None,
        "behind": plan.behind,
        "reasons": [reason["code"] for reason in plan.reasons],
        "endedAt": plan.ended_at.isoformat() if plan.ended_at else None,
        "hasSecrets": plan.has_secrets,
        "delivered": sorted(plan.delivered),
        "lines": {each.key: [each.action, each.quantity, sorted(each.attributes), each.joins] for each in plan.lines},
        "items": {
            item.key: [
                item.state.value,
                item.attempt,
                item.worker,
                item.error_code,
                item.skip_reason,
                item.timer_at.isoformat() if item.timer_at else None,
            ]
            for item in plan.items
        },
    }


def _row(fact: Fact) -> dict[str, Any]:
    return {
        "kind": fact.kind,
        "v": VERSIONS[fact.kind],
        "at": fact.at.isoformat(),
        "item": fact.item,
        "payload": _plain(fact.payload or {}),
        "actor": fact.actor,
        "cause": fact.cause,
    }


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def write_missing() -> list[Path]:
    """Write the golden files of versions that have none; returns them."""
    made = []
    for kind, version in VERSIONS.items():
        path = path_of(kind, version)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(golden(kind), indent=1) + "\n", encoding="utf-8")
            made.append(path)
    return made


if __name__ == "__main__":
    for each in write_missing():
        print(each.relative_to(FOLDER))  # noqa: T201  # a command of its own
