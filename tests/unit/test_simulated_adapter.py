"""The simulated adapter: its luck is a function of seed and key, and it waits only when told to."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from adapters.interface import Outcome
from adapters.simulated import SimulatedAdapter
from domain.errors import BadDocument
from tests.support.tasks import NOW, task_of


class Waiting:
    """A sleep that takes no time and is remembered."""

    def __init__(self) -> None:
        self.waits_s: list[float] = []

    async def sleep(self, delay_s: float) -> None:
        self.waits_s.append(delay_s)


async def no_sleep(_delay_s: float) -> None:
    raise AssertionError("slept without a delay")


def no_clock() -> datetime:
    raise AssertionError("asked for the time without a delay")


def without_delay(**config: Any) -> SimulatedAdapter:
    return SimulatedAdapter(config, sleep=no_sleep, clock=no_clock)


async def kinds(adapter: SimulatedAdapter, keys: int = 2000) -> list[str]:
    return [(await adapter.perform(task_of(f"o1-1/item/{number}"))).kind for number in range(keys)]


async def test_without_a_configuration_every_task_is_done_at_once():
    assert await without_delay().perform(task_of()) == Outcome.completed(simulated=True)


async def test_the_answer_is_that_of_the_configuration():
    answer = {"attributes": {"IMSI": "1"}}

    assert await without_delay(answer=answer).perform(task_of()) == Outcome.completed(answer, simulated=True)


async def test_without_delay_failures_need_neither_sleep_nor_clock():
    outcome = await without_delay(failureRate=1).perform(task_of())

    assert (outcome.kind, outcome.error_code, outcome.simulated) == ("retryable", "simulated", True)


async def test_the_same_seed_and_key_go_the_same_way_in_every_adapter():
    config = {"seed": 7, "failureRate": 0.3, "permanentRate": 0.2}

    assert await kinds(without_delay(**config)) == await kinds(without_delay(**config))


async def test_another_seed_is_another_luck():
    first = await kinds(without_delay(seed=1, failureRate=0.5))
    second = await kinds(without_delay(seed=2, failureRate=0.5))

    assert 800 < sum(a == b for a, b in zip(first, second, strict=True)) < 1200


async def test_the_rates_are_kept():
    counts = Counter(await kinds(without_delay(failureRate=0.3, permanentRate=0.1), 10_000))

    assert counts["retryable"] == pytest.approx(3000, abs=200)
    assert counts["failed"] == pytest.approx(1000, abs=150)


async def test_the_luck_of_a_second_attempt_does_not_follow_from_the_first():
    adapter = without_delay(failureRate=0.5)
    pairs: Counter[tuple[str, str]] = Counter()
    for number in range(4000):
        first, second = [await adapter.perform(task_of(f"o1-{number}/item/{attempt}")) for attempt in (1, 2)]
        pairs[first.kind, second.kind] += 1

    assert len(pairs) == 4
    assert min(pairs.values()) > 850


@pytest.mark.parametrize(("config", "kind"), [({"failureRate": 1}, "retryable"), ({"permanentRate": 1}, "failed")])
async def test_a_rate_of_one_leaves_no_exception(config, kind):
    assert set(await kinds(without_delay(**config))) == {kind}


async def test_a_delay_is_waited_for():
    waiting = Waiting()
    adapter = SimulatedAdapter({"delayS": 2.5}, sleep=waiting.sleep, clock=lambda: NOW)
    outcome = await adapter.perform(task_of())

    assert outcome.kind == "completed"
    assert waiting.waits_s == [2.5]


async def test_a_range_of_delays_is_used_from_end_to_end_and_decided_by_the_key():
    waiting = Waiting()
    adapter = SimulatedAdapter({"delayS": [1, 3]}, sleep=waiting.sleep, clock=lambda: NOW)
    await kinds(adapter, 500)
    first, waiting.waits_s = waiting.waits_s, []
    await kinds(adapter, 500)

    assert waiting.waits_s == first
    assert 1 <= min(first) < 1.05
    assert 2.95 < max(first) <= 3


async def test_how_long_a_task_takes_says_nothing_about_how_it_ends():
    waiting = Waiting()
    adapter = SimulatedAdapter({"delayS": [0, 1], "failureRate": 0.5}, sleep=waiting.sleep, clock=lambda: NOW)
    ends = await kinds(adapter, 500)
    of_failures = [delay_s for delay_s, kind in zip(waiting.waits_s, ends, strict=True) if kind == "retryable"]

    assert min(of_failures) < 0.05
    assert max(of_failures) > 0.95


async def test_a_delay_beyond_the_deadline_ends_there():
    waiting = Waiting()
    adapter = SimulatedAdapter({"delayS": 60}, sleep=waiting.sleep, clock=lambda: NOW)
    outcome = await adapter.perform(task_of(deadline_at=NOW + timedelta(seconds=30)))

    assert (outcome.kind, outcome.error_code, outcome.simulated) == ("retryable", "timeout", True)
    assert waiting.waits_s == [30]


async def test_after_the_deadline_nothing_is_waited_for():
    adapter = SimulatedAdapter({"delayS": 60}, sleep=no_sleep, clock=lambda: NOW)
    outcome = await adapter.perform(task_of(deadline_at=NOW - timedelta(seconds=1)))

    assert outcome.error_code == "timeout"


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"failureRate": 1.1}, "config.failureRate"),
        ({"permanentRate": -0.1}, "config.permanentRate"),
        ({"failureRate": 0.6, "permanentRate": 0.6}, "config"),
        ({"delayS": -1}, "config.delayS.0"),
        ({"delayS": [3, 1]}, "config.delayS"),
        ({"delayS": [1]}, "config.delayS"),
        ({"delayS": "1"}, "config.delayS"),
        ({"delayS": True}, "config.delayS"),
        ({"delayS": float("nan")}, "config.delayS.0"),
        ({"seed": "x"}, "config.seed"),
        ({"answer": []}, "config.answer"),
        ({"delay": 1}, "config.delay"),
    ],
)
def test_a_wrong_configuration_is_refused_by_the_name_of_the_member(config, path):
    with pytest.raises(BadDocument) as caught:
        SimulatedAdapter(config)

    assert caught.value.path == path
