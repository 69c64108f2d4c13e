"""Several releases at once: running orders finish on theirs, new ones take the current one, and none is on a mix."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from tests.support.build import callout, depends, plan_of, release_document, scenario
from tests.support.running import TMF622, Running

ORDERS = 500
AFTERWARDS = 100
SENDERS = 8


def release(version: str) -> dict[str, Any]:
    """Two calls in sequence, whose names say which release made them."""
    first = callout("first", name=f"First of {version}", system="activation", operation="first")
    last = callout("last", name=f"Last of {version}", system="activation", operation="last")

    return release_document(
        code="two-releases",
        version=version,
        products=["line"],
        plans=[plan_of("deliver", first, last, *([callout("more", system="activation")] if version == "2" else []))],
        dependencies=[depends("deliver/last", "deliver/first")],
        scenarios=[scenario("line", "deliver")],
    )


def order(number: int, **members: Any) -> dict[str, Any]:
    item = {"id": "1", "action": "add", "product": {"productSpecification": {"id": "line"}}}
    return {
        "externalId": f"two-releases-{number}",
        "billingAccount": {"id": f"two-releases-{number}"},
        "productOrderItem": [item],
    } | members


@pytest.fixture
def activation(running: Running) -> Running:
    body = {"adapter": "http", "config": {"url": f"{running.standins}/activation"}, "concurrency": 1_000}
    running.ok("PUT", "/v1/systems/activation", body)
    return running


async def rows(running: Running, sql: str, *values: Any) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(running.dsn)
    try:
        found: list[asyncpg.Record] = await connection.fetch(sql, *values)
        return found
    finally:
        await connection.close()


async def test_five_hundred_orders_finish_on_the_release_they_started_on(activation: Running) -> None:
    running = activation
    running.ok("POST", "/v1/releases:publish", release("1"))
    running.behave(system="activation", delayMs=10_000)
    try:
        with ThreadPoolExecutor(SENDERS) as pool:
            sent = [pool.submit(running.submit, order(number)) for number in range(ORDERS + AFTERWARDS)]
            # Amid the submits: the next one in line is on its way while this is published.
            ids = [each.result() for each in sent[:ORDERS]]
            [open_ones] = await rows(
                running, "select count(*) as n from product_order where order_id = any($1) and ended_at is null", ids
            )
            running.ok("POST", "/v1/releases:publish", release("2"))
            ids += [each.result() for each in sent[ORDERS:]]
    finally:
        running.behave(system="activation", delayMs=0)
    assert open_ones["n"] == ORDERS
    late = [running.submit(order(number)) for number in range(ORDERS + AFTERWARDS, ORDERS + AFTERWARDS + 5)]
    for each in (*ids, *late):
        assert running.ended(each)["state"] == "completed"

    facts = await rows(running, "select order_id, release_id, item from fact where order_id = any($1)", [*ids, *late])
    releases: dict[str, set[str]] = defaultdict(set)
    items: dict[str, set[str]] = defaultdict(set)
    for fact in facts:
        releases[fact["order_id"]].add(fact["release_id"])
        if fact["item"] is not None:
            items[fact["order_id"]].add(fact["item"].partition("@")[0])
    assert all(len(each) == 1 for each in releases.values()), "an order is on a mix"
    by_release = Counter(each for (each,) in releases.values())
    assert by_release["two-releases@1"] >= ORDERS
    assert {each for (each,) in (releases[name] for name in late)} == {"two-releases@2"}
    for name, (on,) in releases.items():
        assert ("deliver/more" in items[name]) is (on == "two-releases@2"), name
    for name in (ids[0], late[0]):
        version = next(iter(releases[name])).partition("@")[2]
        assert {call["item"] for call in running.calls(name)} >= {f"First of {version}", f"Last of {version}"}


def test_an_order_that_names_an_old_release_is_refused(activation: Running) -> None:
    activation.ok("POST", "/v1/releases:publish", release("3"))
    activation.ok("POST", "/v1/releases:publish", release("4"))

    status, answer = activation.call("POST", TMF622, order(10_001, releaseId="two-releases@3"))
    assert status == 409, answer
    assert "two-releases@4" in str(answer)
    status, answer = activation.call("POST", TMF622, order(10_002, releaseId=4))
    assert status == 400, answer
    assert activation.submit(order(10_003, releaseId="two-releases@4"))
    listed = activation.ok("GET", f"{TMF622}?externalId=two-releases-10001")
    assert listed == []


def test_a_push_event_is_fired_by_a_change_of_the_line(activation: Running) -> None:
    event = {"code": "ready", "type": "pushEvent", "event": 'attributes.number == "079"'}
    activation.ok(
        "POST",
        "/v1/releases:publish",
        release_document(
            code="push",
            products=[{"code": "line", "attributes": [{"name": "number"}]}],
            plans=[plan_of("deliver", event)],
            scenarios=[scenario("line", "deliver")],
        ),
    )
    order_id = activation.submit(order(10_010))
    path = f"/v1/orders/{order_id}/lines/1"

    status, answer = activation.call("PATCH", path, {"attributes": {"number": "079"}})
    assert (status, "reason" in str(answer)) == (400, True)
    assert activation.call("PATCH", f"/v1/orders/{order_id}/lines/9", {"attributes": {"a": 1}, "reason": "r"})[0] == 404
    activation.ok("PATCH", path, {"attributes": {"number": "079"}, "reason": "the port is done"}, X_User="olga")

    assert activation.ended(order_id)["state"] == "completed"
    facts = activation.ok("GET", f"/v1/orders/{order_id}/facts")
    [changed] = [fact for fact in facts if fact["kind"] == "line.changed"]
    assert changed["actor"] == "person:olga"
    assert changed["payload"]["reason"] == "the port is done"


def test_functions_of_ones_own_run_as_auto_tasks(activation: Running) -> None:
    task = {"code": "greet", "type": "autoTask", "task": "tests.unit.test_auto_tasks:greet"}
    activation.ok(
        "POST",
        "/v1/releases:publish",
        release_document(
            code="auto",
            products=[{"code": "line", "attributes": [{"name": "greeting"}]}],
            plans=[plan_of("deliver", task)],
            scenarios=[scenario("line", "deliver")],
        ),
    )
    order_id = activation.submit(order(10_020))
    assert activation.ended(order_id)["state"] == "completed"

    [line] = activation.ok("GET", f"/v1/orders/{order_id}/plan")["lines"]
    assert line["attributes"]["greeting"] == "hello from deliver/greet@1"
    assert "line" in activation.products("two-releases-10020")


# The line of releases.


def life(version: str, **members: Any) -> dict[str, Any]:
    """A release whose orders wait for a word."""
    event = {"code": "ready", "type": "pushEvent", "event": 'attributes.number == "079"'} | members
    return release_document(
        code="life",
        version=version,
        products=[{"code": "line", "attributes": [{"name": "number"}]}],
        plans=[plan_of("deliver", event)],
        scenarios=[scenario("line", "deliver")],
    )


def listed(running: Running) -> dict[str, dict[str, Any]]:
    """The releases of this catalogue by version."""
    found = [each for each in running.ok("GET", "/v1/releases") if each["id"].startswith("life@")]
    return {each["id"].removeprefix("life@"): each for each in found}


@contextmanager
def open_order(running: Running, number: int) -> Iterator[str]:
    """An order that runs, and has ended when the test has."""
    order_id = running.submit(order(number))
    yield order_id
    body = {"attributes": {"number": "079"}, "reason": "the test is over"}
    running.ok("PATCH", f"/v1/orders/{order_id}/lines/1", body)
    assert running.ended(order_id)["state"] == "completed"


def release_of(running: Running, order_id: str) -> str:
    found: str = running.ok("GET", f"/v1/orders/{order_id}")["releaseId"]
    return found


def test_releases_are_listed_with_their_states_and_open_orders_retired_and_taken_back(activation: Running) -> None:
    running = activation
    running.ok("POST", "/v1/releases:publish", life("1"), X_User="olga")
    with open_order(running, 10_100) as old:
        running.ok("POST", "/v1/releases:publish", life("2"))
        with open_order(running, 10_101), open_order(running, 10_102):
            found = listed(running)
            assert [(name, each["isCurrent"], each["openOrders"]) for name, each in found.items()] == [
                ("2", True, 2),
                ("1", False, 1),
            ]

            status, problem = running.call("POST", "/v1/releases/life@2:retire", {"reason": "it is wrong"})
            assert (status, problem["type"]) == (409, "urn:orderplan:notPossibleNow"), problem
            assert "publish the release that takes its place first" in problem["mend"]
            assert listed(running) == found

            body = {"reason": "it is wrong", "replacement": "life@1"}
            done = running.ok("POST", "/v1/releases/life@2:retire", body, X_User="olga")
            assert done == {
                "id": "life@2", "action": "retire", "changed": True, "state": "retired", "current": "life@1",
            }  # fmt: skip
            with open_order(running, 10_103) as new:
                assert release_of(running, new) == release_of(running, old) == "life@1"
                assert {name: (each["state"], each["openOrders"]) for name, each in listed(running).items()} == {
                    "1": ("published", 2),
                    "2": ("retired", 2),
                }
            assert running.ok("POST", "/v1/releases/life@2:retire", body)["changed"] is False
    # The two on the retired one have ended by now, on it.
    assert {each["openOrders"] for each in listed(running).values()} == {0}

    done = running.ok("POST", "/v1/releases/life@2:unretire", {"reason": "it was right"}, X_User="pia")
    assert (done["state"], done["current"]) == ("published", "life@1")
    changes = running.ok("GET", "/v1/releases/life@2/changes")
    assert [(each["kind"], each["by"], each["change"].get("reason")) for each in changes] == [
        ("unretired", "pia", "it was right"),
        ("retired", "olga", "it is wrong"),
        ("published", "operator", None),
    ]


def test_a_scheduled_release_is_taken_at_its_moment_and_a_withdrawn_one_never(activation: Running) -> None:
    running = activation
    running.ok("POST", "/v1/releases:publish", life("10"))
    far = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    answer = running.ok("POST", f"/v1/releases:publish?effectiveFrom={far.replace('+', '%2B')}", life("11"))
    assert answer["published"] is True
    assert datetime.fromisoformat(answer["effectiveFrom"]) == datetime.fromisoformat(far)
    with open_order(running, 10_110) as before:
        found = listed(running)
        assert (found["11"]["state"], found["11"]["isCurrent"]) == ("scheduled", False)
        running.ok("POST", "/v1/releases/life@11:retire", {"reason": "the day is another one"}, X_User="olga")
        [change, *_] = running.ok("GET", "/v1/releases/life@11/changes")
        assert (change["kind"], change["by"], change["change"]) == (
            "withdrawn", "olga", {"reason": "the day is another one"},
        )  # fmt: skip

        soon = datetime.now(UTC) + timedelta(seconds=3)
        path = f"/v1/releases:publish?effectiveFrom={soon.strftime('%Y-%m-%dT%H:%M:%S.%fZ')}"
        running.ok("POST", path, life("11"))
        assert listed(running)["11"]["state"] == "scheduled"
        # Nobody tells the hosts: each of them changes over by its clock.
        taken: list[str] = []
        with ThreadPoolExecutor(SENDERS) as pool:
            number = 10_111
            while not taken or release_of(running, taken[-1]) != "life@11":
                taken += pool.map(running.submit, [order(number + each) for each in range(4)])
                number += 4
                assert number < 14_000, "it has never been taken"
        facts = running.ok("GET", f"/v1/orders/{before}/facts")
        assert {fact["releaseId"] for fact in facts} == {"life@10"}
        for each in taken:
            accepted = running.ok("GET", f"/v1/orders/{each}/facts")[0]
            is_later = datetime.fromisoformat(accepted["at"]) >= soon
            assert accepted["releaseId"] == ("life@11" if is_later else "life@10")
        for each in taken:
            running.ok("PATCH", f"/v1/orders/{each}/lines/1", {"attributes": {"number": "079"}, "reason": "over"})
            assert running.ended(each)["state"] == "completed"
    assert running.ok("POST", path, life("11"))["published"] is False, "a repeat, however late, changes nothing"


def test_two_releases_are_compared(activation: Running) -> None:
    running = activation
    running.ok("POST", "/v1/releases:publish", life("20/a"))
    running.ok("POST", "/v1/releases:publish", life("21", eventTimeoutS=60))

    found = running.ok("GET", "/v1/releases/life@20%2Fa:diff?to=life@21")

    assert found == {
        "from": "life@20/a",
        "to": "life@21",
        "added": 0,
        "removed": 0,
        "changed": 1,
        "changes": [
            {
                "kind": "item",
                "name": "deliver/ready",
                "change": "changed",
                "fields": [{"path": "eventTimeoutS", "from": None, "to": 60.0}],
            }
        ],
        "effects": [{"item": "deliver/ready", "touch": "result", "why": ["eventTimeoutS"]}],
        "lines": [],
        "openOrders": 0,
    }


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "where", "mend"),
    [
        ("POST", "/v1/releases:publish?effectiveFrom=tomorrow", "life", 400, "effectiveFrom", "2027-01-31T00:00:00Z"),
        ("POST", "/v1/releases:publish?effectiveFrom=2027-01-31", "life", 400, "effectiveFrom", "2027-01-31T00:00:00Z"),
        ("POST", "/v1/releases:publish?effectiveFrom=2020-01-31T00:00:00Z", "life", 400, "effectiveFrom", "to come"),
        ("POST", "/v1/releases/life@30:retire", {}, 400, "reason", "reason"),
        ("POST", "/v1/releases/life@30:retire", {"reason": "r"}, 404, None, "/v1/releases"),
        ("POST", "/v1/releases/life@30:unretire", {"reason": "r"}, 404, None, "/v1/releases"),
        ("POST", "/v1/releases/life@30:retire", {"reason": "r", "replacement": 7}, 400, "replacement", "leave it out"),
        ("POST", "/v1/releases/life@30:unretire", {"reason": "r", "replacement": "x"}, 400, "replacement", "leave it"),
        ("GET", "/v1/releases/life@30/changes", None, 404, None, "/v1/releases"),
        ("GET", "/v1/releases/life@30:diff?to=life@31", None, 404, None, "/v1/releases"),
        ("GET", "/v1/releases/life@30:diff", None, 400, "to", "?to="),
    ],
)
def test_what_cannot_be_done_with_a_release_is_refused_with_the_mend(
    running: Running, method: str, path: str, body: Any, status: int, where: str | None, mend: str
) -> None:
    before = listed(running)

    got, problem = running.call(method, path, life("30") if body == "life" else body)

    assert (got, problem.get("path")) == (status, where), problem
    assert mend in problem["mend"]
    assert listed(running) == before
