"""Talks to a running orderplan over HTTP: a small blocking client on the standard library, for scripts and the command.

    with Client() as client:
        order = client.submit_order(document)
        print(client.wait_for_order(order["id"])["state"])

Connections are kept and shared: one client may be used by several threads at once. What is safe to repeat (reading, and
an order that carries a key) is repeated by the client itself when the server is busy or a connection breaks; everything
else is sent once, and a break says that its outcome is unknown.
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlencode, urlsplit

URL_DEFAULT: Final = "http://127.0.0.1:8080"
TMF622: Final = "/tmf-api/productOrderingManagement/v4/productOrder"
TMF637: Final = "/tmf-api/productInventory/v4/product"
ENDED_STATES: Final = frozenset({"completed", "rejected", "cancelled", "failed", "partial"})
"""States of an order that it never leaves."""

_REPEATS_MAX: Final = 3
_RETRY_AFTER_S_MAX: Final = 5.0
_PAGE: Final = 500
_OK: Final = range(200, 300)
Document = dict[str, Any]


class ApiError(Exception):
    """The server refused, or could not be asked; nothing was done unless `code` is `interrupted`.

    `status` is the HTTP status, 0 where no answer came. `path` names the offending field, `mend` says what to do.
    `facts` holds whatever else the answer said.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        path: str | None = None,
        mend: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.path = path
        self.mend = mend
        self.facts = dict(facts or {})

    def __str__(self) -> str:
        text = f"{self.path}: {self.detail}" if self.path else self.detail
        return f"{text} ({self.mend})" if self.mend else text


class WaitedTooLong(Exception):
    """An order had not ended when the time was over; `state` is where it stood."""

    def __init__(self, order_id: str, state: str, waited_s: float) -> None:
        super().__init__(f"order {order_id} is still {state} after {waited_s:g} s")
        self.order_id = order_id
        self.state = state


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, and how many there are in all."""

    items: list[Document]
    total: int


class Client:
    """A connection to one orderplan server."""

    def __init__(
        self,
        url: str = URL_DEFAULT,
        *,
        user: str | None = None,
        timeout_s: float = 60.0,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is connected yet.

        Args:
            url: where the server is.
            user: who acts; stands in the audit trail of what this client does.
            timeout_s: how long one answer may take.
            sleep: waits between tries and polls.
            clock: seconds that only grow.
        Raises:
            ApiError: the URL is none.
        """
        parts = urlsplit(url if "//" in url else f"http://{url}")
        try:
            port = parts.port
        except ValueError:
            port = 0
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.query or parts.fragment:
            raise ApiError(0, "badUrl", f"{url!r} is no address of a server", mend=f"write it as {URL_DEFAULT}")
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._port = port
        self._prefix = parts.path.rstrip("/")
        self._user = user
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._clock = clock
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections; the client may be used again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    # Orders.

    def submit_order(self, order: Mapping[str, Any], *, key: str | None = None) -> Document:
        """Send a TMF622 product order; returns it as it was stored, `acknowledged`, `pending` or `rejected`.

        With a `key`, or an `externalId` in the order, sending it again gives the first order back. Without either the
        client makes a key of its own, so that its repeats are harmless, and every call is another order.
        """
        if key is None and not order.get("externalId"):
            key = uuid.uuid4().hex
        headers = {"Idempotency-Key": key} if key is not None else {}
        answer: Document = self.request("POST", TMF622, order, headers=headers, is_repeatable=True)
        return answer

    def product_order(self, order_id: str) -> Document:
        """The order as its channel sees it (TMF622)."""
        answer: Document = self.request("GET", f"{TMF622}/{_part(order_id)}")
        return answer

    def list_orders(self, *, offset: int = 0, limit: int = 50, **filters: str) -> Page:
        """A page of product orders, newest first; filters as in TMF622: `state`, `externalId`, ..., and `fields`."""
        return self._page(TMF622, offset, limit, filters)

    def order(self, order_id: str) -> Document:
        """Where the order stands."""
        answer: Document = self.request("GET", f"/v1/orders/{_part(order_id)}")
        return answer

    def plan(self, order_id: str) -> Document:
        """The order's plan: lines, items, what waits for what."""
        answer: Document = self.request("GET", f"/v1/orders/{_part(order_id)}/plan")
        return answer

    def facts(self, order_id: str) -> list[Document]:
        """Everything that happened to the order, oldest first."""
        answer: list[Document] = self.request("GET", f"/v1/orders/{_part(order_id)}/facts")
        return answer

    def operate(
        self, order_id: str, item: str, action: str, reason: str, answer: Mapping[str, Any] | None = None
    ) -> Any:
        """Do `retry`, `skip` or `complete` with an item; the reason goes into the audit trail."""
        body: Document = {"reason": reason}
        if answer is not None:
            body["answer"] = answer
        return self.request(
            "POST",
            f"/v1/orders/{_part(order_id)}/items/{_part(item)}:{_part(action)}",
            body,
            headers={"Idempotency-Key": uuid.uuid4().hex},
        )

    def wait_for_order(self, order_id: str, *, timeout_s: float = 3600.0, poll_s: float = 0.3) -> Document:
        """The order once it has ended.

        Raises:
            WaitedTooLong: it had not when the time was over. An order that waits for a person ends only by them.
        """
        until = self._clock() + timeout_s
        while True:
            order = self.order(order_id)
            if order["state"] in ENDED_STATES:
                return order
            if self._clock() >= until:
                raise WaitedTooLong(order_id, order["state"], timeout_s)
            self._sleep(poll_s)

    # Manual tasks.

    def list_tasks(self, *, queue: str | None = None, is_free: bool = False, limit: int = 100) -> list[Document]:
        """Open tasks, most urgent first; `is_free` leaves out those that somebody holds."""
        query = {"queue": queue, "free": "true" if is_free else None, "limit": str(limit)}
        answer: list[Document] = self.request("GET", "/v1/tasks", query=query)
        return answer

    def task(self, task_id: str) -> Document:
        """One task, open or closed."""
        answer: Document = self.request("GET", f"/v1/tasks/{_part(task_id)}")
        return answer

    def claim_task(self, task_id: str, worker: str, lease_s: float | None = None) -> Document:
        """Take a task until the lease ends; the worker may take it again."""
        body: Document = {"worker": worker}
        if lease_s is not None:
            body["leaseS"] = lease_s
        return self._task(task_id, "claim", body)

    def release_task(self, task_id: str, worker: str) -> Document:
        """Give a task back."""
        return self._task(task_id, "release", {"worker": worker})

    def complete_task(self, task_id: str, worker: str, data: Mapping[str, Any] | None = None) -> Document:
        """Hand in the values of the task's form."""
        return self._task(task_id, "complete", {"worker": worker, "data": dict(data or {})})

    def _task(self, task_id: str, action: str, body: Document) -> Document:
        answer: Document = self.request("POST", f"/v1/tasks/{_part(task_id)}:{action}", body)
        return answer

    # Catalogue, systems, inventory.

    def list_releases(self) -> list[Document]:
        """Published releases, newest first."""
        answer: list[Document] = self.request("GET", "/v1/releases")
        return answer

    def release(self, release_id: str) -> Document:
        """A published release in its file form."""
        answer: Document = self.request("GET", f"/v1/releases/{_part(release_id)}")
        return answer

    def publish_release(self, release: Mapping[str, Any]) -> Document:
        """Check and publish a release; new orders take it from then on."""
        answer: Document = self.request("POST", "/v1/releases:publish", release)
        return answer

    def list_systems(self) -> list[Document]:
        """How this environment reaches its fulfilment systems."""
        answer: list[Document] = self.request("GET", "/v1/systems")
        return answer

    def put_system(self, code: str, adapter: str, config: Mapping[str, Any], concurrency: int = 50) -> Document:
        """Say how a system is reached."""
        body = {"adapter": adapter, "config": dict(config), "concurrency": concurrency}
        answer: Document = self.request("PUT", f"/v1/systems/{_part(code)}", body)
        return answer

    def import_inventory(self, products: Sequence[Mapping[str, Any]]) -> Document:
        """Load installed products (TMF637)."""
        answer: Document = self.request("POST", "/v1/inventory:import", {"products": list(products)})
        return answer

    def list_products(self, *, account: str | None = None, offset: int = 0, limit: int = 50) -> Page:
        """A page of installed products (TMF637)."""
        return self._page(TMF637, offset, limit, {"billingAccount.id": account} if account else {})

    def all_products(self, account: str | None = None) -> Iterator[Document]:
        """Every installed product, page by page."""
        offset = 0
        while True:
            page = self.list_products(account=account, offset=offset, limit=_PAGE)
            yield from page.items
            offset += len(page.items)
            if not page.items or offset >= page.total:
                return

    def cluster(self) -> Document:
        """Orders per state, and counters of the cluster's actors."""
        answer: Document = self.request("GET", "/v1/cluster")
        return answer

    # One request.

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str | None] | None = None,
        headers: Mapping[str, str] | None = None,
        is_repeatable: bool | None = None,
    ) -> Any:
        """Send one request; returns the decoded answer.

        Args:
            method: GET, POST, PUT or DELETE.
            path: below the server's URL, starting with a slash; its parts percent-encoded.
            body: sent as JSON unless it is None.
            query: members without a value are left out.
            headers: besides those that every request has.
            is_repeatable: whether it may be sent again; None: reading and putting may.
        Raises:
            ApiError: the server refused (its own code and status), could not be reached (`unreachable`), or the
                connection broke before the answer (`interrupted`).
        """
        return self._send(method, path, body, query, headers, is_repeatable)[1]

    def _page(self, path: str, offset: int, limit: int, filters: Mapping[str, str | None]) -> Page:
        query = {"offset": str(offset), "limit": str(limit), **filters}
        headers, items = self._send("GET", path, None, query, None, None)
        return Page(items, int(headers.get("X-Total-Count") or len(items)))

    def _send(
        self,
        method: str,
        path: str,
        body: Any,
        query: Mapping[str, str | None] | None,
        headers: Mapping[str, str] | None,
        is_repeatable: bool | None,
    ) -> tuple[Mapping[str, str], Any]:
        raw = None if body is None else json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        sent = {"Accept": "application/json", **(headers or {})}
        if raw is not None:
            sent["Content-Type"] = "application/json"
        if self._user:
            sent["X-User"] = quote(self._user, safe=" @+,;:=/()")
        given = {name: value for name, value in (query or {}).items() if value is not None}
        target = f"{self._prefix}{path}{'?' + urlencode(given) if given else ''}"
        may_repeat = method in ("GET", "PUT") if is_repeatable is None else is_repeatable
        for attempt in range(_REPEATS_MAX + 1):
            is_last = attempt == _REPEATS_MAX
            try:
                status, answered, content = self._once(method, target, raw, sent)
            except ApiError as error:
                if error.code == "interrupted" and may_repeat and not is_last:
                    continue
                raise
            if status == 503 and may_repeat and not is_last:
                self._sleep(_pause_s(answered.get("Retry-After")))
                continue
            if status not in _OK:
                raise _refusal(status, content)
            return answered, _decoded(status, content)
        raise AssertionError("the last attempt returns or raises")

    def _once(
        self, method: str, target: str, raw: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        connection = self._connected()
        try:
            connection.request(method, target, raw, dict(headers))
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            what = "no answer came in time" if isinstance(error, TimeoutError) else "the connection broke"
            raise ApiError(
                0,
                "interrupted",
                f"{what} ({self.url}); whether it was done is unknown",
                mend="look before you send it again; an order with the same key or externalId may be sent again",
            ) from error
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)
        return response.status, dict(response.headers.items()), content

    def _connected(self) -> http.client.HTTPConnection:
        """A connection that is open: an idle one that the server has not closed, else a new one."""
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                break
            if connection.sock is not None and not _is_readable(connection.sock):
                return connection
            connection.close()
        make = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = make(self._host, self._port, timeout=self._timeout_s)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise ApiError(
                0,
                "unreachable",
                f"no orderplan answers at {self.url} ({error.strerror or error})",
                mend="start one with `orderplan up`, or name another with --url or ORDERPLAN_URL",
            ) from error
        assert connection.sock is not None
        # Small requests leave at once instead of waiting for the answer to the one before.
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def _is_readable(sock: socket.socket) -> bool:
    """Whether an idle connection has something to read: then the server has closed it."""
    waiting = select.poll()
    waiting.register(sock, select.POLLIN)
    return bool(waiting.poll(0))


def _part(text: str) -> str:
    return quote(text, safe="@~")


def _pause_s(retry_after: str | None) -> float:
    try:
        return min(max(float(retry_after or 1.0), 0.0), _RETRY_AFTER_S_MAX)
    except ValueError:
        return 1.0


def _decoded(status: int, content: bytes) -> Any:
    if not content.strip():
        return None
    try:
        return json.loads(content)
    except ValueError as error:
        raise _foreign(status) from error


def _foreign(status: int) -> ApiError:
    return ApiError(
        status, "foreignAnswer", f"the answer ({status}) is not orderplan's", mend="check the address of the server"
    )


def _refusal(status: int, content: bytes) -> ApiError:
    """The error in the form of a native route (RFC 9457) or of a TM Forum route (TMF630)."""
    try:
        body = json.loads(content)
    except ValueError:
        return _foreign(status)
    if not isinstance(body, dict) or not ({"type", "code"} & body.keys()):
        return _foreign(status)
    if "type" in body:
        known = ("type", "title", "status", "detail", "path", "mend")
        return ApiError(
            status,
            str(body["type"]).rpartition(":")[2],
            str(body.get("detail", "")),
            body.get("path"),
            body.get("mend"),
            {name: value for name, value in body.items() if name not in known},
        )
    problems = body.get("problems") or []
    path = problems[0].get("path") if problems and isinstance(problems[0], dict) else None
    reason = str(body.get("reason", ""))
    # TMF630 has no member for what to do: it stands in brackets at the end of the message.
    start = f"{path}: {reason} (" if path else f"{reason} ("
    message = str(body.get("message", ""))
    mend = message[len(start) : -1] if message.startswith(start) and message.endswith(")") else None
    facts = {name: value for name, value in body.items() if name in ("problems", "problemsTotal")}
    return ApiError(status, str(body["code"]), reason, path, mend, facts)
