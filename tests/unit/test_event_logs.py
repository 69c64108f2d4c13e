"""Closed orders as an event log: every event of every closed order, in both forms, and named as simulated."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from delay.histories.event_logs import _columns, events_of, write_csv, write_ocel, write_parquet
from delay.histories.files import ACTIVITIES, COLUMNS
from domain import facts as f
from domain.facts import Fact
from tests.support.worlds import history


@pytest.fixture(scope="module")
def made():
    return history(60, 20, "home-internet")


def test_the_csv_has_the_events_of_closed_orders_only(made, tmp_path):
    closed = {each.order_id for each in made if each.fact.kind == f.ORDER_ENDED}
    count = write_csv(events_of(made, simulated=True), tmp_path / "log.csv")
    with (tmp_path / "log.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    assert 0 < len(closed) < len({each.order_id for each in made})
    assert {row["case"] for row in rows} == closed
    assert len(rows) == count == sum(e.order_id in closed and e.fact.kind in ACTIVITIES for e in made)
    assert {row["simulated"] for row in rows} == {"true"}
    assert {"Order accepted", "Order ended", "Site survey completed"} <= {row["activity"] for row in rows}
    assert len(list(events_of(made, simulated=True, is_closed_only=False))) > count


def test_ocel_names_every_object_and_type_that_its_events_speak_of(made, tmp_path):
    count = write_ocel(events_of(made, simulated=True), tmp_path / "log.json")
    found = json.loads((tmp_path / "log.json").read_text(encoding="utf-8"))
    objects = {each["id"]: each for each in found["objects"]}
    types = {each["name"]: {one["name"] for one in each["attributes"]} for each in found["objectTypes"]}

    assert set(found) == {"events", "objects", "eventTypes", "objectTypes"}
    assert len(found["events"]) == len({each["id"] for each in found["events"]}) == count
    assert {each["type"] for each in found["events"]} == {each["name"] for each in found["eventTypes"]}
    assert set(types) == {"order", "account", "item"} == {each["type"] for each in objects.values()}
    for each in (*found["events"], *found["objects"]):
        assert all(one["objectId"] in objects for one in each["relationships"])
    for each in objects.values():
        assert {one["name"] for one in each["attributes"]} <= types[each["type"]]
        assert each["type"] != "order" or {"name": "simulated", "value": True} in [
            {"name": one["name"], "value": one["value"]} for one in each["attributes"]
        ]


AT = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
FIRST, SECOND = (f"2030-02-0{day}T12:00:00+00:00" for day in (1, 8))
ORDER: dict[str, Any] = {"id": "o1-1", "channel": "web", "lines": [{"offering": "sim"}], "dueAt": FIRST}


ITEM_KINDS: Final = (f.ITEM_STARTED, f.ITEM_COMPLETED)


class Told:
    """The facts of one order, a minute apart."""

    def __init__(self, *facts: tuple[str, dict[str, Any] | None], item: str | None = None) -> None:
        self.releases: dict[str, Any] = {}
        self.templates: dict[str, Any] = {}
        self.until = AT
        self._facts = [
            Fact(
                kind=kind,
                at=AT + timedelta(minutes=at),
                actor="channel",
                payload=payload,
                item=item if kind in ITEM_KINDS else None,
            )
            for at, (kind, payload) in enumerate(facts)
        ]

    def __iter__(self) -> Iterator[tuple[str, Fact]]:
        return (("o1-1", fact) for fact in self._facts)


@pytest.fixture
def amended() -> Any:
    """An order that was promised twice, and became urgent."""
    return Told(
        (f.ORDER_ACCEPTED, {"order": ORDER}),
        (f.ORDER_PRIORITIZED, {"priority": "high"}),
        (f.PLAN_CHANGED, {"order": {**ORDER, "priority": "high", "dueAt": SECOND}}),
        (f.ORDER_ENDED, {"state": "completed"}),
    )


def test_an_event_has_both_due_dates_as_they_were_known_then(amended):
    accepted, ended = events_of(amended, simulated=False)

    assert [accepted.order[name] for name in ("due", "currentDue", "priority")] == [FIRST, FIRST, "normal"]
    assert [ended.order[name] for name in ("due", "currentDue", "priority")] == [FIRST, SECOND, "high"]


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ("await/delivery@billing-account@account", "Await delivery by another order"),
        ("await/relatedOrder@10", "Await related order"),
    ],
)
def test_an_item_that_waits_for_another_order_has_its_name_in_the_log(item, name):
    told = Told(
        (f.ORDER_ACCEPTED, {"order": ORDER}),
        (f.ITEM_COMPLETED, None),
        (f.ORDER_ENDED, {"state": "completed"}),
        item=item,
    )

    assert [each.activity for each in events_of(told, simulated=False)][1] == f"{name} completed"


def test_ocel_keeps_each_value_of_an_attribute_with_its_moment(amended, tmp_path):
    write_ocel(events_of(amended, simulated=False), tmp_path / "log.json")
    (order,) = json.loads((tmp_path / "log.json").read_text(encoding="utf-8"))["objects"]
    due = [(each["time"][14:16], each["value"]) for each in order["attributes"] if each["name"] == "currentDue"]

    assert due == [("00", FIRST), ("03", SECOND)]
    assert [each["value"] for each in order["attributes"] if each["name"] == "due"] == [FIRST]


def test_columns_have_moments_as_such_and_nothing_for_what_is_not_there(amended):
    columns = _columns(events_of(amended, simulated=False))

    assert tuple(columns) == COLUMNS
    assert columns["currentDue"] == [datetime.fromisoformat(each) for each in (FIRST, SECOND)]
    assert columns["item"] == [None, None]
    assert columns["simulated"] == [False, False]
    assert _columns([]) == {}


def test_a_parquet_file_says_what_the_csv_says(made, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    count = write_parquet(events_of(made, simulated=True), tmp_path / "log.parquet")
    write_csv(events_of(made, simulated=True), tmp_path / "log.csv")
    table = parquet.read_table(tmp_path / "log.parquet")
    with (tmp_path / "log.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    assert table.num_rows == count == len(rows)
    assert table.column("case").to_pylist() == [row["case"] for row in rows]
    assert [each.isoformat(timespec="milliseconds") for each in table.column("timestamp").to_pylist()] == [
        row["timestamp"] for row in rows
    ]
    assert str(table.schema.field("due").type) == "timestamp[ms, tz=UTC]"
