"""The console in a browser: one order among a hundred thousand, saved views, and what is done with all that was found."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, Final

import asyncpg
import pytest

from persistence.tables import ORDER_COLUMNS
from tests.support.browser import look
from tests.support.build import callout, depends, manual, plan_of, release_document, scenario
from tests.support.running import Running, until

VERSIONS = count(1)
OTHERS: Final = 100_000
ROWS_MAX: Final = 80


@pytest.fixture
def lines(running: Running) -> Running:
    """Orders that wait for a person after a call."""
    plan = plan_of(
        "line",
        callout("prepare", system="search-network", operation="activate"),
        manual("survey", queue="search-desk"),
    )
    running.ok(
        "POST",
        "/v1/releases:publish",
        release_document(
            code="search",
            version=f"1.{next(VERSIONS)}",
            products=[{"code": "search-line"}],
            plans=[plan],
            dependencies=[depends("line/survey", "line/prepare")],
            scenarios=[scenario("search-line", "line", "add")],
            queues=[{"code": "search-desk"}],
        ),
    )
    url = f"{running.standins}/activation"
    running.ok("PUT", "/v1/systems/search-network", {"adapter": "http", "config": {"url": url}, "concurrency": 10})
    return running


def submit(running: Running, account: str, external_id: str | None = None) -> str:
    item = {"id": "1", "action": "add", "product": {"productSpecification": {"id": "search-line"}}}
    named = {"externalId": external_id} if external_id else {}
    return running.submit({"billingAccount": {"id": account}, "productOrderItem": [item], **named})


def in_database(running: Running, *statements: tuple[str, Any]) -> None:
    """Carry statements out, each with its value, in a thread of their own: Playwright has this one's event loop."""

    async def carry_out() -> None:
        connection = await asyncpg.connect(running.dsn)
        try:
            for statement, value in statements:
                await connection.execute(statement, *([value] if value is not None else []))
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(carry_out())).result()


@pytest.fixture
def one_among_many(lines: Running) -> Iterator[str]:
    """An order with as many others before and after it: their rows, as a host writes them, without their facts."""
    order_id = submit(lines, "search-one", "Wanted 1042")
    until(lambda: lines.ok("GET", "/v1/tasks?queue=search-desk"), lambda tasks: len(tasks) == 1)
    changed = {
        "order_id": "o.order_id || '-other-' || n",
        "account": "'search-' || n % 1000",
        "external_id": "'Other ' || n",
        "client_key": "null",
        "state": "'completed'",
        "created_at": f"o.created_at + (n - {OTHERS // 2} - 0.5) * interval '1 s'",
        "ended_at": "o.created_at",
        "active": "false",
    }
    columns = ", ".join(changed.get(name, f"o.{name}") for name in ORDER_COLUMNS)
    put = (
        f"insert into product_order ({', '.join(ORDER_COLUMNS)}, archived) select {columns}, true "
        f"from product_order as o cross join generate_series(1, {OTHERS}) as n where o.order_id = $1"
    )
    in_database(lines, (put, order_id), ("analyze product_order", None))
    yield order_id
    in_database(lines, ("delete from product_order where order_id like $1 || '-other-%'", order_id))
    lines.ok("POST", f"/v1/orders/{order_id}:cancel", {"reason": "only a test"})
    lines.ended(order_id)


@pytest.mark.slow
def test_one_order_among_a_hundred_thousand_is_found_by_its_name_and_opened(page: Any, one_among_many: str) -> None:
    from playwright.sync_api import expect

    page.goto("/console/orders?search=search-*")
    expect(page.get_by_text("More than 100,000 orders, newest first")).to_be_visible()
    rows = page.locator(".orders [role=row]")
    page.get_by_role("table", name="Orders").focus()
    page.keyboard.press("End")
    expect(page.locator(f'[aria-rowindex="{OTHERS + 1}"]')).to_contain_text("Other 2")  # the last but one there is
    assert rows.count() < ROWS_MAX
    look(page, "orders-many")
    box = page.get_by_label("Search orders")
    box.fill('"Wanted 1042"')
    box.press("Enter")
    expect(page.get_by_text("1 order, newest first")).to_be_visible()
    box.blur()
    page.keyboard.press("j")
    page.keyboard.press("Enter")

    expect(page.locator("h1")).to_contain_text(one_among_many)
    expect(page.locator(".card")).to_have_count(2)


@pytest.mark.slow
def test_all_that_a_saved_search_finds_is_held_and_taken_back_and_its_tasks_are_assigned(
    page: Any, lines: Running
) -> None:
    from playwright.sync_api import expect

    orders = [submit(lines, "search-bulk") for _ in range(3)]
    until(lambda: lines.ok("GET", "/v1/tasks?queue=search-desk"), lambda tasks: len(tasks) == len(orders))
    page.goto("/console/tasks?queue=search-desk&show=all")
    page.get_by_role("button", name="Choose all 3").click()
    page.get_by_role("button", name="Assign 3 tasks").click()
    page.get_by_label("To whom").fill("bob")
    page.get_by_role("button", name="Assign 3 tasks").click()
    expect(page.get_by_text("3 tasks assigned, 0 refused.")).to_be_visible()
    expect(page.get_by_role("cell", name="bob")).to_have_count(3)
    look(page, "assigned")

    page.goto("/console/orders?search=customer:search-bulk")
    page.get_by_role("button", name="Save view").click()
    page.get_by_label("Name").fill("Bulk of search")
    page.get_by_label("Everybody here may use it").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page).to_have_url(re.compile("view="))
    page.get_by_label("User").fill("ann")
    page.goto(f"/console/orders?view={page.url.partition('view=')[2]}")
    expect(page.get_by_label("Search orders")).to_have_value("customer:search-bulk")
    expect(page.get_by_role("combobox", name="View", exact=True).locator("option:checked")).to_have_text(
        "Bulk of search (of operator)"
    )

    page.get_by_role("button", name="Choose all 3 found").click()
    later = submit(lines, "search-bulk")
    page.get_by_role("button", name="Hold 3 orders").click()
    expect(page.get_by_text("It takes 3 orders: 3 inProgress. What comes later is left out.")).to_be_visible()
    page.get_by_label("Reason").fill("a recall")
    look(page, "orders-bulk")
    page.get_by_role("button", name="Hold 3 orders").click()
    job = page.get_by_role("region", name="The job")
    expect(job.get_by_role("status")).to_contain_text("3 chosen: 3 carried out, 0 refused, 0 failed, 0 open.")
    expect(page.get_by_role("cell", name="held")).to_have_count(3)
    assert lines.ok("GET", f"/v1/orders/{later}")["state"] == "inProgress"
    page.get_by_role("button", name="Choose all 4 found").click()
    page.get_by_role("button", name="Cancel 4 orders").click()
    expect(page.get_by_text("It takes 4 orders: 3 held, 1 inProgress.")).to_be_visible()
    page.get_by_label("Reason").fill("only a test")
    page.get_by_role("button", name="Cancel 4 orders").click()
    expect(job.get_by_role("status")).to_contain_text("4 chosen: 4 carried out")
    job.get_by_label("Outcomes").select_option("done")
    expect(job.get_by_role("row").filter(has_text=later)).to_contain_text("done")
    look(page, "orders-job")

    assert {lines.ended(order_id)["state"] for order_id in [*orders, later]} == {"cancelled"}
    page.get_by_label("User").fill("operator")
    page.reload()
    page.get_by_role("button", name="Delete view").click()
    expect(page.get_by_role("combobox", name="View", exact=True)).to_have_value("")
