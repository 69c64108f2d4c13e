"""Random small releases and orders, and random things that happen to them: reports, timers, people, in any order.

Everything is drawn as plain numbers that pick from what is there when the step comes (an open call, a call of long ago,
an item), so that hypothesis can shorten a history that fails.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from domain.errors import OrderplanError
from domain.holds import HoldCause
from domain.messages import Quarantine, Report, TimerFired
from domain.orders import OrderLine
from domain.plan import Plan
from domain.turn import Call, Turn
from tests.support.build import assetize, callout, depends, line, manual, milestone, order_of, plan_of, rule
from tests.support.engine import Engine
from tests.support.fingerprint import fingerprint

SCOPES = ("item", "mainItem", "bundle", "order", "global", "key")
CONDITIONS = ("", "", "", "attributes.n == 1", "attributes.n != 1", "attributes.n > 0", "false")
DATES = ("", "", "", "", "'2026-03-02T09:01:00Z'", "attributes.date")


@st.composite
def items(draw: st.DrawFn, code: str) -> dict[str, Any]:
    """An item definition of any kind."""
    members: dict[str, Any] = {
        "scope": draw(st.sampled_from(SCOPES)),
        "scopeKey": "zone",
        "condition": draw(st.sampled_from(CONDITIONS)),
        "skipBranch": draw(st.booleans()),
    }
    kind = draw(st.sampled_from(["callout"] * 4 + ["manual"] * 2 + ["milestone", "assetize"]))
    if kind == "callout":
        members["retry"] = draw(st.sampled_from(["once", "twice"]))
        members["processAfter"] = draw(st.sampled_from(DATES))
        return callout(code, **members)
    if kind == "manual":
        return manual(code, form=[{"name": "n", "type": "integer"}], **members)
    return (milestone if kind == "milestone" else assetize)(code, **members)


@st.composite
def releases(draw: st.DrawFn) -> dict[str, Any]:
    """Parts of a release: two plans of a few items with dependencies that go one way, a technical product to share."""
    codes = [f"i{at}" for at in range(draw(st.integers(1, 6)))]
    definitions = [draw(items(code)) for code in codes]
    cut = draw(st.integers(0, len(codes)))
    plan_codes = ["p" if at < cut else "q" for at in range(len(codes))]
    plans = [
        plan_of(plan, *(each for each, mine in zip(definitions, plan_codes, strict=True) if mine == plan))
        for plan in ("p", "q")
    ]
    dependencies = []
    for waiter in range(len(codes)):
        for target in range(waiter):
            scope = draw(st.sampled_from([None, None, "none", "item", "bundle", "order", "key"]))
            if scope != "none":
                mine, other = (f"{plan_codes[at]}/{codes[at]}" for at in (waiter, target))
                dependencies.append(depends(mine, other, scope))
    shared = draw(st.sampled_from(["account", "order", "item", "key"]))
    declared = [{"name": "n"}, {"name": "date"}, {"name": "zone"}, {"name": "pin", "assetizable": False}]
    mappings = [{"to": name, "copy": name} for name in ("n", "zone")]
    return dict(
        emptyPlan="complete",
        products=[
            {"code": "offer", "attributes": declared},
            {"code": "x", "attributes": declared},
            {"code": "t", "attributes": declared, "scope": shared, "scopeKey": "zone"},
        ],
        decompositions=[rule("x", "t", *mappings)],
        plans=plans,
        dependencies=dependencies,
        scenarios=[
            {"product": "x", "plan": "p", "actions": ["add", "modify", "delete"]},
            {"product": draw(st.sampled_from(["x", "t", "offer"])), "plan": "q", "actions": ["add", "modify"]},
            {"product": "t", "plan": draw(st.sampled_from(["p", "q"])), "actions": ["add", "modify", "delete"]},
        ],
        retries=[{"code": "once", "attemptsMax": 1}, {"code": "twice", "attemptsMax": 2, "delaysS": [5]}],
    )


_attributes = st.fixed_dictionaries(
    {},
    optional={
        "n": st.sampled_from([0, 1, 2, "text"]),
        "zone": st.sampled_from(["north", "south"]),
        "pin": st.just("1234"),
        "date": st.sampled_from(["2026-03-02T09:00:30Z", "2026-03-02T08:00:00Z", "soon"]),
    },
)


@st.composite
def lines(draw: st.DrawFn) -> list[OrderLine]:
    """A few added lines in one or two bundles."""
    made: list[OrderLine] = []
    for at in range(draw(st.integers(1, 4))):
        below = draw(st.sampled_from([None, *(each.line_id for each in made)]))
        attributes: dict[str, Any] = draw(_attributes)
        made.append(line(str(at), draw(st.sampled_from(["x", "x", "offer"])), below=below, **attributes))
    return made


ACTS = (
    "answer", "answer", "answer", "answer", "fail", "unheard", "fatal", "accepted", "late", "timer", "timers", "claim",
    "release", "task", "task", "retry", "edit", "complete", "skip", "quarantine", "order", "order", "change", "change",
    "away", "held", "held", "resume", "resume",
)  # fmt: skip
MEANT_FOR = {
    "retry": ("Failed", "Fatally Failed"),
    "edit": ("Failed", "Fatally Failed"),
    "complete": ("Running", "Failed", "Fatally Failed"),
    "skip": ("Pending", "Ready", "On Hold", "Scheduled", "Failed", "Fatally Failed"),
    "resume": ("On Hold",),
    "timer": ("Running", "Failed", "Scheduled"),
    "claim": ("Ready",),
    "release": ("Running",),
    "task": ("Ready", "Running"),
}
Step = tuple[str, int, int]
steps = st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 30), st.integers(0, 3)), min_size=6, max_size=40)


@dataclass
class History:
    """One account on its way through a random history."""

    engine: Engine
    orders: list[list[OrderLine]]
    sent: list[tuple[Plan, Call]] = field(default_factory=list)
    """Every call that was ever made."""

    def begin(self) -> None:
        """Take in the first order."""
        self._accept(0)

    def _accept(self, value: int) -> None:
        if self.orders:
            self._refused_or(lambda: self.engine.accept(order_of(*self.orders.pop(0))))

    def _change(self, pick: int, value: int) -> None:
        """An order that changes or deletes something installed, or about to be."""
        ids = sorted(self.engine.account.projected().assets)
        chosen = [self.engine.account.projected().assets[each] for each in ids if not each.startswith("t")]
        roots = [asset for asset in chosen if asset.product != "t"]
        if not roots:
            return
        asset = roots[pick % len(roots)]
        action = ("modify", "modify", "delete", "noChange")[value]
        changed = line("c", None, action, product_id=asset.asset_id, n=pick, zone=("north", "south")[pick % 2])
        self._refused_or(lambda: self.engine.accept(order_of(changed)))

    def do(self, step: Step) -> None:
        """One thing happens, if there is anything that it can happen to."""
        act, pick, value = step
        engine = self.engine
        self._note_calls()
        if act == "order":
            self._accept(value)
        elif act == "change":
            self._change(pick, value)
        elif act == "timers":
            engine.wait(10.0**value)
            for plan in list(engine.plans.values()):
                for item in [each for each in plan.items if each.timer_at is not None and each.timer_at <= engine.now]:
                    engine.tell(plan, TimerFired(item.key))
        elif act == "away":
            engine.hold(*(["sys"] if value < 2 else []))
        elif act in ("answer", "fail", "unheard", "fatal", "accepted", "late", "held"):
            self._report(act, pick, value)
        else:
            found = [(plan, item) for plan in engine.plans.values() for item in plan.items]
            if value < 3:
                # Mostly something that it can happen to; now and then anything.
                found = [each for each in found if each[1].state.value in MEANT_FOR.get(act, (each[1].state.value,))]
            if found:
                plan, item = found[pick % len(found)]
                self._refused_or(lambda: self._to_item(act, plan, item.key, value), plan)
        self._note_calls()

    def _note_calls(self) -> None:
        for order_id, calls in self.engine.calls.items():
            self.sent.extend((self.engine.plans[order_id], call) for call in calls)
            calls.clear()

    def _report(self, act: str, pick: int, value: int) -> None:
        """About one of the last calls, or (late) about any that was ever made, again perhaps."""
        if not self.sent:
            return
        plan, call = (
            self.sent[pick % len(self.sent)] if act == "late" else self.sent[-1 - pick % min(6, len(self.sent))]
        )
        kinds: dict[str, Any] = {"answer": "completed", "late": "completed", "fatal": "failed", "accepted": "accepted"}
        answer = {"attributes": {"n": value, "pin": f"secret-{value}"}} if value else {}
        if act == "held":
            cause = (HoldCause.BREAKER, HoldCause.OFFLINE, HoldCause.BUSY, HoldCause.BUSY)[value]
            self.engine.tell(plan, Report(call.item, call.attempt, "held", error_code=cause.value))
            return
        report = Report(call.item, call.attempt, kinds.get(act, "retryable"), answer=answer, unheard=act == "unheard")
        self.engine.tell(plan, report)

    def _to_item(self, act: str, plan: Plan, item: str, value: int) -> Turn:
        engine = self.engine
        if act == "timer":
            return engine.tell(plan, TimerFired(item))
        if act == "resume":
            return engine.resume(plan, item)
        if act == "claim":
            return engine.claim(plan, item, f"worker-{value}")
        if act == "release":
            return engine.release_task(plan, item, f"worker-{value}")
        if act == "task":
            return engine.complete_task(plan, item, {"n": value} if value else {})
        if act == "quarantine":
            return engine.tell(plan, Quarantine("unstorable", item))
        if act == "edit":
            return engine.operate(plan, item, act, payload={"n": value}, is_patch=value > 1)
        return engine.operate(plan, item, act, {"attributes": {"n": value}} if act == "complete" and value else None)

    def _refused_or(self, act: Any, plan: Plan | None = None) -> None:
        """Do it, or have it refused with nothing changed."""
        before = fingerprint(plan) if plan else None
        facts = {order_id: len(each) for order_id, each in self.engine.facts.items()}
        try:
            act()
        except OrderplanError:
            assert before is None or plan is None or fingerprint(plan) == before
            assert {order_id: len(each) for order_id, each in self.engine.facts.items()} == facts

    def finish(self) -> None:
        """Let everything end well: answers come, tasks are done, and what is stuck is skipped by an operator."""
        engine = self.engine
        engine.hold()
        for _ in range(2_000):
            self._note_calls()
            open_plans = [plan for plan in engine.plans.values() if plan.ended_at is None]
            if not open_plans:
                return
            for plan in open_plans:
                for item in plan.items:
                    if plan.ended_at is not None:
                        break
                    if item.state == "Running" and item.is_callout:
                        engine.tell(plan, Report(item.key, item.attempt, "completed"))
                    elif item.is_manual and item.state in ("Ready", "Running"):
                        engine.complete_task(plan, item.key)
                    elif item.state == "On Hold":
                        engine.resume(plan, item.key)
                    elif item.state == "Fatally Failed":
                        engine.operate(plan, item.key, "skip")
                    elif item.timer_at is not None:
                        engine.fire(plan, item.key)
        stuck = {plan.order_id: {item.key: item.state.value for item in plan.items} for plan in open_plans}
        raise AssertionError(f"orders never end: {stuck}")
