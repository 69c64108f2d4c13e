"""What a host keeps in memory stays bounded, and what is at work stays."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

import actors.memory as memory_module
from actors.memory import Memory
from domain.inventory import Account, OpenOrder


class Stored:
    """A journal in which every account is known and has nothing."""

    async def account_state(self, _tenant: str, _accounts: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {}


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    monkeypatch.setattr(memory_module, "QUIET_MAX", 3)
    return Memory(cast("Any", Stored()), lambda _shard: True, lambda: 0.0)


def opened(memory: Memory, account: str) -> None:
    memory.accounts["main", account].open_orders["o1"] = OpenOrder("o1", frozenset(), {})


async def test_quiet_accounts_go_in_the_order_in_which_they_were_used(memory: Memory) -> None:
    await memory.load_accounts("main", ["a", "b", "c"])
    memory.trim([], [("main", "a")])
    await memory.load_accounts("main", ["d"])
    memory.trim([], [])
    assert [account for _, account in memory.accounts] == ["a", "c", "d"]


async def test_an_account_with_an_open_order_stays_until_the_order_has_ended(memory: Memory) -> None:
    await memory.load_accounts("main", ["a"])
    opened(memory, "a")
    memory.trim([], [("main", "a")])
    await memory.load_accounts("main", ["b", "c", "d", "e"])
    memory.trim([], [])
    assert [account for _, account in memory.accounts] == ["a", "c", "d", "e"]
    memory.accounts["main", "a"].open_orders.clear()
    memory.trim([], [("main", "a")])
    await memory.load_accounts("main", ["f", "g", "h"])
    memory.trim([], [])
    assert ("main", "a") not in memory.accounts


async def test_an_account_counts_with_its_assets(memory: Memory) -> None:
    await memory.load_accounts("main", ["large", "b"])
    memory.accounts["main", "large"].assets.update(dict.fromkeys("123", cast("Any", None)))
    memory.trim([], [("main", "b"), ("main", "large")])
    assert [account for _, account in memory.accounts] == []


async def test_what_is_forgotten_does_not_count_any_more(memory: Memory) -> None:
    await memory.load_accounts("main", ["a", "b", "c"])
    memory.forget([], [("main", "a")])
    memory.forget([], [("main", "a")])
    memory.forget_accounts()
    await memory.load_accounts("main", ["d", "e", "f"])
    memory.trim([], [])
    assert [account for _, account in memory.accounts] == ["d", "e", "f"]


def test_an_account_of_a_refused_order_does_not_stay_for_ever(memory: Memory) -> None:
    for number in range(5):
        memory.accounts["main", f"order o{number}"] = Account(None)
        memory.trim([], [("main", f"order o{number}")])
    assert len(memory.accounts) == 3


# Plans.


class Plans:
    """A memory with plans of some accounts, at a time that the test says."""

    def __init__(self) -> None:
        self.now = 0.0
        self.memory = Memory(cast("Any", Stored()), lambda _shard: True, lambda: self.now)

    def add(self, order_id: str, account: str = "a", items: int = 1, **members: Any) -> None:
        order = SimpleNamespace(tenant="main", account=account)
        known = {"order_id": order_id, "order": order, "items": [None] * items, "ended_at": None, "calling": 0}
        self.memory.plans[order_id] = cast("Any", SimpleNamespace(**known | {"bookings": {}} | members))
        self.memory.accounts.setdefault(("main", account), Account(account)).open_orders[order_id] = OpenOrder(
            order_id, frozenset(), {}
        )

    def touch(self, *order_ids: str) -> list[str]:
        return self.memory.trim(order_ids, [])


@pytest.fixture
def plans() -> Plans:
    return Plans()


def test_a_plan_that_nothing_comes_for_leaves_memory_and_its_account_with_it(plans: Plans) -> None:
    plans.add("o1")
    plans.touch("o1")
    plans.now += memory_module.IDLE_S + 1
    assert plans.touch() == ["o1"]
    assert not plans.memory.plans
    assert not plans.memory.accounts


def test_a_plan_that_is_used_stays(plans: Plans) -> None:
    plans.add("o1")
    plans.add("o2", "b")
    plans.touch("o1", "o2")
    plans.now += memory_module.IDLE_S - 1
    plans.touch("o2")
    plans.now += 2
    assert plans.touch() == ["o1"]
    assert list(plans.memory.plans) == ["o2"]
    assert list(plans.memory.accounts) == [("main", "b")]


@pytest.mark.parametrize("work", [{"calling": 1}, {"bookings": {1: "asked for"}}])
def test_a_plan_that_calls_somebody_stays_however_long_it_takes(plans: Plans, work: dict[str, Any]) -> None:
    plans.add("o1", **work)
    plans.add("o2", "b")
    plans.touch("o1", "o2")
    plans.now += memory_module.IDLE_S + 1
    assert plans.touch() == ["o2"]
    plans.memory.plans["o1"].calling = 0
    plans.memory.plans["o1"].bookings.clear()
    plans.now += memory_module.IDLE_S + 1
    assert plans.touch() == ["o1"]


def test_an_account_stays_as_long_as_a_plan_of_it_is_here(plans: Plans) -> None:
    plans.add("o1")
    plans.add("o2", calling=1)
    plans.touch("o1", "o2")
    plans.now += memory_module.IDLE_S + 1
    assert plans.touch() == ["o1"]
    assert list(plans.memory.accounts) == [("main", "a")]


def test_plans_of_an_account_with_many_open_orders_stay_while_there_is_room(
    plans: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_module, "MANY_OPEN", 2)
    for name in ("o1", "o2", "o3"):
        plans.add(name)
    plans.touch("o1", "o2", "o3")
    plans.now += memory_module.IDLE_S + 1
    assert plans.touch() == []
    monkeypatch.setattr(memory_module, "PLANS_MAX", 1)
    assert plans.touch() == ["o1", "o2"]


def test_beyond_the_bounds_what_was_used_longest_ago_goes_first(
    plans: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_module, "PLANS_MAX", 2)
    for name in ("o1", "o2", "o3"):
        plans.add(name, name)
        plans.touch(name)
        plans.touch("o1") if name == "o2" else None
    assert list(plans.memory.plans) == ["o1", "o3"]


def test_large_plans_count_by_their_items(plans: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "ITEMS_MAX", 10)
    plans.add("o1", items=6)
    plans.touch("o1")
    plans.memory.plans["o1"].items.append(cast("Any", None))
    plans.add("o2", "b", items=3)
    assert plans.touch("o1", "o2") == []
    plans.add("o3", "c", items=1)
    assert plans.touch("o3") == ["o1"]
    plans.add("o4", "d", items=50)
    assert plans.touch("o4") == ["o2", "o3"]


def test_a_forgotten_plan_does_not_count_any_more(plans: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "ITEMS_MAX", 10)
    for _ in range(3):
        plans.add("o1", items=8)
        plans.touch("o1")
        plans.memory.forget(["o1"], [])
    plans.add("o2", items=2)
    plans.add("o3", items=2)
    assert plans.touch("o2", "o3") == []


def test_a_tick_looks_at_so_many_plans_and_no_more(plans: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "LOOKS_MAX", 2)
    for number in range(5):
        plans.add(f"o{number}", f"a{number}")
    plans.touch(*plans.memory.plans)
    plans.now += memory_module.IDLE_S + 1
    assert [len(plans.touch()) for _ in range(4)] == [2, 2, 1, 0]
