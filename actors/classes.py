"""Queues in which what is urgent overtakes, used wherever orders or their calls wait: at a sender, in a host's inbox,
before a system.

An order's class is its priority: high, normal or low. The most urgent that waits goes first, and a class keeps its
order. A stream of urgent orders slows others down and never stops them: where they are taken one by one, the first of
a class has its turn when enough have overtaken it; where many are taken together, one is of each class that waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Generic, TypeVar

from domain.priorities import HIGH

T = TypeVar("T")

PASSED_MAX: Final = 9
"""So many of higher classes go before the first of a lower one has its turn all the same."""


class Classes(Generic[T]):
    """Three queues in one."""

    def __init__(self) -> None:
        self._queues: tuple[deque[T], ...] = (deque(), deque(), deque())
        self._passed = [0, 0, 0]
        """How many went before the first of each class since the last of that class did."""

    def __len__(self) -> int:
        return sum(map(len, self._queues))

    def __bool__(self) -> bool:
        return any(self._queues)

    def __iter__(self) -> Iterator[T]:
        for queue in self._queues:
            yield from queue

    def ahead_of(self, class_: int) -> int:
        """How many wait that one of this class would not overtake."""
        return sum(len(queue) for queue in self._queues[:class_])

    def append(self, entry: T, class_: int) -> None:
        """Put an entry last in its class."""
        self._queues[class_ - HIGH].append(entry)

    def appendleft(self, entries: Iterable[tuple[T, int]]) -> None:
        """Put entries back where they came from: in their order, each first in its class."""
        for entry, class_ in reversed([*entries]):
            self._queues[class_ - HIGH].appendleft(entry)

    def first(self) -> T:
        """Whose turn it is: what `popleft` would give.

        Raises:
            IndexError: nobody waits.
        """
        return self._queues[self._turn()][0]

    def popleft(self) -> T:
        """Take whose turn it is.

        Raises:
            IndexError: nobody waits.
        """
        turn = self._turn()
        entry = self._queues[turn].popleft()
        self._passed[turn] = 0
        for lower in range(turn + 1, len(self._queues)):
            self._passed[lower] += bool(self._queues[lower])
        return entry

    def take(self, count: int) -> list[T]:
        """Take as many as there are, at most so many: one of each lower class that waits, then the most urgent.

        The former come first, since who takes many may put the end of them back: so every handful brings each class on.
        """
        waiting = [queue for queue in self._queues if queue]
        taken = [queue.popleft() for queue in reversed(waiting[1:])] if count >= len(waiting) else []
        for queue in waiting:
            taken.extend(queue.popleft() for _ in range(min(count - len(taken), len(queue))))
        return taken

    def _turn(self) -> int:
        waiting = [index for index, queue in enumerate(self._queues) if queue]
        if not waiting:
            raise IndexError("nobody waits")
        return next((index for index in reversed(waiting) if self._passed[index] >= PASSED_MAX), waiting[0])

    def keep(self, is_kept: Callable[[T], bool]) -> None:
        """Drop the others."""
        self._queues = tuple(deque(each for each in queue if is_kept(each)) for queue in self._queues)

    def clear(self) -> None:
        """Drop all."""
        self.keep(lambda _entry: False)
