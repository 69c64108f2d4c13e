"""A few kinds of the table of real faults, for one seed, with all tests; the whole table with `make faults-table`."""

from __future__ import annotations

import os

import pytest

from tests.faults.kinds import KINDS
from tests.faults.scene import Scene
from tests.faults.table import run_one

pytestmark = pytest.mark.faults

SEED = int(os.environ.get("ORDERPLAN_SEED", "20260302"))
QUICK = ("kill-adapters", "kill-people", "postgres-cut", "remote-cuts")


async def test_a_fault_of_each_family_loses_nothing_and_doubles_nothing(tmp_path_factory, capsys):
    folder = tmp_path_factory.mktemp("faults")
    # The database's user has to get there.
    for each in (folder, *folder.parents[:2]):
        each.chmod(0o755)
    with capsys.disabled():
        async with Scene(folder, "one node", SEED) as scene:
            for number, kind in enumerate(each for each in KINDS if each.name in QUICK):
                result = await run_one(scene, kind, SEED, number)

                assert result["problems"] == [], f"{kind.name}, seed {SEED}"
                assert (result["lost"], result["doubled"], result["order"], result["other"]) == (0, 0, 0, 0)
                assert result["inFlight"] > 0
                assert result["replayEqual"]
