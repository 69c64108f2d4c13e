"""What a host keeps in memory stays bounded, and what is at work stays."""

from __future__ import annotations

import time
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
    return Memory(cast("Any", Stored()), lambda _shard: True)


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


def test_very_many_accounts_that_go_at_once_cost_no_more_each_than_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times as many cost ten times as much, not a hundred times; CPU time, so that others do not count."""

    def cost_s(count: int) -> float:
        memory = Memory(cast("Any", Stored()), lambda _shard: True)
        keys = [("main", str(number)) for number in range(count)]
        memory.accounts.update((key, Account(None)) for key in keys)
        monkeypatch.setattr(memory_module, "QUIET_MAX", count)
        memory.trim([], keys)
        monkeypatch.setattr(memory_module, "QUIET_MAX", 0)
        began = time.process_time()
        memory.trim([], [])
        assert memory.accounts == {}
        return time.process_time() - began

    assert cost_s(100_000) < 40 * cost_s(10_000)
