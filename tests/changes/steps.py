"""What happens to an order while it is under way, one random step after the other, and how it comes to its end."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from domain.errors import OrderplanError
from domain.holds import HoldCause
from domain.items import ItemRun
from domain.messages import ChangeLine, Report, TimerFired
from domain.plan import Plan
from domain.states import ItemState, PlanState
from tests.changes.catalogue import SYSTEMS
from tests.changes.world import World, is_open

ACTS: Final = (
    "answer", "answer", "answer", "answer", "answer", "answer", "task", "task", "fail", "unheard", "fatal", "accepted",
    "timer", "timer", "claim", "release", "retry", "go", "away", "held", "resume", "late",
)  # fmt: skip
OPERATORS: Final = ("complete", "skip", "edit")
ROUNDS_MAX: Final = 400


def running(plan: Plan) -> list[ItemRun]:
    """Callouts whose answer is awaited."""
    return [item for item in plan.items if item.is_callout and item.is_running]


def complete_call(world: World, plan: Plan, item: ItemRun, *, is_silent: bool = False) -> None:
    """The system has done what it was asked."""
    call = world.open_calls[plan.order_id, item.key]
    assert item.definition is not None
    answer = {} if is_silent else world.answer_of(call, item.definition)
    world.tell(plan, Report(item.key, item.attempt, "completed", answer=answer))


def step(world: World, plan: Plan, rng: random.Random, *, has_operators: bool) -> str:
    """One thing happens, if there is anything that it can happen to; says what."""
    act = rng.choice(OPERATORS if has_operators and rng.random() < 0.15 else ACTS)
    try:
        return f"{act} {_ACTIONS[act](world, plan, rng, act)}"
    except OrderplanError as error:
        return f"{act} is refused: {error}"


def _pick(rng: random.Random, items: list[ItemRun]) -> ItemRun | None:
    return rng.choice(items) if items else None


def _answer(world: World, plan: Plan, rng: random.Random, act: str) -> str:
    item = _pick(rng, running(plan))
    if item is not None:
        complete_call(world, plan, item)
    return item.key if item else "nothing"


def _report(world: World, plan: Plan, rng: random.Random, act: str) -> str:
    item = _pick(rng, running(plan))
    if item is None:
        return "nothing"
    if act == "held":
        cause = rng.choice((HoldCause.BREAKER, HoldCause.OFFLINE, HoldCause.BUSY))
        world.tell(plan, Report(item.key, item.attempt, "held", error_code=cause.value))
        return item.key
    kinds: dict[str, Any] = {"fatal": "failed", "accepted": "accepted"}
    kind = kinds.get(act, "retryable")
    world.tell(plan, Report(item.key, item.attempt, kind, error="it broke", unheard=act == "unheard"))
    return item.key


def _late(world: World, plan: Plan, rng: random.Random, act: str) -> str:
    """An answer to any call that was ever made, again perhaps."""
    sent = sorted(key for key in world.payloads if key[0] == plan.order_id)
    if not sent:
        return "nothing"
    _, key, attempt = rng.choice(sent)
    item = plan.by_key[key]
    call = world.open_calls[plan.order_id, key]
    if attempt != item.attempt or call.attempt != attempt or item.definition is None:
        world.tell(plan, Report(key, attempt, "completed"))
    else:
        world.tell(plan, Report(key, attempt, "completed", answer=world.answer_of(call, item.definition)))
    return f"{key} {attempt}"


def _timer(world: World, plan: Plan, rng: random.Random, act: str) -> str:
    item = _pick(rng, [each for each in plan.items if each.timer_at is not None and not each.is_running])
    if item is None:
        world.wait(20)
    else:
        world.fire(plan, item.key)
    fired = []
    for each in list(plan.items):
        if each.timer_at is not None and each.timer_at <= world.now:
            fired.append(each.key)
            world.tell(plan, TimerFired(each.key))
    return f"{item.key if item else ''} {fired}"


def _task(world: World, plan: Plan, rng: random.Random, act: str) -> str:
    item = _pick(rng, [each for each in plan.items if each.is_manual and is_open(each)])
    if item is None:
        return "nothing"
    if act == "task":
        world.complete_task(plan, item.key, world.form_of(plan, item))
    elif act == "claim":
        world.claim(plan, item.key)
    else:
        world.release_task(plan, item.key)
    return item.key


def _retry(world: World, plan: Plan, rng: random.Random, act: str) -> str:
    failed = [each for each in plan.items if each.state in (ItemState.FAILED, ItemState.FATALLY_FAILED)]
    item = _pick(rng, failed)
    if item is not None:
        world.operate(plan, item.key, "retry")
    return item.key if item else "nothing"


def _go(world: World, plan: Plan, rng: random.Random, act: str) -> str:
    key = rng.choice(sorted(plan.line_at))
    number = len(world.facts[plan.order_id])
    world.tell(plan, ChangeLine(key, {"go": True}, "because", f"go-{number}"), "person:olga", f"go-{number}")
    return key


def _away(world: World, plan: Plan, rng: random.Random, act: str) -> str:
    gone = [code for code in SYSTEMS if rng.random() < 0.4]
    world.hold(*gone)
    return str(gone)


def _resume(world: World, plan: Plan, rng: random.Random, act: str) -> str:
    item = _pick(rng, [each for each in plan.items if each.state is ItemState.ON_HOLD])
    if item is not None:
        world.resume(plan, item.key)
    return item.key if item else "nothing"


def _operate(world: World, plan: Plan, rng: random.Random, act: str) -> str:
    # What makes assets is left alone: who skips that wants another inventory.
    chosen = [each for each in plan.items if each.is_callout or each.is_manual]
    item = _pick(rng, chosen)
    if item is None:
        return "nothing"
    members = {"payload": {"n": 7}} if act == "edit" else {}
    world.operate(plan, item.key, act, **members)
    return item.key


_ACTIONS: Final = {
    "answer": _answer, "fail": _report, "unheard": _report, "fatal": _report, "accepted": _report, "held": _report,
    "late": _late, "timer": _timer, "task": _task, "claim": _task, "release": _task, "retry": _retry, "go": _go,
    "away": _away, "resume": _resume, "complete": _operate, "skip": _operate, "edit": _operate,
}  # fmt: skip


def finish(world: World, plan: Plan, after: Callable[[], None] = lambda: None) -> None:
    """Let the order end well: whatever stands is set going, answers come, tasks are done; `after` each, look."""
    world.hold()
    for _ in range(ROUNDS_MAX):
        if plan.ended_at is not None:
            return
        if plan.state is PlanState.HELD:
            world.steer(plan, "resume")
        elif plan.state in (PlanState.FREEZING, PlanState.FROZEN) and plan.change is None:
            world.steer(plan, "thaw")
        after()
        for item in list(plan.items):
            if _bring_to_end(world, plan, item):
                after()
    stuck = {item.key: (item.state.value, item.error) for item in plan.items}
    raise AssertionError(f"the order never ends ({plan.state}, {plan.order_state}): {stuck}")


def _bring_to_end(world: World, plan: Plan, item: ItemRun) -> bool:
    """Whether there was something to bring about."""
    if plan.ended_at is not None:
        return False
    is_at_work = plan.state is PlanState.IN_PROGRESS
    if item.is_callout and item.is_running:
        complete_call(world, plan, item)
    elif item.is_manual and is_open(item):
        world.complete_task(plan, item.key, world.form_of(plan, item))
    elif is_at_work and item.is_event and item.state is ItemState.RUNNING:
        world.operate(plan, item.key, "complete")
    elif is_at_work and item.state is ItemState.ON_HOLD:
        world.resume(plan, item.key)
    elif is_at_work and item.state is ItemState.FATALLY_FAILED:
        # An expression that fails would fail again, and what another order has not delivered does not come: somebody
        # does without the item.
        is_hopeless = item.definition is None or item.error_code == "expressionFailed"
        world.operate(plan, item.key, "skip" if is_hopeless else "retry")
    elif is_at_work and item.timer_at is not None:
        world.fire(plan, item.key)
    else:
        return False
    return True
