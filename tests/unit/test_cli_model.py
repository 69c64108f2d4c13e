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


@pytest.fixture(scope="module")
def table(folder: Path) -> tuple[list[str], list[list[str]]]:
    """The header of the training rows, and they."""
    run("model", "rows", "--out", str(folder / "table"), "--history", str(folder / "history"), "--event-share", "0.1")
    with (folder / "table" / "train.csv").open() as file:
        header, *rows = csv.reader(file)
    return header, rows


def test_every_column_of_the_rows_has_a_name_of_its_own_and_a_meaning(folder, table):
    header, _ = table
    told = json.loads((folder / "table" / "schema.json").read_text())

    assert len(set(header)) == len(header)
    assert header == [*(each["name"] for each in told["schema"]["features"]), *told["labels"]]
    assert set(told["bins"]) == set(NAMES), "what shifts later is seen against the rows of training"


def test_a_model_of_other_columns_is_refused_before_it_scores_anything(folder, table):
    header, rows = table
    with_label = [at for at, name in enumerate(header[: len(NAMES) + 2]) if name not in ("left_s", "is_late")]
    late = [float(row[header.index("is_late")]) for row in rows]

    def refused(places: list[int], **options: Any) -> str:
        file = folder / "other.txt"
        numbers = [[float(row[at]) if np.isfinite(float(row[at])) else -1.0 for at in places] for row in rows]
        file.write_text(_boosted(numbers, late, [header[at] for at in places], **options))
        schema, history = str(folder / "table" / "schema.json"), str(folder / "history")
        backtest = ("backtest", str(file), "--history", history, "--event-share", "0.1")
        found = run("model", *backtest, "--schema", schema, code=2)["error"]
        if not options:
            assert run("model", "register", "other", str(file), "--schema", schema, code=2)["error"] == found
        return str(found)

    at = list(NAMES).index("left_s") + 1
    assert f"feature {at} is" in refused(with_label)
    assert "takes 33 features, there are 35" in refused(list(range(33)))
    assert "what are no probabilities" in refused(list(range(len(NAMES))), objective="cross_entropy_lambda")


def test_a_backtest_goes_into_the_registry_with_its_model_and_with_no_other(folder, monkeypatch):
    kept: list[Any] = []

    def registered(_client: Any, name: str, document: Any) -> dict[str, Any]:
        kept.append(document["signature"]["metrics"])
        return {"form": document["form"], "digest": "d" * 64}

    monkeypatch.setattr("orderplan.client.Client.register_delay_model", registered)
    stock, report = str(folder / "stock.json"), folder / "report.json"
    found = run("model", "backtest", stock, "--history", str(folder / "history"), "--event-share", "0.1")
    report.write_text(json.dumps(found))
    run("model", "register", "own", stock, "--backtest", str(report))
    report.write_text(json.dumps({**found, "digest": "0" * 64}))
    error = run("model", "register", "own", stock, "--backtest", str(report), code=2)["error"]

    assert kept == [{name: found["models"]["model"][name] for name in ("auc", "brier", "brierSkill", "ece")}]
    assert error["path"] == "--backtest"


def _boosted(rows: list[list[float]], late: list[float], names: list[str] | None = None, **given: Any) -> str:
    library = booster_library()
    assert library is not None
    named = {} if names is None else {"feature_name": names}
    data = library.Dataset(np.array(rows), label=late, params={"verbosity": -1}, **named)
    options = {"objective": "binary", "num_leaves": 7, "verbosity": -1, "num_threads": 1} | given
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
