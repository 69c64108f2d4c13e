"""One run of the demo: what is submitted, in which order, and what is waited for.

Everything that is counted in the end follows from the number of orders alone, so that the counts can be compared with
examples/expected.json: which orders there are, which of them go wrong, and how that is repaired. Time decides only who
is faster.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from adapters.importers.tmf620 import import_tmf620
from domain.release_file import read_release, release_document
from orderplan.cli.common import UserError, seconds
from orderplan.cli.files import read_document, read_object
from orderplan.client import ENDED_STATES, Client, WaitedTooLong
from orderplan.demo import home_internet, own_mobile
from orderplan.demo.listener import Listener
from orderplan.demo.own_mobile import SPECIFICATIONS, Customer
from orderplan.demo.people import People
from orderplan.demo.release import merge
from orderplan.demo.standins import SYSTEMS, StandIns
from orderplan.demo.width import dedicated_internet, foreign_catalogues, introduce, outage

SUBMITTERS: Final = 6
WAIT_S: Final = 240.0
POLL_S: Final = 0.25
PAIRS: Final = 10
"""Customers whose second change is sent while the first is under way: it waits, then runs."""

SAMPLE_ADD: Final = "mobile-1109"
SAMPLE_MIXED: Final = "mobile-1112"
SAMPLE_DELETE: Final = "mobile-1111"
MISTYPED: Final = "demo-mistyped-iccid"
REFUSED_ONCE: Final = "demo-billing-refuses-once"
OUTAGE: Final = range(1, 21)
"""Customers whose orders come while billing refuses everything."""
NOTHING_TO_DO: Final = "demo-nothing-to-do"
MIXED_ACTIONS: Final = {"SIM CARD": "noChange", "Mobile line": "modify", "Connectivity": "noChange"}


@dataclass(slots=True)
class Sent:
    """The orders of a run: id and account by the channel's own name."""

    ids: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    """As they were answered: `acknowledged`, `pending`, `rejected`."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Shares:
    """How many generated orders of each kind there are."""

    add: int
    modify: int
    delete: int
    home: int

    @classmethod
    def of(cls, orders: int) -> Shares:
        """Two fifths new customers; half of these change something, three in eight leave; the rest is home internet."""
        add = max(1, orders * 2 // 5)
        modify, delete = add // 2, add * 3 // 8
        return cls(add, modify, delete, max(0, orders - add - modify - delete))


class Demo:
    """The steps of a run, in their order; `say` is told what begins."""

    def __init__(
        self,
        client: Client,
        standins: StandIns,
        people: People,
        listener: Listener,
        examples: Path,
        say: Callable[[str], None],
    ) -> None:
        self.client = client
        self.listener = listener
        self.standins = standins
        self.people = people
        self.sent = Sent()
        self.repairs: dict[str, str] = {}
        """What an operator did about orders that went wrong, by external id."""
        self._say = say
        self._examples = examples
        self._mobile = examples / "own-mobile"
        self._home = examples / "home-internet"
        self._sample: dict[str, Any] = read_object(str(self._mobile / "own-mobile-order.json"))

    def run(self, orders: int) -> None:
        """Do all of it; returns when every order has ended."""
        shares = Shares.of(orders)
        self._prepare()
        introduce(self.client)
        self.listener.register(self.client)
        self._samples()
        new = [Customer(number) for number in range(1, shares.add + 1)]
        self._say(f"{shares.add} new customers, {shares.home} orders of home internet")
        self._submit(
            [own_mobile.add(self._sample, customer, f"demo-add-{customer.number:05}") for customer in new]
            + home_internet.orders(self._home, shares.home)
        )
        self._wait(name for name in self.sent.ids if name.startswith("demo-add-"))
        self._say(f"{shares.modify} change something, {shares.delete} leave")
        self._changes(new, shares)
        self._say("three orders that need somebody")
        self._mishaps(Customer(90_001), Customer(90_002))
        self._say("waiting for the last orders")
        self._wait(self.sent.ids)
        customers = {number: Customer(80_000 + number) for number in OUTAGE}
        refused = [own_mobile.add(self._sample, each, f"demo-outage-{number:02}") for number, each in customers.items()]
        self.repairs["demo-outage"] = outage(self, self.standins, refused)
        foreign_catalogues(self, self._examples / "dro")
        dedicated_internet(self, self._examples / "dedicated-internet")

    # What other steps may use.

    def say(self, step: str) -> None:
        """A new step begins."""
        self._say(step)

    def submit(self, orders: list[dict[str, Any]]) -> None:
        """Send orders; every one must be taken in."""
        self._submit(orders)

    def wait(self, names: list[str]) -> None:
        """Return when these orders have ended."""
        self._wait(names)

    def order_id(self, name: str) -> str:
        """The id of an order, by the channel's name for it."""
        return self.sent.ids[name]

    def until_state(self, name: str, state: str) -> None:
        """Return when an order has come to a state."""
        self._until(name, lambda order: order["state"] == state)

    def until_item(self, name: str, item: str, state: str) -> None:
        """Return when an item of an order, by its name, has come to a state."""

        def has_come(_order: Mapping[str, Any]) -> bool:
            items = self.client.plan(self.sent.ids[name])["items"]
            return any(each["name"] == item and each["state"] == state for each in items)

        self._until(name, has_come)

    # Steps.

    def _prepare(self) -> None:
        self._say("publishing the catalogue")
        release = self._release()
        self.client.publish_release(release)
        for code in SYSTEMS:
            self.client.put_system(code, "http", {"url": f"{self.standins.url}/{code}"})
        missing = {each["code"] for each in release["systems"]} - set(SYSTEMS)
        if missing:
            raise UserError(f"the examples name systems that have no stand-in: {', '.join(sorted(missing))}")
        self.client.import_inventory(read_document(str(self._mobile / "own-mobile-inventory.json")))

    def _release(self) -> dict[str, Any]:
        catalogue = read_object(str(self._mobile / "own-mobile-catalogue.json"))
        mobile, _ = import_tmf620(catalogue, read_object(str(self._mobile / "bindings.yaml")), "1")
        home = read_release(read_object(str(self._home / "release.yaml")))
        return release_document(merge("demo", "1", [mobile, home]))

    def _samples(self) -> None:
        """The sample orders: add, an option, the mixed order; and the add for a second customer, who leaves."""
        self._say("the sample orders")
        leaver = Customer(90_000)
        second_add = f"{SAMPLE_ADD}-second"
        option = read_object(str(self._mobile / "own-mobile-order-add-sms.json"))
        self._submit([self._sample, own_mobile.add(self._sample, leaver, second_add), option])
        self._wait([SAMPLE_ADD, second_add])
        kept = self._products_of(SAMPLE_ADD, self._sample["relatedParty"][0]["id"])
        given_back = self._products_of(second_add, leaver.account)
        mixed = own_mobile.follow_up(
            self._sample,
            None,
            SAMPLE_MIXED,
            {**MIXED_ACTIONS, "Time Bundle": "delete"},
            kept,
            {("Mobile line", "MSISDN"): "4152790999"},
        )
        delete = own_mobile.follow_up(self._sample, leaver, SAMPLE_DELETE, own_mobile.everything("delete"), given_back)
        self._submit([mixed, delete])

    def _changes(self, customers: list[Customer], shares: Shares) -> None:
        """The first half changes something, the last three eighths leave; a few do both at once."""
        installed = self._products_by_account()
        changes, leavings = [], []
        for customer in customers[: shares.modify]:
            if customer.number % 2:
                actions, changed = own_mobile.new_number(f"4153{customer.number:06}")
            else:
                actions, changed = own_mobile.new_volume("10h")
            name = f"demo-modify-{customer.number:05}"
            ids = installed[customer.account]
            changes.append(own_mobile.follow_up(self._sample, customer, name, actions, ids, changed))
        first = max(0, shares.modify - min(PAIRS, shares.modify, shares.delete))
        for customer in customers[first : first + shares.delete]:
            name = f"demo-delete-{customer.number:05}"
            ids = installed[customer.account]
            leaving = own_mobile.everything("delete")
            leavings.append(own_mobile.follow_up(self._sample, customer, name, leaving, ids))
        self._submit(changes)
        self._submit(leavings)

    def _mishaps(self, mistyped: Customer, refused: Customer) -> None:
        """What goes wrong: a number mistyped, a system that refuses for no good reason, an order that asks nothing."""
        self._wait(self.sent.ids)
        self._submit([own_mobile.add(self._sample, mistyped, MISTYPED, ICCID="not a number")])
        self._repair(MISTYPED, "skip", "the card is active already; its number was mistyped")
        self.standins.behave(system="billing", failNext=1, status=422)
        self._submit([own_mobile.add(self._sample, refused, REFUSED_ONCE)])
        self._repair(REFUSED_ONCE, "retry", "billing says that it is mended")
        ids = self._products_of(REFUSED_ONCE, refused.account)
        nothing = own_mobile.everything("noChange")
        self._submit([own_mobile.follow_up(self._sample, refused, NOTHING_TO_DO, nothing, ids)])

    # Means.

    def _submit(self, orders: Iterable[dict[str, Any]]) -> None:
        """Send orders, some at a time; every one must be taken in."""
        with ThreadPoolExecutor(SUBMITTERS, thread_name_prefix="channel") as pool:
            for answer in pool.map(self.client.submit_order, orders):
                self.sent.ids[answer["externalId"]] = answer["id"]
                self.sent.states[answer["externalId"]] = answer["state"]

    def _wait(self, names: Iterable[str]) -> None:
        """Return when these orders have ended; workers' troubles come up here."""
        for name in list(names):
            if self.sent.states[name] not in ENDED_STATES:
                self._until(name, lambda order: order["state"] in ENDED_STATES)
                self.sent.states[name] = "ended"

    def _repair(self, name: str, action: str, reason: str) -> None:
        """Wait until nothing of an order moves without a person, and do what an operator would do about it."""
        self._until(name, lambda order: order["state"] == "held")
        items = self.client.plan(self.sent.ids[name])["items"]
        item = next(item for item in items if item["state"] == "Fatally Failed")
        self.client.operate(self.sent.ids[name], item["key"], action, reason)
        self.repairs[name] = f"{item['name']}: {action}, {reason}"
        self._wait([name])

    def _until(self, name: str, holds: Callable[[Mapping[str, Any]], bool]) -> None:
        until = time.monotonic() + WAIT_S
        while True:
            order = self.client.order(self.sent.ids[name])
            if holds(order):
                return
            self.people.done()
            if time.monotonic() >= until:
                raise WaitedTooLong(order["id"], order["state"], WAIT_S)
            time.sleep(POLL_S)

    def _products_of(self, name: str, account: str) -> dict[str, str]:
        """Ids of the products that an order delivered, by specification."""
        order_id = self.sent.ids[name]
        return {
            each["productSpecification"]["name"]: each["id"]
            for each in self.client.all_products(account)
            if order_id in {item["productOrderId"] for item in each.get("productOrderItem", ())}
        }

    def _products_by_account(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for each in self.client.all_products():
            name = each["productSpecification"]["name"]
            if name in SPECIFICATIONS:
                found.setdefault(each["billingAccount"]["id"], {})[name] = each["id"]
        return found


def collect(demo: Demo) -> dict[str, Any]:
    """What the run came to: everything but the times is the same in every run."""
    client, sent = demo.client, demo.sent

    def look(name: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
        return name, client.order(sent.ids[name]), client.plan(sent.ids[name])

    states: Counter[str] = Counter()
    items: dict[str, Counter[str]] = {}
    others: dict[str, str] = {}
    times: list[float] = []
    with ThreadPoolExecutor(SUBMITTERS) as pool:
        for name, order, plan in pool.map(look, sorted(sent.ids)):
            states[order["state"]] += 1
            if order["state"] != "completed":
                others[name] = order["state"]
            elif (took := seconds(order["createdAt"], order.get("endedAt"))) is not None:
                times.append(took)
            for item in plan["items"]:
                items.setdefault(item["type"], Counter())[item["state"]] += 1
    completed = [sent.ids[name] for name in sent.ids if name not in others]
    assets = Counter(each["productSpecification"]["name"] for each in client.all_products())
    calls = demo.standins.stats()["systems"]
    return {
        "orders": dict(sorted(states.items())),
        "notCompleted": others,
        "items": {kind: dict(sorted(counts.items())) for kind, counts in sorted(items.items())},
        "assets": dict(sorted(assets.items())),
        "tasks": demo.people.done(),
        "workers": demo.people.workers(),
        "heard": {"completed": demo.listener.heard_last(completed, "completed")},
        "events": demo.listener.events(),
        "calls": {code: calls[code]["calls"] for code in SYSTEMS},
        "repairs": demo.repairs,
        "p50S": percentile(times, 50),
        "p95S": percentile(times, 95),
    }


def percentile(values: list[float], percent: int) -> float:
    """The smallest value that so many per cent do not exceed; 0 for none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return round(ordered[max(0, -(-len(ordered) * percent // 100) - 1)], 3)


COMPARED: Final = ("orders", "notCompleted", "items", "assets", "tasks", "workers", "heard", "repairs")
"""What must come out the same in every run; `calls` also count what a system was asked twice."""


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Where the run differs from what it must come to, one sentence each."""
    told = []
    for name in COMPARED:
        told += _differ(name, found.get(name, {}), expected.get(name, {}))
    return told


def _differ(path: str, found: Any, expected: Any) -> list[str]:
    if isinstance(found, dict) and isinstance(expected, dict):
        told = []
        for key in sorted(found.keys() | expected.keys()):
            told += _differ(f"{path}.{key}", found.get(key, 0), expected.get(key, 0))
        return told
    return [] if found == expected else [f"{path}: {json.dumps(found)} instead of {json.dumps(expected)}"]
