"""Rules of docs/RULES.md that no test elsewhere shows by itself: small plans, one rule at a time."""

from __future__ import annotations

from typing import Any

import pytest

from domain.orders import OrderLine
from domain.plan import Plan
from gateway.warnings import warnings_of
from tests.support.build import callout, depends, line, order_of, plan_of, release_of, scenario
from tests.support.engine import Engine

RETRIES = [{"code": "once", "attemptsMax": 1}, {"code": "patient", "attemptsMax": 3, "delaysS": [60]}]


def engine_of(*items: Any, after: dict[str, str] | None = None, **parts: Any) -> Engine:
    """Orders of product `x`, whose plan `p` has these items; `after` says which item waits for which."""
    return Engine(
        release_of(
            **{
                "products": ["x", "idle"],
                "plans": [plan_of("p", *items)],
                "dependencies": [
                    depends(f"p/{item}", f"p/{other}")
                    for item, others in (after or {}).items()
                    for other in others.split()
                ],
                "scenarios": [scenario("x", "p")],
                "retries": RETRIES,
            }
            | parts
        )
    )


def accepted(engine: Engine, *lines: OrderLine) -> Plan:
    return engine.accept(order_of(*(lines or [line("1", "x")])))


def key(item: str) -> str:
    return f"p/{item}@1"


def state(plan: Plan, item: str) -> str:
    return plan.by_key[key(item)].state.value


# From Pending to the end.


@pytest.mark.rule("B2.1")
def test_an_item_begins_with_the_last_of_those_that_it_waits_for_and_not_before() -> None:
    engine = engine_of("left", "right", "join", after={"join": "left right"})
    plan = accepted(engine)
    seen = [state(plan, "join")]
    for each in ("left", "right"):
        engine.answer(plan, engine.call(plan, f"p/{each}"))
        seen.append(state(plan, "join"))

    assert seen == ["Pending", "Pending", "Running"]


@pytest.mark.rule("B2.1")
def test_one_that_has_failed_for_good_satisfies_nobody() -> None:
    engine = engine_of("call", "behind", after={"behind": "call"})
    plan = accepted(engine)
    engine.fail(plan, engine.call(plan, "p/call"), fatal=True)

    assert state(plan, "behind") == "Pending"


@pytest.mark.rule("B2.11")
def test_an_item_without_retries_goes_to_a_person_with_its_first_failure() -> None:
    engine = engine_of(callout("call", retry="once"))
    plan = accepted(engine)
    engine.fail(plan, engine.call(plan, "p/call"))

    assert (state(plan, "call"), plan.by_key[key("call")].timer_at) == ("Fatally Failed", None)


@pytest.mark.rule("B3.9")
def test_an_order_that_waits_for_a_date_is_in_progress_because_its_plan_runs() -> None:
    engine = engine_of(callout("call", processAfter="'2026-03-05T00:00:00Z'"))
    plan = accepted(engine)

    assert (state(plan, "call"), plan.order_state) == ("Scheduled", "inProgress")


# Lines without work, and relations in an order's text.


@pytest.mark.rule("F.2")
def test_a_line_without_work_is_a_warning_of_the_order() -> None:
    plan = accepted(engine_of("call"), line("1", "x"), line("2", "idle"))

    assert warnings_of(plan) == ["line 2 (idle, add) matches no scenario and is delivered without work"]


@pytest.mark.parametrize("kind", ["reliesOn", "dependsOn", "requires"])
@pytest.mark.rule("F.18")
def test_a_relation_in_the_text_makes_nobody_wait(kind: str) -> None:
    related = line("2", "x", relations=((kind, "1"),))
    plan = accepted(engine_of("call"), line("1", "x"), related)

    assert [item.state.value for item in plan.items] == ["Running", "Running"]
    assert {line.root for line in plan.lines} == {"1", "2"}
