"""Training sets: what was known when, what became of it, and two parts that share no order."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from delay.features import CATEGORIES, NAMES, column
from delay.histories import Happening, KeptHistory
from delay.training import EVENTS_MAX, TICKS, Split, TooLittleHistory, TrainingSet, training_sets
from domain import facts as f
from domain.facts import Fact
from tests.support.worlds import history

ORDERS = 36
NUMBERS = [at for at, name in enumerate(NAMES) if name not in CATEGORIES]


@pytest.fixture(scope="module")
def made() -> KeptHistory:
    return history(ORDERS, 24, "home-internet", tight_share=0.4)


@pytest.fixture(scope="module")
def split(made: KeptHistory) -> Split:
    return training_sets(made)


def ends(made: KeptHistory) -> dict[str, datetime]:
    return {order_id: fact.at for order_id, fact in made if fact.kind == f.ORDER_ENDED}


def begins(made: KeptHistory) -> dict[str, datetime]:
    return {order_id: fact.at for order_id, fact in made if fact.kind == f.ORDER_ACCEPTED}


def dues(made: KeptHistory) -> dict[str, datetime]:
    return {
        order_id: datetime.fromisoformat((fact.payload or {})["order"]["dueAt"])
        for order_id, fact in made
        if fact.kind == f.ORDER_ACCEPTED and fact.payload is not None
    }


def points(part: TrainingSet) -> dict[str, list[tuple[float, float]]]:
    """(moment, tick) of each order, in the order of time."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for order_id, at, tick in zip(part.order_ids.tolist(), part.at.tolist(), part.tick.tolist(), strict=True):
        found[order_id].append((at, tick))
    return {order_id: sorted(each) for order_id, each in found.items()}


def test_the_parts_share_no_order_and_lie_on_both_sides_of_the_split(made, split):
    began, ended = begins(made), ends(made)
    train, test = set(split.train.order_ids.tolist()), set(split.test.order_ids.tolist())

    assert train
    assert test
    assert not train & test
    assert all(ended[order_id] < split.at for order_id in train)
    assert all(began[order_id] >= split.at for order_id in test)


def test_an_order_that_was_open_at_the_split_is_in_neither_part(made, split):
    began, ended = begins(made), ends(made)
    across = {each for each in began if began[each] < split.at and not ended.get(each, made.until) < split.at}

    assert across
    assert not across & {*split.train.order_ids.tolist(), *split.test.order_ids.tolist()}


def test_what_is_not_due_before_the_history_ends_is_left_out_even_if_it_has_ended(made):
    ended, due = ends(made), dues(made)
    quick = max((each for each in ended if ended[each] < due[each]), key=lambda order_id: ended[order_id])
    until = ended[quick] + timedelta(minutes=1)
    known = tuple(each for each in made if each.fact.at <= until)
    cut = training_sets(KeptHistory(made.releases, made.templates, until, known), train_share=0.5, event_share=0.0)

    assert begins(made)[quick] > cut.at
    assert quick not in cut.test.order_ids
    assert all(due[order_id] < until for order_id in cut.test.order_ids.tolist())


def test_the_labels_are_what_became_of_the_orders(made, split):
    ended, due = ends(made), dues(made)
    for part in (split.train, split.test):
        for order_id, at, is_late, left_s in zip(
            part.order_ids.tolist(), part.at.tolist(), part.is_late.tolist(), part.left_s.tolist(), strict=True
        ):
            assert is_late is (order_id not in ended or ended[order_id] > due[order_id])
            if order_id in ended:
                assert left_s == pytest.approx(ended[order_id].timestamp() - at, abs=1e-3)
            else:
                assert np.isnan(left_s)

    assert 0 < split.train.is_late.mean() < 1


def test_orders_are_looked_at_while_they_are_open_and_not_overdue(made, split):
    began, ended, due = begins(made), ends(made), dues(made)
    for order_id, found in points(split.train).items():
        assert began[order_id].timestamp() <= found[0][0]
        assert found[-1][0] < min(ended[order_id], due[order_id]).timestamp()


def test_orders_are_looked_at_at_ticks_of_the_allowed_time(made, split):
    began, due = begins(made), dues(made)
    seen = set()
    for order_id, found in points(split.train).items():
        for at, tick in found:
            if tick:
                allowed = due[order_id] - began[order_id]
                assert at == pytest.approx((began[order_id] + allowed * tick).timestamp(), abs=1e-3)
                seen.add(tick)

    assert seen == set(TICKS)


def test_no_moment_of_an_order_is_looked_at_twice_and_not_too_many_are(split):
    for found in points(split.train).values():
        events = [at for at, tick in found if not tick]
        assert all(earlier < later for earlier, later in pairwise(events))
        assert len(events) <= EVENTS_MAX


def test_what_comes_after_a_point_does_not_change_its_row(made, split):
    """Cut the history off: what was known before is as it was."""
    cut_at = made.until - timedelta(days=12)
    known = tuple(each for each in made if each.fact.at <= cut_at)
    short = training_sets(KeptHistory(made.releases, made.templates, cut_at, known))
    whole = _rows(split)
    compared = 0
    for key, row in _rows(short).items():
        if key in whole:
            # The numbers of categories follow from what was learnt from, which is another part.
            assert row[NUMBERS].tolist() == whole[key][NUMBERS].tolist()
            compared += 1

    assert compared > 50


def _rows(split: Split) -> dict[tuple[str, float, float], np.ndarray]:
    return {
        (order_id, at, tick): row
        for part in (split.train, split.test)
        for order_id, at, tick, row in zip(
            part.order_ids.tolist(), part.at.tolist(), part.tick.tolist(), part.rows, strict=True
        )
    }


def test_the_same_seed_shuffles_the_same_and_another_one_otherwise(made):
    first, again, other = (training_sets(made, seed=seed, event_share=0.0) for seed in (1, 1, 2))

    assert first.train.rows.tobytes() == again.train.rows.tobytes()
    assert first.train.at.tolist() != other.train.at.tolist()
    assert sorted(first.train.at.tolist()) == sorted(other.train.at.tolist())
    assert first.train.at.tolist() != sorted(first.train.at.tolist())


def test_fewer_events_may_be_kept_but_every_tick(made, split):
    fewer = training_sets(made, event_share=0.2)

    assert len(split.train) - len(fewer.train) > 0.5 * (split.train.tick == 0).sum()
    assert (fewer.train.tick > 0).sum() == (split.train.tick > 0).sum()


def test_by_due_date_the_orders_that_were_late_and_open_at_the_split_are_learnt_from_too(made):
    began, due, ended = begins(made), dues(made), ends(made)
    latest = max(ended, key=lambda order_id: ended[order_id] - due[order_id])
    before = sum(at <= due[latest] for at in began.values())
    by_due = training_sets(made, by_due=True, train_share=(before + 0.5) / ORDERS)
    by_end = training_sets(made, train_share=(before + 0.5) / ORDERS)

    assert due[latest] < by_due.at < ended[latest]
    assert latest in by_due.train.order_ids
    assert latest not in by_end.train.order_ids
    assert all(due[order_id] < by_due.at for order_id in by_due.train.order_ids.tolist())


def test_the_schema_knows_the_categories_of_what_was_learnt_from_and_no_others(split):
    channels = column(split.train.rows, "channel")

    assert set(channels.tolist()) == set(range(len(split.schema.categories["channel"])))
    assert column(split.train.rows, "plan_class").min() == 0
    assert column(split.test.rows, "plan_class").min() >= -1


def test_rejected_and_cancelled_orders_are_left_out(made, split):
    first = made.happenings[0].fact
    order = first.payload["order"]
    void = (
        Happening("void-1", first._replace(kind=f.ORDER_REJECTED, payload=first.payload | {"reasons": []})),
        Happening("void-2", first._replace(payload=first.payload | {"order": order | {"id": "void-2"}})),
        Happening("void-2", Fact(f.ORDER_WAITING, first.at, payload={"behind": ["x"], "roots": []})),
        Happening("void-2", Fact(f.ORDER_ENDED, first.at, payload={"state": "cancelled", "reasons": []})),
    )
    more = KeptHistory(made.releases, made.templates, made.until, (*void, *made))
    found = training_sets(more, train_share=(0.7 * ORDERS + 2) / (ORDERS + 2))

    assert found.at == split.at
    assert found.train.rows.tobytes() == split.train.rows.tobytes()


def test_a_history_that_is_too_short_is_refused(made):
    first = tuple(each for each in made)[:1]
    with pytest.raises(TooLittleHistory):
        training_sets(KeptHistory(made.releases, made.templates, made.until, ()))
    with pytest.raises(TooLittleHistory):
        training_sets(KeptHistory(made.releases, made.templates, made.until, first))
