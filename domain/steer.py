"""Hold and resume, freeze and thaw, priority: what is said of a whole order that is under way (REFERENCE b1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from domain import facts as f
from domain.errors import BadDocument, NotPossibleNow
from domain.messages import SteerOrder
from domain.priorities import CLASSES
from domain.states import OrderState, PlanState
from domain.turn import Turn, give_up, move_order


def steer(turn: Turn, message: SteerOrder) -> None:
    """Carry out what somebody asks of the order as a whole. Asked for twice is asked for once.

    Raises:
        NotPossibleNow: the plan's state does not allow it; nothing was changed.
        BadDocument: there is no such priority.
    """
    _ACTIONS[message.action](turn, message)


def _hold(turn: Turn, message: SteerOrder) -> None:
    if turn.plan.state is PlanState.HELD:
        return
    _require(turn, "hold", PlanState.IN_PROGRESS)
    if turn.plan.is_cancelled:
        raise NotPossibleNow("the order is being cancelled", mend="let it end")
    turn.add(f.PLAN_HELD, None, {"reason": message.reason})
    move_order(turn, OrderState.HELD)


def _resume(turn: Turn, message: SteerOrder) -> None:
    if turn.plan.state is PlanState.IN_PROGRESS:
        return
    _require(turn, "resume", PlanState.HELD)
    turn.add(f.PLAN_RESUMED, None, {"reason": message.reason})
    turn.go_on()


def _freeze(turn: Turn, message: SteerOrder) -> None:
    if turn.plan.state in (PlanState.FREEZING, PlanState.FROZEN):
        return
    _require(turn, "freeze", PlanState.IN_PROGRESS, PlanState.HELD)
    freeze(turn, message.reason)


def freeze(turn: Turn, reason: str) -> None:
    """Let nothing of the plan begin, so that it can be changed; work under way may have to end first."""
    payload: dict[str, object] = {"reason": reason}
    if any(item.is_waited_for for item in turn.plan.items):
        payload["busy"] = True
    turn.add(f.PLAN_FROZEN, None, payload)


def _thaw(turn: Turn, message: SteerOrder) -> None:
    if turn.plan.state is PlanState.IN_PROGRESS:
        return
    _require(turn, "thaw", PlanState.FREEZING, PlanState.FROZEN)
    thaw(turn, message.reason)


def thaw(turn: Turn, reason: str) -> None:
    """Let the plan go on as it was before the freeze; a change that waited is given up."""
    was_held = turn.plan.is_held_again
    awaits = (turn.plan.change or {}).get("awaits", ())
    turn.add(f.PLAN_THAWED, None, {"reason": reason})
    give_up(turn, awaits, "does not make")
    after_freeze(turn, reason, was_held=was_held)


def after_freeze(turn: Turn, reason: str, *, was_held: bool) -> None:
    """Go on, or stand as held as before; what ended or came true meanwhile is looked at in any case."""
    if was_held and not turn.plan.is_cancelled:
        turn.add(f.PLAN_HELD, None, {"reason": reason})
        move_order(turn, OrderState.HELD)
    turn.go_on()


def _prioritize(turn: Turn, message: SteerOrder) -> None:
    if message.priority not in CLASSES:
        known = ", ".join(CLASSES)
        raise BadDocument(f"must be one of {known}", path="priority", mend="name one of these")
    if turn.plan.order.priority != message.priority:
        turn.add(f.ORDER_PRIORITIZED, None, {"priority": message.priority, "reason": message.reason})


def _require(turn: Turn, action: str, *states: PlanState) -> None:
    state = turn.plan.state
    if state not in states:
        allowed = " or ".join(each.value for each in states)
        raise NotPossibleNow(
            f"the plan is {state.value if state else 'not composed yet'}; {action} is possible when it is {allowed}",
            state=state.value if state else None,
        )


_ACTIONS: Final[dict[str, Callable[[Turn, SteerOrder], None]]] = {
    "hold": _hold,
    "resume": _resume,
    "freeze": _freeze,
    "thaw": _thaw,
    "prioritize": _prioritize,
}
