"""Random changes of random orders, a small part of what `make changes-properties` plays."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

CASES = int(os.environ.get("ORDERPLAN_CHANGES", "200"))


@pytest.mark.slow
def test_no_random_change_leaves_behind_what_it_must_not() -> None:
    command = [sys.executable, "-m", "tests.changes", "--cases", str(CASES), "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONHASHSEED": "0"}
    )

    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["cases"] == CASES
    assert found["counts"]["amended"] > CASES / 10, "hardly anything is changed in these cases"
    assert found["counts"]["cancelled whole"] > CASES / 20
