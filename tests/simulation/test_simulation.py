"""The simulator's part of CI: seeds without a violation, and mutants none of which gets away."""

from __future__ import annotations

import json

import pytest

from tests.simulation.beside import SEEDS, simulate
from tests.simulation.mutants import FIRST, MUTANTS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def caught() -> dict[str, int]:
    """Which seed caught which mutant."""
    _, output, found = simulate("--mutants")
    assert found is not None, output
    return dict(found)


def test_no_seed_breaks_an_invariant() -> None:
    code, output, found = simulate("--seeds", str(SEEDS))

    assert code == 0, output[-25_000:]
    assert found["seeds"] == SEEDS
    assert found["effects"] > SEEDS, "hardly anything happens in these runs"


def test_a_seed_replays_exactly() -> None:
    mutant = "a_dependency_counts_twice"
    seed = str(json.loads(FIRST.read_text())[mutant])
    stories = {simulate("--seed", seed, "--mutant", mutant)[1] for _ in range(2)}

    [story] = stories
    assert "begins before" in story
    assert "shortened from" in story


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_caught(caught: dict[str, int], mutant: str) -> None:
    assert caught[mutant] >= 0, f"{mutant} got away"
