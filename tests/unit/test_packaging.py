"""What ships is what is meant to ship."""

import re
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
NOT_SHIPPED: Final = {"tests", "bench", "examples", "console", "docs"}
MADE_BY_TOOLS: Final = {"build", "dist"}


@pytest.fixture
def project() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_package_ships_and_tests_bench_and_examples_do_not(project):
    include = project["tool"]["setuptools"]["packages"]["find"]["include"]
    found = {path.parent.relative_to(ROOT) for path in ROOT.glob("[a-z]*/**/__init__.py")}
    packages = sorted(".".join(path.parts) for path in found if path.parts[0] not in MADE_BY_TOOLS)

    assert packages
    for package in packages:
        ships = any(fnmatchcase(package, pattern) for pattern in include)
        assert ships is (package.partition(".")[0] not in NOT_SHIPPED), package


def test_the_files_of_the_status_page_ship_with_the_gateway(project):
    patterns = project["tool"]["setuptools"]["package-data"]["gateway"]
    page = [path.relative_to(ROOT / "gateway") for path in (ROOT / "gateway" / "page").iterdir()]

    assert {path.name for path in page} >= {"index.html", "page.js", "page.css"}
    for path in page:
        assert any(path.match(pattern) for pattern in patterns), path


def test_every_direct_dependency_is_pinned_and_agrees_with_the_constraints(project):
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {normalized(name): version for name, _, version in (line.partition("==") for line in lines)}
    extras = project["project"]["optional-dependencies"]
    direct = [*project["project"]["dependencies"], *(each for found in extras.values() for each in found)]

    for requirement in direct:
        name, _, version = requirement.partition("==")
        assert pinned[normalized(name.partition("[")[0])] == version, requirement


def test_the_constraints_name_versions_and_no_place(project):
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line), line
        assert "://" not in line


def test_the_bundle_of_the_console_ships_with_the_gateway(project):
    patterns = project["tool"]["setuptools"]["package-data"]["gateway"]
    bundle = [path.relative_to(ROOT / "gateway") for path in (ROOT / "gateway" / "console").rglob("*.*")]

    assert {path.name for path in bundle} >= {"index.html", "NOTICE.md"}
    for path in bundle:
        assert any(path.match(pattern) for pattern in patterns), path
