"""Drafts of releases tried on real orders: what each would have become, by the code that composes them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.importers.tmf620 import import_tmf620
from domain.evolve import plan_from_facts
from domain.facts import ORDER_REJECTED, PLAN_COMPOSED
from domain.plan import Plan
from domain.publish import compile_release
from domain.release_file import read_release
from domain.simulate import simulate
from gateway.tmf622 import parse_order
from tests.changes.case import Case
from tests.support import own_mobile
from tests.support.build import callout, depends, line, order_of, plan_of, release_document, release_of, scenario
from tests.support.engine import Engine

SHARED = Path(__file__).parents[1] / "data" / "releases" / "shared-account.yaml"


def as_composed(engine: Engine, plan: Plan) -> Plan:
    """The plan as it was when it was composed, or the order as it was rejected."""
    facts = engine.facts[plan.order_id]
    at = next(at for at, each in enumerate(facts) if each.kind in (PLAN_COMPOSED, ORDER_REJECTED))
    return plan_from_facts(facts[: at + 1], engine.releases.__getitem__, engine.templates.__getitem__)


def simulated(engine: Engine, plan: Plan, draft: Any = None) -> dict[str, Any]:
    """What the draft, or the release itself, makes of an order."""
    found = simulate(as_composed(engine, plan), draft or engine.release)
    assert found is not None
    return found


def is_unchanged(found: dict[str, Any]) -> bool:
    return found["outcome"] == "same" and not found["isApproximate"]


def broadband(speed: int, action: str = "add", **members: Any) -> Any:
    return line("1", None, action, offering="broadband", speed=speed, **members)


def draft_of(**changes: Any) -> dict[str, Any]:
    """A product, a plan of two calls in sequence, and whatever a test has otherwise."""
    given: dict[str, Any] = {
        "products": [{"code": "offer", "attributes": [{"name": "speed"}]}],
        "plans": [plan_of("p", callout("first", durationS=60), callout("last", durationS=30))],
        "dependencies": [depends("p/last", "p/first")],
        "scenarios": [scenario("offer", "p", "add", "modify")],
    }
    return release_document(**given | changes)


def draft(**changes: Any) -> Any:
    return compile_release(read_release(draft_of(version="2", **changes)))


@pytest.fixture
def engine() -> Engine:
    return Engine(release_of(**draft_of()))


def named(found: dict[str, Any], kind: str) -> list[str]:
    assert found[kind]["total"] == len(found[kind]["first"])
    return [each["key"] for each in found[kind]["first"]]


def test_what_a_draft_adds_takes_away_and_orders_otherwise_is_told_by_item(engine):
    plan = engine.accept(order_of(line("1", "offer", speed=5)))
    found = simulated(
        engine,
        plan,
        draft(
            plans=[plan_of("p", callout("first", durationS=90), callout("bill", durationS=10))],
            dependencies=[depends("p/first", "p/bill")],
        ),
    )

    assert (found["outcome"], found["isApproximate"]) == ("other", False)
    assert named(found, "added") == ["p/bill@1"]
    assert named(found, "gone") == ["p/last@1"]
    assert found["changed"]["first"] == [
        {
            "key": "p/first@1", "name": "first", "fields": ["durationS"], "waitsNoMoreFor": [],
            "waitsNowFor": ["p/bill@1"],
        }
    ]  # fmt: skip
    assert found["items"] == {"before": 2, "after": 2}
    assert found["plannedS"] == {"before": 90.0, "after": 100.0}


def test_an_order_that_a_draft_refuses_says_why(engine):
    taken = engine.accept(order_of(line("1", "offer")))
    lost = simulated(engine, taken, draft(products=["other"], scenarios=[scenario("other", "p")]))
    idle = simulated(engine, taken, draft(scenarios=[scenario("offer", "p", "delete")]))

    assert (lost["outcome"], lost["error"]["code"]) == ("refused", "unknownProduct")
    assert (idle["outcome"], idle["error"]["code"]) == ("refused", "nothingToFulfil")
    assert idle["items"] == {"before": 2, "after": 0}


def test_a_rejected_order_may_be_accepted_by_a_draft():
    engine = Engine(release_of(**draft_of(scenarios=[scenario("offer", "p", "modify")])))
    plan = engine.accept(order_of(line("1", "offer")))
    found = simulated(engine, plan, draft())

    assert (found["outcome"], found["errorBefore"]["code"]) == ("accepted", "nothingToFulfil")
    assert found["isApproximate"], "what the account of a rejected order had is not known"


def test_changes_of_what_is_installed_are_compared_with_what_was_installed_then(engine):
    engine.finish(engine.accept(order_of(line("1", "offer", speed=5))))
    asset_id = next(iter(engine.account.assets))
    plan = engine.accept(order_of(line("1", "offer", "modify", product_id=asset_id, speed=9)))
    engine.finish(plan)

    assert is_unchanged(simulated(engine, plan))
    found = simulated(engine, plan, draft(scenarios=[scenario("offer", "p", "add")]))
    assert found["error"]["code"] == "nothingToFulfil"


def test_nothing_differs_under_the_same_release_whatever_accounts_share():
    release = compile_release(read_release(yaml.safe_load(SHARED.read_text(encoding="utf-8"))))
    engine = Engine(release)
    first = engine.accept(order_of(broadband(1)))
    joins = engine.accept(order_of(broadband(2)))
    engine.finish(first)
    engine.finish(joins)
    third = engine.accept(order_of(broadband(3)))
    engine.finish(third)
    asset = next(each for each in engine.account.assets.values() if each.product == "broadband")
    modify = engine.accept(order_of(broadband(4, "modify", product_id=asset.asset_id)))
    engine.finish(modify)
    leaves = engine.accept(order_of(broadband(4, "delete", product_id=asset.asset_id)))

    assert any(item.definition is None for item in joins.items), "it waits for what the first one delivers"
    for plan in (first, joins, third, modify, leaves):
        assert is_unchanged(simulated(engine, plan)), plan.order_id


def test_what_waits_for_the_removal_of_a_shared_instance_waits_for_it_in_a_simulation_too():
    engine = Engine(compile_release(read_release(yaml.safe_load(SHARED.read_text(encoding="utf-8")))))
    engine.finish(engine.accept(order_of(broadband(1))))
    asset = next(each for each in engine.account.assets.values() if each.product == "broadband")
    leaves = engine.accept(order_of(broadband(1, "delete", product_id=asset.asset_id)))
    comes = engine.accept(order_of(broadband(2)))

    assert any(line.awaits for line in comes.lines), "the shared mailbox is on its way out"
    assert is_unchanged(simulated(engine, leaves))
    assert is_unchanged(simulated(engine, comes))


@pytest.mark.parametrize("follow_up", [own_mobile.delete_order, own_mobile.mixed_order])
def test_nothing_differs_under_the_same_release_for_bundles_that_are_added_changed_and_removed(follow_up):
    release, _ = import_tmf620(own_mobile.read("own-mobile-catalogue.json"), None, "1")
    engine = Engine(compile_release(release), "231-mf4")

    def taken(document: dict[str, Any]) -> Plan:
        return engine.accept(parse_order(document, order_id="", tenant="main", client_key=None))

    add = taken(own_mobile.add_order())
    engine.finish(add)
    second = taken(follow_up({asset.product: asset.asset_id for asset in engine.account.assets.values()}))

    assert is_unchanged(simulated(engine, add))
    assert is_unchanged(simulated(engine, second))


def test_the_order_is_not_touched_by_being_tried(engine):
    plan = as_composed(engine, engine.accept(order_of(line("1", "offer", speed=5))))
    before = (plan.order.to_dict(), [each.to_dict() for each in plan.lines], len(plan.items))
    attributes = [{"name": "speed"}, {"name": "colour", "default": "red"}]
    found = simulate(plan, draft(products=[{"code": "offer", "attributes": attributes}]))

    assert found is not None
    assert found["lines"]["changed"]["first"] == [{"key": "1", "fields": ["attributes.colour"]}]
    assert (plan.order.to_dict(), [each.to_dict() for each in plan.lines], len(plan.items)) == before


def test_of_random_orders_nearly_all_prove_themselves_and_the_others_say_that_they_are_approximate():
    outcomes: Counter[tuple[str, bool]] = Counter()
    for seed in range(24):
        case = Case(seed)
        case.run()
        for plan in case.world.plans.values():
            if plan.template is not None:
                found = simulated(case.world, plan, as_composed(case.world, plan).release)
                outcomes[found["outcome"], found["isApproximate"]] += 1

    assert ("other", False) not in outcomes
    assert outcomes["same", False] > 0.95 * outcomes.total() > 30
