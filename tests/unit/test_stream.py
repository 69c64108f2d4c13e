"""Places in the stream of facts, and what a client may ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import BadDocument
from gateway.stream import WAITING_MAX, Client, decode_vector, encode_vector, read_filter

OFFSETS = st.dictionaries(st.integers(0, 2**31 - 1), st.integers(1, 2**63 - 1), max_size=80)


@given(OFFSETS)
def test_a_place_comes_back_as_it_went(offsets: dict[int, int]) -> None:
    text = encode_vector(offsets)

    assert decode_vector(text) == (offsets or {0: 0})
    assert text.isascii()
    assert set(text) <= set("0123456789abcdef.-")


@pytest.mark.parametrize("text", ["", "1", "1.2.3", "x.1", "1.-1", "1.1-1.2", "-", "1." + "f" * 17, "0.1-" * 3000])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(BadDocument, match="Last-Event-ID"):
        decode_vector(text)


def test_unknown_parameters_and_kinds_are_refused_by_name() -> None:
    assert read_filter({"kinds": "order.ended, item.failed"}).kinds == frozenset({"order.ended", "item.failed"})
    with pytest.raises(BadDocument, match="color"):
        read_filter({"color": "red"})
    with pytest.raises(BadDocument, match=r"order\.eaten"):
        read_filter({"kinds": "order.eaten"})


def test_a_client_that_does_not_keep_up_is_cut_off_and_keeps_no_more() -> None:
    client = Client({})
    batch = [None] * (WAITING_MAX // 2)
    for _ in range(3):
        client.offer(batch)  # type: ignore[arg-type]  # only their number counts

    assert client.is_cut_off
    assert client.facts == WAITING_MAX
