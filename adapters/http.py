"""Calls a fulfilment system over HTTP: one request a task, JSON both ways.

The task's key travels as `Idempotency-Key`, so that a system that honours it does repeated work once. Nothing is
repeated in here: what may be tried again, and when, is the item's retry policy, and two layers of retries multiply.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

import aiohttp
import orjson
from multidict import CIMultiDict
from pydantic import AfterValidator, Field
from yarl import URL

from adapters.config import Config, read_config, utc_now
from adapters.interface import Adapter, Outcome, Task
from adapters.storable import SIZE_MAX, storable

REASON_LENGTH_MAX: Final = 300
_KEEPALIVE_S: Final = 4.0
"""Shorter than the 5 s after which many servers close an idle connection. A server that closes one in the moment it is
used again costs the task an attempt, for a POST cannot be repeated unasked."""
_RETRYABLE: Final = frozenset({408, 425, 429})
_REASON_MEMBERS: Final = ("reason", "detail", "message")
_FIELDS: Final = {
    "tenant": "tenant",
    "orderId": "order_id",
    "item": "item",
    "name": "name",
    "system": "system",
    "operation": "operation",
    "attempt": "attempt",
}
"""What a path may name, and the attribute of a task that it stands for."""
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_HEADER_SAFE: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_OWN_HEADERS: Final = frozenset(
    {
        "idempotency-key",
        "x-order-id",
        "x-item",
        "x-callback-url",
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
    }
)


def _base_url(text: str) -> str:
    try:
        url = URL(text)
        is_complete = url.scheme in {"http", "https"} and bool(url.host) and url.port != 0
    except ValueError:
        is_complete = False
    if not is_complete:
        raise ValueError("is no address such as https://billing.example/api")
    if url.user is not None or url.password is not None:
        raise ValueError("holds a user or password: put them into headers, as Authorization")
    if url.query_string or url.fragment or "?" in text or "#" in text:
        raise ValueError("holds a query or fragment: put a query into path")
    return str(url).rstrip("/")


def _path_template(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError('must start with "/"')
    if unknown := [name for name in _PLACEHOLDER.findall(text) if name not in _FIELDS]:
        raise ValueError(f"names {{{unknown[0]}}}: a path may name {', '.join(f'{{{name}}}' for name in _FIELDS)}")
    rest = _PLACEHOLDER.sub("", text)
    if "{" in rest or "}" in rest:
        raise ValueError("has a brace without its partner")
    if not rest.isascii() or not rest.isprintable() or " " in rest or "#" in rest:
        raise ValueError("holds characters that must be percent-encoded")
    return text


def _header_lines(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is no header name")
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"{name} is set by the adapter itself")
        if not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"the value of {name} holds characters that no header may hold")
    return headers


def _dotted_path(text: str) -> str:
    if not all(text.split(".")):
        raise ValueError("must be names joined by dots, such as result.data")
    return text


class HttpConfig(Config):
    """How to reach one system. `connections` bounds how many calls are open at once, `body_limit` an answer's bytes."""

    url: Annotated[str, AfterValidator(_base_url)]
    path: Annotated[str, AfterValidator(_path_template)] = "/{operation}"
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    headers: Annotated[dict[str, str], AfterValidator(_header_lines)] = Field(default_factory=dict)
    connections: int = Field(default=100, ge=1, le=10_000)
    response_path: Annotated[str, AfterValidator(_dotted_path)] | None = None
    body_limit: int = Field(default=1_000_000, ge=1, le=SIZE_MAX)


class HttpAdapter(Adapter):
    """Sends each task as one HTTP request over a pool of connections of its own.

    What the answer's status means: 2xx is done, 202 is taken (the result comes by callback), 408, 425, 429 and 5xx may
    be tried again, all others refuse for good. Redirects are not followed: an address that moved is for a person.

    Args:
        config: members of `HttpConfig` in camelCase; only `url` has no default.
        clock: gives the present as an aware datetime.
    Raises:
        BadDocument: the configuration is wrong; its path is that of the member, `config.url`.
    """

    def __init__(self, config: Mapping[str, Any], *, clock: Callable[[], datetime] = utc_now) -> None:
        self._config = read_config(HttpConfig, config)
        self._clock = clock
        self._headers = CIMultiDict({"Content-Type": "application/json", "Accept": "application/json"})
        for name, value in self._config.headers.items():
            self._headers[name] = value
        self._steps = tuple(self._config.response_path.split(".")) if self._config.response_path else ()
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def perform(self, task: Task) -> Outcome:
        """Call the system and wait for its answer until `task.deadline_at`."""
        remaining_s = (task.deadline_at - self._clock()).total_seconds()
        if remaining_s <= 0:
            return Outcome.retryable("the deadline had passed before the call was made", "timeout")
        if self._is_closed:
            return Outcome.retryable("the adapter is closed", "connection")
        try:
            body = orjson.dumps(task.payload, default=_plain, option=orjson.OPT_NON_STR_KEYS)
        except TypeError as error:
            return Outcome.failed(f"the payload cannot be sent as JSON: {error}", "badPayload")
        try:
            async with asyncio.timeout(remaining_s):
                return await self._call(task, body)
        except TimeoutError:
            return Outcome.retryable("no answer came before the deadline", "timeout")
        except aiohttp.ClientResponseError as error:
            return Outcome.retryable(_cut(f"the answer is no HTTP: {error.message}"), "badAnswer")
        except (aiohttp.ClientError, OSError) as error:
            return Outcome.retryable(_cut(f"no connection: {str(error) or type(error).__name__}"), "connection")

    async def close(self) -> None:
        """Close all connections; calls still open end as lost connections."""
        self._is_closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _call(self, task: Task, body: bytes) -> Outcome:
        async with self._open_session().request(
            self._config.method,
            self._url_of(task),
            data=body,
            headers=self._headers_of(task),
            allow_redirects=False,
        ) as response:
            # A body that is left unread drops its connection.
            return self._outcome_of(response.status, await _read(response, self._config.body_limit))

    def _open_session(self) -> aiohttp.ClientSession:
        # Made at the first call: a session belongs to the loop that runs, and an adapter may be built without one.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._config.connections, keepalive_timeout=_KEEPALIVE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                # The deadline of the task is the only limit.
                timeout=aiohttp.ClientTimeout(),
            )
        return self._session

    def _url_of(self, task: Task) -> URL:
        path = _PLACEHOLDER.sub(lambda found: _segment(getattr(task, _FIELDS[found[1]])), self._config.path)
        return URL(self._config.url + path, encoded=True)

    def _headers_of(self, task: Task) -> CIMultiDict[str]:
        headers = CIMultiDict(self._headers)
        headers["Idempotency-Key"] = _header_text(task.key)
        headers["X-Order-Id"] = _header_text(task.order_id)
        headers["X-Item"] = _header_text(task.item)
        if task.callback_url is not None:
            headers["X-Callback-Url"] = task.callback_url
        return headers

    def _outcome_of(self, status: int, body: bytes | None) -> Outcome:
        """What an answer means; a `body` of None was longer than the limit."""
        if status == 202:
            return Outcome.accepted()
        if 200 <= status < 300:
            return self._completed(status, body)
        reason = _reason_in(body) or f"answered {status}"
        if status in _RETRYABLE or status >= 500:
            return Outcome.retryable(reason, str(status))
        if 300 <= status < 400:
            reason = f"answered {status}: redirects are not followed"
        return Outcome.failed(reason, str(status))

    def _completed(self, status: int, body: bytes | None) -> Outcome:
        if body is None:
            limit = self._config.body_limit
            return Outcome.retryable(f"answered {status} with a body of more than {limit} bytes", "badAnswer")
        if not body.strip():
            return Outcome.completed()
        try:
            answer = _decoded(body)
        except ValueError:
            return Outcome.retryable(f"answered {status} with a body that is no JSON", "badAnswer")
        for step in self._steps:
            try:
                answer = answer[int(step)] if isinstance(answer, list) else answer[step]
            except (LookupError, TypeError, ValueError):
                error = f"answered {status} with a body that has no {self._config.response_path}"
                return Outcome.retryable(error, "badAnswer")
        return Outcome.completed(answer if isinstance(answer, dict) else {"value": answer})


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """The whole body, or None when it is longer than `limit` bytes; no more than a chunk beyond that is held."""
    if response.content_length is not None and response.content_length > limit:
        return None
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _decoded(body: bytes) -> Any:
    """The JSON value of a body.

    The standard library's reader keeps the digits of long integers (an ICCID sent as a number has 19 or 20) and lets
    NaN and lone surrogates pass, which `storable` replaces; orjson would round the first and refuse the others.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _reason_in(body: bytes | None) -> str:
    """Why the system refuses, in its own words; empty when it gives none."""
    try:
        document = _decoded(body) if body else None
    except ValueError:
        return ""
    if not isinstance(document, dict):
        return ""
    for name in _REASON_MEMBERS:
        reason = document.get(name)
        if isinstance(reason, str) and reason.strip():
            # Cut first: a reason may be as long as the whole body.
            text: str = storable(_cut(reason.strip()))
            return text
    return ""


def _header_text(text: str) -> str:
    """The text as a header may carry it: what is not visible ASCII, and `%`, is percent-encoded.

    Different texts stay different, which an idempotency key needs.
    """
    if text.isascii() and text.isprintable() and "%" not in text:
        return text
    return quote(text, safe=_HEADER_SAFE, errors="replace")


def _segment(value: object) -> str:
    """A task's value as one segment of a path: it can neither end the segment nor climb out of it."""
    text = quote(str(value), safe="", errors="replace")
    return text.replace(".", "%2E") if text in {".", ".."} else text


def _plain(value: object) -> object:
    """What orjson cannot write by itself: mappings that are no dict, and exact numbers, which go as text."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _cut(text: str) -> str:
    return text[:REASON_LENGTH_MAX]
