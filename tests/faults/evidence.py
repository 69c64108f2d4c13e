"""What a run leaves behind, as files, and the script that judges a run by these files alone.

    python -m tests.faults.evidence FOLDER

prints one JSON object: what is wrong, by category, and how long the recovery took. The files: `acknowledged.json`
(order id by external id, as the client was told), `orders.ndjson` and `facts.ndjson` (rows), `calls.ndjson` (the
stand-ins' log), `run.json` (when the fault struck, what was sent and what was in flight, what waits for what).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.faults.checker import CATEGORIES, Row, check, parts_of


def judge(folder: Path) -> dict[str, Any]:
    """Findings and times of the run whose files stand in the folder."""
    run = json.loads((folder / "run.json").read_text())
    orders, facts, calls = (_lines(folder / f"{name}.ndjson") for name in ("orders", "facts", "calls"))
    acknowledged = json.loads((folder / "acknowledged.json").read_text())
    edges: dict[str, list[list[str]]] = run["edges"]
    found = check(acknowledged, orders, facts, calls, lambda external_id: edges[external_id.split("-")[0]])
    flying = set(run["inFlight"])
    in_flight = {order["order_id"] for order in orders if order["external_id"] in flying}
    return {
        "wrong": found.wrong,
        **{category: found.totals[category] for category in CATEGORIES},
        "orders": len(run["sent"]),
        "inFlight": len(flying),
        "repeats": sum(call["repeat"] for call in calls if call["startedAt"] >= run["faultAt"]),
        **_times(run["faultAt"], in_flight, calls),
    }


def _times(fault_at: str, in_flight: set[str], calls: Sequence[Row]) -> dict[str, float | None]:
    """Seconds by the stand-ins' clock.

    recoverS: from the fault until every order in flight at it has gone on (a call of it has begun or was completed).
    silenceS: the longest time after the fault without either, until the last call of an order in flight at the fault.
    settledS: from the fault to the last completed call of the orders in flight at it.
    """
    struck = datetime.fromisoformat(fault_at)
    moments: list[datetime] = []
    first: dict[str, datetime] = {}
    last: datetime | None = None
    for call in calls:
        is_done = 200 <= call["status"] < 300
        order_id = parts_of(call["key"])[0]
        for instant in (call["startedAt"], *([call["endedAt"]] if is_done else [])):
            if instant <= fault_at:
                continue
            moment = datetime.fromisoformat(instant)
            moments.append(moment)
            if order_id in in_flight:
                first[order_id] = min(moment, first.get(order_id, moment))
        if is_done and call["endedAt"] > fault_at and order_id in in_flight:
            ended = datetime.fromisoformat(call["endedAt"])
            last = ended if last is None else max(last, ended)
    if last is None:
        return {"recoverS": None, "silenceS": None, "settledS": None}
    until_last = [struck, *sorted(moment for moment in moments if moment <= last)]
    silence_s = max((after - before).total_seconds() for before, after in pairwise(until_last))
    return {
        "recoverS": round((max(first.values()) - struck).total_seconds(), 3),
        "silenceS": round(silence_s, 3),
        "settledS": round((last - struck).total_seconds(), 3),
    }


def _lines(path: Path) -> list[dict[str, Any]]:
    with path.open() as lines:
        return [json.loads(line) for line in lines]


def main() -> None:
    """Judge the folder that the command line names."""
    sys.stdout.write(json.dumps(judge(Path(sys.argv[1]))) + "\n")


if __name__ == "__main__":
    main()
