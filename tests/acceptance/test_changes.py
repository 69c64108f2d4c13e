"""Orders that change while they run, on a running cluster: previewed, amended, patched, cancelled, held, moved."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from domain.events import ATTRIBUTE_CHANGED
from orderplan.client import ApiError, Client
from tests.acceptance.test_events import Channel, listening, registered
from tests.support.build import callout, depends, manual, plan_of, release_document, rule, scenario
from tests.support.running import TMF622, Running, until

FOLDER = Path(__file__).parents[2] / "examples" / "dedicated-internet"
VERSIONS = count(1)
ACCOUNTS = count(1)
SYSTEMS = ("provisioning", "logistics", "billing", "messaging", "cloudvault", "ipam")
CANCEL = "/tmf-api/productOrderingManagement/v4/cancelProductOrder"


@pytest.fixture
def site(running: Running) -> Running:
    """The cluster with dedicated-internet as the newest release, its systems being the stand-ins."""
    publish(running)
    stand_in = {"adapter": "http", "config": {"url": f"{running.standins}/billing"}, "concurrency": 100}
    for code in SYSTEMS:
        # The stand-ins know orders' lines only, and a text message has none.
        running.ok("PUT", f"/v1/systems/{code}", {"adapter": "simulated"} if code == "messaging" else stand_in)
    return running


def publish(running: Running, **changes: Any) -> str:
    document = yaml.safe_load((FOLDER / "release.yaml").read_text(encoding="utf-8")) | changes
    document["version"] = f"changes {next(VERSIONS)}"
    running.ok("POST", "/v1/releases:publish", document)
    return f"{document['code']}@{document['version']}"


def order(account: str, sites: int = 1, **characteristics: Any) -> dict[str, Any]:
    """The example's order for an account of its own, with as many sites."""
    document: dict[str, Any] = json.loads((FOLDER / "order-add.json").read_text(encoding="utf-8"))
    document["externalId"] = account
    document["billingAccount"] = {"id": account}
    document.pop("relatedParty")
    [item] = document["productOrderItem"]
    values = {each["name"]: each["value"] for each in item["product"]["productCharacteristic"]} | characteristics
    item["product"]["productCharacteristic"] = [
        {"name": name, "value": value} for name, value in values.items() if value is not None
    ]
    document["productOrderItem"] = [
        {**item, "id": str(number), "product": {**item["product"], "place": [{"id": f"{account}-{number}"}]}}
        for number in range(1, sites + 1)
    ]
    return document


def account() -> str:
    return f"changes-{next(ACCOUNTS)}"


def items_of(running: Running, order_id: str) -> dict[str, dict[str, Any]]:
    return {item["key"]: item for item in running.ok("GET", f"/v1/orders/{order_id}/plan")["items"]}


def reaches(running: Running, order_id: str, **states: str) -> dict[str, dict[str, Any]]:
    """The plan once the named items (start of the key, `/` written `__`) are in their states."""

    def holds(plan: dict[str, dict[str, Any]]) -> bool:
        return all(
            any(key.startswith(name.replace("__", "/") + "@") and item["state"] == state for key, item in plan.items())
            for name, state in states.items()
        )

    found: dict[str, dict[str, Any]] = until(lambda: items_of(running, order_id), holds)
    return found


def effects(running: Running, order_id: str) -> list[str]:
    return [call["operation"] for call in running.calls(order_id)]


@pytest.mark.rule("C2.17")
def test_an_amendment_is_previewed_and_the_plan_is_then_exactly_what_was_shown(site: Running) -> None:
    name = account()
    order_id = site.submit(order(name))
    reaches(site, order_id, completion__hold="Running", logistics__ship="Completed")
    with Client(site.url, user="agent-1") as client:
        before = client.plan(order_id)
        preview = client.amend_order(order_id, order(name, bandwidthMbps=1000), "the customer wants more", dry_run=True)
        assert client.plan(order_id) == before, "a preview changes nothing"
        shown = {each["key"]: (each["state"], each["dependsOn"]) for each in preview["plan"]}
        assert {each["key"].split("@")[0] for each in preview["added"]} == {
            "billing/pre-notify", "billing/start", "provisioning/send",
        }  # fmt: skip
        # Nothing answers meanwhile, so that the plan can be compared with what was shown.
        for code in SYSTEMS:
            client.hold_system(code, "to look at the plan")
        try:
            client.amend_order(order_id, order(name, bandwidthMbps=1000), "the customer wants more")
            after = {key: (item["state"], item["dependsOn"]) for key, item in items_of(site, order_id).items()}
        finally:
            for code in SYSTEMS:
                client.release_system(code)
        assert {key: waits for key, (_, waits) in after.items()} == {key: waits for key, (_, waits) in shown.items()}
        running_then = {key for key, (state, _) in shown.items() if state == "Running"}
        assert {key for key, (state, _) in after.items() if state not in ("On Hold", shown[key][0])} == set()
        assert all(after[key][0] in ("On Hold", "Running") for key in running_then)

        reaches(site, order_id, completion__hold="Running", billing__start="Completed")
        until(lambda: items_of(site, order_id), lambda plan: plan["billing/start@site-billing@1~1"]["endedAt"])
        client.change_line(order_id, "1", {"acceptedOn": "2026-12-01"}, "signed on site")
        task = until(lambda: client.list_tasks(queue="customer-care"), lambda tasks: any_of(tasks, order_id))
        client.claim_task(any_of(task, order_id)["id"], "carla")
        client.complete_task(any_of(task, order_id)["id"], "carla", {"packageSentOn": "2026-12-02"})
        assert site.ended(order_id)["state"] == "completed"
    charges = [
        call["payload"]["lines"][0]["attributes"].get("monthlyCharge")
        for call in site.calls(order_id)
        if call["operation"] == "start"
    ]
    assert charges == [590, 890]


def any_of(tasks: list[dict[str, Any]], order_id: str) -> Any:
    return next((task for task in tasks if task["orderId"] == order_id), None)


@pytest.mark.rule("B3.6")
def test_a_cancelled_order_is_undone_and_the_channel_sees_its_cancellation_go(site: Running) -> None:
    name = account()
    order_id = site.submit(order(name))
    reaches(site, order_id, completion__hold="Running", logistics__ship="Completed")
    task = site.ok("POST", CANCEL, {"productOrder": {"id": order_id}, "cancellationReason": "moved away"})
    assert task["state"] in ("inProgress", "done")
    assert site.ended(order_id)["state"] == "cancelled"
    done = site.ok("GET", task["href"])
    assert (done["state"], done["cancellationReason"]) == ("done", "moved away")
    assert [each["id"] for each in site.ok("GET", f"{CANCEL}?productOrder.id={order_id}")] == [task["id"]]
    # In the reverse order of the work, each once.
    assert effects(site, order_id)[-2:] == ["stop", "deprovision"]
    assert site.products(name) == {}
    status, refused = site.call("POST", CANCEL, {"productOrder": {"id": order_id}})
    assert (status, refused["code"]) == (409, "notPossibleNow")


def test_of_two_sites_one_is_cancelled_and_the_other_is_delivered(site: Running) -> None:
    name = account()
    order_id = site.submit(order(name, sites=2))
    until(lambda: items_of(site, order_id), lambda plan: plan["completion/hold@2"]["state"] == "Running")
    with Client(site.url, user="agent-1") as client:
        client.cancel_order(order_id, "the second site is not needed", items=["2"])
        until(
            lambda: items_of(site, order_id),
            lambda plan: plan.get("undo-order/done@2", {}).get("state") == "Completed",
        )
        states = {item["id"]: item["state"] for item in site.ok("GET", f"{TMF622}/{order_id}")["productOrderItem"]}
        assert states == {"1": "inProgress", "2": "cancelled"}
        client.change_line(order_id, "1", {"acceptedOn": "2026-12-01"}, "signed on site")
        tasks = until(lambda: client.list_tasks(queue="customer-care"), lambda tasks: any_of(tasks, order_id))
        client.claim_task(any_of(tasks, order_id)["id"], "carla")
        client.complete_task(any_of(tasks, order_id)["id"], "carla", {"packageSentOn": "2026-12-02"})
    assert site.ended(order_id)["state"] == "partial"
    assert len(site.products(name)) == 4


def test_an_agent_changes_a_running_order_and_of_two_at_once_the_second_is_refused(site: Running) -> None:
    name = account()
    order_id = site.submit(order(name))
    reaches(site, order_id, completion__hold="Running", logistics__ship="Completed")
    with Client(site.url, user="agent-1") as client:
        version = client.order(order_id)["version"]
        patch = {"lines": {"1": {"attributes": {"bandwidthMbps": 1000, "acceptedOn": "2026-12-01"}}}}
        client.patch_order(order_id, patch, "the customer has called", version=version)
        with pytest.raises(ApiError) as refused:
            client.patch_order(order_id, patch, "so they have told me", version=version)
        assert (refused.value.status, refused.value.code) == (412, "staleVersion")
        # What was done with the old bandwidth is done again, and the customer's acceptance is heard after that.
        plan = reaches(site, order_id, completion__welcome="Ready")
        assert plan["provisioning/send@access-provisioning@1~1"]["state"] == "Completed"
        assert plan["completion/hold@1"]["state"] == "Completed"
        with pytest.raises(ApiError) as late:
            client.patch_order(order_id, {"lines": {"1": {"attributes": {"bandwidthMbps": 100}}}}, "changed my mind")
        assert (late.value.status, late.value.code) == (409, "pointOfNoReturn")
    sent = [call for call in site.calls(order_id) if call["operation"] == "provision"]
    assert [call["payload"]["lines"][0]["attributes"]["bandwidthMbps"] for call in sent] == [500, 1000]


def test_a_channel_amends_by_merge_patch_and_reads_what_it_has_changed(site: Running) -> None:
    name = account()
    order_id = site.submit(order(name))
    reaches(site, order_id, completion__hold="Running", logistics__ship="Completed")
    changed = site.ok("PATCH", f"{TMF622}/{order_id}", {"description": "ring twice"})
    assert changed["description"] == "ring twice"
    items = order(name, bandwidthMbps=1000)["productOrderItem"]
    site.ok("PATCH", f"{TMF622}/{order_id}", {"productOrderItem": items})
    shown = site.ok("GET", f"{TMF622}/{order_id}")
    values = {each["name"]: each["value"] for each in shown["productOrderItem"][0]["product"]["productCharacteristic"]}
    assert values["bandwidthMbps"] == 1000
    assert shown["description"] == "ring twice"
    # Sealed before and after: asterisks that are sent back mean what they stand for.
    assert values["contactPhone"] == "********"
    status, refused = site.call("PATCH", f"{TMF622}/{order_id}", {"productOrderItem": []})
    assert status == 400, refused


def test_a_held_order_begins_nothing_until_it_is_resumed(site: Running) -> None:
    order_id = site.submit(order(account(), demarcation=None))
    reaches(site, order_id, provisioning__enrich="Ready")
    with Client(site.url, user="agent-1") as client:
        assert client.steer_order(order_id, "hold", "the customer pays late")["state"] == "held"
        task = any_of(client.list_tasks(queue="network-planning"), order_id)
        with pytest.raises(ApiError) as refused:
            client.claim_task(task["id"], "nora")
        assert refused.value.status == 409
        client.steer_order(order_id, "resume", "paid")
        client.claim_task(task["id"], "nora")
        client.complete_task(task["id"], "nora", {"demarcation": "roof"})
    reaches(site, order_id, provisioning__send="Completed")


def test_an_order_is_moved_to_a_newer_release_and_runs_by_it(site: Running) -> None:
    order_id = site.submit(order(account()))
    reaches(site, order_id, completion__hold="Running", logistics__ship="Completed")
    document = yaml.safe_load((FOLDER / "release.yaml").read_text(encoding="utf-8"))
    plans = document["plans"]
    completion = next(plan for plan in plans if plan["code"] == "completion")
    completion["items"].append(manual("survey", queue="customer-care"))
    newer = publish(site, plans=plans)
    with Client(site.url, user="agent-1") as client:
        preview = client.move_order(order_id, newer, "the new survey", dry_run=True)
        assert [each["key"] for each in preview["added"]] == ["completion/survey@1"]
        before = client.order(order_id)["releaseId"]
        client.move_order(order_id, newer, "the new survey")
        assert client.order(order_id)["releaseId"] == newer
        plan = reaches(site, order_id, completion__survey="Ready")
        assert plan["provisioning/send@access-provisioning@1"]["state"] == "Completed"
        with pytest.raises(ApiError) as refused:
            client.move_order(order_id, "no such@1", "nowhere")
        assert (refused.value.status, refused.value.path) == (404, "release")
        client.retire_release(before, "nobody goes back")
        with pytest.raises(ApiError) as refused:
            client.move_order(order_id, before, "back")
        assert (refused.value.status, refused.value.path) == (409, "release")


def test_a_rehearsed_order_shows_its_plan_and_stores_nothing(site: Running) -> None:
    name = account()
    with Client(site.url) as client:
        shown = client.preview_order(order(name))
        assert {each["key"] for each in shown["plan"]} >= {"order/start@1", "completion/hold@1"}
        assert shown["lines"][0]["attributes"]["contactPhone"] == "********"
        assert client.list_orders(externalId=name).items == []


class Keeping(Channel):
    """A channel that keeps what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []

    def take(self, event: dict[str, Any]) -> int:
        self.events.append(event)
        return super().take(event)

    def heard_of(self, order_id: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"]["productOrder"]["id"] == order_id]


def landline_release(version: str) -> dict[str, Any]:
    """A line whose work reads contact and date; its number comes from a system and goes back to the order line."""
    copied = [{"to": name, "copy": name} for name in ("contact", "installDate")]
    names = [{"name": name} for name in ("contact", "installDate", "MSISDN")]
    return release_document(
        code="landline",
        version=version,
        products=[
            {
                "code": "landline",
                "kind": "commercial",
                "attributes": [*names, {"name": "tariff", "changeable": False}],
            },
            {"code": "access", "attributes": names},
        ],
        decompositions=[rule("landline", "access", *copied)],
        plans=[
            plan_of(
                "access",
                callout("reserve", system="line-system", response={"MSISDN": "answer.reference"}),
                {"code": "agreed", "type": "pushEvent", "event": "has(attributes.installDate)"},
                callout("install", system="line-system"),
                {"code": "back", "type": "autoTask", "task": "backPropagate"},
                manual("check", queue="line-desk"),
            )
        ],
        dependencies=[
            depends("access/agreed", "access/reserve"),
            depends("access/install", "access/agreed"),
            depends("access/back", "access/install"),
            depends("access/check", "access/back"),
        ],
        scenarios=[scenario("access", "access")],
    )


def landline(name: str) -> dict[str, Any]:
    given = {"contact": "Ann Example", "tariff": "flat"}
    return {
        "externalId": name,
        "billingAccount": {"id": name},
        "productOrderItem": [
            {
                "id": "1",
                "action": "add",
                "productOffering": {"id": "landline"},
                "product": {"productCharacteristic": [{"name": each, "value": given[each]} for each in given]},
            }
        ],
    }


def values_of(document: dict[str, Any]) -> dict[str, Any]:
    """The characteristics of the only item of an order, as its channel sees it."""
    [item] = document["productOrderItem"]
    return {each["name"]: each["value"] for each in item["product"]["productCharacteristic"]}


def test_an_agent_changes_contact_and_date_and_work_waiting_and_channel_follow(running: Running) -> None:
    running.ok("POST", "/v1/releases:publish", landline_release(f"changes {next(VERSIONS)}"))
    stand_in = {"adapter": "http", "config": {"url": f"{running.standins}/billing"}, "concurrency": 10}
    running.ok("PUT", "/v1/systems/line-system", stand_in)
    name, channel = account(), Keeping()
    with Client(running.url, user="agent-1") as client, listening(channel) as callback, registered(client, callback):
        order_id = running.submit(landline(name))
        reaches(running, order_id, access__agreed="Running")
        first = client.plan(order_id)["lines"][1]["attributes"]["MSISDN"]
        version = client.order(order_id)["version"]

        patch = {"lines": {"1": {"attributes": {"contact": "Ben Example", "installDate": "2026-12-24"}}}}
        assert client.patch_order(order_id, patch, "another contact, and a date", version=version)["changed"]
        with pytest.raises(ApiError) as stale:
            client.patch_order(order_id, patch, "so they have told me", version=version)
        assert (stale.value.status, stale.value.code) == (412, "staleVersion")
        with pytest.raises(ApiError) as fixed:
            client.patch_order(order_id, {"lines": {"1": {"attributes": {"tariff": "metered"}}}}, "a cheaper one")
        assert (fixed.value.status, fixed.value.code, fixed.value.path) == (422, "protectedAttribute", "1.tariff")

        # What was done with the old contact is done again, what waited for a date goes on, the rest carries both.
        plan = reaches(running, order_id, access__check="Ready")
        assert plan["access/reserve@access@1"]["state"] == "Amended"
        assert plan["access/agreed@access@1"]["state"] == "Completed"
        contacts = [call["payload"]["lines"][0]["attributes"]["contact"] for call in running.calls(order_id)]
        assert contacts == ["Ann Example", "Ben Example", "Ben Example"]
        told = until(
            lambda: [event for event in channel.heard_of(order_id) if event["eventType"] == ATTRIBUTE_CHANGED],
            lambda events: any(event.get("fieldPath") == "productOrderItem" for event in events),
        )
        changed = next(event for event in told if event["fieldPath"] == "productOrderItem")
        assert values_of(changed["event"]["productOrder"])["contact"] == "Ben Example"

        # The number that the second reservation gave is on the order line, the asset and in what the channel hears.
        number = client.plan(order_id)["lines"][1]["attributes"]["MSISDN"]
        assert number != first
        task = any_of(client.list_tasks(queue="line-desk"), order_id)
        client.claim_task(task["id"], "lena")
        client.complete_task(task["id"], "lena", {})
        assert running.ended(order_id)["state"] == "completed"
        assert values_of(running.ok("GET", f"{TMF622}/{order_id}"))["MSISDN"] == number
        [asset] = [each for each in client.list_products(account=name).items if each["name"] == "access"]
        assert {one["name"]: one["value"] for one in asset["productCharacteristic"]}["MSISDN"] == number
        last = until(
            lambda: channel.heard_of(order_id)[-1]["event"]["productOrder"], lambda heard: heard["state"] == "completed"
        )
        assert values_of(last)["MSISDN"] == number


def test_a_bulk_repair_is_rehearsed_and_then_does_what_it_said(running: Running) -> None:
    version = f"changes {next(VERSIONS)}"
    running.ok("POST", "/v1/releases:publish", landline_release(version))
    running.ok("PUT", "/v1/systems/line-system", {"adapter": "simulated", "config": {"permanentRate": 1.0}})
    orders = [running.submit(landline(account())) for _ in range(3)]
    with Client(running.url, user="olga") as client:
        until(lambda: client.list_fallout(system="line-system")["items"], lambda items: len(items) == 3)
        body = {"filter": {"system": "line-system"}, "reason": "the line system is mended"}
        told = running.ok("POST", "/v1/fallout:skip?dryRun=true", body)
        assert (told["total"], told["done"], told["refused"]) == (3, 3, 0)
        assert {entry["orderId"]: entry["stateAfter"] for entry in told["items"]} == dict.fromkeys(orders, "Skipped")
        assert len(client.list_fallout(system="line-system")["items"]) == 3, "nothing was done"
        job = client.wait_for_job(client.start_job("skip", "done by hand", filter={"system": "line-system"})["id"])
        assert job["done"] == 3
        for order_id in orders:
            client.cancel_order(order_id, "only a test")
            running.ended(order_id)
