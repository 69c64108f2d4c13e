"""docs/RELIABILITY.md promises nothing that no test shows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "RELIABILITY.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))
PROMISES = [line for line in PAGE.partition("## The simulator")[0].splitlines() if re.match(r"\| [\dA-Z]+ \|", line)]


def functions_of(path: Path) -> set[str]:
    """The names of a module's test functions."""
    nodes = ast.parse(path.read_text()).body
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_the_page_names_exists(path: str, name: str) -> None:
    assert (ROOT / path).is_file(), f"{path} does not exist"
    assert name in functions_of(ROOT / path)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda line: line.split("|")[1].strip())
def test_every_promise_names_a_test(promise: str) -> None:
    assert re.search(r"`tests/[\w/]+\.py::\w+`", promise)


def test_the_page_promises_what_the_design_asks_for() -> None:
    numbers = {line.split("|")[1].strip() for line in PROMISES}

    assert {str(number) for number in range(1, 15)} <= numbers
