"""Products over one connection: loaded whatever their order, compared line by line, with a bound on what is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest

import gateway.inventory_lines
from actors.envelopes import ImportAssets
from domain.errors import Busy, InventoryConflict, OrderplanError
from domain.installed_base import import_assets
from domain.inventory import Account, Asset
from gateway.inventory_lines import ProductIngest, Reconciliation
from gateway.metrics import Metrics
from persistence import reads
from tests.support.build import release_of

RELEASE = release_of(
    products=[{"code": "sim", "attributes": [{"name": "PUK", "assetizable": False}, {"name": "IMSI"}]}],
    undeclared="drop",
)


class Hosts:
    """Keeps accounts as a plan host does; refuses what is next in `refusals`."""

    shards = 8

    def __init__(self, *refusals: OrderplanError) -> None:
        self.refusals = list(refusals)
        self.accounts: dict[str, Account] = {}
        self.asked: list[ImportAssets] = []

    def post(self, lane: str, _shard: int, envelope: ImportAssets, answered: Callable[[Any], None]) -> None:
        assert lane == "receive_bulk"
        assert envelope.is_bulk
        self.asked.append(envelope)
        asyncio.get_running_loop().call_soon(answered, self.refusals.pop(0) if self.refusals else self._load(envelope))

    def _load(self, envelope: ImportAssets) -> dict[str, Any]:
        account = self.accounts.setdefault(envelope.account, Account(envelope.account))
        arriving = [Asset.from_dict(json.loads(json.dumps(each))) for each in envelope.assets]
        return {"results": import_assets(account, arriving, RELEASE, lambda value: value)[1]}

    def roots(self) -> dict[str, str]:
        return {
            asset.asset_id: asset.root_id for account in self.accounts.values() for asset in account.assets.values()
        }


class Body:
    """These lines, each in a piece of its own; more than one turn of the loop for each if asked."""

    def __init__(self, lines: Iterable[Any], turns: int = 0) -> None:
        self._lines = lines
        self._turns = turns

    async def iter_any(self) -> AsyncIterator[bytes]:
        for each in self._lines:
            yield (each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n"
            for _ in range(self._turns):
                await asyncio.sleep(0)


def product(asset_id: str, parent: str | None = None, account: str = "acc-1", **values: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": asset_id,
        "billingAccount": {"id": account},
        "productSpecification": {"id": "sim"},
        "productCharacteristic": [{"name": name, "value": value} for name, value in values.items()],
    }
    if parent is not None:
        made["productRelationship"] = [{"relationshipType": "isChild", "product": {"id": parent}}]
    return made


def context_of(hosts: Any) -> Any:
    config = SimpleNamespace(body_bytes_max=1_000_000, tenant="main")
    return cast(
        "Any", SimpleNamespace(config=config, hosts=hosts, metrics=Metrics(), is_draining=False, pool=None)
    )


async def load(hosts: Hosts, lines: Iterable[Any], turns: int = 0) -> dict[int, Any]:
    """What became of each line."""
    told: list[dict[str, Any]] = []

    async def write(data: bytes) -> None:
        told.extend(json.loads(each) for each in data.splitlines())

    await ProductIngest(context_of(hosts), "main", RELEASE, "person:ann").serve(Body(lines, turns), write)
    assert len({each["line"] for each in told}) == len(told)
    return {each["line"]: each.get("result") or each["error"]["code"] for each in told}


async def test_products_are_loaded_and_the_second_time_nothing_changes() -> None:
    hosts = Hosts()
    lines = [product(f"p-{number}", account=f"acc-{number // 3}", IMSI=str(number)) for number in range(30)]

    assert set((await load(hosts, lines)).values()) == {"imported"}
    assert set((await load(hosts, lines)).values()) == {"unchanged"}
    assert len(hosts.roots()) == 30


async def test_what_must_not_stay_never_leaves_the_gateway() -> None:
    hosts = Hosts()
    await load(hosts, [product("p-1", PUK="12345678", IMSI="1", unheard="of")])

    assert hosts.asked[0].assets[0]["attributes"] == {"IMSI": "1"}
    assert "12345678" not in repr(hosts.asked)


@pytest.mark.parametrize("turns", [0, 5])
async def test_children_may_come_before_their_parents(turns: int) -> None:
    hosts = Hosts()
    chain = [product(f"p-{number}", f"p-{number + 1}") for number in range(120)]
    results = await load(hosts, [*chain, product("p-120")], turns)

    assert set(results.values()) == {"imported"}
    assert set(hosts.roots().values()) == {"p-120"}


async def test_a_child_of_an_earlier_import_finds_its_parent() -> None:
    hosts = Hosts()
    await load(hosts, [product("p-1")])

    assert await load(hosts, [product("p-2", "p-1")]) == {1: "imported"}
    assert hosts.roots()["p-2"] == "p-1"


async def test_a_child_without_a_parent_is_refused_at_the_end_and_one_of_another_account_too() -> None:
    hosts = Hosts()
    lines = [product("c", "nobody"), product("d", "p", account="acc-2"), product("p"), product("e", "c")]

    assert await load(hosts, lines) == {1: "parentUnknown", 2: "parentUnknown", 3: "imported", 4: "parentUnknown"}


async def test_no_more_than_so_many_children_wait_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.inventory_lines, "ASIDE_MAX", 3)
    hosts = Hosts()
    lines = [*(product(f"c-{number}", "p") for number in range(5)), product("p")]
    results = await load(hosts, lines, turns=20)

    assert [results[line] for line in range(1, 7)] == ["parentUnknown"] * 2 + ["imported"] * 4


async def test_children_whose_parent_has_come_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.inventory_lines, "ASIDE_MAX", 2)
    hosts = Hosts()
    lines: list[Any] = []
    for parent in ("p", "q", "r"):
        lines += [product(f"{parent}-1", parent), product(f"{parent}-2", parent), product(parent)]

    assert set((await load(hosts, lines, turns=20)).values()) == {"imported"}


async def test_a_host_that_has_enough_is_asked_again_with_the_same_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.inventory_lines, "RETRY_S", 0.0)
    hosts = Hosts(Busy("enough"), Busy("still enough"))

    assert await load(hosts, [product("p-1")]) == {1: "imported"}
    assert len({each.cause for each in hosts.asked}) == 1


async def test_a_commit_that_is_refused_for_one_product_costs_the_others_nothing() -> None:
    """An id that another account has is found by the database alone."""

    class Shared(Hosts):
        def _load(self, envelope: ImportAssets) -> Any:
            if any(each["id"] == "taken" for each in envelope.assets):
                return InventoryConflict("a product id belongs to another account")
            return super()._load(envelope)

    hosts = Shared()
    lines = [product("p-1"), product("taken"), product("p-2")]

    assert await load(hosts, lines) == {1: "imported", 2: "inventoryConflict", 3: "imported"}


async def test_products_of_one_account_travel_together_and_no_more_than_so_many() -> None:
    hosts = Hosts()
    await load(hosts, [product(f"p-{number}") for number in range(120)])

    assert sum(len(each.assets) for each in hosts.asked) == 120
    assert max(len(each.assets) for each in hosts.asked) <= 50
    assert len(hosts.asked) < 60


@pytest.mark.parametrize(
    ("line", "code", "path"),
    [
        (b"[1]", "badDocument", "$"),
        (b"{", "badDocument", "$"),
        ({"id": 3}, "badDocument", "$.id"),
        (product("p") | {"productSpecification": {"id": "fax"}}, "badDocument", "$.productSpecification.id"),
        (product("p") | {"productRelationship": "x"}, "badDocument", "$.productRelationship"),
        (product("p") | {"productRelationship": [{"product": "x"}]}, "badDocument", "$.productRelationship[0]"),
        (product("p", "p"), "badDocument", "$.productRelationship"),
        (product("p") | {"productCharacteristic": 3}, "badDocument", "$.productCharacteristic"),
        (product("p") | {"billingAccount": {"id": ""}}, "badDocument", "$"),
    ],
)
async def test_a_line_that_cannot_be_read_is_refused_alone(line: Any, code: str, path: str) -> None:
    told: list[Any] = []

    async def write(data: bytes) -> None:
        told.extend(json.loads(each) for each in data.splitlines())

    hosts = Hosts()
    await ProductIngest(context_of(hosts), "main", RELEASE, "x").serve(Body([line, product("p-1")]), write)
    refused = next(each["error"] for each in told if each["line"] == 1)

    assert (refused["code"], refused.get("path")) == (code, path)
    assert list(hosts.roots()) == ["p-1"]


async def test_what_is_terminated_is_passed_over() -> None:
    hosts = Hosts()

    assert await load(hosts, [product("p-1") | {"status": "terminated"}]) == {1: "ignored"}
    assert hosts.asked == []


async def test_a_foreign_list_is_compared_and_what_it_lacks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = Hosts()
    await load(hosts, [product(f"p-{number:04}", IMSI=str(number)) for number in range(1_200)])
    stored = {
        asset.asset_id: {**asset.to_dict(), "account": "acc-1"} for asset in hosts.accounts["acc-1"].assets.values()
    }

    async def assets_named(_pool: Any, _tenant: str, ids: list[str]) -> dict[str, Any]:
        assert len(ids) <= 500
        return {each: stored[each] for each in ids if each in stored}

    async def assets_after(_pool: Any, _tenant: str, after: str, limit: int) -> list[dict[str, Any]]:
        page = [stored[each] for each in sorted(stored) if each > after][:limit]
        return [{"id": each["id"], "account": each["account"], "product": each["product"]} for each in page]

    monkeypatch.setattr(reads, "assets_named", assets_named)
    monkeypatch.setattr(reads, "assets_after", assets_after)
    theirs = [product(f"p-{number:04}", IMSI=str(number), PUK="never compared") for number in range(2, 1_200)]
    theirs[5] = product("p-0007", IMSI="other")
    theirs += [product("q-1"), product("p-0000") | {"status": "terminated"}]
    told: list[Any] = []

    async def write(data: bytes) -> None:
        told.extend(json.loads(each) for each in data.splitlines())

    await Reconciliation(context_of(hosts), "main", RELEASE).serve(Body(theirs), write)
    lines = {each["line"]: each for each in told if "line" in each}

    assert len(lines) == len(theirs)
    assert [each["result"] for at, each in sorted(lines.items()) if each["result"] != "same"] == [
        "different",
        "missing",
        "ignored",
    ]
    assert lines[6]["differences"] == [{"field": "attributes.IMSI", "ours": "7", "theirs": "other"}]
    assert [each for each in told if "line" not in each] == [
        {"id": f"p-{number:04}", "result": "extra", "account": "acc-1", "product": "sim"} for number in (0, 1)
    ]
