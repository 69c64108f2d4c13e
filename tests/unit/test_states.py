"""The tables of states against a second writing of them, pair by pair."""

import pytest

from docs import make_state_diagrams
from domain.errors import IllegalTransition
from domain.states import (
    ITEM_TRANSITIONS,
    ORDER_TRANSITIONS,
    PLAN_TRANSITIONS,
    SATISFYING_ITEM_STATES,
    TERMINAL_ITEM_STATES,
    THAWS,
    ItemEvent,
    ItemState,
    OrderState,
    PlanEvent,
    PlanState,
    next_item_state,
    next_plan_state,
)

# Written from the reference's table of item states, by row of that table, not by row of ours.
ITEMS = """
Pending                 | unblocked         | Ready
Pending                 | conditionFalse    | Skipped
Pending                 | scheduled         | Scheduled
Scheduled               | timeReached       | Ready
Ready                   | started           | Running
Ready                   | systemWentOffline | On Hold
Scheduled               | systemWentOffline | On Hold
Failed                  | systemWentOffline | On Hold
On Hold                 | systemCameOnline  | Ready
Running                 | completed         | Completed
Running                 | failed            | Failed
Failed                  | retryDue          | Ready
Running                 | fatallyFailed     | Fatally Failed
Failed                  | fatallyFailed     | Fatally Failed
Failed                  | operatorRetried   | Ready
Fatally Failed          | operatorRetried   | Ready
Running                 | operatorCompleted | Completed
Failed                  | operatorCompleted | Completed
Fatally Failed          | operatorCompleted | Completed
Pending                 | operatorSkipped   | Skipped
Ready                   | operatorSkipped   | Skipped
On Hold                 | operatorSkipped   | Skipped
Scheduled               | operatorSkipped   | Skipped
Failed                  | operatorSkipped   | Skipped
Fatally Failed          | operatorSkipped   | Skipped
Pending                 | branchSkipped     | Skipped
Pending                 | frozen            | Frozen
Ready                   | frozen            | Frozen
On Hold                 | frozen            | Frozen
Scheduled               | frozen            | Frozen
Running                 | frozen            | Frozen - Running
Failed                  | frozen            | Frozen - Failed
Fatally Failed          | frozen            | Frozen - Fatally Failed
Frozen - Running        | completed         | Completed
Frozen - Running        | failed            | Frozen - Failed
Frozen - Running        | fatallyFailed     | Frozen - Fatally Failed
Frozen - Running        | operatorCompleted | Completed
Completed               | lineAmended       | Amended
Skipped                 | lineAmended       | Pending
Pending                 | lineAmended       | Pending
Scheduled               | lineAmended       | Pending
Failed                  | lineAmended       | Failed
Fatally Failed          | lineAmended       | Fatally Failed
Frozen                  | lineAmended       | Pending
Frozen - Running        | lineAmended       | Running
Frozen - Failed         | lineAmended       | Failed
Frozen - Fatally Failed | lineAmended       | Fatally Failed
Completed               | lineCancelled     | Cancelled
Skipped                 | lineCancelled     | Discarded
Frozen                  | lineCancelled     | Discarded
Frozen - Running        | lineCancelled     | Discarded
Frozen - Running        | systemWentOffline | Frozen
Frozen                  | completed         | Completed
Frozen - Failed         | completed         | Completed
Frozen - Fatally Failed | completed         | Completed
Frozen - Failed         | lineCancelled     | Failed Discarded
Frozen - Fatally Failed | lineCancelled     | Failed Discarded
"""
# The state before the freeze is remembered, and a thaw leads back to it.
THAWED = """
Frozen                  | Pending
Frozen                  | Ready
Frozen                  | On Hold
Frozen                  | Scheduled
Frozen - Running        | Running
Frozen - Failed         | Failed
Frozen - Fatally Failed | Fatally Failed
"""
PLANS = """
Not Started | started          | In Progress
In Progress | freezeAskedIdle  | Frozen
In Progress | freezeAskedBusy  | Freezing
Freezing    | lastRunningEnded | Frozen
Frozen      | changeDiscarded  | In Progress
Freezing    | changeDiscarded  | In Progress
Frozen      | changeAccepted   | In Progress
In Progress | holdAsked        | Held
Held        | resumed          | In Progress
Held        | freezeAskedIdle  | Frozen
Held        | freezeAskedBusy  | Freezing
In Progress | completed        | Completed
"""
ORDERS = """
acknowledged          | inProgress pending
inProgress            | pending held assessingCancellation completed failed partial
pending               | inProgress assessingCancellation cancelled
held                  | inProgress assessingCancellation cancelled
assessingCancellation | pendingCancellation inProgress pending held
pendingCancellation   | cancelled
"""


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]


ITEM_ARROWS = {(state, event): following for state, event, following in rows(ITEMS)}
THAW_ARROWS = {(frozen, state) for frozen, state in rows(THAWED)}
AMENDING_EVENTS = {ItemEvent.LINE_AMENDED, ItemEvent.LINE_CANCELLED}
PLAN_ARROWS = {(state, event): following for state, event, following in rows(PLANS)}


def test_the_written_tables_hold_each_arrow_once_and_known_names_only():
    assert len(ITEM_ARROWS) == len(rows(ITEMS))
    assert len(PLAN_ARROWS) == len(rows(PLANS))
    for (state, event), following in ITEM_ARROWS.items():
        assert ItemState(state)
        assert ItemEvent(event)
        assert ItemState(following)


@pytest.mark.rule("B2.32", "B2.33")
def test_the_seventeen_states_of_an_item_carry_the_names_of_the_reference():
    assert {state.value for state in ItemState} == {
        "Pending", "Ready", "Running", "Completed", "On Hold", "Scheduled", "Failed", "Fatally Failed", "Skipped",
        "Frozen", "Frozen - Running", "Frozen - Failed", "Frozen - Fatally Failed", "Amended", "Cancelled",
        "Discarded", "Failed Discarded",
    }  # fmt: skip


@pytest.mark.parametrize("event", ItemEvent, ids=str)
@pytest.mark.parametrize("state", ItemState, ids=str)
def test_each_pair_of_item_state_and_event_leads_where_the_reference_says_or_raises(state, event):
    expected = ITEM_ARROWS.get((state.value, event.value))
    if expected is not None:
        # A remembered state changes nothing where the table has an arrow.
        for frozen_from in (None, *ItemState):
            assert next_item_state(state, event, frozen_from=frozen_from) is ItemState(expected)
        return
    with pytest.raises(IllegalTransition) as refusal:
        next_item_state(state, event)

    assert refusal.value.state == state
    assert refusal.value.event == event
    assert state.value in str(refusal.value)
    assert event.value in str(refusal.value)


# Whether work that failed in the freeze may thaw to Running, where it was when the freeze began, is left open here.
OPEN_THAWS = {("Frozen - Failed", "Running"), ("Frozen - Fatally Failed", "Running")}


@pytest.mark.parametrize("frozen_from", ItemState, ids=str)
@pytest.mark.parametrize("state", ItemState, ids=str)
def test_a_thaw_leads_back_to_a_state_that_can_have_been_frozen_or_raises(state, frozen_from):
    pair = (state.value, frozen_from.value)
    if pair in OPEN_THAWS:
        return
    if pair in THAW_ARROWS:
        assert next_item_state(state, ItemEvent.THAWED, frozen_from=frozen_from) is frozen_from
        return
    with pytest.raises(IllegalTransition):
        next_item_state(state, ItemEvent.THAWED, frozen_from=frozen_from)


def test_each_item_state_has_a_row():
    assert set(ITEM_TRANSITIONS) == set(ItemState)


@pytest.mark.rule("B2.32")
@pytest.mark.parametrize("state", ItemState, ids=str)
def test_only_an_amendment_leads_out_of_a_terminal_state_and_only_terminal_rows_hold_no_other_event(state):
    others = set(ITEM_TRANSITIONS[state]) - AMENDING_EVENTS
    if state in THAWS:
        others.add(ItemEvent.THAWED)

    assert (not others) is (state in TERMINAL_ITEM_STATES)


def test_of_the_terminal_states_an_amendment_moves_completed_and_skipped_only():
    assert {state for state in TERMINAL_ITEM_STATES if ITEM_TRANSITIONS[state]} == {
        ItemState.COMPLETED,
        ItemState.SKIPPED,
    }


def test_what_was_done_or_not_needed_satisfies_successors_and_what_left_the_plan_does_not():
    gone = {ItemState.CANCELLED, ItemState.DISCARDED, ItemState.FAILED_DISCARDED}

    assert {ItemState.COMPLETED, ItemState.SKIPPED} <= SATISFYING_ITEM_STATES <= TERMINAL_ITEM_STATES - gone


@pytest.mark.parametrize("state", ItemState, ids=str)
def test_a_freeze_that_changes_nothing_is_undone_by_the_thaw(state):
    is_frozen = state.value.startswith("Frozen")
    if state in TERMINAL_ITEM_STATES or is_frozen:
        assert ItemEvent.FROZEN not in ITEM_TRANSITIONS[state]
        return
    frozen = next_item_state(state, ItemEvent.FROZEN)

    assert next_item_state(frozen, ItemEvent.THAWED, frozen_from=state) is state


@pytest.mark.parametrize("state", ItemState, ids=str)
def test_every_item_can_come_to_an_end(state):
    reached = {state}
    seen: set[ItemState] = set()
    while reached - seen:
        seen |= reached
        reached |= {following for each in reached for following in ITEM_TRANSITIONS[each].values()}

    assert reached & TERMINAL_ITEM_STATES


def test_every_state_of_an_item_is_reached_from_pending():
    reached = {ItemState.PENDING}
    for _ in ItemState:
        reached |= {following for each in reached for following in ITEM_TRANSITIONS[each].values()}

    assert reached == set(ItemState)


def test_work_of_one_turn_follows_the_arrows_one_by_one():
    state = ItemState.PENDING
    for event in (ItemEvent.UNBLOCKED, ItemEvent.STARTED, ItemEvent.COMPLETED):
        state = next_item_state(state, event)

    assert state is ItemState.COMPLETED


@pytest.mark.parametrize("event", PlanEvent, ids=str)
@pytest.mark.parametrize("state", PlanState, ids=str)
def test_each_pair_of_plan_state_and_event_leads_where_the_reference_says_or_raises(state, event):
    expected = PLAN_ARROWS.get((state.value, event.value))
    if expected is not None:
        assert next_plan_state(state, event) is PlanState(expected)
        return
    with pytest.raises(IllegalTransition) as refusal:
        next_plan_state(state, event)

    assert (refusal.value.state, refusal.value.event) == (state, event)


def test_each_plan_state_has_a_row_and_only_completed_has_an_empty_one():
    assert set(PLAN_TRANSITIONS) == set(PlanState)
    assert [state for state, row in PLAN_TRANSITIONS.items() if not row] == [PlanState.COMPLETED]


@pytest.mark.rule("B3.4")
def test_an_order_moves_as_tmf622_says():
    written = {state: set(following.split()) for state, following in rows(ORDERS)}

    for state in OrderState:
        assert {each.value for each in ORDER_TRANSITIONS[state]} == written.get(state.value, set())
    assert {state.value for state in OrderState} == {
        "acknowledged", "rejected", "pending", "held", "inProgress", "cancelled", "completed", "failed", "partial",
        "assessingCancellation", "pendingCancellation",
    }  # fmt: skip


def test_the_diagrams_are_drawn_from_the_tables():
    assert make_state_diagrams.TARGET.read_text(encoding="utf-8") == make_state_diagrams.render(), (
        "docs/states.md differs from domain/states.py: run `python -m docs.make_state_diagrams`"
    )


def test_a_diagram_shows_each_state_and_each_arrow():
    drawn = make_state_diagrams.render()
    for (state, event), following in ITEM_ARROWS.items():
        words = ItemEvent(event).name.lower().replace("_", " ")
        assert f"| {state} | {words} | {following} |" in drawn
        assert f"    {ItemState(state).name} --> {ItemState(following).name} : " in drawn
    for frozen, state in THAW_ARROWS:
        assert f"| {frozen} | thawed | {state} |" in drawn
