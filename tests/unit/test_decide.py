"""What messages mean for a plan: items from their first look to their end, and the order with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from domain import facts as f
from domain.decide import pending_effects
from domain.errors import BadForm, IllegalTransition, NotFound, NotPossibleNow, TaskTaken
from domain.evolve import evolve
from domain.facts import Fact
from domain.messages import CompleteTask, Quarantine, Report, TimerFired
from domain.plan import Plan
from domain.sealing import is_sealed
from domain.turn import DEADLINE_GRACE_S, Call, Turn
from domain.watchdog import calls_awaited
from tests.support.build import (
    assetize,
    callout,
    depends,
    line,
    manual,
    milestone,
    order_of,
    plan_of,
    release_of,
    rule,
    scenario,
)
from tests.support.engine import START, Engine
from tests.support.fingerprint import fingerprint

ENGINES: list[Engine] = []


@pytest.fixture(autouse=True)
def _every_plan_can_be_replayed() -> Iterator[None]:
    """Whatever a test does to a plan, its facts alone give the same plan."""
    ENGINES.clear()
    yield
    for engine in ENGINES:
        for plan in engine.plans.values():
            assert fingerprint(engine.replayed(plan)) == fingerprint(plan)


def engine_of(**parts: Any) -> Engine:
    engine = Engine(release_of(**parts))
    ENGINES.append(engine)
    return engine


def started(*items: Any, after: Mapping[str, str] | None = None, **parts: Any) -> tuple[Engine, Plan]:
    """An order of one line whose plan `p` has these items; `after` says which item waits for which."""
    order = {name: parts.pop(name) for name in ("lines", "channel", "account_facts") if name in parts}
    attributes = parts.pop("attributes", [])
    engine = engine_of(
        **{
            "products": [{"code": "x", "attributes": attributes}],
            "plans": [plan_of("p", *items, scope=parts.pop("scope", "item"))],
            "dependencies": [
                depends(f"p/{item}", f"p/{other}") for item, others in (after or {}).items() for other in others.split()
            ],
            "scenarios": [scenario("x", "p")],
        }
        | parts
    )
    plan = engine.accept(order_of(*order.pop("lines", [line("1", "x")]), **order))
    return engine, plan


def key(item: str) -> str:
    return f"p/{item}@1"


def state(plan: Plan, item: str) -> str:
    return plan.by_key[key(item)].state.value


def states(plan: Plan) -> dict[str, str]:
    return {item.key.removeprefix("p/").removesuffix("@1"): item.state.value for item in plan.items}


def kinds(engine: Engine, plan: Plan, item: str | None = None) -> list[str]:
    return [each.kind for each in engine.facts[plan.order_id] if item is None or each.item == key(item)]


def once(code: str = "call", **members: Any) -> dict[str, Any]:
    """A callout that is tried once."""
    return callout(code, retry="once", **members)


ONCE = [{"code": "once", "attemptsMax": 1}, {"code": "steps", "attemptsMax": 4, "delaysS": [10, 60]}]


# Callouts.


@pytest.mark.rule("B1.1", "B2.5", "B3.11")
def test_a_callout_is_sent_as_soon_as_nothing_holds_it() -> None:
    engine, plan = started(callout("call", operation="reserve", name="Reserve", timeoutS=20))

    assert engine.calls[plan.order_id] == [
        Call(
            order_id=plan.order_id,
            tenant="main",
            item="p/call@1",
            attempt=1,
            system="sys",
            operation="reserve",
            name="Reserve",
            deadline_at=START + timedelta(seconds=20),
            payload=engine.calls[plan.order_id][0].payload,
        )
    ]
    assert (state(plan, "call"), plan.state, plan.order_state) == ("Running", "In Progress", "inProgress")


@pytest.mark.rule("B1.9", "B2.8", "B3.14")
def test_success_completes_the_item_and_with_the_last_one_the_order() -> None:
    engine, plan = started("first", "second", after={"second": "first"})
    engine.answer(plan, engine.call(plan, "p/first"))
    half = states(plan)
    engine.answer(plan, engine.call(plan, "p/second"))

    assert half == {"first": "Completed", "second": "Running"}
    assert (plan.state, plan.order_state, plan.ended_at) == ("Completed", "completed", START)
    assert kinds(engine, plan)[-2:] == ["assets.changed", "order.ended"]


@pytest.mark.rule("B2.9", "B2.10", "B2.11")
def test_a_failure_is_retried_after_the_delays_of_its_policy_until_they_are_spent() -> None:
    engine, plan = started(callout("call", retry="steps"), retries=ONCE)
    seen = []
    for _ in range(4):
        engine.fail(plan, engine.call(plan, "p/call"))
        item = plan.by_key[key("call")]
        seen.append((item.state.value, item.timer_at and (item.timer_at - engine.now).total_seconds()))
        if item.timer_at is not None:
            engine.fire(plan, key("call"))

    assert seen == [("Failed", 10), ("Failed", 60), ("Failed", 60), ("Fatally Failed", None)]
    assert [
        fact.payload["attempt"] for fact in engine.facts[plan.order_id] if fact.payload and fact.kind == f.ITEM_STARTED
    ] == [1, 2, 3, 4]


def test_a_failure_keeps_its_reason_and_success_clears_it() -> None:
    engine, plan = started("call")
    engine.fail(plan, engine.call(plan, "p/call"))
    item = plan.by_key[key("call")]
    failed = (item.error, item.error_code)
    engine.fire(plan, item.key)
    engine.answer(plan, engine.call(plan, "p/call"))

    assert failed == ("it broke", "E1")
    assert (item.error, item.error_code) == ("", "")


@pytest.mark.rule("B2.11")
def test_a_failure_that_no_retry_can_mend_goes_to_a_person_at_once() -> None:
    engine, plan = started(callout("call", retry="steps"), retries=ONCE)
    engine.fail(plan, engine.call(plan, "p/call"), fatal=True)

    assert (state(plan, "call"), plan.by_key[key("call")].timer_at) == ("Fatally Failed", None)


def test_a_timer_that_is_not_due_means_nothing() -> None:
    engine, plan = started("call")
    engine.wait(1)
    turn = engine.tell(plan, TimerFired(key("call")))

    assert (turn.facts, state(plan, "call")) == ([], "Running")


@pytest.mark.rule("B2.9")
def test_no_answer_in_time_is_an_unheard_failure_and_the_retry_repeats_its_number() -> None:
    engine, plan = started("call")
    item = plan.by_key[key("call")]
    assert item.timer_at == START + timedelta(seconds=30 + DEADLINE_GRACE_S)
    engine.fire(plan, key("call"))
    timed_out = (item.state, item.error_code, item.is_unheard)
    engine.calls[plan.order_id].clear()
    engine.fire(plan, key("call"))

    assert timed_out == ("Failed", "timeout", True)
    assert (engine.call(plan, "p/call").attempt, item.tries) == (1, 2)


def test_timeouts_count_against_the_policy() -> None:
    engine, plan = started("call")
    for _ in range(5):
        engine.fire(plan, key("call"))

    assert state(plan, "call") == "Fatally Failed"


@pytest.mark.parametrize("kind", ["completed", "retryable", "failed", "accepted"])
def test_a_report_about_a_settled_attempt_is_noted_and_changes_nothing(kind: Any) -> None:
    engine, plan = started("call", "other")
    call = engine.call(plan, "p/call")
    engine.answer(plan, call)
    before = fingerprint(plan)
    turn = engine.tell(plan, Report(call.item, call.attempt, kind, answer={"attributes": {"a": 1}}))

    assert [fact.kind for fact in turn.facts] == [f.ITEM_NOTED]
    assert fingerprint(plan) | {"facts": 0} == before | {"facts": 0}


@pytest.mark.parametrize("kind", ["completed", "retryable", "failed", "accepted"])
def test_a_report_about_a_superseded_attempt_is_noted_and_changes_nothing(kind: Any) -> None:
    engine, plan = started("call")
    first = engine.call(plan, "p/call")
    engine.fail(plan, first)
    engine.fire(plan, key("call"))
    before = fingerprint(plan)
    turn = engine.tell(plan, Report(first.item, first.attempt, kind))

    assert [fact.kind for fact in turn.facts] == [f.ITEM_NOTED]
    assert fingerprint(plan) | {"facts": 0} == before | {"facts": 0}


def test_a_success_after_a_refusal_of_the_same_attempt_counts_because_it_was_sent_twice() -> None:
    """Found by the simulator (seed 410): another attempt would have done the work a second time."""
    engine, plan = started("call")
    call = engine.call(plan, "p/call")
    engine.fail(plan, call)
    engine.answer(plan, call)

    assert state(plan, "call") == "Completed"


@pytest.mark.parametrize("is_final", [False, True])
def test_an_attempt_that_was_sent_twice_keeps_its_key_when_one_sending_is_refused(is_final: bool) -> None:
    """Found by the simulator (seeds 1015513, 1027782): the refusal may be that of the other sending."""
    engine, plan = started("call")
    engine.fail(plan, engine.call(plan, "p/call"), unheard=True)
    engine.fire(plan, key("call"))
    engine.fail(plan, engine.call(plan, "p/call"), fatal=is_final)
    if is_final:
        engine.operate(plan, key("call"), "retry")
    else:
        engine.fire(plan, key("call"))

    assert engine.call(plan, "p/call").attempt == 1


def test_the_next_attempt_after_one_that_was_sent_twice_has_a_key_of_its_own_if_it_is_another_request() -> None:
    engine, plan = started("call")
    engine.fail(plan, engine.call(plan, "p/call"), unheard=True)
    engine.fire(plan, key("call"))
    engine.fail(plan, engine.call(plan, "p/call"), fatal=True)
    engine.operate(plan, key("call"), "edit", payload={"n": 2})
    engine.fail(plan, engine.call(plan, "p/call"))
    engine.fire(plan, key("call"))

    assert engine.call(plan, "p/call").attempt == 3


def test_a_success_of_an_attempt_that_was_followed_by_another_is_noted() -> None:
    engine, plan = started("call")
    call = engine.call(plan, "p/call")
    engine.fail(plan, call)
    engine.fire(plan, key("call"))
    turn = engine.answer(plan, call)

    assert [fact.kind for fact in turn.facts] == [f.ITEM_NOTED]
    assert state(plan, "call") == "Running"


def test_a_report_after_the_end_of_the_order_is_noted() -> None:
    engine, plan = started("call")
    call = engine.call(plan, "p/call")
    engine.answer(plan, call)
    engine.answer(plan, call)

    assert kinds(engine, plan)[-2:] == ["order.ended", "item.noted"]
    assert plan.order_state == "completed"


@pytest.mark.parametrize("timers", [1, 5])
def test_a_success_that_comes_late_is_the_success_of_the_attempt_that_nobody_heard(timers: int) -> None:
    engine, plan = started("call")
    call = engine.call(plan, "p/call")
    for _ in range(timers):
        engine.fire(plan, key("call"))
    assert state(plan, "call") == ("Failed" if timers == 1 else "Fatally Failed")
    engine.answer(plan, call)

    assert (state(plan, "call"), plan.order_state) == ("Completed", "completed")


def test_a_failure_that_comes_late_changes_nothing() -> None:
    engine, plan = started("call")
    call = engine.call(plan, "p/call")
    engine.fire(plan, key("call"))
    timer = plan.by_key[key("call")].timer_at
    engine.fail(plan, call)

    assert (state(plan, "call"), plan.by_key[key("call")].timer_at) == ("Failed", timer)


def test_an_accepted_call_waits_for_its_callback() -> None:
    engine, plan = started("call")
    call = engine.call(plan, "p/call")
    calling = plan.calling
    for _ in range(2):
        engine.tell(plan, Report(call.item, 1, "accepted"))

    assert kinds(engine, plan, "call") == ["item.started", "item.accepted"]
    assert (calling, plan.calling, pending_effects(plan, engine.now)) == (1, 0, [])
    engine.tell(plan, Report(call.item, 1, "completed", via="callback"))
    assert plan.order_state == "completed"


def test_an_accepted_call_without_a_callback_is_sent_again_under_its_number() -> None:
    engine, plan = started("call")
    call = engine.call(plan, "p/call")
    engine.tell(plan, Report(call.item, 1, "accepted"))
    engine.fire(plan, call.item)
    unheard = plan.by_key[call.item].error
    engine.fire(plan, call.item)

    assert unheard == "no answer came back in time"
    assert (plan.calling, [each.attempt for each in pending_effects(plan, engine.now)]) == (1, [1])


def test_a_report_about_a_manual_task_is_noted() -> None:
    engine, plan = started(manual("visit"))
    engine.claim(plan, key("visit"))

    assert engine.tell(plan, Report(key("visit"), 1, "completed")).facts[0].kind == f.ITEM_NOTED


def test_a_report_about_no_item_is_refused() -> None:
    engine, plan = started("call")

    with pytest.raises(NotFound, match="has no item 'p/nothing@1'"):
        engine.tell(plan, Report("p/nothing@1", 1, "completed"))


# What is sent.


def test_the_standard_payload_names_order_lines_and_products() -> None:
    engine = engine_of(
        products=[{"code": "x", "externalId": "X-1", "attributes": [{"name": "pin", "assetizable": False}]}],
        plans=[plan_of("p", callout("call", operation="do", name="Do it"))],
        scenarios=[scenario("x", "p", "add", "modify")],
    )
    first = engine.accept(
        order_of(line("1", "X-1", speed=30, pin="1234", place={"city": "Bern"}, quantity=2), external_id="ext-1")
    )
    add = engine.calls[first.order_id][0].payload
    engine.finish(first)
    second = engine.accept(order_of(line("1", "X-1", "modify", speed=60, quantity=3)))
    modify = engine.calls[second.order_id][0].payload

    product = {"id": first.lines[0].asset_id, "specification": "X-1", "name": "x"}
    assert add == {
        "orderId": first.order_id,
        "externalId": "ext-1",
        "accountId": "acc-1",
        "item": "Do it",
        "operation": "do",
        "lines": [
            {
                "line": "1",
                "action": "add",
                "product": product,
                "quantity": 2,
                "attributes": {"speed": 30},
                "place": {"city": "Bern"},
            }
        ],
    }
    assert modify["lines"] == [
        {
            "line": "1",
            "action": "modify",
            "product": product,
            "quantity": 3,
            "previousQuantity": 2,
            "attributes": {"speed": 60},
            "previous": {"speed": 30},
            "place": {"city": "Bern"},
        }
    ]


def test_a_request_of_its_own_gives_exactly_its_fields_and_may_name_a_sealed_value() -> None:
    request = {
        "pin": "attributes.pin",
        "twice": "attributes.n * 2",
        "absent": "attributes.nothing",
        "who": "account.id",
    }
    engine, plan = started(
        callout("call", request=request),
        attributes=[{"name": "pin", "assetizable": False}],
        lines=[line("1", "x", pin="1234", n=2)],
    )

    assert engine.call(plan, "p/call").payload == {"pin": {"$sealed": "1/pin"}, "twice": 4, "who": "acc-1"}


def test_a_request_that_fails_goes_to_a_person_and_was_never_sent() -> None:
    engine, plan = started(callout("call", request={"a": "attributes.a + 1"}), lines=[line("1", "x", a="text")])

    assert (state(plan, "call"), plan.by_key[key("call")].error_code) == ("Fatally Failed", "expressionFailed")
    assert engine.calls[plan.order_id] == []


def two_at_once() -> tuple[Engine, Plan, Call]:
    """Two calls about one line; the first answer changes the line. Gives the second call."""
    engine, plan = started("a", "b", attributes=[{"name": "number"}])
    second = engine.call(plan, "p/b")
    engine.answer(plan, engine.call(plan, "p/a"), {"attributes": {"number": "079"}})
    return engine, plan, second


def test_what_recovery_sends_again_is_what_was_sent() -> None:
    engine, plan, second = two_at_once()

    assert plan.lines[0].attributes == {"number": "079"}
    assert pending_effects(plan, engine.now) == [second]
    assert pending_effects(engine.replayed(plan), engine.now) == [second]


def test_what_is_out_of_time_is_left_to_its_timer_by_recovery_and_by_the_watchdog() -> None:
    engine, plan, second = two_at_once()
    asked = [(pending_effects(plan, at), list(calls_awaited(plan, at))) for at in (engine.now, second.deadline_at)]

    assert asked == [([second], [plan.by_key[second.item]]), ([], [])]


@pytest.mark.parametrize(("unheard", "attempt", "attributes"), [(True, 1, {}), (False, 2, {"number": "079"})])
def test_an_unheard_attempt_is_repeated_with_what_it_said_and_a_new_one_says_what_is_known(
    unheard: bool, attempt: int, attributes: dict[str, Any]
) -> None:
    engine, plan, second = two_at_once()
    engine.fail(plan, second, unheard=unheard)
    engine.fire(plan, second.item)
    call = engine.call(plan, "p/b")

    assert (call.attempt, call.payload["lines"][0]["attributes"]) == (attempt, attributes)


def test_recovery_is_not_stopped_by_an_expression_that_would_fail_by_now() -> None:
    engine, plan = started(
        "a", callout("b", request={"n": "attributes.n + 1"}), attributes=[{"name": "n"}], lines=[line("1", "x", n=1)]
    )
    second = engine.call(plan, "p/b")
    engine.answer(plan, engine.call(plan, "p/a"), {"attributes": {"n": "text"}})

    assert pending_effects(plan, engine.now) == [second]


# What answers say.


def test_the_standard_answer_sets_the_attributes_that_the_product_declares() -> None:
    engine, plan = started("call", "later", attributes=[{"name": "number"}])
    engine.answer(plan, engine.call(plan, "p/call"), {"attributes": {"number": "079", "other": 1}, "number": "no"})

    assert plan.lines[0].attributes == {"number": "079"}


def test_an_answer_may_speak_of_each_line_and_others_keep_theirs() -> None:
    engine = engine_of(
        products=[{"code": "x", "attributes": [{"name": "n"}]}],
        plans=[plan_of("p", "call", "later", scope="order")],
        scenarios=[scenario("x", "p")],
    )
    plan = engine.accept(order_of(line("1", "x"), line("2", "x"), line("3", "x")))
    answer = {"lines": {"1": {"attributes": {"n": 1}}, "2": {"attributes": {"n": 2}}}, "attributes": {"n": 9}}
    engine.answer(plan, engine.call(plan, "p/call"), answer)

    assert [each.attributes for each in plan.lines] == [{"n": 1}, {"n": 2}, {"n": 9}]


@pytest.mark.parametrize("answer", [{}, {"attributes": None}, {"attributes": [1]}, {"lines": []}])
def test_an_answer_without_attributes_sets_nothing(answer: dict[str, Any]) -> None:
    engine, plan = started("call", attributes=[{"name": "n"}])
    engine.answer(plan, engine.call(plan, "p/call"), answer)

    assert (plan.lines[0].attributes, plan.order_state) == ({}, "completed")


def test_a_response_mapping_takes_what_it_names() -> None:
    response = {"number": "answer.result.number", "sum": "answer.n + attributes.n", "absent": "answer.nothing"}
    engine, plan = started(
        callout("call", response=response), "later", attributes=[{"name": "sum"}], lines=[line("1", "x", n=1)]
    )
    engine.answer(plan, engine.call(plan, "p/call"), {"result": {"number": "079"}, "n": 2, "attributes": {"x": 1}})

    assert plan.lines[0].attributes == {"n": 1, "number": "079", "sum": 3}


def test_an_answer_that_the_mapping_cannot_read_goes_to_a_person() -> None:
    engine, plan = started(callout("call", response={"n": "answer.n + 1"}))
    engine.answer(plan, engine.call(plan, "p/call"), {"n": "text"})

    assert (state(plan, "call"), plan.by_key[key("call")].error_code) == ("Fatally Failed", "expressionFailed")
    engine.operate(plan, key("call"), "retry")
    assert engine.call(plan, "p/call").attempt == 1, "the work is done: another key would have it done again"


def test_what_an_answer_says_is_seen_by_the_conditions_behind_it() -> None:
    engine, plan = started(
        "call",
        callout("yes", condition="attributes.n == 1"),
        callout("no", condition="attributes.n == 2"),
        after={"yes": "call", "no": "call"},
        attributes=[{"name": "n"}],
    )
    engine.answer(plan, engine.call(plan, "p/call"), {"attributes": {"n": 1}})

    assert states(plan) == {"call": "Completed", "yes": "Running", "no": "Skipped"}


SECRET = "1234-5678-secret"


def told_a_secret(how: str) -> tuple[Engine, Plan]:
    """A plan that learns a secret from an answer, a mapped answer, a form, an operator or the order itself."""
    attributes = [{"name": "pin", "assetizable": False}, {"name": "iban", "encrypted": True}]
    response = {"pin": "answer.code", "iban": "answer.code"} if how == "response" else None
    given = {"pin": SECRET, "iban": SECRET}
    engine, plan = started(
        callout("call", response=response) if response else callout("call"),
        manual("visit", form=[{"name": "pin"}, {"name": "iban"}]),
        attributes=attributes,
        lines=[line("1", "x", **(given if how == "order" else {}))],
    )
    call = engine.call(plan, "p/call")
    if how == "answer":
        engine.answer(plan, call, {"attributes": given})
    elif how == "response":
        engine.answer(plan, call, {"code": SECRET})
    elif how == "operator":
        engine.operate(plan, call.item, "complete", {"attributes": given})
    elif how == "form":
        engine.complete_task(plan, key("visit"), given)
    engine.finish(plan)
    return engine, plan


@pytest.mark.parametrize("how", ["order", "answer", "response", "form", "operator"])
def test_a_value_that_may_not_stay_is_in_no_fact_and_in_no_asset(how: str) -> None:
    engine, plan = told_a_secret(how)
    written = json.dumps([fact.payload for fact in engine.facts[plan.order_id]])
    kept = json.dumps([asset.to_dict() for asset in engine.account.assets.values()])

    assert plan.order_state == "completed"
    assert engine.protector.sealed == {(plan.order_id, "1/pin"): SECRET}
    assert "$sealed" in written
    assert SECRET not in written + kept
    assert plan.has_secrets
    assert '"pin"' not in kept


def test_an_order_without_secrets_has_none() -> None:
    _, plan = started("call")

    assert not plan.has_secrets


def test_the_error_of_an_expression_never_holds_the_value() -> None:
    engine, plan = started(callout("call", processAfter="attributes.when"), lines=[line("1", "x", when=SECRET)])
    written = json.dumps([fact.payload for fact in engine.facts[plan.order_id] if fact.kind == f.ITEM_FATALLY_FAILED])

    assert "expressionFailed" in written
    assert SECRET not in written


# Conditions, branches, dates.


@pytest.mark.rule("B2.2")
def test_an_item_whose_condition_is_false_is_skipped_and_does_not_block() -> None:
    _, plan = started(callout("survey", condition="attributes.a == 1"), "next", after={"next": "survey"})

    assert states(plan) == {"survey": "Skipped", "next": "Running"}
    assert plan.by_key[key("survey")].skip_reason == "condition"


def test_a_condition_over_several_lines_holds_if_any_line_meets_it() -> None:
    _, plan = started(
        callout("call", condition="attributes.a == 1"),
        scope="order",
        lines=[line("1", "x", a=0), line("2", "x", a=1), line("3", "x")],
    )

    assert plan.by_key["p/call@order"].state == "Running"


def test_a_condition_that_cannot_be_told_goes_to_a_person_and_a_retry_asks_again() -> None:
    engine, plan = started(
        callout("call", condition="attributes.n > 3"),
        "other",
        attributes=[{"name": "n"}],
        lines=[line("1", "x", n="many")],
    )
    engine.operate(plan, key("call"), "retry")
    still = state(plan, "call")
    engine.answer(plan, engine.call(plan, "p/other"), {"attributes": {"n": 4}})
    engine.operate(plan, key("call"), "retry")

    assert (still, state(plan, "call")) == ("Fatally Failed", "Running")
    assert kinds(engine, plan, "call") == [
        "item.fatallyFailed",
        "item.retried",
        "item.fatallyFailed",
        "item.retried",
        "item.started",
    ]


def test_a_retry_does_not_begin_what_its_condition_forbids() -> None:
    engine, plan = started(
        callout("call", condition="attributes.n > 3", skipBranch=True),
        "other",
        "behind",
        after={"behind": "call"},
        attributes=[{"name": "n"}],
        lines=[line("1", "x", n="many")],
    )
    engine.answer(plan, engine.call(plan, "p/other"), {"attributes": {"n": 1}})
    engine.operate(plan, key("call"), "retry")

    assert states(plan) == {"call": "Skipped", "other": "Completed", "behind": "Skipped"}


@pytest.mark.rule("B2.15")
def test_a_skipped_branch_takes_what_stands_behind_it_along() -> None:
    _, plan = started(
        callout("survey", condition="false", skipBranch=True),
        "plan-it",
        manual("build"),
        "bill",
        after={"plan-it": "survey", "build": "plan-it"},
    )

    assert states(plan) == {"survey": "Skipped", "plan-it": "Skipped", "build": "Skipped", "bill": "Running"}
    assert plan.by_key[key("build")].skip_reason == "branch"


@pytest.mark.rule("B2.15")
def test_a_join_that_also_waits_for_work_goes_on() -> None:
    engine, plan = started(
        callout("survey", condition="false", skipBranch=True), "bill", "join", after={"join": "survey bill"}
    )
    before = state(plan, "join")
    engine.answer(plan, engine.call(plan, "p/bill"))

    assert (before, state(plan, "join")) == ("Pending", "Running")


@pytest.mark.rule("B2.15")
def test_a_join_of_skipped_branches_only_is_skipped() -> None:
    _, plan = started(
        callout("left", condition="false", skipBranch=True),
        callout("right", condition="false", skipBranch=True),
        "join",
        after={"join": "left right"},
    )

    assert states(plan) == {"left": "Skipped", "right": "Skipped", "join": "Skipped"}
    assert plan.order_state == "completed"


def test_a_join_behind_one_branch_and_one_plain_skip_goes_on() -> None:
    _, plan = started(
        callout("left", condition="false", skipBranch=True),
        callout("right", condition="false"),
        "join",
        after={"join": "left right"},
    )

    assert state(plan, "join") == "Running"


def test_an_operators_skip_is_no_branch() -> None:
    engine, plan = started(callout("survey", skipBranch=True), "build", after={"build": "survey"})
    engine.fail(plan, engine.call(plan, "p/survey"))
    engine.operate(plan, key("survey"), "skip")

    assert states(plan) == {"survey": "Skipped", "build": "Running"}


@pytest.mark.rule("B2.3", "B2.4")
def test_an_item_waits_for_its_date() -> None:
    engine, plan = started(
        callout("call", processAfter="line.requestedStartAt"),
        lines=[line("1", "x", requested_start_at="2026-03-02T12:00:00+02:00")],
    )
    item = plan.by_key[key("call")]
    scheduled = (item.state.value, item.timer_at, plan.moving)
    engine.fire(plan, key("call"))

    assert scheduled == ("Scheduled", START + timedelta(hours=1), 1)
    assert (item.state, item.ready_at) == ("Running", START + timedelta(hours=1))


@pytest.mark.parametrize(
    "text", ["line.requestedStartAt", "'2026-03-02T09:00:00Z'", "''", "timestamp('2020-01-01T00:00:00Z')"]
)
def test_an_absent_or_past_date_is_at_once(text: str) -> None:
    _, plan = started(callout("call", processAfter=text))

    assert state(plan, "call") == "Running"


def test_a_computed_date_is_a_date() -> None:
    _, plan = started(callout("call", processAfter="timestamp('2026-03-02T09:00:00Z') + duration('90s')"))

    assert plan.by_key[key("call")].timer_at == START + timedelta(seconds=90)


def test_several_lines_wait_for_their_latest_date_whatever_their_sequence() -> None:
    dates = ["2026-03-03T00:00:00Z", "2026-03-05T00:00:00Z", None, "2026-03-04T00:00:00Z"]
    lines = [line(str(at), "x", requested_start_at=date) for at, date in enumerate(dates)]
    _, plan = started(callout("call", processAfter="line.requestedStartAt"), scope="order", lines=lines)
    timer_at = plan.by_key["p/call@order"].timer_at

    assert timer_at is not None
    assert timer_at.isoformat() == "2026-03-05T00:00:00+00:00"


@pytest.mark.parametrize("when", ["tomorrow", "2026-03-05", "2026-03-05T00:00:00", 5, True, ["2026-03-05T00:00:00Z"]])
def test_what_is_no_instant_goes_to_a_person(when: Any) -> None:
    _, plan = started(callout("call", processAfter="attributes.when"), lines=[line("1", "x", when=when)])

    assert (state(plan, "call"), plan.by_key[key("call")].error_code) == ("Fatally Failed", "expressionFailed")


def test_a_retry_before_the_date_is_refused() -> None:
    engine, plan = started(
        callout("call", processAfter="attributes.when"),
        "other",
        attributes=[{"name": "when"}],
        lines=[line("1", "x", when="soon")],
    )
    engine.answer(plan, engine.call(plan, "p/other"), {"attributes": {"when": "2026-03-05T00:00:00Z"}})

    with pytest.raises(NotPossibleNow, match="not to start before 2026-03-05"):
        engine.operate(plan, key("call"), "retry")


@pytest.mark.rule("B2.8")
def test_milestones_and_auto_tasks_complete_in_the_turn_that_makes_them_ready() -> None:
    engine, plan = started(
        milestone("start"),
        {"code": "nothing", "type": "autoTask", "task": "noop"},
        "call",
        milestone("done"),
        assetize(),
        after={"nothing": "start", "call": "nothing", "done": "call", "assetize": "done"},
    )
    at_once = states(plan)
    turn = engine.answer(plan, engine.call(plan, "p/call"))

    assert at_once == {
        "start": "Completed",
        "nothing": "Completed",
        "call": "Running",
        "done": "Pending",
        "assetize": "Pending",
    }
    assert [fact.kind for fact in turn.facts] == [
        "item.completed",
        "item.completed",
        "assets.changed",
        "item.completed",
        "order.ended",
    ]


def test_a_long_chain_of_milestones_completes_in_one_turn() -> None:
    codes = [f"m{at}" for at in range(3_000)]
    _, plan = started(
        *(milestone(code) for code in codes), after={code: codes[at] for at, code in enumerate(codes[1:])}
    )

    assert (plan.order_state, plan.open_items) == ("completed", 0)


# Manual tasks.

FORM = [
    {"name": "serial", "type": "string", "required": True},
    {"name": "ports", "type": "integer"},
    {"name": "loss", "type": "number"},
    {"name": "ok", "type": "boolean"},
]


@pytest.mark.rule("B2.5", "B2.8")
def test_a_manual_task_is_opened_taken_given_back_and_completed() -> None:
    engine, plan = started(manual("visit", form=FORM), attributes=[{"name": "serial"}])
    item = plan.by_key[key("visit")]
    opened = (item.state.value, item.attempt, list(engine.tasks[plan.order_id]))
    engine.claim(plan, item.key)
    taken = (item.state.value, item.worker)
    engine.release_task(plan, item.key)
    given_back = (item.state.value, item.worker)
    engine.claim(plan, item.key, "petra")
    engine.complete_task(plan, item.key, {"serial": "S-1", "ports": 4, "loss": 1, "ok": True})

    assert opened == ("Ready", 1, [key("visit")])
    assert taken == ("Running", "paul")
    assert given_back == ("Running", None)
    assert (item.state, item.worker, engine.tasks[plan.order_id]) == ("Completed", None, {})
    assert plan.lines[0].attributes == {"serial": "S-1", "ports": 4, "loss": 1, "ok": True}
    assert plan.order_state == "completed"


def test_a_task_may_be_completed_without_being_taken() -> None:
    engine, plan = started(manual("visit"))
    engine.complete_task(plan, key("visit"))

    assert plan.order_state == "completed"


def test_a_task_is_not_given_back_by_somebody_else() -> None:
    engine, plan = started(manual("visit"))
    engine.claim(plan, key("visit"), "petra")

    assert engine.release_task(plan, key("visit"), "paul").facts == []
    assert plan.by_key[key("visit")].worker == "petra"


@pytest.mark.parametrize(
    ("data", "path", "reason"),
    [
        ({}, "data.serial", "is required by the form"),
        ({"serial": ""}, "data.serial", "must not be empty"),
        ({"serial": None}, "data.serial", "must be of type string"),
        ({"serial": 7}, "data.serial", "must be of type string"),
        ({"serial": "S", "ports": "4"}, "data.ports", "must be of type integer"),
        ({"serial": "S", "ports": 4.5}, "data.ports", "must be of type integer"),
        ({"serial": "S", "ports": True}, "data.ports", "must be of type integer"),
        ({"serial": "S", "loss": False}, "data.loss", "must be of type number"),
        ({"serial": "S", "ok": 1}, "data.ok", "must be of type boolean"),
        ({"serial": "S", "color": "red"}, "data.color", "the form has no field 'color'"),
    ],
)
def test_a_form_that_is_not_filled_in_right_is_refused_and_changes_nothing(
    data: dict[str, Any], path: str, reason: str
) -> None:
    engine, plan = started(manual("visit", form=FORM))
    before = fingerprint(plan)

    with pytest.raises(BadForm) as refused:
        engine.complete_task(plan, key("visit"), data)
    assert (refused.value.path, refused.value.reason) == (path, reason)
    assert fingerprint(plan) == before


def test_a_form_by_schema_returns_its_top_level_values_and_names_the_path_of_what_is_missing() -> None:
    schema = {
        "type": "object",
        "properties": {
            "address": {"type": "object", "properties": {"street": {"type": "string"}}, "required": ["street"]},
            "pin": {"type": "string"},
        },
        "required": ["address"],
    }
    attributes = [{"name": "address"}, {"name": "pin", "assetizable": False}]
    engine, plan = started(manual("visit", formSchema=schema), attributes=attributes)
    before = fingerprint(plan)
    with pytest.raises(BadForm) as refused:
        engine.complete_task(plan, key("visit"), {"address": {"town": "Exampleville"}})
    assert (refused.value.path, refused.value.status) == ("data.address.street", 422)
    assert fingerprint(plan) == before
    engine.complete_task(plan, key("visit"), {"address": {"street": "Sample Road 1"}, "pin": "1234"})

    line = plan.lines[0]
    assert line.attributes["address"] == {"street": "Sample Road 1"}
    assert is_sealed(line.attributes["pin"])


def test_a_task_that_somebody_else_holds_by_now_is_not_completed() -> None:
    engine, plan = started(manual("visit"))
    engine.claim(plan, key("visit"), "paul")
    engine.claim(plan, key("visit"), "petra")
    with pytest.raises(TaskTaken) as refused:
        engine.complete_task(plan, key("visit"), {}, worker="paul")
    assert refused.value.mend == "claim it again"
    engine.complete_task(plan, key("visit"), {}, worker="petra")

    assert plan.order_state == "completed"


def test_a_note_is_a_fact_that_changes_nothing() -> None:
    engine, plan = started(manual("visit"))
    before = plan.by_key[key("visit")].state
    turn = engine.annotate(plan, key("visit"), "nobody was in")

    assert [(each.kind, each.item, each.payload, each.actor) for each in turn.facts] == [
        ("item.annotated", key("visit"), {"text": "nobody was in"}, "person:paul")
    ]
    assert plan.by_key[key("visit")].state is before


def test_a_field_without_a_value_is_left_out() -> None:
    engine, plan = started(manual("visit", form=FORM))
    engine.complete_task(plan, key("visit"), {"serial": "S-1", "ports": None})

    assert plan.lines[0].attributes == {"serial": "S-1"}


@pytest.mark.parametrize("act", [Engine.claim, Engine.release_task, Engine.complete_task])
def test_a_task_that_is_not_open_is_refused(act: Callable[[Engine, Plan, str], Turn]) -> None:
    engine, plan = started("call", manual("visit"), manual("done"), after={"visit": "call"})
    engine.complete_task(plan, key("done"))
    before = fingerprint(plan)

    for item, reason in (("call", "is not a manual task"), ("visit", "is Pending"), ("done", "is Completed")):
        with pytest.raises(NotPossibleNow, match=reason):
            act(engine, plan, key(item))
    assert fingerprint(plan) == before


# Operators.

STATES: dict[str, Callable[[Engine, Plan], object]] = {
    "Pending": lambda engine, plan: None,
    "Ready": lambda engine, plan: None,
    "Running": lambda engine, plan: None,
    "Scheduled": lambda engine, plan: None,
    "Failed": lambda engine, plan: engine.fail(plan, engine.call(plan, "p/Failed")),
    "Fatally Failed": lambda engine, plan: engine.fail(plan, engine.call(plan, "p/Fatally Failed"), fatal=True),
    "Completed": lambda engine, plan: None,
    "Skipped": lambda engine, plan: None,
}


def in_every_state() -> tuple[Engine, Plan]:
    """A plan with one item in each state that it can be in, named after it."""
    engine, plan = started(
        "Running",
        "Failed",
        "Fatally Failed",
        callout("Scheduled", processAfter="'2026-03-05T00:00:00Z'"),
        manual("Ready"),
        "Pending",
        milestone("Completed"),
        callout("Skipped", condition="false"),
        after={"Pending": "Running"},
    )
    for act in STATES.values():
        act(engine, plan)
    assert states(plan) == {name: name for name in STATES}
    return engine, plan


@pytest.mark.rule("B2.12", "B2.13", "B2.14", "B2.33")
@pytest.mark.parametrize(
    ("action", "allowed", "result"),
    [
        ("retry", {"Failed", "Fatally Failed"}, "Running"),
        ("edit", {"Failed", "Fatally Failed"}, "Running"),
        ("complete", {"Running", "Failed", "Fatally Failed"}, "Completed"),
        ("skip", {"Pending", "Ready", "Scheduled", "Failed", "Fatally Failed"}, "Skipped"),
    ],
)
@pytest.mark.parametrize("name", STATES)
def test_an_operator_may_repair_what_the_state_allows(name: str, action: str, allowed: set[str], result: str) -> None:
    engine, plan = in_every_state()
    before = fingerprint(plan)

    if name in allowed:
        engine.operate(plan, key(name), action)
        assert state(plan, name) == result
        fact = next(each for each in reversed(engine.facts[plan.order_id]) if each.item == key(name))
        assert (fact.actor, fact.cause) == ("person:olga", f"m-{before['facts']}")
        assert list(plan.applied) == [f"m-{before['facts']}"]
    else:
        with pytest.raises(NotPossibleNow, match=f"is {name}; {action} is possible in"):
            engine.operate(plan, key(name), action)
        assert fingerprint(plan) == before


@pytest.mark.parametrize("action", ["retry", "edit", "complete", "skip"])
@pytest.mark.parametrize("name", STATES)
def test_a_repair_of_fallout_leaves_everything_else_alone(name: str, action: str) -> None:
    engine, plan = in_every_state()
    before = fingerprint(plan)

    if name in ("Fatally Failed", "Failed"):
        engine.operate(plan, key(name), action, is_fallout_only=True)
        assert state(plan, name) != name
    else:
        with pytest.raises(NotPossibleNow, match=f"has not failed, it is {name}"):
            engine.operate(plan, key(name), action, is_fallout_only=True)
        assert fingerprint(plan) == before


@pytest.mark.rule("B2.14")
def test_an_operators_reason_is_kept() -> None:
    for action, kind, where in (
        ("retry", f.ITEM_RETRIED, "reason"),
        ("complete", f.ITEM_COMPLETED, "reason"),
        ("skip", f.ITEM_SKIPPED, "text"),
    ):
        engine, plan = in_every_state()
        engine.operate(plan, key("Fatally Failed"), action)
        (fact,) = (each for each in engine.facts[plan.order_id] if each.kind == kind and each.actor == "person:olga")
        assert fact.payload is not None
        assert fact.payload[where] == "because"


@pytest.mark.rule("B2.12")
def test_an_operators_retry_starts_the_policy_anew() -> None:
    engine, plan = started(callout("call", retry="steps"), retries=ONCE)
    for _ in range(3):
        engine.fail(plan, engine.call(plan, "p/call"))
        engine.fire(plan, key("call"))
    engine.fail(plan, engine.call(plan, "p/call"))
    spent = state(plan, "call")
    engine.operate(plan, key("call"), "retry")
    call = engine.call(plan, "p/call")
    engine.fail(plan, call)

    assert (spent, call.attempt, state(plan, "call")) == ("Fatally Failed", 5, "Failed")


def test_an_operators_retry_of_an_unheard_attempt_repeats_its_number() -> None:
    engine, plan = started(once(), retries=ONCE)
    engine.fail(plan, engine.call(plan, "p/call"), unheard=True)
    engine.operate(plan, key("call"), "retry")

    assert engine.call(plan, "p/call").attempt == 1


@pytest.mark.rule("B2.13")
def test_an_operator_completes_with_an_answer() -> None:
    engine, plan = started("call", "later", attributes=[{"name": "n"}])
    call = engine.call(plan, "p/call")
    engine.operate(plan, key("call"), "complete", {"attributes": {"n": 7}})
    engine.answer(plan, call, {"attributes": {"n": 8}})

    assert (plan.lines[0].attributes, plan.calling) == ({"n": 7}, 1)


def test_a_manual_task_that_is_skipped_is_closed() -> None:
    engine, plan = started(manual("visit"))
    engine.operate(plan, key("visit"), "skip")

    assert (engine.tasks[plan.order_id], plan.order_state) == ({}, "completed")


@pytest.mark.rule("B2.14")
def test_a_pending_item_that_is_skipped_frees_those_behind_it() -> None:
    engine, plan = started("a", "b", "c", after={"b": "a", "c": "b"})
    engine.operate(plan, key("b"), "skip")

    assert states(plan) == {"a": "Running", "b": "Skipped", "c": "Running"}


def test_an_order_that_has_ended_is_not_repaired() -> None:
    engine, plan = started("call")
    engine.finish(plan)

    with pytest.raises(NotPossibleNow, match="the plan is Completed"):
        engine.operate(plan, key("call"), "retry")
    with pytest.raises(NotFound):
        engine.operate(plan, "p/nothing@1", "retry")


def test_a_plan_remembers_a_bounded_number_of_operator_messages() -> None:
    engine, plan = started(once(), "other", retries=ONCE)
    for _ in range(80):
        engine.fail(plan, engine.call(plan, "p/call"), fatal=True)
        engine.operate(plan, key("call"), "retry")

    assert len(plan.applied) == 50
    assert engine.facts[plan.order_id][-1].cause in plan.applied


# Held.


@pytest.mark.rule("B3.10")
def test_an_order_is_held_when_only_a_person_can_move_it_and_goes_on_when_one_does() -> None:
    engine, plan = started("a", "b", "c", after={"c": "a b"})
    engine.fail(plan, engine.call(plan, "p/a"), fatal=True)
    still_moving = plan.order_state
    engine.answer(plan, engine.call(plan, "p/b"))
    stuck = plan.order_state
    engine.operate(plan, key("a"), "retry")
    again = plan.order_state
    engine.finish(plan)

    assert (still_moving, stuck, again, plan.order_state) == ("inProgress", "held", "inProgress", "completed")


@pytest.mark.rule("B3.10")
@pytest.mark.parametrize("waiting", [callout("b", processAfter="'2026-03-05T00:00:00Z'"), manual("b"), callout("b")])
def test_an_order_is_not_held_while_something_will_happen_by_itself_or_somebody_is_at_work(
    waiting: dict[str, Any],
) -> None:
    engine, plan = started("a", waiting)
    engine.fail(plan, engine.call(plan, "p/a"), fatal=True)

    assert plan.order_state == "inProgress"


def test_an_item_that_waits_for_its_retry_does_not_hold_the_order() -> None:
    engine, plan = started("a", "b")
    engine.fail(plan, engine.call(plan, "p/a"), fatal=True)
    engine.fail(plan, engine.call(plan, "p/b"))

    assert plan.order_state == "inProgress"


@pytest.mark.parametrize("action", ["complete", "skip"])
def test_the_last_repair_of_a_held_order_leads_back_before_it_ends(action: str) -> None:
    engine, plan = started("call")
    engine.fail(plan, engine.call(plan, "p/call"), fatal=True)
    engine.operate(plan, key("call"), action)
    moves = [fact.payload for fact in engine.facts[plan.order_id] if fact.kind in (f.ORDER_MOVED, f.ORDER_ENDED)]

    assert moves == [{"state": "held"}, {"state": "inProgress"}, {"state": "completed"}]


# Assets.


@pytest.mark.rule("F.5")
def test_a_bundle_is_delivered_when_its_last_item_ends_while_others_go_on() -> None:
    engine = engine_of(products=["offer", "x"], plans=[plan_of("p", "call")], scenarios=[scenario("x", "p")])
    plan = engine.accept(
        order_of(
            line("a", "offer"),
            line("x1", "x", below="a"),
            line("x2", "x", below="a"),
            line("b", "offer"),
            line("x3", "x", below="b"),
        )
    )
    engine.answer(plan, engine.call(plan, "p/call@x1"))
    nothing = set(plan.delivered)
    engine.answer(plan, engine.call(plan, "p/call@x2"))

    assert nothing == set()
    assert plan.delivered == {"a", "x1", "x2"}
    assert (len(engine.account.assets), plan.order_state) == (3, "inProgress")
    engine.finish(plan)
    assert (len(engine.account.assets), plan.order_state) == (5, "completed")


@pytest.mark.rule("F.1")
def test_a_bundle_without_work_is_delivered_at_once() -> None:
    engine, plan = started("call", products=["x", "idle"], lines=[line("1", "x"), line("2", "idle")])

    assert plan.delivered == {"2"}
    assert [asset.product for asset in engine.account.assets.values()] == ["idle"]


def test_a_merged_line_is_delivered_when_its_work_is_done_and_its_bundles_wait_for_it() -> None:
    engine = engine_of(
        products=["x", {"code": "t", "scope": "order"}],
        decompositions=[rule("x", "t")],
        plans=[plan_of("p", "own"), plan_of("q", "shared")],
        scenarios=[scenario("x", "p"), scenario("t", "q")],
    )
    plan = engine.accept(order_of(line("1", "x"), line("2", "x")))
    engine.answer(plan, engine.call(plan, "p/own@2"))
    before = set(plan.delivered)
    engine.answer(plan, engine.call(plan, "q/shared"))

    assert before == set()
    assert plan.delivered == {"2", "t@order"}
    engine.answer(plan, engine.call(plan, "p/own@1"))
    assert plan.delivered == {"1", "2", "t@order"}


def test_answers_are_part_of_what_is_delivered() -> None:
    engine, plan = started("call", attributes=[{"name": "number"}], lines=[line("1", "x", a=1)])
    engine.answer(plan, engine.call(plan, "p/call"), {"attributes": {"number": "079"}})
    (asset,) = engine.account.assets.values()

    assert asset.attributes == {"a": 1, "number": "079"}


def explicit(**members: Any) -> tuple[Engine, Plan]:
    """Line x with a technical t; an assetize item in the middle of the plan of x."""
    engine = engine_of(
        products=["x", {"code": "t", "attributes": [{"name": "serial"}]}],
        decompositions=[rule("x", "t")],
        plans=[plan_of("p", "first", assetize(**members), "last"), plan_of("q", "work")],
        dependencies=[depends("p/assetize", "p/first"), depends("p/last", "p/assetize")],
        scenarios=[scenario("x", "p"), scenario("t", "q")],
    )
    return engine, engine.accept(order_of(line("1", "x")))


@pytest.mark.rule("F.6")
def test_an_assetize_item_delivers_its_bundle_in_the_middle_of_the_plan() -> None:
    engine, plan = explicit(scope="bundle")
    engine.answer(plan, engine.call(plan, "p/first"))

    assert plan.delivered == {"1", "t@1"}
    engine.finish(plan)
    assert kinds(engine, plan).count("assets.changed") == 1


def test_an_assetize_item_delivers_its_line_with_what_it_became() -> None:
    engine, plan = explicit(scope="item")
    engine.answer(plan, engine.call(plan, "p/first"))

    assert plan.delivered == {"1", "t@1"}


@pytest.mark.rule("F.5")
def test_what_no_assetize_item_covers_is_delivered_with_the_bundle() -> None:
    engine, plan = started(
        "call",
        assetize(),
        products=["x", "y", {"code": "t", "scope": "order"}],
        decompositions=[rule("x", "t"), rule("y", "t")],
        lines=[line("1", "x"), line("2", "y", below="1"), line("3", "y", below="1")],
    )
    # The assetize item is done; t@order also came from 2 and 3, so it waits with them.
    covered = set(plan.delivered)
    engine.finish(plan)

    assert covered == {"1"}
    assert plan.delivered == {"1", "2", "3", "t@order"}


def test_an_assetize_item_that_is_skipped_delivers_nothing() -> None:
    engine, plan = explicit(scope="bundle", condition="false")
    engine.finish(plan)

    assert (plan.order_state, plan.delivered, engine.account.assets) == ("completed", set(), {})


@pytest.mark.rule("F.6")
def test_a_product_that_is_assetized_explicitly_is_no_asset_without_an_assetize_item() -> None:
    engine, plan = started(
        "call", products=[{"code": "x", "assetize": "explicit"}, "y"], lines=[line("1", "x"), line("2", "y")]
    )
    engine.finish(plan)

    assert (plan.order_state, plan.delivered) == ("completed", {"2"})


def test_an_answer_that_comes_after_the_delivery_reaches_the_asset() -> None:
    engine, plan = explicit(scope="bundle")
    engine.answer(plan, engine.call(plan, "p/first"))
    turn = engine.answer(plan, engine.call(plan, "q/work"), {"attributes": {"serial": "S-1"}})

    assert [fact.kind for fact in turn.facts] == ["item.completed", "assets.changed"]
    assert {asset.product: asset.attributes for asset in engine.account.assets.values()} == {
        "x": {},
        "t": {"serial": "S-1"},
    }
    assert {asset.product: list(asset.uses.values()) for asset in engine.account.assets.values()} == {"x": [], "t": [1]}


def test_an_answer_after_the_delivery_that_may_not_be_kept_changes_no_asset() -> None:
    engine, plan = started(
        assetize(), "call", after={"call": "assetize"}, attributes=[{"name": "pin", "assetizable": False}]
    )
    turn = engine.answer(plan, engine.call(plan, "p/call"), {"attributes": {"pin": "1234"}})

    assert [fact.kind for fact in turn.facts] == ["item.completed", "order.ended"]


# What cannot be stored.


def test_a_call_whose_result_cannot_be_stored_goes_to_a_person_and_its_number_is_repeated() -> None:
    engine, plan = started("call", "other")
    engine.tell(plan, Quarantine("a value cannot be stored", key("call")))
    quarantined = (state(plan, "call"), plan.by_key[key("call")].error_code)
    engine.calls[plan.order_id].clear()
    engine.operate(plan, key("call"), "retry")

    assert quarantined == ("Fatally Failed", "unstorable")
    assert plan.reasons == [{"code": "unstorable", "reason": "a value cannot be stored"}]
    assert engine.call(plan, "p/call").attempt == 1


@pytest.mark.parametrize("item", ["retried", "scheduled"])
def test_a_timer_that_cannot_be_dealt_with_goes_to_a_person_instead_of_firing_for_ever(item: str) -> None:
    engine, plan = started("retried", callout("scheduled", processAfter="'2026-03-05T00:00:00Z'"))
    engine.fail(plan, engine.call(plan, "p/retried"), unheard=True)
    engine.tell(plan, Quarantine("a bug", key(item)))

    assert (state(plan, item), plan.by_key[key(item)].timer_at) == ("Fatally Failed", None)
    assert plan.by_key[key(item)].is_unheard == (item == "retried")
    assert plan.next_timer() is not None


def test_something_that_cannot_be_stored_of_no_item_is_a_reason_of_the_order() -> None:
    engine, plan = started("call")
    turn = engine.tell(plan, Quarantine("x" * 1000))

    assert [fact.kind for fact in turn.facts] == ["order.quarantined"]
    assert plan.reasons == [{"code": "unstorable", "reason": "x" * 500}]


def test_a_form_that_cannot_be_stored_leaves_the_task_with_its_worker() -> None:
    engine, plan = started(manual("visit"))
    engine.claim(plan, key("visit"))
    engine.tell(plan, Quarantine("a value cannot be stored", key("visit")))

    assert (state(plan, "visit"), plan.by_key[key("visit")].worker) == ("Running", "paul")


def test_the_next_timer_is_the_earliest_that_still_holds() -> None:
    engine, plan = started(
        callout("late", timeoutS=500),
        callout("early", timeoutS=100),
        callout("dated", processAfter="attributes.at"),
        lines=[line("1", "x", at="2026-03-02T09:03:00Z")],
    )
    first = plan.next_timer()
    engine.answer(plan, engine.call(plan, "p/early"))
    second = plan.next_timer()
    engine.fire(plan, key("dated"))
    third = plan.next_timer()
    engine.finish(plan)

    assert [each and (each[1].key, (each[0] - START).total_seconds()) for each in (first, second, third)] == [
        (key("early"), 105),
        (key("dated"), 180),
        (key("dated"), 180 + 35),
    ]
    assert plan.next_timer() is None


def test_a_plan_that_has_not_begun_or_has_ended_waits_for_no_call() -> None:
    engine, plan = started("call")
    engine.finish(plan)
    waiting = engine.accept(order_of(line("1", "x", product_id="p-1")))
    behind = Plan(order=waiting.order, release=waiting.release, created_at=engine.now)

    assert pending_effects(plan, engine.now) == pending_effects(behind, engine.now) == []


@pytest.mark.rule("B3.4")
def test_an_order_goes_only_where_its_states_lead() -> None:
    engine, plan = started("call")

    with pytest.raises(IllegalTransition):
        evolve(plan, Fact(f.ORDER_MOVED, engine.now, payload={"state": "cancelled"}))
    ENGINES.clear()


def test_a_message_that_does_not_fit_the_plan_is_a_bug_and_no_refusal() -> None:
    engine, plan = started("call")
    turn = Turn(plan=plan, now=engine.now, protector=engine.protector)

    with pytest.raises(AssertionError, match="does not fit order"):
        turn.add(f.ITEM_RETRIED, plan.by_key[key("call")], {"reason": "no"})
    ENGINES.clear()  # the plan is left half way: who sees this throws it away


def test_a_timer_of_no_item_is_refused() -> None:
    engine, plan = started("call")

    with pytest.raises(NotFound):
        engine.tell(plan, TimerFired("p/nothing@1"))
    with pytest.raises(NotPossibleNow):
        engine.tell(plan, CompleteTask(key("call"), "paul", {}, "m"))


def test_the_work_of_a_message_does_not_grow_with_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines looked at while one of so many bundles is completed."""

    def lines_touched(bundles: int) -> int:
        engine = engine_of(
            products=["x", "t"],
            decompositions=[rule("x", "t")],
            plans=[plan_of("p", "a", "b")],
            dependencies=[depends("p/b", "p/a")],
            scenarios=[scenario("x", "p"), scenario("t", "p")],
        )
        plan = engine.accept(order_of(*(line(str(at), "x") for at in range(bundles))))
        touched = 0

        class Watched(list[Any]):
            def __getitem__(self, index: Any) -> Any:
                nonlocal touched
                touched += 1
                return super().__getitem__(index)

            def __iter__(self) -> Iterator[Any]:
                nonlocal touched
                touched += len(self)
                return super().__iter__()

        for name in ("lines", "items"):
            setattr(plan, name, Watched(getattr(plan, name)))
        plan.open_in_root = _Counting(plan.open_in_root)
        for call in ("p/a@7", "p/b@7", "p/a@t@7", "p/b@t@7"):
            engine.answer(plan, engine.call(plan, call))
        assert plan.delivered == {"7", "t@7"}
        return touched + plan.open_in_root.looked_at

    class _Counting(dict[str, int]):
        looked_at = 0

        def items(self) -> Any:
            self.looked_at += len(self)
            return super().items()

    small, large = lines_touched(10), lines_touched(400)
    ENGINES.clear()

    assert large == small > 0
