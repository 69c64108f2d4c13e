"""The way of a dedicated plan's bookings to its account's host (`domain/placement.py`).

Each order's bookings travel one at a time and in their order: the account must not learn of a later change before an
earlier one. One that was not confirmed is sent again; the account's host recognises it by its number. What is waiting
here when the process dies is taken up by the next owner, from the plan's own state.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog

from actors.envelopes import BookAssets
from actors.routing import HostClient
from domain.errors import OrderplanError

log = structlog.get_logger(__name__)

RETRY_S: Final = 0.5


class Bookings:
    """Sends bookings; `confirmed` is called with (order id, number), `refused` with (order id, reason)."""

    def __init__(
        self, hosts: HostClient, confirmed: Callable[[str, int], None], refused: Callable[[str, str], None]
    ) -> None:
        self._hosts = hosts
        self._confirmed = confirmed
        self._refused = refused
        self._waiting: dict[str, deque[BookAssets]] = {}
        """Order -> its bookings, the first of which is under way. Bounded by the lines of the few dedicated plans."""

    def send(self, bookings: Sequence[BookAssets]) -> None:
        """Take bookings; see `BookingPort.send`."""
        for booking in bookings:
            waiting = self._waiting.get(booking.order_id)
            if waiting is None:
                self._waiting[booking.order_id] = deque([booking])
                self._post(booking)
            else:
                waiting.append(booking)

    def forget(self, keep: Callable[[str], bool]) -> None:
        """See `BookingPort.forget`; an answer that is still on its way is then nobody's."""
        for order_id in [order_id for order_id in self._waiting if not keep(order_id)]:
            del self._waiting[order_id]

    def _post(self, booking: BookAssets) -> None:
        waiting = self._waiting.get(booking.order_id)
        if waiting is not None and waiting[0] is booking:
            self._hosts.post("receive_reports", booking.shard, booking, lambda answer: self._answered(booking, answer))

    def _answered(self, booking: BookAssets, answer: Any) -> None:
        waiting = self._waiting.get(booking.order_id)
        if waiting is None or waiting[0] is not booking:
            return
        if isinstance(answer, OrderplanError) and answer.status >= 500:
            asyncio.get_running_loop().call_later(RETRY_S, self._post, booking)
            return
        if isinstance(answer, OrderplanError):
            # Sent again on the next adoption; until then a person sees the reason with the order.
            log.error("a booking is refused", order_id=booking.order_id, number=booking.number, code=answer.code)
            self._refused(booking.order_id, f"the account cannot book what was delivered: {answer.reason}")
            del self._waiting[booking.order_id]
            return
        waiting.popleft()
        if booking.number:
            self._confirmed(booking.order_id, booking.number)
        if waiting:
            self._post(waiting[0])
        else:
            del self._waiting[booking.order_id]
