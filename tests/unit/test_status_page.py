"""The status page: served with a policy that lets nothing else run, and showing texts as texts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestClient

from domain.publish import compile_release
from domain.release_file import read_release
from gateway.status_page import FOLDER, file_names
from gateway.tmf622 import parse_order
from gateway.views import order_summary, plan_view
from tests.support.engine import Engine

ROOT: Final = Path(__file__).parents[2]
EXAMPLE: Final = ROOT / "examples" / "dedicated-internet"
NODE: Final = shutil.which("node")
EVIL: Final = "<img src=x onerror=alert(1)>"
TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
SCRIPTS: Final = sorted(FOLDER.glob("*.js"))

Client = TestClient[web.Request, web.Application]


def policy_of(header: str) -> dict[str, str]:
    return {name: rest for name, _, rest in (part.strip().partition(" ") for part in header.split(";"))}


@pytest.mark.parametrize("path", ["/status", *sorted(f"/page/{path.name}" for path in FOLDER.iterdir())])
async def test_the_page_and_its_files_are_served_with_type_and_policy(client: Client, path: str) -> None:
    answer = await client.get(path)
    policy = policy_of(answer.headers["Content-Security-Policy"])

    assert answer.status == 200
    assert answer.content_type == TYPES[Path(path).suffix or ".html"]
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("name", ["nothing.js", "..%2fapp.py", "%2e%2e%2fstatus_page.py", ""])
async def test_nothing_else_is_served(client: Client, name: str) -> None:
    assert (await client.get(f"/page/{name}")).status == 404


async def test_the_page_names_only_files_that_are_there(client: Client) -> None:
    index = await (await client.get("/status")).text()
    named = re.findall(r'(?:src|href)="([^"]*)"', index)

    assert {f"/page/{name}" for name in ("page.js", "page.css", "icon.svg")} == set(named)
    for path in SCRIPTS:
        imported = re.findall(r'from "\./([^"]+)"', path.read_text(encoding="utf-8"))
        assert set(imported) <= file_names(), path.name


def test_nothing_in_the_page_is_inline_or_from_elsewhere() -> None:
    index = (FOLDER / "index.html").read_text(encoding="utf-8")

    assert re.findall(r"<script[^>]*>([^<]*)</script>", index) == [""]
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", index)
    for path in FOLDER.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text, path.name


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_turns_a_text_into_markup_or_code(path: Path) -> None:
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|srcdoc|\beval\b|new Function|\.style\b"

    assert not re.findall(ways, path.read_text(encoding="utf-8"))


def drawn(folder: Path, name: str) -> dict[str, Any]:
    """The example's order as the page draws it, everything in it that people name called `name`."""
    release = yaml.safe_load((EXAMPLE / "release.yaml").read_text(encoding="utf-8").replace("Assetize Site", name))
    release["products"][1]["name"] = name
    document = json.loads((EXAMPLE / "order-add.json").read_text(encoding="utf-8"))
    document["externalId"] = name
    engine = Engine(compile_release(read_release(release)))
    plan = engine.accept(parse_order(document, order_id="", tenant="main", client_key=None))
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True)
    shutil.copy(ROOT / "tests" / "support" / "draw_page.mjs", folder)
    (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    told = json.dumps({"order": order_summary(plan), "plan": plan_view(plan)})
    done = subprocess.run(
        [str(NODE), "draw_page.mjs"], cwd=folder, input=told, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout) | {"plan": plan_view(plan)}
    return found


def elements(tree: list[Any]) -> Iterator[dict[str, Any]]:
    for each in tree:
        if isinstance(each, dict):
            yield each
            yield from elements(each["children"])


def texts(tree: list[Any]) -> list[str]:
    return [each for element in elements(tree) for each in element["children"] if isinstance(each, str)]


@pytest.mark.skipif(NODE is None, reason="needs Node.js")
def test_a_name_with_markup_is_shown_as_the_text_that_it_is(tmp_path: Path) -> None:
    tree = drawn(tmp_path, EVIL)["tree"]

    assert texts(tree).count(EVIL) == 2  # the order's external id, a line of the table
    assert f"{EVIL}, Pending, point of no return" in texts(tree)  # an item
    assert "img" not in {element["tag"] for element in elements(tree)}
    assert not {name for element in elements(tree) for name in element["attributes"] if name.startswith("on")}


@pytest.mark.skipif(NODE is None, reason="needs Node.js")
def test_an_item_stands_behind_everything_that_it_waits_for(tmp_path: Path) -> None:
    found = drawn(tmp_path, "Assetize Site")
    columns = found["columns"]

    for item in found["plan"]["items"]:
        assert columns[item["key"]] == max((columns[key] + 1 for key in item["dependsOn"]), default=0)
    assert found["lanes"] == ["order", "billing", "provisioning", "logistics", "completion"]
    assert len(set(map(tuple, found["places"].values()))) == len(columns), "two boxes lie upon each other"
    assert len(found["ways"]) == sum(len(item["dependsOn"]) for item in found["plan"]["items"])
    assert not any("NaN" in way for way in found["ways"])


@pytest.mark.skipif(NODE is None, reason="needs Node.js")
def test_states_are_told_in_words_and_the_point_of_no_return_is_marked(tmp_path: Path) -> None:
    found = drawn(tmp_path, "Assetize Site")

    for item in found["plan"]["items"]:
        (box,) = (each for each in elements(found["tree"]) if each["attributes"].get("data-key") == item["key"])
        said = texts([box])
        assert any(item["state"] in text for text in said)
        assert ("⚑ no return" in said) is item.get("pointOfNoReturn", False)
        assert item["state"] in box["attributes"]["aria-label"]


@pytest.mark.skipif(NODE is None, reason="needs Node.js")
def test_a_long_name_is_cut_and_not_lost_without_a_sign(tmp_path: Path) -> None:
    first, second = drawn(tmp_path, "Assetize Site")["cut"]

    assert first == "A name that is much"
    assert second.endswith("…")
