"""What a server's settings promise: which of them can lose acknowledged orders, and how that is shown."""

from typing import Any

import asyncpg
import pytest
from prometheus_client import generate_latest

from gateway.durability import DurabilityWatch
from gateway.metrics import Metrics
from persistence.durability import Durability, Weakness, weaknesses

ON = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "synchronous_standby_names": ""}


def codes(found: list[Weakness]) -> list[tuple[str, str]]:
    return [(each.code, each.setting) for each in found]


def test_a_server_alone_with_everything_on_is_not_weak():
    assert weaknesses(Durability(ON)) == []


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit"])
def test_what_a_crash_can_lose_is_named_with_its_setting(name):
    [found] = weaknesses(Durability(ON | {name: "off"}))

    assert (found.code, found.setting) == ("crashLoses", name)
    assert name in found.reason
    assert name in found.mend


@pytest.mark.parametrize(
    ("settings", "standbys", "servers", "expected"),
    [
        ({}, ("async",), 1, [("failoverLoses", "synchronous_standby_names")]),
        ({}, (None,), 1, [("failoverLoses", "synchronous_standby_names")]),
        ({}, (), 2, [("failoverLoses", "synchronous_standby_names")]),
        ({"synchronous_standby_names": "b"}, ("sync",), 2, []),
        ({"synchronous_standby_names": "ANY 1 (b, c)"}, ("quorum", "quorum", "async"), 3, []),
        ({"synchronous_standby_names": "b", "synchronous_commit": "remote_apply"}, ("sync",), 2, []),
        ({"synchronous_standby_names": "b"}, (None,), 2, []),
        ({"synchronous_standby_names": "b"}, (), 2, [("standbyMissing", "synchronous_standby_names")]),
        ({"synchronous_standby_names": "b"}, ("async",), 2, [("standbyMissing", "synchronous_standby_names")]),
        (
            {"synchronous_standby_names": "b", "synchronous_commit": "local"},
            ("sync",),
            2,
            [("failoverLoses", "synchronous_commit")],
        ),
        (
            {"synchronous_standby_names": "b", "synchronous_commit": "remote_write"},
            ("sync",),
            2,
            [("failoverLoses", "synchronous_commit")],
        ),
    ],
)
def test_a_failover_loses_nothing_only_if_every_commit_waits_for_the_standby(settings, standbys, servers, expected):
    assert codes(weaknesses(Durability(ON | settings, standbys, servers))) == expected


def test_a_server_alone_is_weak_for_whoever_needs_a_standby():
    found = weaknesses(Durability(ON), needs_standby=True)

    assert codes(found) == [("failoverLoses", "synchronous_standby_names")]


async def test_the_watch_shows_and_counts_what_is_weak_until_it_is_mended():
    weak = weaknesses(Durability(ON | {"fsync": "off"}))
    answers: dict[str, list[Any]] = {
        "orders": [weak, ConnectionRefusedError(), []],
        "keys": [[], asyncpg.AdminShutdownError(), []],
    }

    async def look_at(name: str) -> list[Weakness]:
        answer = answers[name].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    metrics = Metrics()
    watch = DurabilityWatch({"orders": "orders", "keys": "keys"}, metrics, look_at=look_at)
    sample = 'orderplan_durability_weakness{code="crashLoses",database="orders",setting="fsync"} 1.0'

    for _ in range(2):  # the second time both are away: what was seen stands
        await watch.check()
        [shown] = watch.shown()
        assert (shown["database"], shown["code"], shown["setting"]) == ("orders", "crashLoses", "fsync")
        assert sample in generate_latest(metrics.registry).decode()
    await watch.check()
    assert watch.shown() == []
    assert "orderplan_durability_weakness{" not in generate_latest(metrics.registry).decode()
