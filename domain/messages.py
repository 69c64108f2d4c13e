"""What a plan can be told. Commands are imperative; reports say what happened outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Report:
    """How one attempt of an item went at its system.

    `unheard` marks a failure of which nobody knows whether the system did the work: the next try repeats the same key.
    `held` says that the call was not made: `error_code` is the cause (`domain.holds.HoldCause`), `error` the reason.
    """

    item: str
    attempt: int
    kind: Literal["completed", "accepted", "retryable", "failed", "held"]
    answer: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    error_code: str = ""
    unheard: bool = False
    simulated: bool = False
    via: str = "adapter"
    """`adapter`, or `callback` for an answer that came later."""

    def __reduce__(self) -> tuple[Any, ...]:
        # By constructor: the generic way of frozen dataclasses with slots takes several times as long to unpickle.
        return Report, (
            self.item,
            self.attempt,
            self.kind,
            self.answer,
            self.error,
            self.error_code,
            self.unheard,
            self.simulated,
            self.via,
        )


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The clock passed the item's timer, or its plan has a new owner who has found its call out of time."""

    item: str


@dataclass(frozen=True, slots=True)
class ResumeItem:
    """The item's turn has come: its system takes calls again, or is to be tried with this one. Twice is once."""

    item: str


@dataclass(frozen=True, slots=True)
class ClaimTask:
    """A person has taken a manual task (the queue has granted it)."""

    item: str
    worker: str
    message_id: str


@dataclass(frozen=True, slots=True)
class ReleaseTask:
    """A person has given a manual task back."""

    item: str
    worker: str
    message_id: str


@dataclass(frozen=True, slots=True)
class CompleteTask:
    """A person has done a manual task; `data` are the values of its form."""

    item: str
    worker: str
    data: Mapping[str, Any]
    message_id: str


@dataclass(frozen=True, slots=True)
class AnnotateItem:
    """A person leaves a note about an item."""

    item: str
    text: str
    message_id: str


@dataclass(frozen=True, slots=True)
class OperateItem:
    """An operator's repair: retry, complete with an answer, skip, or edit the payload and retry; the reason is kept.

    `payload` is what an edit makes of the next attempts, or with `is_patch` what it changes of it. An edit gives the
    next attempt a new effect key, also after an attempt that nobody heard of: a system would refuse the old key with
    another body. If that attempt did its work after all, the system does it a second time.
    """

    item: str
    action: Literal["retry", "complete", "skip", "edit"]
    operator: str
    reason: str
    message_id: str
    answer: Mapping[str, Any] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)
    is_patch: bool = False
    is_fallout_only: bool = False
    """Refuse an item that is not Fatally Failed (any more): it was chosen because it was."""


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """Somebody outside knows more of a line: values for its attributes; the reason is kept."""

    line: str
    attributes: Mapping[str, Any]
    reason: str
    message_id: str


@dataclass(frozen=True, slots=True)
class SteerOrder:
    """Somebody steers the whole order; the reason is kept.

    `hold` and `resume`: nothing new begins meanwhile, work under way goes on. `freeze` and `thaw`: as for a change of
    the order, but without one; thawing also gives up a change that waits. `prioritize` to `priority` (high, normal,
    low).
    """

    action: Literal["hold", "resume", "freeze", "thaw", "prioritize"]
    reason: str
    message_id: str
    priority: str = ""


@dataclass(frozen=True, slots=True)
class ChangeOrder:
    """An order that is under way is to be another one (`domain/change.py`).

    `amend`: to what `order` says, which is the whole new order. `patch`: `patch` says what changes of it. `cancel`: the
    bundles of the order lines `lines` are taken back, all of them when it is empty. `move`: the same order by another
    `release`. `rejoin`: the same order without what the order `joined` was to share with it (`domain/rejoin.py`).
    """

    kind: Literal["amend", "patch", "cancel", "move", "rejoin"]
    reason: str
    message_id: str
    order: Mapping[str, Any] | None = None
    patch: Mapping[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    release: str | None = None
    version: int | None = None
    """The version of the order that the change was made for; None: whichever it has."""
    is_forced: bool = False
    """Past the point of no return too."""
    is_dry_run: bool = False
    """Say what would come of it, and change nothing."""
    joined: str = ""
    """Of a rejoin: the order that does not deliver what it was to share."""
    awaits: tuple[str, ...] = ()
    """Of a rejoin: the items that wait for that."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Another order of the account has delivered (or ended without delivering) shared instances.

    `asset_ids` None means the other order has ended: whatever was awaited of it is awaited no more.
    """

    by_order: str
    asset_ids: frozenset[str] | None
    is_cancelled: bool = False
    """The other order was taken back, so what it was to share is made by those that wait for it."""


@dataclass(frozen=True, slots=True)
class NotJoined:
    """The plan cannot be worked out anew without what these items wait for: a person decides."""

    items: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class RelatedTold:
    """How items of a related order stand that an await item stands for (`domain/related.py`). Twice is once.

    `done`, or `void`: the order has no such item. `notDone`: it never will be. `mutualWait`: `orders` wait for one
    another in a circle, in this sequence.
    """

    item: str
    order: str
    outcome: Literal["done", "void", "notDone", "mutualWait"]
    orders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AssetsBooked:
    """The account's host has stored a booking of this dedicated plan."""

    number: int


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Deciding or storing a message of this plan failed for its data; `item` is the one the message was about."""

    reason: str
    item: str | None = None


PlanMessage = (
    Report
    | TimerFired
    | ResumeItem
    | ClaimTask
    | ReleaseTask
    | CompleteTask
    | AnnotateItem
    | OperateItem
    | ChangeLine
    | SteerOrder
    | Delivered
    | NotJoined
    | RelatedTold
    | AssetsBooked
    | Quarantine
)
