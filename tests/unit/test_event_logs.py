"""Closed orders as an event log: every event of every closed order, in both forms, and named as simulated."""

from __future__ import annotations

import csv
import json

import pytest

from delay.histories.event_logs import events_of, write_csv, write_ocel
from delay.histories.files import ACTIVITIES
from domain import facts as f
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
    assert {"Order accepted", "Order ended", "Site survey completed"} & {row["activity"] for row in rows}
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
