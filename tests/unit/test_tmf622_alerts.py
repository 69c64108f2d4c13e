"""Milestones, errors and jeopardy of a product order, as channels read them."""

from __future__ import annotations

from typing import Any

import pytest

from domain.plan import Plan
from gateway.tmf622 import parse_order
from gateway.tmf622_alerts import alerts_of
from tests.support.build import callout, depends, line, manual, milestone, order_of, plan_of, release_of, rule, scenario
from tests.support.engine import Engine

SCORE: dict[str, Any] = {
    "risk": 0.61237,
    "expectedAt": "2026-03-04T09:00:00+00:00",
    "dueAt": "2026-03-03T09:00:00+00:00",
    "dueBasis": "order",
    "scoredAt": "2026-03-02T09:00:00+00:00",
}


def begun() -> tuple[Engine, Plan]:
    """`built` follows `build` of the technical line that the order line becomes; `rest` stays."""
    engine = Engine(
        release_of(
            products=["x", "t"],
            decompositions=[rule("x", "t")],
            plans=[plan_of("p", callout("build"), milestone("built", name="Built"), manual("rest"))],
            dependencies=[depends("p/built", "p/build")],
            scenarios=[scenario("t", "p")],
        )
    )
    return engine, engine.accept(order_of(line("1", "x")))


@pytest.mark.rule("B3.7")
def test_an_order_tells_the_milestones_that_it_has_reached() -> None:
    engine, plan = begun()
    assert alerts_of(plan, None) == {}
    engine.answer(plan, engine.call(plan, "p/build"))
    [built] = [item for item in plan.items if item.key.startswith("p/built")]
    assert alerts_of(plan, None) == {
        "productOrderMilestone": [
            {
                "id": built.key,
                "name": "Built",
                "status": "completed",
                "milestoneDate": engine.now.isoformat(),
                "productOrderItem": [{"productOrderId": plan.order_id, "productOrderItemId": "1"}],
            }
        ]
    }


def test_a_milestone_that_is_to_be_reached_again_is_not_told_before() -> None:
    engine = Engine(
        release_of(
            products=[{"code": "x", "attributes": [{"name": "n"}]}],
            plans=[plan_of("p", callout("build"), milestone("built", onAmend="redo"), manual("rest"))],
            dependencies=[depends("p/built", "p/build")],
            scenarios=[scenario("x", "p")],
        )
    )
    plan = engine.accept(order_of(line("1", "x", n=1)))
    engine.answer(plan, engine.call(plan, "p/build"))
    engine.change(plan, "amend", order=order_of(line("1", "x", n=2)))
    assert alerts_of(plan, None) == {}
    engine.answer(plan, engine.call(plan, "p/build"))
    assert [each["id"] for each in alerts_of(plan, None)["productOrderMilestone"]] == ["p/built@1~1"]


@pytest.mark.rule("B3.7")
def test_an_order_tells_the_errors_that_stand_until_somebody_has_mended_them() -> None:
    engine, plan = begun()
    call = engine.call(plan, "p/build")
    engine.fail(plan, call, fatal=True)
    [error] = alerts_of(plan, None)["productOrderErrorMessage"]
    assert error == {
        "code": "E1",
        "reason": f"build ({call.item}) is Fatally Failed",
        "message": "the work is to be repaired, and goes on then",
        "timestamp": engine.now.isoformat(),
        "productOrderItem": [{"productOrderId": plan.order_id, "productOrderItemId": "1"}],
    }
    engine.operate(plan, call.item, "retry")
    assert alerts_of(plan, None) == {}


@pytest.mark.rule("B3.7")
def test_an_order_that_is_likely_to_be_late_tells_so_while_it_is_under_way() -> None:
    engine, plan = begun()
    [alert] = alerts_of(plan, SCORE)["productOrderJeopardyAlert"]
    assert (alert["jeopardyType"], alert["alertDate"]) == ("high", SCORE["scoredAt"])
    assert alert["message"] == f"due {SCORE['dueAt']}, expected {SCORE['expectedAt']}; risk 0.6124"
    assert alerts_of(plan, SCORE | {"risk": 0.1}) == {}
    engine.finish(plan)
    assert "productOrderJeopardyAlert" not in alerts_of(plan, SCORE)


def test_what_a_channel_sends_back_of_them_is_passed_over() -> None:
    document = {
        "productOrderItem": [{"id": "1", "action": "add", "productOffering": {"id": "x"}}],
        "productOrderMilestone": [{"id": "m"}],
    }
    assert "productOrderMilestone" not in parse_order(document, order_id="o1", tenant="main", client_key=None).rest
