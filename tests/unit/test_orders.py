"""The neutral order: its stored form, and the tree of its lines."""

from __future__ import annotations

import json

import pytest

from domain.errors import BadDocument
from domain.orders import Order, OrderLine, bundle_tree
from tests.support.build import line, order_of


@pytest.mark.rule("F.17")
def test_a_tree_is_built_from_either_end_of_a_relation() -> None:
    for kind, owner in (
        ("bundles", "a"),
        ("contains", "a"),
        ("sells", "a"),
        ("bundledBy", "b"),
        ("isChild", "b"),
        ("isSold", "b"),
    ):
        other = "b" if owner == "a" else "a"
        lines = [line(each, "x", relations=((kind, other),) if each == owner else ()) for each in ("a", "b", "c")]
        tree = bundle_tree(lines)

        assert tree.parent == {"a": None, "b": "a", "c": None}
        assert tree.root == {"a": "a", "b": "a", "c": "c"}
        assert tree.alone == {"c"}


def test_a_relation_said_from_both_ends_and_one_of_another_kind_change_nothing() -> None:
    lines = [
        line("a", "x", relations=(("bundles", "b"), ("reliesOn", "c"))),
        line("b", "x", relations=(("isChild", "a"),)),
        line("c", "x"),
    ]

    assert bundle_tree(lines).parent == {"a": None, "b": "a", "c": None}


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([line("a", "x"), line("a", "x")], "two items have the id 'a'"),
        ([line("a", "x", relations=(("bundles", "b"),))], "relation bundles names item 'b'"),
        (
            [
                line("a", "x", relations=(("bundles", "c"),)),
                line("b", "x", relations=(("bundles", "c"),)),
                line("c", "x"),
            ],
            "item 'c' stands below both 'a' and 'b'",
        ),
        (
            [line("a", "x", below="c"), line("b", "x", below="a"), line("c", "x", below="b")],
            "items a -> c -> b -> a stand below one another in a circle",
        ),
        ([line("a", "x", below="a")], "items a -> a stand below one another in a circle"),
    ],
)
def test_relations_that_give_no_tree_are_refused(lines: list[OrderLine], reason: str) -> None:
    with pytest.raises(BadDocument) as refused:
        bundle_tree(lines)
    assert refused.value.reason.startswith(reason)


@pytest.mark.parametrize(
    "order",
    [
        order_of(line("1", "x")),
        order_of(
            line(
                "1",
                "x",
                "modify",
                product_id="p-1",
                quantity=1,
                offering="o",
                name="X",
                relations=(("isChild", "2"),),
                product_relations=(("reliesOn", "p-2"),),
                place={"city": "Bern"},
                requested_start_at="2026-03-02T09:00:00Z",
                speed={"value": 1},
            ),
            line("2", None, "delete"),
            account=None,
            external_id="e",
            client_key="k",
            priority="high",
            description="d",
            due_at="2026-03-02T09:00:00Z",
            requested_start_at="2026-03-01T09:00:00Z",
            account_facts={"segment": "business"},
            rest={"note": [{"text": "n"}]},
        ),
    ],
)
def test_an_order_survives_being_stored(order: Order) -> None:
    assert Order.from_dict(json.loads(json.dumps(order.to_dict()))) == order
