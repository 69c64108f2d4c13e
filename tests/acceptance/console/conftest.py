"""One browser for each module of the console's tests, on the cluster of all acceptance tests. Whatever the page
complains of, or asks of another machine, fails the test.
"""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.browser import ARGUMENTS, TIMEOUT_MS, watch
from tests.support.running import Running, until


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # No longer than a module: as long as Playwright is open its event loop is that of the thread.
    chromium = shutil.which("chromium")
    if chromium is None:
        missing = "the console cannot be tested without chromium (apt-get install chromium)"
        if os.environ.get("ORDERPLAN_REQUIRE_BROWSER"):
            pytest.fail(missing)
        pytest.skip(missing)
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        # Root, as in a container of CI, cannot have Chromium's sandbox.
        made = playwright.chromium.launch(
            executable_path=chromium, chromium_sandbox=os.geteuid() != 0, args=list(ARGUMENTS)
        )
        yield made
        made.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the page complains of; a test takes away what it has brought about."""
    return []


@pytest.fixture(scope="package")
def predicting(running: Running) -> Running:
    """The cluster once its delay predictor answers, which it does a little after the gateway."""
    until(lambda: running.call("GET", "/metrics")[1], lambda text: "orderplan_orders_by_risk{" in text)
    return running


@pytest.fixture
def page(browser: Any, predicting: Running, complaints: list[str]) -> Iterator[Any]:
    context = browser.new_context(
        base_url=predicting.url, reduced_motion="reduce", locale="en-GB", viewport={"width": 1440, "height": 860}
    )
    context.set_default_timeout(TIMEOUT_MS)
    yield watch(context.new_page(), predicting.url, complaints)
    context.close()
    assert complaints == []
