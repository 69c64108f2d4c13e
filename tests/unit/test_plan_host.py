"""What a plan host tells of itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

import actors.host_runtime
from actors.host_runtime import HostRuntime
from gateway.metrics import Metrics


class _Vault:
    """Nothing is sealed here."""

    def __getattr__(self, _name: str) -> Any:
        return None


def host() -> HostRuntime:
    """A host that has not started."""
    nothing: Any = None
    return HostRuntime(
        nothing,
        _Vault(),
        nothing,
        lambda: None,
        clock=lambda: datetime(2030, 1, 1, tzinfo=UTC),
        entropy=lambda: 0,
        is_unavailable=lambda _error: False,
        die=lambda _code: None,
    )


async def test_orders_that_cannot_be_read_are_counted_listed_and_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors.host_runtime, "UNREADABLE_SHOWN_MAX", 2)
    told = host()
    told.loop._loader.unreadable = {f"o1-{number}": "ValueError" for number in range(3)}

    stats = told.stats()

    assert stats["unreadable"] == 3
    assert stats["unreadableOrders"] == {"o1-0": "ValueError", "o1-1": "ValueError"}
    text = Metrics().render({}, {"host-a": stats}).decode()
    assert 'orderplan_actor{actor="host-a",name="unreadable"} 3.0' in text


def test_plans_that_were_made_to_go_on_are_counted_over_all_hosts_and_their_restarts() -> None:
    metrics = Metrics()
    metrics.render({}, {"host-a": {"plansRedriven": 2, "plansStuck": 1}, "host-b": {"plansRedriven": 1}})

    later = {"host-b": {"plansRedriven": 2}, "host-c": {"plansRedriven": 1, "plansStuck": 4}}
    text = metrics.render({}, later).decode()

    assert "orderplan_plans_redriven_total 5.0" in text
    assert "orderplan_plans_stuck 4.0" in text
