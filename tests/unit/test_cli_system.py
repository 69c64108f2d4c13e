"""Systems on the command line: what a hold needs, and how a system is shown."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from orderplan.cli.main import app
from orderplan.cli.order import change_of
from orderplan.cli.system import _limits, _state

NOBODY = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    "arguments",
    [
        ("system", "hold", "--reason", "why"),
        ("system", "hold", "billing", "--all", "--reason", "why"),
        ("system", "release"),
        ("system", "release", "billing", "--all"),
    ],
)
def test_a_hold_and_a_release_name_one_system_or_all(arguments):
    result = CliRunner().invoke(app, [*arguments, "--url", NOBODY])

    assert result.exit_code == 2
    assert "name one system, or --all" in result.stderr


def test_a_hold_says_why():
    result = CliRunner().invoke(app, ["system", "hold", "billing", "--url", NOBODY])

    assert result.exit_code == 2
    assert "--reason" in result.stderr


def hold(cause: str, by: str = "olga", *, is_held: bool = True) -> dict[str, Any]:
    return {"cause": cause, "by": by, "reason": "because", "isHeld": is_held}


@pytest.mark.parametrize(
    ("state", "holds", "shown"),
    [
        ("online", [], "online"),
        ("offline", [hold("offline")], "offline; offline by olga: because"),
        ("offline", [hold("breaker", "system")], "offline; breaker: because"),
        ("online", [hold("breaker", "system", is_held=False)], "online; breaker: because"),
        ("online", [hold("pause", is_held=False)], "online"),
    ],
)
def test_a_system_is_shown_with_what_holds_it(state, holds, shown):
    assert _state({"state": state, "holds": holds}) == shown


def test_limits_are_shown_in_one_cell():
    assert _limits({"concurrency": 50, "ratePerS": None}) == "50"
    assert _limits({"concurrency": 50, "ratePerS": 2.5}) == "50, 2.5/s"


def test_an_item_that_is_held_is_a_line_of_order_watch():
    fact = {
        "kind": "item.held",
        "at": "2030-01-31T12:00:00+00:00",
        "item": "p/bill@1",
        "payload": {"system": "billing", "cause": "offline", "reason": "maintenance"},
    }

    assert change_of(fact, {"p/bill@1": "Bill"}) == (
        "12:00:00  Bill  On Hold  system billing is offline (maintenance)"
    )
