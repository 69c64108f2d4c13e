"""The results as files: all rounds as JSON, the medians as a page and as a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bar:
    """One claim: where its figure stands, and what it has to reach."""

    what: str
    place: str
    """Path in the medians, with dots between."""
    bar: float
    is_most: bool = False
    """The figure must not be more, instead of not less."""
    stretch: float | None = None

    def holds(self, value: float) -> bool:
        return value <= self.bar if self.is_most else value >= self.bar


BARS: Final = (
    Bar("`ten`, one order a request: orders/s", "ten.orders_s", 1_000, stretch=1_400),
    Bar("... of the floor", "ratios.ten_to_floor", 0.15, stretch=0.25),
    Bar("... to DBOS", "ratios.ten_to_dbos", 30),
    Bar("`ten` in bulk: orders/s", "bulk.orders_s", 1_500, stretch=1_800),
    Bar("... of the floor", "ratios.bulk_to_floor", 0.23, stretch=0.3),
    Bar("at 10 orders/s, from due to completed: p50 ms", "calm.p50_ms", 15, is_most=True),
    Bar("... p99 ms", "calm.p99_ms", 40, is_most=True),
    Bar("at 300 orders/s, from due to completed: p99 ms", "busy.p99_ms", 250, is_most=True),
    Bar("at 500 orders/s, acknowledgement: p99 ms", "acknowledged.acknowledged_p99_ms", 50, is_most=True),
    Bar("`wide`: CPU an item, to that of `ten`", "ratios.wide_to_ten_cpu", 2, is_most=True),
    Bar("... p99 of 50 small orders/s beside it, to alone", "ratios.beside_wide_p99", 2, is_most=True),
    Bar("plans waiting for people: MB over an empty system", "waiting.grown_mb", 1_500, is_most=True),
    Bar("... bytes of disk a plan", "waiting.disk_bytes_a_plan", 6_000, is_most=True),
    Bar("... activation: p99 ms", "waiting.activation_p99_ms", 30, is_most=True),
    Bar("... `ten` beside them, to an empty system", "ratios.beside_waiting", 0.8),
    Bar("a host killed among them and 10,000 active plans: s to the first call", "struck.killed_first_call_s", 5, True),
    Bar("... s until the last of its plans went on", "struck.killed_overdue_max_s", 20, is_most=True),
    Bar("a host stopped: s until the last of its plans went on", "struck.stopped_overdue_max_s", 20, is_most=True),
    Bar("`ten` beside 1,000,000 finished orders, to an empty database", "ratios.beside_finished", 0.85),
)
"""What the product is measured by; ratios are of figures of one round."""

TOLD: Final = (
    ("dispatch (last dependency done to call begun) at 10 orders/s: p50 ms", "dispatch.p50_ms_at_10"),
    ("... p99 ms", "dispatch.p99_ms_at_10"),
    ("dispatch at 500 orders/s: p50 ms", "dispatch.p50_ms_at_500"),
    ("... p99 ms", "dispatch.p99_ms_at_500"),
    ("`wide`, 2,000 lines, 10,000 calls: seconds", "wide.seconds"),
    ("`deep`, 200 calls in sequence: p50 ms", "deep.p50_ms"),
    ("`people`: tasks/s", "people.tasks_s"),
    ("... completing a task: p99 ms", "people.completed_p99_ms"),
    ("`mixed`, the example catalogues: orders/s", "mixed.orders_s"),
    ("... items/s", "mixed.items_s"),
    ("plans waiting for people", "waiting.plans"),
    ("... loaded a second", "waiting.loaded_s"),
    ("active plans when the host was killed", "struck.killed_active"),
    ("... of that host", "struck.killed_of_its_own"),
    ("... s until the first call when it was stopped", "struck.stopped_first_call_s"),
    ("finished orders of the history", "finished.finished"),
)
PEERS: Final = (("floor", "floor"), ("orderplan, bulk", "bulk"), ("orderplan, one a request", "ten"), ("DBOS", "dbos"))


USUAL, LARGE = "performance.json", "performance-large.json"
"""The parts that are measured together, and those that were measured on request."""


def write(found: Figures, folder: Path, *, is_large: bool) -> None:
    """Write what was measured, and the page and the picture of this and of what the other file holds."""
    (folder / (LARGE if is_large else USUAL)).write_text(json.dumps(found, indent=1) + "\n")
    usual, large = (
        json.loads((folder / name).read_text()) if (folder / name).exists() else None for name in (USUAL, LARGE)
    )
    (folder / "PERFORMANCE.md").write_text(page(usual or found, large))
    (folder / "performance.svg").write_text(picture((usual or found)["median"]))


def page(found: Figures, large: Figures | None = None) -> str:
    """The page of the documentation; `large` has the parts that were measured on request."""
    median, machine = found["median"], found["machine"]
    if large is not None:
        ratios = large["median"].get("ratios", {}) | median.get("ratios", {})
        median = large["median"] | median | {"ratios": ratios}
    lines = _HEAD.format(rounds=len(found["rounds"]), **machine).splitlines()
    lines += ["", "## The bars", "", "| what | bar | stretch | measured | |", "|---|---:|---:|---:|---|"]
    for bar in BARS:
        value = at(median, bar.place)
        sign = "≤ " if bar.is_most else "≥ "
        stretch = f"{bar.stretch:g}" if bar.stretch is not None else ""
        reached = "" if value is None else "reached" if bar.holds(value) else "**missed**"
        lines.append(f"| {bar.what} | {sign}{bar.bar:g} | {stretch} | {_shown(value)} | {reached} |")
    lines += ["", "## Other figures", "", "| what | measured |", "|---|---:|"]
    lines += [f"| {what} | {_shown(at(median, place))} |" for what, place in TOLD]
    lines += ["", "## Beside others", ""]
    lines += ["| system | orders/s | p50 / p99 ms at 10 orders/s | CPU s per 1,000 items | MB |"]
    lines += ["|---|---:|---:|---:|---:|"]
    for name, part in PEERS:
        calm = "calm" if part == "ten" else part
        waits = " / ".join(_shown(at(median, f"{calm}.{each}")) for each in ("p50_ms", "p99_ms"))
        memory = at(median, f"{part}.memory_mb")
        if part == "ten":
            memory = round(sum(median.get("memory_mb", {}).values()), 1) or None
        figures = [at(median, f"{part}.{each}") for each in ("orders_s", "cpu_s_per_1000_items")]
        lines.append(f"| {name} | {_shown(figures[0])} | {waits} | {_shown(figures[1])} | {_shown(memory)} |")
    one, bulk = (median.get(part, {}).get("cpu_ms_per_order", {}) for part in ("ten", "bulk"))
    memory = median.get("memory_mb", {})
    sum_ms = sum(one.values())
    full = machine["cores"] * 1000 / sum_ms if sum_ms else 0
    lines += ["", *_TAIL.format(sum_ms=_shown(sum_ms), cores=machine["cores"], full=_shown(full)).splitlines(), ""]
    lines += ["| process | CPU ms an order, one a request | in bulk | MB |", "|---|---:|---:|---:|"]
    for name in dict.fromkeys([*one, *bulk]):
        lines.append(f"| {name} | {_shown(one.get(name))} | {_shown(bulk.get(name))} | {_shown(memory.get(name))} |")
    return "\n".join(lines) + "\n"


def at(figures: Figures, place: str) -> float | None:
    """The number at a path, if it was measured."""
    found: Any = figures
    for part in place.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return float(found)


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"


def picture(median: Figures) -> str:
    """Orders a second beside the peers', on a scale of tens, as SVG."""
    rows = [(name, at(median, f"{part}.orders_s")) for name, part in PEERS]
    shown = [(name, value) for name, value in rows if value]
    width, left, row = 760, 190, 34
    top = max((math.log10(value) for _, value in shown), default=1.0)
    drawn = []
    for index, (name, value) in enumerate(shown):
        y, length = 40 + index * row, (width - left - 90) * math.log10(value) / top
        drawn += [
            f'<text x="{left - 10}" y="{y + 15}" text-anchor="end">{name}</text>',
            f'<rect x="{left}" y="{y}" width="{length:.1f}" height="20" fill="#1b6ca8"/>',
            f'<text x="{left + length + 8:.1f}" y="{y + 15}">{value:,.0f}</text>',
        ]
    body = "\n".join(drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{50 + len(shown) * row}" '
        f'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="10" y="20">`ten`: orders completed a second, ten calls each, all durable (logarithmic)</text>\n'
        f"{body}\n</svg>\n"
    )


_HEAD: Final = """# Performance

Made by `make bench`: the medians of {rounds} round(s) on {cores} cores, {plan_hosts} plan host(s), {seconds:g} s each
sustained load, with the load generator and PostgreSQL on the same machine and nothing of its durability switched off.
Every round stands in [performance.json](performance.json). Machines differ and are noisy: a claim is a ratio of figures
of one round. What needs a million plans is measured by `make bench-large`, with two plan hosts
([performance-large.json](performance-large.json)).

![Orders a second](performance.svg)

The workload `ten`: an order whose plan has ten items, six deep (start, three branches of two, join, two in sequence).
Each is a call to a system that answers at once; its start and its completion are stored before what follows from them.
*Floor* is the same workload in one asyncio process with one connection, with no HTTP, no catalogue, no recovery and no
read model (`bench/floor.py`): what every engine of this kind has to do at least. DBOS is measured from its package with
the workload as a workflow of ten steps (`bench/peer_dbos.py`)."""

_TAIL: Final = """The floor and DBOS are one process each; their CPU and MB leave PostgreSQL's out, ours count every
process but the load generator.

## Where the time goes

{sum_ms} ms of CPU an order, one a request, all processes together and the load generator with them: {cores} cores are
full at {full} orders/s. That is the bound. One plan host does not reach it: it decides and commits in turn, so a core
is idle while it waits for its commit. A second one on the same cores gains about a quarter.

- The plan host comes first. Four fifths of its time are in the interpreter, and its profile is flat: deciding, facts
  and their JSON, rows for COPY, messages in and out. What could be done once a tick instead of once an item is.
- PostgreSQL comes next: facts with two indexes, order rows at their beginning and end, one commit a tick.
- The adapters' process has no work of its own here: what it spends is a task and a closure for each call, so that one
  slow call holds up no other.
- From due to completed at low load is a matter of steps, not of CPU: `ten` is seven commits in sequence, each a single
  statement, with a message to the adapters' process and one back between each and the next. `deep` tells what a step
  costs.

To 2,000 orders/s and half of the floor every process would have to do with a quarter of what it takes. That needs
less interpreted code an item: facts that are encoded where they are made, plans that keep their items in columns and
decide a tick's results of one kind together, results that come back with the answer to the call.
"""
