"""A price function in its own process: whatever it does, it gives values or a sentence, and can be ended."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

import adapters.price_process
from adapters.price_process import FunctionUnloadable, PriceProcess
from domain.price_calls import PriceCall

FUNCTIONS = "tests.support.price_functions"


def call(function: str, line_id: str = "1") -> PriceCall:
    line = {"id": line_id, "attributes": {"secret": "hunter2"}, "quantity": 1}
    return PriceCall(f"{FUNCTIONS}:{function}", {"currency": "EUR"}, line, {"rule": "r"})


async def asked(*calls: PriceCall) -> list[Any]:
    process = PriceProcess(calls[0].function)
    try:
        answers = await process.ask(calls)
        return [answers.get(each.key) for each in calls]
    finally:
        await process.close()


async def test_amounts_come_back_as_texts() -> None:
    (answer,) = await asked(call("flat"))

    assert answer.values == {"charge": "1.50", "unit": "EUR"}
    assert answer.failure == ""


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("loops", "took longer than 1 s"),
        ("sleeps", "took longer than 1 s"),
        ("allocates", "raised MemoryError"),
        ("raises", "raised ValueError at price_functions.py:"),
        ("floats", "gave a float as charge.net: amounts are Decimals"),
        ("ends_its_process", "ended its process"),
        ("talkative", "gave more than 65536 bytes"),
        ("gives_none", "gave nothing, not a mapping"),
        ("hides", "starts with $"),
    ],
)
async def test_a_function_that_misbehaves_is_reported_and_its_values_stay_out_of_the_report(
    function: str, why: str
) -> None:
    (answer,) = await asked(call(function))

    assert why in answer.failure
    assert "hunter2" not in answer.failure
    assert answer.values == {}


async def test_what_a_function_prints_does_not_pass_for_an_answer() -> None:
    (answer,) = await asked(call("prints"))

    assert answer.values == {"charge": "2.00"}


async def test_nothing_is_asked_after_the_first_failure_and_the_next_question_finds_a_process() -> None:
    process = PriceProcess(f"{FUNCTIONS}:fails_for_two")
    calls = [call("fails_for_two", line_id) for line_id in "123"]
    answers = await process.ask(calls)
    again = await process.ask(calls[2:])
    await process.close()

    assert [answers[each.key].failure[:17] if each.key in answers else None for each in calls] == [
        "",
        "raised ValueError",
        None,
    ]
    assert again[calls[2].key].values == {"charge": "3"}


async def test_a_call_that_was_not_answered_in_time_is_made_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no fault of the function."""
    monkeypatch.setattr(adapters.price_process, "CALL_S", 0.0)
    process = PriceProcess(f"{FUNCTIONS}:flat")
    tries: list[int] = []
    original = PriceProcess.load

    async def load(self: PriceProcess) -> None:
        tries.append(1)
        if len(tries) == 2:
            monkeypatch.setattr(adapters.price_process, "CALL_S", 30.0)
        await original(self)

    monkeypatch.setattr(PriceProcess, "load", load)
    answers = await process.ask([call("flat")])
    await process.close()

    assert len(tries) == 2
    assert [each.values["charge"] for each in answers.values()] == ["1.50"]


async def test_a_function_that_is_not_there_is_no_failure_of_the_order() -> None:
    process = PriceProcess(f"{FUNCTIONS}:not_there")

    with pytest.raises(FunctionUnloadable, match="has no attribute 'not_there'"):
        await process.ask([call("not_there")])


def test_a_call_is_known_by_its_function_and_arguments() -> None:
    first = PriceCall("f", {"net": Decimal("1.0")}, {"id": "1"}, {})

    assert first.key == PriceCall("f", {"net": Decimal("1.0")}, {"id": "1"}, {}).key
    assert first.key != PriceCall("f", {"net": Decimal("1.1")}, {"id": "1"}, {}).key
    assert first.key != PriceCall("g", {"net": Decimal("1.0")}, {"id": "1"}, {}).key
