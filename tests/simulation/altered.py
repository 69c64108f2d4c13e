"""What a change makes of the work of an order, by the words of the catalogue: what is to be done again, what undone.

The product's own plan is not asked: a change is known from who asked for it, and what it has to lead to is told here
once more. Only which of its items a change has left behind is taken from its fact, and judged by what follows.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tests.simulation.catalogue import (
    AGAIN,
    AMENDS,
    CALLS,
    GOES_ON,
    INSIDE,
    NO_RETURN,
    RESOLVE,
    UNDOES,
    UNDONE_BY,
    UNDONE_FIRST,
    WAITS_FOR,
)
from tests.simulation.seen import Item, Name, Order, Slot, Violation, Wish

_STAY: Final = frozenset({"claimed", "begun", "failed", "fatallyFailed"})
"""Phases of items that a change of their lines leaves at what they are; the others begin anew."""


def asked(order: Order, order_id: str, payload: Mapping[str, Any], wish: Wish | None) -> None:
    """A change was asked for: it is one that somebody wants, made for what the order was, and the only one."""
    name = payload["id"]
    if wish is None or wish.order_id != order_id:
        raise Violation(f"6: {order_id} is asked for change {name}, which nobody wants")
    if wish.is_dry_run:
        raise Violation(f"6: {name} is a rehearsal, and is carried out on {order_id}")
    if wish.is_forbidden or wish.is_refused:
        raise Violation(f"6: {name} of {order_id} was to be refused, and is not")
    if wish.version is not None and wish.version != order.version:
        raise Violation(f"6: {name} is for version {wish.version} of {order_id}, which has {order.version}")
    if order.change is not None:
        raise Violation(f"6: {name} of {order_id} is asked for while {order.change} waits")
    order.change = name


def rejoins(order: Order, order_id: str, payload: Mapping[str, Any], joined: Order | None) -> Wish:
    """The product itself wants a change, or who retries the wait: what was joined has ended, or has become another."""
    name = payload["id"]
    awaited = {line.get("joins") for line in order.lines if not line.get("cancelled")}
    if payload["joined"] not in awaited:
        raise Violation(f"6: {name} of {order_id} is because of {payload['joined']}, which it does not wait for")
    if joined is None or not (joined.ended or joined.changes):
        raise Violation(f"6: {name} of {order_id} is because of {payload['joined']}, which is to deliver")
    return Wish(name, order_id, "rejoin")


def amended_waiting(
    order: Order, order_id: str, payload: Mapping[str, Any], cause: str | None, wish: Wish | None
) -> None:
    """An order that waits for others is another one."""
    asked(order, order_id, {"id": cause}, wish)
    order.change = None
    assert wish is not None, "asked has seen to that"
    lines = {line["id"]: line.get("attributes", {}).get("n") for line in payload["order"]["lines"]}
    _meets(order, order_id, lines, wish)
    order.document = payload["order"]
    order.version += 1


def changed(order: Order, order_id: str, payload: Mapping[str, Any], wish: Wish) -> None:
    """A change was carried out."""
    if order.change != payload["id"]:
        raise Violation(f"6: {payload['id']} of {order_id} is carried out, asked for was {order.change}")
    for name, item in order.items.items():
        code = name.partition("@")[0]
        if item.phase == "started" and not item.done and code in CALLS and code not in GOES_ON:
            raise Violation(f"6: {wish.name} of {order_id} is carried out while {name} runs")
    before = {line["key"]: line for line in order.wanted()}
    past = _past(order)
    lines_now = [line for line in payload["lines"] if not line.get("sources")]
    now = {line["key"]: line for line in lines_now if not line.get("cancelled") and line["action"] != "noChange"}
    documents = order.document, payload.get("order", order.document)
    said = {line["id"]: line.get("attributes", {}).get("n") for line in documents[1]["lines"]}
    left = [line["key"] for line in lines_now if not line.get("cancelled")]
    _meets(order, order_id, {key: said.get(key) for key in left}, wish)
    _keeps(order, payload["release"], wish, order_id)
    other = {key for key in before.keys() & now.keys() if _said(documents[0], key) != _said(documents[1], key)}
    touched = sorted((other | (before.keys() - now.keys())) & past)
    if touched and not wish.is_forced:
        raise Violation(f"6: {wish.name} changes line {touched[0]} of {order_id}, which is past its point of no return")
    codes_before = {key: set(order.codes_of(line)) for key, line in before.items()}
    order.lines, order.release = list(payload["lines"]), payload["release"]
    order.plan, order.change = "going", None
    order.changes += 1
    if "order" in payload:
        order.document = payload["order"]
        order.version += 1
    codes_now = {key: set(order.codes_of(line)) for key, line in now.items()}
    for key in before:
        for code in codes_before[key] - codes_now.get(key, set()):
            _want_no_more(order.slots[f"{code}@{key}"], code)
    for key in now:
        for code in codes_now[key]:
            slot = order.slots[f"{code}@{key}"]
            if not slot.is_wanted:
                slot.is_wanted, slot.is_done, slot.least = True, False, slot.newest + 1
            elif key in other:
                _want_otherwise(order, slot, Name(code, key, slot.newest))
    _mailbox(order, before, now)
    _leave_behind(order, payload)


def _meets(order: Order, order_id: str, lines: Mapping[str, Any], wish: Wish) -> None:
    """The order is what was wished for."""
    if wish.kind == "amend" and lines.keys() != wish.lines.keys():
        # What was cancelled before does not come back.
        known = {line["key"] for line in order.lines if line.get("cancelled")}
        if lines.keys() != wish.lines.keys() - known:
            raise Violation(f"6: {wish.name} leaves {order_id} with {sorted(lines)}, wished for {sorted(wish.lines)}")
    for line_id, value in wish.lines.items() if wish.kind in ("amend", "patch") else ():
        if value is not None and line_id in lines and lines[line_id] != value:
            raise Violation(f"6: {wish.name} leaves line {line_id} of {order_id} with {lines[line_id]}, not {value}")
    left = sorted(lines.keys() if wish.kind == "cancel" and not wish.gone else lines.keys() & set(wish.gone))
    if left:
        raise Violation(f"6: {wish.name} leaves line {left[0]} of {order_id}, which it cancels")


def _keeps(order: Order, release: str, wish: Wish, order_id: str) -> None:
    if release != (wish.release or order.release):
        raise Violation(f"8: {order_id} was on {order.release}, {wish.name} leaves it on {release}")


def _said(document: Mapping[str, Any], line_id: str) -> Any:
    """What a document says of a line, as far as work depends on it."""
    for line in document["lines"]:
        if line["id"] == line_id:
            return {name: _shown(each) for name, each in line.get("attributes", {}).items()}, line.get("quantity")
    return None


def _shown(value: Any) -> Any:
    """What is out of sight goes by its keyed hash, or by the name under which it is sealed."""
    return value.get("mac") or value.get("$sealed") if isinstance(value, dict) else value


def _past(order: Order) -> set[str]:
    """Lines past their point of no return."""
    return {
        name.rpartition("@")[2].partition("~")[0]
        for name, item in order.items.items()
        if name.partition("@")[0] in NO_RETURN and item.begun and item.phase not in ("opened", "")
    }


def _want_no_more(slot: Slot, code: str) -> None:
    slot.is_wanted = slot.is_done = False
    slot.amends = 0
    if slot.stands and code in UNDONE_BY:
        slot.must_undo = True


def _want_otherwise(order: Order, slot: Slot, name: Name) -> None:
    """Its line has other values."""
    item = order.items.get(f"{name.slot}~{name.round}" if name.round else name.slot)
    if name.code in GOES_ON and item is not None and item.phase == "started" and not item.done:
        # It ends as it began, and is done again behind that.
        slot.least = slot.newest + 1
        return
    if item is None or not slot.is_done:
        return
    if item.phase == "skipped":
        # Looked at again, but for what an operator has said.
        slot.is_done = item.skip_reason == "operator"
    elif name.code in AMENDS.values():
        slot.amends += 1
    elif name.code in AGAIN:
        slot.is_done, slot.least = False, slot.newest + 1
        if name.code in UNDONE_FIRST and slot.stands:
            slot.must_undo = True


def _mailbox(order: Order, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """With the last voice line the mailbox goes, if it was made for this order."""
    had = any(line["product"] == "voice" for line in before.values())
    has = any(line["product"] == "voice" for line in now.values())
    for name, slot in order.slots.items():
        if name.startswith("mailbox/create@") and had and not has:
            _want_no_more(slot, "mailbox/create")
        elif name.startswith("mailbox/create@") and has:
            slot.is_wanted = True


def _leave_behind(order: Order, payload: Mapping[str, Any]) -> None:
    """Items that the change has left behind, or put back to where they began."""
    for name in payload["cancelled"]:
        item = order.items[name]
        code = name.partition("@")[0]
        is_running = item.phase == "started"
        if code in CALLS and not item.done and (is_running or item.phase in ("failed", "fatallyFailed")):
            order.doubts += 1
        order.suspects += code in CALLS and item.attempt > 0 and (not item.done or item.phase == "skipped")
        item.done = item.is_gone = True
    for name in payload["amended"]:
        item = order.items[name]
        item.is_edited = True
        if item.phase == "skipped":
            item.done = item.begun = False
            item.phase = ""
        elif item.done:
            item.is_gone = True
        elif item.phase not in _STAY:
            item.begun = False
            item.phase = ""


# What begins, and what is done.


def may_begin(order: Order, name: Name, key: str, where: str) -> bool:
    """Whether an item is work of the order itself; raises for one that undoes, amends or redoes what it may not."""
    if name.code == RESOLVE:
        if order.suspects <= order.resolved:
            raise Violation(f"7: {where} begins, and nothing is in doubt")
        return False
    if name.code in AMENDS:
        if order.slots[f"{AMENDS[name.code]}@{name.line}"].amends <= 0:
            raise Violation(f"6: {where} begins, and nothing is to be amended")
        return False
    if name.code in UNDOES:
        _may_undo(order, name, key, where)
        return False
    slot = order.slots[name.slot]
    slot.newest = max(slot.newest, name.round)
    if slot.must_undo:
        raise Violation(f"7: {where} begins before what was done is undone")
    if not slot.is_wanted:
        raise Violation(f"7: {where} begins, and nobody wants it any more")
    return True


def _may_undo(order: Order, name: Name, key: str, where: str) -> None:
    work = UNDOES[name.code]
    slot = order.slots[f"{work}@{name.line}"]
    if work == "mailbox/create" and slot.stands:
        # Shared among lines: whether it is still wanted is told by the accounts that have one.
        slot.must_undo = True
    if not slot.must_undo or slot.undoing not in ("", key):
        raise Violation(f"7: {where} undoes what is not done, or is not to be undone, or is undone already")
    slot.undoing = key
    for other, each in order.slots.items():
        code, _, line = other.partition("@")
        if line == name.line and each.must_undo and work in before(code, is_entered=False):
            raise Violation(f"7: {where} begins before {other}, which came after it, is undone")


def before(code: str, *, is_entered: bool = True) -> set[str]:
    """All that comes before an item; with `is_entered` without what comes before the sub-plan that it is inside of."""
    found: set[str] = set()
    waiting = [code]
    while waiting:
        at = waiting.pop()
        above = [*WAITS_FOR.get(at, ()), *([INSIDE[at]] if at in INSIDE and not is_entered else ())]
        waiting.extend(each for each in above if each not in found)
        found.update(above)
    return found


def finished(order: Order, name: Name, item: Item, kind: str) -> None:
    """An item was completed or skipped."""
    if name.code == RESOLVE:
        order.resolved += 1
        return
    if name.code in AMENDS:
        slot = order.slots[f"{AMENDS[name.code]}@{name.line}"]
        slot.amends = max(0, slot.amends - 1)
        return
    if name.code in UNDOES:
        slot = order.slots[f"{UNDOES[name.code]}@{name.line}"]
        slot.must_undo = slot.stands = False
        slot.undoing = ""
        return
    slot = order.slots[name.slot]
    slot.newest = max(slot.newest, name.round)
    slot.stands = slot.stands or kind == "item.completed"
    slot.is_done = slot.is_done or name.round >= slot.least


def ended(order: Order, order_id: str) -> None:
    """An order that was changed has ended: what was to be undone, amended or found out is."""
    for name, slot in order.slots.items():
        if slot.must_undo:
            raise Violation(f"7: {order_id} ends, {name} is not undone")
        if slot.is_wanted and slot.amends:
            raise Violation(f"6: {order_id} ends, {name} is not brought in line")
    if order.resolved < order.doubts:
        raise Violation(f"7: {order_id} ends, and nobody has found out what its calls have done")


def installed(orders: Iterable[Order], assets: Iterable[Any]) -> None:
    """What accounts have is what their completed orders gave and took."""
    expected: dict[str | None, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for order in orders:
        if order.ended in ("completed", "partial"):
            for line in order.lines:
                if line["product"] != "mailbox" and not line.get("cancelled"):
                    change = {"add": 1, "delete": -1}.get(line["action"], 0)
                    expected[order.account][line["product"]] += change
    found: dict[str | None, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in assets:
        if row.status != "terminated" and row.product != "mailbox":
            found[row.account][row.product] += 1
    for account in expected.keys() | found.keys():
        for product in expected[account].keys() | found[account].keys():
            if expected[account][product] != found[account][product]:
                raise Violation(
                    f"13: account {account} has {found[account][product]} of {product}, its orders make "
                    f"{expected[account][product]}"
                )


def delivered(orders: Iterable[Order], assets: Iterable[Any]) -> None:
    """What was ordered new, and by no other order since, is in the inventory as the order says by now."""
    bodies = {row.asset_id: json.loads(row.body) for row in assets if row.status != "terminated"}
    known = list(orders)
    later = {line["assetId"] for order in known for line in order.lines if line["action"] in ("modify", "delete")}
    for order in known:
        said = {line["id"]: line.get("attributes", {}).get("n") for line in order.document.get("lines", ())}
        for line in order.wanted() if order.ended in ("completed", "partial") else ():
            if line["product"] == "sim" and line["action"] == "add" and line["assetId"] not in later:
                found = bodies[line["assetId"]]["attributes"].get("n")
                if found != said[line["key"]]:
                    raise Violation(f"6: {line['assetId']} is installed with {found}, ordered is {said[line['key']]}")
