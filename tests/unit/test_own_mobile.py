"""The real sample orders through the domain: their plans, payloads and assets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.importers.tmf620 import import_tmf620
from domain.inventory import Asset
from domain.publish import compile_release
from gateway.tmf622 import parse_order
from tests.support import own_mobile
from tests.support.engine import Engine, shown_plan

EXPECTED: dict[str, Any] = own_mobile.read("own-mobile-expected-plans.json")


@pytest.fixture
def engine() -> Engine:
    release, _ = import_tmf620(own_mobile.read("own-mobile-catalogue.json"), None, "1")
    return Engine(compile_release(release), "231-mf4")


def order_of(document: Any) -> Any:
    return parse_order(document, order_id="", tenant="main", client_key=None)


def installed(engine: Engine) -> dict[str, str]:
    return {asset.product: asset.asset_id for asset in engine.account.assets.values()}


def expected(prefix: str) -> dict[str, Any]:
    return next(plan for name, plan in EXPECTED.items() if name.startswith(prefix))


def test_the_add_order_gives_the_expected_plan(engine: Engine) -> None:
    plan = engine.accept(order_of(own_mobile.add_order()))

    assert shown_plan(plan) == expected("add")


def test_the_add_plan_has_the_edges_of_the_public_sample(engine: Engine) -> None:
    sample = own_mobile.FOLDER.parents[1] / "tests/data/orders/orange-disco-orchestration-plan-after-build.json"
    public = json.loads(sample.read_text(encoding="utf-8"))
    lines = {node["id"]: node["relatedProductOrderItem"][0]["id"] for node in public["orchestrationPlanNodes"]}
    edges = {
        (lines[node["id"]], lines[related["relatedNodeId"]])
        for node in public["orchestrationPlanNodes"]
        for related in node["relatedOrchestrationPlanNode"]
    }
    plan = engine.accept(order_of(own_mobile.add_order()))
    assert plan.template is not None
    mine = {
        (plan.lines_of(plan.items[node])[0].key, plan.lines_of(plan.items[target])[0].key)
        for node, targets in enumerate(plan.template.waits)
        for target in targets
    }

    assert mine == edges


def test_the_delete_twin_gives_the_expected_plan_and_leaves_nothing_installed(engine: Engine) -> None:
    engine.finish(engine.accept(order_of(own_mobile.add_order())))
    assert sorted(installed(engine)) == ["Connectivity", "Mobile line", "SIM CARD", "Time Bundle"]
    plan = engine.accept(order_of(own_mobile.delete_order(installed(engine))))
    shown = shown_plan(plan)
    engine.finish(plan)

    assert shown == expected("delete")
    assert plan.order_state == "completed"
    assert engine.account.assets == {}


@pytest.mark.rule("F.20")
def test_the_mixed_order_gives_the_expected_plan(engine: Engine) -> None:
    engine.finish(engine.accept(order_of(own_mobile.add_order())))
    plan = engine.accept(order_of(own_mobile.mixed_order(installed(engine))))

    assert shown_plan(plan) == expected("mixed")


def test_the_add_sms_order_gives_the_expected_plan_on_the_imported_inventory(engine: Engine) -> None:
    for product in own_mobile.read("own-mobile-inventory.json"):
        asset = Asset(
            asset_id=product["id"],
            product=engine.release.by_specification[product["productSpecification"]["id"]],
            root_id=product["id"],
            attributes={each["name"]: each["value"] for each in product["productCharacteristic"]},
        )
        engine.account.assets[asset.asset_id] = asset
    plan = engine.accept(order_of(own_mobile.read("own-mobile-order-add-sms.json")))

    assert shown_plan(plan) == expected("own-mobile-order-add-sms")
