"""What a delay model sees of one order at one moment.

One builder serves learning and live scoring, so that a model never meets in production what it was not shown before.
A snapshot holds only what is known at `now`, and no value that is sealed or encrypted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, Literal

from domain.compose import AWAIT_REF, AWAIT_RELATED_REF
from domain.items import ItemRun
from domain.plan import Plan
from domain.priorities import class_of
from domain.sealing import is_encrypted, is_sealed
from domain.states import TERMINAL_ITEM_STATES, ItemState

DueBasis = Literal["promised", "planned"]
AWAIT: Final = "await"
AWAIT_NAMES: Final = {AWAIT_REF: "Await delivery by another order", AWAIT_RELATED_REF: "Await related order"}
SUB_PLAN: Final = "subPlan"
USUAL_S: Final[Mapping[str, float]] = {
    "milestone": 0.0,
    "autoTask": 1.0,
    "callout": 30.0,
    "manualTask": 4 * 3600.0,
    "pushEvent": 4 * 3600.0,
    SUB_PLAN: 0.0,
    AWAIT: 4 * 3600.0,
}
"""How long an item of a type is taken to last while nothing is planned for its definition and none was observed."""
IN_PROGRESS: Final = frozenset(
    {
        ItemState.READY,
        ItemState.RUNNING,
        ItemState.ON_HOLD,
        ItemState.FAILED,
        ItemState.FATALLY_FAILED,
        ItemState.FROZEN_RUNNING,
        ItemState.FROZEN_FAILED,
        ItemState.FROZEN_FATALLY_FAILED,
    }
)
"""States of an item that somebody or something works on, or should."""
FATALLY_FAILED: Final = frozenset({ItemState.FATALLY_FAILED, ItemState.FROZEN_FATALLY_FAILED})
FAILED: Final = FATALLY_FAILED | {ItemState.FAILED, ItemState.FROZEN_FAILED}
"""States of an item that somebody has to mend, or that is tried again by itself."""
REMEMBERED_MAX: Final = 200
"""Items of the plans whose order is remembered; that of larger ones would take much room."""


@dataclass(frozen=True, slots=True)
class Supposed:
    """What a what-if supposes of an item (`delay/what_if.py`); nothing of a real order has it.

    `is_first`: its task is put before all others. `waits_like`: definitions whose items wait in the queue that it is
    moved to. `works_like`: definitions that the system works on that it is given to, with their planned seconds.
    """

    is_first: bool = False
    waits_like: tuple[str, ...] | None = None
    works_like: tuple[tuple[str, float], ...] | None = None


@dataclass(frozen=True, slots=True)
class ItemSnapshot:
    """One item. `waits` are places in `Snapshot.items` of what must have ended before it can begin.

    `ref` names the definition (`plan/item`). `timer_at` is the retry time when Failed, the start when Scheduled, the
    deadline when Running. Of a sub-plan `waits` also has the items that it stands for, which take its time.
    """

    key: str
    ref: str
    name: str
    type: str
    state: ItemState
    planned_s: float | None
    safety_s: float
    system: str | None
    queue: str | None
    attempt: int
    tries: int
    attempts_max: int
    retry_delay_s: float
    waits: tuple[int, ...]
    ready_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    timer_at: datetime | None
    supposed: Supposed | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return self.state in TERMINAL_ITEM_STATES

    @property
    def expected_s(self) -> float:
        """The planned duration, else what is usual for the type."""
        return self.planned_s if self.planned_s is not None else USUAL_S.get(self.type, 0.0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One order at `now`.

    `plan_class` names which plan definitions the plan is made of. `version` counts the plan's facts. `attributes` is
    `{"order": {...}, "lines": [{"product", "action", "quantity", "attributes"}]}`. `load` says for each item
    definition how many items of it are in progress over all open orders, as far as they have been scored.

    `due_at` is the date that counts: what was promised first, else what the plan comes to. `current_due_at` is what has
    become of the promise since, None while it is the same.
    """

    order_id: str
    plan_class: str
    release_id: str
    version: int
    items: tuple[ItemSnapshot, ...]
    attributes: Mapping[str, Any]
    created_at: datetime
    now: datetime
    due_at: datetime
    due_basis: DueBasis
    load: Mapping[str, int] = field(default_factory=dict)
    current_due_at: datetime | None = None


def priority_of(snapshot: Snapshot) -> int:
    """The class of the order's priority: 1 high, 2 normal, 3 low."""
    return class_of(str(snapshot.attributes.get("order", {}).get("priority") or ""))


def snapshot_of(plan: Plan, now: datetime, load: Mapping[str, int] | None = None) -> Snapshot | None:
    """The snapshot of a folded plan, or None while the order has no plan (it waits for another, or was rejected)."""
    template = plan.template
    if template is None:
        return None
    waits = _time_graph(template.waits, template.parents, template.children)
    items = tuple(_item(item, waits[item.node], template.nodes[item.node].ref) for item in plan.items)
    basis: DueBasis = "planned"
    current = datetime.fromisoformat(plan.order.due_at) if plan.order.due_at is not None else None
    if plan.first_due_at is not None:
        due_at, basis = datetime.fromisoformat(plan.first_due_at), "promised"
    else:
        due_at = plan.created_at + timedelta(seconds=planned_path_s(items))
    return Snapshot(
        order_id=plan.order_id,
        plan_class=" + ".join(sorted({item.definition.plan for item in plan.items if item.definition})),
        release_id=plan.release.release_id,
        version=plan.facts,
        items=items,
        attributes=_attributes(plan),
        created_at=plan.created_at,
        now=now,
        due_at=due_at,
        due_basis=basis,
        load=load or {},
        current_due_at=current if current != due_at else None,
    )


def _item(item: ItemRun, waits: tuple[int, ...], ref: str) -> ItemSnapshot:
    definition = item.definition
    common: dict[str, Any] = {
        "key": item.key,
        "state": item.state,
        "attempt": item.attempt,
        "tries": item.tries,
        "waits": waits,
        "ready_at": item.ready_at,
        "started_at": item.started_at,
        "ended_at": item.ended_at,
        "timer_at": item.timer_at,
    }
    if definition is None:
        return ItemSnapshot(
            ref=ref,
            name=AWAIT_NAMES[ref],
            type=AWAIT,
            planned_s=None,
            safety_s=0.0,
            system=None,
            queue=None,
            attempts_max=1,
            retry_delay_s=0.0,
            **common,
        )
    source = definition.source
    return ItemSnapshot(
        ref=definition.ref,
        name=definition.name,
        type=definition.type.value,
        planned_s=source.duration_s,
        safety_s=source.safety_interval_s or 0.0,
        system=source.system,
        queue=source.queue,
        attempts_max=definition.retry.attempts_max,
        retry_delay_s=definition.retry.delays_s[0] if definition.retry.delays_s else 0.0,
        **common,
    )


def _time_graph(
    waits: Sequence[tuple[int, ...]], parents: Mapping[int, int], children: Mapping[int, tuple[int, ...]]
) -> Sequence[tuple[int, ...]]:
    """Who waits for whom in time: the items of a sub-plan begin when it may, and it ends when they have ended."""
    if not parents:
        return waits

    def before(node: int) -> set[int]:
        own = set(waits[node])
        return own | before(parents[node]) if node in parents else own

    return [tuple(sorted(before(node) | set(children.get(node, ())))) for node in range(len(waits))]


def _attributes(plan: Plan) -> Mapping[str, Any]:
    order = plan.order
    return {
        "order": {
            "channel": order.channel,
            "priority": order.priority,
            "account": order.account,
            "requestedStartAt": order.requested_start_at,
        },
        "lines": [
            {
                "product": line.product,
                "action": line.action,
                "quantity": line.quantity,
                "attributes": {name: value for name, value in line.attributes.items() if not _is_hidden(value)},
            }
            for line in plan.lines
        ],
    }


def _is_hidden(value: Any) -> bool:
    """Whether anything in the value was taken out of sight."""
    if isinstance(value, dict):
        return is_sealed(value) or is_encrypted(value) or any(_is_hidden(each) for each in value.values())
    return isinstance(value, list) and any(_is_hidden(each) for each in value)


def in_order(items: Sequence[ItemSnapshot]) -> Sequence[int]:
    """The places of the items so that each stands behind what it waits for.

    Raises:
        ValueError: items wait for one another in a circle, which publishing refuses.
    """
    waits = tuple(map(_waits, items))
    # Plans of one template ask again and again.
    return _remembered(waits) if len(waits) <= REMEMBERED_MAX else _in_order(waits)


def _in_order(waits: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    waiting = [len(each) for each in waits]
    followers: list[list[int]] = [[] for _ in waits]
    for at, targets in enumerate(waits):
        for target in targets:
            followers[target].append(at)
    placed = [at for at, count in enumerate(waiting) if count == 0]
    for at in placed:
        for follower in followers[at]:
            waiting[follower] -= 1
            if waiting[follower] == 0:
                placed.append(follower)
    if len(placed) < len(waits):
        raise ValueError(f"{len(waits) - len(placed)} items wait for one another in a circle")
    return tuple(placed)


_waits = attrgetter("waits")
_remembered = lru_cache(maxsize=1_000)(_in_order)


def planned_path_s(items: Sequence[ItemSnapshot]) -> float:
    """Seconds along the longest way through the plan when every item takes as long as planned."""
    ends = [0.0] * len(items)
    for at in in_order(items):
        item = items[at]
        ends[at] = max((ends[target] for target in item.waits), default=0.0) + item.expected_s
    return max(ends, default=0.0)


@dataclass(frozen=True, slots=True)
class Jeopardy:
    """Where an item stands against its planned duration: `ok`, `warning` (less than its safety interval is left) or
    `late`.
    """

    status: Literal["ok", "warning", "late"]
    warns_at: datetime
    late_at: datetime


def jeopardy_of(item: ItemSnapshot, now: datetime) -> Jeopardy | None:
    """The jeopardy of an item that is in progress and has a planned duration, counted from when it was ready."""
    if item.state not in IN_PROGRESS or item.planned_s is None or item.ready_at is None:
        return None
    late_at = item.ready_at + timedelta(seconds=item.planned_s)
    warns_at = late_at - timedelta(seconds=item.safety_s)
    return Jeopardy("late" if now >= late_at else "warning" if now >= warns_at else "ok", warns_at, late_at)
