"""How long the delay predictor rests after a round."""

from __future__ import annotations

from actors.delay_predictor import FLOOD_FACTS, REST_FACTOR, REST_MAX_S, rest_after


def test_a_flood_of_orders_has_it_rest_longer_and_a_backlog_has_it_catch_up():
    usual, flood = rest_after(0.1, 10, is_behind=False), rest_after(0.1, FLOOD_FACTS, is_behind=False)

    assert usual == REST_FACTOR * 0.1
    assert flood > 4 * usual
    assert rest_after(0.1, FLOOD_FACTS, is_behind=True) == usual


def test_a_round_that_waited_for_somebodys_model_is_not_followed_by_minutes_of_rest():
    assert rest_after(30.0, FLOOD_FACTS, is_behind=False) == REST_MAX_S
