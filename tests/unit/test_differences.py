"""What differs between a document as it is stored and as it was sent."""

from __future__ import annotations

import pytest

from domain.differences import differences


@pytest.mark.parametrize(
    ("stored", "sent", "told"),
    [
        ({"plans": ["a", "b"]}, {"plans": ["b", "a"]}, [{"path": "plans", "stored": ["a", "b"], "sent": ["b", "a"]}]),
        ({"a": 1}, {"b": 1}, [{"path": "a", "stored": 1}, {"path": "b", "sent": 1}]),
        ({"a": {"b": True}}, {"a": {"b": 1}}, [{"path": "a.b", "stored": True, "sent": 1}]),
        (
            {"items": [{"code": "x", "s": 1}, {"code": "y"}]},
            {"items": [{"code": "x", "s": 2}, {"code": "z"}]},
            [
                {"path": "items[x].s", "stored": 1, "sent": 2},
                {"path": "items[y]", "stored": {"code": "y"}},
                {"path": "items[z]", "sent": {"code": "z"}},
            ],
        ),
        (
            {"items": [{"code": "x"}, {"code": "y"}]},
            {"items": [{"code": "y"}, {"code": "x"}]},
            [{"path": "items (order)", "stored": ["x", "y"], "sent": ["y", "x"]}],
        ),
        (
            {"items": [{"code": "x"}, {"code": "x"}]},
            {"items": []},
            [{"path": "items", "stored": [{"code": "x"}, {"code": "x"}], "sent": []}],
        ),
        ({"a": "x" * 300}, {"a": "y"}, [{"path": "a", "stored": "x" * 200 + "…", "sent": "y"}]),
        ({"a": [1]}, {"a": [1]}, []),
    ],
)
def test_the_smallest_places_that_differ_are_named(stored, sent, told):
    assert [each.to_dict() for each in differences(stored, sent)] == told
