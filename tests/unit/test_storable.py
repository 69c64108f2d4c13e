"""What adapters answer becomes storable, and is left alone when it is."""

import json
import math
from collections import OrderedDict
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.storable import DEPTH_MAX, SIZE_MAX, storable
from domain.errors import Unstorable


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    SMALL = 1


def nested(depth: int, core: Any) -> Any:
    """The core inside so many lists."""
    for _ in range(depth):
        core = [core]
    return core


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"attributes": {"IMSI": "001", "quantity": 3, "price": 1.5, "on": True, "none": None}, "list": [1, [2, {}]]},
        {"Gerät": "Größe 🙂"},
        {"big": 2**63 - 1, "small": -(2**63)},
        nested(DEPTH_MAX, 1),
        "text",
        None,
    ],
)
def test_what_can_be_stored_is_given_back_itself(value):
    assert storable(value) is value


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("a\0b", "a\ufffdb"),
        ("\ud800", "\ufffd"),
        ("a\ud800b\udc00c", "a\ufffdb\ufffdc"),
        ("\ud83d\ude42", "🙂"),
        ("\ud800\0🙂", "\ufffd\ufffd🙂"),
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        (2**63, "9223372036854775808"),
        (-(2**63) - 1, "-9223372036854775809"),
        (10**30, "1" + "0" * 30),
        ((1, 2), [1, 2]),
        ({7}, [7]),
        (frozenset({7}), [7]),
        (Colour.RED, "red"),
        (Size.SMALL, 1),
        (Decimal("12.50"), "12.50"),
        (datetime(2030, 1, 31, tzinfo=UTC), "2030-01-31T00:00:00+00:00"),
        (date(2030, 1, 31), "2030-01-31"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (b"a\xff\0", "a\ufffd\ufffd"),
        (OrderedDict(a=1), {"a": 1}),
        (MappingProxyType({"a": (1,)}), {"a": [1]}),
    ],
    ids=ascii,
)
def test_what_cannot_be_stored_is_replaced_wherever_it_stands(value, stored):
    document = {"a": [{"b": value, "c": 1}], "d": "kept"}
    before = repr(document)
    made = storable(document)

    assert made == {"a": [{"b": stored, "c": 1}], "d": "kept"}
    assert type(made["a"][0]["b"]) is type(stored)
    assert repr(document) == before
    assert storable(made) is made


@pytest.mark.parametrize(
    ("key", "stored"),
    [
        (1, "1"),
        (1.5, "1.5"),
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (Colour.RED, "red"),
        ("a\0", "a\ufffd"),
        ("\udfff", "\ufffd"),
        (("a", 1), "('a', 1)"),
    ],
    ids=ascii,
)
def test_keys_become_texts_that_can_be_stored(key, stored):
    made = storable({"in": {key: 1}})

    assert made == {"in": {stored: 1}}
    assert {type(each) for each in made["in"]} == {str}


@pytest.mark.parametrize("first", [0, "\0"], ids=["in order", "to be replaced"])
@pytest.mark.parametrize("core", [[], {"a": 1}, ()], ids=ascii)
def test_nesting_is_kept_to_64_levels_whether_or_not_something_else_is_wrong(first, core):
    assert storable([first, nested(DEPTH_MAX - 1, 1)])[1] == nested(DEPTH_MAX - 1, 1)
    with pytest.raises(Unstorable, match="deeper than 64"):
        storable([first, nested(DEPTH_MAX - 1, core)])


@pytest.mark.parametrize("second", [0, "\0"], ids=["in order", "to be replaced"])
@pytest.mark.parametrize(
    "value", [["x" * SIZE_MAX], [0] * SIZE_MAX, {"x" * SIZE_MAX: 1}], ids=["long text", "many values", "long key"]
)
def test_a_larger_document_is_refused_whether_or_not_something_else_is_wrong(value, second):
    with pytest.raises(Unstorable, match="larger than 4000000"):
        storable([second, value])


def test_the_largest_document_is_kept():
    largest = ["x" * (SIZE_MAX - 2)]

    assert storable(largest) is largest


@pytest.mark.parametrize("first", [0, "\0"], ids=["in order", "to be replaced"])
def test_a_document_that_holds_itself_is_refused(first):
    endless: list[Any] = [first]
    endless.append(endless)

    with pytest.raises(Unstorable):
        storable(endless)


def test_what_is_no_value_at_all_is_refused_by_its_type():
    with pytest.raises(Unstorable, match="holds a object, which is no JSON"):
        storable({"a": object()})


TEXTS = st.text(st.characters(codec=None))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary(max_size=5) | st.decimals()
KEYS = TEXTS | st.integers() | st.none() | st.booleans()
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner), max_leaves=20
)


@given(DOCUMENTS)
def test_every_document_comes_out_as_strict_json_that_postgres_takes(document):
    made = storable(document)
    text = json.dumps(made, allow_nan=False, ensure_ascii=False)

    assert "\\u0000" not in text.replace("\\\\", "")
    assert text.encode()
    assert json.loads(text) == made
    assert storable(made) is made
