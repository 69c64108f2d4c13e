"""Runs an artefact: rows in, predictions out. What a form needs that is not installed is said with how to get it."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import numpy as np

from delay.features import NAMES, Row, column
from delay.logs.booster import booster_library
from delay.metrics import Floats
from delay.model import DelayModel, Prediction
from delay.recalibration import logistic
from delay.stock.artefact import Artefact
from delay.stock.explained import Explanation, in_points, usual_of
from delay.stock.folders import unpack
from delay.stock.forms import FORMS, Form, Logistic, Trees
from delay.stock.frame import Frame, numbered
from delay.stock.learn import past_due_is_late
from delay.stock.proof import check_answers, check_columns
from domain.errors import BadDocument

PICKLES_ALLOWED: Final = "ORDERPLAN_DELAY_PICKLES"
"""SHA-256 digests of the pickles and MLflow folders that may be opened, with commas between: they are code."""
PAST_S: Final = 1.0
"""A time that must lie behind the due date lies so far behind it."""
LOW, MIDDLE, HIGH = 0.1, 0.5, 0.9
_TRUSTED: Final = frozenset(
    (
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
    )
)
"""What scikit-learn's own trees, ensembles, networks and calibrated classifiers are made of, beside what skops trusts
by itself: data, and no code. A tree whose numbers are wrong harms the model's own process at most.
"""

Score = Callable[[Row], Floats]
Read = TypeVar("Read")


class ArtefactModel:
    """A model that reads frames."""

    def __init__(self, artefact: Artefact) -> None:
        """Load it.

        Raises:
            BadDocument: its body cannot be run here.
        """
        self._schema = artefact.schema
        form = _form_of(artefact)
        self._score = form.p_late if form is not None else _read(artefact, _FOREIGN[artefact.form])
        if form is None or isinstance(form, Trees):
            check_answers(self._score)
        self._shares = form.shares if isinstance(form, Logistic | Trees) else None
        self._recalibration = artefact.recalibration
        self._usual = usual_of(artefact.signature.get("bins", {}))

    def p_late(self, rows: Row) -> Floats:
        """The probabilities of rows that its schema has numbered."""
        return past_due_is_late(rows, self._recalibration(self._score(rows)))

    def predict(self, frame: Frame) -> list[Prediction]:
        """One prediction for each row; times and reasons are the built-in model's, made to agree."""
        rows = numbered(frame, self._schema)
        p_late = self.p_late(rows).tolist()
        left_s = column(rows, "left_s").tolist()
        return [_agreeing(*each) for each in zip(frame.builtin, p_late, left_s, strict=True)]


    def explain(self, frame: Frame) -> list[Explanation | None]:
        """What the features of each row do to its risk; None where the form does not say, or the due date is over."""
        rows = numbered(frame, self._schema)
        if self._shares is None or not len(rows):
            return [None] * len(rows)
        shares, usual = self._shares(rows)
        raw = self._score(rows)
        if not np.allclose(logistic(usual + shares.sum(axis=1)), raw, atol=1e-6):
            # Trees that add up something else than log-odds.
            return [None] * len(rows)
        p_late = self._recalibration(raw)
        base = float(self._recalibration(logistic(np.array([usual])))[0])
        is_over = column(rows, "left_s") <= 0
        return [
            None
            if is_over[at]
            else Explanation(base, in_points(shares[at], float(p_late[at]), base), rows[at].tolist(), self._usual)
            for at in range(len(rows))
        ]


def _agreeing(builtin: Prediction, p_late: float, left_s: float) -> Prediction:
    """The order is in time with probability 1 - p: quantiles on the wrong side of the due date move to it."""

    def moved(share: float, expected_s: float) -> float:
        if left_s <= 0:
            return expected_s
        return max(expected_s, left_s + PAST_S) if share > 1 - p_late else min(expected_s, left_s)

    return Prediction(
        p_late,
        moved(MIDDLE, builtin.remaining_s),
        moved(LOW, builtin.low_s),
        moved(HIGH, builtin.high_s),
        builtin.factors,
    )


def _form_of(artefact: Artefact) -> Form | None:
    """One of the stock model's forms; None for what others bring."""
    if artefact.form not in FORMS:
        return None
    if artefact.form == "trees":
        _lightgbm()
    form: type[Form] = FORMS[artefact.form]
    found = _read(artefact, form.from_dict)
    if isinstance(found, Trees):
        check_columns(found.names, found.width)
    return found


def _read(artefact: Artefact, reader: Callable[[Mapping[str, Any]], Read]) -> Read:
    try:
        return reader(artefact.body)
    except BadDocument:
        raise
    except Exception as error:
        # Whatever a library raises for a body that is none of its models.
        reason = f"cannot be read as {artefact.form}: {type(error).__name__}"
        raise BadDocument(reason, path="body") from error


def _lightgbm() -> None:
    if booster_library() is None:
        raise BadDocument(
            "lightgbm is not installed, or the system has no libgomp", path="form", mend="install orderplan[delay]"
        )


def _library(name: str, package: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        mend = f"install orderplan[{extra}] on every node"
        raise BadDocument(f"{package} is not installed", path="form", mend=mend) from error


def _onnx(body: Mapping[str, Any]) -> Score:
    runtime = _library("onnxruntime", "onnxruntime", "onnx")
    session = runtime.InferenceSession(_bytes(body), providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    # A text, or nothing, where any number will do.
    width = given.shape[-1] if given.shape else None
    check_columns(None, width if isinstance(width, int) else None)
    outputs = [each.name for each in session.get_outputs()]
    wanted = outputs[-1]

    def score(rows: Row) -> Floats:
        kind = np.float64 if "double" in given.type else np.float32
        (found,) = session.run([wanted], {given.name: rows.astype(kind)})
        # Converters give either a matrix or a list of {class: probability}.
        if len(found) and isinstance(found[0], Mapping):
            found = [[each[0], each[1]] for each in found]
        return _second(np.asarray(found, dtype=np.float64))

    return score


def _skops(body: Mapping[str, Any]) -> Score:
    library = _library("skops.io", "skops", "skops")
    raw = _bytes(body)
    found = sorted(map(str, library.get_untrusted_types(data=raw)))
    unknown = [each for each in found if each not in _TRUSTED]
    if unknown:
        mend = "use scikit-learn's linear models, trees, forests, boosting or networks, or keep the model as ONNX"
        raise BadDocument(f"holds types that are not trusted: {', '.join(unknown[:5])}", path="body", mend=mend)
    return score_of(library.loads(raw, trusted=found))


def _allowed(body: Mapping[str, Any], what: str) -> bytes:
    """The bytes of a model that is code, if their digest was switched on.

    Raises:
        BadDocument: it was not; the refusal names it.
    """
    raw = _bytes(body)
    digest = hashlib.sha256(raw).hexdigest()
    allowed = [each.strip() for each in os.environ.get(PICKLES_ALLOWED, "").split(",")]
    if digest not in allowed:
        raise BadDocument(
            f"{what} is code, and this one is not allowed here",
            path="body",
            mend=f"keep the model as ONNX or skops, or start the server with {PICKLES_ALLOWED}={digest}",
        )
    return raw


def _pickle(body: Mapping[str, Any]) -> Score:
    raw = _allowed(body, "a pickle")
    import pickle

    return score_of(pickle.loads(raw))


def _mlflow(body: Mapping[str, Any]) -> Score:
    # Its folder holds a pickle, or names code, as a rule: what holds for those holds for it.
    raw = _allowed(body, "an MLflow folder")
    pyfunc, pandas = (_library(name, "mlflow", "mlflow") for name in ("mlflow.pyfunc", "pandas"))
    with TemporaryDirectory(prefix="orderplan-") as folder:
        unpack(raw, Path(folder))
        model = pyfunc.load_model(folder)

    def score(rows: Row) -> Floats:
        found = model.predict(pandas.DataFrame(rows, columns=list(NAMES)))
        return _second(np.asarray(found, dtype=np.float64))

    return score


def _estimator(body: Mapping[str, Any]) -> Score:
    from delay.loading import load_attribute

    return score_of(load_attribute(str(body["address"])))


_FOREIGN: Final[Mapping[str, Callable[[Mapping[str, Any]], Score]]] = {
    "onnx": _onnx,
    "skops": _skops,
    "pickle": _pickle,
    "mlflow": _mlflow,
    "estimator": _estimator,
}


def score_of(estimator: Any) -> Score:
    """The probabilities of a fitted estimator in the manner of scikit-learn.

    Raises:
        BadDocument: it has no `predict_proba`, or was fitted on other columns than ours.
    """
    if not hasattr(estimator, "predict_proba"):
        mend = "give a fitted classifier, such as sklearn's HistGradientBoostingClassifier"
        raise BadDocument(f"a {type(estimator).__name__} has no predict_proba", path="body", mend=mend)
    names = getattr(estimator, "feature_names_in_", None)
    check_columns(None if names is None else [str(each) for each in names], getattr(estimator, "n_features_in_", None))

    def score(rows: Row) -> Floats:
        found = np.asarray(estimator.predict_proba(rows), dtype=np.float64)
        if found.shape != (len(rows), 2):
            mend = "fit it on two classes, of which the second is late"
            raise BadDocument(f"predict_proba gives shape {found.shape} for {len(rows)} rows", path="body", mend=mend)
        return _second(found)

    return score


def _second(found: Floats) -> Floats:
    """The probability of the second class, late, of a matrix of two; a vector, or a single column, is that already."""
    if found.ndim == 1:
        return found
    if found.ndim != 2 or found.shape[1] not in (1, 2):
        raise BadDocument(f"gives answers of shape {found.shape}", path="body", mend="give one or two columns")
    return found[:, -1]


def _bytes(body: Mapping[str, Any]) -> bytes:
    return base64.b64decode(str(body["base64"]), validate=True)


class Runner:
    """A model in its process, whatever form it has: `fit` and `predict` with what it wants to be given."""

    def __init__(self, document: Any) -> None:
        """Load it.

        Raises:
            BadDocument: it cannot be run here.
        """
        from delay.loading import load_model

        artefact = Artefact.read(document)
        self._own: DelayModel | None = None
        if artefact.form == "class":
            self._own = load_model(str(artefact.body["address"]))
        else:
            self._frames = ArtefactModel(artefact)

    def fit(self, history: Sequence[Any]) -> None:
        """Only a class learns here; the others come fitted."""
        if self._own is not None:
            self._own.fit(history)

    def explain(self, frame: Any) -> Sequence[Explanation | None]:
        """What the features of a frame do to the risk; nothing of a class, which sees no frames."""
        return self._frames.explain(frame) if self._own is None else [None] * len(frame.rows)

    def predict(self, given: Any) -> Sequence[Any]:
        """Predictions for a frame, or for the snapshots that a class is given."""
        return self._own.predict(given) if self._own is not None else self._frames.predict(given)
