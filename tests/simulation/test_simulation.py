"""The simulator's part of CI: seeds without a violation, and mutants none of which gets away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.simulation.mutants import FIRST, MUTANTS

SEEDS = int(os.environ.get("ORDERPLAN_SEEDS", "2000"))

pytestmark = pytest.mark.slow


def simulate(*arguments: str) -> tuple[subprocess.CompletedProcess[str], Any]:
    """Run the simulator in a process of its own, where names hash alike every time; its last line as JSON."""
    command = [sys.executable, "-m", "tests.simulation", *arguments, "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONHASHSEED": "0"}
    )
    lines = done.stdout.strip().splitlines()
    return done, json.loads(lines[-1]) if lines and lines[-1].startswith("{") else None


@pytest.fixture(scope="module")
def caught() -> dict[str, int]:
    """Which seed caught which mutant."""
    done, found = simulate("--mutants")
    assert found is not None, done.stdout + done.stderr
    return dict(found)


def test_no_seed_breaks_an_invariant() -> None:
    done, found = simulate("--seeds", str(SEEDS))

    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    assert found["seeds"] == SEEDS
    assert found["effects"] > SEEDS, "hardly anything happens in these runs"


def test_a_seed_replays_exactly() -> None:
    mutant = "a_dependency_counts_twice"
    seed = str(json.loads(FIRST.read_text())[mutant])
    stories = {simulate("--seed", seed, "--mutant", mutant)[0].stdout for _ in range(2)}

    [story] = stories
    assert "begins before" in story
    assert "shortened from" in story


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_caught(caught: dict[str, int], mutant: str) -> None:
    assert caught[mutant] >= 0, f"{mutant} got away"
