"""Orders that wait for items of other accounts' orders, on a running cluster, whichever comes first."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from orderplan.client import Client
from tests.support.build import callout, depends, line, manual, plan_of, release_document, scenario
from tests.support.running import TMF622, Running, until

VERSIONS = count(1)
NAMES = count(1)
AWAIT = "await/relatedOrder@0:core/ring"


@pytest.fixture
def site(running: Running) -> Running:
    """The cluster with a release of cores, sites that wait for the cores of related orders, and twins that wait for
    each other's work.
    """
    document = release_document(
        code="related",
        version=str(next(VERSIONS)),
        products=["core", "site", "twin"],
        plans=[
            plan_of("core", manual("ring", queue="ring"), callout("check", system="related-net")),
            plan_of("site", callout("switch", system="related-net")),
            plan_of("twin", manual("prepare", queue="twins"), callout("join", system="related-net")),
        ],
        scenarios=[scenario(code, code) for code in ("core", "site", "twin")],
        dependencies=[
            depends("core/check", "core/ring"),
            depends("site/switch", "core/ring", "relatedOrder"),
            depends("twin/join", "twin/prepare"),
            depends("twin/join", "twin/join", "relatedOrder"),
        ],
    )
    running.ok("POST", "/v1/releases:publish", document)
    running.ok("PUT", "/v1/systems/related-net", {"adapter": "simulated"})
    return running


def name() -> str:
    return f"related-{next(NAMES)}"


def order(external_id: str, product: str, *related: str) -> dict[str, Any]:
    """An order of one product for an account of its own."""
    made = line("1", product)
    return {
        "externalId": external_id,
        "billingAccount": {"id": f"account of {external_id}"},
        "orderRelationship": [{"id": each, "relationshipType": "dependency", "href": "#"} for each in related],
        "productOrderItem": [
            {"id": made.line_id, "action": "add", "product": {"productSpecification": {"id": product}}}
        ],
    }


def states(running: Running, order_id: str) -> dict[str, str]:
    return {item["key"]: item["state"] for item in running.ok("GET", f"/v1/orders/{order_id}/plan")["items"]}


def work(running: Running, order_id: str, queue: str) -> None:
    """Do the order's task in a queue."""
    with Client(running.url, user="paul") as client:
        listed = until(
            lambda: [each for each in client.list_tasks(queue=queue) if each["orderId"] == order_id], bool
        )
        client.claim_task(listed[0]["id"], "paul")
        client.complete_task(listed[0]["id"], "paul", {})


@pytest.mark.parametrize("is_core_first", [True, False], ids=["the awaited order first", "the one that waits first"])
def test_an_order_waits_for_the_item_of_a_related_order_of_another_account(site: Running, is_core_first: bool) -> None:
    core, own = name(), name()
    ids: dict[str, str] = {}
    for product in ("core", "site") if is_core_first else ("site", "core"):
        document = order(core, "core") if product == "core" else order(own, "site", core)
        ids[product] = site.submit(document)
    shown = site.ok("GET", f"{TMF622}/{ids['site']}")
    assert shown["orderRelationship"] == [{"id": core, "relationshipType": "dependency", "href": "#"}]
    assert states(site, ids["site"]) == {"site/switch@1": "Pending", AWAIT: "Pending"}
    told = site.ok("GET", f"/v1/orders/{ids['site']}/explain")
    assert told["summary"] == (
        f"It waits for core/ring of order {core}, which is {ids['core']} (inProgress). 1 waits behind."
    )

    work(site, ids["core"], "ring")
    assert site.ended(ids["site"])["state"] == "completed"
    facts = site.ok("GET", f"/v1/orders/{ids['site']}/facts")
    [heard] = [each for each in facts if each["kind"] == "item.completed" and each["item"] == AWAIT]
    assert heard["payload"] == {"order": ids["core"]}


def test_an_order_that_has_no_such_item_is_not_waited_for_and_one_that_was_cancelled_is_put_to_a_person(
    site: Running,
) -> None:
    other, cancelled, own = name(), name(), name()
    first = site.submit(order(other, "twin"))
    second = site.submit(order(cancelled, "core"))
    order_id = site.submit(order(own, "site", first, cancelled))
    void, gone = AWAIT, AWAIT.replace("@0", "@1")
    until(lambda: states(site, order_id), lambda found: found[void] == "Completed")
    assert states(site, order_id)[gone] == "Pending"

    with Client(site.url, user="olga") as client:
        client.cancel_order(second, "nobody wants it")
        until(lambda: states(site, order_id), lambda found: found[gone] == "Fatally Failed")
        [item] = [each for each in site.ok("GET", f"/v1/orders/{order_id}/plan")["items"] if each["key"] == gone]
        assert item["error"] == f"order {second} ({cancelled}) will not do core/ring any more"
        client.operate(order_id, gone, "complete", "there is another core")
    assert site.ended(order_id)["state"] == "completed"


def test_an_order_that_would_close_a_circle_is_refused_and_one_that_an_amendment_closes_is_told(site: Running) -> None:
    first, second, third = name(), name(), name()
    one = site.submit(order(first, "twin", second))
    two = site.submit(order(second, "twin", third))

    status, refused = site.call("POST", TMF622, order(third, "twin", first))
    assert (status, refused["code"]) == (409, "mutualWait"), refused
    assert f"through {one}, {two}" in refused["reason"]
    listed = site.ok("GET", f"{TMF622}?externalId={third}")
    assert listed == []

    three = site.submit(order(third, "twin"))
    with Client(site.url, user="olga") as client:
        client.amend_order(three, order(third, "twin", first), "it has to wait after all")
        await_item = "await/relatedOrder@0:twin/join"
        until(lambda: states(site, three), lambda found: found.get(await_item) == "Fatally Failed")
        [item] = [each for each in site.ok("GET", f"/v1/orders/{three}/plan")["items"] if each["key"] == await_item]
        assert (item["errorCode"], item["error"]) == (
            "mutualWait", f"orders wait for one another in a circle: {three} -> {one} -> {two} -> {three}",
        )  # fmt: skip
        client.operate(three, await_item, "skip", "it need not")
    for order_id in (one, two, three):
        work(site, order_id, "twins")
    assert {site.ended(order_id)["state"] for order_id in (one, two, three)} == {"completed"}
