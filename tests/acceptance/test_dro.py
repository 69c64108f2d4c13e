"""Both DRO catalogues on a running cluster: imported over the API, their example orders run to their end, exported."""

import json
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest

from tests.support import dro
from tests.support.running import Running, until

TMF622 = "/tmf-api/productOrderingManagement/v4/productOrder"


def release_with(running: Running, catalogue: str, version: str) -> dict[str, Any]:
    """Publish the catalogue, with every system simulated."""
    files = {name: content.decode() for name, content in dro.files_of(catalogue).items()}
    body = {"files": files, "bindings": dro.bindings_of(catalogue), "version": version}
    answer: dict[str, Any] = running.ok("POST", "/v1/releases:import-dro", body)
    release = running.ok("GET", f"/v1/releases/{answer['id']}")
    for system in release["systems"]:
        running.ok("PUT", f"/v1/systems/{system['code']}", {"adapter": "simulated", "config": {}})
    return answer


def work_off(running: Running, order_id: str) -> bool:
    """Do what waits for people; whether the order has ended."""
    order = running.ok("GET", f"/v1/orders/{order_id}")
    if order["endedAt"] is not None:
        return True
    for task in running.ok("GET", "/v1/tasks?limit=100"):
        if task["orderId"] == order_id:
            running.ok("POST", f"/v1/tasks/{task['id']}:claim", {"worker": "nora"})
            running.ok("POST", f"/v1/tasks/{task['id']}:complete", {"worker": "nora"})
    for each in running.ok("GET", f"/v1/orders/{order_id}/plan")["items"]:
        if each.get("type") == "pushEvent" and each["state"] == "Running":
            body = {"reason": "signed"}
            running.ok("POST", f"/v1/orders/{order_id}/items/{quote(each['key'])}:complete", body)
    return False


@pytest.mark.parametrize("catalogue", ["qb", "mfg"])
def test_a_catalogue_is_imported_and_its_example_orders_run_to_their_end(running: Running, catalogue: str) -> None:
    answer = release_with(running, catalogue, "acceptance")
    placed = []
    for path in sorted((dro.FOLDER / "orders").glob(f"{catalogue}-*.json")):
        placed.append(running.ok("POST", TMF622, json.loads(path.read_text(encoding="utf-8")))["id"])

    assert answer["findings"]
    assert answer["environment"]["queues"]
    assert len(placed) == 3
    for order_id in placed:
        until(partial(work_off, running, order_id), bool)
        order = running.ok("GET", f"/v1/orders/{order_id}")
        assert (order["state"], order["releaseId"]) == ("completed", f"{catalogue}@acceptance")


def test_an_exported_release_published_under_another_version_is_equal(running: Running) -> None:
    answer = release_with(running, "qb", "export")
    exported = running.ok("GET", f"/v1/releases/{answer['id']}")
    again = running.ok("POST", "/v1/releases:publish", {**exported, "version": "export-again"})
    second = running.ok("GET", f"/v1/releases/{again['id']}")

    assert again["published"] is True
    assert {**second, "version": "export"} == exported


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"files": None}, 400, "file name -> its text"),
        ({"files": {"Product2.csv": 7}}, 400, "file name -> its text"),
        ({"files": {}}, 422, "FulfillmentStepDefinitionGroup.csv"),
        ({"bindings": {"sytems": {}}}, 422, "bindings.sytems"),
        ({"version": ""}, 422, "version"),
    ],
)
def test_an_import_of_another_form_is_refused_and_publishes_nothing(
    running: Running, change: dict[str, Any], status: int, said: str
) -> None:
    files = {name: content.decode() for name, content in dro.files_of("qb").items()}
    before = running.ok("GET", "/v1/releases")
    got, answer = running.call("POST", "/v1/releases:import-dro", {"files": files, "version": "bad", **change})

    assert got == status
    assert said in json.dumps(answer)
    assert running.ok("GET", "/v1/releases") == before
