"""Runs every kind of fault for every seed, and writes docs/faults.json and docs/FAULTS.md.

    python -m tests.faults.table --seeds 1,2,3                 # everything
    python -m tests.faults.table --kinds kill-host --seeds 7   # what was run takes its place among the other rows

Kinds of one setup share a cluster as long as it is well; the first wrong result ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.faults.disk import can_mount
from tests.faults.harness import say
from tests.faults.kinds import KINDS, Kind
from tests.faults.processes import Process
from tests.faults.scene import EDGES, Scene
from tests.support.replay_check import replay_differences
from tests.support.until import until

ROOT: Final = Path(__file__).parents[2]
RESULTS: Final = ROOT / "docs" / "faults.json"
PAGE: Final = ROOT / "docs" / "FAULTS.md"
RUNS_PER_CLUSTER: Final = 12
WHOLE_S: Final = 90.0
TOLD_S: Final = 60.0
Result = dict[str, Any]


async def run_one(scene: Scene, kind: Kind, seed: int, number: int) -> Result:
    """One kind of fault, once, on a cluster that is well."""
    scene.random = random.Random(f"{kind.name}/{seed}")
    scene.rogue.seed(scene.random.getrandbits(32))
    began = time.monotonic()
    starts, refused = scene.starts, len(scene.target.client.refused)
    before = scene.rogue.mischief + scene.notes
    victims: list[Process] = []

    async def strike(struck: Scene) -> None:
        victims.extend(await kind.strike(struck))

    progress = scene.random.uniform(0.2, 0.45)
    problems: list[str] = []
    try:
        await until(scene.is_whole, WHOLE_S)
        await scene.under_fault(scene.orders(f"{kind.name}.{seed}.{number}"), progress, strike)
    except AssertionError as error:
        problems.append(" ".join([f"did not end: {error}", *getattr(error, "__notes__", ())])[:3_000])
    result: Result = {"kind": kind.name, "seed": seed}
    try:
        result |= await asyncio.to_thread(judge_files, await evidence_of(scene))
    except AssertionError:
        # There is no database to ask.
        problems.append("the cluster did not come back")
        notes = dict(scene.rogue.mischief + scene.notes - before)
        return result | _all_lost(scene) | {"problems": problems, "notes": notes}
    problems += result.pop("wrong")
    problems += [f"refused: {each}" for each in scene.target.client.refused[refused:]]
    try:
        await until(lambda: not scene.untold(), TOLD_S)
    except AssertionError:
        problems += [f"the channel was not told of its end: {each}" for each in sorted(scene.untold())]
    problems += await _unexpected(scene, kind, victims, starts)
    differences = await replay_differences(scene.running.dsn)
    result["replayEqual"] = differences == []
    result["problems"] = [*problems, *differences][:20]
    result["notes"] = dict(scene.rogue.mischief + scene.notes - before)
    result["tookS"] = round(time.monotonic() - began, 1)
    return result


def _all_lost(scene: Scene) -> Result:
    """What a run comes to that nobody can be asked about: whatever was acknowledged is not there."""
    acknowledged = sum(name in scene.target.client.acknowledged for name in scene.sent_of_run)
    unknown = dict.fromkeys(("doubled", "order", "other", "repeats", *_TIMES, "replayEqual"))
    counts = {"orders": len(scene.sent_of_run), "inFlight": len(scene.in_flight), "lost": max(1, acknowledged)}
    return {**counts, **unknown}


async def _unexpected(scene: Scene, kind: Kind, victims: Sequence[Process], starts: int) -> list[str]:
    """What became of the victims, where it is not what the table says."""
    try:
        await until(scene.is_whole, WHOLE_S)
    except AssertionError:
        return ["the cluster is not whole again"]
    found = []
    if kind.expected == "started again" and scene.starts != starts + 1:
        found.append(f"the cluster was started {scene.starts - starts} times")
    if kind.expected != "started again" and scene.starts != starts:
        found.append("the cluster was started again")
    if kind.expected in ("replaced", "goes on") and not victims:
        found.append("nobody was struck")
    for each in victims:
        if kind.expected == "goes on" and not each.is_alive:
            found.append(f"process {each.pid} was to go on, and has ended")
        if kind.expected == "replaced":
            try:
                await until(partial(_has_ended, each), 30)
            except AssertionError:
                found.append(f"process {each.pid} was to be replaced, and lives")
    return found


def _has_ended(each: Process) -> bool:
    return not each.is_alive


async def evidence_of(scene: Scene) -> Path:
    """The folder of what the run left behind: rows, the stand-ins' log, and what the channel was told."""
    folder = Path(tempfile.mkdtemp(prefix="evidence-", dir=scene.folder))
    columns = "order_id, external_id, state, ended_at, active, timer_at"
    orders = await scene.target.rows(f"select {columns} from product_order")
    facts = await scene.target.rows('select shard, "offset", order_id, item, kind from fact')
    for name, rows in (("orders", orders), ("facts", facts)):
        with (folder / f"{name}.ndjson").open("w") as lines:
            lines.writelines(json.dumps(row, default=str) + "\n" for row in rows)
    (folder / "calls.ndjson").write_bytes(scene.running.calls_log.read_bytes())
    (folder / "acknowledged.json").write_text(json.dumps(scene.target.client.acknowledged))
    run = {"faultAt": scene.fault_at, "inFlight": sorted(scene.in_flight), "sent": scene.sent_of_run, "edges": EDGES}
    (folder / "run.json").write_text(json.dumps(run))
    return folder


def judge_files(folder: Path) -> Result:
    """What the checker says, which runs as a process of its own and sees nothing but the files."""
    command = [sys.executable, "-m", "tests.faults.evidence", str(folder)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    result: Result = json.loads(said.stdout)
    return result


async def run_all(kinds: Sequence[Kind], seeds: Sequence[int]) -> None:
    """Every kind for every seed; each result is written as it comes."""
    numbers = iter(range(1_000_000))
    setups = dict.fromkeys(kind.setup for kind in kinds)
    waiting = [(kind, seed) for setup in setups for seed in seeds for kind in kinds if kind.setup == setup]
    while waiting:
        setup = waiting[0][0].setup
        with tempfile.TemporaryDirectory(prefix="op-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            if setup == "small disk" and not can_mount(folder):
                kind, seed = waiting.pop(0)
                _keep({"kind": kind.name, "seed": seed, "notRun": "a small file system cannot be mounted here"})
                continue
            async with Scene(folder, setup, waiting[0][1]) as scene:
                for _ in range(RUNS_PER_CLUSTER):
                    if not waiting or waiting[0][0].setup != setup:
                        break
                    kind, seed = waiting.pop(0)
                    result = await run_one(scene, kind, seed, next(numbers))
                    _keep(result)
                    say(json.dumps(result))
                    if result["problems"]:
                        _save_logs(scene, kind, seed)
                        break


def _save_logs(scene: Scene, kind: Kind, seed: int) -> None:
    """Keep what a run left that went wrong, where ORDERPLAN_EVIDENCE names a folder for it."""
    wanted = os.environ.get("ORDERPLAN_EVIDENCE")
    if not wanted:
        return
    target = Path(wanted) / f"{kind.name}.{seed}"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for path in [*scene.folder.glob("*.err"), *(scene.folder / "postgres").glob("*.log")]:
        shutil.copy(path, target)
    for path in scene.folder.glob("evidence-*"):
        shutil.copytree(path, target / path.name)
    logs = Path(tempfile.gettempdir()) / "ray" / "session_latest" / "logs"
    shutil.copytree(logs.resolve(), target / "ray", ignore_dangling_symlinks=True)


def _keep(result: Result) -> None:
    """Put a result among those of earlier runs, in the order of the table, and draw the page anew."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    results = [each for each in results if (each["kind"], each["seed"]) != (result["kind"], result["seed"])]
    places = {kind.name: place for place, kind in enumerate(KINDS)}
    results = [each for each in [*results, result] if each["kind"] in places]
    results.sort(key=lambda each: (places[each["kind"]], each["seed"]))
    RESULTS.write_text("[\n" + ",\n".join(json.dumps(each) for each in results) + "\n]\n")
    PAGE.write_text(page(results))


def page(results: Sequence[Result]) -> str:
    """The results as a page of documentation."""
    lines = [*_HEAD.format(kinds=len({each["kind"] for each in results}), runs=len(results)).splitlines(), ""]
    lines += ["## By kind", "", "Sums of the runs of a kind, and the longest of their times.", ""]
    lines += [*_by_kind(results), "", "## Every run", ""]
    lines.append(
        "| fault | lifted | victim | seed | orders | in flight | lost | doubled | too early | other | repeats | "
        "recover s | silence s | settled s | replay |"
    )
    lines.append("|---|---|---|" + "---:|" * 11 + "---|")
    kinds = {kind.name: kind for kind in KINDS}
    for each in results:
        kind = kinds[each["kind"]]
        named = f"| {kind.what} (`{kind.name}`) | {kind.lifted} | {kind.expected} | {each['seed']} |"
        if "notRun" in each:
            lines.append(f"{named} not run: {each['notRun']} |" + " |" * 10)
            continue
        times = " | ".join(f"{each[name]:.1f}" if each[name] is not None else "" for name in _TIMES)
        counts = " | ".join(_shown(each[name]) for name in ("orders", "inFlight", "lost", "doubled", "order"))
        others = len(each["problems"]) if not (each["lost"] or each["doubled"] or each["order"]) else each["other"]
        replay = {True: "equal", False: "DIFFERS", None: "?"}[each["replayEqual"]]
        lines.append(f"{named} {counts} | {_shown(others)} | {_shown(each['repeats'])} | {times} | {replay} |")
    wrong = [each for each in results if each.get("problems")]
    if wrong:
        lines += ["", "## What went wrong", ""]
    for each in wrong:
        lines += [f"- `{each['kind']}`, seed {each['seed']}: {' '.join(said.split())}" for said in each["problems"]]
    return "\n".join(lines) + "\n"


def _by_kind(results: Sequence[Result]) -> list[str]:
    """The runs of each kind as one line: sums of what was counted, and the longest times."""
    names = ("orders", "inFlight", "lost", "doubled", "order", "other")
    lines = [
        "| fault | runs | orders | in flight | lost | doubled | too early | other | recover s | settled s |",
        "|---|" + "---:|" * 9,
    ]
    for kind in KINDS:
        runs = [each for each in results if each["kind"] == kind.name and "notRun" not in each]
        if not runs:
            continue
        counts = " | ".join(str(sum(each[name] or 0 for each in runs)) for name in names)
        times = [[each[name] for each in runs if each[name] is not None] for name in ("recoverS", "settledS")]
        worst = " | ".join(f"{max(each):.1f}" if each else "?" for each in times)
        lines.append(f"| {kind.what} (`{kind.name}`) | {len(runs)} | {counts} | {worst} |")
    return lines


def _shown(count: int | None) -> str:
    """A count, or that nobody could be asked."""
    return "?" if count is None else str(count)


_TIMES: Final = ("recoverS", "silenceS", "settledS")
_HEAD: Final = """# Real faults

{kinds} kinds of faults, {runs} runs, on real processes: Ray, PostgreSQL, HTTP systems. Made by `make faults-table`
(`KIND=kill-host,kill-gateway` and `SEED=7` limit it; about 30 minutes on two cores); every run stands in
[faults.json](faults.json). Linux only; the full disk needs the right to mount a file system.

Each run sends 110 orders of the own-mobile example and 30 visits (a person's task, then a call that is answered by
callback, then a call) at 50 a second to systems that take 0.8 s a call, through a client that repeats a request with
the same key until it is answered. Two people do the tasks, and a listener hears of every change. The fault strikes in
the midst of it, at a moment drawn from the seed. Afterwards every order must have been completed.

- *In flight*: orders sent and not ended when the fault strikes.
- *Lost*: acknowledged and not there or not completed, or work begun and never done. All that was acknowledged, if the
  cluster never came back; what then nobody can be asked about is shown as `?`.
- *Doubled*: stored, completed or performed twice, or a second key without a refusal that was heard.
- *Too early*: an item began before what it waits for was done, by the facts or by the systems' own clock.
- *Other*: anything else that is not as it should be, such as a refused order, a completion that the listener was not
  told, or a victim whose end is not that of the table.
- *Repeats*: calls that a system had done before and was asked for again under the same key. They are harmless, and show
  that answers were lost.
- *Recover*: from the fault until every order that was in flight has gone on, which means that a call of it has begun or
  was completed since, by the systems' log. A call takes 0.8 s by itself.
- *Silence*: the longest time after the fault without any call that begins or is completed, while orders of before it
  were open.
- *Settled*: from the fault to the last completed call of the orders that were in flight.
- *Replay*: whether the facts alone give every stored order, asset, task and fallout row again.

The counts come from `tests/faults/checker.py`, run as a process that sees rows of the database and the systems' log and
shares no code with the product.

What to expect of Ray: a process of ours is replaced by Ray or by the director. The raylet of a single node, or Ray's
control service (without an external store of its own), is not: the cluster has to be started again on the same data, as
after the loss of the whole machine.
"""


def main() -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kinds", default="", help="names, with commas between; all when empty")
    parser.add_argument("--seeds", default="1,2,3")
    args = parser.parse_args()
    names = [name for name in args.kinds.split(",") if name]
    unknown = set(names) - {kind.name for kind in KINDS}
    if unknown:
        parser.error(f"there is no kind {', '.join(sorted(unknown))}; there are {', '.join(k.name for k in KINDS)}")
    chosen = [kind for kind in KINDS if not names or kind.name in names]
    seeds = [int(seed) for seed in args.seeds.split(",")]
    asyncio.run(run_all(chosen, seeds))
    results = json.loads(RESULTS.read_text())
    wanted = {(kind.name, seed) for kind in chosen for seed in seeds}
    wrong = [each for each in results if (each["kind"], each["seed"]) in wanted and each.get("problems")]
    for each in wrong:
        say(f"WRONG {each['kind']} seed {each['seed']}: {each['problems']}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
