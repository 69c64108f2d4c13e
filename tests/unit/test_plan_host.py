"""What a plan host tells of itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest

import actors.plan_host
from actors.dispatcher import Dispatcher
from actors.host_loop import HostLoop
from actors.plan_host import PlanHost
from gateway.metrics import Metrics


def host() -> PlanHost:
    """A host that has not started."""
    made = object.__new__(PlanHost)
    nothing: Any = None
    made._incarnation_id = "a"
    made._dedicated_shard = None
    made._dispatcher = Dispatcher(lambda: None)
    made._loop = HostLoop(
        nothing,
        _Vault(),
        made._dispatcher,
        nothing,
        clock=lambda: datetime(2030, 1, 1, tzinfo=UTC),
        entropy=lambda: 0,
    )
    return made


class _Vault:
    """Nothing is sealed here."""

    def __getattr__(self, _name: str) -> Any:
        return None


async def test_orders_that_cannot_be_read_are_counted_listed_and_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors.plan_host, "UNREADABLE_SHOWN_MAX", 2)
    told = host()
    cast("HostLoop", told._loop)._loader.unreadable = {f"o1-{number}": "ValueError" for number in range(3)}

    stats = await told.stats()

    assert stats["unreadable"] == 3
    assert stats["unreadableOrders"] == {"o1-0": "ValueError", "o1-1": "ValueError"}
    text = Metrics().render({}, {"host-a": stats}).decode()
    assert 'orderplan_actor{actor="host-a",name="unreadable"} 3.0' in text
