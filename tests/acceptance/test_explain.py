"""Explanations of a running cluster: people, systems and other orders are known there."""

from __future__ import annotations

from typing import Any

from tests.support.build import callout, depends, manual, plan_of, release_document, scenario
from tests.support.running import Running, until

PRODUCTS = [{"code": "offer", "attributes": [{"name": "number"}]}]


def submitted(running: Running, version: str, *items: Any, **parts: Any) -> str:
    """An order on a plan of these items."""
    plans, scenarios = [plan_of("p", *items)], [scenario("offer", "p")]
    parts = {"products": PRODUCTS, "plans": plans, "scenarios": scenarios} | parts
    body = release_document(code="explain", version=version, **parts)
    running.ok("POST", "/v1/releases:publish", body)
    account = {"id": f"explain-{version}"}
    item = {"id": "1", "action": "add", "product": {"productSpecification": {"id": "offer"}}}
    return running.submit({"billingAccount": account, "productOrderItem": [item]})


def explained(running: Running, order_id: str, item: str = "") -> dict[str, Any]:
    found: dict[str, Any] = running.ok("GET", f"/v1/orders/{order_id}/explain" + (f"?item={item}" if item else ""))
    return found


def codes(told: dict[str, Any]) -> set[str]:
    return {reason["code"] for each in told["items"] for reason in each["reasons"]}


def test_nobody_skilled_and_nobody_on_shift_is_said(running: Running) -> None:
    climb = manual("climb", queue="mast", skills=[{"skill": "climbing", "level": 2}])
    order_id = submitted(running, "people", climb, callout("light"), dependencies=[depends("p/light", "p/climb")])
    told = explained(running, order_id)
    assert codes(told) == {"nobodySkilled", "taskOpen"}
    assert told["items"][0]["holdsUp"] == {"count": 1, "isAtLeast": False, "items": ["p/light@1"]}
    [waits] = explained(running, order_id, "p/light")["items"][0]["reasons"]
    assert waits["facts"]["because"]["code"] == "nobodySkilled"

    running.ok("PUT", "/v1/workers/mia", {"onShift": False, "skills": [{"skill": "climbing", "level": 3}]})
    told = explained(running, order_id)
    assert codes(told) == {"nobodyOnShift", "taskOpen"}
    assert told["summary"].startswith("Nobody on shift in queue mast can do climb")

    running.ok("PUT", "/v1/workers/mia", {"onShift": True})
    assert codes(explained(running, order_id)) == {"taskOpen"}
    running.ok("POST", "/v1/tasks:next", {"worker": "mia", "queues": ["mast"]})
    told = explained(running, order_id, "p/climb@1")
    assert told["items"][0]["reasons"][0]["facts"]["worker"] == "mia"


def test_a_system_that_is_not_set_up_and_an_item_that_is_not_there(running: Running) -> None:
    order_id = submitted(running, "systems", callout("send", system="nowhere"))
    told = until(lambda: explained(running, order_id), lambda told: "fatallyFailed" in codes(told))

    assert codes(told) == {"fatallyFailed", "systemUnknown"}
    absent = explained(running, order_id, "p/sent")
    assert absent["reasons"][0]["facts"]["near"] == ["p/send"]
    assert running.call("GET", "/v1/orders/o1-1/explain")[0] == 404


def test_where_a_value_came_from(running: Running) -> None:
    order_id = submitted(running, "values", manual("ask", form=[{"name": "number"}]))
    task = running.ok("GET", "/v1/tasks?queue=desk&limit=500")
    [mine] = [each for each in task if each["orderId"] == order_id]
    running.ok("POST", f"/v1/tasks/{mine['id']}:claim", {"worker": "mia"})
    running.ok("POST", f"/v1/tasks/{mine['id']}:complete", {"worker": "mia", "data": {"number": "079"}})
    told = running.ok("GET", f"/v1/orders/{order_id}/lines/1/provenance?attribute=number")

    assert [(each["kind"], each["value"]) for each in told["origins"]] == [("form", "079")]
    assert told["origins"][0]["facts"]["actor"] == "person:mia"
    assert running.call("GET", f"/v1/orders/{order_id}/lines/1/provenance")[0] == 400


def test_a_skipped_item_tells_what_its_condition_read_although_the_value_has_changed(running: Running) -> None:
    urgent = callout("urgent", condition='attributes.number == "079"')
    order_id = submitted(running, "skipped", urgent, manual("ask", form=[{"name": "number"}]))
    running.ok("PATCH", f"/v1/orders/{order_id}/lines/1", {"attributes": {"number": "079"}, "reason": "she called"})
    told = explained(running, order_id, "p/urgent")

    facts = told["items"][0]["reasons"][0]["facts"]
    assert (facts["values"], facts["valuesNow"]) == (
        {"1": {"attributes.number": "absent"}},
        {"1": {"attributes.number": "079"}},
    )
    assert codes(told) == {"conditionFalse"}
