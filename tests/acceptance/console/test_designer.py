"""The console in a browser: a plan is designed from nothing, published, ordered, and seen to complete."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest

from tests.support import dro
from tests.support.browser import look
from tests.support.running import Running

VERSIONS = count(1)


@pytest.mark.slow
def test_a_plan_is_designed_from_nothing_published_ordered_and_completes(
    page: Any, running: Running, complaints: list[str]
) -> None:
    from playwright.sync_api import expect

    url = f"{running.standins}/activation"
    running.ok("PUT", "/v1/systems/drawn-network", {"adapter": "http", "config": {"url": url}, "concurrency": 10})
    page.goto("/console/designer")
    panel = page.get_by_role("complementary", name="What is chosen")
    panel.get_by_label("Code").fill("drawn")
    panel.get_by_label("Version").fill("1")
    page.get_by_role("button", name="Add a product").click()
    code = panel.get_by_label("Code")
    code.fill("drawn-line")
    code.press("Enter")
    page.get_by_role("button", name="Add a plan definition").click()
    code.fill("deliver")
    code.press("Enter")
    for name, operation in (("reserve", "activate"), ("activate", "activate")):
        page.get_by_role("button", name="+ Callout").click()
        code.fill(name)
        code.press("Enter")
        panel.get_by_label("System").fill("drawn-network")
        panel.get_by_label("Operation").fill(operation)
    # An item that is added while another one is chosen waits for it; so does the milestone, which is undone again.
    expect(panel.get_by_role("listitem")).to_contain_text("deliver/reserve")
    page.get_by_role("button", name="+ Milestone").click()
    expect(page.locator(".part")).to_have_count(3)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".part")).to_have_count(2)
    page.get_by_role("button", name="Redo").click()
    page.locator(".lanes .graph").focus()
    page.keyboard.press("Delete")
    expect(page.locator(".part")).to_have_count(2)

    page.get_by_role("button", name="Add a scenario").click()
    expect(page.get_by_role("region", name="Check")).to_contain_text("It can be published")
    page.get_by_role("button", name="activate", exact=True).click()
    look(page, "designer")
    panel.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Publish").click()
    expect(panel.get_by_text("Published as drawn@1.")).to_be_visible()
    assert running.ok("GET", "/v1/releases/drawn@1")["dependencies"] == [
        {"item": {"plan": "deliver", "item": "activate"}, "other": {"plan": "deliver", "item": "reserve"}}
    ]

    # The next version begins from this one, and says what it changes.
    page.get_by_label("Begin from").select_option("drawn@1")
    page.get_by_role("button", name="reserve", exact=True).click()
    panel.get_by_label("Planned duration").fill("60")
    panel.get_by_role("button", name="Close").click()
    expect(panel.get_by_role("region", name="Changes")).to_contain_text("changed: item deliver/reserve")
    panel.get_by_label("Version").fill("2")
    expect(page.get_by_role("region", name="Check")).to_contain_text("It can be published")
    page.get_by_role("button", name="Publish").click()
    panel.get_by_role("link", name="What differs from drawn@1").click()
    expect(page.get_by_role("region", name="Differences")).to_contain_text("durationS")

    page.goto("/console/new")
    item = {"id": "1", "action": "add", "product": {"productSpecification": {"id": "drawn-line"}}}
    order = {"billingAccount": {"id": f"drawn-{next(VERSIONS)}"}, "productOrderItem": [item]}
    page.get_by_label("Order (TMF622, JSON)").fill(json.dumps(order))
    page.get_by_role("button", name="Show what comes of it").click()
    page.get_by_role("button", name="Submit the order").click()
    expect(page.locator("h1")).to_contain_text("completed")
    expect(page.locator(".card").filter(has_text="Completed")).to_have_count(2)

    # While a draft cannot be published the check is refused, and the browser logs that.
    assert [each for each in complaints if "422" not in each] == []
    complaints.clear()


@pytest.mark.slow
def test_an_imported_catalogue_opens_with_a_lane_for_each_plan_definition(page: Any, running: Running) -> None:
    from playwright.sync_api import expect

    files = {name: content.decode() for name, content in dro.files_of("qb").items()}
    body = {"files": files, "bindings": dro.bindings_of("qb"), "version": "designer"}
    imported = running.ok("POST", "/v1/releases:import-dro", body)
    release = running.ok("GET", f"/v1/releases/{imported['id']}")
    page.goto("/console/designer")
    page.get_by_label("Begin from").select_option(imported["id"])
    expect(page.locator(".band")).to_have_count(len(release["plans"]))
    expect(page.locator(".part")).to_have_count(sum(len(plan["items"]) for plan in release["plans"]))
    expect(page.get_by_role("region", name="Check")).to_contain_text("It can be published")
    expect(page.get_by_role("region", name="Changes")).to_contain_text("Nothing is changed")
    look(page, "designer-dro")
