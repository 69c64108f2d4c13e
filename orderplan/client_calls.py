"""What the groups of calls of the client share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

Document = dict[str, Any]


class WaitedTooLong(Exception):
    """An order (or job, as `what` says) had not ended when the time was over; `state` is where it stood."""

    def __init__(self, order_id: str, state: str, waited_s: float, *, what: str = "order") -> None:
        super().__init__(f"{what} {order_id} is still {state} after {waited_s:g} s")
        self.what = what
        self.order_id = order_id
        self.state = state


class Calls(ABC):
    """Sends requests; `orderplan.client.Client` says how."""

    _sleep: Callable[[float], object]
    _clock: Callable[[], float]

    @abstractmethod
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
        """The answer to one request."""


def part(text: str) -> str:
    return quote(text, safe="@~")
