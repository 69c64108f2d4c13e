"""What makes the console quick, counted: large plans open collapsed, and a change draws anew what it changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.browser import TIMEOUT_MS, look, watch
from tests.support.console_scene import Scene, fleet, served, wide

WIDE = 200
LINES = 250
CARDS = """() => Object.fromEntries([...document.querySelectorAll(".react-flow__node")].map(({dataset, firstChild}) =>
    [dataset.id, [firstChild.textContent + firstChild.className, Number(firstChild.dataset.drawn)]]))"""


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with served(wide(WIDE), fleet(LINES)) as made:
        yield made


@pytest.fixture
def large(browser: Any, scene: Scene, complaints: list[str]) -> Iterator[Any]:
    context = browser.new_context(
        base_url=scene.url, reduced_motion="reduce", locale="en-GB", viewport={"width": 1920, "height": 1080}
    )
    context.set_default_timeout(TIMEOUT_MS)
    yield watch(context.new_page(), scene.url, complaints)
    context.close()
    assert complaints == []


@pytest.mark.slow
def test_twenty_changes_in_a_plan_of_200_items_draw_those_items_anew_and_no_others(large: Any, scene: Scene) -> None:
    from playwright.sync_api import expect

    wide_id, _ = scene.orders
    large.goto(f"/console/orders/{wide_id}")
    expect(large.locator(".graph")).to_have_attribute("data-ready", "yes")
    large.get_by_role("button", name="Fit View").click()
    expect(large.locator(".card")).to_have_count(WIDE)
    expect(large.locator(".card.critical").first).to_be_visible()  # the schedule has come
    before = large.evaluate(CARDS)
    changed = scene.change(wide_id, 20)
    expect(large.locator(".card.good")).to_have_count(20)
    after = large.evaluate(CARDS)

    drawn = {key for key in after if after[key][1] != before[key][1]}
    assert 20 <= len(changed) <= len(drawn)
    assert {key for key in drawn if after[key][0] == before[key][0]} == set(), "drawn anew as it was"


@pytest.mark.slow
def test_a_plan_of_2000_items_opens_collapsed_at_what_has_failed(large: Any, scene: Scene) -> None:
    from playwright.sync_api import expect

    _, fleet_id = scene.orders
    large.goto(f"/console/orders/{fleet_id}")
    cards = large.locator(".card")
    expect(cards).to_have_count(8)
    check = cards.filter(has_text=f"{LINES} check")
    expect(check).to_have_class("card bad chosen critical")
    large.locator(".graph").focus()
    large.keyboard.press("Enter")
    # A large group is divided by state before its items are shown one by one.
    expect(cards).to_have_count(10)
    expect(cards.filter(has_text="check").filter(has_text="✕1")).to_have_count(0)
    look(large, "plan-large")
    large.get_by_role("link", name="Table").click()
    expect(large.get_by_role("row")).to_have_count(301)
    large.get_by_role("button", name="Show 300 more").click()
    expect(large.get_by_role("row")).to_have_count(601)


SPOIL = """() => {
  const add = (name) => document.querySelector("main").appendChild(document.createElement(name));
  add("img").src = "/page/icon.svg";
  add("button");
  Object.assign(add("p"), {textContent: "hardly to be read"}).style.color = "#aaaaaa";
}"""


@pytest.mark.slow
def test_what_watches_over_the_pages_of_these_tests_sees_faults(
    large: Any, scene: Scene, complaints: list[str]
) -> None:
    wide_id, _ = scene.orders
    large.goto(f"/console/orders/{wide_id}?view=lines")
    large.get_by_role("row").first.wait_for()
    large.evaluate(SPOIL)
    with pytest.raises(AssertionError) as seen:
        look(large, "spoilt")
    for rule in ("image-alt", "button-name", "color-contrast"):
        assert f"{rule}: " in str(seen.value)

    assert complaints == []
    large.evaluate("() => { console.error('it broke'); setTimeout(() => { throw new Error('so did this') }) }")
    large.evaluate("() => new Promise((done) => Object.assign(new Image(), {onerror: done, src: 'http://127.0.0.1:9/'}))")
    with pytest.raises(Exception, match="ERR_"):
        large.goto("http://127.0.0.1:9/")
    told = "\n".join(complaints)
    for fault in ("it broke", "so did this", "Content Security Policy", "http://127.0.0.1:9/"):
        assert fault in told
    complaints.clear()


@pytest.mark.slow
def test_an_address_that_is_none_says_where_to_begin(large: Any) -> None:
    large.goto("/console/nowhere")
    large.get_by_role("heading", name="There is no such page").wait_for()
    look(large, "nowhere")
