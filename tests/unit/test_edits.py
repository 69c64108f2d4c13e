"""Editing what a failed callout says: the next attempts say it, under a new key; nothing hidden gets into a fact."""

from __future__ import annotations

from typing import Any

import pytest

from domain import facts as f
from domain.decide import pending_effects
from domain.errors import BadDocument, NotPossibleNow
from domain.messages import Report
from domain.payloads import next_payload
from domain.plan import Plan
from domain.sealing import MASK
from domain.turn import Call
from tests.support.build import callout, line, manual, order_of, plan_of, release_of, scenario
from tests.support.engine import Engine
from tests.support.fingerprint import fingerprint

ITEM = "p/call@1"
REQUEST = {"pin": "attributes.PIN", "card": "attributes.card", "speed": "attributes.speed"}
GIVEN = {"PIN": "1234", "card": "4111", "speed": "100M"}


def failed(*, unheard: bool = False, given: dict[str, Any] | None = None, **members: Any) -> tuple[Engine, Plan]:
    """A callout that has failed for good; its line has a sealed PIN and an encrypted card."""
    attributes = [
        {"name": "PIN", "assetizable": False},
        {"name": "card", "encrypted": True},
        {"name": "speed"},
    ]
    engine = Engine(
        release_of(
            products=[{"code": "x", "attributes": attributes}],
            plans=[plan_of("p", callout("call", retry="once", **members))],
            retries=[{"code": "once", "attemptsMax": 1}],
            scenarios=[scenario("x", "p")],
            undeclared="seal",
        )
    )
    plan = engine.accept(order_of(line("1", "x", **(GIVEN if given is None else given))))
    engine.fail(plan, engine.call(plan, ITEM), unheard=unheard)
    return engine, plan


def edit(engine: Engine, plan: Plan, payload: dict[str, Any]) -> Call:
    engine.operate(plan, ITEM, "edit", payload=payload)
    return engine.call(plan, ITEM)


def patch(engine: Engine, plan: Plan, change: dict[str, Any]) -> Call:
    engine.operate(plan, ITEM, "edit", payload=change, is_patch=True)
    return engine.call(plan, ITEM)


@pytest.mark.rule("B2.12")
def test_an_edited_payload_replaces_that_of_all_further_attempts_and_of_recovery() -> None:
    engine, plan = failed()

    call = edit(engine, plan, {"speed": "1G"})
    assert (call.payload, call.attempt) == ({"speed": "1G"}, 2)
    replayed = engine.replayed(plan)
    assert [each.payload for each in pending_effects(replayed, engine.now)] == [{"speed": "1G"}]
    assert fingerprint(replayed) == fingerprint(plan)
    engine.fail(plan, call)
    engine.operate(plan, ITEM, "retry")
    assert engine.call(plan, ITEM).payload == {"speed": "1G"}


def test_an_edit_of_an_attempt_that_nobody_heard_of_has_a_new_key() -> None:
    engine, plan = failed(unheard=True)

    assert edit(engine, plan, {"speed": "1G"}).attempt == 2
    engine.tell(plan, Report(ITEM, 1, "completed"))
    assert plan.by_key[ITEM].state == "Running"


def test_an_edit_is_a_fact_with_its_reason_by_a_person() -> None:
    engine, plan = failed()
    edit(engine, plan, {"speed": "1G"})

    fact = next(each for each in engine.facts[plan.order_id] if each.kind == f.ITEM_EDITED)
    assert (fact.actor, fact.item) == ("person:olga", ITEM)
    assert fact.payload == {"reason": "because", "payload": {"speed": "1G"}}


def test_hidden_values_stay_where_the_edit_shows_their_mask() -> None:
    engine, plan = failed(request=REQUEST)
    before = next_payload(plan, plan.by_key[ITEM])

    call = edit(engine, plan, {"pin": MASK, "card": MASK, "speed": "1G"})
    assert call.payload == before | {"speed": "1G"}
    assert call.payload["pin"] == {"$sealed": "1/PIN"}


def test_a_hidden_value_that_the_edit_leaves_out_is_not_sent() -> None:
    engine, plan = failed(request=REQUEST)

    assert edit(engine, plan, {"speed": "1G"}).payload == {"speed": "1G"}


def test_a_patch_changes_what_it_names_and_keeps_the_rest() -> None:
    engine, plan = failed(request=REQUEST)
    before = next_payload(plan, plan.by_key[ITEM])
    call = patch(engine, plan, {"speed": None, "note": {"by": "hand"}})
    assert call.payload == {"pin": before["pin"], "card": before["card"], "note": {"by": "hand"}}

    engine.fail(plan, call)
    assert patch(engine, plan, {"note": {"at": "dawn"}}).payload["note"] == {"by": "hand", "at": "dawn"}


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({"pin": "9999"}, "payload.pin"),
        ({"card": {"number": "1"}}, "payload.card"),
        ({"pin": None}, "payload.pin"),
        ({"speed": MASK}, "payload.speed"),
        ({"speed": {"$sealed": "1/PIN"}}, "payload.speed"),
        ({"more": [{"$encrypted": "x", "mac": "y"}]}, "payload.more[0]"),
        ({"more": {"PIN": "9999"}}, "payload.more.PIN"),
        ({"attributes": {"undeclared": 1}}, "payload.attributes.undeclared"),
    ],
)
def test_an_edit_that_touches_a_hidden_value_is_refused_with_the_path(payload: dict[str, Any], path: str) -> None:
    engine, plan = failed(request=REQUEST)
    before = fingerprint(plan)

    with pytest.raises(BadDocument) as refused:
        edit(engine, plan, payload)
    assert refused.value.path == path
    assert fingerprint(plan) == before


def test_a_field_that_would_have_held_a_hidden_value_gets_none_by_an_edit() -> None:
    engine, plan = failed(request=REQUEST, given={"speed": "100M"})

    with pytest.raises(BadDocument, match="keep it in the clear") as refused:
        edit(engine, plan, {"pin": "1234", "speed": "1G"})
    assert refused.value.path == "payload.pin"


def test_the_standard_payload_gets_no_hidden_attribute_by_an_edit() -> None:
    engine, plan = failed()
    payload = next_payload(plan, plan.by_key[ITEM])
    lines = [payload["lines"][0] | {"attributes": {"card": MASK, "speed": "1G", "PIN": "1234"}}]

    with pytest.raises(BadDocument) as refused:
        edit(engine, plan, payload | {"lines": lines})
    assert refused.value.path == "payload.lines[0].attributes.PIN"
    del lines[0]["attributes"]["PIN"]
    assert edit(engine, plan, payload | {"lines": lines}).payload["lines"][0]["attributes"]["speed"] == "1G"


def test_a_payload_that_could_not_be_made_can_be_given() -> None:
    engine = Engine(
        release_of(
            products=["x"],
            plans=[plan_of("p", callout("call", request={"n": "attributes.n + 1"}))],
            scenarios=[scenario("x", "p")],
        )
    )
    plan = engine.accept(order_of(line("1", "x", n="many")))
    assert plan.by_key[ITEM].error_code == "expressionFailed"

    assert edit(engine, plan, {"n": 2}).payload == {"n": 2}


def test_only_a_callout_that_has_failed_can_be_edited() -> None:
    engine, plan = failed()
    edit(engine, plan, {})
    with pytest.raises(NotPossibleNow, match="edit is possible in"):
        engine.operate(plan, ITEM, "edit", payload={})

    people = Engine(
        release_of(
            products=["x"],
            plans=[plan_of("p", manual("call", processAfter="attributes.n"))],
            scenarios=[scenario("x", "p")],
        )
    )
    visit = people.accept(order_of(line("1", "x", n="no date")))
    with pytest.raises(NotPossibleNow, match="calls no system"):
        people.operate(visit, ITEM, "edit", payload={})
