"""The dedicated-internet example: four lanes in one fixed order, void dependencies by name, one point of no return."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from domain.messages import ChangeLine
from domain.plan import Plan
from domain.publish import compile_release
from domain.release import CompiledRelease
from domain.release_file import read_release
from gateway.tmf622 import parse_order
from gateway.views import plan_view
from tests.support.engine import Engine
from tests.support.fingerprint import fingerprint

FOLDER: Final = Path(__file__).parents[2] / "examples" / "dedicated-internet"

# Each item, and what it waits for.
PLAN: Final = {
    "Start Dedicated Internet Order": [],
    "Pre-Notify Billing": ["Start Dedicated Internet Order"],
    "Start DIA Provisioning": ["Pre-Notify Billing"],
    "Technical Site Enrichment": ["Start DIA Provisioning"],
    "Send DIA Provisioning Request": ["Technical Site Enrichment"],
    "Ship DIA Router": ["Send DIA Provisioning Request"],
    "Start Billing For Site": ["Send DIA Provisioning Request"],
    "HoldProcessing": ["Start Billing For Site"],
    "Assetize Site": ["HoldProcessing"],
    "Send Welcome Package": ["Assetize Site"],
    "Notify Customer SMS": ["Send Welcome Package"],
}
VOID: Final = ["cloudvault/activate", "installation/visit", "ipam/assign"]
LINES: Final = ["access-provisioning", "dedicated-internet", "router-logistics", "site-billing"]


@pytest.fixture(scope="module")
def release() -> CompiledRelease:
    document = yaml.safe_load((FOLDER / "release.yaml").read_text(encoding="utf-8"))
    return compile_release(read_release(document))


@pytest.fixture
def engine(release: CompiledRelease) -> Engine:
    return Engine(release)


def sample(**characteristics: Any) -> dict[str, Any]:
    """The example's order; a characteristic that is given replaces the example's, None takes it away."""
    document: dict[str, Any] = json.loads((FOLDER / "order-add.json").read_text(encoding="utf-8"))
    product = document["productOrderItem"][0]["product"]
    product["productCharacteristic"] = [
        {"name": name, "value": value}
        for name, value in (
            {each["name"]: each["value"] for each in product["productCharacteristic"]} | characteristics
        ).items()
        if value is not None
    ]
    return document


def accepted(engine: Engine, document: dict[str, Any]) -> Plan:
    return engine.accept(parse_order(document, order_id="", tenant="main", client_key=None))


def shown(plan: Plan) -> dict[str, dict[str, Any]]:
    """The items as the API shows them, by name; what they wait for by name too."""
    items = plan_view(plan)["items"]
    names = {item["key"]: item["name"] for item in items}
    return {item["name"]: item | {"dependsOn": sorted(names[key] for key in item["dependsOn"])} for item in items}


def state_of(plan: Plan, name: str) -> str:
    return str(shown(plan)[name]["state"])


def item_named(plan: Plan, name: str) -> str:
    return str(shown(plan)[name]["key"])


def answer_all_calls(engine: Engine, plan: Plan) -> None:
    """Every system does its work: what is open afterwards waits for people and customers."""
    while calls := engine.calls[plan.order_id]:
        engine.answer(plan, calls[0])


def accept_site(engine: Engine, plan: Plan) -> None:
    """The customer has accepted the site: the attribute that HoldProcessing waits for gets its value."""
    engine.tell(plan, ChangeLine("1", {"acceptedOn": "2026-03-12"}, "signed on site", "m-1"), "person:sales", "m-1")


def finish(engine: Engine, plan: Plan) -> None:
    """Everybody does what is asked of them, and the customer accepts the site."""
    engine.finish(plan)
    accept_site(engine, plan)
    engine.finish(plan)


def test_all_that_the_release_is_told_is_what_a_cancelled_order_leaves(release: CompiledRelease) -> None:
    [finding] = release.findings
    assert finding == (
        "a cancelled order leaves what these items have done outside: logistics/ship, cloudvault/activate, "
        "ipam/assign; give each a rollbackPlan, or say leavesNothing: true"
    )


def test_each_item_waits_for_exactly_what_stands_before_it(engine: Engine) -> None:
    plan = accepted(engine, sample())

    assert {name: item["dependsOn"] for name, item in shown(plan).items()} == PLAN
    assert sorted(line.product for line in plan.lines) == LINES


@pytest.mark.rule("B3.2")
def test_dependencies_on_what_was_not_ordered_are_void_and_listed_by_name(engine: Engine) -> None:
    items = shown(accepted(engine, sample()))

    assert {name: item["void"] for name, item in items.items() if item["void"]} == {"Start Billing For Site": VOID}


def test_the_point_of_no_return_begins_with_the_assets(engine: Engine) -> None:
    items = shown(accepted(engine, sample()))

    assert [name for name in PLAN if items[name].get("pointOfNoReturn")] == ["Assetize Site", "Send Welcome Package"]


def test_billing_waits_for_the_other_products_where_they_are_ordered(engine: Engine) -> None:
    document = sample()
    for number, offering in enumerate(("PO-CLOUDVAULT", "PO-IPAM", "PO-INSTALLATION"), start=2):
        document["productOrderItem"].append(
            {"id": str(number), "action": "add", "productOffering": {"id": offering}, "product": {}}
        )
    document["productOrderItem"][0]["productOrderItemRelationship"] = [
        {"id": str(number), "relationshipType": "bundles"} for number in (2, 3, 4)
    ]
    plan = accepted(engine, document)
    billing = shown(plan)["Start Billing For Site"]
    finish(engine, plan)

    assert billing["void"] == []
    assert billing["dependsOn"] == [
        "Activate CloudVault",
        "Assign IP Block",
        "Installation at Site",
        "Send DIA Provisioning Request",
    ]
    assert plan.order_state == "completed"


def test_the_router_is_on_its_way_while_the_rest_goes_on(engine: Engine) -> None:
    plan = accepted(engine, sample())
    engine.answer(plan, engine.call(plan, "billing/pre-notify"))
    engine.answer(plan, engine.call(plan, "provisioning/send"))

    states = {name: item["state"] for name, item in shown(plan).items()}
    assert states == {
        "Start Dedicated Internet Order": "Completed",
        "Pre-Notify Billing": "Completed",
        "Start DIA Provisioning": "Completed",
        "Technical Site Enrichment": "Skipped",
        "Send DIA Provisioning Request": "Completed",
        "Ship DIA Router": "Running",
        "Start Billing For Site": "Running",
        "HoldProcessing": "Pending",
        "Assetize Site": "Pending",
        "Send Welcome Package": "Pending",
        "Notify Customer SMS": "Pending",
    }


@pytest.mark.parametrize(
    "characteristics",
    [{"demarcation": None}, {"bandwidthMbps": 2500}],
    ids=["the way into the building is unknown", "more than a gigabit"],
)
def test_a_person_looks_at_the_site_where_that_is_needed(engine: Engine, characteristics: dict[str, Any]) -> None:
    plan = accepted(engine, sample(**characteristics))
    engine.answer(plan, engine.call(plan, "billing/pre-notify"))
    task = item_named(plan, "Technical Site Enrichment")
    assert list(engine.tasks[plan.order_id]) == [task]
    assert state_of(plan, "Send DIA Provisioning Request") == "Pending"

    engine.complete_task(plan, task, {"demarcation": "roof"})

    assert state_of(plan, "Send DIA Provisioning Request") == "Running"
    (access,) = (line for line in plan.lines if line.product == "access-provisioning")
    assert access.attributes["demarcation"] == "roof"


def test_nothing_is_an_asset_until_the_customer_has_accepted_the_site(engine: Engine) -> None:
    plan = accepted(engine, sample())
    answer_all_calls(engine, plan)

    assert engine.account.assets == {}
    assert state_of(plan, "HoldProcessing") == "Running"
    assert state_of(plan, "Assetize Site") == "Pending"

    accept_site(engine, plan)

    assert state_of(plan, "Assetize Site") == "Completed"
    assert sorted(asset.product for asset in engine.account.assets.values()) == LINES


def test_the_welcome_package_is_sent_before_the_text_message(engine: Engine) -> None:
    plan = accepted(engine, sample())
    answer_all_calls(engine, plan)
    accept_site(engine, plan)

    assert list(engine.tasks[plan.order_id]) == [item_named(plan, "Send Welcome Package")]
    assert state_of(plan, "Notify Customer SMS") == "Pending"


def test_a_customer_who_wants_no_welcome_package_gets_the_text_message_at_once(engine: Engine) -> None:
    plan = accepted(engine, sample(welcomePackage=False))
    answer_all_calls(engine, plan)
    accept_site(engine, plan)

    assert state_of(plan, "Send Welcome Package") == "Skipped"
    assert engine.call(plan, "completion/notify").operation == "send"


def test_the_order_runs_to_its_end_and_the_telephone_number_is_gone(engine: Engine) -> None:
    plan = accepted(engine, sample())
    finish(engine, plan)
    kept = json.dumps([asset.to_dict() for asset in engine.account.assets.values()])
    written = json.dumps([fact.payload for fact in engine.facts[plan.order_id]])

    assert plan.order_state == "completed"
    assert sorted(asset.product for asset in engine.account.assets.values()) == LINES
    assert "555-0164" not in kept + written
    assert fingerprint(engine.replayed(plan)) == fingerprint(plan)


def test_the_charge_and_the_router_follow_the_bandwidth(engine: Engine) -> None:
    lines = {line.product: line.attributes for line in accepted(engine, sample(bandwidthMbps=2500)).lines}

    assert lines["site-billing"] == {"monthlyCharge": 1490}
    assert lines["router-logistics"] == {"model": "R-10G"}
