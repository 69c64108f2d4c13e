"""A delay model as a document: plain JSON that says what it is, what it was made from and how good it was.

    {"format": "orderplan.delay-model/1", "form": "trees", "signature": {...}, "body": {...}}

`form` says how the body is run (docs/DELAY_MODELS.md has the list). The signature holds the feature schema with its
hash, the training window, metrics, recalibration, and how the training rows were distributed. The digest is the SHA-256
of the document's canonical text: sorted keys, no spaces.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, Self

from delay.features import FeatureMismatch, Schema
from delay.recalibration import Recalibration
from domain.errors import BadDocument

FORMAT: Final = "orderplan.delay-model/1"
ARTEFACT_BYTES_MAX: Final = 7_000_000
"""Of the canonical text: what a request may carry, with room to spare."""


@dataclass(frozen=True)
class Artefact:
    """One model; immutable, named by its digest."""

    form: str
    signature: Mapping[str, Any]
    body: Mapping[str, Any]

    @classmethod
    def read(cls, document: Any) -> Self:
        """The artefact in a document.

        Raises:
            BadDocument: it is none, was made for other features, or is too large.
        """
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise BadDocument(f"is not of the form {FORMAT}", path="format", mend="see docs/DELAY_MODELS.md")
        for name, kind in (("form", str), ("signature", dict), ("body", dict)):
            if not isinstance(document.get(name), kind):
                raise BadDocument(f"must be {'a text' if kind is str else 'an object'}", path=name)
        if document["form"] not in NAMES:
            mend = f"known are {', '.join(NAMES)}"
            raise BadDocument(f"there is no form {document['form'][:60]!r}", path="form", mend=mend)
        member = BODY[document["form"]]
        if member is not None and not isinstance(document["body"].get(member), str):
            raise BadDocument("must be a text", path=f"body.{member}")
        _check_signature(document["signature"])
        found = cls(document["form"], document["signature"], document["body"])
        if document["form"] != "class":
            try:
                kept = found.schema.digest
            except FeatureMismatch as error:
                mend = "train it anew with this release, or with the schema that `orderplan model rows` writes"
                raise BadDocument(str(error), path="signature.schema", mend=mend) from error
            if kept != found.signature["schema"].get("hash"):
                raise BadDocument("does not fit its columns and categories", path="signature.schema.hash")
        if len(found.text) > ARTEFACT_BYTES_MAX:
            raise BadDocument(f"has {len(found.text)} bytes", path="body", mend="train a smaller model")
        return found

    @cached_property
    def text(self) -> str:
        """The canonical text."""
        document = {"format": FORMAT, "form": self.form, "signature": self.signature, "body": self.body}
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    @cached_property
    def digest(self) -> str:
        """64 hexadecimal digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @cached_property
    def schema(self) -> Schema:
        """Its columns and categories; raises FeatureMismatch if they are not ours."""
        return Schema.from_dict(self.signature.get("schema", {}))

    @property
    def recalibration(self) -> Recalibration:
        """None for a model that was not levelled here."""
        stored = self.signature.get("recalibration")
        return Recalibration.from_dict(stored) if stored else Recalibration()


def _check_signature(signature: Mapping[str, Any]) -> None:
    """Refuse what those who show and watch models would stumble over; what else it holds is up to who made it."""
    for name in ("metrics", "metricsAtTicks", "bins"):
        if not isinstance(signature.get(name, {}), dict):
            raise BadDocument("must be an object", path=f"signature.{name}")
    if not isinstance(signature.get("simulated"), bool | None):
        raise BadDocument("must be true or false", path="signature.simulated")
    until = signature.get("trainedUntil")
    try:
        is_instant = until is None or datetime.fromisoformat(until).tzinfo is not None
    except (TypeError, ValueError):
        is_instant = False
    if not is_instant:
        raise BadDocument("must be an instant with a time zone", path="signature.trainedUntil")
    for name in ("metrics", "metricsAtTicks"):
        figures = signature.get(name, {})
        for figure in ("auc", "brier", "brierSkill", "ece"):
            if not _is_number(figures.get(figure, 0)) and figures[figure] is not None:
                raise BadDocument("must be a number", path=f"signature.{name}.{figure}")
    for name, each in signature.get("bins", {}).items():
        edges, shares = (_numbers(each, column) for column in ("edges", "shares"))
        if edges is None or shares is None or len(shares) != len(edges) + 1 or sorted(edges) != edges:
            reason = "must have rising `edges`, and `shares`, which are one more"
            raise BadDocument(reason, path=f"signature.bins.{name[:60]}")


def _numbers(given: object, member: str) -> list[float] | None:
    found = given.get(member) if isinstance(given, dict) else None
    return found if isinstance(found, list) and all(map(_is_number, found)) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


BODY: Final[Mapping[str, str | None]] = {
    "planned": None,
    "empirical": None,
    "logistic": None,
    "trees": "lightgbm",
    "class": "address",
    "estimator": "address",
    "onnx": "base64",
    "skops": "base64",
    "pickle": "base64",
    "mlflow": "base64",
}
"""The forms (four of the stock model, of which `trees` is any text of lightgbm's; then what others bring), with the
text that their bodies must have.
"""
NAMES: Final = tuple(BODY)
