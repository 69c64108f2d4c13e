"""Explanations: every way in which something can stand still is told with its facts, and nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from domain.chains import stands_behind
from domain.explain import STANDING_MAX, WAITS_SHOWN_MAX, explain_item, explain_order
from domain.explain_absent import explain_absent
from domain.explanation import Explanation, Reason, Staff, World
from domain.expression_paths import paths_of
from domain.messages import ChangeLine, Quarantine, Report
from domain.placement import AssetBooking
from domain.plan import Plan
from domain.provenance import provenance_of
from tests.support.build import callout, depends, line, manual, order_of, plan_of, release_of, rule, scenario
from tests.support.engine import START, Engine

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
    return explain_item(plan, plan.by_key[f"p/{item}@1"], world or World(), START)


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
    "calling": (
        calling,
        "calling",
        "is being done by system sys since 2026-03-02 09:00:00 UTC",
        {"attempt": 1, "system": "sys"},
    ),
    "system": (system_unknown, "systemUnknown", "is not set up", {"system": "sys"}),
    "callback": (
        callback,
        "callbackAwaited",
        "which is to call back by 2026-03-02 09:00:30 UTC (in 30 s)",
        {"attempt": 1},
    ),
    "retry": (
        retry,
        "retryAt",
        "1 of 2 attempts are made, the next try is at 2026-03-02 09:01:00 UTC (in 1 min)",
        {"attemptsMax": 2, "errorCode": "E1"},
    ),
    "fatal": (
        fatal,
        "fatallyFailed",
        "it broke. An operator can retry, edit, complete or skip it",
        {"errorCode": "E1", "actions": ["retry", "edit", "complete", "skip"]},
    ),
    "waits": (waiting, "waitsForItem", "in the way is a (p/a@1), which is Fatally Failed", {"root": "p/a@1"}),
    "scheduled": (
        scheduled,
        "scheduledUntil",
        "not to start before 2026-04-01 08:00:00 UTC (in 30 d)",
        {"until": "2026-04-01T08:00:00+00:00"},
    ),
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
        "off shift: 2",
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
    return explain_order(plan, world or World(), START)


def test_the_summary_names_what_needs_somebody_before_what_goes_on_by_itself() -> None:
    engine = engine_of("a", "b", "c", "d", dependencies=[depends("p/d", "p/a")])
    plan = accepted(engine)
    engine.fail(plan, engine.call(plan, "p/b"), fatal=True)
    found = summary(plan)

    assert found.summary == (
        "b has failed for good: it broke. An operator can retry, edit, complete or skip it. 2 other items stand still "
        "too, and 1 waits behind."
    )
    assert {each.item.key for each in found.items} == {"p/a@1", "p/b@1", "p/c@1"}


@pytest.mark.rule("F.11")
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
    [reasons] = [each.reasons for each in summary(second).items if each.item.definition is None]

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


def test_the_worst_item_at_the_bottom_is_what_stands_in_the_way_and_the_way_to_it_is_told() -> None:
    edges = [depends("p/d", "p/c"), depends("p/c", "p/a"), depends("p/c", "p/b"), depends("p/c", "p/e")]
    engine = engine_of("a", "b", "c", "d", "e", dependencies=edges)
    plan = accepted(engine)
    engine.fail(plan, engine.call(plan, "p/b"), fatal=True)
    [reason] = told(plan, "d")

    assert (reason.facts["item"], reason.facts["root"]) == ("p/c@1", "p/b@1")
    assert [each["item"] for each in reason.facts["chain"]] == ["p/b@1", "p/c@1"]
    assert reason.facts["because"]["code"] == "fatallyFailed"
    assert reason.facts["otherRoots"] == 2
    assert reason.text.endswith(
        "which is Fatally Failed (and 2 others). b has failed for good: it broke. An operator can retry, edit, "
        "complete or skip it."
    )


def test_the_way_to_the_cause_leads_into_a_sub_plan_and_out_of_one_that_has_not_begun() -> None:
    sub_plan = {"code": "s", "type": "subPlan", "subPlan": "sub"}
    engine = engine_of("a", sub_plan, "z", dependencies=[depends("p/s", "p/a"), depends("p/z", "p/s")])
    plan = accepted(engine)
    [inside] = explain_item(plan, plan.by_key["sub/inside@1"], World(), START)
    assert (inside.facts["item"], inside.facts["root"]) == ("p/s@1", "p/a@1")

    engine.answer(plan, engine.call(plan, "p/a"))
    engine.fail(plan, engine.call(plan, "sub/inside"), fatal=True)
    assert told(plan, "z")[0].facts["root"] == "sub/inside@1"
    assert told(plan, "s")[0].facts["because"]["code"] == "fatallyFailed"
    assert [each.key for each in stands_behind(plan, plan.by_key["sub/inside@1"])] == ["p/s@1", "p/z@1"]


def test_who_cannot_be_found_for_a_task_is_said_to_those_that_wait_for_it() -> None:
    engine = engine_of(manual("a", skills=SKILLED), "b", dependencies=[depends("p/b", "p/a")])
    [reason] = told(accepted(engine), "b", World(staff={"p/a@1": Staff(3, 0, 0)}))

    assert reason.facts["because"]["code"] == "nobodySkilled"


def test_an_item_that_waits_for_many_names_the_first_and_counts_the_rest() -> None:
    codes = [f"a{index}" for index in range(14)]
    engine = engine_of("z", *codes, dependencies=[depends("p/z", f"p/{code}") for code in codes])
    plan = accepted(engine)
    engine.fail(plan, engine.call(plan, "p/a5"), fatal=True)
    reasons = told(plan, "z")

    assert len(reasons) == WAITS_SHOWN_MAX + 1
    assert reasons[0].facts["item"] == "p/a5@1"
    assert reasons[-1].facts == {"more": 4}


def test_an_order_names_at_most_so_many_items_the_worst_first_and_counts_the_rest() -> None:
    codes = [f"a{index}" for index in range(STANDING_MAX + 3)]
    engine = engine_of(*codes)
    plan = accepted(engine)
    engine.fail(plan, engine.call(plan, f"p/{codes[-1]}"), fatal=True)
    found = summary(plan)

    assert (len(found.items), found.more) == (STANDING_MAX, 3)
    assert found.items[0].item.key == f"p/{codes[-1]}@1"
    assert found.summary.startswith(f"{codes[-1]} has failed for good")
    assert found.summary.endswith(f"{STANDING_MAX + 2} other items stand still too.")


def test_a_skipped_item_tells_what_its_condition_read_then_and_what_it_reads_now() -> None:
    plan, item, _ = false_condition()
    world = World(at_skip={"p/a@1": {"1": {"number": "077", "pin": {"$sealed": "pin"}}}})
    facts = told(plan, item, world)[0].facts

    assert facts["values"] == {"1": {"attributes.number": "077", "attributes.pin": "********"}}
    assert facts["valuesNow"] == {"1": {"attributes.number": "078", "attributes.pin": "********"}}


def test_a_failed_item_whose_system_is_not_set_up_says_that_too() -> None:
    plan, item, _ = fatal()
    assert [each.code for each in told(plan, item, World(systems=frozenset()))] == ["fatallyFailed", "systemUnknown"]
    assert [each.code for each in told(plan, item, World(systems=frozenset({"sys"})))] == ["fatallyFailed"]


def test_a_dedicated_plan_that_is_not_confirmed_yet_says_so() -> None:
    plan = accepted(engine_of("a"))
    plan.bookings[1] = AssetBooking(1, (), (), is_last=True)

    assert [(each.code, each.facts) for each in summary(plan).reasons] == [("booking", {"numbers": [1]})]


@pytest.mark.rule("F.2")
def test_a_line_without_work_says_why() -> None:
    products = ["offer", "modem", "cable"]
    engine = engine_of("a", products=products, scenarios=[scenario("offer", "p"), scenario("modem", "p", "delete")])
    plan = engine.accept(order_of(line("1", "offer"), line("2", "modem"), line("3", "cable")))
    found = [each for each in summary(plan).reasons if each.code == "noWork"]

    assert [each.facts["line"] for each in found] == ["2", "3"]
    assert found[0].text.endswith("the scenarios of modem are for delete.")
    assert found[1].text.endswith("no scenario is about cable or its class.")


def test_what_is_missing_names_product_class_sub_action_sub_plan_or_that_there_is_no_plan() -> None:
    engine = engine_of(
        "a",
        plans=[
            plan_of("p", "a", {"code": "s", "type": "subPlan", "subPlan": "sub", "condition": "true"}),
            plan_of("q", "z", {"code": "t", "type": "subPlan", "subPlan": "deep"}),
            plan_of("r", "y"),
            plan_of("sub", "inside"),
            plan_of("deep", "core"),
        ],
        products=["offer", {"code": "modem", "class": "device"}],
        classes=[{"code": "device"}],
        scenarios=[
            scenario("offer", "p", "add", "modify"),
            {"class": "device", "plan": "q", "actions": ["add"]},
            scenario("offer", "r", subActions=["renew"]),
        ],
    )
    plan = accepted(engine)

    [product] = explain_absent(plan, "q/z")
    assert (product.code, product.facts["classes"]) == ("otherProduct", ["device"])
    [sub_action] = explain_absent(plan, "r/y")
    assert (sub_action.code, sub_action.facts["subActions"]) == ("otherSubAction", ["renew"])
    assert [each.code for each in explain_absent(plan, "deep/core")] == ["inSubPlan", "otherProduct"]
    waiting = engine.accept(order_of(line("1", "offer", "modify")))
    assert [each.code for each in explain_absent(waiting, "p/a")] == ["noPlan"]


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


def composed_of(engine: Engine, plan: Plan) -> Plan:
    """The plan as it was when it was composed."""
    facts = engine.facts[plan.order_id]
    first = next(index for index, fact in enumerate(facts) if fact.kind == "plan.composed")
    engine.facts[plan.order_id] = facts[: first + 1]
    composed = engine.replayed(plan)
    engine.facts[plan.order_id] = facts
    return composed


def origins(engine: Engine, plan: Plan, line_key: str, attribute: str) -> list[tuple[str, Any]]:
    found = provenance_of(plan, composed_of(engine, plan), engine.facts[plan.order_id], line_key, attribute)
    return [(each.kind, each.value) for each in found]


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


def test_an_answer_tells_its_attempt_and_what_is_brought_back_tells_its_line() -> None:
    engine = engine_of(
        callout("a", retry="twice"),
        {"code": "b", "type": "autoTask", "task": "backPropagate"},
        products=[
            {"code": "offer", "attributes": [{"name": "number"}]},
            {"code": "part", "attributes": [{"name": "number"}]},
        ],
        decompositions=[rule("offer", "part")],
        dependencies=[depends("p/b", "p/a")],
        scenarios=[scenario("part", "p")],
    )
    plan = accepted(engine)
    engine.fail(plan, engine.call(plan, "p/a"))
    engine.fire(plan, "p/a@part@1")
    engine.answer(plan, engine.call(plan, "p/a"), {"attributes": {"number": "079"}})

    [answer] = provenance_of(plan, composed_of(engine, plan), engine.facts[plan.order_id], "part@1", "number")
    assert (answer.kind, answer.facts["attempt"], answer.facts["system"]) == ("answer", 2, "sys")
    [brought] = provenance_of(plan, composed_of(engine, plan), engine.facts[plan.order_id], "1", "number")
    assert (brought.kind, brought.facts["lines"]) == ("backPropagation", ["part@1"])


def test_a_source_that_feeds_a_line_no_more_is_not_the_origin_of_its_values() -> None:
    speed = {"to": "speed", "expression": "attributes.mega * 2"}
    engine = engine_of(
        "a",
        products=["offer", "root", {"code": "part", "scope": "bundle"}],
        decompositions=[rule("root", "part", speed, when="attributes.mega > 10")],
        scenarios=[scenario("part", "p", "add", "modify")],
    )
    first = [line("0", "offer"), line("1", "root", mega=15, below="0"), line("2", "root", mega=20, below="0")]
    added = engine.accept(order_of(*first))
    engine.finish(added)
    [one, two] = [each.asset_id for each in added.lines if each.product == "root"]
    changes = [("1", one, 5), ("2", two, 30)]
    lines = [line(key, "root", "modify", product_id=asset, mega=mega) for key, asset, mega in changes]
    plan = engine.accept(order_of(*lines))
    key = next(each.key for each in plan.lines if each.product == "part")
    [origin] = provenance_of(plan, composed_of(engine, plan), engine.facts[plan.order_id], key, "speed")

    assert plan.lines[plan.line_at[key]].sources == ("1", "2")
    assert (origin.value, origin.facts["line"]) == (60, "2")
    assert origin.facts["values"] == {"attributes.mega": 30}


def test_what_a_line_that_changes_nothing_repeats_is_not_the_origin_of_what_is_installed() -> None:
    engine = engine_of("a", scenarios=[scenario("offer", "p", "add", "noChange")])
    engine.finish(accepted(engine, number="078"))
    same = engine.accept(order_of(line("1", "offer", "noChange", number="1")))

    assert origins(engine, same, "1", "number") == [("installed", "078")]
