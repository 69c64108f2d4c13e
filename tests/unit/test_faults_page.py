"""The table of real faults in the docs is what the runs gave, and covers what it has to."""

import json
import random
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

from tests.faults.evidence import judge
from tests.faults.kinds import KINDS
from tests.faults.scene import Scene
from tests.faults.table import PAGE, RESULTS, page, run_one

RESULTS_OF_RUNS = json.loads(RESULTS.read_text())


def test_the_page_is_drawn_from_the_results():
    assert PAGE.read_text() == page(RESULTS_OF_RUNS)


def test_every_kind_was_run_for_three_seeds_and_nothing_was_wrong():
    runs = Counter(each["kind"] for each in RESULTS_OF_RUNS if "notRun" not in each)

    assert runs.keys() == {kind.name for kind in KINDS}
    assert len(runs) >= 20
    assert min(runs.values()) >= 3
    for each in RESULTS_OF_RUNS:
        counts = [each[name] for name in ("lost", "doubled", "order", "other")]
        assert (each["kind"], counts, each["problems"], each["replayEqual"]) == (each["kind"], [0, 0, 0, 0], [], True)
        assert each["inFlight"] > 0, each["kind"]


def line(key: str, item: str, started: str, ended: str, status: int = 200) -> dict[str, object]:
    """A line of the systems' log; times are seconds of one minute."""
    at = {"startedAt": f"2030-01-31T12:00:{started}Z", "endedAt": f"2030-01-31T12:00:{ended}Z"}
    return {"key": key, "item": item, "status": status, "repeat": False, "payload": {}} | at


def test_times_are_those_of_the_systems_log(tmp_path):
    calls = [
        line("o0-1/a/1", "a", "01.000000", "02.000000"),
        # Begun before the fault and never answered: neither begins nor ends after it.
        line("o0-1/b/1", "b", "02.000000", "09.000000", status=0),
        line("o0-1/b/1", "b", "07.000000", "08.500000"),
        # An order that came after the fault.
        line("o0-2/a/1", "a", "09.000000", "20.000000"),
    ]
    run = {
        "faultAt": "2030-01-31T12:00:03.000000Z",
        "inFlight": ["x-1"],
        "sent": ["x-1", "x-2"],
        "edges": {"x": [["b", "a"]]},
    }
    orders = [{"order_id": "o0-1", "external_id": "x-1", "state": "inProgress", "ended_at": None}]
    for name, rows in (("calls", calls), ("facts", []), ("orders", orders)):
        lines = (json.dumps({"active": False, "timer_at": None} | row) + "\n" for row in rows)
        (tmp_path / f"{name}.ndjson").write_text("".join(lines))
    (tmp_path / "acknowledged.json").write_text('{"x-1": "o0-1"}')
    (tmp_path / "run.json").write_text(json.dumps(run))
    judged = judge(tmp_path)

    assert (judged["recoverS"], judged["silenceS"], judged["settledS"]) == (4.0, 4.0, 5.5)
    assert judged["orders"] == 2
    assert judged["lost"] > 0


class GoneScene:
    """A cluster in which all orders had ended before the fault, and which nobody hears of after it."""

    def __init__(self, folder: Any) -> None:
        self.folder = folder
        self.random = random.Random(0)
        self.rogue = SimpleNamespace(seed=lambda _: None, mischief=Counter())
        self.notes: Counter[str] = Counter()
        self.starts = 1
        self.in_flight = {"x-2"}
        self.sent_of_run = ["x-1", "x-2"]
        client = SimpleNamespace(refused=[], acknowledged={"x-1": "o0-1", "x-2": "o0-2"})
        self.target = SimpleNamespace(client=client, rows=self.rows)

    def orders(self, run: str) -> list[dict[str, Any]]:
        return []

    async def is_whole(self) -> bool:
        return True

    async def under_fault(self, *_: Any) -> None:
        return

    async def rows(self, sql: str, *_: Any) -> list[dict[str, Any]]:
        raise AssertionError("ask did not come true within 60 s")


async def test_a_cluster_that_never_comes_back_has_lost_what_it_acknowledged(tmp_path):
    result = await run_one(cast(Scene, GoneScene(tmp_path)), KINDS[0], 7, 0)

    assert "notRun" not in result
    assert result["lost"] == 2
    assert result["problems"] == ["the cluster did not come back"]
    drawn = page([result])
    assert "not run" not in drawn
    assert "| 7 | 2 | 1 | 2 | ? | ? | ? | ? |" in drawn
    assert f"- `{KINDS[0].name}`, seed 7: the cluster did not come back" in drawn
