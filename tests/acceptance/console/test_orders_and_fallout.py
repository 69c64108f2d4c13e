"""The console in a browser: a failed order is found, read and repaired, and after an outage its cause in bulk."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.faults.processes import process
from tests.support.browser import look
from tests.support.build import callout, depends, plan_of, release_document, scenario
from tests.support.running import Running, until

VERSIONS = count(1)
ITEM = {"id": "1", "action": "add", "product": {"productSpecification": {"id": "console-line"}}}
STRUCK, STRUCK_AGAIN = 37, 3


def order(account: str) -> dict[str, Any]:
    return {"billingAccount": {"id": account}, "productOrderItem": [ITEM]}


def submit(running: Running, account: str) -> str:
    return running.submit(order(account))


@pytest.fixture
def systems(running: Running) -> Iterator[None]:
    running.ok(
        "POST",
        "/v1/releases:publish",
        release_document(
            code="console",
            version=f"1.{next(VERSIONS)}",
            products=[{"code": "console-line"}],
            retries=[{"code": "once", "attemptsMax": 1}],
            plans=[
                plan_of(
                    "line",
                    callout("prepare", system="console-network", operation="activate"),
                    callout("bill", system="console-billing", operation="bill", retry="once"),
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
            "PUT",
            f"/v1/systems/console-{system}",
            {"adapter": "http", "config": {"url": url}, "concurrency": 10, "breaker": None},
        )
    yield
    running.behave(system="billing", failNext=0)


@pytest.fixture
def failed(running: Running, systems: None) -> str:
    """An order whose billing was refused."""
    running.behave(system="billing", status=422, failNext=1)
    order_id = submit(running, "console-alone")
    until(lambda: running.ok("GET", "/v1/fallout?account=console-alone")["items"], lambda items: len(items) == 1)
    return order_id


@pytest.fixture
def struck(running: Running, systems: None) -> list[str]:
    """Orders that came while billing was down. It is up again, but for the first few who ask."""
    running.behave(system="billing", status=503, failNext=STRUCK + STRUCK_AGAIN)
    lines = b"\n".join(json.dumps(order(f"console-struck-{number}")).encode() for number in range(STRUCK))
    answers = running.call("POST", "/v1/orders:ingest", lines, Content_Type="application/x-ndjson")[1]
    until(lambda: running.ok("GET", "/v1/fallout?system=console-billing")["items"], lambda items: len(items) == STRUCK)
    return [json.loads(each)["id"] for each in answers.splitlines()]


@pytest.mark.slow
def test_a_failed_order_is_found_and_repaired_once(
    page: Any, running: Running, failed: str, complaints: list[str]
) -> None:
    from playwright.sync_api import expect

    page.goto("/console/overview")
    expect(
        page.get_by_role("region", name="Failed").get_by_role("row").filter(has_text="console-billing")
    ).to_contain_text("1")
    page.goto("/")
    expect(page.get_by_role("link", name=failed)).to_be_visible()
    box = page.get_by_label("Search orders")
    box.fill("state:eaten")
    box.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("'eaten' is no state of an order")
    assert [each for each in complaints if "400" not in each] == []  # the browser logs every refusal
    complaints.clear()
    box.fill("console-alone state:fallout system:console-billing")
    box.press("Enter")
    expect(page.get_by_text("1 order, newest first")).to_be_visible()
    look(page, "orders")
    page.get_by_role("link", name=failed).click()
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
    facts = running.ok("GET", f"/v1/orders/{failed}/facts")
    retried = [(each["actor"], each["payload"]["reason"]) for each in facts if each["kind"] == "item.retried"]
    assert retried == [("person:operator", "billing is mended")]
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert [each for each in complaints if "ERR_FAILED" not in each] == []
    complaints.clear()


def press_until(page: Any, key: str, text: str) -> None:
    """Press a key until the link or button that has the focus shows the text."""
    for _ in range(60):
        page.keyboard.press(key)
        if text in page.evaluate("document.activeElement.matches('a, button') ? document.activeElement.textContent : ''"):
            return
    raise AssertionError(f"{key} does not lead to {text!r}")


@pytest.mark.slow
def test_after_an_outage_37_items_are_repaired_in_bulk_by_the_keyboard_alone(
    page: Any, running: Running, struck: list[str]
) -> None:
    from playwright.sync_api import expect

    page.goto("/console/overview")
    expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog", name="Go to")).to_be_visible()
    page.keyboard.type("fallout")
    look(page, "palette")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Fallout")).to_be_visible()
    cause = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="console-billing"))
    expect(cause.get_by_role("cell").first).to_have_text(str(STRUCK))
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    look(page, "keys")
    page.keyboard.press("Escape")
    press_until(page, "j", "console-billing")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=f"Retry all {STRUCK}")).to_be_visible()
    press_until(page, "j", struck[0])
    page.keyboard.press("x")
    expect(page.get_by_role("button", name="Retry the 1 chosen")).to_be_visible()
    page.keyboard.press("x")
    look(page, "fallout")
    page.keyboard.press("r")
    expect(page.get_by_label("Reason")).to_be_focused()
    page.keyboard.type("billing is up again")
    page.keyboard.press("Enter")
    job = page.get_by_role("region", name="The job")
    told = f"{STRUCK} chosen: {STRUCK} carried out, 0 refused, 0 failed, 0 open. {STRUCK_AGAIN} of those carried out"
    expect(job.get_by_role("status")).to_contain_text(told)
    look(page, "job")
    press_until(page, "Tab", f"Select the {STRUCK_AGAIN} that failed again")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=f"Retry the {STRUCK_AGAIN} chosen")).to_be_visible()
    page.keyboard.press("r")
    page.keyboard.type("and once more")
    page.keyboard.press("Enter")
    expect(job.get_by_role("status")).to_contain_text(f"{STRUCK_AGAIN} chosen: {STRUCK_AGAIN} carried out")
    expect(cause).to_have_count(0)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(job).to_have_count(0)

    assert {running.ended(order_id)["state"] for order_id in struck} == {"completed"}


@pytest.mark.slow
def test_single_letters_can_be_turned_off(page: Any) -> None:
    from playwright.sync_api import expect

    page.goto("/")
    expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_label("Search orders")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.get_by_label("Single letters are on").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.press("?")

    expect(page.get_by_label("Search orders")).not_to_be_focused()
    expect(page.get_by_role("dialog")).to_have_count(0)


TABS = 6


@pytest.mark.slow
def test_six_tabs_share_one_stream_which_outlives_its_tab_and_the_gateway(
    page: Any, running: Running, systems: None, complaints: list[str]
) -> None:
    from playwright.sync_api import expect

    def gateway() -> dict[str, Any]:
        found: dict[str, Any] = running.ok("GET", "/v1/cluster")["actors"]["gateway"]
        return found

    tabs = [page, *(page.context.new_page() for _ in range(TABS - 1))]
    for tab in tabs:
        tab.goto("/console/orders?search=customer:console-tabs")
        expect(tab.get_by_role("status").filter(has_text="Live")).to_be_visible()

    def all_show(order_id: str) -> None:
        for tab in tabs:
            tab.bring_to_front()  # a tab that nobody sees waits
            expect(tab.get_by_role("row").filter(has_text=order_id)).to_contain_text("completed")

    def one_stream() -> None:
        until(lambda: gateway()["streamClients"], lambda clients: clients == 1)  # one that has gone is counted a second

    one_stream()
    all_show(submit(running, "console-tabs"))
    tabs.remove(page)
    other = tabs[0]
    # The one that listens goes; whoever is next has the stream, and all that the others show is read anew.
    page.goto("about:blank")
    expect(other.get_by_text("read anew")).to_be_visible()
    one_stream()
    all_show(submit(running, "console-tabs"))

    found = process(gateway()["pid"])
    assert found is not None
    found.send(signal.SIGKILL)
    for tab in tabs:
        expect(tab.get_by_role("status").filter(has_text="Reconnecting")).to_be_visible()
    until(lambda: found.is_alive, lambda is_alive: not is_alive)
    for tab in tabs:
        expect(tab.get_by_role("status").filter(has_text="Live, read anew")).to_be_visible()
    one_stream()
    all_show(submit(running, "console-tabs"))
    assert [each for each in complaints if "net::ERR_" not in each] == []
    complaints.clear()


@pytest.mark.slow
def test_a_role_disables_what_it_may_not_do(page: Any) -> None:
    from playwright.sync_api import expect

    page.goto("/console/fallout")
    page.get_by_label("Role").select_option("agent")

    expect(page.get_by_text("Needs the role operator; you are trying out agent.")).to_be_visible()


@pytest.mark.slow
def test_a_list_is_read_anew_for_what_it_shows_and_not_for_the_orders_of_others(
    page: Any, running: Running, systems: None
) -> None:
    from playwright.sync_api import expect

    read: list[str] = []
    page.on("request", lambda asked: read.append(asked.url) if "/v1/orders?" in asked.url else None)
    page.goto("/console/orders?billingAccount.id=console-mine")
    expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    expect(page.get_by_text("No order is like that.")).to_be_visible()
    before = len(read)
    others = [submit(running, f"console-other-{number}") for number in range(20)]
    assert {running.ended(order_id)["state"] for order_id in others} == {"completed"}
    mine = submit(running, "console-mine")
    running.ended(mine)
    expect(page.get_by_role("row").filter(has_text=mine)).to_contain_text("completed")

    # One for the beginning, one for the end, and one more if it moved between; and each may ask for newer ones too.
    assert len(read) - before <= 6
