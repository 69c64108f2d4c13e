"""How quick the console is, in a real browser on the bundle that ships: `make console-speed`.

Prints each figure against its bar, the median of several rounds, and exits with 1 if one is above it. To be taken on a
machine that does nothing else; the tests of the console count what makes these times instead.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import statistics
import sys
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from gateway.console_pages import ASSETS, FOLDER
from tests.support.browser import ARGUMENTS, first_scripts
from tests.support.console_scene import Scene, fleet, served, wide

ROUNDS: Final = 5
WIDE: Final = 200
LINES: Final = 250
"""Of eight items each."""
CHANGES: Final = 20

# Resolves with the moment at which the frame in which `isDone` came true has been painted, in milliseconds since the
# page was opened.
PAINTED: Final = """window.painted = (isDone) => new Promise((done) => {
  const paint = () => setTimeout(() => done(performance.now()));
  const look = () => requestAnimationFrame(isDone() ? paint : look);
  look();
});
// When the last of the answers came that the plan is drawn from.
window.answered = (orderId) => Math.max(...performance.getEntriesByType("resource")
  .filter(({name}) => name.includes(orderId) && !name.endsWith("schedule")).map(({responseEnd}) => responseEnd));
window.shown = () => [...document.querySelectorAll(".graph[data-ready=yes] .card")];
"""
OPEN: Final = """async (orderId) => {
  performance.clearResourceTimings();
  history.pushState(null, "", `/console/orders/${orderId}`);
  dispatchEvent(new PopStateEvent("popstate"));
  await painted(() => document.querySelector("h1").textContent.includes(orderId) && shown().length > 0);
  return performance.now() - answered(orderId);
}"""
WATCH: Final = """() => {
  window.before = new Map([...document.querySelectorAll(".react-flow__node")]
    .map((node) => [node.dataset.id, [node, node.textContent]]));
  performance.clearResourceTimings();
}"""
CHANGED: Final = """async ([orderId, keys]) => {
  const watched = keys.map((key) => before.get(key));
  const at = await painted(() => watched.every(([node, text]) => node.textContent !== text));
  return at - answered(orderId);
}"""


class Figure(NamedTuple):
    """What is measured: its name, unit and bar, and how one round of it is taken."""

    name: str
    unit: str
    bar: float
    measure: Callable[[Any, Scene], float]


def main() -> int:
    """Measure, print, and say whether every bar is held."""
    parser = argparse.ArgumentParser(prog="python -m tests.speed.console", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each figure; the median counts")
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        print("this needs chromium (apt-get install chromium)", file=sys.stderr)
        return 2
    from playwright.sync_api import sync_playwright

    is_held = True
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, chromium_sandbox=False, args=[*ARGUMENTS, "--window-size=1920,1080"]
        )
        for figure in FIGURES:
            taken = sorted(_round(browser, figure) for _ in range(options.rounds if figure.unit == "ms" else 1))
            middle = statistics.median(taken)
            is_held &= middle <= figure.bar
            spread = f", {taken[0]:,.0f} to {taken[-1]:,.0f}" if len(taken) > 1 else ""
            verdict = "held" if middle <= figure.bar else "NOT HELD"
            print(f"{figure.name}: {middle:,.0f} {figure.unit} (at most {figure.bar:,.0f}{spread}): {verdict}")
        browser.close()
    return 0 if is_held else 1


def _round(browser: Any, figure: Figure) -> float:
    with served(wide(WIDE), wide(WIDE, seed=2, ids_from=1), fleet(LINES)) as scene:
        context = browser.new_context(
            base_url=scene.url, viewport={"width": 1920, "height": 1080}, reduced_motion="reduce"
        )
        page = context.new_page()
        page.add_init_script(PAINTED)
        try:
            return figure.measure(page, scene)
        finally:
            context.close()


def first_load_kb(_page: Any, _scene: Scene) -> float:
    """Scripts that the page names, compressed."""
    index = (FOLDER / "index.html").read_text(encoding="utf-8")
    return sum(len(gzip.compress((ASSETS / name).read_bytes())) for name in first_scripts(index)) / 1000


def readable_ms(page: Any, scene: Scene) -> float:
    """From the answers to a plan of 200 items that can be read; the layout's worker has laid out one as large."""
    wide_id, other_id, _ = scene.orders
    page.goto(f"/console/orders/{other_id}")
    page.wait_for_selector(".graph[data-ready=yes] .card")
    found: float = page.evaluate(OPEN, wide_id)
    return found


def changed_ms(page: Any, scene: Scene) -> float:
    """From the answers with 20 changed states and more to their picture, all 200 items being in view."""
    wide_id = next(iter(scene.orders))
    page.goto(f"/console/orders/{wide_id}")
    page.wait_for_selector(".graph[data-ready=yes] .card")
    page.get_by_role("button", name="Fit View").click()
    page.evaluate(f"painted(() => shown().length === {WIDE})")
    page.evaluate(WATCH)
    keys = scene.change(wide_id, CHANGES)
    assert len(keys) >= CHANGES
    found: float = page.evaluate(CHANGED, [wide_id, keys])
    return found


def opened_ms(page: Any, scene: Scene) -> float:
    """From the address of a plan of 2,000 items to its picture, with nothing loaded before."""
    *_, fleet_id = scene.orders
    page.goto(f"/console/orders/{fleet_id}", wait_until="commit")
    found: float = page.evaluate("painted(() => shown().length > 0)")
    assert page.locator(".card").count() < 50, "it is collapsed"
    return found


FIGURES: Final = (
    Figure("scripts of the first load, compressed", "kB", 300, first_load_kb),
    Figure(f"a plan of {WIDE} items can be read after its data, the worker being warm", "ms", 1_000, readable_ms),
    Figure(f"{CHANGES} changes of state are painted, {WIDE} items in view", "ms", 100, changed_ms),
    Figure(f"a plan of {8 * LINES:,} items is open and collapsed, from its address", "ms", 3_000, opened_ms),
)

if __name__ == "__main__":
    raise SystemExit(main())
