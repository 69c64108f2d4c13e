"""The client's calls of catalogue releases: publish, list, compare, retire; and of diagrams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orderplan.client_calls import Calls, Document, part


class ReleaseCalls(Calls):
    """Catalogue releases."""

    def list_releases(self) -> list[Document]:
        """All releases, the last to begin first, each with its state, whether it is current, and its open orders."""
        answer: list[Document] = self.request("GET", "/v1/releases")
        return answer

    def release(self, release_id: str) -> Document:
        """A release in its file form."""
        answer: Document = self.request("GET", f"/v1/releases/{part(release_id)}")
        return answer

    def publish_release(self, release: Mapping[str, Any], *, effective_from: str | None = None) -> Document:
        """Check and publish a release; new orders take it from then on, or from an instant on (RFC 3339)."""
        query = {"effectiveFrom": effective_from}
        answer: Document = self.request("POST", "/v1/releases:publish", release, query=query)
        return answer

    def retire_release(self, release_id: str, reason: str, *, replacement: str | None = None) -> Document:
        """Let no new order take a release; the current one needs a published one that takes its place."""
        body = {"reason": reason} | ({"replacement": replacement} if replacement is not None else {})
        answer: Document = self.request("POST", f"/v1/releases/{part(release_id)}:retire", body)
        return answer

    def unretire_release(self, release_id: str, reason: str) -> Document:
        """Take a retired release back; which one is current stays as it is."""
        answer: Document = self.request("POST", f"/v1/releases/{part(release_id)}:unretire", {"reason": reason})
        return answer

    def release_changes(self, release_id: str) -> list[Document]:
        """Who published, scheduled, retired a release and took it back, newest first."""
        answer: list[Document] = self.request("GET", f"/v1/releases/{part(release_id)}/changes")
        return answer

    def diff_releases(self, before: str, after: str) -> Document:
        """What differs between two releases (`changes`), and which items it touches (`effects`)."""
        answer: Document = self.request("GET", f"/v1/releases/{part(before)}:diff", query={"to": after})
        return answer

    def list_diagrams(self) -> list[Document]:
        """All diagrams by name, each with its plan definitions in the order of the lanes."""
        answer: list[Document] = self.request("GET", "/v1/diagrams")
        return answer

    def create_diagrams(self, diagrams: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Save diagrams by name; returns those that are there already with other contents, and stay as they are."""
        known = {each["name"]: each for each in self.list_diagrams()}
        for name, diagram in diagrams.items():
            if name not in known:
                self.request("PUT", f"/v1/diagrams/{part(name)}", diagram)
        return [
            name
            for name, diagram in diagrams.items()
            if name in known and any(known[name].get(member) != value for member, value in diagram.items())
        ]
