"""One cluster and one browser for all tests of the console. Whatever the page complains of, or asks of another
machine, fails the test.
"""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.running import Running, running_cluster

ARGUMENTS = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
TIMEOUT_MS = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None  # type: ignore[assignment,unused-ignore]
    if chromium is None or sync_playwright is None:
        missing = "chromium (apt-get install chromium)" if chromium is None else "playwright (make install)"
        if os.environ.get("ORDERPLAN_REQUIRE_BROWSER"):
            pytest.fail(f"the console cannot be tested without {missing}")
        pytest.skip(f"needs {missing}")
    with sync_playwright() as playwright:
        # Root, as in a container of CI, cannot have Chromium's sandbox.
        made = playwright.chromium.launch(
            executable_path=chromium, chromium_sandbox=os.geteuid() != 0, args=list(ARGUMENTS)
        )
        yield made
        made.close()


@pytest.fixture(scope="module")
def running(browser: Any) -> Iterator[Running]:
    with running_cluster(plan_hosts=1) as made:
        yield made


@pytest.fixture
def page(browser: Any, running: Running) -> Iterator[Any]:
    context = browser.new_context(
        base_url=running.url, reduced_motion="reduce", viewport={"width": 1440, "height": 860}
    )
    context.set_default_timeout(TIMEOUT_MS)
    made = context.new_page()
    complaints: list[str] = []
    made.on("console", lambda told: complaints.append(told.text) if told.type in ("error", "warning") else None)
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.on("request", lambda asked: None if asked.url.startswith(running.url) else complaints.append(asked.url))
    yield made
    context.close()
    assert complaints == []
