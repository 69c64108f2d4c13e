"""The simulation: a clock that jumps from one event to the next, and the real rules of orders in between.

Intake, decomposition, composition, `decide` and `evolve` are those of the product; what a host, its adapters and its
people would do is done here. Facts come in the order of their times, as they happen, and an order is forgotten when it
has ended: memory holds what is open, not what was. Dropped: to run the product itself against a fast clock. Its hosts,
database and timers cost a hundred times as much, and would be the same in every history.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from delay.histories.calendar import DAY_S, arrivals
from delay.histories.chance import Chance
from delay.histories.orders import Customers, QuietProtector, order_id_of
from delay.histories.people import FIRST, People, Queue, Task, definition_of, filled_in
from delay.histories.settings import DAYS_MAX, ORDERS_MAX, Sample, Settings
from delay.histories.systems import LONG_S, UNNOTICED_S, Systems, moment_of
from domain import facts as f
from domain.compose import Template
from domain.decide import decide
from domain.facts import Fact
from domain.holds import NOTHING_HELD, HeldSystems, Hold, HoldCause
from domain.intake import accept, book, has_news
from domain.inventory import Account
from domain.items import ItemRun
from domain.messages import (
    ChangeLine,
    ClaimTask,
    CompleteTask,
    OperateItem,
    PlanMessage,
    Report,
    ResumeItem,
    TimerFired,
)
from domain.plan import Plan
from domain.priorities import class_of
from domain.release import CompiledRelease
from domain.states import ItemState
from domain.turn import Call, Turn

RECEIPT_S: Final = 0.4
DRAIN_S: Final = 0.5
"""Between two held items that go on when their system is back."""
EVENT_S: Final = DAY_S
"""How long customers take to do what a push event waits for, in the middle."""
EVENT_SPREAD: Final = 0.8
OPERATOR: Final = "simulated-operator"
_WANTED: Final = re.compile(r"attributes\.(\w+)")
_MILLISECOND: Final = timedelta(milliseconds=1)


class Happening(NamedTuple):
    """One fact of one order."""

    order_id: str
    fact: Fact


@dataclass(frozen=True, slots=True)
class KeptHistory:
    """A whole history in memory, for small ones (`delay.replay.History`)."""

    releases: Mapping[str, CompiledRelease]
    templates: Mapping[str, tuple[str, Template]]
    until: datetime
    happenings: tuple[Happening, ...]

    def __iter__(self) -> Iterator[Happening]:
        """From the beginning."""
        return iter(self.happenings)


class UnusableSettings(ValueError):
    """A world that cannot be: no orders, no days, nothing to order."""


class Simulation:
    """One simulated world, to be run once."""

    def __init__(self, settings: Settings, samples: Sequence[Sample]) -> None:
        """Set it up.

        Args:
            settings: what the world is like.
            samples: the kinds of orders that come.

        Raises:
            UnusableSettings: nothing would happen, or too much.
        """
        if not 0 < settings.orders <= ORDERS_MAX or not 0 < settings.days <= DAYS_MAX:
            raise UnusableSettings(f"orders must be 1 to {ORDERS_MAX}, days 1 to {DAYS_MAX}")
        if not samples:
            raise UnusableSettings("there is no kind of order that could come")
        self.settings = settings
        self.samples = tuple(samples)
        self.now = settings.start
        self.until = settings.start + timedelta(days=settings.days)
        self.templates: dict[str, tuple[str, Template]] = {}
        """The plan templates that came up, with the id of their release."""
        chance = self._chance = Chance(settings.seed)
        self._customers = Customers(settings, samples, chance)
        self.people = People(settings, samples, chance)
        codes = {system.code for sample in samples for system in sample.release.source.systems}
        self.systems = Systems(settings, codes, chance)
        self._protector = QuietProtector()
        self._plans: dict[str, Plan] = {}
        self._accounts: dict[str, Account] = {}
        self._expedited: set[str] = set()
        self._wakes: dict[str, datetime] = {}
        self._holds: dict[str, Hold] = {}
        self._held: HeldSystems = NOTHING_HELD
        self._held_items: dict[str, dict[tuple[str, str], None]] = {}
        self._agenda: list[tuple[datetime, int, Callable[..., None], tuple[Any, ...]]] = []
        self._planned = self._tasks = 0
        self._told: list[Happening] = []

    @property
    def releases(self) -> dict[str, CompiledRelease]:
        """The releases that orders were made for, by id."""
        return {sample.release.release_id: sample.release for sample in self.samples}

    def run(self) -> Iterator[Happening]:
        """What happens, in the order of time, until the last day is over; some orders are open then."""
        chance, settings = self._chance, self.settings
        for outage in self.systems.outages:
            if outage.until_day - outage.from_day > UNNOTICED_S / DAY_S:
                noticed_at = moment_of(settings, outage.from_day) + timedelta(seconds=UNNOTICED_S)
                self._plan(noticed_at, self._hold, outage.system)
                self._plan(moment_of(settings, outage.until_day), self._let_go, outage.system)
        coming = iter(enumerate(arrivals(settings.orders, settings.days, settings.start, settings.usual_peaks, chance)))
        self._plan_arrival(coming)
        for number, day in sorted(settings.expedites.items()):
            self._plan(moment_of(settings, day), self._expedite, order_id_of(number))
        while self._agenda and self._agenda[0][0] < self.until:
            self.now, _, act, given = heapq.heappop(self._agenda)
            act(*given)
            yield from self._told
            self._told.clear()

    def kept(self) -> KeptHistory:
        """Run it and keep everything."""
        happenings = tuple(self.run())
        return KeptHistory(self.releases, self.templates, self.until, happenings)

    def _plan(self, at: datetime, act: Callable[..., None], *given: Any) -> None:
        """Let something happen later: at a whole millisecond, and never in the past."""
        at = max(at.replace(microsecond=at.microsecond // 1000 * 1000), self.now)
        self._planned += 1
        heapq.heappush(self._agenda, (at, self._planned, act, given))

    # Orders.

    def _plan_arrival(self, coming: Iterator[tuple[int, datetime]]) -> None:
        following = next(coming, None)
        if following is not None:
            number, at = following
            self._plan(at, self._arrive, number, coming)

    def _arrive(self, number: int, coming: Iterator[tuple[int, datetime]]) -> None:
        self._plan_arrival(coming)
        sample, order = self._customers.order(number, self.now)
        account = Account(order.account)
        turn = accept(order, sample.release, account, now=self.now, protector=self._protector, held=self._held)
        self._plans[order.order_id] = turn.plan
        self._accounts[order.order_id] = account
        if turn.plan.template is not None:
            self.templates[turn.plan.template.template_id] = (sample.release.release_id, turn.plan.template)
        self._after(turn)

    def _tell(self, plan: Plan, message: PlanMessage, actor: str = "system", cause: str | None = None) -> None:
        turn = Turn(
            plan=plan, now=self.now, protector=self._protector, actor=actor, cause=cause, held=self._held
        )
        decide(turn, message)
        self._after(turn)

    def _after(self, turn: Turn) -> None:
        """Do what a host does when a turn is stored."""
        plan = turn.plan
        if has_news(turn):
            book(turn, self._accounts[plan.order_id])
        self._told.extend(Happening(plan.order_id, fact) for fact in turn.facts)
        if plan.ended_at is not None:
            del self._plans[plan.order_id], self._accounts[plan.order_id]
            self._wakes.pop(plan.order_id, None)
            return
        for call in turn.calls:
            self._call(plan, call)
        for item in turn.tasks_opened:
            self._put(plan, item)
        for fact in turn.facts:
            if fact.item is not None:
                self._follow(plan, plan.by_key[fact.item], fact.kind)
        self._set_alarm(plan)

    def _follow(self, plan: Plan, item: ItemRun, kind: str) -> None:
        """Let the world react to what an item does."""
        if kind == f.ITEM_BEGUN and item.is_event:
            seconds = self._chance.around(EVENT_S, EVENT_SPREAD, "event", plan.order_id, item.key)
            self._plan(self.now + timedelta(seconds=seconds), self._let_happen, plan.order_id, item.key)
        elif kind == f.ITEM_FATALLY_FAILED:
            hours = self.people.repair_hours
            repaired_at = hours.after(self.now, self.people.repair(plan.order_id, item))
            self._plan(repaired_at, self._repair, plan.order_id, item.key)
        elif kind == f.ITEM_HELD:
            self._held_items.setdefault(definition_of(item).system, {})[plan.order_id, item.key] = None

    # Timers.

    def _set_alarm(self, plan: Plan) -> None:
        timer = plan.next_timer()
        known = self._wakes.get(plan.order_id)
        if timer is not None and (known is None or timer[0] < known):
            self._wakes[plan.order_id] = timer[0]
            self._plan(timer[0] + _MILLISECOND, self._wake, plan.order_id, timer[0])

    def _wake(self, order_id: str, at: datetime) -> None:
        if self._wakes.get(order_id) != at:
            return
        del self._wakes[order_id]
        plan = self._plans[order_id]
        while (timer := plan.next_timer()) is not None and timer[0] <= self.now:
            self._tell(plan, TimerFired(timer[1].key))
        if order_id in self._plans:
            self._set_alarm(plan)

    # Systems.

    def _call(self, plan: Plan, call: Call) -> None:
        item = plan.by_key[call.item]
        answer = self.systems.answer(plan.order_id, item, self.now)
        if answer.kind == "completed" and (answer.at - self.now).total_seconds() > LONG_S:
            self._plan(
                self.now + timedelta(seconds=RECEIPT_S), self._answer, plan.order_id, call, "accepted"
            )
        self._plan(answer.at, self._answer, plan.order_id, call, answer.kind)

    def _answer(self, order_id: str, call: Call, kind: Any) -> None:
        plan = self._plans.get(order_id)
        if plan is None:
            return
        report = Report(call.item, call.attempt, kind)
        if kind in ("retryable", "failed"):
            report = Report(call.item, call.attempt, kind, error="simulated failure", error_code="simulated")
        self._tell(plan, report, f"adapter:{call.system}")

    def _hold(self, system: str) -> None:
        self._holds[system] = Hold(system, HoldCause.BREAKER, reason="simulated outage")
        self._held = HeldSystems.of(self._holds.values())

    def _let_go(self, system: str) -> None:
        self._holds.pop(system, None)
        self._held = HeldSystems.of(self._holds.values())
        for number, (order_id, item) in enumerate(self._held_items.pop(system, {})):
            self._plan(self.now + timedelta(seconds=number * DRAIN_S), self._resume, order_id, item)

    def _resume(self, order_id: str, item: str) -> None:
        plan = self._plans.get(order_id)
        if plan is not None:
            self._tell(plan, ResumeItem(item))

    # People.

    def _put(self, plan: Plan, item: ItemRun) -> None:
        queue = self.people.queues[definition_of(item).source.queue or ""]
        self._tasks += 1
        priority = FIRST if plan.order_id in self._expedited else class_of(plan.order.priority)
        queue.put(Task(priority, self.now, self._tasks, plan.order_id, item.key))
        # Behind the facts of this turn: nobody takes what is not stored.
        self._plan(self.now, self._look, queue)

    def _expedite(self, order_id: str) -> None:
        self._expedited.add(order_id)
        for queue in self.people.queues.values():
            queue.expedite(order_id)

    def _look(self, queue: Queue) -> None:
        """Let everybody who is free take the next task, if it is a time to work."""
        if not queue.hours.is_open(self.now):
            opens_at = queue.hours.next_open(self.now)
            if queue.is_waited_for and queue.opens_at != opens_at:
                queue.opens_at = opens_at
                self._plan(opens_at, self._look, queue)
            return
        for worker, task in queue.taken():
            plan = self._plans[task.order_id]
            item = plan.by_key[task.item]
            message = ClaimTask(task.item, worker, f"claim-{task.number}")
            self._tell(plan, message, f"person:{worker}", message.message_id)
            done_at = queue.hours.after(self.now, self.people.work(task.order_id, item, self.now))
            self._plan(done_at, self._complete, queue, worker, task)

    def _complete(self, queue: Queue, worker: str, task: Task) -> None:
        plan = self._plans[task.order_id]
        data = filled_in(definition_of(plan.by_key[task.item]))
        message = CompleteTask(task.item, worker, data, f"done-{task.number}")
        self._tell(plan, message, f"person:{worker}", message.message_id)
        queue.come_back(worker)
        self._look(queue)

    def _repair(self, order_id: str, key: str) -> None:
        plan = self._plans.get(order_id)
        if plan is None or plan.by_key[key].state is not ItemState.FATALLY_FAILED:
            return
        message = OperateItem(key, "retry", OPERATOR, "simulated repair", f"repair-{plan.facts}")
        self._tell(plan, message, f"person:{OPERATOR}", message.message_id)

    def _let_happen(self, order_id: str, key: str) -> None:
        """A customer does what a push event waits for, which is something that a line gets."""
        plan = self._plans[order_id]
        item = plan.by_key[key]
        event = definition_of(item).event
        names = _WANTED.findall(event.source) if event is not None else []
        for line in plan.lines_of(item):
            declared = plan.release.products[line.product].attributes
            values = {name: self.now.isoformat() for name in names if name in declared}
            if values and order_id in self._plans and item.state is ItemState.RUNNING:
                message = ChangeLine(line.key, values, "simulated customer", f"event-{plan.facts}")
                self._tell(plan, message, f"person:{OPERATOR}", message.message_id)
