"""The home-internet example: the same offer in three contexts gives three plans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from domain.plan import Plan
from domain.publish import compile_release
from domain.release import CompiledRelease
from domain.release_file import read_release
from gateway.tmf622 import parse_order
from tests.support.engine import Engine, shown_plan
from tests.support.fingerprint import fingerprint

FOLDER: Final = Path(__file__).parents[2] / "examples" / "home-internet"
ORDERS: Final = ("residential-fibre-web", "business-copper-partner", "residential-wireless-shop")

# Each item, and what it waits for. `-` stands for nothing.
PLANS: Final = {
    "residential-fibre-web": """
        Begin                     -
        Set up billing account    -
        Reserve fibre port        Begin
        Activate access           Reserve fibre port
        Ship router               Begin
        Configure router          Activate access, Ship router
        Hand over                 Configure router
        Start billing             Hand over, Set up billing account
    """,
    "business-copper-partner": """
        Begin                     -
        Set up billing account    -
        Book survey               Begin
        Site survey               Book survey
        Reserve copper pair       Begin, Site survey
        Book installation visit   Reserve copper pair
        Installation visit        Book installation visit, Ship router
        Activate access           Installation visit
        Ship router               Begin, Site survey
        Configure router          Activate access, Ship router
        Port number               -
        Activate voice            Configure router, Port number
        Hand over                 Activate voice, Configure router
        Start billing             Hand over, Set up billing account
    """,
    "residential-wireless-shop": """
        Begin                     -
        Set up billing account    -
        Check coverage            Begin
        Activate access           Check coverage
        Hand over router in shop  -
        Configure router          Activate access, Hand over router in shop
        Hand over                 Configure router
        Start billing             Hand over, Set up billing account
    """,
}
LINES: Final = {
    "residential-fibre-web": ["access-fibre", "billing-account", "home-internet", "router"],
    "business-copper-partner": ["access-copper", "billing-account", "home-internet", "router", "voice-line"],
    "residential-wireless-shop": ["access-wireless", "billing-account", "home-internet", "router"],
}


@pytest.fixture(scope="module")
def release() -> CompiledRelease:
    document = yaml.safe_load((FOLDER / "release.yaml").read_text(encoding="utf-8"))
    return compile_release(read_release(document))


@pytest.fixture
def engine(release: CompiledRelease) -> Engine:
    return Engine(release)


def sample(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / f"order-{name}.json").read_text(encoding="utf-8"))
    return document


def accepted(engine: Engine, document: dict[str, Any]) -> Plan:
    return engine.accept(parse_order(document, order_id="", tenant="main", client_key=None))


def table(text: str) -> dict[str, list[str]]:
    rows = (row.split("  ", 1) for row in map(str.strip, text.strip().splitlines()))
    waits = {item: others.strip() for item, others in rows}
    return {item: [] if others == "-" else others.split(", ") for item, others in waits.items()}


def test_all_that_the_release_is_told_is_what_a_cancelled_order_leaves(release: CompiledRelease) -> None:
    [finding] = release.findings
    assert finding.startswith("a cancelled order leaves what these items have done outside: contract/start-billing, ")


@pytest.mark.parametrize("name", ORDERS)
def test_the_offer_gives_the_plan_of_its_context(engine: Engine, name: str) -> None:
    plan = accepted(engine, sample(name))
    shown = shown_plan(plan)
    expected = table(PLANS[name])

    assert shown["items"] == sorted(expected)
    assert shown["dependsOn"] == sorted([item, other] for item, others in expected.items() for other in others)
    assert sorted(line.product for line in plan.lines) == LINES[name]


def test_the_three_plans_differ() -> None:
    assert len({tuple(sorted(table(text))) for text in PLANS.values()}) == 3


@pytest.mark.parametrize("name", ORDERS)
def test_the_order_is_delivered_and_what_may_not_stay_is_gone(engine: Engine, name: str) -> None:
    plan = accepted(engine, sample(name))
    engine.finish(plan)
    kept = json.dumps([asset.to_dict() for asset in engine.account.assets.values()])
    written = json.dumps([fact.payload for fact in engine.facts[plan.order_id]])

    assert plan.order_state == "completed"
    assert sorted(asset.product for asset in engine.account.assets.values()) == LINES[name]
    assert "555-01" not in kept.replace("555-0199", "")  # the number that is ported stays, the contact does not
    assert "EXAM PLE0" not in kept + written
    assert fingerprint(engine.replayed(plan)) == fingerprint(plan)


def test_the_bundle_becomes_assets_before_billing_starts(engine: Engine) -> None:
    plan = accepted(engine, sample("residential-fibre-web"))
    while engine.calls[plan.order_id][0].operation != "start":
        engine.answer(plan, engine.calls[plan.order_id][0])

    assert plan.by_key["contract/hand-over@1"].state == "Completed"
    assert {asset.product for asset in engine.account.assets.values()} >= {"home-internet", "router", "access-fibre"}


def test_the_installation_visit_writes_what_the_form_says_to_the_access(engine: Engine) -> None:
    plan = accepted(engine, sample("business-copper-partner"))
    engine.finish(plan)
    (access,) = (asset for asset in engine.account.assets.values() if asset.product == "access-copper")

    assert access.attributes == {"downstreamMbps": 50, "siteId": "site-200001", "serialNumber": "as asked"}


def test_no_number_is_ported_where_the_customer_brings_none(engine: Engine) -> None:
    document = sample("business-copper-partner")
    characteristics = document["productOrderItem"][0]["product"]["productCharacteristic"]
    characteristics[:] = [each for each in characteristics if each["name"] != "portingNumber"]
    plan = accepted(engine, document)

    assert plan.by_key["voice/port@voice-line@1"].state == "Skipped"


def test_another_order_of_the_account_finds_its_billing_account(engine: Engine) -> None:
    engine.finish(accepted(engine, sample("residential-fibre-web")))
    second = sample("residential-fibre-web")
    second["externalId"] = "web-100002"
    plan = accepted(engine, second)

    assert "Set up billing account" not in shown_plan(plan)["items"]
    engine.finish(plan)
    assert sorted(asset.product for asset in engine.account.assets.values()).count("billing-account") == 1


def test_a_customer_who_leaves_leaves_nothing_behind(engine: Engine) -> None:
    engine.finish(accepted(engine, sample("business-copper-partner")))
    (offer,) = (asset for asset in engine.account.assets.values() if asset.product == "home-internet")
    document = sample("business-copper-partner")
    document["productOrderItem"] = [{"id": "1", "action": "delete", "product": {"id": offer.asset_id}}]
    plan = accepted(engine, document)
    shown = shown_plan(plan)
    engine.finish(plan)

    assert shown["items"] == [
        "Close billing account",
        "Deactivate",
        "Deactivate",
        "Send return label",
        "Stop billing",
    ]
    assert shown["dependsOn"] == [
        [item, "Stop billing"] for item in ("Close billing account", "Deactivate", "Deactivate")
    ]
    assert engine.account.assets == {}


def test_more_speed_is_a_change_of_the_access_alone(engine: Engine) -> None:
    engine.finish(accepted(engine, sample("residential-fibre-web")))
    (offer,) = (asset for asset in engine.account.assets.values() if asset.product == "home-internet")
    document = sample("residential-fibre-web")
    speed = {"name": "speed", "value": "250"}
    document["productOrderItem"] = [
        {"id": "1", "action": "modify", "product": {"id": offer.asset_id, "productCharacteristic": [speed]}}
    ]
    plan = accepted(engine, document)

    assert {line.product: line.action for line in plan.lines} == {
        "home-internet": "modify",
        "access-fibre": "modify",
        "router": "noChange",
        "billing-account": "noChange",
    }
    assert shown_plan(plan)["items"] == ["Activate access"]
