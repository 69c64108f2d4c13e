"""The fake that other tests rely on does what it is told."""

import asyncio

import pytest

from adapters.interface import Outcome
from tests.support.fake_adapter import LOST, FakeAdapter
from tests.support.tasks import task_of

BUSY = Outcome.retryable("busy", "503")
DONE = Outcome.completed({"attributes": {"IMSI": "1"}})


async def test_scripted_outcomes_come_in_turn_and_then_the_default():
    fake = FakeAdapter(DONE)
    fake.script(BUSY, Outcome.failed("no"))

    assert [await fake.perform(task_of(f"k-{number}")) for number in range(3)] == [BUSY, Outcome.failed("no"), DONE]


async def test_scripts_are_chosen_by_key_by_item_key_or_by_item_name():
    fake = FakeAdapter()
    fake.script(BUSY, key="k-2")
    fake.script(DONE, item="A/a@1/0")
    fake.script(Outcome.accepted(), item="Deliver B")
    tasks = [task_of("k-1", item="A/a@1/0"), task_of("k-2"), task_of("k-3", name="Deliver B"), task_of("k-4")]

    outcomes = [await fake.perform(task) for task in tasks]
    assert outcomes == [DONE, BUSY, Outcome.accepted(), Outcome.completed()]
    assert fake.calls == tasks
    assert fake.calls_of("A/a@1/0") == [tasks[0]]


async def test_a_scripted_exception_is_raised_and_has_no_effect():
    fake = FakeAdapter()
    fake.script(RuntimeError("broken"))

    with pytest.raises(RuntimeError, match="broken"):
        await fake.perform(task_of())
    assert fake.effects == {}


async def test_a_key_that_was_done_is_answered_the_same_and_uses_up_no_script():
    fake = FakeAdapter()
    fake.script(DONE, BUSY)
    outcomes = [await fake.perform(task_of(key)) for key in ("k-1", "k-1", "k-2")]

    assert outcomes == [DONE, DONE, BUSY]
    assert (fake.effects, fake.repeats, fake.calls_by_key["k-1"]) == ({"k-1": DONE}, 1, 2)


async def test_a_lost_answer_leaves_its_effect_for_the_repeat_to_find():
    fake = FakeAdapter(DONE)
    fake.lose_answers(key="k-1")

    assert await fake.perform(task_of("k-1")) == LOST
    assert fake.effects == {"k-1": DONE}
    assert await fake.perform(task_of("k-1")) == DONE


async def test_held_calls_stay_open_until_they_are_released():
    fake = FakeAdapter()
    fake.hold(item="Deliver B")
    held = [asyncio.create_task(fake.perform(task_of(f"k-{number}", name="Deliver B"))) for number in range(3)]
    await fake.open_reached(3)
    await fake.perform(task_of("k-9"))

    assert [task.key for task in fake.open] == ["k-0", "k-1", "k-2"]
    assert fake.effects.keys() == {"k-9"}
    assert fake.open_max == 3

    fake.release()
    assert {outcome.kind for outcome in await asyncio.gather(*held)} == {"completed"}
    assert fake.effects.keys() == {"k-9", "k-0", "k-1", "k-2"}
    assert fake.open == []


async def test_a_held_call_that_times_out_has_done_nothing():
    fake = FakeAdapter()
    fake.hold()
    held = asyncio.create_task(fake.perform(task_of("k-1")))
    await fake.calls_reached(1)
    await fake.open_reached(1)
    fake.time_out(key="k-1")

    assert await held == LOST
    assert fake.effects == {}


async def test_closing_is_noted():
    fake = FakeAdapter()
    await fake.close()

    assert fake.is_closed
