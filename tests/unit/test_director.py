"""The director: what one host does not do keeps nothing from the others, and what is half started serves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

import actors.director
from actors.director import REFUSALS_MAX, Watch
from persistence.incarnations import SILENT_MAX_S, Assignment, Incarnation

NOT_STARTED = AssertionError("start it first")
KEYS_AWAY = ConnectionRefusedError("the key store is away")
SHARDS = 4
OWN = SHARDS
"""A dedicated shard."""


class Table:
    """The table of owners."""

    def __init__(self) -> None:
        self.hosts: dict[str, int | None] = {}
        self.owners: dict[int, str | None] = dict.fromkeys(range(SHARDS + 1))
        self.holder: str | None = None
        self.silent_s: dict[str, float] = {}
        self.fenced: list[str] = []

    async def living(self) -> list[Incarnation]:
        began = datetime(2030, 1, 31, tzinfo=UTC)
        return [
            Incarnation(host, 1, "living", began, self.silent_s.get(host, 0.0), shard)
            for host, shard in self.hosts.items()
        ]

    async def fence(self, incarnation_id: str) -> bool:
        self.fenced.append(incarnation_id)
        return self.hosts.pop(incarnation_id, self) is not self

    async def reassign(self, wanted: Mapping[int, tuple[str | None, str]]) -> int:
        for shard, (owner, to) in wanted.items():
            assert self.owners[shard] == owner
            assert owner not in self.hosts
            self.owners[shard] = to
        return len(wanted)

    async def shard_count(self) -> int:
        return SHARDS

    async def assignments(self) -> list[Assignment]:
        return [
            Assignment(
                shard,
                owner,
                1,
                self.holder if shard == OWN else None,
                owner is not None and self.hosts.get(owner) == shard,
            )
            for shard, owner in self.owners.items()
        ]

    def owned(self, host: str) -> set[int]:
        return {shard for shard, owner in self.owners.items() if owner == host}


class Method:
    """A method of an actor's handle."""

    def __init__(self, call: Callable[..., Awaitable[Any]]) -> None:
        self.remote = call


class Host:
    """A process that does what it is asked, unless it has an error for that."""

    def __init__(self, table: Table, name: str, shard: int | None, errors: dict[str, Exception]) -> None:
        self._table = table
        self._name = name
        self._shard = shard
        self.errors = errors
        self.adopted: set[int] = set()

    def __getattr__(self, what: str) -> Method:
        return Method(getattr(self, f"_{what}"))

    def _may_fail(self, what: str) -> None:
        if what in self.errors:
            raise self.errors[what]

    async def _start(self) -> None:
        self._may_fail("register")
        self._table.hosts[self._name] = self._shard
        self._may_fail("start")

    async def _ping(self) -> None:
        self._may_fail("ping")

    async def _adopt(self) -> None:
        self._may_fail("adopt")
        self.adopted = self._table.owned(self._name)

    async def _give_away(self, shards: dict[int, str]) -> None:
        self._may_fail("give_away")
        self._table.owners.update(shards)
        self.adopted -= set(shards)

    async def _drain(self) -> None:
        self._may_fail("drain")
        del self._table.hosts[self._name]


class Fleet:
    """Processes; `errors` are those of the hosts to come, the next one first."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.errors: list[dict[str, Exception]] = []
        self.hosts: dict[str, Host] = {}
        self.killed: list[str] = []

    def handle(self, incarnation_id: str) -> Host | None:
        return self.hosts.get(incarnation_id)

    def start(self, incarnation_id: str, dedicated_shard: int | None) -> Host:
        errors = self.errors.pop(0) if self.errors else {}
        if "process" in errors:
            raise errors["process"]
        host = self.hosts[incarnation_id] = Host(self._table, incarnation_id, dedicated_shard, errors)
        return host

    def kill(self, handle: Host) -> None:
        [name] = [name for name, each in self.hosts.items() if each is handle]
        del self.hosts[name]
        self.killed.append(name)


class Scene:
    """A director whose checks are made when the test says so."""

    def __init__(self) -> None:
        self.table = Table()
        self.fleet = Fleet(self.table)
        self.watch = self.directed(1)

    def directed(self, wanted: int) -> Watch:
        numbers = count(1)

        async def open_table() -> Table:
            return self.table

        watch = Watch(open_table, self.fleet, wanted, new_id=lambda: f"h{next(numbers)}")
        watch._opened = self.table
        return watch

    async def check(self, times: int = 1) -> None:
        for _ in range(times):
            await self.watch._check()


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize("error", [NOT_STARTED, KEYS_AWAY])
@pytest.mark.parametrize("moment", ["register", "start"])
async def test_a_host_that_fails_while_it_starts_is_ended_and_another_one_is_started(
    scene: Scene, moment: str, error: Exception
) -> None:
    scene.fleet.errors = [{moment: error}]

    await scene.check()

    assert (scene.fleet.killed, scene.table.fenced) == (["h1"], ["h1"])
    assert not scene.table.hosts
    await scene.check()
    assert list(scene.fleet.hosts) == list(scene.table.hosts) == ["h2"]
    assert scene.fleet.hosts["h2"].adopted == set(range(SHARDS + 1))
    assert await scene.watch.ready()


async def test_a_host_of_a_dedicated_plan_that_fails_while_it_starts_is_ended(scene: Scene) -> None:
    await scene.check()
    scene.table.holder = "o-1"
    scene.fleet.errors = [{"start": KEYS_AWAY}]

    await scene.check()
    await asyncio.gather(*scene.watch._dedicated._moving.values())

    assert (scene.fleet.killed, scene.table.fenced) == (["h2"], ["h2"])
    assert scene.table.owners[OWN] == "h1"


async def test_a_host_that_does_not_take_up_its_shards_keeps_nothing_from_the_others(scene: Scene) -> None:
    scene.watch = scene.directed(2)
    scene.fleet.errors = [{"adopt": NOT_STARTED}]

    await scene.check()

    assert scene.fleet.hosts["h1"].adopted == set()
    assert scene.fleet.hosts["h2"].adopted == scene.table.owned("h2") != set()
    scene.table.silent_s["h2"] = 2 * SILENT_MAX_S
    scene.watch._reached_since = -SILENT_MAX_S
    await scene.check()
    assert scene.table.fenced == ["h2"]
    assert set(scene.fleet.hosts) == {"h1", "h3"}


async def test_a_host_that_goes_on_refusing_is_ended_and_its_shards_are_served(scene: Scene) -> None:
    scene.fleet.errors = [{"adopt": NOT_STARTED}]
    await scene.check(REFUSALS_MAX // 2)
    assert scene.table.fenced == []

    await scene.check(REFUSALS_MAX)

    assert (scene.fleet.killed, scene.table.fenced) == (["h1"], ["h1"])
    assert scene.fleet.hosts["h2"].adopted == set(range(SHARDS + 1))


async def test_a_host_whose_database_is_away_is_asked_again_for_as_long_as_it_takes(scene: Scene) -> None:
    scene.fleet.errors = [{"adopt": KEYS_AWAY}]
    await scene.check(2 * REFUSALS_MAX)
    assert scene.table.fenced == []

    scene.fleet.hosts["h1"].errors.clear()
    await scene.check()

    assert await scene.watch.ready()


async def test_a_host_that_obeys_again_has_a_clean_slate(scene: Scene) -> None:
    await scene.check()
    for _ in range(REFUSALS_MAX):
        scene.fleet.hosts["h1"].errors["adopt"] = NOT_STARTED
        scene.watch._adopted.clear()
        await scene.check()
        scene.fleet.hosts["h1"].errors.clear()
        await scene.check()

    assert scene.table.fenced == []


async def test_a_host_that_does_not_give_shards_away_keeps_nothing_from_the_others(scene: Scene) -> None:
    await scene.check()
    scene.fleet.hosts["h1"].errors["give_away"] = NOT_STARTED
    scene.watch.wanted = 2

    await scene.check()

    assert set(scene.fleet.hosts) == {"h1", "h2"}
    scene.fleet.hosts["h1"].errors.clear()
    await scene.check()
    assert scene.fleet.hosts["h2"].adopted == scene.table.owned("h2") != set()


async def test_a_host_too_many_that_does_not_drain_is_ended_in_the_end(scene: Scene) -> None:
    scene.watch = scene.directed(2)
    await scene.check()
    scene.watch.wanted = 1
    scene.fleet.hosts["h2"].errors["drain"] = NOT_STARTED

    await scene.check(REFUSALS_MAX + 2)

    assert scene.table.fenced == ["h2"]
    assert scene.fleet.hosts["h1"].adopted == set(range(SHARDS + 1))


@pytest.fixture
async def running(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[], None]]:
    """Starts the director's own loop, which makes one check after another."""
    monkeypatch.setattr(actors.director, "CHECK_S", 0)
    monkeypatch.setattr(actors.director, "SILENT_MAX_S", 0)
    tasks: list[asyncio.Task[None]] = []
    yield lambda: tasks.append(asyncio.create_task(scene.watch.run()))
    scene.watch.stop()
    await asyncio.gather(*tasks)


async def test_a_hung_host_is_found_while_something_else_fails_in_every_check(
    scene: Scene, running: Callable[[], None]
) -> None:
    await scene.check()
    scene.watch._reached_since = None
    scene.fleet.hosts["h1"].errors["ping"] = TimeoutError()
    scene.watch.wanted = 2
    scene.fleet.errors = [{"process": RuntimeError("no room for a process")}] * 100

    running()
    for _ in range(100):
        if scene.table.fenced:
            break
        await asyncio.sleep(0)

    assert scene.table.fenced == ["h1"]
