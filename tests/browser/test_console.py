"""The console in a browser, on a running cluster: what an operator comes for, from the first page to the outcome."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.build import callout, depends, plan_of, release_document, scenario
from tests.support.running import Running, until

TIMEOUT_MS = 30_000


@pytest.fixture
def failed(running: Running) -> list[str]:
    """Four orders whose billing was refused, the last one first."""
    running.ok(
        "POST",
        "/v1/releases:publish",
        release_document(
            code="console",
            version="1",
            products=[{"code": "line"}],
            plans=[
                plan_of(
                    "line",
                    callout("prepare", system="activation", operation="activate"),
                    callout("bill", system="billing", operation="bill"),
                    callout("report", system="activation", operation="report"),
                )
            ],
            dependencies=[depends("line/bill", "line/prepare"), depends("line/report", "line/bill")],
            scenarios=[scenario("line", "line", "add")],
        ),
    )
    for system in ("activation", "billing"):
        url = f"{running.standins}/{system}"
        running.ok("PUT", f"/v1/systems/{system}", {"adapter": "http", "config": {"url": url}, "concurrency": 10})
    running.behave(system="billing", status=422, failNext=4)
    item = {"id": "1", "action": "add", "product": {"productSpecification": {"id": "line"}}}
    orders = [
        running.submit({"billingAccount": {"id": f"console-{number}"}, "productOrderItem": [item]})
        for number in range(4)
    ]
    until(lambda: running.ok("GET", "/v1/fallout")["items"], lambda items: len(items) == 4)
    return orders[::-1]


def look(page: Any, name: str) -> None:
    """A picture for people, light and dark, where ORDERPLAN_PICTURES names a folder."""
    folder = os.environ.get("ORDERPLAN_PICTURES")
    for theme in ("light", "dark") if folder else ():
        page.emulate_media(color_scheme=theme)
        page.screenshot(path=Path(str(folder)) / f"{name}-{theme}.png")


@pytest.mark.slow
def test_a_failed_order_is_found_and_repaired_and_then_its_cause_in_bulk(
    page: Any, running: Running, failed: list[str]
) -> None:
    from playwright.sync_api import expect

    page.goto("/")
    page.get_by_label("Account").fill("console-3")
    expect(page.get_by_text("1 orders, newest first")).to_be_visible(timeout=TIMEOUT_MS)
    look(page, "orders")
    page.get_by_role("link", name=failed[0]).click()
    expect(page.locator(".graph")).to_have_attribute("data-ready", "yes", timeout=TIMEOUT_MS)
    expect(page.locator(".card")).to_have_count(3)
    page.locator(".card", has_text="Fatally Failed").click()
    drawer = page.get_by_role("complementary")
    drawer.get_by_role("button", name="Retry", exact=True).click()
    expect(drawer.get_by_label("Reason")).to_be_focused()
    drawer.get_by_label("Reason").fill("billing is mended")
    look(page, "plan")
    drawer.get_by_role("button", name="Retry", exact=True).click()
    expect(page.locator("h1")).to_contain_text("completed", timeout=TIMEOUT_MS)  # live: nothing was loaded anew

    retried = [
        each for each in running.ok("GET", f"/v1/orders/{failed[0]}/facts") if each["actor"] == "person:operator"
    ]
    assert retried[0]["payload"]["reason"] == "billing is mended"

    page.get_by_role("link", name="Fallout").click()
    expect(page.get_by_role("cell", name="3", exact=True)).to_be_visible(timeout=TIMEOUT_MS)
    page.get_by_role("rowheader").get_by_role("link").click()
    page.get_by_role("button", name="Retry all 3").click()
    page.get_by_label("Reason").fill("billing is mended")
    look(page, "fallout")
    page.get_by_role("button", name="Retry all 3").click()
    expect(page.get_by_text("3 chosen: 3 carried out, 0 refused, 0 failed, 0 open.")).to_be_visible(timeout=TIMEOUT_MS)
    expect(page.get_by_text("Nothing has failed.")).to_be_visible(timeout=TIMEOUT_MS)
    look(page, "job")

    assert {running.ended(order_id)["state"] for order_id in failed} == {"completed"}


@pytest.mark.slow
def test_two_tabs_share_one_stream_and_a_role_disables_what_it_may_not_do(page: Any) -> None:
    from playwright.sync_api import expect

    streams: list[str] = []
    page.context.on("request", lambda asked: streams.append(asked.url) if asked.url.endswith("/v1/stream") else None)
    page.goto("/")
    expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible(timeout=TIMEOUT_MS)
    other = page.context.new_page()
    other.goto("/console/orders/none")
    expect(other.get_by_role("status").filter(has_text="Live")).to_be_visible(timeout=TIMEOUT_MS)
    other.goto("/console/fallout")
    other.get_by_label("Role").select_option("agent")
    expect(other.get_by_text("Needs the role operator; you are trying out agent.")).to_be_visible()

    assert len(streams) == 1
