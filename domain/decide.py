"""What a message means for a plan: one rule for each kind of message.

A message about a settled or superseded attempt is noted and changes nothing; adapters may deliver the same report more
than once. A refusal comes before the first fact. What follows by itself stands in `domain/turn.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from domain import facts as f
from domain.compose import RESOLVE, UNDO
from domain.edits import edited_payload
from domain.errors import BadDocument, ExpressionFailed, NotFound, NotPossibleNow, TaskTaken
from domain.expressions import ABSENT
from domain.holds import Hold, HoldCause
from domain.items import ItemRun
from domain.lines import Line, line_context, order_context
from domain.messages import (
    AnnotateItem,
    AssetsBooked,
    ChangeLine,
    ClaimTask,
    CompleteTask,
    Delivered,
    NotJoined,
    OperateItem,
    PlanMessage,
    Quarantine,
    RelatedTold,
    ReleaseTask,
    Report,
    ResumeItem,
    SteerOrder,
    TimerFired,
)
from domain.payloads import payload_of
from domain.plan import Plan
from domain.related import hear_of_related, is_related
from domain.states import RUNNING_ITEM_STATES, ItemState, PlanState
from domain.steer import steer
from domain.turn import (
    ERROR_LENGTH_MAX,
    Call,
    Turn,
    begin,
    call_of,
    classified,
    complete,
    completion,
    deadline_of,
    definition_of,
    fatal,
    find,
    give_up,
    hold,
    holds,
    is_left_behind,
    keep_current,
    process_after,
    send,
    skip,
)

_REPAIRABLE: Final = {
    "retry": frozenset({ItemState.FAILED, ItemState.FATALLY_FAILED}),
    "edit": frozenset({ItemState.FAILED, ItemState.FATALLY_FAILED}),
    "complete": frozenset(
        {ItemState.RUNNING, ItemState.FAILED, ItemState.FATALLY_FAILED, ItemState.FROZEN_RUNNING}
    ),
    "skip": frozenset(
        {
            ItemState.PENDING,
            ItemState.READY,
            ItemState.ON_HOLD,
            ItemState.SCHEDULED,
            ItemState.FAILED,
            ItemState.FATALLY_FAILED,
        }
    ),
}
"""In which item states an operator may do what."""


def decide(turn: Turn, message: PlanMessage) -> None:
    """Say what a message means for the turn's plan.

    Raises:
        NotFound: the plan has no such item.
        NotPossibleNow: the item's state does not allow the action; nothing was changed.
        BadForm: what was filled in does not meet the form; nothing was changed.
        TaskTaken: somebody else holds the task; nothing was changed.
        ExpressionFailed: a condition or mapping compared what cannot be compared.
    """
    match message:
        case Report():
            _report(turn, message)
        case TimerFired():
            _timer(turn, message)
        case ResumeItem():
            _resume(turn, message)
        case ClaimTask():
            _claim(turn, message)
        case ReleaseTask():
            _release(turn, message)
        case CompleteTask():
            _complete_task(turn, message)
        case AnnotateItem():
            turn.add(f.ITEM_ANNOTATED, find(turn, message.item), {"text": message.text})
        case OperateItem():
            _operate(turn, message)
        case ChangeLine():
            _change_line(turn, message)
        case Delivered():
            _delivered(turn, message)
        case NotJoined():
            give_up(turn, message.items, f"does not make what it was to share, and {message.reason}; it is about")
        case RelatedTold():
            hear_of_related(turn, message)
        case AssetsBooked():
            # Heard of twice: the first time counts.
            if message.number in turn.plan.bookings:
                turn.add(f.ASSETS_CONFIRMED, None, {"number": message.number})
        case Quarantine():
            _quarantine(turn, message)
        case SteerOrder():
            steer(turn, message)
    turn.settle()


def pending_effects(plan: Plan, now: datetime) -> list[Call]:
    """The calls that a plan waits for, from its state alone: what recovery sends again, with the same keys.

    One without a time for its answer is left out, because nobody would notice that none comes: the watchdog mends it.
    So is one whose time is over: its timer is about to fire.
    """
    if plan.state in (None, PlanState.NOT_STARTED, PlanState.COMPLETED):
        return []
    calls = []
    for item in plan.items:
        is_awaited = item.is_running and item.is_callout and not item.is_accepted
        deadline_at = deadline_of(item) if is_awaited else None
        if deadline_at is not None and deadline_at > now:
            calls.append(call_of(plan, item, deadline_at, payload_of(plan, item, item.sent)))
    return calls


# Reports from systems.


def _report(turn: Turn, report: Report) -> None:
    item = find(turn, report.item)
    if not _is_awaited(item, report) or (report.kind == "held" and item.is_accepted):
        turn.add(f.ITEM_NOTED, item, {"attempt": report.attempt, "kind": report.kind, "via": report.via})
        return
    if report.kind == "held":
        hold(turn, item, Hold(definition_of(item).system, HoldCause(report.error_code), reason=report.error))
        return
    if report.kind == "accepted":
        if not item.is_accepted:
            turn.add(f.ITEM_ACCEPTED, item, {"attempt": report.attempt})
        return
    if report.kind == "completed":
        try:
            values = _values_of_answer(turn, item, report.answer)
        except ExpressionFailed as error:
            # It has done it: asked again under the same key, it says so again and does nothing.
            fatal(turn, item, str(error), "expressionFailed", unheard=True)
            return
        complete(turn, item, completion(values, simulated=report.simulated))
        return
    _failed(turn, item, report)


def _is_awaited(item: ItemRun, report: Report) -> bool:
    """Whether the report is about an attempt that is not settled yet.

    That is the running one, and a success of one that has failed or came back unmade, as long as no other attempt was
    made: nobody may have heard of it in time, or it was sent twice (its adapter died) and refused the first time only.
    A next attempt would do the work again.
    """
    if not item.is_callout or report.attempt != item.attempt:
        return False
    if item.is_running:
        return True
    stands = item.frozen_from or item.state
    is_open = stands in (ItemState.FAILED, ItemState.FATALLY_FAILED, ItemState.ON_HOLD)
    # What a change has put other values to was done with those of before: the next attempt does it again.
    return report.kind == "completed" and is_open and bool(item.sent)


def _failed(turn: Turn, item: ItemRun, report: Report) -> None:
    delay_s = definition_of(item).retry.delay_s(item.tries) if report.kind == "retryable" else None
    # Of an attempt that was sent twice a refusal speaks for one sending: the other may have done the work, or be about
    # to. Its key stays, under which a system does it once.
    is_unheard = report.unheard or item.is_repeated
    if delay_s is None:
        fatal(turn, item, report.error, report.error_code, unheard=is_unheard)
        return
    payload: dict[str, Any] = {
        "error": report.error[:ERROR_LENGTH_MAX],
        "errorCode": report.error_code,
        "retryAt": (turn.now + timedelta(seconds=delay_s)).isoformat(),
    }
    if is_unheard:
        payload["unheard"] = True
    turn.add(f.ITEM_FAILED, item, payload)


def _values_of_answer(turn: Turn, item: ItemRun, answer: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Line attributes that an answer sets, classified, by line key."""
    definition = definition_of(item)
    changed: dict[str, dict[str, Any]] = {}
    if turn.plan.role_of(item) == UNDO:
        # Its lines are those of then: what an answer says of them is over.
        return changed
    if definition.response is None and "attributes" not in answer and "lines" not in answer:
        # Most systems only say that it is done.
        return changed
    for line in turn.plan.lines_of(item):
        if definition.response is not None:
            context = line_context(order_context(turn.plan.order), line) | {"answer": dict(answer)}
            found = {name: each.evaluate(context) for name, each in definition.response.items()}
            values = {name: value for name, value in found.items() if value is not ABSENT}
        else:
            values = _standard_answer(turn.plan, line, answer)
        stored = classified(turn, line, values)
        if stored:
            changed[line.key] = stored
    return changed


def _standard_answer(plan: Plan, line: Line, answer: Mapping[str, Any]) -> dict[str, Any]:
    """`attributes` of the answer (or of its entry for the line, under `lines`) that the product declares."""
    given = answer.get("lines")
    mine = given.get(line.key) if isinstance(given, Mapping) else None
    attributes = (mine if isinstance(mine, Mapping) else answer).get("attributes")
    if not isinstance(attributes, Mapping):
        return {}
    declared = plan.release.products[line.product].attributes
    return {name: value for name, value in attributes.items() if name in declared}


# The clock.


def _timer(turn: Turn, message: TimerFired) -> None:
    item = find(turn, message.item)
    if is_left_behind(item, turn.owned_since):
        _call_again(turn, item)
        return
    if item.timer_at is None or item.timer_at > turn.now:
        return
    if item.state in (ItemState.FAILED, ItemState.SCHEDULED):
        begin(turn, item)
    elif item.is_running and item.is_event:
        fatal(turn, item, "what it waits for has not happened in time", "eventTimeout")
    elif item.is_running:
        error = "no answer came back in time" if item.is_accepted else "no result came in time"
        report = Report(item.key, item.attempt, "retryable", error=error, error_code="timeout", unheard=True)
        _failed(turn, item, report)


def _call_again(turn: Turn, item: ItemRun) -> None:
    """Send a call again under its key, at no attempt: an outage of ours is no failure of its system."""
    system = definition_of(item).system
    held_by = turn.held.of_system(system)
    hold(turn, item, held_by or Hold(system, HoldCause.AWAY, reason="its time was over before anybody was there again"))
    if held_by is None and item.state is ItemState.ON_HOLD:
        send(turn, item)


def _resume(turn: Turn, message: ResumeItem) -> None:
    """Go on with an item whose turn has come, whatever this host has heard of its system: who says so knows more."""
    item = find(turn, message.item)
    if item.state is ItemState.ON_HOLD and turn.plan.state is PlanState.IN_PROGRESS:
        send(turn, item)


# People.


def _claim(turn: Turn, message: ClaimTask) -> None:
    item = _manual(turn, message.item)
    if turn.plan.state is PlanState.HELD and item.state is ItemState.READY:
        raise NotPossibleNow("the order is held, so nothing of it begins", mend="wait until it is resumed")
    turn.add(f.ITEM_CLAIMED, item, {"worker": message.worker})


def _release(turn: Turn, message: ReleaseTask) -> None:
    item = _manual(turn, message.item, RUNNING_ITEM_STATES)
    if item.worker == message.worker:
        turn.add(f.ITEM_RELEASED, item, {"worker": message.worker})


def _manual(turn: Turn, key: str, also: frozenset[ItemState] = frozenset()) -> ItemRun:
    item = find(turn, key)
    if not item.is_manual:
        raise NotPossibleNow(f"item {key} is not a manual task")
    if item.state not in (ItemState.READY, ItemState.RUNNING) and item.state not in also:
        raise NotPossibleNow(f"the task of item {key} is {item.state.value}, so nobody can work on it")
    return item


def _complete_task(turn: Turn, message: CompleteTask) -> None:
    # Work that had begun goes on while the plan is frozen.
    item = _manual(turn, message.item, RUNNING_ITEM_STATES)
    if item.worker is not None and item.worker != message.worker:
        # The queue grants claims, but a lease may lapse while a completion is on its way here.
        raise TaskTaken(f"{item.worker} holds the task", worker=item.worker, mend="claim it again")
    form = definition_of(item).form
    assert form is not None, "a manual task has a form"
    values = form.values(message.data)
    if turn.plan.role_of(item) in (RESOLVE, UNDO):
        # What was there is taken back: what is said about that belongs to no line.
        complete(turn, item, {"resolution": values} if values else {})
        return
    changed: dict[str, dict[str, Any]] = {}
    for line in turn.plan.lines_of(item):
        stored = classified(turn, line, values)
        if stored:
            changed[line.key] = stored
    complete(turn, item, completion(changed))


# Operators.


def _operate(turn: Turn, message: OperateItem) -> None:
    item = find(turn, message.item)
    is_given_up = message.action == "skip" and is_related(turn.plan, item)
    is_waiting = item.state is ItemState.PENDING and not is_given_up
    if item.definition is None and (is_waiting or message.action in ("retry", "edit")):
        raise NotPossibleNow(f"item {item.key} waits for another order; it has no work of its own")
    if turn.plan.state not in (PlanState.IN_PROGRESS, PlanState.HELD):
        # A freeze that waits for work may be waiting for ever; somebody who knows that it is done may say so.
        if not (message.action == "complete" and item.is_callout and item.is_running):
            raise NotPossibleNow(f"the plan is {turn.plan.state}, so its items stay as they are")
    elif turn.plan.state is PlanState.HELD and message.action in ("retry", "edit"):
        raise NotPossibleNow("the order is held, so nothing of it begins", mend="resume it first")
    if item.is_sub_plan and item.state is ItemState.RUNNING:
        raise NotPossibleNow(f"item {item.key} is done when its own items are", mend="complete or skip those")
    if item.is_sub_plan and item.state is ItemState.FATALLY_FAILED and message.action == "complete":
        # Its items would wait for ever: they have not begun, and nobody has done their work.
        raise NotPossibleNow(
            f"item {item.key} is done when its own items are, and they have not begun",
            mend="retry it, or skip it with all its items",
        )
    if message.is_fallout_only and item.state not in (ItemState.FAILED, ItemState.FATALLY_FAILED):
        raise NotPossibleNow(f"item {item.key} has not failed, it is {item.state.value}", state=item.state.value)
    if item.state not in _REPAIRABLE[message.action]:
        allowed = ", ".join(sorted(state.value for state in _REPAIRABLE[message.action]))
        raise NotPossibleNow(
            f"item {item.key} is {item.state.value}; {message.action} is possible in: {allowed}",
            state=item.state.value,
        )
    if message.action == "retry":
        _retry(turn, item, message.reason)
    elif message.action == "skip":
        skip(turn, item, "operator", is_branch=False, text=message.reason)
    elif message.action == "edit":
        if not item.is_callout:
            raise NotPossibleNow(f"item {item.key} calls no system, so it has no payload")
        payload = edited_payload(turn.plan, item, message.payload, is_patch=message.is_patch)
        _retry(turn, item, message.reason, payload)
    else:
        values = _values_of_answer(turn, item, message.answer) if message.answer and item.definition else {}
        complete(turn, item, completion(values) | {"by": "operator", "reason": message.reason})


def _change_line(turn: Turn, message: ChangeLine) -> None:
    plan = turn.plan
    if plan.state not in (PlanState.IN_PROGRESS, PlanState.HELD):
        raise NotPossibleNow(f"the plan is {plan.state or 'not composed yet'}, so its lines stay as they are")
    if message.line not in plan.line_at:
        raise NotFound(f"order {plan.order_id} has no line {message.line!r}")
    if plan.lines[plan.line_at[message.line]].is_cancelled:
        # Another line may stand for its asset by now.
        raise NotPossibleNow(f"line {message.line!r} is cancelled, so it stays as it is")
    values = classified(turn, plan.lines[plan.line_at[message.line]], message.attributes)
    if not values:
        raise BadDocument(
            "none of them may be kept", path="attributes", mend="name attributes that the line's product declares"
        )
    changed = {message.line: values}
    turn.add(f.LINE_CHANGED, None, completion(changed) | {"reason": message.reason})
    keep_current(turn, changed)


def _retry(turn: Turn, item: ItemRun, reason: str, payload: dict[str, Any] | None = None) -> None:
    """Begin again, with an edited payload if there is one; an item whose condition or date could not be told is looked
    at again first.
    """
    try:
        if item.attempt == 0 and not holds(turn, item, definition_of(item)):
            text = f"{reason} (its condition does not hold)"
            skip(turn, item, "operator", is_branch=definition_of(item).source.skip_branch, text=text)
            return
        until = process_after(turn, item, definition_of(item)) if item.attempt == 0 else None
    except ExpressionFailed as error:
        turn.add(f.ITEM_RETRIED, item, {"reason": reason})
        fatal(turn, item, str(error), "expressionFailed")
        return
    if until is not None and until > turn.now:
        raise NotPossibleNow(f"item {item.key} is not to start before {until.isoformat()}")
    if payload is not None:
        turn.add(f.ITEM_EDITED, item, {"reason": reason, "payload": payload})
    turn.add(f.ITEM_RETRIED, item, {"reason": reason})
    begin(turn, item)


def _quarantine(turn: Turn, message: Quarantine) -> None:
    """Take the item whose message cannot be dealt with to a person; without one the plan only keeps the reason.

    The result was not taken in, so the attempt counts as unheard: a retry repeats its key instead of doing it twice.
    """
    turn.add(f.ORDER_QUARANTINED, None, {"reason": message.reason[:ERROR_LENGTH_MAX]})
    item = turn.plan.by_key.get(message.item) if message.item else None
    if item is None:
        return
    if item.is_callout and item.is_running:
        fatal(turn, item, message.reason, "unstorable", unheard=True)
    elif item.state in (ItemState.FAILED, ItemState.SCHEDULED):
        # Its timer could not be dealt with: left as it is, it would fire for ever.
        fatal(turn, item, message.reason, "unstorable", unheard=item.is_unheard)


# Other orders of the account.


def _delivered(turn: Turn, message: Delivered) -> None:
    plan = turn.plan
    for item in (plan.items[node] for node in plan.awaits):
        line = plan.lines_of(item)[0]
        if item.state is not ItemState.PENDING or line.joins != message.by_order:
            continue
        if message.asset_ids is None:
            give_up(turn, (item.key,), "has ended without delivering")
        elif (line.awaits or line.asset_id) in message.asset_ids:
            complete(turn, item, {"order": message.by_order})
