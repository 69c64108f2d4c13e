"""A channel's listener: registers at the hub, answers every event, and tells of the sample orders as they change."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from orderplan.client import Client

HUB: Final = "/tmf-api/productOrderingManagement/v4/hub"
STATE_CHANGED: Final = "ProductOrderStateChangeEvent"
TOLD: Final = "mobile-"
"""External ids of the sample orders begin so; the others are only counted."""
HEAR_S: Final = 60.0
POLL_S: Final = 0.1
BODY_BYTES_MAX: Final = 8 * 1024 * 1024


class Listener:
    """Hears the state changes of orders while the `with` block runs; `say` is told of the samples."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """Nothing is heard yet."""
        self._say = say
        self._lock = threading.Lock()
        self._events: set[str] = set()
        self._states: dict[str, list[str]] = {}
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                if length <= BODY_BYTES_MAX:
                    listener.hear(json.loads(self.rfile.read(length)))
                self.send_response(204 if length <= BODY_BYTES_MAX else 413)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing of single requests."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="listener", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def register(self, client: Client) -> None:
        """Ask the hub for the state changes of all orders from now on."""
        callback = f"http://127.0.0.1:{self._server.server_port}/events"
        client.request("POST", HUB, {"callback": callback, "query": f"eventType={STATE_CHANGED}"})

    def hear(self, event: dict[str, Any]) -> None:
        """Take one event; one that comes twice counts once."""
        order = event["event"]["productOrder"]
        with self._lock:
            if event["eventId"] in self._events:
                return
            self._events.add(event["eventId"])
            self._states.setdefault(order["id"], []).append(order["state"])
        external_id = str(order.get("externalId", ""))
        if external_id.startswith(TOLD):
            self._say(f"the channel hears: {external_id} is {order['state']}")

    def heard_last(self, order_ids: Collection[str], state: str) -> int:
        """How many of the orders were heard of in that state last, once all of them were or the time is over."""
        until = time.monotonic() + HEAR_S
        while True:
            with self._lock:
                count = sum(self._states.get(each, [""])[-1] == state for each in order_ids)
            if count == len(order_ids) or time.monotonic() >= until:
                return count
            time.sleep(POLL_S)

    def events(self) -> int:
        """Events heard, each once."""
        with self._lock:
            return len(self._events)
