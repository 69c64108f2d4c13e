"""The package as it ships: built, installed apart from this tree, and served with no Node.js on the path."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from gateway.console_pages import FOLDER

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("actors", "adapters", "delay", "domain", "gateway", "orderplan", "persistence")
SERVE: Final = """
import asyncio, json, sys
from types import SimpleNamespace
sys.path.insert(0, sys.argv[1])
from aiohttp import test_utils
import gateway.app
from gateway.metrics import Metrics

async def main():
    config = SimpleNamespace(body_bytes_max=1_000_000, tenant="main")
    context = SimpleNamespace(config=config, pool=None, metrics=Metrics(), is_draining=False)
    async with test_utils.TestClient(test_utils.TestServer(gateway.app.make_app(context))) as client:
        found = {}
        for path in json.loads(sys.argv[2]):
            answer = await client.get(path)
            found[path] = [answer.status, len(await answer.read())]
        print(json.dumps({"from": gateway.app.__file__, "found": found}))

asyncio.run(main())
"""


def run(*words: str | Path, cwd: Path, path: str | None = None) -> str:
    env = None if path is None else {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_an_installed_wheel_serves_every_file_of_the_console_without_node(tmp_path: Path) -> None:
    tree, wheels, site, empty = (tmp_path / name for name in ("tree", "wheels", "site", "empty"))
    for each in (tree, empty):
        each.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check", "--no-cache-dir")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, ".", cwd=tree)
    (wheel,) = wheels.iterdir()
    run(*pip, "install", "--no-deps", "--no-compile", "--target", site, wheel, cwd=empty)

    assets = sorted(path.name for path in (FOLDER / "assets").iterdir())
    sizes = {f"/console/assets/{name}": (FOLDER / "assets" / name).stat().st_size for name in assets}
    sizes |= dict.fromkeys(("/", "/console/orders"), (FOLDER / "index.html").stat().st_size)
    *_, said_last = run("-P", "-c", SERVE, site, json.dumps(list(sizes)), cwd=empty, path=str(empty)).splitlines()
    said = json.loads(said_last)

    assert Path(said["from"]).is_relative_to(site)
    assert said["found"] == {path: [200, size] for path, size in sizes.items()}
    assert (site / "gateway" / "console" / "NOTICE.md").is_file(), "licences of what is in the bundle go along"
