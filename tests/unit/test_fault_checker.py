"""The checker of the fault tests sees what it is there for."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.checker import check

EDGES = [["B", "A"]]
Run = dict[str, Any]


def good_run() -> Run:
    """One order of two items, B after A; A's system refused once, and was asked again under a new key."""
    kinds = [
        ("order.accepted", None),
        ("plan.composed", None),
        ("item.started", "a"),
        ("item.failed", "a"),
        ("item.started", "a"),
        ("item.completed", "a"),
        ("item.started", "b"),
        ("item.completed", "b"),
        ("order.ended", None),
    ]
    facts = [
        {"shard": 0, "offset": offset, "order_id": "o0-1", "item": item, "kind": kind}
        for offset, (kind, item) in enumerate(kinds, 1)
    ]
    order = {"order_id": "o0-1", "external_id": "x", "state": "completed", "ended_at": "then", "active": False}
    calls = [call("A", "a", 1, 1, status=503), call("A", "a", 2, 2), call("A", "a", 2, 3, repeat=True)]
    calls.append(call("B", "b", 1, 4))
    return {
        "acknowledged": {"x": "o0-1"},
        "orders": [order | {"timer_at": None}],
        "facts": facts,
        "calls": calls,
        "edges": EDGES,
    }


def call(name: str, item: str, attempt: int, at: int, **changes: Any) -> dict[str, Any]:
    """A line of the systems' log, one minute long."""
    line = {"key": f"o0-1/{item}/{attempt}", "item": name, "startedAt": f"10:{at:02}:00", "endedAt": f"10:{at:02}:59"}
    return line | {"status": 200, "repeat": False, "payload": {"item": name}} | changes


def test_a_good_run_has_nothing_wrong():
    assert check(**good_run()).wrong == []


FAULTS: dict[str, tuple[Callable[[Run], Any], str]] = {
    "lost": (lambda run: run["orders"].clear(), "lost or doubled"),
    "doubled": (lambda run: run["orders"].append(run["orders"][0] | {"order_id": "o0-2"}), "lost or doubled"),
    "unknown": (lambda run: run["acknowledged"].clear(), "never acknowledged"),
    "not ended": (lambda run: run["orders"][0].update(state="held"), "not completed"),
    "gap": (lambda run: run["facts"][3].update(offset=99), "gap or double"),
    "written twice": (lambda run: run["facts"].append(dict(run["facts"][5])), "gap or double"),
    "completed twice": (lambda run: run["facts"][3].update(kind="item.completed"), "items not completed once"),
    "early by the facts": (lambda run: run["facts"][2].update(item="b"), "started too early by the facts"),
    "early by the log": (lambda run: run["calls"][3].update(startedAt="10:00:00"), "started too early by the log"),
    "performed twice": (lambda run: run["calls"][2].update(repeat=False), "performed 2 times"),
    "other payload": (lambda run: run["calls"][2].update(payload={}), "one key, two payloads"),
    "two keys": (lambda run: run["calls"][0].update(status=0), "two keys without a heard failure"),
    "done twice": (lambda run: run["calls"].append(call("B", "b", 2, 5)), "done 2 times"),
    "never done": (lambda run: run["calls"].pop(), "started too early by the log"),
    "nobody's": (lambda run: run["calls"].append(call("A", "a", 1, 9, key="o0-9/a/1")), "work without an order"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen(fault):
    run = good_run()
    spoil, expected = FAULTS[fault]
    spoil(run)

    assert any(expected in wrong for wrong in check(**run).wrong)
