"""The numbers that managers look at, worked out from facts alone: what the queries have to say.

Shares nothing with them: facts are gone through one by one, and every number is a loop in the words of docs/NUMBERS.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from persistence.readstore import StoredFact


@dataclass
class Seen:
    """One order as its facts tell it."""

    created_at: datetime
    offers: set[str]
    due_at: datetime | None
    state: str = "open"
    ended_at: datetime | None = None
    is_right: bool = True
    tasks: dict[str, list[datetime | None]] = field(default_factory=dict)
    """Item key of each manual task -> when it was opened last, when it was closed after that."""
    failed: set[str] = field(default_factory=set)
    """Items that have failed for good and nothing was done about yet."""


def percentile(values: Iterable[float], share: float) -> float | None:
    """Between the two neighbours, in proportion; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    place = (len(ordered) - 1) * share
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def numbers_from(
    facts: Sequence[StoredFact], definitions: Mapping[str, Mapping[str, Any]], since: datetime, now: datetime,
    day: tuple[datetime, datetime],
) -> dict[str, list[dict[str, Any]]]:  # fmt: skip
    """Tables as in the API; of queues without what no fact says (claims, members).

    Args:
        facts: all there are, those of an order in their order.
        definitions: item definitions of the release, by `plan/item`.
        since: the beginning of the window.
        now: its end.
        day: from when to when today is.
    """
    orders: dict[str, Seen] = {}
    happened: dict[tuple[str, str], int] = defaultdict(int)
    hours: dict[datetime, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for fact in facts:
        _follow(orders, fact, definitions)
        if fact.at < since:
            continue
        if fact.kind in ("order.accepted", "order.ended", "item.fatallyFailed"):
            hours[fact.at.replace(minute=0, second=0, microsecond=0)][fact.kind] += 1
        if fact.kind in ("item.completed", "item.failed", "item.fatallyFailed") and fact.item is not None:
            happened[fact.item.split("@")[0], fact.kind] += 1
    by_hour: list[dict[str, Any]] = [
        {
            "hour": hour,
            "accepted": hours[hour]["order.accepted"],
            "ended": hours[hour]["order.ended"],
            "failedForGood": hours[hour]["item.fatallyFailed"],
        }
        for hour in sorted(hours)
    ]
    for order in orders.values():
        for item in order.failed:
            happened[item.split("@")[0], "now"] += 1
    items = [_failing(ref, [ref], happened, definitions) for ref in sorted({ref for ref, _ in happened})]
    called = sorted({each["system"] for each in items if each["system"]})
    systems = [
        _failing(None, [each["item"] for each in items if each["system"] == system], happened, definitions)
        | {"system": system}
        for system in called
    ]
    ended = [each for each in orders.values() if each.ended_at is not None and each.ended_at >= since]
    still = [each for each in orders.values() if each.ended_at is None]
    due = [each.due_at for each in still if each.due_at is not None]
    summary = {
        "open": len(still),
        "dueToday": sum(day[0] <= each < day[1] for each in due),
        "overdue": sum(each < now for each in due),
        "accepted": sum(each["accepted"] for each in by_hour),
        "ended": sum(each["ended"] for each in by_hour),
        "failedForGood": sum(each["failedForGood"] for each in by_hour),
        "lookedAt": len(ended),
    } | _times(ended)
    offers = [
        {"offer": offer, "ended": len(mine := [each for each in ended if offer in each.offers])} | _times(mine)
        for offer in sorted({offer for each in ended for offer in each.offers})
    ]
    return {
        "orders": [summary],
        "offers": offers,
        "items": items,
        "systems": [{name: value for name, value in each.items() if name not in ("item", "name")} for each in systems],
        "queues": _queues(orders.values(), definitions, since, now),
        "hours": by_hour,
    }


def _follow(orders: dict[str, Seen], fact: StoredFact, definitions: Mapping[str, Mapping[str, Any]]) -> None:
    payload = fact.payload
    if fact.kind in ("order.accepted", "order.rejected"):
        lines = payload["order"]["lines"]
        offers = {each.get("offering") or each.get("specification") for each in lines} - {None}
        orders[fact.order_id] = Seen(fact.at, offers, _due(payload["order"]))
    order = orders.get(fact.order_id)
    if order is None:
        return
    if fact.kind == "plan.changed" and "order" in payload:
        order.due_at = _due(payload["order"])
    if fact.kind in ("order.ended", "order.rejected"):
        order.state, order.ended_at = payload.get("state", "rejected"), fact.at
    if fact.kind in ("item.fatallyFailed", "item.retried", "item.edited"):
        order.is_right = False
    if fact.kind == "item.skipped" and payload["reason"] == "operator":
        order.is_right = False
    if fact.kind == "item.opened" and fact.item is not None and "queue" in definitions[fact.item.split("@")[0]]:
        order.tasks[fact.item] = [fact.at, None]
    if fact.kind == "item.fatallyFailed" and fact.item is not None:
        order.failed.add(fact.item)
    if fact.kind in ("item.retried", "item.completed", "item.skipped") and fact.item is not None:
        order.failed.discard(fact.item)
    if fact.kind == "plan.changed":
        order.failed -= {*payload["cancelled"], *payload["amended"]}
    over = {fact.item} if fact.kind in ("item.completed", "item.skipped") else set()
    if fact.kind == "plan.changed":
        over = set(payload["cancelled"])
    for item in order.tasks.keys() & over:
        order.tasks[item][1] = order.tasks[item][1] or fact.at


def _due(order: Mapping[str, Any]) -> datetime | None:
    return datetime.fromisoformat(order["dueAt"]) if order.get("dueAt") else None


def _times(ended: Sequence[Seen]) -> dict[str, Any]:
    completed = [each for each in ended if each.state == "completed"]
    right = sum(each.is_right for each in completed)
    took = [(each.ended_at - each.created_at).total_seconds() for each in completed if each.ended_at is not None]
    return {
        "completed": len(completed),
        "firstTimeRight": right,
        "firstTimeRightShare": right / len(completed) if completed else None,
        "cycleP50S": percentile(took, 0.5),
        "cycleP90S": percentile(took, 0.9),
    }


def _failing(
    name: str | None, refs: Sequence[str], happened: Mapping[tuple[str, str], int],
    definitions: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    """How the items of these definitions came out."""
    completed, attempts, failed, now = (
        sum(happened.get((ref, kind), 0) for ref in refs)
        for kind in ("item.completed", "item.failed", "item.fatallyFailed", "now")
    )
    definition = definitions.get(name or "", {})
    return {
        "item": name,
        "name": definition.get("name") or definition.get("code"),
        "system": definition.get("system"),
        "completed": completed,
        "failedForGood": failed,
        "failedAttempts": attempts,
        "falloutRate": failed / (completed + failed) if completed + failed else None,
        "failedNow": now,
    }


def _queues(
    orders: Iterable[Seen], definitions: Mapping[str, Mapping[str, Any]], since: datetime, now: datetime
) -> list[dict[str, Any]]:
    tasks: dict[str, list[tuple[datetime, datetime | None, datetime | None]]] = defaultdict(list)
    for order in orders:
        for item, (opened_at, closed_at) in order.tasks.items():
            assert opened_at is not None
            definition = definitions[item.split("@")[0]]
            due_at = opened_at + timedelta(seconds=definition["durationS"]) if "durationS" in definition else None
            tasks[definition["queue"]].append((opened_at, closed_at, due_at))
    rows = []
    for queue, mine in tasks.items():
        waiting = [(opened_at, due_at) for opened_at, closed_at, due_at in mine if closed_at is None]
        closed = [
            (closed_at - opened_at).total_seconds()
            for opened_at, closed_at, _ in mine
            if closed_at is not None and closed_at >= since
        ]
        if not waiting and not closed:
            continue
        opened = sum(opened_at >= since for opened_at, _, _ in mine)
        ages = [(now - opened_at) / timedelta(hours=1) for opened_at, _ in waiting]
        per_hour = len(closed) / ((now - since) / timedelta(hours=1))
        row: dict[str, Any] = {
            "queue": queue,
            "open": len(waiting),
            "overdue": sum(due_at is not None and due_at < now for _, due_at in waiting),
            "oldestAt": min((opened_at for opened_at, _ in waiting), default=None),
            "upTo1H": sum(age < 1 for age in ages),
            "upTo4H": sum(1 <= age < 4 for age in ages),
            "upTo1D": sum(4 <= age < 24 for age in ages),
            "upTo3D": sum(24 <= age < 72 for age in ages),
            "older": sum(age >= 72 for age in ages),
            "opened": opened,
            "closed": len(closed),
            "waitP50S": percentile(closed, 0.5),
            "waitP90S": percentile(closed, 0.9),
            "closedPerHour": per_hour,
            "isGrowing": opened > len(closed),
        }
        row["hoursToClear"] = 0.0 if not waiting else len(waiting) / per_hour if closed else None
        rows.append(row)
    return rows
