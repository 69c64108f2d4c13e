"""Simulated event logs: made up here, from a seed, for tests and for the backtest. None of them is anybody's data.

Cases run through a table of steps. Each step is done by a desk with few people and working hours, so queues build up;
how long work takes, and where a case goes next, depends on its attributes. Four kinds:

    stable     orders with promised dates; nothing changes over the months
    drifting   the same, but work gets slower, a region loses people and promises get shorter, all slowly
    small      the stable one with a few hundred cases
    tickets    another process without promises, with many short cases and a long tail

Traps of real logs are built in: a number that only grows with time, a code that is written with the last event, values
that appear late, and attributes that mean nothing.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from delay.event_log import Case, Event, EventLog

BEGIN: Final = datetime(2031, 1, 6, tzinfo=UTC)
"""A Monday, in a year for which nobody has data."""
STEPS_MAX: Final = 60
OPENS_H, CLOSES_H = 8, 17
END: Final = "end"


@dataclass(frozen=True, slots=True)
class Step:
    """What is done, by which desk (None: at any hour, without a queue), for how many hours in the middle, and what
    follows with which weight. `slower` multiplies the hours for an attribute's value, `astray` the weight of every way
    but the first.
    """

    desk: str | None
    hours: float
    spread: float
    then: tuple[tuple[str, float], ...]
    slower: Mapping[str, float] = field(default_factory=dict)
    astray: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Process:
    """Where cases begin, their steps, how many people a desk has, and how attributes are drawn."""

    first: str
    steps: Mapping[str, Step]
    people: Mapping[str, int]
    attributes: Mapping[str, Mapping[str, float]]
    class_of: str
    promise_days: Mapping[str, float] | None
    is_regional: frozenset[str] = frozenset()


ORDERS: Final = Process(
    first="received",
    class_of="product",
    attributes={
        "product": {"fibre": 5, "cable": 3, "mobile": 4, "voice": 2, "leased line": 1},
        "region": {"north": 4, "east": 3, "south": 3, "west": 2},
        "channel": {"shop": 3, "web": 5, "partner": 2},
        "customer": {"private": 6, "business": 2, "public": 1},
        "dwelling": {"house": 3, "flat": 4, "block": 2},
        "colour of form": {"white": 1, "green": 1, "blue": 1},
    },
    promise_days={"fibre": 6.5, "cable": 6.0, "mobile": 2.6, "voice": 4.2, "leased line": 12.0},
    people={"entry": 2, "credit": 3, "store": 1, "planning": 6, "field": 4, "network": 5, "billing": 1},
    is_regional=frozenset({"field"}),
    steps={
        "received": Step("entry", 0.4, 0.5, (("check credit", 8.0), ("ask customer", 1.5)), {}, {"partner": 3.0}),
        "ask customer": Step(None, 30.0, 0.9, (("check credit", 5.0), ("ask customer", 1.0)), {"public": 1.8}),
        "check credit": Step("credit", 0.3, 0.8, (("reserve", 9.0), ("ask customer", 0.6)), {"business": 2.5}),
        "reserve": Step("store", 0.2, 0.5, (("plan", 9.0), ("wait for stock", 1.0)), {}, {"leased line": 4.0}),
        "wait for stock": Step(None, 60.0, 0.7, (("plan", 1.0),), {"cable": 1.5}),
        "plan": Step(
            "planning",
            0.6,
            0.6,
            (("agree on date", 7.0), ("activate", 1.0)),
            {"leased line": 4.0, "block": 1.7},
            {"mobile": 60.0, "voice": 6.0},
        ),
        "agree on date": Step(None, 40.0, 0.7, (("visit", 1.0),), {"public": 1.6, "flat": 1.2}),
        "visit": Step(
            "field",
            2.1,
            0.5,
            (("activate", 8.0), ("plan", 1.2), ("ask customer", 0.5)),
            {"block": 1.4, "leased line": 2.5},
            {"flat": 1.5, "block": 2.5},
        ),
        "activate": Step("network", 0.2, 0.8, (("test", 9.0), ("repair", 1.0)), {}, {"cable": 2.0}),
        "repair": Step("network", 2.5, 0.8, (("activate", 1.0),), {"leased line": 2.0}),
        "test": Step(None, 3.0, 0.6, (("bill", 9.5), ("repair", 0.5)), {"leased line": 5.0}),
        "bill": Step("billing", 0.2, 0.4, (("closed", 1.0),)),
        "closed": Step(None, 0.5, 0.6, ((END, 1.0),)),
    },
)
TICKETS: Final = Process(
    first="opened",
    class_of="severity",
    attributes={
        "severity": {"minor": 6, "major": 3, "critical": 1},
        "service": {"internet": 5, "telephony": 3, "television": 3, "mail": 1},
        "origin": {"call": 4, "chat": 3, "monitoring": 2},
        "browser": {"one": 1, "two": 1, "three": 1, "four": 1},
    },
    promise_days=None,
    people={"first line": 3, "second line": 9, "vendor": 5},
    steps={
        "opened": Step("first line", 0.3, 0.7, (("answer", 5.0), ("diagnose", 4.0)), {}, {"monitoring": 3.0}),
        "answer": Step(None, 8.0, 1.2, (("closed", 7.0), ("reopened", 1.5)), {"mail": 2.0}, {"chat": 1.6}),
        "reopened": Step("first line", 0.3, 0.7, (("diagnose", 3.0), ("answer", 1.0))),
        "diagnose": Step(
            "second line",
            1.2,
            0.9,
            (("answer", 5.0), ("vendor", 1.0), ("diagnose", 1.0)),
            {"critical": 0.5, "television": 2.0},
            {"telephony": 2.5},
        ),
        "vendor": Step("vendor", 3.0, 1.0, (("diagnose", 2.0), ("answer", 3.0)), {"internet": 1.5}),
        "closed": Step(None, 0.2, 0.6, ((END, 1.0),)),
    },
)


@dataclass(frozen=True, slots=True)
class Drift:
    """By how much things differ at the end of the log from its begin."""

    slower: float = 1.0
    north_slower: float = 1.0
    promise: float = 1.0


def stable(seed: int, cases: int = 3_000) -> EventLog:
    """Orders with promised dates."""
    return _run("simulated stable", ORDERS, Drift(), cases, seed)


def drifting(seed: int, cases: int = 3_000) -> EventLog:
    """Orders with promised dates while work gets slower and promises shorter."""
    return _run("simulated drifting", ORDERS, Drift(1.1, 1.15, 0.8), cases, seed)


def small(seed: int, cases: int = 400) -> EventLog:
    """A few hundred orders with promised dates."""
    return _run("simulated small", ORDERS, Drift(), cases, seed)


def tickets(seed: int, cases: int = 3_000) -> EventLog:
    """Tickets without promised dates."""
    return _run("simulated tickets", TICKETS, Drift(), cases, seed)


KINDS: Final[Mapping[str, Callable[[int], EventLog]]] = {
    "stable": stable,
    "drifting": drifting,
    "small": small,
    "tickets": tickets,
}


@dataclass(slots=True)
class _Running:
    number: int
    attributes: dict[str, Any]
    pace: float
    events: list[Event]
    steps: int = 0


class _Desks:
    """Who is free when. Requests come in the order of time, so each queue is first in, first out."""

    def __init__(self, process: Process) -> None:
        self._free: dict[str, list[float]] = {}
        self._process = process

    def done_at(self, desk: str, region: str, asked_at: float, hours: float) -> tuple[float, str]:
        """(when the work is done, who did it)."""
        name = f"{desk} {region}" if desk in self._process.is_regional else desk
        free = self._free.setdefault(name, [0.0] * self._process.people[desk])
        begun_at = max(asked_at, heapq.heappop(free))
        done_at = _add_working_hours(begun_at, hours)
        heapq.heappush(free, done_at)
        return done_at, f"{name} {hash_of(done_at) % len(free) + 1}"


def hash_of(value: float) -> int:
    """A number without a pattern, the same in every process."""
    return int(value * 8_191) * 2_654_435_761 % 2**32 >> 8


def _add_working_hours(at_h: float, hours: float) -> float:
    """`hours` of work later, with closed evenings, nights and weekends. `at_h` counts from a Monday's midnight."""
    while True:
        day, hour = divmod(at_h, 24.0)
        if day % 7 >= 5 or hour >= CLOSES_H:
            at_h = (day + 1) * 24.0 + OPENS_H
            continue
        hour = max(hour, OPENS_H)
        if hours <= CLOSES_H - hour:
            return day * 24.0 + hour + hours
        hours -= CLOSES_H - hour
        at_h = (day + 1) * 24.0 + OPENS_H


def _run(name: str, process: Process, drift: Drift, count: int, seed: int) -> EventLog:
    rng = random.Random(f"{name} {seed}")
    length_h = count / 22.0 * 24.0
    starts = sorted(rng.uniform(0.0, length_h) for _ in range(count))
    desks = _Desks(process)
    # (time, order of entry, case, step): the next step of the case begins then.
    agenda: list[tuple[float, int, _Running, str]] = []
    running: list[_Running] = []
    for number, start_h in enumerate(starts):
        attributes: dict[str, Any] = {
            each: rng.choices(list(values), list(values.values()))[0] for each, values in process.attributes.items()
        }
        attributes["number"] = 100_000 + number * 3 + rng.randrange(3)
        attributes["value"] = round(rng.lognormvariate(4.5, 0.8), 2)
        case = _Running(number, attributes, rng.lognormvariate(0.0, 0.35), [])
        running.append(case)
        agenda.append((start_h, number, case, process.first))
    heapq.heapify(agenda)
    entry = count
    while agenda:
        at_h, _, case, step_name = heapq.heappop(agenda)
        step = process.steps[step_name]
        values = [value for value in case.attributes.values() if isinstance(value, str)]
        share = min(at_h / length_h, 1.0)
        hours = step.hours * case.pace * rng.lognormvariate(0.0, step.spread) * (1 + (drift.slower - 1) * share)
        region = case.attributes.get("region", "")
        if region == "north":
            hours *= 1 + (drift.north_slower - 1) * share
        for value in values:
            hours *= step.slower.get(value, 1.0)
        done_h, agent = desks.done_at(step.desk, region, at_h, hours) if step.desk else (at_h + hours, "")
        following = _next(step, values, case.steps, rng)
        attributes = {"agent": agent} if agent else {}
        if step_name == "visit":
            attributes["window"] = rng.choice(("morning", "afternoon"))
        if following == END:
            attributes["closing code"] = rng.choice(("good", "complaint"))
        case.events.append(Event(step_name, BEGIN + timedelta(hours=round(done_h, 4)), attributes))
        case.steps += 1
        if following != END:
            heapq.heappush(agenda, (done_h, entry, case, following))
            entry += 1
    return EventLog(name, tuple(_case(case, process, drift, length_h, rng) for case in running), simulated=True)


def _next(step: Step, values: list[str], steps: int, rng: random.Random) -> str:
    (first, weight), *others = step.then
    if not others or steps > STEPS_MAX:
        return first
    factor = 1.0
    for value in values:
        factor *= step.astray.get(value, 1.0)
    ways = [(first, weight), *((other, each * factor) for other, each in others)]
    return rng.choices([name for name, _ in ways], [each for _, each in ways])[0]


def _case(case: _Running, process: Process, drift: Drift, length_h: float, rng: random.Random) -> Case:
    due_at = None
    started_at = case.events[0].at
    case_class = case.attributes[process.class_of]
    if process.promise_days is not None:
        share = (started_at - BEGIN).total_seconds() / 3600 / length_h
        # Salespeople promise what they like, within a third of the usual.
        days = process.promise_days[case_class] * rng.uniform(0.75, 1.35) * (1 + (drift.promise - 1) * share)
        due_at = (started_at + timedelta(days=days)).replace(hour=CLOSES_H, minute=0, second=0, microsecond=0)
    return Case(f"simulated-{case.number}", tuple(case.events), case.attributes, due_at, case_class)
