"""Simulated people: queues of manual tasks, who works on them, and who mends what has failed for good."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from delay.histories.calendar import OFFICE_HOURS
from delay.histories.chance import Chance
from delay.histories.orders import QuietProtector, order_of
from delay.histories.settings import START, Desk, Sample, Settings
from delay.histories.systems import factor_of
from delay.snapshot import USUAL_S
from domain.catalogue import ItemType
from domain.intake import accept
from domain.inventory import Account
from domain.items import ItemRun
from domain.release import ItemDef
from domain.turn import Turn, holds

FIRST: Final = 0
"""Before every priority that an order can have."""
WORK_SHARE: Final = 0.1
"""Of a task's planned duration is work; the rest is waiting for somebody."""
WORK_S_MIN: Final = 900.0
WORK_S_MAX: Final = 4 * 3600.0
WORK_SPREAD: Final = 0.4
REPAIR_WORK_S: Final = 2 * 3600.0
REPAIR_SPREAD: Final = 0.7
_FILLED_IN: Final[Mapping[str, Any]] = {"string": "simulated", "integer": 1, "number": 1.0, "boolean": True}


class Task(NamedTuple):
    """A task in a queue; the smallest is the next: by priority, then by age."""

    priority: int
    ready_at: datetime
    number: int
    order_id: str
    item: str


class Queue:
    """The tasks of one queue that nobody has taken, and the people who have nothing to do."""

    def __init__(self, code: str, desk: Desk, workers: int) -> None:
        self.code = code
        self.hours = desk.hours
        self.workers = workers
        self.opens_at: datetime | None = None
        """When somebody looks at it next, if that is planned."""
        self._free = [f"{code}-{number}" for number in range(1, workers + 1)]
        self._waiting: list[Task] = []

    def put(self, task: Task) -> None:
        """A task to be done."""
        heapq.heappush(self._waiting, task)

    def come_back(self, worker: str) -> None:
        """Somebody has done a task."""
        heapq.heappush(self._free, worker)

    def expedite(self, order_id: str) -> None:
        """Put the tasks of an order before all others."""
        self._waiting = [
            task._replace(priority=FIRST) if task.order_id == order_id else task for task in self._waiting
        ]
        heapq.heapify(self._waiting)

    @property
    def is_waited_for(self) -> bool:
        """Whether there are tasks in it."""
        return bool(self._waiting)

    def taken(self) -> Iterator[tuple[str, Task]]:
        """Who takes which task now, until either is used up; the worker of one that is gone is to come back."""
        while self._waiting and self._free:
            yield heapq.heappop(self._free), heapq.heappop(self._waiting)


class People:
    """The queues of a simulated world, and how long people take."""

    def __init__(self, settings: Settings, samples: Sequence[Sample], chance: Chance) -> None:
        self._settings = settings
        self._chance = chance
        self._work_s: dict[str, float] = {}
        self.repair_hours = OFFICE_HOURS
        demand_s = self._demand_s(samples)
        self.queues = {
            code: Queue(code, desk, desk.workers if desk.workers is not None else self._needed(desk, demand_s[code]))
            for code in sorted(demand_s)
            for desk in [settings.desks.get(code, Desk())]
        }

    def _demand_s(self, samples: Sequence[Sample]) -> dict[str, float]:
        """Seconds of work that each queue gets in an average week."""
        weekly = self._settings.orders / self._settings.days * 7
        whole = sum(sample.weight for sample in samples)
        demand_s = {queue.code: 0.0 for sample in samples for queue in sample.release.source.queues}
        for sample in samples:
            for item in _manual_items(sample):
                queue = definition_of(item).source.queue or ""
                work_s = self._median_s(definition_of(item)) * math.exp(WORK_SPREAD**2 / 2)
                demand_s[queue] += weekly * sample.weight / whole * work_s
        return demand_s

    @staticmethod
    def _needed(desk: Desk, demand_s: float) -> int:
        week_s = len(desk.hours.weekdays) * (desk.hours.closes_h - desk.hours.opens_h) * 3600.0
        return max(1, math.ceil(demand_s / week_s / desk.busy_share))

    def work(self, order_id: str, item: ItemRun, now: datetime) -> timedelta:
        """How much work a task is that is begun now."""
        definition = definition_of(item)
        names = (definition.ref, definition.source.queue)
        factor = factor_of(self._settings, self._settings.slowdowns, names, now)
        seconds = self._chance.around(self._median_s(definition) * factor, WORK_SPREAD, "work", order_id, item.key)
        return timedelta(milliseconds=int(seconds * 1000))

    def repair(self, order_id: str, item: ItemRun) -> timedelta:
        """How much work it is to mend an item that has failed for good."""
        names = ("repair", order_id, item.key, item.attempt)
        return timedelta(milliseconds=int(self._chance.around(REPAIR_WORK_S, REPAIR_SPREAD, *names) * 1000))

    def _median_s(self, definition: ItemDef) -> float:
        known = self._work_s.get(definition.ref)
        if known is None:
            planned_s = definition.source.duration_s
            if planned_s is None:
                planned_s = USUAL_S[definition.type.value]
            usual_s = min(max(planned_s * WORK_SHARE, WORK_S_MIN), WORK_S_MAX)
            known = self._work_s[definition.ref] = self._settings.work_s.get(definition.ref, usual_s)
        return known


def definition_of(item: ItemRun) -> ItemDef:
    """The definition of an item that has work of its own."""
    assert item.definition is not None, "an await item has no work of its own"
    return item.definition


def _manual_items(sample: Sample) -> Iterable[ItemRun]:
    """The tasks that an order of the kind will bring, as far as its conditions tell at the beginning."""
    order = order_of(sample, "simulated-trial", None, "normal", None)
    turn: Turn = accept(order, sample.release, Account(order.account), now=START, protector=QuietProtector())
    for item in turn.plan.items:
        definition = item.definition
        if definition is not None and definition.type is ItemType.MANUAL_TASK and holds(turn, item, definition):
            yield item


def filled_in(definition: ItemDef) -> dict[str, Any]:
    """What a person writes into the form of a task: something for each value that has to be there."""
    return {each.name: _FILLED_IN[each.type] for each in definition.source.form if each.required}


