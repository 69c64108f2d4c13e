"""Requests and answers as JSON over kept HTTP connections, and the error that a refusal becomes."""

from __future__ import annotations

import http.client
import json
import select
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

URL_DEFAULT: Final = "http://127.0.0.1:8080"

_REPEATS_MAX: Final = 3
_RETRY_AFTER_S_MAX: Final = 5.0
_OK: Final = range(200, 300)


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


def user_header(user: str) -> str:
    """Who acts, as the header X-User has it."""
    return quote(user, safe=" @+,;:=/()")


class Transport:
    """Sends requests to one server; may be used by several threads at once, each request on a connection of its own."""

    def __init__(self, url: str, *, user: str | None, timeout_s: float, sleep: Callable[[float], object]) -> None:
        """Nothing is connected yet.

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
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the connections; the client may be used again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str | None] | None = None,
        headers: Mapping[str, str] | None = None,
        is_repeatable: bool | None = None,
    ) -> tuple[Mapping[str, str], Any]:
        """(headers, decoded body) of the answer; see `Client.request`. Bytes are lines of JSON, and sent as they are.

        Raises:
            ApiError: the server refused, could not be reached, or the connection broke before the answer.
        """
        try:
            raw = body if body is None or isinstance(body, bytes) else _encoded(body)
        except ValueError as error:
            raise ApiError(0, "notSendable", "a number is infinite or none at all", mend="give a finite one") from error
        sent = {"Accept": "application/json", **(headers or {})}
        if raw is not None:
            sent["Content-Type"] = "application/x-ndjson" if isinstance(body, bytes) else "application/json"
        if self._user:
            sent["X-User"] = user_header(self._user)
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
                raise refusal_of(status, content)
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
            raise unreachable(self.url, error) from error
        assert connection.sock is not None
        # Small requests leave at once instead of waiting for the answer to the one before.
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def unreachable(url: str, error: OSError) -> ApiError:
    """The error of a connection that could not be made."""
    return ApiError(
        0,
        "unreachable",
        f"no orderplan answers at {url} ({error.strerror or error})",
        mend="start one with `orderplan up`, or name another with --url or ORDERPLAN_URL",
    )


def _is_readable(sock: socket.socket) -> bool:
    """Whether an idle connection has something to read: then the server has closed it."""
    waiting = select.poll()
    waiting.register(sock, select.POLLIN)
    return bool(waiting.poll(0))


def _pause_s(retry_after: str | None) -> float:
    try:
        return min(max(float(retry_after or 1.0), 0.0), _RETRY_AFTER_S_MAX)
    except ValueError:
        return 1.0


def _encoded(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()


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


def refusal_of(status: int, content: bytes) -> ApiError:
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
