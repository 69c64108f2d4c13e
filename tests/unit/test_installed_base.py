"""Products of another system put into an account: twice changes nothing, and bundles stand as they are named."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import InventoryConflict, OpenOrderConflict, ParentUnknown
from domain.installed_base import differences, import_assets
from domain.inventory import Account, Asset, OpenOrder
from tests.support.build import line, order_of, plan_of, release_of, scenario
from tests.support.engine import Engine, OpenProtector

RELEASE = release_of(
    products=[
        {"code": "sim", "attributes": [{"name": "PIN", "encrypted": True}, {"name": "IMSI"}]},
        "bundle",
    ],
    plans=[plan_of("p", "do")],
    scenarios=[scenario("sim", "p", "add", "modify")],
)


def sim(asset_id: str, parent: str | None = None, product: str = "sim", **members: Any) -> Asset:
    relations = [["isChild", parent]] if parent is not None else []
    return Asset(asset_id=asset_id, product=product, root_id=asset_id, relations=relations, **members)


class Base:
    """An account that is loaded."""

    def __init__(self) -> None:
        self.account = Account("acc-1")
        self._protector = OpenProtector()

    def load(self, *assets: Asset) -> list[Any]:
        self.changed, results = import_assets(
            self.account, assets, RELEASE, lambda value: self._protector.encrypt("main", "import 1", value)
        )
        return [each if isinstance(each, str) else type(each) for each in results]


@pytest.fixture
def base() -> Base:
    return Base()


def test_what_is_imported_twice_changes_nothing(base: Base) -> None:
    arriving = [sim("p-1", attributes={"IMSI": "1", "PIN": "4711"}), sim("p-2")]
    first = base.load(*arriving)
    stored = base.account.assets["p-1"].attributes
    again = base.load(*arriving)

    assert first == ["imported", "imported"]
    assert stored["PIN"]["$encrypted"]
    assert again == ["unchanged", "unchanged"]
    assert base.changed == []


def test_what_differs_is_changed_and_what_only_orders_know_is_kept(base: Base) -> None:
    base.load(sim("p-1", attributes={"IMSI": "1"}))
    known = base.account.assets["p-1"]
    known.uses, known.instance, known.order_id = {"p-9": 1}, "account", "o1-1"

    assert base.load(sim("p-1", attributes={"IMSI": "2"})) == ["changed"]
    changed = base.account.assets["p-1"]
    assert changed.attributes == {"IMSI": "2"}
    assert (changed.uses, changed.instance, changed.order_id) == ({"p-9": 1}, "account", "o1-1")


def test_children_come_with_their_parents_in_any_order(base: Base) -> None:
    results = base.load(sim("c", "b"), sim("b", "a"), sim("a", product="bundle"))

    assert results == ["imported"] * 3
    assert {each.root_id for each in base.account.assets.values()} == {"a"}


def test_a_child_without_its_parent_is_told_and_the_others_are_imported(base: Base) -> None:
    assert base.load(sim("c", "b"), sim("d")) == [ParentUnknown, "imported"]
    assert base.load(sim("b"), sim("c", "b")) == ["imported", "imported"]


def test_a_parent_that_moves_takes_what_stands_below_it_along(base: Base) -> None:
    base.load(sim("b"), sim("c", "b"), sim("d", "c"))

    assert base.load(sim("a"), sim("b", "a")) == ["imported", "changed"]
    assert {each.root_id for each in base.account.assets.values()} == {"a"}
    assert sorted(each.asset_id for each in base.changed) == ["a", "b", "c", "d"]
    assert base.load(sim("c", "b"), sim("d", "c")) == ["unchanged", "unchanged"]


def test_nothing_stands_below_itself(base: Base) -> None:
    base.load(sim("a"), sim("b", "a"), sim("c", "b"))

    assert base.load(sim("a", "c")) == [InventoryConflict]
    assert base.load(sim("x", "y"), sim("y", "x")) == [ParentUnknown, ParentUnknown]


def test_another_product_of_the_same_id_is_refused_and_its_neighbours_are_not(base: Base) -> None:
    base.load(sim("p-1"))

    assert base.load(sim("p-1", product="bundle"), sim("p-2")) == [InventoryConflict, "imported"]


def test_a_product_that_an_order_is_at_work_on_is_not_changed_under_it() -> None:
    engine = Engine(RELEASE)
    import_assets(engine.account, [sim("p-1", attributes={"IMSI": "1"})], RELEASE, lambda value: value)
    engine.accept(order_of(line("1", None, "modify", product_id="p-1", IMSI="2")))
    changed, (same, other) = import_assets(
        engine.account,
        [sim("p-1", attributes={"IMSI": "1"}), sim("p-1", attributes={"IMSI": "3"})],
        RELEASE,
        lambda value: value,
    )

    assert isinstance(engine.account.open_orders.popitem()[1], OpenOrder)
    assert same == "unchanged"
    assert isinstance(other, OpenOrderConflict)
    assert changed == []


def test_differences_are_told_by_field_and_what_is_not_there_is_left_out(base: Base) -> None:
    base.load(sim("p-1", attributes={"IMSI": "1", "PIN": "4711", "old": True}, quantity=2))
    ours = {**base.account.assets["p-1"].to_dict(), "account": "acc-1"}
    theirs = sim("p-1", attributes={"IMSI": "2", "PIN": "0815", "new": None}, quantity=1)

    assert differences(ours, "acc-2", theirs) == [
        {"field": "account", "ours": "acc-1", "theirs": "acc-2"},
        {"field": "quantity", "ours": 2, "theirs": 1},
        {"field": "attributes.IMSI", "ours": "1", "theirs": "2"},
        {"field": "attributes.new", "theirs": None},
        {"field": "attributes.old", "ours": True},
    ]
    assert differences(ours, "acc-1", sim("p-1", attributes={"IMSI": "1", "old": True}, quantity=2)) == []
