"""The engine with a world outside that keeps book: which work is done at which system, with what, and what undoes it.

What a system answers follows from what it was asked, so that the same work done for the same values says the same.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from domain import facts as f
from domain.change import Change, decide_change
from domain.compose import UNDO
from domain.decide import pending_effects
from domain.evolve import evolve
from domain.items import ItemRun
from domain.messages import ChangeOrder
from domain.plan import Plan
from domain.preview import preview
from domain.release import CompiledRelease, ItemDef
from domain.sealing import SEALED, is_sealed
from domain.states import ItemState
from domain.turn import Call, Turn
from tests.support.engine import Engine

ANSWER_LETTERS: Final = "abtus"
LATE_VALUES: Final = frozenset({"go", "color"})
"""Attributes that come later, or that no work depends on."""


@dataclass
class Work:
    """One item that was done: what it was sent, or for a person what its lines said."""

    key: str
    ref: str
    node: int
    saw: Any
    is_work: bool
    """Whether somebody outside did something; a milestone does nothing."""
    number: int
    """Place in the order of everything that was done."""


@dataclass
class Undone:
    """One item of a rollback plan that was done."""

    key: str
    ref: str
    of: int
    made: int
    """When the change that asked for it was carried out."""
    begun: int
    number: int


@dataclass
class Book:
    """What was done for one order."""

    works: list[Work] = field(default_factory=list)
    undone: list[Undone] = field(default_factory=list)
    begun: dict[str, int] = field(default_factory=dict)
    """Item -> when it last began."""
    made: dict[str, int] = field(default_factory=dict)
    """Item that a change has added -> when."""
    touched: set[str] = field(default_factory=set)
    """Items that an operator skipped, completed or edited: they say nothing of what the rules would have done."""
    clock: int = 0


class World(Engine):
    """An engine whose calls are kept with what they said."""

    def __init__(self, release: CompiledRelease) -> None:
        super().__init__(release)
        self.books: dict[str, Book] = {}
        self.payloads: dict[tuple[str, str, int], dict[str, Any]] = {}
        self.open_calls: dict[tuple[str, str], Call] = {}
        self._followers: dict[str, tuple[int, Plan]] = {}
        """By order: how many of its facts a copy of its plan has seen, and the copy."""
        self.changed: list[str] = []
        """Kinds of facts about changes, as they come."""

    def twin(self, release: CompiledRelease, plans: dict[str, Plan], assets: Mapping[str, Any]) -> World:
        """Another world, in which the next order gets the same id and meets the same inventory."""
        twin = World(release)
        twin.releases = self.releases
        twin.plans = dict(plans)
        twin.account.assets = dict(assets)
        return twin

    def new_turn(self, plan: Plan, message_id: str | None = None) -> Turn:
        return self._new_turn(plan, "person:olga", message_id)

    def preview(self, plan: Plan, message: ChangeOrder) -> dict[str, Any]:
        """What a change would make of the order."""
        release = self.releases[message.release or plan.release.release_id]
        return preview(self.new_turn(plan, message.message_id), message, self.account_of(plan), release)

    def carry(self, plan: Plan, message: ChangeOrder) -> tuple[Turn, Change | None]:
        """Carry a change out, or ask for it."""
        turn = self.new_turn(plan, message.message_id)
        release = self.releases[message.release or plan.release.release_id]
        change = decide_change(turn, message, self.account_of(plan), release)
        self._collect(turn)
        self._drain()
        return turn, change

    def _collect(self, turn: Turn) -> None:
        super()._collect(turn)
        plan = turn.plan
        book = self.books.setdefault(plan.order_id, Book())
        for call in turn.calls:
            key = (call.order_id, call.item, call.attempt)
            payload = self._opened(call.order_id, call.payload)
            # A system that has heard of the attempt before refuses the same key with another body.
            earlier = self.payloads.setdefault(key, payload)
            assert earlier == payload, f"{call.item} says under the same key {payload}, before it said {earlier}"
            self.open_calls[call.order_id, call.item] = call
        for fact in turn.facts:
            book.clock += 1
            self._note(plan, book, fact)

    def _note(self, plan: Plan, book: Book, fact: f.Fact) -> None:
        if fact.item is None:
            if fact.kind in (f.PLAN_CHANGED, f.CHANGE_REFUSED, f.PLAN_THAWED):
                self.changed.append(fact.kind)
            if fact.kind == f.PLAN_CHANGED:
                for item in plan.items:
                    book.made.setdefault(item.key, book.clock)
            return
        item = plan.by_key[fact.item]
        if fact.kind in (f.ITEM_STARTED, f.ITEM_OPENED):
            book.begun[item.key] = book.clock
        payload = fact.payload or {}
        is_operators = payload.get("by") == "operator"
        is_skipped = fact.kind == f.ITEM_SKIPPED and payload["reason"] == "operator"
        if is_operators or is_skipped or fact.kind == f.ITEM_EDITED:
            book.touched.add(item.key)
        if item.definition is None or not (fact.kind == f.ITEM_COMPLETED or is_skipped):
            return
        assert plan.template is not None
        node = plan.template.nodes[item.node]
        if is_skipped and node.role != UNDO:
            # Who skips what undoes says that it is undone.
            return
        if node.role == UNDO:
            assert node.of is not None
            begun = book.begun.get(item.key, book.clock)
            book.undone.append(Undone(item.key, node.ref, node.of, book.made[item.key], begun, book.clock))
            return
        is_work = item.is_callout or item.is_manual
        book.works.append(Work(item.key, node.ref, item.node, self._saw(plan, item), is_work, book.clock))

    def _opened(self, order_id: str, payload: dict[str, Any]) -> dict[str, Any]:
        """The payload as the adapter sends it, with the secrets that it names."""
        sealed = self.protector.sealed
        return {
            name: {"secret": sealed[order_id, value[SEALED]]} if is_sealed(value) else value
            for name, value in payload.items()
        }

    def _saw(self, plan: Plan, item: ItemRun) -> Any:
        if item.is_callout:
            return said(self.payloads.get((plan.order_id, item.key, item.attempt), {}))
        return None

    def replayed(self, plan: Plan) -> Plan:
        """The plan from its facts as they are stored, carried on from the last time."""
        facts = self.facts[plan.order_id]
        known, follower = self._followers.get(plan.order_id, (0, None))
        if follower is None:
            follower = super().replayed(plan)
        else:
            for fact in facts[known:]:
                payload: Any = json.loads(json.dumps(fact.payload)) if fact.payload else fact.payload
                if fact.kind in (f.PLAN_COMPOSED, f.PLAN_CHANGED):
                    follower.release = self.releases[payload["release"]]
                if fact.kind == f.PLAN_COMPOSED:
                    follower.template = self._stored_template(payload["template"])
                evolve(follower, fact._replace(payload=payload))
        self._followers[plan.order_id] = len(facts), follower
        return follower

    def replayed_from_empty(self, plan: Plan) -> Plan:
        """The plan from all of its facts."""
        return super().replayed(plan)

    def says_again_what_it_said(self, plan: Plan) -> None:
        """A new owner of the plan sends the calls that are awaited as they were sent."""
        for call in pending_effects(plan, self.now):
            sent = self.open_calls[plan.order_id, call.item]
            assert (call.attempt, call.payload) == (sent.attempt, sent.payload), (
                f"{call.item} would be sent again as {call.payload}, and was sent as {sent.payload}"
            )

    # How things outside go.

    def answer_of(self, call: Call, definition: ItemDef) -> dict[str, Any]:
        """What a system answers: a number that follows from what it was asked."""
        code = definition.source.code
        if code[0] not in ANSWER_LETTERS or len(code) != 2:
            return {}
        return {"attributes": {f"r_{code}": number_of(said(self._opened(call.order_id, call.payload)))}}

    def form_of(self, plan: Plan, item: ItemRun) -> dict[str, Any]:
        """What a person fills in."""
        assert item.definition is not None
        if item.definition.ref == "resolve/fallout":
            return {"resolution": "looked into"}
        lines = sorted(plan.lines_of(item), key=lambda line: line.key)
        seen = [[line.key, line.action, line.quantity, plain(line.attributes)] for line in lines]
        return {each.name: number_of(seen) for each in item.definition.source.form}


def number_of(value: Any) -> int:
    """A number that follows from a value, the same in every process."""
    return zlib.crc32(json.dumps(value, sort_keys=True, default=str).encode()) % 1000


def plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes without what answers gave and what no work depends on; ciphertexts by what they hide."""
    return {name: shown(value) for name, value in attributes.items() if not is_late(name)}


def is_late(name: str) -> bool:
    """Whether an attribute's value came with an answer, or is one that matters to nobody."""
    return name in LATE_VALUES or name.startswith("r_")


def shown(value: Any) -> Any:
    """A value that can be compared: two ciphertexts of one value are the same, and a secret shows nothing."""
    if is_sealed(value):
        return "a secret"
    return {"mac": value["mac"]} if isinstance(value, dict) and "mac" in value else value


def said(payload: Mapping[str, Any]) -> Any:
    """What a call says that work depends on."""
    if "lines" not in payload or "orderId" not in payload:
        return {name: shown(value) for name, value in payload.items()}
    return [
        {
            "line": line["line"],
            "action": line["action"],
            "id": line["product"]["id"],
            "quantity": line["quantity"],
            "attributes": plain(line["attributes"]),
        }
        for line in sorted(payload["lines"], key=lambda line: line["line"])
    ]


def is_open(item: ItemRun) -> bool:
    """Whether somebody could work on it."""
    return item.state in (ItemState.READY, ItemState.RUNNING, ItemState.FROZEN_RUNNING)
