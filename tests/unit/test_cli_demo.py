"""The demo's orders, release and sums: the same in every run."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from adapters.importers.tmf620 import import_tmf620
from domain.errors import OrderplanError
from domain.publish import compile_release
from domain.release_file import read_release, release_document
from gateway.tmf622 import parse_order
from orderplan.cli import demo
from orderplan.cli.common import UserError
from orderplan.cli.files import read_object
from orderplan.demo import home_internet, own_mobile
from orderplan.demo.own_mobile import SPECIFICATIONS, Customer
from orderplan.demo.people import filled_in
from orderplan.demo.release import PartsDisagree, merge
from orderplan.demo.run import Shares, differences, percentile
from orderplan.demo.standins import SYSTEMS
from tests.support import own_mobile as samples

EXAMPLES = Path(__file__).parents[2] / "examples"
IDS = {name: f"p-{name}" for name in SPECIFICATIONS}


def actions_of(order: dict[str, Any]) -> dict[str, str]:
    """Action by specification."""
    return {
        name: item["action"]
        for item in order["productOrderItem"]
        if (name := own_mobile.specification_of(item)) is not None
    }


@pytest.mark.parametrize("orders", [20, 300, 301, 1000])
def test_the_shares_add_up(orders):
    shares = Shares.of(orders)

    assert shares.add + shares.modify + shares.delete + shares.home == orders
    assert shares.modify <= shares.add
    assert shares.delete <= shares.add


def test_customers_share_nothing():
    orders = [own_mobile.add(samples.add_order(), Customer(number), f"e{number}") for number in (1, 2)]
    first, second = (parse_order(order, order_id="o", tenant="main", client_key=None) for order in orders)

    assert first.account != second.account
    for one, other in zip(first.lines, second.lines, strict=True):
        for name in one.attributes.keys() - {"volume"}:
            assert one.attributes[name] != other.attributes[name]


def test_the_twins_of_the_sample_are_those_of_the_tests():
    """The demo's way to a follow-up order, and the tests' own, agree."""
    mine = own_mobile.follow_up(samples.add_order(), None, "mobile-1111", own_mobile.everything("delete"), IDS)
    assert mine == samples.delete_order(IDS)

    mixed = {"SIM CARD": "noChange", "Mobile line": "modify", "Connectivity": "noChange", "Time Bundle": "delete"}
    changes = {("Mobile line", "MSISDN"): samples.NEW_MSISDN}
    mine = own_mobile.follow_up(samples.add_order(), None, "mobile-1112", mixed, IDS, changes)

    assert mine == samples.mixed_order(IDS)


@pytest.mark.parametrize(
    ("change", "modified"),
    [(own_mobile.new_number("4153000001"), "Mobile line"), (own_mobile.new_volume("10h"), "Time Bundle")],
)
def test_a_change_modifies_one_product(change, modified):
    actions, changes = change
    order = own_mobile.follow_up(samples.add_order(), Customer(1), "e", actions, IDS, changes)

    assert Counter(actions_of(order).values()) == {"noChange": 3, "modify": 1}
    assert actions_of(order)[modified] == "modify"


PART: dict[str, Any] = {
    "code": "part",
    "version": "1",
    "products": [{"code": "A"}],
    "plans": [{"code": "P", "items": [{"code": "i", "type": "milestone"}]}],
    "scenarios": [{"plan": "P", "product": "A", "actions": ["add"]}],
    "systems": [{"code": "s"}],
    "retries": [{"code": "standard", "attemptsMax": 3}],
}


def other(**changed: Any) -> dict[str, Any]:
    return {
        **PART,
        "code": "other",
        "products": [{"code": "B"}],
        "plans": [{"code": "Q", "items": [{"code": "i", "type": "milestone"}]}],
        "scenarios": [{"plan": "Q", "product": "B", "actions": ["add"]}],
        **changed,
    }


def test_parts_stand_side_by_side_and_what_they_share_stands_once():
    merged = merge("both", "1", [read_release(PART), read_release(other())])
    document = release_document(merged)

    assert compile_release(merged).release_id == "both@1"
    assert [each["code"] for each in document["products"]] == ["A", "B"]
    assert len(document["scenarios"]) == 2
    assert document["systems"] == [{"code": "s"}]
    assert document["retries"] == [{"code": "standard"}]


@pytest.mark.parametrize(
    "changed",
    [{"retries": [{"code": "standard", "attemptsMax": 5}]}, {"undeclared": "drop"}, {"products": PART["plans"]}],
)
def test_parts_that_disagree_are_refused(changed):
    with pytest.raises((PartsDisagree, OrderplanError)):
        merge("both", "1", [read_release(PART), read_release(other(**changed))])


def test_a_form_is_filled_in_by_type():
    properties: dict[str, object] = {name: {"type": name} for name in ("string", "integer", "number", "boolean")}
    properties["choice"] = {"enum": ["good", "bad"]}
    properties["address"] = {"type": "object", "properties": {"street": {"type": ["string", "null"]}}}
    properties["photos"] = {"type": "array", "items": {"type": "string"}, "minItems": 1}

    assert filled_in({"formSchema": {"type": "object", "properties": properties}}) == {
        "string": "done in the demo",
        "integer": 1,
        "number": 1,
        "boolean": True,
        "choice": "good",
        "address": {"street": "done in the demo"},
        "photos": ["done in the demo"],
    }


def test_orders_of_home_internet_are_the_samples_in_turn():
    folder = EXAMPLES / "home-internet"
    orders = home_internet.orders(folder, 7)
    parsed = [parse_order(order, order_id="o", tenant="main", client_key=None) for order in orders]

    assert len({order.account for order in parsed}) == 7
    assert len({order.external_id for order in parsed}) == 7
    assert {order.channel for order in parsed} == {"web", "shop", "partner"}


def test_the_examples_make_one_release():
    """What the demo publishes compiles, and names only systems that have a stand-in."""
    catalogue = read_object(str(EXAMPLES / "own-mobile" / "own-mobile-catalogue.json"))
    mobile, _ = import_tmf620(catalogue, read_object(str(EXAMPLES / "own-mobile" / "bindings.yaml")), "1")
    home = read_release(read_object(str(EXAMPLES / "home-internet" / "release.yaml")))
    merged = merge("demo", "1", [mobile, home])

    assert len(compile_release(merged).items) == sum(len(compile_release(each).items) for each in (mobile, home))
    assert {each.code for each in merged.systems} <= set(SYSTEMS)


@pytest.mark.parametrize(
    ("values", "percent", "result"),
    [([], 50, 0.0), ([3.0], 95, 3.0), ([1.0, 2.0, 3.0, 4.0], 50, 2.0), (list(map(float, range(1, 101))), 95, 95.0)],
)
def test_a_percentile_is_a_value_that_was_measured(values, percent, result):
    assert percentile(values, percent) == result


def test_differences_are_named_by_their_path():
    found = {
        "orders": {"completed": 7},
        "notCompleted": {},
        "items": {"callout": {"Completed": 9}},
        "assets": {"SIM": 3},
        "tasks": {},
    }
    expected = {**found, "orders": {"completed": 8, "rejected": 1}, "items": {"callout": {"Completed": 9}}}

    assert differences(found, found) == []
    assert differences(found, expected) == ["orders.completed: 7 instead of 8", "orders.rejected: 0 instead of 1"]


def test_the_expectation_is_that_of_the_default_number_of_orders():
    path = EXAMPLES / "expected.json"
    expected = json.loads(path.read_text(encoding="utf-8"))
    total = sum(expected["orders"].values())

    assert expected["generated"] == 300
    assert total >= 300
    assert expected["orders"]["completed"] >= 0.95 * total
    assert sum(expected["orders"].values()) - expected["orders"]["completed"] == len(expected["notCompleted"])


def test_without_the_examples_the_demo_says_where_it_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "CHECKOUT", tmp_path)
    with pytest.raises(UserError, match="not part of the installed package") as refused:
        demo.find_examples()

    assert "make demo" in (refused.value.mend or "")


def test_another_number_of_orders_has_no_expectation():
    assert demo.expectation(EXAMPLES, 300) is not None
    assert demo.expectation(EXAMPLES, 20) is None
