"""The desk at which orders wait for price functions: their accounts' order is kept, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

import actors.price_desk
from actors.envelopes import Envelope, NotOwner, Readmit, Submission
from actors.price_desk import WAIT_S, Asked, LateAnswers, PriceDesk
from adapters.price_process import FunctionUnloadable, PriceProcess
from domain.errors import Busy, OrderplanError
from domain.price_calls import PriceAnswer, PriceCall
from tests.simulation.loop import run


class Functions:
    """Processes that answer when they are told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.killed: list[str] = []
        self.answers: dict[str, PriceAnswer | Exception] = {}
        self.spoke = asyncio.Event()

    def __call__(self, function: str) -> PriceProcess:
        functions = self

        class Process:
            async def ask(self, calls: Sequence[PriceCall]) -> dict[str, PriceAnswer]:
                functions.asked.append(function)
                while (answer := functions.answers.get(function)) is None:
                    functions.spoke.clear()
                    await functions.spoke.wait()
                if isinstance(answer, Exception):
                    raise answer
                return {call.key: answer for call in calls}

            def kill(self) -> None:
                functions.killed.append(function)

        return cast("PriceProcess", Process())


class Desk(PriceDesk):
    def __init__(self, functions: Functions) -> None:
        self.back: list[Envelope] = []
        self.refused: list[tuple[Envelope, OrderplanError]] = []
        super().__init__(self.back.extend, lambda each, error: self.refused.append((each, error)), functions)


def order(name: str) -> Submission:
    return Submission(0, {"id": name}, None)


def call(function: str) -> PriceCall:
    return PriceCall(function, {}, {}, {})


KEY = ("main", "acc-1")
DONE = PriceAnswer({"charge": "1.00"})


async def settle(turns: int = 20) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def test_orders_behind_one_that_asks_come_back_with_it_in_their_order() -> None:
    functions = Functions()
    desk = Desk(functions)
    first, second, other = order("1"), order("2"), order("3")
    desk.take([Asked(KEY, first, (call("f"),)), Asked(KEY, second, ()), Asked(("main", "acc-2"), other, (call("g"),))])
    functions.answers["g"] = DONE
    await settle()
    assert desk.back == [other]
    assert desk.waiting == {KEY: [first, second]}

    functions.answers["f"] = DONE
    functions.spoke.set()
    await settle()
    assert desk.back == [other, first, second]
    assert list(first.answers.values()) == [DONE]
    assert second.answers == {}
    assert desk.waiting == {}


async def test_nothing_is_asked_after_a_failure() -> None:
    functions = Functions()
    desk = Desk(functions)
    functions.answers |= {"f": PriceAnswer(failure="raised ValueError"), "g": DONE}
    desk.take([Asked(KEY, order("1"), (call("f"), call("g")))])
    await settle()

    assert functions.asked == ["f"]
    assert len(desk.back) == 1


async def test_a_function_that_is_not_here_refuses_its_order_alone() -> None:
    functions = Functions()
    desk = Desk(functions)
    functions.answers["f"] = FunctionUnloadable("price function 'f' is not there")
    first, second = order("1"), order("2")
    desk.take([Asked(KEY, first, (call("f"),)), Asked(KEY, second, ())])
    await settle()

    assert [(each, error.code) for each, error in desk.refused] == [(first, "busy")]
    assert desk.back == [second]


def test_an_order_that_waits_too_long_is_refused_and_those_behind_it_go_on() -> None:
    async def scene() -> Desk:
        desk = Desk(Functions())
        desk.take([Asked(KEY, order("1"), (call("f"),)), Asked(KEY, order("2"), ())])
        await asyncio.sleep(WAIT_S - 0.5)
        assert desk.back == []
        await asyncio.sleep(1.0)
        return desk

    desk = run(scene())

    assert [error.reason for _, error in desk.refused] == ["its price functions did not answer in time"]
    assert [cast("Submission", each).order["id"] for each in desk.back] == ["2"]


async def test_more_orders_than_the_desk_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors.price_desk, "WAITING_MAX", 2)
    desk = Desk(Functions())
    desk.take([Asked(("main", str(at)), order(str(at)), (call("f"),)) for at in range(3)])

    assert [isinstance(error, Busy) for _, error in desk.refused] == [True]
    assert len(desk.stop()) == 2
    await desk.ended()


async def test_an_order_whose_account_never_stands_still_is_refused_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors.price_desk, "ROUNDS_MAX", 3)
    functions = Functions()
    desk = Desk(functions)
    functions.answers["f"] = DONE
    asking = Readmit("o1-1")
    for _ in range(4):
        desk.take([Asked(("take up", "o1-1"), asking, (call("f"),))])
        await settle()

    assert len(desk.back) == 3
    assert len(desk.refused) == 1


async def test_of_too_many_functions_the_one_asked_longest_ago_loses_its_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actors.price_desk, "PROCESSES_MAX", 2)
    functions = Functions()
    desk = Desk(functions)
    for function in ("f", "g", "f", "h"):
        functions.answers[function] = DONE
        desk.take([Asked(KEY, order("1"), (call(function),))])
        await settle()

    assert functions.killed == ["g"]


async def test_a_sender_is_told_to_ask_once_more_and_its_repeat_finds_the_answer() -> None:
    late = LateAnswers()
    envelope = order("1")
    envelope.reply = told = asyncio.get_running_loop().create_future()
    late.put_off(envelope)
    late.put_off(envelope)
    (given_up, asking) = [asyncio.ensure_future(late.get(told.result().token)) for _ in range(2)]
    await settle()
    given_up.cancel()
    envelope.reply.set_result("stored")

    assert await asking == "stored"
    assert isinstance(await late.get(told.result().token), NotOwner)


async def test_late_answers_that_nobody_asks_for_are_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors.price_desk, "LATE_MAX", 2)
    late = LateAnswers()
    tokens = []
    for _ in range(3):
        envelope = order("1")
        envelope.reply = told = asyncio.get_running_loop().create_future()
        late.put_off(envelope)
        envelope.reply.set_result("stored")
        tokens.append(told.result().token)

    assert [await late.get(each) == "stored" for each in tokens] == [False, True, True]


async def test_a_desk_that_stops_gives_back_everybody_who_waits() -> None:
    functions = Functions()
    desk = Desk(functions)
    waiting: list[Any] = [order("1"), order("2")]
    desk.take([Asked(KEY, waiting[0], (call("f"),)), Asked(KEY, waiting[1], ())])
    await settle()
    left = desk.stop()
    await desk.ended()

    assert left == waiting
    assert functions.killed == ["f"]
    assert desk.back == []
