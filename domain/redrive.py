"""Making a plan go on that stands still although it could: what was found is kept as a fact, then it is mended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from domain import facts as f
from domain.decide import decide
from domain.intake import readmit
from domain.inventory import Account
from domain.items import ItemRun
from domain.messages import Delivered, Report, TimerFired
from domain.price_calls import FunctionsWanted
from domain.states import ItemState
from domain.turn import Call, Turn, begin, complete, start
from domain.watchdog import (
    AWAITED_ENDED,
    EVENT_HAPPENED,
    NO_TIMER,
    NOT_COMPOSED,
    PREDECESSORS_ENDED,
    READY_NOT_BEGUN,
    SUB_PLAN_DONE,
    TIMER_PASSED,
    Stuck,
    stuck_items,
)

STUCK_KEPT_MAX: Final = 50
"""How many stuck items a fact names."""


def redrive(
    turn: Turn,
    account: Account | None,
    found: Iterable[Stuck] = (),
    lost: Sequence[Call] = (),
    by: datetime | None = None,
) -> bool:
    """Make the plan go on where it could and does not; False when there is nothing of the kind, and nothing changes.

    Args:
        turn: of the plan.
        account: the plan's; None when another host keeps it.
        found: what its host has seen besides, before it read the plan again.
        lost: calls that the plan waits for and its host knows nothing of.
        by: the time by which its timers are judged; None for the turn's.
    """
    plan = turn.plan
    if plan.ended_at is not None:
        return False
    present = stuck_items(plan, by or turn.now, account.told_orders() if account is not None else None)
    named = list(dict.fromkeys([*found, *present]))
    if not named:
        return False
    payload: dict[str, Any] = {"stuck": [_named(each) for each in named[:STUCK_KEPT_MAX]]}
    if len(named) > STUCK_KEPT_MAX:
        payload["more"] = len(named) - STUCK_KEPT_MAX
    # The fact sets the plan's counters right.
    turn.add(f.PLAN_REDRIVEN, None, payload)
    turn.calls.extend(lost)
    if plan.template is None:
        if account is not None and any(each.why in (PREDECESSORS_ENDED, NOT_COMPOSED) for each in present):
            with suppress(FunctionsWanted):
                # What price functions have to say first is heard outside of this turn; the host takes it up then.
                readmit(turn, account)
        return True
    states = [(each, plan.by_key[each.item].state) for each in present if each.item is not None]
    for each, state in states:
        item = plan.by_key[each.item or ""]
        mend = _MENDS.get(each.why)
        # What was mended before may have moved it.
        if mend is not None and item.state is state:
            mend(turn, item, account)
    start(turn)
    return True


def _named(stuck: Stuck) -> dict[str, str]:
    return {"item": stuck.item, "why": stuck.why} if stuck.item is not None else {"why": stuck.why}


def _begin(turn: Turn, item: ItemRun, _account: Account | None) -> None:
    begin(turn, item)


def _complete(turn: Turn, item: ItemRun, _account: Account | None) -> None:
    complete(turn, item, {})


def _fire(turn: Turn, item: ItemRun, _account: Account | None) -> None:
    decide(turn, TimerFired(item.key))


def _set_going(turn: Turn, item: ItemRun, _account: Account | None) -> None:
    """A try whose end nobody was to notice counts as unheard, so the next one repeats its key."""
    if item.state is ItemState.RUNNING:
        error = "no time was set for its answer"
        decide(turn, Report(item.key, item.attempt, "retryable", error=error, error_code="timeout", unheard=True))
    else:
        begin(turn, item)


def _hear(turn: Turn, item: ItemRun, account: Account | None) -> None:
    """The other order has ended: with what it was to share, or without. That is known for certain as long as nobody
    else has changed it since; else a person decides.
    """
    assert account is not None, "without it nothing is told of other orders"
    line = turn.plan.lines_of(item)[0]
    asset_id = line.awaits or line.asset_id
    asset = account.assets.get(asset_id)
    delivered = frozenset({asset_id}) if asset is not None and asset.order_id == line.joins else None
    decide(turn, Delivered(line.joins or "", delivered))


_MENDS: Final[dict[str, Callable[[Turn, ItemRun, Account | None], None]]] = {
    READY_NOT_BEGUN: _begin,
    NO_TIMER: _set_going,
    TIMER_PASSED: _fire,
    SUB_PLAN_DONE: _complete,
    EVENT_HAPPENED: _complete,
    AWAITED_ENDED: _hear,
}
"""By why it is stuck; what is not here goes on by itself once the counters are right."""
