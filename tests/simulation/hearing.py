"""Invariant 11, checked at every event that a listener gets: each order's in order, at least once, by a stable id.

What is to be heard is told by the rows as they are committed: the column `state` of an order, and the facts with which
an order begins and ends. Nothing of the product's says here which fact causes which event.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tests.simulation.seen import Violation

_CREATED: Final = "ProductOrderCreateEvent"


class _Change(NamedTuple):
    """An order's state became another one in the commit of these offsets."""

    order_id: str
    shard: int
    first: int
    last: int
    state: str


@dataclass(slots=True)
class _Ear:
    """One listener."""

    begins: dict[int, int]
    """The last offset of each shard when it registered."""
    bodies: dict[str, bytes] = field(default_factory=dict)
    """By event id, as they came first."""
    newest: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By order: the place of the newest event that came."""
    states: dict[str, set[tuple[int, str]]] = field(default_factory=lambda: defaultdict(set))
    """By order: the states that it was told, with the offset of each."""


class Hearing:
    """What listeners are to hear, and what they hear."""

    def __init__(self) -> None:
        self.received = 0
        self._epoch = 0
        self._ears: dict[str, _Ear] = {}
        self._heads: dict[int, int] = defaultdict(int)
        self._facts: dict[tuple[int, int], str] = {}
        """Place of a fact -> its order."""
        self._states: dict[str, str] = {}
        self._changes: list[_Change] = []
        self._begun: list[tuple[int, int]] = []
        """Places of the facts that orders begin with."""
        self._told: dict[tuple[int, int], str] = {}
        """Place of the last fact of an order in a commit, or of its last one -> the state of the order after it."""

    # What is committed.

    def committed(self, commit: Any) -> None:
        """A transaction of a host was stored."""
        offsets: dict[str, list[int]] = defaultdict(list)
        for row in commit.facts:
            self._heads[row.shard] = row.offset
            if not row.order_id.startswith("o"):
                continue
            place = row.shard, row.offset
            self._facts[place] = row.order_id
            offsets[row.order_id].append(row.offset)
            if row.kind in ("order.accepted", "order.rejected"):
                self._begun.append(place)
            if row.kind == "order.ended":
                state = json.loads(row.payload)["state"]
                self._told[place] = state
                self._changes.append(_Change(row.order_id, row.shard, row.offset, row.offset, state))
        for row in (*commit.orders_new.values(), *commit.orders_changed.values()):
            if row.state == self._states.get(row.order_id):
                continue
            self._states[row.order_id] = row.state
            mine = offsets[row.order_id]
            if not mine:
                raise Violation(f"11: {row.order_id} is {row.state} by no fact")
            self._changes.append(_Change(row.order_id, row.shard, mine[0], mine[-1], row.state))
        for row in commit.facts:
            if row.order_id in self._states and row.offset == offsets[row.order_id][-1]:
                self._told[row.shard, row.offset] = self._states[row.order_id]

    # Who listens, and who tells them.

    def listens(self, name: str) -> None:
        """Somebody is registered."""
        self._ears[name] = _Ear(dict(self._heads))

    def leaves(self, name: str) -> None:
        """Somebody wants to hear no more; what is on its way may still come."""
        self._ears.pop(name, None)

    def took_over(self, epoch: int) -> None:
        """A notifier has become the only one."""
        if epoch <= self._epoch:
            raise Violation(f"11: epoch {epoch} of the notifier follows {self._epoch}")
        self._epoch = epoch

    def wrote(self, epoch: int) -> None:
        """A transaction of a notifier was stored."""
        if epoch != self._epoch:
            raise Violation(f"11: the notifier of epoch {epoch} has written in epoch {self._epoch}")

    # What is heard.

    def heard(self, name: str, body: bytes) -> None:
        """An event has reached a listener."""
        ear = self._ears.get(name)
        if ear is None:
            return
        self.received += 1
        document = json.loads(body)
        event_id: str = document["eventId"]
        order = document["event"]["productOrder"]
        if event_id in ear.bodies:
            if ear.bodies[event_id] != body:
                raise Violation(f"11: event {event_id} comes to {name} as {body!r}, it was {ear.bodies[event_id]!r}")
            return
        ear.bodies[event_id] = body
        shard, offset, number = (int(each) for each in f"{event_id}-0".split("-")[:3])
        order_id = self._facts.get((shard, offset))
        if order_id is None:
            raise Violation(f"11: {name} hears of {event_id}, which is not committed")
        if order_id != document["id"] or order_id != order["id"]:
            raise Violation(f"11: {event_id} is of {order_id}, {name} hears of {document['id']}")
        if offset <= ear.begins.get(shard, 0):
            raise Violation(f"11: {name} hears of {event_id}, which was before it listened")
        if (offset, number) < ear.newest.get(order_id, (0, 0)):
            raise Violation(f"11: {name} hears of {event_id} of {order_id} after {ear.newest[order_id]}")
        ear.newest[order_id] = offset, number
        state = self._told.get((shard, offset), order["state"])
        if order["state"] != state:
            raise Violation(f"11: {event_id} says that {order_id} is {order['state']}, it was {state} then")
        ear.states[order_id].add((offset, order["state"]))

    def finished(self) -> None:
        """Everything has calmed down: everybody has heard of everything since."""
        for name, ear in self._ears.items():
            for shard, offset in self._begun:
                if offset > ear.begins.get(shard, 0):
                    self._is_told_of_beginning(name, ear, f"{shard}-{offset}")
            for change in self._changes:
                if change.first <= ear.begins.get(change.shard, 0):
                    continue
                told = ear.states[change.order_id]
                if not any(change.first <= at <= change.last and state == change.state for at, state in told):
                    raise Violation(f"11: {name} never hears that {change.order_id} is {change.state}")

    def _is_told_of_beginning(self, name: str, ear: _Ear, event_id: str) -> None:
        body = ear.bodies.get(event_id)
        if body is None or json.loads(body)["eventType"] != _CREATED:
            raise Violation(f"11: {name} never hears of the order of fact {event_id}")
