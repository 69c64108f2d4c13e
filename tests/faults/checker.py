"""Says what went wrong in a run, from the database's rows and the stand-ins' log alone.

Written without the project's code, so that a mistake there is seen here: an auditor with read access could do the same.
`tests/faults/evidence.py` runs it as a script on files.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal

Row = Mapping[str, Any]
Edges = Iterable[Sequence[str]]
Category = Literal["lost", "doubled", "order", "other"]
CATEGORIES: Final[tuple[Category, ...]] = ("lost", "doubled", "order", "other")
"""What was acknowledged or begun and is not there or not done; what is there or was done twice; what began too early;
all else.
"""

HEARD = frozenset({400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 429, 503})
"""Answers after which it is certain that a system did not do the work, so that another key may follow."""
BEGINNINGS: Final = ("item.started", "item.opened")
"""What a callout begins with, and a manual task."""


@dataclass
class Findings:
    """What the checker found: `wrong` must be empty."""

    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    totals: Counter[str] = field(default_factory=Counter)
    """How many are wrong in each category."""

    def add(self, category: Category, what: str) -> None:
        """Note something wrong; of one kind the first twenty are enough."""
        kind = what.partition(":")[0]
        self.totals[category] += 1
        self.counts[f"WRONG {kind}"] += 1
        if self.counts[f"WRONG {kind}"] <= 20:
            self.wrong.append(what)

    def table(self) -> str:
        """The counts, one a line."""
        width = max(map(len, self.counts), default=0)
        return "\n".join(f"  {name:<{width}}  {count:>8}" for name, count in sorted(self.counts.items()))


def check(
    acknowledged: Mapping[str, str],
    orders: Sequence[Row],
    facts: Sequence[Row],
    calls: Sequence[Row],
    edges: Edges | Callable[[str], Edges],
) -> Findings:
    """Check one run in which every order was to be completed.

    Args:
        acknowledged: order id by external id, as the client was told.
        orders: rows of `product_order`.
        facts: rows of `fact`.
        calls: lines of the stand-ins' log.
        edges: [item, the item it waits for], by name; the same for every order, or what gives them by external id.
            A manual task, which no log knows, goes by its key.
    """
    found = Findings()
    _orders(found, acknowledged, orders)
    _journal(found, facts)
    facts_of: dict[str, list[Row]] = defaultdict(list)
    for fact in sorted(facts, key=lambda row: row["offset"]):
        facts_of[fact["order_id"]].append(fact)
    calls_of: dict[str, list[Row]] = defaultdict(list)
    names: dict[tuple[str, str], str] = {}
    for call in calls:
        order_id, item, _ = parts_of(call["key"])
        calls_of[order_id].append(call)
        names[order_id, item] = call["item"]
    for order in orders:
        order_id = order["order_id"]
        waits = [tuple(edge) for edge in (edges(order["external_id"]) if callable(edges) else edges)]
        _life(found, order_id, facts_of[order_id])
        _dependencies(found, order_id, facts_of[order_id], calls_of[order_id], names, waits)
        _effects(found, order_id, calls_of[order_id])
    for order_id in calls_of.keys() - {order["order_id"] for order in orders}:
        found.add("other", f"work without an order: {order_id}")
    found.counts["calls"] = len(calls)
    found.counts["calls: repeats of a key"] = sum(call["repeat"] for call in calls)
    found.counts["calls: without an answer"] = sum(call["status"] == 0 for call in calls)
    found.counts["facts"] = len(facts)
    for kind, count in Counter(fact["kind"] for fact in facts).items():
        found.counts[f"facts: {kind}"] = count
    return found


def parts_of(key: str) -> tuple[str, str, int]:
    """(order, item, attempt) of an effect key."""
    order_id, _, rest = key.partition("/")
    item, _, attempt = rest.rpartition("/")
    return order_id, item, int(attempt)


def _orders(found: Findings, acknowledged: Mapping[str, str], orders: Sequence[Row]) -> None:
    """No acknowledged order is lost or doubled, and every one is completed."""
    by_external: dict[str, list[Row]] = defaultdict(list)
    for order in orders:
        by_external[order["external_id"]].append(order)
        found.counts[f"orders {order['state']}"] += 1
        if order["state"] != "completed" or order["ended_at"] is None:
            found.add("lost", f"not completed: {order['order_id']} is {order['state']}")
        if order["active"] or order["timer_at"] is not None:
            found.add("other", f"still listed for recovery: {order['order_id']}")
    for external_id, order_id in acknowledged.items():
        rows = by_external.get(external_id, [])
        if [row["order_id"] for row in rows] != [order_id]:
            category: Category = "doubled" if len(rows) > 1 else "lost"
            found.add(category, f"lost or doubled: {external_id} was acknowledged as {order_id}, stored are {rows}")
    for external_id in by_external.keys() - acknowledged.keys():
        found.add("other", f"never acknowledged: {external_id}")
    found.counts["acknowledged"] = len(acknowledged)


def _journal(found: Findings, facts: Sequence[Row]) -> None:
    """Offsets of a shard run without gap or double."""
    by_shard: dict[int, list[int]] = defaultdict(list)
    for fact in facts:
        by_shard[fact["shard"]].append(fact["offset"])
    for shard, offsets in by_shard.items():
        if sorted(offsets) != list(range(1, len(offsets) + 1)):
            found.add("other", f"gap or double in the journal: shard {shard}")


def _life(found: Findings, order_id: str, facts: Sequence[Row]) -> None:
    """Accepted once, ended once and last; each item completed once."""
    kinds = Counter(fact["kind"] for fact in facts)
    for kind in ("order.accepted", "plan.composed", "order.ended"):
        if kinds[kind] != 1:
            found.add("lost" if kinds[kind] == 0 else "doubled", f"{kind} {kinds[kind]} times: {order_id}")
    if kinds["item.fatallyFailed"]:
        found.add("other", f"fallout: {order_id}")
    completed = Counter(fact["item"] for fact in facts if fact["kind"] == "item.completed")
    started = {fact["item"] for fact in facts if fact["kind"] in BEGINNINGS}
    if set(completed) != started or set(completed.values()) != {1}:
        category: Category = "lost" if started - set(completed) else "doubled"
        found.add(category, f"items not completed once: {order_id} {dict(completed)}")
    found.counts["items completed"] += len(completed)


def _dependencies(
    found: Findings,
    order_id: str,
    facts: Sequence[Row],
    calls: Sequence[Row],
    names: Mapping[tuple[str, str], str],
    edges: Sequence[tuple[str, ...]],
) -> None:
    """No item starts before those it waits for are done: by the facts, and by the systems' own clock."""
    started: dict[str, int] = {}
    completed: dict[str, int] = {}
    manual: set[str] = set()
    for fact in facts:
        if fact["item"] is None:
            continue
        name = names.get((order_id, fact["item"]), fact["item"])
        if fact["kind"] in BEGINNINGS:
            started.setdefault(name, fact["offset"])
            if fact["kind"] == "item.opened":
                manual.add(name)
        elif fact["kind"] == "item.completed":
            completed[name] = fact["offset"]
    began: dict[str, str] = {}
    done: dict[str, str] = {}
    for call in sorted(calls, key=lambda each: each["startedAt"]):
        began.setdefault(call["item"], call["startedAt"])
        if 200 <= call["status"] < 300:
            done[call["item"]] = min(done.get(call["item"], call["endedAt"]), call["endedAt"])
    for item, other in edges:
        if not (item in started and other in completed and completed[other] < started[item]):
            found.add("order", f"started too early by the facts: {order_id} {item} before {other}")
        is_logged = item not in manual and other not in manual
        if is_logged and not (item in began and other in done and done[other] <= began[item]):
            found.add("order", f"started too early by the log: {order_id} {item} before {other}")
        found.counts["dependencies kept"] += 1


def _effects(found: Findings, order_id: str, calls: Sequence[Row]) -> None:
    """Each key is performed once, or repeated with the same payload; a second one follows a heard failure."""
    by_key: dict[str, list[Row]] = defaultdict(list)
    for call in calls:
        by_key[call["key"]].append(call)
    keys_of: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for key, sent in by_key.items():
        _, item, attempt = parts_of(key)
        keys_of[item].append((attempt, key))
        if any(call["payload"] != sent[0]["payload"] for call in sent):
            found.add("doubled", f"one key, two payloads: {key}")
        performed = sum(200 <= call["status"] < 300 and not call["repeat"] for call in sent)
        found.counts["effects performed"] += performed
        if performed > 1:
            found.add("doubled", f"performed {performed} times: {key}")
    for item, keys in keys_of.items():
        keys.sort()
        for (_, before), (_, after) in pairwise(keys):
            found.counts["second keys after a heard failure"] += 1
            if not any(call["status"] in HEARD for call in by_key[before]):
                found.add("doubled", f"two keys without a heard failure between: {before} {after}")
        effects = sum(
            200 <= call["status"] < 300 and not call["repeat"] for _, key in keys for call in by_key[key]
        )
        if effects != 1:
            found.add("lost" if effects == 0 else "doubled", f"done {effects} times: {order_id} {item}")
