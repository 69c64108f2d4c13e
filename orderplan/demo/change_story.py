"""`orderplan demo --change`: what becomes of orders that change while they run, told step by step.

Everything happens on examples/dedicated-internet with simulated systems. Each step is looked at afterwards: what did
not come out as it should is named, and the command ends with 1.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import RenderableType

from orderplan.cli.files import read_object
from orderplan.cli.order_changes import rendered
from orderplan.client import Client, WaitedTooLong
from orderplan.demo.width import simulate

AGENT: Final = "carla"
WAIT_S: Final = 60.0
POLL_S: Final = 0.05
JOB_S: Final = 60.0


class ChangeStory:
    """The steps in their order; `tell` prints, `wrong` collects what did not come out as it should."""

    def __init__(self, client: Client, examples: Path, tell: Callable[[RenderableType], None]) -> None:
        self.client = client
        self.wrong: list[str] = []
        self._tell = tell
        self._release = read_object(str(examples / "dedicated-internet" / "release.yaml"))
        self._sample = read_object(str(examples / "dedicated-internet" / "order-add.json"))
        self._systems = [each["code"] for each in self._release["systems"]]
        self._number = 0

    def run(self) -> None:
        """Tell all of it."""
        self.client.publish_release(self._release)
        simulate(self.client, self._systems)
        self._amend()
        self._hold()
        self._outage()
        self._cancel_one_of_two()
        self._move()

    # The steps.

    def _amend(self) -> None:
        order_id = self._begin("1. An amendment, looked at first", "A site with 500 Mbit/s waits for its customer.")
        wanted = self._order(self._number, bandwidthMbps=1000)
        preview = self.client.amend_order(order_id, wanted, "the customer wants a gigabit", dry_run=True)
        self._tell_all(rendered(preview))
        self.client.amend_order(order_id, wanted, "the customer wants a gigabit")
        shown = {each["key"]: each["dependsOn"] for each in preview["plan"]}
        plan = {item["key"]: item["dependsOn"] for item in self._items(order_id)}
        self._expect("the plan is what the preview showed", plan == shown)
        self._until(order_id, lambda items: _stands(items, "billing/start", "Completed", again=True))
        self._deliver(order_id)
        installed = self._attributes(self._account(self._number), "site-billing")
        self._expect("billing charges for a gigabit", installed.get("monthlyCharge") == 890)

    def _hold(self) -> None:
        order_id = self._begin("2. Held and resumed", "The customer pays late.", waits_at=None, demarcation=None)
        self._until(order_id, lambda items: _stands(items, "provisioning/enrich", "Ready"))
        self._say_state(self.client.steer_order(order_id, "hold", "the deposit is missing"))
        self._expect("the order is held", self.client.order(order_id)["state"] == "held")
        self._say_state(self.client.steer_order(order_id, "resume", "the deposit is paid"))
        self._task(order_id, "network-planning", {"demarcation": "roof"})
        self._until(order_id, lambda items: _stands(items, "completion/hold", "Running"))
        self._deliver(order_id)

    def _outage(self) -> None:
        self._title("3. A system refuses everything, then one job repairs what it left")
        self.client.put_system("billing", "simulated", {"permanentRate": 1.0})
        orders = [self._submit() for _ in range(3)]
        for order_id in orders:
            self._until_state(order_id, "held")
        groups = [each for each in self.client.fallout_groups() if each["system"] == "billing"]
        self._tell(f"   {groups[0]['count']} items have failed at billing; the orders are held")
        simulate(self.client, ["billing"])
        job = self.client.start_job("retry", "billing works again", filter={"system": "billing"})
        job = self.client.wait_for_job(job["id"], timeout_s=JOB_S)
        self._tell(f"   one job repairs them: {job['done']} of {job['total']} done")
        for order_id in orders:
            self._until(order_id, lambda items: _stands(items, "completion/hold", "Running"))
            self._deliver(order_id)

    def _cancel_one_of_two(self) -> None:
        order_id = self._begin("4. One of two sites is cancelled", "Both wait for their customers.", sites=2)
        preview = self.client.cancel_order(order_id, "the second site is not needed", items=["2"], dry_run=True)
        self._tell_all(rendered(preview))
        self.client.cancel_order(order_id, "the second site is not needed", items=["2"])
        self._until(order_id, lambda items: _stands(items, "undo-order/done", "Completed"))
        self._tell("   the second site is taken back in the reverse order of the work; the first goes on")
        self._deliver(order_id, "partial")
        sites = self.client.list_products(account=self._account(self._number)).items
        kinds = [each["productSpecification"]["name"] for each in sites]
        self._expect("one site is installed", kinds.count("dedicated-internet") == 1)

    def _move(self) -> None:
        order_id = self._begin("5. Moved to a newer release", "It has a new step: somebody asks how it was.")
        newer = copy.deepcopy(self._release)
        newer["version"] = f"{newer['version']}-with-survey"
        completion = next(plan for plan in newer["plans"] if plan["code"] == "completion")
        completion["items"].append(
            {"code": "survey", "name": "Ask How It Was", "type": "manualTask", "queue": "customer-care"}
        )
        newer["dependencies"].append(
            {
                "item": {"plan": "completion", "item": "survey"},
                "other": {"plan": "completion", "item": "notify"},
                "scope": "bundle",
            }
        )
        self.client.publish_release(newer)
        name = f"{newer['code']}@{newer['version']}"
        self._tell_all(rendered(self.client.move_order(order_id, name, "the new survey", dry_run=True)))
        self.client.move_order(order_id, name, "the new survey")
        self._accept(order_id)
        self._until(order_id, lambda items: _stands(items, "completion/survey", "Ready"))
        self._task(order_id, "customer-care", {})
        self._ends(order_id, "completed")
        self._expect("it ran by the newer release", self.client.order(order_id)["releaseId"] == name)

    # Means.

    def _title(self, text: str) -> None:
        self._tell(f"\n[bold]{text}[/]")

    def _begin(
        self, title: str, text: str, *, sites: int = 1, waits_at: str | None = "completion/hold", **values: Any
    ) -> str:
        self._title(title)
        order_id = self._submit(sites, **values)
        if waits_at is not None:
            self._until(
                order_id,
                lambda items: _stands(items, waits_at, "Running", count=sites)
                and _stands(items, "logistics/ship", "Completed", count=sites),
            )
        self._tell(f"   order {order_id}: {text}")
        return order_id

    def _submit(self, sites: int = 1, **values: Any) -> str:
        self._number += 1
        stored = self.client.submit_order(self._order(self._number, sites, **values))
        order_id: str = stored["id"]
        return order_id

    def _account(self, number: int) -> str:
        return f"demo-change-{number}"

    def _order(self, number: int, sites: int = 1, **values: Any) -> dict[str, Any]:
        order = copy.deepcopy(self._sample)
        order["externalId"] = account = self._account(number)
        order["billingAccount"]["id"] = account
        del order["relatedParty"]
        [item] = order["productOrderItem"]
        given = {each["name"]: each["value"] for each in item["product"]["productCharacteristic"]} | values
        item["product"]["productCharacteristic"] = [
            {"name": name, "value": value} for name, value in given.items() if value is not None
        ]
        order["productOrderItem"] = [{**copy.deepcopy(item), "id": str(site)} for site in range(1, sites + 1)]
        return order

    def _deliver(self, order_id: str, state: str = "completed") -> None:
        """The customer accepts the site, the welcome package goes out, the order ends."""
        self._accept(order_id)
        self._ends(order_id, state)

    def _accept(self, order_id: str) -> None:
        self.client.change_line(order_id, "1", {"acceptedOn": "2026-12-01"}, "signed on site")
        self._until(order_id, lambda items: _stands(items, "completion/welcome", "Ready"))
        self._task(order_id, "customer-care", {"packageSentOn": "2026-12-02"})

    def _task(self, order_id: str, queue: str, data: Mapping[str, Any]) -> None:
        tasks = [each for each in self.client.list_tasks(queue=queue) if each["orderId"] == order_id]
        self.client.claim_task(tasks[0]["id"], AGENT)
        self.client.complete_task(tasks[0]["id"], AGENT, data)
        self._tell(f"   {AGENT} does {tasks[0]['name']}")

    def _ends(self, order_id: str, state: str) -> None:
        order = self.client.wait_for_order(order_id, timeout_s=WAIT_S, poll_s=POLL_S)
        self._tell(f"   the order ends as {order['state']}")
        self._expect(f"order {order_id} ends as {state}", order["state"] == state)

    def _say_state(self, told: Mapping[str, Any]) -> None:
        self._tell(f"   the order is {told['state']}")

    def _expect(self, what: str, holds: bool) -> None:
        self._tell(f"   [green]as expected[/]: {what}" if holds else f"   [red]not as expected[/]: {what}")
        if not holds:
            self.wrong.append(what)

    def _tell_all(self, parts: Iterable[RenderableType]) -> None:
        for part in parts:
            self._tell(part)

    def _items(self, order_id: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.client.plan(order_id)["items"]
        return items

    def _attributes(self, account: str, specification: str) -> dict[str, Any]:
        for each in self.client.all_products(account):
            if each["productSpecification"]["name"] == specification:
                return {one["name"]: one["value"] for one in each["productCharacteristic"]}
        return {}

    def _until_state(self, order_id: str, state: str) -> None:
        self._poll(order_id, lambda: self.client.order(order_id)["state"] == state)

    def _until(self, order_id: str, holds: Callable[[list[dict[str, Any]]], bool]) -> None:
        self._poll(order_id, lambda: holds(self._items(order_id)))

    def _poll(self, order_id: str, holds: Callable[[], bool]) -> None:
        until = time.monotonic() + WAIT_S
        while not holds():
            if time.monotonic() >= until:
                raise WaitedTooLong(order_id, self.client.order(order_id)["state"], WAIT_S)
            time.sleep(POLL_S)


def _stands(
    items: Iterable[Mapping[str, Any]], name: str, state: str, *, again: bool = False, count: int = 1
) -> bool:
    """Whether so many items of a definition are in a state; with `again` those that a change has made."""
    found = [
        item
        for item in items
        if item["key"].startswith(f"{name}@") and item["state"] == state and (not again or item.get("role"))
    ]
    return len(found) >= count
