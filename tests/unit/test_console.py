"""The console: its bundle is that of its sources, small, and served so that nothing else runs."""

from __future__ import annotations

import gzip
import json
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from gateway.app import VERSION
from gateway.console_pages import ASSETS, FOLDER, FOR_EVER, file_names
from gateway.openapi import openapi_document
from gateway.routes import ROUTES

ROOT: Final = Path(__file__).parents[2]
SOURCES: Final = ROOT / "console"
NODE_MODULES: Final = SOURCES / "node_modules"
FIRST_LOAD_KB_MAX: Final = 300
CSS_KB_MAX: Final = 30
GROUNDS: Final = ("page", "panel", "chosen", "badpage")
DECORATION: Final = {"line"}
"""Lines between what stands apart anyway."""
GRAPHICS: Final = {"edge"}
"""Borders of what can be used, arrows, bars."""

Client = TestClient[web.Request, web.Application]


def named_files() -> list[str]:
    return re.findall(r'"/console/assets/([^"]+)"', (FOLDER / "index.html").read_text(encoding="utf-8"))


def test_the_bundle_was_built_from_the_sources_that_stand_here() -> None:
    sources_hash = runpy.run_path(str(SOURCES / "stamp.py"))["sources_hash"]

    assert (FOLDER / "sources.sha256").read_text().strip() == sources_hash(), "run: make console"


def test_the_hash_of_the_sources_changes_with_each_of_them(tmp_path: Path) -> None:
    sources_hash = runpy.run_path(str(SOURCES / "stamp.py"))["sources_hash"]
    shutil.copytree(SOURCES, tmp_path / "console", ignore=shutil.ignore_patterns("node_modules"))
    before = sources_hash(tmp_path / "console")

    for name in ("src/Shell.tsx", "src/console.css", "index.html", "package-lock.json"):
        with (tmp_path / "console" / name).open("a") as file:
            file.write(" ")
        after = sources_hash(tmp_path / "console")
        assert after != before, name
        before = after


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("node") is None or not NODE_MODULES.exists(), reason="needs Node.js, and what `make console` installs"
)
def test_a_build_gives_the_bytes_that_are_committed(tmp_path: Path) -> None:
    built = tmp_path / "built"
    done = subprocess.run(
        ["node", "node_modules/vite/bin/vite.js", "build", "--outDir", str(built), "--emptyOutDir"],
        cwd=SOURCES,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    committed = {path.relative_to(FOLDER): path.read_bytes() for path in FOLDER.rglob("*.*")}
    committed.pop(Path("sources.sha256"))
    assert {path.relative_to(built): path.read_bytes() for path in built.rglob("*.*")} == committed


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("node") is None or not NODE_MODULES.exists(), reason="needs Node.js, and what `make console` installs"
)
def test_groups_patches_edits_of_a_release_and_forms(tmp_path: Path) -> None:
    done = subprocess.run(
        ["node", "tests/support/console_functions.mjs", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_the_operations_of_the_console_are_those_of_the_server() -> None:
    typescript_of = runpy.run_path(str(SOURCES / "make_api.py"))["typescript_of"]
    written = (SOURCES / "src" / "api.generated.ts").read_text(encoding="utf-8")

    assert written == typescript_of(openapi_document(ROUTES, VERSION)), "run: make console"


def test_the_first_load_is_small_and_leaves_the_layout_for_later() -> None:
    sizes = {name: len(gzip.compress((ASSETS / name).read_bytes())) / 1000 for name in named_files()}

    assert sum(size for name, size in sizes.items() if name.endswith(".js")) <= FIRST_LOAD_KB_MAX
    assert sum(size for name, size in sizes.items() if name.endswith(".css")) <= CSS_KB_MAX
    assert not any(name.startswith("elk-worker") for name in sizes)
    assert any(name.startswith("elk-worker") for name in file_names())


def test_the_lock_file_names_no_registry_and_fixes_every_package_by_its_hash() -> None:
    text = (SOURCES / "package-lock.json").read_text(encoding="utf-8")
    packages = {name: each for name, each in json.loads(text)["packages"].items() if name}

    assert "resolved" not in text
    assert "://" not in text
    assert all(each["integrity"].startswith("sha512-") for each in packages.values())


def test_every_package_in_the_bundle_has_its_notice() -> None:
    notice = (FOLDER / "NOTICE.md").read_text(encoding="utf-8")

    licences = dict(re.findall(r"^## (\S+) - \S+ \((.+)\)$", notice, re.MULTILINE))
    assert {"react", "react-dom", "@xyflow/react", "@tanstack/react-virtual", "elkjs"} <= set(licences)
    assert set(licences.values()) <= {"MIT", "ISC", "BSD-3-Clause", "EPL-2.0 OR GPL-3.0-or-later"}


@pytest.mark.parametrize(
    "path", ["/", "/console/", "/console/orders", "/console/orders/o-1?item=a%2Fb", "/console/fallout"]
)
async def test_every_address_of_the_console_gives_its_page_anew_and_under_a_strict_policy(
    client: Client, path: str
) -> None:
    answer = await client.get(path)
    policy = answer.headers["Content-Security-Policy"]

    assert answer.status == 200
    assert await answer.text() == (FOLDER / "index.html").read_text(encoding="utf-8")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "://" not in policy


async def test_every_file_that_the_page_names_is_served_and_kept_for_ever(client: Client) -> None:
    assert len(named_files()) >= 3
    for name in [*named_files(), *file_names()]:
        answer = await client.get(f"/console/assets/{name}")
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == FOR_EVER
        assert answer.content_type in ("text/javascript", "text/css")


async def test_files_are_sent_compressed_to_who_can_read_that_and_once_to_who_has_them(client: Client) -> None:
    for path in ["/", *(f"/console/assets/{name}" for name in file_names())]:
        packed = await client.get(path, headers={"Accept-Encoding": "br, gzip"})
        plain = await client.get(path, headers={"Accept-Encoding": "identity"})
        again = await client.get(path, headers={"If-None-Match": packed.headers["ETag"]})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert "Content-Encoding" not in plain.headers
        assert await packed.read() == await plain.read()
        assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
        assert (again.status, await again.read()) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "index.html", "..%2findex.html", "%2e%2e%2fsources.sha256"])
async def test_no_other_file_is_served(client: Client, name: str) -> None:
    assert (await client.get(f"/console/assets/{name}")).status == 404


def test_nothing_in_the_page_is_inline_or_from_elsewhere() -> None:
    index = (FOLDER / "index.html").read_text(encoding="utf-8")

    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|://", index)
    assert set(re.findall(r"<script[^>]*>([^<]*)</script>", index)) == {""}


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_pair_of_colours_that_meets_can_be_read(theme: str) -> None:
    colours = colours_of(rf':root\[data-theme="{theme}"\] \{{(.*?)\}}')
    texts = colours.keys() - {*GROUNDS} - DECORATION - GRAPHICS

    assert {"text", "soft", "link", "good", "run", "bad", "warn", "idle", "critical"} <= texts
    for ground in GROUNDS:
        for each in texts:
            assert contrast(colours[each], colours[ground]) >= 4.5, (each, ground)
        for each in GRAPHICS:
            assert contrast(colours[each], colours[ground]) >= 3, (each, ground)
    assert contrast(colours["page"], colours["link"]) >= 4.5, "the main button"


def test_the_dark_of_the_system_is_the_dark_that_is_chosen() -> None:
    system = colours_of(r":root:not\(\[data-theme\]\) \{(.*?)\}")

    assert system == colours_of(r':root\[data-theme="dark"\] \{(.*?)\}')
    assert system.keys() == colours_of(r':root\[data-theme="light"\] \{(.*?)\}').keys()


def colours_of(block: str) -> dict[str, str]:
    """The colours by name of a block of the style."""
    style = (SOURCES / "src" / "console.css").read_text(encoding="utf-8")
    return dict(re.findall(r"--(\w+): (#\w{6});", re.findall(block, style, re.DOTALL)[0]))
