"""The state tables of items, plans and orders: the one file with everything that concerns transitions.

State -> event -> next state. What is not in a table raises and changes nothing. Source: REFERENCE sections b1 and b2
(Salesforce Industries order management, with the additions marked as ours) and TMF622 v4 for orders. Diagrams in
docs/states.md are drawn from these tables.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from domain.errors import IllegalTransition


class ItemState(StrEnum):
    """The state of one orchestration item."""

    PENDING = "Pending"
    READY = "Ready"
    RUNNING = "Running"
    COMPLETED = "Completed"
    ON_HOLD = "On Hold"
    SCHEDULED = "Scheduled"
    FAILED = "Failed"
    FATALLY_FAILED = "Fatally Failed"
    SKIPPED = "Skipped"
    FROZEN = "Frozen"
    FROZEN_RUNNING = "Frozen - Running"
    FROZEN_FAILED = "Frozen - Failed"
    FROZEN_FATALLY_FAILED = "Frozen - Fatally Failed"
    AMENDED = "Amended"
    CANCELLED = "Cancelled"
    DISCARDED = "Discarded"
    FAILED_DISCARDED = "Failed Discarded"


class ItemEvent(StrEnum):
    """What happens to an item, in past tense."""

    UNBLOCKED = "unblocked"
    CONDITION_FALSE = "conditionFalse"
    BRANCH_SKIPPED = "branchSkipped"
    SCHEDULED = "scheduled"
    TIME_REACHED = "timeReached"
    STARTED = "started"
    SYSTEM_WENT_OFFLINE = "systemWentOffline"
    SYSTEM_CAME_ONLINE = "systemCameOnline"
    COMPLETED = "completed"
    FAILED = "failed"
    RETRY_DUE = "retryDue"
    FATALLY_FAILED = "fatallyFailed"
    OPERATOR_RETRIED = "operatorRetried"
    OPERATOR_COMPLETED = "operatorCompleted"
    OPERATOR_SKIPPED = "operatorSkipped"
    FROZEN = "frozen"
    THAWED = "thawed"
    LINE_AMENDED = "lineAmended"
    LINE_CANCELLED = "lineCancelled"


class PlanState(StrEnum):
    """The state of an orchestration plan."""

    NOT_STARTED = "Not Started"
    IN_PROGRESS = "In Progress"
    FREEZING = "Freezing"
    FROZEN = "Frozen"
    HELD = "Held"
    COMPLETED = "Completed"


class PlanEvent(StrEnum):
    """What happens to a plan, in past tense."""

    STARTED = "started"
    FREEZE_ASKED_IDLE = "freezeAskedIdle"
    FREEZE_ASKED_BUSY = "freezeAskedBusy"
    LAST_RUNNING_ENDED = "lastRunningEnded"
    CHANGE_DISCARDED = "changeDiscarded"
    CHANGE_ACCEPTED = "changeAccepted"
    HOLD_ASKED = "holdAsked"
    RESUMED = "resumed"
    COMPLETED = "completed"


class OrderState(StrEnum):
    """The state of an order, as channels know it (TMF622 v4)."""

    ACKNOWLEDGED = "acknowledged"
    REJECTED = "rejected"
    PENDING = "pending"
    HELD = "held"
    IN_PROGRESS = "inProgress"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    FAILED = "failed"
    PARTIAL = "partial"
    ASSESSING_CANCELLATION = "assessingCancellation"
    PENDING_CANCELLATION = "pendingCancellation"


_S = ItemState
_E = ItemEvent

ITEM_TRANSITIONS: Final[dict[ItemState, dict[ItemEvent, ItemState]]] = {
    _S.PENDING: {
        _E.UNBLOCKED: _S.READY,
        _E.CONDITION_FALSE: _S.SKIPPED,
        _E.BRANCH_SKIPPED: _S.SKIPPED,
        _E.SCHEDULED: _S.SCHEDULED,
        _E.OPERATOR_SKIPPED: _S.SKIPPED,
        _E.FROZEN: _S.FROZEN,
        # Not run yet: it stays, and runs once with the new data.
        _E.LINE_AMENDED: _S.PENDING,
    },
    _S.READY: {
        _E.STARTED: _S.RUNNING,
        _E.SYSTEM_WENT_OFFLINE: _S.ON_HOLD,
        _E.OPERATOR_SKIPPED: _S.SKIPPED,
        _E.FROZEN: _S.FROZEN,
    },
    _S.RUNNING: {
        _E.COMPLETED: _S.COMPLETED,
        _E.FAILED: _S.FAILED,
        # No Retry, or the last attempt: straight to a person.
        _E.FATALLY_FAILED: _S.FATALLY_FAILED,
        _E.OPERATOR_COMPLETED: _S.COMPLETED,
        # The work itself goes on and its result is recorded.
        _E.FROZEN: _S.FROZEN_RUNNING,
    },
    _S.ON_HOLD: {
        _E.SYSTEM_CAME_ONLINE: _S.READY,
        _E.OPERATOR_SKIPPED: _S.SKIPPED,
        _E.FROZEN: _S.FROZEN,
    },
    _S.SCHEDULED: {
        _E.TIME_REACHED: _S.READY,
        _E.SYSTEM_WENT_OFFLINE: _S.ON_HOLD,
        _E.OPERATOR_SKIPPED: _S.SKIPPED,
        _E.FROZEN: _S.FROZEN,
        # The date is evaluated again.
        _E.LINE_AMENDED: _S.PENDING,
    },
    _S.FAILED: {
        _E.RETRY_DUE: _S.READY,
        # Due for retry while its system is offline: held instead of failing again.
        _E.SYSTEM_WENT_OFFLINE: _S.ON_HOLD,
        _E.FATALLY_FAILED: _S.FATALLY_FAILED,
        _E.OPERATOR_RETRIED: _S.READY,
        _E.OPERATOR_COMPLETED: _S.COMPLETED,
        _E.OPERATOR_SKIPPED: _S.SKIPPED,
        _E.FROZEN: _S.FROZEN_FAILED,
        # A retry runs it with the new data.
        _E.LINE_AMENDED: _S.FAILED,
    },
    _S.FATALLY_FAILED: {
        _E.OPERATOR_RETRIED: _S.READY,
        _E.OPERATOR_COMPLETED: _S.COMPLETED,
        _E.OPERATOR_SKIPPED: _S.SKIPPED,
        _E.FROZEN: _S.FROZEN_FATALLY_FAILED,
        _E.LINE_AMENDED: _S.FATALLY_FAILED,
    },
    # Terminal for everything but a change of the order: what was done may have to be done again or undone.
    _S.COMPLETED: {
        _E.LINE_AMENDED: _S.AMENDED,
        _E.LINE_CANCELLED: _S.CANCELLED,
    },
    # Ours: a skipped item is looked at again with the new data; the reference leaves it skipped for ever.
    _S.SKIPPED: {
        _E.LINE_AMENDED: _S.PENDING,
        _E.LINE_CANCELLED: _S.DISCARDED,
    },
    _S.FROZEN: {
        # A call that came back unmade was made after all.
        _E.COMPLETED: _S.COMPLETED,
        _E.LINE_AMENDED: _S.PENDING,
        _E.LINE_CANCELLED: _S.DISCARDED,
    },
    _S.FROZEN_RUNNING: {
        _E.COMPLETED: _S.COMPLETED,
        _E.FAILED: _S.FROZEN_FAILED,
        _E.FATALLY_FAILED: _S.FROZEN_FATALLY_FAILED,
        # While the plan freezes, an operator may end it by completing it (REFERENCE a3, fallout).
        _E.OPERATOR_COMPLETED: _S.COMPLETED,
        # A manual task goes on with new attributes and a note; other work is waited for first.
        _E.LINE_AMENDED: _S.RUNNING,
        # A manual task that nobody needs any more.
        _E.LINE_CANCELLED: _S.DISCARDED,
        # Its call was not made after all.
        _E.SYSTEM_WENT_OFFLINE: _S.FROZEN,
    },
    _S.FROZEN_FAILED: {
        # It was done after all, and nobody had heard of it in time.
        _E.COMPLETED: _S.COMPLETED,
        _E.LINE_AMENDED: _S.FAILED,
        # The remote effect is unknown: a person resolves it.
        _E.LINE_CANCELLED: _S.FAILED_DISCARDED,
    },
    _S.FROZEN_FATALLY_FAILED: {
        _E.COMPLETED: _S.COMPLETED,
        _E.LINE_AMENDED: _S.FATALLY_FAILED,
        _E.LINE_CANCELLED: _S.FAILED_DISCARDED,
    },
    _S.AMENDED: {},
    _S.CANCELLED: {},
    _S.DISCARDED: {},
    _S.FAILED_DISCARDED: {},
}

THAWS: Final[dict[ItemState, frozenset[ItemState]]] = {
    _S.FROZEN: frozenset({_S.PENDING, _S.READY, _S.ON_HOLD, _S.SCHEDULED}),
    _S.FROZEN_RUNNING: frozenset({_S.RUNNING}),
    _S.FROZEN_FAILED: frozenset({_S.FAILED, _S.RUNNING}),
    _S.FROZEN_FATALLY_FAILED: frozenset({_S.FATALLY_FAILED, _S.RUNNING}),
}
"""To which states a thaw may lead back: the state before the freeze, which the item remembers."""

TERMINAL_ITEM_STATES: Final = frozenset(
    {_S.COMPLETED, _S.SKIPPED, _S.AMENDED, _S.CANCELLED, _S.DISCARDED, _S.FAILED_DISCARDED}
)
"""States that only an amendment or a cancellation leaves."""

SATISFYING_ITEM_STATES: Final = frozenset({_S.COMPLETED, _S.SKIPPED})
"""States that satisfy what depends on the item. An Amended item is followed by its redo, which its dependents wait
for.
"""

MOVING_ITEM_STATES: Final = frozenset({_S.READY, _S.RUNNING, _S.FAILED, _S.SCHEDULED})
"""States in which something will happen by itself or by somebody at work."""

RUNNING_ITEM_STATES: Final = frozenset({_S.RUNNING, _S.FROZEN_RUNNING})
"""States in which the item's work is under way, whatever becomes of the plan meanwhile."""

FROZEN_ITEM_STATES: Final = frozenset(THAWS)
"""States of an item while its plan is frozen."""

OVERTAKEN_ITEM_STATES: Final = frozenset({_S.AMENDED, _S.CANCELLED, _S.DISCARDED, _S.FAILED_DISCARDED})
"""States in which a change of the order has left an item behind: what others wait for stands elsewhere."""

PLAN_TRANSITIONS: Final[dict[PlanState, dict[PlanEvent, PlanState]]] = {
    PlanState.NOT_STARTED: {PlanEvent.STARTED: PlanState.IN_PROGRESS},
    PlanState.IN_PROGRESS: {
        PlanEvent.FREEZE_ASKED_IDLE: PlanState.FROZEN,
        PlanEvent.FREEZE_ASKED_BUSY: PlanState.FREEZING,
        PlanEvent.HOLD_ASKED: PlanState.HELD,
        PlanEvent.COMPLETED: PlanState.COMPLETED,
    },
    PlanState.FREEZING: {
        PlanEvent.LAST_RUNNING_ENDED: PlanState.FROZEN,
        PlanEvent.CHANGE_DISCARDED: PlanState.IN_PROGRESS,
    },
    PlanState.FROZEN: {
        PlanEvent.CHANGE_DISCARDED: PlanState.IN_PROGRESS,
        PlanEvent.CHANGE_ACCEPTED: PlanState.IN_PROGRESS,
    },
    # Ours: nothing new starts, running work and its results go on.
    PlanState.HELD: {
        PlanEvent.RESUMED: PlanState.IN_PROGRESS,
        PlanEvent.FREEZE_ASKED_IDLE: PlanState.FROZEN,
        PlanEvent.FREEZE_ASKED_BUSY: PlanState.FREEZING,
    },
    PlanState.COMPLETED: {},
}

_O = OrderState

ORDER_TRANSITIONS: Final[dict[OrderState, frozenset[OrderState]]] = {
    _O.ACKNOWLEDGED: frozenset({_O.IN_PROGRESS, _O.PENDING}),
    _O.IN_PROGRESS: frozenset(
        {_O.PENDING, _O.HELD, _O.ASSESSING_CANCELLATION, _O.COMPLETED, _O.FAILED, _O.PARTIAL}
    ),
    _O.PENDING: frozenset({_O.IN_PROGRESS, _O.ASSESSING_CANCELLATION, _O.CANCELLED}),
    _O.HELD: frozenset({_O.IN_PROGRESS, _O.ASSESSING_CANCELLATION, _O.CANCELLED}),
    # Denied: back to where it was.
    _O.ASSESSING_CANCELLATION: frozenset({_O.PENDING_CANCELLATION, _O.IN_PROGRESS, _O.PENDING, _O.HELD}),
    _O.PENDING_CANCELLATION: frozenset({_O.CANCELLED}),
    _O.REJECTED: frozenset(),
    _O.CANCELLED: frozenset(),
    _O.COMPLETED: frozenset(),
    _O.FAILED: frozenset(),
    _O.PARTIAL: frozenset(),
}


def next_item_state(state: ItemState, event: ItemEvent, *, frozen_from: ItemState | None = None) -> ItemState:
    """The state after the event; `frozen_from` is the state before the freeze, needed for a thaw.

    Raises:
        IllegalTransition: the table has no such arrow.
    """
    if event is ItemEvent.THAWED:
        if frozen_from is None or frozen_from not in THAWS.get(state, ()):
            raise IllegalTransition(state, event)
        return frozen_from
    try:
        return ITEM_TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(state, event) from None


def next_plan_state(state: PlanState, event: PlanEvent) -> PlanState:
    """The state after the event.

    Raises:
        IllegalTransition: the table has no such arrow.
    """
    try:
        return PLAN_TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(state, event) from None
