"""Follows the stream of facts of a server, and resumes by itself where it was cut off."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from orderplan.transport import ApiError

SILENCE_MAX_S: Final = 40.0
"""The server says something at least every 15 s; after so long without a word the connection is given up."""
PAUSES_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Waits between attempts to connect again; the last one repeats."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event. `place` is where to resume, as far as it is known: that of the last batch that came whole."""

    place: str | None
    event: str
    data: Mapping[str, Any]


def follow(
    url: str,
    *,
    last_event_id: str | None = None,
    filters: Mapping[str, str] | None = None,
    attempts_max: int | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> Generator[StreamEvent]:
    """Events for ever; after a resume some may come twice, with the same `id` in their data.

    Args:
        url: of the server.
        last_event_id: where to begin; None: now.
        filters: `order`, `account`, `kinds`.
        attempts_max: connections that may fail in a row; None: any number.
        sleep: waits so many seconds.
    Raises:
        ApiError: the server refuses the request, or cannot be reached so many times in a row.
    """
    place = last_event_id
    failures = 0
    address = f"{url}/v1/stream" + (f"?{urlencode(filters)}" if filters else "")
    while True:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": place} if place else {})
        try:
            request = urllib.request.Request(address, headers=headers)
            with urllib.request.urlopen(request, timeout=SILENCE_MAX_S) as answer:
                event, data = "", ""
                for raw in answer:
                    failures = 0
                    line = raw.decode().rstrip("\n")
                    name, _, value = line.partition(": ")
                    if name == "id":
                        place = value
                    elif name == "event":
                        event = value
                    elif name == "data":
                        data = value
                    elif not line and data:
                        yield StreamEvent(place, event, json.loads(data))
                        data = ""
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise _refusal(error) from error
        except (OSError, http.client.HTTPException) as error:
            if attempts_max is not None and failures + 1 >= attempts_max:
                raise ApiError(0, "unreachable", f"{url} cannot be reached: {error}") from error
        failures += 1
        sleep(PAUSES_S[min(failures, len(PAUSES_S)) - 1])


def _refusal(error: urllib.error.HTTPError) -> ApiError:
    try:
        body = json.loads(error.read())
    except ValueError:
        body = {}
    detail = body.get("detail") or f"the server answered {error.code}"
    return ApiError(error.code, str(body.get("type", "refused")), detail, body.get("path"), body.get("mend"))
