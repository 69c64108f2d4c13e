"""Which events a fact causes for the channel: every change of the order and of its lines, told once, in order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.events import ATTRIBUTE_CHANGED, CREATED, STATE_CHANGED, ChannelEvent, Standing, event_id, first_events
from domain.evolve import evolve, plan_from_facts
from domain.facts import PLAN_COMPOSED, Fact
from domain.order_states import line_states
from domain.orders import OrderLine
from domain.plan import Plan
from tests.support.build import callout, depends, line, order_of, plan_of, release_of, scenario
from tests.support.engine import Engine
from tests.support.histories import History, Step, lines, releases, steps

RELEASE: dict[str, Any] = dict(
    emptyPlan="complete",
    products=["sim", "phone"],
    plans=[
        plan_of("deliver", callout("reserve"), callout("activate")),
        plan_of("ship", callout("pack", retry="once")),
    ],
    dependencies=[depends("deliver/activate", "deliver/reserve")],
    scenarios=[scenario("sim", "deliver"), scenario("phone", "ship")],
    retries=[{"code": "once", "attemptsMax": 1}],
)


def follow(engine: Engine, plan: Plan) -> list[tuple[Fact, Plan, tuple[ChannelEvent, ...]]]:
    """Each fact of an order, the plan after it, and the events that it causes."""
    facts = engine.facts[plan.order_id]
    folded = plan_from_facts(facts[:1], lambda _name: engine.release, engine.templates.__getitem__)
    standing = Standing(folded)
    told = [(facts[0], folded, first_events(folded))]
    for fact in facts[1:]:
        if fact.kind == PLAN_COMPOSED and fact.payload is not None:
            folded.template = engine.templates[fact.payload["template"]]
        evolve(folded, fact)
        told.append((fact, folded, standing.after(folded, fact.item)))
        assert standing.lines == line_states(folded)
    return told


def told(engine: Engine, plan: Plan) -> list[tuple[str, str, dict[str, str]]]:
    """The events of an order as plain values."""
    return [
        (event.event_type, event.state.value, {line_id: state.value for line_id, state in event.lines})
        for _, _, events in follow(engine, plan)
        for event in events
    ]


@pytest.mark.rule("B3.1", "B3.8")
def test_an_order_is_told_from_its_acceptance_to_its_completion_with_every_line() -> None:
    engine = Engine(release_of(**RELEASE))
    bundle = order_of(line("1", "sim"), line("2", "phone", below="1"))
    plan = engine.accept(bundle)
    engine.finish(plan)

    events = told(engine, plan)
    assert events[0] == (CREATED, "acknowledged", {})
    assert [state for kind, state, _ in events if kind == STATE_CHANGED] == ["inProgress", "completed"]
    by_line: dict[str, list[str]] = {"1": [], "2": []}
    for kind, _, moved in events:
        assert (kind == ATTRIBUTE_CHANGED) is bool(moved)
        for line_id, state in moved.items():
            by_line[line_id].append(state)
    assert by_line == {"1": ["inProgress", "completed"], "2": ["inProgress", "completed"]}


@pytest.mark.rule("B3.1")
def test_a_line_that_needs_somebody_is_held_and_goes_on_after_the_repair() -> None:
    engine = Engine(release_of(**RELEASE))
    plan = engine.accept(order_of(line("1", "phone")))
    engine.fail(plan, engine.call(plan, "ship/pack"), fatal=True)
    engine.operate(plan, plan.items[0].key, "retry")
    engine.finish(plan)

    events = told(engine, plan)
    assert [state for kind, state, _ in events if kind == STATE_CHANGED] == [
        "inProgress", "held", "inProgress", "completed",
    ]  # fmt: skip
    assert [moved["1"] for kind, _, moved in events if kind == ATTRIBUTE_CHANGED] == [
        "inProgress", "held", "inProgress", "completed",
    ]  # fmt: skip


@pytest.mark.rule("B3.9")
def test_an_order_that_waits_for_another_is_pending_with_its_lines_until_it_begins() -> None:
    engine = Engine(release_of(**RELEASE))
    first = engine.accept(order_of(line("1", "sim")))
    asset_id = first.lines[0].asset_id
    second = engine.accept(order_of(line("c", None, "modify", product_id=asset_id)))
    engine.finish(first)

    events = told(engine, second)
    assert [state for kind, state, _ in events if kind == STATE_CHANGED][:2] == ["pending", "inProgress"]
    assert events[2] == (ATTRIBUTE_CHANGED, "pending", {"c": "pending"})


def test_a_rejection_is_told_as_the_end_of_the_order_too() -> None:
    engine = Engine(release_of(products=["sim"]))
    plan = engine.accept(order_of(line("1", "sim")))

    assert told(engine, plan) == [(CREATED, "rejected", {}), (STATE_CHANGED, "rejected", {})]


def test_facts_that_move_no_line_cause_no_event() -> None:
    engine = Engine(release_of(**RELEASE))
    plan = engine.accept(order_of(line("1", "sim")))
    engine.annotate(plan, plan.items[0].key, "the customer called")

    assert follow(engine, plan)[-1][2] == ()


def test_ids_of_events_follow_from_the_place_of_the_fact() -> None:
    assert [event_id(3, 17, number) for number in range(3)] == ["3-17", "3-17-1", "3-17-2"]


@settings(
    max_examples=150,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    deadline=None,
)
@given(releases(), st.lists(lines(), min_size=2, max_size=4), steps)
def test_events_put_together_give_the_state_of_order_and_lines(
    release: dict[str, Any], orders: list[list[OrderLine]], happening: list[Step]
) -> None:
    engine = Engine(release_of(**release))
    history = History(engine, list(orders))
    history.begin()
    for step in happening:
        history.do(step)
    for plan in engine.plans.values():
        order_state = None
        states: dict[str, str] = {}
        for _, folded, events in follow(engine, plan):
            for event in events:
                if event.event_type == CREATED:
                    states = dict.fromkeys((each.line_id for each in folded.order.lines), event.state)
                elif event.event_type == ATTRIBUTE_CHANGED:
                    assert all(states[line_id] != state for line_id, state in event.lines)
                    states |= dict(event.lines)
                else:
                    assert order_state != event.state or event.state == "rejected"
                order_state = event.state

        assert order_state == plan.order_state
        assert states == line_states(plan)
