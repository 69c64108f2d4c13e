"""Systems that are held, fail, or have not been released yet: their items wait, nobody else's do, and none is lost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from typer.testing import CliRunner

from orderplan.cli.main import app
from tests.support.build import callout, plan_of, release_document, scenario
from tests.support.running import Running, running_cluster, until

ORDERS = 30
VERSIONS = count(1)


def catalogue(version: str) -> dict[str, Any]:
    """Two systems of one order's, independent of one another."""
    return release_document(
        code="held",
        version=version,
        products=["pair"],
        retries=[{"code": "twice", "attemptsMax": 2, "delaysS": [0.1]}],
        plans=[
            plan_of(
                "p",
                callout("activate", system="held-activation"),
                callout("bill", system="held-billing", retry="twice"),
            )
        ],
        scenarios=[scenario("pair", "p")],
    )


def set_up(running: Running, **limits: Any) -> None:
    running.ok("POST", "/v1/releases:publish", catalogue(f"held {next(VERSIONS)}"))
    for system in ("activation", "billing"):
        body = {"adapter": "http", "config": {"url": f"{running.standins}/{system}"}, "concurrency": 5} | limits
        running.ok("PUT", f"/v1/systems/held-{system}", body)


def submit(running: Running, name: str, orders: int = ORDERS) -> list[str]:
    item = {"id": "1", "action": "add", "product": {"productSpecification": {"id": "pair"}}}
    return [
        running.submit({"externalId": f"{name}-{number}", "productOrderItem": [item]}) for number in range(orders)
    ]


def system(running: Running, code: str) -> dict[str, Any]:
    return next(each for each in running.ok("GET", "/v1/systems") if each["code"] == code)


def done(running: Running, orders: list[str]) -> Counter[str]:
    """How often each effect was had, by key."""
    return Counter(
        call["key"]
        for order_id in orders
        for call in running.calls(order_id)
        if call["status"] == 200 and not call["repeat"]
    )


def all_complete(running: Running, orders: list[str]) -> None:
    for order_id in orders:
        assert running.ended(order_id)["state"] == "completed"
    effects = done(running, orders)
    assert len(effects) == 2 * len(orders)
    assert set(effects.values()) == {1}


def test_a_held_system_keeps_its_items_until_it_is_released_and_nobody_elses(running: Running) -> None:
    set_up(running, drainPerS=40)
    running.ok("POST", "/v1/systems/held-billing:hold", {"reason": "maintenance until six"}, X_User="olga")
    orders = submit(running, "hold")
    until(lambda: len(done(running, orders)), lambda found: found == ORDERS)
    shown = until(lambda: system(running, "held-billing"), lambda found: found["heldItems"] == ORDERS)
    told = running.ok("GET", f"/v1/orders/{orders[0]}/explain")
    metrics = running.call("GET", "/metrics")[1]

    assert (shown["state"], shown["holds"][0]["by"]) == ("offline", "olga")
    assert "System held-billing is offline" in told["summary"]
    assert "by olga (maintenance until six)" in told["summary"]
    assert 'orderplan_system{name="held",system="held-billing",tenant="main"} 1.0' in metrics
    assert running.ok("GET", f"/v1/orders/{orders[0]}")["state"] == "held"

    running.ok("POST", "/v1/systems/held-billing:release", {}, X_User="olga")
    all_complete(running, orders)
    assert {call["system"] for order_id in orders for call in running.calls(order_id)} == {"activation", "billing"}
    assert running.call("GET", "/v1/systems/held-biling/changes")[0] == 404
    changes = running.ok("GET", "/v1/systems/held-billing/changes")
    assert [(each["kind"], each["by"]) for each in changes[:2]] == [("released", "olga"), ("held", "olga")]


def test_a_system_that_fails_is_left_alone_and_its_items_go_on_when_it_works_with_no_attempt_spent(
    running: Running,
) -> None:
    set_up(running, breaker={"failures": 5, "pauseS": 0.3})
    running.behave(system="billing", status=503, failNext=1_000_000)
    try:
        orders = submit(running, "fail")
        until(
            lambda: system(running, "held-billing"),
            lambda found: found["state"] == "offline" and found["heldItems"] >= ORDERS - 10,
        )
        activated = until(lambda: len(done(running, orders)), lambda found: found == ORDERS)
        # One of them is trying now and then; the others say what they wait for.
        until(
            lambda: running.ok("GET", f"/v1/orders/{orders[-1]}/explain")["summary"],
            lambda found: "System held-billing is failing, so its circuit breaker is open" in found,
        )
    finally:
        running.behave(system="billing", status=503, failNext=0)
    all_complete(running, orders)
    failures = [
        fact
        for order_id in orders
        for fact in running.ok("GET", f"/v1/orders/{order_id}/facts")
        if fact["kind"] in ("item.failed", "item.fatallyFailed")
    ]

    assert activated == ORDERS
    # Those under way when it opened, and no more: one attempt each.
    assert len(failures) <= 10
    assert {fact["kind"] for fact in failures} == {"item.failed"}
    until(lambda: system(running, "held-billing"), lambda found: found["holds"] == [])


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"concurrency": 0}, "concurrency"),
        ({"ratePerS": 0}, "ratePerS"),
        ({"ratePerS": "many"}, "ratePerS"),
        ({"breaker": 3}, "breaker"),
        ({"breaker": {"failures": 1.5}}, "breaker.failures"),
        ({"breaker": {"pauseS": -1}}, "breaker.pauseS"),
        ({"drainPerS": True}, "drainPerS"),
    ],
)
def test_a_limit_that_is_none_is_refused_by_its_name(running: Running, body: dict[str, Any], path: str) -> None:
    status, answer = running.call("PUT", "/v1/systems/held-nobody", {"adapter": "simulated"} | body)

    assert (status, answer["path"]) == (400, path)
    assert all(each["code"] != "held-nobody" for each in running.ok("GET", "/v1/systems"))


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/systems/held-nobody:hold", {"reason": "why not"}, 404),
        ("/v1/systems:hold", {}, 400),
    ],
)
def test_a_hold_names_a_system_and_a_reason(running: Running, path: str, body: dict[str, Any], expected: int) -> None:
    assert running.call("POST", path, body)[0] == expected


@pytest.fixture(scope="module")
def paused() -> Iterator[Running]:
    with running_cluster(1, paused=True) as made:
        yield made


def test_a_start_that_is_paused_takes_orders_and_makes_no_call_until_the_systems_are_released(paused: Running) -> None:
    set_up(paused)
    orders = submit(paused, "paused", 10)
    shown = until(lambda: system(paused, "held-billing"), lambda found: found["heldItems"] == 10)
    told = paused.ok("GET", f"/v1/orders/{orders[0]}/explain")
    made = [call for order_id in orders for call in paused.calls(order_id)]

    assert shown["state"] == "offline"
    assert made == []
    assert "orderplan system release --all" in told["summary"]
    released = CliRunner().invoke(app, ["system", "release", "held-activation", "--url", paused.url, "--json"])
    assert json.loads(released.stdout.splitlines()[-1])["changed"]
    until(lambda: len(done(paused, orders)), lambda found: found == 10)
    assert {call["system"] for order_id in orders for call in paused.calls(order_id)} == {"activation"}
    assert CliRunner().invoke(app, ["system", "release", "--all", "--url", paused.url]).exit_code == 0
    all_complete(paused, orders)
    listed = CliRunner().invoke(app, ["system", "list", "--url", paused.url, "--json"])
    systems = json.loads(listed.stdout.splitlines()[-1])["systems"]
    assert {(each["state"], each["heldItems"]) for each in systems} == {("online", 0)}
