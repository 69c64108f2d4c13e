"""Files that others bring (ONNX, skops, MLflow): those that are installed say what the estimator in them says; and a
folder is code, packed the same way each time.
"""

from __future__ import annotations

import base64
import hashlib
import io
import warnings
import zipfile
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
