"""Files that others bring (ONNX, skops, MLflow): those that are installed say what the estimator in them says; and a
folder is code, packed the same way each time.

Continuous integration has none of the libraries: there stand-ins with their interfaces say what our side asks of them
and makes of their answers. `make foreign-models` installs the real ones and runs everything.
"""

from __future__ import annotations

import base64
import hashlib
import io
import sys
import types
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from delay.features import FEATURES, NAMES, Schema
from delay.stock.artefact import Artefact
from delay.stock.folders import packed, unpack
from delay.stock.running import PICKLES_ALLOWED, ArtefactModel
from domain.errors import BadDocument

SIGNATURE = {"schema": Schema({}).to_dict()}
ROWS = np.random.Generator(np.random.PCG64(1)).normal(size=(200, len(FEATURES)))
# A row past its due date is late whatever a model says.
ROWS[:, NAMES.index("left_s")] = 1.0


def encoded(raw: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(raw).decode()}


def said(form: str, raw: bytes) -> Any:
    return ArtefactModel(Artefact(form, SIGNATURE, encoded(raw))).p_late(ROWS)


@pytest.fixture
def estimator() -> Any:
    linear = pytest.importorskip("sklearn.linear_model")
    return linear.LogisticRegression().fit(ROWS, ROWS[:, 0] + ROWS[:, 1] > 0)


def test_a_skops_file_says_what_its_estimator_says(estimator):
    skops = pytest.importorskip("skops.io")

    assert said("skops", skops.dumps(estimator)) == pytest.approx(estimator.predict_proba(ROWS)[:, 1])


@pytest.mark.parametrize("name", ["RandomForest", "GradientBoosting", "HistGradientBoosting"])
def test_a_skops_file_may_hold_trees(name):
    ensemble, skops = pytest.importorskip("sklearn.ensemble"), pytest.importorskip("skops.io")
    model = getattr(ensemble, name + "Classifier")(random_state=1).fit(ROWS, ROWS[:, 0] + ROWS[:, 1] > 0)

    assert said("skops", skops.dumps(model)) == pytest.approx(model.predict_proba(ROWS)[:, 1])


def test_a_calibrated_model_and_one_behind_a_scaler_are_trusted():
    skops, calibration = pytest.importorskip("skops.io"), pytest.importorskip("sklearn.calibration")
    linear, pipeline = pytest.importorskip("sklearn.linear_model"), pytest.importorskip("sklearn.pipeline")
    scaler = pytest.importorskip("sklearn.preprocessing").StandardScaler()
    made = calibration.CalibratedClassifierCV(pipeline.make_pipeline(scaler, linear.LogisticRegression()))
    made.fit(ROWS, ROWS[:, 0] + ROWS[:, 1] > 0)

    assert said("skops", skops.dumps(made)) == pytest.approx(made.predict_proba(ROWS)[:, 1])


def test_an_onnx_file_says_what_its_estimator_says(estimator):
    converter = pytest.importorskip("skl2onnx")
    pytest.importorskip("onnxruntime")
    raw = converter.to_onnx(estimator, ROWS[:1].astype(np.float32)).SerializeToString()

    assert said("onnx", raw) == pytest.approx(estimator.predict_proba(ROWS)[:, 1], abs=1e-5)


def test_an_mlflow_folder_says_what_its_model_says_once_its_digest_is_named(estimator, tmp_path, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sklearn = pytest.importorskip("mlflow.sklearn")
        sklearn.save_model(
            estimator, tmp_path / "model", pyfunc_predict_fn="predict_proba", serialization_format="cloudpickle"
        )
        raw = packed(tmp_path / "model")
        monkeypatch.setenv(PICKLES_ALLOWED, hashlib.sha256(raw).hexdigest())

        assert said("mlflow", raw) == pytest.approx(estimator.predict_proba(ROWS)[:, 1])


class Linear:
    """Has the interface of a fitted estimator; says 0.25 where the first feature is negative, else 0.75."""

    def predict_proba(self, rows: Any) -> Any:
        late = np.where(np.asarray(rows)[:, 0] < 0, 0.25, 0.75)
        return np.column_stack([1 - late, late])


SAID = Linear().predict_proba(ROWS)[:, 1].tolist()


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    """A module of that name with these members, and its parents."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        monkeypatch.setitem(sys.modules, ".".join(parts[:count]), types.ModuleType(parts[count - 1]))
    for member, value in members.items():
        setattr(sys.modules[name], member, value)


@pytest.mark.parametrize(("kind", "dtype"), [("tensor(float)", np.float32), ("tensor(double)", np.float64)])
@pytest.mark.parametrize("has_maps", [True, False], ids=["maps", "matrix"])
def test_onnx_is_asked_with_its_own_type_and_its_last_output_is_taken(monkeypatch, kind, dtype, has_maps):
    class Session:
        def __init__(self, raw: bytes, providers: list[str]) -> None:
            assert (raw, providers) == (b"model", ["CPUExecutionProvider"])

        def get_inputs(self) -> list[Any]:
            return [types.SimpleNamespace(name="X", type=kind, shape=[None, len(FEATURES)])]

        def get_outputs(self) -> list[Any]:
            return [types.SimpleNamespace(name="label"), types.SimpleNamespace(name="probabilities")]

        def run(self, wanted: list[str], given: dict[str, Any]) -> list[Any]:
            assert wanted == ["probabilities"]
            assert given["X"].dtype == dtype
            found = Linear().predict_proba(given["X"])
            return [[{0: one, 1: other} for one, other in found.tolist()] if has_maps else found]

    stand_in(monkeypatch, "onnxruntime", InferenceSession=Session)

    assert said("onnx", b"model").tolist() == SAID


def test_skops_loads_only_what_it_trusts(monkeypatch):
    unknown: list[str] = []
    stand_in(monkeypatch, "skops.io", get_untrusted_types=lambda data: unknown, loads=lambda raw, trusted: Linear())

    assert said("skops", b"model").tolist() == SAID
    unknown.append("sklearn.tree._tree.Tree")
    assert said("skops", b"model").tolist() == SAID
    unknown.append("os.system")
    with pytest.raises(BadDocument, match=r"not trusted: os\.system"):
        said("skops", b"model")


@pytest.mark.parametrize("is_matrix", [True, False])
def test_an_mlflow_folder_is_unpacked_and_asked_with_the_names_of_our_columns(monkeypatch, tmp_path, is_matrix):
    (tmp_path / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
    raw = packed(tmp_path)
    monkeypatch.setenv(PICKLES_ALLOWED, hashlib.sha256(raw).hexdigest())

    class Model:
        def predict(self, given: tuple[Any, list[str]]) -> Any:
            rows, names = given
            assert names == list(NAMES)
            found = Linear().predict_proba(rows)
            return found if is_matrix else found[:, 1]

    def load_model(folder: str) -> Model:
        assert (Path(folder) / "MLmodel").exists()
        return Model()

    stand_in(monkeypatch, "mlflow.pyfunc", load_model=load_model)
    stand_in(monkeypatch, "pandas", DataFrame=lambda rows, columns: (rows, columns))

    assert said("mlflow", raw).tolist() == SAID


@pytest.mark.parametrize(
    ("form", "library", "extra"),
    [("onnx", "onnxruntime", "onnx"), ("skops", "skops.io", "skops"), ("mlflow", "mlflow.pyfunc", "mlflow")],
)
def test_what_is_not_installed_is_said_with_the_extra(monkeypatch, form, library, extra):
    # None in the place of a module is how Python says that it cannot be imported.
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setenv(PICKLES_ALLOWED, hashlib.sha256(b"model").hexdigest())
    with pytest.raises(BadDocument, match=f"{library.partition('.')[0]} is not installed") as refused:
        said(form, b"model")

    assert f"orderplan[{extra}]" in (refused.value.mend or "")


def test_an_mlflow_folder_is_refused_until_its_digest_is_named(tmp_path, monkeypatch):
    (tmp_path / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
    raw = packed(tmp_path)
    monkeypatch.delenv(PICKLES_ALLOWED, raising=False)
    with pytest.raises(BadDocument, match="an MLflow folder is code") as refused:
        said("mlflow", raw)

    assert hashlib.sha256(raw).hexdigest() in (refused.value.mend or "")


def test_a_folder_is_packed_the_same_way_each_time_and_unpacked_as_it_was(tmp_path):
    for name in ("b/two.txt", "a.txt", "__pycache__/x.pyc"):
        (tmp_path / "one" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "one" / name).write_text(name, encoding="utf-8")
    raw = packed(tmp_path / "one")
    unpack(raw, tmp_path / "two")

    assert packed(tmp_path / "two") == raw
    assert (tmp_path / "two" / "b" / "two.txt").read_text(encoding="utf-8") == "b/two.txt"
    assert not (tmp_path / "two" / "__pycache__").exists()


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt"])
def test_a_packed_folder_writes_nowhere_else(name, tmp_path):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(BadDocument, match="outside"):
        unpack(made.getvalue(), tmp_path / "in")
    with pytest.raises(BadDocument, match="no packed folder"):
        unpack(b"no zip", tmp_path / "in")

    assert not (tmp_path / "out.txt").exists()
