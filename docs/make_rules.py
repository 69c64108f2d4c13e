"""Writes the last column of docs/RULES.md: which tests show each rule. Run: `python -m docs.make_rules`.

Marks are read from the text of the tests, so that nothing has to be imported to know what they show.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
TARGET: Final = ROOT / "docs" / "RULES.md"
_ROW: Final = re.compile(r"\| ([A-Z]\d*\.\d+) \|(.*)\|(.*)\|(.*)\|")
"""Id, rule, ours, shown by."""
_NOT_RUN: Final = frozenset({"skip", "xfail", "benchmark"})


@dataclass(frozen=True, slots=True)
class Mark:
    """A rule that a test says it shows. `rule` is None where the id is no literal text."""

    rule: str | None
    path: str
    test: str
    fault: str = ""


def rows(page: str) -> dict[str, tuple[str, str]]:
    """What is said of each rule, by id: (the references' rule, ours).

    Raises:
        ValueError: an id stands there twice, or a row has not four cells.
    """
    found: dict[str, tuple[str, str]] = {}
    for line in page.splitlines():
        if not re.match(r"\| [A-Z]\d*\.\d+ \|", line):
            continue
        row = _ROW.fullmatch(line)
        if row is None or row[2].count("|"):
            raise ValueError(f"a row has id, rule, ours and shown by: {line}")
        if row[1] in found:
            raise ValueError(f"rule {row[1]} stands there twice")
        found[row[1]] = (row[2].strip(), row[3].strip())
    return found


def marks_of(text: str, path: str) -> Iterator[Mark]:
    """The marks in a module of tests: on functions, methods, and single cases of a parametrized one."""
    tree = ast.parse(text)
    on_tests: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        inside = [each for decorator in node.decorator_list for each in ast.walk(decorator)]
        calls = [each for each in inside if _is_mark(each, "rule")]
        on_tests.update(id(call) for call in calls)
        fault = ""
        if calls and not node.name.startswith("test_"):
            fault = "is no test"
        elif any(_is_mark(each, name) for each in inside for name in _NOT_RUN):
            fault = "does not run by default"
        for call in calls:
            yield from _marks_in(call, path, node.name, fault)
    for node in ast.walk(tree):
        if _is_mark(node, "rule") and isinstance(node, ast.Call) and id(node) not in on_tests:
            yield from _marks_in(node, path, f"line {node.lineno}", "is no test")


def _is_mark(node: ast.AST, name: str) -> bool:
    """Whether the node is `mark.name(...)`, or `mark.name` without a call for marks that need none."""
    named = node.func if isinstance(node, ast.Call) else node
    if name == "rule" and not isinstance(node, ast.Call):
        return False
    return (
        isinstance(named, ast.Attribute)
        and named.attr == name
        and isinstance(named.value, ast.Attribute)
        and named.value.attr == "mark"
    )


def _marks_in(call: ast.AST, path: str, test: str, fault: str) -> Iterator[Mark]:
    assert isinstance(call, ast.Call)
    if not call.args or call.keywords:
        yield Mark(None, path, test, "names no rule")
    for given in call.args:
        if isinstance(given, ast.Constant) and isinstance(given.value, str):
            yield Mark(given.value, path, test, fault)
        else:
            yield Mark(None, path, test, "names it other than by its text")


def marks(root: Path = ROOT) -> list[Mark]:
    """The marks of all tests, by file and then by place."""
    return [
        mark
        for path in sorted((root / "tests").rglob("test_*.py"))
        for mark in marks_of(path.read_text(encoding="utf-8"), path.relative_to(root).as_posix())
    ]


def problems(page: str, found: Iterable[Mark]) -> list[str]:
    """What is wrong between the page and the marks, one sentence each."""
    known = rows(page)
    shown: set[str] = set()
    wrong: list[str] = []
    for mark in found:
        where = f"{mark.path}::{mark.test}"
        if mark.fault:
            wrong.append(f"{where} shows {mark.rule or 'something'} and {mark.fault}")
        elif mark.rule not in known:
            wrong.append(f"{where} shows {mark.rule}, which docs/RULES.md does not have")
        else:
            shown.add(mark.rule)
    untold = (rule for rule in known if rule not in shown)
    wrong.extend(f"{rule} has no test: {known[rule][1] or known[rule][0]}" for rule in untold)
    return wrong


def render(page: str, found: Iterable[Mark]) -> str:
    """The page with its last column as the marks have it."""
    shown: defaultdict[str, dict[str, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
    for mark in found:
        if mark.rule is not None and not mark.fault:
            shown[mark.rule][mark.path][mark.test] = None

    def with_tests(row: re.Match[str]) -> str:
        return f"| {row[1]} |{row[2]}|{row[3]}| {_cell(shown.get(row[1], {}))} |"

    return re.sub(rf"^{_ROW.pattern}$", with_tests, page, flags=re.MULTILINE)


def _cell(by_path: Mapping[str, Mapping[str, None]]) -> str:
    return "; ".join(f"`{path}`: {', '.join(tests)}" for path, tests in by_path.items())


if __name__ == "__main__":
    TARGET.write_text(render(TARGET.read_text(encoding="utf-8"), marks()), encoding="utf-8")
