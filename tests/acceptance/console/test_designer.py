"""The console in a browser: a plan is designed from nothing by keys alone, published, ordered, and seen to complete; a
catalogue is imported, and its workspace is a diagram.
"""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest

from tests.support import dro
from tests.support.browser import look
from tests.support.running import Running

VERSIONS = count(1)
STOPS = """(wanted) => {
    const all = 'a[href], button:enabled, input:enabled, select:enabled, textarea:enabled, summary, [tabindex="0"]';
    const stops = [...document.querySelectorAll(all)].filter((each) => each.getClientRects().length > 0);
    return stops.indexOf(wanted) - stops.indexOf(document.activeElement);
}"""
"""How many stops of the Tab key there are between what has the focus and what is to have it."""
WALKS_MAX = 5


def tab_to(page: Any, wanted: Any) -> None:
    """Go there by the Tab key alone, forward or back."""
    for _ in range(WALKS_MAX):
        away = wanted.evaluate(STOPS)
        if away == 0:
            return
        for _ in range(abs(away)):
            page.keyboard.press("Tab" if away > 0 else "Shift+Tab")
    raise AssertionError(f"the Tab key does not lead to {wanted}")


def press(page: Any, name: str, *, within: Any = None, exact: bool = True) -> None:
    """Reach a button by the Tab key and press it by Enter."""
    tab_to(page, (within or page).get_by_role("button", name=name, exact=exact))
    page.keyboard.press("Enter")


def fill(page: Any, field: Any, text: str) -> None:
    """Reach a field by the Tab key and write into it."""
    tab_to(page, field)
    page.keyboard.press("Control+A")
    page.keyboard.type(text)


@pytest.mark.slow
def test_a_plan_is_designed_from_nothing_by_keys_alone_published_ordered_and_completes(
    page: Any, running: Running, complaints: list[str]
) -> None:
    from playwright.sync_api import expect

    url = f"{running.standins}/activation"
    running.ok("PUT", "/v1/systems/drawn-network", {"adapter": "http", "config": {"url": url}, "concurrency": 10})
    page.goto("/console/designer")
    panel = page.get_by_role("complementary", name="What is chosen")
    check, parts, code = page.get_by_role("region", name="Check"), page.locator(".part"), panel.get_by_label("Code")
    saved = page.get_by_role("group", name="Draft").get_by_role("status")
    expect(code).to_be_visible()
    fill(page, code, "drawn")
    fill(page, panel.get_by_label("Version"), "1")
    for button, name in (("Add a product", "drawn-line"), ("Add a plan definition", "deliver")):
        press(page, button)
        page.keyboard.type(f"{name}\n")
    for name in ("reserve", "activate"):
        press(page, "+ Callout")
        page.keyboard.type(f"{name}\n")
        fill(page, panel.get_by_label("System"), "drawn-network")
        fill(page, panel.get_by_label("Operation"), "activate")
    # An item that is added while another one is chosen waits for it; one that is not is connected.
    expect(panel.get_by_role("listitem")).to_contain_text("deliver/reserve")
    press(page, "Close", within=panel)
    press(page, "+ Milestone")
    page.keyboard.type("done\n")
    expect(panel.get_by_role("listitem")).to_have_count(0)
    tab_to(page, page.locator(".lanes .graph"))
    page.keyboard.press("c")
    page.keyboard.type("deliver/act")
    press(page, "Connect", within=panel)
    expect(panel.get_by_role("listitem")).to_contain_text("deliver/activate")
    # In the picture the arrow keys go along what waits for what.
    tab_to(page, page.locator(".lanes .graph"))
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(panel.get_by_role("heading", level=2)).to_have_text("reserve")
    page.keyboard.press("End")
    page.keyboard.press("Delete")
    expect(parts).to_have_count(2)
    page.keyboard.press("Control+z")
    expect(parts).to_have_count(3)
    page.keyboard.press("Control+Shift+z")
    expect(parts).to_have_count(2)
    press(page, "Add a scenario")
    expect(check).to_contain_text("It can be published")
    press(page, "Close", within=panel)
    press(page, "Publish")
    expect(panel.get_by_text("Published as drawn@1.")).to_be_visible()
    drawn = running.ok("GET", "/v1/releases/drawn@1")
    assert drawn["dependencies"] == [
        {"item": {"plan": "deliver", "item": "activate"}, "other": {"plan": "deliver", "item": "reserve"}}
    ]
    assert drawn["systems"] == [{"code": "drawn-network"}]

    # The draft is the server's: another browser goes on with it, and who saves over the other's work is told.
    expect(saved).to_have_text("Saved.")
    name = page.get_by_role("group", name="Draft").get_by_role("combobox").input_value()
    stored = running.ok("GET", f"/v1/drafts/{name.replace(' ', '%20')}")
    release = stored["release"] | {"plans": [stored["release"]["plans"][0] | {"name": "Deliver it"}]}
    running.ok(
        "PUT",
        f"/v1/drafts/{name.replace(' ', '%20')}",
        {"release": release, "version": stored["version"]},
        X_User="kim",
    )
    page.get_by_role("button", name="reserve", exact=True).click()
    panel.get_by_label("Planned duration").fill("60")
    alert = page.get_by_role("alert", name="The draft was changed meanwhile")
    expect(alert.get_by_role("rowheader", name="release.plans[deliver].name")).to_be_visible()
    look(page, "designer-conflict")
    alert.get_by_role("button", name="Take theirs").click()
    expect(page.locator(".band")).to_have_text("Deliver it")
    page.reload()
    expect(page.locator(".band")).to_have_text("Deliver it")
    expect(parts).to_have_count(2)

    # The next version begins from this one, and says what it changes.
    page.get_by_label("Begin from").select_option("drawn@1")
    page.get_by_role("button", name="Begin", exact=True).click()
    page.get_by_role("button", name="activate", exact=True).click()
    look(page, "designer")
    page.get_by_role("button", name="reserve", exact=True).click()
    panel.get_by_label("Planned duration").fill("60")
    panel.get_by_role("button", name="Close").click()
    expect(panel.get_by_role("region", name="Changes")).to_contain_text("changed: item deliver/reserve")
    panel.get_by_label("Version").fill("2")
    expect(check).to_contain_text("It can be published")
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

    # A third version is tried on that order.
    page.goto("/console/designer")
    page.get_by_role("button", name="activate", exact=True).click()
    panel.get_by_role("button", name="Duplicate").click()
    page.get_by_role("button", name="Simulate…").click()
    simulation = page.get_by_role("region", name="Simulation")
    simulation.get_by_role("button", name="Try it").click()
    expect(simulation.get_by_role("row").nth(1)).to_contain_text("1 item added")
    simulation.get_by_text("1 item added").first.click()
    look(page, "designer-simulation")
    expect(saved).to_have_text("Saved.")

    # While a draft cannot be published the check is refused, and so was what was saved over; the browser logs that.
    assert [each for each in complaints if "422" not in each and "412" not in each] == []
    complaints.clear()


@pytest.mark.slow
def test_an_imported_catalogue_opens_its_workspace_as_a_diagram_of_four_lanes_in_order(
    page: Any, running: Running
) -> None:
    from playwright.sync_api import expect

    lanes = [
        "Order Configuration Verification", "Production and Assembly", "Logistics and Transportation",
        "On-Site Installation and Commissioning",
    ]  # fmt: skip
    page.goto("/console/designer")
    page.get_by_role("button", name="Import…").click()
    files = [*sorted((dro.FOLDER / "mfg").glob("*.csv")), dro.FOLDER / "mfg-bindings.yaml"]
    page.get_by_label("Files of the catalogue").set_input_files(files)
    importing = page.get_by_role("region", name="Import a catalogue")
    importing.get_by_role("button", name="Import", exact=True).click()
    expect(importing.get_by_role("status")).to_contain_text("diagrams are saved")
    importing.get_by_role("button", name="Close").click()
    page.get_by_role("group", name="Diagram").get_by_role("combobox").select_option("FESBA Generator Fulfillment")
    page.get_by_role("button", name="Open the diagram").click()
    bands, undo = page.locator(".band"), page.get_by_role("button", name="Undo")
    expect(bands).to_have_text(lanes)
    expect(page.get_by_role("region", name="Check")).to_contain_text("It can be published")
    look(page, "designer-diagram")

    # Lanes change places by keys; a step back undoes that, as it does the whole import.
    page.get_by_role("button", name="Move the lane Production and Assembly up").press("Enter")
    expect(bands).to_have_text([lanes[1], lanes[0], *lanes[2:]])
    undo.click()
    expect(bands).to_have_text(lanes)
    undo.click()
    undo.click()
    expect(bands).to_have_count(0)
    for _ in range(2):
        page.get_by_role("button", name="Redo").click()
    expect(bands).to_have_text(lanes)

    # What was copied is pasted as one step, under codes that are free.
    items = page.locator(".part")
    before = items.count()
    page.get_by_role("button", name=lanes[1], exact=True).click()
    page.locator(".lanes .graph").focus()
    for key in ("c", "v"):
        page.keyboard.press(f"Control+{key}")
    expect(items).not_to_have_count(before)
    undo.click()
    expect(items).to_have_count(before)
    expect(page.get_by_role("group", name="Draft").get_by_role("status")).to_have_text("Saved.")
