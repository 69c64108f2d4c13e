"""The console in a browser: the desks people work at, and what administrators look after."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from tests.support.browser import look
from tests.support.build import callout, depends, manual, plan_of, release_document, scenario
from tests.support.running import Running, until

VERSIONS = count(1)
FORM = {
    "type": "object",
    "properties": {
        "address": {
            "title": "Address",
            "type": "object",
            "properties": {"street": {"type": "string"}, "postcode": {"type": "string", "pattern": "^[0-9]{4}$"}},
            "required": ["street"],
        },
        "slot": {"title": "Slot", "enum": ["morning", "afternoon"]},
    },
    "required": ["address"],
}


def release(**visit: Any) -> dict[str, Any]:
    """A visit by a person and two calls: one before it, one after it."""
    return release_document(
        code="console-desks",
        version=f"1.{next(VERSIONS)}",
        products=[{"code": "console-visit", "attributes": [{"name": "address"}, {"name": "slot"}]}],
        plans=[
            plan_of(
                "visit",
                callout("reserve", system="desk-network", operation="activate"),
                manual("survey", queue="console-visits", formSchema=FORM, **visit),
                callout("activate", system="desk-network", operation="report"),
            )
        ],
        dependencies=[depends("visit/survey", "visit/reserve"), depends("visit/activate", "visit/survey")],
        scenarios=[scenario("console-visit", "visit", "add")],
        queues=[{"code": "console-visits"}],
    )


@pytest.fixture(scope="module")
def desks(running: Running) -> Running:
    running.ok("POST", "/v1/releases:publish", release(durationS=600))
    running.ok("POST", "/v1/releases:publish", release(durationS=900))
    url = f"{running.standins}/activation"
    running.ok("PUT", "/v1/systems/desk-network", {"adapter": "http", "config": {"url": url}, "concurrency": 10})
    return running


def submit(running: Running, account: str, due_in_s: float | None = None) -> str:
    item = {"id": "1", "action": "add", "product": {"productSpecification": {"id": "console-visit"}}}
    order: dict[str, Any] = {"billingAccount": {"id": account}, "productOrderItem": [item]}
    if due_in_s is not None:
        order["requestedCompletionDate"] = (datetime.now(UTC) + timedelta(seconds=due_in_s)).isoformat()
    return running.submit(order)


def open_tasks(running: Running, number: int) -> None:
    until(lambda: running.ok("GET", "/v1/tasks?queue=console-visits"), lambda tasks: len(tasks) == number)


@pytest.mark.slow
def test_the_next_task_is_taken_filled_in_and_completed_and_another_one_handed_over(
    page: Any, desks: Running, complaints: list[str]
) -> None:
    from playwright.sync_api import expect

    orders = [submit(desks, "console-desk") for _ in range(2)]
    open_tasks(desks, 2)
    page.goto("/console/tasks")
    page.get_by_label("User").fill("ann")
    page.get_by_role("link", name="console-visits").click()
    page.get_by_role("button", name="Take next of console-visits").click()
    drawer = page.get_by_role("complementary")
    expect(drawer.get_by_text("You hold it until")).to_be_visible()
    drawer.get_by_label("street").fill("Sample Road 1")
    drawer.get_by_label("postcode").fill("12")
    drawer.get_by_label("Slot").select_option("morning")
    drawer.get_by_role("button", name="Complete").click()
    expect(drawer.get_by_label("postcode")).to_be_focused()  # what the server refuses is told at its field
    look(page, "queues")
    drawer.get_by_label("postcode").fill("1234")
    drawer.get_by_role("button", name="Complete").click()
    expect(drawer.get_by_text("Done")).to_be_visible()
    assert [each for each in complaints if "422" not in each] == []  # the browser logs every refusal
    complaints.clear()

    page.get_by_label("Tasks that are shown").select_option("all")
    page.get_by_role("rowheader").get_by_role("button", name="survey").click()
    drawer.get_by_role("button", name="Claim").click()
    drawer.get_by_role("button", name="Hand over").click()
    drawer.get_by_label("To whom").fill("bob")
    drawer.get_by_role("button", name="Hand over").click()
    expect(drawer.get_by_text("bob holds it until")).to_be_visible()

    assert desks.ended(orders[0])["state"] == "completed"
    [line] = desks.ok("GET", f"/v1/orders/{orders[0]}/plan")["lines"]
    assert line["attributes"]["address"] == {"street": "Sample Road 1", "postcode": "1234"}
    assert line["attributes"]["slot"] == "morning"
    [task] = desks.ok("GET", "/v1/tasks?queue=console-visits")
    assert (task["orderId"], task["worker"]) == (orders[1], "bob")
    desks.ok("POST", f"/v1/tasks/{task['id']}:complete", {"worker": "bob", "data": {"address": {"street": "x"}}})
    desks.ended(orders[1])


@pytest.mark.slow
def test_a_late_order_says_why_and_what_would_help_and_its_account_tells_its_story(
    page: Any, desks: Running, complaints: list[str]
) -> None:
    from playwright.sync_api import expect

    order_id = submit(desks, "console-late", due_in_s=-3600)
    open_tasks(desks, 1)
    page.goto("/console/risk?account=console-late")
    page.get_by_role("button", name=order_id).click()
    drawer = page.get_by_role("complementary")
    expect(drawer.get_by_role("heading", name="Risk 100 %")).to_be_visible()
    drawer.get_by_role("button", name="Ask the model").click()
    expect(drawer.get_by_text("estimated by the model")).to_be_visible()
    look(page, "risk")

    page.get_by_role("row").filter(has_text=order_id).get_by_role("link", name="console-late").click()
    expect(page.get_by_text("1 order, 1 open")).to_be_visible()
    expect(page.get_by_role("cell", name="task opened")).to_be_visible()
    look(page, "account")
    desks.ok("POST", f"/v1/orders/{order_id}:cancel", {"reason": "only a test"})
    desks.ended(order_id)
    expect(page.get_by_role("cell", name="order ended")).to_be_visible()  # live


@pytest.mark.slow
def test_a_system_is_held_and_released_with_what_rested_on_hold(page: Any, desks: Running) -> None:
    from playwright.sync_api import expect

    page.goto("/console/systems?system=desk-network")
    drawer = page.get_by_role("complementary")
    drawer.get_by_role("button", name="Hold").click()
    drawer.get_by_label("Reason").fill("maintenance until six")
    drawer.get_by_role("button", name="Hold").click()
    row = page.get_by_role("row").filter(has=page.get_by_role("button", name="desk-network"))
    expect(row).to_contain_text("offline")
    order_id = submit(desks, "console-held")
    expect(row.get_by_role("cell", name="1", exact=True)).to_be_visible()
    look(page, "systems")
    drawer.get_by_role("button", name="Release").click()
    drawer.get_by_role("button", name="Release").click()
    expect(row).to_contain_text("online")

    open_tasks(desks, 1)
    desks.ok("POST", f"/v1/orders/{order_id}:cancel", {"reason": "only a test"})
    desks.ended(order_id)
    kinds = [(each["kind"], each["by"]) for each in desks.ok("GET", "/v1/systems/desk-network/changes")[:2]]
    assert kinds == [("released", "operator"), ("held", "operator")]


@pytest.mark.slow
def test_releases_are_compared_and_one_is_retired_and_a_listener_comes_and_goes(page: Any, desks: Running) -> None:
    from playwright.sync_api import expect

    page.goto("/console/releases")
    page.get_by_role("button", name="console-desks@1.1").click()
    drawer = page.get_by_role("complementary")
    drawer.get_by_label("Compare with").select_option("console-desks@1.2")
    expect(page.get_by_role("region", name="Differences").get_by_role("cell", name="900")).to_be_visible()
    drawer.get_by_role("button", name="Retire").click()
    drawer.get_by_label("Reason").fill("nobody needs it")
    look(page, "releases")
    drawer.get_by_role("button", name="Retire").click()
    expect(drawer.get_by_text("No new order takes it.")).to_be_visible()

    page.get_by_role("link", name="Listeners").click()
    page.get_by_label("Address").fill("https://channel.example/listener")
    page.get_by_label("Only events for which").fill("eventType=ProductOrderDeleteEvent")
    page.get_by_role("button", name="Register").click()
    row = page.get_by_role("row").filter(has_text="https://channel.example/listener")
    expect(row).to_contain_text("active")
    look(page, "listeners")
    row.get_by_role("button", name="Remove").click()
    row.get_by_role("button", name="Remove it").click()
    expect(row).to_have_count(0)


@pytest.mark.slow
def test_an_order_is_submitted_amended_as_previewed_and_cancelled(page: Any, desks: Running) -> None:
    from playwright.sync_api import expect

    item = {"action": "add", "product": {"productSpecification": {"id": "console-visit"}}}
    order = {"billingAccount": {"id": "console-new"}, "productOrderItem": [{"id": "1"} | item]}
    page.goto("/")
    page.get_by_role("link", name="New order").click()
    text = page.get_by_label("Order (TMF622, JSON)")
    text.fill(dumped(order))
    page.get_by_role("button", name="Show what comes of it").click()
    expect(page.get_by_role("region", name="Preview").get_by_text("3 items in the plan")).to_be_visible()
    look(page, "new-order")
    page.get_by_role("button", name="Submit the order").click()
    expect(page.locator("h1")).to_contain_text("inProgress")
    open_tasks(desks, 1)
    page.get_by_role("link", name="Gantt").click()
    expect(page.get_by_role("row").filter(has_text="survey")).to_contain_text("Ready")
    look(page, "gantt")

    page.get_by_role("link", name="Amend").click()
    page.get_by_label("Reason").fill("a second line")
    order["productOrderItem"] = [{"id": "1"} | item, {"id": "2"} | item]
    text.fill(dumped(order))
    with page.expect_response("**/*:amend?dryRun=true") as previewed:
        page.get_by_role("button", name="Show what comes of it").click()
    expect(page.get_by_role("region", name="Preview").get_by_text("6 items in the plan")).to_be_visible()
    look(page, "amend")
    shown = previewed.value.json()["plan"]
    page.get_by_role("button", name="Amend the order").click()
    expect(page.get_by_role("link", name="Gantt")).to_be_visible()
    order_id = page.url.partition("/orders/")[2].partition("?")[0]
    plan = desks.ok("GET", f"/v1/orders/{order_id}/plan")
    assert [(each["key"], each["dependsOn"]) for each in plan["items"]] == [
        (each["key"], each["dependsOn"]) for each in shown
    ]

    page.get_by_role("button", name="Cancel…").click()
    expect(page.get_by_role("region", name="Preview")).to_be_visible()
    look(page, "cancel")
    page.get_by_role("button", name="Cancel the order").click()
    page.get_by_label("Reason").fill("only a test")
    page.get_by_role("button", name="Cancel the order").click()
    expect(page.locator("h1")).to_contain_text("cancelled")


def dumped(document: Any) -> str:
    return json.dumps(document, indent=1)
