"""A delay model as a document: plain JSON that says what it is, what it was made from and how good it was.

    {"format": "orderplan.delay-model/1", "form": "trees", "signature": {...}, "body": {...}}

`form` says how the body is run (docs/DELAY_MODELS.md has the list). The signature holds the feature schema with its
hash, the training window, metrics, recalibration, and how the training rows were distributed. The digest is the SHA-256
of the document's canonical text: sorted keys, no spaces.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
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


NAMES: Final = ("planned", "empirical", "logistic", "trees", "class", "estimator", "onnx", "skops", "pickle")
"""The forms: four of the stock model (lightgbm's text is `trees`), and what others bring."""
