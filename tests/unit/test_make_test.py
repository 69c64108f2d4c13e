"""`make test` runs in two parts: on all cores what shares nothing, one by one what has a server or a cluster."""

import json
import re
from pathlib import Path

import pytest

from tests import conftest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
SERVERS = re.compile(r"^from (tests\.support\.(running|pair|serve)|persistence\.embedded) import", re.MULTILINE)


def test_what_runs_on_all_cores_starts_no_server():
    [named] = re.findall(r"^APART := (.+)$", MAKEFILE, re.MULTILINE)
    modules = [module for folder in named.split() for module in (ROOT / folder).rglob("*.py")]

    assert len(modules) > 100
    assert [str(module) for module in modules if SERVERS.search(module.read_text(encoding="utf-8"))] == []


class Reports:
    """What pytest's reporter has counted."""

    def __init__(self, **counts: int) -> None:
        self._counts = counts

    def getreports(self, outcome: str) -> list[None]:
        return [None] * self._counts.get(outcome, 0)


@pytest.mark.parametrize(("is_worker", "told"), [(False, "8 passed, 2 failed, 1 skipped\n"), (True, None)])
def test_the_last_line_counts_both_parts_and_no_worker_twice(monkeypatch, tmp_path, is_worker, told):
    class Config:
        """Of a worker, or of who has started it."""

    if is_worker:
        Config.workerinput = {}  # type: ignore[attr-defined]
    totals = tmp_path / "totals.json"
    monkeypatch.setenv("ORDERPLAN_TOTALS", str(totals))
    for reports in (Reports(passed=5, skipped=1), Reports(passed=3, failed=1, error=1)):
        conftest.pytest_terminal_summary(reports, Config())  # type: ignore[arg-type]

    text = totals.with_suffix(".txt")
    assert (text.read_text() if text.exists() else None) == told
    assert not totals.exists() or json.loads(totals.read_text())["passed"] == 8
