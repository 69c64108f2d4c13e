"""What waits for a host's next tick: what orders under way need goes first, new orders take what is left.

Results, timers and people move orders that were acknowledged; under a flood of new ones they must not wait behind it.
So new orders have a queue of their own, of which a tick takes a bounded part, and one that would wait for too long is
refused at once (`actors/pace.py`): what was accepted is finished at full pace, and no more is accepted than that.
Among themselves they go by their priority, and one is judged by those that it does not overtake. Orders that came in
bulk take the part that is left of it, and wait for as long as it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Final

from actors.classes import Classes
from actors.envelopes import Envelope, ImportAssets, Submission
from actors.pace import Pace
from domain.errors import Busy

INBOX_MAX: Final = 20_000
ORDERS_MAX: Final = 10_000
TOGETHER_MAX: Final = 500
"""New orders go into a tick up to this size: where results alone fill it, as many orders end as begin, and what is
under way does not grow.
"""
ORDERS_A_TICK_MIN: Final = 10
"""So many are taken whatever waits before them."""
BULK_MAX: Final = 5_000
"""Orders of those sent in bulk; their sender waits and comes again."""
BULK_A_TICK_MIN: Final = 2
"""So many are taken however many others wait: a bulk must not stand still for as long as there is a flood."""


class Inbox:
    """Three bounded queues; `clock` is that of the event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._first: list[Envelope] = []
        self._orders: Classes[Envelope] = Classes()
        self._bulk: Classes[Envelope] = Classes()
        self._pace = Pace()

    def __len__(self) -> int:
        return len(self._first) + len(self._orders) + len(self._bulk)

    def __iter__(self) -> Iterator[Envelope]:
        return chain(self._first, self._orders, self._bulk)

    def put(self, envelope: Envelope) -> None:
        """Put one envelope at the end of its queue.

        Raises:
            Busy: its queue is full, or a new order would wait for too long.
        """
        if isinstance(envelope, ImportAssets) and envelope.is_bulk:
            self._put_bulk(envelope)
            return
        if not isinstance(envelope, Submission):
            if len(self._first) >= INBOX_MAX:
                raise Busy("the host's inbox is full", retryAfterS=1)
            self._first.append(envelope)
            return
        if envelope.is_bulk:
            self._put_bulk(envelope)
            return
        now = self._clock()
        if len(self._orders) >= ORDERS_MAX:
            raise Busy("the host's inbox is full", retryAfterS=1)
        class_ = envelope.class_
        self._pace.admit(now, "orders", self._orders.ahead_of(class_))
        self._pace.joined(now)
        self._orders.append(envelope, class_)

    def _put_bulk(self, envelope: Submission | ImportAssets) -> None:
        if len(self._bulk) >= BULK_MAX:
            raise Busy("the host has bulk orders enough", retryAfterS=1)
        self._bulk.append(envelope, envelope.class_)

    def put_first(self, envelopes: Iterable[Envelope]) -> None:
        """Put what the host itself has to do before everything else."""
        self._first[:0] = envelopes

    def put_back(self, envelopes: list[Envelope]) -> None:
        """Put what a tick has left to the head of its queue, in its order; beyond the bound by a batch at most."""
        orders = [each for each in envelopes if isinstance(each, Submission) and not each.is_bulk]
        bulk = [each for each in envelopes if isinstance(each, Submission | ImportAssets) and each.is_bulk]
        behind = {id(each) for each in (*orders, *bulk)}
        self._first[:0] = [each for each in envelopes if id(each) not in behind]
        self._orders.appendleft((each, each.class_) for each in orders)
        self._bulk.appendleft((each, each.class_) for each in bulk)
        self._pace.returned(len(orders))

    def take(self, count_max: int) -> tuple[list[Envelope], list[Envelope]]:
        """What the next tick is to decide: what goes first, then new orders."""
        first, self._first = self._first[:count_max], self._first[count_max:]
        share = max(ORDERS_A_TICK_MIN, TOGETHER_MAX - len(first))
        orders = self._orders.take(share)
        self._pace.left(self._clock(), len(orders))
        rest = max(BULK_A_TICK_MIN, share - len(orders))
        bulk = self._bulk.take(rest)
        # The least that they get comes first: a tick may have work enough before its end.
        return first, bulk[:BULK_A_TICK_MIN] + orders + bulk[BULK_A_TICK_MIN:]

    def clear(self) -> None:
        """Forget everything."""
        self._pace.left(self._clock(), len(self._orders))
        self._first.clear()
        self._orders.clear()
        self._bulk.clear()
