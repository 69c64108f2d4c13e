"""The console in a browser: the overview's numbers are those of the API, and each opens the list behind it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from tests.support.browser import look
from tests.support.build import callout, depends, manual, plan_of, release_document, scenario
from tests.support.running import Running, until

RELEASE = release_document(
    code="console-overview",
    products=["overview-visit", "overview-broken"],
    plans=[
        plan_of("overview-visit", manual("survey", queue="overview-desk", durationS=600), callout("activate")),
        plan_of("overview-broken", callout("send", name="Send to nowhere", system="overview-nowhere")),
    ],
    dependencies=[depends("overview-visit/activate", "overview-visit/survey")],
    scenarios=[scenario("overview-visit", "overview-visit"), scenario("overview-broken", "overview-broken")],
    systems=[{"code": "sys"}, {"code": "overview-nowhere"}],
)


def submit(running: Running, product: str, due_in: timedelta) -> str:
    item = {"id": "1", "action": "add", "product": {"productSpecification": {"id": product}}}
    due_at = (datetime.now(UTC) + due_in).isoformat()
    account = {"id": "console-overview"}
    return running.submit({"billingAccount": account, "productOrderItem": [item], "requestedCompletionDate": due_at})


def tell(running: Running) -> dict[str, Any]:
    """All numbers of the last hour but those that the clock changes."""
    told = running.ok("GET", "/v1/numbers?window=1h")
    return {name: told[name] for name in ("orders", "offers", "items", "systems")} | {
        "queues": [(each["queue"], each["open"], each["closed"]) for each in told["queues"]]
    }


def cells(page: Any, table: str, row: str) -> list[str]:
    """What stands in a row of a section's table, besides its name."""
    found = page.get_by_role("region", name=table, exact=True).get_by_role("row")
    return list(found.filter(has_text=row).get_by_role("cell").all_inner_texts())


def tile(page: Any, label: str) -> Any:
    return page.locator("a.tile").filter(has_text=label)


@pytest.mark.slow
def test_the_numbers_are_those_of_the_api_and_each_opens_its_list(page: Any, running: Running) -> None:
    from playwright.sync_api import expect

    running.ok("POST", "/v1/releases:publish", RELEASE)
    running.ok("PUT", "/v1/systems/sys", {"adapter": "simulated"})
    running.ok("PUT", "/v1/systems/overview-nowhere", {"adapter": "simulated", "config": {"permanentRate": 1.0}})
    done = submit(running, "overview-visit", timedelta(days=2))
    [task] = until(lambda: running.ok("GET", "/v1/tasks?queue=overview-desk"), bool)
    running.ok("POST", f"/v1/tasks/{task['id']}:claim", {"worker": "ann"})
    running.ok("POST", f"/v1/tasks/{task['id']}:complete", {"worker": "ann", "data": {}})
    running.ended(done)
    still = [submit(running, "overview-visit", timedelta(seconds=due_in)) for due_in in (-7200, 1)]
    still.append(submit(running, "overview-broken", timedelta(seconds=-60)))
    until(
        lambda: running.ok("GET", "/v1/numbers?window=1h"),
        lambda told: any(each["item"] == "overview-broken/send" and each["failedForGood"] for each in told["items"])
        and any(each["offer"] == "overview-visit" for each in told["offers"]),
    )
    for _ in range(10):
        before = tell(running)
        page.goto("/console/overview?window=1h")
        expect(page.get_by_role("region", name="Queues")).to_contain_text("overview-desk")
        expect(tile(page, "open now")).to_be_visible()
        shown: dict[str, Any] = {
            "tiles": {label: tile(page, label).locator("strong").inner_text() for label in LABELS},
            "offer": cells(page, "Cycle times", "overview-visit"),
            "item": cells(page, "Fallout", "Send to nowhere"),
            "queue": cells(page, "Queues", "overview-desk"),
        }
        if before == tell(running):
            break
    else:
        pytest.fail("the numbers do not come to rest")
    [orders] = before["orders"]
    [offer] = [each for each in before["offers"] if each["offer"] == "overview-visit"]
    [item] = [each for each in before["items"] if each["item"] == "overview-broken/send"]

    assert shown["tiles"] == {
        label: f"{orders[name] * 100:.1f} %" if name.endswith("Share") else f"{orders[name]:,}"
        for label, name in LABELS.items()
    }
    assert (shown["offer"][0], shown["offer"][3]) == (str(offer["completed"]), "100.0 %")
    assert shown["item"][1:] == ["0", "0", str(item["failedForGood"]), "100.0 %", str(item["failedNow"])]
    assert (shown["queue"][0], shown["queue"][10]) == ("2", "1")
    look(page, "overview")

    assert lists_behind(page, tile(page, "due today"), "order") == orders["dueToday"] > 0
    assert lists_behind(page, tile(page, "overdue").first, "order") == orders["overdue"] > 0
    assert lists_behind(page, tile(page, "completed").first, "order") == orders["completed"] > 0
    look(page, "ended")
    page.goto("/console/overview?window=1h")
    row = page.get_by_role("region", name="Fallout", exact=True).get_by_role("row").filter(has_text="Send to nowhere")
    row.get_by_role("link").click()
    expect(page.get_by_role("heading", name="Send to nowhere")).to_be_visible()
    expect(page.get_by_role("region", name="Items of the cause").get_by_role("row")).to_have_count(2)
    page.goto("/console/overview?window=1h")
    page.get_by_role("region", name="Queues").get_by_role("link", name="overview-desk").click()
    expect(page.get_by_role("rowheader").get_by_role("button", name="survey")).to_have_count(2)
    page.goto("/console/overview?window=1h")
    with page.expect_download() as downloaded:
        page.get_by_role("link", name="Items as CSV").click()
    assert "overview-broken/send,Send to nowhere,overview-nowhere," in downloaded.value.path().read_text()
    for order_id in still:
        running.ok("POST", f"/v1/orders/{order_id}:cancel", {"reason": "only a test"})


@pytest.mark.slow
def test_how_good_the_scores_are_is_what_the_report_says(page: Any, running: Running) -> None:
    from playwright.sync_api import expect

    in_database(
        running,
        "insert into delay_tick (order_id, tick, model, tenant, scored_at, p_late, due_at, late, known_at) "
        "select 'told-' || n, 50, 'critical-path', 'main', now() - interval '1 minute' * (n + 90), (n % 100) / 100.0, now(), "
        "(n * 37) % 100 < (n % 100) * 0.8, now() - interval '1 minute' * n from generate_series(1, 400) as n",
    )
    try:
        found = running.ok("GET", "/v1/delay-models:report")["models"]
        [live] = [each["live"] for each in found if each["name"] == "critical-path"]
        page.goto("/console/calibration")
        model = page.get_by_role("region", name="critical-path")
        expect(model.get_by_role("row")).to_have_count(1 + len(live["reliability"]))
        look(page, "calibration")
        rows = [row.split("\t") for row in model.locator("tbody tr").all_inner_texts()]
        figures = dict(zip(model.locator("dt").all_inner_texts(), model.locator("dd").all_inner_texts(), strict=True))

        assert [[said, became, count] for said, became, _, count in rows] == [
            [f"{said * 100:.1f} %", f"{became * 100:.1f} %", str(count)] for said, became, count in live["reliability"]
        ]
        shown = (figures["Brier"], figures["ECE"], figures["AUC"])
        assert shown == (f"{live['brier']:.4f}", f"{live['ece']:.3f}", f"{live['auc']:.3f}")
    finally:
        in_database(running, "delete from delay_tick where order_id like 'told-%'")


def in_database(running: Running, statement: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(running.dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    # A thread of its own: that of the test has the browser's event loop.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, execute()).result()


LABELS = {
    "open orders due today": "dueToday",
    "open orders overdue": "overdue",
    "accepted": "accepted",
    "first time right": "firstTimeRightShare",
    "open now": "open",
}


def lists_behind(page: Any, link: Any, what: str) -> int:
    """How many a list says that it has, of the screen that a number opens."""
    page.goto("/console/overview?window=1h")
    link.click()
    count = page.locator("[role=status].count")
    from playwright.sync_api import expect

    expect(count).to_contain_text(what)
    return int(count.inner_text().split()[0].replace(",", ""))
