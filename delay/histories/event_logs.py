"""A history as an event log for process mining: one CSV or Parquet file, or OCEL 2.0 as JSON.

In the first two the case is the order. OCEL keeps orders, accounts and items apart as objects: an event of an item
belongs to all three. Values out of sight, and attributes of lines, are in neither.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from delay.histories.files import ACTIVITIES, COLUMNS, names_of
from delay.replay import History
from domain import facts as f

PARQUET: Final = ".parquet"
_ROWS_TOGETHER: Final = 10_000
ORDER, ACCOUNT, ITEM = "order", "account", "item"
_ORDER_ATTRIBUTES: Final = ("due", "currentDue", "channel", "priority", "segment", "product", "lines", "simulated")
_TYPES: Final = {"due": "time", "currentDue": "time", "lines": "integer", "simulated": "boolean"}


class Event(NamedTuple):
    """One event; `order` has the attributes of its order, with `account`, as they were known then."""

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
    names = names_of(history.releases.values())
    orders: dict[str, dict[str, Any]] = {}
    for order_id, fact in history:
        if closed is not None and order_id not in closed:
            continue
        if fact.kind in (f.ORDER_ACCEPTED, f.ORDER_REJECTED):
            orders[order_id] = _order((fact.payload or {})["order"], simulated=simulated)
        elif order_id in orders and fact.kind in (f.ORDER_AMENDED, f.PLAN_CHANGED, f.ORDER_PRIORITIZED):
            orders[order_id] = _changed(orders[order_id], fact.payload or {})
        activity = ACTIVITIES.get(fact.kind)
        if activity is not None and order_id in orders:
            name = names.get(fact.item.partition("@")[0], fact.item) if fact.item else ""
            yield Event(order_id, activity.format(name), fact.at, fact.actor, fact.item, orders[order_id])
        if fact.kind in (f.ORDER_ENDED, f.ORDER_REJECTED):
            orders.pop(order_id, None)


def _order(order: Mapping[str, Any], *, simulated: bool) -> dict[str, Any]:
    lines = order["lines"]
    segment = order.get("accountFacts", {}).get("segment", "")
    return {
        "due": order.get("dueAt") or "",
        "currentDue": order.get("dueAt") or "",
        "channel": order["channel"],
        "priority": order.get("priority", "normal"),
        # A value that was taken out of sight is no text any more.
        "segment": segment if isinstance(segment, str) else "",
        "product": lines[0].get("offering") or lines[0].get("specification") or "",
        "lines": len(lines),
        "simulated": simulated,
        "account": order.get("account") or "",
    }


def _changed(known: dict[str, Any], payload: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of an order after a change; its first promise goes on to count, whenever it was made."""
    if "priority" in payload:
        return {**known, "priority": payload["priority"]}
    if "order" not in payload:
        return known
    found = _order(payload["order"], simulated=known["simulated"])
    return {**found, "due": known["due"] or found["due"]}


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
            row = _row(each) | {
                "timestamp": each.at.isoformat(timespec="milliseconds"),
                "simulated": str(each.order["simulated"]).lower(),
            }
            writer.writerow([row[name] for name in COLUMNS])
    return count


def _row(event: Event) -> dict[str, Any]:
    return {
        **event.order,
        "case": event.order_id,
        "activity": event.activity,
        "timestamp": event.at,
        "resource": event.resource,
        "item": event.item or "",
    }


def write_parquet(events: Iterator[Event], path: Path) -> int:
    """The same columns as a Parquet file, moments as such and what is not there as null; how many events.

    Raises:
        ImportError: pyarrow is not installed.
        OSError: it cannot be written.
    """
    arrow, parquet = (import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
    moment = arrow.timestamp("ms", tz="UTC")
    kinds = dict.fromkeys(("timestamp", "due", "currentDue"), moment)
    kinds |= {"lines": arrow.int32(), "simulated": arrow.bool_()}
    schema = arrow.schema([(name, kinds.get(name, arrow.string())) for name in COLUMNS])
    count = 0
    with parquet.ParquetWriter(path, schema) as writer:
        while columns := _columns(islice(events, _ROWS_TOGETHER)):
            writer.write_batch(arrow.record_batch([columns[name] for name in COLUMNS], schema=schema))
            count += len(columns["case"])
    return count


def _columns(events: Iterable[Event]) -> dict[str, list[Any]]:
    """By name, with moments as such and None for what is not there; nothing without events."""
    rows = [_row(each) for each in events]
    columns = {name: [row[name] for row in rows] for name in COLUMNS} if rows else {}
    for name in ("due", "currentDue") if rows else ():
        columns[name] = [datetime.fromisoformat(text) if text else None for text in columns[name]]
    for name in ("item", "segment", "product") if rows else ():
        columns[name] = [text or None for text in columns[name]]
    return columns


def write_ocel(events: Iterator[Event], path: Path) -> int:
    """OCEL 2.0 as JSON; how many events. They are written as they come, objects afterwards.

    Raises:
        OSError: it cannot be written.
    """
    objects: dict[str, dict[str, Any]] = {}
    known: dict[str, Mapping[str, Any]] = {}
    activities: set[str] = set()
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write('{"events":[')
        for each in events:
            count += 1
            activities.add(each.activity)
            related = _objects(each, objects)
            _note_changes(each, objects[each.order_id], known)
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


def _note_changes(event: Event, order: dict[str, Any], known: dict[str, Mapping[str, Any]]) -> None:
    """An attribute that has become another since the order's last event has a further value, with its moment."""
    before = known.get(event.order_id, event.order)
    known[event.order_id] = event.order
    if before is event.order:
        return
    changed = {name: event.order[name] for name in _ORDER_ATTRIBUTES if event.order[name] != before[name]}
    # OCEL has no way to say that a value is gone.
    order["attributes"] += [_value(name, value, _instant(event.at)) for name, value in changed.items() if value != ""]


def _value(name: str, value: Any, at: str) -> dict[str, Any]:
    return {"name": name, "time": at, "value": value}


def _object(
    object_id: str, kind: str, known: Mapping[str, Any], to: list[tuple[str, str]], at: str
) -> dict[str, Any]:
    return {
        "id": object_id,
        "type": kind,
        "attributes": [_value(name, value, at) for name, value in known.items()],
        "relationships": [{"objectId": other, "qualifier": qualifier} for qualifier, other in to],
    }


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


WRITERS: Final[Mapping[str, Callable[[Iterator[Event], Path], int]]] = {
    ".csv": write_csv,
    ".json": write_ocel,
    PARQUET: write_parquet,
}
"""By the ending of the file."""
