"""The console in a browser: a failed order is found, read and repaired, and then its cause in bulk."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from tests.support.browser import look
from tests.support.build import callout, depends, plan_of, release_document, scenario
from tests.support.running import Running, until

VERSIONS = count(1)
ORDER = "/tmf-api/productOrderingManagement/v4/productOrder?"


def submit(running: Running, account: str) -> str:
    item = {"id": "1", "action": "add", "product": {"productSpecification": {"id": "console-line"}}}
    return running.submit({"billingAccount": {"id": account}, "productOrderItem": [item]})


@pytest.fixture
def systems(running: Running) -> None:
    running.ok(
        "POST",
        "/v1/releases:publish",
        release_document(
            code="console",
            version=f"1.{next(VERSIONS)}",
            products=[{"code": "console-line"}],
            plans=[
                plan_of(
                    "line",
                    callout("prepare", system="console-network", operation="activate"),
                    callout("bill", system="console-billing", operation="bill"),
                    callout("report", system="console-network", operation="report"),
                )
            ],
            dependencies=[depends("line/bill", "line/prepare"), depends("line/report", "line/bill")],
            scenarios=[scenario("console-line", "line", "add")],
        ),
    )
    for system, standin in (("network", "activation"), ("billing", "billing")):
        url = f"{running.standins}/{standin}"
        running.ok(
            "PUT", f"/v1/systems/console-{system}", {"adapter": "http", "config": {"url": url}, "concurrency": 10}
        )


@pytest.fixture
def failed(running: Running, systems: None) -> list[str]:
    """Four orders whose billing was refused, the last one first."""
    running.behave(system="billing", status=422, failNext=4)
    orders = [submit(running, f"console-{number}") for number in range(4)]
    until(lambda: running.ok("GET", "/v1/fallout?system=console-billing")["items"], lambda items: len(items) == 4)
    return orders[::-1]


@pytest.mark.slow
def test_a_failed_order_is_found_and_repaired_and_then_its_cause_in_bulk(
    page: Any, running: Running, failed: list[str], complaints: list[str]
) -> None:
    from playwright.sync_api import expect

    page.goto("/console/overview")
    expect(
        page.get_by_role("region", name="Failed").get_by_role("row").filter(has_text="console-billing")
    ).to_contain_text("4")
    look(page, "overview")
    page.goto("/")
    expect(page.get_by_role("link", name=failed[0])).to_be_visible()
    look(page, "orders")
    page.get_by_label("Account").fill("console-3")
    expect(page.get_by_text("1 order, newest first")).to_be_visible()
    page.get_by_role("link", name=failed[0]).click()
    cards = page.locator(".card")
    expect(cards).to_have_count(3)
    cards.filter(has_text="Fatally Failed").click()
    for card in cards.all():
        expect(card).to_be_in_viewport(ratio=1)  # the picture fits the room that the drawer leaves
    drawer = page.get_by_role("complementary")
    drawer.get_by_role("button", name="Retry", exact=True).click()
    expect(drawer.get_by_label("Reason")).to_be_focused()
    drawer.get_by_label("Reason").fill("billing is mended")
    look(page, "plan")

    # The answer to the first sending is lost: the second one has its key, and nothing happens twice.
    keys: list[str] = []

    def lose(route: Any) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            route.fetch()
            route.abort()
        else:
            route.continue_()

    page.route("**/items/*:retry", lose)
    drawer.get_by_role("button", name="Retry", exact=True).click()
    expect(drawer.get_by_text("The server does not answer.")).to_be_visible()
    expect(drawer.get_by_label("Reason")).not_to_be_editable()
    drawer.get_by_role("button", name="Retry", exact=True).click()
    expect(page.locator("h1")).to_contain_text("completed")  # live: nothing was loaded anew
    facts = running.ok("GET", f"/v1/orders/{failed[0]}/facts")
    retried = [(each["actor"], each["payload"]["reason"]) for each in facts if each["kind"] == "item.retried"]
    assert retried == [("person:operator", "billing is mended")]
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert [each for each in complaints if "ERR_FAILED" not in each] == []
    complaints.clear()

    page.get_by_role("link", name="Fallout").click()
    cause = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="console-billing"))
    expect(cause.get_by_role("cell").first).to_have_text("3")
    cause.get_by_role("link").click()
    page.get_by_role("button", name="Retry all 3").click()
    page.get_by_label("Reason").fill("billing is mended")
    look(page, "fallout")
    page.get_by_role("button", name="Retry all 3").click()
    expect(page.get_by_text("3 chosen: 3 carried out, 0 refused, 0 failed, 0 open.")).to_be_visible()
    expect(cause).to_have_count(0)
    look(page, "job")

    assert {running.ended(order_id)["state"] for order_id in failed} == {"completed"}


@pytest.mark.slow
def test_two_tabs_share_one_stream_and_a_role_disables_what_it_may_not_do(page: Any) -> None:
    from playwright.sync_api import expect

    streams: list[str] = []
    page.context.on("request", lambda asked: streams.append(asked.url) if asked.url.endswith("/v1/stream") else None)
    page.goto("/")
    expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    other = page.context.new_page()
    other.goto("/console/fallout")
    expect(other.get_by_role("status").filter(has_text="Live")).to_be_visible()
    other.get_by_label("Role").select_option("agent")
    expect(other.get_by_text("Needs the role operator; you are trying out agent.")).to_be_visible()

    assert len(streams) == 1


@pytest.mark.slow
def test_a_list_is_read_anew_for_what_it_shows_and_not_for_the_orders_of_others(
    page: Any, running: Running, systems: None
) -> None:
    from playwright.sync_api import expect

    read: list[str] = []
    page.on("request", lambda asked: read.append(asked.url) if ORDER in asked.url else None)
    page.goto("/console/orders?billingAccount.id=console-mine")
    expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    expect(page.get_by_text("No order is like that.")).to_be_visible()
    before = len(read)
    others = [submit(running, f"console-other-{number}") for number in range(20)]
    assert {running.ended(order_id)["state"] for order_id in others} == {"completed"}
    mine = submit(running, "console-mine")
    running.ended(mine)
    expect(page.get_by_role("row").filter(has_text=mine)).to_contain_text("completed")

    # One for the beginning, one for the end, and one more if it moved between.
    assert len(read) - before <= 4
