"""What expediting does on simulated load: the same world twice, once with some waiting orders at risk put first in
their queues from a moment on; writes docs/DELAY_EXPEDITE.md with two pictures. `make delay-expedite`.

Luck is drawn by order and item, and what came before the moment is the same in both worlds; so what differs is what
putting them first has done. Scores are the built-in model's, with what it had learnt by each moment.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from delay.critical_path import CriticalPath
from delay.histories import KeptHistory, Settings, Simulation, Slowdown
from delay.histories.orders import SIMULATED
from delay.histories.settings import START
from delay.pictures import Axis, Line, drawn, risk_history
from delay.replay import Replay, replayed
from delay.snapshot import Snapshot
from delay.what_if import Actionable, Change, changed
from domain.facts import ITEM_CLAIMED
from domain.states import ItemState
from orderplan.demo.samples import WORK_S, samples

ROOT: Final = Path(__file__).parents[1]
RISK_MIN, RISK_MAX = 0.3, 0.95
"""Whoever is late for certain is helped no more."""
CHOSEN_MAX: Final = 4
"""In each world: whoever puts all first puts nobody first."""
HOURS: Final = (0, 4, 8, 12, 18, 24, 36, 48, 72, 96)
DAY_MOST: Final = 44
ORDERS: Final = 900
AT_DAY: Final = 37.4
"""A Wednesday morning: queues are open."""
SLOW: Final = Slowdown("field-survey", 30, DAY_MOST, 2.0)


@dataclass(frozen=True, slots=True)
class Told:
    """One order in both worlds: risk at each of `HOURS` after the moment (0 once it has ended, 1 when it is late), and
    hours until somebody took its task; `estimate`: the risk that the model named before for putting it first.
    """

    order_id: str
    alone: tuple[float, ...]
    first: tuple[float, ...]
    alone_wait_h: float
    first_wait_h: float
    estimate: float


def world(seed: int, expedites: dict[int, float]) -> KeptHistory:
    """The simulated world; a queue is slower than usual, so that there is something to expedite."""
    settings = Settings(
        orders=ORDERS, days=DAY_MOST, seed=seed, work_s=WORK_S, slowdowns=(SLOW,), outages=(), expedites=expedites
    )
    return Simulation(settings, samples(ROOT / "examples", ("home-internet",))).kept()


def at_risk(replay: Replay, now: datetime) -> list[tuple[float, Snapshot]]:
    """Open orders with a task that waits in a queue, the riskiest first."""
    model = CriticalPath(replay.durations)
    found = []
    for order_id in sorted(replay.plans):
        snapshot = replay.snapshot(order_id, now)
        if snapshot is not None and now < snapshot.due_at and _task(snapshot) is not None:
            found.append((model.predict([snapshot])[0].p_late, snapshot))
    return sorted((each for each in found if RISK_MIN <= each[0] <= RISK_MAX), key=lambda each: -each[0])


def _task(snapshot: Snapshot) -> str | None:
    return next((each.key for each in snapshot.items if each.queue and each.state is ItemState.READY), None)


def compared(seed: int = 1) -> list[Told]:
    """The orders that were put first, in both worlds."""
    at = START + timedelta(days=AT_DAY)
    alone = world(seed, {})
    replay = replayed(alone, at)
    chosen = at_risk(replay, at)[:CHOSEN_MAX]
    numbers = {int(each.order_id.removeprefix(SIMULATED)): AT_DAY for _, each in chosen}
    first = world(seed, numbers)
    model = CriticalPath(replay.durations)
    actionable = Actionable.read("expedite")
    release = next(iter(alone.releases.values()))
    made = []
    tasks = {each.order_id: _task(each) or "" for _, each in chosen}
    told = [_told(history, tasks, at) for history in (alone, first)]
    for _, snapshot in chosen:
        order_id = snapshot.order_id
        then = changed(snapshot, [Change("expedite", tasks[order_id])], actionable, release)
        estimate = model.predict([then])[0].p_late
        (risks, wait_h), (others, other_wait_h) = (each[order_id] for each in told)
        made.append(Told(order_id, risks, others, wait_h, other_wait_h, estimate))
    return made


def _told(
    history: KeptHistory, tasks: dict[str, str], at: datetime
) -> dict[str, tuple[tuple[float, ...], float]]:
    moments = [at + timedelta(hours=each) for each in HOURS]
    risks: dict[str, list[float]] = {each: [] for each in tasks}
    taken: dict[str, datetime] = {}
    for order_id, fact in history:
        # Not from snapshots: an order may have ended before the next of them.
        if fact.at > at and fact.kind == ITEM_CLAIMED and tasks.get(order_id) == fact.item:
            taken.setdefault(order_id, fact.at)
    for replay, now in _replays(history, moments):
        model = CriticalPath(replay.durations)
        for order_id in tasks:
            if order_id not in replay.plans:
                # The last score of an order that has ended is no risk any more.
                risks[order_id].append(0.0)
                continue
            snapshot = replay.snapshot(order_id, now)
            assert snapshot is not None
            risks[order_id].append(1.0 if now >= snapshot.due_at else model.predict([snapshot])[0].p_late)
    end = moments[-1]
    waited = {each: (min(taken.get(each, end), end) - at).total_seconds() / 3600 for each in tasks}
    return {each: (tuple(found), waited[each]) for each, found in risks.items()}


def _replays(history: KeptHistory, moments: Sequence[datetime]) -> Iterator[tuple[Replay, datetime]]:
    """The replay as it stands at each of the moments."""
    replay, wanted = Replay(history.releases, history.templates), list(moments)
    for order_id, fact in history:
        while wanted and fact.at > wanted[0]:
            yield replay, wanted.pop(0)
        if not wanted:
            return
        replay.take(order_id, fact)
    for each in wanted:
        yield replay, each


def figure(found: Sequence[Told], seeds: str) -> str:
    """Mean risk in both worlds."""
    alone, first = (np.mean([getattr(each, name) for each in found], axis=0) for name in ("alone", "first"))
    waits = " and ".join(f"{np.mean([getattr(each, name) for each in found]):.1f} h" for name in WAITS)
    across = Axis("hours since they were put first", 0, HOURS[-1], tuple((each, f"{each}") for each in HOURS[::3]))
    upward = Axis("mean risk to be late", 0, 1, tuple((each / 5, f"{each / 5:.1f}") for each in range(6)))
    lines = [Line("left alone", list(zip(HOURS, alone.tolist(), strict=True)))]
    lines += [Line("put first", list(zip(HOURS, first.tolist(), strict=True)))]
    note = f"SIMULATED, seeds {seeds}: {len(found)} orders; their tasks waited {waits} (alone, first)"
    return drawn("Expediting orders at risk", note, across, upward, lines)


WAITS: Final = ("alone_wait_h", "first_wait_h")


def history_of(seed: int, order_id: str) -> str:
    """The picture of one order's risk, scored every half hour."""
    history = world(seed, {})
    mine = [fact.at for each, fact in history if each == order_id]
    moments = [mine[0] + timedelta(minutes=30 * at) for at in range(int((mine[-1] - mine[0]).total_seconds() // 1800))]
    points = []
    due_at = mine[-1]
    for replay, now in _replays(history, moments):
        snapshot = replay.snapshot(order_id, now) if order_id in replay.plans else None
        if snapshot is None:
            continue
        due_at = snapshot.due_at
        (said,) = CriticalPath(replay.durations).predict([snapshot])
        points.append({"scoredAt": now.isoformat(), "risk": said.p_late})
    note = f"SIMULATED, seed {seed}; scored every half hour by the built-in model"
    return risk_history(points, due_at, f"Risk of {order_id}", note)


def page(found: Sequence[Told], seeds: str) -> str:
    """The page of docs."""
    lines = [
        "# Expediting orders at risk",
        "",
        f"Made by `make delay-expedite`. **All orders are simulated.** A world (seeds {seeds}) is run twice: left",
        f"alone, and with the {CHOSEN_MAX} riskiest orders that have a task waiting ({RISK_MIN:.0%} to {RISK_MAX:.0%})",
        f"put first in their queues from day {AT_DAY:g} on. Luck is the same in both. The queue field-survey takes",
        "twice as long as usual since a week. Where nobody waits before an order, nothing changes.",
        "",
        "![Mean risk in both worlds](delay-expedite.svg)",
        "",
        "| Order | risk then | estimated if put first | 24 h later, alone | put first | waited, alone | put first |",
        "|---|---|---|---|---|---|---|",
    ]
    day = HOURS.index(24)
    lines += [
        f"| {each.order_id} | {each.alone[0]:.2f} | {each.estimate:.2f} | {each.alone[day]:.2f} | "
        f"{each.first[day]:.2f} | {each.alone_wait_h:.1f} h | {each.first_wait_h:.1f} h |"
        for each in found
    ]
    pairs = [(at, name) for at in (day, NEXT) for name in ("alone", "first")]
    means = [np.mean([getattr(each, name)[at] for each in found]) for at, name in pairs]
    waited = [np.mean([getattr(each, name) for each in found]) for name in WAITS]
    lines += [
        "",
        f"On average the risk is {means[0]:.2f} alone and {means[1]:.2f} put first after 24 h, {means[2]:.2f} and "
        f"{means[3]:.2f} after {HOURS[NEXT]} h; tasks waited {waited[0]:.1f} h and {waited[1]:.1f} h.",
        "",
        "The estimate is the model's, from how long the quickest tenth have waited: where a queue is overloaded, as",
        "here, it is too hopeful.",
        "",
        f"Waits are counted from that moment, {HOURS[-1]} h at most. An order that has ended has no risk any more, one",
        "that is past its due date has the risk 1.",
        "",
        "How the risk of the first of them moved, left alone:",
        "",
        "![Risk of one simulated order](delay-history.svg)",
    ]
    return "\n".join(lines) + "\n"


NEXT: Final = HOURS.index(36)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.delay_expedite")
    parser.add_argument("--seeds", default="1,2,3,4,5,6", help="numbers with commas")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    given = parser.parse_args()
    seeds = [int(each) for each in given.seeds.split(",")]
    found = [each for seed in seeds for each in compared(seed)]
    drawn_of = found[0].order_id
    (given.out / "DELAY_EXPEDITE.md").write_text(page(found, given.seeds), encoding="utf-8")
    (given.out / "delay-expedite.svg").write_text(figure(found, given.seeds), encoding="utf-8")
    (given.out / "delay-history.svg").write_text(history_of(seeds[0], drawn_of), encoding="utf-8")


if __name__ == "__main__":
    main()
