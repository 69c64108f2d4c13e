"""When an event is sent again, when a listener is left alone, and when it is suspended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from domain.deliveries import BACKOFF_S_MAX, DOWN_AFTER, Health, backoff_s, health_after

NOW = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
NOTHING: dict[str, Any] = {"taken": 0, "complaints": [], "failures": [], "failing_s": 3600.0}


def after(health: Health, at_s: float = 0.0, **found: Any) -> Health:
    return health_after(health, **{**NOTHING, **found}, now=NOW + timedelta(seconds=at_s))


def test_waits_grow_to_five_minutes_and_no_further() -> None:
    assert [backoff_s(attempts) for attempts in (1, 2, 3, 9)] == [1.0, 2.0, 4.0, 256.0]
    assert [backoff_s(attempts) for attempts in (10, 1000)] == [BACKOFF_S_MAX] * 2


def test_a_few_failures_hold_nobody_up() -> None:
    health = after(Health(), failures=["no connection"] * (DOWN_AFTER - 1))

    assert (health.places(20, NOW), health.failing_since, health.error) == (20, NOW, "no connection")


def test_who_is_down_is_left_alone_and_then_tried_with_one_event() -> None:
    health = after(Health(), failures=["no connection"] * DOWN_AFTER)
    again = after(health, 1.0, failures=["no connection"])

    assert [health.places(20, NOW + timedelta(seconds=s)) for s in (0.0, 0.9, 1.0)] == [0, 0, 1]
    assert again.paused_until == NOW + timedelta(seconds=3)
    assert after(again, 3.0, taken=1).places(20, NOW + timedelta(seconds=3)) == 20


def test_calls_that_were_open_when_the_pause_began_do_not_make_it_longer() -> None:
    health = after(Health(), failures=["no connection"] * DOWN_AFTER)
    late = after(health, 0.5, failures=["no connection"] * 15)

    assert late.paused_until == health.paused_until
    assert late.failures == DOWN_AFTER + 15


def test_one_event_that_was_taken_says_that_the_listener_is_well() -> None:
    health = after(Health(failures=9, pauses=3, failing_since=NOW), taken=1, failures=["answered 500"])

    assert (health.failures, health.pauses, health.failing_since) == (0, 0, None)


def test_complaints_about_events_are_kept_and_hold_only_these_up() -> None:
    health = after(Health(), 10_000.0, complaints=["answered 422"] * 50)

    assert (health.state, health.places(20, NOW), health.failing_since) == ("active", 20, None)
    assert health.error == "answered 422"


def test_who_does_nothing_but_fail_for_too_long_is_suspended() -> None:
    health = after(Health(), failures=["answered 503"])
    nearly = after(health, 3599.0, failures=["answered 503"])
    suspended = after(nearly, 3600.0, failures=["answered 503"])

    assert nearly.state == "active"
    assert (suspended.state, suspended.suspended_at) == ("suspended", NOW + timedelta(hours=1))
    assert suspended.places(20, NOW + timedelta(days=9)) == 0
