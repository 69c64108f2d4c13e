"""How long a full re-score of many plans in flight takes one core: `python -m bench.delay_rescore --plans 10000`.

Plans are the open orders of a simulated history, repeated under other names until there are enough; each is scored as
the predictor does it, in batches. Seconds are of the processor, not of the clock. The bar is 2 s for 10,000 plans.
"""

from __future__ import annotations

import argparse
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
from delay.replay import replayed
from delay.snapshot import Snapshot
from delay.stock.frame import frame_of
from orderplan.demo.samples import WORK_S, samples

ROOT = Path(__file__).parents[1]
BATCH = 1_000
BAR_S, BAR_PLANS = 2.0, 10_000


def in_flight(count: int) -> tuple[list[Snapshot], CriticalPath]:
    """So many snapshots, and the model with what it had learnt by then."""
    settings = Settings(orders=900, days=40, seed=1, work_s=WORK_S)
    history = Simulation(settings, samples(ROOT / "examples")).kept()
    now = START + timedelta(days=37.4)
    replay = replayed(history, now)
    found = [replay.snapshot(order_id, now) for order_id in sorted(replay.plans)]
    known = [replace(each, load=dict(each.load)) for each in found if each is not None]
    made = [replace(known[at % len(known)], order_id=f"simulated-copy-{at}") for at in range(count)]
    return made, CriticalPath(replay.durations)


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
    builtin_s = seconds(model.predict, snapshots)
    frames_s = seconds(lambda some: frame_of(some, model), snapshots)
    print(f"{len(snapshots):,} plans in flight, {items:.1f} items each (simulated), one core")
    print(f"built-in model: {builtin_s:.2f} s; with the features of the learnt forms: {frames_s:.2f} s")
    if builtin_s > BAR_S * len(snapshots) / BAR_PLANS:
        print(f"missed: {BAR_S:g} s for {BAR_PLANS:,} plans")
        sys.exit(1)


if __name__ == "__main__":
    main()
