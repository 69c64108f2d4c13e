"""The console in a browser: an order that is late says why, what its end waits for, and is put right from there."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.browser import look
from tests.support.build import callout, depends, manual, plan_of, release_document, rule, scenario
from tests.support.running import Running, until

SIMS = 12


def release() -> dict[str, Any]:
    """A fleet: a visit by a person, and a profile for each SIM; nothing is planned to take longer than a second."""
    number = {"name": "number"}
    return release_document(
        code="console-plan",
        products=[
            {"code": "fleet"},
            {"code": "fleet-sim", "attributes": [number]},
            {"code": "fleet-profile", "attributes": [number]},
        ],
        decompositions=[rule("fleet-sim", "fleet-profile", {"to": "number", "copy": "number"})],
        plans=[
            plan_of(
                "fleet",
                callout("reserve", system="fleet-network", operation="activate", durationS=1),
                manual("visit", queue="fleet-visits", durationS=1),
                callout("close", system="fleet-network", operation="report", durationS=1),
            ),
            plan_of("profile", callout("load", system="fleet-profiles", operation="bill", durationS=1)),
        ],
        dependencies=[
            depends("fleet/visit", "fleet/reserve"),
            depends("fleet/close", "fleet/visit"),
            depends("fleet/close", "profile/load", scope="order"),
        ],
        scenarios=[scenario("fleet", "fleet", "add"), scenario("fleet-profile", "profile", "add")],
    )


@pytest.fixture
def fleet(running: Running) -> Running:
    running.ok("POST", "/v1/releases:publish", release())
    for system, standin in (("network", "activation"), ("profiles", "billing")):
        url = f"{running.standins}/{standin}"
        running.ok("PUT", f"/v1/systems/fleet-{system}", {"adapter": "http", "config": {"url": url}, "concurrency": 10})
    return running


def submit_late(running: Running) -> str:
    """A fleet with its SIMs, due an hour ago."""
    due = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    items = [{"id": "1", "action": "add", "product": {"productSpecification": {"id": "fleet"}}}]
    for at in range(SIMS):
        value = [{"name": "number", "value": f"07900 0000{at:02}"}]
        product = {"productSpecification": {"id": "fleet-sim"}, "productCharacteristic": value}
        items.append({"id": f"sim-{at}", "action": "add", "product": product})
    order = {"billingAccount": {"id": "console-fleet"}, "requestedCompletionDate": due, "productOrderItem": items}
    return running.submit(order)


@pytest.mark.slow
def test_a_late_order_says_why_and_is_put_right_from_there(page: Any, fleet: Running) -> None:
    from playwright.sync_api import expect

    fleet.behave(system="billing", status=422, failNext=1)
    order_id = submit_late(fleet)
    until(lambda: fleet.ok("GET", "/v1/fallout?system=fleet-profiles")["items"], lambda items: len(items) == 1)
    page.goto(f"/console/orders/{order_id}")
    lateness = page.get_by_role("region", name="Lateness")
    expect(lateness).to_contain_text("past the promised date")
    expect(lateness).to_contain_text("“load” has failed at system fleet-profiles and waits for somebody to repair it")

    # Equal items are one, which a key opens and closes; the keys go along what waits for what.
    cards, graph = page.locator(".card"), page.locator(".graph")
    expect(cards).to_have_count(4)
    group = cards.filter(has_text=f"{SIMS} load")
    expect(group).to_have_class("card bad chosen critical")  # opened at what has failed
    graph.focus()
    page.keyboard.press("End")
    expect(cards.filter(has_text="close")).to_have_class("card idle chosen critical")
    page.keyboard.press("ArrowLeft")
    expect(group).to_have_class("card bad chosen critical")
    page.keyboard.press("Enter")
    expect(graph).to_have_accessible_name(re.compile(f"Plan, {SIMS + 3} items"))
    page.keyboard.press("Backspace")
    expect(group).to_be_visible()
    assert page.locator(".graph [tabindex='0'], .react-flow__node[tabindex]").count() == 0, "one stop for the Tab key"
    look(page, "plan-late")

    page.get_by_role("link", name="Table").click()
    expect(page.get_by_role("row").filter(has_text="close")).to_contain_text("critical")
    page.get_by_label("Show").select_option("failed")
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_label("Show").select_option("critical")
    look(page, "plan-table")
    page.get_by_role("link", name="Gantt").click()
    expect(page.locator(".lane .rest.critical").first).to_be_visible()
    look(page, "plan-gantt")
    page.get_by_role("link", name="Lines").click()
    page.get_by_role("button", name="fleet-profile").first.click()
    page.get_by_role("button", name="Where from?").first.click()
    expect(page.get_by_role("region", name="Values")).to_contain_text("fleet-sim>fleet-profile")
    look(page, "plan-lines")

    # What the failed attempt sent is shown; it is sent again with another value, and shown beside the first one.
    lateness.get_by_role("button", name="Open load").click()
    drawer = page.get_by_role("complementary")
    attempts = drawer.get_by_role("list", name="Attempts").get_by_role("listitem")
    expect(attempts).to_have_count(1)
    expect(attempts).to_contain_text("✕ failed")
    drawer.get_by_role("button", name="Edit and retry").click()
    payload = drawer.get_by_label("Payload of the next attempt")
    payload.fill(payload.input_value().replace("07900", "07911"))
    drawer.get_by_role("button", name="Send with these values").click()
    drawer.get_by_label("Reason").fill("the number was wrong")
    drawer.get_by_role("button", name="Send with these values").click()
    expect(attempts).to_have_count(2)
    attempts.first.get_by_text("✓ done").click()
    expect(attempts.first).to_contain_text("07911")
    look(page, "plan-item")

    # Now people are what it waits for: the reason leads to the task.
    expect(lateness).to_contain_text("“visit” has waited")
    expect(lateness).to_contain_text("in queue fleet-visits")
    lateness.get_by_role("link", name="Reassign…").click()
    drawer.get_by_role("button", name="Claim").click()
    drawer.get_by_role("button", name="Complete").click()
    expect(drawer.get_by_text("Done")).to_be_visible()
    fleet.ended(order_id)
    page.goto(f"/console/orders/{order_id}?view=history")
    expect(lateness).to_contain_text("Was late: It ended")
    expect(page.get_by_role("cell", name="order.ended")).to_be_visible()
    look(page, "plan-history")
