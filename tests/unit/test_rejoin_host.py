"""What a host does where an order of an account is cancelled that others share an instance with; the tick itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from actors.envelopes import Envelope, Redrive, Submission, ToPlan
from actors.memory import Memory
from actors.tick import Tick
from domain.inventory import Account
from domain.lineup import Lineup
from domain.messages import ChangeOrder, CompleteTask, OperateItem, Report, SteerOrder
from domain.orders import Order
from domain.plan import Plan
from domain.price_calls import PriceAnswer
from tests.support.build import (
    callout,
    line,
    manual,
    order_of,
    plan_of,
    release_document,
    release_of,
    rule,
    scenario,
)
from tests.support.engine import START, OpenProtector

AWAIT = "await/delivery@profile@account"
CHARGE = {"to": "charge", "function": "prices:charge"}


class Host:
    """The tick of a host with one account, and nothing around it."""

    def __init__(self, *mappings: dict[str, Any]) -> None:
        parts: dict[str, Any] = {
            "products": ["mail", "chat", {"code": "profile", "scope": "account", "attributes": [{"name": "charge"}]}],
            "decompositions": [rule("mail", "profile"), rule("chat", "profile", *mappings)],
            "plans": [
                plan_of("own", callout("deliver", freeze="goOn", rollbackPlan="undo")),
                plan_of("make", manual("provide")),
                plan_of("change", manual("extend")),
                plan_of("undo", "back"),
            ],
            "scenarios": [
                *(scenario(each, "own", "add") for each in ("mail", "chat")),
                scenario("profile", "make", "add"),
                scenario("profile", "change", "modify"),
            ],
        }
        self.document, self.release_id = release_document(**parts), release_of(**parts).release_id
        self.memory = Memory(cast("Any", self), lambda _: True, lambda: 0.0)
        self.account = self.memory.accounts["main", "acc-1"] = Account("acc-1")
        asyncio.run(self.memory.folder.refresh_releases("main", START))
        self.asking: set[Any] = set()
        self.calls: dict[tuple[str, str, int], Any] = {}
        self.sequence = 0
        self.called: type[dict[str, None]] = dict

    async def lineup(self, _tenant: str, _now: Any) -> Lineup:
        return Lineup(self.release_id)

    async def release_body(self, _tenant: str, _release: str) -> dict[str, Any]:
        return self.document

    def tick(self, *envelopes: Envelope) -> Tick:
        tick = Tick(
            memory=self.memory,
            heads={1: 0},
            rows={},
            known_keys={},
            protector=OpenProtector(),
            digest=lambda _, body: body,
            now=START,
            entropy=lambda: 7,
            asking=set(self.asking),
            sequence=self.sequence,
            _called=self.called(),
        )
        tick.decide(envelopes)
        self.sequence = tick.sequence
        self.calls.update(tick.calls)
        return tick

    def submit(self, order: Order) -> Plan:
        envelope = Submission(1, order.to_dict(), None)
        while asked := self.tick(envelope).asked:
            envelope.answers.update({call.key: PriceAnswer({"charge": "1.00"}) for call in asked[0].calls})
        return self.memory.plans[envelope.order_id]

    def tell(self, plan: Plan, message: Any, actor: str = "person:olga") -> Tick:
        return self.tick(ToPlan(plan.order_id, message, actor=actor, cause=getattr(message, "message_id", None)))

    def cancelled(self, plan: Plan) -> Tick:
        """Cancel an order that has done its own work, and undo that; the tick in which it ends."""
        self._answer(plan)
        self.tell(plan, ChangeOrder("cancel", "because", "cancel-1"))
        last = self._answer(plan)
        assert plan.order_state == "cancelled"
        return last

    def _answer(self, plan: Plan) -> Tick:
        [key] = [key for key in self.calls if key[0] == plan.order_id]
        del self.calls[key]
        return self.tell(plan, Report(*key[1:], "completed"), "system")

    def finish(self, plan: Plan) -> None:
        for item in plan.items:
            if item.is_manual and item.state == "Ready":
                self.tell(plan, CompleteTask(item.key, "olga", {}, f"done-{item.key}"))


def profiles(host: Host) -> list[int]:
    """The number of uses of each profile."""
    return [len(each.uses) for each in host.account.assets.values() if each.product == "profile"]


def test_a_host_has_each_order_join_anew_once_in_the_tick_in_which_the_other_one_ends() -> None:
    host = Host()
    first = host.submit(order_of(line("1", "mail")))
    others = [host.submit(order_of(line("1", "mail"))) for _ in range(40)]
    tick = host.cancelled(first)
    changed = [fact.order_id for fact in tick.commit.facts if fact.kind == "plan.changed"]
    assert changed == [plan.order_id for plan in others]
    actions = [each.action for plan in others for each in plan.lines if each.product == "profile"]
    assert actions == ["add", *["modify"] * 39]


def with_prices() -> tuple[Host, Plan, ToPlan]:
    """The first order is cancelled; the second one asks a price function before it joins anew."""
    host = Host(CHARGE)
    first, second = host.submit(order_of(line("1", "mail"))), host.submit(order_of(line("1", "chat")))
    [asked] = host.cancelled(first).asked
    assert second.by_key[AWAIT].state == "Pending"
    host.asking = {asked.key}
    envelope = cast("ToPlan", asked.envelope)
    envelope.answers.update({call.key: PriceAnswer({"charge": "2.00"}) for call in asked.calls})
    return host, second, envelope


def test_an_order_that_asks_price_functions_joins_anew_with_their_answers() -> None:
    host, second, envelope = with_prices()
    host.asking = set()
    host.tick(envelope)
    assert (second.by_key[AWAIT].state, second.by_key["make/provide@profile@account"].state) == ("Discarded", "Ready")


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda _, envelope: envelope.answers.update(
            {key: PriceAnswer(failure="raised ValueError") for key in envelope.answers}
        ),
        lambda tell, _: tell(SteerOrder("freeze", "because", "steer-1")),
    ],
    ids=["function fails", "frozen"],
)
def test_where_it_cannot_join_anew_after_all_a_person_decides(
    meanwhile: Callable[[Callable[[Any], Any], ToPlan], Any],
) -> None:
    host, second, envelope = with_prices()
    meanwhile(lambda message: host.tell(second, message), envelope)
    host.asking = set()
    host.tick(envelope)
    item = second.by_key[AWAIT]
    assert (item.state, item.error_code) == ("Fatally Failed", "notDelivered")


def test_the_watchdog_leaves_an_order_that_asks_price_functions_alone() -> None:
    host, second, envelope = with_prices()
    host.tick(Redrive(second.order_id, (), START))
    assert second.by_key[AWAIT].state == "Pending"
    host.asking = set()
    host.tick(envelope)
    host.finish(second)
    assert second.by_key[AWAIT].state == "Discarded"


def test_a_retry_that_is_sent_again_is_answered_with_how_the_item_stands() -> None:
    host = Host()
    first, second = host.submit(order_of(line("1", "mail"))), host.submit(order_of(line("1", "chat")))
    host.tell(second, SteerOrder("freeze", "because", "steer-1"))
    host.cancelled(first)
    host.tell(second, SteerOrder("thaw", "because", "steer-2"))
    message = OperateItem(AWAIT, "retry", "olga", "again", "retry-1")
    answers = [host.tell(second, message).replies[0][1] for _ in range(2)]
    assert [(each["item"], each["itemState"]) for each in answers] == [(AWAIT, "Failed Discarded")] * 2
    assert second.changes == 1


def test_an_order_that_waits_is_called_up_once_however_many_orders_join_anew() -> None:
    host = Host()
    first = host.submit(order_of(line("1", "mail")))
    others = [host.submit(order_of(line("1", "mail"))) for _ in range(5)]
    held = others[-1].lines[0].asset_id
    waiting = host.submit(order_of(line("1", None, "modify", product_id=held, quantity=2)))
    assert waiting.order_state == "pending"
    called: list[str] = []

    class Counted(dict[str, None]):
        """Those of one tick."""

        def __init__(self) -> None:
            super().__init__()
            called.clear()

        def __delitem__(self, order_id: str) -> None:
            called.append(order_id)
            super().__delitem__(order_id)

    host.called = Counted
    host.cancelled(first)
    assert called == [waiting.order_id]
