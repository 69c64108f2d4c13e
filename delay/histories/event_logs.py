"""A history as an event log for process mining: one CSV file, or OCEL 2.0 as JSON.

In the CSV file the case is the order. OCEL keeps orders, accounts and items apart as objects: an event of an item
belongs to all three. Values out of sight, and attributes of lines, are in neither.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from delay.histories.files import ACTIVITIES, COLUMNS
from delay.replay import History
from domain import facts as f

ORDER, ACCOUNT, ITEM = "order", "account", "item"
_ORDER_ATTRIBUTES: Final = ("due", "channel", "priority", "segment", "product", "lines", "simulated")
_TYPES: Final = {"due": "time", "lines": "integer", "simulated": "boolean"}


class Event(NamedTuple):
    """One event; `order` has the attributes of its order, with `account`."""

    order_id: str
    activity: str
    at: datetime
    resource: str
    item: str | None
    order: Mapping[str, Any]


def events_of(history: History, *, simulated: bool, is_closed_only: bool = True) -> Iterator[Event]:
    """The events of a history, in the order of time.

    Args:
        history: read twice if only closed orders are wanted.
        simulated: whether its orders never were; every event says so.
        is_closed_only: leave out orders that are open at the end.
    """
    closed = {order_id for order_id, fact in history if fact.kind == f.ORDER_ENDED} if is_closed_only else None
    names = {item.ref: item.name for release in history.releases.values() for item in release.items}
    orders: dict[str, dict[str, Any]] = {}
    for order_id, fact in history:
        if closed is not None and order_id not in closed:
            continue
        if fact.kind in (f.ORDER_ACCEPTED, f.ORDER_REJECTED):
            orders[order_id] = _order((fact.payload or {})["order"], simulated=simulated)
        activity = ACTIVITIES.get(fact.kind)
        if activity is not None and order_id in orders:
            name = names.get(fact.item.partition("@")[0], fact.item) if fact.item else ""
            yield Event(order_id, activity.format(name), fact.at, fact.actor, fact.item, orders[order_id])
        if fact.kind in (f.ORDER_ENDED, f.ORDER_REJECTED):
            orders.pop(order_id, None)


def _order(order: Mapping[str, Any], *, simulated: bool) -> dict[str, Any]:
    lines = order["lines"]
    return {
        "due": order.get("dueAt") or "",
        "channel": order["channel"],
        "priority": order.get("priority", "normal"),
        "segment": order.get("accountFacts", {}).get("segment", ""),
        "product": lines[0].get("offering") or lines[0].get("specification") or "",
        "lines": len(lines),
        "simulated": simulated,
        "account": order.get("account") or "",
    }


def write_csv(events: Iterator[Event], path: Path) -> int:
    """One line for each event, with the columns of `orderplan simulate`'s events.csv; how many.

    Raises:
        OSError: it cannot be written.
    """
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for each in events:
            count += 1
            known = [str(each.order[name]).lower() if name == "simulated" else each.order[name] for name in COLUMNS[6:]]
            at = each.at.isoformat(timespec="milliseconds")
            writer.writerow(
                (each.order_id, each.activity, at, each.order["due"], each.resource, each.item or "", *known)
            )
    return count


def write_ocel(events: Iterator[Event], path: Path) -> int:
    """OCEL 2.0 as JSON; how many events. They are written as they come, objects afterwards.

    Raises:
        OSError: it cannot be written.
    """
    objects: dict[str, dict[str, Any]] = {}
    activities: set[str] = set()
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write('{"events":[')
        for each in events:
            count += 1
            activities.add(each.activity)
            related = _objects(each, objects)
            document = {
                "id": f"e{count}",
                "type": each.activity,
                "time": _instant(each.at),
                "attributes": [{"name": "resource", "value": each.resource}],
                "relationships": [{"objectId": object_id, "qualifier": kind} for kind, object_id in related],
            }
            file.write(("," if count > 1 else "") + "\n" + _json(document))
        file.write('\n],\n"objects":[')
        for number, found in enumerate(objects.values()):
            file.write(("," if number else "") + "\n" + _json(found))
        resource = [{"name": "resource", "type": "string"}]
        kinds = [{"name": name, "attributes": resource} for name in sorted(activities)]
        of_orders = [{"name": name, "type": _TYPES.get(name, "string")} for name in _ORDER_ATTRIBUTES]
        of_items = [{"name": "definition", "type": "string"}]
        types = [
            {"name": name, "attributes": attributes}
            for name, attributes in ((ORDER, of_orders), (ACCOUNT, []), (ITEM, of_items))
        ]
        file.write(f'\n],\n"eventTypes":{_json(kinds)},\n"objectTypes":{_json(types)}}}\n')
    return count


def _objects(event: Event, objects: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """The objects of an event by their types, made when they are first met."""
    at = _instant(event.at)
    account_id = f"account:{event.order['account']}" if event.order["account"] else None
    related = [(ORDER, event.order_id)]
    if account_id is not None:
        related.append((ACCOUNT, account_id))
        objects.setdefault(account_id, _object(account_id, ACCOUNT, {}, [], at))
    if event.order_id not in objects:
        known = {name: event.order[name] for name in _ORDER_ATTRIBUTES if event.order[name] != ""}
        to = [(ACCOUNT, account_id)] if account_id is not None else []
        objects[event.order_id] = _object(event.order_id, ORDER, known, to, at)
    if event.item is not None:
        item_id = f"{event.order_id}/{event.item}"
        related.append((ITEM, item_id))
        definition = {"definition": event.item.partition("@")[0]}
        objects.setdefault(item_id, _object(item_id, ITEM, definition, [(ORDER, event.order_id)], at))
    return related


def _object(
    object_id: str, kind: str, known: Mapping[str, Any], to: list[tuple[str, str]], at: str
) -> dict[str, Any]:
    return {
        "id": object_id,
        "type": kind,
        "attributes": [{"name": name, "time": at, "value": value} for name, value in known.items()],
        "relationships": [{"objectId": other, "qualifier": qualifier} for qualifier, other in to],
    }


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


WRITERS: Final[Mapping[str, Callable[[Iterator[Event], Path], int]]] = {".csv": write_csv, ".json": write_ocel}
"""By the ending of the file."""
