"""A host knows how long its calls take to be handed over, and takes no new orders when that is long."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

import actors.dispatcher
from actors.dispatcher import Dispatcher
from domain.turn import Call
from tests.support.until import until


def call(number: int) -> Call:
    return Call("main", f"o1-{number}", "p/i@1", 1, "sys", "", "i", datetime(2030, 1, 1, tzinfo=UTC), {})


async def test_it_grows_while_the_adapters_do_not_answer_and_is_forgotten_when_all_is_sent() -> None:
    answers: list[asyncio.Future[str]] = []

    async def perform(_calls: list[Call]) -> str:
        answers.append(asyncio.get_running_loop().create_future())
        return await answers[-1]

    handle: Any = SimpleNamespace(perform=SimpleNamespace(remote=perform))
    dispatcher = Dispatcher(lambda: handle)
    dispatcher.start()
    try:
        assert dispatcher.lag_s() == 0.0
        dispatcher.send([call(1)])
        await until(lambda: dispatcher.lag_s() > 0.02)
        answers[0].set_result("life 1")
        await until(lambda: dispatcher.lag_s() == 0.0)
    finally:
        dispatcher.stop()


async def test_too_many_calls_without_a_result_are_a_reason_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors.dispatcher, "OPEN_MAX", 2)
    dispatcher = Dispatcher(lambda: None)
    dispatcher.send([call(1)])
    assert dispatcher.lag_s() < math.inf

    dispatcher.send([call(2)])

    assert dispatcher.lag_s() == math.inf
