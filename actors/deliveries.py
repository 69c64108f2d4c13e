"""Sends what waits for listeners: in order for each order, several orders at once, again until it was taken.

All that has to outlive the process stands in the outbox (`persistence/hub.py`); here is only what is on its way. An
event is gone from the outbox after the listener has taken it, and only then is the next one of its order due.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Protocol

import structlog

from actors.ports import OutboxPort
from adapters.webhook import Answer
from domain.deliveries import COMPLAINTS
from persistence.consumers import ConsumerFenced
from persistence.database import is_unavailable
from persistence.hub import Delivery, Listener, Outcome

log = structlog.get_logger(__name__)

POLL_S: Final = 0.2
AT_ONCE: Final = 20
"""Events on their way to one listener."""
AT_ONCE_MAX: Final = 200
"""To all listeners."""


class Post(Protocol):
    """Sends one document (adapters/webhook.py)."""

    async def post(self, url: str, body: bytes) -> Answer: ...


class Deliveries:
    """The sender; one task owns its state, and calls put down what became of them."""

    def __init__(
        self,
        outbox: OutboxPort,
        post: Post,
        *,
        clock: Callable[[], datetime],
        failing_s: float = 86_400.0,
    ) -> None:
        self._outbox = outbox
        self._post = post
        self._clock = clock
        self._failing_s = failing_s
        self._wanted = asyncio.Event()
        self._calls: dict[tuple[str, str], asyncio.Task[None]] = {}
        """By listener and order: what is on its way, or answered and not noted yet."""
        self._outcomes: list[Outcome] = []
        self._first = 0
        self.epoch = 0
        self.delivered = 0
        self.failures = 0
        self.suspended = 0
        self.backlog = 0

    def wake(self) -> None:
        """Something new waits."""
        self._wanted.set()

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            ConsumerFenced: another notifier has started.
        """
        try:
            while True:
                try:
                    await self.step()
                except ConsumerFenced:
                    raise
                except Exception as error:
                    # Answers that are not noted yet are kept for the next round.
                    if is_unavailable(error):
                        log.warning("the database is away, no event is sent", error=type(error).__name__)
                    else:
                        log.exception("a round of deliveries failed; the next one goes on")
                    await asyncio.sleep(POLL_S)
                try:
                    async with asyncio.timeout(POLL_S):
                        await self._wanted.wait()
                except TimeoutError:
                    pass
        finally:
            for call in self._calls.values():
                call.cancel()

    async def step(self) -> None:
        """Note what was answered, and send what is due.

        Raises:
            ConsumerFenced: another notifier has started; nothing was noted.
        """
        self._wanted.clear()
        await self._settle()
        listeners = await self._outbox.listeners()
        self.backlog = sum(each.backlog for each in listeners)
        waiting = [each for each in listeners if each.backlog]
        # Another one comes first each time: whoever is slow must not take all places.
        self._first += 1
        for index in range(len(waiting)):
            await self._send(waiting[(self._first + index) % len(waiting)])

    async def _send(self, listener: Listener) -> None:
        now = self._clock()
        busy = [order_id for listener_id, order_id in self._calls if listener_id == listener.listener_id]
        places = min(listener.health.places(AT_ONCE, now) - len(busy), AT_ONCE_MAX - len(self._calls))
        if places <= 0:
            return
        for each in await self._outbox.due(listener.listener_id, now, busy, places):
            key = (each.listener_id, each.order_id)
            self._calls[key] = asyncio.get_running_loop().create_task(self._call(listener.callback, each))

    async def _call(self, url: str, delivery: Delivery) -> None:
        try:
            answer = await self._post.post(url, delivery.body)
        except Exception as error:
            # The order's place has to come free whatever happens; the event is tried again like any other.
            log.exception("an event could not be sent", listener_id=delivery.listener_id, event_id=delivery.event_id)
            answer = Answer(None, f"could not be sent: {type(error).__name__}")
        self._outcomes.append(Outcome(delivery, answer.error, answer.status in COMPLAINTS))
        self._wanted.set()

    async def _settle(self) -> None:
        if not self._outcomes:
            return
        outcomes = list(self._outcomes)
        suspended = await self._outbox.settle(self.epoch, outcomes, self._clock(), self._failing_s)
        del self._outcomes[: len(outcomes)]
        for each in outcomes:
            del self._calls[each.delivery.listener_id, each.delivery.order_id]
            if each.error:
                self.failures += 1
                log.info(
                    "a listener has not taken an event", listener_id=each.delivery.listener_id,
                    event_id=each.delivery.event_id, attempt=each.delivery.attempts + 1, error=each.error,
                )  # fmt: skip
            else:
                self.delivered += 1
        for listener_id in suspended:
            self.suspended += 1
            log.error("a listener has failed for too long and is suspended", listener_id=listener_id)

    async def answered(self) -> None:
        """Wait until every call that is on its way has come back."""
        await asyncio.gather(*self._calls.values())

    def stats(self) -> Mapping[str, Any]:
        """Counters for metrics."""
        return {
            "delivered": self.delivered,
            "failures": self.failures,
            "suspended": self.suspended,
            "backlog": self.backlog,
            "sending": len(self._calls),
        }
