"""The invariants of docs/RELIABILITY.md, checked at every commit, effect, answer and event.

Written without the product's code: the checkers see rows as they are committed, calls as systems receive them, answers
as channels hear them, and know of the catalogue what the tables in `catalogue.py` say in words.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.simulation import altered
from tests.simulation.catalogue import INSIDE, WAITS_FOR
from tests.simulation.seen import Item, Order, Violation, Wish, parsed

VEIL: Final = 0x5A
"""With what the twin of the vault veils each byte."""
SECRET: Final = "SECRET-"
"""Begins every value that must not stay."""
_DONE: Final = frozenset({"item.completed", "item.skipped"})
_NOTES: Final = frozenset({"item.noted", "item.annotated"})
_BEGINS: Final = frozenset({"item.started", "item.opened", "item.begun", "item.scheduled"})
"""Facts with which something begins, which nothing does in a plan that is held or frozen."""
_PLAN: Final = {
    "plan.held": "held", "plan.resumed": "going", "plan.stilled": "frozen", "plan.thawed": "going"
}  # fmt: skip
"""How a plan stands after a fact about all of it."""


@dataclass(slots=True)
class _Key:
    """One effect key at its system."""

    is_performed: bool = False
    is_refused: bool = False
    """The last answer says for certain that it was not done."""


class Checkers:
    """All invariants; raises `Violation` at the moment one is broken."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.offsets: dict[int, int] = defaultdict(int)
        self.owners: Mapping[int, Any] = {}
        """The table of owners, as the server has it: shard -> row with `incarnation_id`."""
        self.fenced: set[str] = set()
        """Incarnations, from the moment in which the server has fenced them."""
        self.acknowledged: dict[str, str] = {}
        self.accepted: dict[str, str] = {}
        """Client key -> order, by the rows."""
        self._keys: dict[str, _Key] = {}
        self._keys_of: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._mailboxes: dict[tuple[str, str | None], str] = {}
        self._holders: dict[str, str] = {}
        """Root asset -> the order that is at work on it."""
        self.published: set[str] = set()
        self.facts = 0
        self.effects = 0
        self._bookings: set[str] = set()
        self._listed: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        """Order -> `held`, `task` and `fallout`: items with a row of that list."""
        self._tasks: dict[str, tuple[str, str]] = {}
        self.wishes: dict[str, Wish] = {}
        """Changes of orders as they were asked for, by the name of the message."""
        self._decided: set[str | None] = set()
        """Accounts of which an operator has decided that an order goes on without what another one was to deliver."""
        self._asked: set[str] = set()
        """Those of them that facts tell of."""
        self._sealed: set[str] = set()
        """Ids of keys with which something stored is sealed."""
        self.edited: set[str] = set()
        """Items whose payload an operator has changed: they may be done a second time, under another key."""

    # What is committed.

    def committed(self, incarnation_id: str, commit: Any) -> None:
        """A transaction of a host was stored."""
        if incarnation_id in self.fenced:
            raise Violation(f"9: fenced host {incarnation_id} has written")
        touched: dict[str, None] = {}
        moves = {
            row.order_id: json.loads(row.payload)["release"] for row in commit.facts if row.kind == "plan.changed"
        }
        for row in commit.facts:
            if row.offset != self.offsets[row.shard] + 1:
                raise Violation(f"journal: shard {row.shard} has {row.offset} after {self.offsets[row.shard]}")
            self.offsets[row.shard] = row.offset
            if self.owners[row.shard].incarnation_id != incarnation_id:
                raise Violation(f"9: host {incarnation_id} wrote to shard {row.shard}, which is not its own")
            self.facts += 1
            self._hide("a fact", row.payload, row.cause, row.actor)
            if row.order_id.startswith("o"):
                touched[row.order_id] = None
                payload = json.loads(row.payload) if row.payload else {}
                self._released(row.order_id, row.release_id, row.kind, moves)
                self._wished(row.order_id, row.kind, row.cause)
                self._fact(row.order_id, row.kind, row.item, payload, row.release_id, row.cause)
            elif row.kind == "assets.booked":
                self._booked(row.order_id, json.loads(row.payload))
        for row in commit.orders_new.values():
            self._hide("an order row", *row)
            key = row.client_key
            if key is not None:
                if key in self.accepted:
                    raise Violation(f"1: client key {key} has two orders")
                self.accepted[key] = row.order_id
        for row in commit.assets.values():
            self._hide("an asset", row.body)
            self._asset(row)
        for row in commit.tasks_new.values():
            self._hide("a task", row.body)
        for row in commit.fallout.values():
            if row is not None:
                self._hide("fallout", row.error)
        for row in commit.templates.values():
            self._hide("a template", row.body)
        for row in commit.sealed:
            self._sealed.add(row.key_id)
            self._hide("a sealed value", row.ciphertext.decode("latin-1"))
            self._sealed_by(bytes(each ^ VEIL for each in row.ciphertext).decode(errors="replace"))
        self._lists(commit)
        for order_id in touched:
            self._goes_on(order_id)

    def _sealed_by(self, text: str) -> None:
        """What a change wants kept out of sight is kept when the change is: one that is refused replaces nothing."""
        _, _, name = text.strip('"').partition(SECRET)
        if name in self.wishes and name not in self._asked:
            raise Violation(f"6: a value of {name} is kept, which is not asked for")

    def _lists(self, commit: Any) -> None:
        """What stands in the lists of tasks, of failed items and of items On Hold is what the facts say."""
        touched = {row.order_id: None for row in commit.facts if row.order_id.startswith("o")}
        for kind, rows in (("held", commit.held), ("fallout", commit.fallout)):
            for (order_id, name), row in rows.items():
                touched[order_id] = None
                listed = self._listed[order_id][kind]
                (listed.discard if row is None else listed.add)(name)
        for task_id, task in commit.tasks_new.items():
            self._tasks[task_id] = task.order_id, task.item
            self._listed[task.order_id]["task"].add(task.item)
        for task_id in commit.tasks_closed:
            order_id, name = self._tasks[task_id]
            self._listed[order_id]["task"].discard(name)
        for order_id in touched:
            order = self.orders[order_id]
            lists = self._listed[order_id]
            items = {name: item for name, item in order.items.items() if not item.done and not order.ended}
            held = {name for name, item in items.items() if item.phase == "held" and order.plan == "going"}
            if lists["held"] != held:
                raise Violation(f"5: On Hold {held} of {order_id}, listed {lists['held']}: nobody lets them go")
            failed = {name for name, item in items.items() if item.phase in ("failed", "fatallyFailed")}
            if order.plan not in ("going", "held"):
                # What stands for another order's delivery has no work that could be frozen.
                failed = {name for name in failed if name.startswith("await/")}
            if lists["fallout"] != failed:
                raise Violation(f"12: {failed} of {order_id} have failed, listed are {lists['fallout']}")
            open_tasks = {name for name, item in items.items() if item.phase in ("opened", "claimed")}
            if lists["task"] != open_tasks:
                raise Violation(f"12: open tasks of {order_id} are {open_tasks}, listed are {lists['task']}")

    def _released(self, order_id: str, release: str | None, kind: str, moves: Mapping[str, str]) -> None:
        """An order stays on its release, but for what a change of this commit moves."""
        order = self.orders.get(order_id)
        if order is not None and release not in (order.release, moves.get(order_id)):
            raise Violation(f"8: {order_id} was on release {order.release}, {kind} is on {release}")

    def _wished(self, order_id: str, kind: str, cause: str | None) -> None:
        """Nothing is stored of a rehearsal, nor of what was refused."""
        wish = self.wishes.get(cause or "")
        if wish is not None and wish.is_dry_run:
            raise Violation(f"6: {wish.name} is a rehearsal, and stores {kind} of {order_id}")
        if wish is not None and wish.is_refused:
            raise Violation(f"6: {wish.name} was refused, and stores {kind} of {order_id}")

    def _booked(self, name: str, payload: Mapping[str, Any]) -> None:
        """An account's host has booked what a dedicated plan delivered."""
        if name in self._bookings:
            raise Violation(f"13: {name} is carried out twice")
        self._bookings.add(name)
        if payload.get("isLast"):
            # For its account a dedicated plan is over with its last booking.
            self._let_go(payload["order"])

    def _hide(self, where: str, *texts: Any) -> None:
        for text in texts:
            if isinstance(text, str) and SECRET in text:
                raise Violation(f"10: a value that must not stay stands in {where}")

    def _fact(
        self,
        order_id: str,
        kind: str,
        name: str | None,
        payload: Mapping[str, Any],
        release: str | None,
        cause: str | None,
    ) -> None:
        order = self.orders.get(order_id)
        if order is None:
            if kind not in ("order.accepted", "order.rejected"):
                raise Violation(f"1: the facts of {order_id} begin with {kind}")
            order = self.orders[order_id] = Order(release=release, account=payload["order"].get("account"))
            order.document = payload["order"]
            if release not in self.published:
                raise Violation(f"8: {order_id} is on release {release}, which is not published")
        elif kind in ("order.accepted", "order.rejected"):
            raise Violation(f"1: {order_id} is accepted twice")
        if order.ended and kind not in _NOTES:
            raise Violation(f"4: {kind} of {order_id} after its end")
        if kind == "plan.redriven":
            # What the watchdog mends is no less a mistake of whatever let the plan stand still.
            raise Violation(f"5: {order_id} stood still: {payload['stuck']}")
        if kind == "plan.composed":
            self._composed(order_id, order, payload)
        elif kind in ("order.ended", "order.rejected"):
            self._ended(order_id, order, kind, payload)
        elif name is not None:
            self._item_fact(order_id, order, kind, name, payload)
        else:
            self._plan_fact(order_id, order, kind, payload, cause)

    def _plan_fact(
        self, order_id: str, order: Order, kind: str, payload: Mapping[str, Any], cause: str | None
    ) -> None:
        """A fact about the whole of an order that is under way."""
        order.plan = _PLAN.get(kind, order.plan)
        if kind == "plan.frozen":
            order.plan = "freezing" if payload.get("busy") else "frozen"
        elif kind == "plan.thawed":
            order.change = None
        elif kind == "change.asked":
            if payload["id"] in self._asked:
                raise Violation(f"6: {payload['id']} of {order_id} is asked for twice")
            if payload["kind"] == "rejoin":
                joined = self.orders.get(payload["joined"])
                self.wishes[payload["id"]] = altered.rejoins(order, order_id, payload, joined)
            altered.asked(order, order_id, payload, self.wishes.get(payload["id"]))
            self._asked.add(payload["id"])
        elif kind == "change.refused":
            order.change = None
        elif kind == "plan.changed":
            altered.changed(order, order_id, payload, self.wishes[payload["id"]])
            self.edited.update(f"{order_id} {each}" for each in payload["amended"])
            self._hold(order_id, order)
        elif kind == "order.amended":
            altered.amended_waiting(order, order_id, payload, cause, self.wishes.get(cause or ""))
            self._asked.add(cause or "")

    def _composed(self, order_id: str, order: Order, payload: Mapping[str, Any]) -> None:
        if order.is_composed:
            raise Violation(f"2: {order_id} is composed twice")
        order.is_composed = True
        order.lines = list(payload["lines"])
        self._hold(order_id, order)

    def _hold(self, order_id: str, order: Order) -> None:
        """The order is at work on its products; on those of lines that are taken back, until it has ended."""
        order.roots |= {line["rootAssetId"] for line in order.lines if not line.get("sources")}
        for root in sorted(order.roots):
            holder = self._holders.setdefault(root, order_id)
            if holder != order_id:
                raise Violation(f"13: {order_id} begins on {root} while {holder} is at work on it")

    def _ended(self, order_id: str, order: Order, kind: str, payload: Mapping[str, Any]) -> None:
        order.ended = "rejected" if kind == "order.rejected" else payload["state"]
        self._let_go(order_id)
        if order.changes:
            altered.ended(order, order_id)
        if order.ended in ("completed", "partial"):
            for line in order.wanted():
                for code in order.codes_of(line):
                    if not order.slots[f"{code}@{line['key']}"].is_done:
                        raise Violation(f"5: {order_id} ends, {code}@{line['key']} is not done")

    def _let_go(self, order_id: str) -> None:
        for root in self.orders[order_id].roots:
            if self._holders.get(root) == order_id:
                del self._holders[root]

    def _item_fact(self, order_id: str, order: Order, kind: str, name: str, payload: Mapping[str, Any]) -> None:
        if kind in _NOTES:
            return
        item = order.items[name]
        where = f"{order_id} {name}"
        if item.done:
            raise Violation(f"4: {kind} of {where}, which is done")
        parts = parsed(name)
        is_passed_over = kind == "item.skipped" and payload.get("reason") in ("operator", "branch")
        # A call under way that a takeover has left behind is made again in a plan that is held: it begins nothing new.
        is_again = order.plan == "held" and item.is_left_behind and kind == "item.started"
        if kind in _BEGINS and order.plan != "going" and not is_again:
            raise Violation(f"5: {kind} of {where}, while its plan is {order.plan}")
        if not item.begun and not is_passed_over and altered.may_begin(order, parts, name, where):
            self._may_begin(order, name, where)
        if kind == "item.started":
            self._started(item, payload["attempt"], where)
        elif kind in ("item.failed", "item.fatallyFailed"):
            item.failed = "unheard" if payload.get("unheard") else "heard"
        elif kind == "item.edited":
            item.is_edited = True
        if kind in _BEGINS or kind in ("item.failed", "item.fatallyFailed", "item.held"):
            item.begun = True
        item.is_left_behind = kind == "item.held" and payload["cause"] == "away"
        if kind not in ("item.edited", "item.accepted", "item.released"):
            item.phase = kind.removeprefix("item.")
        if parts.code.startswith("await/") and kind == "item.skipped":
            self._decided.add(order.account)
        if kind in _DONE:
            item.done = True
            item.skip_reason = payload.get("reason", "") if kind == "item.skipped" else ""
            altered.finished(order, parts, item, kind)

    def _may_begin(self, order: Order, name: str, where: str) -> None:
        """Everything that it waits for is done, by the facts before this one."""
        code, line, _ = parsed(name)
        for needed in WAITS_FOR.get(code, ()):
            if needed == "mailbox/create":
                others = [each for each in order.items if each.startswith("mailbox/create@")]
                is_done = {each: order.items[each].done for each in others}
            else:
                is_done = {f"{needed}@{line}": order.slots[f"{needed}@{line}"].meets}
            for other, done in is_done.items():
                if not done:
                    raise Violation(f"2: {where} begins before {other} is done")
        outer = INSIDE.get(code)
        if outer is not None and not order.items[f"{outer}@{line}"].begun:
            raise Violation(f"2: {where} begins before {outer} is entered")

    def _started(self, item: Item, attempt: int, where: str) -> None:
        if attempt == item.attempt:
            if item.failed == "heard" and not item.is_edited:
                raise Violation(f"3: {where} repeats attempt {attempt}, whose failure was heard")
        elif attempt == item.attempt + 1:
            if item.attempt and item.failed != "heard" and not item.is_edited:
                raise Violation(f"3: {where} makes attempt {attempt} while {item.attempt} is not known to have failed")
        else:
            raise Violation(f"3: {where} makes attempt {attempt} after {item.attempt}")
        item.attempt, item.failed, item.is_edited = attempt, "", False

    def _goes_on(self, order_id: str) -> None:
        """No item rests although everything that it waits for is done."""
        order = self.orders[order_id]
        if order.ended or not order.is_composed or order.plan != "going":
            return
        undone = {name.partition("@")[2] for name, slot in order.slots.items() if slot.must_undo}
        for line in order.wanted():
            if order.suspects or line["key"] in undone:
                # What is taken back comes first; that it is, is seen at the end.
                continue
            for code in order.codes_of(line):
                if code == "voice/port":
                    continue
                name = f"{code}@{line['key']}"
                slot = order.slots[name]
                rounds = [f"{name}~{number}" if number else name for number in range(max(slot.least, slot.newest) + 1)]
                if slot.is_done or order.items[rounds[-1]].begun:
                    continue
                if any(order.items[each].begun and not order.items[each].done for each in rounds[:-1]):
                    # An earlier one goes on, and is waited for.
                    continue
                outer = INSIDE.get(code)
                is_inside = outer is None or order.items[f"{outer}@{line['key']}"].begun
                if is_inside and all(order.slots[f"{each}@{line['key']}"].meets for each in altered.before(code)):
                    raise Violation(f"5: {order_id} {rounds[-1]} could go on and does not")

    def _asset(self, row: Any) -> None:
        if row.product != "mailbox" or row.account in self._decided:
            return
        place = (row.tenant, row.account)
        if row.status == "terminated":
            if self._mailboxes.get(place) == row.asset_id:
                del self._mailboxes[place]
            return
        known = self._mailboxes.setdefault(place, row.asset_id)
        if known != row.asset_id:
            raise Violation(f"13: account {row.account} has two mailboxes, {known} and {row.asset_id}")

    # What channels hear.

    def heard(self, client_key: str, order_id: str) -> None:
        """A channel was told that its order is taken."""
        if self.accepted.get(client_key) != order_id:
            stored = self.accepted.get(client_key)
            raise Violation(f"1: {client_key} was acknowledged as {order_id}, stored is {stored}")
        known = self.acknowledged.setdefault(client_key, order_id)
        if known != order_id:
            raise Violation(f"1: {client_key} was acknowledged as {known}, then as {order_id}")

    def refused(self, client_key: str, code: str) -> None:
        """A channel was told that its order is not taken."""
        if code == "clientKeyReused":
            raise Violation(f"1: the repeat of {client_key} is taken for another order")
        if client_key in self.acknowledged:
            raise Violation(f"1: {client_key} is refused ({code}) after it was acknowledged")

    def answered_change(self, wish: Wish, answer: Any, *, is_refused: bool, is_first: bool) -> None:
        """An agent was told what becomes of the change that was asked for."""
        is_taken = not isinstance(answer, BaseException) and bool(answer.get("changed"))
        if wish.is_forbidden and is_taken and not wish.is_dry_run:
            raise Violation(f"6: {wish.name} was to be refused, and is taken: {answer}")
        if is_refused and is_first and wish.copies == 1:
            wish.is_refused = True

    # What systems see.

    def arrived(self, key: str, order_id: str, name: str, attempt: int) -> None:
        """A call has reached its system."""
        self.effects += 1
        order = self.orders.get(order_id)
        if order is None or order.items[name].attempt < attempt:
            raise Violation(f"3: {key} reached its system before it was committed")
        if key not in self._keys:
            self._keys[key] = _Key()
            others = self._keys_of[order_id, name]
            if others and not self._keys[others[-1]].is_refused and f"{order_id} {name}" not in self.edited:
                raise Violation(f"3: {key} follows {others[-1]}, of which nobody knows that it was not done")
            others.append(key)

    def answered(self, key: str, *, is_performed: bool, is_refused: bool) -> None:
        """The system has done it, or says for certain that it did not."""
        entry = self._keys[key]
        entry.is_performed = entry.is_performed or is_performed
        entry.is_refused = is_refused and not entry.is_performed

    # Afterwards.

    def finished(
        self,
        client_keys: Iterable[str],
        assets: Sequence[Any],
        order_keys: Mapping[str, str],
        sealed: Iterable[tuple[str, str]],
    ) -> None:
        """Everything has calmed down: whatever was acknowledged has ended, and left what it was to leave."""
        for key in client_keys:
            order_id = self.acknowledged.get(key)
            if order_id is None:
                continue
            if order_id not in self.orders:
                raise Violation(f"1: {order_id} ({key}) was acknowledged and is lost")
            if not self.orders[order_id].ended:
                raise Violation(f"5: {order_id} never ends")
        # A key that was made for a commit that was refused opens nothing: no ciphertext of it was ever stored.
        kept = [order_id for key_id, order_id in order_keys.items() if key_id in self._sealed]
        for order_id in [*kept, *(each[0] for each in sealed)]:
            if self.orders[order_id].ended:
                raise Violation(f"10: {order_id} has ended, its sealed values have not")
        altered.installed(self.orders.values(), assets)
        altered.delivered(self.orders.values(), assets)
