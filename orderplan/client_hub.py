"""The client's calls of the hub: who hears of the channel's orders."""

from __future__ import annotations

from typing import Final

from orderplan.client_calls import Calls, Document, part

HUB: Final = "/tmf-api/productOrderingManagement/v4/hub"


class HubCalls(Calls):
    """Listeners of order and line state changes."""

    def register_listener(self, callback: str, query: str = "") -> Document:
        """Have events posted to an address from now on; asking for the same again gives the same listener."""
        body = {"callback": callback} | ({"query": query} if query else {})
        answer: Document = self.request("POST", HUB, body)
        return answer

    def unregister_listener(self, listener_id: str) -> None:
        """Send nothing more to a listener; what waits for it is dropped."""
        self.request("DELETE", f"{HUB}/{part(listener_id)}")

    def list_listeners(self) -> list[Document]:
        """All listeners, what waits for each, and how their last attempts went."""
        answer: list[Document] = self.request("GET", "/v1/hub-listeners")
        return answer

    def resume_listener(self, listener_id: str) -> Document:
        """Send to a listener again at once, with what has waited."""
        answer: Document = self.request("POST", f"/v1/hub-listeners/{part(listener_id)}:resume")
        return answer
