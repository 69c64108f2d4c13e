"""`make soak`: half an hour at half of what the machine can do, with a fault every half minute; memory and connections.

    python -m tests.faults.soak --minutes 30 --every 30 --seed 1
    python -m tests.faults.soak --judge docs/soak.json    # judges and draws once more what a soak has left

Capacity is measured first: how fast so many orders end that are sent without a pause. The faults are those of
`kinds.py` that a cluster on one node survives by itself, drawn from the seed. At the end everything that was
acknowledged has to have ended once, by the checker that sees only rows and the systems' log; docs/soak.json and
docs/soak.svg show what the processes used meanwhile. Growth is told by process (`growth.py`), since every kill makes a
role begin small again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.faults.checker import CATEGORIES
from tests.faults.growth import SLOPE_MAX_MB_PER_MIN, Lives, judged, not_flat
from tests.faults.harness import say
from tests.faults.kinds import KINDS, Kind
from tests.faults.processes import Process, process
from tests.faults.scene import Scene
from tests.faults.table import evidence_of, judge_files
from tests.support.replay_check import replay_differences
from tests.support.until import until

ROOT: Final = Path(__file__).parents[2]
CAPACITY_ORDERS: Final = 1_500
CAPACITY_ORDERS_S: Final = 1_000.0
"""Faster than anything here: the senders' number is what bounds it."""
BATCH_S: Final = 10.0
VISITS_SHARE: Final = 0.05
SAMPLE_S: Final = 10.0
WHOLE_S: Final = 90.0
END_S: Final = 400.0
CONNECTIONS_GROWTH_MAX: Final = 1.25
"""Connections of the last third to those of the second: what grows by more than a quarter is not flat."""
SURVIVED: Final = tuple(kind for kind in KINDS if kind.setup == "one node" and kind.expected != "started again")
COLOURS: Final = ("#1b6ca8", "#c8553d", "#588157", "#8d5a97", "#b08900", "#4a4e69", "#2a9d8f", "#7f4f24")


@dataclass
class Samples:
    """What the processes used, by role: resident MB, and connections to the database."""

    at_s: list[float] = field(default_factory=list)
    mb: dict[str, list[float | None]] = field(default_factory=dict)
    connections: list[int] = field(default_factory=list)
    lives: Lives = field(default_factory=Lives)

    def add(self, at_s: float, used: Mapping[tuple[str, Process], float], connections: int) -> None:
        """One sample, by role and process; a role that is not there just then has None."""
        mb: dict[str, float] = defaultdict(float)
        for (role, _), each in used.items():
            mb[role] += each
        for role in mb.keys() - self.mb.keys():
            self.mb[role] = [None] * len(self.at_s)
        self.at_s.append(round(at_s, 1))
        self.connections.append(connections)
        for role, values in self.mb.items():
            values.append(round(mb[role], 1) if role in mb else None)
        self.lives.add(at_s, used)

    def connections_growth(self) -> float:
        """The mean of the last third to that of the second."""
        third = len(self.connections) // 3
        if third == 0:
            return 1.0
        second, last = self.connections[third : 2 * third], self.connections[2 * third :]
        return round((sum(last) / len(last)) / (sum(second) / len(second)), 2)


async def sample(scene: Scene, samples: Samples, began: float) -> None:
    """Look every few seconds, for ever."""
    while True:
        with contextlib.suppress(AssertionError, OSError):
            pids = await scene.target.pids()
            used: dict[tuple[str, Process], float] = {}
            for name, pid in pids.items():
                found, resident_mb = process(pid), _resident_mb(pid)
                if found is not None and resident_mb:
                    used["hosts" if name.startswith("host-") else name, found] = resident_mb
            rows = await scene.target.rows("select count(*) as n from pg_stat_activity where datname is not null")
            # The nearest first: the server before its backends, which are parts of its life.
            servers = [each for each in scene.processes() if "postgres" in each.command.split(" ")[0]]
            if servers:
                used["postgres", servers[0]] = sum(_own_mb(each.pid) for each in servers)
            samples.add(time.monotonic() - began, used, rows[0]["n"])
        await asyncio.sleep(SAMPLE_S)


def _resident_mb(pid: int) -> float:
    return _status_kb(pid, "VmRSS:") / 1024


def _own_mb(pid: int) -> float:
    """Without the pages that all backends share."""
    return _status_kb(pid, "RssAnon:") / 1024


def _status_kb(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


async def capacity(scene: Scene) -> float:
    """Orders a second that end, and whose channel has heard of it, while so many are sent without a pause."""
    documents = scene.orders("capacity", CAPACITY_ORDERS, 0)
    names = [each["externalId"] for each in documents]
    began = time.monotonic()
    await scene.target.client.send_all(documents, CAPACITY_ORDERS_S)
    await until(lambda: _all_ended(scene, names), END_S, 0.1)
    scene.sent_of_run = names
    await until(lambda: not scene.untold(), END_S, 0.1)
    return CAPACITY_ORDERS / (time.monotonic() - began)


async def _all_ended(scene: Scene, names: list[str]) -> bool:
    rows = await scene.target.rows(
        "select count(*) as ended from product_order where external_id = any($1) and ended_at is not null", names
    )
    return int(rows[0]["ended"]) == len(names)


async def send(scene: Scene, orders_s: float, until_s: float, sent: list[str]) -> None:
    """Send batch after batch at the rate, whatever happens meanwhile."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        number = 0
        while loop.time() < until_s:
            count = round(orders_s * BATCH_S)
            visits = round(count * VISITS_SHARE)
            documents = scene.orders(f"soak.{number}", count - visits, visits)
            sent += [each["externalId"] for each in documents]
            group.create_task(scene.target.client.send_all(documents, orders_s))
            number += 1
            await asyncio.sleep(BATCH_S)


async def strike(scene: Scene, every_s: float, until_s: float, struck: list[dict[str, Any]], began: float) -> None:
    """Let a fault strike every so many seconds, once the last one is over."""
    loop = asyncio.get_running_loop()
    at_s = loop.time() + every_s
    while at_s < until_s:
        await asyncio.sleep(max(0.0, at_s - loop.time()))
        kind: Kind = scene.random.choice(SURVIVED)
        noted: dict[str, Any] = {"kind": kind.name, "atS": round(time.monotonic() - began, 1)}
        say(f"{noted['atS']:7.1f} s  {kind.what}")
        await until(scene.is_whole, WHOLE_S)
        await kind.strike(scene)
        await until(scene.is_whole, WHOLE_S)
        struck.append(noted)
        at_s = max(at_s + every_s, loop.time() + 1.0)


async def run(minutes: float, every_s: float, seed: int) -> dict[str, Any]:
    """The whole soak; what came of it."""
    with tempfile.TemporaryDirectory(prefix="op-", ignore_cleanup_errors=True) as name:
        async with Scene(Path(name), "one node", seed) as scene:
            await until(scene.is_whole, WHOLE_S)
            measured = await capacity(scene)
            orders_s = measured / 2
            say(f"capacity {measured:.0f} orders/s; {minutes:g} minutes at {orders_s:.0f}, a fault every {every_s:g} s")
            scene.random = random.Random(f"soak {seed}")
            samples = Samples()
            struck: list[dict[str, Any]] = []
            sent: list[str] = []
            began = time.monotonic()
            until_s = asyncio.get_running_loop().time() + minutes * 60
            looking = asyncio.create_task(sample(scene, samples, began))
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(send(scene, orders_s, until_s, sent))
                    group.create_task(strike(scene, every_s, until_s, struck, began))
                await until(lambda: _all_ended(scene, sent), END_S, 1.0)
            finally:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)
            scene.sent_of_run = sent
            judged = await asyncio.to_thread(judge_files, await evidence_of(scene))
            differences = await replay_differences(scene.running.dsn)
            news = await told(scene)
            if news["untold"]:
                differences.append(f"the channel never heard of {news['untold']} completions: {news}")
            return {
                "minutes": minutes,
                "seed": seed,
                "capacityOrdersPerS": round(measured, 1),
                "ordersPerS": round(orders_s, 1),
                "orders": len(sent),
                "refused": scene.target.client.refused,
                "faults": struck,
                "problems": [*judged.pop("wrong"), *differences][:20],
                **{category: judged[category] for category in CATEGORIES},
                "growth": samples.lives.growth(),
                "growthMaxMbPerMin": SLOPE_MAX_MB_PER_MIN,
                "news": news,
                "connectionsGrowth": samples.connections_growth(),
                "samples": {"atS": samples.at_s, "mb": samples.mb, "connections": samples.connections},
            }


async def told(scene: Scene) -> dict[str, Any]:
    """Wait until the channel has heard of every completion, for as long as it hears of more; what came of it."""
    heard, since = -1, time.monotonic()
    while True:
        [row] = await scene.target.rows("select state, backlog, delivered, missed from hub_listener")
        untold = len(scene.untold())
        if row["delivered"] != heard:
            heard, since = row["delivered"], time.monotonic()
        if not untold or time.monotonic() - since > WHOLE_S:
            return {"untold": untold, **dict(row)}
        await asyncio.sleep(SAMPLE_S)


def picture(result: dict[str, Any]) -> str:
    """Memory and connections over time, the faults as ticks, as SVG."""
    samples = result["samples"]
    width, height, left, top = 900, 420, 60, 30
    last_s = max(samples["atS"], default=1.0)
    lines = {**samples["mb"], "connections": samples["connections"]}
    highest = max((each for values in lines.values() for each in values if each is not None), default=1.0)

    def at(second: float, value: float) -> str:
        return f"{left + second / last_s * (width - left - 160):.1f},{top + (1 - value / highest) * height:.1f}"

    drawn = [
        f'<text x="{left}" y="18">Soak: {result["minutes"]:g} minutes at {result["ordersPerS"]:g} orders/s, '
        f"{len(result['faults'])} faults (ticks). MB resident by role, and connections to PostgreSQL.</text>",
        f'<text x="{left}" y="{top + height + 24}">MB a minute: how fast the lowest points rise in the long '
        f"lives of each role; at most {result['growthMaxMbPerMin']:g}.</text>",
        *(f'<text x="8" y="{top + (1 - part) * height + 4:.0f}">{highest * part:.0f}</text>' for part in (0, 0.5, 1)),
    ]
    for index, (name, values) in enumerate(lines.items()):
        colour = COLOURS[index % len(COLOURS)]
        points = " ".join(
            at(second, value) for second, value in zip(samples["atS"], values, strict=True) if value is not None
        )
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        slope = result["growth"].get(name, {}).get("mbPerMin")
        label = name if slope is None else f"{name} {slope:+.1f}/min"
        drawn.append(f'<text x="{width - 150}" y="{top + 16 * (index + 1)}" fill="{colour}">{label}</text>')
    for fault in result["faults"]:
        x = at(fault["atS"], 0).split(",")[0]
        drawn.append(f'<line x1="{x}" x2="{x}" y1="{top + height}" y2="{top + height + 8}" stroke="#333"/>')
    body = "\n".join(drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height + 60}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def main() -> int:
    """Soak; 1 when something was lost, doubled or too early, or when memory or connections grew."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=30.0, help="seconds from fault to fault")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--judge", type=Path, help="no soak: judge and draw what this soak.json holds")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder for soak.json and soak.svg")
    options = parser.parse_args()
    # Before, not after half an hour.
    options.out.mkdir(parents=True, exist_ok=True)
    if options.judge is None:
        result = asyncio.run(run(options.minutes, options.every, options.seed))
    else:
        result = json.loads(options.judge.read_text())
        for each in result["growth"].values():
            each["mbPerMin"] = judged(each["lives"])
    (options.out / "soak.json").write_text(json.dumps(result) + "\n")
    (options.out / "soak.svg").write_text(picture(result))
    say(json.dumps({name: value for name, value in result.items() if name != "samples"}))
    grown = not_flat(result["growth"])
    if result["connectionsGrowth"] > CONNECTIONS_GROWTH_MAX:
        grown.append(f"connections (by {result['connectionsGrowth']:g} from one third to the next)")
    if grown:
        say(f"not flat: {', '.join(grown)}")
    return int(bool(result["problems"] or result["refused"] or grown))


if __name__ == "__main__":
    sys.exit(main())
