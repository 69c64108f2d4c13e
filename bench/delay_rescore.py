"""How long a full re-score of many plans in flight takes one core: `python -m bench.delay_rescore --plans 10000`.

Plans are the open orders of a simulated history, as they stood at moments some hours apart, until there are enough:
so they stand in many ways, as those of one large moment would. Each is scored as the predictor does it, in batches.
Seconds are of the processor, not of the clock. The bar is 2 s for 10,000 plans.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from delay.critical_path import CriticalPath
from delay.histories import Settings, Simulation
from delay.histories.settings import START
from delay.playing import groups
from delay.replay import Replay
from delay.snapshot import Snapshot
from delay.stock.frame import frame_of
from orderplan.demo.samples import WORK_S, samples

ROOT = Path(__file__).parents[1]
BATCH = 1_000
BAR_S, BAR_PLANS = 2.0, 10_000
FIRST_DAY = 20
"""Enough was observed by then."""
EVERY = timedelta(hours=3)


def in_flight(count: int) -> tuple[list[Snapshot], CriticalPath]:
    """So many snapshots at most, of the newest moments, and the model with what it had learnt at the last of them."""
    settings = Settings(orders=1_500, days=40, seed=1, work_s=WORK_S)
    history = Simulation(settings, samples(ROOT / "examples")).kept()
    replay = Replay(history.releases, history.templates)
    found: list[Snapshot] = []
    now = START + timedelta(days=FIRST_DAY)
    for order_id, fact in history:
        while fact.at > now and now < START + timedelta(days=settings.days):
            snapshots = [replay.snapshot(each, now) for each in sorted(replay.plans)]
            found += [
                replace(each, order_id=f"{each.order_id}-at-{now:%d-%H}", load=dict(each.load))
                for each in snapshots
                if each is not None
            ]
            now += EVERY
        replay.take(order_id, fact)
    return found[-count:], CriticalPath(replay.durations)


def seconds(work: Callable[[Sequence[Snapshot]], Any], snapshots: Sequence[Snapshot]) -> float:
    """Processor seconds of the work, batch by batch."""
    began = time.process_time()
    for start in range(0, len(snapshots), BATCH):
        work(snapshots[start : start + BATCH])
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.delay_rescore")
    parser.add_argument("--plans", type=int, default=BAR_PLANS)
    given = parser.parse_args()
    snapshots, model = in_flight(given.plans)
    items = sum(len(each.items) for each in snapshots) / len(snapshots)
    states = sum(1 for _ in groups(snapshots))
    # What was prepared is none of the work, and the collector is not to look through it again and again.
    gc.collect()
    gc.freeze()
    builtin_s = seconds(model.predict, snapshots)
    frames_s = seconds(lambda some: frame_of(some, model), snapshots)
    print(
        f"{len(snapshots):,} plans in flight (simulated), {items:.1f} items each, standing in {states} ways, one core"
    )
    print(f"built-in model: {builtin_s:.2f} s; with the features of the learnt forms: {frames_s:.2f} s")
    if len(snapshots) < given.plans:
        print(f"the history has no {given.plans:,} plans")
        sys.exit(1)
    if builtin_s > BAR_S * len(snapshots) / BAR_PLANS:
        print(f"missed: {BAR_S:g} s for {BAR_PLANS:,} plans")
        sys.exit(1)


if __name__ == "__main__":
    main()
