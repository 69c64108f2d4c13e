"""Which release new orders take, at every instant, and what may be done to the line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from domain.errors import BadDocument, NotFound, NotPossibleNow
from domain.lineup import (
    Lineup,
    ReleaseState,
    Standing,
    check_moment,
    check_move,
    check_retire,
    check_unretire,
    lineup_of,
    takes_up_again,
)

NOON = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def published(name: str, minutes: float = 0, retired: float | None = None) -> Standing:
    return Standing(name, at(minutes), at(minutes), retired_at=None if retired is None else at(retired))


def scheduled(name: str, minutes: float, retired: float | None = None) -> Standing:
    return Standing(name, at(-60), at(minutes), True, None if retired is None else at(retired))


def test_the_last_published_is_current_and_a_scheduled_one_from_its_moment_on() -> None:
    line = lineup_of([published("r@1"), published("r@2"), scheduled("r@3", 10), scheduled("r@4", 20)], at(5))

    assert line == Lineup("r@2", ((at(10), "r@3"), (at(20), "r@4")))
    assert line.release_ids() == ["r@2", "r@3", "r@4"]
    just_before = at(10) - timedelta(microseconds=1)
    assert [line.at(when) for when in (just_before, at(10), at(19), at(20), at(999))] == [
        "r@2", "r@3", "r@3", "r@4", "r@4",
    ]  # fmt: skip


def test_what_was_read_early_says_the_same_as_what_is_read_late() -> None:
    standings = [published("r@1"), scheduled("r@2", 10), published("r@3", 15), scheduled("r@4", 20, retired=1)]
    early = lineup_of([each for each in standings if each.release_id != "r@3"], at(0))

    for minutes in (0, 9, 10, 14):
        assert early.at(at(minutes)) == lineup_of(standings[:2], at(minutes)).current
    assert lineup_of(standings, at(30)) == Lineup("r@3")


def test_before_the_first_moment_there_is_no_release() -> None:
    line = lineup_of([scheduled("r@1", 10)], at(0))

    assert line.at(at(9)) is None
    assert line.at(at(10)) == "r@1"


def test_one_that_was_published_at_once_counts_although_the_clock_of_its_gateway_is_ahead() -> None:
    assert lineup_of([published("r@1"), published("r@2", 1)], at(0)) == Lineup("r@2")
    # Published after the moment of another, by its gateway's clock: that one is past.
    assert lineup_of([published("r@1"), scheduled("r@2", 1), published("r@3", 2)], at(0)) == Lineup("r@3")


def test_states_follow_from_the_clock() -> None:
    each = scheduled("r@1", 10)

    assert [each.state(at(minutes)) for minutes in (9, 10)] == [ReleaseState.SCHEDULED, ReleaseState.PUBLISHED]
    assert published("r@1", retired=1).state(at(2)) is ReleaseState.RETIRED
    assert scheduled("r@1", 10, retired=5).was_withdrawn()
    assert not scheduled("r@1", 10, retired=15).was_withdrawn()


LINE = [published("r@1"), published("gone@1", 1, retired=3), published("r@2", 2), scheduled("r@3", 10)]


@pytest.mark.parametrize(
    ("release_id", "replacement", "does"),
    [("r@1", None, True), ("r@3", None, True), ("gone@1", None, False), ("r@2", "r@1", True)],
)
def test_whatever_new_orders_do_not_need_can_be_retired(release_id: str, replacement: str | None, does: bool) -> None:
    assert check_retire(LINE, release_id, replacement, at(5)) is does


@pytest.mark.parametrize(
    ("release_id", "replacement", "why", "mend"),
    [
        ("r@2", None, "new orders take release r@2", "publish the release that takes its place first"),
        ("r@2", "r@2", "it is itself", "name one that is published"),
        ("r@2", "r@3", "it is scheduled", "name one that is published"),
        ("r@2", "gone@1", "it is retired", "name one that is published"),
        ("r@1", "r@2", "nothing has to replace it", "leave it out"),
    ],
)
def test_the_current_one_is_retired_only_when_a_published_one_takes_its_place(
    release_id: str, replacement: str | None, why: str, mend: str
) -> None:
    with pytest.raises(NotPossibleNow, match=why) as caught:
        check_retire(LINE, release_id, replacement, at(5))

    assert mend in (caught.value.mend or "")


@pytest.mark.parametrize(("release_id", "replacement"), [("r@9", None), ("r@2", "r@9")])
def test_a_release_that_nobody_knows_is_named(release_id: str, replacement: str | None) -> None:
    with pytest.raises(NotFound, match="r@9"):
        check_retire(LINE, release_id, replacement, at(5))


def test_a_withdrawn_release_comes_back_as_scheduled_until_its_moment_has_passed() -> None:
    line = [published("r@1"), scheduled("r@2", 10, retired=5)]

    assert check_unretire(line, "r@2", at(6)) is True
    assert check_unretire(line, "r@1", at(6)) is False
    # New orders would take it at once, which nobody has asked for.
    with pytest.raises(NotPossibleNow, match=r"its moment, .* has passed"):
        check_unretire(line, "r@2", at(10))


def test_a_repeated_publish_changes_nothing_and_one_that_would_change_something_is_refused() -> None:
    assert takes_up_again(published("r@1"), None, at(5)) is False
    assert takes_up_again(scheduled("r@1", 10), at(10), at(5)) is False
    # Heard late: the moment has passed meanwhile.
    assert takes_up_again(scheduled("r@1", 10), at(10), at(15)) is False
    assert takes_up_again(scheduled("r@1", 10), None, at(15)) is False
    for found, effective_from, why in (
        (scheduled("r@1", 10), at(11), "is scheduled already"),
        (scheduled("r@1", 10), None, "is scheduled for"),
        (published("r@1"), at(10), "is published already"),
        (published("r@1", retired=1), None, "is retired"),
        (published("r@1", retired=1), at(10), "is retired"),
    ):
        with pytest.raises(NotPossibleNow, match=why):
            takes_up_again(found, effective_from, at(5))


def test_a_withdrawn_release_can_be_published_again() -> None:
    assert takes_up_again(scheduled("r@1", 10, retired=5), at(20), at(15)) is True
    assert takes_up_again(scheduled("r@1", 10, retired=5), None, at(15)) is True


def test_a_moment_that_has_passed_is_refused() -> None:
    check_moment(None, at(0))
    check_moment(at(1), at(0))
    with pytest.raises(BadDocument, match="has passed") as caught:
        check_moment(at(0), at(0))

    assert caught.value.path == "effectiveFrom"


@pytest.mark.parametrize(("release_id", "does"), [("r@1", False), ("r@2", True), ("r@3", False)])
def test_orders_are_moved_only_to_what_new_orders_may_take(release_id: str, does: bool) -> None:
    standings = [published("r@1", retired=2), published("r@2"), scheduled("r@3", 10)]

    if does:
        check_move(standings, release_id, at(5))
        return
    with pytest.raises(NotPossibleNow) as refused:
        check_move(standings, release_id, at(5))
    assert refused.value.mend
    assert refused.value.path == "release"


def test_nothing_is_moved_to_a_release_that_nobody_knows() -> None:
    with pytest.raises(NotFound) as refused:
        check_move([published("r@1")], "r@2", at(5))
    assert refused.value.path == "release"
