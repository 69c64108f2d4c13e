"""The line of releases: which of them new orders take, at any instant.

A published release counts from its `effective_at`, and of those that count the last one is *current*: new orders take
it. A scheduled one has its moment ahead. A retired one is out of the line until somebody takes it back; retired before
its moment had come, it was withdrawn. None of this touches an order that runs: its facts name the release it is on.

A host decides by the time of its tick which release an order takes, from a `Lineup` that it read before: so all hosts
change over at the same moment, whether or not they reach the database just then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.errors import BadDocument, NotFound, NotPossibleNow


class ReleaseState(StrEnum):
    """Where a release stands in the line."""

    SCHEDULED = "scheduled"
    PUBLISHED = "published"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Standing:
    """A release in the line.

    `is_scheduled`: it does not count before `effective_at`. One that was published at once counts whatever a clock
    says: the gateway that took it may be ahead of a host.
    """

    release_id: str
    published_at: datetime
    effective_at: datetime
    is_scheduled: bool = False
    retired_at: datetime | None = None

    def has_begun(self, now: datetime) -> bool:
        """Whether its moment has come, retired or not."""
        return not self.is_scheduled or self.effective_at <= now

    def was_withdrawn(self) -> bool:
        """Whether it was retired before its moment had come."""
        return self.retired_at is not None and not self.has_begun(self.retired_at)

    def state(self, now: datetime) -> ReleaseState:
        """Its state at an instant."""
        if self.retired_at is not None:
            return ReleaseState.RETIRED
        return ReleaseState.PUBLISHED if self.has_begun(now) else ReleaseState.SCHEDULED


@dataclass(frozen=True, slots=True)
class Lineup:
    """The current release (None: there is none yet), and those that follow at their moments, in order."""

    current: str | None = None
    upcoming: tuple[tuple[datetime, str], ...] = ()

    def at(self, now: datetime) -> str | None:
        """The release that orders take at `now`."""
        begun = [release_id for begins_at, release_id in self.upcoming if begins_at <= now]
        return begun[-1] if begun else self.current

    def release_ids(self) -> list[str]:
        """All of them, the current one first."""
        found = [self.current] if self.current is not None else []
        return [*found, *(release_id for _, release_id in self.upcoming)]


def lineup_of(standings: Iterable[Standing], now: datetime) -> Lineup:
    """The line at an instant. `standings` are in their order: by `effective_at`, then as they were published."""
    lineup = Lineup()
    for each in standings:
        if each.retired_at is not None:
            continue
        if each.has_begun(now):
            # Whatever stood before it in the line is past.
            lineup = Lineup(each.release_id)
        else:
            lineup = Lineup(lineup.current, (*lineup.upcoming, (each.effective_at, each.release_id)))
    return lineup


def check_moment(effective_from: datetime | None, now: datetime) -> None:
    """Pass if a release may be published for this moment; None: at once.

    Raises:
        BadDocument: it is past.
    """
    if effective_from is not None and effective_from <= now:
        raise BadDocument(
            f"{effective_from.isoformat()} has passed",
            path="effectiveFrom",
            mend="give a moment to come, or leave it out to publish at once",
        )


def takes_up_again(found: Standing, effective_from: datetime | None, now: datetime) -> bool:
    """Whether publishing the same contents once more takes the release up again, which it does for a withdrawn one.

    False: it is a repeat, and nothing changes.

    Raises:
        NotPossibleNow: it would have to change what was said of the release before.
    """
    state = found.state(now)
    if state is ReleaseState.RETIRED:
        if found.was_withdrawn():
            return True
        raise NotPossibleNow(
            f"release {found.release_id} is retired",
            mend="unretire it; to have new orders take it, publish it under a new version",
        )
    if effective_from is not None and not (found.is_scheduled and found.effective_at == effective_from):
        raise NotPossibleNow(
            f"release {found.release_id} is {state.value} already, from {found.effective_at.isoformat()}",
            mend="retire it first and publish it again" if state is ReleaseState.SCHEDULED else "give it a new version",
        )
    if effective_from is None and state is ReleaseState.SCHEDULED:
        raise NotPossibleNow(
            f"release {found.release_id} is scheduled for {found.effective_at.isoformat()}",
            mend="retire it first and publish it again, or wait",
        )
    return False


def check_retire(standings: Sequence[Standing], release_id: str, replacement: str | None, now: datetime) -> bool:
    """Whether the release is there to be retired; False: it is retired already.

    Args:
        standings: all of the tenant, in their order.
        release_id: which.
        replacement: the published release that new orders take instead, if it is the current one.
        now: when.
    Raises:
        NotFound: there is no such release.
        NotPossibleNow: it is the current one and nothing takes its place, or what is named cannot.
    """
    found = standing_of(standings, release_id)
    if found.retired_at is not None:
        return False
    is_current = lineup_of(standings, now).current == release_id
    if replacement is None:
        if is_current:
            raise NotPossibleNow(
                f"new orders take release {release_id}",
                mend="publish the release that takes its place first, or name a published one as its replacement",
            )
        return True
    if not is_current:
        raise NotPossibleNow(
            f"new orders do not take release {release_id}, so that nothing has to replace it",
            path="replacement",
            mend="leave it out",
        )
    other = standing_of(standings, replacement)
    if replacement == release_id or other.state(now) is not ReleaseState.PUBLISHED:
        why = "itself" if replacement == release_id else other.state(now).value
        raise NotPossibleNow(
            f"release {replacement} cannot replace {release_id}: it is {why}",
            path="replacement",
            mend="name one that is published",
        )
    return True


def check_unretire(standings: Sequence[Standing], release_id: str, now: datetime) -> bool:
    """Whether the release is there to be taken back into the line; False: it is not retired.

    Raises:
        NotFound: there is no such release.
        NotPossibleNow: new orders would take it at once, which nobody has asked for.
    """
    found = standing_of(standings, release_id)
    if found.retired_at is None:
        return False
    if found.was_withdrawn() and found.has_begun(now):
        raise NotPossibleNow(
            f"release {release_id} was withdrawn, and its moment, {found.effective_at.isoformat()}, has passed",
            mend="publish it again, at once or with a new effectiveFrom",
        )
    return True


def check_move(standings: Iterable[Standing], release_id: str, now: datetime) -> None:
    """Pass if orders under way may be moved to a release: one that new orders may take, too.

    Raises:
        NotFound: there is no such release.
        NotPossibleNow: it is scheduled or retired.
    """
    try:
        state = standing_of(standings, release_id).state(now)
    except NotFound as error:
        raise NotFound(error.reason, path="release", mend=error.mend) from None
    if state is not ReleaseState.PUBLISHED:
        raise NotPossibleNow(
            f"release {release_id} is {state.value}",
            path="release",
            mend="wait for its moment" if state is ReleaseState.SCHEDULED else "unretire it first, or name another",
        )


def standing_of(standings: Iterable[Standing], release_id: str) -> Standing:
    """The standing of one release.

    Raises:
        NotFound: there is no such release.
    """
    for each in standings:
        if each.release_id == release_id:
            return each
    raise NotFound(f"there is no release {release_id!r}", mend="GET /v1/releases lists them")
