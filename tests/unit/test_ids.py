"""Ids that carry what routing needs."""

from __future__ import annotations

import pytest

from domain.errors import NotFound
from domain.ids import asset_id_of, effect_key, order_id_of, parse_effect_key, shard_for, shard_of


def test_an_order_id_carries_its_shard_and_sorts_by_time() -> None:
    ids = [order_id_of(63, at, entropy) for at, entropy in ((1, 5), (1, 6), (2, 0), (1_800_000_000_000, 2**40 + 7))]

    assert [shard_of(each) for each in ids] == [63] * 4
    assert ids == sorted(ids)
    assert len({len(each) for each in ids}) == 1


@pytest.mark.parametrize("text", ["", "x1-2", "o", "o-1", "ozz-1", "o1", "o1-"])
def test_what_is_no_order_id_names_no_order(text: str) -> None:
    with pytest.raises(NotFound, match="there is no order"):
        shard_of(text)


def test_an_effect_key_is_taken_apart_whatever_its_item_is_called() -> None:
    for item in ("p/call@1", "p/call@site/7", "p/a@b@key:1/2"):
        assert parse_effect_key(effect_key("o1-2", item, 3)) == ("o1-2", item, 3)


@pytest.mark.parametrize("key", ["", "o1-2", "o1-2/3", "o1-2/p/call@1/", "o1-2/p/call@1/x", "o1-2/p/call@1/-1"])
def test_what_is_no_effect_key_names_no_work(key: str) -> None:
    with pytest.raises(NotFound, match="there is no work"):
        parse_effect_key(key)


def test_an_account_has_the_same_shard_in_every_process() -> None:
    # Written down: an account that moved to another shard would be owned twice.
    assert [shard_for(text, 64) for text in ("acc-1", "acc-2", "Zürich")] == [33, 27, 62]


def test_an_asset_has_the_same_id_on_every_replay() -> None:
    assert asset_id_of("o1-2", "t@1") == "p329192142b180db1cf57"
    assert len({asset_id_of(order, line) for order in ("o1-2", "o1-3") for line in ("t@1", "t@2")}) == 4
