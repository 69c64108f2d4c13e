"""What tests of the console share: who looks at a page, for machines and for people."""

from __future__ import annotations

import os
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

TIMEOUT_MS: Final = 30_000
ARGUMENTS: Final = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
RULES: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
# axe marks as incomplete what it cannot decide; here only what it found counts.
RUN: Final = """(rules) => axe.run(document, {runOnly: rules, resultTypes: ["violations"]})
    .then(({violations}) => violations.flatMap(({id, nodes}) => nodes.map((node) => `${id}: ${node.html}`)))"""


@cache
def axe() -> str:
    """The sources of axe-core."""
    found = find_spec("axe_playwright_python")
    assert found is not None
    assert found.origin is not None
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def first_scripts(index: str) -> list[str]:
    """The names of the scripts that the console's page loads at once."""
    return re.findall(r'"/console/assets/([^"]+\.js)"', index)


def watch(page: Any, url: str, complaints: list[str]) -> Any:
    """Note whatever the page complains of, and what it asks of any machine but `url`; returns the page."""
    page.on("console", lambda told: complaints.append(told.text) if told.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(url) else complaints.append(asked.url))
    return page


def look(page: Any, name: str) -> None:
    """Look at a screen: no fault of access in light or dark; and where ORDERPLAN_PICTURES names a folder, a picture of
    both.
    """
    folder = os.environ.get("ORDERPLAN_PICTURES")
    if page.evaluate("!window.axe"):
        page.evaluate(axe())
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        found = page.evaluate(RUN, list(RULES))
        assert found == [], f"{name}, {theme}: {found}"
        if folder:
            page.screenshot(path=Path(folder) / f"{name}-{theme}.png")
    page.emulate_media(color_scheme="light")
