"""The life of a model on a running cluster, by the command: in shadow, judged, promoted, rolled back; its history."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from delay.histories.files import StoredHistory
from delay.replay import closed_orders
from orderplan.cli.main import app
from tests.support.build import callout, depends, plan_of, release_document, scenario
from tests.support.running import Running, until

OWN = "tests.support.delay_models:Steady"
ORDERS = 6
RELEASE: dict[str, Any] = release_document(
    code="models",
    products=["port"],
    plans=[
        plan_of(
            "port",
            callout("install", system="activation", durationS=2, timeoutS=120),
            callout("test", system="activation", timeoutS=120),
        )
    ],
    dependencies=[depends("port/test", "port/install")],
    scenarios=[scenario("port", "port")],
)


def document(due_in_s: float) -> dict[str, Any]:
    return {
        "requestedCompletionDate": (datetime.now(UTC) + timedelta(seconds=due_in_s)).isoformat(),
        "productOrderItem": [
            {"id": "1", "action": "add", "quantity": 1, "product": {"productSpecification": {"id": "port"}}}
        ],
    }


# Scores rest behind orders, so on a machine that does other work meanwhile a shadow may miss its moments: run by
# itself, `pytest -m benchmark tests/acceptance/test_delay_models.py`.
@pytest.mark.benchmark
def test_a_model_of_ones_own_is_tried_in_shadow_promoted_and_rolled_back(running: Running, tmp_path: Path) -> None:
    def model(*arguments: str, code: int = 0) -> Any:
        result = CliRunner().invoke(app, ["model", *arguments, "--url", running.url, "--user", "ada", "--json"])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout.strip().splitlines()[-1])

    def live(name: str) -> int:
        found = {each["name"]: each["live"]["outcomes"] for each in model("report")["models"]}
        return int(found[name])

    def lasting(delay_s: int, due_in_s: float, orders: int) -> list[str]:
        running.behave(system="activation", delayMs=1_000 * delay_s)
        return [running.submit(document(due_in_s)) for _ in range(orders)]

    def scored_by(name: str, order_id: str) -> None:
        until(
            lambda: running.ok("GET", f"/v1/orders/{order_id}/risk")["score"],
            lambda score: score is not None and score["model"] == name,
        )

    running.ok("POST", "/v1/releases:publish", RELEASE)
    config = {"url": f"{running.standins}/activation"}
    running.ok("PUT", "/v1/systems/activation", {"adapter": "http", "config": config, "concurrency": 100})
    try:
        model("register", "own", OWN)
        model("shadow", "own")
        until(
            lambda: running.ok("GET", "/v1/cluster")["actors"].get("predictor", {}).get("shadows"),
            lambda shadows: shadows == 1,
        )
        # The process of the shadow starts with the first question.
        (first_id,) = lasting(3, 12, 1)
        scored_by("critical-path", first_id)
        for order_id in lasting(3, 12, ORDERS):
            assert running.ended(order_id)["state"] == "completed"
        until(lambda: live("own"), lambda outcomes: outcomes >= ORDERS)
        refused = model("promote", "own", "--if-better", "--outcomes", "5", code=2)
        model("promote", "own", "--reason", "to see it at work")
        (long_id,) = lasting(25, 300, 1)
        scored_by("own", long_id)
        back = model("rollback")
        scored_by("critical-path", long_id)
    finally:
        running.behave(system="activation", delayMs=0)
    listed = model("list")
    metrics = running.call("GET", "/metrics")[1]
    exported = model("export", "--out", str(tmp_path / "history"))
    history = StoredHistory(tmp_path / "history")

    assert "not better than critical-path" in refused["error"]["reason"]
    assert refused["error"]["figures"]["outcomes"] >= 5
    assert back == {"was": "own", "champion": None}
    assert [each["action"] for each in listed["changes"]] == ["rollback", "promote", "shadow", "register"]
    assert "orderplan_delay_fallback_share" in metrics
    assert exported["simulated"] is False
    assert sum(1 for _ in closed_orders(history)) >= ORDERS
