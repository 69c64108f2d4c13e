"""The soak sees a leak in whoever it kills, and takes teeth for no leak."""

from collections.abc import Callable

import pytest

from tests.faults.growth import SLOPE_MAX_MB_PER_MIN, Lives, not_flat
from tests.faults.processes import Process

SAMPLE_S = 10.0


def killed_every(life_s: float, total_s: float, used: Callable[[float], float]) -> Lives:
    """Samples of a role whose process is killed every so often; `used` gives MB by the age of the process."""
    lives = Lives()
    for number in range(int(total_s / SAMPLE_S)):
        at_s = number * SAMPLE_S
        generation, age_s = divmod(at_s, life_s)
        lives.add(at_s, {("host", Process(100 + int(generation), 0)): used(age_s)})
    return lives


def start(age_s: float) -> float:
    """A process takes 20 MB more in its first minute."""
    return 80 + 20 * min(age_s, 60) / 60


def tooth(age_s: float, period_s: float) -> float:
    """Up to 15 MB of garbage."""
    return 15 * (age_s % period_s) / period_s


@pytest.mark.parametrize("life_s", [180, 240, 1_800])
def test_a_steady_leak_is_seen_however_often_its_process_is_killed(life_s: float) -> None:
    growth = killed_every(life_s, 1_800, lambda age_s: start(age_s) + 3 * age_s / 60).growth()

    assert growth["host"]["mbPerMin"] == pytest.approx(3, abs=0.1)
    assert not_flat(growth) == [f"host (+3.0 MB a minute, at most {SLOPE_MAX_MB_PER_MIN:g})"]


def test_a_leak_under_teeth_is_seen() -> None:
    growth = killed_every(240, 1_800, lambda age_s: start(age_s) + 5 * age_s / 60 + tooth(age_s, 50)).growth()

    assert not_flat(growth) != []


@pytest.mark.parametrize("period_s", [20, 30, 50])
@pytest.mark.parametrize("life_s", [240, 1_800])
def test_a_sawtooth_is_no_leak(life_s: float, period_s: float) -> None:
    growth = killed_every(life_s, 1_800, lambda age_s: start(age_s) + tooth(age_s, period_s)).growth()

    assert not_flat(growth) == []


def test_a_process_that_begins_small_again_and_again_is_no_leak() -> None:
    assert not_flat(killed_every(200, 1_800, start).growth()) == []


def test_a_long_life_that_is_flat_says_more_than_short_ones_that_fill_their_caches() -> None:
    lives = Lives()
    for number in range(180):
        began, age_s = (0, number * SAMPLE_S) if number < 120 else (1, (number - 120) * SAMPLE_S)
        lives.add(number * SAMPLE_S, {("postgres", Process(7, began)): 100 + (0 if began == 0 else age_s / 6)})

    growth = lives.growth()

    assert growth["postgres"]["mbPerMin"] == 0
    assert growth["postgres"]["lives"][1]["mbPerMin"] == pytest.approx(10)


def test_lives_that_are_too_short_tell_nothing_and_that_is_said() -> None:
    growth = killed_every(90, 1_800, start).growth()

    assert growth["host"]["mbPerMin"] is None
    assert not_flat(growth) == ["host (no life long enough to tell)"]


def test_the_same_number_given_out_again_is_another_life() -> None:
    lives = Lives()
    for number in range(60):
        began = number // 30
        lives.add(number * SAMPLE_S, {("gateway", Process(7, began)): 200.0 - 100 * began})

    assert [each["mbPerMin"] for each in lives.growth()["gateway"]["lives"]] == [0, 0]
