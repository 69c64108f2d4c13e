"""Explanations: every way in which something can stand still is told with its facts, and nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from domain.explain import Explanation, Reason, Staff, World, explain_absent, explain_item, explain_order
from domain.expression_paths import paths_of
from domain.messages import ChangeLine, Quarantine, Report
from domain.plan import Plan
from domain.provenance import provenance_of
from tests.support.build import callout, depends, line, manual, order_of, plan_of, release_of, rule, scenario
from tests.support.engine import Engine

SKILLED = [{"skill": "fibre", "level": 2}]


def engine_of(*items: Any, dependencies: Any = (), **parts: Any) -> Engine:
    """One product, one plan of these items."""
    defaults: dict[str, Any] = {
        "products": [{"code": "offer", "attributes": [{"name": "number"}, {"name": "pin", "assetizable": False}]}],
        "plans": [plan_of("p", *items), plan_of("sub", "inside")],
        "dependencies": list(dependencies),
        "scenarios": [scenario("offer", "p")],
        "retries": [{"code": "twice", "attemptsMax": 2, "delaysS": [60]}],
    }
    return Engine(release_of(**(defaults | parts)))


def accepted(engine: Engine, **attributes: Any) -> Plan:
    return engine.accept(order_of(line("1", "offer", **attributes)))


def told(plan: Plan, item: str, world: World | None = None) -> list[Reason]:
    return explain_item(plan, plan.by_key[f"p/{item}@1"], world or World())


def calling() -> tuple[Plan, str, World]:
    return accepted(engine_of("a")), "a", World()


def system_unknown() -> tuple[Plan, str, World]:
    return accepted(engine_of("a")), "a", World(systems=frozenset({"other"}))


def callback() -> tuple[Plan, str, World]:
    engine = engine_of("a")
    plan = accepted(engine)
    engine.tell(plan, Report("p/a@1", 1, "accepted"))
    return plan, "a", World()


def retry() -> tuple[Plan, str, World]:
    engine = engine_of(callout("a", retry="twice"))
    plan = accepted(engine)
    engine.fail(plan, engine.call(plan, "p/a"))
    return plan, "a", World()


def fatal() -> tuple[Plan, str, World]:
    engine = engine_of("a")
    plan = accepted(engine)
    engine.fail(plan, engine.call(plan, "p/a"), fatal=True)
    return plan, "a", World()


def waiting() -> tuple[Plan, str, World]:
    engine = engine_of("a", "b", "c", dependencies=[depends("p/b", "p/a"), depends("p/c", "p/b")])
    plan = accepted(engine)
    engine.fail(plan, engine.call(plan, "p/a"), fatal=True)
    return plan, "c", World()


def scheduled() -> tuple[Plan, str, World]:
    engine = engine_of(callout("a", processAfter="line.requestedStartAt"))
    plan = engine.accept(order_of(line("1", "offer", requested_start_at="2026-04-01T08:00:00Z")))
    return plan, "a", World()


def false_condition() -> tuple[Plan, str, World]:
    engine = engine_of(callout("a", condition='attributes.number == "079" && has(attributes.pin)'), "b")
    return accepted(engine, number="078", pin="1234"), "a", World()


def branch() -> tuple[Plan, str, World]:
    skipped = callout("a", condition="false", skipBranch=True)
    engine = engine_of(skipped, "b", dependencies=[depends("p/b", "p/a")])
    return accepted(engine), "b", World()


def by_operator() -> tuple[Plan, str, World]:
    engine = engine_of("a", "b", dependencies=[depends("p/b", "p/a")])
    plan = accepted(engine)
    engine.operate(plan, "p/b@1", "skip")
    return plan, "b", World()


def event() -> tuple[Plan, str, World]:
    engine = engine_of({"code": "a", "type": "pushEvent", "event": 'attributes.number == "079"'})
    return accepted(engine), "a", World()


def event_without_condition() -> tuple[Plan, str, World]:
    return accepted(engine_of({"code": "a", "type": "pushEvent"})), "a", World()


def sub_plan() -> tuple[Plan, str, World]:
    return accepted(engine_of({"code": "a", "type": "subPlan", "subPlan": "sub"})), "a", World()


def task(world: Callable[[Engine], World]) -> Callable[[], tuple[Plan, str, World]]:
    def made() -> tuple[Plan, str, World]:
        engine = engine_of(manual("a", skills=SKILLED))
        return accepted(engine), "a", world(engine)

    return made


def void() -> tuple[Plan, str, World]:
    engine = engine_of(
        "a",
        plans=[plan_of("p", "a"), plan_of("q", "z")],
        dependencies=[depends("p/a", "q/z")],
        scenarios=[scenario("offer", "p"), scenario("offer", "q", "delete")],
    )
    return accepted(engine), "a", World()


CASES: dict[str, tuple[Callable[[], tuple[Plan, str, World]], str, str, dict[str, Any]]] = {
    "calling": (calling, "calling", "is being done by system sys", {"attempt": 1, "system": "sys"}),
    "system": (system_unknown, "systemUnknown", "is not set up", {"system": "sys"}),
    "callback": (callback, "callbackAwaited", "whose answer is to come by", {"attempt": 1}),
    "retry": (retry, "retryAt", "1 of 2 attempts", {"attemptsMax": 2, "errorCode": "E1"}),
    "fatal": (fatal, "fatallyFailed", "An operator can retry", {"errorCode": "E1"}),
    "waits": (waiting, "waitsForItem", "in the way is a (p/a@1), which is Fatally Failed", {"root": "p/a@1"}),
    "scheduled": (scheduled, "scheduledUntil", "not to start before 2026-04-01T08:00:00+00:00", {}),
    "condition": (
        false_condition,
        "conditionFalse",
        "did not hold",
        {"valuesNow": {"1": {"attributes.number": "078", "attributes.pin": "********"}}},
    ),
    "branch": (branch, "branchSkipped", "skipped with its branch", {}),
    "operator": (by_operator, "operatorSkipped", "An operator skipped it", {}),
    "event": (event, "eventAwaited", "until this is true", {"valuesNow": {"1": {"attributes.number": "absent"}}}),
    "bare event": (event_without_condition, "eventAwaited", "it has no condition", {}),
    "sub-plan": (sub_plan, "subPlanRunning", "1 are open", {"open": ["sub/inside@1"]}),
    "free task": (task(lambda _: World()), "taskOpen", "is free in queue desk", {"queue": "desk"}),
    "held task": (
        task(lambda engine: World(claims={"p/a@1": ("paul", engine.now + timedelta(hours=1))})),
        "taskOpen",
        "is held by paul until",
        {"worker": "paul"},
    ),
    "nobody skilled": (
        task(lambda _: World(staff={"p/a@1": Staff(3, 0, 0)})),
        "nobodySkilled",
        "it needs fibre (level 2)",
        {"members": 3, "skilled": 0},
    ),
    "nobody on shift": (
        task(lambda _: World(staff={"p/a@1": Staff(3, 2, 0)})),
        "nobodyOnShift",
        "2 are off",
        {"skilled": 2, "onShift": 0},
    ),
    "void": (void, "voidDependency", "would wait for q/z, which this order does not have", {"item": "q/z"}),
}


@pytest.mark.parametrize("case", CASES)
def test_every_way_of_waiting_is_told_with_its_facts(case: str) -> None:
    make, code, text, facts = CASES[case]
    plan, item, world = make()
    reasons = told(plan, item, world)

    found = next((each for each in reasons if each.code == code), None)
    assert found is not None, reasons
    assert text in found.text
    assert facts.items() <= found.facts.items()


def summary(plan: Plan, world: World | None = None) -> Explanation:
    return explain_order(plan, world or World())


def test_the_summary_names_what_needs_somebody_before_what_goes_on_by_itself() -> None:
    engine = engine_of("a", "b", "c", "d", dependencies=[depends("p/d", "p/a")])
    plan = accepted(engine)
    engine.fail(plan, engine.call(plan, "p/b"), fatal=True)
    found = summary(plan)

    assert found.summary == (
        "b has failed for good: it broke. An operator can retry, edit, complete or skip it, and 2 other items stand "
        "still too; 1 more wait for what stands before them."
    )
    assert {item.key for item, _ in found.items} == {"p/a@1", "p/b@1", "p/c@1"}


def test_an_order_behind_another_says_behind_which() -> None:
    engine = engine_of("a", scenarios=[scenario("offer", "p", "add", "modify")])
    first = accepted(engine)
    second = engine.accept(order_of(line("1", "offer", "modify")))
    found = summary(second, World(orders={first.order_id: "inProgress"}))

    assert found.reasons[0].code == "waitsBehindOrder"
    assert f"{first.order_id} (inProgress)" in found.summary


def test_a_line_that_joins_says_whom_it_waits_for() -> None:
    engine = engine_of(
        "a",
        products=["offer", {"code": "mailbox", "scope": "account"}],
        decompositions=[rule("offer", "mailbox")],
        scenarios=[scenario("offer", "p"), scenario("mailbox", "sub")],
        dependencies=[depends("p/a", "sub/inside", "bundle")],
    )
    first, second = accepted(engine), accepted(engine)
    [(_, reasons)] = [each for each in summary(second).items if each[0].definition is None]

    assert reasons[0].code == "waitsForOrder"
    assert reasons[0].facts["order"] == first.order_id


@pytest.mark.parametrize(
    ("world", "code"), [(World(has_owner=False), "noOwner"), (World(has_owner=True), None), (World(), None)]
)
def test_an_order_whose_shard_nobody_owns_says_so_only_if_that_is_known(world: World, code: str | None) -> None:
    plan = accepted(engine_of("a"))

    assert [each.code for each in summary(plan, world).reasons] == ([code] if code else [])


def test_ended_rejected_quarantined_and_placed_orders_say_so() -> None:
    engine = engine_of("a", dedicated='order.priority == "high"')
    plan = accepted(engine)
    engine.tell(plan, Quarantine("a value cannot be stored", "p/a@1"))
    assert [each.code for each in summary(plan).reasons] == ["quarantined"]
    engine.operate(plan, "p/a@1", "complete")
    assert [each.code for each in summary(plan).reasons] == ["ended"]
    rejected = engine.accept(order_of(line("1", "offer", "delete")))
    assert [each.code for each in summary(rejected).reasons] == ["rejected"]
    assert "no scenario" in summary(rejected).summary
    placed = engine.accept(order_of(line("1", "offer"), priority="high"))
    assert [each.code for each in summary(placed).reasons] == ["placement"]


def test_an_item_that_is_not_in_the_plan_names_the_scenario_that_did_not_match() -> None:
    engine = engine_of(
        "a",
        plans=[plan_of("p", "a"), plan_of("q", "z"), plan_of("r", "y"), plan_of("s", "x")],
        scenarios=[
            scenario("offer", "p"),
            scenario("offer", "q", "delete"),
            scenario("offer", "r", "add", when='attributes.number == "079"'),
        ],
    )
    plan = accepted(engine, number="078")

    assert [each.code for each in explain_absent(plan, "q/z")] == ["otherAction"]
    [false] = explain_absent(plan, "r/y")
    assert false.code == "scenarioFalse"
    assert false.facts["conditions"] == {'attributes.number == "079"': {"attributes.number": "078"}}
    assert [each.code for each in explain_absent(plan, "s/x")] == ["noScenario"]
    [unknown] = explain_absent(plan, "q/zz")
    assert (unknown.code, unknown.facts["near"]) == ("unknownItem", ["q/z"])


def test_the_paths_that_a_condition_reads() -> None:
    both = 'has(attributes.a.b) && attributes["c d"].size() > 1'
    source = both + ' && ["x"].exists(e, e == order.channel) || line.quantity in [1]'

    assert paths_of(source, {"attributes", "order", "line"}) == [
        ("attributes", "a", "b"),
        ("attributes", "c d"),
        ("order", "channel"),
        ("line", "quantity"),
    ]


# Where a value came from.


def origins(engine: Engine, plan: Plan, line_key: str, attribute: str) -> list[tuple[str, Any]]:
    facts = engine.facts[plan.order_id]
    first = next(index for index, fact in enumerate(facts) if fact.kind == "plan.composed")
    kept, engine.facts[plan.order_id] = facts, facts[: first + 1]
    composed = engine.replayed(plan)
    engine.facts[plan.order_id] = kept
    return [(each.kind, each.value) for each in provenance_of(plan, composed, facts, line_key, attribute)]


def test_a_value_is_followed_from_its_newest_origin_to_where_it_began() -> None:
    engine = engine_of(
        "a",
        manual("b", form=[{"name": "number"}]),
        products=[
            {"code": "offer", "attributes": [{"name": "number"}, {"name": "kind", "default": "plain"}]},
            {"code": "part", "attributes": [{"name": "number"}, {"name": "port"}]},
            {"code": "deep", "attributes": [{"name": "number"}]},
        ],
        decompositions=[
            rule("offer", "part", {"to": "number", "copy": "number"}, {"to": "port", "static": 7}),
            rule("part", "deep", {"to": "number", "copy": "number"}),
        ],
        scenarios=[scenario("part", "p")],
    )
    plan = accepted(engine, number="078")
    engine.answer(plan, engine.call(plan, "p/a"), {"attributes": {"number": "079"}})
    engine.complete_task(plan, "p/b@part@1", {"number": "080"})

    assert origins(engine, plan, "part@1", "number") == [
        ("form", "080"),
        ("answer", "079"),
        ("mapping", "078"),
        ("order", "078"),
    ]
    assert origins(engine, plan, "deep@part@1", "number") == [("mapping", "078"), ("mapping", "078"), ("order", "078")]
    assert origins(engine, plan, "part@1", "port") == [("mapping", 7)]
    assert origins(engine, plan, "1", "kind") == [("default", "plain")]
    assert origins(engine, plan, "1", "colour") == []


def test_a_change_from_outside_and_a_sealed_value_have_an_origin_too() -> None:
    engine = engine_of("a")
    plan = accepted(engine)
    engine.tell(plan, ChangeLine("1", {"pin": "1234"}, "she called", "m"), "person:olga", "m")

    assert origins(engine, plan, "1", "pin") == [("change", "********")]


def test_what_was_installed_is_the_origin_of_what_an_order_does_not_change() -> None:
    engine = engine_of("a", scenarios=[scenario("offer", "p", "add", "modify")])
    engine.finish(accepted(engine, number="078"))
    changed = engine.accept(order_of(line("1", "offer", "modify", other="x")))

    assert origins(engine, changed, "1", "number") == [("installed", "078")]
