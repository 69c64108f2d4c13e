"""Imports point one way: domain <- (delay, adapters, persistence) <- actors <- gateway <- orderplan.

The rules are read off the source, not off a running interpreter: an import inside a function or behind `TYPE_CHECKING`
counts like any other, because it ties the two packages together all the same.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]

BELOW: Final[dict[str, frozenset[str]]] = {
    "domain": frozenset(),
    "delay": frozenset({"domain"}),
    "adapters": frozenset({"domain"}),
    "persistence": frozenset({"domain"}),
    "actors": frozenset({"domain", "delay", "adapters", "persistence"}),
    "gateway": frozenset({"domain", "delay", "adapters", "persistence", "actors"}),
    "orderplan": frozenset({"domain", "delay", "adapters", "persistence", "actors", "gateway"}),
}
SQL_LIBRARIES: Final = frozenset({"sqlalchemy", "asyncpg", "alembic"})
# What else a package must not know. `domain` decides from its arguments alone.
BANNED: Final[dict[str, frozenset[str]]] = {
    "domain": SQL_LIBRARIES
    | {"ray", "aiohttp", "asyncio", "time", "random", "secrets", "uuid", "socket", "subprocess", "threading"},
    "delay": SQL_LIBRARIES | {"ray", "aiohttp"},
    "adapters": SQL_LIBRARIES | {"ray"},
    "persistence": frozenset({"ray", "aiohttp"}),
    "actors": SQL_LIBRARIES,
    "gateway": SQL_LIBRARIES,
    "orderplan": SQL_LIBRARIES,
}
# A statement, not a sentence that happens to start with the same verb: "Select a plan from the list" is none.
SQL_STATEMENT: Final = re.compile(
    r"""\s*(
    select\s.+\sfrom\s+[\w."]+\s*($|[;,)]|\s(as|where|join|left|inner|cross|order|group|limit|for)\b)
    | select\s+\w+\(
    | insert\s+into\s
    | update\s+[\w."]+\s+set\s+\w+\s*=
    | delete\s+from\s+[\w."]+\s*($|;|\s(where|using|returning)\b)
    | with\s+\w+\s+as\s*\(
    | copy\s+[\w."]+\s*(\(|\s(to|from)\b)
    | (create|alter|drop)\s+(unique\s+)?(table|index|database|role|schema|view|sequence)\s
    )""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


def modules() -> list[Path]:
    return sorted(path.relative_to(ROOT) for package in BELOW for path in (ROOT / package).rglob("*.py"))


def imported_modules(tree: ast.AST, path: Path) -> Iterator[str]:
    """Yield the full dotted name of each module that the module at `path` imports."""
    package = path.parts[:-1]
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(level=0, module=str(module)):
                yield module
            case ast.ImportFrom():
                above = package[: len(package) - node.level + 1]
                # More dots than folders: it leaves the tree, and no package may.
                yield ".".join((*above, node.module or "")) if above else "(beyond the tree)"
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield module


def sql_statements(tree: ast.AST) -> Iterator[str]:
    """Yield each string that starts like an SQL statement, docstrings left out."""
    docstrings = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docstrings and SQL_STATEMENT.match(text):
                yield text


def violations(source: str, path: Path) -> list[str]:
    """List what in `source`, at `path` below the root, breaks the direction of imports."""
    own = path.parts[0]
    tree = ast.parse(source, filename=str(path))
    found = []
    for name in imported_modules(tree, path):
        top = name.partition(".")[0]
        if top == "(beyond the tree)" or top in {"tests", "bench", "examples"}:
            found.append(f"{own} may not import {name}")
        elif top in BELOW and top != own and top not in BELOW[own]:
            found.append(f"{own} may not import {name}: it is not below")
        elif top in BANNED[own]:
            found.append(f"{own} may not import {name}")
    if own != "persistence":
        found += [f"SQL outside persistence: {statement[:60]!r}" for statement in sql_statements(tree)]
    return found


@pytest.mark.parametrize("path", modules(), ids=str)
def test_a_module_knows_only_what_lies_below_it(path):
    assert violations((ROOT / path).read_text(encoding="utf-8"), path) == []


@pytest.mark.parametrize("package", BELOW)
def test_every_package_of_the_house_stands(package):
    assert (ROOT / package / "__init__.py").is_file()


def test_the_layers_have_no_circle():
    placed: set[str] = set()
    while len(placed) < len(BELOW):
        ready = {package for package in BELOW if package not in placed and BELOW[package] <= placed}

        assert ready
        placed |= ready


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("domain/plan.py", "import ray"),
        ("domain/plan.py", "from time import monotonic"),
        ("domain/plan.py", "def f():\n    import asyncio"),
        ("domain/plan.py", "from persistence.journal import Journal"),
        ("domain/plan.py", "import sqlalchemy.ext.asyncio"),
        ("domain/plan.py", "from ..actors import plan"),
        ("domain/plan.py", "import importlib\nimportlib.import_module('random')"),
        ("domain/deep/plan.py", "from ... import actors"),
        ("delay/models.py", "import ray.util"),
        ("delay/models.py", "from persistence import journal"),
        ("adapters/http.py", "from delay import features"),
        ("persistence/journal.py", "from actors import plan_host"),
        ("actors/plan_host.py", "from gateway import routes"),
        ("actors/plan_host.py", "import asyncpg"),
        ("actors/plan_host.py", "QUERY = 'SELECT 1 FROM fact'"),
        ("actors/plan_host.py", "QUERY = 'select payload from fact where shard = $1'"),
        ("actors/plan_host.py", "QUERY = 'delete from fact where shard = $1'"),
        ("gateway/routes.py", "import orderplan"),
        ("gateway/routes.py", "await con.execute(f'UPDATE plan SET state = {state}')"),
        ("orderplan/cli/main.py", "from bench import load"),
    ],
)
def test_a_step_in_the_wrong_direction_is_seen(path, source):
    assert violations(source, Path(path))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("domain/plan.py", "from domain.items import Item\nfrom . import items\nimport dataclasses"),
        ("delay/models.py", "from domain import plan"),
        ("persistence/journal.py", "import asyncpg\nQUERY = 'SELECT 1 FROM fact'"),
        ("actors/plan_host.py", "import ray\nfrom persistence import journal\nfrom delay import models"),
        ("actors/plan_host.py", "'''SELECT 1 FROM a docstring'''"),
        ("actors/plan_host.py", "TEXT = 'Select a plan from the list', 'delete from the list', 'copy the form'"),
        ("orderplan/cli/main.py", "from gateway import routes\nfrom actors import director"),
    ],
)
def test_a_step_in_the_right_direction_passes(path, source):
    assert violations(source, Path(path)) == []
