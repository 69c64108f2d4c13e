"""A limit of time does what `asyncio.timeout` does: both stand every test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from actors.time_limit import TimeLimit

Limit = Callable[[float], AbstractAsyncContextManager[object]]


@asynccontextmanager
async def ours(seconds: float) -> AsyncIterator[None]:
    with TimeLimit(seconds):
        yield


@pytest.fixture(params=[asyncio.timeout, ours], ids=["asyncio", "ours"])
def limit(request: pytest.FixtureRequest) -> Limit:
    made: Limit = request.param
    return made


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_what_is_done_in_time_is_not_disturbed(limit: Limit) -> None:
    async with limit(60.0):
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_what_takes_longer_is_cancelled_and_the_caller_goes_on(limit: Limit) -> None:
    with pytest.raises(TimeoutError):
        async with limit(0.0):
            await for_ever()
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_an_error_of_what_is_limited_comes_out_as_it_is(limit: Limit) -> None:
    with pytest.raises(ZeroDivisionError):
        async with limit(60.0):
            raise ZeroDivisionError


async def test_a_cancellation_from_elsewhere_stays_one(limit: Limit) -> None:
    async def work() -> None:
        async with limit(60.0):
            await for_ever()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_of_two_limits_the_one_that_is_over_is_told(limit: Limit) -> None:
    async with limit(60.0):
        with pytest.raises(TimeoutError):
            async with limit(0.0):
                await for_ever()
    with pytest.raises(TimeoutError):
        async with limit(0.0), limit(60.0):
            await for_ever()


async def test_work_that_turns_its_cancellation_into_an_error_of_its_own_is_heard(limit: Limit) -> None:
    async def stubborn() -> None:
        try:
            await for_ever()
        except asyncio.CancelledError:
            raise ValueError("gave up") from None

    with pytest.raises(ValueError, match="gave up"):
        async with limit(0.0):
            await stubborn()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
