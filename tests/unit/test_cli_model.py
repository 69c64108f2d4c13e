"""`orderplan model` without a server: from a simulated history to a model, its rows and its backtest."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from delay.features import NAMES
from delay.logs.booster import booster_library
from orderplan.cli.main import app

AND_HISTORY = "--orders 220 --days 30 --seed 3 --catalogues home-internet"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out: Path = tmp_path_factory.mktemp("model")
    run("simulate", "--out", str(out / "history"), *AND_HISTORY.split())
    run("model", "train", "--history", str(out / "history"), "--out", str(out / "stock.json"), "--event-share", "0.1")
    return out


def run(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout.strip().splitlines()[-1])


def test_a_model_is_trained_and_says_that_its_orders_were_simulated(folder):
    document = json.loads((folder / "stock.json").read_text())

    assert document["signature"]["simulated"] is True
    assert document["signature"]["source"].startswith("a simulated history, 220 orders")
    plain = ["model", "train", "--history", str(folder / "history"), "--out", str(folder / "again.json")]
    assert "SIMULATED" in CliRunner().invoke(app, [*plain, "--event-share", "0.1"]).output
    assert (folder / "again.json").read_bytes() == (folder / "stock.json").read_bytes()


def test_a_backtest_holds_a_file_and_a_class_against_the_stock_forms(folder):
    history = ("--history", str(folder / "history"), "--event-share", "0.1")
    of_file = run("model", "backtest", str(folder / "stock.json"), *history)
    of_class = run("model", "backtest", "examples.own_delay_model.last_step:LastStep", *history)
    report = folder / "report.md"
    shown = CliRunner().invoke(app, ["model", "backtest", *history, "--markdown", str(report)])

    assert of_file["hasSeenTheseOrders"] is True, "it was trained on all of the history"
    assert of_class["hasSeenTheseOrders"] is False
    assert set(of_class["against"]) >= {"planned", "empirical", "logistic"}
    assert 0.5 < of_class["models"]["model"]["auc"] < 1
    assert of_class["models"]["planned"] == of_file["models"]["planned"]
    assert "simulated" in shown.output
    assert "| planned |" in report.read_text()


def test_a_backtest_ends_with_2_unless_the_model_beats_what_it_must(folder):
    history = ("--history", str(folder / "history"), "--event-share", "0.1")
    model = "tests.support.delay_models:Steady"
    found = run("model", "backtest", model, *history, "--must-beat", "planned", code=2)

    assert "not better than planned" in found["error"]["reason"]
    assert found["error"]["models"]["model"]["auc"] == 0.5
    assert run("model", "backtest", model, *history, "--must-beat", "magic", code=2)["error"]["path"] == "--must-beat"


def test_a_model_that_was_trained_on_our_rows_is_tried_with_their_schema(folder):
    history = ("--history", str(folder / "history"), "--event-share", "0.1")
    run("model", "rows", *history, "--out", str(folder / "rows"))
    with (folder / "rows" / "train.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0][: len(NAMES)] == list(NAMES)
    assert {row[-1] for row in rows[1:]} == {"1"}, "every row says that it is simulated"

    trees = folder / "own.txt"
    numbers = [[float(each) for each in row[: len(NAMES)]] for row in rows[1:]]
    trees.write_text(_boosted(numbers, [float(row[len(NAMES)]) for row in rows[1:]]))
    found = run("model", "backtest", str(trees), "--schema", str(folder / "rows" / "schema.json"), *history)
    without = run("model", "backtest", str(trees), *history, code=2)

    assert found["models"]["model"]["auc"] > 0.6
    assert found["hasSeenTheseOrders"] is False
    assert without["error"]["path"] == "--schema"


def _boosted(rows: list[list[float]], late: list[float]) -> str:
    library = booster_library()
    assert library is not None
    data = library.Dataset(np.array(rows), label=late, params={"verbosity": -1})
    options = {"objective": "binary", "num_leaves": 7, "verbosity": -1, "num_threads": 1}
    text: str = library.train(options, data, num_boost_round=20).model_to_string()
    return text


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (("train", "--out", "x.json", "--history", "nowhere"), "--history"),
        (("train", "--out", "x.json", "--history", "FOLDER", "--form", "trees"), "--history"),
        (("train", "--out", "x.json", "--history", "nowhere", "--form", "magic"), "--form"),
        (("backtest", "nowhere.json", "--history", "nowhere"), "MODEL"),
        (("register", "name", "nowhere.onnx"), "--schema"),
        (("events", "--out", "log.xls", "--history", "nowhere"), "--out"),
        (("register", "name", "nowhere.json"), "MODEL"),
        (("register", "name", "not_there:Model"), "delayModel"),
    ],
)
def test_what_cannot_be_is_refused_with_the_option(folder, arguments, path):
    given = [str(folder / "history") if each == "FOLDER" else each for each in arguments]
    assert run("model", *given, code=2)["error"]["path"] == path


def test_a_parquet_file_without_pyarrow_is_refused_before_anything_is_read(monkeypatch):
    monkeypatch.setattr("orderplan.cli.model_events.find_spec", lambda _name: None)
    error = run("model", "events", "--out", "log.parquet", "--history", "nowhere", code=2)["error"]

    assert (error["path"], "orderplan[parquet]" in error["mend"]) == ("--out", True)
