"""One case: an account with something installed, an order on its way, changes of it, and what has to come of them.

The order as it is meant to be by now is kept here, from what was asked, never from what the product made of it. In the
end the same order is sent to a twin of the world from the start: both must leave the same behind.
"""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from domain import facts as f
from domain.errors import OrderplanError
from domain.messages import ChangeOrder
from domain.orders import Order, OrderLine
from domain.plan import Plan
from domain.preview import shown_items
from domain.sealing import MASK
from tests.changes import outcome
from tests.changes.catalogue import releases_of
from tests.changes.orders import bundle_of, changed_order, copied, drawn_order, drawn_patch, patched, without
from tests.changes.steps import complete_call, finish, step
from tests.changes.world import World
from tests.support.fingerprint import fingerprint
from tests.support.plan_rules import (
    account_can_be_reloaded,
    counters_are_right,
    nothing_is_stuck,
    nothing_rests_that_could_move,
    replays_alike,
)

CASES_PER_CATALOGUE: Final = 8
_KINDS: Final = ("amend",) * 9 + ("patch",) * 3 + ("cancel",) * 5 + ("cancelSome",) * 2 + ("move",) * 2


@dataclass
class Asked:
    """A change that was asked for, and the order as it makes it."""

    kind: str
    message: ChangeOrder
    wanted: Order
    gone: set[str]
    """Lines that the order still names and that are cancelled."""


@dataclass
class Case:
    """One seed."""

    seed: int
    tell: Callable[[str], None] | None = None
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.releases = releases_of(self.seed // CASES_PER_CATALOGUE)
        self.world = World(self.releases[0])
        self.world.releases = {each.release_id: each for each in self.releases}
        self.release = self.releases[0]
        self.plan: Plan
        self.wanted: Order
        self.gone: set[str] = set()
        self.ever_gone: set[str] = set()
        """What was cancelled, also where a later amendment does not name it any more."""
        self.gone_lines: dict[str, OrderLine] = {}
        """Lines of bundles that somebody wanted to cancel, by id."""
        self.asked: Asked | None = None
        self.is_cancelled = False
        self.cancelled_at = 0
        self.is_moved_late = False
        """Whether it was moved when a release had delivered something that another one may not."""
        self.changes = 0
        self.has_operators = self.rng.random() < 0.2
        self.is_silent = False
        """Whether a system has said less than it would: then answers say nothing of whose work was last done."""

    def say(self, text: str) -> None:
        if self.tell is not None:
            self.tell(text)

    def run(self) -> Counter[str]:
        """Play the case; what there was, by name.

        Raises:
            AssertionError: something came out that must not.
        """
        self._install()
        self.before = dict(self.world.account.assets)
        self.plans_before = dict(self.world.plans)
        self._order_before()
        if not self._order():
            self.counts["no order"] += 1
            return self.counts
        for _ in range(self.rng.choice((1, 1, 1, 2, 3))):
            if self._is_over():
                break
            self._go_on()
            if not self._is_over():
                self._change()
        self.say("from here on everything goes well")
        if self.other is not None:
            finish(self.world, self.other, self._look_after)
        finish(self.world, self.plan, self._look_after)
        outcome.check(self)
        return self.counts

    def _is_over(self) -> bool:
        return self.plan.ended_at is not None or self.is_cancelled

    # Before.

    def _install(self) -> None:
        for _ in range(self.rng.choice((0, 1, 1, 2))):
            order = drawn_order(self.rng, self.world.account.assets)
            try:
                plan = self.world.accept(copied(order))
            except OrderplanError as error:
                self.say(f"an order before is refused: {error}")
                continue
            finish(self.world, plan)
        self.say(f"installed: {[(each.asset_id, each.product) for each in self.world.account.assets.values()]}")

    def _order_before(self) -> None:
        """Now and then another order of the account is on its way, too."""
        self.other: Plan | None = None
        self.other_order: Order | None = None
        if self.rng.random() > 0.15:
            return
        order = drawn_order(self.rng, self.world.account.assets)
        try:
            plan = self.world.accept(copied(order))
        except OrderplanError as error:
            self.say(f"the other order is refused: {error}")
            self.plans_before = dict(self.world.plans)
            return
        self.other, self.other_order = plan, order
        self.say(f"on its way: {_told(order)}")

    def _order(self) -> bool:
        held = {root for each in self.world.account.open_orders.values() for root in each.roots}
        free = {key: each for key, each in self.world.account.assets.items() if each.root_id not in held}
        tries: dict[str, Plan] = {}
        for _ in range(6):
            self.wanted = drawn_order(self.rng, free)
            try:
                self.plan = self.world.accept(copied(self.wanted))
            except OrderplanError as error:
                self.say(f"the order is refused: {error}")
                continue
            if self.plan.template is not None and self.plan.ended_at is None:
                self.say(f"ordered: {_told(self.wanted)}")
                self.tries = tries
                self._look()
                return True
            if self.plan.template is not None:
                # It has ended at once, and left something behind.
                return False
            tries[self.plan.order_id] = self.plan
        return False

    # While it is under way.

    def _go_on(self) -> None:
        """Some steps; mostly until somebody has done something."""
        for _ in range(self.rng.choice((0, 1, 3, 5, 8, 12, 20))):
            if self.plan.ended_at is not None:
                return
            self._step()
        is_wanted = self.rng.random() < 0.95
        for _ in range(40):
            if self.plan.ended_at is not None or not is_wanted or self._has_done():
                return
            self._step()

    def _has_done(self) -> bool:
        book = self.world.books[self.plan.order_id]
        return any(each.is_work for each in book.works)

    def _step(self) -> None:
        if self.rng.random() < 0.05:
            action = self.rng.choice(("hold", "resume", "resume", "freeze", "thaw", "thaw", "prioritize"))
            self._watched(lambda: self._steer(action))
            return
        told = ""
        other = self.other
        if other is not None and other.ended_at is None and self.rng.random() < 0.3:
            step(self.world, other, self.rng, has_operators=False)
            self._look_after()

        def happen() -> None:
            nonlocal told
            told = step(self.world, self.plan, self.rng, has_operators=self.has_operators)

        self._watched(happen)
        self.say(f"{told} -> {self._told_states()}")

    def _steer(self, action: str) -> None:
        try:
            self.world.steer(self.plan, action, "high" if action == "prioritize" else "")
            self.say(f"{action} -> {self._told_states()}")
        except OrderplanError as error:
            self.say(f"{action} is refused: {error}")

    def _watched(self, act: Callable[[], None]) -> None:
        act()
        self._look_after()

    def _look_after(self) -> None:
        self._settle_asked()
        self._look()

    def _settle_asked(self) -> None:
        """See whether a change that waited was carried out or given up."""
        for kind in self.world.changed:
            if kind == f.PLAN_CHANGED and self.asked is None:
                # Somebody has tried again what another order was to share: the order is the same as before.
                self.counts["joined anew"] += 1
            elif kind == f.PLAN_CHANGED:
                assert self.asked is not None
                self._is_carried_out(self.asked)
                self.asked = None
            elif kind in (f.CHANGE_REFUSED, f.PLAN_THAWED):
                if self.asked is not None:
                    self.counts["refused late" if kind == f.CHANGE_REFUSED else "given up"] += 1
                self.asked = None
        self.world.changed.clear()

    def _is_carried_out(self, asked: Asked) -> None:
        self.wanted, self.gone = asked.wanted, asked.gone
        self.ever_gone |= asked.gone
        self.changes += 1
        self.counts[{"amend": "amended", "patch": "patched", "move": "moved"}.get(asked.kind, "cancelled")] += 1
        if asked.kind == "move":
            self.release = self.plan.release
            self.is_moved_late = self.is_moved_late or bool(self.plan.delivered)
        if asked.kind == "cancelSome":
            self.counts["cancelled in part"] += 1
        self.is_cancelled = self.plan.is_cancelled
        if self.is_cancelled:
            self.counts["cancelled whole"] += 1
            self.cancelled_at = self.world.books[self.plan.order_id].changed_at

    def _look(self) -> None:
        for plan in (self.plan, *([self.other] if self.other is not None else ())):
            counters_are_right(plan)
            nothing_rests_that_could_move(plan)
            replays_alike(self.world, plan)
            self.world.says_again_what_it_said(plan)
        nothing_is_stuck(self.world)
        account_can_be_reloaded(self.world)

    # Changes.

    def _change(self) -> None:
        asked = self._drawn_change()
        if asked is None:
            return
        self.counts["asked"] += 1
        self.say(f"{asked.kind} {asked.message.lines} {asked.message.release or ''} {_told(asked.wanted)}")
        before = self._state()
        shown: dict[str, Any] = {}
        foreseen = ""
        try:
            shown = self.world.preview(self.plan, asked.message)
        except OrderplanError as error:
            foreseen = _refusal(error)
        assert self._state() == before, "a preview changed something"
        waiting, self.asked = self.asked, asked
        items_before = {item.key: item.state_shown.value for item in self.plan.items}
        refusal: OrderplanError | None = None
        try:
            _, change = self.world.carry(self.plan, asked.message)
        except OrderplanError as error:
            refusal = error
        if refusal is not None:
            self.asked = waiting
            assert self._state() == before, f"refused ({refusal}), and yet something has changed"
            assert foreseen == _refusal(refusal), f"preview: {foreseen or shown}; outcome: {refusal}"
            self.counts[f"refused {refusal.code}"] += 1
            self.say(f"is refused: {refusal}")
            return
        assert not foreseen, f"the preview said it would be refused: {foreseen}"
        is_waiting = self.plan.change is not None
        self._settle_asked()
        self.say(f"-> {self._told_states()}")
        self._look()
        assert fingerprint(self.world.replayed_from_empty(self.plan)) == fingerprint(self.plan)
        if change is None:
            assert not shown["changed"]
            assert self._state() == before, "nothing was to change, and yet something has"
            self.counts["nothing to change"] += 1
            self.asked = None
            return
        if is_waiting:
            assert shown["waitsFor"] == [item.key for item in self.plan.items if item.is_waited_for]
            self.counts["waited"] += 1
            if self.rng.random() < 0.5:
                # As the preview supposes it: what is under way ends well and says nothing.
                self.is_silent = True
                for item in [each for each in self.plan.items if each.is_waited_for]:
                    complete_call(self.world, self.plan, item, is_silent=True)
                is_refused = f.CHANGE_REFUSED in self.world.changed
                self._settle_asked()
                self.say(f"what was under way has ended -> {self._told_states()}")
                self._look()
                assert ("refused" in shown) == is_refused, f"preview: {shown.get('refused')}"
                self._compare(shown, items_before)
        else:
            assert "refused" not in shown
            self._compare(shown, items_before)
            if change.revision is not None:
                outcomes = {key: each.value for key, each in change.revision.outcomes.items()}
                assert {each["key"]: each["outcome"] for each in shown["items"]} == outcomes

    def _compare(self, shown: dict[str, Any], items_before: dict[str, str]) -> None:
        """The preview said what came."""
        self.counts["previews compared"] += 1
        plan = self.plan
        assert shown["state"] == plan.order_state.value
        assert shown["planState"] == (plan.state.value if plan.state else None)
        if "plan" not in shown:
            return
        _same("plan", shown["plan"], shown_items(plan))
        for each in shown["items"]:
            assert each["stateAfter"] == plan.by_key[each["key"]].state.value
        assert [each["key"] for each in shown["added"]] == [item.key for item in plan.items[len(items_before) :]]

    def _drawn_change(self) -> Asked | None:
        rng, plan = self.rng, self.plan
        kind = rng.choice(_KINDS)
        number = len(self.world.facts[plan.order_id])
        members: dict[str, Any] = {"message_id": f"change-{number}"}
        if rng.random() < 0.2:
            members["version"] = plan.version if rng.random() < 0.8 else plan.version + 1
        if rng.random() < 0.1:
            members["is_forced"] = True
        wanted, gone = copied(self.wanted), set(self.gone)
        if kind == "amend":
            wanted = changed_order(rng, self.wanted, set(self.gone_lines))
            sent = self._as_sent(wanted)
            if rng.random() < 0.5:
                # What is cancelled is named again, and stays cancelled.
                sent.lines += [copy.deepcopy(self.gone_lines[line_id]) for line_id in sorted(gone)]
            else:
                gone = set()
            members["order"] = sent.to_dict()
        elif kind == "patch":
            members["patch"] = drawn_patch(rng, self.wanted)
            wanted = patched(self.wanted, members["patch"])
        elif kind == "move":
            other = self.releases[1] if plan.release is self.releases[0] else self.releases[0]
            members["release"] = other.release_id
        elif kind == "cancelSome":
            line_id = rng.choice(self.wanted.lines).line_id
            members["lines"] = (line_id,)
            bundle = bundle_of(self.wanted, line_id)
            gone |= bundle
            self.gone_lines.update({each.line_id: each for each in wanted.lines if each.line_id in bundle})
            wanted = without(wanted, bundle)
        name: Any = "cancel" if kind == "cancelSome" else kind
        return Asked(kind, ChangeOrder(name, "because", **members), wanted, gone)

    def _as_sent(self, wanted: Order) -> Order:
        """The order as a channel writes it that has read it before: values that it may not see as asterisks."""
        sent = copied(wanted)
        known = {each.line_id: each for each in self.wanted.lines}
        for each in sent.lines:
            before = known.get(each.line_id)
            for name in ("pin", "code"):
                value = each.attributes.get(name)
                is_kept = before is not None and value is not None and before.attributes.get(name) == value
                if is_kept and self.rng.random() < 0.7:
                    each.attributes[name] = MASK
        return sent

    def _state(self) -> Any:
        """Everything there is, to be compared bit for bit."""
        world, order_id = self.world, self.plan.order_id
        return (
            repr(fingerprint(self.plan)),
            repr(world.account),
            len(world.facts[order_id]),
            repr(world.calls[order_id]),
            sorted(world.tasks[order_id]),
            repr(world.protector.sealed),
        )

    def _told_states(self) -> str:
        plan = self.plan
        states = {item.key: item.state.value for item in plan.items}
        return f"[{plan.state}, {plan.order_state}] {states}"


def _refusal(error: OrderplanError) -> str:
    return repr((type(error), error.as_dict()))


def _same(what: str, foreseen: Any, found: Any) -> None:
    if foreseen != found:
        different = [pair for pair in zip(foreseen, found, strict=False) if pair[0] != pair[1]]
        raise AssertionError(f"{what}: foreseen {different[:3]}, {len(foreseen)} and {len(found)}")


def _told(order: Order) -> str:
    lines = [
        f"{each.line_id}:{each.action} {each.specification or each.product_id} x{each.quantity} {each.attributes} "
        f"{each.requested_start_at or ''} {[other for _, other in each.relations]}"
        for each in order.lines
    ]
    return f"{order.description!r} due {order.due_at}: " + "; ".join(lines)
