"""The client's calls of delay models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orderplan.client_calls import Calls, Document, part

_ROUTE = "/v1/delay-models"


class ModelCalls(Calls):
    """Delay models, and the history that they learn from."""

    def delay_models(self) -> Document:
        """All `models`, newest first, the `champion` (None: the built-in model), and the newest `changes`."""
        answer: Document = self.request("GET", _ROUTE)
        return answer

    def delay_model(self, name: str) -> Document:
        """One model, without its artefact."""
        answer: Document = self.request("GET", f"{_ROUTE}/{part(name)}")
        return answer

    def delay_model_artefact(self, name: str) -> Document:
        """The model itself."""
        answer: Document = self.request("GET", f"{_ROUTE}/{part(name)}/artefact")
        return answer

    def register_delay_model(self, name: str, artefact: Mapping[str, Any]) -> Document:
        """Take a model in; the same one under the same name again changes nothing."""
        body = {"name": name, "artefact": artefact}
        answer: Document = self.request("POST", _ROUTE, body, is_repeatable=True)
        return answer

    def steer_delay_model(self, name: str, action: str, **members: Any) -> Document:
        """`shadow`, `rest`, `promote` (with `ifBetter`, `margin`, `outcomes`) or `retire`; `reason` for all."""
        body = {member: value for member, value in members.items() if value is not None}
        answer: Document = self.request("POST", f"{_ROUTE}/{part(name)}:{action}", body)
        return answer

    def roll_delay_model_back(self, reason: str = "") -> Document:
        """Put the champion before the present one back: `was`, and `champion` (None: the built-in model)."""
        answer: Document = self.request("POST", f"{_ROUTE}:rollback", {"reason": reason})
        return answer

    def delay_report(self) -> Document:
        """How the models have done of late, and what has shifted."""
        answer: Document = self.request("GET", f"{_ROUTE}:report")
        return answer

    def delay_history(self, since: str | None = None) -> Iterator[Document]:
        """Whole orders with all their facts, page by page, the oldest orders first."""
        cursor = None
        while True:
            page: Document = self.request("GET", f"{_ROUTE}:history", query={"since": since, "cursor": cursor})
            yield page
            cursor = page["next"]
            if cursor is None:
                return
