"""Simulated systems: how long they take for a call, when they fail, and when they are away."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from delay.histories.calendar import DAY_S
from delay.histories.chance import Chance
from delay.histories.settings import Outage, Settings, Slowdown
from domain.items import ItemRun
from domain.release import ItemDef

OUTAGE_EVERY_DAYS: Final = 12.0
OUTAGE_S: Final = 2 * 3600.0
SLOW_EVERY_DAYS: Final = 9.0
SLOW_S: Final = 6 * 3600.0
SLOW_FACTOR: Final = 4.0
UNNOTICED_S: Final = 120.0
"""So long the calls of a system that is away fail, until it is held."""
REFUSAL_S: Final = 2.0
PLAN_ERROR: Final = 0.35
"""How far planned durations are from what is usual, as the deviation of the logarithm."""
UNPLANNED_SHARE: Final = 0.2
"""Of its time-out a call takes for which nothing is planned."""
LONG_S: Final = 60.0
"""What takes longer is accepted first, and answered later."""


class Answer(NamedTuple):
    """How a call goes: what becomes of it, and when."""

    kind: str
    at: datetime


class Systems:
    """All systems of a simulated world."""

    def __init__(self, settings: Settings, codes: Iterable[str], chance: Chance) -> None:
        self._settings = settings
        self._chance = chance
        self._usual: dict[str, tuple[float, float]] = {}
        self.outages: list[Outage] = sorted(
            settings.outages if settings.outages is not None else _outages(sorted(set(codes)), settings.days, chance),
            key=lambda each: (each.from_day, each.system),
        )
        self._by_system: dict[str, list[Outage]] = {}
        for outage in self.outages:
            self._by_system.setdefault(outage.system, []).append(outage)
        slow = _slowdowns(sorted(set(codes)), settings.days, chance) if settings.outages is None else ()
        self._slowdowns = (*settings.slowdowns, *slow)

    def answer(self, order_id: str, item: ItemRun, now: datetime) -> Answer:
        """How a call made now goes."""
        definition = item.definition
        assert definition is not None, "an await item calls nobody"
        names = (order_id, item.key, item.attempt, item.tries)
        away = self._away(definition.system, now)
        refused_at = now + timedelta(seconds=self._chance.around(REFUSAL_S, 0.5, "refusal", *names))
        if away is not None:
            return Answer("retryable", refused_at)
        lot = self._chance.share("outcome", *names)
        if lot < self._settings.fatal_share:
            return Answer("failed", refused_at)
        if lot < self._settings.fatal_share + self._settings.retryable_share:
            return Answer("retryable", refused_at)
        at = now + timedelta(seconds=self._duration_s(definition, names, now))
        away = self._away(definition.system, at)
        if away is not None:
            # It was at work when it went away, and goes on afterwards.
            back_s = self._chance.share("back", *names) * UNNOTICED_S
            at = moment_of(self._settings, away.until_day) + timedelta(seconds=back_s)
        return Answer("completed", at)

    def _duration_s(self, definition: ItemDef, names: tuple[object, ...], now: datetime) -> float:
        median_s, spread = self._usual_of(definition)
        factor = factor_of(self._settings, self._slowdowns, (definition.ref, definition.system), now)
        return self._chance.around(median_s * factor, spread, "call", *names)

    def _usual_of(self, definition: ItemDef) -> tuple[float, float]:
        known = self._usual.get(definition.ref)
        if known is None:
            planned_s = definition.source.duration_s
            if planned_s is None:
                planned_s = definition.source.timeout_s * UNPLANNED_SHARE
            set_s = self._settings.call_s.get(definition.ref)
            drawn_s = self._chance.around(planned_s, PLAN_ERROR, "usual", definition.ref)
            spread = 0.3 + 0.4 * self._chance.share("spread", definition.ref)
            known = self._usual[definition.ref] = (set_s if set_s is not None else drawn_s, spread)
        return known

    def _away(self, system: str, at: datetime) -> Outage | None:
        day = (at - self._settings.start).total_seconds() / DAY_S
        found = (each for each in self._by_system.get(system, ()) if each.from_day <= day < each.until_day)
        return next(found, None)


def moment_of(settings: Settings, day: float) -> datetime:
    """The moment so many days after the start, to the millisecond."""
    return settings.start + timedelta(milliseconds=int(day * DAY_S * 1000))


def factor_of(
    settings: Settings, slowdowns: Iterable[Slowdown], names: tuple[str | None, ...], now: datetime
) -> float:
    """How many times as long as usual something takes that begins now and goes by these names."""
    day = (now - settings.start).total_seconds() / DAY_S
    factor = 1.0
    for slow in slowdowns:
        if slow.of in names and slow.from_day <= day < slow.until_day:
            factor *= slow.factor
    for drift in settings.drifts:
        if drift.of in names and drift.from_day <= day:
            factor *= drift.factor
    return factor


def _outages(codes: Iterable[str], days: int, chance: Chance) -> Iterable[Outage]:
    for code in codes:
        for from_day, length_s in _spells(code, "outage", days, OUTAGE_EVERY_DAYS, OUTAGE_S, chance):
            yield Outage(code, from_day, from_day + length_s / DAY_S)


def _slowdowns(codes: Iterable[str], days: int, chance: Chance) -> Iterable[Slowdown]:
    for code in codes:
        for from_day, length_s in _spells(code, "slow", days, SLOW_EVERY_DAYS, SLOW_S, chance):
            yield Slowdown(code, from_day, from_day + length_s / DAY_S, SLOW_FACTOR)


def _spells(
    code: str, what: str, days: int, every_days: float, length_s: float, chance: Chance
) -> Iterable[tuple[float, float]]:
    """(first day, seconds) of what comes over a system now and then."""
    day, number = 0.0, 0
    while True:
        day += every_days * 2 * chance.share(what, "gap", code, number)
        if day >= days:
            return
        spell_s = chance.around(length_s, 0.8, what, "length", code, number)
        yield day, spell_s
        day += spell_s / DAY_S
        number += 1
