"""A few kinds of the table of real faults, for one seed, with all tests; the whole table with `make faults-table`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.kinds import KINDS
from tests.faults.scene import Scene
from tests.faults.table import run_one
from tests.support.folders import IN_MEMORY

pytestmark = pytest.mark.faults

SEED = int(os.environ.get("ORDERPLAN_SEED", "20260302"))
QUICK = ("kill-adapters", "kill-people", "postgres-cut", "remote-cuts")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="op-", dir=IN_MEMORY, ignore_cleanup_errors=True) as name:
        yield Path(name)


async def test_a_fault_of_each_family_loses_nothing_and_doubles_nothing(folder, capsys):
    with capsys.disabled():
        async with Scene(folder, "one node", SEED) as scene:
            for number, kind in enumerate(each for each in KINDS if each.name in QUICK):
                result = await run_one(scene, kind, SEED, number)

                assert result["problems"] == [], f"{kind.name}, seed {SEED}"
                assert (result["lost"], result["doubled"], result["order"], result["other"]) == (0, 0, 0, 0)
                assert result["inFlight"] > 0
                assert result["replayEqual"]
