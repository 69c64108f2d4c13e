"""Risk moves with the plan, is told with its history, and nothing that a delay model does reaches an order."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

from typer.testing import CliRunner

from orderplan.cli.main import app
from tests.support.build import callout, depends, plan_of, release_document, scenario
from tests.support.running import Running, running_cluster, until

SLEEPING = "tests.support.delay_models:Sleeping"
OVERRUN_S = 12
DUE_S = 15
ORDERS = 60
QUICK_S = 4.0
"""Less than the predictor waits for a model: an order that waited for it would take longer."""

RELEASE: dict[str, Any] = release_document(
    code="risk",
    products=["line", "quick"],
    plans=[
        plan_of(
            "deliver",
            callout("install", system="activation", durationS=4, safetyIntervalS=1, timeoutS=120),
            callout("bill", system="billing", durationS=0.5, timeoutS=120),
        ),
        plan_of("quick", callout("first", system="stub"), callout("second", system="stub")),
    ],
    dependencies=[depends("deliver/bill", "deliver/install"), depends("quick/second", "quick/first")],
    scenarios=[scenario("line", "deliver"), scenario("quick", "quick")],
)


def prepared(running: Running) -> None:
    running.ok("POST", "/v1/releases:publish", RELEASE)
    for system in ("activation", "billing"):
        running.ok(
            "PUT",
            f"/v1/systems/{system}",
            {"adapter": "http", "config": {"url": f"{running.standins}/{system}"}, "concurrency": 100},
        )
    running.ok("PUT", "/v1/systems/stub", {"adapter": "simulated", "config": {}, "concurrency": 100})


def document(product: str, due_in_s: float | None = None) -> dict[str, Any]:
    order: dict[str, Any] = {
        "productOrderItem": [
            {"id": "1", "action": "add", "quantity": 1, "product": {"productSpecification": {"id": product}}}
        ]
    }
    if due_in_s is not None:
        order["requestedCompletionDate"] = (datetime.now(UTC) + timedelta(seconds=due_in_s)).isoformat()
    return order


def test_risk_rises_while_the_longest_item_overruns_and_falls_when_it_completes(running: Running) -> None:
    prepared(running)
    running.behave(system="activation", delayMs=1000 * OVERRUN_S)
    running.behave(system="billing", delayMs=2500)
    try:
        order_id = running.submit(document("line", DUE_S))
        risky = until(
            lambda: running.ok("GET", f"/v1/orders/{order_id}/risk"),
            lambda found: found["score"] is not None and found["score"]["risk"] > 0.4,
        )
        listed = running.ok("GET", "/v1/risk?minRisk=0.4")["orders"]
        shown = [
            CliRunner().invoke(app, ["risk", *command, "--url", running.url]).output
            for command in (["list", "--min-risk", "0.4"], ["show", order_id])
        ]
        until(
            lambda: running.ok("GET", f"/v1/orders/{order_id}/risk"), lambda found: found["score"]["risk"] < 0.2
        )
        metrics = running.call("GET", "/metrics")[1]
        assert running.ended(order_id)["state"] == "completed"
    finally:
        running.behave(system="activation", delayMs=0)
        running.behave(system="billing", delayMs=0)
    # The predictor hears of the end a moment later.
    found = until(
        lambda: running.ok("GET", f"/v1/orders/{order_id}/risk"), lambda each: each["score"]["endedAt"] is not None
    )
    risks = [point["risk"] for point in found["history"]]
    top = risks.index(max(risks))

    assert risks[: top + 1] == sorted(risks[: top + 1])
    assert risks[0] < 0.2
    assert risks[top] > 0.4
    assert risks[-1] < 0.2
    assert "install is Running" in risky["score"]["reasons"][0]["reason"]
    assert [each["status"] for each in risky["jeopardy"]] == ["late"]
    assert all(order_id in each and "install is Running" in each for each in shown), shown
    assert order_id in [each["orderId"] for each in listed]
    assert (found["score"]["dueBasis"], found["score"]["model"]) == ("promised", "critical-path")
    assert running.ok("GET", f"/v1/orders/{order_id}")["risk"]["risk"] == found["score"]["risk"]
    assert 'orderplan_orders_by_risk{band="high"}' in metrics


def test_a_cursor_or_a_bound_that_cannot_be_is_refused_with_its_name(running: Running) -> None:
    for query in ("cursor=x", "minRisk=2", "minRisk=nan", "limit=0", "account=%00", "step=%00", "sort=x"):
        status, answer = running.call("GET", f"/v1/risk?{query}")

        assert (status, answer["path"]) == (400, query.partition("=")[0])
    assert running.call("GET", "/v1/orders/o1-00000000000-0000000000/risk")[0] == 404


def test_a_model_that_sleeps_and_a_predictor_that_is_killed_delay_no_order() -> None:
    with running_cluster(1, delay_model=SLEEPING) as running:
        prepared(running)
        running.behave(system="activation", delayMs=60_000)
        slow_id = running.submit(document("line"))
        # The predictor waits for the model now, and goes on without it when its time is over.
        score = until(
            lambda: running.ok("GET", f"/v1/orders/{slow_id}/risk")["score"], lambda found: found is not None
        )
        counters = predictor(running)
        before = [running.submit(document("quick")) for _ in range(ORDERS)]
        os.kill(counters["pid"], signal.SIGKILL)
        after = [running.submit(document("quick")) for _ in range(ORDERS)]
        taken_s = [seconds(running.ended(order_id)) for order_id in (*before, *after)]
        until(
            lambda: predictor(running), lambda found: found.get("open") == 1 and found["pid"] != counters["pid"]
        )

        assert score["model"] == "critical-path"
        assert counters["modelErrors"] >= 1
        assert counters["fallbacks"] >= 1
        assert max(taken_s) < QUICK_S


def predictor(running: Running) -> dict[str, Any]:
    found: dict[str, Any] = running.ok("GET", "/v1/cluster")["actors"].get("predictor", {})
    return found


def seconds(order: dict[str, Any]) -> float:
    assert order["state"] == "completed"
    return (datetime.fromisoformat(order["endedAt"]) - datetime.fromisoformat(order["createdAt"])).total_seconds()


