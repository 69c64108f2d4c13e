"""Push events: they wait until something is true of their line, whoever makes it true."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import BadDocument, BadRelease, NotFound
from domain.messages import ChangeLine
from domain.plan import Plan
from domain.states import ItemState
from tests.support.build import callout, depends, line, manual, order_of, plan_of, release_of, scenario
from tests.support.engine import Engine

EVENT: dict[str, Any] = {"code": "ported", "type": "pushEvent", "event": 'attributes.number == "079"'}


def engine_of(*items: Any, event: dict[str, Any] = EVENT, **parts: Any) -> Engine:
    """A plan whose last item waits for the event."""
    return Engine(
        release_of(
            products=[{"code": "offer", "attributes": [{"name": "number"}, {"name": "pin", "assetizable": False}]}],
            plans=[plan_of("p", event, "after", *items)],
            dependencies=[depends("p/after", "p/ported")],
            scenarios=[scenario("offer", "p")],
            undeclared="drop",
            **parts,
        )
    )


def accepted(engine: Engine, **attributes: Any) -> Plan:
    return engine.accept(order_of(line("1", "offer", **attributes)))


def change(engine: Engine, plan: Plan, **attributes: Any) -> None:
    engine.tell(plan, ChangeLine("1", attributes, "because", "m-1"), "person:olga", "m-1")


def state(plan: Plan, item: str = "p/ported@1") -> ItemState:
    return plan.by_key[item].state


def test_an_event_that_has_happened_already_is_done_at_once() -> None:
    engine = engine_of()
    plan = accepted(engine, number="079")

    assert state(plan) is ItemState.COMPLETED
    assert engine.call(plan, "p/after").attempt == 1


@pytest.mark.rule("B2.8")
def test_an_event_waits_running_until_a_change_of_its_line_makes_it_true() -> None:
    engine = engine_of()
    plan = accepted(engine)
    assert state(plan) is ItemState.RUNNING

    change(engine, plan, number="078")
    assert state(plan) is ItemState.RUNNING
    change(engine, plan, number="079")

    assert state(plan) is ItemState.COMPLETED
    assert engine.call(plan, "p/after").attempt == 1


def test_an_answer_of_a_system_fires_an_event() -> None:
    engine = engine_of(callout("port"))
    plan = accepted(engine)
    engine.answer(plan, engine.call(plan, "p/port"), {"attributes": {"number": "079"}})

    assert state(plan) is ItemState.COMPLETED


def test_a_form_fires_an_event() -> None:
    engine = engine_of(manual("ask", form=[{"name": "number"}]))
    plan = accepted(engine)
    engine.complete_task(plan, "p/ask@1", {"number": "079"})

    assert state(plan) is ItemState.COMPLETED


@pytest.mark.parametrize("event", [EVENT, {"code": "ported", "type": "pushEvent"}])
def test_an_operator_completes_an_event_with_or_without_a_condition(event: dict[str, Any]) -> None:
    engine = engine_of(event=event)
    plan = accepted(engine)
    engine.operate(plan, "p/ported@1", "complete")

    assert state(plan) is ItemState.COMPLETED
    assert engine.call(plan, "p/after").attempt == 1


def test_an_event_that_does_not_happen_in_time_needs_a_person_and_can_be_waited_for_again() -> None:
    engine = engine_of(event=EVENT | {"eventTimeoutS": 60})
    plan = accepted(engine)
    engine.fire(plan, "p/ported@1")
    assert state(plan) is ItemState.FATALLY_FAILED
    assert plan.by_key["p/ported@1"].error_code == "eventTimeout"

    change(engine, plan, number="079")
    assert state(plan) is ItemState.FATALLY_FAILED
    engine.operate(plan, "p/ported@1", "retry")

    assert state(plan) is ItemState.COMPLETED


def test_an_event_on_several_lines_happens_when_any_of_them_meets_it() -> None:
    engine = engine_of(event=EVENT | {"scope": "order"})
    plan = engine.accept(order_of(line("1", "offer"), line("2", "offer")))
    engine.tell(plan, ChangeLine("2", {"number": "079"}, "because", "m-1"))

    assert state(plan, "p/ported@order") is ItemState.COMPLETED


def test_a_change_of_another_line_does_not_fire_an_event() -> None:
    engine = engine_of()
    plan = engine.accept(order_of(line("1", "offer"), line("2", "offer")))
    engine.tell(plan, ChangeLine("2", {"number": "079"}, "because", "m-1"))

    assert state(plan) is ItemState.RUNNING
    assert state(plan, "p/ported@2") is ItemState.COMPLETED


def test_a_changed_value_that_must_not_stay_is_sealed() -> None:
    engine = engine_of()
    plan = accepted(engine)
    change(engine, plan, pin="1234")

    assert plan.lines[0].attributes["pin"] == {"$sealed": "1/pin"}
    assert plan.has_secrets
    assert "1234" not in repr(engine.facts[plan.order_id])


def test_a_change_that_nothing_is_kept_of_is_refused_and_changes_nothing() -> None:
    engine = engine_of()
    plan = accepted(engine)
    before = len(engine.facts[plan.order_id])

    with pytest.raises(BadDocument, match="attributes"):
        change(engine, plan, colour="red")
    with pytest.raises(NotFound, match="no line"):
        engine.tell(plan, ChangeLine("9", {"number": "079"}, "because", "m-1"))
    assert len(engine.facts[plan.order_id]) == before


def test_a_change_of_a_line_that_is_an_asset_already_reaches_the_asset() -> None:
    engine = engine_of({"code": "own", "type": "autoTask", "task": "assetize"})
    plan = accepted(engine)
    asset_id = plan.lines[0].asset_id
    assert engine.account.assets[asset_id].attributes == {}
    change(engine, plan, number="079")

    assert engine.account.assets[asset_id].attributes == {"number": "079"}


def test_a_plan_with_a_waiting_event_replays_to_what_it_is() -> None:
    engine = engine_of(event=EVENT | {"eventTimeoutS": 60})
    plan = accepted(engine)

    replayed = engine.replayed(plan)
    assert replayed.awaiting == plan.awaiting == {0}
    assert replayed.next_timer() is not None


def test_members_of_another_type_are_refused_at_publish() -> None:
    with pytest.raises(BadRelease, match="event is for type pushEvent, this item is a callout"):
        engine_of(callout("x", event="true"))
