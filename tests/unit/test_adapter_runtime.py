"""The adapter actor without Ray: calls at systems that are held, that fail, that come back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actors.adapter import AdapterRuntime
from actors.envelopes import ToPlan
from actors.reports import CODE_LENGTH_MAX, held_report
from adapters.interface import Outcome
from domain.holds import EVERYTHING, HeldBack, Hold, HoldCause
from domain.messages import Report
from domain.turn import Call
from persistence.holds import HoldRow
from tests.support.fake_adapter import FakeAdapter
from tests.support.until import until

PAUSE_S = 0.05
DOWN = Outcome.retryable("it is down", "503")
SECRET = "4711-0815"


class Hosts:
    """Takes results; answers when the test says so, else at once."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, Report]] = []
        self.unanswered: list[Callable[[Any], None]] | None = None

    def post(self, lane: str, shard: int, envelope: ToPlan, answered: Callable[[Any], None]) -> None:
        assert isinstance(envelope.message, Report)
        self.reports.append((envelope.order_id, envelope.message))
        if self.unanswered is None:
            answered({})
        else:
            self.unanswered.append(answered)

    def kinds(self, system: str | None = None) -> list[str]:
        return [report.kind for order_id, report in self.reports if system is None or order_id.endswith(system)]


class Rows:
    """Holds in memory."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, HoldCause], HoldRow] = {}

    async def list_holds(self) -> list[HoldRow]:
        return list(self.rows.values())

    async def note_breaker(
        self, tenant: str, code: str, *, is_held: bool, reason: str, probe_at: datetime, now: datetime
    ) -> None:
        hold = Hold(code, HoldCause.BREAKER, is_held, reason)
        self.rows[code, HoldCause.BREAKER] = HoldRow(tenant, hold, "system", now, probe_at)

    async def drop_breaker(self, tenant: str, code: str, now: datetime) -> None:
        self.rows.pop((code, HoldCause.BREAKER), None)

    def hold(self, code: str, cause: HoldCause = HoldCause.OFFLINE) -> None:
        hold = Hold(code, cause, reason="maintenance")
        self.rows[code, cause] = HoldRow("main", hold, "olga", datetime.now(UTC), None)

    def breaker(self, code: str) -> bool | None:
        """Whether a breaker holds its system; None: it is closed."""
        row = self.rows.get((code, HoldCause.BREAKER))
        return row.hold.is_held if row is not None else None


class Vault:
    """Opens everything to one value."""

    async def open_all(self, tenant: str, order_id: str, document: Any) -> Any:
        return {"pin": SECRET}


class World:
    """Two systems, billing and network, and what happens at them."""

    def __init__(self, **limits: Any) -> None:
        self.hosts, self.holds = Hosts(), Rows()
        self.adapters = {"billing": FakeAdapter(), "network": FakeAdapter()}
        self.version = "1"
        self.limits = {"concurrency": 10, "breaker_failures": 3, "breaker_pause_s": PAUSE_S, "drain_per_s": 1000.0}
        self.limits |= limits
        self.calls = 0
        self.runtime = self.life()

    def life(self) -> AdapterRuntime:
        vault: Any = Vault()
        hosts: Any = self.hosts
        return AdapterRuntime(
            self._systems,
            vault,
            hosts,
            callback_base="http://localhost/",
            secret=b"secret",
            boot_id="boot",
            build=lambda adapter, _config: self.adapters[adapter],
            holds=self.holds,
        )

    async def _systems(self) -> list[dict[str, Any]]:
        return [
            {"tenant": "main", "code": code, "adapter": code, "config": {}, "updatedAt": self.version} | self.limits
            for code in self.adapters
        ]

    def perform(self, system: str, count: int = 1, timeout_s: float = 30.0) -> Sequence[Call]:
        calls = []
        for _ in range(count):
            self.calls += 1
            calls.append(call_of(self.calls, system, timeout_s))
        self.runtime.perform(calls)
        return calls


def call_of(number: int, system: str, timeout_s: float = 30.0) -> Call:
    deadline_at = datetime.now(UTC) + timedelta(seconds=timeout_s)
    return Call("main", f"o0-{number}-{system}", "p/call@1", 1, system, "do", "Call", deadline_at, {})


@pytest.fixture
async def world():
    made = World()
    await made.runtime.refresh()
    return made


async def heard(world: World, count: int) -> list[Report]:
    await until(lambda: len(world.hosts.reports) >= count)
    return [report for _, report in world.hosts.reports]


async def test_an_outage_of_one_system_neither_delays_nor_fails_calls_to_another(world):
    world.adapters["billing"].default = DOWN
    world.perform("billing", 3)
    await until(lambda: world.holds.breaker("billing") is not None)
    world.perform("billing", 50)
    world.perform("network", 50)
    await until(lambda: world.hosts.kinds("network") == ["completed"] * 50)
    await until(lambda: world.holds.breaker("billing") is True)

    assert world.hosts.kinds("billing").count("retryable") == 3
    assert set(world.hosts.kinds("billing")[3:]) <= {"held"}
    assert len(world.adapters["billing"].calls) <= 3 + 2


async def test_calls_of_an_outage_come_back_unmade_and_say_why(world):
    world.adapters["billing"].default = DOWN
    world.perform("billing", 3)
    await until(lambda: world.holds.breaker("billing") is not None)
    world.perform("billing", 5)
    reports = (await heard(world, 8))[3:]

    assert {(each.kind, each.error_code, each.error, each.unheard) for each in reports} == {
        ("held", "breaker", "the last call failed with 503", True)
    }


async def test_a_code_of_an_adapters_own_says_nothing_of_its_order_and_can_be_stored_with_any_other(world):
    world.adapters["billing"].default = Outcome.retryable(f"{SECRET}?", f"E\0{SECRET}" + "x" * 1000)
    sealed = {"pin": {"$sealed": "1/pin"}}
    calls = [replace(call_of(number, "billing"), payload=sealed) for number in range(8)]
    world.runtime.perform(calls[:3])
    await until(lambda: world.holds.breaker("billing") is not None)
    world.runtime.perform(calls[3:])
    failed, innocent = (await heard(world, 8))[2:4]
    row = world.holds.rows["billing", HoldCause.BREAKER]

    assert failed.error_code == "E\N{REPLACEMENT CHARACTER}********" + "x" * (CODE_LENGTH_MAX - 10)
    assert row.hold.reason == innocent.error == f"the last call failed with {failed.error_code}"
    assert innocent.kind == "held"


def test_a_reason_of_a_hold_is_made_storable():
    held = held_report(call_of(1, "billing"), HeldBack(HoldCause.BREAKER, "it failed with E\0"))

    assert held.error == "it failed with E\N{REPLACEMENT CHARACTER}"


async def test_a_try_that_works_closes_the_breaker_and_strikes_its_row(world):
    world.adapters["billing"].script(DOWN, DOWN, DOWN)
    world.perform("billing", 3)
    await until(lambda: world.holds.breaker("billing") is not None)
    world.perform("billing", 20)
    await until(lambda: world.hosts.kinds("billing").count("completed") == 20)
    await until(lambda: world.holds.breaker("billing") is None)

    assert "held" not in world.hosts.kinds("billing")


async def test_a_held_system_is_not_called_and_what_waits_for_it_comes_back(world):
    world.adapters["billing"].hold()
    world.perform("billing", 12)
    await world.adapters["billing"].open_reached(10)
    world.holds.hold("billing")
    await world.runtime.refresh()
    await heard(world, 2)
    world.perform("billing", 3)
    await heard(world, 5)
    unmade = world.hosts.kinds("billing")
    world.adapters["billing"].release()
    await heard(world, 15)

    assert unmade == ["held"] * 5
    assert world.hosts.kinds("billing")[5:] == ["completed"] * 10, "calls under way go on"
    assert len(world.adapters["billing"].calls) == 10


async def test_a_pause_holds_systems_that_nobody_has_set_up_yet(world):
    world.holds.hold(EVERYTHING, HoldCause.PAUSE)
    await world.runtime.refresh()
    world.perform("unheard-of")
    [report] = await heard(world, 1)

    assert (report.kind, report.error_code) == ("held", "pause")


async def test_an_open_breaker_is_taken_over_by_the_next_life(world):
    await world.holds.note_breaker(
        "main", "billing", is_held=True, reason="down", probe_at=datetime.now(UTC), now=datetime.now(UTC)
    )
    world.limits["breaker_pause_s"] = 600.0
    world.runtime = world.life()
    await world.runtime.refresh()
    world.perform("billing")
    [report] = await heard(world, 1)

    assert (report.kind, report.error_code) == ("held", "breaker")
    assert world.adapters["billing"].calls == []


async def test_whoever_strikes_the_row_of_a_breaker_closes_it(world):
    world.version, world.limits["breaker_pause_s"] = "2", 600.0
    await world.runtime.refresh()
    world.adapters["billing"].script(DOWN, DOWN, DOWN)
    world.perform("billing", 3)
    await until(lambda: world.holds.breaker("billing") is not None)
    world.perform("billing")
    await world.holds.drop_breaker("main", "billing", datetime.now(UTC))
    await world.runtime.refresh()
    await until(lambda: world.hosts.kinds("billing").count("completed") == 1)

    assert world.holds.breaker("billing") is None


async def test_a_refusal_says_that_the_system_works(world):
    world.adapters["billing"].default = Outcome.failed("no such account", "404")
    world.perform("billing", 20)
    await heard(world, 20)

    assert world.holds.breaker("billing") is None


async def test_a_call_that_is_sent_anew_before_its_way_back_is_over_is_made(world):
    world.hosts.unanswered = []
    world.holds.hold("billing")
    await world.runtime.refresh()
    [call] = world.perform("billing")
    await heard(world, 1)
    world.holds.rows.clear()
    await world.runtime.refresh()
    # The plan has heard of it, rests, and is let go, all before the answer is here.
    world.runtime.perform([call_of(1, "billing", timeout_s=60.0)])
    answered = world.hosts.unanswered.pop()
    world.hosts.unanswered = None
    answered({})
    await heard(world, 2)

    assert world.hosts.kinds("billing") == ["held", "completed"]
    assert call.order_id == world.hosts.reports[1][0]


async def test_new_settings_reach_those_who_wait_and_the_old_adapter_closes_when_its_calls_are_over(world):
    old = world.adapters["billing"]
    old.hold()
    world.perform("billing", 15)
    await old.open_reached(10)
    world.adapters["billing"] = FakeAdapter()
    world.version, world.limits["concurrency"] = "2", 12
    await world.runtime.refresh()
    await until(lambda: len(world.adapters["billing"].calls) >= 2)
    closed_early = old.is_closed
    old.release()
    await heard(world, 15)
    await until(lambda: old.is_closed)

    assert not closed_early
    assert (len(old.calls), len(world.adapters["billing"].calls)) == (10, 5)


async def test_what_goes_on_at_each_system_is_counted(world):
    world.holds.hold("network")
    await world.runtime.refresh()
    systems = {each["code"]: each for each in world.runtime.stats()["systems"]}

    assert systems["billing"] == {
        "tenant": "main",
        "code": "billing",
        "held": False,
        "running": 0,
        "waiting": 0,
        "breaker": "closed",
    }
    assert systems["network"]["held"]
