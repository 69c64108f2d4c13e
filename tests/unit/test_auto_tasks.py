"""Auto tasks: stock ones inside the turn, functions of one's own called like a system."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.interface import Outcome, Task
from adapters.tasks import TasksAdapter, find_task
from domain.errors import BadRelease
from domain.release import TASKS_SYSTEM
from tests.support.build import line, order_of, plan_of, release_of, rule, scenario
from tests.support.engine import Engine

HERE = "tests.unit.test_auto_tasks"


def greet(task: Task) -> dict[str, Any]:
    return {"attributes": {"greeting": f"hello from {task.item}"}}


async def wait_for_it(task: Task) -> Outcome:
    return Outcome.retryable("not yet", "early")


def gives_text(task: Task) -> str:
    return "done"


def breaks(task: Task) -> None:
    raise RuntimeError("it broke")


NOT_A_FUNCTION = 7


def task_of(operation: str) -> Task:
    return Task("k", "main", "o1-1", "p/x@1", "x", TASKS_SYSTEM, operation, 1, datetime(2030, 1, 1, tzinfo=UTC))


@pytest.fixture
async def adapter() -> AsyncIterator[TasksAdapter]:
    made = TasksAdapter()
    yield made
    await made.close()


async def test_a_function_gives_the_answer(adapter: TasksAdapter) -> None:
    outcome = await adapter.perform(task_of(f"{HERE}:greet"))

    assert outcome == Outcome.completed({"attributes": {"greeting": "hello from p/x@1"}})


async def test_an_async_function_may_say_how_it_went(adapter: TasksAdapter) -> None:
    assert await adapter.perform(task_of(f"{HERE}:wait_for_it")) == Outcome.retryable("not yet", "early")


async def test_an_answer_that_is_none_is_refused_for_good(adapter: TasksAdapter) -> None:
    outcome = await adapter.perform(task_of(f"{HERE}:gives_text"))

    assert (outcome.kind, outcome.error_code) == ("failed", "badAnswer")


async def test_what_a_function_raises_is_left_to_the_caller(adapter: TasksAdapter) -> None:
    with pytest.raises(RuntimeError, match="it broke"):
        await adapter.perform(task_of(f"{HERE}:breaks"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nobody-has-it", "no installed package names it in the entry points orderplan.auto_tasks"),
        ("no_such_module:run", "cannot be imported"),
        (f"{HERE}:no_such_function", "cannot be imported"),
        (f"{HERE}:NOT_A_FUNCTION", "is no function but a int"),
    ],
)
async def test_a_function_that_is_not_there_is_refused_with_the_reason(
    adapter: TasksAdapter, name: str, reason: str
) -> None:
    assert reason in str(find_task(name))
    outcome = await adapter.perform(task_of(name))
    assert (outcome.kind, outcome.error_code) == ("failed", "unknownTask")


def engine_of(task: str | None, **members: Any) -> Engine:
    item = {"code": "x", "type": "autoTask"} | ({"task": task} if task else {}) | members
    return Engine(
        release_of(
            products=[
                {"code": "offer", "attributes": [{"name": "number"}, {"name": "pin", "assetizable": False}]},
                {"code": "part", "attributes": [{"name": "number"}, {"name": "port"}, {"name": "pin"}]},
            ],
            decompositions=[rule("offer", "part", {"to": "number", "copy": "number"}, {"to": "port", "static": 7})],
            plans=[plan_of("p", item, "reserve"), plan_of("q", "start")],
            dependencies=[
                {"item": {"plan": "p", "item": "x"}, "other": {"plan": "p", "item": "reserve"}},
            ],
            scenarios=[scenario("part", "p")],
        )
    )


def test_a_function_of_ones_own_is_a_call_with_retries_and_an_answer() -> None:
    engine = engine_of(f"{HERE}:greet", timeoutS=9)
    plan = engine.accept(order_of(line("1", "offer")))
    engine.answer(plan, engine.call(plan, "p/reserve"))
    call = engine.call(plan, "p/x")
    assert (call.system, call.operation) == (TASKS_SYSTEM, f"{HERE}:greet")
    engine.fail(plan, call)
    engine.fire(plan, call.item)
    engine.answer(plan, engine.call(plan, "p/x"), {"attributes": {"number": "079"}})

    assert plan.lines[1].attributes["number"] == "079"
    assert plan.ended_at is not None


def test_back_propagation_brings_values_to_the_order_line_that_declares_them() -> None:
    engine = engine_of("backPropagate")
    plan = engine.accept(order_of(line("1", "offer")))
    engine.answer(plan, engine.call(plan, "p/reserve"), {"attributes": {"number": "079", "pin": "1234"}})

    assert plan.lines[0].attributes == {"number": "079", "pin": {"$sealed": "1/pin"}}
    assert engine.account.assets[plan.lines[0].asset_id].attributes == {"number": "079"}


def test_an_auto_task_without_a_task_is_refused() -> None:
    with pytest.raises(BadRelease, match="an auto task needs task"):
        engine_of(None)
