"""The documents say what is so: tables, examples and commands are held to the code."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from docs import make_catalogue_reference
from domain.expression_rewrite import (
    EXTENSION_FUNCTIONS,
    EXTENSION_METHODS,
    EXTENSION_NAMESPACES,
    FUNCTIONS,
    METHODS,
)
from domain.expression_syntax import MACROS
from domain.expressions import ABSENT, SOURCE_CHARACTERS_MAX, compile_condition, compile_value
from domain.release import LINE_VARIABLES
from orderplan.cli.main import app

ROOT = Path(__file__).parents[2]
EXPRESSIONS = (ROOT / "docs" / "EXPRESSIONS.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"^    (\S.*?)\s+-> (.+)$", re.MULTILINE)
CONTEXT: dict[str, Any] = {
    "attributes": {"speed": "1G", "ports": 4, "price": 19.99, "tags": ["a", "b"], "note": None},
    "previous": {"speed": "100M"},
    "line": {"action": "modify"},
    "order": {"channel": "web", "priority": "high", "dueAt": "2026-12-24T12:00:00Z"},
    "account": {"id": "acc-1", "segment": "business"},
    "place": {"technology": "FTTH"},
}


def test_the_tables_of_the_catalogue_page_are_those_of_the_code():
    text = make_catalogue_reference.TARGET.read_text(encoding="utf-8")

    assert text == make_catalogue_reference.render(text), "run `python -m docs.make_catalogue_reference`"


@pytest.mark.parametrize(("source", "result"), EXAMPLE.findall(EXPRESSIONS))
def test_an_example_of_the_expressions_page_gives_what_it_says(source, result):
    if result in ("true", "false"):
        assert compile_condition(source, LINE_VARIABLES).is_true(CONTEXT) is (result == "true")
        return
    value = compile_value(source, LINE_VARIABLES).evaluate(CONTEXT)

    assert value is ABSENT if result == "absent" else value == json.loads(result)


def test_the_expressions_page_names_everything_that_may_be_called():
    named = set(re.findall(r"`([\w.]+)`", EXPRESSIONS))
    spaced = {f"{space}.{name}" for space, names in EXTENSION_NAMESPACES.items() for name in names}

    assert (FUNCTIONS | METHODS | MACROS | EXTENSION_FUNCTIONS | EXTENSION_METHODS | spaced) <= named
    assert named >= LINE_VARIABLES
    assert f"{SOURCE_CHARACTERS_MAX:,} characters" in EXPRESSIONS


def commands() -> list[tuple[str, str]]:
    """Each command line that a page for users shows: (page, line)."""
    found = []
    for page in (
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "examples").glob("*/*.md")),
    ):
        text = page.read_text(encoding="utf-8")
        shown = re.findall(r"`(orderplan [^`]+)`", text)
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            shown += re.findall(r"^(?:\S+=\S+ )*(orderplan .*)$", block, re.MULTILINE)
        if page.name != "README.md":  # where indented blocks are output
            shown += re.findall(r"^    (orderplan .*)$", text, re.MULTILINE)
        found += [(page.name, line) for line in shown]
    return found


@pytest.mark.parametrize(("page", "line"), commands())
def test_a_command_of_the_documents_exists_with_its_options(page, line):
    words = shlex.split(line, comments=True)[1:]
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help"}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}

    assert not hasattr(command, "commands") or not words, line
    assert given <= known, line
