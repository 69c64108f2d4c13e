"""The domain without actors or a database: orders driven by hand, told what a host would tell them.

What a host does after each turn (actors/tick.py) is done here too: assets are booked on the account, other open orders
of the account hear of it, and those that waited are taken up when one ends.
"""

from __future__ import annotations

import json
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from adapters.price_worker import load_function
from domain.change import carry_out_asked, decide_change
from domain.compose import Template
from domain.decide import decide
from domain.errors import OrderplanError
from domain.evolve import plan_from_facts
from domain.facts import ASSETS_CHANGED, ORDER_CLOSING, Fact
from domain.holds import NOTHING_HELD, HeldSystems, Hold, HoldCause
from domain.ids import order_id_of
from domain.intake import (
    accept,
    book,
    book_changes,
    changed_lines,
    in_order_of_account,
    open_order_of,
    readmit,
    refresh_open_order,
)
from domain.inventory import Account, AssetDelta
from domain.items import ItemRun
from domain.messages import (
    AnnotateItem,
    AssetsBooked,
    ChangeOrder,
    ClaimTask,
    CompleteTask,
    NotJoined,
    OperateItem,
    PlanMessage,
    ReleaseTask,
    Report,
    ResumeItem,
    SteerOrder,
    TimerFired,
)
from domain.orders import Order
from domain.placement import DEDICATED, placement_of
from domain.plan import Plan
from domain.price_calls import Answers, FunctionsWanted, PriceAnswer, PriceCall
from domain.pricing import checked_values
from domain.redrive import redrive
from domain.rejoin import first_of, followers, merged, refuse_second, rejoining, retrying, undeliverable
from domain.release import CompiledRelease
from domain.states import PlanState
from domain.turn import Call, Turn
from domain.watchdog import Stuck

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
Made = TypeVar("Made")


def _said(call: PriceCall) -> PriceAnswer:
    """What a price function says, called in this process."""
    function = load_function(call.function)
    assert not isinstance(function, str), function
    try:
        return PriceAnswer(checked_values(function(call.prices, call.line, call.context)))
    except Exception as error:
        return PriceAnswer(failure=f"raised {type(error).__name__}")


@dataclass
class OpenProtector:
    """Keeps sealed values in the clear, for tests to look at; a ciphertext is never the same twice."""

    sealed: dict[tuple[str, str], Any] = field(default_factory=dict)
    encrypted: int = 0

    def seal(self, order_id: str, name: str, value: Any) -> dict[str, Any]:
        self.sealed[order_id, name] = value
        return {"$sealed": name}

    def encrypt(self, tenant: str, owner: str, value: Any) -> dict[str, Any]:
        self.encrypted += 1
        return {"$encrypted": f"{tenant}:{self.encrypted}", "mac": self.mac(tenant, value)}

    def mac(self, tenant: str, value: Any) -> str:
        return f"{zlib.crc32(json.dumps(value).encode()):08x}"


class Engine:
    """One account, one release; orders are accepted and their calls answered at will."""

    def __init__(self, release: CompiledRelease, account: str | None = "acc-1", ids_from: int = 1) -> None:
        self.release = release
        self._ids_from = ids_from
        self.releases = {release.release_id: release}
        """Those that orders may run by; new ones take `release`."""
        self.account = Account(account)
        self.protector = OpenProtector()
        self.plans: dict[str, Plan] = {}
        self.facts: dict[str, list[Fact]] = {}
        self.templates: dict[str, Template] = {}
        self.now = START
        self.calls: dict[str, list[Call]] = {}
        self.tasks: dict[str, dict[str, ItemRun]] = {}
        """Manual tasks that are open, by order and item."""
        self.held = NOTHING_HELD
        """Systems that take no calls, as far as plans have heard."""
        self.owned_since: datetime | None = None
        """When the plans got the owner that they have; None: they have had it from their beginning."""
        self.priced: list[tuple[PriceCall, ...]] = []
        """Calls of price functions, those that were asked for together in one."""
        self._own_accounts: dict[str, Account] = {}
        self._news: deque[tuple[str, PlanMessage]] = deque()
        self._called: dict[str, None] = {}
        self._rejoins: dict[str, ChangeOrder] = {}

    # What a host is asked to do.

    def accept(
        self, order: Order, *, body_hash: bytes | None = None, actor: str = "", done: Sequence[str] | None = None
    ) -> Plan:
        """Accept an order; its id is made here. A dedicated shard is always to be had."""
        order.order_id = order_id_of(1, 1_700_000_000_000, len(self.plans) + self._ids_from)
        account = self.account if order.account is not None else Account(None)
        placement = placement_of(order, self.release, account, is_free=True)
        turn = self._asking(
            lambda answers: accept(
                order,
                self.release,
                account,
                now=self.now,
                protector=self.protector,
                body_hash=body_hash,
                placement=placement,
                account_shard=1 if placement == DEDICATED and order.account is not None else None,
                held=self.held,
                answers=answers,
                actor=actor,
                done=done,
            )
        )
        self._own_accounts[order.order_id] = account
        self.plans[order.order_id] = turn.plan
        self._collect(turn)
        self._drain()
        return turn.plan

    def _asking(self, work: Callable[[Answers], Made]) -> Made:
        """What the work gives once the price functions that it wants have been called, here and now."""
        answers: dict[str, PriceAnswer] = {}
        while True:
            try:
                return work(answers)
            except FunctionsWanted as wanted:
                self.priced.append(wanted.calls)
                answers |= {call.key: _said(call) for call in wanted.calls}

    def tell(self, plan: Plan, message: PlanMessage, actor: str = "system", cause: str | None = None) -> Turn:
        """One message to one plan, and what it makes plans tell one another."""
        account = self.account_of(plan)
        repair = message if isinstance(message, OperateItem) else None
        if repair is not None and (change := retrying(plan, repair)) is not None:
            turn = self._new_turn(plan, actor, cause)
            self._asking(lambda answers: decide_change(turn, change, account, plan.release, answers))
            self._collect(turn)
        else:
            if repair is not None and account is not None:
                refuse_second(plan, repair, account)
            turn = self._turn(plan, message, actor, cause)
            if isinstance(message, SteerOrder) and message.action == "thaw" and account is not None:
                stranded = undeliverable(plan, account)
                if stranded:
                    self._turn(plan, NotJoined(tuple(stranded), "the change that would have was given up"))
        self._drain()
        return turn

    def _new_turn(self, plan: Plan, actor: str = "system", cause: str | None = None) -> Turn:
        return Turn(
            plan=plan,
            now=self.now,
            protector=self.protector,
            actor=actor,
            cause=cause,
            held=self.held,
            owned_since=self.owned_since,
        )

    def _turn(self, plan: Plan, message: PlanMessage, actor: str = "system", cause: str | None = None) -> Turn:
        turn = self._new_turn(plan, actor, cause)
        decide(turn, message)
        self._carry_out(turn)
        self._collect(turn)
        return turn

    def _carry_out(self, turn: Turn) -> None:
        plan = turn.plan
        if plan.state is PlanState.FROZEN and plan.change is not None:
            release = self.releases[plan.change.get("release") or plan.release.release_id]
            carry_out_asked(turn, self.account_of(plan), release)

    def change(self, plan: Plan, kind: Any, *, actor: str = "person:olga", **members: Any) -> Turn:
        """Somebody changes an order under way: amend with `order`, patch, cancel with `lines`, move to `release`."""
        message_id = f"change-{len(self.facts[plan.order_id])}"
        order = members.pop("order", None)
        message = ChangeOrder(
            kind, "because", message_id, order=order.to_dict() if order is not None else None, **members
        )
        turn = self._new_turn(plan, actor, message_id)
        release = self.releases[message.release or plan.release.release_id]
        self._asking(lambda answers: decide_change(turn, message, self.account_of(plan), release, answers))
        self._collect(turn)
        self._drain()
        return turn

    def steer(self, plan: Plan, action: Any, priority: str = "") -> Turn:
        """Somebody holds, resumes, freezes, thaws or prioritizes an order."""
        message_id = f"steer-{len(self.facts[plan.order_id])}"
        return self.tell(plan, SteerOrder(action, "because", message_id, priority), "person:olga", message_id)

    def redrive(self, plan: Plan, found: Iterable[Stuck] = (), lost: Sequence[Call] = ()) -> Turn:
        """The watchdog looks at a plan."""
        turn = self._new_turn(plan)
        if redrive(turn, self.account_of(plan), found, lost):
            self._carry_out(turn)
            self._collect(turn)
            self._drain()
        return turn

    def account_of(self, plan: Plan) -> Account | None:
        """The plan's account; None when another host would keep it."""
        return self._own_accounts[plan.order_id] if plan.account_shard is None else None

    def _drain(self) -> None:
        while self._news or self._rejoins or self._called:
            if self._news:
                order_id, message = self._news.popleft()
                if self.plans[order_id].ended_at is None:
                    self._hear(self.plans[order_id], message)
            elif self._rejoins:
                self._rejoin_next()
            else:
                order_id = next(iter(self._called))
                del self._called[order_id]
                self._call_up(order_id)

    def _call_up(self, order_id: str) -> None:
        plan = self.plans[order_id]
        if plan.ended_at is not None:
            return
        turn = self._new_turn(plan)
        account = self._own_accounts[order_id]
        if self._asking(partial(readmit, turn, account)):
            self._collect(turn)

    def _pass_on(self, news: Iterable[tuple[str, PlanMessage | None]]) -> None:
        for order_id, message in news:
            if message is None:
                self._called[order_id] = None
            else:
                self._news.append((order_id, message))

    def _hear(self, plan: Plan, message: PlanMessage) -> None:
        change = rejoining(plan, message)
        if change is None:
            self._turn(plan, message)
        elif plan.change is None:
            self._rejoins[plan.order_id] = merged(change, self._rejoins.get(plan.order_id))

    def _rejoin_next(self) -> None:
        plan = first_of(self._rejoins, self.plans)
        change = self._rejoins.pop(plan.order_id)
        if plan.ended_at is not None or plan.change is not None:
            return
        turn = self._new_turn(plan)
        try:
            self._asking(lambda answers: decide_change(turn, change, self.account_of(plan), plan.release, answers))
        except OrderplanError as error:
            assert not turn.facts
            self._turn(plan, NotJoined(change.awaits, error.reason))
        else:
            self._collect(turn)

    def _collect(self, turn: Turn) -> None:
        plan = turn.plan
        account = self._own_accounts[plan.order_id]
        self.facts.setdefault(plan.order_id, []).extend(turn.facts)
        if plan.template is not None and not plan.changes:
            self.templates[plan.template.template_id] = plan.template
        self.calls.setdefault(plan.order_id, []).extend(turn.calls)
        tasks = self.tasks.setdefault(plan.order_id, {})
        tasks.update({item.key: item for item in turn.tasks_opened})
        for item in turn.tasks_closed:
            tasks.pop(item.key, None)
        if plan.account_shard is None:
            self._pass_on(book(turn, account).news)
            for other, change in followers(account, self.plans, plan, turn.remade):
                self._rejoins[other] = merged(change, self._rejoins.get(other))
            return
        refresh_open_order(account, plan.order_id, changed_lines(turn))
        asked = [fact for fact in turn.facts if fact.kind in (ASSETS_CHANGED, ORDER_CLOSING)]
        for number in range(plan.booked - len(asked) + 1, plan.booked + 1):
            booking = plan.bookings[number]
            deltas = [AssetDelta.from_dict(change) for change in booking.changes]
            booked = book_changes(
                account,
                plan.order_id,
                deltas,
                booking.delivered,
                has_ended=booking.is_last,
                is_cancelled=booking.is_last and plan.is_cancelled,
            )
            self._pass_on(booked.news)
            self._news.append((plan.order_id, AssetsBooked(number)))

    # What the world outside does.

    def answer(self, plan: Plan, call: Call, answer: Mapping[str, Any] | None = None) -> Turn:
        """A system completes a call."""
        self._take(plan, call)
        return self.tell(plan, Report(call.item, call.attempt, "completed", answer=answer or {}))

    def fail(self, plan: Plan, call: Call, *, unheard: bool = False, fatal: bool = False) -> Turn:
        """A system fails a call."""
        self._take(plan, call)
        kind: Any = "failed" if fatal else "retryable"
        return self.tell(
            plan, Report(call.item, call.attempt, kind, error="it broke", error_code="E1", unheard=unheard)
        )

    def hold(self, *codes: str, cause: HoldCause = HoldCause.OFFLINE, reason: str = "maintenance") -> None:
        """Let plans hear that these systems, and no others, take no calls."""
        self.held = HeldSystems.of(Hold(code, cause, reason=reason) for code in codes)

    def resume(self, plan: Plan, item: str) -> Turn:
        """An item's turn has come."""
        return self.tell(plan, ResumeItem(item))

    def turn_back(self, plan: Plan, call: Call, cause: HoldCause = HoldCause.BREAKER, reason: str = "") -> Turn:
        """The adapters have not made a call."""
        self._take(plan, call)
        return self.tell(plan, Report(call.item, call.attempt, "held", error=reason, error_code=cause.value))

    def _take(self, plan: Plan, call: Call) -> None:
        self.calls[plan.order_id] = [each for each in self.calls[plan.order_id] if each is not call]

    def call(self, plan: Plan, name: str) -> Call:
        """The open call of an item: by its key, or the start of it (`deliver/call`)."""
        found = [each for each in self.calls[plan.order_id] if each.item == name or each.item.split("@")[0] == name]
        assert len(found) == 1, (
            f"{len(found)} open calls of {name}: {[each.item for each in self.calls[plan.order_id]]}"
        )
        return found[0]

    def fire(self, plan: Plan, item: str) -> Turn:
        """Time passes until an item's timer, which fires."""
        timer_at = plan.by_key[item].timer_at
        assert timer_at is not None, f"{item} has no timer"
        self.now = max(self.now, timer_at)
        return self.tell(plan, TimerFired(item))

    def operate(
        self, plan: Plan, item: str, action: Any, answer: Mapping[str, Any] | None = None, **members: Any
    ) -> Turn:
        """An operator repairs an item."""
        message_id = f"m-{len(self.facts[plan.order_id])}"
        message = OperateItem(item, action, "olga", "because", message_id, answer or {}, **members)
        return self.tell(plan, message, "person:olga", message.message_id)

    def claim(self, plan: Plan, item: str, worker: str = "paul") -> Turn:
        """A person takes a task."""
        return self.tell(plan, ClaimTask(item, worker, f"claim-{worker}"), f"person:{worker}")

    def release_task(self, plan: Plan, item: str, worker: str = "paul") -> Turn:
        """A person gives a task back."""
        return self.tell(plan, ReleaseTask(item, worker, f"release-{worker}"), f"person:{worker}")

    def annotate(self, plan: Plan, item: str, text: str, worker: str = "paul") -> Turn:
        """A person leaves a note."""
        return self.tell(plan, AnnotateItem(item, text, f"note-{worker}"), f"person:{worker}", f"note-{worker}")

    def complete_task(self, plan: Plan, item: str, data: Mapping[str, Any] | None = None, worker: str = "") -> Turn:
        """A person has done a task: whoever holds it, else paul."""
        worker = worker or plan.by_key[item].worker or "paul"
        return self.tell(plan, CompleteTask(item, worker, data or {}, "done"), f"person:{worker}")

    def finish(self, plan: Plan) -> list[Call]:
        """Answer every call and complete every task, in the order they came, until none is open; returns all calls."""
        made: list[Call] = []
        while True:
            if pending := self.calls.get(plan.order_id):
                made.append(pending[0])
                self.answer(plan, pending[0])
            elif tasks := self.tasks.get(plan.order_id):
                task = next(iter(tasks.values()))
                assert task.definition is not None
                form = task.definition.source.form
                self.complete_task(plan, task.key, {each.name: _FILLED_IN[each.type] for each in form if each.required})
            else:
                return made

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    # What a host that starts anew reads.

    def replayed(self, plan: Plan) -> Plan:
        """The plan folded from its facts and template as they are stored: as JSON."""
        stored = [
            fact._replace(payload=json.loads(json.dumps(fact.payload))) if fact.payload else fact
            for fact in self.facts[plan.order_id]
        ]
        return plan_from_facts(stored, self.releases.__getitem__, self._stored_template)

    def _stored_template(self, template_id: str) -> Template:
        return Template.from_dict(json.loads(json.dumps(self.templates[template_id].to_dict())), self.release)

    def reloaded_account(self) -> Account:
        """The account as a host that starts anew sees it: installed assets, and open orders from their facts."""
        account = Account(self.account.account_id, dict(self.account.assets))
        order_ids = sorted(self.account.open_orders)
        opened = [open_order_of(self.replayed(self.plans[order_id])) for order_id in order_ids]
        account.open_orders = in_order_of_account(opened)
        return account


_FILLED_IN: dict[str, Any] = {"string": "as asked", "integer": 1, "number": 1.5, "boolean": True}


def shown_plan(plan: Plan) -> dict[str, Any]:
    """A plan as the expected-plans files write it: item names, edges, void dependencies."""
    template = plan.template
    assert template is not None
    names = [item.definition.name if item.definition else item.key for item in plan.items]
    by_ref = {item.ref: item for item in plan.release.items}
    products = {}
    for product in plan.release.products.values():
        for each in product.scenarios.values():
            for scenario in each:
                products[scenario.plan] = product.source.name or product.code
    return {
        "items": sorted(names),
        "dependsOn": sorted(
            [names[node], names[target]] for node, targets in enumerate(template.waits) for target in targets
        ),
        "void": sorted(f"{names[node]} / {products[by_ref[ref].plan]}" for node, ref in template.voids),
    }
