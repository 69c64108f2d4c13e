"""Manual queues on a running cluster: only who may sees and gets a task, and however many race, each is done once."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from orderplan.client import ApiError, Client
from tests.support.build import callout, depends, manual, plan_of, release_document, scenario
from tests.support.running import Running, until

ORDERS = 100
TASKS_PER_ORDER = 10
FORM = {
    "type": "object",
    "properties": {
        "address": {"type": "object", "properties": {"street": {"type": "string"}}, "required": ["street"]},
        "remark": {"type": "string"},
    },
    "required": ["address"],
}


def release(version: str, queue: str, *tasks: dict[str, Any]) -> dict[str, Any]:
    """One product; the tasks of its plan, and a call when all are done."""
    return release_document(
        code="people",
        version=version,
        products=[{"code": "visit", "attributes": [{"name": "address"}, {"name": "remark"}]}],
        plans=[plan_of("visit", *tasks, callout("report", system="activation", operation="activate"))],
        dependencies=[depends("visit/report", f"visit/{each['code']}") for each in tasks],
        scenarios=[scenario("visit", "visit", "add")],
        queues=[{"code": queue}],
    )


def order(number: int, account: str) -> dict[str, Any]:
    """An order of one visit."""
    return {
        "externalId": f"{account}-{number}",
        "billingAccount": {"id": f"{account}-{number}"},
        "productOrderItem": [
            {"id": "1", "action": "add", "product": {"productSpecification": {"id": "visit"}}},
        ],
    }


def publish(running: Running, document: dict[str, Any]) -> None:
    running.ok("POST", "/v1/releases:publish", document)
    running.ok(
        "PUT",
        "/v1/systems/activation",
        {"adapter": "http", "config": {"url": f"{running.standins}/activation"}, "concurrency": 100},
    )


def refused(call: Any, *args: Any) -> ApiError:
    try:
        call(*args)
    except ApiError as error:
        return error
    raise AssertionError("was not refused")


def test_only_who_has_the_skill_sees_takes_and_does_a_task_and_its_form_sets_the_line(running: Running) -> None:
    need = [{"skill": "fibre", "level": 2}]
    publish(running, release("skills", "skilled", manual("survey", queue="skilled", formSchema=FORM, skills=need)))
    soon = (datetime.now(UTC) + timedelta(days=1)).isoformat().replace("+00:00", "Z")
    with Client(running.url, user="olga") as client:
        client.put_worker("ann", skills=[{"skill": "fibre", "level": 3, "expiresAt": soon}])
        client.put_worker("bob", skills=[{"skill": "fibre", "level": 1}])
        client.put_worker("cem", skills=[{"skill": "fibre", "level": 2}])
        for name in ("ann", "bob"):
            client.add_member("skilled", name)
        order_id = running.submit(order(1, "skilled"))
        [task] = until(lambda: client.list_tasks(queue="skilled"), bool)

        assert [client.list_tasks(worker=name, queue="skilled") for name in ("bob", "cem")] == [[], []]
        assert [client.next_task(name, queues=["skilled"]) for name in ("bob", "cem")] == [None, None]
        lacks, stranger = (refused(client.claim_task, task["id"], name) for name in ("bob", "cem"))
        assert (lacks.status, lacks.code, lacks.facts["missing"]) == (403, "notQualified", ["fibre (level 2)"])
        assert (stranger.status, stranger.facts["queue"]) == (403, "skilled")
        assert client.queue("skilled")["held"] == 0

        # A lease lapses: the plan hears of it, the old holder claims again.
        client.claim_task(task["id"], "ann", 0.05)
        item = f"/v1/orders/{order_id}/items/{task['item']}"
        until(lambda: running.ok("GET", item), lambda found: "worker" not in found)
        lapsed = refused(client.complete_task, task["id"], "ann", {"address": {"street": "Sample Road 1"}})
        assert (lapsed.status, lapsed.mend) == (409, "claim it again")
        mine = client.next_task("ann", queues=["skilled"])
        assert mine is not None
        client.add_note(task["id"], "ann", "nobody was in")
        assert [(each["by"], each["text"]) for each in client.notes(task["id"])] == [("ann", "nobody was in")]
        client.put_worker("bob", skills=[{"skill": "fibre", "level": 2}])
        assert client.hand_over_task(task["id"], "ann", "bob")["worker"] == "bob"
        assert refused(client.claim_task, task["id"], "ann").status == 409
        missing = refused(client.complete_task, task["id"], "bob", {"address": {}})
        assert (missing.status, missing.path) == (422, "data.address.street")
        outcome = client.bulk_tasks("complete", [task["id"], "none"], "bob", {"address": {"street": "Sample Road 1"}})
        assert [each["done"] for each in outcome["outcomes"]] == [True, False]

        assert running.ended(order_id)["state"] == "completed"
        assert client.plan(order_id)["lines"][0]["attributes"]["address"] == {"street": "Sample Road 1"}
        kinds = [(each["kind"], each["actor"]) for each in client.facts(order_id) if each["item"] == task["item"]]
        assert kinds == [
            ("item.opened", kinds[0][1]),
            ("item.claimed", "person:ann"),
            ("item.released", "system"),
            ("item.claimed", "person:ann"),
            ("item.annotated", "person:ann"),
            ("item.claimed", "person:ann"),
            ("item.completed", "person:bob"),
        ]


def test_two_people_racing_for_a_thousand_tasks_do_each_once(running: Running) -> None:
    tasks = [manual(f"t{number}", queue="race") for number in range(TASKS_PER_ORDER)]
    publish(running, release("race", "race", *tasks))
    done: dict[str, list[str]] = {"ann": [], "bob": []}
    failures: list[BaseException] = []

    def race(worker: str) -> None:
        try:
            with Client(running.url, user=worker) as client:
                while (task := client.next_task(worker, queues=["race"])) is not None:
                    client.complete_task(task["id"], worker)
                    done[worker].append(task["id"])
        except BaseException as error:
            failures.append(error)

    order_ids = [running.submit(order(number, "race")) for number in range(ORDERS)]
    people = [threading.Thread(target=race, args=(worker,)) for worker in done]
    for each in people:
        each.start()
    for each in people:
        each.join()
    assert failures == []
    assert {running.ended(order_id)["state"] for order_id in order_ids} == {"completed"}

    facts: Counter[tuple[str, str]] = Counter()
    by: Counter[str] = Counter()
    for order_id in order_ids:
        for fact in running.ok("GET", f"/v1/orders/{order_id}/facts"):
            if fact["kind"] in ("item.claimed", "item.completed") and fact["actor"].startswith("person:"):
                facts[fact["kind"], order_id + fact["item"]] += 1
                by[fact["actor"]] += fact["kind"] == "item.completed"
    assert len(facts) == 2 * ORDERS * TASKS_PER_ORDER
    assert set(facts.values()) == {1}
    assert by == {f"person:{worker}": len(mine) for worker, mine in done.items()}
    assert len({*done["ann"], *done["bob"]}) == ORDERS * TASKS_PER_ORDER
    assert all(len(mine) > ORDERS for mine in done.values()), "both of them worked"
    assert [len(running.calls(order_id)) for order_id in order_ids] == [1] * ORDERS
