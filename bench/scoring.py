"""What scoring costs orders: `python -m bench.scoring`. Throughput of `ten` with the delay predictor, to that without.

In each round two clusters come up one after the other, alike but for the predictor, in an order that changes from round
to round. The bar is the median of the rounds' ratios. Orders of `ten` are over before they are a second old, so hardly
one is scored: what they pay for is that every fact of theirs is read and learnt from. Those that last can be loaded
beside them (`--waiting`): they wait for people, and are scored again and again.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import urllib.request
from collections.abc import Sequence
from typing import Final, NamedTuple

from bench.cluster import Measured, apart
from bench.figures import Settings
from bench.run import WARM_UP_ORDERS

BAR: Final = 0.9
PREDICTOR: Final = "DelayPredictorActor"


class Arm(NamedTuple):
    """One cluster of a round; `facts` and `scored` are the predictor's."""

    orders_s: float
    facts: float = 0.0
    scored: float = 0.0
    predictor_cpu_ms: float = 0.0
    """Of each order."""


class Round(NamedTuple):
    """Two clusters, one after the other."""

    on: Arm
    off: Arm

    @property
    def ratio(self) -> float:
        """Orders a second with scoring, to those without."""
        return self.on.orders_s / self.off.orders_s

    def __str__(self) -> str:
        on = self.on
        return (
            f"on {on.orders_s:,.1f} orders/s, off {self.off.orders_s:,.1f}: {self.ratio:.3f}; the predictor took "
            f"{on.predictor_cpu_ms:.2f} ms of CPU an order, read {on.facts:,.0f} facts and gave {on.scored:,.0f} scores"
        )


def measured(settings: Settings, is_on: bool) -> Arm:
    """Throughput on a cluster of its own."""
    with Measured(settings.plan_hosts, delay_scoring=is_on) as cluster:
        cluster.load("closed", orders=WARM_UP_ORDERS, connections=settings.connections)
        if settings.waiting:
            cluster.finish_sending(
                cluster.start_load(
                    "closed", scenario="people", orders=settings.waiting, connections=settings.connections
                )
            )
        load = cluster.load("closed", seconds=settings.seconds, connections=settings.connections)
        if not is_on:
            return Arm(load.orders_s)
        with urllib.request.urlopen(cluster.url + "/metrics", timeout=30) as answer:
            told = answer.read().decode()
        spent_ms = load.cpu_ms_per_order().get(PREDICTOR, 0.0)
        return Arm(load.orders_s, figure(told, "facts"), figure(told, "scored"), spent_ms)


def figure(metrics: str, name: str) -> float:
    """A counter of the predictor in the text of Prometheus; 0 if it is not there."""
    for line in metrics.splitlines():
        if line.startswith("orderplan_actor{") and 'actor="predictor"' in line and f'"{name}"' in line:
            return float(line.rpartition(" ")[2])
    return 0.0


def verdict(rounds: Sequence[Round]) -> tuple[bool, str]:
    """(whether the bar is reached, in words)."""
    if any(each.on.facts == 0 for each in rounds):
        return False, "the predictor has read nothing: there is nothing to compare"
    ratio = statistics.median(each.ratio for each in rounds)
    reached = "reached" if ratio >= BAR else "missed"
    return ratio >= BAR, f"throughput of ten with scoring, to that without: {ratio:.3f} (bar {BAR:g}: {reached})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.scoring")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each load")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--plan-hosts", type=int, default=2)
    parser.add_argument("--waiting", type=int, default=0, help="orders in progress beside them, which are scored")
    given = parser.parse_args()
    settings = Settings(given.seconds, given.connections, given.plan_hosts, waiting=given.waiting)
    rounds = []
    for number in range(given.rounds):
        is_first = number % 2 == 0
        arms = {is_on: apart(measured, settings, is_on) for is_on in (is_first, not is_first)}
        rounds.append(Round(arms[True], arms[False]))
        print(f"round {number + 1}: {rounds[-1]}", flush=True)
    is_reached, words = verdict(rounds)
    print(words)
    sys.exit(0 if is_reached else 1)


if __name__ == "__main__":
    main()
