"""What the demo shows beyond its first two catalogues: skilled people, two foreign catalogues, and an event.

Each catalogue is published as a release of its own: what was ordered before stays on its release.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from adapters.importers.dro import import_dro
from domain.release_file import release_document
from orderplan.cli.files import read_object
from orderplan.client import Client
from orderplan.demo.standins import StandIns

SURVEYOR: Final = "ada"
INSTALLER: Final = "ben"
DESK: Final = "nora"
"""Who the exports' placeholder user is, by their bindings."""
WORKERS: Final = (SURVEYOR, INSTALLER, DESK)
SKILLS: Final[dict[str, list[dict[str, Any]]]] = {
    SURVEYOR: [{"skill": "duct-survey", "level": 1}],
    INSTALLER: [{"skill": "installation", "level": 2}],
    DESK: [],
}
DRO: Final = ("qb", "mfg")
SCORED_S: Final = 20.0
POLL_S: Final = 0.2
JOB_S: Final = 120.0
DRO_COPIES: Final = 5
"""How often each sample order of a foreign catalogue is submitted, each time for another account."""
SIGN_OFF: Final = "Customer BOM sign-off"
DEDICATED: Final = "demo-dedicated-internet"


class Submits(Protocol):
    """What the demo lends to these steps."""

    client: Client

    def say(self, step: str) -> None: ...
    def submit(self, orders: list[dict[str, Any]]) -> None: ...
    def wait(self, names: list[str]) -> None: ...
    def until_state(self, name: str, state: str) -> None: ...
    def until_item(self, name: str, item: str, state: str) -> None: ...
    def order_id(self, name: str) -> str: ...


def introduce(client: Client) -> None:
    """Tell who can do what; queues that name skills are theirs alone."""
    for worker in WORKERS:
        client.put_worker(worker, on_shift=True, skills=SKILLS[worker])


def foreign_catalogues(demo: Submits, folder: Path) -> None:
    """Import both exports, publish them, and run their sample orders to the end."""
    for name in DRO:
        files = {path.name: path.read_bytes() for path in sorted((folder / name).glob("*.csv"))}
        imported = import_dro(files, read_object(str(folder / f"{name}-bindings.yaml")), "1")
        release = release_document(imported.release)
        demo.say(f"catalogue {name}: {len(release['products'])} products, {len(imported.findings)} findings")
        demo.client.publish_release(release)
        demo.client.create_diagrams({each.name: each.to_dict(release["code"]) for each in imported.diagrams})
        simulate(demo.client, [each["code"] for each in release["systems"]])
        for queue in imported.environment["queues"]:
            for member in queue["members"]:
                demo.client.add_member(queue["code"], member)
        samples = [read_object(str(path)) for path in sorted((folder / "orders").glob(f"{name}-*.json"))]
        orders = [_for_account(sample, number) for sample in samples for number in range(DRO_COPIES)]
        demo.submit(orders)
        names = [order["externalId"] for order in orders]
        for order in names:
            _sign_off(demo, order)
        demo.wait(names)


def _sign_off(demo: Submits, name: str) -> None:
    """The customer's signature is an event without a condition: whoever hears of it completes it."""
    plan = demo.client.plan(demo.order_id(name))
    for item in plan["items"]:
        if item["name"] == SIGN_OFF:
            demo.until_item(name, SIGN_OFF, "Running")
            demo.client.operate(demo.order_id(name), item["key"], "complete", "the bill of materials is signed")


def dedicated_internet(demo: Submits, folder: Path) -> None:
    """One line for a business; it becomes an asset when the customer has accepted it, which somebody tells."""
    release = read_object(str(folder / "release.yaml"))
    demo.say("dedicated internet: what the customer says is an event")
    demo.client.publish_release(release)
    simulate(demo.client, [each["code"] for each in release["systems"]])
    demo.client.add_member("customer-care", DESK)
    order = read_object(str(folder / "order-add.json"))
    demo.submit([order | {"externalId": DEDICATED}])
    demo.until_item(DEDICATED, "HoldProcessing", "Running")
    demo.say(_why(demo, DEDICATED))
    demo.client.change_line(demo.order_id(DEDICATED), "1", {"acceptedOn": "2026-03-12"}, "signed on site")
    demo.wait([DEDICATED])


def _why(demo: Submits, name: str) -> str:
    """What the order waits for, and how likely it is late, once that is known."""
    order_id = demo.order_id(name)
    told: str = demo.client.explain(order_id)["summary"]
    until = time.monotonic() + SCORED_S
    while (risk := demo.client.order(order_id).get("risk")) is None and time.monotonic() < until:
        time.sleep(POLL_S)
    return f"{told} Late with a probability of {risk['risk']:.0%}." if risk is not None else told


def outage(demo: Submits, standins: StandIns, orders: list[dict[str, Any]]) -> str:
    """Billing refuses everything for a while; when it is back, one job repairs what it left. Says what came of it."""
    demo.say(f"billing refuses {len(orders)} orders, then one job repairs them")
    standins.behave(system="billing", failNext=10 * len(orders), status=422)
    demo.submit(orders)
    names = [order["externalId"] for order in orders]
    for name in names:
        demo.until_state(name, "held")
    [group] = [each for each in demo.client.fallout_groups() if each["system"] == "billing"]
    standins.behave(system="billing", failNext=0)
    job = demo.client.start_job("retry", "billing works again", filter={"system": "billing"})
    job = demo.client.wait_for_job(job["id"], timeout_s=JOB_S)
    demo.wait(names)
    counts = {name: job[name] for name in ("total", "done", "refused", "failed")}
    return f"{group['count']} items of {group['system']} with {group['errorCode']}; the job: {in_words(counts)}"


def in_words(counts: Mapping[str, int]) -> str:
    """As in `20 total, 20 done`."""
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def simulate(client: Client, systems: list[str]) -> None:
    """Let systems that nobody stands in for answer by themselves; their results say so."""
    for code in systems:
        client.put_system(code, "simulated", {"delayS": 0.02})


def _for_account(sample: Mapping[str, Any], number: int) -> dict[str, Any]:
    order = copy.deepcopy(dict(sample))
    order["externalId"] = account = f"{order['externalId']}-{number}"
    order["billingAccount"]["id"] = account
    for party in order.get("relatedParty", ()):
        if party.get("role") == "customer":
            party["id"] = account
    return order
