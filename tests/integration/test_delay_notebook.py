"""The example notebook: every cell of it is executed, against a gateway and a database."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from actors.config import ClusterConfig
from actors.folding import PlanFolder
from delay.logs.booster import booster_library
from gateway.app import make_app
from gateway.context import Context
from persistence import models
from persistence.readstore import ReadStore

NOTEBOOK = Path(__file__).parents[2] / "examples" / "delay_notebook" / "own_model.ipynb"


async def _nothing() -> dict[str, Any]:
    return {}


async def _nobody(what: str) -> None:
    pass


def executed(cells: list[str]) -> dict[str, Any]:
    """The names that the cells leave behind, one after the other as a person runs them."""
    names: dict[str, Any] = {"__name__": "notebook"}
    for number, text in enumerate(cells):
        exec(compile(text, f"cell {number}", "exec"), names)
    return names


@pytest.mark.slow
@pytest.mark.skipif(booster_library() is None, reason="lightgbm is not installed")
async def test_the_notebook_goes_from_a_history_to_a_promoted_model(pool, tmp_path, monkeypatch, capsys):
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = ["".join(each["source"]) for each in document["cells"] if each["cell_type"] == "code"]
    store = ReadStore(pool)
    hosts: Any = None
    context = Context(
        config=ClusterConfig(dsn="", key_dsn=""), pool=pool, store=store, hosts=hosts, folder=PlanFolder(store),
        people=lambda: None, broadcast=_nobody, stats=_nothing,
    )  # fmt: skip
    monkeypatch.chdir(NOTEBOOK.parents[2])
    async with TestServer(make_app(context)) as server:
        monkeypatch.setenv("ORDERPLAN_URL", f"http://127.0.0.1:{server.port}")
        monkeypatch.setenv("ORDERPLAN_NOTEBOOK", str(tmp_path))
        monkeypatch.setenv("ORDERPLAN_SIMULATED", "--orders 220 --days 30 --seed 3 --catalogues home-internet")
        names = await asyncio.to_thread(executed, cells)
    printed = capsys.readouterr().out

    assert document["nbformat"] == 4
    assert all(not each.get("outputs") for each in document["cells"]), "outputs are of somebody's machine"
    assert "SIMULATED" in printed
    assert "against planned:" in printed
    assert "200 are needed" in names["decided"]["error"]["reason"]
    assert printed.strip().endswith("own-1")
    assert {each.name for each in (tmp_path / "pictures").iterdir()} == {
        "reliability.svg",
        "earliness.svg",
        "worklist.svg",
    }
    champion = next(each for each in await models.active(pool, "main") if each.stage == "champion")
    artefact = await models.read_document(pool, "main", champion.name)
    assert artefact["signature"]["simulated"] is True
    assert datetime.fromisoformat(artefact["signature"]["trainedUntil"]) < datetime.now(UTC)
