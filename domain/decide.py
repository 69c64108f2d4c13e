"""What a message means for a plan: facts, and the effects that they cause.

`decide` appends facts to a turn and applies each at once (`Turn.add`), because what follows depends on it: an item that
completes makes others ready, a milestone completes in the same turn. Nothing leaves the process here: the owner sends
the turn's effects only after its facts are committed. A message about a settled or superseded attempt is noted and
changes nothing; adapters may deliver the same report more than once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from domain import facts as f
from domain.catalogue import ItemType
from domain.compose import AWAIT_REF
from domain.errors import BadDocument, ExpressionFailed, IllegalTransition, NotFound, NotPossibleNow
from domain.expressions import ABSENT
from domain.facts import Fact
from domain.inventory import AssetDelta
from domain.items import ItemRun
from domain.lines import Line, delta_of, later_change_of, line_context, order_context
from domain.messages import (
    AssetsBooked,
    ClaimTask,
    CompleteTask,
    Delivered,
    OperateItem,
    PlanMessage,
    Quarantine,
    ReleaseTask,
    Report,
    TimerFired,
)
from domain.payloads import payload_of
from domain.plan import Plan, evolve, roots_of
from domain.release import ASSETIZE, ItemDef
from domain.sealing import Protector, classify, is_sealed
from domain.states import ItemState, OrderState, PlanState

DEADLINE_GRACE_S: Final = 5.0
"""The adapter enforces the time-out; the plan waits this much longer before it stops believing in an answer."""
ERROR_LENGTH_MAX: Final = 500
_REPAIRABLE: Final = {
    "retry": frozenset({ItemState.FAILED, ItemState.FATALLY_FAILED}),
    "complete": frozenset({ItemState.RUNNING, ItemState.FAILED, ItemState.FATALLY_FAILED}),
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


@dataclass(frozen=True, slots=True)
class Call:
    """Effect: one attempt of a callout is to be sent to its system."""

    tenant: str
    order_id: str
    item: str
    attempt: int
    system: str
    operation: str
    name: str
    deadline_at: datetime
    payload: dict[str, Any]

    def __reduce__(self) -> tuple[Any, ...]:
        # By constructor, as Report: calls travel by the thousand.
        return Call, (
            self.tenant,
            self.order_id,
            self.item,
            self.attempt,
            self.system,
            self.operation,
            self.name,
            self.deadline_at,
            self.payload,
        )


@dataclass(slots=True)
class Turn:
    """One message's worth of decisions on one plan."""

    plan: Plan
    now: datetime
    protector: Protector
    actor: str = "system"
    cause: str | None = None
    facts: list[Fact] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    tasks_opened: list[ItemRun] = field(default_factory=list)
    tasks_closed: list[ItemRun] = field(default_factory=list)
    deltas: list[AssetDelta] = field(default_factory=list)
    delivered: list[str] = field(default_factory=list)
    """Assets that are now what the order wants of them, changed or not."""
    lines_changed: dict[str, None] = field(default_factory=dict)
    """Lines that got values from an answer or a form, and are not delivered yet."""
    _ready: deque[ItemRun] = field(default_factory=deque)
    _roots_done: dict[str, None] = field(default_factory=dict)

    def add(self, kind: str, item: ItemRun | None = None, payload: dict[str, Any] | None = None) -> None:
        """Record a fact and apply it.

        A fact that does not fit the plan's state is a bug here, not a refusal: what was asked for is checked before.
        """
        fact = Fact(kind, self.now, item.key if item else None, payload, self.actor, self.cause)
        try:
            evolve(self.plan, fact)
        except IllegalTransition as error:
            raise AssertionError(f"{kind} does not fit order {self.plan.order_id}: {error}") from error
        self.facts.append(fact)

    def unblocked(self, items: Iterable[ItemRun]) -> None:
        """Put items whose dependencies are all satisfied in line to be looked at."""
        self._ready.extend(item for item in items if item.waits == 0 and item.state is ItemState.PENDING)

    def closed(self, item: ItemRun) -> None:
        """Look at who waited for an item that was just completed or skipped, and at the bundles that it was part of."""
        assert self.plan.template is not None
        self.unblocked(self.plan.items[index] for index in self.plan.template.followers[item.node])
        done = (root for root in roots_of(self.plan, item) if self.plan.open_in_root[root] == 0)
        self._roots_done.update(dict.fromkeys(sorted(done)))

    def start(self) -> None:
        """Look at the whole of a plan that was just composed."""
        self.unblocked(self.plan.items)
        self._roots_done.update((root, None) for root, count in self.plan.open_in_root.items() if count == 0)

    def settle(self) -> None:
        """Look at everything that became ready, and what that makes ready, until nothing moves by itself."""
        while self._ready:
            item = self._ready.popleft()
            if item.state is ItemState.PENDING and item.waits == 0:
                _unblock(self, item)
        roots, self._roots_done = self._roots_done, {}
        _finish(self, roots)


def start(turn: Turn) -> None:
    """Begin a plan that was just composed."""
    turn.start()
    turn.settle()


def decide(turn: Turn, message: PlanMessage) -> None:
    """Say what a message means for the turn's plan.

    Raises:
        NotFound: the plan has no such item.
        NotPossibleNow: the item's state does not allow the action; nothing was changed.
        BadDocument: a form misses a value or has one of a wrong type; nothing was changed.
        ExpressionFailed: a condition or mapping compared what cannot be compared.
    """
    match message:
        case Report():
            _report(turn, message)
        case TimerFired():
            _timer(turn, message)
        case ClaimTask():
            _claim(turn, message)
        case ReleaseTask():
            _release(turn, message)
        case CompleteTask():
            _complete_task(turn, message)
        case OperateItem():
            _operate(turn, message)
        case Delivered():
            _delivered(turn, message)
        case AssetsBooked():
            # Heard of twice: the first time counts.
            if message.number in turn.plan.bookings:
                turn.add(f.ASSETS_CONFIRMED, None, {"number": message.number})
        case Quarantine():
            _quarantine(turn, message)
    turn.settle()


def pending_effects(plan: Plan, now: datetime) -> list[Call]:
    """The calls that a plan waits for, from its state alone: what recovery sends again, with the same keys."""
    if plan.state not in (PlanState.IN_PROGRESS, PlanState.FREEZING, PlanState.HELD):
        return []
    calls = []
    for item in plan.items:
        if item.state is ItemState.RUNNING and item.is_callout and not item.is_accepted:
            assert item.timer_at is not None
            deadline_at = item.timer_at - timedelta(seconds=DEADLINE_GRACE_S)
            calls.append(_call(plan, item, deadline_at, payload_of(plan, item, item.sent)))
    return calls


def _find(turn: Turn, key: str) -> ItemRun:
    item = turn.plan.by_key.get(key)
    if item is None:
        raise NotFound(f"order {turn.plan.order_id} has no item {key!r}")
    return item


def _definition(item: ItemRun) -> ItemDef:
    assert item.definition is not None, "an await item has no work of its own"
    return item.definition


# What becomes of an item whose dependencies are satisfied.


def _unblock(turn: Turn, item: ItemRun) -> None:
    plan = turn.plan
    if item.definition is None:
        return
    definition = item.definition
    assert plan.template is not None
    targets = len(plan.template.waits[item.node])
    if targets and item.branch_skipped_waits == targets:
        _skip(turn, item, "branch", is_branch=True)
        return
    try:
        if not _holds(turn, item, definition):
            _skip(turn, item, "condition", is_branch=definition.source.skip_branch)
            return
        until = _process_after(turn, item, definition)
    except ExpressionFailed as error:
        _fatal(turn, item, str(error), "expressionFailed")
        return
    if until is not None and until > turn.now:
        turn.add(f.ITEM_SCHEDULED, item, {"until": until.isoformat()})
        return
    _begin(turn, item)


def _contexts(turn: Turn, item: ItemRun) -> Iterator[dict[str, Any]]:
    context = order_context(turn.plan.order)
    return (line_context(context, line) for line in turn.plan.lines_of(item))


def _holds(turn: Turn, item: ItemRun, definition: ItemDef) -> bool:
    """A condition over several lines holds if any line meets it."""
    if definition.condition is None:
        return True
    return any(definition.condition.is_true(context) for context in _contexts(turn, item))


def _process_after(turn: Turn, item: ItemRun, definition: ItemDef) -> datetime | None:
    """Not before this: the latest date of the item's lines that have one."""
    expression = definition.process_after
    if expression is None:
        return None
    dates = (_instant(expression.source, expression.evaluate(context)) for context in _contexts(turn, item))
    return max((date for date in dates if date is not None), default=None)


def _instant(source: str, value: Any) -> datetime | None:
    if value is ABSENT or value is None or value == "":
        return None
    try:
        instant = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ExpressionFailed(source, "what should be an instant is none") from None
    if instant.tzinfo is None:
        raise ExpressionFailed(source, "an instant needs a time zone")
    return instant


def _begin(turn: Turn, item: ItemRun) -> None:
    """Start work on an item that is due."""
    definition = _definition(item)
    if definition.type is ItemType.CALLOUT:
        _send(turn, item)
    elif definition.type is ItemType.MANUAL_TASK:
        turn.add(f.ITEM_OPENED, item, {"attempt": item.attempt + 1})
        turn.tasks_opened.append(item)
    else:
        if definition.source.task == ASSETIZE:
            assert turn.plan.template is not None
            _deliver(turn, turn.plan.template.covers[item.node])
        _complete(turn, item, {})


def _send(turn: Turn, item: ItemRun) -> None:
    definition = _definition(item)
    attempt = max(1, item.attempt if item.is_unheard else item.attempt + 1)
    timeout = timedelta(seconds=definition.source.timeout_s)
    try:
        payload = payload_of(turn.plan, item, item.sent if attempt == item.attempt else ())
    except ExpressionFailed as error:
        # An attempt that nobody heard of before stays one: whoever mends this repeats its key.
        _fatal(turn, item, str(error), "expressionFailed", unheard=item.is_unheard)
        return
    deadline = turn.now + timeout + timedelta(seconds=DEADLINE_GRACE_S)
    turn.add(f.ITEM_STARTED, item, {"attempt": attempt, "deadline": deadline.isoformat()})
    turn.calls.append(_call(turn.plan, item, turn.now + timeout, payload))


def _call(plan: Plan, item: ItemRun, deadline_at: datetime, payload: dict[str, Any]) -> Call:
    definition = _definition(item)
    return Call(
        tenant=plan.order.tenant,
        order_id=plan.order_id,
        item=item.key,
        attempt=item.attempt,
        system=definition.source.system or "",
        operation=definition.source.operation,
        name=definition.name,
        deadline_at=deadline_at,
        payload=payload,
    )


def _complete(turn: Turn, item: ItemRun, payload: dict[str, Any]) -> None:
    if item.is_manual and item.ready_at is not None:
        turn.tasks_closed.append(item)
    turn.add(f.ITEM_COMPLETED, item, payload or None)
    if "set" in payload:
        _keep_current(turn, payload["set"])
    turn.closed(item)


def _skip(turn: Turn, item: ItemRun, reason: str, *, is_branch: bool, text: str = "") -> None:
    if item.is_manual and item.ready_at is not None:
        turn.tasks_closed.append(item)
    payload: dict[str, Any] = {"reason": reason}
    if is_branch:
        payload["branch"] = True
    if text:
        payload["text"] = text
    turn.add(f.ITEM_SKIPPED, item, payload)
    turn.closed(item)


def _fatal(turn: Turn, item: ItemRun, error: str, error_code: str, *, unheard: bool = False) -> None:
    payload: dict[str, Any] = {"error": error[:ERROR_LENGTH_MAX], "errorCode": error_code}
    if unheard:
        payload["unheard"] = True
    turn.add(f.ITEM_FATALLY_FAILED, item, payload)


# Reports from systems.


def _report(turn: Turn, report: Report) -> None:
    item = _find(turn, report.item)
    if not _is_awaited(item, report):
        turn.add(f.ITEM_NOTED, item, {"attempt": report.attempt, "kind": report.kind, "via": report.via})
        return
    if report.kind == "accepted":
        if not item.is_accepted:
            turn.add(f.ITEM_ACCEPTED, item, {"attempt": report.attempt})
        return
    if report.kind == "completed":
        try:
            values = _values_of_answer(turn, item, report.answer)
        except ExpressionFailed as error:
            _fatal(turn, item, str(error), "expressionFailed")
            return
        _complete(turn, item, _completion(turn, values, simulated=report.simulated))
        return
    _failed(turn, item, report)


def _is_awaited(item: ItemRun, report: Report) -> bool:
    """Whether the report is about an attempt that is not settled yet.

    That is the running one, and one of which nobody heard in time: it goes on under the same key, so that a success
    that comes late is its success. The next try would only be told that the work is done.
    """
    if not item.is_callout or report.attempt != item.attempt:
        return False
    if item.state is ItemState.RUNNING:
        return True
    is_unsettled = item.is_unheard and item.state in (ItemState.FAILED, ItemState.FATALLY_FAILED)
    return is_unsettled and report.kind == "completed"


def _completion(turn: Turn, values: dict[str, dict[str, Any]], *, simulated: bool = False) -> dict[str, Any]:
    payload: dict[str, Any] = {}
    if values:
        payload["set"] = values
        if any(is_sealed(value) for each in values.values() for value in each.values()):
            payload["secrets"] = True
    if simulated:
        payload["simulated"] = True
    return payload


def _failed(turn: Turn, item: ItemRun, report: Report) -> None:
    delay_s = _definition(item).retry.delay_s(item.tries) if report.kind == "retryable" else None
    if delay_s is None:
        _fatal(turn, item, report.error, report.error_code, unheard=report.unheard)
        return
    payload: dict[str, Any] = {
        "error": report.error[:ERROR_LENGTH_MAX],
        "errorCode": report.error_code,
        "retryAt": (turn.now + timedelta(seconds=delay_s)).isoformat(),
    }
    if report.unheard:
        payload["unheard"] = True
    turn.add(f.ITEM_FAILED, item, payload)


def _values_of_answer(turn: Turn, item: ItemRun, answer: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Line attributes that an answer sets, classified, by line key."""
    definition = _definition(item)
    changed: dict[str, dict[str, Any]] = {}
    for line in turn.plan.lines_of(item):
        if definition.response is not None:
            context = line_context(order_context(turn.plan.order), line) | {"answer": dict(answer)}
            found = {name: each.evaluate(context) for name, each in definition.response.items()}
            values = {name: value for name, value in found.items() if value is not ABSENT}
        else:
            values = _standard_answer(turn.plan, line, answer)
        stored = _classified(turn, line, values)
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


def _classified(turn: Turn, line: Line, values: Mapping[str, Any]) -> dict[str, Any]:
    plan = turn.plan
    return classify(
        plan.release,
        plan.release.products[line.product],
        values,
        turn.protector,
        tenant=plan.order.tenant,
        order_id=plan.order_id,
        line_key=line.key,
    )


# The clock.


def _timer(turn: Turn, message: TimerFired) -> None:
    item = _find(turn, message.item)
    if item.timer_at is None or item.timer_at > turn.now:
        return
    if item.state in (ItemState.FAILED, ItemState.SCHEDULED):
        _begin(turn, item)
    elif item.state is ItemState.RUNNING:
        error = "no answer came back in time" if item.is_accepted else "no result came in time"
        report = Report(item.key, item.attempt, "retryable", error=error, error_code="timeout", unheard=True)
        _failed(turn, item, report)


# People.


def _claim(turn: Turn, message: ClaimTask) -> None:
    item = _manual(turn, message.item)
    turn.add(f.ITEM_CLAIMED, item, {"worker": message.worker})


def _release(turn: Turn, message: ReleaseTask) -> None:
    item = _manual(turn, message.item)
    if item.worker == message.worker:
        turn.add(f.ITEM_RELEASED, item, {"worker": message.worker})


def _manual(turn: Turn, key: str) -> ItemRun:
    item = _find(turn, key)
    if not item.is_manual:
        raise NotPossibleNow(f"item {key} is not a manual task")
    if item.state not in (ItemState.READY, ItemState.RUNNING):
        raise NotPossibleNow(f"the task of item {key} is {item.state.value}, so nobody can work on it")
    return item


def _complete_task(turn: Turn, message: CompleteTask) -> None:
    item = _manual(turn, message.item)
    values = _form_values(item, message.data)
    changed: dict[str, dict[str, Any]] = {}
    for line in turn.plan.lines_of(item):
        stored = _classified(turn, line, values)
        if stored:
            changed[line.key] = stored
    _complete(turn, item, _completion(turn, changed))


_FORM_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def _form_values(item: ItemRun, data: Mapping[str, Any]) -> dict[str, Any]:
    form = {each.name: each for each in _definition(item).source.form}
    for name, value in data.items():
        declared = form.get(name)
        if declared is None:
            raise BadDocument(f"the form has no field {name!r}", path=f"data.{name}", mend=f"give {sorted(form)}")
        if value is None:
            continue
        fits = isinstance(value, _FORM_TYPES[declared.type])
        if not fits or (isinstance(value, bool) and declared.type != "boolean"):
            raise BadDocument(f"must be of type {declared.type}", path=f"data.{name}")
    for name, declared in form.items():
        if declared.required and data.get(name) in (None, ""):
            raise BadDocument("is required by the form", path=f"data.{name}")
    return {name: value for name, value in data.items() if value is not None}


# Operators.


def _operate(turn: Turn, message: OperateItem) -> None:
    item = _find(turn, message.item)
    if item.definition is None and (item.state is ItemState.PENDING or message.action == "retry"):
        raise NotPossibleNow(f"item {item.key} waits for another order; it has no work of its own")
    if turn.plan.state not in (PlanState.IN_PROGRESS, PlanState.HELD):
        raise NotPossibleNow(f"the plan is {turn.plan.state}, so its items stay as they are")
    if item.state not in _REPAIRABLE[message.action]:
        allowed = ", ".join(sorted(state.value for state in _REPAIRABLE[message.action]))
        raise NotPossibleNow(
            f"item {item.key} is {item.state.value}; {message.action} is possible in: {allowed}",
            state=item.state.value,
        )
    if message.action == "retry":
        _retry(turn, item, message.reason)
    elif message.action == "skip":
        _skip(turn, item, "operator", is_branch=False, text=message.reason)
    else:
        values = _values_of_answer(turn, item, message.answer) if message.answer and item.definition else {}
        _complete(turn, item, _completion(turn, values) | {"by": "operator", "reason": message.reason})


def _retry(turn: Turn, item: ItemRun, reason: str) -> None:
    """Begin again; an item whose condition or date could not be told is looked at again first."""
    try:
        if item.attempt == 0 and not _holds(turn, item, _definition(item)):
            text = f"{reason} (its condition does not hold)"
            _skip(turn, item, "operator", is_branch=_definition(item).source.skip_branch, text=text)
            return
        until = _process_after(turn, item, _definition(item)) if item.attempt == 0 else None
    except ExpressionFailed as error:
        turn.add(f.ITEM_RETRIED, item, {"reason": reason})
        _fatal(turn, item, str(error), "expressionFailed")
        return
    if until is not None and until > turn.now:
        raise NotPossibleNow(f"item {item.key} is not to start before {until.isoformat()}")
    turn.add(f.ITEM_RETRIED, item, {"reason": reason})
    _begin(turn, item)


def _quarantine(turn: Turn, message: Quarantine) -> None:
    """Take the item whose message cannot be dealt with to a person; without one the plan only keeps the reason.

    The result was not taken in, so the attempt counts as unheard: a retry repeats its key instead of doing it twice.
    """
    turn.add(f.ORDER_QUARANTINED, None, {"reason": message.reason[:ERROR_LENGTH_MAX]})
    item = turn.plan.by_key.get(message.item) if message.item else None
    if item is None:
        return
    if item.is_callout and item.state is ItemState.RUNNING:
        _fatal(turn, item, message.reason, "unstorable", unheard=True)
    elif item.state in (ItemState.FAILED, ItemState.SCHEDULED):
        # Its timer could not be dealt with: left as it is, it would fire for ever.
        _fatal(turn, item, message.reason, "unstorable", unheard=item.is_unheard)


# Other orders of the account.


def _delivered(turn: Turn, message: Delivered) -> None:
    plan = turn.plan
    for item in (plan.items[node] for node in plan.awaits):
        line = plan.lines_of(item)[0]
        if item.state is not ItemState.PENDING or line.joins != message.by_order:
            continue
        if message.asset_ids is None:
            # What this order was to share does not exist: a person decides, because its own work was planned on it.
            error = f"order {message.by_order} has ended without delivering {line.name}"
            _fatal(turn, item, error, "notDelivered")
        elif (line.awaits or line.asset_id) in message.asset_ids:
            _complete(turn, item, {"order": message.by_order})


# Assets and the end.


def _deliver(turn: Turn, lines: Iterable[int]) -> None:
    """Make the lines assets, those that are not yet."""
    plan = turn.plan
    covered = [line for index in lines if (line := plan.lines[index]).key not in plan.delivered]
    if not covered:
        return
    turn.delivered.extend(line.asset_id for line in covered if line.is_asset)
    deltas = [delta_of(line, plan.release, as_new=line.key in plan.orphaned) for line in covered]
    _change_assets(turn, [line.key for line in covered], [delta for delta in deltas if delta is not None])


def _keep_current(turn: Turn, values: Mapping[str, dict[str, Any]]) -> None:
    """Bring what an answer says of a line to its asset, if the line is one already."""
    plan = turn.plan
    changed = {key: each for key, each in values.items() if key in plan.delivered}
    turn.lines_changed.update(dict.fromkeys(key for key in values if key not in changed))
    lines = ((plan.lines[plan.line_at[key]], each) for key, each in changed.items())
    deltas = [later_change_of(line, plan.release, each) for line, each in lines]
    if any(deltas):
        _change_assets(turn, list(changed), [delta for delta in deltas if delta is not None])


def _change_assets(turn: Turn, lines: list[str], deltas: list[AssetDelta]) -> None:
    turn.deltas.extend(deltas)
    turn.add(f.ASSETS_CHANGED, None, {"lines": lines, "changes": [delta.to_dict() for delta in deltas]})


def _finish(turn: Turn, roots: Iterable[str]) -> None:
    """Assetize bundles that were just finished, keep the order's state true, end the order when nothing is left."""
    plan = turn.plan
    if plan.state is not PlanState.IN_PROGRESS or plan.ended_at is not None:
        return
    finished = {index for root in roots for index in plan.lines_in_root[root]}
    _deliver(turn, sorted(index for index in finished if _is_automatic(plan, index)))
    is_stuck = plan.fatally_failed > 0 and plan.moving == 0
    wanted = OrderState.HELD if is_stuck else OrderState.IN_PROGRESS
    if plan.order_state is not wanted:
        turn.add(f.ORDER_MOVED, None, {"state": wanted.value})
    if plan.open_items > 0:
        return
    if plan.account_shard is not None and not plan.is_closing:
        turn.add(f.ORDER_CLOSING)
    if not plan.bookings:
        turn.add(f.ORDER_ENDED, None, {"state": OrderState.COMPLETED.value})


def _is_automatic(plan: Plan, index: int) -> bool:
    """Whether a line becomes an asset with its bundle's last item: no assetize item does it, and its product allows."""
    return index not in plan.covered and plan.release.products[plan.lines[index].product].source.assetize == "auto"


__all__ = ["AWAIT_REF", "Call", "Turn", "decide", "pending_effects", "start"]
