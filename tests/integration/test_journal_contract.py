"""One contract for the journal and for its memory twin: what holds for the one in the simulator holds on PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from typing import Any, Protocol

import pytest

from actors.ports import JournalPort, OwnershipPort
from domain.lineup import Lineup
from domain.related import RelatedWaits, Wait
from persistence import catalogue
from persistence.incarnations import Ownership
from persistence.journal import CommitUnknown, DataRefused, Fenced, Journal
from persistence.rows import Commit, TemplateRow, WaitRow
from tests.simulation.database import MemoryDatabase
from tests.simulation.twins import MemoryJournal, MemoryOwnership
from tests.support.journals import AT, asset_row, commit_of, fact, open_journal, order_row


class Place(Protocol):
    """Somewhere to keep a journal: opens incarnations that own shards, and knows who owns what."""

    ownership: OwnershipPort

    async def open(self, name: str, *shards: int) -> JournalPort: ...
    async def publish(self, release_id: str) -> None: ...


class RealPlace:
    def __init__(self, dsn: str, pool: Any) -> None:
        self._dsn, self._pool = dsn, pool
        self.ownership: OwnershipPort = Ownership(pool)
        self.opened: list[Journal] = []

    async def open(self, name: str, *shards: int) -> JournalPort:
        self.opened.append(await open_journal(self._dsn, name, shards, pool=self._pool))
        return self.opened[-1]

    async def publish(self, release_id: str) -> None:
        await catalogue.publish_release(self._pool, "main", release_id, {"code": release_id}, AT)


class TwinPlace:
    def __init__(self) -> None:
        self._database = MemoryDatabase(8, lambda: AT)
        self.ownership: OwnershipPort = MemoryOwnership(self._database)

    async def open(self, name: str, *shards: int) -> JournalPort:
        journal = MemoryJournal(self._database, name)
        await journal.open()
        for shard in shards:
            self._database.shards[shard].incarnation_id = name
        return journal

    async def publish(self, release_id: str) -> None:
        self._database.releases.append((release_id, {"code": release_id}))


@pytest.fixture(params=["real", "twin"])
async def place(request: pytest.FixtureRequest, databases: Any, pool: Any) -> AsyncIterator[Place]:
    if request.param == "twin":
        yield TwinPlace()
        return
    real = RealPlace(databases.dsn, pool)
    yield real
    for journal in real.opened:
        journal.abandon()


async def refused(commit: Awaitable[None]) -> DataRefused:
    with pytest.raises(DataRefused) as error:
        await commit
    return error.value


async def test_what_is_committed_is_read_back(place: Place) -> None:
    journal = await place.open("host-a", 0, 1)
    row = order_row(client_key="k", active=True)
    await journal.commit(commit_of(fact(1, payload='{"a": 1}'), fact(2, item="i"), orders_new={"o0-1": row}))

    stored = (await journal.facts_of(["o0-1", "o0-2"]))["o0-1"]

    assert [(each.offset, each.item, each.payload) for each in stored] == [(1, None, {"a": 1}), (2, "i", {})]
    assert (await journal.facts_of(["o0-2"]))["o0-2"] == []
    assert await journal.heads([0, 1]) == {0: 2, 1: 0}
    assert await journal.unfinished([0]) == (["o0-1"], [])
    assert await journal.unfinished([1]) == ([], [])
    known = await journal.known_keys("main", ["k", "other"])
    assert [(key, each.order_id, each.body_hash) for key, each in known.items()] == [("k", "o0-1", b"hash")]
    assert await journal.known_keys("elsewhere", ["k"]) == {}


@pytest.mark.parametrize(
    ("second", "constraint"),
    [
        (commit_of(fact(1), fact(2)), "fact_pkey"),
        (commit_of(fact(2), fact(2)), "fact_pkey"),
        (
            commit_of(fact(2), orders_new={"o0-2": order_row("o0-2", client_key="k")}),
            "product_order_client_key_key",
        ),
        (commit_of(fact(2), assets={"p1": asset_row(account="acc-2")}), "asset_owner"),
    ],
    ids=["offset again", "offset twice", "client key again", "asset of another account"],
)
async def test_a_refused_commit_leaves_nothing_and_the_next_goes_through(
    place: Place, second: Commit, constraint: str
) -> None:
    journal = await place.open("host-a", 0)
    await journal.commit(
        commit_of(fact(1), orders_new={"o0-1": order_row(client_key="k")}, assets={"p1": asset_row()})
    )
    error = await refused(journal.commit(second))

    assert error.constraint == constraint
    assert await journal.heads([0]) == {0: 1}
    await journal.commit(commit_of(fact(2)))
    assert await journal.heads([0]) == {0: 2}


def wait_row(order_id: str, name: str, item: str = "await", **changes: Any) -> WaitRow:
    return WaitRow("main", order_id, item, "web", name, "core/ring", ["site/on"], AT)._replace(**changes)


async def test_waits_for_related_orders_lead_from_one_to_the_next(place: Place) -> None:
    journal = await place.open("host-a", 0)
    orders = [
        order_row("o0-1", external_id="a"),
        order_row("o0-2", external_id="b"),
        order_row("o0-3", external_id="c"),
        order_row("o0-4", external_id="c", created_at=AT + timedelta(hours=1)),
        order_row("o0-5", external_id="a", channel="shop"),
        order_row("o0-6", external_id="a", tenant="other"),
    ]
    rows = [
        wait_row("o0-1", "b"),
        wait_row("o0-2", "o0-3", blocks=["x", "y"]),
        wait_row("o0-3", "not here"),
        wait_row("o0-5", "a"),
        wait_row("o0-6", "a", tenant="other"),
    ]
    await journal.commit(
        commit_of(
            fact(1),
            orders_new={each.order_id: each for each in orders},
            waits={(each.order_id, each.item): each for each in rows},
        )
    )

    assert await journal.awaited_orders("main", ["a", "b", "nobody", "not here"]) == {
        ("web", "a"), ("web", "b"), ("web", "not here"),
    }  # fmt: skip
    found = await journal.related_waits("main", "web", ["a", "nobody"])
    assert found.targets == {"a": "o0-1"}
    assert {(each.order_id, each.name, each.target, each.blocks) for each in found.waits} == {
        ("o0-1", "b", "o0-2", frozenset({"site/on"})),
        ("o0-2", "o0-3", "o0-3", frozenset({"x", "y"})),
        ("o0-3", "not here", None, frozenset({"site/on"})),
    }
    [first] = [each for each in found.waits if each.order_id == "o0-1"]
    assert first == Wait("o0-1", "await", "web", "b", "core/ring", frozenset({"site/on"}), AT, "o0-2")
    assert (await journal.related_waits("main", "web", ["c"])).targets == {"c": "o0-3"}, "the first of that name"
    assert await journal.related_waits("main", "shop", ["b"]) == RelatedWaits({}, [])
    assert (await journal.related_waits("other", "web", ["a", "o0-1"])).targets == {"a": "o0-6"}


async def test_a_wait_is_opened_once_and_struck_once(place: Place) -> None:
    journal = await place.open("host-a", 0)
    row = wait_row("o0-1", "b")
    await journal.commit(
        commit_of(fact(1), orders_new={"o0-1": order_row(external_id="a")}, waits={("o0-1", "await"): row})
    )
    later = row._replace(blocks=["z"], opened_at=AT + timedelta(hours=1))
    await journal.commit(commit_of(fact(2), waits={("o0-1", "await"): later, ("o0-1", "other"): None}))

    [wait] = (await journal.related_waits("main", "web", ["a"])).waits
    assert (wait.blocks, wait.opened_at) == (frozenset({"z"}), AT)
    await journal.commit(commit_of(fact(3), waits={("o0-1", "await"): None}))
    assert (await journal.related_waits("main", "web", ["a"])).waits == []


async def test_a_fenced_incarnation_neither_writes_nor_comes_back(place: Place) -> None:
    journal = await place.open("host-a", 0)

    assert await place.ownership.fence("host-a")
    assert not await place.ownership.fence("host-a")
    with pytest.raises((CommitUnknown, Fenced)):
        await journal.commit(commit_of(fact(1)))
    with pytest.raises(Fenced):
        await journal.raise_epoch()
    assert (await (await place.open("host-b", 0)).heads([0])) == {0: 0}


async def test_an_incarnation_that_raises_its_own_epoch_goes_on(place: Place) -> None:
    journal = await place.open("host-a", 0)
    await journal.commit(commit_of(fact(1)))
    await journal.raise_epoch()
    await journal.commit(commit_of(fact(2)))

    assert await journal.heads([0]) == {0: 2}


async def test_shards_move_from_the_dead_and_never_from_the_living(place: Place) -> None:
    await place.open("host-a", 0)
    other = await place.open("host-b", 1)
    early = await place.ownership.reassign({0: ("host-a", "host-b")})
    await place.ownership.fence("host-a")
    late = await place.ownership.reassign({0: ("host-a", "host-b"), 1: ("host-a", "host-a")})

    assert (early, late) == (0, 1)
    assert set(await other.owned_shards()) == {0, 1}
    assert [each.incarnation_id for each in await place.ownership.living()] == ["host-b"]


async def test_a_shard_is_given_away_with_the_commit_and_only_by_its_owner(place: Place) -> None:
    journal, other = await place.open("host-a", 0), await place.open("host-b", 1)
    await journal.commit(commit_of(fact(1), released_shards=[(0, "host-b"), (1, "host-a")]))

    assert set(await other.owned_shards()) == {0, 1}
    owners = {each.shard: each.incarnation_id for each in await place.ownership.assignments()}
    assert (owners[0], owners[1]) == ("host-b", "host-b")


async def test_an_account_is_read_with_its_assets_and_open_orders(place: Place) -> None:
    journal = await place.open("host-a", 0)
    ended = order_row("o0-2", ended_at=AT, created_at=AT + timedelta(seconds=1))
    early = order_row("o0-9", created_at=AT - timedelta(seconds=1))
    await journal.commit(
        commit_of(
            fact(1),
            orders_new={"o0-1": order_row(), "o0-2": ended, "o0-9": early},
            assets={
                "p1": asset_row(body='{"id": "p1"}'),
                "p2": asset_row("p2", status="terminated"),
                "p3": asset_row("p3", account="acc-3"),
            },
        )
    )

    assets, orders = await journal.account_state("main", ["acc-1", "acc-9"])

    assert assets == {"acc-1": [{"id": "p1"}]}
    assert orders == {"acc-1": ["o0-9", "o0-1"]}


async def test_releases_and_templates_are_found(place: Place) -> None:
    journal = await place.open("host-a", 0)
    for release_id in ("r@1", "r@2"):
        await place.publish(release_id)
    body = {"nodes": [1]}
    await journal.commit(commit_of(fact(1), templates={"t": TemplateRow("main", "t", "r@1", json.dumps(body))}))

    assert await journal.lineup("main", AT) == Lineup("r@2")
    assert await journal.release_body("main", "r@1") == {"code": "r@1"}
    assert await journal.release_body("main", "r@3") is None
    assert await journal.template("main", "t") == body
    assert await journal.template("main", "u") is None
