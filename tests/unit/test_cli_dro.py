"""The command line imports a DRO export without a server, and names what is wrong with it."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from domain.publish import compile_release
from domain.release_file import read_release, release_document
from orderplan.cli.files import document_text
from orderplan.cli.main import app
from tests.support import dro

QB = dro.FOLDER / "qb"
BINDINGS = str(dro.FOLDER / "qb-bindings.yaml")


def run(*arguments: str) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a command."""
    result = CliRunner().invoke(app, ["catalogue", "import", "dro", *arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(QB, tmp_path / "own catalogue"))


def test_a_dry_run_says_what_would_become_of_the_folder():
    code, out, _ = run(str(QB), "--bindings", BINDINGS, "--version", "7", "--json")
    said = json.loads(out.splitlines()[-1])

    assert code == 0
    assert (said["id"], said["products"], said["items"]) == ("qb@7", 314, 10)
    assert said["findings"] == [*dro.imported("qb").findings, *dro.release_of("qb").findings]
    assert {each["code"] for each in said["environment"]["queues"]} >= {"Finance", "Services"}
    assert [(each["name"], len(each["plans"])) for each in said["diagrams"]] == [
        ("QuantumBit Complete Solution Bundle", 4)
    ]


def test_without_bindings_the_release_is_called_after_the_folder(folder):
    code, out, _ = run(str(folder))

    assert code == 0
    assert out.startswith("release own catalogue@1 could be published")
    assert "is a placeholder" in " ".join(out.split())


@pytest.mark.parametrize("ending", ["yaml", "json"])
def test_the_file_that_is_written_is_the_release(tmp_path, ending):
    file = tmp_path / f"release.{ending}"
    code, _, _ = run(str(QB), "--bindings", BINDINGS, "--output", str(file))
    text = file.read_text(encoding="utf-8")
    document = json.loads(text) if ending == "json" else yaml.safe_load(text)

    assert code == 0
    assert read_release(document) == dro.imported("qb").release


@pytest.mark.parametrize("catalogue", ["qb", "mfg"])
@pytest.mark.parametrize("is_json", [True, False])
def test_a_release_comes_back_equal_from_its_exported_text(catalogue, is_json):
    release = dro.release_of(catalogue).source
    text = document_text(release_document(release), is_json=is_json)
    again = read_release((json.loads if is_json else yaml.safe_load)(text) | {"version": "2"})

    assert again == release.model_copy(update={"version": "2"})
    assert compile_release(again).findings == dro.release_of(catalogue).findings


def test_every_problem_is_listed_and_the_last_line_sums_up(folder):
    scenarios = folder / "ProductFulfillmentScenario.csv"
    scenarios.write_text(scenarios.read_text().replace("QB-DRO-AEH,", "QB-DRO-XXX,"))
    steps = folder / "FulfillmentStepDefinition.csv"
    steps.write_text(steps.read_text().replace("Milestone", "Millstone", 1))
    code, _, err = run(str(folder))

    assert code == 2
    assert "FulfillmentStepDefinition.csv line 4, column StepType: 'Millstone' is not known" in err
    assert "ProductFulfillmentScenario.csv line 2, column Product.StockKeepingUnit: Product2.csv has no" in err
    assert err.splitlines()[-1].startswith("orderplan: FulfillmentStepDefinition.csv line 4, column StepType: ")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path / "nowhere", "does not exist"),
        (lambda path: Path(shutil.copy(BINDINGS, path)), "is a file"),
        (lambda path: path, "holds no .csv file"),
    ],
)
def test_a_folder_that_is_none_is_refused_with_a_mend(tmp_path, make, said):
    code, _, err = run(str(make(tmp_path)))

    assert code == 2
    assert said in err
    assert err.count("\n") == 1


def test_a_circle_of_dependencies_is_named(folder):
    file = folder / "FulfillmentStepDependencyDef.csv"
    file.write_text(file.read_text() + "Plan,Receive Payment,Initiate Billing,false,Back,\n")
    code, _, err = run(str(folder))

    assert code == 2
    assert "items wait for one another in a circle" in err
    assert "Receive Payment" in err
