"""A turn: what one message makes of one plan, collected as facts and the effects that they cause.

`Turn.add` applies each fact at once, because what follows depends on it: an item that completes makes others ready, a
milestone completes in the same turn. Nothing leaves the process here: the owner sends the turn's effects only after its
facts are committed. `domain/decide.py` says what each message does; here stands what happens by itself: items become
due and begin, bundles that are finished become assets, an order with nothing left ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from domain import facts as f
from domain.catalogue import ItemType
from domain.cutover import completion_of
from domain.errors import ExpressionFailed, IllegalTransition, NotFound
from domain.evolve import evolve
from domain.expressions import ABSENT
from domain.facts import Fact
from domain.holds import NOTHING_HELD, HeldSystems, Hold
from domain.inventory import AssetDelta
from domain.items import ItemRun
from domain.lines import Line, delta_of, later_change_of, line_context, order_context
from domain.payloads import payload_of
from domain.plan import Plan
from domain.priorities import NORMAL, class_of
from domain.release import ASSETIZE, BACK_PROPAGATE, ItemDef
from domain.sealing import Protector, classify, is_sealed, same_value
from domain.states import TERMINAL_ITEM_STATES, ItemState, OrderState, PlanState

DEADLINE_GRACE_S: Final = 5.0
"""The adapter enforces the time-out; the plan waits this much longer before it stops believing in an answer."""
_DEADLINE_GRACE: Final = timedelta(seconds=DEADLINE_GRACE_S)
FAIR_SHARE: Final = 0.5
"""Of its time a call must have left to be sent within it once more, by a new owner of its plan."""
ERROR_LENGTH_MAX: Final = 500


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
    priority: int = NORMAL
    """Its order's: the smaller, the earlier its turn at a system for which calls wait."""

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
            self.priority,
        )


@dataclass(slots=True)
class Turn:
    """One message's worth of decisions on one plan."""

    plan: Plan
    now: datetime
    protector: Protector
    actor: str = "system"
    cause: str | None = None
    held: HeldSystems = NOTHING_HELD
    """Which systems take no calls, as far as the plan's owner has heard."""
    owned_since: datetime | None = None
    """When the plan got the owner it has now, None when it has had it from its beginning: before that an answer may
    have found nobody.
    """
    facts: list[Fact] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    tasks_opened: list[ItemRun] = field(default_factory=list)
    tasks_closed: list[ItemRun] = field(default_factory=list)
    deltas: list[AssetDelta] = field(default_factory=list)
    delivered: list[str] = field(default_factory=list)
    """Assets that are now what the order wants of them, changed or not."""
    lines_changed: dict[str, None] = field(default_factory=dict)
    """Lines that got values from an answer or a form, and are not delivered yet."""
    is_changed: bool = False
    """Whether a change of the order was carried out: the account looks at all of it anew."""
    done: Container[str] = ()
    """Items, by key, that were done before the order came here (`domain/cutover.py`)."""
    entered: Container[str] = ()
    """Sub-plan items, by key, that these are part of."""
    remade: frozenset[str] = frozenset()
    """Shared assets that the order makes otherwise than those were told that have joined it."""
    _ready: deque[ItemRun] = field(default_factory=deque)
    _parents_done: deque[ItemRun] = field(default_factory=deque)
    """Sub-plan items all of whose items are done."""
    _lines_set: dict[str, None] = field(default_factory=dict)
    """Lines that got values: push events on them are to be looked at."""
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
        self._ready.extend([item for item in items if item.waits == 0 and item.state is ItemState.PENDING])

    def closed(self, item: ItemRun) -> None:
        """Look at who waited for an item that was just completed or skipped, and at the bundles that it was part of."""
        plan, template = self.plan, self.plan.template
        assert template is not None
        self.unblocked([plan.items[index] for index in template.followers[item.node]])
        done = [root for root in plan.roots_of_node[item.node] if plan.open_in_root[root] == 0]
        if done:
            self._roots_done.update(dict.fromkeys(sorted(done)))
        parent = template.parents.get(item.node) if template.parents else None
        if parent is not None and plan.open_children[parent] == 0:
            self._parents_done.append(plan.items[parent])

    def start(self) -> None:
        """Look at the whole of a plan that was just composed."""
        self.unblocked(self.plan.items)
        self._roots_done.update((root, None) for root, count in self.plan.open_in_root.items() if count == 0)

    def go_on(self) -> None:
        """Look at the whole of a plan that stood still: at what became ready or true meanwhile."""
        self.start()
        plan = self.plan
        for node in plan.awaiting:
            self._lines_set.update(dict.fromkeys(line.key for line in plan.lines_of(plan.items[node])))
        # What is On Hold is listed again by whoever keeps the lists, and goes on at the pace of its system.
        for item in plan.items:
            if item.is_sub_plan and item.state is ItemState.RUNNING and plan.open_children[item.node] == 0:
                self._parents_done.append(item)

    def settle(self) -> None:
        """Look at everything that became ready, and what that makes ready, until nothing moves by itself."""
        while self._ready or self._parents_done or self._lines_set:
            if self._lines_set:
                _look_at_events(self)
            elif self._parents_done:
                parent = self._parents_done.popleft()
                if parent.state is ItemState.RUNNING:
                    complete(self, parent, {})
            else:
                item = self._ready.popleft()
                # While the plan stands still nothing begins; `go_on` looks at all of it afterwards.
                if item.state is ItemState.PENDING and item.waits == 0 and self.plan.state is PlanState.IN_PROGRESS:
                    _unblock(self, item)
        roots, self._roots_done = self._roots_done, {}
        _finish(self, roots)
        if self.plan.state is PlanState.FREEZING and self.plan.waited_for == 0:
            self.add(f.PLAN_STILLED)


def start(turn: Turn) -> None:
    """Begin a plan that was just composed."""
    turn.start()
    turn.settle()


def find(turn: Turn, key: str) -> ItemRun:
    item = turn.plan.by_key.get(key)
    if item is None:
        raise NotFound(f"order {turn.plan.order_id} has no item {key!r}")
    return item


def definition_of(item: ItemRun) -> ItemDef:
    assert item.definition is not None, "an await item has no work of its own"
    return item.definition


# What becomes of an item whose dependencies are satisfied.


def _unblock(turn: Turn, item: ItemRun) -> None:
    plan = turn.plan
    if item.definition is None:
        return
    definition = item.definition
    if item.key in turn.done:
        # Whatever its condition or date would say. What has no effect outside is done anew: assets are made here.
        if definition.is_call or item.is_manual or item.is_event:
            complete(turn, item, completion_of(turn.actor))
        else:
            begin(turn, item)
        return
    if item.key in turn.entered:
        begin(turn, item)
        return
    assert plan.template is not None
    targets = len(plan.template.waits[item.node])
    if targets and item.branch_skipped_waits == targets:
        skip(turn, item, "branch", is_branch=True)
        return
    try:
        if not holds(turn, item, definition):
            skip(turn, item, "condition", is_branch=definition.source.skip_branch)
            return
        until = process_after(turn, item, definition)
    except ExpressionFailed as error:
        fatal(turn, item, str(error), "expressionFailed")
        return
    if until is not None and until > turn.now:
        turn.add(f.ITEM_SCHEDULED, item, {"until": until.isoformat()})
        return
    begin(turn, item)


def _contexts(turn: Turn, item: ItemRun) -> Iterator[dict[str, Any]]:
    context = order_context(turn.plan.order)
    return (line_context(context, line) for line in turn.plan.lines_of(item))


def holds(turn: Turn, item: ItemRun, definition: ItemDef) -> bool:
    """A condition over several lines holds if any line meets it."""
    if definition.condition is None:
        return True
    return any(definition.condition.is_true(context) for context in _contexts(turn, item))


def process_after(turn: Turn, item: ItemRun, definition: ItemDef) -> datetime | None:
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


def begin(turn: Turn, item: ItemRun) -> None:
    """Start work on an item that is due."""
    definition = definition_of(item)
    if definition.is_call:
        held_by = turn.held.of_system(definition.system)
        if held_by is not None:
            hold(turn, item, held_by)
        else:
            send(turn, item)
    elif definition.type is ItemType.MANUAL_TASK:
        turn.add(f.ITEM_OPENED, item, {"attempt": item.attempt + 1})
        # A change may have closed it earlier in the turn: it is one task, and open.
        turn.tasks_closed = [each for each in turn.tasks_closed if each is not item]
        turn.tasks_opened.append(item)
    elif definition.type is ItemType.PUSH_EVENT:
        _await_event(turn, item, definition)
    elif definition.type is ItemType.SUB_PLAN:
        _enter(turn, item)
    else:
        assert turn.plan.template is not None
        values: dict[str, dict[str, Any]] = {}
        if definition.source.task == ASSETIZE:
            _deliver(turn, turn.plan.template.covers[item.node])
        elif definition.source.task == BACK_PROPAGATE:
            values = _back_propagated(turn, item)
        complete(turn, item, completion(values))


def _await_event(turn: Turn, item: ItemRun, definition: ItemDef) -> None:
    """Wait until the event's condition is true; it may be already."""
    try:
        if _has_happened(turn, item):
            complete(turn, item, {})
            return
    except ExpressionFailed as error:
        fatal(turn, item, str(error), "expressionFailed")
        return
    timeout_s = definition.source.event_timeout_s
    deadline = (turn.now + timedelta(seconds=timeout_s)).isoformat() if timeout_s is not None else None
    turn.add(f.ITEM_BEGUN, item, {"deadline": deadline} if deadline else None)


def _has_happened(turn: Turn, item: ItemRun) -> bool:
    event = definition_of(item).event
    return event is not None and any(event.is_true(context) for context in _contexts(turn, item))


def _look_at_events(turn: Turn) -> None:
    """See whether what lines have got makes push events true that wait on them."""
    changed, turn._lines_set = turn._lines_set, {}
    for node in sorted(turn.plan.awaiting):
        item = turn.plan.items[node]
        if not any(line.key in changed for line in turn.plan.lines_of(item)):
            continue
        try:
            if _has_happened(turn, item):
                complete(turn, item, {})
        except ExpressionFailed as error:
            fatal(turn, item, str(error), "expressionFailed")


def _enter(turn: Turn, item: ItemRun) -> None:
    """Begin a sub-plan: its items are due as soon as nothing else holds them up."""
    assert turn.plan.template is not None
    turn.add(f.ITEM_BEGUN, item)
    children = turn.plan.template.children.get(item.node, ())
    turn.unblocked(turn.plan.items[node] for node in children)
    if turn.plan.open_children.get(item.node, 0) == 0:
        # It has no items, or all of them were skipped before.
        turn._parents_done.append(item)


def _back_propagated(turn: Turn, item: ItemRun) -> dict[str, dict[str, Any]]:
    """What the order lines get that the item's lines came from: values of attributes that their products declare."""
    plan = turn.plan
    changed: dict[str, dict[str, Any]] = {}
    for line in plan.lines_of(item):
        for key in line.order_lines if line.sources else ():
            source = plan.lines[plan.line_at[key]]
            declared = plan.release.products[source.product].attributes
            values = {
                name: value
                for name, value in line.attributes.items()
                if name in declared and not same_value(value, source.attributes.get(name))
            }
            stored = classified(turn, source, values)
            if stored:
                changed.setdefault(key, {}).update(stored)
    return changed


def classified(turn: Turn, line: Line, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values for a line as they may be stored."""
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


def completion(values: dict[str, dict[str, Any]], *, simulated: bool = False) -> dict[str, Any]:
    """What a completion's fact says of values that lines have got, by line key."""
    payload: dict[str, Any] = {}
    if values:
        payload["set"] = values
        if any(is_sealed(value) for each in values.values() for value in each.values()):
            payload["secrets"] = True
    if simulated:
        payload["simulated"] = True
    return payload


def hold(turn: Turn, item: ItemRun, held_by: Hold) -> None:
    """Put an item On Hold until its system takes calls again, or has room for it."""
    payload = {"system": definition_of(item).system, "cause": held_by.cause.value}
    if held_by.reason:
        payload["reason"] = held_by.reason[:ERROR_LENGTH_MAX]
    turn.add(f.ITEM_HELD, item, payload)


def send(turn: Turn, item: ItemRun) -> None:
    """Have an item's system called, for the next attempt or again for one that nobody heard of."""
    definition = definition_of(item)
    attempt = max(1, item.attempt if item.is_unheard else item.attempt + 1)
    try:
        payload = payload_of(turn.plan, item, item.sent if attempt == item.attempt else ())
    except ExpressionFailed as error:
        # An attempt that nobody heard of before stays one: whoever mends this repeats its key.
        fatal(turn, item, str(error), "expressionFailed", unheard=item.is_unheard)
        return
    deadline_at = turn.now + definition.timeout
    turn.add(f.ITEM_STARTED, item, {"attempt": attempt, "deadline": (deadline_at + _DEADLINE_GRACE).isoformat()})
    turn.calls.append(call_of(turn.plan, item, deadline_at, payload))


def call_of(plan: Plan, item: ItemRun, deadline_at: datetime, payload: dict[str, Any]) -> Call:
    definition = definition_of(item)
    return Call(
        tenant=plan.order.tenant,
        order_id=plan.order_id,
        item=item.key,
        attempt=item.attempt,
        system=definition.system,
        operation=definition.operation,
        name=definition.name,
        deadline_at=deadline_at,
        payload=payload,
        priority=class_of(plan.order.priority),
    )


def deadline_of(item: ItemRun) -> datetime | None:
    """When the time for the answer to a running call is over; its timer fires a little later."""
    return item.timer_at - _DEADLINE_GRACE if item.timer_at is not None else None


def is_left_behind(item: ItemRun, owned_since: datetime | None) -> bool:
    """Whether a call was under way when its plan got its owner, and had no fair time left to be heard by it: none, or,
    for one that was not even accepted, at most half of it. Such a call is made again, which costs it no attempt.
    """
    if owned_since is None or not item.is_running or not item.is_callout:
        return False
    deadline_at = deadline_of(item)
    if deadline_at is None or item.started_at is None or item.started_at > owned_since:
        return False
    fair_s = 0.0 if item.is_accepted else definition_of(item).source.timeout_s * FAIR_SHARE
    return deadline_at - owned_since <= timedelta(seconds=fair_s)


def complete(turn: Turn, item: ItemRun, payload: dict[str, Any]) -> None:
    if item.is_manual and item.ready_at is not None:
        turn.tasks_closed.append(item)
    turn.add(f.ITEM_COMPLETED, item, payload or None)
    if "set" in payload:
        keep_current(turn, payload["set"])
    turn.closed(item)


def skip(turn: Turn, item: ItemRun, reason: str, *, is_branch: bool, text: str = "") -> None:
    if item.is_manual and item.ready_at is not None:
        turn.tasks_closed.append(item)
    payload: dict[str, Any] = {"reason": reason}
    if is_branch:
        payload["branch"] = True
    if text:
        payload["text"] = text
    turn.add(f.ITEM_SKIPPED, item, payload)
    assert turn.plan.template is not None
    for node in turn.plan.template.children.get(item.node, ()):
        if turn.plan.items[node].state not in TERMINAL_ITEM_STATES:
            skip(turn, turn.plan.items[node], "branch", is_branch=True)
    turn.closed(item)


def fatal(turn: Turn, item: ItemRun, error: str, error_code: str, *, unheard: bool = False) -> None:
    payload: dict[str, Any] = {"error": error[:ERROR_LENGTH_MAX], "errorCode": error_code}
    if unheard:
        payload["unheard"] = True
    turn.add(f.ITEM_FATALLY_FAILED, item, payload)


def give_up(turn: Turn, awaits: Iterable[str], why: str) -> None:
    """What the order was to share does not come: a person decides, because its own work was planned on it."""
    for item in (turn.plan.by_key[key] for key in awaits):
        if item.state is ItemState.PENDING:
            line = turn.plan.lines_of(item)[0]
            fatal(turn, item, f"order {line.joins} {why} {line.name}", "notDelivered")


# Assets and the end.


def _deliver(turn: Turn, lines: Iterable[int]) -> None:
    """Make the lines assets, those that are not yet."""
    plan = turn.plan
    covered = [
        line for index in lines if (line := plan.lines[index]).key not in plan.delivered and not line.is_cancelled
    ]
    if not covered:
        return
    turn.delivered.extend(line.asset_id for line in covered if line.is_asset)
    deltas = [delta_of(line, plan.release, as_new=line.key in plan.orphaned) for line in covered]
    _change_assets(turn, [line.key for line in covered], [delta for delta in deltas if delta is not None])


def keep_current(turn: Turn, values: Mapping[str, dict[str, Any]]) -> None:
    """Bring what a line has got to its asset, if the line is one already, and to the push events that wait for it."""
    plan = turn.plan
    turn._lines_set.update(dict.fromkeys(values))
    changed = {key: each for key, each in values.items() if key in plan.delivered}
    turn.lines_changed.update(dict.fromkeys(key for key in values if key not in changed))
    lines = ((plan.lines[plan.line_at[key]], each) for key, each in changed.items())
    deltas = [later_change_of(line, plan.release, each) for line, each in lines]
    if any(deltas):
        _change_assets(turn, list(changed), [delta for delta in deltas if delta is not None])


def _change_assets(turn: Turn, lines: list[str], deltas: list[AssetDelta]) -> None:
    turn.deltas.extend(deltas)
    turn.add(f.ASSETS_CHANGED, None, {"lines": lines, "changes": [delta.to_dict() for delta in deltas]})


def _finish(turn: Turn, roots: Collection[str]) -> None:
    """Assetize bundles that were just finished, keep the order's state true, end the order when nothing is left."""
    plan = turn.plan
    if plan.state is not PlanState.IN_PROGRESS or plan.ended_at is not None:
        return
    if roots:
        finished = {index for root in roots for index in plan.lines_in_root[root]}
        _deliver(turn, sorted(index for index in finished if _is_automatic(plan, index)))
    if not plan.is_cancelled:
        is_stuck = plan.fatally_failed + plan.held_items > 0 and plan.moving == 0
        move_order(turn, OrderState.HELD if is_stuck else OrderState.IN_PROGRESS)
    if plan.open_items > 0:
        return
    if plan.account_shard is not None and not plan.is_closing:
        turn.add(f.ORDER_CLOSING)
    if not plan.bookings:
        turn.add(f.ORDER_ENDED, None, {"state": _end_of(plan).value})


def _end_of(plan: Plan) -> OrderState:
    """How an order ends of which nothing is left to do (REFERENCE b3: some lines cancelled gives partial)."""
    if plan.is_cancelled:
        return OrderState.CANCELLED
    return OrderState.PARTIAL if plan.cancelled_lines else OrderState.COMPLETED


def move_order(turn: Turn, state: OrderState) -> None:
    """Tell the order's new state, if it is one."""
    if turn.plan.order_state is not state:
        turn.add(f.ORDER_MOVED, None, {"state": state.value})


def _is_automatic(plan: Plan, index: int) -> bool:
    """Whether a line becomes an asset with its bundle's last item: no assetize item does it, and its product allows."""
    line = plan.lines[index]
    if line.is_cancelled or line.key in plan.delivered:
        # A release that the order was moved to since may not have its product any more.
        return False
    return index not in plan.covered and plan.release.products[plan.lines[index].product].source.assetize == "auto"
