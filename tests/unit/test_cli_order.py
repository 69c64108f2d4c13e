"""What `orderplan order` says of a change, and of steering, to people."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from orderplan.cli.common import duration
from orderplan.cli.order_changes import _steered, rendered

PREVIEW: dict[str, Any] = {
    "orderId": "o1-1",
    "dryRun": True,
    "changed": True,
    "waitsFor": [],
    "state": "inProgress",
    "planState": "In Progress",
    "plannedRestS": {"before": 90_061, "after": 60},
    "values": [
        {"of": "order", "name": "order.description", "before": "", "after": "urgent"},
        {"of": "1", "name": "attributes.speed", "before": 100, "after": 200},
        {"of": "1", "name": "attributes.welcome", "before": True, "after": None},
    ],
    "lines": [{"line": "1", "outcome": "amend"}],
    "items": [{"key": "p/a@1", "name": "A", "state": "Completed", "outcome": "redo", "stateAfter": "Amended"}],
    "added": [{"key": "p/a@1~1", "name": "A", "stateAfter": "Running", "role": "redo", "of": "p/a@1"}],
}


def shown(result: dict[str, Any]) -> str:
    console = Console(width=120)
    with console.capture() as caught:
        for part in rendered(result):
            console.print(part)
    return caught.get()


def test_a_preview_names_values_as_they_are_and_would_be() -> None:
    text = shown(PREVIEW)
    rows = [" ".join(row.replace("│", " ").split()) for row in text.splitlines()]
    assert "1 attributes.speed 100 200" in rows
    assert "1 attributes.welcome true" in rows
    assert "order order.description urgent" in rows
    assert "planned work left 1 d 1 h, then 1 min" in rows
    assert rows[-1] == "nothing was changed"


def test_a_preview_of_nothing_says_that_nothing_differs() -> None:
    assert "as it is: nothing differs" in shown(PREVIEW | {"changed": False, "values": [], "lines": [], "items": []})


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("freeze", "order o1-1 is inProgress, its plan Frozen"),
        ("prioritize", "order o1-1 has priority high"),
    ],
)
def test_steering_says_how_the_order_stands_by_now(action: str, said: str) -> None:
    result = {"orderId": "o1-1", "state": "inProgress", "planState": "Frozen", "priority": "high"}
    assert _plain(_steered(result, action)) == said


def _plain(text: str) -> str:
    console = Console(width=120)
    with console.capture() as caught:
        console.print(text)
    return caught.get().strip()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min"), (3_600, "1 h"), (3_661, "1 h 1 min"), (86_401, "1 d"), (433_950, "5 d")],
)
def test_a_stretch_of_time_has_its_two_greatest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text
